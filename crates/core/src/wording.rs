//! Words that sentences of several modules share.

use std::fmt::Display;

/// `1 service`, `2 services`: for nouns whose plural is an `s`, and whole numbers of any type.
pub fn counted(count: impl Display, noun: &str) -> String {
    let count = count.to_string();
    let plural = if count == "1" { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn one_is_singular_and_none_is_plural() {
        assert_eq!([0, 1, 2].map(|n| counted(n, "service")), ["0 services", "1 service", "2 services"]);
    }
}
