//! A small application whose behaviour is chosen by its files.

use serde_json::Value;
use std::path::{Path, PathBuf};

/// The application: FROM scratch, busybox, a script that serves, one that migrates.
pub struct App {
    pub directory: tempfile::TempDir,
}

/// How the application behaves once it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    Serves,
    Crashes,
}

impl App {
    /// `config` is the text of `fargate-deploy.yml`, `definition` that of `task-definition.json`.
    pub fn new(config: &str, definition: &Value) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let app = Self { directory };
        app.write("fargate-deploy.yml", config);
        app.write("task-definition.json", &serde_json::to_string_pretty(definition).unwrap());
        app.write(".dockerignore", "fargate-deploy.yml\ntask-definition.json\n");
        app.write(
            "Dockerfile",
            "FROM scratch\nCOPY busybox /bin/sh\nCOPY app /app\nCMD [\"/bin/sh\", \"/app/serve\"]\n",
        );
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|p| Path::new(p).exists());
        let busybox = busybox.expect("busybox-static is missing: run scripts/setup");
        std::fs::copy(busybox, app.path().join("busybox")).unwrap();
        app.write("app/www/health", "ok\n");
        app.migrates(0);
        app.release("r0", Behaviour::Serves);
        app
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The next release of the application.
    pub fn release(&self, name: &str, behaviour: Behaviour) {
        self.write("app/www/index.html", &format!("{name}\n"));
        let serve = match behaviour {
            Behaviour::Serves => {
                "trap 'exit 0' TERM\nhttpd -p 3000 -h /app/www\nwhile :; do sleep 0.2; done\n".to_owned()
            }
            Behaviour::Crashes => format!("echo 'KeyError: STRIPE_KEY ({name})' >&2\nexit 1\n"),
        };
        self.write("app/serve", &serve);
    }

    /// The release command ends with this code.
    pub fn migrates(&self, code: i32) {
        self.write(
            "app/migrate",
            &format!("echo migrating >&2\n[ {code} = 0 ] || echo 'ERROR: relation does not exist' >&2\nexit {code}\n"),
        );
    }
}
