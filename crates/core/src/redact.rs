//! Secrets are a type: they cannot be printed, compared or serialized by accident.

use crate::markdown;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer};
use std::fmt;

/// A value that must never reach a log, a comment or a file.
#[derive(Clone, Default)]
pub struct Secret<T = String>(T);

impl<T> Secret<T> {
    pub fn new(value: impl Into<T>) -> Self {
        Self(value.into())
    }

    /// The value itself. Every call site is a place where the secret leaves our hands on purpose.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// Read, and never written. A null is an empty one, as the docker CLI takes it.
impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::<String>::deserialize(deserializer).map(|value| Self::new(value.unwrap_or_default()))
    }
}

/// Shorter values would turn every second word into stars.
const SHORTEST: usize = 4;

/// What is encoded of a shorter value is a word of everyday use.
const SHORTEST_ENCODED: usize = 8;

/// So many letters and digits in a row are no coincidence, whatever stands between them.
const SHORTEST_LETTERS: usize = 12;

/// What stands for a secret.
pub const STARS: &str = "***";

/// Everything that is not to be shown, and what is shown in its place.
#[derive(Clone, Debug, Default)]
pub struct Redaction {
    /// Longest first, so that no rest of one is left where another one is its beginning.
    rules: Vec<(Secret, String)>,
    /// Letters and digits of secrets that are long enough to be known by them.
    letters: Vec<Secret>,
}

impl Redaction {
    /// Shows `***` in place of a secret; of one of several lines, in place of each of its lines. What JSON, URLs, Markdown
    /// and base64 make of it is hidden too.
    pub fn hide(&mut self, secret: &Secret) {
        for line in secret.expose().lines().map(str::trim).filter(|line| line.len() >= SHORTEST) {
            self.add(line, STARS);
            for line in [line, &markdown::stripped(line)] {
                let (letters, _) = letters_of(line);
                if letters.len() >= SHORTEST_LETTERS && !self.letters.iter().any(|known| *known.expose() == letters) {
                    self.letters.push(Secret::new(letters));
                }
            }
        }
    }

    /// Shows a value of the config as it is written there.
    pub fn show_as(&mut self, value: &Secret, written: &str) {
        if value.expose().len() >= SHORTEST {
            self.add(value.expose(), written);
        }
    }

    fn add(&mut self, value: &str, shown: &str) {
        let stripped = markdown::stripped(value);
        let mut all = forms(value);
        if stripped != value {
            all.extend(forms(&stripped));
        }
        for form in all {
            if self.rules.iter().any(|(known, _)| *known.expose() == form) {
                continue;
            }
            let at = self.rules.partition_point(|(known, _)| known.expose().len() >= form.len());
            self.rules.insert(at, (Secret::new(form), shown.to_owned()));
        }
    }

    /// `text` with everything replaced that is not to be shown. Secrets that overlap are hidden as one; user-info and
    /// tokens of URLs and `Authorization` values go too, whoever they belong to.
    pub fn apply(&self, text: &str) -> String {
        without_credentials(&self.replaced(text))
    }

