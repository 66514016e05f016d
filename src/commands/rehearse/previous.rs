//! What serves before the release that is rehearsed.

use super::checkout::Checkout;
use super::images::Images;
use super::setting::Setting;
use crate::config::{self, Config, Request};
use crate::events::StagePrevious;
use fargate_deploy_core::outcome::{Failure, Reason};
use std::collections::BTreeMap;
use std::path::Path;

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The last commit whose rehearsal was good; without one the release's own files, or nothing.
    LastGood {
        or_same: bool,
    },
    None,
    Neutral,
    Same,
    Commit(String),
}

impl Wish {
    pub fn of(flag: Option<&str>, or_same: bool) -> Self {
        match flag {
            None => Self::LastGood { or_same },
            Some("none") => Self::None,
            Some("neutral") => Self::Neutral,
            Some("same") => Self::Same,
            Some(name) => Self::Commit(name.to_owned()),
        }
    }
}

/// What serves first.
pub enum Previous {
    /// Nothing: the services are there, and have never run anything.
    None,
    /// A server that is not the user's.
    Neutral,
    /// A release of the user's.
    Release(Box<Release>),
}

/// A release of the user's, from files of its own.
pub struct Release {
    /// `commit 3f2c1ab`.
    pub what: String,
    pub config: Config,
    pub setting: Setting,
}

/// A name of a commit, resolved; the word of what else was wished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chosen {
    None,
    Neutral,
    Same,
    Commit { sha: String, is_last_good: bool },
}

impl Chosen {
    /// # Errors
    /// `config`: there is no such commit.
    pub fn of(
        wish: &Wish,
        checkout: Option<&Checkout>,
        config: &Path,
        environment: Option<&str>,
    ) -> Result<Self, Failure> {
        match wish {
            Wish::None => Ok(Self::None),
            Wish::Neutral => Ok(Self::Neutral),
            Wish::Same => Ok(Self::Same),
            Wish::LastGood { or_same } => {
                let good = checkout.and_then(|checkout| checkout.last_good(config, environment));
                Ok(match good {
                    Some(sha) => Self::Commit { sha, is_last_good: true },
                    None if *or_same => Self::Same,
                    None => Self::None,
                })
            }
            Wish::Commit(name) => {
                let no = |why: &str| {
                    let next = "name a commit of this checkout, or `none`, `neutral` or `same`";
                    Failure::new(Reason::Config, format!("--previous `{name}`: {why}")).with_next(next)
                };
                let checkout = checkout.ok_or_else(|| no("this folder is no git checkout"))?;
                let sha = checkout.commit(name).map_err(|_| no("there is no such commit"))?;
                Ok(Self::Commit { sha, is_last_good: false })
            }
        }
    }

    pub fn event(&self) -> StagePrevious {
        match self {
            Self::None => StagePrevious::None,
            Self::Neutral => StagePrevious::Neutral,
            Self::Same => StagePrevious::Same,
            Self::Commit { sha, is_last_good } => {
                StagePrevious::Commit { sha: sha.clone(), is_last_good: *is_last_good }
            }
        }
    }
}

/// The release that a commit describes, its files under `folder`.
///
/// # Errors
/// `config`: it holds no config, or one that is not sound any more.
pub async fn of_commit(
    sha: &str,
    checkout: &Checkout,
    request: &Request,
    file: &Path,
    given: &BTreeMap<String, String>,
    folder: &Path,
    images: &Images<'_>,
) -> Result<Release, Failure> {
    let what = format!("commit {}", sha.get(..7).unwrap_or(sha));
    let of_it =
        |failure: Failure| Failure { what: format!("the previous release ({what}): {}", failure.what), ..failure };
    let files = folder.join("files");
    let unpacked = checkout.unpack(sha, &files);
    unpacked.map_err(|why| of_it(super::no_space(&format!("its files could not be written: {why}"))))?;
    let file = checkout.within(file).unwrap_or_else(|| file.to_owned());
    let request = Request { file: Some(files.join(file)), ..request.clone() };
    let config = config::load_rehearsal(&request, given, &files)
        .map_err(|e| of_it(crate::commands::bad_config(&e)))
        .map(|config| super::with_secrets(config, given))?;
    let ports = images.ports(&config).await?;
    let setting =
        Setting::prepare(&config, images.platform, folder.join("definitions"), &ports).await.map_err(of_it)?;
    Ok(Release { what, config, setting })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_flag_it_is_the_last_good_commit_and_without_one_a_first_release() {
        let choose = |flag: Option<&str>, or_same| {
            Chosen::of(&Wish::of(flag, or_same), None, Path::new("fargate-deploy.yml"), None).map_err(|f| f.what)
        };
        assert_eq!(choose(None, false), Ok(Chosen::None));
        assert_eq!(choose(None, true), Ok(Chosen::Same), "an injected fault needs something to go back to");
        assert_eq!(choose(Some("neutral"), false), Ok(Chosen::Neutral));
        assert_eq!(choose(Some("same"), false), Ok(Chosen::Same));
        assert_eq!(choose(Some("none"), true), Ok(Chosen::None));
        assert_eq!(choose(Some("v1"), false), Err("--previous `v1`: this folder is no git checkout".to_owned()));
    }
}
