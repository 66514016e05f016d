//! 003: three containers of one task, images of another registry than ECR, scaled to zero.

use super::stand_in::StandIn;
use super::{Example, digest, of_service};
use serde_json::json;
use test_support::Env;
use test_support::Registry;

const API: StandIn = StandIn {
    context: "api",
    routes: "/api/health text {\"status\":\"ok\"}\n\
        /api/places query SELECT json_build_object('release', :'release'::text, 'places', coalesce(json_agg(name ORDER BY id), '[]')) FROM place;\n",
    work: "",
    backfill: "",
    migrations: &[],
};
const WEB: StandIn = StandIn { context: "web", routes: "/health text ok\n/ name\n", ..API };
/// As the Caddyfile has it.
const CADDY: StandIn =
    StandIn { context: "caddy", routes: "/api/ proxy 127.0.0.1:4000\n/ proxy 127.0.0.1:3000\n", ..API };

const KEYS: [&str; 3] = ["api", "web", "caddy"];

#[tokio::test(flavor = "multi_thread")]
async fn three_containers_of_a_task_move_together_from_a_registry_that_is_not_ecr() {
    let registry = Registry::start().await;
    let login = tempfile::tempdir().unwrap();
    let (username, password) = (registry.credentials().username, registry.credentials().password.expose().clone());
    let auths = json!({"auths": {registry.host.as_str(): {"username": username, "password": password}}});
    std::fs::write(login.path().join("config.json"), auths.to_string()).unwrap();
    let env = Env::from([
        ("REGISTRY".to_owned(), registry.host.clone()),
        ("DOCKER_CONFIG".to_owned(), login.path().to_str().unwrap().to_owned()),
    ]);
    let example = Example::open_with("003-caddy-ghcr", "city-guided", None, &[API, WEB, CADDY], env).await;
    let _images = crate::scene::Images::of(&registry.host);
    example.answers_as("SITE", "/api/places", "r1: places").await;
    example.answers_as("SITE", "/", "r1: places").await;

    example.write("api/RELEASE", "r2: routes\n");
    example.write("web/RELEASE", "r2: routes\n");
    example.write("api/migrations/0002_place_route.sql", "ALTER TABLE place ADD COLUMN route text;\n");

    // What ECS pulls with is a secret of its own: our login is not enough.
    let refused = example.deploy().await;
    refused.failed(5, "release-command");
    assert!(refused.log.contains("failed to fetch secret city-guided/ghcr"), "{}", refused.log);
    example.answers_as("SITE", "/api/places", "r1: places").await;
    let secret = json!({"username": "puller", "password": "only-pulls"}).to_string();
    let body = json!({"Name": "city-guided/ghcr", "SecretString": secret});
    example.aws.call("secretsmanager", "CreateSecret", body).await.unwrap();

    let good = example.deploy().await;
    good.succeeded("deployed");
    example.answers_as("SITE", "/api/places", "r2: routes").await;
    example.answers_as("SITE", "/", "r2: routes").await;
    for key in KEYS {
        example.runs("city-guided-staging", key, digest(&good, key)).await;
    }
    example.lives("city-guided-staging", 2, 3).await;
    for task in example.tasks_of("city-guided-staging", "RUNNING").await {
        for container in task["containers"].as_array().unwrap() {
            let image = container["image"].as_str().unwrap();
            assert!(image.starts_with(&format!("{}/city-guided/", registry.host)), "{image}");
        }
    }
    let migrations = "SELECT string_agg(version, ' ' ORDER BY version) FROM schema_migrations";
    assert_eq!(example.database.ask(migrations), "0001_create_place 0002_place_route");
    // The migration ended well; its sidecars were stopped then, which is nobody's failure.
    let commands = example.commands().await;
    let of_api: Vec<_> = commands.iter().map(|(family, codes)| (family.as_str(), codes[0].clone())).collect();
    assert_eq!(of_api, [("city-guided-migrate", json!(null)), ("city-guided-migrate", json!(0))]);

    // One of the three does not start: all three are back.
    example.write("api/RELEASE", "r3: maps\n");
    example.change("web/Dockerfile", "\"main.js\"", "\"mian.js\"");
    let bad = example.deploy().await;
    bad.failed(6, "rolled-back");
    assert!(bad.log.contains("Cannot find module '/app/mian.js'"), "{}", bad.log);
    example.is_steady_on("city-guided-staging", &of_service(&good, "site")["target"]).await;
    for key in KEYS {
        example.runs("city-guided-staging", key, digest(&good, key)).await;
    }
    example.answers_as("SITE", "/api/places", "r2: routes").await;

    // Scaled to zero: the revision and the schema are new, and nobody says that it serves.
    example.scale("city-guided-staging", 0).await;
    example.change("web/Dockerfile", "\"mian.js\"", "\"main.js\"");
    example.write("web/RELEASE", "r3: maps\n");
    example.write("api/migrations/0003_place_map.sql", "ALTER TABLE place ADD COLUMN map text;\n");
    let unseen = example.deploy().await;
    unseen.succeeded("deployed-not-verified");
    assert!(unseen.log.contains("the desired count is 0"), "{}", unseen.log);
    assert_eq!(example.answer("SITE", "/api/places").await, None);
    assert_eq!(example.database.ask(migrations), "0001_create_place 0002_place_route 0003_place_map");
    example.scale("city-guided-staging", 1).await;
    test_support::eventually("the first visitor is answered", || async {
        let answer = example.answer("SITE", "/api/places").await?;
        (answer["release"] == "r3: maps").then_some(())
    })
    .await;
    for key in KEYS {
        example.runs("city-guided-staging", key, digest(&unseen, key)).await;
    }

    // What the README has for the days between.
    example.types("fargate-deploy run --container api -- node migrate.js").await;
    let said = example.types("fargate-deploy logs --container caddy --since 15m").await;
    assert!(said.lines().all(|line| !line.contains(" api ")), "{said}");
    example.types("fargate-deploy status").await;
    let releases = example.types("fargate-deploy releases").await;
    assert!(releases.contains("rolled back") && releases.contains("serving"), "{releases}");
    example.types("fargate-deploy rollback --yes --reason \"routes are missing\"").await;
    test_support::eventually("the release before answers", || async {
        let answer = example.answer("SITE", "/api/places").await?;
        (answer["release"] == "r2: routes").then_some(())
    })
    .await;
    example.close().await;
}
