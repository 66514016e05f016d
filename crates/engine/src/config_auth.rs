//! Credentials from the user's docker configuration: `credHelpers`, `credsStore`, `auths`, in the docker CLI's order.
//! The file is read and never written.
//!
//! <https://docs.docker.com/reference/cli/docker/login/#credential-stores>

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde::Deserialize;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use super::endpoint::config_directory;
use super::error::EngineError;
use fargate_deploy_core::redact::Secret;

const DOCKER_HUB: &str = "https://index.docker.io/v1/";
/// The user name with which a helper says that the secret is an identity token.
const IDENTITY_TOKEN: &str = "<token>";
/// A hundred logins have some 20 kB.
const LARGEST: u64 = 1024 * 1024;
const HELPER_LIMIT: Duration = Duration::from_secs(20);

/// A user of one registry. `Debug` shows the name only.
#[derive(Clone, Debug)]
pub struct RegistryCredentials {
    pub username: String,
    pub password: Secret,
}

impl RegistryCredentials {
    /// Wraps a name and a password.
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self { username: username.into(), password: Secret::new(password.into()) }
    }

    /// The value of `X-Registry-Auth`. The Engine decodes the URL-safe alphabet and silently sends nothing otherwise.
    /// <https://docs.docker.com/reference/api/engine/#section/Authentication>
    pub(super) fn header(credentials: Option<&Self>, registry: &str) -> String {
        let value = match credentials {
            None => json!({}),
            Some(Self { username, password }) if username == IDENTITY_TOKEN => {
                json!({"identitytoken": password.expose(), "serveraddress": registry})
            }
            Some(Self { username, password }) => {
                json!({"username": username, "password": password.expose(), "serveraddress": registry})
            }
        };
        URL_SAFE.encode(value.to_string())
    }

    /// As BuildKit's session wants them: an identity token goes without a name.
    pub(super) fn for_session(&self) -> (String, String) {
        let name = if self.username == IDENTITY_TOKEN { String::new() } else { self.username.clone() };
        (name, self.password.expose().clone())
    }
}

/// The user's docker configuration, as far as it concerns registries.
#[derive(Clone, Debug)]
pub(super) struct DockerConfig {
    /// What is wrong with the file shows only where a login is needed.
    file: Result<ConfigFile, EngineError>,
    /// What a credential helper gets to see.
    env: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ConfigFile {
    auths: BTreeMap<String, AuthEntry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct AuthEntry {
    auth: Secret,
    username: String,
    password: Secret,
    identitytoken: Secret,
}

impl DockerConfig {
    /// Reads `$DOCKER_CONFIG/config.json`, else `~/.docker/config.json`. No file is an empty configuration.
    pub fn load(env: &BTreeMap<String, String>) -> Self {
        Self { file: ConfigFile::read(env), env: env.clone() }
    }

    /// What the configuration holds for `registry` (a host such as `ghcr.io`, `docker.io` for Docker Hub); `None` means
    /// anonymous.
    pub async fn credentials(&self, registry: &str) -> Result<Option<RegistryCredentials>, EngineError> {
        let file = self.file.as_ref().map_err(Clone::clone)?;
        let key = config_key(registry);
        let helper = file.cred_helpers.get(key).or(file.creds_store.as_ref().filter(|name| !name.is_empty()));
        if let Some(helper) = helper {
            return self.ask_helper(helper, key).await;
        }
        let entry = file
            .auths
            .get(key)
            .or_else(|| file.auths.iter().find(|(stored, _)| host_of(stored) == host_of(key)).map(|(_, entry)| entry));
        match entry {
            Some(entry) => entry.credentials(registry),
            None => Ok(None),
        }
    }

    /// <https://github.com/docker/docker-credential-helpers#development>: the registry on stdin, JSON on stdout.
    async fn ask_helper(&self, helper: &str, key: &str) -> Result<Option<RegistryCredentials>, EngineError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Found {
            #[serde(default)]
            username: String,
            secret: Secret,
        }

        let program = format!("docker-credential-{helper}");
        let refuse = |why: String| EngineError::Auth { registry: host_of(key).to_owned(), why };
        let asking = async {
            let mut child = Command::new(&program)
                .arg("get")
                .env_clear()
                .envs(&self.env)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .kill_on_drop(true)
                .spawn()?;
            if let Some(mut stdin) = child.stdin.take() {
                // A helper that answers without reading is fine.
                let _ = stdin.write_all(key.as_bytes()).await;
            }
            child.wait_with_output().await
        };
        let output = timeout(HELPER_LIMIT, asking)
            .await
            .map_err(|_| EngineError::Timeout { what: format!("asking `{program}`"), after: HELPER_LIMIT })?
            .map_err(|error| refuse(format!("`{program}`: {}", super::context::sentence(&error))))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            if said.contains("credentials not found") {
                return Ok(None);
            }
            // What it says there is why; an answer with the secret in it that came too late is no reason.
            let is_answer = serde_json::from_str::<serde_json::Value>(&said).is_ok_and(|said| said.is_object());
            let said = if said.is_empty() || is_answer {
                String::from_utf8_lossy(&output.stderr).trim().to_owned()
            } else {
                said
            };
            return Err(refuse(format!("`{program}`: {said}")));
        }
        let found: Found = serde_json::from_slice(&output.stdout)
            .map_err(|_| refuse(format!("`{program}`: its answer is not the JSON of a credential helper")))?;
        Ok(Some(RegistryCredentials { username: found.username, password: found.secret }))
    }
}

