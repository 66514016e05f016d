//! 004: one service, from Heroku.

use super::stand_in::{StandIn, engine};
use super::{Example, digest, of_service};
use serde_json::json;
use test_support::Env;

const APP: StandIn = StandIn {
    context: ".",
    routes: "/health text {\"status\":\"ok\"}\n\
        / query SELECT json_build_object('release', :'release'::text, 'columns', coalesce(json_agg(column_name ORDER BY ordinal_position), '[]')) FROM information_schema.columns WHERE table_name = 'account';\n",
    work: "",
    backfill: "",
    migrations: &[],
};

#[tokio::test(flavor = "multi_thread")]
async fn nestjs_is_deployed_with_its_schema_and_comes_back_without_it() {
    let env = Env::from([("PLATFORM".to_owned(), format!("linux/{}", engine()))]);
    let example = Example::open_with("004-nestjs", "gengar", None, &[APP], env).await;
    example.answers_as("WEB", "/", "r1: accounts").await;

    example.write("RELEASE", "r2: accounts with a plan\n");
    example.write(
        "migrations/0002_add_account_plan.sql",
        "ALTER TABLE account ADD COLUMN plan text NOT NULL DEFAULT 'free';\n",
    );
    let good = example.deploy().await;
    good.succeeded("deployed");
    example.answers_as("WEB", "/", "r2: accounts with a plan").await;
    example.runs("gengar", "app", digest(&good, "app")).await;
    example.lives("gengar", 2, 1).await;
    let answer = example.answer("WEB", "/").await.unwrap();
    assert_eq!(answer["columns"], json!(["id", "email", "created_at", "plan"]));

    example.write("RELEASE", "r3: accounts with payments\n");
    example.write("required-env", "DATABASE_URL\nSTRIPE_KEY\n");
    example.write("migrations/0003_add_account_card.sql", "ALTER TABLE account ADD COLUMN card text;\n");
    let bad = example.deploy().await;
    bad.failed(6, "rolled-back");
    assert!(bad.log.contains("KeyError: STRIPE_KEY"), "{}", bad.log);
    example.is_steady_on("gengar", &of_service(&good, "web")["target"]).await;
    example.runs("gengar", "app", digest(&good, "app")).await;
    example.answers_as("WEB", "/", "r2: accounts with a plan").await;
    // A rollback takes no migration back: the older code meets the newer schema.
    let answer = example.answer("WEB", "/").await.unwrap();
    assert_eq!(answer["columns"], json!(["id", "email", "created_at", "plan", "card"]));
    let of_migrate = ("gengar-migrate".to_owned(), json!([0]));
    assert_eq!(example.commands().await, [of_migrate.clone(), of_migrate]);

    // What the README has for the days between.
    example.types("fargate-deploy run -- bin/migrate").await;
    let said = example.types("fargate-deploy logs -n 20").await;
    assert!(said.lines().any(|line| line.starts_with("web/")), "{said}");
    let status = example.types("fargate-deploy status").await;
    assert!(status.to_lowercase().contains("rolled back"), "{status}");
    let releases = example.types("fargate-deploy releases").await;
    assert!(releases.contains("rolled back") && releases.contains("serving"), "{releases}");
    example.write("required-env", "DATABASE_URL\n");
    example.deploy().await.succeeded("deployed");
    example.answers_as("WEB", "/", "r3: accounts with payments").await;
    example.types("fargate-deploy rollback --yes --reason \"plans are wrong\"").await;
    example.runs("gengar", "app", digest(&good, "app")).await;
    example.answers_as("WEB", "/", "r2: accounts with a plan").await;
    example.close().await;
}