    fn replaced(&self, text: &str) -> String {
        let mut found: Vec<(usize, usize, &str)> = vec![];
        // What is escaped in a URL differs between those who write one: found is what it stands for.
        let escaped = text.contains('%').then(|| percent_decoded(text));
        for (value, shown) in &self.rules {
            let value = value.expose().as_str();
            found.extend(text.match_indices(value).map(|(at, part)| (at, at + part.len(), shown.as_str())));
            if let Some((decoded, places)) = &escaped {
                let matches = decoded.match_indices(value);
                found.extend(matches.map(|(at, part)| (places[at], places[at + part.len()], shown.as_str())));
            }
        }
        if !self.letters.is_empty() {
            // Escaped for Markdown, broken into lines, coloured: its letters are still there, in their order.
            let mut look = |letters: &str, from: &dyn Fn(usize) -> usize, to: &dyn Fn(usize) -> usize| {
                for known in &self.letters {
                    let matches = letters.match_indices(known.expose().as_str());
                    found.extend(matches.map(|(at, part)| (from(at), to(at + part.len() - 1), STARS)));
                }
            };
            let (letters, at) = letters_of(text);
            look(&letters, &|n| at[n], &|n| at[n] + 1);
            if let Some((decoded, places)) = &escaped {
                let (letters, at) = letters_of(decoded);
                look(&letters, &|n| places[at[n]], &|n| places[at[n] + 1]);
            }
        }
        if found.is_empty() {
            return text.to_owned();
        }
        found.sort_by_key(|(from, to, _)| (*from, std::cmp::Reverse(*to)));
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        let mut rest = found.into_iter().peekable();
        while let Some((from, mut to, mut shown)) = rest.next() {
            while let Some((_, further, _)) = rest.next_if(|(next, ..)| *next < to) {
                if further > to {
                    (to, shown) = (further, STARS);
                }
            }
            out.push_str(&text[at..from]);
            out.push_str(shown);
            at = to;
        }
        out.push_str(&text[at..]);
        out
    }
}

/// Every text in a JSON value, as `redacted` makes it; names of members stay.
pub fn redact_json(value: &mut serde_json::Value, redacted: &dyn Fn(&str) -> String) {
    match value {
        serde_json::Value::String(text) => *text = redacted(text),
        serde_json::Value::Array(items) => items.iter_mut().for_each(|item| redact_json(item, redacted)),
        serde_json::Value::Object(members) => members.values_mut().for_each(|member| redact_json(member, redacted)),
        _ => {}
    }
}

/// Names of parameters whose values let somebody in.
const TOKENS: [&str; 20] = [
    "token",
    "access_token",
    "auth_token",
    "id_token",
    "refresh_token",
    "api_token",
    "auth",
    "authorization",
    "key",
    "api_key",
    "apikey",
    "api-key",
    "access_key",
    "secret",
    "client_secret",
    "password",
    "passwd",
    "pwd",
    "sig",
    "signature",
];

/// `text` without user-info in URLs, without tokens in their queries, and without what follows `Bearer` and `Basic`.
pub fn without_credentials(text: &str) -> String {
    if !(text.contains("://")
        || text.contains('=')
        || text.contains("earer")
        || text.contains("asic")
        || text.contains("EARER")
        || text.contains("ASIC"))
    {
        return text.to_owned();
    }
    without_schemes(&without_tokens(&without_user_info(text)))
}

fn without_user_info(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let is_scheme = before[..at].ends_with(|c: char| c.is_ascii_alphanumeric());
        let end = after.find(|c: char| c.is_whitespace() || "\"'`<>".contains(c)).unwrap_or(after.len());
        let word = &after[..end];
        let authority = word.find(['/', '?', '#']).unwrap_or(word.len());
        let user = word[..authority].rfind('@').or_else(|| {
            // A password with a slash in it: what follows the colon is no port.
            let (_, port) = word[..authority].split_once(':')?;
            let is_port = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
            word.rfind('@').filter(|_| !is_port)
        });
        match user.filter(|_| is_scheme) {
            Some(user) => {
                out.push_str(STARS);
                rest = &after[user..];
            }
            None => rest = after,
        }
    }
    out.push_str(rest);
    out
}

/// Values of parameters such as `?token=`.
fn without_tokens(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('=') {
        let (before, after) = rest.split_at(at + 1);
        out.push_str(before);
        rest = after;
        let name = before[..at].rsplit(['?', '&']).next().unwrap_or_default();
        let is_parameter = name.len() < at && !name.contains(char::is_whitespace);
        let name = name.to_ascii_lowercase();
        let is_token = TOKENS.contains(&name.as_str())
            || name.starts_with("x-amz-s") // Signature and Security-Token of a presigned request
            || name.ends_with("_token")
            || name.ends_with("_key")
            || name.ends_with("_secret");
        if is_parameter && is_token {
            let end = after.find(|c: char| c.is_whitespace() || "&#\"'`<>".contains(c)).unwrap_or(after.len());
            if end > 0 {
                out.push_str(STARS);
            }
            rest = &after[end..];
        }
    }
    out.push_str(rest);
    out
}

