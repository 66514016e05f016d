//! What AWS takes as the tags of a revision or a task.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-using-tags.html>

use super::{RELEASE_TAG, TAG_PREFIX, TaskDefinition};

/// On one resource.
pub const MOST: usize = 50;
const LONGEST_KEY: usize = 128;
const LONGEST_VALUE: usize = 256;

/// AWS sets these itself (CloudFormation's are the usual ones), shows them, and refuses to be sent them.
pub fn is_of_aws(key: &str) -> bool {
    key.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("aws:"))
}

impl TaskDefinition {
    /// Takes off as many of our own tags as it needs for the user's to fit: those that only inform go first, the
    /// release last. Answers what was taken off.
    pub fn make_room(&mut self) -> Vec<String> {
        let mut dropped = vec![];
        while self.tags.len() > MOST {
            let last = [RELEASE_TAG];
            let of_ours = |key: &str| key.starts_with(TAG_PREFIX) && !last.contains(&key);
            let found = self.tags.iter().rposition(|(key, _)| of_ours(key));
            let Some(at) = found.or_else(|| self.tags.iter().rposition(|(key, _)| key.starts_with(TAG_PREFIX))) else {
                break;
            };
            dropped.push(self.tags.remove(at).0);
        }
        dropped
    }
}

/// What AWS refuses of a file's tags, and what is left out of them.
pub(super) fn check(definition: &TaskDefinition, problems: &mut Vec<String>, warnings: &mut Vec<String>) {
    let own: Vec<_> = definition.tags.iter().filter(|(key, _)| !key.starts_with(TAG_PREFIX)).collect();
    let sent = own.iter().filter(|(key, _)| !is_of_aws(key)).count();
    if sent > MOST {
        problems.push(format!("`tags` has {sent} entries: AWS takes {MOST}"));
    }
    for (at, (key, value)) in own.iter().enumerate() {
        if is_of_aws(key) {
            warnings.push(format!("`tags[{at}]`: the key `{key}` is reserved for AWS: it is not sent"));
            continue;
        }
        if key.is_empty() {
            problems.push(format!("`tags[{at}].key` is empty"));
        }
        if key.chars().count() > LONGEST_KEY {
            problems.push(format!("`tags[{at}].key` has more than {LONGEST_KEY} characters"));
        }
        if value.chars().count() > LONGEST_VALUE {
            problems.push(format!("`tags[{at}].value` has more than {LONGEST_VALUE} characters"));
        }
        if own[..at].iter().any(|(other, _)| other == key) {
            problems.push(format!("`tags[{at}]`: the key `{key}` stands twice"));
        }
        let is_taken = |c: char| c.is_alphanumeric() || c == ' ' || "_.:/=+-@".contains(c);
        if let Some(other) = key.chars().chain(value.chars()).find(|c| !is_taken(*c)) {
            warnings.push(format!(
                "`tags[{at}]` has the character `{}`: AWS documents letters, digits, spaces and `_.:/=+-@`",
                other.escape_default()
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tagged(count: usize, ours: &[&str]) -> TaskDefinition {
        let mut definition = TaskDefinition::from_json("{}").unwrap();
        definition.tags = (0..count).map(|n| (format!("k{n}"), String::new())).collect();
        definition.tags.extend(ours.iter().map(|key| (format!("{TAG_PREFIX}{key}"), String::new())));
        definition
    }

    #[test]
    fn our_tags_make_room_for_the_users_and_the_release_goes_last() {
        let all = ["release", "sha", "actor", "run", "commands"];
        let cases: [(usize, &[&str]); 7] = [
            (45, &[]),
            (46, &["commands"]),
            (47, &["commands", "run"]),
            (48, &["commands", "run", "actor"]),
            (49, &["commands", "run", "actor", "sha"]),
            (50, &["commands", "run", "actor", "sha", "release"]),
            (51, &["commands", "run", "actor", "sha", "release"]),
        ];
        for (count, expected) in cases {
            let mut definition = tagged(count, &all);
            let dropped = definition.make_room();
            let expected: Vec<_> = expected.iter().map(|key| format!("{TAG_PREFIX}{key}")).collect();
            assert_eq!(dropped, expected, "{count}");
            assert_eq!(definition.tags.len(), (count + 5 - dropped.len()).max(count), "{count}");
            assert!(definition.tags[..count].iter().all(|(key, _)| key.starts_with('k')), "{count}");
        }
    }

    #[test]
    fn tags_of_aws_are_told_by_their_prefix_in_any_case() {
        for (key, expected) in [
            ("aws:cloudformation:stack-name", true),
            ("AWS:x", true),
            ("awsome", false),
            ("aws", false),
            ("äws:", false),
        ] {
            assert_eq!(is_of_aws(key), expected, "{key}");
        }
    }
}
