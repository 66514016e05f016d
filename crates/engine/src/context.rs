//! Which files a build is made of: the context, the Dockerfile (inside or outside of it) and the ignore file that applies.

use std::fs;
use std::io;
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
        fs::File::open(path).map_err(|error| EngineError::config(&subject, sentence(&error)))?;

        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| EngineError::config(&subject, "the name is not UTF-8"))?.to_owned();
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let directory = directory.canonicalize().map_err(|error| EngineError::config(&subject, sentence(&error)))?;
        Ok(Self { root, dockerfile_directory: directory, dockerfile_name: name })
    }

    pub fn dockerfile(&self) -> PathBuf {
        self.dockerfile_directory.join(&self.dockerfile_name)
    }

    /// The Dockerfile's path inside the context, if it lies there.
    pub fn dockerfile_in_context(&self) -> Option<String> {
        let relative = self.dockerfile_directory.strip_prefix(&self.root).ok()?.join(&self.dockerfile_name);
        relative.to_str().map(str::to_owned)
    }

    /// The text of `<Dockerfile>.dockerignore` beside the Dockerfile if that exists, else of the context's `.dockerignore`,
    /// else nothing. <https://docs.docker.com/build/concepts/context/#filename-and-location>
    pub fn ignore_text(&self) -> Result<String, EngineError> {
        let own = self.dockerfile_directory.join(format!("{}.dockerignore", self.dockerfile_name));
        for path in [own, self.root.join(".dockerignore")] {
            match fs::read(&path) {
                Ok(text) => return Ok(String::from_utf8_lossy(&text).into_owned()),
                Err(missing) if missing.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(EngineError::config(format!("`{}`", path.display()), sentence(&error))),
            }
        }
        Ok(String::new())
    }

    /// The patterns of [`Self::ignore_text`].
    pub fn ignored(&self) -> Result<Patterns, EngineError> {
        Patterns::parse(&self.ignore_text()?).map_err(|bad| EngineError::config(".dockerignore", bad.to_string()))
    }
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
    fn the_dockerfiles_own_ignore_file_wins() {
        let root = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        fs::write(root.path().join(".dockerignore"), "general").unwrap();
        fs::write(other.path().join("Special"), "FROM scratch").unwrap();
        let context = BuildContext::resolve(root.path(), Some(&other.path().join("Special"))).unwrap();
        assert_eq!(context.dockerfile_in_context(), None);
        assert_eq!(context.ignore_text().unwrap(), "general");
        fs::write(other.path().join("Special.dockerignore"), "special").unwrap();
        assert_eq!(context.ignore_text().unwrap(), "special");
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
