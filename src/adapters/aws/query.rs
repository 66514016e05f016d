//! The Query protocol of AWS: a form goes there, XML comes back. Signed and sent by hand, for the few calls that are not worth an
//! SDK each.

use super::client::AwsClient;
use super::sigv4::SignedRequest;
use crate::ports::Call;

/// A service of the protocol.
pub(super) struct Query {
    /// Its signing name, which is that of its host too.
    pub service: &'static str,
    /// As in `AWS_ENDPOINT_URL_...`.
    pub endpoint: &'static str,
    pub version: &'static str,
    pub most_bytes: usize,
}

impl AwsClient {
    /// `action` is the operation with its service, as IAM names it. The body of a good answer.
    pub(super) async fn query<K: AsRef<str>, V: AsRef<str>>(
        &self,
        query: &Query,
        region: &str,
        action: &'static str,
        members: impl IntoIterator<Item = (K, V)>,
    ) -> Call<Vec<u8>> {
        let (host, region) = match query.service {
            "iam" => of_iam(region),
            service => (format!("{service}.{region}.{}", dns_suffix(region)), region),
        };
        let url = match self.session.endpoint(query.endpoint) {
            Some(endpoint) => format!("{}/", endpoint.trim_end_matches('/')),
            None => format!("https://{host}/"),
        };
        let operation = action.rsplit(':').next().unwrap_or_default();
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.append_pair("Action", operation).append_pair("Version", query.version);
        for (name, value) in members {
            body.append_pair(name.as_ref(), value.as_ref());
        }
        let body = body.finish();
        let ask = SignedRequest {
            action,
            service: query.service,
            region,
            method: "POST",
            url: &url,
            target: None,
            content_type: Some("application/x-www-form-urlencoded; charset=utf-8"),
            body: &body,
            most_bytes: query.most_bytes,
        };
        self.call(action, async || self.ask(&ask).await.map_err(|refusal| refusal.error)).await
    }
}

/// One for all Regions of a partition, and the Region that it is signed for.
/// <https://docs.aws.amazon.com/general/latest/gr/iam-service.html>
fn of_iam(region: &str) -> (String, &str) {
    match region.split('-').next().unwrap_or_default() {
        "cn" => ("iam.cn-north-1.amazonaws.com.cn".to_owned(), "cn-north-1"),
        "us" if region.starts_with("us-gov-") => ("iam.us-gov.amazonaws.com".to_owned(), "us-gov-west-1"),
        "us" if region.starts_with("us-iso") => (format!("iam.{region}.{}", dns_suffix(region)), region),
        "eusc" => (format!("iam.{region}.{}", dns_suffix(region)), region),
        _ => ("iam.amazonaws.com".to_owned(), "us-east-1"),
    }
}

/// By partition. <https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html>
pub(super) fn dns_suffix(region: &str) -> &'static str {
    match region.split('-').next().unwrap_or_default() {
        "cn" => "amazonaws.com.cn",
        "eusc" => "amazonaws.eu",
        "us" if region.starts_with("us-iso-") => "c2s.ic.gov",
        "us" if region.starts_with("us-isob-") => "sc2s.sgov.gov",
        "us" if region.starts_with("us-isof-") => "csp.hci.ic.gov",
        "eu" if region.starts_with("eu-isoe-") => "cloud.adc-e.uk",
        _ => "amazonaws.com",
    }
}
