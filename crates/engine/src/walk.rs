//! One walk over a build context, filtered, in the order that FileSync's receiver demands: depth first, names by byte.
//!
//! Regular files, directories and symbolic links take part. Sockets, pipes and devices cannot be copied into an image by
//! content and are passed over.

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use super::ignore::{Inherited, Patterns};

/// What takes part in a walk. Without patterns, everything does.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    /// Only what matches, and the directories that lead there; `None` is everything.
    pub include: Option<Patterns>,
    /// Not what matches.
    pub exclude: Patterns,
}

/// One thing found.
#[derive(Debug)]
pub(super) struct Entry {
    /// Relative to the root, with `/`. Patterns are matched against it; what is not UTF-8 in it is replaced, see
    /// [`Self::utf8_path`].
    pub path: String,
    pub on_disk: PathBuf,
    /// How many bytes of `on_disk` are the root and the slash after it.
    root_length: usize,
    pub metadata: Metadata,
    pub kind: Kind,
}

impl Entry {
    /// The path as it is on disk, relative to the root, byte by byte.
    pub fn path_bytes(&self) -> &[u8] {
        &self.on_disk.as_os_str().as_encoded_bytes()[self.root_length..]
    }

    /// # Errors
    /// The path is not UTF-8, which FileSync cannot carry.
    pub fn utf8_path(&self) -> Result<&str, WalkError> {
        let is_as_on_disk = self.path.as_bytes() == self.path_bytes();
        if is_as_on_disk { Ok(&self.path) } else { Err(WalkError::NotUtf8 { path: self.on_disk.clone() }) }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
    Symlink {
        target: PathBuf,
    },
    /// A directory whose names may not be listed: visited in place of [`Kind::Directory`], and nothing below it.
    Unlistable,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum WalkError {
    #[error("cannot read `{}`: {}", path.display(), super::context::sentence(source))]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("cannot send `{}`: its name or link target is not UTF-8", path.display())]
    NotUtf8 { path: PathBuf },
    #[error("the Engine went away")]
    Stopped,
}

/// Visits every entry below `root` that passes `filter`; a directory comes before what it holds. The root itself is not
/// visited. `visit` ends the walk with an error of its own.
///
/// # Errors
/// The root, or something in it that passes the filter, cannot be read. A directory below the root that must not be
/// listed is visited as [`Kind::Unlistable`].
pub(super) fn walk(
    root: &Path,
    filter: &Filter,
    visit: &mut dyn FnMut(&Entry) -> Result<(), WalkError>,
) -> Result<(), WalkError> {
    let root_length = root.join("x").as_os_str().len() - 1;
    let mut walk = Walk { filter, visit, root_length, waiting: Vec::new() };
    let root = Level {
        directory: root.to_owned(),
        path: String::new(),
        names: names_in(root)?.into_iter(),
        included: Inherited::default(),
        excluded: Inherited::default(),
    };
    // Not by recursion: git keeps folders inside each other deeper than a thread's stack is.
    let mut levels = vec![root];
    while let Some(level) = levels.last_mut() {
        let Some(name) = level.names.next() else {
            walk.waiting.pop_if(|waiting| waiting.path == level.path);
            levels.pop();
            continue;
        };
        let inside = walk.step(level, &name)?;
        levels.extend(inside);
    }
    Ok(())
}

/// A directory that is being walked.
struct Level {
    directory: PathBuf,
    path: String,
    names: std::vec::IntoIter<OsString>,
    included: Inherited,
    excluded: Inherited,
}

struct Walk<'a> {
    filter: &'a Filter,
    visit: &'a mut dyn FnMut(&Entry) -> Result<(), WalkError>,
    root_length: usize,
    /// Directories that do not pass the filter, but are visited as soon as something inside does.
    waiting: Vec<Entry>,
}

impl Walk<'_> {
    /// The directory that `name` is, where it is to be walked.
    fn step(&mut self, above: &Level, name: &OsString) -> Result<Option<Level>, WalkError> {
        let on_disk = above.directory.join(name);
        let name = name.to_string_lossy();
        let path = if above.path.is_empty() { name.into_owned() } else { format!("{}/{name}", above.path) };
        let Some(mut entry) = entry(path, on_disk, self.root_length)? else { return Ok(None) };
        let is_directory = entry.kind == Kind::Directory;

        let (is_included, included) = match &self.filter.include {
            Some(patterns) => patterns.matches_below(&entry.path, &above.included),
            None => (true, Inherited::default()),
        };
        if !is_included
            && (!is_directory || !self.filter.include.as_ref().is_some_and(|p| p.may_match_below(&entry.path)))
        {
            return Ok(None);
        }
        let (is_excluded, excluded) = self.filter.exclude.matches_below(&entry.path, &above.excluded);
        if is_excluded && (!is_directory || !self.filter.exclude.may_reinclude_below(&entry.path)) {
            return Ok(None);
        }

        let passes = is_included && !is_excluded;
        let names = match is_directory.then(|| names_in(&entry.on_disk)).transpose() {
            Err(WalkError::Unreadable { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {
                entry.kind = Kind::Unlistable;
                None
            }
            names => names?,
        };
        let (path, directory) = (entry.path.clone(), entry.on_disk.clone());
        if passes || entry.kind == Kind::Unlistable {
            for parent in self.waiting.drain(..) {
                (self.visit)(&parent)?;
            }
            (self.visit)(&entry)?;
        } else {
            self.waiting.push(entry);
        }
        Ok(names.map(|names| Level { directory, path, names: names.into_iter(), included, excluded }))
    }
}

/// Sorted by byte. A directory in which names can be listed and not looked up is as good as unlistable.
fn names_in(directory: &Path) -> Result<Vec<OsString>, WalkError> {
    let unreadable = |source| WalkError::Unreadable { path: directory.to_owned(), source };
    let names = fs::read_dir(directory).map_err(unreadable)?.map(|found| Ok(found?.file_name()));
    let mut names = names.collect::<io::Result<Vec<_>>>().map_err(unreadable)?;
    if let Some(first) = names.first() {
        match fs::symlink_metadata(directory.join(first)) {
            Err(denied) if denied.kind() == io::ErrorKind::PermissionDenied => return Err(unreadable(denied)),
            _ => {}
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// `None` for what vanished since the directory was listed, and for what is no file, directory or link.
fn entry(path: String, on_disk: PathBuf, root_length: usize) -> Result<Option<Entry>, WalkError> {
    let unreadable = |source: io::Error| WalkError::Unreadable { path: on_disk.clone(), source };
    let metadata = match fs::symlink_metadata(&on_disk) {
        Err(gone) if gone.kind() == io::ErrorKind::NotFound => return Ok(None),
        found => found.map_err(unreadable)?,
    };
    let kind = if metadata.is_dir() {
        Kind::Directory
    } else if metadata.is_symlink() {
        Kind::Symlink { target: fs::read_link(&on_disk).map_err(unreadable)? }
    } else if metadata.is_file() {
        Kind::File
    } else {
        return Ok(None);
    };
    Ok(Some(Entry { path, on_disk, root_length, metadata, kind }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_inside_each_other_are_walked_however_deep() {
        let root = tempfile::tempdir().unwrap();
        // Below the longest path that a system call takes.
        let deepest = (0..900).fold(root.path().to_owned(), |path, _| path.join("d"));
        fs::create_dir_all(&deepest).unwrap();
        let path = root.path().to_owned();
        let mut seen = 0;
        // A small stack.
        let walked = std::thread::Builder::new().stack_size(128 * 1024).spawn(move || {
            walk(&path, &Filter::default(), &mut |_| {
                seen += 1;
                Ok(())
            })
            .map(|()| seen)
            .map_err(|error| error.to_string())
        });
        assert_eq!(walked.unwrap().join().unwrap(), Ok(900));
    }

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            if file.ends_with('/') {
                fs::create_dir_all(path).unwrap();
            } else {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, file).unwrap();
            }
        }
        root
    }

    fn visited(root: &Path, include: Option<&[&str]>, exclude: &[&str]) -> Vec<String> {
        let filter = Filter {
            include: include.map(|patterns| Patterns::new(patterns).unwrap()),
            exclude: Patterns::new(exclude).unwrap(),
        };
        let mut seen = Vec::new();
        walk(root, &filter, &mut |entry| {
            seen.push(entry.path.clone());
            Ok(())
        })
        .unwrap();
        seen
    }

    #[test]
    fn a_directory_comes_before_its_content_and_both_before_the_longer_name() {
        let root = tree(&["a/b", "a.txt", "a-b", "empty/"]);
        assert_eq!(visited(root.path(), None, &[]), ["a", "a/b", "a-b", "a.txt", "empty"]);
    }

    #[test]
    fn only_the_way_to_an_included_file_is_visited() {
        let root = tree(&["src/deep/main.rs", "src/deep/other.rs", "src/wide/x", "node_modules/a/b", "top"]);
        assert_eq!(visited(root.path(), Some(&["src/deep/main.rs"]), &[]), ["src", "src/deep", "src/deep/main.rs"]);
        assert_eq!(visited(root.path(), Some(&["src/*/x"]), &[]), ["src", "src/wide", "src/wide/x"]);
        assert_eq!(visited(root.path(), Some(&["src/wide"]), &[]), ["src", "src/wide", "src/wide/x"]);
    }

    #[test]
    fn an_exception_brings_its_excluded_parents_along() {
        let root = tree(&["docs/keep/this", "docs/keep/that", "docs/gone", "other"]);
        assert_eq!(
            visited(root.path(), None, &["docs", "!docs/keep/this"]),
            ["docs", "docs/keep", "docs/keep/this", "other"]
        );
        assert_eq!(visited(root.path(), None, &["*", "!other"]), ["other"]);
    }

    #[test]
    fn a_link_is_a_link_even_when_it_leads_nowhere() {
        let root = tree(&["real"]);
        std::os::unix::fs::symlink("/nowhere", root.path().join("link")).unwrap();
        let mut kinds = Vec::new();
        walk(root.path(), &Filter::default(), &mut |entry| {
            kinds.push(entry.kind.clone());
            Ok(())
        })
        .unwrap();
        assert_eq!(kinds, [Kind::Symlink { target: "/nowhere".into() }, Kind::File]);
    }
}
