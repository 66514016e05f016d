//! CloudFormation, as far as outputs are read from it: stacks that are there, and DescribeStacks.
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStacks.html>

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde_json::{Value, json};

use super::api::{Caller, partition};
use super::error::{AwsError, Reply};
use super::request::{lock, random_hex, text};

/// The stacks of the stage's account and Region.
#[derive(Debug)]
pub(crate) struct Stacks {
    account: String,
    region: String,
    stacks: Mutex<BTreeMap<String, Value>>,
}

impl Stacks {
    /// No stacks.
    #[must_use]
    pub(crate) fn new(account: &str, region: &str) -> Self {
        Self { account: account.to_owned(), region: region.to_owned(), stacks: Mutex::default() }
    }

    /// A stack that was made, with these outputs.
    pub(crate) fn insert(&self, name: &str, outputs: &BTreeMap<String, String>) {
        let outputs: Vec<_> =
            outputs.iter().map(|(key, value)| json!({ "OutputKey": key, "OutputValue": value })).collect();
        let id = [random_hex(4), random_hex(2), random_hex(2), random_hex(2), random_hex(6)].join("-");
        let arn = format!(
            "arn:{}:cloudformation:{}:{}:stack/{name}/{id}",
            partition(&self.region),
            self.region,
            self.account
        );
        let stack = json!({
            "StackId": arn, "StackName": name, "CreationTime": jiff::Timestamp::now().to_string(),
            "StackStatus": "CREATE_COMPLETE", "DisableRollback": false, "Outputs": outputs,
        });
        lock(&self.stacks).insert(name.to_owned(), stack);
    }

    /// One API call of `cloudformation`.
    pub(crate) async fn call(&self, caller: &Caller, operation: &str, body: Value) -> Reply {
        if operation != "DescribeStacks" {
            return Err(AwsError::unknown_operation(operation));
        }
        let is_home = caller.account == self.account && caller.region == self.region;
        let stacks = lock(&self.stacks);
        let here = stacks.values().filter(|_| is_home);
        let asked = text(&body, "StackName");
        let is_asked = |stack: &&Value| asked.is_none_or(|name| stack["StackName"] == name || stack["StackId"] == name);
        let found: Vec<_> = here.filter(is_asked).cloned().collect();
        match asked {
            Some(name) if found.is_empty() => {
                Err(AwsError::client("ValidationError", format!("Stack with id {name} does not exist")))
            }
            _ => Ok(json!({ "Stacks": found })),
        }
    }
}
