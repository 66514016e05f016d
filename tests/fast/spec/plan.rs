//! What a reviewer sees: the text and the comment of plans that were made as `deploy` makes them.

use fargate_deploy::config::*;
use fargate_deploy::render::plan::markdown::{COMMENT, CommentContext, comment, summary};
use fargate_deploy::render::plan::text;
use fargate_deploy_core::image::Digest;
use fargate_deploy_core::plan::document::{Decision, Infrastructure, PlanDocument, Published, RunOptions, Shown};
use fargate_deploy_core::plan::offline::OfflineDocument;
use fargate_deploy_core::plan::risk::RiskKind;
use fargate_deploy_core::plan::{Before, Found, ImageBefore, ImageFound, LookUp, Plan, ServiceBefore, StageCaches};
use fargate_deploy_core::service::{Alarms, Breaker, Controller, Counts, Service, Strategy};
use fargate_deploy_core::task_definition::TaskDefinition;
use fargate_deploy_core::terraform::TerraformSummary;
use insta::assert_snapshot;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

const REGISTRY: &str = "111122223333.dkr.ecr.eu-central-1.amazonaws.com";
const CONTEXT: CommentContext<'_> = CommentContext {
    label: None,
    head: Some("4f2c1d6b0d9f4b1d8a7c3e5f60718293a4b5c6d7"),
    run_url: Some("https://github.com/acme/shop/actions/runs/7"),
    next: "merging deploys this",
};

/// What a release of some services starts from.
struct World {
    config: Config,
    before: Before,
    run: RunOptions,
}

fn build(repository: &str, tags: &[&str]) -> ImageSource {
    ImageSource::Build(Box::new(BuildConfig {
        repository: repository.to_owned(),
        create_repository: false,
        context: PathBuf::from("/shop"),
        dockerfile: None,
        target: None,
        args: BTreeMap::new(),
        labels: BTreeMap::new(),
        secrets: vec![],
        platform: None,
        tags: tags.iter().map(|t| (*t).to_owned()).collect(),
        cache: Cache::Inline,
        reuse: Reuse::Commit,
    }))
}

fn digest(of: char) -> String {
    format!("sha256:{}", of.to_string().repeat(64))
}

fn image(key: &str) -> ImageBefore {
    ImageBefore {
        key: key.into(),
        name: format!("{REGISTRY}/{key}"),
        tags: vec!["4f2c1d6".to_owned()],
        content_tag: Some("content-0123456789".to_owned()),
        commit_tag: None,
        looked_up: Some(LookUp::Commit),
        stage_caches: StageCaches::default(),
        found: None,
        is_immutable: false,
        is_to_be_created: false,
    }
}

fn definition(family: &str, app: Value) -> Value {
    let mut container = json!({"name": "app", "image": format!("{REGISTRY}/app@{}", digest('a')), "essential": true});
    container.as_object_mut().unwrap().extend(app.as_object().unwrap().clone());
    json!({
        "family": family, "cpu": "512", "memory": "1024", "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"], "executionRoleArn": "arn:aws:iam::111122223333:role/execution",
        "containerDefinitions": [container]
    })
}

fn running(definition: &Value, revision: u64, release: Option<u64>) -> TaskDefinition {
    let family = definition["family"].as_str().unwrap();
    let mut described = TaskDefinition::from_json(&definition.to_string()).unwrap();
    let arn = format!("arn:aws:ecs:eu-central-1:111122223333:task-definition/{family}:{revision}");
    described.body.insert("taskDefinitionArn".to_owned(), json!(arn));
    if let Some(release) = release {
        described.set_tag("fargate-deploy:release", format!("r{release}"));
    }
    described
}

