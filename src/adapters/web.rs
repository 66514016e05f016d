//! Plain HTTP, for smoke checks.

use crate::adapters::aws::Network;
use crate::ports::Web;
use async_trait::async_trait;
use std::time::Duration;

/// How much of a body is read: enough to look for a text, never enough to fill the memory.
const BODY_LIMIT: usize = 64 * 1024;

/// Speaks to whatever was deployed, through the same proxies and certificate authorities as the AWS calls.
/// A redirect is an answer like any other: it is not followed.
#[derive(Clone, Debug)]
pub struct HttpWeb {
    client: reqwest::Client,
}

impl HttpWeb {
    pub fn new(network: &Network) -> Self {
        Self { client: network.http().clone() }
    }
}

#[async_trait(?Send)]
impl Web for HttpWeb {
    async fn get(&self, url: &str, timeout: Duration) -> Result<(u16, String), String> {
        let tell = |e: reqwest::Error| match e.is_timeout() {
            // To the tenth: what was left of the time for all attempts is no round number.
            true => format!("no answer within {} s", (timeout.as_secs_f64() * 10.0).round() / 10.0),
            false => crate::adapters::network::deepest(&e),
        };
        let mut response = self.client.get(url).timeout(timeout).send().await.map_err(tell)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(tell)? {
            body.extend_from_slice(&chunk);
            if body.len() >= BODY_LIMIT {
                body.truncate(BODY_LIMIT);
                break;
            }
        }
        Ok((response.status().as_u16(), String::from_utf8_lossy(&body).into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[tokio::test]
    async fn a_time_that_was_left_over_is_told_to_the_tenth_of_a_second() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let web = HttpWeb::new(&Network::from_env(&BTreeMap::new()).unwrap());
        let url = format!("http://{}", silent.local_addr().unwrap());
        let error = web.get(&url, Duration::from_nanos(199_999_999)).await.unwrap_err();
        assert_eq!(error, "no answer within 0.2 s");
    }
}
