//! AWS Systems Manager Parameter Store.
//! <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html>

use super::client::AwsClient;
use super::failure::call_error;
use crate::pace;
use crate::ports::{Call, CallErrorKind, Parameter, Parameters};
use async_trait::async_trait;
use aws_sdk_ssm::types::ParameterType;
use std::cell::Cell;

#[async_trait(?Send)]
impl Parameters for AwsClient {
    /// When the answer to the first attempt was lost, the second finds what the first made: the parameter is ours if it
    /// has our value.
    async fn create_parameter(&self, name: &str, value: &str) -> Call<()> {
        let attempts = Cell::new(0);
        let answer = self.put(name, value, false, &attempts).await;
        match answer {
            Err(error) if error.kind == CallErrorKind::Conflict && attempts.get() > 1 => {
                let parent =
                    name.rsplit_once('/').map_or("/", |(parent, _)| if parent.is_empty() { "/" } else { parent });
                let kept = self.parameters_under(parent).await?;
                if kept.iter().any(|(n, v)| n == name && v == value) { Ok(()) } else { Err(error) }
            }
            answer => answer,
        }
    }

    async fn write_turn(&self) {
        self.pace.turn(pace::WRITES).await;
    }

    async fn put_parameter(&self, name: &str, value: &str) -> Call<()> {
        self.put(name, value, true, &Cell::new(0)).await
    }

    async fn parameters_under(&self, path: &str) -> Call<Vec<(String, String)>> {
        let mut found = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let answer = self
                .call("ssm:GetParametersByPath", async || {
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

    async fn delete_parameter(&self, name: &str) -> Call<()> {
        let answer = self
            .call("ssm:DeleteParameter", async || {
                self.ssm.delete_parameter().name(name).send().await.map(drop).map_err(call_error("ssm:DeleteParameter"))
            })
            .await;
        match answer {
            Err(error) if error.kind == CallErrorKind::NotFound => Ok(()),
            answer => answer,
        }
    }

    /// Without decryption: the value of a SecureString would be cipher text, and is dropped here.
    /// <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameter.html>
    async fn parameter(&self, name: &str) -> Call<Option<Parameter>> {
        let answer = self
            .call("ssm:GetParameter", async || {
                let request = self.ssm.get_parameter().name(name).with_decryption(false);
                request.send().await.map_err(call_error("ssm:GetParameter"))
            })
            .await;
        let answer = match answer {
            Err(error) if matches!(error.code.as_str(), "ParameterNotFound" | "ParameterVersionNotFound") => {
                return Ok(None);
            }
            answer => answer?,
        };
        Ok(answer.parameter().map(|parameter| match parameter.r#type() {
            Some(ParameterType::String | ParameterType::StringList) => {
                Parameter::Plain(parameter.value().unwrap_or_default().to_owned())
            }
            // One without a type, or of a type to come, may be as secret.
            _ => Parameter::Secure,
        }))
    }
}

impl AwsClient {
    /// Counts in `attempts` how often the request went out.
    async fn put(&self, name: &str, value: &str, overwrite: bool, attempts: &Cell<u32>) -> Call<()> {
        self.call("ssm:PutParameter", async || {
            attempts.set(attempts.get() + 1);
            self.ssm
                .put_parameter()
                .name(name)
                .value(value)
                .r#type(ParameterType::String)
                .overwrite(overwrite)
                .send()
                .await
                .map(drop)
                .map_err(call_error("ssm:PutParameter"))
        })
        .await
    }
}
