//! The lease: who gets it, who waits, who is taken over, and what a holder does that has lost it.

use crate::story::fake::cloud::{WAY, error};
use crate::story::fake::task::Run;
use crate::story::scene::{Scene, one_off, order};
use fargate_deploy::fence::may_send;
use fargate_deploy::lease::{self, ClaimedTask, Lease, LeaseRequest, ManualLock, Owner, clear, hold, in_order, set};
use fargate_deploy::ports::CallErrorKind;
use fargate_deploy::release::Order;
use fargate_deploy::release_context::ReleaseContext;
use fargate_deploy_core::names::ServiceRef;
use fargate_deploy_core::outcome::{Failure, Reason, Record, Success};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::time::Duration;
use tokio::time::{Instant, sleep};

pub fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub fn web() -> ServiceRef {
    ServiceRef { cluster: "shop".into(), name: "web".into() }
}

fn name(generation: u64) -> String {
    format!("/fargate-deploy/shop/web/lease/{generation}")
}

/// As somebody else's holder would have written it.
pub fn put(scene: &Scene, generation: u64, claim: &Value) {
    scene.cloud.aws().parameters.insert(name(generation), claim.to_string());
}

pub fn claim_of(run: &str) -> Value {
    json!({"token": run, "owner": {"run": format!("https://github.com/org/shop/actions/runs/{run}"), "actor": "bob"},
        "run": {"key": run, "attempt": "1"}, "isReleased": false, "beat": 1})
}

fn claim_with_task(run: &str, arn: Option<&str>) -> Value {
    let mut claim = claim_of(run);
    claim["task"] = json!({"cluster": "shop", "startedBy": format!("fargate-deploy/migrate/{run}")});
    if let Some(arn) = arn {
        claim["task"]["arn"] = json!(arn);
    }
    claim
}

macro_rules! context {
    ($scene:expr, $record:ident, $context:ident) => {
        let $record = RefCell::new(Record::default());
        let $context = $scene.context(&$record);
    };
}

pub async fn take(scene: &Scene, order: &Order, wait: Duration) -> Result<Lease, Failure> {
    context!(scene, record, context);
    take_of(&web(), order, wait, &context).await
}

pub async fn take_of(
    service: &ServiceRef,
    order: &Order,
    wait: Duration,
    context: &ReleaseContext<'_>,
) -> Result<Lease, Failure> {
    let request = LeaseRequest { owner: &order.owner, run: &order.run, token: &order.token, first: None };
    let mut line = in_order([service].into_iter(), context.aws).await?;
    Ok(line.acquire_next(request, Instant::now() + wait, context).await?.unwrap())
}

fn newest(scene: &Scene) -> u64 {
    let all = scene.parameters();
    all.keys().filter_map(|n| n.rsplit('/').next()?.parse().ok()).max().unwrap()
}

/// Writes a new beat into a generation of somebody else for ever.
async fn beats(scene: &Scene, generation: u64, mut claim: Value) {
    loop {
        sleep(seconds(20)).await;
        claim["beat"] = json!(claim["beat"].as_u64().unwrap() + 1);
        put(scene, generation, &claim);
    }
}

#[tokio::test(start_paused = true)]
async fn two_that_ask_at_once_get_it_one_after_the_other() {
    let scene = Scene::new();
    let (first, second) = (order("1", "1", "a"), order("2", "1", "b"));
    let turn = async |order: &Order| {
        let lease = take(&scene, order, seconds(600)).await.unwrap();
        let from = Instant::now();
        sleep(seconds(30)).await;
        lease.release(scene.cloud.ports()).await;
        (from, Instant::now())
    };
    let (a, b) = tokio::join!(turn(&first), turn(&second));
    assert!(a.1 <= b.0 || b.1 <= a.0, "{a:?} {b:?}");
    assert_eq!(newest(&scene), 2);
}

