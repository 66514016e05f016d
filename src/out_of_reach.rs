//! What no repetition reaches.

/// Why a connection fails however often it is tried, by the sentence at the bottom of its error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutOfReach {
    /// Nobody who is trusted has signed the certificate of who answers.
    Certificate,
    /// No name server knows the host.
    UnknownHost,
}

impl OutOfReach {
    pub(crate) fn of(why: &str) -> Option<Self> {
        let has = |words: &[&str]| words.iter().any(|words| why.contains(words));
        if has(&["invalid peer certificate"]) {
            return Some(Self::Certificate);
        }
        // A name server that could not be asked is not one that knows no such host.
        let is_unknown = has(&["failed to lookup address"]) && !has(&["Temporary failure", "Try again"]);
        is_unknown.then_some(Self::UnknownHost)
    }

    pub(crate) fn advice(self) -> &'static str {
        match self {
            Self::Certificate => {
                "where a proxy answers in its place, name the proxy's authority in `AWS_CA_BUNDLE`: a file of PEM certificates"
            }
            Self::UnknownHost => {
                "check `region`, the variables that name an endpoint (`AWS_ENDPOINT_URL`), and the name server of the runner"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_is_unknown_is_told_from_a_name_server_that_is_away() {
        let lookup = |why: &str| format!("no answer: failed to lookup address information: {why}");
        for (why, expected) in [
            (lookup("Name or service not known"), Some(OutOfReach::UnknownHost)),
            (lookup("Name does not resolve"), Some(OutOfReach::UnknownHost)),
            (lookup("Temporary failure in name resolution"), None),
            (lookup("Try again"), None),
            ("no answer: invalid peer certificate: UnknownIssuer".to_owned(), Some(OutOfReach::Certificate)),
            ("no answer: connection refused".to_owned(), None),
        ] {
            assert_eq!(OutOfReach::of(&why), expected, "{why}");
        }
    }
}
