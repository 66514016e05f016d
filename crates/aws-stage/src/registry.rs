//! The image registry behind ECR: repositories, manifests, tags and blobs, with ECR's rules on who may write what.
//!
//! The `container-registry` crate was looked at: it sits on axum 0.7 and knows no ECR rules, hence our own.
//! `wire` speaks the distribution protocol to Docker; `ecr.rs` is AWS's API over the same images.

pub(crate) mod repository;
mod upload;
pub(crate) mod wire;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::api::{Caller, partition};
use super::behavior::IdenticalPush;
use super::request::{lock, random_hex};
use repository::{Repository, is_digest};

/// Every repository of the stage, the blobs on disk, and the passwords that open it.
#[derive(Debug)]
pub struct Registry {
    address: SocketAddr,
    home: Scope,
    root: PathBuf,
    pub(super) identical_push: IdenticalPush,
    pub(super) repositories: Mutex<HashMap<Scope, BTreeMap<String, Repository>>>,
    uploads: Mutex<HashMap<String, upload::Shared>>,
    passwords: Mutex<HashMap<String, Grant>>,
    internal: String,
    trouble: Mutex<Option<String>>,
}

/// One private registry: AWS has one per account and Region.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    /// Twelve digits.
    pub account: String,
    /// E.g. `eu-central-1`.
    pub region: String,
}

impl Scope {
    /// The registry that a caller's API calls are about.
    #[must_use]
    pub fn of(caller: &Caller) -> Self {
        Self { account: caller.account.clone(), region: caller.region.clone() }
    }
}

#[derive(Debug)]
struct Grant {
    caller: Caller,
    until: Option<Instant>,
}

/// Why a registry password did not open anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nobody was given this password.
    Unknown,
    /// Its twelve hours are over.
    Expired,
}

/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html>
const PASSWORD_LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);

impl Registry {
    /// A registry that listens (through the stage's server) on `address`, with its blobs under `root`.
    pub fn new(
        address: SocketAddr,
        account: &str,
        region: &str,
        root: PathBuf,
        identical_push: IdenticalPush,
    ) -> std::io::Result<Self> {
        std::fs::create_dir_all(root.join("blobs"))?;
        std::fs::create_dir_all(root.join("uploads"))?;
        let internal = random_hex(32);
        let arn = format!("arn:{}:iam::{account}:root", partition(region));
        let caller = Caller { account: account.to_owned(), region: region.to_owned(), arn, session_policy: None };
        let grant = Grant { caller, until: None };
        Ok(Self {
            address,
            home: Scope { account: account.to_owned(), region: region.to_owned() },
            root,
            identical_push,
            repositories: Mutex::default(),
            uploads: Mutex::default(),
            passwords: Mutex::new(HashMap::from([(internal.clone(), grant)])),
            internal,
            trouble: Mutex::default(),
        })
    }

    /// Why layers could not be kept, if that happened.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        lock(&self.trouble).clone()
    }

    /// The disk does not take what was pushed.
    pub(super) fn note_trouble(&self, error: &std::io::Error) {
        lock(&self.trouble).get_or_insert_with(|| format!("`{}`: {error}", self.root.display()));
    }

    /// Where Docker reaches the registry.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The digest that a tag or digest of a home repository names.
    #[must_use]
    pub fn digest(&self, repository: &str, reference: &str) -> Option<String> {
        let repositories = lock(&self.repositories);
        repositories.get(&self.home)?.get(repository)?.resolve(reference).map(str::to_owned)
    }

    /// What the Engine can pull for an image string of a task definition, if the image lives in this registry:
    /// `ACCOUNT.dkr.ecr.REGION.amazonaws.com/repo:tag` and `127.0.0.1:PORT/repo:tag` both do.
    #[must_use]
    pub fn pull_reference(&self, image: &str) -> Option<String> {
        let (host, rest) = image.split_once('/')?;
        let port = self.address.port();
        let here = host == format!("127.0.0.1:{port}") || host == format!("localhost:{port}");
        (here || self.is_home(host)).then(|| format!("{}/{rest}", self.address))
    }

    /// What the stage itself pulls with, in the form that the Engine takes.
    #[must_use]
    pub fn pull_credentials(&self) -> bollard::auth::DockerCredentials {
        bollard::auth::DockerCredentials {
            username: Some("AWS".to_owned()),
            password: Some(self.internal.clone()),
            ..Default::default()
        }
    }

    /// A password for `docker login`, good for twelve hours and for what `caller` may do.
    #[must_use]
    pub fn issue_password(&self, caller: &Caller) -> (String, Duration) {
        let password = random_hex(64);
        let until = Some(Instant::now() + PASSWORD_LIFETIME);
        lock(&self.passwords).insert(password.clone(), Grant { caller: caller.clone(), until });
        (password, PASSWORD_LIFETIME)
    }

    /// Who a password was given to.
    pub fn caller_of(&self, password: &str) -> Result<Caller, Refusal> {
        let passwords = lock(&self.passwords);
        let grant = passwords.get(password).ok_or(Refusal::Unknown)?;
        match grant.until {
            Some(until) if until <= Instant::now() => Err(Refusal::Expired),
            _ => Ok(grant.caller.clone()),
        }
    }

    /// Whether the stage itself pulls: its credential is above every policy.
    pub(super) fn is_internal(&self, password: &str) -> bool {
        password == self.internal
    }

    fn blob_path(&self, digest: &str) -> Option<PathBuf> {
        is_digest(digest).then(|| self.root.join("blobs").join(digest.replace(':', "-")))
    }

    fn root(&self) -> &Path {
        &self.root
    }

    /// `ACCOUNT.dkr.ecr[-fips].REGION.amazonaws.com[.cn]` and `ACCOUNT.dkr-ecr.REGION.on.aws` of the home account and
    /// Region.
    fn is_home(&self, host: &str) -> bool {
        let Some((account, rest)) = host.split_once('.') else { return false };
        let region = ["dkr.ecr.", "dkr.ecr-fips.", "dkr-ecr."].iter().find_map(|prefix| rest.strip_prefix(prefix));
        let region = region.and_then(|rest| {
            [".amazonaws.com", ".amazonaws.com.cn", ".on.aws"].iter().find_map(|suffix| rest.strip_suffix(suffix))
        });
        account == self.home.account && region == Some(self.home.region.as_str())
    }

    /// Removes every blob. Of a stage that ends with its process nobody drops the last share of it.
    pub(super) fn clear(&self) {
        // A leftover directory in the temporary directory is all that can go wrong here.
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.clear();
    }
}
