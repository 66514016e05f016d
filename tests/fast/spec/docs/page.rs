//! A page of Markdown, as far as its claims are concerned.

use super::root;
use std::path::PathBuf;

/// A Markdown file of this repository.
pub struct Page {
    pub path: PathBuf,
    /// From the root of the repository, for messages.
    pub name: String,
    pub text: String,
}

/// A block of code.
pub struct Block {
    pub line: usize,
    /// `yaml`, `json`, ...; empty for an indented block or a fence without a language.
    pub language: String,
    pub text: String,
    /// What an HTML comment on the line before says about it.
    pub note: Option<String>,
}

impl Page {
    pub fn read(path: PathBuf) -> Self {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        Self { path, name, text }
    }

    /// Fenced and indented blocks, without their indentation.
    pub fn blocks(&self) -> Vec<Block> {
        let lines: Vec<&str> = self.text.lines().collect();
        let mut blocks = vec![];
        let mut at = 0;
        while at < lines.len() {
            let indent = lines[at].len() - lines[at].trim_start().len();
            if let Some(language) = lines[at].trim_start().strip_prefix("```") {
                let inside: Vec<&str> =
                    lines[at + 1..].iter().take_while(|line| line.trim_start() != "```").copied().collect();
                let text = inside.iter().map(|line| format!("{}\n", line.get(indent..).unwrap_or(""))).collect();
                blocks.push(Block { line: at + 1, language: language.to_owned(), text, note: note(&lines[..at]) });
                at += inside.len() + 2;
            } else if indent >= 4 && at > 0 && lines[at - 1].is_empty() {
                let inside: Vec<&str> =
                    lines[at..].iter().take_while(|line| line.starts_with("    ")).copied().collect();
                let text = inside.iter().map(|line| format!("{}\n", line.trim_start())).collect();
                blocks.push(Block { line: at + 1, language: String::new(), text, note: note(&lines[..at]) });
                at += inside.len();
            } else {
                at += 1;
            }
        }
        blocks
    }

    /// The lines of text, without blocks of code: by line number.
    pub fn prose(&self) -> Vec<(usize, &str)> {
        let mut is_fenced = false;
        let mut prose = vec![];
        for (at, line) in self.text.lines().enumerate() {
            let is_indented = line.starts_with("    ") && !line.trim_start().starts_with('-');
            if line.trim_start().starts_with("```") {
                is_fenced = !is_fenced;
            } else if !is_fenced && !is_indented {
                prose.push((at + 1, line));
            }
        }
        prose
    }

    /// What stands between backticks in the text: by line number.
    pub fn spans(&self) -> Vec<(usize, String)> {
        let in_line = |(at, line): (usize, &str)| {
            line.split('`').skip(1).step_by(2).map(|span| (at, span.to_owned())).collect::<Vec<_>>()
        };
        self.prose().into_iter().flat_map(in_line).collect()
    }

    /// The anchors that GitHub makes of the headings.
    pub fn anchors(&self) -> Vec<String> {
        let headings = self.prose().into_iter().filter_map(|(_, line)| line.strip_prefix('#'));
        headings.map(|heading| slug(heading.trim_start_matches('#').trim())).collect()
    }
}

fn note(before: &[&str]) -> Option<String> {
    let last = before.iter().rev().find(|line| !line.trim().is_empty())?;
    Some(last.trim().strip_prefix("<!--")?.strip_suffix("-->")?.trim().to_owned())
}

fn slug(heading: &str) -> String {
    let kept = heading.to_lowercase().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect::<String>();
    kept.replace(' ', "-")
}
