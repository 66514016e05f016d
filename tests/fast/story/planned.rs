//! What a plan lists is what a deploy does, call by call: random configs are planned, and then deployed in the same world.
//!
//! `PLANS` chooses how many, `PLANS_SEED` others.

use super::fake::cloud::repository;
use super::scene::{Scene, container, definition, migration, old_image, service_config};
use fargate_deploy::config::*;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use test_support::Random;

type Calls = BTreeMap<String, usize>;

/// A shop that is configured at random; in half of them it has been deployed before, with or without a change since.
async fn shop(seed: u64) -> (Scene, Random) {
    let mut random = Random::new(seed);
    let mut scene = Scene::of_services(1 + random.below(4));
    if random.one_in(2) {
        scene = scene.with_front(random.roll(3));
    }
    let keys: Vec<_> = scene.order.config.services.iter().map(|s| s.key.clone()).collect();
    for at in 0..keys.len() {
        if at > 0 && random.one_in(3) {
            scene.order.config.services[at].after = vec![keys[random.below(at)].clone()];
        }
        if random.one_in(4) {
            let name = keys[at].to_string();
            let image = old_image(if name == "front" { "shop-front" } else { "shop-app" });
            let mut body = definition(&name, &image);
            // It is not run once as it is: a definition is derived from it.
            body["containerDefinitions"][0]["restartPolicy"] = json!({"enabled": true});
            if random.one_in(2) {
                body["containerDefinitions"]
                    .as_array_mut()
                    .unwrap()
                    .push(container("side", "docker.io/side@sha256:00"));
            }
            let arn = scene.cloud.aws().add_definition(&body, Some(7));
            scene.cloud.aws().add_service(&name, &arn);
            scene.order.config.services[at].containers[0].0 = Some("app".into());
        }
        if random.one_in(8) {
            scene = scene.change_service(keys[at].as_str(), |service| {
                service.counts.desired = 0;
                service.counts.running = 0;
                service.deployments[0].counts = service.counts;
            });
        }
    }
    scene.order.config.release.clear();
    for n in 0..random.below(4) {
        let when = if random.one_in(3) { When::After } else { When::Before };
        let (name, service) = (format!("command{n}"), random.pick(&keys));
        scene.order.config.release.push(ReleaseCommand { name, service, when, ..migration() });
    }
    let config = &mut scene.order.config;
    config.snapshot = random.one_in(4).then(|| "shop-db".to_owned());
    config.force = random.one_in(6);
    if random.one_in(4) {
        config.lock = Lock::None;
    }
    if random.one_in(5) {
        scene.order.tags[0].1.push("latest".to_owned());
    }
    scene.order.skips_commands = random.one_in(6);
    if random.one_in(2) {
        scene.deploy().await;
        if random.one_in(2) {
            scene.order.config.services.push(service_config("late"));
            let arn = scene.cloud.aws().add_definition(&definition("late", &old_image("shop-app")), Some(7));
            scene.cloud.aws().add_service("late", &arn);
        }
        scene.order.run.key = "1002".to_owned();
        tokio::time::sleep(Duration::from_secs(600)).await;
    } else if random.one_in(4) {
        scene.cloud.aws().repositories.remove("shop-app");
        let created = |image: &mut ImageConfig| {
            if let ImageSource::Build(build) = &mut image.source {
                build.create_repository = true;
            }
        };
        created(&mut scene.order.config.images[0]);
    } else {
        scene.cloud.aws().repositories.insert("unused".to_owned(), repository("unused"));
    }
    scene.order.is_unwatched = random.one_in(6);
    scene.journal.clear();
    (scene, random)
}

/// Of what a plan lists.
async fn planned(scene: &mut Scene) -> Option<Calls> {
    scene.order.is_dry_run = true;
    let ended = scene.deploy().await;
    scene.order.is_dry_run = false;
    assert_eq!(scene.changes(), [""; 0], "a plan changes nothing");
    let plan = ended.record.plan.filter(|_| ended.result.is_ok())?;
    let mut calls = Calls::new();
    for call in &plan.calls {
        let key = match call.action.as_str() {
            "ecr:PutImage" => format!("push {}", call.on.rsplit('/').next().unwrap().split(':').next().unwrap()),
            "ecs:UpdateService" => format!("update {}", call.on.rsplit('/').next().unwrap()),
            "ssm:PutParameter" => format!("lease {}", call.on.rsplit('/').next().unwrap()),
            "ecs:RunTask" => "run".to_owned(),
            action => format!("{action} {}", call.on),
        };
        *calls.entry(key).or_default() += 1;
    }
    Some(calls)
}

/// Of what a deploy did.
fn done(scene: &Scene, leases: &BTreeMap<String, String>) -> Calls {
    let mut calls = Calls::new();
    for line in scene.journal.all() {
        let (action, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let on = rest.split([' ', ':']).next().unwrap();
        let key = match action {
            "push" | "ecr:PutImage" => format!("push {on}"),
            "ecs:UpdateService" => format!("update {on}"),
            "ecs:RunTask" => "run".to_owned(),
            "ecr:CreateRepository" | "ecs:RegisterTaskDefinition" | "rds:CreateDBSnapshot" => format!("{action} {on}"),
            _ => continue,
        };
        *calls.entry(key).or_default() += 1;
    }
    let generation = |name: &str| name.contains("/lease/") && !name.ends_with("/lock");
    for name in scene.parameters().keys().filter(|name| generation(name) && !leases.contains_key(*name)) {
        let service = name.split('/').nth(3).unwrap();
        *calls.entry(format!("lease {service}")).or_default() += 1;
    }
    calls
}

#[tokio::test(start_paused = true)]
async fn a_deploy_makes_the_calls_that_its_plan_lists_and_no_others() {
    let setting = |name: &str, or: u64| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(or);
    let (plans, first) = (setting("PLANS", 300), setting("PLANS_SEED", 1));
    let (mut compared, mut wrong) = (0, vec![]);
    for seed in first..first + plans {
        let (mut scene, _) = shop(seed).await;
        let planned = planned(&mut scene).await;
        scene.journal.clear();
        let leases = scene.parameters();
        let ended = scene.deploy().await;
        let Some(planned) = planned else {
            assert!(ended.result.is_err(), "{seed}: what cannot be planned is not deployed: {ended:?}");
            continue;
        };
        compared += 1;
        let done = done(&scene, &leases);
        if ended.result.is_err() || planned != done {
            wrong.push(format!("PLANS_SEED={seed}: {:?}\n planned {planned:?}\n done    {done:?}", ended.result));
        }
    }
    println!("PLANS_SEED={first}: {compared} of {plans} configs compared, {} differ", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong[..wrong.len().min(5)].join("\n"));
    assert!(compared * 10 >= plans * 8, "{compared} of {plans}");
}
