//! 002: an API and its queue workers.

use super::stand_in::StandIn;
use super::{Example, digest, of_service};
use serde_json::{Value, json};
use test_support::eventually;

const BOTH: StandIn = StandIn {
    context: ".",
    routes: "/health text {\"status\":\"ok\"}\n\
        /jobs query SELECT json_build_object('release', :'release'::text, 'jobs', count(*), 'finished', count(finished_at)) FROM job;\n",
    work: "WITH taken AS (UPDATE job SET started_at = now(), worker = :'release' \
        WHERE id = (SELECT id FROM job WHERE started_at IS NULL ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id, seconds) \
        SELECT max(id) AS id, max(seconds) AS seconds FROM taken \\gset\n\
        \\if :{?id}\n\
        SELECT FROM pg_sleep(:seconds);\n\
        UPDATE job SET finished_at = clock_timestamp() WHERE id = :id;\n\
        \\endif\n",
    backfill: "UPDATE job SET priority = CASE kind WHEN 'serp' THEN 1 ELSE 2 END WHERE priority IS NULL;\n",
    migrations: &[],
};

/// The one container of a task.
fn container(task: &Value) -> &Value {
    &task["containers"][0]
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_move_after_the_api_and_finish_their_jobs_first() {
    let example = Example::open("002-api-workers", "zemo", None, &[BOTH]).await;
    example.answers_as("API", "/jobs", "r1: jobs").await;
    let old_workers: Vec<_> =
        example.tasks_of("zemo-worker", "RUNNING").await.iter().map(|task| task["taskArn"].clone()).collect();
    assert_eq!(old_workers.len(), 2);

    // Each of the two workers is in the middle of a job that is longer than the release needs.
    example.database.ask("INSERT INTO job (kind, seconds) VALUES ('serp', 20), ('scrape', 20)");
    eventually("both jobs have begun", || async {
        (example.database.ask("SELECT count(*) FROM job WHERE started_at IS NOT NULL") == "2").then_some(())
    })
    .await;
    example.write("RELEASE", "r2: priorities\n");
    let good = example.deploy().await;
    good.succeeded("deployed");
    example.answers_as("API", "/jobs", "r2: priorities").await;
    example.runs("zemo-api", "api", digest(&good, "api")).await;
    example.runs("zemo-worker", "worker", digest(&good, "worker")).await;

    // The API was there first.
    let starts = |tasks: Vec<Value>| tasks.iter().filter_map(|task| task["startedAt"].as_f64()).collect::<Vec<_>>();
    let api = starts(example.tasks_of("zemo-api", "RUNNING").await);
    let workers = starts(example.tasks_of("zemo-worker", "RUNNING").await);
    assert!(api.iter().all(|begun| workers.iter().all(|after| begun < after)), "{api:?} {workers:?}");

    // The old workers were told to stop, finished, and ended by themselves.
    eventually("the old workers have stopped", || async {
        let body = json!({"cluster": "zemo", "tasks": old_workers});
        let found = example.call("DescribeTasks", body).await;
        found["tasks"].as_array().unwrap().iter().all(|task| task["lastStatus"] == "STOPPED").then_some(())
    })
    .await;
    let found = example.call("DescribeTasks", json!({"cluster": "zemo", "tasks": old_workers})).await;
    for task in found["tasks"].as_array().unwrap() {
        assert_eq!(container(task)["exitCode"], 0, "{task}");
        let id = task["taskArn"].as_str().unwrap().rsplit('/').next().unwrap();
        let stream = format!("worker/worker/{id}");
        let body = json!({"logGroupName": "/ecs/zemo", "logStreamName": stream, "startFromHead": true});
        let events = example.aws.call("logs", "GetLogEvents", body).await.unwrap();
        let lines: Vec<_> =
            events["events"].as_array().unwrap().iter().map(|event| event["message"].as_str().unwrap()).collect();
        assert_eq!(lines.last(), Some(&"no job is left undone"), "{lines:?}");
        assert!(lines.contains(&"TERM: draining"), "{lines:?}");
    }
    let done = "SELECT string_agg(DISTINCT worker, ' ') FROM job WHERE finished_at IS NOT NULL";
    assert_eq!(example.database.ask(done), "r1: jobs");
    assert_eq!(example.database.ask("SELECT count(*) FROM job WHERE finished_at IS NULL"), "0");

    // The data migration gave both jobs a priority, when everything served.
    assert_eq!(example.database.ask("SELECT string_agg(priority::text, ' ' ORDER BY id) FROM job"), "1 2");
    let families: Vec<_> = example.commands().await.into_iter().collect();
    assert_eq!(
        families,
        [("zemo-api-migrate".to_owned(), json!([0])), ("zemo-worker-backfill".to_owned(), json!([0]))]
    );

    // The new workers do not start: the API, which serves and answers already, goes back too.
    example.write("RELEASE", "r3: pipelines\n");
    example.change("Dockerfile", "apps/worker/src/worker.js", "apps/worker/src/wroker.js");
    let bad = example.deploy().await;
    bad.failed(6, "rolled-back");
    assert!(bad.log.contains("Cannot find module '/app/apps/worker/src/wroker.js'"), "{}", bad.log);
    for (key, service) in [("api", "zemo-api"), ("worker", "zemo-worker")] {
        assert_eq!(of_service(&bad, key)["state"], "rolled-back", "{}", bad.log);
        example.is_steady_on(service, &of_service(&good, key)["target"]).await;
        example.runs(service, key, digest(&good, key)).await;
        example.lives(service, 2, 1).await;
    }
    example.answers_as("API", "/jobs", "r2: priorities").await;
    example.database.ask("INSERT INTO job (kind) VALUES ('analyze')");
    eventually("the old workers work", || async {
        let by = example.database.ask("SELECT worker FROM job WHERE kind = 'analyze' AND finished_at IS NOT NULL");
        (by == "r2: priorities").then_some(())
    })
    .await;

    // What the README has for the days between.
    example.database.ask("UPDATE job SET priority = NULL");
    example.types("fargate-deploy run -s worker -- node apps/worker/src/backfill.js").await;
    assert_eq!(example.database.ask("SELECT count(*) FROM job WHERE priority IS NULL"), "0");
    let said = example.types("fargate-deploy logs -s worker --previous").await;
    assert!(said.contains("no job is left undone") && said.contains(" stopped: "), "{said}");
    let (code, status, err) = example.typed("fargate-deploy status --exit-code").await;
    assert_eq!(code, 6, "the last rollout was rolled back: {status}{err}");
    let releases = example.types("fargate-deploy releases").await;
    assert!(releases.contains("rolled back") && releases.contains("serving"), "{releases}");
    example.change("Dockerfile", "apps/worker/src/wroker.js", "apps/worker/src/worker.js");
    example.deploy().await.succeeded("deployed");
    example.answers_as("API", "/jobs", "r3: pipelines").await;
    let back = example.types("fargate-deploy rollback --yes --reason \"jobs pile up\"").await;
    assert!(back.contains("`migrate` of r3 stays applied"), "{back}");
    example.answers_as("API", "/jobs", "r2: priorities").await;
    example.close().await;
}
