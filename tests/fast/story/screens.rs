//! Five failures as a person sees them at the end of the log: docs/failures.md is made of them.
//! `UPDATE_DOCS=1 cargo test --test fast story::screens` writes it.

use crate::story::fake::ecs::Dying;
use crate::story::fake::rollout::Ending;
use crate::story::fake::task::Run;
use crate::story::scene::{Ended, Scene};
use fargate_deploy::ports::{RouteTable, Subnet};
use fargate_deploy::render::ending;
use fargate_deploy_core::cause::{SeenTarget, TargetCheck, WayOut};
use serde_json::json;
use std::path::Path;

const EXITED: &str = "Essential container in task exited";

fn exits(exit_code: i64, container_reason: Option<&'static str>, says: &[&'static str]) -> Dying {
    Dying {
        stop_code: "EssentialContainerExited",
        reason: EXITED,
        exit_code: Some(exit_code),
        container_reason,
        says: says.to_vec(),
    }
}

fn rolled_back(dying: Dying) -> Scene {
    let scene = Scene::new().next_rollouts("web", [Ending::RolledBack { reuses_id: false }]);
    scene.cloud.aws().dying.insert("web".to_owned(), dying);
    scene
}

fn variable() -> Scene {
    rolled_back(exits(
        1,
        None,
        &[
            "Traceback (most recent call last):",
            "  File \"/app/settings.py\", line 3, in <module>",
            "    KEY = os.environ[\"STRIPE_KEY\"]",
            "KeyError: 'STRIPE_KEY'",
        ],
    ))
}

fn memory() -> Scene {
    let reason = "OutOfMemoryError: Container killed due to memory usage";
    rolled_back(exits(137, Some(reason), &["loading the model"]))
}

fn path() -> Scene {
    let dying = Dying {
        stop_code: "ServiceSchedulerInitiated",
        reason: "Task failed ELB health checks in (target-group web)",
        ..exits(143, None, &["Server listening on port 8080", "GET /healthz 404"])
    };
    let scene = rolled_back(dying).change_service("web", |web| {
        web.target_groups = vec!["web".to_owned()];
        web.load_balanced = Some(("app".to_owned(), 8080));
    });
    {
        let mut aws = scene.cloud.aws();
        aws.target_check = Some(TargetCheck { path: Some("/healthz".to_owned()), ..TargetCheck::default() });
        aws.target_health = vec![SeenTarget {
            state: "unhealthy".to_owned(),
            code: "Target.ResponseCodeMismatch".to_owned(),
            description: "Health checks failed with these codes: [404]".to_owned(),
            port: Some(8080),
        }];
    }
    scene
}

fn route() -> Scene {
    let dying = Dying {
        stop_code: "TaskFailedToStart",
        reason: "ResourceInitializationError: unable to pull secrets or registry auth: The task cannot pull registry auth \
            from Amazon ECR: There is a connection issue between the task and Amazon ECR. Check your task network \
            configuration.",
        exit_code: None,
        ..exits(0, None, &[])
    };
    let scene = rolled_back(dying).change_service("web", |web| {
        let vpc = json!({"subnets": ["subnet-0a1b"], "securityGroups": ["sg-1"], "assignPublicIp": "DISABLED"});
        web.network_configuration = Some(json!({ "awsvpcConfiguration": vpc }));
    });
    {
        let mut aws = scene.cloud.aws();
        aws.subnets = vec![Subnet { id: "subnet-0a1b".to_owned(), vpc: "vpc-1".to_owned(), free_addresses: Some(9) }];
        aws.route_tables = vec![RouteTable {
            id: "rtb-1".to_owned(),
            is_main: true,
            subnets: vec![],
            way_out: WayOut::InternetGateway,
        }];
    }
    scene
}

fn lock() -> Scene {
    let lines = ["migrating 0007_orders", "ERROR: canceling statement due to lock timeout"];
    Scene::new().next_runs([Run::exits(1).says(2.0, lines[0]).says(29.0, lines[1])])
}

fn screen(ended: &Ended) -> String {
    let failure = ended.failure();
    let lines = ending::failure(failure, &ended.record);
    let log = failure.log.iter().map(|line| format!("{line}\n"));
    format!("{}\n{}", lines.join("\n").trim_start(), log.collect::<String>())
}

#[tokio::test(start_paused = true)]
async fn the_page_of_failures_shows_what_a_person_sees() {
    let scenes = [
        ("A variable that is not set", variable()),
        ("A health check that asks for a path that is not there", path()),
        ("A subnet without a way out", route()),
        ("Too little memory", memory()),
        ("A migration that waits for somebody else's lock", lock()),
    ];
    let mut page = "# Five failures, as they are said\n\nThe last lines of a run: the cause, the evidence, the state, the next step, \
        and the container's own words. The annotation, the step summary and the pull request's comment say the same. A test makes \
        this page. [All causes](causes.md).\n"
        .to_owned();
    for (title, scene) in scenes {
        let ended = scene.deploy().await;
        page.push_str(&format!("\n## {title}\n\n```text\n{}```\n", screen(&ended)));
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/failures.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, &page).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        kept == page,
        "docs/failures.md is not what a run says: UPDATE_DOCS=1 cargo test --test fast story::screens\n{page}"
    );
}
