//! The paths that a Dockerfile copies, with every symbolic link on the way resolved inside the context: the include list
//! of a FileSync request.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use super::ignore::{Patterns, clean};

/// Include patterns for `paths`; `None` if one of them is the whole context. A link's target is always taken from the
/// context's root, so nothing outside it can be reached.
pub(super) fn followed(root: &Path, paths: &[String]) -> io::Result<Option<Vec<String>>> {
    let mut found = Followed { root, reached: BTreeSet::new() };
    for path in paths {
        found.follow(path)?;
    }
    Ok((!found.reached.contains(".")).then(|| found.reached.into_iter().collect()))
}

struct Followed<'a> {
    root: &'a Path,
    reached: BTreeSet<String>,
}

impl Followed<'_> {
    fn follow(&mut self, path: &str) -> io::Result<()> {
        let path = clean(&format!("/{path}"));
        let mut parts = path.trim_start_matches('/').split('/');
        let mut current = ".".to_owned();
        while let Some(part) = parts.next() {
            current = clean(&format!("{current}/{part}"));
            let rest = parts.clone().collect::<Vec<_>>().join("/");
            let targets = self.links_at(&current)?;
            if targets.is_empty() && !rest.is_empty() {
                continue;
            }
            if self.reached.insert(current.clone()) {
                for target in targets {
                    self.follow(&format!("{target}/{rest}"))?;
                }
            }
            return Ok(());
        }
        Ok(())
    }

    /// Where the links named `path` lead; its last part may have wildcards.
    fn links_at(&self, path: &str) -> io::Result<Vec<String>> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        if !name.contains(['*', '?', '[']) {
            return Ok(self.link(path)?.into_iter().collect());
        }
        let Ok(pattern) = Patterns::new([name]) else { return Ok(Vec::new()) };
        let listed = match fs::read_dir(self.root.join(parent)) {
            Err(error) if is_absent(&error) => return Ok(Vec::new()),
            listed => listed?,
        };
        let mut targets = Vec::new();
        for entry in listed {
            let Ok(name) = entry?.file_name().into_string() else { continue };
            if pattern.matches(&name) {
                targets.extend(self.link(&clean(format!("{parent}/{name}").trim_start_matches('/')))?);
            }
        }
        Ok(targets)
    }

    fn link(&self, path: &str) -> io::Result<Option<String>> {
        let target = match fs::read_link(self.root.join(path)) {
            // EINVAL: there is something, and it is no link.
            Err(error) if is_absent(&error) || error.kind() == io::ErrorKind::InvalidInput => return Ok(None),
            target => target?,
        };
        let Some(target) = target.to_str() else { return Ok(None) };
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let absolute = if target.starts_with('/') { target.to_owned() } else { format!("/{parent}/{target}") };
        Ok(Some(clean(&absolute)))
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn root() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("real/deep")).unwrap();
        fs::write(root.path().join("real/deep/file"), "").unwrap();
        fs::write(root.path().join("plain"), "").unwrap();
        symlink("real", root.path().join("dirlink")).unwrap();
        symlink("../../plain", root.path().join("real/deep/up")).unwrap();
        symlink("/etc/passwd", root.path().join("absolute")).unwrap();
        symlink("../../../../outside", root.path().join("escape")).unwrap();
        symlink("b", root.path().join("a")).unwrap();
        symlink("a", root.path().join("b")).unwrap();
        root
    }

    fn reached(paths: &[&str]) -> Option<Vec<String>> {
        let paths: Vec<_> = paths.iter().map(|path| (*path).to_owned()).collect();
        followed(root().path(), &paths).unwrap()
    }

    #[test]
    fn links_bring_their_targets_and_stay_links_themselves() {
        assert_eq!(reached(&["plain"]).unwrap(), ["plain"]);
        assert_eq!(reached(&["dirlink/deep/file"]).unwrap(), ["dirlink", "real/deep/file"]);
        assert_eq!(reached(&["real/deep/up"]).unwrap(), ["plain", "real/deep/up"]);
        assert_eq!(reached(&["real/deep/u*"]).unwrap(), ["plain", "real/deep/u*"]);
        assert_eq!(reached(&["missing/x"]).unwrap(), ["missing/x"]);
    }

    #[test]
    fn a_target_is_taken_from_the_root_of_the_context_and_never_from_above_it() {
        assert_eq!(reached(&["absolute"]).unwrap(), ["absolute", "etc/passwd"]);
        assert_eq!(reached(&["escape"]).unwrap(), ["escape", "outside"]);
        assert_eq!(reached(&["../../x"]).unwrap(), ["x"]);
    }

    #[test]
    fn links_in_a_circle_end() {
        assert_eq!(reached(&["a"]).unwrap(), ["a", "b"]);
    }

    #[test]
    fn the_whole_context_needs_no_list() {
        assert_eq!(reached(&["plain", "."]), None);
        assert_eq!(reached(&["/"]), None);
    }
}
