//! How the agent splits a command into words: it starts no shell.
//! <https://github.com/google/shlex>

/// `Err`: a quote that is never closed.
pub(super) fn split(line: &str) -> Result<Vec<String>, String> {
    let mut words = vec![];
    let mut word: Option<String> = None;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '#' if word.is_none() => while letters.next().is_some_and(|letter| letter != '\n') {},
            '\\' => word.get_or_insert_default().push(letters.next().ok_or("EOF found after escape character")?),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match letters.next().ok_or("EOF found when expecting closing quote")? {
                        '\'' => break,
                        letter => word.push(letter),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match letters.next().ok_or("EOF found when expecting closing quote")? {
                        '"' => break,
                        '\\' => word.push(letters.next().ok_or("EOF found after escape character")?),
                        letter => word.push(letter),
                    }
                }
            }
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn words_are_split_as_the_agent_does_it() {
        for (line, words) in [
            ("ls -l  /", vec!["ls", "-l", "/"]),
            (r#"a "b \$c" '\d' e\ f"#, vec!["a", "b $c", r"\d", "e f"]),
            (r"'it'\''s'", vec!["it's"]),
            ("a #b\nc", vec!["a", "c"]),
            ("a#b ''", vec!["a#b", ""]),
        ] {
            assert_eq!(split(line).unwrap(), words, "{line}");
        }
        assert!(split("a 'b").is_err() && split("a\\").is_err());
    }
}
