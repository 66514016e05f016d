//! Files that a config names, read within a limit: a wrong path must not fill the memory, nor wait for a device.

use fargate_deploy_engine::is_of_kernel;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// Why a file was not read.
#[derive(Debug)]
pub enum Unread {
    Missing,
    NotAFile,
    TooLarge {
        /// In bytes.
        most: u64,
    },
    NotText,
    Failed(io::Error),
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MIB: u64 = 1024 * 1024;
        match self {
            Self::Missing => f.write_str("there is no such file"),
            Self::NotAFile => f.write_str("it is not a file"),
            Self::TooLarge { most } if *most >= MIB => write!(f, "it is larger than {} MiB", most / MIB),
            Self::TooLarge { most } => write!(f, "it is larger than {most} bytes"),
            Self::NotText => f.write_str("it is not UTF-8 text"),
            Self::Failed(why) => write!(f, "cannot be read: {why}"),
        }
    }
}

impl std::error::Error for Unread {}

/// The bytes of a regular file of at most `most` bytes. Where the kernel shows processes and devices (`/proc`, `/sys`,
/// `/dev`) there are none: the environment of this very process is in there.
///
/// # Errors
/// Why it was not read; nothing of what it holds is in it.
pub fn read_file(path: &Path, most: u64) -> Result<Vec<u8>, Unread> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Unread::Missing,
        _ => Unread::Failed(error),
    };
    // Asked before it is opened: opening a pipe waits for whoever writes to it.
    let found = std::fs::metadata(path).map_err(failed)?;
    let real = path.canonicalize().map_err(failed)?;
    if !found.is_file() || is_of_kernel(&real) {
        return Err(Unread::NotAFile);
    }
    if found.len() > most {
        return Err(Unread::TooLarge { most });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(found.len()).unwrap_or_default());
    // It may have grown since.
    File::open(path).map_err(failed)?.take(most + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > most { Err(Unread::TooLarge { most }) } else { Ok(bytes) }
}

/// The same as text.
///
/// # Errors
/// Why it was not read.
pub fn read_text(path: &Path, most: u64) -> Result<String, Unread> {
    String::from_utf8(read_file(path, most)?).map_err(|_| Unread::NotText)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_within_its_limit_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "12345678").unwrap();
        assert_eq!(read_text(&path, 8).unwrap(), "12345678");
        assert_eq!(read_text(&path, 7).unwrap_err().to_string(), "it is larger than 7 bytes");
        assert!(matches!(read_file(folder.path(), 8), Err(Unread::NotAFile)));
        assert!(matches!(read_file(&folder.path().join("b"), 8), Err(Unread::Missing)));
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert_eq!(read_text(&path, 8).unwrap_err().to_string(), "it is not UTF-8 text");
    }

    #[test]
    fn what_the_kernel_shows_of_this_process_is_no_file_by_any_name() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/proc/self/environ", &link).unwrap();
        for path in [Path::new("/proc/self/environ"), Path::new("/dev/zero"), &link] {
            assert!(matches!(read_file(path, 1024), Err(Unread::NotAFile)), "{}", path.display());
        }
    }
}