impl ConfigFile {
    fn read(env: &BTreeMap<String, String>) -> Result<Self, EngineError> {
        let Some(path) = config_directory(env).map(|directory| directory.join("config.json")) else {
            return Ok(Self::default());
        };
        let subject = format!("`{}`", path.display());
        if fs::metadata(&path).is_ok_and(|file| !file.is_file() || file.len() > LARGEST) {
            let why = format!("not a file of at most {} MiB", LARGEST / 1024 / 1024);
            return Err(EngineError::config(&subject, why));
        }
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| {
                // The value itself may be in serde's message, and it may be a password.
                EngineError::config(&subject, format!("not a docker configuration, line {}", error.line()))
            }),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(Self::default())
            }
            Err(error) => Err(EngineError::config(subject, super::context::sentence(&error))),
        }
    }
}

impl AuthEntry {
    fn credentials(&self, registry: &str) -> Result<Option<RegistryCredentials>, EngineError> {
        if !self.identitytoken.expose().is_empty() {
            let password = self.identitytoken.clone();
            return Ok(Some(RegistryCredentials { username: IDENTITY_TOKEN.to_owned(), password }));
        }
        if self.auth.expose().is_empty() {
            let named = RegistryCredentials { username: self.username.clone(), password: self.password.clone() };
            return Ok((!named.username.is_empty()).then_some(named));
        }
        let decoded = STANDARD.decode(self.auth.expose()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let decoded = decoded.as_deref().map(|text| text.trim_end_matches('\0')).and_then(|text| text.split_once(':'));
        match decoded {
            Some((username, password)) => Ok(Some(RegistryCredentials::new(username, password))),
            None => {
                let why = "its `auth` in the docker configuration is not base64 of `user:password`".to_owned();
                Err(EngineError::Auth { registry: registry.to_owned(), why })
            }
        }
    }
}

/// The registry that an image reference names; Docker Hub if it names none.
pub(super) fn registry_of(reference: &str) -> &str {
    match reference.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        _ => "docker.io",
    }
}

fn config_key(registry: &str) -> &str {
    match registry {
        "docker.io" | "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB,
        other => other,
    }
}

