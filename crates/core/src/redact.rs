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

/// Shorter lines would turn every second word into stars.
const SHORTEST: usize = 4;

/// `text` with `***` for every secret in it, of a secret of several lines for each of its lines. The longest are looked
/// for first, so that no rest of one is left where another one is its beginning.
pub fn mask(text: &str, secrets: &[Secret]) -> String {
    let lines = secrets.iter().flat_map(|secret| secret.expose().lines().map(str::trim));
    let mut lines: Vec<&str> = lines.filter(|line| line.len() >= SHORTEST).collect();
    lines.sort_unstable_by_key(|line| std::cmp::Reverse(line.len()));
    lines.into_iter().fold(text.to_owned(), |text, line| text.replace(line, "***"))
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
    fn a_secret_does_not_print_itself() {
        let secret: Secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?}"), "Secret(***)");
        assert_eq!(secret.expose(), "hunter2");
    }
}
