//! The pattern language of `.dockerignore`, of FileSync's exclude lists and of its include lists: the semantics of
//! moby/patternmatcher, which are neither gitignore's nor a shell's. A pattern is anchored at the root of the context, a
//! match of a directory holds for everything below it, the last pattern that decides wins, and `!` re-includes.
//!
//! <https://docs.docker.com/build/concepts/context/#dockerignore-files>

use std::str::Chars;

/// A pattern that Go's `filepath.Match` would refuse too, so no Docker client accepts it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad pattern `{0}`: an unclosed `[`, an empty range or a trailing `\\`")]
pub struct BadPattern(pub String);

impl BadPattern {
    /// The same without the pattern.
    pub fn why(&self) -> &'static str {
        "bad pattern: an unclosed `[`, an empty range or a trailing `\\`"
    }
}

/// An ordered list of patterns.
#[derive(Clone, Debug, Default)]
pub struct Patterns {
    patterns: Vec<Pattern>,
}

/// Which patterns matched a directory; handed down, so that a walk matches each path once per pattern.
#[derive(Clone, Debug, Default)]
pub struct Inherited(Vec<bool>);

impl Patterns {
    /// Compiles patterns as the Engine's frontend sends them: blank ones are dropped, each is cleaned.
    pub fn new<S: AsRef<str>>(patterns: impl IntoIterator<Item = S>) -> Result<Self, BadPattern> {
        let compiled = patterns
            .into_iter()
            .map(|raw| raw.as_ref().trim().to_owned())
            .filter(|raw| !raw.is_empty())
            .map(|raw| Pattern::compile(&raw))
            .collect::<Result<_, _>>()?;
        Ok(Self { patterns: compiled })
    }

    /// Reads the text of a `.dockerignore`: comments only at the start of a line, a leading `/` means nothing.
    ///
    /// # Errors
    /// The first bad pattern and the number of its line, from 1.
    pub fn parse(dockerignore: &str) -> Result<Self, (usize, BadPattern)> {
        let mut patterns = Vec::new();
        for (index, line) in dockerignore.trim_start_matches('\u{feff}').lines().enumerate() {
            if let Some(pattern) = normalized_line(line) {
                patterns.extend(Self::new([pattern]).map_err(|bad| (index + 1, bad))?.patterns);
            }
        }
        Ok(Self { patterns })
    }

    /// Whether `path` (relative, with `/`) or a directory above it matches and is not re-included.
    pub fn matches(&self, path: &str) -> bool {
        let mut above = Inherited::default();
        for (at, _) in path.match_indices('/') {
            above = self.matches_below(&path[..at], &above).1;
        }
        self.matches_below(path, &above).0
    }

    /// The same for a walk: `above` is what this returned for the parent directory.
    pub fn matches_below(&self, path: &str, above: &Inherited) -> (bool, Inherited) {
        let mut matched = false;
        let mut here = vec![false; self.patterns.len()];
        for (index, pattern) in self.patterns.iter().enumerate() {
            let from_above = above.0.get(index).copied().unwrap_or(false);
            // A pattern that cannot change the answer is not asked, and is not handed down as matched.
            if !from_above && pattern.is_exception != matched {
                continue;
            }
            if from_above || pattern.matches(path) {
                here[index] = true;
                matched = !pattern.is_exception;
            }
        }
        (matched, Inherited(here))
    }

    /// Whether a walk has to enter the excluded directory `directory`, because a `!` pattern may match inside.
    pub fn may_reinclude_below(&self, directory: &str) -> bool {
        self.patterns.iter().filter(|pattern| pattern.is_exception).any(|pattern| pattern.may_match_below(directory))
    }

    /// Whether a pattern may match inside `directory`, which itself does not match.
    pub fn may_match_below(&self, directory: &str) -> bool {
        self.patterns.iter().filter(|pattern| !pattern.is_exception).any(|pattern| pattern.may_match_below(directory))
    }
}

#[derive(Clone, Debug)]
struct Pattern {
    cleaned: String,
    is_exception: bool,
    shape: Shape,
}