fn host_of(key: &str) -> &str {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    key.split('/').next().unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    struct Home(tempfile::TempDir);

    impl Home {
        fn with(config: &str) -> Self {
            let home = Self(tempfile::tempdir().unwrap());
            fs::write(home.0.path().join("config.json"), config).unwrap();
            home
        }

        fn helper(self, name: &str, script: &str) -> Self {
            let path = self.0.path().join(format!("docker-credential-{name}"));
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            self
        }

        fn load(&self) -> DockerConfig {
            let directory = self.0.path().to_str().unwrap();
            let env = [("DOCKER_CONFIG", directory.to_owned()), ("PATH", format!("{directory}:/usr/bin:/bin"))];
            DockerConfig::load(&env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
        }
    }

    fn pair(found: Option<RegistryCredentials>) -> (String, String) {
        let found = found.unwrap();
        (found.username, found.password.expose().clone())
    }

    #[tokio::test]
    async fn auths_are_found_under_every_spelling_of_a_registry() {
        let config = Home::with(
            r#"{"auths":{"https://index.docker.io/v1/":{"auth":"aHViOnB3OndpdGg6Y29sb25z"},
                "https://ghcr.io/v2/":{"auth":"Z2g6dG9rZW4="},"quay.io":{"username":"q","password":"p"},
                "empty.example":{}, "id.example":{"auth":"eDp5","identitytoken":"idt"}}}"#,
        )
        .load();
        for hub in ["docker.io", "registry-1.docker.io", "index.docker.io"] {
            assert_eq!(pair(config.credentials(hub).await.unwrap()), ("hub".into(), "pw:with:colons".into()));
        }
        assert_eq!(pair(config.credentials("ghcr.io").await.unwrap()), ("gh".into(), "token".into()));
        assert_eq!(pair(config.credentials("quay.io").await.unwrap()), ("q".into(), "p".into()));
        assert!(config.credentials("empty.example").await.unwrap().is_none());
        assert!(config.credentials("unknown.example").await.unwrap().is_none());
        let token = config.credentials("id.example").await.unwrap().unwrap();
        assert_eq!(token.for_session(), (String::new(), "idt".to_owned()));
    }

    #[tokio::test]
    async fn a_helper_for_one_registry_beats_the_store_for_all() {
        let home = Home::with(r#"{"credHelpers":{"ghcr.io":"one"},"credsStore":"all","auths":{"ghcr.io":{}}}"#)
            .helper("one", r#"read host; echo "{\"Username\":\"one\",\"Secret\":\"for-$host\"}""#)
            .helper("all", r#"echo "credentials not found in native keychain"; exit 1"#);
        let config = home.load();
        assert_eq!(pair(config.credentials("ghcr.io").await.unwrap()), ("one".into(), "for-ghcr.io".into()));
        assert!(config.credentials("docker.io").await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_broken_or_missing_helper_is_named() {
        let home = Home::with(r#"{"credHelpers":{"a.io":"missing","b.io":"broken"}}"#)
            .helper("broken", r#"echo "the vault is locked" >&2; exit 3"#);
        let config = home.load();
        let missing = config.credentials("a.io").await.unwrap_err().to_string();
        assert_eq!(missing, "registry `a.io` refused the credentials: `docker-credential-missing`: does not exist");
        let broken = config.credentials("b.io").await.unwrap_err().to_string();
        assert!(broken.ends_with("`docker-credential-broken`: the vault is locked"), "{broken}");
        let late = Home::with(r#"{"credHelpers":{"a.io":"late"}}"#)
            .helper("late", r#"echo '{"Username":"u","Secret":"hunter2"}'; echo "the pipe broke" >&2; exit 1"#);
        let late = late.load().credentials("a.io").await.unwrap_err().to_string();
        assert!(late.ends_with("`docker-credential-late`: the pipe broke"), "{late}");
    }

    #[tokio::test]
    async fn a_broken_file_is_told_where_a_login_is_needed_and_names_no_value() {
        let broken = Home::with("{\"auths\": {\n\"ghcr.io\": {\"auth\": 1234567}}}").load();
        let refusal = broken.credentials("ghcr.io").await.unwrap_err().to_string();
        assert!(refusal.ends_with("config.json`: not a docker configuration, line 2"), "{refusal}");
    }

    #[tokio::test]
    async fn a_configuration_that_is_no_file_or_too_large_is_not_read() {
        let home = Home::with("");
        let file = home.0.path().join("config.json");
        fs::File::create(&file).unwrap().set_len(8 << 30).unwrap();
        let refused = home.load().credentials("ghcr.io").await.unwrap_err().to_string();
        assert!(refused.ends_with("not a file of at most 1 MiB"), "{refused}");
        fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &file).unwrap();
        let refused = home.load().credentials("ghcr.io").await.unwrap_err().to_string();
        assert!(refused.ends_with("not a file of at most 1 MiB"), "{refused}");
    }

    #[test]
    fn the_auth_header_is_url_safe_and_debug_hides_the_password() {
        let credentials = RegistryCredentials::new("AWS", "~~~???>>>\u{ff}");
        let header = RegistryCredentials::header(Some(&credentials), "r.example");
        assert!(!header.contains(['+', '/']), "{header}");
        let decoded: serde_json::Value = serde_json::from_slice(&URL_SAFE.decode(header).unwrap()).unwrap();
        assert_eq!(decoded["password"], "~~~???>>>\u{ff}");
        assert_eq!(RegistryCredentials::header(None, "r.example"), "e30=");
        assert_eq!(format!("{credentials:?}"), r#"RegistryCredentials { username: "AWS", password: Secret(***) }"#);
    }

    #[test]
    fn a_reference_names_its_registry_only_with_a_dot_a_port_or_localhost() {
        for (reference, registry) in [
            ("alpine", "docker.io"),
            ("library/alpine:3", "docker.io"),
            ("ghcr.io/a/b:1", "ghcr.io"),
            ("localhost/a", "localhost"),
            ("127.0.0.1:5000/a@sha256:00", "127.0.0.1:5000"),
        ] {
            assert_eq!(registry_of(reference), registry);
        }
    }
}
