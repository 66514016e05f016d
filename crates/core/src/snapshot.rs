//! The snapshot of a database: its name, and how far it is.

use serde::Serialize;
use std::fmt;

/// One name a run, whatever its attempt: the snapshot of the first one is from before anything was changed. At most 255
/// letters, digits and single hyphens.
/// <https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_CreateDBSnapshot.html>
#[must_use]
pub fn snapshot_name(instance: &str, run: &str) -> String {
    let mut name = String::new();
    for c in format!("fargate-deploy-{instance}-{run}").chars().take(255) {
        let c = if c.is_ascii_alphanumeric() { c } else { '-' };
        if c != '-' || !name.ends_with('-') {
            name.push(c);
        }
    }
    name.trim_end_matches('-').to_owned()
}

/// A snapshot that cannot be restored from yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum SnapshotState {
    /// RDS works on it, and says with which status.
    Listed {
        status: String,
        percent: Option<u64>,
    },
    NotListed,
    Unreadable {
        error: String,
    },
}

impl fmt::Display for SnapshotState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listed { status, percent: Some(percent) } => write!(f, "{status} ({percent} %)"),
            Self::Listed { status, percent: None } => f.write_str(status),
            Self::NotListed => f.write_str("not listed yet"),
            Self::Unreadable { error } => write!(f, "not readable: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_names_the_instance_and_the_run_as_rds_takes_names() {
        assert_eq!(snapshot_name("shop-db", "1001"), "fargate-deploy-shop-db-1001");
        assert_eq!(snapshot_name("shop-db", "a__b--"), "fargate-deploy-shop-db-a-b");
        assert!(snapshot_name("shop-db", &"x".repeat(400)).len() <= 255);
    }
}
