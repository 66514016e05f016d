//! A release of three services with two commands before them and one after: at each of its calls the run is killed, told to end, or
//! suspended until a newer run has taken over. The world comes to what it is after an undisturbed run. `KILLS=all` plays every
//! call; else a sample is played, with a printed seed.

use super::lease::seconds;
use crate::story::fake::cloud::{Moment, WAY};
use crate::story::fake::is_settled;
use crate::story::scene::{Ended, Scene, order, shop_of_three};
use fargate_deploy::config::ImageSource;
use fargate_deploy::release::Order;
use fargate_deploy_core::outcome::{Reason, Success};
use std::cell::Cell;
use std::time::Duration;
use test_support::Random;
use tokio::time::{Instant, sleep};

const SERVICES: [&str; 3] = ["web", "worker", "front"];

fn next_attempt(scene: &Scene) -> Order {
    let Order { config, tags, provenance, .. } = scene.order.clone();
    Order { config, tags, provenance, ..order("1001", "2", "token-2") }
}

/// What there is to compare.
#[derive(Debug, PartialEq)]
struct World {
    runs: Vec<String>,
    updates: usize,
    commands: usize,
    revisions: usize,
    most_at_once: usize,
    is_settled: bool,
    held: Vec<String>,
}

fn world(scene: &Scene) -> World {
    let newest: Vec<_> = SERVICES.iter().map(|s| (s, scene.lease(s))).collect();
    let aws = scene.cloud.aws();
    World {
        runs: SERVICES.iter().map(|s| aws.services[*s].task_definition.short().to_owned()).collect(),
        updates: aws.updates.len(),
        commands: aws.asked_tasks.len(),
        revisions: aws.definitions.values().map(|all| all.len() - 1).sum(),
        most_at_once: aws.most_at_once,
        is_settled: SERVICES.iter().all(|s| is_settled(&aws.services[*s])),
        held: newest.iter().filter(|(_, claim)| claim["isReleased"] != true).map(|(s, _)| s.to_string()).collect(),
    }
}

fn undisturbed() -> World {
    World {
        runs: SERVICES.iter().map(|s| format!("{s}:42")).collect(),
        updates: 3,
        commands: 3,
        revisions: 3,
        most_at_once: 1,
        is_settled: true,
        held: vec![],
    }
}

/// Returns when the run has made so many calls, and that one has or has not had its effect.
async fn at_call(scene: &Scene, call: usize, after_its_effect: bool) {
    while scene.journal.count("") < call {
        sleep(Duration::from_millis(5)).await;
    }
    if after_its_effect {
        sleep(WAY + Duration::from_millis(10)).await;
    }
}

async fn killed(call: usize, after_its_effect: bool) -> Result<(), String> {
    let scene = shop_of_three();
    tokio::select! {
        biased;
        () = at_call(&scene, call, after_its_effect) => {}
        _ = scene.deploy() => return Ok(()),
    }
    again(&scene).await
}

async fn again(scene: &Scene) -> Result<(), String> {
    let ended = scene.deploy_order(&next_attempt(scene)).await;
    let is_good = matches!(ended.result, Ok(Success::Deployed | Success::Unchanged));
    match is_good && world(scene) == undisturbed() {
        true => Ok(()),
        false => Err(format!("{:?}, {:?}, {:#?}", ended.result, world(scene), scene.effects())),
    }
}

async fn told_to_end(call: usize) -> Result<(), String> {
    let scene = shop_of_three();
    let came = Cell::new(None);
    let ended = scene
        .deploy_until(|scene| {
            let is_time = scene.journal.count("") >= call;
            if is_time {
                came.set(Some(Instant::now()));
            }
            is_time
        })
        .await;
    let took = came.get().map_or(Duration::ZERO, |came| came.elapsed());
    match &ended.result {
        Ok(_) => Ok(()),
        Err(failure) if failure.reason != Reason::Cancelled => Err(format!("{failure:?}")),
        Err(_) if took > seconds(5) => Err(format!("it took {took:?}")),
        Err(_) => again(&scene).await,
    }
}

async fn suspended(call: usize) -> Result<(), String> {
    let scene = shop_of_three();
    scene.cloud.freeze("1001", "", Moment::BeforeSending, call, seconds(1500));
    let mut newer = Order { config: scene.order.config.clone(), ..order("1002", "1", "token-n") };
    for image in &mut newer.config.images {
        image.source = ImageSource::Existing(format!("ghcr.io/org/{}:newer", image.key));
    }
    let later = async {
        sleep(seconds(200)).await;
        scene.deploy_order(&newer).await
    };
    let (older, newer): (Ended, Ended) = tokio::join!(scene.deploy(), later);
    let found = world(&scene);
    let aws = scene.cloud.aws();
    let serves = |service: &str| {
        let runs = aws.services[service].task_definition.clone();
        aws.definition(runs.as_str()).and_then(|d| d.run().map(str::to_owned)).unwrap_or_default()
    };
    let is_newest = SERVICES.iter().all(|service| serves(service).ends_with("/1002"));
    // The one that was suspended before it had its leases may deploy nothing; the one that had ended had deployed.
    let is_right = newer.result.is_ok() && is_newest && found.most_at_once == 1 && found.is_settled;
    match is_right && found.held.is_empty() {
        true => Ok(()),
        false => Err(format!("older {:?}, newer {:?}, {found:?}, {:#?}", older.result, newer.result, scene.effects())),
    }
}

/// How many calls an undisturbed run makes, and how many of them before it looks at a service.
async fn calls() -> (usize, usize) {
    let scene = shop_of_three();
    let ended = scene.deploy().await;
    assert_eq!((ended.success(), world(&scene)), (Success::Deployed, undisturbed()));
    let first_look = scene.journal.lines().iter().position(|line| line.starts_with("ecs:DescribeServices")).unwrap();
    (scene.journal.count(""), first_look + 1)
}

#[tokio::test(start_paused = true)]
async fn a_release_of_several_services_that_is_disturbed_anywhere_comes_to_the_same_world() {
    let (calls, first_look) = calls().await;
    let seed = std::env::var("KILLS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
    let mut dice = Random::new(seed);
    let is_all = std::env::var("KILLS").is_ok_and(|which| which == "all");
    let (mut played, mut wrong) = (0, vec![]);
    for call in 1..=calls {
        if !is_all && !dice.one_in(6) {
            continue;
        }
        let blows = [
            ("killed before", killed(call, false).await),
            ("killed after", killed(call, true).await),
            ("told to end at", told_to_end(call).await),
            // Who has not looked yet has not begun, and gives way to nobody.
            ("suspended after", if call > first_look { suspended(call).await } else { Ok(()) }),
        ];
        played += blows.len();
        for (blow, ended) in blows {
            if let Err(why) = ended {
                println!("{blow} call {call}: {why}");
                wrong.push(format!("{blow} call {call}"));
            }
        }
    }
    println!("{played} blows at {calls} calls, seed {seed}: {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{wrong:?}");
}
