//! What a person asks of a one-off task: its command line, its variables and its size, as RunTask's overrides.
//! <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_TaskOverride.html>

use crate::names::ContainerName;
use crate::task::{Task, TaskVerdict};
use serde_json::{Value, json};

/// The most characters that RunTask takes as overrides.
pub const MOST_CHARACTERS: usize = 8192;

/// The exit code of `run` for everything that is not the command's own, as of `docker run`.
pub const NOT_THE_COMMANDS: u8 = 125;

/// What replaces the definition's CMD and size, and what is added to its environment.
#[derive(Clone, PartialEq, Eq)]
pub struct Invocation {
    /// Empty leaves the definition's own.
    pub command: Vec<String>,
    pub environment: Vec<(String, String)>,
    pub cpu: Option<String>,
    pub memory: Option<String>,
}

/// The values of variables are nobody's business.
impl std::fmt::Debug for Invocation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.environment.iter().map(|(name, _)| name).collect();
        f.debug_struct("Invocation")
            .field("command", &self.command)
            .field("environment", &names)
            .finish_non_exhaustive()
    }
}

impl Invocation {
    /// RunTask's `overrides` for that container.
    ///
    /// # Errors
    /// They are longer than AWS takes.
    pub fn overrides(&self, container: &ContainerName) -> Result<Value, String> {
        let mut container = json!({"name": container});
        if !self.command.is_empty() {
            container["command"] = json!(self.command);
        }
        if !self.environment.is_empty() {
            let pairs = self.environment.iter().map(|(name, value)| json!({"name": name, "value": value}));
            container["environment"] = pairs.collect();
        }
        let mut overrides = json!({"containerOverrides": [container]});
        for (member, value) in [("cpu", &self.cpu), ("memory", &self.memory)] {
            if let Some(value) = value {
                overrides[member] = json!(value);
            }
        }
        let characters = overrides.to_string().chars().count();
        if characters > MOST_CHARACTERS {
            return Err(format!(
                "the command and its variables are {characters} characters, and RunTask takes {MOST_CHARACTERS}: leave what \
                 is long in a secret, a parameter or a file of the image"
            ));
        }
        Ok(overrides)
    }
}

/// The argv of what was written after `--`: a lone string is one for a shell, several words are a program and its arguments.
pub fn argv(words: &[String]) -> Vec<String> {
    match words {
        [line] => vec!["sh".to_owned(), "-c".to_owned(), line.clone()],
        words => words.to_vec(),
    }
}

/// A word that only a shell would understand, among words that no shell will see.
pub fn for_a_shell(words: &[String]) -> Option<&str> {
    let is_shells_own = matches!(words.first().map(String::as_str), Some("sh" | "bash" | "/bin/sh" | "/bin/bash"));
    let operators = ["&&", "||", "|", ";", ">", ">>", "<", "&", "2>&1"];
    let found = words.iter().map(String::as_str).find(|word| operators.contains(word));
    found.filter(|_| words.len() > 1 && !is_shells_own)
}

/// `NAME=VALUE`, or `NAME` for the value that this process has.
///
/// # Errors
/// It is neither, or this process has no such variable. The value is not in it.
pub fn variable(text: &str, own: impl Fn(&str) -> Option<String>) -> Result<(String, String), String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, own(text)),
    };
    if name.is_empty() || name.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("a variable is `NAME=VALUE`, or `NAME` for the value that it has here".to_owned());
    }
    match value {
        Some(value) => Ok((name.to_owned(), value)),
        None => Err(format!("`{name}` is not set here: give it as `{name}=VALUE`")),
    }
}

/// The variables of a file, one a line, in the form that `docker run --env-file` takes: `#` begins a comment line, and quotes
/// are part of a value.
///
/// # Errors
/// A line that is none, by its number.
pub fn variables_of_file(text: &str, own: impl Fn(&str) -> Option<String>) -> Result<Vec<(String, String)>, String> {
    let lines = text.trim_start_matches('\u{feff}').lines().enumerate();
    let told = lines.filter(|(_, line)| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
    told.map(|(at, line)| variable(line.trim_start(), &own).map_err(|why| format!("line {}: {why}", at + 1))).collect()
}

/// Those given last win.
pub fn merged(all: Vec<(String, String)>) -> Vec<(String, String)> {
    let mut merged: Vec<(String, String)> = vec![];
    for (name, value) in all {
        match merged.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => merged.push((name, value)),
        }
    }
    merged
}

