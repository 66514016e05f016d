//! Where the Engine listens: DOCKER_HOST, a docker context, or one of the places where an Engine usually is.
//!
//! <https://docs.docker.com/engine/manage-resources/contexts/>

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::error::EngineError;

/// The address of an Engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A Unix socket.
    Unix(PathBuf),
    /// Plain HTTP, `host:port`.
    Tcp(String),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

impl Endpoint {
    /// Reads `unix://PATH` and `tcp://HOST[:PORT]`. `ssh://`, `npipe://` and TCP with TLS are refused.
    pub fn parse(host: &str, is_tls: bool) -> Result<Self, EngineError> {
        let refuse = |why: &str| Err(EngineError::config(format!("Docker host `{host}`"), why));
        if host.starts_with("ssh://") {
            return refuse(
                "ssh is not supported, forward the socket instead: ssh -L /tmp/docker.sock:/var/run/docker.sock HOST",
            );
        }
        if let Some(path) = host.strip_prefix("unix://") {
            return if path.is_empty() { refuse("the path is missing") } else { Ok(Self::Unix(path.into())) };
        }
        let Some(address) = host.strip_prefix("tcp://").or_else(|| host.strip_prefix("http://")) else {
            return refuse("expected unix://PATH or tcp://HOST:PORT");
        };
        if is_tls {
            return refuse("TLS to the Engine is not supported, use its Unix socket or a tunnel");
        }
        let address = address.trim_end_matches('/');
        let port = address.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.ends_with(']'));
        match port {
            _ if address.is_empty() => refuse("the host is missing"),
            None => Ok(Self::Tcp(format!("{address}:2375"))),
            Some(port) if port.parse::<u16>().is_ok() => Ok(Self::Tcp(address.to_owned())),
            Some(_) => refuse("the port is not a number"),
        }
    }
}

/// Where to look, in order. An Engine that the user names is the only candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Candidates {
    Named(Endpoint),
    Usual(Vec<PathBuf>),
}

/// Reads DOCKER_HOST, then DOCKER_CONTEXT or the current context of `config.json`, as the docker CLI does.
pub(super) fn candidates(env: &BTreeMap<String, String>) -> Result<Candidates, EngineError> {
    let set = |name: &str| env.get(name).map(String::as_str).filter(|value| !value.is_empty());
    if let Some(host) = set("DOCKER_HOST") {
        let is_tls = set("DOCKER_TLS_VERIFY").is_some() || set("DOCKER_TLS").is_some();
        return Endpoint::parse(host, is_tls).map(Candidates::Named);
    }
    let directory = config_directory(env);
    let current = set("DOCKER_CONTEXT").map(str::to_owned).or_else(|| current_context(directory.as_deref()?));
    if let Some(name) = current.filter(|name| name != "default") {
        return context_endpoint(directory.as_deref(), &name).map(Candidates::Named);
    }

    let mut usual = vec![PathBuf::from("/var/run/docker.sock")];
    let home = set("HOME").map(Path::new);
    usual.extend(home.map(|home| home.join(".docker/run/docker.sock")));
    usual.extend(set("XDG_RUNTIME_DIR").map(|directory| Path::new(directory).join("docker.sock")));
    usual.extend(home.map(|home| home.join(".colima/default/docker.sock")));
    Ok(Candidates::Usual(usual))
}

/// `$DOCKER_CONFIG`, else `~/.docker`.
pub(super) fn config_directory(env: &BTreeMap<String, String>) -> Option<PathBuf> {
    let set = |name: &str| env.get(name).filter(|value| !value.is_empty());
    set("DOCKER_CONFIG").map(PathBuf::from).or_else(|| Some(Path::new(set("HOME")?).join(".docker")))
}

fn current_context(directory: &Path) -> Option<String> {
    let config: Value = serde_json::from_slice(&fs::read(directory.join("config.json")).ok()?).ok()?;
    config["currentContext"].as_str().filter(|name| !name.is_empty()).map(str::to_owned)
}

