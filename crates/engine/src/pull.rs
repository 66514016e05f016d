//! Pull an image into the Engine's store.

use std::time::Duration;
use tokio::time::Instant;

use hyper::Method;
use hyper::header::{HeaderName, HeaderValue};
use tokio::time::timeout;

use super::config_auth::{RegistryCredentials, registry_of};
use super::http::{Call, Objects, Query};
use super::push::{Layers, PushEvent};
use super::stream::stream_error;
use super::{Engine, EngineError, LocalImage};

const LIMIT: Duration = Duration::from_secs(1800);

impl Engine {
    /// Pulls `image` (`repository:tag` or `repository@digest`) for `platform` or the Engine's own. Layers are told as a
    /// push tells them. Without credentials those of the user's docker configuration are taken.
    pub async fn pull(
        &self,
        image: &str,
        platform: Option<&str>,
        credentials: Option<&RegistryCredentials>,
        sink: &mut (dyn FnMut(PushEvent) + Send),
    ) -> Result<LocalImage, EngineError> {
        let registry = registry_of(image);
        let credentials = match credentials {
            Some(given) => Some(given.clone()),
            None => self.config.credentials(registry).await?,
        };
        let what = format!("pulling `{image}`");
        let mut query = Query::default();
        query.add("fromImage", &with_tag(image)).add_some("platform", platform);
        let mut call = Call::new(&what, Method::POST, format!("/images/create{}", query.as_str()));
        call.limit = LIMIT;
        let auth = RegistryCredentials::header(credentials.as_ref(), registry);
        if let Ok(value) = HeaderValue::from_str(&auth) {
            call.headers.insert(HeaderName::from_static("x-registry-auth"), value);
        }
        let pulling = async {
            let answer = self.transport.send(call).await.map_err(|error| match error {
                EngineError::Refused { why, .. } => refusal(image, &why),
                other => other,
            })?;
            let mut objects = Objects::of(answer);
            let mut layers = Layers::default();
            while let Some(object) = objects.next().await.map_err(|error| self.transport.unreachable(&error))? {
                if let Some(why) = stream_error(&object) {
                    return Err(refusal(image, why));
                }
                layers.object(&object, Instant::now(), sink);
            }
            Ok(())
        };
        timeout(LIMIT, pulling)
            .await
            .unwrap_or_else(|_| Err(EngineError::Timeout { what: what.clone(), after: LIMIT }))?;
        self.inspect(image).await?.ok_or_else(|| refusal(image, "the Engine does not have it after the pull"))
    }
}

/// Without a tag the Engine would pull every tag of the repository.
fn with_tag(image: &str) -> String {
    let name = image.rsplit_once('/').map_or(image, |(_, name)| name);
    if name.contains([':', '@']) { image.to_owned() } else { format!("{image}:latest") }
}

fn refusal(image: &str, why: &str) -> EngineError {
    let is_auth = ["unauthorized", "no basic auth credentials", "authentication required"];
    if is_auth.iter().any(|part| why.contains(part)) {
        return EngineError::Auth { registry: registry_of(image).to_owned(), why: why.to_owned() };
    }
    EngineError::Pull { image: image.to_owned(), why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_tag_means_latest_only() {
        for (image, asked) in [
            ("alpine", "alpine:latest"),
            ("r.example:5000/a", "r.example:5000/a:latest"),
            ("a:1", "a:1"),
            ("a@sha256:00", "a@sha256:00"),
        ] {
            assert_eq!(with_tag(image), asked);
        }
    }
}
