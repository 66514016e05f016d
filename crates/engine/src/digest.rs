//! A name for what a build would read, so that the same sources need not be built twice.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};

use super::context::{BuildContext, sentence};
use super::dockerfile;
use super::error::EngineError;
use super::follow_paths::followed;
use super::ignore::Patterns;
use super::walk::{Entry, Filter, Kind, WalkError, walk};

/// What is hashed beside the files.
#[derive(Clone, Debug)]
pub struct DigestInput<'a> {
    pub context: &'a Path,
    pub dockerfile: Option<&'a Path>,
    pub target: Option<&'a str>,
    pub args: BTreeMap<String, String>,
    pub platform: Option<&'a str>,
}

const CHUNK: usize = 64 * 1024;
/// The folders and files in which version control keeps its own state.
const VERSION_CONTROL: [&str; 6] = [".git", ".hg", ".svn", ".bzr", ".jj", ".sl"];

/// The SHA-256, as 64 hex digits, of everything in our hands that decides a build: for each file that passes
/// `.dockerignore` its path, type, permission bits, link target and content; then the Dockerfile, build arguments, target
/// and platform. Times, owners, labels and the state of version control (`.git` and its like, at any depth) are not part
/// of it, so a fresh checkout of one commit has one digest.
///
/// What may not be read counts by its path and mode: no build can send its content either, and whether the Dockerfile
/// needs it shows there.
///
/// Equal digests do not mean equal images where the Dockerfile reads from outside: `FROM x:latest` moves, `RUN apt-get
/// update` and `ADD https://...` fetch, a build secret changes. Skipping a build by this digest is therefore sound only for
/// base images pinned by digest or for callers who accept a stale base.
///
/// Blocks on the file system; call it from a blocking task.
pub fn context_digest(input: &DigestInput<'_>) -> Result<String, EngineError> {
    let context = BuildContext::resolve(input.context, input.dockerfile)?;
    let mut sum = Sum::new(b"1");
    sum.instructions(&context.dockerfile_text()?, input);
    let filter = Filter { include: None, exclude: context.ignored()? };
    walk(&context.root, &filter, &mut |entry| if is_version_control(entry) { Ok(()) } else { sum.entry(entry) })
        .map_err(|error| EngineError::config("build context", error.to_string()))?;
    Ok(sum.end())
}

/// What makes an image, as far as it can be told before it is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Equal digests, with equal images behind each of `images`, are equal images: as equal as two builds are between which
    /// every step was cached. What a RUN fetches is not asked for again by either.
    Certain {
        /// Of the Dockerfile, the arguments, the labels, and the files that the Dockerfile names: a change elsewhere in the
        /// context does not count.
        digest: String,
        /// The images that it reads, by reference.
        images: Vec<String>,
    },
    /// Why it cannot be told, in one clause.
    Doubtful { why: String },
}

/// Blocks on the file system; call it from a blocking task.
///
/// # Errors
/// The Dockerfile, the ignore file or a file that the Dockerfile names cannot be read.
pub fn content(input: &DigestInput<'_>, labels: &BTreeMap<String, String>) -> Result<Content, EngineError> {
    let context = BuildContext::resolve(input.context, input.dockerfile)?;
    let text = context.dockerfile_text()?;
    let reads = match dockerfile::reads(&String::from_utf8_lossy(&text), input.target, &input.args) {
        Ok(reads) => reads,
        Err(why) => return Ok(Content::Doubtful { why: format!("of the Dockerfile, {why}") }),
    };
    let mut sum = Sum::new(b"2");
    sum.instructions(&text, input);
    for (name, value) in labels {
        sum.field("label", name.as_bytes());
        sum.field("value", value.as_bytes());
    }
    let unreadable = |why: String| EngineError::config("build context", why);
    let paths: Vec<String> = reads.paths.iter().cloned().collect();
    let include = match followed(&context.root, &paths).map_err(|error| unreadable(sentence(&error)))? {
        Some(paths) => Some(Patterns::new(paths).map_err(|bad| unreadable(bad.to_string()))?),
        None => None,
    };
    let filter = Filter { include, exclude: context.ignored()? };
    let mut version_control = None;
    walk(&context.root, &filter, &mut |entry| {
        if is_version_control(entry) {
            version_control.get_or_insert_with(|| entry.path.clone());
            return Ok(());
        }
        sum.entry(entry)
    })
    .map_err(|error| unreadable(error.to_string()))?;
    Ok(match version_control {
        Some(path) => Content::Doubtful {
            why: format!("`{path}` goes into the build, and is another in each commit: .dockerignore can name it"),
        },
        None => Content::Certain { digest: sum.end(), images: reads.images.into_iter().collect() },
    })
}

