//! Text that somebody meant to have replaced. A task definition is registered as it is written: nothing fills these in.

use super::TaskDefinition;
use crate::names::ContainerName;
use serde_json::Value;

/// The placeholders of a file, each with its path; the images that the release sets are left out.
///
/// What stands inside is shown only where it is a name: a default in `${NAME:-...}` may be a secret.
pub(super) fn found(definition: &TaskDefinition, released: impl Fn(&ContainerName) -> bool) -> Vec<String> {
    let mut texts = vec![];
    for (name, value) in &definition.body {
        if name != "containerDefinitions" {
            collect(value, name, false, &mut texts);
        }
    }
    let containers = definition.body.get("containerDefinitions").and_then(Value::as_array).into_iter().flatten();
    for (at, container) in containers.enumerate() {
        let Some(members) = container.as_object() else { continue };
        let is_released = released(&super::container_name(members).into());
        for (name, value) in members {
            if name == "image" && is_released {
                continue;
            }
            let path = format!("containerDefinitions[{at}].{name}");
            match name.as_str() {
                "command" | "entryPoint" => collect(value, &path, runs_a_shell(members), &mut texts),
                "healthCheck" => collect(value, &path, is_checked_by_a_shell(value), &mut texts),
                _ => collect(value, &path, false, &mut texts),
            }
        }
    }
    for (at, (key, value)) in definition.tags.iter().enumerate() {
        let own = [("key", key), ("value", value)];
        texts.extend(own.map(|(member, text)| (format!("tags[{at}].{member}"), text.clone(), false)));
    }
    let told = |(path, text, in_shell): (String, String, bool)| {
        let found = placeholders(&text, in_shell);
        // A part of a variable's value may be a part of a password.
        let is_part = path.contains(".environment[") && found != [text.trim()];
        let names = found.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let what = if is_part { "a placeholder".to_owned() } else { format!("the placeholder {names}") };
        (!found.is_empty())
            .then(|| format!("`{path}` has {what}: it is deployed as it is written, nothing replaces it"))
    };
    texts.into_iter().filter_map(told).collect()
}

/// The shell of the container replaces `${NAME}` itself.
fn runs_a_shell(container: &serde_json::Map<String, Value>) -> bool {
    ["entryPoint", "command"].iter().any(|list| {
        let words = container.get(*list).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        words.take(3).any(|word| is_a_shell(word) || word.ends_with(".sh") || word.split_whitespace().count() > 1)
    })
}

/// `CMD-SHELL` does, and `CMD` with a shell as its program; `CMD` alone runs what it names, with the words as they are.
fn is_checked_by_a_shell(check: &Value) -> bool {
    let words = check.get("command").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    words.take(3).any(|word| word == "CMD-SHELL" || is_a_shell(word))
}

fn is_a_shell(word: &str) -> bool {
    let program = word.rsplit('/').next().unwrap_or_default();
    matches!(program, "sh" | "bash" | "ash" | "dash" | "zsh" | "busybox")
}

fn collect(value: &Value, path: &str, in_shell: bool, texts: &mut Vec<(String, String, bool)>) {
    match value {
        Value::String(text) => texts.push((path.to_owned(), text.clone(), in_shell)),
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                collect(item, &format!("{path}[{at}]"), in_shell, texts);
            }
        }
        Value::Object(members) => {
            for (name, value) in members {
                collect(value, &format!("{path}.{name}"), in_shell, texts);
            }
        }
        _ => {}
    }
}

/// `${{ github.sha }}`, `{{ tag }}`, `${NAME}`, `<IMAGE1_NAME>`, `<account-id>`, `__TAG__`, `%TAG%`: what CI systems and the AWS actions
/// replace, and nothing here does.
pub(super) fn placeholders(text: &str, in_shell: bool) -> Vec<String> {
    let mut found = vec![];
    let mut rest = text;
    while let Some(at) = rest.find(['$', '<', '{', '_', '%']) {
        rest = &rest[at..];
        let next = if let Some((inner, after)) = between(rest, "${{", "}}") {
            Some((format!("${{{{ {} }}}}", shown(inner)), after))
        } else if let Some((inner, after)) = between(rest, "{{", "}}") {
            // `{{.Name}}` is Docker's own, in the options of a log driver.
            starts_like_a_name(inner).then(|| (format!("{{{{ {} }}}}", shown(inner)), after))
        } else if let Some((inner, after)) = between(rest, "${", "}").filter(|_| !in_shell) {
            starts_like_a_name(inner).then(|| (format!("${{{}}}", shown(inner)), after))
        } else if let Some((inner, after)) = between(rest, "<", ">") {
            let before = &text[..text.len() - rest.len()];
            let is_meant = is_shouted(inner) || is_written_to_be_replaced(before, inner, after);
            is_meant.then(|| (format!("<{inner}>"), after))
        } else if let Some((inner, after)) = between(rest, "__", "__") {
            is_shouted(inner).then(|| (format!("__{inner}__"), after))
        } else if let Some((inner, after)) = between(rest, "%", "%").filter(|_| !in_shell) {
            (is_shouted(inner) && inner.contains('_')).then(|| (format!("%{inner}%"), after))
        } else {
            None
        };
        match next {
            Some((placeholder, after)) => {
                if !found.contains(&placeholder) {
                    found.push(placeholder);
                }
                rest = after;
            }
            None => rest = rest.get(1..).unwrap_or_default(),
        }
    }
    found
}

fn between<'a>(text: &'a str, open: &str, close: &str) -> Option<(&'a str, &'a str)> {
    text.strip_prefix(open)?.split_once(close)
}

