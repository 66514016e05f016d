//! Command lines. Compose splits a text by a shell's rules and runs no shell; a Procfile's line is given to a shell.

/// The words of a command line, as a shell would split them: quotes and backslashes, and nothing is expanded.
///
/// # Errors
/// A quote that is not closed.
pub(crate) fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words = vec![];
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('\'') => break,
                        Some(c) => word.push(c),
                        None => return Err("a quote is not closed".to_owned()),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('"') => break,
                        Some('\\') => match chars.next() {
                            Some(c @ ('"' | '\\' | '$' | '`')) => word.push(c),
                            Some('\n') => {}
                            Some(c) => word.extend(['\\', c]),
                            None => return Err("a quote is not closed".to_owned()),
                        },
                        Some(c) => word.push(c),
                        None => return Err("a quote is not closed".to_owned()),
                    }
                }
            }
            '\\' => match chars.next() {
                Some('\n') => {}
                Some(c) => word.get_or_insert_default().push(c),
                None => word.get_or_insert_default().push('\\'),
            },
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

/// What only a shell does.
const BUILTIN: [&str; 14] =
    [".", ":", "cd", "eval", "exec", "export", "if", "read", "set", "source", "ulimit", "umask", "wait", "while"];

/// What runs a line that is meant for a shell: its words where it needs none, so that signals reach the process.
pub(crate) fn argv_of_line(line: &str) -> Vec<String> {
    let needs_a_shell = |c: char| "$&|;<>`*?()#~!{}\n".contains(c);
    let begins_with_a_variable = line.split_whitespace().next().is_some_and(|first| first.contains('='));
    // `exec` gives the shell's place to the process: without a shell there is nothing to give.
    let plain = line.trim().strip_prefix("exec ").unwrap_or(line);
    let is_of_the_shell = |word: &String| BUILTIN.contains(&word.as_str());
    match words(plain) {
        Ok(words)
            if !line.contains(needs_a_shell)
                && !begins_with_a_variable
                && words.first().is_some_and(|first| !is_of_the_shell(first)) =>
        {
            words
        }
        _ => vec!["sh".to_owned(), "-c".to_owned(), line.to_owned()],
    }
}

/// The script of `sh -c SCRIPT`.
pub(crate) fn script(argv: &[String]) -> Option<&str> {
    let is_shell = |word: &str| matches!(word.rsplit('/').next(), Some("sh" | "bash" | "ash" | "dash"));
    match argv {
        [shell, flag, script, ..] if is_shell(shell) && flag.starts_with('-') && flag.contains('c') => Some(script),
        _ => None,
    }
}

/// The commands of a script that are done one after another, `a && b` and `a; b`, and nothing within quotes.
pub(crate) fn sequence(script: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quote = None;
    let mut depth = 0_usize;
    let mut chars = script.chars().peekable();
    while let Some(c) = chars.next() {
        let is_end = quote.is_none()
            && depth == 0
            && match c {
                '&' => chars.next_if_eq(&'&').is_some(),
                ';' | '\n' => true,
                _ => false,
            };
        if is_end {
            parts.push(String::new());
            continue;
        }
        match (quote, c) {
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            (None, '(' | '{') => depth += 1,
            (None, ')' | '}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if let Some(last) = parts.last_mut() {
            last.push(c);
        }
    }
    parts.into_iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

/// Whether a command changes a database's schema: each of its kind that a public file of the field runs at a start.
pub(crate) fn migrates(command: &str) -> bool {
    const WORDS: [&str; 18] = [
        "migrate",
        "migration",
        "migrations",
        "db:migrate",
        "db:prepare",
        "db:setup",
        "db:schema:load",
        "db push",
        "upgrade head",
        "flyway",
        "liquibase",
        "goose",
        "db:push",
        "schema:update",
        "migrate:latest",
        "db upgrade",
        "db:create",
        "atlas",
    ];
    let lower = command.to_ascii_lowercase();
    // `npm run db:migrate:prod`, `migrate.js`, `bin/migrate`: words, however they are joined.
    let words = || lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    WORDS.iter().any(|known| match known.contains([' ', ':']) {
        true => lower.contains(known),
        false => words().any(|word| word == *known),
    })
}

/// `migrate && serve`: what is done once a release, and what each task runs.
pub(crate) struct Split {
    pub once: Vec<String>,
    pub serve: String,
}

/// Takes a script apart where its first commands change a schema and its last one does not.
pub(crate) fn split(script: &str) -> Option<Split> {
    let parts = sequence(script);
    let (serve, first) = parts.split_last()?;
    if migrates(serve) || script.contains("||") || is_compound(script) {
        return None;
    }
    let (once, rest): (Vec<_>, Vec<_>) = first.iter().cloned().partition(|part| migrates(part));
    if once.is_empty() {
        return None;
    }
    let serve: Vec<_> = rest.into_iter().chain([serve.clone()]).collect();
    Some(Split { once, serve: serve.join(" && ") })
}

/// `if`, `while`, `for` and their like cannot be taken apart.
fn is_compound(script: &str) -> bool {
    script
        .split_whitespace()
        .any(|word| matches!(word.trim_end_matches(';'), "if" | "while" | "until" | "for" | "case"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_splits_them() {
        for (line, expected) in [
            ("python app.py", vec!["python", "app.py"]),
            (r#"sh -c "a && 'b'""#, vec!["sh", "-c", "a && 'b'"]),
            (r"a\ b 'c d'e", vec!["a b", "c de"]),
            (r#""" x"#, vec!["", "x"]),
        ] {
            assert_eq!(words(line).unwrap(), expected, "{line}");
        }
        assert!(words("echo 'a").is_err());
    }

    #[test]
    fn a_line_that_needs_a_shell_gets_one() {
        assert_eq!(argv_of_line("bundle exec puma -C config/puma.rb").len(), 5);
        assert_eq!(argv_of_line("exec bin/serve -p 1"), ["bin/serve", "-p", "1"]);
        for line in ["serve --port $PORT", "A=1 run", "a && b", "run > log", "exec a && b", ". ./run", "exec exec a"] {
            assert_eq!(argv_of_line(line), ["sh", "-c", line]);
        }
    }

    #[test]
    fn a_migration_before_the_server_is_told_from_it() {
        let split =
            super::split("bundle exec rails db:migrate && python collect.py && bundle exec rails server").unwrap();
        assert_eq!(split.once, ["bundle exec rails db:migrate"]);
        assert_eq!(split.serve, "python collect.py && bundle exec rails server");
        for whole in [
            "rails server",
            "rails db:migrate",
            "wait-for db && rails server",
            "echo 'migrate && x'",
            "migrate || true && serve",
            "while ! migrate; do sleep 1; done && serve",
        ] {
            assert!(super::split(whole).is_none(), "{whole}");
        }
    }
}
