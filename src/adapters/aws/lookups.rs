//! What other tools left in AWS: outputs of CloudFormation stacks, objects of S3.

use super::client::AwsClient;
use super::failure::unreadable;
use super::query::{Query, dns_suffix};
use super::sigv4::{ServiceError, SignedRequest, each, fields};
use crate::ports::{Call, CallError, CallErrorKind, Outputs};
use async_trait::async_trait;
use aws_smithy_xml::decode::{Document, XmlDecodeError};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::collections::BTreeMap;

const MIB: usize = 1024 * 1024;

const CLOUDFORMATION: Query =
    Query { service: "cloudformation", endpoint: "CLOUDFORMATION", version: "2010-05-15", most_bytes: MIB };

/// What stands for itself in a key of S3 as it is signed: unreserved characters and slashes.
const KEY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

#[async_trait(?Send)]
impl Outputs for AwsClient {
    /// <https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStacks.html>
    async fn stack_outputs(&self, stack: &str) -> Call<Option<BTreeMap<String, String>>> {
        const ACTION: &str = "cloudformation:DescribeStacks";
        // A stack of another region is asked for there, by its ARN.
        let region = stack.strip_prefix("arn:").and_then(|arn| arn.split(':').nth(2)).unwrap_or(self.session.region());
        let answer = self.query(&CLOUDFORMATION, region, ACTION, [("StackName", stack)]).await;
        match answer {
            Ok(answer) => match stack_in(&answer).map_err(|why| unreadable(ACTION, &why.to_string()))? {
                Stack::Gone => Ok(None),
                Stack::Settled(outputs) => Ok(Some(outputs)),
                Stack::Unsettled(status) => Err(CallError {
                    action: ACTION.to_owned(),
                    kind: CallErrorKind::Invalid,
                    code: status,
                    message: format!("the stack `{stack}` is in this state: its outputs are not to be relied on"),
                    request_id: None,
                }),
            },
            // CloudFormation has no exception of its own for it.
            Err(error) if error.code == "ValidationError" && error.message.contains("does not exist") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Follows a bucket into its region, once.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>
    async fn object(&self, bucket: &str, key: &str) -> Call<Option<Vec<u8>>> {
        let answer = self
            .call("s3:GetObject", async || {
                let home = self.session.region().to_owned();
                let answer = match self.get_object_in(&home, bucket, key).await {
                    Err(ServiceError { bucket_region: Some(region), error })
                        if region != home && is_elsewhere(&error) =>
                    {
                        self.get_object_in(&region, bucket, key).await
                    }
                    answer => answer,
                };
                answer.map_err(|refusal| refusal.error)
            })
            .await;
        match answer {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.code == "NoSuchKey" => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AwsClient {
    async fn get_object_in(&self, region: &str, bucket: &str, key: &str) -> Result<Vec<u8>, ServiceError> {
        let path = utf8_percent_encode(key, KEY).to_string();
        let url = match self.session.endpoint("S3") {
            Some(endpoint) => format!("{}/{bucket}/{path}", endpoint.trim_end_matches('/')),
            // The certificate of virtual hosts covers one label.
            None if bucket.contains('.') => format!("https://s3.{region}.{}/{bucket}/{path}", dns_suffix(region)),
            None => format!("https://{bucket}.s3.{region}.{}/{path}", dns_suffix(region)),
        };
        let ask = SignedRequest {
            action: "s3:GetObject",
            service: "s3",
            region,
            method: "GET",
            url: &url,
            target: None,
            content_type: None,
            body: "",
            most_bytes: 64 * MIB,
        };
        self.ask(&ask).await
    }
}

fn is_elsewhere(error: &CallError) -> bool {
    matches!(error.code.as_str(), "PermanentRedirect" | "TemporaryRedirect" | "AuthorizationHeaderMalformed")
        || error.code.is_empty()
}

enum Stack {
    /// It was deleted.
    Gone,
    Settled(BTreeMap<String, String>),
    /// It changes, or stopped half-way.
    Unsettled(String),
}

/// Whether what a stack puts out is what it has.
/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html#cfn-console-view-stack-data-resources-status-codes>
fn is_settled(status: &str) -> bool {
    status.is_empty()
        || status.ends_with("_COMPLETE_CLEANUP_IN_PROGRESS")
        || (status.ends_with("_COMPLETE") && status != "ROLLBACK_COMPLETE")
}

fn stack_in(body: &[u8]) -> Result<Stack, XmlDecodeError> {
    let mut document = Document::try_from(body)?;
    let mut root = document.root_element()?;
    let mut stacks = 0;
    let mut status = String::new();
    let mut outputs = BTreeMap::new();
    each(&mut root, &["DescribeStacksResult", "Stacks", "member"], &mut |stack| {
        stacks += 1;
        while let Some(mut part) = stack.next_tag() {
            match part.start_el().local() {
                "StackStatus" => {
                    status = aws_smithy_xml::decode::try_data(&mut part)
                        .map(|text| text.trim().to_owned())
                        .unwrap_or_default();
                }
                "Outputs" => each(&mut part, &["member"], &mut |output| {
                    let fields = fields(output);
                    let field = |name: &str| fields.iter().find(|(n, _)| n == name).map(|(_, text)| text.clone());
                    if let (Some(key), Some(value)) = (field("OutputKey"), field("OutputValue")) {
                        outputs.insert(key, value);
                    }
                }),
                _ => {}
            }
        }
    });
    match stacks {
        0 => Err(XmlDecodeError::custom("there is no stack in it")),
        _ if status == "DELETE_COMPLETE" => Ok(Stack::Gone),
        _ if is_settled(&status) => Ok(Stack::Settled(outputs)),
        _ => Ok(Stack::Unsettled(status)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_has_its_own_suffix() {
        let cases = [
            ("eu-central-1", "amazonaws.com"),
            ("us-gov-west-1", "amazonaws.com"),
            ("cn-north-1", "amazonaws.com.cn"),
            ("eusc-de-east-1", "amazonaws.eu"),
            ("us-iso-east-1", "c2s.ic.gov"),
            ("us-isob-east-1", "sc2s.sgov.gov"),
        ];
        for (region, suffix) in cases {
            assert_eq!(dns_suffix(region), suffix, "{region}");
        }
    }

    #[test]
    fn outputs_are_taken_of_a_stack_that_stands_still_and_whole() {
        for status in [
            "CREATE_COMPLETE",
            "UPDATE_COMPLETE",
            "UPDATE_ROLLBACK_COMPLETE",
            "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS",
            "",
        ] {
            assert!(is_settled(status), "{status}");
        }
        for status in
            ["UPDATE_ROLLBACK_FAILED", "DELETE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "ROLLBACK_COMPLETE", "DELETE_FAILED"]
        {
            assert!(!is_settled(status), "{status}");
        }
    }

    #[test]
    fn keys_of_workspaces_are_encoded_but_for_their_slashes() {
        assert_eq!(utf8_percent_encode("env:/prod/a b+c.tfstate", KEY).to_string(), "env%3A/prod/a%20b%2Bc.tfstate");
    }
}
