//! The images of a task: which digest, from which registry, and is it for this processor.

use super::container::{Container, name, text};
use super::{TaskSpec, Tasks};
use crate::containers::without_tag;
use crate::request::lock;
use bollard::auth::DockerCredentials;
use serde_json::Value;
use std::sync::Arc;

impl Tasks {
    /// The digest that an image string stands for now, as a service's deployment resolves it; AWS's reason otherwise.
    /// `None`: only another registry knows, or the Engine.
    pub(crate) fn resolve_image(&self, image: &str) -> Result<Option<String>, String> {
        if let Some((_, digest)) = image.split_once('@') {
            return Ok(Some(digest.to_owned()));
        }
        let Some(reference) = self.deps.images.pull_reference(image) else { return Ok(None) };
        let path = reference.split_once('/').map_or(reference.as_str(), |(_, path)| path);
        let (repository, tag) = path.rsplit_once(':').unwrap_or((path, "latest"));
        match self.deps.images.digest(repository, tag) {
            Some(digest) => Ok(Some(digest)),
            None => Err(not_found(image)),
        }
    }

    /// Brings a container's image here. What the Engine knows it by, and its digest.
    pub(super) async fn image(
        &self,
        spec: &TaskSpec,
        container: &Container,
    ) -> Result<(String, Option<String>), String> {
        let image = text(container, "image");
        let resolved = spec.resolved_images.iter().find(|(of, _)| of == name(container)).map(|(_, digest)| digest);
        let (reference, digest) = match self.deps.images.pull_reference(image) {
            Some(reference) => {
                let digest = match resolved {
                    Some(digest) => Some(digest.clone()),
                    None => self.resolve_image(image)?,
                };
                let reference = pinned(&reference, digest.as_deref());
                self.pull(image, &reference, self.deps.images.pull_credentials()).await?;
                (reference, digest)
            }
            None => {
                let reference = pinned(image, resolved.map(String::as_str));
                if has_registry(image) {
                    self.pull(image, &reference, self.private_registry(container)?).await?;
                }
                (reference, resolved.cloned())
            }
        };
        let wanted = architecture(spec);
        let found = self.containers.image(&reference).await.ok_or_else(|| not_found(image))?;
        match found.architecture {
            Some(actual) if actual != wanted => {
                Err(format!("{PULL} image Manifest does not contain descriptor matching platform 'linux/{wanted}'"))
            }
            _ => Ok((reference, digest.or(found.digest))),
        }
    }

    /// Tasks that want one image at the same time wait for one pull.
    async fn pull(&self, image: &str, reference: &str, credentials: DockerCredentials) -> Result<(), String> {
        let pull = Arc::clone(lock(&self.pulls).entry(reference.to_owned()).or_default());
        let pulled = pull.get_or_try_init(|| self.containers.pull(reference, credentials)).await;
        pulled.map_err(|why| match why.contains("not found") || why.contains("unknown") {
            true => not_found(image),
            false => format!("{PULL} failed to resolve ref {image}: {why}"),
        })?;
        Ok(())
    }

    /// What `repositoryCredentials` opens a registry with: a secret by its ARN, or in the same Region by its name, that holds
    /// `username` and `password`.
    /// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/private-auth.html>
    fn private_registry(&self, container: &Container) -> Result<DockerCredentials, String> {
        let parameter = container.get("repositoryCredentials").and_then(|c| c.get("credentialsParameter")?.as_str());
        let Some(parameter) = parameter else { return Ok(DockerCredentials::default()) };
        let head = "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: unable to \
                    retrieve secret from asm: service call has been retried 1 time(s):";
        let value = self
            .deps
            .secrets
            .value(parameter)
            .map_err(|e| format!("{head} failed to fetch secret {parameter} from secrets manager: {e}"))?;
        let pair: Value = serde_json::from_str(&value)
            .map_err(|_| format!("{head} the value of {parameter} is not a JSON object"))?;
        let member = |name: &str| pair.get(name).and_then(Value::as_str).map(str::to_owned);
        Ok(DockerCredentials { username: member("username"), password: member("password"), ..Default::default() })
    }
}

/// The architecture that a task asks for, in an image's words. X86_64 unless it says otherwise.
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RuntimePlatform.html>
fn architecture(spec: &TaskSpec) -> &'static str {
    match spec.definition.body.get("runtimePlatform").and_then(|p| p.get("cpuArchitecture")?.as_str()) {
        Some("ARM64") => "arm64",
        _ => "amd64",
    }
}

/// Whether an image's name starts with a host. Others are the Engine's own: there is no Docker Hub here.
fn has_registry(image: &str) -> bool {
    image.split_once('/').is_some_and(|(host, _)| host == "localhost" || host.contains(['.', ':']))
}

fn pinned(reference: &str, digest: Option<&str>) -> String {
    digest.map_or_else(|| reference.to_owned(), |digest| format!("{}@{digest}", without_tag(reference)))
}

/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_cannot_pull_image.html>
const PULL: &str = "CannotPullContainerError: pull image manifest has been retried 1 time(s):";

fn not_found(image: &str) -> String {
    format!("{PULL} failed to resolve ref {image}: {image}: not found")
}

#[cfg(test)]
mod tests {
    use super::{has_registry, pinned};

    #[test]
    fn a_port_is_not_a_tag_and_a_digest_replaces_both() {
        assert_eq!(pinned("127.0.0.1:5000/web", Some("sha256:00")), "127.0.0.1:5000/web@sha256:00");
        assert_eq!(pinned("127.0.0.1:5000/web:v1", Some("sha256:00")), "127.0.0.1:5000/web@sha256:00");
        assert_eq!(pinned("127.0.0.1:5000/web:v1@sha256:00", None), "127.0.0.1:5000/web:v1@sha256:00");
    }

    #[test]
    fn only_a_name_that_starts_with_a_host_is_pulled() {
        for (image, expected) in [
            ("ghcr.io/org/api:v1", true),
            ("127.0.0.1:5000/api", true),
            ("localhost/api", true),
            ("org/api", false),
            ("api:v1", false),
        ] {
            assert_eq!(has_registry(image), expected, "{image}");
        }
    }
}
