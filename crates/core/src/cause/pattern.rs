//! Words of AWS and of programs with gaps in them, and sentences with places to fill.
//!
//! In a pattern `*` stands for any text and `{name}` for a word that is kept under that name; `{name..}` keeps several
//! words. A pattern is found anywhere in a text, whatever its capitals: AWS changes both, and cuts the end off.
//! In a sentence `{name}` is filled in, and what stands between `[` and `]` is left out where a value of it is not known.

/// What is longer is no sentence of AWS and no line that a person reads.
const LONGEST: usize = 4_000;

/// What was found out, by name. The first of a name stays.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Values(Vec<(&'static str, String)>);

impl Values {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn set(&mut self, name: &'static str, value: impl Into<String>) {
        let value = value.into();
        if !value.is_empty() && self.get(name).is_none() {
            self.0.push((name, value));
        }
    }

    pub(super) fn extend(&mut self, other: Values) {
        other.0.into_iter().for_each(|(name, value)| self.set(name, value));
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Gap {
    None,
    Any,
    Word(&'static str),
    Words(&'static str),
}

/// What the gaps of a pattern hold in a text; `None` where the text is another one.
pub(super) fn captured(pattern: &'static str, text: &str) -> Option<Values> {
    let end = (0..=LONGEST.min(text.len())).rev().find(|at| text.is_char_boundary(*at))?;
    let text = &text[..end];
    let mut values = Values::default();
    fits(pattern, text, &text.to_ascii_lowercase(), 0, Gap::Any, &mut values).then_some(values)
}

fn fits(pattern: &'static str, text: &str, lower: &str, at: usize, gap: Gap, values: &mut Values) -> bool {
    let Some((gap, rest)) = gap_of(pattern, gap) else {
        return match gap {
            Gap::None | Gap::Any => true,
            Gap::Word(name) => keep(name, first_word(&text[at..]), values),
            Gap::Words(name) => keep(name, text[at..].trim(), values),
        };
    };
    if rest.is_empty() {
        return fits("", text, lower, at, gap, values);
    }
    if rest.starts_with(['*', '{']) {
        // Two gaps in a row: the first one is a word.
        let Gap::Word(name) = gap else { return fits(rest, text, lower, at, Gap::Any, values) };
        return keep(name, first_word(&text[at..]), values) && fits(rest, text, lower, at, Gap::Any, values);
    }
    let literal = &rest[..rest.find(['*', '{']).unwrap_or(rest.len())];
    let after = &rest[literal.len()..];
    let wanted = literal.to_ascii_lowercase();
    let mut from = at;
    while let Some(found) = lower.get(from..).and_then(|rest| rest.find(&wanted)) {
        let found = from + found;
        let mut between = &text[at..found];
        // A pattern that begins with a word means the one right before.
        if at == 0 && matches!(gap, Gap::Word(_)) {
            between = between.rsplit(char::is_whitespace).next().unwrap_or_default();
        }
        let is_allowed = match gap {
            Gap::None => between.is_empty(),
            Gap::Any | Gap::Words(_) => true,
            Gap::Word(_) => !between.contains(char::is_whitespace) && !between.is_empty(),
        };
        if is_allowed && fits(after, text, lower, found + wanted.len(), Gap::None, values) {
            return match gap {
                Gap::Word(name) => keep(name, between, values),
                Gap::Words(name) => keep(name, between.trim(), values),
                _ => true,
            };
        }
        if gap == Gap::None {
            return false;
        }
        from = found + 1;
    }
    false
}

/// The gap that a pattern begins with, and the rest of it. `None`: nothing is left of the pattern.
fn gap_of(pattern: &'static str, before: Gap) -> Option<(Gap, &'static str)> {
    if pattern.is_empty() {
        return None;
    }
    if let Some(rest) = pattern.strip_prefix('*') {
        return Some((Gap::Any, rest));
    }
    let Some((name, rest)) = pattern.strip_prefix('{').and_then(|rest| rest.split_once('}')) else {
        return Some((before, pattern));
    };
    Some((name.strip_suffix("..").map_or(Gap::Word(name), Gap::Words), rest))
}

fn keep(name: &'static str, value: &str, values: &mut Values) -> bool {
    let value = value.trim_matches(['\'', '"', '`', ' ', '\\']);
    values.set(name, value);
    !value.is_empty()
}

fn first_word(text: &str) -> &str {
    let text = text.trim_start_matches([' ', '\'', '"', '`']);
    let end = text.find(|c: char| c.is_whitespace() || "'\"`,;)(]".contains(c)).unwrap_or(text.len());
    text[..end].trim_end_matches(['.', ':'])
}

/// A sentence with its values in it.
pub(super) fn filled(template: &str, values: &Values) -> String {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(at) = rest.find('[') {
        out.push_str(&with_values(&rest[..at], values).0);
        let (group, after) = rest[at + 1..].split_once(']').unwrap_or((&rest[at + 1..], ""));
        let (text, is_whole) = with_values(group, values);
        if is_whole {
            out.push_str(&text);
        }
        rest = after;
    }
    out.push_str(&with_values(rest, values).0);
    out
}

fn with_values(template: &str, values: &Values) -> (String, bool) {
    let (mut out, mut is_whole) = (String::new(), true);
    let mut rest = template;
    while let Some((before, (name, after))) =
        rest.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
    {
        out.push_str(before);
        match values.get(name) {
            Some(value) => out.push_str(value),
            None => {
                is_whole = false;
                out.push_str("(not known)");
            }
        }
        rest = after;
    }
    out.push_str(rest);
    (out, is_whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pattern: &'static str, text: &str) -> Option<Vec<(&'static str, String)>> {
        captured(pattern, text).map(|values| values.0)
    }

    #[test]
    fn a_pattern_is_found_anywhere_whatever_the_capitals_and_keeps_what_is_in_its_gaps() {
        let kept = |name: &'static str, value: &str| (name, value.to_owned());
        let cases = [
            ("no such host", "lookup db: No such HOST", Some(vec![])),
            ("ref {r}: *not found", "failed to resolve ref a/b:v1: a/b:v1: not found", Some(vec![kept("r", "a/b:v1")])),
            ("module '{m}'", "Error: Cannot find module '/app/main.js'", Some(vec![kept("m", "/app/main.js")])),
            ("lookup {h}: no such", "dial tcp: lookup db.local: no such host", Some(vec![kept("h", "db.local")])),
            ("port {p}", "listening on port 8080.", Some(vec![kept("p", "8080")])),
            ("Error: {w..}", "Error: two words", Some(vec![kept("w", "two words")])),
            // A word has no blank in it, so the second `key ` is the one.
            ("key {k} is missing", "the key of the key A is missing", Some(vec![kept("k", "A")])),
            ("lookup {h}*no such", "lookup db on 10.0.0.2:53: no such host", Some(vec![kept("h", "db")])),
            ("module '{m}'", "module ''", None),
            ("{f}: denied", "sh: 1: /app/x.sh: denied", Some(vec![kept("f", "/app/x.sh")])),
            ("a*c", "c a", None),
            ("ü{x}", "ü", None),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(found(pattern, text), expected, "{pattern} in {text}");
        }
    }

    #[test]
    fn a_part_of_a_sentence_whose_value_is_not_known_is_left_out() {
        let mut values = Values::default();
        values.set("a", "1");
        assert_eq!(filled("x {a}[ of {b}][, so {a}].", &values), "x 1, so 1.");
    }
}
