//! The Docker Engine API: build through an own BuildKit session, push with digest and progress.
//!
//! No docker CLI and no buildx is needed. The Engine's embedded builder makes one plain manifest for one platform and
//! never an attestation index, which is what ECS deploys by digest. Credentials stay in memory: the user's
//! `~/.docker/config.json` is read, never written.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::Method;
use hyper::header::HeaderMap;
use serde_json::Value;

mod build;
mod classic;
mod config_auth;
mod container_pipe;
mod context;
mod control;
mod digest;
mod distribution;
mod dockerfile;
mod endpoint;
mod error;
mod facts;
mod filesync;
mod follow_paths;
mod http;
mod ignore;
mod progress;
mod push;
mod session;
mod solve;
mod stream;
mod walk;

pub use build::{BuildRequest, BuiltImage};
pub use config_auth::RegistryCredentials;
pub use context::is_of_kernel;
pub use control::{BuildKit, BuilderAddress, BuilderTls};
pub use digest::{Content, DigestInput, beyond_content, content, context_digest, stages_beside};
pub use endpoint::Endpoint;
pub use error::EngineError;
pub use facts::{ContextFacts, context_facts};
pub use progress::{BuildEvent, StepState};
pub use push::{PushEvent, PushTarget, PushedImage};

use config_auth::DockerConfig;
use endpoint::Candidates;
use http::{Call, Query, Transport};

/// The newest API version whose answers we know. Docker 29 refuses clients below 1.44.
const OURS: ApiVersion = ApiVersion(1, 47);
/// Docker 19.03; before it the embedded BuildKit cannot be relied upon.
const OLDEST: ApiVersion = ApiVersion(1, 40);

/// A connection to one Engine. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine {
    transport: Transport,
    info: Arc<EngineInfo>,
    config: Arc<DockerConfig>,
}

/// What answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineInfo {
    pub endpoint: Endpoint,
    /// E.g. `28.2.2`.
    pub version: String,
    /// The version that our requests name, e.g. `1.47`: ours or the Engine's, whichever is older.
    pub api_version: String,
    /// `linux`.
    pub os: String,
    /// As in an image's configuration: `amd64`, `arm64`.
    pub architecture: String,
    /// Whether builds go through BuildKit; else through the classic builder.
    pub buildkit: bool,
}

impl EngineInfo {
    /// `linux/amd64`.
    pub fn platform(&self) -> String {
        format!("{}/{}", self.os, self.architecture)
    }
}

/// An image in the Engine's store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalImage {
    pub id: String,
    pub architecture: String,
    pub os: String,
    pub variant: Option<String>,
    /// `repository:tag`, each.
    pub repo_tags: Vec<String>,
    /// `repository@sha256:...`, each.
    pub repo_digests: Vec<String>,
    pub labels: BTreeMap<String, String>,
    /// Bytes on disk.
    pub size: u64,
}

impl Engine {
    /// Finds the Engine: DOCKER_HOST; the current docker context; the usual sockets of Docker, Docker Desktop, rootless
    /// Docker and Colima. Podman's socket is not looked for. An Engine that is named must answer; nothing else is tried.
    pub async fn connect(env: &BTreeMap<String, String>) -> Result<Self, EngineError> {
        let config = Arc::new(DockerConfig::load(env));
        let tried = match endpoint::candidates(env)? {
            Candidates::Named(endpoint) => vec![endpoint],
            Candidates::Usual(paths) => {
                let present: Vec<_> = paths.iter().filter(|path| path.exists()).cloned().map(Endpoint::Unix).collect();
                if present.is_empty() {
                    let looked: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
                    let why = format!("no such socket, also looked at {}", looked[1..].join(", "));
                    let why = if looked.len() == 1 { "no such socket".to_owned() } else { why };
                    return Err(EngineError::Unreachable { endpoint: format!("unix://{}", looked[0]), why });
                }
                present
            }
        };
        let mut first_failure = None;
        for endpoint in tried {
            match Self::negotiate(endpoint, env).await {
                Ok((transport, info)) => return Ok(Self { transport, info: Arc::new(info), config }),
                Err(failure) => first_failure = first_failure.or(Some(failure)),
            }
        }
        Err(first_failure.unwrap_or_else(|| EngineError::config("Docker Engine", "nowhere to look for it")))
    }

    /// What answered.
    pub fn info(&self) -> &EngineInfo {
        &self.info
    }

