//! A name for what a build would read, so that the same sources need not be built twice.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};

use super::context::{BuildContext, sentence};
use super::error::EngineError;
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

/// The SHA-256, as 64 hex digits, of everything in our hands that decides a build: for each file that passes
/// `.dockerignore` its path, type, permission bits, link target and content; then the Dockerfile, build arguments, target
/// and platform. Times, owners and labels are not part of it, so a fresh checkout of one commit has one digest.
///
/// Equal digests do not mean equal images where the Dockerfile reads from outside: `FROM x:latest` moves, `RUN apt-get
/// update` and `ADD https://...` fetch, a build secret changes. Skipping a build by this digest is therefore sound only for
/// base images pinned by digest or for callers who accept a stale base.
///
/// Blocks on the file system; call it from a blocking task.
pub fn context_digest(input: &DigestInput<'_>) -> Result<String, EngineError> {
    let context = BuildContext::resolve(input.context, input.dockerfile)?;
    let mut sum = Sum(Context::new(&SHA256));
    sum.field("version", b"1");

    let dockerfile = context.dockerfile();
    let text = fs::read(&dockerfile)
        .map_err(|error| EngineError::config(format!("Dockerfile `{}`", dockerfile.display()), sentence(&error)))?;
    sum.field("dockerfile", &text);
    sum.field("target", input.target.unwrap_or_default().as_bytes());
    sum.field("platform", input.platform.unwrap_or_default().as_bytes());
    for (name, value) in &input.args {
        sum.field("arg", name.as_bytes());
        sum.field("value", value.as_bytes());
    }

    let filter = Filter { include: None, exclude: context.ignored()? };
    walk(&context.root, &filter, &mut |entry| sum.entry(entry))
        .map_err(|error| EngineError::config("build context", error.to_string()))?;
    Ok(sum.0.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Every field is preceded by its name and length, so that no two inputs run together into one.
struct Sum(Context);

impl Sum {
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
        self.field("path", entry.path.as_bytes());
        let mode = entry.metadata.permissions().mode() & 0o7777;
        match &entry.kind {
            Kind::Directory => self.header("directory", u64::from(mode)),
            Kind::Symlink { target } => self.field("symlink", target.as_bytes()),
            Kind::File => {
                self.header("file", u64::from(mode));
                let unreadable = |source| WalkError::Unreadable { path: entry.on_disk.clone(), source };
                let mut file = fs::File::open(&entry.on_disk).map_err(unreadable)?;
                let (mut chunk, mut length) = (vec![0; 64 * 1024], 0_u64);
                loop {
                    let read = file.read(&mut chunk).map_err(unreadable)?;
                    if read == 0 {
                        break;
                    }
                    self.0.update(&chunk[..read]);
                    length += read as u64;
                }
                self.header("end", length);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

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
