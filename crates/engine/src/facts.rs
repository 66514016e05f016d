//! How large a build's context is, without an Engine.

use std::path::Path;

use super::context::{BuildContext, IgnoreFile};
use super::error::EngineError;
use super::walk::{Filter, Kind, walk};

/// What a build would send to the Engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextFacts {
    /// Files after the ignore file.
    pub files: u64,
    pub bytes: u64,
    pub has_ignore_file: bool,
}

/// Counts what a build would be made of, after the ignore file. Blocks on the file system.
///
/// # Errors
/// The context or the Dockerfile is missing or cannot be read.
pub fn context_facts(context: &Path, dockerfile: Option<&Path>) -> Result<ContextFacts, EngineError> {
    let context = BuildContext::resolve(context, dockerfile)?;
    let ignore_file = IgnoreFile::of(&context)?;
    let filter = Filter { include: None, exclude: ignore_file.patterns("")? };
    let mut facts = ContextFacts { files: 0, bytes: 0, has_ignore_file: !ignore_file.text.trim().is_empty() };
    walk(&context.root, &filter, &mut |entry| {
        if entry.kind == Kind::File {
            facts.files += 1;
            facts.bytes += entry.metadata.len();
        }
        Ok(())
    })
    .map_err(|error| EngineError::config("build context", error.to_string()))?;
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn only_what_the_ignore_file_leaves_is_counted() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("Dockerfile"), "FROM scratch\n").unwrap();
        fs::create_dir(root.path().join("node_modules")).unwrap();
        fs::write(root.path().join("node_modules/large"), "x".repeat(5000)).unwrap();
        let facts = context_facts(root.path(), None).unwrap();
        assert_eq!((facts.files, facts.bytes, facts.has_ignore_file), (2, 5013, false));
        fs::write(root.path().join(".dockerignore"), "node_modules\n.dockerignore\n").unwrap();
        let facts = context_facts(root.path(), None).unwrap();
        assert_eq!((facts.files, facts.bytes, facts.has_ignore_file), (1, 13, true));
    }
}
