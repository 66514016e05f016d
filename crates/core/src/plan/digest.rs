//! What a plan means, as hashes: two plans with the same digest do the same to the same services.
//!
//! Times, run ids, the commit, tags that name it and release numbers are left out: they differ between the pull request
//! and the merge although nothing else does. An image that is built here counts by what it is built as, since it is not
//! pushed before the merge; a service counts with the revision that it runs, since the difference starts there.

use super::planned::{PlannedCommand, PlannedSettings, PlannedSmoke};
use super::{Plan, ServicePlan, TO_BE_BUILT};
use crate::task_definition::compare::Difference;
use crate::validated_config::{BuildConfig, BuildSecret, BuildSecretSource, Config, ImageSource};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::path::Path;

/// `service.web` and the like, each with 16 hex digits.
pub type Parts = BTreeMap<String, String>;

/// `sha256:...` over all parts.
pub fn whole(environment: Option<&str>, parts: &Parts) -> String {
    let text = canonical(&json!({"environment": environment, "parts": parts}));
    format!("sha256:{}", hex::encode(Sha256::digest(text)))
}

pub(super) fn parts(
    plan: &Plan,
    config: &Config,
    differences: &[(&ServicePlan, Vec<Difference>)],
    commands: &[PlannedCommand],
    settings: &PlannedSettings,
) -> Parts {
    let mut parts = Parts::new();
    parts.insert("settings".to_owned(), short(&json!(settings)));
    for image in &plan.images {
        let source = config.images.iter().find(|i| i.key == image.key).map(|i| &i.source);
        let meaning = match source {
            Some(ImageSource::Build(build)) => {
                // Checkouts of one repository lie in different folders.
                let within = |path: &Path| path.strip_prefix(&config.root).unwrap_or(path).to_owned();
                json!({
                    "name": image.name, "context": within(&build.context), "target": build.target, "args": build.args,
                    "dockerfile": build.dockerfile.as_deref().map(within), "platform": build.platform, "tags": build.tags,
                    "labels": build.labels, "secrets": secrets(build, &config.root), "cache": build.cache, "reuse": build.reuse,
                    "creates-repository": build.create_repository,
                })
            }
            _ => json!({"name": image.name, "digest": image.digest().map(ToString::to_string)}),
        };
        parts.insert(format!("image.{}", image.key), short(&meaning));
    }
    for (service, found) in differences {
        let running = service.before.task_definition.to_string();
        // The running revision salts the values of variables: the same value elsewhere has another hash.
        let new = |d: &Difference| if is_built(service, d, config) { Some(json!(TO_BE_BUILT)) } else { d.new.clone() };
        let changes: Vec<_> = found.iter().map(|d| json!([running, d.path, d.old, new(d)])).collect();
        let smoke: Vec<_> = service.smoke.iter().map(PlannedSmoke::of).collect();
        let meaning = json!({ "service": service.service, "after": service.after, "smoke": smoke, "changes": changes });
        parts.insert(format!("service.{}", service.key), short(&meaning));
        parts.insert(format!("base.{}", service.key), short(&json!(running)));
    }
    for (at, command) in commands.iter().enumerate() {
        let own = plan.commands.iter().find(|c| c.command.name == command.name).and_then(|c| c.own.as_ref());
        parts.insert(format!("command.{}", command.name), short(&json!([at, command, own.map(|own| &own.body)])));
    }
    parts
}

/// By where their values are, and by no value.
fn secrets(build: &BuildConfig, root: &Path) -> Vec<Value> {
    let source = |secret: &BuildSecret| match &secret.source {
        BuildSecretSource::File(path) => json!({ "file": path.strip_prefix(root).unwrap_or(path) }),
        BuildSecretSource::Env(name) => json!({ "env": name }),
        BuildSecretSource::Value(text) => json!({ "text": text }),
    };
    build.secrets.iter().map(|secret| json!([secret.id, source(secret)])).collect()
}

const OPENS: &str = "<!-- fargate-deploy:parts ";
const CLOSES: &str = " -->";

/// A line that GitHub does not show, so that the next run can tell in what its plan differs.
pub fn hidden_parts(parts: &Parts) -> String {
    // Keys of the config hold nothing that could end the comment; what would is left out.
    let is_plain =
        |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) && !text.contains("--");
    let known = parts.iter().filter(|(part, _)| is_plain(part));
    let all: Vec<_> = known.map(|(part, hash)| format!("{part}={hash}")).collect();
    format!("{OPENS}{}{CLOSES}", all.join(" "))
}

/// The parts in the body of a comment, none where there is no such line.
pub fn parts_of(body: &str) -> Parts {
    let line = body.lines().find_map(|line| line.trim_end().strip_prefix(OPENS)?.strip_suffix(CLOSES));
    let pairs = line.into_iter().flat_map(|line| line.split(' ')).filter_map(|pair| pair.split_once('='));
    pairs.map(|(part, hash)| (part.to_owned(), hash.to_owned())).collect()
}

/// The image of a container that gets what this config builds: by which digest is known in one run and not in another.
fn is_built(service: &ServicePlan, difference: &Difference, config: &Config) -> bool {
    let [_, container, member] = difference.path.as_slice() else { return false };
    let key = service.containers.iter().find(|(c, _)| c.as_str() == container).map(|(_, key)| key);
    let source = config.images.iter().find(|i| Some(&i.key) == key).map(|i| &i.source);
    member == "image" && matches!(source, Some(ImageSource::Build(_)))
}

fn short(meaning: &Value) -> String {
    hex::encode(&Sha256::digest(canonical(meaning))[..8])
}

/// JSON with sorted members: AWS answers them in any order.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let mut all: Vec<_> = members.iter().collect();
            all.sort_by_key(|(name, _)| *name);
            let inner: Vec<_> = all.into_iter().map(|(n, v)| format!("{}:{}", json!(n), canonical(v))).collect();
            format!("{{{}}}", inner.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_come_back_from_a_comment() {
        let parts =
            Parts::from([("base.web".to_owned(), "0a".to_owned()), ("image.my_app".to_owned(), "1b".to_owned())]);
        assert_eq!(parts_of(&format!("<!-- marker -->\n{}\n### plan", hidden_parts(&parts))), parts);
        assert_eq!(parts_of("### plan"), Parts::new());
    }

    #[test]
    fn the_order_of_members_means_nothing_and_the_order_of_items_does() {
        let hash = |text: &str| short(&serde_json::from_str(text).unwrap());
        assert_eq!(hash(r#"{"a": 1, "b": {"c": 2, "d": 3}}"#), hash(r#"{"b": {"d": 3, "c": 2}, "a": 1}"#));
        assert_ne!(hash("[1, 2]"), hash("[2, 1]"));
    }
}