/// The name, where that is all; otherwise the name that it begins with, and that there is more.
fn shown(inner: &str) -> String {
    let inner = inner.trim();
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | ':');
    let name: String = inner.chars().take_while(|c| is_name(*c) && *c != ':').collect();
    if name.len() == inner.len() { name } else { format!("{name}…") }
}

fn starts_like_a_name(inner: &str) -> bool {
    inner.trim_start().starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

/// `<account-id>`, `<aws_account_id>`, `<region>`: words in small letters between angle brackets are often text or markup,
/// and a placeholder where they are joined, or stand where a part of an address does. What is closed is an element.
fn is_written_to_be_replaced(before: &str, inner: &str, after: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ');
    let is_name = inner.starts_with(|c: char| c.is_ascii_alphabetic())
        && inner.ends_with(|c: char| c.is_ascii_alphanumeric())
        && inner.chars().all(is_part);
    let is_joined = !inner.contains(' ') && inner.contains(['_', '-']);
    let is_between = |side: Option<char>| side.is_none_or(|c| matches!(c, ':' | '/' | '.' | '@' | '=' | ','));
    let is_a_part_of_an_address = is_between(before.chars().next_back()) && is_between(after.chars().next());
    is_name && (is_joined || is_a_part_of_an_address) && !after.contains(&format!("</{inner}"))
}

/// `IMAGE1_NAME`, `YOUR-ACCOUNT-ID`.
fn is_shouted(inner: &str) -> bool {
    inner.len() > 1
        && inner.starts_with(|c: char| c.is_ascii_uppercase())
        && inner.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || matches!(c, '_' | '-' | ' ' | '.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_kind_of_placeholder_is_told_and_what_only_looks_like_one_is_not() {
        let cases: [(&str, bool, &[&str]); 39] = [
            ("${DATABASE_URL}", false, &["${DATABASE_URL}"]),
            ("postgres://${USER}:${PASS:-hunter2}@db", false, &["${USER}", "${PASS…}"]),
            ("<IMAGE1_NAME>", false, &["<IMAGE1_NAME>"]),
            ("arn:aws:iam::<ACCOUNT-ID>:role/x", false, &["<ACCOUNT-ID>"]),
            ("arn:aws:iam::<account-id>:role/x", false, &["<account-id>"]),
            ("arn:aws:iam::<aws_account_id>:role/x", false, &["<aws_account_id>"]),
            ("arn:aws:iam::<aws account id>:role/x", false, &["<aws account id>"]),
            (
                "<account>.dkr.ecr.<region>.amazonaws.com/<repo>:<tag>",
                false,
                &["<account>", "<region>", "<repo>", "<tag>"],
            ),
            ("<accountId>", false, &["<accountId>"]),
            ("https://<host>:8443/", false, &["<host>"]),
            ("connect to <db-host> first", false, &["<db-host>"]),
            ("run --image <image-tag>", true, &["<image-tag>"]),
            ("<log-level>info</log-level>", false, &[]),
            ("<p>a<br>b</p>", false, &[]),
            ("say <name> to it", false, &[]),
            ("sort < in_file > out-file", true, &[]),
            ("Ada <ada@example.com>", false, &[]),
            ("<3-4>", false, &[]),
            ("${{ github.sha }}", false, &["${{ github.sha }}"]),
            ("${{ secrets.A || 'hunter2' }}", false, &["${{ secrets.A… }}"]),
            ("{{ image_tag }}", false, &["{{ image_tag }}"]),
            ("{{.Name}}/{{.ID}}", false, &[]),
            ("__TAG__", false, &["__TAG__"]),
            ("%IMAGE_TAG%", false, &["%IMAGE_TAG%"]),
            ("${env:REGION}-${env:REGION}", false, &["${env…}"]),
            ("exec node --port ${PORT}", true, &[]),
            ("exec node --port ${{ env.PORT }}", true, &["${{ env.PORT }}"]),
            ("run <IMAGE_TAG>", true, &["<IMAGE_TAG>"]),
            ("$PORT", false, &[]),
            ("costs $5 {x}", false, &[]),
            ("<html><b>hi</b></html>", false, &[]),
            ("a < b > c", false, &[]),
            ("100%", false, &[]),
            ("50%AB%", false, &[]),
            ("__init__", false, &[]),
            ("snake__CASE", false, &[]),
            ("${}", false, &[]),
            ("${", false, &[]),
            ("{\"a\": {\"b\": 1}}", false, &[]),
        ];
        for (text, in_shell, expected) in cases {
            assert_eq!(placeholders(text, in_shell), expected, "{text}");
        }
    }

    #[test]
    fn a_health_check_replaces_variables_where_a_shell_runs_it() {
        for (command, is_told) in [
            (json!(["CMD-SHELL", "curl ${URL}"]), false),
            (json!(["CMD", "sh", "-c", "curl ${URL}"]), false),
            (json!(["CMD", "/bin/bash", "-c", "curl ${URL}"]), false),
            (json!(["CMD", "curl", "${URL}"]), true),
            (json!(["CMD", "curl -f ${URL}"]), true),
            (json!(["CMD", "/check.sh", "${URL}"]), true),
            (json!(["CMD-SHELL", "curl ${{ env.URL }}"]), true),
        ] {
            let body = json!({"containerDefinitions": [{"name": "app", "healthCheck": {"command": command}}]});
            let definition = TaskDefinition::from_json(&body.to_string()).unwrap();
            let told = found(&definition, |_| false);
            assert_eq!(told.len(), usize::from(is_told), "{command}: {told:?}");
            assert!(told.iter().all(|told| told.contains("`containerDefinitions[0].healthCheck.command[")), "{told:?}");
        }
    }
}
