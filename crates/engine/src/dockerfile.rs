//! What a Dockerfile reads: which images, and which paths of the context. Enough to know when two builds must make the same
//! image, and never a guess: what cannot be told from the text is a doubt, with its line.
//!
//! <https://docs.docker.com/reference/dockerfile/>

use std::collections::{BTreeMap, BTreeSet};

use super::ignore::clean;

/// What a build reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reads {
    /// References of images: bases, sources of COPY and of mounts, the frontend of `# syntax=`.
    pub images: BTreeSet<String>,
    /// Paths of the context, relative to it, with wildcards; `.` is all of it.
    pub paths: BTreeSet<String>,
}

impl Reads {
    pub fn is_whole_context(&self) -> bool {
        self.paths.contains(".")
    }

    /// The first of the paths that a builder asked for which this did not name.
    pub fn misses<'a>(&self, asked: &'a [String]) -> Option<&'a str> {
        let is_known = |path: &&String| {
            let path = relative(path);
            self.is_whole_context() || self.paths.contains(&path) || path == ".dockerignore"
        };
        asked.iter().find(|path| !is_known(path)).map(String::as_str)
    }
}

/// One instruction, its continued lines joined.
#[derive(Debug)]
struct Instruction<'a> {
    /// Of its first line, from 1.
    line: usize,
    keyword: String,
    /// `--name=value`, in order.
    flags: Vec<(&'a str, &'a str)>,
    rest: &'a str,
}

/// What the stages that lead to `target` (default the last) read.
///
/// # Errors
/// Why the text does not tell, in one clause.
pub(super) fn reads(text: &str, target: Option<&str>, args: &BTreeMap<String, String>) -> Result<Reads, String> {
    if args.contains_key("BUILDKIT_SYNTAX") {
        return Err("`BUILDKIT_SYNTAX` gives the Dockerfile another meaning".to_owned());
    }
    let directives = Directives::of(text);
    let lines = joined(text, directives.escape)?;
    let stages = Stages::of(lines.iter().map(|(line, text)| Instruction::of(*line, text)), args)?;
    let mut reads = Reads::default();
    if let Some(frontend) = directives.syntax {
        let name = frontend.strip_prefix("docker.io/").unwrap_or(frontend);
        if !name.starts_with("docker/dockerfile:") && name != "docker/dockerfile" {
            return Err(format!("`# syntax={frontend}` gives the Dockerfile a meaning that is not known here"));
        }
        reads.images.insert(frontend.to_owned());
    }
    stages.collect(target, &mut reads)?;
    Ok(reads)
}

/// The stages, by name or number, whose steps an image of `target` does not hold, although it takes files from them: what is
/// kept of a build by keeping its image is not theirs. A stage that is the base of another one on the list is not on it.
/// Empty where the text cannot be read.
pub(super) fn stages_beside(text: &str, target: Option<&str>, args: &BTreeMap<String, String>) -> Vec<String> {
    let found = || {
        let lines = joined(text, Directives::of(text).escape)?;
        let stages = Stages::of(lines.iter().map(|(line, text)| Instruction::of(*line, text)), args)?;
        stages.beside(target)
    };
    found().unwrap_or_default()
}

/// The comments at the very top that mean something.
struct Directives<'a> {
    escape: char,
    syntax: Option<&'a str>,
}

impl<'a> Directives<'a> {
    fn of(text: &'a str) -> Self {
        let mut found = Self { escape: '\\', syntax: None };
        for line in text.trim_start_matches('\u{feff}').lines() {
            let Some(comment) = line.trim().strip_prefix('#') else { break };
            let Some((name, value)) = comment.split_once('=') else { break };
            match name.trim().to_ascii_lowercase().as_str() {
                "escape" => found.escape = value.trim().chars().next().unwrap_or('\\'),
                "syntax" => found.syntax = value.split_whitespace().next(),
                "check" => {}
                _ => break,
            }
        }
        found
    }
}

