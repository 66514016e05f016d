//! Text of unknown origin in GitHub's Markdown: names, values, logs. It stays text: no markup, no mention, no reference.
//!
//! What comes out of [`plain`], [`code`] and [`fence`] holds no `<` of its own outside of a fence, which [`fit`] relies on
//! when it counts what is open.
//! <https://github.github.com/gfm/>

use std::iter::Peekable;
use std::ops::RangeInclusive;
use std::str::Chars;

/// Invisible and of no width: what GitHub would take for a mention or a reference is none with it inside.
const BREAK: char = '\u{200b}';

/// One line of prose, safe in a paragraph, a list item, a heading and a table cell.
pub fn plain(text: &str) -> String {
    let text = one_line(text);
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            // An entity, since an escaped pipe would still end the cell of a table after another backslash.
            '|' => out.push_str("&#124;"),
            '@' => out.extend(['@', BREAK]),
            '#' => out.extend(['\\', '#', BREAK]),
            // `GH-123` is a reference too.
            '-' if out.to_ascii_lowercase().ends_with("gh") && chars.peek().is_some_and(char::is_ascii_digit) => {
                out.extend(['-', BREAK]);
            }
            // A list item, a rule or the underline of a heading.
            '-' | '+' | '=' if out.is_empty() => out.extend(['\\', c]),
            '.' | ')' if !out.is_empty() && out.chars().all(|c| c.is_ascii_digit()) => out.extend(['\\', c]),
            '\\' | '`' | '*' | '_' | '[' | ']' | '~' | '$' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}

/// One line of prose as we write it: what stands between backticks is code, and so is every word that [`plain`] would have
/// to break so that GitHub makes nothing of it (`app@sha256:...`, `@all`, `#12`, an ARN). Nothing in it is changed by being
/// copied.
pub fn prose(text: &str) -> String {
    let text = one_line(text);
    if text.matches('`').count() % 2 == 1 {
        return words(&text);
    }
    let parts = text.split('`').enumerate().map(|(at, part)| if at % 2 == 1 { code(part) } else { words(part) });
    parts.collect::<Vec<_>>().concat()
}

/// What to do, in paragraphs: [`prose`], and a block of code for what is there to be copied. That is a paragraph of several
/// lines, and the one after a colon. A block holds the text byte for byte.
pub fn advice(text: &str) -> String {
    let text = stripped(text);
    let mut out = String::new();
    let mut is_announced = false;
    for paragraph in text.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty()) {
        if !out.is_empty() {
            out.push('\n');
        }
        let paragraph = paragraph.trim_matches('\n');
        if is_announced || paragraph.contains('\n') {
            out.push_str(&fence("", paragraph));
        } else {
            out.push_str(&format!("{}\n", prose(paragraph)));
        }
        is_announced = paragraph.trim_end().ends_with(':');
    }
    out
}

/// Prose without backticks that are meant.
fn words(text: &str) -> String {
    let mut out = String::new();
    // Words that need nothing are escaped together: the first of a line and what follows it make a list item.
    let mut run = String::new();
    for word in text.split_inclusive(' ') {
        let (bare, space) = word.strip_suffix(' ').map_or((word, ""), |bare| (bare, " "));
        let inner = bare.trim_start_matches('(').trim_end_matches([',', ';', '.', ':', ')', '!', '?']);
        if inner.is_empty() || !is_reference(inner) {
            run.push_str(word);
            continue;
        }
        let at = bare.find(inner).unwrap_or_default();
        run.push_str(&bare[..at]);
        out.push_str(&spaced(&run));
        out.push_str(&code(inner));
        run = format!("{}{space}", &bare[at + inner.len()..]);
    }
    out.push_str(&spaced(&run));
    out
}

