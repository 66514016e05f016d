//! Twenty runs at once, some of which vanish in the middle: never two migrations at a time.

use crate::story::fake::task::Run;
use crate::story::scene::{Scene, order};
use fargate_deploy::config::ImageSource;
use fargate_deploy_core::outcome::{Reason, Success};
use futures_util::future::join_all;
use std::time::Duration;
use test_support::Random;
use tokio::time::sleep;

/// Some time after the run has got the lease.
async fn vanish(scene: &Scene, run: &str, after: Duration) {
    let holder = format!("\"key\":\"{run}\"");
    while !scene.cloud.aws().parameters.values().any(|claim| claim.contains(&holder)) {
        sleep(Duration::from_millis(250)).await;
    }
    sleep(after).await;
}

/// Each run deploys an image of its own, so that each has a migration to run.
async fn race(seed: u64, vanishing: bool) -> Scene {
    let mut dice = Random::new(seed);
    // Some outlive the time after which a silent holder counts as dead, some are not known to AWS at first.
    let migrations: Vec<_> =
        (0..40).map(|_| Run::exits(0).after(5 + dice.roll(400)).missing_for(dice.roll(30))).collect();
    let scene = Scene::new().next_runs(migrations);
    let runs: Vec<_> = (0..20)
        .map(|n| {
            let mut order = order(&format!("run{n}"), "1", &format!("token-{n}"));
            order.config.images[0].source = ImageSource::Existing(format!("ghcr.io/org/shop:{n}"));
            order.config.lock = fargate_deploy::config::Lock::Lease { wait: Duration::from_secs(24 * 3600) };
            let starts = Duration::from_millis(dice.roll(30_000));
            let vanishes = (vanishing && dice.roll(2) == 0).then(|| {
                // In the first seconds most calls are made; later on the migration runs, and then the rollout.
                let within = [2_000, 400_000][usize::try_from(dice.roll(2)).unwrap()];
                Duration::from_millis(dice.roll(within))
            });
            (order, starts, vanishes)
        })
        .collect();
    let scene_of = &scene;
    let endings = join_all(runs.iter().map(|(order, starts, vanishes)| async move {
        sleep(*starts).await;
        match vanishes {
            Some(after) => tokio::select! {
                ended = scene_of.deploy_order(order) => Some(ended),
                () = vanish(scene_of, &order.run.key, *after) => None,
            },
            None => Some(scene_of.deploy_order(order).await),
        }
    }))
    .await;
    for ((order, _, vanishes), ended) in runs.iter().zip(endings) {
        let Some(ended) = ended else { continue };
        let is_fine = match &ended.result {
            Ok(success) => *success == Success::Deployed,
            // A deployment that a vanished run left behind may be superseded by, or supersede, this one.
            Err(failure) => vanishing && failure.reason == Reason::Superseded,
        };
        assert!(is_fine, "seed {seed}, run {}, vanishing after {vanishes:?}: {ended:?}", order.run.key);
    }
    assert_eq!(scene.cloud.aws().most_at_once, 1, "seed {seed}: {:#?}", scene.changes());
    scene
}

#[tokio::test(start_paused = true)]
async fn twenty_runs_at_once_migrate_one_after_the_other() {
    let scene = race(7, false).await;
    assert_eq!(scene.journal.count("ecs:RunTask"), 20);
}

#[tokio::test(start_paused = true)]
async fn runs_that_vanish_at_any_point_let_nobody_in_beside_their_migration() {
    race(7919, true).await;
}
