//! One comment a pull request and environment, whoever else comments there.

use crate::github::scene::{BOT, HEAD, PULL, Scene, key, marker};
use aws_stage::faults::FaultAction;
use aws_stage::github::PullRequest;
use fargate_deploy::ports::GitHub as _;
use fargate_deploy::steps::comment::{Upserted, find_existing, upsert};
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
    let upserted = upsert(&scene.api(), PULL, &marker(HEAD), "the new plan").await.unwrap();
    assert_eq!(upserted, Upserted::Updated(ours));
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
    assert_eq!(upsert(&scene.api(), PULL, &marker(HEAD), "the plan").await.unwrap(), Upserted::Unchanged(ours));
    assert_eq!(scene.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn somebody_elses_copy_of_our_marker_is_left_alone_and_ours_is_made() {
    let scene = Scene::open().await;
    let theirs = scene.github().add_comment(PULL, "mallory", &marker("old").body("looks good, approved"));
    let upserted = upsert(&scene.api(), PULL, &marker(HEAD), "the plan").await.unwrap();
    let comments = scene.github().comments(PULL);
    assert_eq!(upserted, Upserted::Created(comments[1].id));
    assert_eq!((comments[0].id, comments[0].edits), (theirs, 0));
    assert_eq!((comments[1].author.as_str(), comments.len()), (BOT, 2));
    let again = upsert(&scene.api(), PULL, &marker(HEAD), "the next plan").await.unwrap();
    assert_eq!(again, Upserted::Updated(comments[1].id));
}

#[tokio::test]
async fn a_comment_that_was_folded_away_is_not_written_to_again() {
    let scene = Scene::open().await;
    let folded = scene.github().add_comment(PULL, BOT, &marker("old").body("the old plan"));
    scene.github().minimize(folded, true);
    let upserted = upsert(&scene.api(), PULL, &marker(HEAD), "the plan").await.unwrap();
    assert!(matches!(upserted, Upserted::Created(id) if id != folded), "{upserted:?}");
    assert_eq!(scene.github().comments(PULL)[0].edits, 0);
}

#[tokio::test]
async fn each_environment_has_a_comment_of_its_own() {
    let scene = Scene::open().await;
    let staging = Marker { key: key("staging"), ..marker(HEAD) };
    upsert(&scene.api(), PULL, &marker(HEAD), "production").await.unwrap();
    upsert(&scene.api(), PULL, &staging, "staging").await.unwrap();
    upsert(&scene.api(), PULL, &marker(HEAD), "production!").await.unwrap();
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
    upsert(&scene.api_of(&env, crate::github::scene::patient()), PULL, &marker(HEAD), "by ann").await.unwrap();
    let authors: Vec<_> = scene.github().comments(PULL).into_iter().map(|c| c.author).collect();
    assert_eq!(authors, [BOT, "ann"]);
}

#[tokio::test]
async fn a_lost_answer_to_the_creation_leaves_one_comment() {
    let scene = Scene::open().await;
    scene.fault("CreateComment", 1, FaultAction::DropAfterEffect);
    let upserted = upsert(&scene.api(), PULL, &marker(HEAD), "the plan").await.unwrap();
    let comments = scene.github().comments(PULL);
    assert_eq!(comments.len(), 1);
    assert_eq!(upserted, Upserted::Created(comments[0].id));
    assert_eq!(scene.calls_of("CreateComment"), 1);
}

#[tokio::test]
async fn a_creation_that_never_arrived_is_sent_again_after_a_look() {
    let scene = Scene::open().await;
    scene.fault("CreateComment", 1, FaultAction::DropBefore);
    upsert(&scene.api(), PULL, &marker(HEAD), "the plan").await.unwrap();
    assert_eq!(scene.github().comments(PULL).len(), 1);
    assert_eq!((scene.calls_of("CreateComment"), scene.calls_of("ListComments")), (2, 2));
}

#[tokio::test]
async fn what_was_reviewed_can_be_read_back_from_our_comment_only() {
    let scene = Scene::open().await;
    let key = key("production");
    scene.github().add_comment(PULL, "mallory", &marker("forged").body("approved"));
    assert_eq!(find_existing(&scene.api(), PULL, &key).await.unwrap(), []);
    upsert(&scene.api(), PULL, &marker(HEAD), "the plan").await.unwrap();
    let comments = find_existing(&scene.api(), PULL, &key).await.unwrap();
    assert_eq!(comments.iter().map(|c| Marker::of(&c.body)).collect::<Vec<_>>(), [Some(marker(HEAD))]);
}

#[tokio::test]
async fn two_configs_and_two_labels_of_one_cluster_have_a_comment_each() {
    let scene = Scene::open().await;
    let of = |config: &str, label: Option<&str>| {
        let key = Key::new(config, Some("production"), "shop", label);
        Marker { key, ..marker(HEAD) }
    };
    let markers = [
        of("apps/api/fargate-deploy.yml", None),
        of("apps/web/fargate-deploy.yml", None),
        of("apps/web/fargate-deploy.yml", Some("canary")),
    ];
    for round in ["first", "second"] {
        for marker in &markers {
            upsert(&scene.api(), PULL, marker, &format!("{round} {}", marker.key.config)).await.unwrap();
        }
    }
    let bodies: Vec<_> = scene.github().comments(PULL).into_iter().map(|c| c.body).collect();
    let expected: Vec<_> = markers.iter().map(|m| m.body(&format!("second {}", m.key.config))).collect();
    assert_eq!(bodies, expected);
}

#[tokio::test]
async fn of_two_comments_of_ours_one_is_kept_up_to_date_and_the_other_points_to_it() {
    let scene = Scene::open().await;
    let first = scene.github().add_comment(PULL, BOT, &marker("old").body("an old plan"));
    let second = scene.github().add_comment(PULL, BOT, &marker("older").body("another old plan"));
    for _ in 0..2 {
        upsert(&scene.api(), PULL, &marker(HEAD), "the plan").await.unwrap();
    }
    let comments = scene.github().comments(PULL);
    assert_eq!((comments[0].id, comments[0].body.clone()), (first, marker(HEAD).body("the plan")));
    assert_eq!((comments[1].id, comments[1].edits), (second, 1));
    assert!(comments[1].body.ends_with(&format!("[another comment](#issuecomment-{first}).")), "{}", comments[1].body);
}

#[tokio::test]
async fn a_comment_that_a_person_removed_meanwhile_is_made_again() {
    let scene = Scene::open().await;
    let removed = scene.github().add_comment(PULL, BOT, &marker("old").body("the old plan"));
    // It is gone between the list and the edit.
    scene.fault("UpdateComment", 1, FaultAction::Status(404));
    let upserted = upsert(&scene.api(), PULL, &marker(HEAD), "the plan").await.unwrap();
    assert!(matches!(upserted, Upserted::Created(id) if id != removed), "{upserted:?}");
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
