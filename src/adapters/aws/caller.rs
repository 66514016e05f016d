//! Who we are.

use super::client::AwsClient;
use super::failure::call_error;
use crate::ports::{Call, Caller, Identity};
use async_trait::async_trait;

#[async_trait(?Send)]
impl Identity for AwsClient {
    async fn caller(&self) -> Call<Caller> {
        let client = aws_sdk_sts::Client::from_conf(self.session.sts().config().build());
        self.call("sts:GetCallerIdentity", async || {
            let answer = client.get_caller_identity().send().await.map_err(call_error("sts:GetCallerIdentity"))?;
            let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
            Ok(Caller { arn: text(answer.arn()) })
        })
        .await
    }

    fn region(&self) -> &str {
        self.session.region()
    }
}