/// Whole instructions with the numbers of their first lines; without comments, blank lines and the bodies of heredocs.
fn joined(text: &str, escape: char) -> Result<Vec<(usize, String)>, String> {
    let mut all = Vec::new();
    let mut open: Option<(usize, String)> = None;
    let mut lines = text.trim_start_matches('\u{feff}').lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let (first, mut so_far) = open.take().unwrap_or((index + 1, String::new()));
        if let Some(continued) = trimmed.strip_suffix(escape) {
            so_far.push_str(continued);
            so_far.push(' ');
            open = Some((first, so_far));
            continue;
        }
        so_far.push_str(trimmed);
        for end in heredocs(&so_far) {
            if !lines.by_ref().any(|(_, line)| line.trim_start_matches('\t') == end) {
                return Err(format!("line {first}: `<<{end}` has no end"));
            }
        }
        all.push((first, so_far));
    }
    all.extend(open);
    Ok(all)
}

/// The words that end the heredocs of an instruction.
fn heredocs(instruction: &str) -> Vec<String> {
    let keyword = instruction.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    if !["RUN", "COPY", "ADD"].contains(&keyword.as_str()) {
        return vec![];
    }
    let words = instruction.match_indices("<<").filter_map(|(at, _)| {
        let is_first = !instruction[..at].ends_with('<');
        let word = instruction[at + 2..].trim_start_matches('-');
        let quote = word.chars().next().filter(|c| ['"', '\''].contains(c));
        let word = word.trim_start_matches(['"', '\'']);
        let end = word.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.')).unwrap_or(word.len());
        let is_name = word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let is_closed = quote.is_none_or(|quote| word[end..].starts_with(quote));
        (is_first && is_name && is_closed).then(|| word[..end].to_owned())
    });
    words.collect()
}

impl<'a> Instruction<'a> {
    fn of(line: usize, text: &'a str) -> Self {
        let (keyword, mut rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let mut flags = vec![];
        loop {
            rest = rest.trim_start();
            let Some(flag) = rest.strip_prefix("--") else { break };
            let (flag, after) = flag.split_once(char::is_whitespace).unwrap_or((flag, ""));
            flags.push(flag.split_once('=').unwrap_or((flag, "")));
            rest = after;
        }
        Self { line, keyword: keyword.to_ascii_uppercase(), flags, rest: rest.trim() }
    }

    fn flag(&self, name: &str) -> Option<&'a str> {
        self.flags.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// All but the last of the arguments of COPY and ADD.
    ///
    /// # Errors
    /// The JSON form cannot be read.
    fn sources(&self) -> Result<Vec<String>, String> {
        let mut words: Vec<String> = match self.rest.starts_with('[') {
            true => serde_json::from_str(self.rest)
                .map_err(|_| format!("line {}: {} cannot be read", self.line, self.keyword))?,
            false => self.rest.split_whitespace().map(str::to_owned).collect(),
        };
        words.pop();
        words.retain(|word| !word.starts_with("<<"));
        Ok(words)
    }
}

#[derive(Debug, Default)]
struct Stage {
    name: Option<String>,
    base: String,
    /// `from` of COPY and of mounts, with their lines.
    from: Vec<(usize, String)>,
    /// It has a RUN.
    runs: bool,
    paths: BTreeSet<String>,
    doubt: Option<String>,
}

#[derive(Debug, Default)]
struct Stages(Vec<Stage>);

impl Stages {
    fn of<'a>(
        instructions: impl Iterator<Item = Instruction<'a>>,
        args: &BTreeMap<String, String>,
    ) -> Result<Self, String> {
        let mut stages = Self::default();
        let mut global: BTreeMap<String, String> = BTreeMap::new();
        for instruction in instructions {
            if instruction.keyword == "FROM" {
                stages.0.push(Stage::begin(&instruction, &global)?);
            } else if let Some(stage) = stages.0.last_mut() {
                if let Err(doubt) = stage.instruction(&instruction) {
                    stage.doubt.get_or_insert(doubt);
                }
            } else if instruction.keyword == "ARG" {
                for word in instruction.rest.split_whitespace() {
                    let (name, default) = word.split_once('=').unwrap_or((word, ""));
                    let default = default.trim_matches(['"', '\'']);
                    let value = match args.get(name) {
                        Some(given) => given.clone(),
                        None => expanded(default, &global)
                            .ok_or_else(|| format!("line {}: `ARG {word}` cannot be read", instruction.line))?,
                    };
                    global.insert(name.to_owned(), value);
                }
            }
        }
        Ok(stages)
    }

