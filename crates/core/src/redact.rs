//! Secrets are a type: they cannot be printed, compared or serialized by accident.

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

/// What stands for a secret.
pub const STARS: &str = "***";

/// Everything that is not to be shown, and what is shown in its place.
#[derive(Clone, Debug, Default)]
pub struct Redaction {
    /// Longest first, so that no rest of one is left where another one is its beginning.
    rules: Vec<(Secret, String)>,
}

impl Redaction {
    /// Shows `***` in place of a secret; of one of several lines, in place of each of its lines. What JSON and URLs make of
    /// it is hidden too.
    pub fn hide(&mut self, secret: &Secret) {
        for line in secret.expose().lines().map(str::trim).filter(|line| line.len() >= SHORTEST) {
            self.add(line, STARS);
        }
    }

    /// Shows a value of the config as it is written there.
    pub fn show_as(&mut self, value: &Secret, written: &str) {
        if value.expose().len() >= SHORTEST {
            self.add(value.expose(), written);
        }
    }

    fn add(&mut self, value: &str, shown: &str) {
        let quoted = serde_json::Value::from(value).to_string();
        for form in [value, &quoted[1..quoted.len() - 1], &percent_encoded(value)] {
            if self.rules.iter().any(|(known, _)| known.expose() == form) {
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

    /// The same for every text in a JSON value; names of members stay.
    pub fn apply_json(&self, value: &mut serde_json::Value) {
        match value {
            serde_json::Value::String(text) => *text = self.apply(text),
            serde_json::Value::Array(items) => items.iter_mut().for_each(|item| self.apply_json(item)),
            serde_json::Value::Object(members) => members.values_mut().for_each(|member| self.apply_json(member)),
            _ => {}
        }
    }

    fn replaced(&self, text: &str) -> String {
        let mut found: Vec<(usize, usize, &str)> = vec![];
        for (value, shown) in &self.rules {
            found.extend(
                text.match_indices(value.expose().as_str()).map(|(at, part)| (at, at + part.len(), shown.as_str())),
            );
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

/// `text` with `***` for every secret in it: see [`Redaction::hide`].
pub fn mask(text: &str, secrets: &[Secret]) -> String {
    let mut redaction = Redaction::default();
    secrets.iter().for_each(|secret| redaction.hide(secret));
    redaction.apply(text)
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

fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

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
