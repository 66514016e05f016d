use super::*;
use crate::rollout;
use crate::rollout::tests::{service_deployment, world};
use serde_json::json;

const DAY: f64 = 86_400.0;

fn arn(number: u64) -> TaskDefinitionArn {
    TaskDefinitionArn::new(format!("arn:aws:ecs:eu-central-1:111122223333:task-definition/web:{number}"))
}

/// Revision `web:N` of release rN, registered on day N.
fn definition(number: u64, tags: &[(&str, &str)]) -> TaskDefinition {
    let body = json!({
        "family": "web", "taskDefinitionArn": arn(number), "status": "ACTIVE", "registeredAt": number as f64 * DAY,
        "containerDefinitions": [{"name": "app", "image": format!("r/app:{number}")}],
    });
    let mut definition = TaskDefinition::from_json(&body.to_string()).unwrap();
    definition.set_tag("fargate-deploy:release", format!("r{number}"));
    tags.iter().for_each(|(name, value)| definition.set_tag(name, *value));
    definition
}

fn deployment(number: u64, status: ServiceDeploymentStatus) -> (ServiceDeployment, Option<TaskDefinitionArn>) {
    let arn_of_deployment = format!("arn:d{number}").as_str().into();
    let known = service_deployment(status);
    (ServiceDeployment { arn: arn_of_deployment, created_at: number as f64 * DAY, ..known }, Some(arn(number)))
}

fn runs(number: u64) -> Now {
    let runs = arn(number);
    let serving = rollout::tests::deployment("ecs-svc/1", Role::Primary, runs.as_str(), State::Completed, 2);
    Now::Known(Box::new(Service { task_definition: runs, ..world(vec![serving]) }))
}

/// `web` runs one revision; revisions and deployments, the newest first.
fn past(
    serves: u64,
    revisions: Vec<TaskDefinition>,
    deployments: Vec<(ServiceDeployment, Option<TaskDefinitionArn>)>,
) -> ServicePast {
    ServicePast {
        key: "web".into(),
        service: ServiceRef { cluster: "shop".into(), name: "web".into() },
        images: vec![("app".into(), "app".into())],
        now: runs(serves),
        revisions,
        deployments: Some(Deployments { all: deployments, complete_since: 1.0 }),
        notes: vec![],
    }
}

fn outcomes(past: &ServicePast) -> Vec<(u64, Outcome)> {
    let all = releases(std::slice::from_ref(past), &[]);
    all.iter().filter_map(|release| Some((release.number?, release.outcome()))).collect()
}

fn target(pasts: &[ServicePast], to: Option<u64>) -> Result<u64, Refusal> {
    let releases = releases(pasts, &[]);
    choose(Choice { pasts, releases: &releases, earlier_attempt: None }, to).map(|chosen| chosen.to)
}

use ServiceDeploymentStatus::{InProgress, RollbackSuccessful, Stopped, Successful};

#[test]
fn a_release_that_was_replaced_served_and_one_that_was_rolled_back_did_not_stay() {
    let revisions = [4, 3, 2, 1].map(|n| definition(n, &[])).to_vec();
    let all = vec![deployment(4, Successful), deployment(3, RollbackSuccessful), deployment(1, Successful)];
    let past = past(4, revisions, all);
    use Outcome::{NotDeployed, RolledBack, Serving, Superseded};
    assert_eq!(outcomes(&past), [(4, Serving), (3, RolledBack), (2, NotDeployed), (1, Superseded)]);
    assert_eq!(target(&[past], None), Ok(1));
}

#[test]
fn a_release_that_an_older_one_followed_was_taken_back_although_ecs_says_that_it_succeeded() {
    // Its smoke checks failed, and the previous revision was put back.
    let revisions = [4, 3, 2].map(|n| definition(n, &[])).to_vec();
    let all = [4, 2, 3, 2].map(|n| deployment(n, Successful)).to_vec();
    let past = past(4, revisions, all);
    assert_eq!(outcomes(&past), [(4, Outcome::Serving), (3, Outcome::RolledBack), (2, Outcome::Superseded)]);
    assert_eq!(target(&[past], None), Ok(2));
}

