//! Files in which the run's own credentials are: a build has no use for them, and whoever can edit the config could have
//! them copied into an image.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

/// In a home folder: of AWS, of registries, of GitHub, git and SSH, of other clouds and clusters.
const OF_HOME: [&str; 13] = [
    ".aws",
    ".docker",
    ".config/containers",
    ".netrc",
    "_netrc",
    ".git-credentials",
    ".gitconfig",
    ".config/git",
    ".config/gh",
    ".ssh",
    ".config/gcloud",
    ".azure",
    ".kube",
];

/// Variables that say where such a file or folder is.
const NAMED: [&str; 8] = [
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CONFIG_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "DOCKER_CONFIG",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "KUBECONFIG",
    "NETRC",
];

/// Where roles for pods put their tokens.
const OF_PODS: [&str; 4] = [
    "/var/run/secrets/eks.amazonaws.com",
    "/var/run/secrets/kubernetes.io",
    "/run/secrets/eks.amazonaws.com",
    "/run/secrets/kubernetes.io",
];

/// What a runner of GitHub keeps beside itself.
const OF_RUNNER: [&str; 3] = [".credentials", ".credentials_rsaparams", ".runner"];

/// Whether a file of the config holds credentials of the run, by its name or by what a link leads to.
pub(super) fn is_credential_file(written: &str, root: &Path, env: &BTreeMap<String, String>) -> bool {
    let home = env.get("HOME").filter(|home| !home.is_empty()).map(Path::new);
    let path = match written.strip_prefix("~/") {
        Some(rest) => home.unwrap_or_else(|| Path::new("/root")).join(rest),
        None => root.join(written),
    };
    let path = plain(&path);
    let real = path.canonicalize().ok();
    std::iter::once(&path).chain(&real).any(|path| is_one(path, home, env))
}

/// Whether a folder of the config is one of those, or a home with one of them in it.
pub(super) fn has_credential_files(written: &str, root: &Path, env: &BTreeMap<String, String>) -> bool {
    let path = root.join(written);
    let real = path.canonicalize().unwrap_or(path);
    let home = env.get("HOME").filter(|home| !home.is_empty()).map(Path::new);
    let is_around = home.is_some_and(|home| {
        home.canonicalize().is_ok_and(|home| home.starts_with(&real) && OF_HOME.iter().any(|of| home.join(of).exists()))
    });
    is_around || is_credential_file(written, root, env)
}

fn is_one(path: &Path, home: Option<&Path>, env: &BTreeMap<String, String>) -> bool {
    let is_in_a_home = homes(path, home).any(|within| OF_HOME.iter().any(|of| within.starts_with(of)));
    let is_named = NAMED.iter().filter_map(|name| env.get(*name)).filter(|value| !value.is_empty());
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    is_in_a_home
        || is_named.into_iter().any(|named| path.starts_with(named))
        || OF_PODS.iter().any(|folder| path.starts_with(folder))
        || OF_RUNNER.contains(&name)
        // A checkout leaves its token in the repository, or in the runner's temporary folder.
        || path.components().any(|part| part.as_os_str() == ".git")
        || (name.starts_with("git-credentials-") && name.ends_with(".config"))
}

/// The path within every folder that may be somebody's home.
fn homes<'a>(path: &'a Path, home: Option<&Path>) -> impl Iterator<Item = &'a Path> {
    let of_env = home.and_then(|home| path.strip_prefix(home).ok());
    let of_root = ["/root", "/github/home"].into_iter().filter_map(|home| path.strip_prefix(home).ok());
    let of_users = ["/home", "/Users"].into_iter().filter_map(|all| {
        let mut parts = path.strip_prefix(all).ok()?.components();
        parts.next();
        Some(parts.as_path())
    });
    of_env.into_iter().chain(of_root).chain(of_users)
}

/// Without `.` and `..`, whether it is there or not.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runs_own_credentials_are_known_by_every_name_and_other_files_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("home/.aws")).unwrap();
        std::fs::write(root.join("home/.aws/credentials"), "").unwrap();
        std::os::unix::fs::symlink(root.join("home/.aws/credentials"), root.join("npmrc")).unwrap();
        let home = root.join("home").display().to_string();
        let env = BTreeMap::from([
            ("HOME".to_owned(), home.clone()),
            ("AWS_WEB_IDENTITY_TOKEN_FILE".to_owned(), "/tmp/awscreds".to_owned()),
            ("DOCKER_CONFIG".to_owned(), "/tmp/docker".to_owned()),
        ]);
        let own = [
            "~/.aws/credentials",
            "~/.aws/config",
            "~/.aws/sso/cache/a.json",
            "~/.docker/config.json",
            "~/.netrc",
            "~/.git-credentials",
            "~/.ssh/id_ed25519",
            "home/.aws/credentials",
            "./home/../home/./.netrc",
            "npmrc",
            "/root/.aws/credentials",
            "/home/runner/.docker/config.json",
            "/github/home/.netrc",
            "/Users/ada/.git-credentials",
            "/tmp/awscreds",
            "/tmp/docker/config.json",
            "/var/run/secrets/eks.amazonaws.com/serviceaccount/token",
            "/home/runner/actions-runner/.credentials",
            "../../actions-runner/.credentials_rsaparams",
            ".git/config",
            "vendor/lib/.git/config",
            "/home/runner/work/_temp/git-credentials-0a1b.config",
        ];
        for written in own.into_iter().chain([format!("{home}/.aws/credentials").as_str()]) {
            assert!(is_credential_file(written, &root, &env), "{written}");
        }
        for folder in ["home", ".", "home/.aws", "home/..", ".git"] {
            assert!(has_credential_files(folder, &root, &env), "{folder}");
        }
        std::fs::create_dir_all(root.join("home/shop")).unwrap();
        assert!(!has_credential_files("home/shop", &root, &env));
        for written in [
            ".npmrc",
            ".netrc",
            "~/.npmrc",
            "~/.cargo/credentials.toml",
            "secrets/aws",
            ".aws/task-definition.json",
            "/home/runner/work/shop/shop/.netrc",
            "/home/runner/work/_temp/npmrc",
            "/run/secrets/npmrc",
        ] {
            assert!(!is_credential_file(written, &root, &env), "{written}");
        }
    }
}
