//! The exit code of a command: the protocol has none, so the command is run by a shell that prints it, between words that nobody
//! else knows.

use std::fmt::Write as _;

/// Two halves of a word that only this session knows. They stand apart in the command, so that whoever shows the command
/// (`ps`, `set -x`) does not show the word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    first: String,
    second: String,
}

/// Where a command finds its standard input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StandardInput {
    /// A person's terminal.
    Terminal,
    /// Nowhere: who reads it finds its end.
    Empty,
}

impl Marker {
    pub fn random() -> Self {
        let mut bytes = [0; 16];
        let _ = aws_lc_rs::rand::fill(&mut bytes);
        let hex = hex::encode(bytes);
        Self { first: format!("fd-{}", &hex[..16]), second: hex[16..].to_owned() }
    }

    /// The command as the agent takes it. It splits the words itself, starts no shell, and has no way to say how one ended.
    /// A shell around the command does: it outlives the command's own `exit` and an interrupt from the keyboard, and what it says
    /// itself (`Terminated`) goes nowhere.
    pub fn wrap(&self, command: &[String], input: StandardInput) -> String {
        let from = match input {
            StandardInput::Terminal => "",
            StandardInput::Empty => " </dev/null",
        };
        let (first, second) = (&self.first, &self.second);
        let script = format!(
            "trap : INT QUIT; printf '%s%s:' {first} {second}; exec 3>&2 2>/dev/null; (\"$@\") 2>&3 3>&-{from}; r=$?; \
             printf '%s%s=%d;' {first} {second} \"$r\""
        );
        let mut words = vec!["/bin/sh".to_owned(), "-c".to_owned(), script, "sh".to_owned()];
        words.extend(command.iter().cloned());
        command_line(&words)
    }

    fn beginning(&self) -> Vec<u8> {
        format!("{}{}:", self.first, self.second).into_bytes()
    }

    fn end(&self) -> Vec<u8> {
        format!("{}{}=", self.first, self.second).into_bytes()
    }
}

/// Words as one line that the agent splits into the same words: each in single quotes.
pub fn command_line(words: &[String]) -> String {
    let mut line = String::new();
    for word in words {
        let _ = write!(line, "{}'{}'", if line.is_empty() { "" } else { " " }, word.replace('\'', r"'\''"));
    }
    line
}

/// Takes the marker out of what a session prints, in pieces of any size.
#[derive(Clone, Debug)]
pub struct Filter {
    marker: Marker,
    /// LF instead of CRLF: nobody's terminal shows it.
    is_plain: bool,
    state: State,
    held: Vec<u8>,
    /// What came before the command did: the agent's own words, where it could not start it.
    before: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Before,
    During,
    Ended(u8),
}

/// More was never said before a command begins.
const MOST_BEFORE: usize = 16 * 1024;

/// The code and what ends it: `255;`.
const LONGEST_CODE: usize = 12;

impl Filter {
    pub fn new(marker: Marker, is_plain: bool) -> Self {
        Self { marker, is_plain, state: State::Before, held: vec![], before: vec![] }
    }

    /// What of these bytes, and of what was held back before them, is the command's own.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        let mut out = vec![];
        if self.state == State::Before {
            let word = self.marker.beginning();
            match find(&self.held, &word) {
                Some(at) => {
                    self.before.extend(self.held.drain(..at + word.len()).take(at));
                    self.state = State::During;
                }
                None => {
                    let kept = beginning_at_the_end(&self.held, &word);
                    let come = self.held.len() - kept;
                    self.before.extend(self.held.drain(..come));
                    self.before.truncate(MOST_BEFORE);
                }
            }
        }
        if self.state == State::During {
            self.during(&mut out);
        }
        if matches!(self.state, State::Ended(_)) {
            self.held.clear();
        }
        out
    }

    fn during(&mut self, out: &mut Vec<u8>) {
        let word = self.marker.end();
        let mut from = 0;
        while let Some(at) = find(&self.held[from..], &word).map(|at| from + at) {
            let code = &self.held[at + word.len()..];
            match code.iter().position(|byte| *byte == b';') {
                Some(end) => match std::str::from_utf8(&code[..end]).ok().and_then(|code| code.parse().ok()) {
                    Some(code) => {
                        let text: Vec<u8> = self.held.drain(..at).collect();
                        self.give(&text, out);
                        self.state = State::Ended(code);
                        return;
                    }
                    None => from = at + word.len(),
                },
                None if code.len() < LONGEST_CODE => {
                    let text: Vec<u8> = self.held.drain(..at).collect();
                    self.give_but_carriage_return(text, out);
                    return;
                }
                None => from = at + word.len(),
            }
        }
        let kept = beginning_at_the_end(&self.held, &word);
        let text: Vec<u8> = self.held.drain(..self.held.len() - kept).collect();
        self.give_but_carriage_return(text, out);
    }

    /// A carriage return at the end may be one of CRLF: it waits.
    fn give_but_carriage_return(&mut self, mut text: Vec<u8>, out: &mut Vec<u8>) {
        if self.is_plain && text.last() == Some(&b'\r') {
            text.pop();
            self.held.insert(0, b'\r');
        }
        self.give(&text, out);
    }

    fn give(&self, text: &[u8], out: &mut Vec<u8>) {
        if !self.is_plain {
            return out.extend_from_slice(text);
        }
        for (at, byte) in text.iter().enumerate() {
            if *byte != b'\r' || text.get(at + 1) != Some(&b'\n') {
                out.push(*byte);
            }
        }
    }

    /// What was held back, of a session that is over.
    pub fn finish(&mut self) -> Vec<u8> {
        let mut out = vec![];
        let held = std::mem::take(&mut self.held);
        match self.state {
            State::Before => self.before.extend(held),
            State::During => self.give(&held, &mut out),
            State::Ended(_) => {}
        }
        out
    }

    /// The code that the command ended with, once it has been seen.
    pub fn exit_code(&self) -> Option<u8> {
        match self.state {
            State::Ended(code) => Some(code),
            _ => None,
        }
    }

    /// Whether the command was started.
    pub fn has_begun(&self) -> bool {
        self.state != State::Before
    }

    /// What was said instead of starting it.
    pub fn before(&self) -> String {
        String::from_utf8_lossy(&self.before).trim().to_owned()
    }
}

