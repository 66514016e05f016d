//! Which files a build is made of: the context, the Dockerfile (inside or outside of it) and the ignore file that applies.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::error::EngineError;
use super::ignore::Patterns;

/// A build's input on disk, checked before anything is sent.
#[derive(Clone, Debug)]
pub(super) struct BuildContext {
    /// Canonical.
    pub root: PathBuf,
    /// Canonical directory of the Dockerfile.
    pub dockerfile_directory: PathBuf,
    pub dockerfile_name: String,
}

impl BuildContext {
    /// Resolves `dockerfile` (default `Dockerfile`): an absolute path is itself; a relative one is taken from the context
    /// if it exists there, else from the working directory, as `docker build -f` users write both.
    pub fn resolve(context: &Path, dockerfile: Option<&Path>) -> Result<Self, EngineError> {
        let subject = format!("build context `{}`", context.display());
        let root = context.canonicalize().map_err(|error| EngineError::config(&subject, sentence(&error)))?;
        if !root.is_dir() {
            return Err(EngineError::config(subject, "not a directory"));
        }

        let asked = dockerfile.unwrap_or(Path::new("Dockerfile"));
        let in_context = root.join(asked);
        let path = if in_context.exists() || dockerfile.is_none() { &in_context } else { asked };
        let subject = format!("Dockerfile `{}`", path.display());
        let metadata = fs::metadata(path).map_err(|error| EngineError::config(&subject, sentence(&error)))?;
        if !metadata.is_file() {
            return Err(EngineError::config(subject, "not a file"));
        }
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| EngineError::config(&subject, "the name is not UTF-8"))?.to_owned();
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let directory = directory.canonicalize().map_err(|error| EngineError::config(&subject, sentence(&error)))?;
        let context = Self { root, dockerfile_directory: directory, dockerfile_name: name };
        context.open(path).map_err(|why| EngineError::config(&subject, why))?;
        Ok(context)
    }

    pub fn dockerfile(&self) -> PathBuf {
        self.dockerfile_directory.join(&self.dockerfile_name)
    }

    /// The text of the Dockerfile.
    pub fn dockerfile_text(&self) -> Result<Vec<u8>, EngineError> {
        let path = self.dockerfile();
        self.read(&path).map_err(|why| EngineError::config(format!("Dockerfile `{}`", path.display()), why))
    }

    /// Opens a Dockerfile or an ignore file: a regular one of at most [`LARGEST`], which no link leads out of the repository.
    /// A pull request can commit links, and the kernel's files show what this very process holds.
    fn open(&self, path: &Path) -> Result<fs::File, String> {
        let failed = |error: io::Error| sentence(&error);
        // Asked before it is opened: to open a pipe is to wait for its other end.
        let metadata = fs::metadata(path).map_err(failed)?;
        let real = path.canonicalize().map_err(failed)?;
        if !metadata.is_file() || is_of_kernel(&real) {
            return Err("not a file".to_owned());
        }
        let is_inside =
            [self.repository(), &self.root, &self.dockerfile_directory].iter().any(|folder| real.starts_with(folder));
        if !is_inside || real.components().any(|part| part.as_os_str() == ".git") {
            return Err("a link that leads out of the repository".to_owned());
        }
        if metadata.len() > LARGEST {
            return Err(too_large());
        }
        fs::File::open(path).map_err(failed)
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        // It may have grown since.
        self.open(path)?.take(LARGEST + 1).read_to_end(&mut bytes).map_err(|error| sentence(&error))?;
        if bytes.len() as u64 > LARGEST { Err(too_large()) } else { Ok(bytes) }
    }

    /// The checkout that the context is a part of: several contexts may share a file of it by links.
    fn repository(&self) -> &Path {
        self.root.ancestors().find(|folder| folder.join(".git").exists()).unwrap_or(&self.root)
    }

    /// The Dockerfile's path inside the context, if it lies there.
    pub fn dockerfile_in_context(&self) -> Option<String> {
        let relative = self.dockerfile_directory.strip_prefix(&self.root).ok()?.join(&self.dockerfile_name);
        relative.to_str().map(str::to_owned)
    }

    /// The patterns of [`IgnoreFile::of`].
    pub fn ignored(&self) -> Result<Patterns, EngineError> {
        IgnoreFile::of(self)?.patterns("")
    }
}

