//! A task definition that lies in git.

use crate::config::{Unread, read_file};
use fargate_deploy_core::outcome::{Failure, Reason};
use fargate_deploy_core::task_definition::TaskDefinition;
use fargate_deploy_core::task_definition::read::LARGEST;
use std::path::Path;

/// # Errors
/// `config`: it cannot be read, or is no task definition.
pub async fn read_definition(path: &Path) -> Result<TaskDefinition, Failure> {
    let failure = |why: String| Failure::new(Reason::Config, format!("task definition `{}`: {why}", path.display()));
    definition_in(path).await.map_err(failure)
}

/// The same with the bare reason. Of a file that is too large to be one, no more is read than tells so.
///
/// # Errors
/// Why there is none.
pub async fn definition_in(path: &Path) -> Result<TaskDefinition, String> {
    if tokio::fs::metadata(path).await.map_err(|e| e.to_string())?.is_dir() {
        return Err("it is a folder".to_owned());
    }
    let bytes = read_file(path, LARGEST).map_err(|unread| match unread {
        Unread::Failed(why) => why.to_string(),
        Unread::TooLarge { most } => {
            format!("it has more than {} KiB: AWS takes a task definition of 64 KiB", most / 1024)
        }
        other => other.to_string(),
    })?;
    TaskDefinition::from_bytes(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn why(path: &Path) -> String {
        read_definition(path).await.unwrap_err().what
    }

    #[tokio::test]
    async fn a_file_that_is_no_task_definition_is_told_by_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        assert!(why(folder.path()).await.ends_with("it is a folder"));
        assert!(why(&file("missing.json")).await.contains("No such file"));
        for of_kernel in ["/dev/zero", "/proc/self/environ"] {
            assert!(why(Path::new(of_kernel)).await.ends_with("it is not a file"), "{of_kernel}");
        }
        std::fs::write(file("utf16.json"), b"\xff\xfe{\0}\0").unwrap();
        assert!(why(&file("utf16.json")).await.ends_with("it is UTF-16: save it as UTF-8"));
        // Sparse: it takes no room, and reading it whole would.
        std::fs::File::create(file("large.json")).unwrap().set_len(8 << 30).unwrap();
        let large = why(&file("large.json")).await;
        assert!(large.contains("large.json`: it has more than 1024 KiB"), "{large}");
    }

    #[tokio::test]
    async fn a_byte_order_mark_is_no_hindrance() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.json");
        std::fs::write(&path, "\u{feff}{\"family\": \"web\", \"containerDefinitions\": []}").unwrap();
        assert_eq!(read_definition(&path).await.unwrap().family(), "web");
    }
}