    /// Looks an image up by id, tag or digest; `None` if the Engine does not have it.
    pub async fn inspect(&self, image: &str) -> Result<Option<LocalImage>, EngineError> {
        let what = format!("inspecting `{image}`");
        match self.transport.json(Call::new(&what, Method::GET, format!("/images/{image}/json"))).await {
            Ok(found) => Ok(Some(local_image(&found))),
            Err(EngineError::Refused { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Gives `image` the further name `repository:tag`. A tag that another image has moves.
    pub async fn tag(&self, image: &str, repository: &str, tag: &str) -> Result<(), EngineError> {
        let what = format!("tagging `{image}` as `{repository}:{tag}`");
        let mut query = Query::default();
        query.add("repo", repository).add("tag", tag);
        let target = format!("/images/{image}/tag{}", query.as_str());
        self.transport.send(Call::new(&what, Method::POST, target)).await.map(drop)
    }

    /// Removes the name `reference` (`repository:tag`), and with its last name the image. A name that is not there is
    /// fine: the result is the same.
    pub async fn remove_tag(&self, reference: &str) -> Result<(), EngineError> {
        let what = format!("removing the tag `{reference}`");
        let target = format!("/images/{reference}?noprune=true");
        match self.transport.json(Call::new(&what, Method::DELETE, target)).await {
            Ok(_) | Err(EngineError::Refused { status: 404, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Asks an Engine what it is, and settles on an API version that both know.
    async fn negotiate(
        endpoint: Endpoint,
        env: &BTreeMap<String, String>,
    ) -> Result<(Transport, EngineInfo), EngineError> {
        let mut transport = Transport { endpoint: endpoint.clone(), prefix: String::new() };
        let ping = transport.send(Call::new("asking the Engine for its version", Method::GET, "/_ping")).await?;
        let headers = ping.response.headers().clone();
        let newest = header(&headers, "api-version").and_then(ApiVersion::parse);
        let Some(newest) = newest.filter(|newest| *newest >= OLDEST) else {
            let why = format!("its API is older than {OLDEST} (Docker 19.03)");
            return Err(EngineError::config(format!("Docker Engine at `{endpoint}`"), why));
        };

        let version = transport.json(Call::new("asking the Engine for its version", Method::GET, "/version")).await?;
        let api = newest.min(OURS).max(version["MinAPIVersion"].as_str().and_then(ApiVersion::parse).unwrap_or(OLDEST));
        transport.prefix = format!("/v{api}");
        let text = |name: &str| version[name].as_str().unwrap_or_default().to_owned();
        let info = EngineInfo {
            endpoint,
            version: text("Version"),
            api_version: api.to_string(),
            os: text("Os"),
            architecture: text("Arch"),
            buildkit: has_buildkit(&headers, &text("Os"), env),
        };
        Ok((transport, info))
    }
}

/// Every Linux Engine of the supported versions embeds BuildKit; `Builder-Version: 1` means that its administrator turned
/// it off, `DOCKER_BUILDKIT=0` that the user did. Podman serves the classic builder only.
fn has_buildkit(headers: &HeaderMap, os: &str, env: &BTreeMap<String, String>) -> bool {
    let is_podman = headers.contains_key("libpod-api-version");
    let wanted = match env.get("DOCKER_BUILDKIT").map(|value| value.to_ascii_lowercase()).as_deref() {
        Some("0" | "false" | "f") => false,
        Some("1" | "true" | "t") => true,
        _ => header(headers, "builder-version") != Some("1"),
    };
    wanted && os == "linux" && !is_podman
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn local_image(found: &Value) -> LocalImage {
    let text = |name: &str| found[name].as_str().unwrap_or_default().to_owned();
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let labels = found["Config"]["Labels"].as_object().into_iter().flatten();
    LocalImage {
        id: text("Id"),
        architecture: text("Architecture"),
        os: text("Os"),
        variant: found["Variant"].as_str().filter(|variant| !variant.is_empty()).map(str::to_owned),
        repo_tags: texts(&found["RepoTags"]),
        repo_digests: texts(&found["RepoDigests"]),
        labels: labels.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect(),
        size: found["Size"].as_u64().unwrap_or_default(),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ApiVersion(u32, u32);

impl ApiVersion {
    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        Some(Self(major.parse().ok()?, minor.parse().ok()?))
    }
}

impl std::fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buildkit_is_used_unless_someone_turned_it_off() {
        let env = |value: Option<&str>| -> BTreeMap<String, String> {
            value.map(|value| ("DOCKER_BUILDKIT".to_owned(), value.to_owned())).into_iter().collect()
        };
        let headers = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
            pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
        };
        assert!(has_buildkit(&headers(&[]), "linux", &env(None)));
        assert!(has_buildkit(&headers(&[("builder-version", "2")]), "linux", &env(None)));
        assert!(!has_buildkit(&headers(&[("builder-version", "1")]), "linux", &env(None)));
        assert!(has_buildkit(&headers(&[("builder-version", "1")]), "linux", &env(Some("1"))));
        assert!(!has_buildkit(&headers(&[]), "linux", &env(Some("0"))));
        assert!(!has_buildkit(&headers(&[]), "windows", &env(None)));
        assert!(!has_buildkit(&headers(&[("libpod-api-version", "5.0.0")]), "linux", &env(None)));
    }

    #[test]
    fn api_versions_compare_by_number() {
        assert!(ApiVersion(1, 9) < ApiVersion(1, 41));
        assert_eq!(ApiVersion::parse("1.41").unwrap().min(OURS).to_string(), "1.41");
        assert_eq!(ApiVersion::parse("1.52").unwrap().min(OURS), OURS);
        assert_eq!(ApiVersion::parse("beta"), None);
    }
}