fn service(name: &str, definition: &TaskDefinition) -> Service {
    Service {
        arn: format!("arn:aws:ecs:eu-central-1:111122223333:service/shop/{name}"),
        name: name.to_owned(),
        cluster_arn: "arn:aws:ecs:eu-central-1:111122223333:cluster/shop".to_owned(),
        status: "ACTIVE".to_owned(),
        task_definition: definition.arn().unwrap(),
        counts: Counts { desired: 2, running: 2, pending: 0 },
        controller: Controller::Ecs,
        strategy: Strategy::Rolling,
        is_express: false,
        breaker: Breaker { is_enabled: true, rolls_back: true },
        alarms: Alarms::default(),
        minimum_healthy_percent: Some(100),
        maximum_percent: Some(200),
        network_configuration: Some(json!({})),
        platform_version: None,
        launch_type: Some("FARGATE".to_owned()),
        volume_configurations: vec![],
        has_managed_tags: false,
        target_groups: vec!["arn:tg".to_owned()],
        load_balanced: None,
        grace_seconds: None,
        deployments: vec![],
        events: vec![],
        current_service_deployment: None,
    }
}

impl World {
    /// One image, no service.
    fn new() -> Self {
        let config = Config {
            file: None,
            root: PathBuf::from("/shop"),
            environment: Some("production".to_owned()),
            region: None,
            roles: vec![],
            images: vec![ImageConfig { key: "app".into(), source: build("app", &["{short-sha}"]) }],
            release: vec![],
            services: vec![],
            left_out: fargate_deploy::config::LeftOut::default(),
            snapshot: None,
            builder: None,
            on_failure: OnFailure::RollbackAll,
            fail_fast: false,
            on_cancel: OnCancel::Leave,
            lock: Lock::Lease { wait: Duration::from_secs(900) },
            wait: Duration::from_secs(1800),
            require_plan: false,
            force: false,
            rehearse: RehearseConfig::default(),
            terraform_outputs: vec![],
            shown_as: vec![],
        };
        Self {
            config,
            before: Before { services: vec![], found: Found { images: vec![image("app")], definitions: vec![] } },
            run: RunOptions::default(),
        }
    }

    /// A service that runs `old`; its file in git says `new`.
    fn with(mut self, name: &str, old: &Value, new: &Value) -> Self {
        let old = running(old, 41, Some(7));
        self.before.services.push(ServiceBefore {
            key: name.into(),
            service: service(name, &old),
            running: old,
            base: TaskDefinition::from_json(&new.to_string()).unwrap(),
            latest_release: 7,
        });
        self.config.services.push(ServiceConfig {
            key: name.into(),
            cluster: "shop".into(),
            name: name.into(),
            containers: vec![(Some("app".into()), "app".into())],
            task_definition: Some(PathBuf::from(format!("/shop/infra/{name}.json"))),
            after: vec![],
            smoke: vec![],
        });
        self
    }

    fn migrating(mut self, command: &[&str]) -> Self {
        self.config.release.push(ReleaseCommand {
            name: "migrate".to_owned(),
            service: "web".into(),
            container: None,
            command: command.iter().map(|c| (*c).into()).collect(),
            timeout: Duration::from_secs(900),
            when: When::Before,
            task_definition: None,
        });
        self
    }

    /// The image is in the repository already.
    fn built(mut self, of: char) -> Self {
        self.before.found.images[0].found = Some(ImageFound {
            digest: Digest::parse(&digest(of)).unwrap(),
            tags: vec!["4f2c1d6".to_owned()],
            platform: None,
        });
        self
    }

    fn planned(&self) -> PlanDocument {
        let plan = Plan::new(&self.config, self.before.clone()).unwrap_or_else(|e| panic!("{e:?}"));
        PlanDocument::of(&plan, &self.config, self.run)
    }
}

fn both(plan: &PlanDocument) -> String {
    format!("{}\n\n======\n{}", text::lines(plan).join("\n"), comment(plan, CONTEXT, COMMENT))
}

/// The Markdown outside of code blocks; no fence and no fold is left open.
fn closed(text: &str) -> String {
    let mut outside = String::new();
    let mut open: Option<String> = None;
    for line in text.lines() {
        let run: String = line.chars().take_while(|c| *c == '`').collect();
        match &open {
            Some(fence) if line == *fence => open = None,
            Some(_) => {}
            None if run.len() >= 3 => open = Some(run),
            None => outside.extend([line, "\n"]),
        }
    }
    assert_eq!(open, None, "a fence is open");
    assert_eq!(outside.matches("<details>").count(), outside.matches("</details>").count());
    outside
}

