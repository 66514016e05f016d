//! Where the rounds are run: the stage with its service, the database, a checkout for each commit, and who looks at the
//! containers.

use crate::postgres::Database;
use crate::scene::{CONFIG, Scene, Setting, definition};
use aws_stage::LABEL;
use bollard::Docker;
use bollard::query_parameters::ListContainersOptionsBuilder;
use serde_json::json;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use test_support::Behaviour;

pub struct Cluster {
    pub scene: Scene,
    pub database: Database,
    checkouts: tempfile::TempDir,
}

/// Two rows that have not ended cannot be: the second INSERT fails, and says so in a table of its own.
const TABLES: &str = "CREATE TABLE migration (release text, began timestamptz DEFAULT clock_timestamp(), ended timestamptz); \
     CREATE UNIQUE INDEX one_at_a_time ON migration ((true)) WHERE ended IS NULL; \
     CREATE TABLE overlap (release text)";

fn migration(release: &str, seconds: f64) -> String {
    format!(
        "echo migrating {release}\n\
         sql() {{ psql -X -q -v ON_ERROR_STOP=1 \"$DATABASE_URL\" -c \"$1\"; }}\n\
         sql \"INSERT INTO migration (release) VALUES ('{release}')\" || {{ sql \"INSERT INTO overlap VALUES ('{release}')\"; exit 1; }}\n\
         sleep {seconds}\n\
         sql \"UPDATE migration SET ended = clock_timestamp() WHERE ended IS NULL\"\n"
    )
}

impl Cluster {
    pub async fn open() -> Self {
        let database = Database::create();
        database.ask(TABLES);
        let mut definition = definition();
        let url = json!([{"name": "DATABASE_URL", "value": database.url()}]);
        definition["containerDefinitions"][0]["environment"] = url;
        let setting = Setting { definition, desired: 1, config: CONFIG.to_owned(), ..Setting::default() };
        let scene = Scene::open_with(setting, |app| {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/stand-in-context");
            assert!(Command::new(script).arg(app.path()).status().unwrap().success());
            app.write(
                "Dockerfile",
                "FROM scratch\nCOPY stand-in /\nCOPY app /app\nCMD [\"/bin/sh\", \"/app/serve\"]\n",
            );
            app.write("app/migrate", &migration("r0", 0.1));
        })
        .await;
        Self { scene, database, checkouts: tempfile::tempdir().unwrap() }
    }

    /// A checkout of the commit whose application answers with `name`, and whose migration takes that long.
    pub fn checkout(&self, name: &str, seconds: f64) -> PathBuf {
        let directory = self.checkouts.path().join(name);
        self.scene.app.release(name, Behaviour::Serves);
        self.scene.app.write("app/migrate", &migration(name, seconds));
        let copy = Command::new("cp").arg("-r").arg(self.scene.app.path()).arg(&directory).status().unwrap();
        assert!(copy.success());
        directory
    }

    /// Containers of this stage that run, and what they run.
    pub async fn containers(&self, engine: &Docker) -> Vec<String> {
        let filters = HashMap::from([("label", vec![format!("{LABEL}={}", self.scene.stage.id())])]);
        let running = ListContainersOptionsBuilder::default().filters(&filters).build();
        let found = engine.list_containers(Some(running)).await.unwrap();
        found.into_iter().filter_map(|container| container.command).collect()
    }

    /// Looks until it is dropped; panics at the sight of two migrations.
    pub async fn never_two_migrations(&self) {
        let engine = Docker::connect_with_defaults().unwrap();
        loop {
            let running = self.containers(&engine).await;
            let migrations = running.iter().filter(|command| command.contains("/app/migrate")).count();
            assert!(migrations <= 1, "{migrations} migrations at once: {running:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn close(self) {
        assert_eq!(self.database.ask("SELECT count(*) FROM overlap"), "0");
        let overlaps = "SELECT count(*) FROM migration a, migration b \
             WHERE a.ctid <> b.ctid AND a.began < b.began AND (a.ended IS NULL OR a.ended > b.began)";
        assert_eq!(self.database.ask(overlaps), "0");
        self.scene.close().await;
    }
}