/// `<Dockerfile>.dockerignore` beside the Dockerfile if that exists, else the context's `.dockerignore`, else nothing.
/// <https://docs.docker.com/build/concepts/context/#filename-and-location>
#[derive(Clone, Debug)]
pub(super) struct IgnoreFile {
    path: PathBuf,
    pub text: String,
}

impl IgnoreFile {
    /// # Errors
    /// It exists and cannot be read, or a pattern of it is not UTF-8: whatever it keeps out of an image must stay out.
    pub fn of(context: &BuildContext) -> Result<Self, EngineError> {
        let own = context.dockerfile_directory.join(format!("{}.dockerignore", context.dockerfile_name));
        for path in [own, context.root.join(".dockerignore")] {
            if matches!(fs::metadata(&path), Err(missing) if missing.kind() == io::ErrorKind::NotFound) {
                continue;
            }
            return match context.read(&path) {
                Ok(bytes) => Self::from_bytes(path, &bytes),
                Err(why) => Err(EngineError::config(format!("`{}`", path.display()), why)),
            };
        }
        Ok(Self { path: PathBuf::new(), text: String::new() })
    }

    fn from_bytes(path: PathBuf, bytes: &[u8]) -> Result<Self, EngineError> {
        for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            if !line.starts_with(b"#") && std::str::from_utf8(line).is_err() {
                let subject = format!("`{}` line {}", path.display(), index + 1);
                return Err(EngineError::config(subject, "not UTF-8"));
            }
        }
        Ok(Self { path, text: String::from_utf8_lossy(bytes).into_owned() })
    }

    /// Its patterns, and after them the lines of `more`. A bad one is named by its line: what it says may be nobody's to show.
    pub fn patterns(&self, more: &str) -> Result<Patterns, EngineError> {
        Patterns::parse(&format!("{}\n{more}", self.text))
            .map_err(|(line, bad)| EngineError::config(format!("`{}` line {line}", self.path.display()), bad.why()))
    }
}

/// A Dockerfile and an ignore file are read whole. What is larger than this is a wrong path.
const LARGEST: u64 = 16 * 1024 * 1024;

fn too_large() -> String {
    format!("larger than {} MiB", LARGEST / 1024 / 1024)
}

/// Whether a path, without links, is where the kernel shows processes and devices.
pub fn is_of_kernel(real: &Path) -> bool {
    ["/proc", "/sys", "/dev"].iter().any(|folder| real.starts_with(folder))
}

