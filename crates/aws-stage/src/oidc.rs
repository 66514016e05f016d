//! The GitHub side of federation: the endpoint that hands a job its OIDC token, and the key that signs it.
//! <https://docs.github.com/en/actions/reference/security/oidc>

use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::anyhow;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::request::{lock, random_hex};

/// The issuer of github.com; its keys are served by the stage.
pub const GITHUB_ISSUER: &str = "https://token.actions.githubusercontent.com";

/// The job that asks for tokens.
#[derive(Clone, Debug)]
pub struct GithubJob {
    /// `owner/name`.
    pub repository: String,
    /// A number that appears in immutable subjects.
    pub owner_id: u64,
    /// See `owner_id`.
    pub repository_id: u64,
    /// E.g. `refs/heads/main`.
    pub git_ref: String,
    /// The commit.
    pub sha: String,
    /// The job's environment, if it has one.
    pub environment: Option<String>,
    /// E.g. `push` or `pull_request`.
    pub event: String,
    /// Who started the run.
    pub actor: String,
    /// See `actor`.
    pub actor_id: u64,
    /// The run.
    pub run_id: u64,
    /// Which attempt of the run.
    pub run_attempt: u32,
    /// The workflow's name.
    pub workflow: String,
    /// `owner/name/.github/workflows/file.yml@ref`.
    pub job_workflow_ref: String,
    /// Repositories made, renamed or moved after 2026-07-15 have `repo:OWNER@ID/REPO@ID:...` as their subject.
    pub immutable_subject: bool,
    /// The `iss` claim.
    pub issuer: String,
    /// From `iat` to `exp`.
    pub token_lifetime: Duration,
}

impl Default for GithubJob {
    fn default() -> Self {
        Self {
            repository: "acme/shop".to_owned(),
            owner_id: 1001,
            repository_id: 2002,
            git_ref: "refs/heads/main".to_owned(),
            sha: "4f2c1d6b0d9f4b1d8a7c3e5f60718293a4b5c6d7".to_owned(),
            environment: None,
            event: "push".to_owned(),
            actor: "octocat".to_owned(),
            actor_id: 583_231,
            run_id: 7_000_000_001,
            run_attempt: 1,
            workflow: "deploy".to_owned(),
            job_workflow_ref: "acme/shop/.github/workflows/deploy.yml@refs/heads/main".to_owned(),
            immutable_subject: false,
            issuer: GITHUB_ISSUER.to_owned(),
            token_lifetime: Duration::from_secs(300),
        }
    }
}

impl GithubJob {
    /// GitHub's precedence: the environment, then the pull request, then the ref.
    #[must_use]
    pub fn subject(&self) -> String {
        let context = match &self.environment {
            Some(environment) => format!("environment:{}", environment.replace(':', "%3A")),
            None if self.event == "pull_request" => "pull_request".to_owned(),
            None => format!("ref:{}", self.git_ref.replace(':', "%3A")),
        };
        let repository = match self.repository.split_once('/') {
            Some((owner, name)) if self.immutable_subject => {
                format!("{owner}@{}/{name}@{}", self.owner_id, self.repository_id)
            }
            _ => self.repository.clone(),
        };
        format!("repo:{repository}:{context}")
    }

    fn owner(&self) -> &str {
        self.repository.split_once('/').map_or(&self.repository, |(owner, _)| owner)
    }

    fn claims(&self, audience: &str, issued: u64) -> Value {
        let mut claims = json!({
            "jti": random_hex(16),
            "sub": self.subject(),
            "aud": audience,
            "ref": self.git_ref,
            "sha": self.sha,
            "repository": self.repository,
            "repository_owner": self.owner(),
            "repository_owner_id": self.owner_id.to_string(),
            "run_id": self.run_id.to_string(),
            "run_number": "1",
            "run_attempt": self.run_attempt.to_string(),
            "repository_visibility": "private",
            "repository_id": self.repository_id.to_string(),
            "actor_id": self.actor_id.to_string(),
            "actor": self.actor,
            "workflow": self.workflow,
            "head_ref": "",
            "base_ref": "",
            "event_name": self.event,
            "ref_protected": "false",
            "ref_type": if self.git_ref.starts_with("refs/tags/") { "tag" } else { "branch" },
            "job_workflow_ref": self.job_workflow_ref,
            "runner_environment": "github-hosted",
            "iss": self.issuer,
            "nbf": issued.saturating_sub(600),
            "iat": issued,
            "exp": issued + self.token_lifetime.as_secs(),
        });
        if let Some(environment) = &self.environment {
            claims["environment"] = json!(environment);
        }
        claims
    }
}

