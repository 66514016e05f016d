//! Asks a registry, through the Engine, which digest a reference stands for now.

use super::config_auth::{RegistryCredentials, registry_of};
use super::http::Call;
use super::{Engine, EngineError};
use hyper::Method;
use hyper::header::{HeaderName, HeaderValue};

impl Engine {
    /// The digest of `image` (`repository:tag`) in its registry, with the user's docker configuration; nothing is pulled.
    /// <https://docs.docker.com/reference/api/engine/version/v1.47/#tag/Distribution>
    pub async fn registry_digest(&self, image: &str) -> Result<String, EngineError> {
        let registry = registry_of(image);
        let credentials = self.config.credentials(registry).await?;
        let what = format!("looking up `{image}` in {registry}");
        let mut call = Call::new(&what, Method::GET, format!("/distribution/{image}/json"));
        if let Ok(value) = HeaderValue::from_str(&RegistryCredentials::header(credentials.as_ref(), registry)) {
            call.headers.insert(HeaderName::from_static("x-registry-auth"), value);
        }
        let found = self.transport.json(call).await?;
        found["Descriptor"]["digest"].as_str().map(str::to_owned).ok_or_else(|| EngineError::Refused {
            what,
            status: 200,
            why: "the answer has no digest".to_owned(),
        })
    }
}
