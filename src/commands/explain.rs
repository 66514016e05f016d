//! A cause or an exit code, in full: what the docs have of it, where one is.

use crate::config::nearest;
use fargate_deploy_core::cause::{Row, codes};
use fargate_deploy_core::outcome::{Failure, Reason};

/// The lines of its page.
///
/// # Errors
/// `config`: there is no such code, and which are like it.
pub fn explain(code: &str) -> Result<Vec<String>, Failure> {
    let code = code.trim();
    if let Some(row) = codes().find(|row| row.code == code) {
        return Ok(of_cause(row));
    }
    let reasons: Vec<Reason> =
        Reason::ALL.into_iter().filter(|r| r.word() == code || r.exit_code().to_string() == code).collect();
    if !reasons.is_empty() {
        return Ok(reasons.into_iter().flat_map(of_reason).collect());
    }
    if code == "0" {
        return Ok(vec!["0: success, or nothing to do: what runs is what was asked for".to_owned()]);
    }
    let failure = Failure::new(Reason::Config, format!("`{code}`: there is no such cause or exit code"));
    let words = codes().map(|row| row.code).chain(Reason::ALL.into_iter().map(Reason::word));
    if let Some(near) = nearest(code, words) {
        return Err(failure.with_next(format!("did you mean `{near}`?")));
    }
    let mut like: Vec<(&str, usize)> = codes().map(|row| (row.code, shared(row.code, code))).collect();
    like.sort_by_key(|(_, shared)| std::cmp::Reverse(*shared));
    let like: Vec<String> =
        like.iter().take_while(|(_, shared)| *shared > 0).take(5).map(|(c, _)| format!("`{c}`")).collect();
    Err(match like.as_slice() {
        [] => failure.with_next("docs/causes.md lists them all"),
        _ => failure.with_next(format!("like it are {}; docs/causes.md lists them all", like.join(", "))),
    })
}

fn of_cause(row: &Row) -> Vec<String> {
    let mut lines = vec![format!("{}: {}", row.code, row.title), String::new()];
    lines.push(format!("said as  {}", readable(row.cause)));
    match row.likely {
        [] => lines.push("certain  yes: what proves it is in the evidence".to_owned()),
        likely => {
            lines.push("certain  no: the same is seen for more than one cause; most likely".to_owned());
            lines.extend(likely.iter().map(|likely| format!("         - {}", readable(likely))));
        }
    }
    lines.push(format!("do       {}", readable(row.next)));
    lines.push(format!("know     {}", row.more));
    lines
}

fn of_reason(reason: Reason) -> Vec<String> {
    vec![format!("{}, {}: {}", reason.exit_code(), reason.word(), reason.promise())]
}

/// A sentence of the table with the names of its values in the places for them.
pub fn readable(template: &str) -> String {
    let mut out = String::with_capacity(template.len());
    for c in template.chars() {
        match c {
            '[' | ']' => {}
            '{' => out.push('<'),
            '}' => out.push('>'),
            '\n' => {
                if !out.ends_with(' ') {
                    out.push(' ');
                }
            }
            c => out.push(c),
        }
    }
    out
}

/// How many words of two codes are the same.
fn shared(one: &str, other: &str) -> usize {
    one.split('-')
        .filter(|word| word.len() > 2 && other.to_ascii_lowercase().split(['-', '_', ' ']).any(|o| o == *word))
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_and_every_exit_code_is_explained() {
        for row in codes() {
            let lines = explain(row.code).unwrap();
            assert!(lines[0].starts_with(row.code) && lines.len() >= 6, "{lines:?}");
        }
        for reason in Reason::ALL {
            assert!(explain(reason.word()).is_ok() && explain(&reason.exit_code().to_string()).is_ok(), "{reason:?}");
        }
        assert_eq!(explain("3").unwrap().len(), 2, "one exit code, two reasons");
    }

    #[test]
    fn a_code_that_is_not_known_names_those_that_are_like_it() {
        let failure = explain("image-missing").unwrap_err();
        assert!(failure.next.unwrap().contains("`image-tag-missing`"));
        assert!(explain("???").unwrap_err().next.is_some());
        for (slip, meant) in [("missing-varable", "`missing-variable`"), ("rolled-bak", "`rolled-back`")] {
            assert_eq!(explain(slip).unwrap_err().next.unwrap(), format!("did you mean {meant}?"));
        }
    }
}
