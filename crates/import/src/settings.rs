//! Environment variables: which are settings, and which are secrets that no file of the repository should hold.

use crate::tree::Origin;

/// Why a variable is taken for a secret; `None` where its value may be written.
///
/// What is wrongly taken for a secret costs a parameter; what is wrongly taken for a setting is in git for good.
pub(crate) fn why_secret(name: &str, value: &str, origin: Origin) -> Option<&'static str> {
    let upper = name.to_ascii_uppercase();
    if origin == Origin::Unset {
        return Some("its value is not in the file");
    }
    if has_credentials(value) {
        return Some("its value holds a credential");
    }
    if PUBLIC.iter().any(|prefix| upper.starts_with(prefix)) {
        return None;
    }
    if is_secret_name(&upper) && !is_harmless(value) {
        return Some("its name is that of a secret");
    }
    (origin == Origin::EnvFile && !is_harmless(value)).then_some("its value is in a local file")
}

/// Built into what browsers get: public by its name.
const PUBLIC: [&str; 6] = ["NEXT_PUBLIC_", "VITE_", "REACT_APP_", "NUXT_PUBLIC_", "PUBLIC_", "EXPO_PUBLIC_"];

fn is_secret_name(upper: &str) -> bool {
    const ANYWHERE: [&str; 7] = ["PASSWORD", "PASSWD", "SECRET", "TOKEN", "CREDENTIAL", "PASSPHRASE", "WEBHOOK"];
    const WORDS: [&str; 10] = ["KEY", "KEYS", "PASS", "PWD", "DSN", "SALT", "PRIVATE", "APIKEY", "AUTH", "CERT"];
    const ENDINGS: [&str; 6] = ["DATABASE_URL", "REDIS_URL", "MONGO_URL", "MONGODB_URI", "DB_URL", "CONNECTION_STRING"];
    ANYWHERE.iter().any(|word| upper.contains(word))
        || upper.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| WORDS.contains(&word) || word.ends_with("KEY"))
        || ENDINGS.iter().any(|end| upper.ends_with(end))
}

/// A number, a switch, a word of everyday use, or nothing.
fn is_harmless(value: &str) -> bool {
    const WORDS: [&str; 22] = [
        "true",
        "false",
        "yes",
        "no",
        "on",
        "off",
        "production",
        "staging",
        "development",
        "test",
        "debug",
        "info",
        "warn",
        "warning",
        "error",
        "enabled",
        "disabled",
        "utf-8",
        "utc",
        "localhost",
        "0.0.0.0",
        "none",
    ];
    let value = value.trim();
    let is_short_number = value.len() <= 5 && value.bytes().all(|b| b.is_ascii_digit());
    value.is_empty() || is_short_number || WORDS.contains(&value.to_ascii_lowercase().as_str())
}

/// A password in one of the words, a header's token, or an option that is named like a secret with its value.
pub(crate) fn holds_secret<S: AsRef<str>>(words: &[S]) -> bool {
    let parts: Vec<&str> = words.iter().flat_map(|word| word.as_ref().split_whitespace()).collect();
    // A path to a key is none.
    let is_given = |option: &str, value: &str| {
        !value.starts_with(['-', '/', '.', '$']) && why_secret(option, value, Origin::Document).is_some()
    };
    let is_option = |part: &str, next: &str| match part.split_once('=') {
        Some((option, value)) => is_given(option, value),
        None => is_given(part, next),
    };
    let nexts = parts.iter().skip(1).copied().chain([""]);
    parts.iter().any(|part| has_credentials(part))
        || parts.iter().zip(nexts).any(|(part, next)| {
            let is_bearer = part.ends_with("Bearer") && !next.is_empty() && !next.contains('$');
            is_bearer || part.starts_with("--") && is_option(part, next)
        })
}

