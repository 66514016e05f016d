//! Variables in a compose file, as compose replaces them: `$A`, `${A}`, `${A:-default}`, `${A-default}`, `${A:?why}`,
//! `${A:+other}`, nested, and `$$` for a dollar.
//! <https://docs.docker.com/reference/compose-file/interpolation/>

use crate::tree::{Node, Origin, Value};
use std::collections::BTreeMap;

const MOST_DEPTH: usize = 16;

/// The variables of the file beside it. What a shell has set is not read: it would differ from one machine to the next.
pub(crate) type Variables = BTreeMap<String, String>;

/// Replaces the variables in every value of the tree.
pub(crate) fn interpolate(node: &mut Node, variables: &Variables) {
    match &mut node.value {
        Value::Null => {}
        Value::List(items) => items.iter_mut().for_each(|item| interpolate(item, variables)),
        Value::Map(entries) => entries.iter_mut().for_each(|(_, value)| interpolate(value, variables)),
        Value::Scalar(scalar) if scalar.text.contains('$') => {
            let mut out = Output { text: String::new(), origin: scalar.origin };
            let chars: Vec<char> = scalar.text.chars().collect();
            replace(&chars, variables, 0, &mut out);
            scalar.text = out.text;
            scalar.origin = out.origin;
        }
        Value::Scalar(_) => {}
    }
}

struct Output {
    text: String,
    origin: Origin,
}

impl Output {
    fn saw(&mut self, origin: Origin) {
        self.origin = self.origin.max(origin);
    }
}

fn replace(chars: &[char], variables: &Variables, depth: usize, out: &mut Output) {
    let mut at = 0;
    while let Some(c) = chars.get(at) {
        let rest = chars.get(at + 1..).unwrap_or_default();
        match (c, rest.first()) {
            ('$', Some('$')) => {
                out.text.push('$');
                at += 2;
            }
            ('$', Some('{')) => match closing(rest) {
                Some(end) => {
                    braced(rest.get(1..end).unwrap_or_default(), variables, depth, out);
                    at += end + 2;
                }
                None => {
                    out.text.push('$');
                    at += 1;
                }
            },
            ('$', Some(c)) if is_start(*c) => {
                let name: String = rest.iter().take_while(|c| is_inner(**c)).collect();
                at += 1 + name.chars().count();
                named(&name, variables, out);
            }
            (c, _) => {
                out.text.push(*c);
                at += 1;
            }
        }
    }
}

/// Where the brace that `rest` begins with is closed.
fn closing(rest: &[char]) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in rest.iter().enumerate() {
        match c {
            '{' => depth += 1,
            '}' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

fn braced(inner: &[char], variables: &Variables, depth: usize, out: &mut Output) {
    let name: String = inner.iter().take_while(|c| is_inner(**c)).collect();
    let after = inner.get(name.chars().count()..).unwrap_or_default();
    let (counts_empty, operator, word) = match after {
        [':', operator @ ('-' | '?' | '+'), word @ ..] => (true, *operator, word),
        [operator @ ('-' | '?' | '+'), word @ ..] => (false, *operator, word),
        _ => (false, ' ', [].as_slice()),
    };
    let is_set = variables.get(&name).is_some_and(|value| !counts_empty || !value.is_empty());
    match (operator, is_set) {
        ('+', true) | ('-', false) if depth < MOST_DEPTH => replace(word, variables, depth + 1, out),
        ('+', false) => {}
        _ => named(&name, variables, out),
    }
}

fn named(name: &str, variables: &Variables, out: &mut Output) {
    match variables.get(name) {
        Some(value) => {
            out.text.push_str(value);
            out.saw(Origin::EnvFile);
        }
        None => out.saw(Origin::Unset),
    }
}

fn is_start(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

fn is_inner(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The variables of a `.env` file: `NAME=value` lines, with `export`, comments and quotes.
pub(crate) fn env_file(text: &str) -> Vec<(String, String)> {
    let mut found = vec![];
    for line in text.trim_start_matches('\u{feff}').lines() {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
        let Some((name, value)) = line.split_once('=') else { continue };
        let name = name.trim();
        if name.is_empty() || line.starts_with('#') || !name.chars().all(|c| is_inner(c) || c == '.' || c == '-') {
            continue;
        }
        let value = value.trim();
        let unquoted = ['"', '\''].iter().find_map(|q| value.strip_prefix(*q)?.split(*q).next());
        let value = unquoted.unwrap_or_else(|| value.split(" #").next().unwrap_or_default().trim());
        found.push((name.to_owned(), value.to_owned()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Place;

    fn of(text: &str) -> (String, Origin) {
        let variables = [("SET", "value"), ("EMPTY", "")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let mut node = Node::scalar(Place::default(), text);
        interpolate(&mut node, &variables);
        let scalar = node.as_scalar().unwrap().clone();
        (scalar.text, scalar.origin)
    }

    #[test]
    fn each_form_is_replaced_as_compose_does() {
        use Origin::{Document, EnvFile, Unset};
        for (text, expected, origin) in [
            ("a", "a", Document),
            ("$SET-x", "value-x", EnvFile),
            ("${SET}", "value", EnvFile),
            ("${NO:-d}", "d", Document),
            ("${NO-d}", "d", Document),
            ("${EMPTY:-d}", "d", Document),
            ("${EMPTY-d}", "", EnvFile),
            ("${NO:-a${NO2:-b}c}", "abc", Document),
            ("${NO:-http://${SET}/}", "http://value/", EnvFile),
            ("${NO:?why}", "", Unset),
            ("${SET:+other}", "other", Document),
            ("${NO:+other}", "", Document),
            ("${NO}", "", Unset),
            ("pg_isready -U $${USER}", "pg_isready -U ${USER}", Document),
            ("cost $5 $", "cost $5 $", Document),
            ("${NO", "${NO", Document),
        ] {
            assert_eq!(of(text), (expected.to_owned(), origin), "{text}");
        }
    }

    #[test]
    fn an_env_file_is_read_line_by_line() {
        let text = "# c\nexport A=1\nB=\"two words\" # c\nC='x#y'\nD=plain # c\n\nnonsense\nE=\n";
        let read = env_file(text);
        let read: Vec<_> = read.iter().map(|(n, v)| format!("{n}={v}")).collect();
        assert_eq!(read, ["A=1", "B=two words", "C=x#y", "D=plain", "E="]);
    }
}
