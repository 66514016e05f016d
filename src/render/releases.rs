//! Releases as a table, one of them in full, two of them side by side, and each as an object.

use super::screen::{ScreenLine, age, columns};
use crate::history::Missing;
use fargate_deploy_core::history::{Command, Outcome, Part, Release};
use fargate_deploy_core::image::ImageRef;
use fargate_deploy_core::names::ServiceKey;
use fargate_deploy_core::task_definition::compare;
use serde_json::{Value, json};

/// The newest first; `*` is what serves. `now`: seconds since the epoch.
pub fn table(releases: &[&Release], services: &[ServiceKey], missing: &[Missing], now: f64) -> Vec<ScreenLine> {
    let head = ["", "release", "outcome", "age", "commit", "by", "images", "release commands", ""];
    let mut rows: Vec<Vec<String>> = vec![head.map(str::to_owned).to_vec()];
    rows.extend(releases.iter().map(|release| row(release, services, now)));
    let is_dim = |at: usize| at > 0 && releases.get(at - 1).is_some_and(|release| is_no_target(release));
    let lines = columns(&rows).into_iter().enumerate();
    let mut lines: Vec<_> = lines.map(|(at, text)| ScreenLine { is_dim: is_dim(at), text }).collect();
    if releases.is_empty() {
        lines = vec![ScreenLine::plain("no release is known")];
    }
    lines.extend(missing.iter().map(|missing| ScreenLine::dim(missing.sentence())));
    lines
}

/// A revision of nobody's release, or one that AWS does not deploy any more.
fn is_no_target(release: &Release) -> bool {
    release.number.is_none() || !release.parts.iter().all(Part::is_active)
}

fn row(release: &Release, services: &[ServiceKey], now: f64) -> Vec<String> {
    let outcome = release.outcome();
    let mark = if release.parts.iter().any(|part| part.outcome == Outcome::Serving) { "*" } else { "" };
    let commit = release.sha.as_deref().map(|sha| sha.get(..7).unwrap_or(sha));
    vec![
        mark.to_owned(),
        release.name(),
        outcome.word().to_owned(),
        release.registered_at.map(|at| age(now - at)).unwrap_or_default(),
        commit.unwrap_or("-").to_owned(),
        by(release),
        images(release).join(", "),
        commands(&release.commands),
        notes(release, services),
    ]
}

fn by(release: &Release) -> String {
    let ci = if release.run.is_some() { " (ci)" } else { "" };
    release.actor.as_ref().map_or_else(|| "-".to_owned(), |actor| format!("{actor}{ci}"))
}

/// Each image once, by its digest.
fn images(release: &Release) -> Vec<String> {
    let mut seen: Vec<String> = vec![];
    for (name, image) in release.parts.iter().flat_map(|part| &part.images) {
        let text = format!("{name} {}", short_image(image));
        if !seen.contains(&text) {
            seen.push(text);
        }
    }
    seen
}

/// `sha256:ab12cd34ef56`, or the tag of an image that is named by one.
fn short_image(image: &str) -> String {
    match ImageRef::parse(image) {
        Ok(ImageRef { digest: Some(digest), .. }) => digest.short().to_owned(),
        Ok(ImageRef { tag: Some(tag), .. }) => format!(":{tag}"),
        _ => image.to_owned(),
    }
}

fn commands(commands: &[Command]) -> String {
    let word = |command: &Command| match command.ended_well {
        Some(true) => "ok",
        _ => "?",
    };
    commands.iter().map(|command| format!("{} {}", command.name, word(command))).collect::<Vec<_>>().join(", ")
}