#[test]
fn one_that_was_replaced_before_it_served_is_no_target() {
    let revisions = [3, 2, 1].map(|n| definition(n, &[])).to_vec();
    for status in [Stopped, InProgress] {
        let all = vec![deployment(3, Successful), deployment(2, status), deployment(1, Successful)];
        let past = past(3, revisions.clone(), all);
        assert_eq!(outcomes(&past)[1], (2, Outcome::NeverServed));
        assert_eq!(target(&[past], None), Ok(1));
    }
}

#[test]
fn what_is_rolling_out_and_what_it_will_replace_are_told_apart() {
    let past = past(
        2,
        [2, 1].map(|n| definition(n, &[])).to_vec(),
        vec![deployment(2, InProgress), deployment(1, Successful)],
    );
    assert_eq!(outcomes(&past), [(2, Outcome::RollingOut), (1, Outcome::Serving)]);
}

#[test]
fn what_cannot_be_proved_is_unknown() {
    let revisions = [3, 2, 1].map(|n| definition(n, &[])).to_vec();
    let mut unread = past(3, revisions.clone(), vec![]);
    unread.deployments = None;
    assert_eq!(outcomes(&unread), [(3, Outcome::Serving), (2, Outcome::Unknown), (1, Outcome::Unknown)]);
    assert_eq!(target(std::slice::from_ref(&unread), None), Err(Refusal::NothingBefore(Some(3))));
    assert_eq!(target(std::slice::from_ref(&unread), Some(2)), Ok(2), "whoever names one knows it");
    // What its lease says is proof as well.
    let note = |revision, previous, is_verified| Note {
        revision: arn(revision),
        previous: arn(previous),
        is_verified,
        owes_commands: vec![],
        ran: vec![],
    };
    unread.notes = vec![note(3, 2, true), note(2, 1, true)];
    assert_eq!(outcomes(&unread)[1..], [(2, Outcome::Superseded), (1, Outcome::Unknown)]);
    assert_eq!(target(&[unread], None), Ok(2));
    // AWS has forgotten what was before.
    let mut old = past(3, revisions, vec![deployment(3, Successful)]);
    old.deployments.as_mut().unwrap().complete_since = 2.5 * DAY;
    assert_eq!(outcomes(&old)[1..], [(2, Outcome::Unknown), (1, Outcome::Unknown)]);
}

#[test]
fn a_rollback_is_gone_back_from_to_what_is_older_than_what_it_put_back() {
    let back = [("fargate-deploy:rollback-to", "r2")];
    let mut revisions = vec![definition(4, &back)];
    revisions.extend([3, 2, 1].map(|n| definition(n, &[])));
    let all = [4, 3, 2, 1].map(|n| deployment(n, Successful)).to_vec();
    let after = past(4, revisions.clone(), all.clone());
    assert_eq!(outcomes(&after)[1], (3, Outcome::RolledBack));
    assert_eq!(target(&[after], None), Ok(1));
    // After the next good one the rollback is what served last.
    revisions.insert(0, definition(5, &[]));
    let mut all = all;
    all.insert(0, deployment(5, Successful));
    let next = past(5, revisions, all);
    assert_eq!(target(std::slice::from_ref(&next), None), Ok(4));
    assert_eq!(target(&[next], Some(3)), Ok(3), "what was rolled back can be named, to undo that");
}

