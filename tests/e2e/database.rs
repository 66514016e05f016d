//! Migrations of a real PostgreSQL: one at a time, each once, whatever gets lost on the way.

use crate::bad_days::sometimes;
use crate::postgres::Database;
use crate::scene::{Scene, Setting, definition};
use aws_stage::faults::{FaultAction, FaultPlan};
use serde_json::json;
use std::path::Path;
use std::process::Command;
use test_support::Behaviour;

fn migration(release: &str) -> String {
    format!(
        "echo migrating {release}\n\
         psql -X -q -v ON_ERROR_STOP=1 \"$DATABASE_URL\" -c \"INSERT INTO migration (release) VALUES ('{release}')\" \
         -c 'SELECT pg_sleep(2)' -c \"UPDATE migration SET ended = clock_timestamp() WHERE release = '{release}' AND ended IS NULL\"\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn two_releases_at_once_migrate_one_after_the_other_and_each_once() {
    let database = Database::create();
    database
        .ask("CREATE TABLE migration (release text, began timestamptz DEFAULT clock_timestamp(), ended timestamptz)");
    let mut definition = definition();
    definition["containerDefinitions"][0]["environment"] = json!([{"name": "DATABASE_URL", "value": database.url()}]);
    let scene = Scene::open_with(Setting { definition, ..Setting::default() }, |app| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/stand-in-context");
        assert!(Command::new(script).arg(app.path()).status().unwrap().success());
        app.write("Dockerfile", "FROM scratch\nCOPY stand-in /\nCOPY app /app\nCMD [\"/bin/sh\", \"/app/serve\"]\n");
        app.write("app/migrate", &migration("r0"));
    })
    .await;
    scene.stage.set_faults(sometimes(0.15, 3, FaultAction::DropAfterEffect));

    scene.commit("r1", Behaviour::Serves);
    scene.app.write("app/migrate", &migration("r1"));
    let first = scene.start(&[]);
    first.says("migrating r1").await;
    scene.commit("r2", Behaviour::Serves);
    scene.app.write("app/migrate", &migration("r2"));
    let second = scene.deploy(&[]).await;
    let first = first.ended().await;
    scene.stage.set_faults(FaultPlan::default());

    first.succeeded("deployed");
    second.succeeded("deployed");
    assert!(second.log.contains("waiting for"), "{}", second.log);
    assert_eq!(database.ask("SELECT string_agg(release, ' ' ORDER BY began) FROM migration"), "r0 r1 r2");
    let overlaps = "SELECT count(*) FROM migration a, migration b \
         WHERE a.release < b.release AND (a.ended IS NULL OR a.ended > b.began)";
    assert_eq!(database.ask(overlaps), "0");
    scene.serves("r2", second.digest()).await;
    scene.close().await;
}
