//! The files through which a step speaks to GitHub Actions: outputs and the step summary.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write as _};

/// Appends outputs to `$GITHUB_OUTPUT`, if there is one. Each value stands between delimiters that it cannot contain, so
/// no value can add an output.
/// <https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions#multiline-strings>
///
/// # Errors
/// The file cannot be written.
pub fn write_outputs(env: &BTreeMap<String, String>, outputs: &[(&str, String)], token: &str) -> io::Result<()> {
    let mut text = String::new();
    for (name, value) in outputs {
        let mut delimiter = format!("end-{token}");
        while value.contains(&delimiter) {
            delimiter.push('-');
        }
        text.push_str(&format!("{name}<<{delimiter}\n{value}\n{delimiter}\n"));
    }
    append(env, "GITHUB_OUTPUT", &text)
}

/// Appends Markdown to `$GITHUB_STEP_SUMMARY`, if there is one.
///
/// # Errors
/// The file cannot be written.
pub fn write_summary(env: &BTreeMap<String, String>, markdown: &str) -> io::Result<()> {
    append(env, "GITHUB_STEP_SUMMARY", markdown)
}

fn append(env: &BTreeMap<String, String>, variable: &str, text: &str) -> io::Result<()> {
    match env.get(variable).filter(|path| !path.is_empty()) {
        Some(path) => OpenOptions::new().create(true).append(true).open(path)?.write_all(text.as_bytes()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_smuggle_in_another_output() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let env = BTreeMap::from([("GITHUB_OUTPUT".to_owned(), path.display().to_string())]);
        write_outputs(&env, &[("url", "x\nend-t\nevil=1".to_owned())], "t").unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), "url<<end-t-\nx\nend-t\nevil=1\nend-t-\n");
    }

    #[test]
    fn outside_of_actions_nothing_is_written() {
        assert!(write_outputs(&BTreeMap::new(), &[("a", "b".to_owned())], "t").is_ok());
    }
}
