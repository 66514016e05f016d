//! The git checkout that a rehearsal runs in: which of its commits was rehearsed well, and the files of one.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// So many good rehearsals are remembered.
const REMEMBERED: usize = 200;

/// A folder under git.
#[derive(Debug)]
pub struct Checkout {
    root: PathBuf,
    /// Where its good rehearsals are noted: beside git's own files, which no commit holds.
    notes: PathBuf,
}

impl Checkout {
    /// `None` where there is no git, or no commit yet.
    pub fn of(folder: &Path) -> Option<Self> {
        let text = |arguments: &[&str]| git(folder, arguments).ok().filter(|text| !text.is_empty());
        text(&["rev-parse", "--verify", "--quiet", "HEAD"])?;
        let root = PathBuf::from(text(&["rev-parse", "--show-toplevel"])?).canonicalize().ok()?;
        let own = folder.join(text(&["rev-parse", "--git-common-dir"])?);
        Some(Self { root, notes: own.join("fargate-deploy").join("rehearsed") })
    }

    /// The commit that a name stands for.
    pub fn commit(&self, name: &str) -> Result<String, String> {
        git(&self.root, &["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("{name}^{{commit}}")])
    }

    /// The newest commit of this history whose rehearsal of this config was good.
    pub fn last_good(&self, config: &Path, environment: Option<&str>) -> Option<String> {
        let of = self.subject(config, environment)?;
        let notes = std::fs::read_to_string(&self.notes).ok()?;
        let good: Vec<_> = notes.lines().filter_map(|line| line.split_once(' ')).collect();
        let history = git(&self.root, &["rev-list", "--max-count=1000", "HEAD"]).ok()?;
        let is_good = |commit: &&str| good.iter().any(|(sha, subject)| sha == commit && *subject == of);
        history.lines().find(is_good).map(str::to_owned)
    }

    /// Notes that the rehearsal of what is checked out was good. Of files that no commit holds nothing is noted.
    pub fn note_good(&self, config: &Path, environment: Option<&str>) {
        let is_committed =
            git(&self.root, &["status", "--porcelain", "--untracked-files=no"]).is_ok_and(|s| s.is_empty());
        let (Some(of), Ok(sha), true) = (self.subject(config, environment), self.commit("HEAD"), is_committed) else {
            return;
        };
        let line = format!("{sha} {of}");
        let before = std::fs::read_to_string(&self.notes).unwrap_or_default();
        let others: Vec<_> = before.lines().filter(|known| *known != line).collect();
        let kept = others.iter().skip(others.len().saturating_sub(REMEMBERED)).copied();
        let text: String = kept.chain([line.as_str()]).map(|line| format!("{line}\n")).collect();
        // Only the next rehearsal's choice depends on it.
        let _ = self.notes.parent().map(std::fs::create_dir_all);
        let _ = std::fs::File::create(&self.notes).and_then(|mut file| file.write_all(text.as_bytes()));
    }

    /// Writes the files of a commit into an empty folder.
    pub fn unpack(&self, sha: &str, into: &Path) -> Result<(), String> {
        std::fs::create_dir_all(into).map_err(|e| e.to_string())?;
        let index = into.with_extension("index");
        let run = |arguments: &[&OsStr]| {
            let mut command = Command::new("git");
            command.arg("-C").arg(&self.root).args(arguments).env("GIT_INDEX_FILE", &index);
            output(&mut command)
        };
        run(&["read-tree".as_ref(), sha.as_ref()])?;
        let prefix = format!("--prefix={}/", into.display());
        let unpacked = run(&["checkout-index".as_ref(), "--all".as_ref(), prefix.as_ref()]);
        let _ = std::fs::remove_file(&index);
        unpacked.map(drop)
    }

    /// A file of the checkout, from its root.
    pub fn within(&self, file: &Path) -> Option<PathBuf> {
        file.canonicalize().ok()?.strip_prefix(&self.root).ok().map(Path::to_owned)
    }

    fn subject(&self, config: &Path, environment: Option<&str>) -> Option<String> {
        Some(format!("{}#{}", self.within(config)?.display(), environment.unwrap_or_default()))
    }
}

fn git(folder: &Path, arguments: &[&str]) -> Result<String, String> {
    output(Command::new("git").arg("-C").arg(folder).args(arguments))
}

/// What it prints, trimmed, or the first thing that it says of why it failed.
fn output(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|e| format!("`git`: {e}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    Err(text(&output.stderr).lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(folder: &Path, text: &str) -> String {
        std::fs::write(folder.join("fargate-deploy.yml"), text).unwrap();
        for arguments in [
            &["add", "."][..],
            &["-c", "user.name=a", "-c", "user.email=a@b.test", "commit", "--quiet", "--message", "x"],
        ] {
            git(folder, arguments).unwrap();
        }
        git(folder, &["rev-parse", "HEAD"]).unwrap()
    }

    #[test]
    fn the_last_good_commit_is_the_newest_of_this_history_that_was_rehearsed_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        assert!(Checkout::of(path).is_none(), "no git yet");
        git(path, &["init", "--quiet", "--initial-branch=main"]).unwrap();
        assert!(Checkout::of(path).is_none(), "no commit yet");
        let config = path.join("fargate-deploy.yml");
        let first = commit(path, "one");
        let checkout = Checkout::of(path).unwrap();
        let last = |environment| checkout.last_good(&config, environment);
        assert_eq!(last(None), None);
        checkout.note_good(&config, None);
        checkout.note_good(&config, None);
        assert_eq!(last(None).as_deref(), Some(first.as_str()));
        assert_eq!(last(Some("production")), None, "another environment was not rehearsed");

        std::fs::write(&config, "two, and in no commit").unwrap();
        checkout.note_good(&config, Some("production"));
        assert_eq!(last(Some("production")), None);
        commit(path, "two");
        assert_eq!(last(None).as_deref(), Some(first.as_str()));
        let third = commit(path, "three");
        checkout.note_good(&config, None);
        assert_eq!(last(None).as_deref(), Some(third.as_str()));
        git(path, &["checkout", "--quiet", "-b", "other", &first]).unwrap();
        assert_eq!(last(None).as_deref(), Some(first.as_str()), "the third is in no history of this branch");
    }

    #[test]
    fn the_files_of_a_commit_are_there_and_the_checkout_stays_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        git(path, &["init", "--quiet"]).unwrap();
        std::fs::create_dir(path.join("deep")).unwrap();
        std::fs::write(path.join("deep/file"), "first").unwrap();
        commit(path, "one");
        std::fs::write(path.join("deep/file"), "changed, in no commit").unwrap();
        let checkout = Checkout::of(path).unwrap();
        let sha = checkout.commit("HEAD").unwrap();
        let into = tempfile::tempdir().unwrap();
        checkout.unpack(&sha, &into.path().join("commit")).unwrap();
        assert_eq!(std::fs::read_to_string(into.path().join("commit/deep/file")).unwrap(), "first");
        assert_eq!(std::fs::read_dir(into.path()).unwrap().count(), 1, "the index is removed");
        assert_eq!(git(path, &["status", "--porcelain"]).unwrap(), "M deep/file");
        assert!(checkout.commit("no-such-branch").is_err());
        assert!(checkout.commit("--help").is_err());
    }
}
