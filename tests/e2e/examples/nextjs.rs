//! 000: a Next.js application and its worker from one image.

use super::stand_in::StandIn;
use super::{Example, digest, of_service};
use serde_json::json;
use test_support::eventually;

const APP: StandIn = StandIn {
    context: ".",
    routes: "/api/health text {\"status\":\"ok\"}\n\
        /api/status query SELECT json_build_object('release', :'release'::text, 'documents', count(*), 'ingested', count(ingested_at)) FROM document;\n",
    work: "UPDATE document SET ingested_at = now(), ingested_by = :'release' \
        WHERE id = (SELECT id FROM document WHERE ingested_at IS NULL ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED);\n",
    backfill: "",
    migrations: &[],
};

#[tokio::test(flavor = "multi_thread")]
async fn nextjs_and_its_worker_move_together_after_the_migration() {
    let example = Example::open("000-nextjs", "papa-dev", Some("dev"), &[APP]).await;
    example.answers_as("WEB", "/api/status", "r1: documents").await;
    assert_eq!(example.database.ask("SELECT count(*) FROM document"), "0");

    // A release with a migration: the worker's new code does what the pages show.
    example.write("RELEASE", "r2: titles\n");
    example.write("migrations/0002_add_title.sql", "ALTER TABLE document ADD COLUMN title text;\n");
    let good = example.deploy().await;
    good.succeeded("deployed");
    example.answers_as("WEB", "/api/status", "r2: titles").await;
    example.runs("papa-web", "app", digest(&good, "app")).await;
    example.runs("papa-worker", "app", digest(&good, "app")).await;
    example.lives("papa-web", 2, 1).await;
    assert_eq!(
        example.database.ask("SELECT string_agg(version, ' ' ORDER BY version) FROM schema_migrations"),
        "0001_create_document 0002_add_title"
    );
    example.database.ask("INSERT INTO document (source) VALUES ('a.pdf'), ('b.pdf')");
    eventually("the worker has ingested both", || async {
        let by = example.database.ask("SELECT string_agg(DISTINCT ingested_by, ' ') FROM document");
        let left = example.database.ask("SELECT count(*) FROM document WHERE ingested_at IS NULL");
        (left == "0" && by == "r2: titles").then_some(())
    })
    .await;
    assert_eq!(example.answer("WEB", "/api/status").await.unwrap()["ingested"], 2);

    // The same again: nothing to do.
    let again =
        example.program.start(&["-e", "dev"], example.directory.path(), &format!("{:040x}", 0xC0FFEE)).ended().await;
    again.succeeded("unchanged");
    assert_eq!(again.json["release-commands"], json!([]), "{}", again.log);

    // A release that needs a variable which nobody added to the task definitions.
    example.write("RELEASE", "r3: payments\n");
    example.write("required-env", "DATABASE_URL\nNEXTAUTH_SECRET\nSTRIPE_KEY\n");
    let bad = example.deploy().await;
    bad.failed(6, "rolled-back");
    assert!(bad.log.contains("KeyError: STRIPE_KEY"), "{}", bad.log);
    for (key, service) in [("web", "papa-web"), ("worker", "papa-worker")] {
        assert_eq!(of_service(&bad, key)["state"], "rolled-back", "{}", bad.log);
        example.is_steady_on(service, &of_service(&good, key)["target"]).await;
        example.runs(service, "app", digest(&good, "app")).await;
    }
    example.answers_as("WEB", "/api/status", "r2: titles").await;
    assert_eq!(
        example.commands().await,
        [("papa-dev-web-migrate".to_owned(), json!([0])), ("papa-dev-web-migrate".to_owned(), json!([0]))]
    );

    // A migration that fails moves nothing.
    example.write("required-env", "DATABASE_URL\nNEXTAUTH_SECRET\n");
    example.write("migrations/0003_typo.sql", "ALTER TABLE documment ADD COLUMN pages integer;\n");
    let stopped = example.deploy().await;
    stopped.failed(5, "release-command");
    assert!(stopped.log.contains("relation \"documment\" does not exist"), "{}", stopped.log);
    example.answers_as("WEB", "/api/status", "r2: titles").await;
    example.runs("papa-worker", "app", digest(&good, "app")).await;

    // What the README has for the days between.
    example.write("migrations/0003_typo.sql", "ALTER TABLE document ADD COLUMN pages integer;\n");
    let newest = example.deploy().await;
    newest.succeeded("deployed");
    example.types("fargate-deploy run -e dev -s web -- npm run db:migrate:prod").await;
    let said = example.types("fargate-deploy logs -e dev -s worker --since 15m").await;
    assert!(said.lines().any(|line| line.starts_with("worker/")), "{said}");
    let status = example.types("fargate-deploy status -e dev").await;
    assert!(status.contains("web ") && status.contains("serving"), "{status}");
    let releases = example.types("fargate-deploy releases -e dev").await;
    assert!(releases.contains("rolled back") && releases.contains("serving"), "{releases}");
    let back = example.types("fargate-deploy rollback -e dev --yes --reason \"documents are not ingested\"").await;
    assert!(back.contains("stays applied"), "{back}");
    for service in ["papa-web", "papa-worker"] {
        example.runs(service, "app", digest(&good, "app")).await;
    }
    example.close().await;
}
