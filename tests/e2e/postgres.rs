//! The real PostgreSQL of `scripts/setup`.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A database of this test's own, in the private cluster of `scripts/setup`.
pub struct Database {
    cluster: Vec<(String, String)>,
    name: String,
}

impl Database {
    pub fn create() -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/postgres/env");
        let text = std::fs::read_to_string(&file).expect("the private PostgreSQL is missing: run scripts/setup");
        let pairs = text.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
        let cluster = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let database =
            Self { cluster, name: format!("e2e_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst)) };
        database.sql("postgres", &format!("CREATE DATABASE {}", database.name));
        database
    }

    fn setting(&self, name: &str) -> &str {
        &self.cluster.iter().find(|(known, _)| known == name).unwrap().1
    }

    /// As tasks reach it.
    pub fn url(&self) -> String {
        let (user, password, port) = (self.setting("PGUSER"), self.setting("PGPASSWORD"), self.setting("PGPORT"));
        format!("postgres://{user}:{password}@host.docker.internal:{port}/{}", self.name)
    }

    fn sql(&self, database: &str, statement: &str) -> String {
        let mut psql = Command::new(self.setting("PSQL"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", statement]);
        let output = psql.envs(self.cluster.iter().cloned()).output().unwrap();
        assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    pub fn ask(&self, statement: &str) -> String {
        self.sql(&self.name, statement)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let mut psql = Command::new(self.setting("PSQL"));
        let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let _ = psql.args(["-X", "-q", "-d", "postgres", "-c", &statement]).envs(self.cluster.iter().cloned()).status();
    }
}