/// Whether a builder that `asked` for these paths of the context read more than [`content`] saw: the first of them. It does where
/// a base image has `ONBUILD` instructions.
///
/// # Errors
/// As of [`content`].
pub fn beyond_content(input: &DigestInput<'_>, asked: &[String]) -> Result<Option<String>, EngineError> {
    let context = BuildContext::resolve(input.context, input.dockerfile)?;
    let text = context.dockerfile_text()?;
    let reads = dockerfile::reads(&String::from_utf8_lossy(&text), input.target, &input.args);
    Ok(reads.ok().and_then(|reads| reads.misses(asked).map(str::to_owned)))
}

/// The stages whose steps are lost with the Engine where only the image is kept: see `stages_beside`.
///
/// # Errors
/// As of [`content`].
pub fn stages_beside(input: &DigestInput<'_>) -> Result<Vec<String>, EngineError> {
    let text = BuildContext::resolve(input.context, input.dockerfile)?.dockerfile_text()?;
    Ok(dockerfile::stages_beside(&String::from_utf8_lossy(&text), input.target, &input.args))
}

/// A worktree and a submodule have a file named `.git`.
fn is_version_control(entry: &Entry) -> bool {
    entry.path.split('/').any(|name| VERSION_CONTROL.contains(&name))
}

/// Every field is preceded by its name and length, so that no two inputs run together into one.
struct Sum(Context, Vec<u8>);

impl Sum {
    fn new(version: &[u8]) -> Self {
        let mut sum = Self(Context::new(&SHA256), vec![0; CHUNK]);
        sum.field("version", version);
        sum
    }

    /// What the builder is told beside the files.
    fn instructions(&mut self, dockerfile: &[u8], input: &DigestInput<'_>) {
        self.field("dockerfile", dockerfile);
        self.field("target", input.target.unwrap_or_default().as_bytes());
        self.field("platform", input.platform.unwrap_or_default().as_bytes());
        for (name, value) in &input.args {
            self.field("arg", name.as_bytes());
            self.field("value", value.as_bytes());
        }
    }

    fn end(self) -> String {
        hex::encode(self.0.finish())
    }

    fn field(&mut self, name: &str, value: &[u8]) {
        self.header(name, value.len() as u64);
        self.0.update(value);
    }

    fn header(&mut self, name: &str, length: u64) {
        self.0.update(name.as_bytes());
        self.0.update(&[0]);
        self.0.update(&length.to_be_bytes());
    }

    fn entry(&mut self, entry: &Entry) -> Result<(), WalkError> {
        self.field("path", entry.path_bytes());
        let mode = u64::from(entry.metadata.permissions().mode() & 0o7777);
        match &entry.kind {
            Kind::Directory => self.header("directory", mode),
            Kind::Unlistable => self.header("unlistable", mode),
            Kind::Symlink { target } => self.field("symlink", target.as_os_str().as_encoded_bytes()),
            Kind::File => {
                let unreadable = |source| WalkError::Unreadable { path: entry.on_disk.clone(), source };
                let mut file = match fs::File::open(&entry.on_disk) {
                    Err(denied) if denied.kind() == io::ErrorKind::PermissionDenied => {
                        self.header("unreadable", mode);
                        return Ok(());
                    }
                    opened => opened.map_err(unreadable)?,
                };
                self.header("file", mode);
                let length = update(&mut self.0, &mut file, &mut self.1).map_err(unreadable)?;
                self.header("end", length);
            }
        }
        Ok(())
    }
}