fn has(plan: &PlanDocument, kind: RiskKind) -> bool {
    plan.risks.iter().any(|risk| risk.kind == kind)
}

#[test]
fn a_first_deploy_onto_a_service_that_we_never_released() {
    let old = definition("web", json!({"image": "nginx:latest"}));
    let mut world = World::new().with("web", &old, &definition("web", json!({}))).migrating(&["yarn", "migrate"]);
    world.before.services[0].running.tags.clear();
    world.before.services[0].latest_release = 0;
    let plan = world.planned();
    assert!(has(&plan, RiskKind::DatabaseCommand));
    assert_snapshot!(both(&plan));
}

#[test]
fn an_image_only_release_says_so() {
    let same = definition("web", json!({}));
    let plan = World::new().with("web", &same, &same).migrating(&["yarn", "migrate"]).planned();
    assert_eq!(plan.decision, Decision::ImageOnly);
    assert!(plan.risks.is_empty(), "{:?}", plan.risks);
    assert_snapshot!(both(&plan));
}

#[test]
fn a_difference_of_forty_lines() {
    let variables =
        |from: usize| (0..40).map(move |n| json!({"name": format!("V{n:02}"), "value": format!("hunter{}", n + from)}));
    let of = |from: usize| definition("web", json!({"environment": variables(from).collect::<Vec<_>>(), "cpu": 256}));
    let plan = World::new().with("web", &of(1), &of(2)).planned();
    let text = both(&plan);
    assert!(!text.contains("hunter"), "a value is shown");
    assert_snapshot!(text);
}

#[test]
fn three_services_of_which_one_waits_for_another_and_one_is_left_alone() {
    let plain = |name: &str, cpu: &str| {
        let mut of = definition(name, json!({}));
        of["cpu"] = json!(cpu);
        of
    };
    let mut world = World::new()
        .with("api", &plain("api", "512"), &plain("api", "1024"))
        .with("web", &plain("web", "512"), &plain("web", "512"))
        .with("cron", &plain("cron", "512"), &plain("cron", "512"));
    world.config.services[1].after = vec!["api".into()];
    world.config.services[2].containers = vec![];
    world.before.services[0].base.body["memory"] = json!("2048");
    world.before.services[0].running.body["memory"] = json!("4096");
    let plan = world.planned();
    let moved: Vec<_> = plan.calls.iter().filter(|c| c.action == "ecs:UpdateService").map(|c| c.on.as_str()).collect();
    assert_eq!(moved, ["shop/api", "shop/web"]);
    assert_snapshot!(both(&plan));
}

#[test]
fn a_removed_secret_comes_before_everything() {
    let secrets = json!({"secrets": [
        {"name": "STRIPE_KEY", "valueFrom": "arn:aws:secretsmanager:eu-central-1:111122223333:secret:stripe"},
        {"name": "DATABASE_URL", "valueFrom": "/shop/database-url"}]});
    let fewer = json!({"secrets": [{"name": "DATABASE_URL", "valueFrom": "/shop/database-url-2"}]});
    let plan = World::new().with("web", &definition("web", secrets), &definition("web", fewer)).planned();
    assert!(has(&plan, RiskKind::RemovedSecret));
    assert_snapshot!(both(&plan));
}

#[test]
fn terraform_that_destroys_is_called_out_beside_the_plan() {
    let same = definition("web", json!({}));
    let mut plan = World::new().with("web", &same, &same).planned();
    let change = |address: &str, actions: Value| {
        let kind = address.split('.').next().unwrap();
        json!({"address": address, "mode": "managed", "type": kind, "name": "x", "change": {"actions": actions,
            "before": {"password": "hunter2"}, "after": null}})
    };
    let terraform = json!({
        "format_version": "1.2", "terraform_version": "1.13.0", "planned_values": {}, "configuration": {},
        "resource_changes": [
            change("aws_db_instance.main", json!(["delete"])),
            change("aws_lb_target_group.web", json!(["delete", "create"])),
            change("aws_sqs_queue.jobs", json!(["create"]))],
        "output_changes": {"queue": {"actions": ["create"], "before": null, "after_unknown": true}},
    });
    let summary = TerraformSummary::parse(terraform.to_string().as_bytes()).unwrap();
    plan.infrastructure = Some(Infrastructure::of(&summary, &["queue".to_owned(), "vpc".to_owned()]));
    assert!(!both(&plan).contains("hunter2"));
    assert_snapshot!(both(&plan));
}