    /// The place of the stage called `name`, among those before the stage at `before`.
    fn find(&self, name: &str, before: usize) -> Option<usize> {
        let earlier = &self.0[..before];
        let by_name = |stage: &Stage| stage.name.as_ref().is_some_and(|known| known.eq_ignore_ascii_case(name));
        earlier.iter().rposition(by_name).or_else(|| name.parse().ok().filter(|at| *at < before))
    }

    fn target(&self, target: Option<&str>) -> Result<usize, String> {
        match target {
            Some(target) => self.find(target, self.0.len()).ok_or(format!("the stage `{target}` is not in it")),
            None => self.0.len().checked_sub(1).ok_or("it has no FROM".to_owned()),
        }
    }

    /// The stage that the one at `at` is FROM. COPY also reaches stages by number, FROM by name alone.
    fn base(&self, at: usize) -> Option<usize> {
        let base = &self.0[at].base;
        self.find(base, at).filter(|_| base.parse::<usize>().is_err())
    }

    /// A stage and all that it is FROM.
    fn line_of(&self, at: usize) -> BTreeSet<usize> {
        std::iter::successors(Some(at), |at| self.base(*at)).collect()
    }

    fn beside(&self, target: Option<&str>) -> Result<Vec<String>, String> {
        let last = self.target(target)?;
        let held = self.line_of(last);
        let mut lines: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let mut open = vec![last];
        while let Some(at) = open.pop() {
            if !seen.insert(at) {
                continue;
            }
            let line = self.line_of(at);
            if line.iter().any(|at| self.0[*at].runs && !held.contains(at)) {
                lines.insert(at, line);
            }
            open.extend(self.base(at));
            open.extend(self.0[at].from.iter().filter_map(|(_, name)| self.find(name, at)));
        }
        let is_within_another = |at: &usize| lines.iter().any(|(other, line)| other != at && line.contains(at));
        let kept = lines.keys().filter(|at| !is_within_another(at));
        Ok(kept.map(|at| self.0[*at].name.clone().unwrap_or_else(|| at.to_string())).collect())
    }

    fn collect(&self, target: Option<&str>, reads: &mut Reads) -> Result<(), String> {
        let last = self.target(target)?;
        let mut seen = BTreeSet::new();
        let mut open = vec![last];
        while let Some(at) = open.pop() {
            if !seen.insert(at) {
                continue;
            }
            let stage = &self.0[at];
            if let Some(doubt) = &stage.doubt {
                return Err(doubt.clone());
            }
            reads.paths.extend(stage.paths.iter().cloned());
            match self.base(at) {
                Some(earlier) => open.push(earlier),
                None if stage.base == "scratch" => {}
                None => drop(reads.images.insert(stage.base.clone())),
            }
            for (line, name) in &stage.from {
                match self.find(name, at) {
                    Some(earlier) => open.push(earlier),
                    None if name.contains('$') || name.parse::<usize>().is_ok() => {
                        return Err(format!("line {line}: `{name}` cannot be read"));
                    }
                    None if name == "scratch" => {}
                    None => drop(reads.images.insert(name.clone())),
                }
            }
        }
        Ok(())
    }
}

impl Stage {
    fn begin(from: &Instruction<'_>, global: &BTreeMap<String, String>) -> Result<Self, String> {
        let words: Vec<&str> = from.rest.split_whitespace().collect();
        let unreadable = || format!("line {}: `FROM {}` cannot be read", from.line, from.rest);
        let base = words.first().and_then(|word| expanded(word, global)).ok_or_else(unreadable)?;
        let name = match words.as_slice() {
            [_] => None,
            [_, word, name] if word.eq_ignore_ascii_case("as") => Some((*name).to_owned()),
            _ => return Err(unreadable()),
        };
        if base.is_empty() {
            return Err(unreadable());
        }
        Ok(Self { name, base, ..Self::default() })
    }