/// The whole of `file` into `hash`; its length.
fn update(hash: &mut Context, file: &mut fs::File, chunk: &mut [u8]) -> io::Result<u64> {
    let mut length = 0_u64;
    loop {
        let read = file.read(chunk)?;
        if read == 0 {
            return Ok(length);
        }
        hash.update(&chunk[..read]);
        length += read as u64;
    }
}

/// A number below one billion that stands for the content of `file`: two contents share it once in a billion pairs.
pub(super) fn content_mark(file: &mut fs::File) -> io::Result<u32> {
    let mut hash = Context::new(&SHA256);
    update(&mut hash, file, &mut vec![0; CHUNK])?;
    let first = hash.finish().as_ref().iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    Ok(u32::try_from(first % 1_000_000_000).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{MetadataExt, symlink};
    use std::os::unix::process::CommandExt;

    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new() -> Self {
            let tree = Self(tempfile::tempdir().unwrap());
            tree.write("Dockerfile", "FROM scratch\nCOPY . /\n");
            tree.write(".dockerignore", "ignored\n");
            tree.write("app", "one");
            tree.write("ignored", "noise");
            tree
        }

        fn write(&self, name: &str, content: &str) {
            fs::write(self.0.path().join(name), content).unwrap();
        }

        fn digest(&self) -> String {
            self.digest_with(|_| {})
        }

        fn digest_with(&self, change: impl FnOnce(&mut DigestInput<'_>)) -> String {
            let (context, args) = (self.0.path(), BTreeMap::new());
            let mut input = DigestInput { context, dockerfile: None, target: None, args, platform: None };
            change(&mut input);
            context_digest(&input).unwrap()
        }
    }

    #[test]
    fn two_checkouts_of_the_same_sources_have_one_digest() {
        let (one, two) = (Tree::new(), Tree::new());
        let file = fs::File::options().write(true).open(two.0.path().join("app")).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(one.digest(), two.digest());
        assert_eq!(one.digest().len(), 64);
    }

    #[test]
    fn an_ignored_file_does_not_count() {
        let tree = Tree::new();
        let before = tree.digest();
        tree.write("ignored", "other noise");
        assert_eq!(tree.digest(), before);
    }

    #[test]
    fn each_thing_that_decides_the_image_changes_the_digest() {
        type Change = fn(&Tree);
        let changes: [(&str, Change); 6] = [
            ("content", |tree| tree.write("app", "two")),
            ("a new file", |tree| tree.write("new", "")),
            ("an empty directory", |tree| fs::create_dir(tree.0.path().join("dir")).unwrap()),
            ("the exec bit", |tree| {
                fs::set_permissions(tree.0.path().join("app"), fs::Permissions::from_mode(0o755)).unwrap();
            }),
            ("the Dockerfile", |tree| tree.write("Dockerfile", "FROM scratch\nCOPY app /\n")),
            ("a link", |tree| symlink("app", tree.0.path().join("link")).unwrap()),
        ];
        for (what, change) in changes {
            let tree = Tree::new();
            fs::set_permissions(tree.0.path().join("app"), fs::Permissions::from_mode(0o644)).unwrap();
            let before = tree.digest();
            change(&tree);
            assert_ne!(tree.digest(), before, "{what}");
        }
    }

    #[test]
    fn a_links_target_counts_and_is_not_followed() {
        let tree = Tree::new();
        symlink("/nowhere/a", tree.0.path().join("link")).unwrap();
        let before = tree.digest();
        fs::remove_file(tree.0.path().join("link")).unwrap();
        symlink("/nowhere/b", tree.0.path().join("link")).unwrap();
        assert_ne!(tree.digest(), before);
    }

    #[test]
    fn the_state_of_version_control_does_not_count_at_any_depth() {
        let tree = Tree::new();
        let before = tree.digest();
        for folder in [".git", "vendor/lib/.hg", ".svn"] {
            let path = tree.0.path().join(folder);
            fs::create_dir_all(path.join("objects")).unwrap();
            fs::write(path.join("index"), folder).unwrap();
        }
        fs::create_dir_all(tree.0.path().join("module")).unwrap();
        let with_folders = tree.digest();
        tree.write("module/.git", "gitdir: ../.git/modules/module");
        assert_eq!(tree.digest(), with_folders);
        fs::remove_dir_all(tree.0.path().join("module")).unwrap();
        fs::remove_dir_all(tree.0.path().join("vendor")).unwrap();
        assert_eq!(tree.digest(), before);
        tree.write(".gitattributes", "* text");
        assert_ne!(tree.digest(), before);
    }

    /// Root reads everything, so this runs in a process of somebody else's.
    #[test]
    fn what_may_not_be_read_counts_by_its_name_and_stops_nothing() {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "digest::tests::digests_of_what_may_not_be_read", "--ignored"]);
        if fs::metadata("/proc/self").unwrap().uid() == 0 {
            command.uid(65534).gid(65534);
        }
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }

    #[test]
    #[ignore = "run by what_may_not_be_read_counts_by_its_name_and_stops_nothing"]
    fn digests_of_what_may_not_be_read() {
        let tree = Tree::new();
        let before = tree.digest();
        let path = tree.0.path().join("private");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("key"), "secret").unwrap();
        let readable = tree.digest();
        for mode in [0o000, 0o100, 0o400] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let digest = tree.digest();
            assert!(digest != before && digest != readable, "mode {mode:o}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        fs::set_permissions(path.join("key"), fs::Permissions::from_mode(0o000)).unwrap();
        assert_ne!(tree.digest(), readable);
    }

    #[test]
    fn a_name_that_is_not_utf8_counts_byte_by_byte() {
        let tree = Tree::new();
        let mut digests = vec![tree.digest()];
        for name in [b"bad-\xff", b"bad-\xfe"] {
            let path = tree.0.path().join(std::ffi::OsStr::from_bytes(name));
            fs::write(&path, "").unwrap();
            digests.push(tree.digest());
            fs::remove_file(path).unwrap();
        }
        assert_eq!(digests.iter().collect::<std::collections::BTreeSet<_>>().len(), 3);
    }

    fn content_of(tree: &Tree) -> Content {
        let (context, args) = (tree.0.path(), BTreeMap::new());
        let input = DigestInput { context, dockerfile: None, target: None, args, platform: None };
        content(&input, &BTreeMap::new()).unwrap()
    }

    #[test]
    fn only_what_the_dockerfile_names_decides_an_image() {
        let tree = Tree::new();
        tree.write("Dockerfile", "FROM node:20\nCOPY app lib* /\n");
        tree.write("lib-one", "one");
        let before = content_of(&tree);
        assert!(matches!(&before, Content::Certain { images, .. } if *images == ["node:20"]), "{before:?}");
        tree.write("README", "of no image");
        fs::create_dir_all(tree.0.path().join(".git")).unwrap();
        tree.write(".git/index", "1");
        assert_eq!(content_of(&tree), before);
        tree.write("lib-two", "two");
        let more = content_of(&tree);
        assert_ne!(more, before);
        tree.write("app", "changed");
        assert_ne!(content_of(&tree), more);
    }

    #[test]
    fn labels_are_part_of_an_image() {
        let tree = Tree::new();
        let (context, args) = (tree.0.path(), BTreeMap::new());
        let input = DigestInput { context, dockerfile: None, target: None, args, platform: None };
        let labels = BTreeMap::from([("version".to_owned(), "2".to_owned())]);
        assert_ne!(content(&input, &labels).unwrap(), content_of(&tree));
    }

    #[test]
    fn the_state_of_version_control_in_a_build_leaves_it_in_doubt() {
        let tree = Tree::new();
        fs::create_dir_all(tree.0.path().join("module/.git")).unwrap();
        let Content::Doubtful { why } = content_of(&tree) else { panic!() };
        assert!(why.starts_with("`module/.git` goes into the build"), "{why}");
        tree.write(".dockerignore", "ignored\n**/.git\n");
        assert!(matches!(content_of(&tree), Content::Certain { .. }));
    }

    #[test]
    fn arguments_target_and_platform_count() {
        let tree = Tree::new();
        let all = [
            tree.digest(),
            tree.digest_with(|input| input.args = BTreeMap::from([("V".to_owned(), "1".to_owned())])),
            tree.digest_with(|input| input.target = Some("web")),
            tree.digest_with(|input| input.platform = Some("linux/arm64")),
        ];
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), 4);
    }
}