#[test]
fn three_hundred_kilobytes_of_difference_fit_into_a_comment_and_a_summary() {
    let long = |word: &str| {
        let items: Vec<_> = (0..3000).map(|n| format!("{word} ünïcödé 🚀 ```` {n} {}", "x".repeat(70))).collect();
        definition("web", json!({"links": items}))
    };
    let plan = World::new().with("web", &long("old"), &long("new")).planned();
    let full = summary(&plan, CONTEXT);
    assert!(full.len() > 300_000 && full.len() <= 900 * 1024, "{}", full.len());
    closed(&full);
    let short = comment(&plan, CONTEXT, COMMENT);
    assert!(short.len() <= 60_000, "{}", short.len());
    assert!(short.len() > 50_000, "{}", short.len());
    assert!(short.contains("step summary of [the run](https://github.com/acme/shop/actions/runs/7)"));
    closed(&short);
}

#[test]
fn hostile_text_stays_text() {
    let hostile = "</details> @everyone `x` ``` | #1 <!-- \u{1b}[31m -->\n::error::no";
    let of = |image: &str| {
        definition(
            "web",
            json!({
                "environment": [{"name": hostile, "value": format!("hunter2 {image}")}],
                "command": [image, hostile], "memberOfTheFuture": [image, hostile], "dockerLabels": {hostile: image},
            }),
        )
    };
    let mut world = World::new().with("web", &of("a"), &of("b")).migrating(&["sh", "-c", hostile]);
    world.config.environment = Some(hostile.to_owned());
    let plan = world.planned();
    let markdown = comment(&plan, CONTEXT, COMMENT);
    assert!(!markdown.contains("hunter2") && !markdown.contains('\u{1b}'), "{markdown}");
    let difference = markdown.split("diff\n").nth(1).unwrap().lines().take_while(|line| !line.starts_with("````"));
    for line in difference {
        assert!(line.starts_with(['+', '-', '!', ' ']), "a name's line break leaves the block: {line}");
    }
    let outside = closed(&markdown);
    assert!(!outside.contains("<!--") && !outside.contains("@everyone"), "{outside}");
    for line in text::lines(&plan) {
        assert!(!line.starts_with("::") && !line.contains('\u{1b}') && !line.contains('\n'), "{line}");
    }
    assert_snapshot!(both(&plan));
}

#[test]
fn nothing_to_do_is_no_change_and_calls_nothing() {
    let same = definition("web", json!({}));
    let plan = World::new().with("web", &same, &same).migrating(&["yarn", "migrate"]).built('a').planned();
    assert_eq!((plan.decision, plan.changed_services()), (Decision::Nothing, 0));
    assert_eq!(plan.calls, []);
    assert_eq!(plan.release_commands, []);
    assert_snapshot!(both(&plan));
}

#[test]
fn the_digest_is_the_same_before_and_after_the_push_and_another_one_for_another_meaning() {
    let same = definition("web", json!({}));
    let world = || World::new().with("web", &same, &same).migrating(&["yarn", "migrate"]);
    let reviewed = world().planned();
    let mut merged = world().built('b');
    merged.before.found.images[0].tags = vec!["another".to_owned()];
    merged.before.services[0].latest_release = 9;
    assert_eq!(merged.planned().digest, reviewed.digest);

    let with = |value: &str| definition("web", json!({"environment": [{"name": "A", "value": value}]}));
    let of = |value: &str| World::new().with("web", &same, &with(value)).planned().digest;
    assert_ne!(of("1"), of("2"), "a value counts although it is not shown");
    assert_ne!(world().migrating(&["other"]).planned().digest, reviewed.digest);
    let mut elsewhere = world();
    elsewhere.config.root = PathBuf::from("/shop");
    elsewhere.config.environment = Some("staging".to_owned());
    assert_ne!(elsewhere.planned().digest, reviewed.digest);
}