    /// # Errors
    /// It reads what no text names.
    fn instruction(&mut self, instruction: &Instruction<'_>) -> Result<(), String> {
        let line = instruction.line;
        match instruction.keyword.as_str() {
            "COPY" | "ADD" => match instruction.flag("from") {
                Some(from) => self.from.push((line, from.to_owned())),
                None => {
                    for source in instruction.sources()? {
                        if instruction.keyword == "ADD" && is_remote(&source) {
                            match instruction.flag("checksum") {
                                Some(_) if !source.contains('$') => continue,
                                _ => return Err(format!("line {line}: `ADD {source}` fetches what may change")),
                            }
                        }
                        self.path(&source);
                    }
                }
            },
            "RUN" => {
                self.runs = true;
                for (_, mount) in instruction.flags.iter().filter(|(name, _)| *name == "mount") {
                    self.mount(line, mount);
                }
            }
            "ONBUILD" => return Err(format!("line {line}: `ONBUILD` acts where nothing names it")),
            _ => {}
        }
        Ok(())
    }

    fn mount(&mut self, line: usize, mount: &str) {
        let options: BTreeMap<&str, &str> =
            mount.split(',').map(|option| option.split_once('=').unwrap_or((option, ""))).collect();
        let kind = options.get("type").copied().unwrap_or("bind");
        match (kind, options.get("from")) {
            ("bind" | "cache", Some(from)) => self.from.push((line, (*from).to_owned())),
            ("bind", None) => self.path(options.get("source").or(options.get("src")).copied().unwrap_or(".")),
            _ => {}
        }
    }

    /// A path with a variable may be any.
    fn path(&mut self, source: &str) {
        let source = source.trim_matches(['"', '\'']);
        self.paths.insert(if source.contains('$') { ".".to_owned() } else { relative(source) });
    }
}

fn relative(path: &str) -> String {
    let path = clean(&format!("/{path}"));
    let path = path.trim_start_matches('/');
    if path.is_empty() { ".".to_owned() } else { path.to_owned() }
}

fn is_remote(source: &str) -> bool {
    source.contains("://") || source.starts_with("git@") || source.contains(".git#") || source.starts_with('$')
}

/// A reference to an image has 255 characters and a digest; a hostile Dockerfile doubles an argument line by line.
const LONGEST_WORD: usize = 4096;

/// `$NAME`, `${NAME}`, `${NAME:-default}` and `${NAME-default}` by the values of `global`. `None`: another form, or a name that it
/// does not have, such as the platform that is built for, or a result that is no reference any more.
fn expanded(word: &str, global: &BTreeMap<String, String>) -> Option<String> {
    let mut rest = word.trim_matches(['"', '\'']);
    let mut found = String::new();
    while let Some((before, after)) = rest.split_once('$') {
        let (value, after) = first_value(after, global)?;
        found.push_str(before);
        found.push_str(&value);
        if found.len() > LONGEST_WORD {
            return None;
        }
        rest = after;
    }
    found.push_str(rest);
    (found.len() <= LONGEST_WORD).then_some(found)
}

