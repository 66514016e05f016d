//! Container image references, by the grammar of the OCI distribution specification.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What a tag that names the content of a build starts with.
pub const CONTENT_TAG: &str = "content-";

/// What a tag starts with under which a stage of a build is kept for the next one.
pub const CACHE_TAG: &str = "cache-";

/// `sha256:` and 64 hex digits: the only name of an image that cannot move.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.strip_prefix("sha256:") {
            Some(hex) if hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(format!("`{text}` is not a digest: expected `sha256:` and 64 lowercase hex digits")),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `sha256:` and the first twelve digits, for people.
    pub fn short(&self) -> &str {
        &self.0[..19]
    }
}

impl TryFrom<String> for Digest {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `HOST[:PORT]/PATH[:TAG][@DIGEST]`; a reference without a host means Docker Hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRef {
    /// With port where given; `docker.io` when the reference names no host.
    pub registry: String,
    /// The path without host, tag and digest.
    pub repository: String,
    pub tag: Option<String>,
    pub digest: Option<Digest>,
}

impl ImageRef {
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad = |why: &str| Err(format!("`{text}` is not an image reference: {why}"));
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(Digest::parse(digest)?)),
            None => (text, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if let Some(tag) = tag
            && !is_tag(tag)
        {
            return bad("a tag has 1 to 128 letters, digits, `_`, `.` and `-`, and starts with a letter, digit or `_`");
        }
        let (registry, repository) = match name.split_once('/') {
            Some((host, path)) if host.contains('.') || host.contains(':') || host == "localhost" => (host, path),
            _ => ("docker.io", name),
        };
        if !is_repository(repository) {
            return bad("a repository path has lowercase letters, digits and single `.`, `_`, `-` or `/` between them");
        }
        Ok(Self {
            registry: registry.to_owned(),
            repository: repository.to_owned(),
            tag: tag.map(str::to_owned),
            digest,
        })
    }