#[test]
fn a_service_that_a_release_left_alone_goes_to_what_it_ran_then() {
    let revisions = |numbers: &[u64]| numbers.iter().map(|n| definition(*n, &[])).collect::<Vec<_>>();
    let deployments = |numbers: &[u64]| numbers.iter().map(|n| deployment(*n, Successful)).collect::<Vec<_>>();
    let web = past(3, revisions(&[3, 2, 1]), deployments(&[3, 2, 1]));
    let mut worker = past(3, revisions(&[3, 1]), deployments(&[3, 1]));
    worker.key = "worker".into();
    worker.service.name = "worker".into();
    let pasts = [web, worker];
    let releases = releases(&pasts, &[]);
    let chosen = choose(Choice { pasts: &pasts, releases: &releases, earlier_attempt: None }, None).unwrap();
    let each: Vec<_> = chosen.services.iter().map(|(part, _)| (part.key.as_str(), part.revision.short())).collect();
    assert_eq!((chosen.to, chosen.from), (2, Some(3)));
    assert_eq!(each, [("web", "web:2"), ("worker", "web:1")]);
}

#[test]
fn release_commands_since_then_stay_applied_and_those_of_a_release_that_never_moved_may() {
    let commands = [("fargate-deploy:commands", "migrate=0123456789ab")];
    let revisions = vec![definition(3, &commands), definition(2, &commands), definition(1, &commands)];
    let past = past(2, revisions, vec![deployment(2, Successful), deployment(1, Successful)]);
    let pasts = [past];
    let releases = releases(&pasts, &[]);
    let chosen = choose(Choice { pasts: &pasts, releases: &releases, earlier_attempt: None }, None).unwrap();
    let migrate = "migrate".to_owned();
    assert_eq!(chosen.commands, [(2, migrate.clone(), true), (3, migrate, false)]);
}

#[test]
fn what_somebody_else_deployed_is_gone_back_from_to_the_last_release() {
    let mut foreign = definition(4, &[]);
    foreign.tags.clear();
    let mut revisions = vec![foreign];
    revisions.extend([3, 2].map(|n| definition(n, &[])));
    let past = past(4, revisions, [4, 3, 2].map(|n| deployment(n, Successful)).to_vec());
    let all = releases(std::slice::from_ref(&past), &[]);
    assert_eq!((all[0].name(), all[0].outcome()), ("-".to_owned(), Outcome::Serving));
    assert_eq!(target(&[past], None), Ok(3));
}

#[test]
fn a_service_that_is_gone_or_may_not_be_read_is_said_to_be() {
    let mut gone = past(1, vec![definition(1, &[])], vec![]);
    gone.now = Now::Gone;
    assert_eq!(target(std::slice::from_ref(&gone), None), Err(Refusal::Gone(gone.service.clone())));
    gone.now = Now::Unknown;
    assert_eq!(target(std::slice::from_ref(&gone), None), Err(Refusal::Unreadable(gone.service.clone())));
}

fn chosen(past: &ServicePast, to: Option<u64>) -> Result<Chosen, Refusal> {
    let pasts = std::slice::from_ref(past);
    let releases = releases(pasts, &[]);
    choose(Choice { pasts, releases: &releases, earlier_attempt: None }, to)
}

#[test]
fn a_rollback_that_was_not_seen_to_its_end_is_finished_before_one_goes_further_back() {
    let mut revisions = vec![definition(4, &[("fargate-deploy:rollback-to", "r2")])];
    revisions.extend([3, 2, 1].map(|n| definition(n, &[])));
    let ended = |status| {
        let mut all = vec![deployment(4, status)];
        all.extend([3, 2, 1].map(|n| deployment(n, Successful)));
        past(4, revisions.clone(), all)
    };
    let note =
        |is_verified| Note { revision: arn(4), previous: arn(3), is_verified, owes_commands: vec![], ran: vec![] };
    let moves = ended(InProgress);
    let mut is_owed = ended(Successful);
    is_owed.notes = vec![note(false)];
    for past in [moves, is_owed] {
        for to in [None, Some(2)] {
            let chosen = chosen(&past, to).unwrap();
            assert_eq!((chosen.to, chosen.from), (2, Some(3)));
            assert_eq!(chosen.unfinished.unwrap().revisions, [arn(4)]);
        }
        let other = chosen(&past, Some(1)).unwrap();
        assert_eq!((other.to, other.unfinished), (1, None));
    }
    let mut done = ended(Successful);
    done.notes = vec![note(true)];
    assert_eq!(target(&[done], None), Ok(1));
    assert_eq!(target(&[ended(RollbackSuccessful)], None), Ok(1), "it has failed, which is an end");
}

