//! AWS Systems Manager Parameter Store.
//! <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html>

use super::client::AwsClient;
use super::failure::call_error;
use crate::ports::{Call, CallErrorKind};
use aws_sdk_ssm::types::ParameterType;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeTransmitInterceptorContextRef;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

impl AwsClient {
    /// When the answer to the first attempt was lost, the second finds what the first made: the parameter is ours if it
    /// has our value.
    pub(super) async fn claim_parameter(&self, name: &str, value: &str) -> Call<()> {
        let attempts = Attempts::default();
        let answer = self.put(name, value, false, &attempts).await;
        match answer {
            Err(error) if error.kind == CallErrorKind::Conflict && attempts.count() > 1 => {
                let parent =
                    name.rsplit_once('/').map_or("/", |(parent, _)| if parent.is_empty() { "/" } else { parent });
                let kept = self.get_parameters_by_path(parent).await?;
                if kept.iter().any(|(n, v)| n == name && v == value) { Ok(()) } else { Err(error) }
            }
            answer => answer,
        }
    }

    pub(super) async fn overwrite_parameter(&self, name: &str, value: &str) -> Call<()> {
        self.put(name, value, true, &Attempts::default()).await
    }

    async fn put(&self, name: &str, value: &str, overwrite: bool, attempts: &Attempts) -> Call<()> {
        self.call(async || {
            self.ssm
                .put_parameter()
                .name(name)
                .value(value)
                .r#type(ParameterType::String)
                .overwrite(overwrite)
                .customize()
                .interceptor(attempts.clone())
                .send()
                .await
                .map(drop)
                .map_err(call_error("ssm:PutParameter"))
        })
        .await
    }

    pub(super) async fn get_parameters_by_path(&self, path: &str) -> Call<Vec<(String, String)>> {
        let mut found = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let answer = self
                .call(async || {
                    self.ssm
                        .get_parameters_by_path()
                        .path(path)
                        .recursive(true)
                        .set_next_token(next.clone())
                        .send()
                        .await
                        .map_err(call_error("ssm:GetParametersByPath"))
                })
                .await?;
            let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
            found.extend(answer.parameters().iter().map(|p| (text(p.name()), text(p.value()))));
            next = answer.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
            if next.is_none() {
                return Ok(found);
            }
        }
    }

    pub(super) async fn remove_parameter(&self, name: &str) -> Call<()> {
        let answer = self
            .call(async || {
                self.ssm.delete_parameter().name(name).send().await.map(drop).map_err(call_error("ssm:DeleteParameter"))
            })
            .await;
        match answer {
            Err(error) if error.kind == CallErrorKind::NotFound => Ok(()),
            answer => answer,
        }
    }
}

/// Counts how often a request went out.
#[derive(Clone, Debug, Default)]
struct Attempts(Arc<AtomicU32>);

impl Attempts {
    fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Intercept for Attempts {
    fn name(&self) -> &'static str {
        "Attempts"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}