/// `Bearer TOKEN` and `Basic CREDENTIALS`, as the header `Authorization` has them.
/// <https://www.rfc-editor.org/rfc/rfc6750#section-2.1>
fn without_schemes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let lower = text.to_ascii_lowercase();
    let find = |from: usize| {
        ["bearer ", "basic "].iter().filter_map(|scheme| Some((from + lower[from..].find(scheme)?, scheme.len()))).min()
    };
    while let Some((at, length)) = find(text.len() - rest.len()) {
        let from = text.len() - rest.len();
        let (before, after) = text[from..].split_at(at + length - from);
        out.push_str(before);
        let end = after.find(|c: char| !(c.is_ascii_alphanumeric() || "-._~+/=%".contains(c))).unwrap_or(after.len());
        // A word of prose after `bearer` is shorter.
        let is_token = end >= 12 || (end >= 6 && after[..end].contains(|c: char| !c.is_ascii_alphabetic()));
        if is_token {
            out.push_str(STARS);
            rest = &after[end..];
        } else {
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

/// A value, and what it looks like where something else was made of it: a string in JSON or in a `Debug` text, a part of a
/// form, Markdown and HTML as we escape them, hexadecimal digits, and base64 whatever stands around it.
fn forms(value: &str) -> Vec<String> {
    let quoted = serde_json::Value::from(value).to_string();
    let debugged = format!("{value:?}");
    let mut forms = vec![
        quoted[1..quoted.len() - 1].to_owned(),
        debugged[1..debugged.len() - 1].to_owned(),
        value.replace(' ', "+"),
    ];
    forms.extend(markdown::forms(value));
    if value.len() >= SHORTEST_ENCODED {
        forms.extend([hex::encode(value), hex::encode_upper(value)]);
        forms.extend(base64_forms(value));
    }
    forms.retain(|form| form != value && form.len() >= SHORTEST);
    forms.push(value.to_owned());
    forms
}

/// The letters and digits of ASCII, and where they stand. Those of an entity such as `&lt;` and `&#124;`, and of the tags
/// that we write, are none.
fn letters_of(text: &str) -> (String, Vec<usize>) {
    let bytes = text.as_bytes();
    let (mut letters, mut places) = (String::new(), vec![]);
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'&'
            && let Some(length) = bytes[at..].iter().take(8).position(|byte| *byte == b';')
            && let name = &text[at + 1..at + length]
            && (["lt", "gt", "amp"].contains(&name)
                || name.strip_prefix('#').is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit())))
        {
            at += length;
        } else if let Some(tag) = ["<code>", "</code>"].iter().find(|tag| bytes[at..].starts_with(tag.as_bytes())) {
            at += tag.len() - 1;
        } else if bytes[at].is_ascii_alphanumeric() {
            letters.push(char::from(bytes[at]));
            places.push(at);
        }
        at += 1;
    }
    (letters, places)
}