/// Whoever reviewed the plan reviewed this too: a smoke check that is gone is another release.
#[test]
fn every_choice_of_how_a_release_is_carried_out_is_in_the_digest_and_in_the_text() {
    let same = definition("web", json!({}));
    let world = || {
        let new = definition("web", json!({"image": "app:new"}));
        World::new().with("web", &same, &new).with("api", &definition("api", json!({})), &definition("api", json!({})))
    };
    type Change = fn(&mut World);
    let changes: [(&str, Change); 17] = [
        ("after", |w| w.config.services[0].after = vec!["api".into()]),
        ("reuse", |w| built_with(w, |b| b.reuse = Reuse::Never)),
        ("reuse of other commits", |w| built_with(w, |b| b.reuse = Reuse::Content)),
        ("on-failure", |w| w.config.on_failure = OnFailure::Leave),
        ("fail-fast", |w| w.config.fail_fast = true),
        ("on-cancel", |w| w.config.on_cancel = OnCancel::Rollback),
        ("wait", |w| w.config.wait = Duration::from_secs(60)),
        ("lock", |w| w.config.lock = Lock::None),
        ("lock-timeout", |w| w.config.lock = Lock::Lease { wait: Duration::from_secs(1) }),
        ("snapshot", |w| w.config.snapshot = Some("shop".to_owned())),
        ("force", |w| w.config.force = true),
        ("no-wait", |w| w.run.is_unwatched = true),
        ("labels", |w| built_with(w, |b| drop(b.labels.insert("team".to_owned(), "shop".into())))),
        ("build-secrets", |w| {
            built_with(w, |b| {
                b.secrets
                    .push(BuildSecret { id: "npmrc".to_owned(), source: BuildSecretSource::Env("NPMRC".to_owned()) });
            });
        }),
        ("cache", |w| built_with(w, |b| b.cache = Cache::Off)),
        ("create-repository", |w| built_with(w, |b| b.create_repository = true)),
        ("tags", |w| built_with(w, |b| b.tags.push("latest".to_owned()))),
    ];
    let before = world().planned();
    for (name, change) in changes {
        let mut world = world();
        change(&mut world);
        assert_ne!(world.planned().digest, before.digest, "{name}");
    }
    for (name, change) in &changes[..8] {
        let mut world = world();
        change(&mut world);
        let changed = world.planned();
        let digests = |plan: &PlanDocument| text::lines(plan).into_iter().filter(|l| !l.contains("digest")).collect();
        let (then, now): (Vec<String>, Vec<String>) = (digests(&before), digests(&changed));
        assert_ne!(then, now, "{name} is not in the text");
    }
    let mut checked = world();
    checked.config.services[0].smoke = vec![check()];
    let checked = checked.planned();
    assert_ne!(checked.digest, before.digest);
    let said = text::lines(&checked).join("\n");
    assert!(said.contains("then https://shop.example/health must answer 200 within 60 s"), "{said}");
    let mut longer = world();
    longer.config.services[0].smoke = vec![SmokeCheck { within: Duration::from_secs(61), ..check() }];
    assert_ne!(longer.planned().digest, checked.digest);
}

fn check() -> SmokeCheck {
    SmokeCheck {
        url: "https://shop.example/health".into(),
        status: 200,
        within: Duration::from_secs(60),
        contains: None,
    }
}

fn built_with(world: &mut World, change: impl FnOnce(&mut BuildConfig)) {
    let ImageSource::Build(build) = &mut world.config.images[0].source else { panic!("the image is built") };
    change(build);
}

