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

const RETRIED: [&str; 4] = ["retry", "retries", "trying again", "try again"];

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

/// What a program says when it ends: it is not at work any more.
const ENDS: [&str; 16] = [
    "exit",
    "shut",
    "stop",
    "terminat",
    "clos",
    "signal",
    "dump",
    "crash",
    "kill",
    "restart",
    "drain",
    "clean",
    "destroy",
    "disconnect",
    "bye",
    "rolling back",
];

/// Lines about the end itself, and headings of what follows.
const NO_WORDS: [&str; 16] = [
    "traceback",
    "during handling of",
    "the above exception",
    "application failed to start",
    "exit code",
    "exited with",
    "elifecycle",
    "failed to boot",
    "giving up",
    "shutting down",
    "startup failed",
    "failed to load command",
    "rails aborted",
    "rake aborted",
    "exception in worker process",
    "error occurred prerendering",
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

/// Lines that may say why the program ended, the most telling first. A program that goes on with its work after an error
/// has not ended because of it, where there is another. Where nothing else is an error, what was tried again and again
/// is what it gave up at.
pub(super) fn telling(log: &[SeenLine]) -> Vec<&str> {
    let lines: Vec<&str> = log.iter().map(|line| line.text.as_str()).collect();
    let works = lines.iter().rposition(|line| has(line, &WORKS) && !is_error(line) && !is_advice(line));
    let mut meant: Vec<Vec<&str>> = vec![vec![]];
    let mut given_up = vec![];
    for line in lines.into_iter().skip(works.map_or(0, |at| at + 1)) {
        if is_at_work(line) && meant.last().is_some_and(|group| group.iter().any(|line| is_error(line))) {
            meant.push(vec![]);
        }
        match (is_quiet(line), has(line, &TAKEN_BACK)) {
            (true, _) => {}
            (false, true) => given_up.push(line),
            (false, false) => meant.last_mut().into_iter().for_each(|group| group.push(line)),
        }
    }
    let meant: Vec<&str> = meant.into_iter().rev().flatten().collect();
    match meant.iter().any(|line| is_error(line)) {
        true => meant,
        false => meant.into_iter().chain(given_up.into_iter().rev().filter(|line| has(line, &RETRIED))).collect(),
    }
}

/// It goes on with its work, whatever was before: by a line of its own about something else, or in so many words.
fn is_at_work(line: &str) -> bool {
    let says_so = has(line, &TAKEN_BACK) && !has(line, &["deprecat", "optional"]);
    (is_informed(line) || says_so) && !is_error(line) && !has(line, &ENDS) && !has(line, &RETRIED)
}

/// What to look at, for a person: `identify the process that's listening on port 8080`, `is the server running?`.
fn is_advice(line: &str) -> bool {
    line.trim_end().ends_with('?')
        || has(line, &["make sure", "check ", "ensure", "verify", "identify", "that's listening", "is listening on"])
}

/// A line that only announces what follows, with what follows it: some programs lay out in several lines what they lack.
pub(super) fn announced(lines: &[&str]) -> Option<String> {
    const LONGEST: usize = 12;
    let first = lines.first()?.trim_end();
    let is_list = first.ends_with([':', '[', '{']) && has(first, &["environment", "variable", "missing", "invalid"]);
    let announces =
        is_list || has(first, &["validation error", "failed to connect to"]) || first.starts_with("ZodError");
    let whole = || lines.iter().take(LONGEST).map(|line| line.trim()).collect::<Vec<_>>().join(" ");
    announces.then(whole)
}

/// The program's own words for its end: the first line of an error, that is no heading and not about the end itself. Some
/// frameworks indent all that they say.
pub(super) fn own_words<'l>(telling: &[&'l str]) -> Option<&'l str> {
    let is_frame =
        |line: &str| ["at ", "File \"", "#", "from ", "^"].iter().any(|start| line.trim().starts_with(start));
    let errors = || telling.iter().copied().filter(move |line| is_error(line) && !is_frame(line));
    let is_indented = |line: &&str| line.starts_with([' ', '\t']);
    let is_whole = |line: &&str| !has(line, &NO_WORDS) && !line.trim_end().ends_with(':');
    let outer = || errors().filter(move |line| !is_indented(line));
    let words = outer().find(is_whole).or_else(|| errors().find(is_whole));
    words.or_else(|| outer().find(|line| !line.starts_with("Traceback"))).map(str::trim)
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
    matches!(level(line), Some(Level::Informed | Level::Warned))
}

fn is_informed(line: &str) -> bool {
    level(line) == Some(Level::Informed)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Informed,
    Warned,
    Failed,
}

fn level(line: &str) -> Option<Level> {
    let lower = line.to_ascii_lowercase();
    if let Some(level) = numbered_level(&lower) {
        return Some(match level {
            0..40 => Level::Informed,
            40..50 => Level::Warned,
            _ => Level::Failed,
        });
    }
    let words = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).take(16);
    words.into_iter().find_map(|word| match word {
        "info" | "debug" | "trace" | "verbose" => Some(Level::Informed),
        "notice" | "warn" | "warning" | "deprecationwarning" => Some(Level::Warned),
        "error" | "err" | "fatal" | "critical" | "panic" | "severe" | "emerg" | "alert" | "crit" => Some(Level::Failed),
        _ if word.ends_with("error") || word.ends_with("exception") => Some(Level::Failed),
        _ => None,
    })
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
