//! RDS, as far as a snapshot is taken before a migration.
//! <https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_CreateDBSnapshot.html>

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::api::{Caller, partition};
use super::error::{AwsError, Reply};
use super::request::{lock, text};

/// How long a snapshot is being created: long enough that a client has to wait for it.
const TAKES: Duration = Duration::from_secs(2);

/// The instances and snapshots of the stage's account and Region.
#[derive(Debug, Default)]
pub(crate) struct Databases {
    instances: Mutex<BTreeSet<String>>,
    /// By their identifier: the instance, and since when.
    snapshots: Mutex<BTreeMap<String, (String, Instant)>>,
}

impl Databases {
    /// An instance that is available.
    pub(crate) fn insert(&self, instance: &str) {
        lock(&self.instances).insert(instance.to_ascii_lowercase());
    }

    /// One API call of `rds`.
    pub(crate) async fn call(&self, caller: &Caller, operation: &str, body: Value) -> Reply {
        let snapshot = text(&body, "DBSnapshotIdentifier").unwrap_or_default().to_ascii_lowercase();
        match operation {
            "CreateDBSnapshot" => {
                self.create(caller, &snapshot, text(&body, "DBInstanceIdentifier").unwrap_or_default())
            }
            "DescribeDBSnapshots" => match lock(&self.snapshots).get(&snapshot) {
                Some((instance, since)) => {
                    Ok(json!({"DBSnapshots": {"DBSnapshot": described(caller, &snapshot, instance, *since)}}))
                }
                None => Err(not_found("DBSnapshotNotFound", format!("DBSnapshot {snapshot} not found."))),
            },
            other => Err(AwsError::unknown_operation(other)),
        }
    }

    fn create(&self, caller: &Caller, snapshot: &str, instance: &str) -> Reply {
        let instance = instance.to_ascii_lowercase();
        if !is_identifier(snapshot) {
            let why = "The parameter DBSnapshotIdentifier is not a valid identifier.";
            return Err(AwsError::client("InvalidParameterValue", why));
        }
        if !lock(&self.instances).contains(&instance) {
            return Err(not_found("DBInstanceNotFound", format!("DBInstance {instance} not found.")));
        }
        let mut snapshots = lock(&self.snapshots);
        if snapshots.contains_key(snapshot) {
            let why =
                format!("Cannot create the snapshot because a snapshot with the identifier {snapshot} already exists.");
            return Err(AwsError::client("DBSnapshotAlreadyExists", why));
        }
        let since = Instant::now();
        snapshots.insert(snapshot.to_owned(), (instance.clone(), since));
        Ok(json!({"DBSnapshot": described(caller, snapshot, &instance, since)}))
    }
}

fn not_found(code: &str, message: String) -> AwsError {
    AwsError { status: 404, ..AwsError::client(code, message) }
}

fn described(caller: &Caller, snapshot: &str, instance: &str, since: Instant) -> Value {
    let is_done = since.elapsed() >= TAKES;
    json!({
        "DBSnapshotIdentifier": snapshot, "DBInstanceIdentifier": instance, "Engine": "postgres", "SnapshotType": "manual",
        "Status": if is_done { "available" } else { "creating" }, "PercentProgress": if is_done { "100" } else { "0" },
        "DBSnapshotArn": format!("arn:{}:rds:{}:{}:snapshot:{snapshot}", partition(&caller.region), caller.region, caller.account),
    })
}

/// 1 to 255 letters, digits and hyphens; a letter first, no hyphen last, no two of them together.
fn is_identifier(text: &str) -> bool {
    (1..=255).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !text.ends_with('-')
        && !text.contains("--")
}