#[derive(Clone, Debug)]
enum Shape {
    Exact,
    /// `dir/**`: everything that begins with the text before the stars.
    Prefix(String),
    /// `**/name` and `**name`: everything that ends with the text after the stars.
    Suffix(String),
    Glob(Vec<Token>),
}

#[derive(Clone, Debug)]
enum Token {
    Char(char),
    /// `?`
    One,
    /// `*`
    Run,
    /// `**/`, or `**` before other text: any number of directories, none included.
    Directories,
    /// `**` at the end.
    Rest,
    Class {
        is_negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Pattern {
    fn compile(raw: &str) -> Result<Self, BadPattern> {
        let bad = || BadPattern(raw.to_owned());
        let cleaned = clean(raw);
        let (is_exception, cleaned) = match cleaned.strip_prefix('!') {
            Some("") => return Err(bad()),
            Some(rest) => (true, rest.to_owned()),
            None => (false, cleaned),
        };
        let shape = shape_of(&cleaned).ok_or_else(bad)?;
        Ok(Self { cleaned, is_exception, shape })
    }

    fn matches(&self, path: &str) -> bool {
        match &self.shape {
            Shape::Exact => path == self.cleaned,
            Shape::Prefix(prefix) => path.starts_with(prefix.as_str()),
            Shape::Suffix(suffix) => path.ends_with(suffix.as_str()) || suffix.strip_prefix('/') == Some(path),
            Shape::Glob(tokens) => glob_matches(tokens, path),
        }
    }

    fn may_match_below(&self, directory: &str) -> bool {
        let stem = self.cleaned.strip_suffix("/**").unwrap_or(&self.cleaned);
        let stem = stem.strip_suffix("/*").unwrap_or(stem);
        stem.contains(['*', '[', ']', '?', '^', '\\'])
            || stem.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

fn normalized_line(line: &str) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let line = line.trim();
    let (bang, pattern) = match line.strip_prefix('!') {
        Some(rest) => ("!", rest.trim()),
        None => ("", line),
    };
    if pattern.is_empty() {
        return (!bang.is_empty()).then(|| bang.to_owned());
    }
    let cleaned = clean(pattern);
    let relative = if cleaned.len() > 1 { cleaned.strip_prefix('/').unwrap_or(&cleaned) } else { &cleaned };
    Some(format!("{bang}{relative}"))
}

/// Go's `path.Clean`: no doubled or trailing slash, no `.`, `..` resolved by text alone.
pub fn clean(path: &str) -> String {
    let is_rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if is_rooted => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (is_rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

/// `None` for a pattern whose syntax is wrong.
fn shape_of(pattern: &str) -> Option<Shape> {
    enum Kind {
        Exact,
        Prefix,
        Suffix,
        Glob,
    }
    let mut kind = Kind::Exact;
    let mut tokens = Vec::new();
    let mut chars = pattern.chars();
    let mut is_first = true;
    while let Some(next) = chars.next() {
        match next {
            '*' if chars.as_str().starts_with('*') => {
                chars.next();
                if chars.as_str().starts_with('/') {
                    chars.next();
                }
                if chars.as_str().is_empty() {
                    kind = if matches!(kind, Kind::Exact) { Kind::Prefix } else { Kind::Glob };
                    tokens.push(Token::Rest);
                } else {
                    kind = Kind::Glob;
                    tokens.push(Token::Directories);
                }
                if is_first {
                    kind = Kind::Suffix;
                }
            }
            '*' => {
                kind = Kind::Glob;
                tokens.push(Token::Run);
            }
            '?' => {
                kind = Kind::Glob;
                tokens.push(Token::One);
            }
            '[' => {
                kind = Kind::Glob;
                tokens.push(class(&mut chars)?);
            }
            '\\' => {
                kind = Kind::Glob;
                tokens.push(Token::Char(chars.next()?));
            }
            other => tokens.push(Token::Char(other)),
        }
        is_first = false;
    }
    Some(match kind {
        Kind::Exact => Shape::Exact,
        Kind::Prefix => Shape::Prefix(pattern[..pattern.len() - 2].to_owned()),
        Kind::Suffix => Shape::Suffix(pattern[2..].to_owned()),
        Kind::Glob => Shape::Glob(tokens),
    })
}

/// The rest of a character class after its `[`, under the rules of Go's `filepath.Match`.
fn class(chars: &mut Chars<'_>) -> Option<Token> {
    fn bound(chars: &mut Chars<'_>) -> Option<char> {
        match chars.next()? {
            '-' | ']' => None,
            '\\' => chars.next(),
            other => Some(other),
        }
    }
    let is_negated = chars.as_str().starts_with('^');
    if is_negated {
        chars.next();
    }
    let mut ranges = Vec::new();
    loop {
        if chars.as_str().starts_with(']') && !ranges.is_empty() {
            chars.next();
            return Some(Token::Class { is_negated, ranges });
        }
        let low = bound(chars)?;
        let high = if chars.as_str().starts_with('-') {
            chars.next();
            bound(chars)?
        } else {
            low
        };
        ranges.push((low, high));
    }
}

/// Runs all alternatives side by side, so the cost is bounded by pattern length times path length.
fn glob_matches(tokens: &[Token], path: &str) -> bool {
    fn enter(tokens: &[Token], states: &mut [bool], at: usize) {
        if !std::mem::replace(&mut states[at], true)
            && matches!(tokens.get(at), Some(Token::Run | Token::Rest | Token::Directories))
        {
            enter(tokens, states, at + 1);
        }
    }
    let mut states = vec![false; tokens.len() + 1];
    // Inside `**/` some text has been read, so it can only be left after a slash.
    let mut inside = vec![false; tokens.len()];
    enter(tokens, &mut states, 0);
    for read in path.chars() {
        let mut next = vec![false; tokens.len() + 1];
        for (at, token) in tokens.iter().enumerate() {
            if inside[at] && read == '/' {
                enter(tokens, &mut next, at + 1);
            }
            if !states[at] {
                continue;
            }
            match token {
                Token::Char(wanted) if read == *wanted => enter(tokens, &mut next, at + 1),
                Token::One if read != '/' => enter(tokens, &mut next, at + 1),
                Token::Class { is_negated, ranges }
                    if ranges.iter().any(|(low, high)| (*low..=*high).contains(&read)) != *is_negated =>
                {
                    enter(tokens, &mut next, at + 1);
                }
                Token::Run if read != '/' => enter(tokens, &mut next, at),
                Token::Rest => enter(tokens, &mut next, at),
                Token::Directories => {
                    inside[at] = true;
                    if read == '/' {
                        enter(tokens, &mut next, at + 1);
                    }
                }
                _ => {}
            }
        }
        states = next;
    }
    states[tokens.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(patterns: &[&str], path: &str) -> bool {
        Patterns::new(patterns).unwrap().matches(path)
    }

    #[test]
    fn single_patterns_match_what_moby_matches() {
        for (pattern, path, expected) in [
            ("**", "file", true),
            ("**/", "dir/file", true),
            ("**/**", "dir/file", true),
            ("dir/**", "dir/file", true),
            ("dir/**", "dir/dir2/file", true),
            ("**/dir", "dir", true),
            ("**/dir", "dir/file", true),
            ("**/dir2/*", "dir/dir2/file", true),
            ("**/dir2/**", "dir/dir2/dir3/file", true),
            ("**file", "file", true),
            ("**file", "dir/dir/file", true),
            ("**/file", "dir/dir/file", true),
            ("**/file*", "dir/dir/file.txt", true),
            ("**/file*txt", "dir/dir/file.txt", true),
            ("**/file*.txt*", "dir/dir/file.txt", true),
            ("**/**/*.txt", "dir/dir/file.txt", true),
            ("**/**/*.txt2", "dir/dir/file.txt", false),
            ("**/*.txt", "file.txt", true),
            ("**/**/*.txt", "file.txt", true),
            ("a**/*.txt", "a/file.txt", true),
            ("a**/*.txt", "a/dir/dir/file.txt", true),
            ("a/*.txt", "a/dir/file.txt", false),
            ("a/*.txt", "a/file.txt", true),
            ("a/*.txt**", "a/file.txt", true),
            ("a[b-d]e", "ae", false),
            ("a[b-d]e", "ace", true),
            ("a[b-d]e", "aae", false),
            ("a[^b-d]e", "aze", true),
            (".*", ".foo", true),
            (".*", "foo", false),
            ("abc.def", "abcZdef", false),
            ("abc?def", "abcZdef", true),
            ("abc?def", "abcdef", false),
            ("a\\\\", "a\\", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("**/foo/bar", "foo/bar", true),
            ("**/foo/bar", "dir/dir2/foo/bar", true),
            ("abc/**", "abc", false),
            ("abc/**", "abc/def/ghi", true),
            ("**/.foo", ".foo", true),
            ("**/.foo", "bar.foo", false),
            ("a(b)c/def", "a(b)c/def", true),
            ("a.|)$(}+{bc", "a.|)$(}+{bc", true),
            ("dist/*.whl", "dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl", true),
            ("a*", "ab/c", true),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", false),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("a?b", "a☺b", true),
            ("a???b", "a☺b", false),
            ("[a-ζ]*", "α", true),
            ("a?b", "a/b", false),
            ("a*b", "a/b", false),
            ("[\\]a]", "]", true),
            ("[x\\-]", "-", true),
            ("[x\\-]", "z", false),
            ("[\\-x]", "-", true),
            ("docs/", "docs/readme", true),
            ("./docs/../src", "src/main", true),
        ] {
            assert_eq!(matches(&[pattern], path), expected, "pattern {pattern:?}, path {path:?}");
        }
    }

    #[test]
    fn the_last_pattern_that_decides_wins() {
        for (patterns, path, expected) in [
            (&["!fileutils.go", "*.go"][..], "fileutils.go", true),
            (&["*.go", "!fileutils.go"], "fileutils.go", false),
            (&["docs", "!docs/README.md"], "docs/README.md", false),
            (&["docs/", "!docs/README.md"], "docs/README.md", false),
            (&["docs/*", "!docs/README.md"], "docs/other.md", true),
            (&["**", "!util/docker/web"], "util/docker/web/foo", false),
            (&["**", "!util/docker/web", "util/docker/web/foo"], "util/docker/web/foo", true),
            (&["**", "!dist/*.whl"], "dist/proxy.py-2.4.0-py3-none-any.whl", false),
            (&["a", "!a/b", "a/b/c"], "a/b/c/d", true),
            (&["a", "!a/b", "a/b/c"], "a/b/d", false),
        ] {
            assert_eq!(matches(patterns, path), expected, "patterns {patterns:?}, path {path:?}");
        }
    }

    #[test]
    fn malformed_patterns_are_refused_and_named() {
        for pattern in ["[", "[^", "[^bc", "a[", "[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "a\\", "!"] {
            assert_eq!(Patterns::new([pattern]).unwrap_err(), BadPattern(pattern.to_owned()));
        }
    }

    #[test]
    fn a_dockerignore_has_comments_blanks_bangs_and_rooted_paths() {
        let text = "\u{feff}# a comment\n\n  /build \n !  /build/keep \r\nnode_modules//\n #not-a-comment\n";
        let patterns = Patterns::parse(text).unwrap();
        assert_eq!(Patterns::parse("# one\n\nfine\n[z-\n").unwrap_err(), (4, BadPattern("[z-".to_owned())));
        let cleaned: Vec<_> = patterns.patterns.iter().map(|p| (p.is_exception, p.cleaned.as_str())).collect();
        assert_eq!(
            cleaned,
            [(false, "build"), (true, "build/keep"), (false, "node_modules"), (false, "#not-a-comment")]
        );
    }

    #[test]
    fn an_excluded_directory_is_entered_only_when_an_exception_may_lie_inside() {
        let patterns = Patterns::new(["vendor", "logs", "!vendor/keep/this"]).unwrap();
        assert!(patterns.may_reinclude_below("vendor"));
        assert!(patterns.may_reinclude_below("vendor/keep"));
        assert!(!patterns.may_reinclude_below("vendor/other"));
        assert!(!patterns.may_reinclude_below("logs"));
        assert!(Patterns::new(["logs", "!**/x"]).unwrap().may_reinclude_below("logs"));
    }

    #[test]
    fn a_pattern_full_of_stars_stays_cheap() {
        let pattern = "a*".repeat(40) + "b";
        assert!(!matches(&[&pattern], &"a".repeat(400)));
    }

    /// moby's compilation to a regular expression, played out by backtracking.
    fn played(pattern: &str, path: &str) -> bool {
        let stars = pattern.matches('*').count() - pattern.matches("**").count() * 2;
        let is_literal = |text: &str| !text.contains(['*', '?']);
        if let Some(suffix) = pattern.strip_prefix("**").filter(|rest| is_literal(rest)) {
            return path.ends_with(suffix) || suffix.strip_prefix('/') == Some(path);
        }
        if let Some(prefix) = pattern.strip_suffix("**").filter(|rest| is_literal(rest) && stars == 0) {
            return path.starts_with(prefix);
        }
        backtrack(pattern, path)
    }

    fn backtrack(pattern: &str, path: &str) -> bool {
        let tails = |until: fn(char) -> bool| {
            let end = path.find(until).unwrap_or(path.len());
            path.char_indices().map(|(at, _)| at).chain([path.len()]).filter(move |at| *at <= end)
        };
        if let Some(rest) = pattern.strip_prefix("**") {
            let rest = rest.strip_prefix('/').unwrap_or(rest);
            return match rest {
                "" => true,
                _ => backtrack(rest, path) || path.match_indices('/').any(|(at, _)| backtrack(rest, &path[at + 1..])),
            };
        }
        let mut chars = pattern.chars();
        match (chars.next(), path.chars().next()) {
            (None, next) => next.is_none(),
            (Some('*'), _) => tails(|c| c == '/').any(|at| backtrack(chars.as_str(), &path[at..])),
            (Some('?'), Some(next)) => next != '/' && backtrack(chars.as_str(), &path[next.len_utf8()..]),
            (Some(wanted), Some(next)) => wanted == next && backtrack(chars.as_str(), &path[next.len_utf8()..]),
            (Some(_), None) => false,
        }
    }

    mod fuzzed {
        use super::*;
        use test_support::fuzz;
        use test_support::proptest::prelude::*;
        use test_support::proptest::sample::select;

        fn made_of(pieces: &[&'static str]) -> impl Strategy<Value = String> {
            prop::collection::vec(select(pieces.to_vec()), 1..8).prop_map(|pieces| pieces.concat())
        }

        #[test]
        fn patterns_made_at_random_match_what_their_regular_expression_matches() {
            let pattern = made_of(&["a", "b", "/", "*", "**/", "/**", "?", "é", "a/b"]);
            let path = made_of(&["a", "b", "/", "é", "a/b", "ab"]);
            fuzz(20_000, (pattern, path), |(pattern, path)| {
                let (pattern, path) = (clean(&pattern), clean(path.trim_matches('/')));
                if pattern.starts_with('/') || pattern.contains("***") || path == "." || pattern == "." {
                    return;
                }
                let compiled = Pattern::compile(&pattern).unwrap();
                assert_eq!(compiled.matches(&path), played(&pattern, &path), "pattern {pattern:?}, path {path:?}");
            });
        }

        #[test]
        fn no_text_stops_the_reader_of_an_ignore_file() {
            let text =
                made_of(&["a", "[", "]", "-", "^", "\\", "!", "#", "\n", "\r", " ", "**", "/", "..", "\u{feff}", "é"]);
            fuzz(20_000, (text, made_of(&["a", "/", "..", "é", "-", "]"])), |(text, path)| {
                if let Ok(patterns) = Patterns::parse(&text) {
                    let is_ignored = patterns.matches(&path);
                    assert!(!is_ignored || !patterns.patterns.is_empty(), "{text:?}, {path:?}");
                    patterns.may_reinclude_below(&path);
                }
            });
        }
    }
}
