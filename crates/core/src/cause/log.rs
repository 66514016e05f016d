//! Which lines of a log can be the reason why a program ended.
//!
//! A log is full of words that look like a cause: what is merely informed of, what is tried again and works, what the
//! program goes on without. The first error that nothing took back is the one; the errors after it follow from it.

use super::seen::SeenLine;

/// What a program says when it goes on in spite of it.
const TAKEN_BACK: [&str; 20] = [
    "retry",
    "retries",
    "trying again",
    "try again",
    "continuing",
    "ignoring",
    "ignored",
    "skipping",
    "skipped",
    "falling back",
    "fallback",
    "disabled",
    "disabling",
    "deprecat",
    "non-fatal",
    "nonfatal",
    "not fatal",
    "optional",
    "recovered",
    "using default",
];

/// What a program says when it works: what went wrong before has not ended it.
const WORKS: [&str; 15] = [
    "listening on",
    "listening at",
    "server started",
    "started server",
    "ready to accept",
    "ready for connections",
    "accepting connections",
    "successfully connected",
    "connected to",
    "connection established",
    "running on http",
    "ready in ",
    "ready on ",
    "serving on",
    "now serving",
];

/// What makes a line one of an error.
const OF_ERRORS: [&str; 31] = [
    "error",
    "exception",
    "fatal",
    "panic",
    "failed",
    "failure",
    "cannot",
    "can't",
    "could not",
    "couldn't",
    "unable",
    "denied",
    "refused",
    "invalid",
    "missing",
    "not found",
    "no such",
    "undefined",
    "not set",
    "not defined",
    "required",
    "must be",
    "abort",
    "unknown",
    "timed out",
    "timeout",
    "does not exist",
    "doesn't exist",
    "not available",
    "already exists",
    "err!",
];

/// Lines that may say why the program ended, the most telling first. Where nothing else is an error, what was tried
/// again and again is what it gave up at.
pub(super) fn telling(log: &[SeenLine]) -> Vec<&str> {
    let lines: Vec<&str> = log.iter().map(|line| line.text.as_str()).collect();
    let works = lines.iter().rposition(|line| has(line, &WORKS) && !has(line, &OF_ERRORS));
    let since = &lines[works.map_or(0, |at| at + 1)..];
    let loud: Vec<&str> = since.iter().copied().filter(|line| !is_quiet(line)).collect();
    let (given_up, meant): (Vec<&str>, Vec<&str>) = loud.into_iter().partition(|line| has(line, &TAKEN_BACK));
    match meant.iter().any(|line| is_error(line)) {
        true => meant,
        false => {
            let retried = |line: &&str| has(line, &["retry", "retries", "trying again", "try again"]);
            meant.iter().copied().chain(given_up.into_iter().rev().filter(retried)).collect()
        }
    }
}

/// A line that only announces what follows, with what follows it: some programs lay out in several lines what they lack.
pub(super) fn announced(lines: &[&str]) -> Option<String> {
    const LONGEST: usize = 10;
    let first = lines.first()?.trim_end();
    let is_list = first.ends_with([':', '[', '{']) && has(first, &["environment", "variable", "missing", "invalid"]);
    let announces = is_list || has(first, &["validation error"]);
    let whole = || lines.iter().take(LONGEST).map(|line| line.trim()).collect::<Vec<_>>().join(" ");
    announces.then(whole)
}

/// The program's own words for its end: the first line of an error.
pub(super) fn own_words<'l>(telling: &[&'l str]) -> Option<&'l str> {
    let said = |line: &&&str| is_error(line) && !line.starts_with([' ', '\t']) && !line.trim().starts_with("at ");
    let heading = |line: &&&str| {
        let line = line.trim();
        line.starts_with("Traceback")
            || line.starts_with("During handling of")
            || line.starts_with("The above exception")
    };
    telling.iter().filter(said).find(|line| !heading(line)).copied().map(str::trim)
}

fn is_error(line: &str) -> bool {
    has(line, &OF_ERRORS)
}

fn has(line: &str, words: &[&str]) -> bool {
    let line = line.to_ascii_lowercase();
    words.iter().any(|word| line.contains(word))
}

/// A line that its program itself calls no error: by the first word of it that is a level.
fn is_quiet(line: &str) -> bool {
    let lower = line.to_ascii_lowercase();
    if let Some(level) = numbered_level(&lower) {
        return level < 50;
    }
    let words = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).take(16);
    for word in words {
        match word {
            "info" | "debug" | "trace" | "notice" | "warn" | "warning" | "verbose" | "deprecationwarning" => {
                return true;
            }
            "error" | "err" | "fatal" | "critical" | "panic" | "severe" | "emerg" | "alert" | "crit" => return false,
            _ if word.ends_with("error") || word.ends_with("exception") => return false,
            _ => {}
        }
    }
    false
}

/// `"level":40`, as bunyan and pino write it.
fn numbered_level(lower: &str) -> Option<u32> {
    let rest = lower.split("\"level\":").nth(1)?.trim_start();
    rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(log: &[&str]) -> Vec<String> {
        let log: Vec<SeenLine> = log.iter().copied().map(SeenLine::from).collect();
        telling(&log).into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn what_is_only_informed_of_or_worked_in_the_end_is_no_reason() {
        let cases: [(&[&str], &[&str]); 8] = [
            (&["INFO db at 127.0.0.1 refused once", "Error: A"], &["Error: A"]),
            (
                &["{\"level\":40,\"msg\":\"error: no cache\"}", "{\"level\":60,\"msg\":\"B missing\"}"],
                &["{\"level\":60,\"msg\":\"B missing\"}"],
            ),
            (&["Error: connect ECONNREFUSED, retrying", "Error: A"], &["Error: A"]),
            (
                &["Error: connect ECONNREFUSED, retry 1", "Error: connect ECONNREFUSED, retry 2"],
                &["Error: connect ECONNREFUSED, retry 2", "Error: connect ECONNREFUSED, retry 1"],
            ),
            (&["Error: A", "connected to redis", "Error: B"], &["Error: B"]),
            (
                &["[warn] permission denied: /metrics", "KeyError: 'X'", "RuntimeError: down"],
                &["KeyError: 'X'", "RuntimeError: down"],
            ),
            (&["ERROR statsd unreachable, continuing without it", "FATAL no licence"], &["FATAL no licence"]),
            (&["ValueError: bad level info"], &["ValueError: bad level info"]),
        ];
        for (log, expected) in cases {
            assert_eq!(told(log), expected, "{log:?}");
        }
    }

    #[test]
    fn the_own_words_are_the_first_line_of_an_error_and_no_frame_or_heading() {
        let log =
            ["Traceback (most recent call last):", "  File \"a.py\", line 1", "    raise Error()", "app.Error: broken"];
        let telling: Vec<&str> = log.to_vec();
        assert_eq!(own_words(&telling), Some("app.Error: broken"));
        assert_eq!(own_words(&["hello"]), None);
    }
}