    /// The reference without tag and digest.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// Account, region and DNS suffix when the host is an ECR registry, of any partition, dual-stack or FIPS.
    /// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-requests.html>
    pub fn ecr(&self) -> Option<EcrHost> {
        EcrHost::parse(&self.registry)
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// The DNS suffixes of AWS's partitions, each with that of its dual-stack hosts: commercial and GovCloud, China, the
/// European Sovereign Cloud, and the isolated ones. Whatever else looks like ECR is not AWS's, and gets no login.
const ECR_SUFFIXES: [&str; 14] = [
    "amazonaws.com",
    "on.aws",
    "amazonaws.com.cn",
    "on.amazonwebservices.com.cn",
    "amazonaws.eu",
    "on.amazonwebservices.eu",
    "c2s.ic.gov",
    "on.aws.ic.gov",
    "sc2s.sgov.gov",
    "on.aws.scloud",
    "cloud.adc-e.uk",
    "on.cloud-aws.adc-e.uk",
    "csp.hci.ic.gov",
    "on.aws.hci.ic.gov",
];

/// Whose registry an ECR host names. The login must be asked for in this region, not in the cluster's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EcrHost {
    pub account: String,
    pub region: String,
}

impl EcrHost {
    fn parse(host: &str) -> Option<Self> {
        let mut parts = host.split('.');
        let account = parts.next()?;
        if account.len() != 12 || !account.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let rest: Vec<&str> = parts.collect();
        let (region, suffix) = match rest.as_slice() {
            ["dkr", "ecr" | "ecr-fips", region, suffix @ ..] if suffix.first() != Some(&"on") => {
                (region, suffix.join("."))
            }
            ["dkr-ecr" | "dkr-ecr-fips", region, "on", suffix @ ..] => (region, format!("on.{}", suffix.join("."))),
            _ => return None,
        };
        let is_region = !region.is_empty() && region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        (is_region && ECR_SUFFIXES.contains(&suffix.as_str()))
            .then(|| Self { account: account.to_owned(), region: (*region).to_owned() })
    }
}

/// A tag by the OCI distribution specification: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
pub fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

fn is_repository(path: &str) -> bool {
    !path.is_empty()
        && path.split('/').all(|part| {
            let bytes = part.as_bytes();
            let alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
            bytes.first().copied().is_some_and(alnum)
                && bytes.last().copied().is_some_and(alnum)
                && bytes.iter().all(|&b| alnum(b) || matches!(b, b'.' | b'_' | b'-'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    #[test]
    fn references_are_taken_apart() {
        let cases = [
            ("busybox", "docker.io", "busybox", None, false),
            ("ghcr.io/org/api:v1", "ghcr.io", "org/api", Some("v1"), false),
            ("localhost:5000/app", "localhost:5000", "app", None, false),
            ("127.0.0.1:5000/a/b:t", "127.0.0.1:5000", "a/b", Some("t"), false),
        ];
        for (text, registry, repository, tag, digest) in cases {
            let image = ImageRef::parse(text).unwrap();
            assert_eq!((image.registry.as_str(), image.repository.as_str()), (registry, repository), "{text}");
            assert_eq!((image.tag.as_deref(), image.digest.is_some()), (tag, digest), "{text}");
        }
        let pinned = ImageRef::parse(&format!("ghcr.io/org/api:v1@{HEX}")).unwrap();
        assert_eq!(pinned.digest.unwrap().as_str(), HEX);
    }

    #[test]
    fn ecr_hosts_of_every_partition_name_account_and_region() {
        for (host, region) in [
            ("111122223333.dkr.ecr.eu-central-1.amazonaws.com", "eu-central-1"),
            ("111122223333.dkr.ecr-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
            ("111122223333.dkr-ecr.eu-central-1.on.aws", "eu-central-1"),
            ("111122223333.dkr-ecr-fips.us-east-1.on.aws", "us-east-1"),
            ("111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn", "cn-north-1"),
            ("111122223333.dkr-ecr.cn-northwest-1.on.amazonwebservices.com.cn", "cn-northwest-1"),
            ("111122223333.dkr.ecr.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1"),
            ("111122223333.dkr-ecr.eusc-de-east-1.on.amazonwebservices.eu", "eusc-de-east-1"),
            ("111122223333.dkr.ecr.us-iso-east-1.c2s.ic.gov", "us-iso-east-1"),
            ("111122223333.dkr-ecr.us-iso-east-1.on.aws.ic.gov", "us-iso-east-1"),
            ("111122223333.dkr.ecr.us-isob-east-1.sc2s.sgov.gov", "us-isob-east-1"),
            ("111122223333.dkr-ecr.us-isob-east-1.on.aws.scloud", "us-isob-east-1"),
            ("111122223333.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk", "eu-isoe-west-1"),
            ("111122223333.dkr.ecr.us-isof-south-1.csp.hci.ic.gov", "us-isof-south-1"),
        ] {
            let ecr = ImageRef::parse(&format!("{host}/app:1")).unwrap().ecr();
            let ecr = ecr.unwrap_or_else(|| panic!("{host} is taken for a foreign registry"));
            assert_eq!((ecr.account.as_str(), ecr.region.as_str()), ("111122223333", region), "{host}");
        }
        for host in [
            "111122223333.dkr.ecr.eu-central-1.amazonaws.com.evil.example",
            "111122223333.dkr.ecr.eu-central-1.evil.example",
            "111122223333.dkr-ecr.eu-central-1.amazonaws.com",
            "111122223333.dkr.ecr.eu-central-1.on.aws",
            "11112222333.dkr.ecr.eu-central-1.amazonaws.com",
            "x.111122223333.dkr.ecr.eu-central-1.amazonaws.com",
            "public.ecr.aws",
        ] {
            assert_eq!(ImageRef::parse(&format!("{host}/app:1")).unwrap().ecr(), None, "{host}");
        }
        assert_eq!(ImageRef::parse("ghcr.io/app").unwrap().ecr(), None);
    }

    #[test]
    fn bad_references_say_why() {
        for text in ["", "UPPER/case", "a//b", "app:ta g", "app@sha256:12", "app:"] {
            assert!(ImageRef::parse(text).is_err(), "{text:?} was accepted");
        }
    }
}