#[test]
fn half_a_rollback_is_finished_with_the_services_that_it_has_not_moved() {
    let back = definition(4, &[("fargate-deploy:rollback-to", "r2")]);
    let revisions: Vec<_> = std::iter::once(back).chain([3, 2, 1].map(|n| definition(n, &[]))).collect();
    let web = past(4, revisions.clone(), [4, 3, 2, 1].map(|n| deployment(n, Successful)).to_vec());
    let mut worker = past(3, revisions, [3, 2, 1].map(|n| deployment(n, Successful)).to_vec());
    worker.key = "worker".into();
    worker.service.name = "worker".into();
    let pasts = [web, worker];
    let releases = releases(&pasts, &[]);
    let chosen = choose(Choice { pasts: &pasts, releases: &releases, earlier_attempt: None }, None).unwrap();
    assert_eq!((chosen.to, chosen.from, chosen.services.len()), (2, Some(3), 2));
}

#[test]
fn what_has_never_served_here_is_no_target_even_where_it_is_named() {
    let revisions = [3, 2, 1].map(|n| definition(n, &[])).to_vec();
    let elsewhere = past(2, revisions.clone(), vec![deployment(2, Successful), deployment(1, Successful)]);
    assert_eq!(target(&[elsewhere], Some(3)), Err(Refusal::NeverServed(3, Outcome::NotDeployed)));
    let all = vec![deployment(3, Successful), deployment(2, Stopped), deployment(1, Successful)];
    let replaced = past(3, revisions, all);
    assert_eq!(target(&[replaced], Some(2)), Err(Refusal::NeverServed(2, Outcome::NeverServed)));
}

#[test]
fn before_goes_by_time_where_the_numbers_have_begun_again() {
    let mut foreign = definition(5, &[]);
    foreign.tags.clear();
    let again = [("fargate-deploy:release", "r1"), ("fargate-deploy:sha", "abc")];
    let mut revisions = vec![definition(6, &again), foreign];
    revisions.extend([3, 2, 1].map(|n| definition(n, &[])));
    let past = past(6, revisions, [6, 5, 3, 2, 1].map(|n| deployment(n, Successful)).to_vec());
    let to = |number| chosen(&past, number).unwrap().services[0].0.revision.clone();
    assert_eq!(to(None), arn(3));
    assert_eq!(to(Some(1)), arn(1), "the one of that number that does not serve now");
}

#[test]
fn one_service_goes_to_what_it_ran_when_a_release_served_that_left_it_alone() {
    let revisions = |numbers: &[u64]| numbers.iter().map(|n| definition(*n, &[])).collect::<Vec<_>>();
    let deployments = |numbers: &[u64]| numbers.iter().map(|n| deployment(*n, Successful)).collect::<Vec<_>>();
    let web = past(3, revisions(&[3, 2, 1]), deployments(&[3, 2, 1]));
    let mut worker = past(3, revisions(&[3, 1]), deployments(&[3, 1]));
    worker.key = "worker".into();
    let releases = releases(&[web, worker.clone()], &[]);
    let pasts = [worker];
    let chosen = choose(Choice { pasts: &pasts, releases: &releases, earlier_attempt: None }, Some(2)).unwrap();
    let each: Vec<_> = chosen.services.iter().map(|(part, _)| (part.key.as_str(), part.revision.short())).collect();
    assert_eq!(each, [("worker", "web:1")]);
}
