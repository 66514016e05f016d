//! Which images a commit builds, and which it takes as they are.

use crate::story::fake::REGISTRY;
use crate::story::fake::digest_of;
use crate::story::scene::{Scene, old_image};
use fargate_deploy::config::{Cache, ImageSource};
use fargate_deploy::context::CacheBranches;
use fargate_deploy::render::plan::text;
use fargate_deploy_core::outcome::Success;
use std::collections::BTreeSet;

/// What the plan says of each image.
async fn planned(scene: &mut Scene) -> Vec<String> {
    scene.order.is_dry_run = true;
    let ended = scene.deploy().await;
    scene.order.is_dry_run = false;
    let plan = ended.record.plan.unwrap();
    plan.images.iter().map(|image| format!("{}: {}", image.key, text::image(image))).collect()
}

fn builds(scene: &Scene) -> Vec<String> {
    scene.journal.lines().into_iter().filter(|line| line.starts_with("build ")).collect()
}

fn says(scene: &Scene, text: &str) -> bool {
    scene.told.json().iter().any(|event| event.to_string().contains(text))
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_changes_one_image_of_three_builds_one_and_the_plan_says_so_before() {
    let scene = Scene::monorepo();
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
    assert_eq!(builds(&scene).len(), 3);

    let mut scene = scene.next_commit("def456");
    scene.builder.contents.borrow_mut().insert("/jobs".to_owned(), "changed".to_owned());
    let said = planned(&mut scene).await;
    let [app, worker, jobs] = &said[..] else { panic!("{said:?}") };
    for reused in [app, worker] {
        assert!(reused.contains("as def456, reused: it has the same content"), "{reused}");
    }
    assert!(jobs.starts_with("jobs: build for linux/amd64"), "{jobs}");
    assert!(jobs.ends_with(": no image of any commit has this content"), "{jobs}");

    scene.journal.clear();
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
    assert_eq!(builds(&scene), ["build /jobs for linux/amd64"]);
    assert!(says(&scene, r#""looked-up":{"by":"content"}"#));
    let moved: BTreeSet<_> = scene.journal.lines().into_iter().filter(|l| l.contains("ecs:UpdateService")).collect();
    assert!(moved.iter().all(|line| line.contains("jobs")) && moved.len() == 1, "{moved:?}");
}

#[tokio::test(start_paused = true)]
async fn a_base_image_that_moved_is_another_content() {
    let scene = Scene::monorepo();
    scene.builder.bases.replace(vec!["node:20".to_owned()]);
    scene.deploy().await;
    assert_eq!(scene.journal.count("resolve node:20"), 1, "images of one release share what they ask for");
    let scene = scene.next_commit("def456");
    scene.deploy().await;
    assert_eq!(builds(&scene).len(), 3);
    let scene = scene.next_commit("aaa111");
    scene.builder.moved.borrow_mut().insert("node:20".to_owned(), Ok("patched".to_owned()));
    scene.deploy().await;
    assert_eq!(builds(&scene).len(), 6);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_certain_is_built_for_each_commit_once_and_said() {
    for doubt in ["of the Dockerfile, line 2: `ADD https://x` fetches what may change", ""] {
        let mut scene = Scene::monorepo();
        if doubt.is_empty() {
            scene.builder.bases.replace(vec!["node:20".to_owned()]);
            scene.builder.moved.borrow_mut().insert("node:20".to_owned(), Err("no route to its registry".to_owned()));
        } else {
            scene.builder.doubt.replace(Some(doubt.to_owned()));
        }
        let why = if doubt.is_empty() { "what `node:20` stands for now is not known: no route" } else { doubt };
        let said = planned(&mut scene).await;
        assert!(said[0].contains(&format!(", for this commit alone: {why}")), "{said:?}");
        scene.deploy().await;
        assert!(says(&scene, r#""event":"reuse-limited""#));
        scene.deploy().await;
        assert_eq!(builds(&scene).len(), 3);
        let scene = scene.next_commit("def456");
        scene.deploy().await;
        assert_eq!(builds(&scene).len(), 6);
    }
}

#[tokio::test(start_paused = true)]
async fn an_image_whose_build_read_more_than_was_looked_at_is_kept_for_its_commit_alone() {
    let scene = Scene::monorepo();
    scene.builder.reads_beyond.replace(Some("package.json".to_owned()));
    scene.deploy().await;
    assert!(says(&scene, r#""event":"content-exceeded""#));
    scene.deploy().await;
    assert_eq!(builds(&scene).len(), 3, "the same commit again");
    let scene = scene.next_commit("def456");
    scene.deploy().await;
    assert_eq!(builds(&scene).len(), 6);
}

#[tokio::test(start_paused = true)]
async fn caches_are_looked_for_in_what_runs_and_in_tags_that_move() {
    let scene = Scene::monorepo();
    let image = |tag: &str| format!("{REGISTRY}/shop-app{tag}");
    assert_eq!(old_image("shop-app"), image(&format!("@{}", digest_of("old"))));
    scene.deploy().await;
    let caches = scene.builder.caches.take();
    assert!(caches.contains(&old_image("shop-app")), "the tags name the commit: {caches:?}");
    assert!(caches.contains(&old_image("shop-jobs")), "{caches:?}");

    let mut scene = scene.next_commit("def456");
    scene.builder.content.replace("newer".to_owned());
    let ImageSource::Build(build) = &mut scene.order.config.images[0].source else { panic!() };
    build.tags = ["{sha}", "{branch}", "latest"].map(str::to_owned).to_vec();
    scene.order.tags[0].1 = ["def456", "main", "latest"].map(str::to_owned).to_vec();
    scene.deploy().await;
    let caches: Vec<_> = scene.builder.caches.take().into_iter().filter(|c| c.contains("shop-app")).collect();
    let first = digest_of("/src new");
    assert_eq!(caches, [image(&format!("@{first}")), image(":main"), image(":latest")]);
}

/// A Dockerfile whose image takes files from the stage `build`.
fn multi_stage(write: Option<&str>) -> Scene {
    let mut scene = Scene::without_migration();
    scene.builder.stages.replace(vec!["build".to_owned()]);
    let ImageSource::Build(build) = &mut scene.order.config.images[0].source else { panic!() };
    build.cache = Cache::Auto;
    let read = ["feature/x", "main"].map(str::to_owned).to_vec();
    scene.order.cache_branches = CacheBranches { read, write: write.map(str::to_owned) };
    scene
}

#[tokio::test(start_paused = true)]
async fn stages_that_an_image_does_not_hold_are_kept_under_tags_of_their_branch_and_read_from_there() {
    let mut scene = multi_stage(Some("feature/x"));
    let said = {
        scene.order.is_dry_run = true;
        let plan = scene.deploy().await.record.plan.unwrap();
        scene.order.is_dry_run = false;
        plan.calls.iter().map(|call| format!("{} {}", call.action, call.on)).collect::<Vec<_>>()
    };
    let kept = format!("{REGISTRY}/shop-app:cache-app-build-feature-x");
    assert!(said.contains(&format!("ecr:PutImage {kept}")), "{said:?}");
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
    assert_eq!(scene.journal.count("push shop-app:cache-app-build-feature-x"), 1);
    let caches = scene.builder.caches.take();
    let main = format!("{REGISTRY}/shop-app:cache-app-build-main");
    assert!(caches[1..].starts_with(&[kept, main]), "{caches:?}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_where_a_branch_may_not_or_a_tag_cannot_move() {
    let unsafe_branch = multi_stage(None);
    let immutable = multi_stage(Some("main"));
    immutable.cloud.aws().repositories.get_mut("shop-app").unwrap().is_immutable = true;
    for scene in [unsafe_branch, immutable] {
        assert_eq!(scene.deploy().await.success(), Success::Deployed);
        assert_eq!(scene.journal.count("push shop-app:cache-"), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_builder_that_writes_the_whole_cache_is_given_one_tag_for_the_branch_and_keeps_no_stage() {
    let mut scene = multi_stage(Some("feature/x"));
    scene.builder.writes_whole_cache.set(true);
    scene.order.is_dry_run = true;
    let plan = scene.deploy().await.record.plan.unwrap();
    scene.order.is_dry_run = false;
    let written = format!("{REGISTRY}/shop-app:cache-app-feature-x");
    assert!(plan.calls.iter().any(|call| call.action == "ecr:PutImage" && call.on == written), "{:?}", plan.calls);
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
    assert_eq!(scene.builder.written.borrow().join(" "), written);
    assert_eq!(scene.journal.count("push shop-app:cache-"), 0, "the builder writes it itself");
    let caches = scene.builder.caches.take();
    assert!(caches[1..].starts_with(&[written, format!("{REGISTRY}/shop-app:cache-app-main")]), "{caches:?}");

    let unsafe_branch = multi_stage(None);
    unsafe_branch.builder.writes_whole_cache.set(true);
    assert_eq!(unsafe_branch.deploy().await.success(), Success::Deployed);
    assert!(unsafe_branch.builder.written.borrow().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_cannot_be_kept_is_one_warning_and_the_deploy_is_green() {
    let scene = multi_stage(Some("main"));
    scene.builder.refuses.replace(Some("cache-".to_owned()));
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
    let warnings = scene.told.json().into_iter().filter(|event| event["event"] == "warning");
    let said: Vec<_> = warnings.map(|event| event.to_string()).filter(|event| event.contains("was not kept")).collect();
    assert_eq!(said.len(), 1, "{said:?}");
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_does_not_end_does_not_hold_a_release_up() {
    let scene = multi_stage(Some("main"));
    scene.builder.hangs.replace(Some("cache-".to_owned()));
    let began = tokio::time::Instant::now();
    assert_eq!(scene.deploy().await.success(), Success::Deployed);
    assert!(began.elapsed().as_secs() < 600, "{:?}", began.elapsed());
}
