//! Two and three runs at once, of overlapping services that their configs spell differently, with a person in between: in
//! random interleavings none waits for ever, no older commit replaces a newer one, and every ending is true.
//! `INTERLEAVINGS` says how many, `INTERLEAVINGS_SEED` with which to begin.

use super::lease::seconds;
use crate::story::fake::is_settled;
use crate::story::fake::rollout::Ending;
use crate::story::fake::task::Run;
use crate::story::scene::{Ended, Scene, definition, old_image, order, service_config};
use fargate_deploy::config::{ImageSource, Lock, OnFailure};
use fargate_deploy::release::Order;
use fargate_deploy_core::names::TaskDefinitionArn;
use fargate_deploy_core::outcome::{Reason, ServiceState, Success};
use futures_util::future::join_all;
use std::time::Duration;
use test_support::Random;
use tokio::time::{Instant, sleep};

const QUICK: u64 = 200;
const SERVICES: [&str; 3] = ["web", "api", "worker"];

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// A run, when it starts, and the services that it deploys.
struct Started {
    order: Order,
    at: Duration,
    services: Vec<&'static str>,
}

struct World {
    scene: Scene,
    runs: Vec<Started>,
    /// When a person deploys which service.
    person: Option<(Duration, &'static str)>,
}

fn world(dice: &mut Random) -> World {
    let scene = Scene::new().next_runs((0..3).map(|_| Run::exits(0).after(3 + dice.roll(60))));
    for name in &SERVICES[1..] {
        let arn = scene.cloud.aws().add_definition(&definition(name, &old_image("shop-app")), Some(7));
        scene.cloud.aws().add_service(name, &arn);
    }
    let person = dice.one_in(3).then(|| (Duration::from_millis(dice.roll(120_000)), dice.pick(&SERVICES)));
    for name in SERVICES {
        if dice.one_in(4) && person.is_none_or(|(_, theirs)| theirs != name) {
            let endings = [Ending::Succeeds, Ending::RolledBack { reuses_id: dice.one_in(2) }, Ending::Succeeds];
            scene.cloud.aws().endings.insert(name.to_owned(), endings.into());
        }
    }
    let count = 2 + dice.roll(2);
    let runs = (0..count).map(|n| run(dice, &scene, &format!("{}", 1001 + n))).collect();
    World { scene, runs, person }
}

fn run(dice: &mut Random, scene: &Scene, run: &str) -> Started {
    let mut order = Order { config: scene.order.config.clone(), ..order(run, "1", run) };
    let mut services: Vec<_> = SERVICES.into_iter().filter(|_| !dice.one_in(3)).collect();
    if services.is_empty() {
        services.push("web");
    }
    dice.shuffle(&mut services);
    let config = &mut order.config;
    config.services = services.iter().map(|name| service_config(name)).collect();
    for service in config.services.iter_mut().filter(|_| dice.one_in(2)) {
        service.name = format!("arn:aws:ecs:eu-central-1:111122223333:service/shop/{}", service.key).as_str().into();
    }
    for at in 1..services.len() {
        if dice.one_in(2) {
            config.services[at].after = vec![services[at - 1].into()];
        }
    }
    if !services.contains(&"web") || dice.one_in(2) {
        config.release.clear();
    }
    config.images[0].source = ImageSource::Existing(format!("ghcr.io/org/shop:{run}"));
    config.lock = Lock::Lease { wait: Duration::from_secs(24 * 3600) };
    config.on_failure = dice.pick(&[OnFailure::RollbackAll, OnFailure::RollbackFailed]);
    Started { order, at: Duration::from_millis(dice.roll(40_000)), services }
}

/// How a run ended, and when it had begun.
struct Played {
    began: Instant,
    took: Duration,
    ended: Ended,
    wrong: Option<String>,
}

async fn play(world: &World) -> Vec<Played> {
    let runs = world.runs.iter().map(|run| async move {
        sleep(run.at).await;
        let began = Instant::now();
        let ended = world.scene.deploy_order(&run.order).await;
        let wrong = is_untrue(world, run, &ended);
        Played { began, took: began.elapsed(), ended, wrong }
    });
    let person = async {
        if let Some((at, service)) = world.person {
            sleep(at).await;
            let mut aws = world.scene.cloud.aws();
            let arn = aws.add_definition(&definition(service, "ghcr.io/org/shop:by-hand"), None);
            aws.update(service, &arn, false);
        }
    };
    let (played, ()) = tokio::join!(join_all(runs), person);
    played
}

/// The number of the run that registered a revision.
fn run_of(scene: &Scene, revision: &TaskDefinitionArn) -> Option<u64> {
    let aws = scene.cloud.aws();
    aws.definition(revision.as_str())?.run()?.rsplit('/').next()?.parse().ok()
}

/// In the moment in which a run ends.
fn is_untrue(world: &World, run: &Started, ended: &Ended) -> Option<String> {
    let ours = run.order.run.key.parse::<u64>().ok();
    let runs = |service: &str| world.scene.cloud.aws().services[service].task_definition.clone();
    let just_replaced = |service: &str| {
        let aws = world.scene.cloud.aws();
        aws.updates.iter().any(|(at, of, ..)| of == service && at.elapsed() <= seconds(3))
    };
    match &ended.result {
        Ok(Success::Deployed) => {
            let replaced = run.services.iter().find(|s| run_of(&world.scene, &runs(s)) != ours && !just_replaced(s));
            replaced.map(|service| format!("deployed, and {service} runs {}", runs(service).short()))
        }
        Ok(other) => Some(format!("{other:?}")),
        Err(failure) if failure.reason == Reason::Superseded => {
            let is_said = ended.record.services.iter().any(|s| s.state == ServiceState::Superseded);
            let has_moved = ended.record.services.iter().any(|s| s.state != ServiceState::Untouched);
            (has_moved && !is_said).then(|| "superseded, and no service is".to_owned())
        }
        Err(failure) if failure.reason == Reason::RolledBack => {
            let stays = run.services.iter().find(|s| {
                let is_back =
                    ended.record.services.iter().any(|r| r.key.as_str() == **s && r.state == ServiceState::RolledBack);
                is_back && run_of(&world.scene, &runs(s)) == ours
            });
            stays.map(|service| format!("rolled back, and {service} runs {}", runs(service).short()))
        }
        // A person can come between a release and its way back.
        Err(failure) if failure.reason == Reason::Unsteady && world.person.is_some() => None,
        // The deployment that goes back can fail as any other.
        Err(failure) if failure.reason == Reason::Unsteady => {
            let says_so = failure.evidence.iter().any(|line| line.contains("going back to"));
            (!says_so).then(|| format!("{failure:?}"))
        }
        Err(failure) => Some(format!("{failure:?}")),
    }
}

/// What is wrong when everybody has ended.
fn wrong_in_the_end(world: &World, played: &[Played]) -> Option<String> {
    if let Some(slow) = played.iter().find(|run| run.took > seconds(1800)) {
        return Some(format!("a run took {:?}", slow.took));
    }
    let scene = &world.scene;
    let updates = scene.cloud.aws().updates.clone();
    for (at, (when, service, from, to)) in updates.iter().enumerate() {
        let is_forward = !updates[..at].iter().any(|(_, of, _, earlier)| of == service && earlier == to);
        let (Some(newer), Some(older)) = (run_of(scene, from), run_of(scene, to)) else { continue };
        let index = world.runs.iter().position(|run| run.order.run.key == older.to_string())?;
        let deployed = updates[..at].iter().find(|(_, of, _, arn)| of == service && arn == from).map(|(at, ..)| *at);
        if is_forward && newer > older && deployed.is_some_and(|deployed| deployed > played[index].began + seconds(1)) {
            return Some(format!("{service}: {older} over {newer}, {:?} after it began", *when - played[index].began));
        }
    }
    if scene.cloud.aws().most_at_once > 1 {
        return Some("two migrations at once".to_owned());
    }
    let unsettled = SERVICES.into_iter().find(|service| !is_settled(&scene.cloud.aws().services[*service]));
    let held = scene.parameters().into_iter().find(|(_, claim)| claim.contains("\"isReleased\":false"));
    unsettled
        .map(|service| format!("{service} is not settled"))
        .or_else(|| held.map(|(name, _)| format!("{name} is held")))
}

#[tokio::test(start_paused = true)]
async fn runs_at_once_end_truly_in_every_interleaving() {
    let (first, count) = (number("INTERLEAVINGS_SEED", 1), number("INTERLEAVINGS", QUICK));
    let mut wrong = vec![];
    for seed in first..first + count {
        let world = world(&mut Random::new(seed));
        let played = play(&world).await;
        // What a person deployed last rolls out yet.
        sleep(seconds(120)).await;
        let untrue = played.iter().find_map(|run| run.wrong.clone());
        if let Some(why) = untrue.or_else(|| wrong_in_the_end(&world, &played)) {
            let endings: Vec<_> = played.iter().map(|run| (&run.ended.result, run.ended.state())).collect();
            println!("seed {seed}: {why}\n{endings:#?}\n{:#?}", world.scene.effects());
            wrong.push(seed);
        }
    }
    println!("{count} interleavings from seed {first}: {} wrong", wrong.len());
    assert!(wrong.is_empty(), "seeds {wrong:?}");
}