/// `text` with `%2F` as `/`, and for each byte of it, and its end, where that stands in `text`. A byte that is no character
/// there becomes `.`: it stays one byte.
fn percent_decoded(text: &str) -> (String, Vec<usize>) {
    let bytes = text.as_bytes();
    let (mut decoded, mut places) = (Vec::with_capacity(bytes.len()), Vec::with_capacity(bytes.len() + 1));
    let mut at = 0;
    while at < bytes.len() {
        let escape =
            bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%').and_then(|digits| hex::decode(digits).ok());
        places.push(at);
        match escape {
            Some(byte) => {
                decoded.extend(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    places.push(at);
    let mut whole = String::with_capacity(decoded.len());
    for chunk in decoded.utf8_chunks() {
        whole.push_str(chunk.valid());
        whole.extend(chunk.invalid().iter().map(|_| '.'));
    }
    (whole, places)
}

/// Of a value that stands at any place of what was encoded, the characters that do not depend on its neighbours, in both
/// alphabets.
fn base64_forms(value: &str) -> impl Iterator<Item = String> {
    let shifted = |shift: usize| {
        let bytes = [&vec![0; shift][..], value.as_bytes()].concat();
        // Six bits a character: those that hold a bit of what stands before, and of what follows, are left out.
        let (from, to) = ((shift * 8).div_ceil(6), bytes.len() * 8 / 6);
        [STANDARD_NO_PAD.encode(&bytes)[from..to].to_owned(), URL_SAFE_NO_PAD.encode(&bytes)[from..to].to_owned()]
    };
    (0..3).flat_map(shifted)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `text` with `***` for every secret in it.
    fn mask(text: &str, secrets: &[Secret]) -> String {
        let mut redaction = Redaction::default();
        secrets.iter().for_each(|secret| redaction.hide(secret));
        redaction.apply(text)
    }

    #[test]
    fn secrets_become_stars_line_by_line_and_the_longest_first() {
        let secrets = ["hunter2", "hunter2-long", "-----BEGIN\n  key body\n", "no"].map(Secret::new);
        assert_eq!(mask("hunter2-long hunter2 key body no", &secrets), "*** *** *** no");
    }

    #[test]
    fn secrets_that_overlap_are_hidden_whole_in_whatever_order_they_came() {
        for order in [["abcdef", "cdefgh"], ["cdefgh", "abcdef"]] {
            assert_eq!(mask("-abcdefgh- abcdef", &order.map(Secret::new)), "-***- ***");
        }
    }

    #[test]
    fn what_json_and_urls_make_of_a_secret_is_hidden_too() {
        let secrets = [Secret::new("p\"a/ss w")];
        assert_eq!(mask(r#"{"x":"p\"a/ss w"} ?q=p%22a%2Fss%20w"#, &secrets), r#"{"x":"***"} ?q=***"#);
    }

    #[test]
    fn a_value_of_the_config_is_shown_as_it_is_written() {
        let mut redaction = Redaction::default();
        redaction.show_as(&Secret::new("shop-blue"), "${env:CLUSTER}");
        redaction.hide(&Secret::new("${env:CLUSTER}"));
        assert_eq!(redaction.apply("arn:cluster/shop-blue"), "arn:cluster/${env:CLUSTER}");
    }

    #[test]
    fn user_info_tokens_and_bearers_are_hidden_whoever_they_belong_to() {
        for (text, expected) in [
            ("postgres://app:hunter2@db:5432/app", "postgres://***@db:5432/app"),
            ("at https://ghp_x@github.com/a, and http://u:p/w@h/x", "at https://***@github.com/a, and http://***@h/x"),
            ("https://a.test/h?x=1&token=abc&y=2 next", "https://a.test/h?x=1&token=***&y=2 next"),
            ("GET /h?access_token=abc", "GET /h?access_token=***"),
            ("?X-Amz-Signature=0f&X-Amz-Date=1", "?X-Amz-Signature=***&X-Amz-Date=1"),
            ("Authorization: Bearer abc.def-123", "Authorization: Bearer ***"),
            ("authorization: basic dXNlcjpwYXNz", "authorization: basic ***"),
            ("the bearer of news, basic auth", "the bearer of news, basic auth"),
            ("https://a.test:8080/x@y?z=1", "https://a.test:8080/x@y?z=1"),
            ("registry/app@sha256:00 PATH=/bin", "registry/app@sha256:00 PATH=/bin"),
        ] {
            assert_eq!(without_credentials(text), expected);
        }
    }

    #[test]
    fn a_secret_does_not_print_itself() {
        let secret: Secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?}"), "Secret(***)");
        assert_eq!(secret.expose(), "hunter2");
    }
}