/// The system's words without `(os error 2)`, in our case.
pub(super) fn sentence(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "does not exist".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_missing_context_and_a_missing_dockerfile_are_named() {
        let root = tempfile::tempdir().unwrap();
        let missing = BuildContext::resolve(&root.path().join("nowhere"), None).unwrap_err().to_string();
        assert!(missing.starts_with("build context `") && missing.ends_with("nowhere`: does not exist"), "{missing}");
        let missing = BuildContext::resolve(root.path(), None).unwrap_err().to_string();
        assert!(missing.starts_with("Dockerfile `") && missing.ends_with("/Dockerfile`: does not exist"), "{missing}");
        fs::create_dir(root.path().join("Dockerfile")).unwrap();
        let directory = BuildContext::resolve(root.path(), None).unwrap_err().to_string();
        assert!(directory.ends_with("not a file"), "{directory}");
    }

    #[test]
    fn a_file_that_is_too_large_to_be_a_dockerfile_or_an_ignore_file_is_not_read() {
        let root = tempfile::tempdir().unwrap();
        let large = |name: &str| fs::File::create(root.path().join(name)).unwrap().set_len(8 << 30).unwrap();
        large("Dockerfile");
        let refused = BuildContext::resolve(root.path(), None).unwrap_err().to_string();
        assert!(refused.ends_with("/Dockerfile`: larger than 16 MiB"), "{refused}");
        fs::write(root.path().join("Dockerfile"), "FROM scratch").unwrap();
        large(".dockerignore");
        let refused = BuildContext::resolve(root.path(), None).unwrap().ignored().unwrap_err().to_string();
        assert!(refused.ends_with("/.dockerignore`: larger than 16 MiB"), "{refused}");
    }

    /// A pull request can commit a link to anything, and have its plan made.
    #[test]
    fn a_dockerfile_and_an_ignore_file_are_regular_files_of_the_repository() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("token"), "[hunter2").unwrap();
        let token = outside.path().join("token");
        let pipe = outside.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let git_config = Path::new("../.git/config");
        let all = [Path::new("/dev/zero"), Path::new("/proc/self/environ"), &pipe, &token, git_config];
        for target in all {
            for name in ["Dockerfile", ".dockerignore", "Dockerfile.dockerignore"] {
                let repository = tempfile::tempdir().unwrap();
                fs::create_dir_all(repository.path().join(".git")).unwrap();
                fs::write(repository.path().join(".git/config"), "[hunter2").unwrap();
                let root = repository.path().join("app");
                fs::create_dir(&root).unwrap();
                fs::write(root.join("Dockerfile"), "FROM scratch").unwrap();
                let _ = fs::remove_file(root.join(name));
                symlink(target, root.join(name)).unwrap();
                let refused = BuildContext::resolve(&root, None).and_then(|context| context.ignored()).unwrap_err();
                let refused = refused.to_string();
                assert!(refused.contains(&format!("/{name}`: ")) && !refused.contains("hunter2"), "{refused}");
                assert!(refused.ends_with("not a file") || refused.ends_with("out of the repository"), "{refused}");
            }
        }
    }

    #[test]
    fn contexts_of_a_repository_share_an_ignore_file_by_a_link() {
        let repository = tempfile::tempdir().unwrap();
        let root = repository.path().join("services/web");
        fs::create_dir_all(&root).unwrap();
        fs::write(root.join("Dockerfile"), "FROM scratch").unwrap();
        fs::write(repository.path().join("shared"), "logs").unwrap();
        symlink("../../shared", root.join(".dockerignore")).unwrap();
        let ignored = || BuildContext::resolve(&root, None).unwrap().ignored().map(|patterns| patterns.matches("logs"));
        assert!(ignored().unwrap_err().to_string().ends_with("a link that leads out of the repository"));
        fs::create_dir(repository.path().join(".git")).unwrap();
        assert!(ignored().unwrap());
    }

    #[test]
    fn the_dockerfiles_own_ignore_file_wins() {
        let root = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        fs::write(root.path().join(".dockerignore"), "general").unwrap();
        fs::write(other.path().join("Special"), "FROM scratch").unwrap();
        let context = BuildContext::resolve(root.path(), Some(&other.path().join("Special"))).unwrap();
        assert_eq!(context.dockerfile_in_context(), None);
        assert_eq!(IgnoreFile::of(&context).unwrap().text, "general");
        fs::write(other.path().join("Special.dockerignore"), "special").unwrap();
        assert_eq!(IgnoreFile::of(&context).unwrap().text, "special");
    }

    #[test]
    fn a_bad_pattern_has_its_file_and_line() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("Dockerfile"), "FROM scratch").unwrap();
        let refusal = |text: &[u8]| {
            fs::write(root.path().join(".dockerignore"), text).unwrap();
            let context = BuildContext::resolve(root.path(), None).unwrap();
            context.ignored().unwrap_err().to_string()
        };
        let bad = refusal(b"# fine\n\nlogs/[a-\n");
        assert!(
            bad.ends_with("/.dockerignore` line 3: bad pattern: an unclosed `[`, an empty range or a trailing `\\`"),
            "{bad}"
        );
        let latin = refusal(b"# caf\xe9\ncaf\xe9\n");
        assert!(latin.ends_with("/.dockerignore` line 2: not UTF-8"), "{latin}");
    }

    #[test]
    fn a_relative_dockerfile_is_looked_for_in_the_context_first() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("docker")).unwrap();
        fs::write(root.path().join("docker/web"), "FROM scratch").unwrap();
        let context = BuildContext::resolve(root.path(), Some(Path::new("docker/web"))).unwrap();
        assert_eq!(context.dockerfile_in_context().as_deref(), Some("docker/web"));
        assert_eq!(context.dockerfile_name, "web");
    }
}