#[tokio::test(start_paused = true)]
async fn a_released_generation_is_followed_by_the_next_at_once() {
    let scene = Scene::new();
    let lease = take(&scene, &scene.order, seconds(1)).await.unwrap();
    lease.release(scene.cloud.ports()).await;
    let began = Instant::now();
    take(&scene, &order("2", "1", "b"), seconds(1)).await.unwrap();
    assert!(began.elapsed() < seconds(1));
    assert_eq!(newest(&scene), 2);
}

#[tokio::test(start_paused = true)]
async fn who_waits_too_long_is_told_who_holds_it() {
    let scene = Scene::new();
    let other = claim_of("9");
    put(&scene, 1, &other);
    let taking = take(&scene, &scene.order, seconds(300));
    let failure = tokio::select! {
        ended = taking => ended.unwrap_err(),
        () = beats(&scene, 1, other) => unreachable!(),
    };
    assert_eq!(failure.reason, Reason::Locked);
    assert_eq!(failure.what, "shop/web is being released by https://github.com/org/shop/actions/runs/9 (bob)");
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_stopped_beating_is_taken_over_only_after_90_seconds() {
    let scene = Scene::new();
    put(&scene, 1, &claim_of("9"));
    let began = Instant::now();
    take(&scene, &scene.order, seconds(600)).await.unwrap();
    assert!(began.elapsed() >= seconds(90), "{:?}", began.elapsed());
    assert!(began.elapsed() < seconds(100), "{:?}", began.elapsed());
    assert!(scene.told.warnings()[0].contains("taken over"), "{:?}", scene.told.warnings());
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_beats_is_never_taken_over() {
    let scene = Scene::new();
    let other = claim_of("9");
    put(&scene, 1, &other);
    let taking = take(&scene, &scene.order, seconds(3600));
    let failure = tokio::select! {
        ended = taking => ended.unwrap_err(),
        () = beats(&scene, 1, other) => unreachable!(),
    };
    assert_eq!(failure.reason, Reason::Locked);
    assert_eq!(newest(&scene), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_held_beats_as_long_as_its_body_runs() {
    let scene = Scene::new();
    context!(scene, record, context);
    let lease = take(&scene, &scene.order, seconds(1)).await.unwrap();
    let leases = [std::rc::Rc::new(lease)];
    let holding = hold(|| leases.to_vec(), &context, sleep(seconds(3600)));
    let other = order("2", "1", "b");
    tokio::select! {
        () = holding => {}
        _ = take(&scene, &other, seconds(7200)) => panic!("it was taken over"),
    }
}

#[tokio::test(start_paused = true)]
async fn leases_that_are_held_already_beat_while_the_next_one_is_waited_for() {
    let scene = Scene::new().with_worker();
    let other = claim_of("9");
    scene.cloud.aws().parameters.insert("/fargate-deploy/shop/worker/lease/1".to_owned(), claim_of("9").to_string());
    let keeps_worker = async {
        let mut claim = other.clone();
        for beat in 2..50 {
            sleep(seconds(20)).await;
            claim["beat"] = json!(beat);
            let name = "/fargate-deploy/shop/worker/lease/1".to_owned();
            scene.cloud.aws().parameters.insert(name, claim.to_string());
        }
        claim["isReleased"] = json!(true);
        scene.cloud.aws().parameters.insert("/fargate-deploy/shop/worker/lease/1".to_owned(), claim.to_string());
    };
    let thief = order("2", "1", "b");
    let steals_web = async {
        sleep(seconds(5)).await;
        take(&scene, &thief, seconds(800)).await
    };
    let (ended, stolen, ()) = tokio::join!(scene.deploy(), steals_web, keeps_worker);
    assert_eq!(stolen.unwrap_err().reason, Reason::Locked);
    assert_eq!(ended.success(), Success::Deployed, "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_dead_holder_is_not_taken_over_while_its_task_runs() {
    let scene = Scene::new().next_runs([Run::exits(0).after(500)]);
    let arn = running_task(&scene, "9");
    put(&scene, 1, &claim_with_task("9", Some(&arn)));
    let began = Instant::now();
    take(&scene, &scene.order, seconds(1000)).await.unwrap();
    assert!(began.elapsed() >= seconds(500), "{:?}", began.elapsed());
    assert!(began.elapsed() < seconds(510), "{:?}", began.elapsed());
}

/// A task that somebody else's run started.
fn running_task(scene: &Scene, run: &str) -> String {
    let request = fargate_deploy::ports::RunTask {
        cluster: "shop".into(),
        task_definition: "arn:aws:ecs:eu-central-1:111122223333:task-definition/web:41".into(),
        network_configuration: None,
        platform_version: None,
        overrides: json!({}),
        volume_configurations: vec![],
        tags: vec![],
        has_managed_tags: false,
        started_by: format!("fargate-deploy/migrate/{run}"),
        client_token: format!("token-of-{run}"),
        is_spot: false,
        enables_exec: false,
    };
    scene.cloud.aws().start_one_off(&request).tasks[0].arn.to_string()
}

#[tokio::test(start_paused = true)]
async fn an_intent_without_a_task_is_believed_to_be_void_only_after_five_minutes() {
    let scene = Scene::new();
    put(&scene, 1, &claim_with_task("9", None));
    let began = Instant::now();
    take(&scene, &scene.order, seconds(1000)).await.unwrap();
    assert!(began.elapsed() >= seconds(300), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_intent_whose_task_runs_is_waited_for() {
    let scene = Scene::new().next_runs([Run::exits(0).after(700)]);
    running_task(&scene, "9");
    put(&scene, 1, &claim_with_task("9", None));
    let began = Instant::now();
    take(&scene, &scene.order, seconds(2000)).await.unwrap();
    assert!(began.elapsed() >= seconds(700), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_task_that_aws_does_not_know_counts_as_stopped_only_after_five_minutes() {
    let scene = Scene::new();
    put(&scene, 1, &claim_with_task("9", Some("arn:aws:ecs:eu-central-1:111122223333:task/shop/forgotten")));
    let began = Instant::now();
    take(&scene, &scene.order, seconds(1000)).await.unwrap();
    assert!(began.elapsed() >= seconds(300), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_task_that_cannot_be_read_counts_as_running() {
    let scene = Scene::new();
    put(&scene, 1, &claim_with_task("9", Some("arn:aws:ecs:eu-central-1:111122223333:task/shop/1")));
    scene.cloud.fail("ecs:DescribeTasks", CallErrorKind::Throttled, 0, usize::MAX);
    assert_eq!(take(&scene, &scene.order, seconds(1000)).await.unwrap_err().reason, Reason::Locked);
}

#[tokio::test(start_paused = true)]
async fn a_value_that_cannot_be_read_is_held_for_ever() {
    let scene = Scene::new();
    scene.cloud.aws().parameters.insert(name(4), "written by a later version".to_owned());
    let failure = take(&scene, &scene.order, seconds(3600)).await.unwrap_err();
    assert_eq!(failure.reason, Reason::Locked);
    assert!(failure.what.contains("does not say who it is"), "{}", failure.what);
    let next = failure.next.unwrap();
    assert!(next.contains(&format!("aws ssm delete-parameter --name {}", name(4))), "{next}");
    assert_eq!(newest(&scene), 4);
}

#[tokio::test(start_paused = true)]
async fn a_generation_that_was_created_from_a_stale_list_is_given_up() {
    let scene = Scene::new();
    put(&scene, 9, &claim_of("9"));
    // The list shows an old world, in which 5 is the newest and released.
    let mut old = claim_of("5");
    old["isReleased"] = json!(true);
    scene.cloud.stale_lists.borrow_mut().push_back([(name(5), old.to_string())].into());
    let taking = take(&scene, &scene.order, seconds(60));
    let failure = tokio::select! {
        ended = taking => ended.unwrap_err(),
        () = beats(&scene, 9, claim_of("9")) => unreachable!(),
    };
    assert_eq!(failure.reason, Reason::Locked);
    assert_eq!(scene.parameters().keys().collect::<Vec<_>>(), [&name(9)]);
}

/// GetParametersByPath may be behind PutParameter.
#[tokio::test(start_paused = true)]
async fn a_list_that_is_older_than_our_own_lease_takes_it_from_nobody() {
    let scene = Scene::without_migration();
    let lease = take(&scene, &scene.order, seconds(1)).await.unwrap();
    scene.cloud.stale_lists.borrow_mut().extend(vec![Default::default(); 3]);
    lease.check(scene.cloud.ports()).await.unwrap();
}

/// What others noted, and a person's lock, may be in a list that shows ours, and only there.
#[tokio::test(start_paused = true)]
async fn the_list_after_a_lease_was_created_is_read_until_it_shows_it() {
    let scene = Scene::without_migration();
    set(&web(), &manual_lock("demo"), scene.cloud.ports()).await.unwrap();
    scene.cloud.stale_lists.borrow_mut().extend(vec![Default::default(); 3]);
    let failure = take(&scene, &scene.order, seconds(1)).await.unwrap_err();
    assert!(failure.what.contains("locked by ada"), "{}", failure.what);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_sees_an_old_list_for_long_does_not_hammer_the_api() {
    let scene = Scene::new();
    put(&scene, 2, &claim_of("9"));
    let mut old = claim_of("1");
    old["isReleased"] = json!(true);
    scene.cloud.stale_lists.borrow_mut().extend(vec![[(name(1), old.to_string())].into(); 500]);
    let failure = take(&scene, &scene.order, seconds(60)).await.unwrap_err();
    assert_eq!(failure.reason, Reason::Locked);
    assert!(scene.journal.count("ssm:PutParameter create") <= 31);
}

#[tokio::test(start_paused = true)]
async fn old_generations_go_and_a_page_of_them_stays() {
    let scene = Scene::new();
    for n in 0..14 {
        let lease = take(&scene, &order(&n.to_string(), "1", &n.to_string()), seconds(1)).await.unwrap();
        lease.release(scene.cloud.ports()).await;
    }
    assert_eq!(scene.parameters().len(), 9);
    assert_eq!(newest(&scene), 14);
}

#[tokio::test(start_paused = true)]
async fn a_denied_parameter_store_names_the_action_and_the_way_without_it() {
    for action in ["ssm:GetParametersByPath", "ssm:PutParameter"] {
        let scene = Scene::new();
        scene.cloud.deny(action);
        let ended = scene.deploy().await;
        assert_eq!(ended.reason(), Reason::Permission, "{action}");
        let next = ended.failure().next.clone().unwrap();
        assert!(next.contains(&format!("`{action}`")) && next.contains("lock: none"), "{next}");
        assert_eq!(scene.journal.count("ecs:"), scene.journal.count("ecs:Describe"), "only reads");
    }
}

/// Another run creates the next generation at the given call.
async fn taken_at(scene: &Scene, call: &str) {
    loop {
        if scene.journal.count(call) > 0 {
            return put(scene, 2, &claim_of("9"));
        }
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_holder_whose_lease_was_taken_does_not_start_the_migration() {
    let scene = Scene::new();
    let (ended, ()) = tokio::join!(scene.deploy(), taken_at(&scene, "ecs:RegisterTaskDefinition"));
    assert_eq!(ended.reason(), Reason::Locked, "{ended:?}");
    assert_eq!(scene.journal.count("ecs:RunTask"), 0);
    assert_eq!(scene.journal.count("ecs:UpdateService"), 0);
    assert!(ended.failure().next.as_ref().unwrap().contains("changes nothing further"));
    let own: Value = serde_json::from_str(&scene.parameters()[&name(1)]).unwrap();
    assert_eq!(own["task"], Value::Null, "the one that took over need not wait for a task that never starts");
}

#[tokio::test(start_paused = true)]
async fn a_holder_whose_lease_was_taken_does_not_update_the_service() {
    let scene = Scene::new();
    let (ended, ()) = tokio::join!(scene.deploy(), taken_at(&scene, "ecs:RunTask"));
    assert_eq!(ended.reason(), Reason::Locked, "{ended:?}");
    assert_eq!(scene.journal.count("ecs:UpdateService"), 0);
    assert_eq!(ended.state()[0], "shop/web: a newer deployment owns it");
}

#[tokio::test(start_paused = true)]
async fn an_intent_that_a_sleeper_notes_during_the_takeover_is_waited_for() {
    let scene = Scene::new().next_runs([Run::exits(0).after(400)]);
    put(&scene, 1, &claim_of("9"));
    let wakes = async {
        // The holder writes its intent after it was judged dead, and before its successor has looked again.
        loop {
            if scene.journal.count("ssm:PutParameter create") > 0 {
                put(&scene, 1, &claim_with_task("9", None));
                running_task(&scene, "9");
                return;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    let (ended, ()) = tokio::join!(scene.deploy(), wakes);
    assert_eq!(ended.success(), Success::Deployed, "{ended:?}");
    assert_eq!(scene.cloud.aws().most_at_once, 1);
}

#[tokio::test(start_paused = true)]
async fn who_dies_while_it_waits_for_a_left_task_leaves_it_to_the_next() {
    let scene = Scene::new().next_runs([Run::exits(0).after(900), Run::exits(0)]);
    let arn = running_task(&scene, "9");
    put(&scene, 1, &claim_of("9"));
    // The second attempt adopts nothing here: run 9 noted its task late, a first taker saw it and died.
    put(&scene, 1, &claim_with_task("9", Some(&arn)));
    put(&scene, 2, &claim_of("10"));
    let ended = scene.deploy().await;
    assert_eq!(ended.success(), Success::Deployed, "{ended:?}");
    assert_eq!(scene.cloud.aws().most_at_once, 1);
}

#[tokio::test(start_paused = true)]
async fn a_late_heartbeat_does_not_undo_the_note_of_a_task() {
    let scene = Scene::new();
    context!(scene, record, context);
    let leases = [std::rc::Rc::new(take(&scene, &scene.order, seconds(1)).await.unwrap())];
    // The first beat is 5 s on its way, and the note is written meanwhile.
    scene.cloud.slow_puts.borrow_mut().push_back(seconds(5));
    let notes = async {
        sleep(seconds(21)).await;
        let started_by = "fargate-deploy/migrate/1001".to_owned();
        let task = ClaimedTask { cluster: "shop".to_owned(), started_by, ..Default::default() };
        leases[0].note_task(task, scene.cloud.ports()).await.unwrap();
        sleep(seconds(10)).await;
        assert_eq!(scene.lease("web")["task"]["startedBy"], "fargate-deploy/migrate/1001");
    };
    hold(|| leases.to_vec(), &context, notes).await;
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_could_not_renew_for_a_minute_renews_before_it_goes_on() {
    let scene = Scene::new();
    let lease = take(&scene, &scene.order, seconds(1)).await.unwrap();
    sleep(seconds(70)).await;
    scene.cloud.fail("ssm:PutParameter", CallErrorKind::Unreachable, 0, 1);
    assert!(lease.check(scene.cloud.ports()).await.is_err(), "somebody may be about to take over");
    lease.check(scene.cloud.ports()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn jobs_of_one_attempt_wait_for_each_other() {
    let scene = Scene::new();
    let mut held = claim_of("1001");
    held["run"] = json!({"key": "1001", "attempt": "1"});
    put(&scene, 1, &held);
    let began = Instant::now();
    take(&scene, &scene.order, seconds(600)).await.unwrap();
    assert!(began.elapsed() >= seconds(90), "{:?}", began.elapsed());
}

fn manual_lock(reason: &str) -> ManualLock {
    let owner = Owner { run: "lovelace".to_owned(), actor: "ada".to_owned() };
    ManualLock { reason: reason.to_owned(), owner, since: "2026-11-21T10:00:00Z".to_owned() }
}

#[tokio::test(start_paused = true)]
async fn a_persons_lock_refuses_deploys_at_once_and_says_why() {
    let scene = Scene::without_migration();
    set(&web(), &manual_lock("demo at noon"), scene.cloud.ports()).await.unwrap();
    let began = Instant::now();
    let ended = scene.deploy().await;
    assert_eq!(ended.reason(), Reason::Locked, "{ended:?}");
    assert_eq!(ended.failure().what, "shop/web is locked by ada (lovelace) since 2026-11-21T10:00:00Z: demo at noon");
    assert!(began.elapsed() < seconds(5), "nobody waits for a person");
    assert_eq!(scene.journal.count("ecs:UpdateService"), 0);
    assert!(clear(&web(), scene.cloud.ports()).await.unwrap().is_some());
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
}

#[tokio::test(start_paused = true)]
async fn a_persons_lock_does_not_stop_a_release_that_runs_and_is_not_overwritten_by_another_one() {
    let scene = Scene::without_migration();
    let lease = take(&scene, &scene.order, seconds(1)).await.unwrap();
    let state = set(&web(), &manual_lock("demo"), scene.cloud.ports()).await.unwrap();
    assert_eq!(state.holder.unwrap().run, "https://github.com/org/shop/actions/runs/1001");
    lease.check(scene.cloud.ports()).await.unwrap();
    let second = set(&web(), &manual_lock("mine"), scene.cloud.ports()).await.unwrap_err();
    assert!(second.what.ends_with("demo"), "{}", second.what);
}

/// The list that a run reads first can be older than the lock.
#[tokio::test(start_paused = true)]
async fn a_persons_lock_that_comes_with_the_claim_is_seen_after_it() {
    let scene = Scene::without_migration();
    set(&web(), &manual_lock("demo"), scene.cloud.ports()).await.unwrap();
    scene.cloud.stale_lists.borrow_mut().push_back(Default::default());
    let failure = take(&scene, &scene.order, seconds(1)).await.unwrap_err();
    assert!(failure.what.contains("locked by ada"), "{}", failure.what);
    assert_eq!(scene.lease("web")["isReleased"], true);
}

#[tokio::test(start_paused = true)]
async fn a_second_attempt_with_nothing_to_do_lets_go_of_what_the_first_one_held() {
    let scene = Scene::new().next_runs([Run::exits(0), Run::exits(0).after(45)]);
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
    // Killed in its rollout: it holds, and nothing runs for it.
    put(&scene, 2, &claim_of("1001"));
    let again = scene.deploy_order(&order("1001", "2", "token-2")).await;
    assert_eq!(again.success(), Success::Unchanged);
    assert_eq!((&scene.lease("web")["isReleased"], &scene.lease("web")["token"]), (&json!(true), &json!("token-2")));

    // Killed while a command ran that turned out not to be needed: that one is waited for.
    let request = one_off("web:42", "another");
    let task = scene.cloud.aws().start_one_off(&request).tasks.remove(0).arn;
    let mut claim = claim_with_task("1001", Some(task.as_str()));
    claim["run"]["attempt"] = json!("2");
    put(&scene, 4, &claim);
    let began = Instant::now();
    let again = scene.deploy_order(&order("1001", "3", "token-3")).await;
    assert_eq!(again.success(), Success::Unchanged);
    assert!(began.elapsed() >= seconds(45), "{:?}", began.elapsed());
    assert_eq!(scene.lease("web")["isReleased"], true);
    assert_eq!(scene.journal.count("ecs:RunTask"), 1);
}

/// Somebody may take over 90 s after the last sign of life: an order that is still on its way then could land on theirs.
#[tokio::test(start_paused = true)]
async fn an_order_is_waited_for_only_as_long_as_nobody_can_have_taken_over() {
    let scene = Scene::new();
    context!(scene, record, context);
    let lease = take(&scene, &scene.order, seconds(1)).await.unwrap();
    let began = Instant::now();
    let has_arrived = RefCell::new(false);
    let send = async || {
        assert!(may_send());
        sleep(seconds(120)).await;
        *has_arrived.borrow_mut() = true;
        Ok(())
    };
    let answer = lease::order(Some(&lease), None, &context, send).await.unwrap();
    assert_eq!(answer.unwrap_err().kind, CallErrorKind::Unreachable);
    assert!(began.elapsed() <= seconds(61), "{:?}", began.elapsed());
    assert!(!has_arrived.into_inner());
}

/// Suspended between the look at the lease and the order: nothing goes out before it has looked again.
#[tokio::test(start_paused = true)]
async fn a_holder_that_was_suspended_after_its_look_sends_nothing_over_its_successor() {
    let scene = Scene::new();
    context!(scene, record, context);
    let lease = take(&scene, &scene.order, seconds(1)).await.unwrap();
    let suspended = async {
        while scene.journal.count("ssm:GetParametersByPath") < 3 {
            sleep(Duration::from_millis(1)).await;
        }
        // The read has been answered, and its answer is on its way back.
        sleep(WAY + Duration::from_millis(1)).await;
        tokio::time::advance(seconds(100)).await;
        put(&scene, 2, &claim_of("9"));
    };
    let sent = RefCell::new(false);
    let send = async || {
        if !may_send() {
            return Err(error("ecs:UpdateService", CallErrorKind::Invalid));
        }
        *sent.borrow_mut() = true;
        Ok(())
    };
    let ordered = lease::order(Some(&lease), None, &context, send);
    let (answer, ()) = tokio::join!(ordered, suspended);
    assert_eq!(answer.unwrap_err().reason, Reason::Locked);
    assert!(!sent.into_inner());
}

#[tokio::test(start_paused = true)]
async fn who_lost_the_lease_while_the_service_was_told_to_move_says_nothing_was_verified() {
    let scene = Scene::new();
    let taken_over = async {
        while scene.journal.count("ecs:UpdateService") == 0 {
            sleep(Duration::from_millis(1)).await;
        }
        put(&scene, 2, &claim_of("9"));
        std::future::pending::<()>().await;
    };
    let ended = tokio::select! {
        ended = scene.deploy() => ended,
        () = taken_over => unreachable!(),
    };
    assert_eq!(ended.reason(), Reason::Locked, "{ended:?}");
    assert_eq!(scene.journal.count("ecs:UpdateService"), 1, "and nothing is put back");
}

#[tokio::test(start_paused = true)]
async fn an_older_attempt_does_not_take_the_lease_from_a_newer_one_at_once() {
    let scene = Scene::new();
    let mut held = claim_of("1001");
    held["run"]["attempt"] = json!("2");
    put(&scene, 1, &held);
    let began = Instant::now();
    take(&scene, &order("1001", "1", "older"), seconds(600)).await.unwrap();
    assert!(began.elapsed() >= seconds(90), "only when nobody renews it: {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_first_attempt_with_nothing_to_do_reads_what_the_last_run_owes_and_takes_no_lease() {
    let scene = Scene::new();
    scene.deploy().await;
    scene.journal.clear();
    assert_eq!(scene.deploy_order(&order("1002", "1", "token-2")).await.success(), Success::Unchanged);
    assert_eq!((scene.journal.count("ssm:"), scene.journal.count("ssm:GetParametersByPath")), (1, 1));
}