/// Whether GitHub would make something of a word: a mention, a reference, an emoji between colons.
fn is_reference(word: &str) -> bool {
    let lower = word.to_ascii_lowercase();
    let is_issue =
        |text: &str| text.strip_prefix("gh-").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    lower.contains(['@', '#']) || lower.matches(':').count() > 1 || is_issue(&lower) || lower.starts_with("arn:")
}

/// [`plain`] without its trimming: the words beside code keep their distance.
fn spaced(text: &str) -> String {
    let (start, end) = (text.starts_with(' '), text.ends_with(' ') && !text.trim().is_empty());
    format!("{}{}{}", if start { " " } else { "" }, plain(text), if end { " " } else { "" })
}

/// Inline code of any text, safe in prose and in a table cell alike.
/// <https://github.github.com/gfm/#code-spans>
pub fn code(text: &str) -> String {
    let text = one_line(text);
    // A code span cannot be empty, a pipe in it would end the cell, and `<` must not be seen by `fit`.
    if text.is_empty() || text.contains(['|', '<']) {
        return format!("<code>{}</code>", entities(&text));
    }
    let delimiter = "`".repeat(longest_run(&text, '`') + 1);
    let needs_space = text.starts_with('`')
        || text.ends_with('`')
        || (text.starts_with(' ') && text.ends_with(' ') && !text.trim().is_empty());
    let space = if needs_space { " " } else { "" };
    format!("{delimiter}{space}{text}{space}{delimiter}")
}

/// What becomes of a text inside of the others' results, where it is not the text itself: for whoever looks for it there.
pub fn forms(text: &str) -> [String; 5] {
    // Some characters mean something at the beginning of a line only.
    let inside = |made: String| made.strip_prefix("x ").map(str::to_owned).unwrap_or(made);
    let line = one_line(text);
    [inside(plain(&format!("x {text}"))), plain(text), inside(prose(&format!("x {text}"))), entities(&line), line]
}

/// A code block whose fence is longer than any run of backticks in it. Ends with a line break.
/// <https://github.github.com/gfm/#fenced-code-blocks>
pub fn fence(language: &str, text: &str) -> String {
    let text = stripped(text);
    let fence = "`".repeat(longest_run(&text, '`').max(2) + 1);
    let language: String = language.chars().filter(char::is_ascii_alphanumeric).collect();
    let body = text.strip_suffix('\n').unwrap_or(&text);
    let end = if body.is_empty() { "" } else { "\n" };
    format!("{fence}{language}\n{body}{end}{fence}\n")
}

/// Without terminal control: escape and control sequences and control strings in their 7-bit and 8-bit forms, other
/// control characters (but line breaks and tabs), and the characters that turn the direction of text around
/// (<https://trojansource.codes>). A sequence that never ends takes no line break with it.
/// <https://ecma-international.org/publications-and-standards/standards/ecma-48/>
pub fn stripped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => match chars.next_if(|c| (' '..='~').contains(c)) {
                Some('[') => skip_sequence(&mut chars, ' '..='?', '@'..='~'),
                // `k` is no standard's: the title of a window in screen and tmux.
                Some(']' | 'P' | 'X' | '^' | '_' | 'k') => skip_string(&mut chars),
                // As in `ESC ( B`, which chooses a character set.
                Some(' '..='/') => skip_sequence(&mut chars, ' '..='/', '0'..='~'),
                _ => {}
            },
            '\u{9b}' => skip_sequence(&mut chars, ' '..='?', '@'..='~'),
            '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => skip_string(&mut chars),
            '\r' if chars.peek() == Some(&'\n') => {}
            '\r' => out.push('\n'),
            '\n' | '\t' => out.push(c),
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

/// Parameters and intermediate characters, then the final one. A character that can be neither breaks it off.
fn skip_sequence(chars: &mut Peekable<Chars<'_>>, inner: RangeInclusive<char>, last: RangeInclusive<char>) {
    while chars.next_if(|c| inner.contains(c)).is_some() {}
    chars.next_if(|c| last.contains(c));
}

