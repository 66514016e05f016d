//! Whether a repository's lifecycle policy keeps what a running release, and a rollback, needs.
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/lifecycle_policy_parameters.html>

use super::Check;
use serde_json::Value;

/// So many releases back a rollback should still find its image.
const RELEASES: u64 = 5;

/// `tags` are those that a release puts on an image, as the config has them.
#[must_use]
pub fn of_lifecycle(what: &str, policy: &str, tags: &[String]) -> Vec<Check> {
    let Ok(policy) = serde_json::from_str::<Value>(policy) else {
        return vec![Check::skipped(what, "its lifecycle policy could not be read")];
    };
    let rules = policy.get("rules").and_then(Value::as_array).into_iter().flatten();
    let found: Vec<_> = rules.filter_map(|rule| of_rule(what, rule, tags)).collect();
    if found.is_empty() { vec![Check::ok(what)] } else { found }
}

fn of_rule(what: &str, rule: &Value, tags: &[String]) -> Option<Check> {
    let selection = rule.get("selection")?;
    let text = |name: &str| selection.get(name).and_then(Value::as_str).unwrap_or_default();
    let which = rule.get("rulePriority").map(|n| format!("rule {n} of its lifecycle policy")).unwrap_or_default();
    let is_moving = !tags.iter().any(|tag| tag.contains('{'));
    match text("tagStatus") {
        // An image whose every tag moves on has none any more when the next release is there.
        "untagged" if !is_moving => return None,
        "tagged" if !tags.iter().any(|tag| is_selected(selection, tag)) => return None,
        _ => {}
    }
    let number = selection.get("countNumber")?.as_u64()?;
    let keeps = "let it keep at least 10 images, or exempt the tags of releases";
    match text("countType") {
        "imageCountMoreThan" if number < 2 => {
            let why = format!("{which} keeps {number} image: the one that production runs is deleted by the next push");
            Some(Check::failed(what, why, Some(keeps)))
        }
        "imageCountMoreThan" if number < RELEASES => {
            let why = format!("{which} keeps {number} images: a rollback goes back {} releases at most", number - 1);
            Some(Check::warning(what, why))
        }
        "sinceImagePushed" if text("tagStatus") == "untagged" => {
            let why = format!(
                "{which} deletes untagged images {number} days after their push, and no tag of `tags` stays on an image: what a rollback needs is among them"
            );
            Some(Check::failed(what, why, Some("add `\"{sha}\"` to `tags` of the image")))
        }
        "sinceImagePushed" => {
            let why = format!(
                "{which} deletes images {number} days after their push, those too that a service runs then: it could not start a task any more"
            );
            Some(Check::warning(what, why))
        }
        _ => None,
    }
}

/// Whether a rule is about images with this tag. What is in braces is filled in by each release.
fn is_selected(selection: &Value, tag: &str) -> bool {
    let list =
        |name: &str| selection.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let fixed = tag.split('{').next().unwrap_or_default();
    list("tagPrefixList").any(|prefix| fixed.starts_with(prefix))
        || list("tagPatternList").any(|pattern| fixed.starts_with(pattern.split('*').next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::Verdict;
    use serde_json::json;

    fn found(selection: Value, tags: &[&str]) -> String {
        let policy = json!({"rules": [{"rulePriority": 1, "selection": selection, "action": {"type": "expire"}}]});
        let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
        let told = |check: Check| match check.verdict {
            Verdict::Ok => "ok".to_owned(),
            Verdict::Warning { why } => format!("warning: {why}"),
            Verdict::Failed { why, .. } => format!("failed: {why}"),
            Verdict::Skipped { why } => format!("skipped: {why}"),
        };
        of_lifecycle("image `app`: lifecycle", &policy.to_string(), &tags).into_iter().map(told).collect()
    }

    #[test]
    fn what_a_rollback_needs_is_kept_or_it_is_said() {
        let sha = ["{sha}", "latest"].as_slice();
        let count =
            |status: &str, n: u64| json!({"tagStatus": status, "countType": "imageCountMoreThan", "countNumber": n});
        let days = |status: &str, n: u64| json!({"tagStatus": status, "countType": "sinceImagePushed", "countUnit": "days", "countNumber": n});
        let of_tags = |mut selection: Value, member: &str, value: &str| {
            selection[member] = json!([value]);
            selection
        };
        for (selection, tags, expected) in [
            (count("any", 1), sha, "failed: rule 1 of its lifecycle policy keeps 1 image"),
            (count("any", 3), sha, "warning: rule 1 of its lifecycle policy keeps 3 images: a rollback goes back 2"),
            (count("any", 30), sha, "ok"),
            (days("untagged", 7), sha, "ok"),
            (days("untagged", 7), &["latest"], "failed: rule 1 of its lifecycle policy deletes untagged images 7 days"),
            (count("untagged", 1), &["latest"], "failed: rule 1 of its lifecycle policy keeps 1 image"),
            (days("any", 30), sha, "warning: rule 1 of its lifecycle policy deletes images 30 days after their push"),
            (of_tags(count("tagged", 1), "tagPrefixList", "pr-"), sha, "ok"),
            (of_tags(count("tagged", 1), "tagPrefixList", "latest"), sha, "failed: rule 1"),
            (of_tags(count("tagged", 1), "tagPatternList", "*"), sha, "failed: rule 1"),
            (of_tags(count("tagged", 1), "tagPatternList", "rel-*"), &["rel-{sha}"], "failed: rule 1"),
        ] {
            let told = found(selection.clone(), tags);
            assert!(told.starts_with(expected), "{selection} {tags:?}: {told}");
        }
        assert_eq!(of_lifecycle("x", "oops", &[]), [Check::skipped("x", "its lifecycle policy could not be read")]);
    }
}
