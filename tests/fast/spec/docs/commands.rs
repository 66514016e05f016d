//! Command lines in the documentation are read by the program's own definition.

use super::{Page, assert_none, pages, root};
use clap::CommandFactory as _;
use clap::error::ErrorKind;
use fargate_deploy::cli::Arguments;
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn every_command_line_of_the_docs_is_one() {
    let mut wrong = vec![];
    let mut seen = 0;
    for page in pages() {
        for (line, text) in command_lines(&page) {
            let Some(arguments) = arguments(&text) else { continue };
            seen += 1;
            match Arguments::read(arguments, &BTreeMap::new()) {
                Err(error) if error.kind() != ErrorKind::DisplayHelp => {
                    wrong.push(format!("{}:{line}: `{text}`: {error}", page.name));
                }
                _ => {}
            }
        }
    }
    assert_none(&wrong);
    assert!(seen > 15, "only {seen} command lines were found");
}

#[test]
fn every_flag_of_the_docs_is_one() {
    let known = flags();
    let mut wrong = vec![];
    for page in pages().iter().filter(|page| !page.name.starts_with("docs/adr/")) {
        for (line, span) in page.spans() {
            let Some(flag) = span.strip_prefix("--") else { continue };
            let name: String = flag.chars().take_while(|c| c.is_alphanumeric() || *c == '-').collect();
            if !known.contains(&name) {
                wrong.push(format!("{}:{line}: `{span}`", page.name));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn every_make_target_of_the_docs_is_one() {
    let makefile = std::fs::read_to_string(root().join("Makefile")).unwrap();
    let mut wrong = vec![];
    for page in pages() {
        for (line, text) in command_lines(&page) {
            let mut words = text.split_whitespace().skip_while(|word| word.contains('='));
            let (Some("make"), Some(target)) = (words.next(), words.next()) else { continue };
            if !makefile.lines().any(|rule| rule.starts_with(&format!("{target}: "))) {
                wrong.push(format!("{}:{line}: `{text}`", page.name));
            }
        }
    }
    assert_none(&wrong);
}

/// Lines of blocks that are no data, and what stands between backticks.
fn command_lines(page: &Page) -> Vec<(usize, String)> {
    let mut found = page.spans();
    for block in page.blocks().iter().filter(|block| block.language.is_empty()) {
        found.extend(block.text.lines().enumerate().map(|(at, line)| (block.line + at, line.to_owned())));
    }
    found
}

/// The arguments of a line that calls the program: after a prompt and variables, up to a comment.
fn arguments(line: &str) -> Option<Vec<String>> {
    let line = line.split("  #").next().unwrap_or(line);
    let mut words = split(line.trim().trim_start_matches("$ "));
    while words.first().is_some_and(|word| word.contains('=') && word.starts_with(|c: char| c.is_ascii_uppercase())) {
        words.remove(0);
    }
    let calls = words.first().is_some_and(|word| word == "fargate-deploy") && words.len() > 1;
    // In a synopsis `[X]` may be left out, and `<command>` is any.
    let concrete = |word: String| word.trim_matches(['[', ']']).replace("<command>", "deploy");
    calls.then(|| words.into_iter().map(concrete).collect())
}

/// As a shell splits words, quotes included.
fn split(line: &str) -> Vec<String> {
    let mut words = vec![];
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if open == c => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

fn flags() -> BTreeSet<String> {
    let command = Arguments::command();
    let own = command.get_arguments().cloned();
    let actions = command.get_subcommands().flat_map(clap::Command::get_subcommands);
    let commands = command.get_subcommands().chain(actions);
    let all = own.chain(commands.flat_map(|c| c.get_arguments().cloned()));
    all.filter_map(|argument| argument.get_long().map(str::to_owned)).chain(["help".to_owned()]).collect()
}