/// What `run` exits with: the command's own code, or that of a command which could not be run (126 it is there and cannot be,
/// 127 it is not there), as of `docker run`; [`NOT_THE_COMMANDS`] for the rest.
pub fn exit_code(verdict: &TaskVerdict, task: &Task, container: &ContainerName) -> u8 {
    match verdict {
        TaskVerdict::Succeeded => 0,
        // Windows has longer ones, and what a process ends with has eight bits: a failure stays one.
        TaskVerdict::ExitedWith { code, .. } => u8::try_from(code & 0xff).map_or(NOT_THE_COMMANDS, |code| code.max(1)),
        TaskVerdict::NeverStarted { reason } => {
            let of_container = task.container(container).and_then(|c| c.reason.clone()).unwrap_or_default();
            not_runnable(&of_container).or_else(|| not_runnable(reason)).unwrap_or(NOT_THE_COMMANDS)
        }
        TaskVerdict::Killed { .. } | TaskVerdict::NoExitCode { .. } => NOT_THE_COMMANDS,
    }
}

/// What the container runtime says of a program that it could not start.
fn not_runnable(reason: &str) -> Option<u8> {
    if !reason.contains("CannotStartContainer") && !reason.contains("CannotCreateContainer") {
        return None;
    }
    if reason.contains("executable file not found") || reason.contains("no such file or directory") {
        return Some(127);
    }
    (reason.contains("permission denied") || reason.contains("exec format error") || reason.contains("is a directory"))
        .then_some(126)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &[&str]) -> Vec<String> {
        text.iter().map(|word| (*word).to_owned()).collect()
    }

    fn invocation(value: &str) -> Invocation {
        Invocation {
            command: words(&["env"]),
            environment: vec![("TOKEN".to_owned(), value.to_owned())],
            cpu: None,
            memory: Some("2048".to_owned()),
        }
    }

    #[test]
    fn a_lone_string_is_for_a_shell_and_words_are_not() {
        assert_eq!(argv(&words(&["a && b"])), ["sh", "-c", "a && b"]);
        assert_eq!(argv(&words(&["a", "b c"])), ["a", "b c"]);
        for (given, found) in [
            (&["a", "&&", "b"][..], Some("&&")),
            (&["a", "|", "b"], Some("|")),
            (&["a && b"], None),
            (&["sh", "-c", "&&"], None),
            (&["a", "b&&c"], None),
        ] {
            assert_eq!(for_a_shell(&words(given)), found, "{given:?}");
        }
    }

    #[test]
    fn variables_come_from_the_line_or_from_here_and_the_last_one_counts() {
        let own = |name: &str| (name == "HERE").then(|| "here".to_owned());
        let file = "\u{feff}# comment\n\nA=1\n  B=\"x y\"\nHERE\nE=\n";
        let found = variables_of_file(file, own).unwrap();
        let pairs: Vec<_> = found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("A", "1"), ("B", "\"x y\""), ("HERE", "here"), ("E", "")]);
        assert_eq!(
            variables_of_file("A=1\nGONE\n", own).unwrap_err(),
            "line 2: `GONE` is not set here: give it as `GONE=VALUE`"
        );
        assert!(variable("=secret", own).is_err_and(|why| !why.contains("secret")));
        let all =
            vec![("A".to_owned(), "1".to_owned()), ("B".to_owned(), "2".to_owned()), ("A".to_owned(), "3".to_owned())];
        assert_eq!(merged(all), [("A".to_owned(), "3".to_owned()), ("B".to_owned(), "2".to_owned())]);
    }

    #[test]
    fn overrides_are_what_run_task_takes_and_no_longer() {
        let overrides = invocation("t").overrides(&"app".into()).unwrap();
        let expected = json!({"containerOverrides": [{"name": "app", "command": ["env"],
            "environment": [{"name": "TOKEN", "value": "t"}]}], "memory": "2048"});
        assert_eq!(overrides, expected);
        let spare = MOST_CHARACTERS - overrides.to_string().len();
        assert!(invocation(&"x".repeat(spare + 1)).overrides(&"app".into()).is_ok());
        let why = invocation(&"x".repeat(spare + 2)).overrides(&"app".into()).unwrap_err();
        assert!(why.contains("8193 characters") && !why.contains("xxx"), "{why}");
    }

    #[test]
    fn the_value_of_a_variable_is_not_in_a_debug_line() {
        assert!(!format!("{:?}", invocation("s3cret")).contains("s3cret"));
    }
}