/// The value of what follows a `$`, and what follows that.
fn first_value<'a>(after: &'a str, global: &BTreeMap<String, String>) -> Option<(String, &'a str)> {
    Some(match after.strip_prefix('{') {
        Some(braced) => {
            let (inner, rest) = braced.split_once('}')?;
            let end = inner.find(|c: char| !is_name(c)).unwrap_or(inner.len());
            let (name, form) = inner.split_at(end);
            let known = global.get(name);
            let value = match (form.strip_prefix(":-"), form.strip_prefix('-')) {
                (Some(default), _) => known.filter(|value| !value.is_empty()).cloned().or(expanded(default, global))?,
                (_, Some(default)) => known.cloned().or(expanded(default, global))?,
                (None, None) if form.is_empty() => known?.clone(),
                (None, None) => return None,
            };
            (value, rest)
        }
        None => {
            let end = after.find(|c: char| !is_name(c)).unwrap_or(after.len());
            (global.get(&after[..end])?.clone(), &after[end..])
        }
    })
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(Vec<String>, Vec<String>), String> {
        read_with(text, None, &[])
    }

    fn read_with(
        text: &str,
        target: Option<&str>,
        args: &[(&str, &str)],
    ) -> Result<(Vec<String>, Vec<String>), String> {
        let args = args.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let reads = reads(text, target, &args)?;
        Ok((reads.images.into_iter().collect(), reads.paths.into_iter().collect()))
    }

    #[test]
    fn the_images_and_paths_of_each_form_of_an_instruction_are_read() {
        for (text, images, paths) in [
            ("FROM scratch\nCOPY app /app\n", &[][..], &["app"][..]),
            ("FROM node:20\nCOPY ./package.json ./yarn.lock ./\n", &["node:20"], &["package.json", "yarn.lock"]),
            ("from node:20 as b\nrun make\nFROM scratch\nCOPY --from=b --chown=1:1 /out /\n", &["node:20"], &[]),
            ("FROM a:1\nRUN make\nFROM b:1\nCOPY --from=0 /x /x\n", &["a:1", "b:1"], &[]),
            ("FROM a:1\nCOPY --from=nginx:1 /x /x\nADD src/*.js /src/\n", &["a:1", "nginx:1"], &["src/*.js"]),
            ("FROM a:1\nCOPY [\"one file\", \"/d\"]\n", &["a:1"], &["one file"]),
            ("FROM a:1\nCOPY . .\n", &["a:1"], &["."]),
            ("FROM a:1\nARG D\nCOPY ${D}/x /x\n", &["a:1"], &["."]),
            (
                "FROM a:1\nRUN --mount=type=bind,source=lock,target=/lock --mount=type=cache,target=/c make\n",
                &["a:1"],
                &["lock"],
            ),
            ("FROM a:1\nRUN --mount=target=. make\n", &["a:1"], &["."]),
            ("FROM a:1\nRUN --mount=type=bind,from=tools:2,target=/t make\n", &["a:1", "tools:2"], &[]),
            ("FROM a:1\nCOPY one \\\n  # of it\n  two \\\n  /d/\n", &["a:1"], &["one", "two"]),
            ("FROM a:1\nRUN <<EOF\nimport x\nFROM x import y\nEOF\nCOPY z /z\n", &["a:1"], &["z"]),
            ("FROM a:1\nCOPY <<-\"END\" x /d/\n\ttext\n\tEND\nCOPY z /z\n", &["a:1"], &["x", "z"]),
            ("# syntax=docker/dockerfile:1\nFROM a:1\n", &["a:1", "docker/dockerfile:1"], &[]),
            ("# escape=`\nFROM a:1\nCOPY one `\n two /d\n", &["a:1"], &["one", "two"]),
            ("FROM a:1\nADD --checksum=sha256:0 https://x.example/y /y\n", &["a:1"], &[]),
            ("FROM --platform=$BUILDPLATFORM a:1\n", &["a:1"], &[]),
        ] {
            let owned = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
            assert_eq!(read(text), Ok((owned(images), owned(paths))), "{text}");
        }
    }

    #[test]
    fn only_the_stages_that_lead_to_the_target_count() {
        let text = "FROM base:1 AS base\nCOPY lock /\nFROM base AS api\nCOPY api /\nFROM base AS web\nCOPY web /\nADD https://x /\n";
        let (images, paths) = read_with(text, Some("API"), &[]).unwrap();
        assert_eq!((images, paths), (vec!["base:1".to_owned()], vec!["api".to_owned(), "lock".to_owned()]));
        assert_eq!(read(text).unwrap_err(), "line 7: `ADD https://x` fetches what may change");
        assert!(read_with(text, Some("jobs"), &[]).is_err());
    }

    #[test]
    fn a_base_by_arguments_is_the_one_that_they_give() {
        let text = "ARG TAG=20\nARG BASE=node:${TAG}\nFROM ${BASE}-slim\nFROM ${OTHER:-x:1}\nCOPY --from=0 /a /a\n";
        assert_eq!(read(text).unwrap().0, ["node:20-slim", "x:1"]);
        assert_eq!(read_with(text, None, &[("TAG", "22")]).unwrap().0, ["node:22-slim", "x:1"]);
        for unknown in ["FROM a:$TARGETARCH\n", "ARG A=x\nFROM ${A%x}\n", "ARG A\nFROM $A\n"] {
            assert!(read(unknown).is_err(), "{unknown}");
        }
    }

    #[test]
    fn an_argument_that_doubles_line_by_line_is_a_doubt_and_takes_no_memory() {
        let doubling: String = (1..60).map(|n| format!("ARG A{n}=${{A{0}}}${{A{0}}}\n", n - 1)).collect();
        assert!(read(&format!("ARG A0=xxxxxxxxxx\n{doubling}FROM ${{A59}}\n")).is_err());
        let long = format!("ARG A=x\nFROM {}\n", "$A".repeat(100_000));
        assert!(read(&long).is_err());
    }

    #[test]
    fn what_the_text_does_not_tell_is_a_doubt_with_its_line() {
        for (text, doubt) in [
            ("FROM a\nADD https://x.example/y /y\n", "line 2: `ADD https://x.example/y` fetches what may change"),
            ("FROM a\nADD git@host:org/x.git /y\n", "line 2: `ADD git@host:org/x.git` fetches what may change"),
            ("FROM a\nONBUILD COPY x /\n", "line 2: `ONBUILD` acts where nothing names it"),
            (
                "# syntax=acme/frontend\nFROM a\n",
                "`# syntax=acme/frontend` gives the Dockerfile a meaning that is not known here",
            ),
            ("FROM a\nRUN <<EOF\nmake\n", "line 2: `<<EOF` has no end"),
            ("", "it has no FROM"),
        ] {
            assert_eq!(read(text).unwrap_err(), doubt);
        }
        let args = [("BUILDKIT_SYNTAX", "x")];
        assert!(read_with("FROM a\n", None, &args).is_err());
    }

    #[test]
    fn the_stages_beside_an_image_are_those_that_it_copies_from_and_that_run_something() {
        let beside = |text: &str, target| stages_beside(text, target, &BTreeMap::new());
        let node = "FROM node AS deps\nRUN yarn\nFROM deps AS build\nRUN yarn build\n";
        assert_eq!(beside(&format!("{node}FROM nginx\nCOPY --from=build /d /d\n"), None), ["build"]);
        assert_eq!(beside(&format!("{node}FROM deps\nCOPY --from=build /d /d\n"), None), ["build"]);
        assert_eq!(beside(&format!("{node}FROM build\nCMD x\n"), None), [""; 0]);
        assert_eq!(beside(&format!("{node}FROM nginx\nCOPY --from=build /d /d\n"), Some("build")), [""; 0]);
        let two =
            "FROM a\nRUN x\nFROM b AS tools\nRUN y\nFROM c\nRUN --mount=from=tools,target=/t z\nCOPY --from=0 /x /x\n";
        assert_eq!(beside(two, None), ["0", "tools"]);
        assert_eq!(beside("FROM a AS files\nCOPY x /x\nFROM b\nCOPY --from=files /x /x\n", None), [""; 0]);
        assert_eq!(beside("RUN <<E\n", None), [""; 0]);
    }

    #[test]
    fn a_builder_that_asks_for_more_is_noticed() {
        let reads = reads("FROM a:1\nCOPY src /src\n", None, &BTreeMap::new()).unwrap();
        let asked = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
        assert_eq!(reads.misses(&asked(&["/src/", ".dockerignore"])), None);
        assert_eq!(reads.misses(&asked(&["src", "package.json"])), Some("package.json"));
    }

    mod fuzzed {
        use super::*;
        use test_support::fuzz;
        use test_support::proptest::prelude::*;

        #[test]
        fn any_text_is_read_or_doubted() {
            let word = prop_oneof![
                Just("FROM "),
                Just("ARG "),
                Just("COPY "),
                Just("--from="),
                Just("<<E"),
                Just("\n"),
                Just("\\\n"),
                Just("$"),
                Just("${"),
                Just("}"),
                Just(":-"),
                Just("["),
                Just("]"),
                Just("\""),
                Just("--mount="),
                Just(","),
                Just("é"),
                Just("a"),
                Just("/"),
                Just(".."),
                Just("# syntax="),
                Just("RUN "),
            ];
            fuzz(3000, prop::collection::vec(word, 0..24), |words| {
                let _ = reads(&words.concat(), None, &BTreeMap::new());
            });
        }
    }
}
