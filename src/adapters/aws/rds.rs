//! Snapshots of a database, taken before its schema changes.

use super::client::AwsClient;
use super::failure::unreadable;
use super::query::Query;
use super::sigv4::{each, fields};
use crate::ports::{Call, CallErrorKind, DatabaseSnapshot, Snapshots};
use async_trait::async_trait;
use aws_smithy_xml::decode::{Document, XmlDecodeError};

const RDS: Query = Query { service: "rds", endpoint: "RDS", version: "2014-10-31", most_bytes: 1024 * 1024 };

#[async_trait(?Send)]
impl Snapshots for AwsClient {
    /// When an answer is lost the next attempt finds the snapshot that the first one made: a conflict, as with one of an
    /// earlier attempt.
    /// <https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_CreateDBSnapshot.html>
    async fn create_snapshot(&self, instance: &str, snapshot: &str) -> Call<()> {
        let body = [("DBInstanceIdentifier", instance), ("DBSnapshotIdentifier", snapshot)];
        match self.query(&RDS, self.session.region(), "rds:CreateDBSnapshot", body).await {
            Ok(_) => Ok(()),
            Err(mut error) => {
                error.kind = match error.code.as_str() {
                    "DBSnapshotAlreadyExists" => CallErrorKind::Conflict,
                    "DBInstanceNotFound" => CallErrorKind::NotFound,
                    "InvalidDBInstanceState" | "SnapshotQuotaExceeded" => CallErrorKind::Invalid,
                    _ => error.kind,
                };
                Err(error)
            }
        }
    }

    /// <https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_DescribeDBSnapshots.html>
    async fn snapshot(&self, snapshot: &str) -> Call<Option<DatabaseSnapshot>> {
        const ACTION: &str = "rds:DescribeDBSnapshots";
        match self.query(&RDS, self.session.region(), ACTION, [("DBSnapshotIdentifier", snapshot)]).await {
            Ok(answer) => snapshot_in(&answer).map_err(|why| unreadable(ACTION, &why.to_string())),
            Err(error) if error.code == "DBSnapshotNotFound" => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn snapshot_in(body: &[u8]) -> Result<Option<DatabaseSnapshot>, XmlDecodeError> {
    let mut document = Document::try_from(body)?;
    let mut root = document.root_element()?;
    let mut found = None;
    each(&mut root, &["DescribeDBSnapshotsResult", "DBSnapshots", "DBSnapshot"], &mut |snapshot| {
        let fields = fields(snapshot);
        let field = |name: &str| fields.iter().find(|(n, _)| n == name).map(|(_, text)| text.clone());
        found = field("Status").map(|status| DatabaseSnapshot {
            status,
            percent: field("PercentProgress").and_then(|percent| percent.parse().ok()),
        });
    });
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_read_from_awss_own_answer() {
        let answer = b"<DescribeDBSnapshotsResponse xmlns=\"http://rds.amazonaws.com/doc/2014-10-31/\">\
            <DescribeDBSnapshotsResult><DBSnapshots><DBSnapshot><Port>5432</Port><Status>creating</Status>\
            <PercentProgress>40</PercentProgress></DBSnapshot></DBSnapshots></DescribeDBSnapshotsResult>\
            </DescribeDBSnapshotsResponse>";
        let found = snapshot_in(answer).unwrap().unwrap();
        assert_eq!(found, DatabaseSnapshot { status: "creating".to_owned(), percent: Some(40) });
    }
}