/// Contexts are stored under the SHA-256 of their name.
fn context_endpoint(directory: Option<&Path>, name: &str) -> Result<Endpoint, EngineError> {
    let refuse = |why: String| EngineError::config(format!("docker context `{name}`"), why);
    let hash = hex::encode(Sha256::digest(name.as_bytes()));
    let path = directory
        .map(|directory| directory.join("contexts/meta").join(&hash).join("meta.json"))
        .ok_or_else(|| refuse("neither DOCKER_CONFIG nor HOME is set".to_owned()))?;
    let text = fs::read(&path).map_err(|_| refuse("does not exist, see `docker context ls`".to_owned()))?;
    let meta: Value = serde_json::from_slice(&text).map_err(|error| refuse(error.to_string()))?;
    let host = meta["Endpoints"]["docker"]["Host"].as_str().ok_or_else(|| refuse("has no Docker host".to_owned()))?;
    let is_tls = directory.is_some_and(|directory| directory.join("contexts/tls").join(&hash).exists());
    Endpoint::parse(host, is_tls)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn hosts_are_read_as_the_docker_cli_reads_them() {
        for (host, expected) in [
            ("unix:///run/x.sock", "unix:///run/x.sock"),
            ("tcp://10.0.0.1:2375", "tcp://10.0.0.1:2375"),
            ("tcp://docker", "tcp://docker:2375"),
            ("tcp://[::1]:99/", "tcp://[::1]:99"),
            ("tcp://[::1]", "tcp://[::1]:2375"),
        ] {
            assert_eq!(Endpoint::parse(host, false).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn hosts_that_we_cannot_speak_to_are_refused_with_a_reason() {
        for (host, is_tls, why) in [
            ("ssh://me@there", false, "ssh is not supported"),
            ("tcp://docker:2376", true, "TLS to the Engine is not supported"),
            ("npipe:////./pipe/docker_engine", false, "expected unix://PATH or tcp://HOST:PORT"),
            ("tcp://docker:port", false, "the port is not a number"),
            ("unix://", false, "the path is missing"),
        ] {
            let refusal = Endpoint::parse(host, is_tls).unwrap_err().to_string();
            assert!(refusal.starts_with(&format!("Docker host `{host}`: {why}")), "{refusal}");
        }
    }

    #[test]
    fn docker_host_beats_the_context_and_the_context_beats_the_usual_places() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join(".docker");
        let hash = hex::encode(Sha256::digest("colima"));
        let meta = directory.join("contexts/meta").join(hash);
        fs::create_dir_all(&meta).unwrap();
        fs::write(meta.join("meta.json"), r#"{"Name":"colima","Endpoints":{"docker":{"Host":"unix:///c.sock"}}}"#)
            .unwrap();
        fs::write(directory.join("config.json"), r#"{"currentContext":"colima"}"#).unwrap();
        let home = home.path().to_str().unwrap();

        let named = |pairs: &[(&str, &str)]| match candidates(&env(pairs)).unwrap() {
            Candidates::Named(endpoint) => endpoint.to_string(),
            Candidates::Usual(usual) => usual[0].display().to_string(),
        };
        assert_eq!(named(&[("HOME", home), ("DOCKER_HOST", "tcp://h:1")]), "tcp://h:1");
        assert_eq!(named(&[("HOME", home)]), "unix:///c.sock");
        assert_eq!(named(&[("HOME", home), ("DOCKER_CONTEXT", "default")]), "/var/run/docker.sock");
        let missing = candidates(&env(&[("HOME", home), ("DOCKER_CONTEXT", "gone")])).unwrap_err();
        assert_eq!(missing.to_string(), "docker context `gone`: does not exist, see `docker context ls`");
    }

    #[test]
    fn the_usual_places_include_rootless_and_colima() {
        let Candidates::Usual(usual) = candidates(&env(&[("HOME", "/h"), ("XDG_RUNTIME_DIR", "/run/user/1")])).unwrap()
        else {
            panic!("no engine was named")
        };
        let usual: Vec<_> = usual.iter().map(|path| path.to_str().unwrap()).collect();
        assert_eq!(
            usual,
            [
                "/var/run/docker.sock",
                "/h/.docker/run/docker.sock",
                "/run/user/1/docker.sock",
                "/h/.colima/default/docker.sock"
            ]
        );
    }
}