/// What a row does not say by itself: of which services it is, where these differ, what it went back to.
fn notes(release: &Release, services: &[ServiceKey]) -> String {
    let mut notes = vec![];
    if release.number.is_none() {
        notes.extend(release.parts.iter().map(|part| part.revision.short().to_owned()));
    }
    let keys: Vec<&ServiceKey> = release.parts.iter().map(|part| &part.key).collect();
    let is_whole = services.iter().all(|service| keys.contains(&service));
    let is_uniform = release.parts.iter().all(|part| part.outcome == release.outcome());
    if !is_uniform {
        notes.extend(release.parts.iter().map(|part| format!("{} {}", part.key, part.outcome.word())));
    } else if !is_whole && release.number.is_some() {
        notes.push(format!("{} only", keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")));
    }
    notes.extend(release.back_to.map(|number| format!("rollback to r{number}")));
    notes.extend(release.reason.clone());
    let inactive = release.parts.iter().filter(|part| !part.is_active());
    notes.extend(inactive.map(|part| format!("{} is INACTIVE", part.revision.short())));
    notes.join("; ")
}

/// Everything that is known of a release.
pub fn info(release: &Release, missing: &[Missing], now: f64) -> Vec<ScreenLine> {
    let mut rows = vec![vec![release.name(), release.outcome().word().to_owned()]];
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            rows.push(vec![name.to_owned(), value]);
        }
    };
    add("age", release.registered_at.map(|at| age(now - at)));
    add("commit", release.sha.clone());
    add("by", release.actor.clone());
    add("run", release.run.clone());
    add("rollback to", release.back_to.map(|number| format!("r{number}")));
    add("reason", release.reason.clone());
    for part in &release.parts {
        let state = if part.is_active() { "" } else { ", INACTIVE" };
        add("service", Some(format!("{} {}{state}: {}", part.key, part.revision.short(), part.outcome.word())));
        for (name, image) in &part.images {
            add("image", Some(format!("{name} {image}")));
        }
    }
    for command in &release.commands {
        let word = if command.ended_well == Some(true) { "ended well" } else { "how it ended is not known" };
        add("command", Some(format!("{}: {word}", command.name)));
    }
    let mut lines: Vec<_> = columns(&rows).into_iter().map(ScreenLine::plain).collect();
    lines.extend(missing.iter().map(|missing| ScreenLine::dim(missing.sentence())));
    lines
}

/// Where the definitions of two releases differ, service by service. Values may be secret: of images alone they are shown.
pub fn difference(one: &Release, other: &Release) -> Vec<ScreenLine> {
    let mut lines = vec![];
    for part in &other.parts {
        let Some(before) = one.part(&part.key) else {
            lines.push(ScreenLine::plain(format!("{}: not in {}", part.key, one.name())));
            continue;
        };
        let (old, new) = (before.revision.short(), part.revision.short());
        lines.push(ScreenLine::plain(format!("{}: {old} -> {new}", part.key)));
        for difference in compare::changes(&before.definition, &part.definition) {
            let values = match difference.path.last().map(String::as_str) {
                Some("image") => match (&difference.old, &difference.new) {
                    (Some(Value::String(old)), Some(Value::String(new))) => {
                        format!(": {} -> {}", short_image(old), short_image(new))
                    }
                    _ => String::new(),
                },
                _ => String::new(),
            };
            let sign = match (&difference.old, &difference.new) {
                (None, _) => "+",
                (_, None) => "-",
                _ => "~",
            };
            lines.push(ScreenLine::plain(format!("  {sign} {}{values}", difference.dotted())));
        }
    }
    for part in one.parts.iter().filter(|part| other.part(&part.key).is_none()) {
        lines.push(ScreenLine::plain(format!("{}: not in {}", part.key, other.name())));
    }
    let is_same = lines.iter().all(|line| !line.text.starts_with("  "));
    if is_same {
        lines.push(ScreenLine::plain(format!("{} and {} have the same definitions", one.name(), other.name())));
    }
    lines
}

/// A release for a program.
pub fn json(release: &Release) -> Value {
    let services = release.parts.iter().map(|part| {
        let images = part.images.iter().map(|(name, image)| {
            let digest = ImageRef::parse(image).ok().and_then(|image| image.digest);
            json!({"name": name, "image": image, "digest": digest})
        });
        json!({
            "key": part.key, "cluster": part.service.cluster, "service": part.service.name, "revision": part.revision,
            "outcome": part.outcome, "is-active": part.is_active(), "images": images.collect::<Vec<_>>(),
        })
    });
    let commands = release.commands.iter().map(|c| json!({"name": c.name, "ended-well": c.ended_well}));
    json!({
        "release": release.number.map(|number| format!("r{number}")), "outcome": release.outcome(),
        "registered-at": release.registered_at, "sha": release.sha, "actor": release.actor, "run": release.run,
        "rollback-to": release.back_to.map(|number| format!("r{number}")), "reason": release.reason,
        "services": services.collect::<Vec<_>>(), "release-commands": commands.collect::<Vec<_>>(),
    })
}