/// GitHub's token service for one job.
#[derive(Debug)]
pub struct Oidc {
    key: KeyPair,
    key_id: String,
    request_token: String,
    job: Mutex<GithubJob>,
}

/// What a verified token says, or how it failed.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The signature is ours.
    Signed(Value),
    /// Not three base64url parts with JSON in them.
    NotAJwt,
    /// The key id or the signature is not ours; the claims are untrusted.
    Forged(Value),
}

impl Oidc {
    /// A fresh RSA key and request token.
    pub fn new(job: GithubJob) -> anyhow::Result<Self> {
        let key = KeyPair::generate(KeySize::Rsa2048)
            .map_err(|_| anyhow!("cannot generate the key that signs OIDC tokens: the generator refused"))?;
        Ok(Self { key, key_id: random_hex(10), request_token: random_hex(32), job: Mutex::new(job) })
    }

    /// The bearer token that the job finds in `ACTIONS_ID_TOKEN_REQUEST_TOKEN`.
    #[must_use]
    pub fn request_token(&self) -> &str {
        &self.request_token
    }

    /// The job that tokens are for.
    #[must_use]
    pub fn job(&self) -> GithubJob {
        lock(&self.job).clone()
    }

    /// From now on tokens are for another job.
    pub fn set_job(&self, job: GithubJob) {
        *lock(&self.job) = job;
    }

    /// A token for `audience`; GitHub's default is the URL of the repository's owner.
    pub fn token(&self, audience: Option<&str>) -> anyhow::Result<String> {
        let job = self.job();
        let default = format!("https://github.com/{}", job.owner());
        self.sign(&job.claims(audience.unwrap_or(&default), now()))
    }

    /// A token with any claims at all, signed by the stage's key.
    pub fn sign(&self, claims: &Value) -> anyhow::Result<String> {
        let header = json!({ "typ": "JWT", "alg": "RS256", "kid": self.key_id, "x5t": self.key_id });
        let signed = [header.to_string(), claims.to_string()].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| anyhow!("cannot sign an OIDC token: the key refused"))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// Checks the signature, and nothing else.
    #[must_use]
    pub fn verify(&self, token: &str) -> Verdict {
        let parts: Vec<&str> = token.split('.').collect();
        let [header, claims, signature] = parts.as_slice() else { return Verdict::NotAJwt };
        let json = |part: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
        let (Some(head), Some(body)) = (json(header), json(claims)) else { return Verdict::NotAJwt };
        let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else { return Verdict::NotAJwt };
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, self.key.public_key().as_ref());
        let signed = format!("{header}.{claims}");
        let ours = head["kid"] == self.key_id.as_str() && head["alg"] == "RS256";
        if ours && key.verify(signed.as_bytes(), &signature).is_ok() {
            Verdict::Signed(body)
        } else {
            Verdict::Forged(body)
        }
    }

    /// RFC 7517, as `/.well-known/jwks` of the issuer serves it.
    #[must_use]
    pub fn jwks(&self) -> Value {
        let key = self.key.public_key();
        json!({ "keys": [{
            "kty": "RSA",
            "alg": "RS256",
            "use": "sig",
            "kid": self.key_id,
            "n": URL_SAFE_NO_PAD.encode(key.modulus().big_endian_without_leading_zero()),
            "e": URL_SAFE_NO_PAD.encode(key.exponent().big_endian_without_leading_zero()),
        }] })
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
