//! Snapshots of a database, taken before its schema changes.

use super::client::AwsClient;
use super::failure::unreadable;
use super::lookups::dns_suffix;
use super::sigv4::{SignedRequest, each, fields};
use crate::ports::{Call, CallErrorKind, DatabaseSnapshot, Snapshots};
use async_trait::async_trait;
use aws_smithy_xml::decode::{Document, XmlDecodeError};

#[async_trait(?Send)]
impl Snapshots for AwsClient {
    /// When an answer is lost the next attempt finds the snapshot that the first one made: a conflict, as with one of an
    /// earlier attempt.
    /// <https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_CreateDBSnapshot.html>
    async fn create_snapshot(&self, instance: &str, snapshot: &str) -> Call<()> {
        let body = [("DBInstanceIdentifier", instance), ("DBSnapshotIdentifier", snapshot)];
        match self.rds("rds:CreateDBSnapshot", "CreateDBSnapshot", &body).await {
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
        match self.rds(ACTION, "DescribeDBSnapshots", &[("DBSnapshotIdentifier", snapshot)]).await {
            Ok(answer) => snapshot_in(&answer).map_err(|why| unreadable(ACTION, &why.to_string())),
            Err(error) if error.code == "DBSnapshotNotFound" => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AwsClient {
    async fn rds(&self, action: &'static str, operation: &str, members: &[(&str, &str)]) -> Call<Vec<u8>> {
        let region = self.session.region();
        let url = match self.session.endpoint("RDS") {
            Some(endpoint) => format!("{}/", endpoint.trim_end_matches('/')),
            None => format!("https://rds.{region}.{}/", dns_suffix(region)),
        };
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.append_pair("Action", operation).append_pair("Version", "2014-10-31").extend_pairs(members);
        let body = body.finish();
        let ask = SignedRequest {
            action,
            service: "rds",
            region,
            method: "POST",
            url: &url,
            content_type: Some("application/x-www-form-urlencoded; charset=utf-8"),
            body: &body,
            most_bytes: 1024 * 1024,
        };
        self.call(action, async || self.ask(&ask).await.map_err(|refusal| refusal.error)).await
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