/// A text with a password in it: a URL with one, a connection string, a key of a known form.
pub(crate) fn has_credentials(text: &str) -> bool {
    const FORMS: [&str; 12] = [
        "-----BEGIN",
        "AKIA",
        "ASIA",
        "sk_live_",
        "sk_test_",
        "rk_live_",
        "ghp_",
        "github_pat_",
        "xoxb-",
        "xoxp-",
        "eyJhbGci",
        "AIza",
    ];
    const MEMBERS: [&str; 8] =
        ["password=", "passwd=", "pwd=", "secret=", "token=", "accountkey=", "--requirepass", "--password"];
    let lower = text.to_ascii_lowercase();
    url_credentials(text)
        || FORMS.iter().any(|form| text.contains(form))
        || MEMBERS.iter().any(|member| lower.split_once(member).is_some_and(|(_, rest)| !begins_unset(rest)))
}

/// `password=$VALUE` and `password=` name no password.
fn begins_unset(rest: &str) -> bool {
    rest.trim_start_matches(['=', ' ', '"', '\'']).chars().next().is_none_or(|c| matches!(c, '$' | ';' | '&'))
}

/// `scheme://user:password@host`.
fn url_credentials(text: &str) -> bool {
    text.split("://").skip(1).any(|rest| {
        let authority = rest.split(['/', '?', '#', ' ', '"', '\'']).next().unwrap_or_default();
        authority.rsplit_once('@').is_some_and(|(user, _)| {
            user.split_once(':').is_some_and(|(_, password)| !password.is_empty() && !password.starts_with('$'))
        })
    })
}

/// The password of everything in a rehearsal.
pub(crate) const REHEARSED: &str = "only-for-rehearsals";

/// A value that names a database, with [`REHEARSED`] for its password; `None` where it could be a secret as a whole.
pub(crate) fn rehearsed(variable: &str, value: &str) -> Option<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.~:/@?&=%+,".contains(c);
    let is_address = value.contains("://") || why_secret(variable, "some words", Origin::Document).is_none();
    if !is_address || !value.chars().all(is_plain) {
        return None;
    }
    let with = |password: &str| {
        let mut parts = value.split("://");
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (authority, rest) = part.split_at(part.find(['/', '?']).unwrap_or(part.len()));
            let other = authority.rsplit_once('@').and_then(|(user, host)| {
                let (name, known) = user.split_once(':')?;
                (!known.is_empty()).then(|| format!("{name}:{password}@{host}"))
            });
            text += &format!("://{}{rest}", other.as_deref().unwrap_or(authority));
        }
        text
    };
    (!has_credentials(&with("$PASSWORD"))).then(|| with(REHEARSED))
}

/// Whether a value names a host: as a whole, in a URL, or in `host:port`.
pub(crate) fn names_host(value: &str, host: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '.';
    let mut from = 0;
    while let Some(found) = value.get(from..).and_then(|rest| rest.find(host)) {
        let at = from + found;
        let before = value.get(..at).unwrap_or_default();
        let after = value.get(at + host.len()..).unwrap_or_default();
        let starts = before.is_empty()
            || before.ends_with("//")
            || before.ends_with('@')
            || before.ends_with(',')
            || before.ends_with('=');
        let ends = after.is_empty() || after.starts_with([':', '/', ',', '?', ';']);
        let is_path = before.ends_with('/') && !before.ends_with("//");
        if starts && ends && !is_path && !after.starts_with(is_part) && !after.starts_with("://") {
            return true;
        }
        from = at + host.len().max(1);
    }
    false
}