#[test]
fn without_watching_no_command_runs_after_the_rollout_and_services_are_called_after_those_they_wait_for() {
    let same = definition("web", json!({}));
    let new = definition("web", json!({"image": "app:new"}));
    let mut world = World::new().with("web", &same, &new).with(
        "api",
        &definition("api", json!({})),
        &definition("api", json!({"image": "app:new"})),
    );
    world = world.migrating(&["yarn", "warm"]);
    world.config.release[0].when = When::After;
    world.config.services[0].after = vec!["api".into()];
    let calls = |world: &World, action: &str| -> Vec<String> {
        let calls = world.planned().calls.into_iter();
        calls.filter(|call| call.action == action).map(|call| call.on).collect()
    };
    assert_eq!(calls(&world, "ecs:UpdateService"), ["shop/api", "shop/web"]);
    assert_eq!(calls(&world, "ecs:RunTask"), ["migrate"]);
    world.run.is_unwatched = true;
    assert_eq!(calls(&world, "ecs:RunTask"), Vec::<String>::new());
}

/// The schema takes the plan, and names every member of it.
fn fits_schema(plan: &Value, definition: &str) {
    let schema: Value = serde_json::from_str(include_str!("../../../fargate-deploy.plan.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<_> = validator.iter_errors(plan).map(|e| format!("{e} at {}", e.instance_path())).collect();
    assert_eq!(errors, [""; 0], "{plan:#}");
    fn undescribed(value: &Value, schema: &Value, at: &str) -> Vec<String> {
        let Some(known) = schema["properties"].as_object() else { return vec![] };
        let members = value.as_object().into_iter().flatten();
        members
            .flat_map(|(name, value)| {
                let at = format!("{at}/{name}");
                match (known.get(name), value.get(0)) {
                    (None, _) => vec![at],
                    (Some(schema), Some(first)) => undescribed(first, &schema["items"], &at),
                    (Some(schema), None) => undescribed(value, schema, &at),
                }
            })
            .collect()
    }
    assert_eq!(undescribed(plan, &schema["$defs"][definition], ""), [""; 0]);
}

#[test]
fn the_plan_for_programs_has_a_version_and_is_what_its_schema_says() {
    let new = definition("web", json!({"image": "app:new"}));
    let mut world = World::new().with("web", &definition("web", json!({})), &new).migrating(&["yarn", "warm"]);
    world.config.services[0].smoke = vec![check()];
    let plan = json!(Published::plan(&world.planned()));
    fits_schema(&plan, "plan");
    assert_eq!((&plan["format-version"], &plan["is-offline"]), (&json!("1.0"), &json!(false)));
    let offline = OfflineDocument::of(&world.config, "`--offline`", &vec![], &vec![]);
    let offline = json!(Published::offline(&offline));
    fits_schema(&offline, "offline-plan");
    assert_eq!(offline["is-offline"], true);
}

#[test]
fn what_flags_leave_out_is_in_the_plan() {
    let new = definition("web", json!({"image": "app:new"}));
    let mut world = World::new().with("web", &definition("web", json!({})), &new).migrating(&["yarn", "warm"]);
    world.config.release[0].when = When::After;
    world.config.left_out.commands = vec!["seed".to_owned()];
    world.config.left_out.after = vec![("web".into(), "api".into())];
    world.run.is_unwatched = true;
    let said = text::lines(&world.planned()).join("\n");
    for expected in [
        "release command `seed`: left out by `--only`, with its service",
        "service `web`: does not wait for `api`, which `--only` leaves out",
        "release command `migrate`: left out by `--no-wait`: the next run owes it",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
}

/// Forty services that all come after each other are ordered at once.
#[test]
fn many_services_in_a_row_are_planned_in_no_time() {
    let mut world = World::new();
    for n in 0..40 {
        let name = format!("s{n}");
        world = world.with(&name, &definition(&name, json!({})), &definition(&name, json!({"image": "app:new"})));
        world.config.services[n].after = (0..n).map(|m| format!("s{m}").into()).collect();
    }
    let calls = world.planned().calls;
    let updated: Vec<_> = calls.iter().filter(|c| c.action == "ecs:UpdateService").map(|c| c.on.as_str()).collect();
    assert_eq!(updated.len(), 40);
    assert_eq!((updated[0], updated[39]), ("shop/s0", "shop/s39"));
}

#[test]
fn a_stale_plan_says_in_what_it_differs() {
    let same = definition("web", json!({}));
    let reviewed = World::new().with("web", &same, &same).planned();
    let shown = Shown { digest: reviewed.digest.clone(), parts: reviewed.parts.clone() };
    assert_eq!(reviewed.is_still(&shown), Ok(()));
    let mut moved = World::new().with("web", &same, &same).migrating(&["yarn", "migrate"]);
    let arn = "arn:aws:ecs:eu-central-1:111122223333:task-definition/web:42";
    moved.before.services[0].service.task_definition = arn.into();
    let mut now = moved.planned();
    let told = now.is_still(&shown).unwrap_err();
    assert!(told.contains(&"the revision that service `web` runs is not what was reviewed".to_owned()), "{told:?}");
    assert!(told.contains(&"release command `migrate` was not in the reviewed plan".to_owned()), "{told:?}");
    now.compare_bases(&shown.parts);
    assert_eq!(now.risks[0].kind, RiskKind::BaseMoved);
}

#[test]
fn settings_that_hurt_are_risks_and_cautions_come_first() {
    let same = definition("web", json!({}));
    let mut world = World::new().with("web", &same, &same);
    let service = &mut world.before.services[0].service;
    service.breaker = Breaker::default();
    service.minimum_healthy_percent = Some(0);
    let plan = world.planned();
    let kinds: Vec<_> = plan.risks.iter().map(|r| r.kind).collect();
    assert_eq!(kinds, [RiskKind::Downtime, RiskKind::BreakerOff]);

    let service = &mut world.before.services[0].service;
    service.minimum_healthy_percent = Some(100);
    service.maximum_percent = Some(100);
    assert!(has(&world.planned(), RiskKind::NoProgress));
    world.before.services[0].service.counts.desired = 0;
    assert!(has(&world.planned(), RiskKind::DesiredZero) && !has(&world.planned(), RiskKind::NoProgress));
}

#[test]
fn without_a_circuit_breaker_the_plan_says_who_ends_a_failing_release_and_who_takes_it_back() {
    let same = definition("web", json!({}));
    for (is_enabled, rolls_back, said) in [
        (false, false, "a failing release is judged and taken back by us"),
        (true, false, "a failing release is judged by its alarms and by us, and taken back by us"),
        (true, true, "only its alarms end a failing release, and ECS takes it back then"),
    ] {
        let mut world = World::new().with("web", &same, &same);
        let service = &mut world.before.services[0].service;
        service.breaker = Breaker::default();
        service.alarms = Alarms { is_enabled, rolls_back, names: vec!["errors".to_owned()] };
        let risks = world.planned().risks;
        let texts: Vec<_> = risks.iter().map(|risk| risk.text.as_str()).collect();
        assert_eq!(texts, [format!("service `web` has no deployment circuit breaker: {said}")]);
    }
}

#[test]
fn a_moving_tag_in_a_repository_with_immutable_tags_is_a_caution() {
    let same = definition("web", json!({}));
    let mut world = World::new().with("web", &same, &same);
    world.config.images[0].source = build("app", &["{short-sha}", "latest"]);
    world.before.found.images[0].tags.push("latest".to_owned());
    assert!(!has(&world.planned(), RiskKind::MutableTag));
    world.before.found.images[0].is_immutable = true;
    assert!(has(&world.planned(), RiskKind::MutableTag));
}

#[test]
fn a_migration_that_the_running_release_had_is_nothing_new() {
    let same = definition("web", json!({}));
    let world = World::new().with("web", &same, &same).migrating(&["yarn", "migrate"]);
    let plan = Plan::new(&world.config, world.before.clone()).unwrap();
    let released = plan.services[0].definition(8, &[], &Default::default());
    let mut next = World::new().with("web", &same, &same).migrating(&["yarn", "migrate"]);
    next.before.services[0].running.tags.clone_from(&released.tags);
    assert!(!has(&next.planned(), RiskKind::DatabaseCommand));
    next.config.release[0].command = vec!["yarn".into(), "migrate:down".into()];
    assert!(has(&next.planned(), RiskKind::DatabaseCommand));
}