fn find(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).position(|window| window == word)
}

/// How many bytes at the end of `text` may be the beginning of `word`.
fn beginning_at_the_end(text: &[u8], word: &[u8]) -> usize {
    (1..word.len().min(text.len() + 1)).rev().find(|length| text.ends_with(&word[..*length])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    fn marker() -> Marker {
        Marker { first: "fd-a".to_owned(), second: "b".to_owned() }
    }

    fn through(text: &[u8], pieces: &[usize], is_plain: bool) -> (Vec<u8>, Filter) {
        let mut filter = Filter::new(marker(), is_plain);
        let mut out = vec![];
        let mut rest = text;
        for piece in pieces {
            let (now, later) = rest.split_at((*piece).min(rest.len()));
            out.extend(filter.push(now));
            rest = later;
        }
        out.extend(filter.push(rest));
        out.extend(filter.finish());
        (out, filter)
    }

    /// As a shell splits it, which for single quotes is as the agent does.
    fn run(line: &str) -> std::process::Output {
        Command::new("/bin/sh").arg("-c").arg(line).output().unwrap()
    }

    #[test]
    fn a_command_is_run_with_its_words_as_they_are_and_its_code_comes_out() {
        for (command, printed, code) in [
            (&["echo", "it's", "a \\ \"b\" $HOME #c"][..], "it's a \\ \"b\" $HOME #c\n", 0),
            (&["sh", "-c", "exit 7"], "", 7),
            (&["cat"], "", 0),
            (&["/nowhere"], "", 127),
            (&["/"], "", 126),
            (&["printf", "no newline"], "no newline", 0),
            (&["sh", "-c", "kill -9 $$"], "", 137),
        ] {
            let words: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
            let marker = Marker::random();
            let output = run(&marker.wrap(&words, StandardInput::Empty));
            let mut filter = Filter::new(marker, true);
            let mut text = filter.push(&output.stdout);
            text.extend(filter.finish());
            assert_eq!((String::from_utf8(text).unwrap().as_str(), filter.exit_code()), (printed, Some(code)));
        }
    }

    #[test]
    fn the_command_does_not_show_the_marker() {
        let line = marker().wrap(&["true".to_owned()], StandardInput::Terminal);
        assert!(!line.contains("fd-ab"), "{line}");
    }

    #[test]
    fn without_a_marker_there_is_no_code_and_what_was_said_instead_is_kept() {
        let (out, filter) = through(b"Unable to start command: no sh\r\n", &[], true);
        assert_eq!((out, filter.exit_code(), filter.has_begun()), (vec![], None, false));
        assert_eq!(filter.before(), "Unable to start command: no sh");
        let (out, filter) = through(b"fd-ab:half a line fd-ab=", &[3], true);
        assert_eq!((out.as_slice(), filter.exit_code()), (&b"half a line fd-ab="[..], None));
    }

    #[test]
    fn a_terminal_gets_every_byte_and_a_file_its_own_line_ends() {
        let text = b"banner\r\nfd-ab:a\r\nb\r\r\nc\rfd-ab=3;$ ";
        assert_eq!(through(text, &[], false).0, b"a\r\nb\r\r\nc\r");
        assert_eq!(through(text, &[], true).0, b"a\nb\r\nc\r");
    }

    proptest! {
        #[test]
        fn the_marker_is_found_wherever_it_is_split(
            text in "[fdab:=;0-9\r\n-]{0,40}", pieces in prop::collection::vec(1_usize..6, 0..60), code: u8, is_plain: bool
        ) {
            prop_assume!(!text.contains("fd-ab="));
            let whole = format!("x fd-ab:{text}fd-ab={code};rest");
            let (out, filter) = through(whole.as_bytes(), &pieces, is_plain);
            prop_assert_eq!(filter.exit_code(), Some(code));
            let expected = if is_plain { text.replace("\r\n", "\n") } else { text };
            prop_assert_eq!(String::from_utf8(out).unwrap(), expected);
        }

        #[test]
        fn no_output_is_too_bad(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            through(&bytes, &[1, 2, 3], true);
            let begun = [b"fd-ab:".as_slice(), &bytes].concat();
            through(&begun, &[7, 2, 3], true);
        }
    }
}