/// The same value with another host in the place of one.
pub(crate) fn with_host(value: &str, host: &str, other: &str) -> String {
    if value == host {
        return other.to_owned();
    }
    let mut text = value.to_owned();
    for before in ["//", "@", ",", "="] {
        for after in [":", "/", ","] {
            text = text.replace(&format!("{before}{host}{after}"), &format!("{before}{other}{after}"));
        }
        if let Some(rest) = text.strip_suffix(&format!("{before}{host}")) {
            text = format!("{rest}{before}{other}");
        }
    }
    match text.strip_prefix(&format!("{host}:")) {
        Some(rest) => format!("{other}:{rest}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_holds_a_secret_in_an_option_a_header_or_a_url_and_a_path_to_a_key_is_none() {
        for held in [
            "serve --token hunter2pw",
            "serve --token=hunter2pw --port 80",
            "curl -H 'Authorization: Bearer hunter2pw' localhost",
            "serve --db postgres://u:hunter2pw@h/d",
        ] {
            assert!(holds_secret(&[held]), "{held}");
            assert!(holds_secret(&held.split(' ').collect::<Vec<_>>()), "{held}");
        }
        for free in [
            "serve --ssl-key /etc/ssl/key.pem --port 80",
            "serve --token $TOKEN",
            "serve --token --verbose",
            "curl -H 'Authorization: Bearer $TOKEN' localhost",
            "rake secrets:check --all",
        ] {
            assert!(!holds_secret(&[free]), "{free}");
        }
    }

    #[test]
    fn secrets_are_told_from_settings() {
        for (name, value) in [
            ("POSTGRES_PASSWORD", "umami"),
            ("APP_SECRET", "replace-me"),
            ("DATABASE_URL", "postgresql://db/x"),
            ("ANYTHING", "postgres://u:p@h/d"),
            ("CONN", "Server=db;Password=hunter2;"),
            ("STRIPE_API_KEY", "x1"),
            ("HOOK", "xoxb-123"),
            ("NEXT_PUBLIC_X", "https://u:p@h"),
        ] {
            assert!(why_secret(name, value, Origin::Document).is_some(), "{name}={value}");
        }
        for (name, value) in [
            ("PORT", "3000"),
            ("NODE_ENV", "production"),
            ("API_URL", "http://api:3000"),
            ("KEYBOARD", "de"),
            ("NEXT_PUBLIC_KEY", "pk"),
            ("USE_TOKEN", "false"),
            ("PATTERN", "password=$PASSWORD"),
        ] {
            assert_eq!(why_secret(name, value, Origin::Document), None, "{name}={value}");
        }
        assert!(why_secret("SMTP_HOST", "mail.example.com", Origin::EnvFile).is_some());
        assert!(why_secret("LOG_LEVEL", "info", Origin::EnvFile).is_none());
        assert!(why_secret("LOG_LEVEL", "", Origin::Unset).is_some());
    }

    #[test]
    fn in_a_rehearsal_a_database_has_another_password_and_the_same_address() {
        let of = |value| rehearsed("DATABASE_URL", value);
        let url = "postgres://shop:only-for-rehearsals@db:5432/shop?sslmode=disable";
        assert_eq!(of("postgres://shop:hunter2@db:5432/shop?sslmode=disable").as_deref(), Some(url));
        assert_eq!(of("redis://:hunter2@cache").as_deref(), Some("redis://:only-for-rehearsals@cache"));
        assert_eq!(of("redis://cache:6379/0").as_deref(), Some("redis://cache:6379/0"));
        assert_eq!(rehearsed("DB_HOST", "db:5432").as_deref(), Some("db:5432"));
        // The password that is called like its host, and what cannot be taken apart.
        assert_eq!(rehearsed("POSTGRES_PASSWORD", "postgres"), None);
        assert_eq!(of("postgres://db/x?password=hunter2"), None);
        assert_eq!(of("jdbc:postgresql://db/x;password=hunter2"), None);
        assert_eq!(of("postgres://u:p${X}@db/x"), None);
    }

    #[test]
    fn a_host_in_a_value_is_found_and_its_name_elsewhere_is_not() {
        for value in ["db", "db:5432", "postgres://u@db:5432/x", "http://db", "http://db/x", "a,db:1", "Host=db;x=1"] {
            assert!(names_host(value, "db"), "{value}");
        }
        for value in ["dbx", "mydb", "postgres://h/db", "db.example.com", "/var/db/x", "db://x", "adb:1"] {
            assert!(!names_host(value, "db"), "{value}");
        }
        assert_eq!(with_host("http://api:3000/x", "api", "localhost"), "http://localhost:3000/x");
        assert_eq!(with_host("api:3000", "api", "localhost"), "localhost:3000");
    }
}