/// Up to what ends it (ST or BEL), cancels it or begins another sequence. A line break ends it too, lest an open one
/// swallow the rest.
fn skip_string(chars: &mut Peekable<Chars<'_>>) {
    let goes_on = |c: &char| {
        !matches!(c, '\n' | '\r' | '\u{7}' | '\u{18}' | '\u{1a}' | '\u{1b}') && !('\u{80}'..='\u{9f}').contains(c)
    };
    while chars.next_if(goes_on).is_some() {}
}

/// At most `budget` bytes of Markdown. What is too long is cut between lines, inside of a code block also between
/// characters; what is open there is closed, and `note` follows. Secrets are masked before:
/// the rest of one that was cut in two would not be recognised.
pub fn fit(text: &str, budget: usize, note: &str) -> String {
    if text.len() <= budget {
        return text.to_owned();
    }
    let note = format!("\n{}\n", cut(note, budget.saturating_sub(2)));
    let mut kept = String::new();
    let mut open = Open::default();
    for line in text.split_inclusive('\n') {
        let after = open.after(line);
        if kept.len() + line.len() + 1 + after.closers().len() + note.len() <= budget {
            kept.push_str(line);
            open = after;
            continue;
        }
        if open.fence.is_some() && after.fence.is_some() {
            let left = budget.saturating_sub(kept.len() + 1 + open.closers().len() + note.len());
            kept.push_str(cut(line, left));
        }
        break;
    }
    if !kept.is_empty() && !kept.ends_with('\n') {
        kept.push('\n');
    }
    let whole = format!("{kept}{}{note}", open.closers());
    // The note alone may be too much for a budget that is hardly one.
    cut(&whole, budget).to_owned()
}

/// What stands open after some lines.
#[derive(Clone, Debug, Default)]
struct Open {
    /// The fence's character and length.
    fence: Option<(char, usize)>,
    details: usize,
}

impl Open {
    fn after(&self, line: &str) -> Self {
        let mut open = self.clone();
        let indented = line.len() - line.trim_start_matches(' ').len();
        let text = line.trim();
        let mark = text.chars().next().filter(|c| matches!(c, '`' | '~') && indented < 4);
        let run = mark.map_or(0, |mark| text.chars().take_while(|c| *c == mark).count());
        match (self.fence, mark) {
            (Some((mark, length)), Some(found)) if mark == found && run >= length && run == text.len() => {
                open.fence = None;
            }
            (Some(_), _) => {}
            (None, Some(mark)) if run >= 3 && !(mark == '`' && text[run..].contains('`')) => {
                open.fence = Some((mark, run));
            }
            (None, _) => {
                let lower = text.to_ascii_lowercase();
                open.details = (open.details + lower.matches("<details").count())
                    .saturating_sub(lower.matches("</details>").count());
            }
        }
        open
    }

    fn closers(&self) -> String {
        let mut text = String::new();
        if let Some((mark, length)) = self.fence {
            text.extend(std::iter::repeat_n(mark, length));
            text.push('\n');
        }
        // Markdown begins again after an empty line only.
        text.push_str(&"\n</details>\n".repeat(self.details));
        text
    }
}

/// The first bytes of a text, whole characters only.
fn cut(text: &str, budget: usize) -> &str {
    &text[..text.floor_char_boundary(budget)]
}

/// Without line breaks and tabs, and without what [`stripped`] takes away.
pub fn one_line(text: &str) -> String {
    stripped(text.trim()).replace(['\n', '\t'], " ")
}

fn longest_run(text: &str, of: char) -> usize {
    text.split(|c| c != of).map(str::len).max().unwrap_or(0)
}

/// Every ASCII character that Markdown or HTML could make something of, as an entity.
fn entities(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if c.is_ascii_punctuation() && !matches!(c, '-' | '.' | '/' | ':' | ',') => {
                out.push_str(&format!("&#{};", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests;
