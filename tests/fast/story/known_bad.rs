//! How long it takes from the moment in which a service is known to be bad until it is told to go back, whatever the others
//! of its release do. `make bench` prints it.

use super::fake::cloud::Outage;
use super::fake::digest_of;
use super::fake::rollout::Ending;
use super::scene::Scene;
use fargate_deploy::config::{OnFailure, SmokeCheck};
use fargate_deploy::events::{Event, Sink};
use fargate_deploy::release::Release;
use fargate_deploy::release_context::ReleaseContext;
use fargate_deploy_core::outcome::Record;
use fargate_deploy_core::service::{Breaker, State};
use std::cell::RefCell;
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// By what `web` is known to be bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownBy {
    /// Its smoke check has not answered in its time.
    SmokeCheck,
    /// ECS calls its deployment failed, and does not roll it back: since the first read of it.
    Ecs,
    /// `fail-fast`: its tasks crash in a loop.
    CrashLoop,
    /// It serves, and runs another digest than was pushed.
    Digest,
}

/// What goes on beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meanwhile {
    Nothing,
    /// Another service rolls out, and neither gets ready nor fails.
    RollsOut,
    /// The same, and what only explains the failure is not answered.
    ExplanationHangs,
    /// 49 others roll out, within AWS's limits.
    ManyRollOut,
}

pub const ALL_KNOWN_BY: [KnownBy; 4] = [KnownBy::SmokeCheck, KnownBy::Ecs, KnownBy::CrashLoop, KnownBy::Digest];
pub const ALL_MEANWHILE: [Meanwhile; 4] =
    [Meanwhile::Nothing, Meanwhile::RollsOut, Meanwhile::ExplanationHangs, Meanwhile::ManyRollOut];

/// Sees when it is said that `web` is bad.
struct Watch {
    known_by: KnownBy,
    said: Mutex<Option<Instant>>,
}

impl Sink for Watch {
    fn emit(&self, event: Event) {
        let is_it = match &event {
            Event::SmokeFailed(_) => true,
            Event::RolloutEnded { service, .. } => {
                [KnownBy::CrashLoop, KnownBy::Digest].contains(&self.known_by) && service.name.as_str() == "web"
            }
            _ => false,
        };
        if is_it {
            self.said.lock().unwrap().get_or_insert_with(Instant::now);
        }
    }
}

fn scene(known_by: KnownBy, meanwhile: Meanwhile) -> Scene {
    let mut scene = match meanwhile {
        Meanwhile::Nothing => Scene::of_services(1),
        Meanwhile::RollsOut | Meanwhile::ExplanationHangs => Scene::of_services(2),
        Meanwhile::ManyRollOut => Scene::of_services(50),
    };
    scene.order.config.release.clear();
    for other in scene.order.config.services[1..].iter().map(|s| s.key.to_string()) {
        scene.cloud.aws().endings.insert(other, [Ending::Hangs].into());
    }
    if meanwhile == Meanwhile::ManyRollOut {
        scene.cloud.limit_rates();
    }
    let ending = match known_by {
        KnownBy::SmokeCheck => {
            scene.order.config.services[0].smoke = vec![SmokeCheck {
                url: "https://shop.example/health".into(),
                status: 200,
                within: Duration::from_secs(30),
                contains: None,
            }];
            scene.web.answers.borrow_mut().extend(vec![Ok((503, String::new())); 200]);
            Ending::Succeeds
        }
        KnownBy::Ecs => Ending::Failed,
        KnownBy::CrashLoop => {
            scene.order.config.fail_fast = true;
            Ending::CrashLoops
        }
        KnownBy::Digest => Ending::RunsDigest(digest_of("another").to_string()),
    };
    let breaker = Breaker { is_enabled: known_by != KnownBy::CrashLoop, rolls_back: false };
    scene.change_service("web", |web| web.breaker = breaker).next_rollouts("web", [ending])
}

/// From the read, or the end of the check, that shows it of `web` to the order that takes it back.
pub async fn ordered_back(known_by: KnownBy, meanwhile: Meanwhile, on_failure: OnFailure) -> Duration {
    let mut scene = scene(known_by, meanwhile);
    scene.order.config.on_failure = on_failure;
    let watch = Watch { known_by, said: Mutex::default() };
    let record = RefCell::new(Record::default());
    let context = ReleaseContext { sink: &watch, ..scene.context(&record) };
    let released = Release::until(std::future::pending(), &scene.order, context).run();
    let has_failed = || {
        let web = &scene.cloud.aws().services["web"];
        web.deployments.iter().any(|d| d.state == State::Failed && d.task_definition.short() == "web:42")
    };
    let reads = || scene.journal.count("ecs:DescribeServices ") + scene.journal.count("ecs:DescribeServiceDeployments");
    let is_ordered = || {
        scene.journal.count("ecs:UpdateService web -> web:41") + scene.journal.count("ecs:StopServiceDeployment") > 0
    };
    let soon = || sleep(Duration::from_millis(50));
    let took = async {
        if known_by == KnownBy::Ecs {
            while !has_failed() {
                soon().await;
            }
            let before = reads();
            while reads() == before {
                soon().await;
            }
            watch.said.lock().unwrap().get_or_insert_with(Instant::now);
        }
        let known = loop {
            let said = *watch.said.lock().unwrap();
            match said {
                Some(said) => break said,
                None => soon().await,
            }
        };
        if meanwhile == Meanwhile::ExplanationHangs {
            scene.cloud.trouble("ecs:ListTasks", Outage::Hangs, 0, Duration::from_secs(60));
        }
        while !is_ordered() {
            soon().await;
        }
        known.elapsed()
    };
    tokio::select! {
        took = took => took,
        ended = released => panic!("{known_by:?}, {meanwhile:?}: it was not told to go back: {ended:?}"),
    }
}
