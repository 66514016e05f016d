//! One comment a pull request and environment, whoever else comments there.

use crate::github::scene::{BOT, HEAD, PULL, Scene, marker};
use aws_stage::faults::FaultAction;
use aws_stage::github::PullRequest;
use fargate_deploy::ports::GitHub as _;
use fargate_deploy::steps::comment::{Stuck, standing, stick};
use fargate_deploy_core::comment::{Key, Marker};

/// A hundred and twenty comments at fifty a page, ours on the third.
async fn crowded(body: &str) -> (Scene, u64) {
    let scene = Scene::open().await;
    scene.github().set_largest_page(50);
    let mut ours = 0;
    for number in 0..120 {
        let id = match number {
            110 => scene.github().add_comment(PULL, BOT, body),
            _ => scene.github().add_comment(PULL, "ann", &format!("looks good {number}")),
        };
        ours = if number == 110 { id } else { ours };
    }
    (scene, ours)
}

#[tokio::test]
async fn our_comment_on_the_third_page_is_edited_not_duplicated() {
    let (scene, ours) = crowded(&marker("old").body("the old plan")).await;
    let stuck = stick(&scene.api(), PULL, &marker(HEAD), "the new plan").await.unwrap();
    assert_eq!(stuck, Stuck::Updated(ours));
    let comments = scene.github().comments(PULL);
    assert_eq!(comments.len(), 120);
    assert_eq!(comments[110].body, marker(HEAD).body("the new plan"));
    assert!(comments.iter().filter(|c| c.id != ours).all(|c| c.edits == 0));
    assert_eq!(scene.calls_of("ListComments"), 3);
    assert_eq!(scene.writes(), ["UpdateComment"]);
}

#[tokio::test]
async fn an_equal_comment_costs_no_write() {
    let (scene, ours) = crowded(&marker(HEAD).body("the plan")).await;
    assert_eq!(stick(&scene.api(), PULL, &marker(HEAD), "the plan").await.unwrap(), Stuck::Unchanged(ours));
    assert_eq!(scene.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn somebody_elses_copy_of_our_marker_is_left_alone_and_ours_is_made() {
    let scene = Scene::open().await;
    let theirs = scene.github().add_comment(PULL, "mallory", &marker("old").body("looks good, approved"));
    let stuck = stick(&scene.api(), PULL, &marker(HEAD), "the plan").await.unwrap();
    let comments = scene.github().comments(PULL);
    assert_eq!(stuck, Stuck::Created(comments[1].id));
    assert_eq!((comments[0].id, comments[0].edits), (theirs, 0));
    assert_eq!((comments[1].author.as_str(), comments.len()), (BOT, 2));
    let again = stick(&scene.api(), PULL, &marker(HEAD), "the next plan").await.unwrap();
    assert_eq!(again, Stuck::Updated(comments[1].id));
}

#[tokio::test]
async fn a_comment_that_was_folded_away_is_not_written_to_again() {
    let scene = Scene::open().await;
    let folded = scene.github().add_comment(PULL, BOT, &marker("old").body("the old plan"));
    scene.github().minimize(folded, true);
    let stuck = stick(&scene.api(), PULL, &marker(HEAD), "the plan").await.unwrap();
    assert!(matches!(stuck, Stuck::Created(id) if id != folded), "{stuck:?}");
    assert_eq!(scene.github().comments(PULL)[0].edits, 0);
}

#[tokio::test]
async fn each_environment_has_a_comment_of_its_own() {
    let scene = Scene::open().await;
    let staging = Marker { key: Key::new(Some("staging"), "shop"), ..marker(HEAD) };
    stick(&scene.api(), PULL, &marker(HEAD), "production").await.unwrap();
    stick(&scene.api(), PULL, &staging, "staging").await.unwrap();
    stick(&scene.api(), PULL, &marker(HEAD), "production!").await.unwrap();
    let bodies: Vec<_> = scene.github().comments(PULL).into_iter().map(|c| c.body).collect();
    assert_eq!(bodies, [marker(HEAD).body("production!"), staging.body("staging")]);
}

#[tokio::test]
async fn a_person_with_a_token_of_their_own_has_their_own_comment() {
    let scene = Scene::open().await;
    scene.github().add_comment(PULL, BOT, &marker(HEAD).body("by the job"));
    scene.github().set_account("ghp_ann", "ann", &[("issues", "write")]);
    let mut env = scene.env();
    env.insert("INPUT_GITHUB-TOKEN".to_owned(), "ghp_ann".to_owned());
    stick(&scene.api_of(&env, crate::github::scene::patient()), PULL, &marker(HEAD), "by ann").await.unwrap();
    let authors: Vec<_> = scene.github().comments(PULL).into_iter().map(|c| c.author).collect();
    assert_eq!(authors, [BOT, "ann"]);
}

#[tokio::test]
async fn a_lost_answer_to_the_creation_leaves_one_comment() {
    let scene = Scene::open().await;
    scene.fault("CreateComment", 1, FaultAction::DropAfterEffect);
    let stuck = stick(&scene.api(), PULL, &marker(HEAD), "the plan").await.unwrap();
    let comments = scene.github().comments(PULL);
    assert_eq!(comments.len(), 1);
    assert_eq!(stuck, Stuck::Created(comments[0].id));
    assert_eq!(scene.calls_of("CreateComment"), 1);
}

#[tokio::test]
async fn a_creation_that_never_arrived_is_sent_again_after_a_look() {
    let scene = Scene::open().await;
    scene.fault("CreateComment", 1, FaultAction::DropBefore);
    stick(&scene.api(), PULL, &marker(HEAD), "the plan").await.unwrap();
    assert_eq!(scene.github().comments(PULL).len(), 1);
    assert_eq!((scene.calls_of("CreateComment"), scene.calls_of("ListComments")), (2, 2));
}

#[tokio::test]
async fn what_was_reviewed_can_be_read_back_from_our_comment_only() {
    let scene = Scene::open().await;
    let key = Key::new(Some("production"), "shop");
    scene.github().add_comment(PULL, "mallory", &marker("forged").body("approved"));
    assert_eq!(standing(&scene.api(), PULL, &key).await.unwrap(), None);
    stick(&scene.api(), PULL, &marker(HEAD), "the plan").await.unwrap();
    let comment = standing(&scene.api(), PULL, &key).await.unwrap().unwrap();
    assert_eq!(Marker::of(&comment.body), Some(marker(HEAD)));
}

#[tokio::test]
async fn the_pull_request_of_a_merged_commit_is_found() {
    let scene = Scene::open().await;
    let merged = PullRequest { number: 8, head: "beef".to_owned(), merged_as: Some("cafe".to_owned()) };
    scene.github().add_pull_request(merged);
    let found = scene.api().pull_requests_of("cafe").await.unwrap();
    assert_eq!(found.iter().map(|p| (p.number, p.is_open, p.is_merged)).collect::<Vec<_>>(), [(8, false, true)]);
    assert_eq!(found[0].base, "main");
    assert_eq!(scene.api().pull_requests_of(HEAD).await.unwrap()[0].number, PULL);
    assert_eq!(scene.api().pull_requests_of("0000").await.unwrap(), []);
}
