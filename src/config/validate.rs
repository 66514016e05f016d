//! From what was written to what can be relied on. Every finding is gathered, so that one run shows them all.

mod builder;
mod chosen;
mod images;
mod rehearsal;

use super::decode::{Entries, Located, Loose, Text, Worded};
use super::error::{ConfigError, Place};
use super::file::{
    Builder, BuilderSettings, CacheChoice, Image, LockChoice, OnCancelChoice, OnFailureChoice, Release, ReuseChoice,
    Secret, SecretSource, Service, Settings, Smoke, Span, WhenChoice,
};
use super::request::Request;
use super::suggestion::{nearest, suggestion};
use super::tree::shown;
use super::{
    BuildConfig, BuildSecret, BuildSecretSource, BuilderConfig, Cache, Config, ImageConfig, ImageSource, Lock,
    OnCancel, OnFailure, ReleaseCommand, Reuse, ServiceConfig, SmokeCheck, When, syntax,
};
use fargate_deploy_core::image::ImageRef;
use fargate_deploy_core::names::{ClusterName, ContainerName, ImageKey, RoleArn, ServiceKey, ServiceName, short};
use fargate_deploy_core::resolved::Resolved;
use fargate_deploy_engine::is_of_kernel;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use chosen::Chosen;
use rehearsal::argv;

const MINUTE: u64 = 60;
const DEFAULT_WAIT: Duration = Duration::from_secs(30 * MINUTE);
const DEFAULT_LOCK_TIMEOUT: Duration = Duration::from_secs(15 * MINUTE);
const DEFAULT_RELEASE_TIMEOUT: Duration = Duration::from_secs(30 * MINUTE);
const DEFAULT_SMOKE_WITHIN: Duration = Duration::from_secs(MINUTE);

pub(super) struct Surroundings<'a> {
    pub env: &'a BTreeMap<String, String>,
    pub file: Option<PathBuf>,
    pub root: PathBuf,
    pub environment: Option<String>,
    pub request: &'a Request,
    pub terraform_outputs: Vec<String>,
    /// Where the document says `services`.
    pub services: Option<Place>,
    pub shown_as: Vec<Resolved>,
}

pub(super) fn validate(settings: Settings, surroundings: Surroundings<'_>) -> Result<Config, Vec<ConfigError>> {
    let mut check = Check {
        errors: Vec::new(),
        root: surroundings.root.clone(),
        env: surroundings.env,
        builds: surroundings.request.from.is_none()
            && !surroundings.request.resume
            && !surroundings.request.needs_no_sources,
        has_sources: !surroundings.request.needs_no_sources,
    };
    let region = check.region(&settings);
    let roles = check.roles(&settings, region.as_deref());
    let builder = settings.builder.as_ref().and_then(|builder| check.builder(builder));
    let given = check.given_images(&settings, surroundings.request);
    let images = check.images(&settings.images, &given);
    let services = check.services(&settings, region.as_deref(), surroundings.services);
    let release = check.release(&settings);
    check.only(&settings.services, &surroundings.request.only);
    if let Some(instance) = &settings.snapshot {
        check.rule("snapshot", instance, syntax::database);
    }
    let lock_timeout = check.span(settings.lock_timeout.as_ref(), "lock-timeout", DEFAULT_LOCK_TIMEOUT);
    let wait = check.span(settings.wait.as_ref(), "wait", DEFAULT_WAIT);
    let rehearse = check.rehearsal(settings.rehearse.unwrap_or_default(), settings.terraform);
    if !check.errors.is_empty() {
        return Err(check.errors);
    }
    let only: Vec<ServiceKey> = surroundings.request.only.iter().map(|key| key.as_str().into()).collect();
    let (chosen, needed) = Chosen::of(images, services, release, &only);
    let needed = needed.iter().filter(|_| !surroundings.request.skip_release_commands);
    let errors: Vec<_> = needed.map(|(command, service)| needs_command(command, service)).collect();
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(Config {
        file: surroundings.file,
        root: surroundings.root,
        environment: surroundings.environment,
        region,
        roles,
        images: chosen.images,
        builder,
        release: if surroundings.request.skip_release_commands { Vec::new() } else { chosen.release },
        services: chosen.services,
        left_out: chosen.left_out,
        snapshot: settings.snapshot.map(|instance| instance.value().to_owned()),
        on_failure: match settings.on_failure {
            Some(OnFailureChoice::RollbackFailed) => OnFailure::RollbackFailed,
            Some(OnFailureChoice::Leave) => OnFailure::Leave,
            Some(OnFailureChoice::RollbackAll) | None => OnFailure::RollbackAll,
        },
        fail_fast: settings.fail_fast.unwrap_or(false),
        on_cancel: match settings.on_cancel {
            Some(OnCancelChoice::Rollback) => OnCancel::Rollback,
            Some(OnCancelChoice::Leave) | None => OnCancel::Leave,
        },
        lock: match settings.lock {
            Some(LockChoice::None) => Lock::None,
            Some(LockChoice::Lease) | None => Lock::Lease { wait: lock_timeout },
        },
        wait,
        require_plan: settings.require_plan.unwrap_or(false),
        force: settings.force_new_deployment.unwrap_or(false),
        rehearse,
        terraform_outputs: surroundings.terraform_outputs,
        shown_as: surroundings.shown_as,
    })
}

fn needs_command(command: &str, service: &ServiceKey) -> ConfigError {
    ConfigError::new(format!(
        "`--only`: release command `{command}` of service `{service}` would be left out, and has to run before its image is \
         deployed"
    ))
    .hint(format!(
        "name `{service}` too; or add `--skip-release-commands`, where what it does has been done or is not needed"
    ))
}

struct Check<'a> {
    errors: Vec<ConfigError>,
    root: PathBuf,
    env: &'a BTreeMap<String, String>,
    /// Images come from elsewhere with `--from` and `--resume`, and a lock needs none: no context is needed then.
    builds: bool,
    /// A lock needs no task definition either.
    has_sources: bool,
}

impl Check<'_> {
    fn error(&mut self, place: Place, message: impl Into<String>) {
        self.errors.push(ConfigError::at(place, message));
    }

    fn error_with(&mut self, place: Place, message: impl Into<String>, hint: impl Into<String>) {
        self.errors.push(ConfigError::at(place, message).hint(hint));
    }

    fn rule(&mut self, what: &str, text: &impl Worded, rule: impl Fn(&str) -> Result<(), String>) {
        if let Err(why) = rule(text.value()) {
            self.error(text.place(), format!("{what} `{}`: {why}", text.shown()));
        }
    }

    fn span(&mut self, span: Option<&Located<Span>>, what: &str, default: Duration) -> Duration {
        let Some(Located { place, value: Span(text) }) = span else { return default };
        syntax::duration(text.0.value()).unwrap_or_else(|why| {
            self.error(*place, format!("{what} `{}`: {why}", shown(text.0.written())));
            default
        })
    }

    fn region(&mut self, settings: &Settings) -> Option<String> {
        let region = settings.region.as_ref()?;
        self.rule("region", region, syntax::region);
        Some(region.value().to_owned())
    }

    fn roles(&mut self, settings: &Settings, region: Option<&str>) -> Vec<RoleArn> {
        let roles = settings.role.iter().flat_map(|roles| &roles.0);
        let mut arns = Vec::new();
        for super::file::Role(role) in roles {
            match syntax::arn(role.value(), "iam", "role") {
                Ok(arn) => self.partition("role", role, arn.partition, region),
                Err(why) => self.error(role.place, format!("role `{}`: {why}", role.shown())),
            }
            arns.push(RoleArn::new(role.value()));
        }
        arns
    }

    /// An ARN of another partition than the region's can never work: no credentials cross partitions.
    fn partition(&mut self, what: &str, text: &impl Worded, partition: &str, region: Option<&str>) {
        if let Some(region) = region
            && syntax::region(region).is_ok()
            && syntax::partition(region) != partition
        {
            let expected = syntax::partition(region);
            self.error(
                text.place(),
                format!("{what} `{}`: region `{region}` is in partition `{expected}`, not `{partition}`", text.shown()),
            );
        }
    }

    /// A cluster or a service: a short name, or an ARN of the region.
    fn ecs_name(&mut self, kind: &str, text: &impl Worded, region: Option<&str>) {
        if !text.value().starts_with("arn:") {
            return self.rule(kind, text, syntax::name);
        }
        match syntax::arn(text.value(), "ecs", kind) {
            Err(why) => self.error(text.place(), format!("{kind} `{}`: {why}", text.shown())),
            Ok(arn) => {
                self.partition(kind, text, arn.partition, region);
                let most = if kind == "service" { 2 } else { 1 };
                if arn.resource.split('/').count() > most {
                    self.error(text.place(), format!("{kind} `{}`: the ARN has too many parts", text.shown()));
                }
                if let Some(region) = region
                    && syntax::partition(region) == arn.partition
                    && region != arn.region
                {
                    self.error(
                        text.place(),
                        format!(
                            "{kind} `{}`: it is in region `{}`, the config in `{region}`",
                            text.shown(),
                            arn.region
                        ),
                    );
                }
            }
        }
    }

    fn services(&mut self, settings: &Settings, region: Option<&str>, at: Option<Place>) -> Vec<ServiceConfig> {
        if settings.services.0.is_empty() {
            self.error_with(
                at.unwrap_or(Place { line: 1, column: 1 }),
                match at {
                    Some(_) => "`services` is empty: what is to be deployed?",
                    None => "`services` is missing: what is to be deployed?",
                },
                "name at least one: `services: { web: { name: my-service } }`",
            );
        }
        let mut seen: BTreeMap<(String, String), &str> = BTreeMap::new();
        let mut checked = Vec::new();
        for (key, service) in &settings.services.0 {
            self.rule("service key", key, syntax::key);
            let service = service.clone().unwrap_or_default();
            let service = self.service(key, service, settings, region);
            let cluster = short(service.cluster.as_str()).to_owned();
            let name = short(service.name.as_str()).to_owned();
            if let Some(other) = seen.insert((cluster, name), key.value.as_str()) {
                self.error(key.place, format!("service `{}`: `{other}` is the same ECS service", key.value));
            }
            checked.push(service);
        }
        self.circles(&settings.services, &checked);
        checked
    }

    fn service(
        &mut self,
        key: &Located<String>,
        service: Service,
        settings: &Settings,
        region: Option<&str>,
    ) -> ServiceConfig {
        // The key stands for the name.
        let as_name = || Located { place: key.place, value: Text(key.value.as_str().into()) };
        let name = service.name.unwrap_or_else(as_name);
        self.ecs_name("service", &name, region);
        let cluster = service.cluster.as_ref().or(settings.cluster.as_ref());
        match cluster {
            Some(cluster) => {
                self.ecs_name("cluster", cluster, region);
                if let Some((in_cluster, _)) =
                    name.value().split_once(":service/").and_then(|(_, rest)| rest.split_once('/'))
                    && in_cluster != short(cluster.value())
                {
                    let message = format!("service `{}`: it is not in cluster `{}`", name.shown(), cluster.shown());
                    self.error(name.place, message);
                }
            }
            None => self.error_with(
                key.place,
                format!("service `{}`: no cluster", key.value),
                "name the ECS cluster: `cluster: NAME`, for the whole file or for this service",
            ),
        }
        let containers = self.containers(key, service.containers, &settings.images);
        if let Some(path) = &service.task_definition {
            self.file("task-definition", path);
        }
        let mut after = Vec::new();
        for other in service.after.into_iter().flat_map(|after| after.0) {
            self.known_service(&other, "after", &settings.services);
            if after.iter().any(|known: &ServiceKey| known.as_str() == other.value()) {
                self.error(other.place, format!("after `{}`: given twice", other.shown()));
            }
            after.push(other.value().into());
        }
        ServiceConfig {
            key: key.value.as_str().into(),
            cluster: ClusterName::new(cluster.map_or("", |cluster| cluster.value())),
            name: ServiceName::new(name.value()),
            containers,
            task_definition: service.task_definition.map(|path| self.root.join(path.value())),
            after,
            smoke: service.smoke.into_iter().map(|smoke| self.smoke(smoke)).collect(),
        }
    }

    fn containers(
        &mut self,
        key: &Located<String>,
        containers: Option<Entries<Located<Text>>>,
        images: &Entries<Option<Image>>,
    ) -> Vec<(Option<ContainerName>, ImageKey)> {
        let Some(containers) = containers else {
            return match images.0.as_slice() {
                [] => Vec::new(),
                [(image, _)] => vec![(None, image.value.as_str().into())],
                _ => {
                    self.error_with(
                        key.place,
                        format!("service `{}`: there are several images, and `containers` is missing", key.value),
                        "say which container gets which image: `containers: { CONTAINER: IMAGE }`",
                    );
                    Vec::new()
                }
            };
        };
        let mut checked = Vec::new();
        for (container, image) in containers.0 {
            self.rule("container", &container, syntax::name);
            let keys = images.0.iter().map(|(key, _)| key.value.as_str());
            if !keys.clone().any(|key| key == image.value()) {
                let hint = match images.0.is_empty() {
                    true => "describe it under `images`".to_owned(),
                    false => suggestion(image.value.0.written(), keys),
                };
                self.error_with(image.place, format!("image `{}`: there is no such image", image.shown()), hint);
            }
            checked.push((Some(ContainerName::new(container.value)), image.value().into()));
        }
        checked
    }

    fn smoke(&mut self, smoke: Smoke) -> SmokeCheck {
        self.rule("url", &smoke.url, syntax::url);
        // A number below 65536: the decoder has seen to it.
        let number = |status: &Located<super::decode::Number>| status.value().parse::<u16>().unwrap_or_default();
        if let Some(status) = &smoke.status
            && !(100..=599).contains(&number(status))
        {
            self.error(status.place, format!("status `{}`: an HTTP status is between 100 and 599", status.shown()));
        }
        SmokeCheck {
            url: smoke.url.value.0,
            status: smoke.status.as_ref().map_or(200, number),
            within: self.span(smoke.within.as_ref(), "within", DEFAULT_SMOKE_WITHIN),
            contains: smoke.contains.map(|text| text.value.0),
        }
    }

    fn release(&mut self, settings: &Settings) -> Vec<ReleaseCommand> {
        let mut names = BTreeSet::new();
        settings.release.iter().cloned().map(|release| self.release_command(release, settings, &mut names)).collect()
    }

    fn release_command(
        &mut self,
        release: Release,
        settings: &Settings,
        names: &mut BTreeSet<String>,
    ) -> ReleaseCommand {
        self.rule("name", &release.name, syntax::key);
        if !names.insert(release.name.value().to_owned()) {
            let message = format!("release command `{}`: there are two of this name", release.name.shown());
            self.error(release.name.place, message);
        }
        let service: ServiceKey = match (&release.service, settings.services.0.as_slice()) {
            (Some(service), _) => {
                self.known_service(service, "service", &settings.services);
                service.value().into()
            }
            (None, [(only, _)]) => only.value.as_str().into(),
            (None, []) => "".into(),
            (None, several) => {
                let keys: Vec<String> = several.iter().map(|(key, _)| format!("`{}`", key.value)).collect();
                self.error_with(
                    release.name.place,
                    format!("release command `{}`: `service` is missing", release.name.shown()),
                    format!("whose network, roles and logs does it take? One of {}", keys.join(", ")),
                );
                "".into()
            }
        };
        if let Some(container) = &release.container {
            self.rule("container", container, syntax::name);
        }
        if let Some(path) = &release.task_definition {
            self.file("task-definition", path);
        }
        let command = argv(release.command.value);
        if command.first().is_none_or(|program| program.value().is_empty()) {
            self.error(release.command.place, format!("release command `{}`: it is empty", release.name.shown()));
        } else if command[0].value() != "sh"
            && command.iter().any(|argument| matches!(argument.value(), "&&" | "||" | "|" | ";"))
        {
            self.error_with(
                release.command.place,
                format!("release command `{}`: a list is not run by a shell", release.name.shown()),
                "write it as one text, which runs through `sh -c`",
            );
        }
        ReleaseCommand {
            timeout: self.span(release.timeout.as_ref(), "timeout", DEFAULT_RELEASE_TIMEOUT),
            name: release.name.value().to_owned(),
            service,
            container: release.container.map(|container| ContainerName::new(container.value())),
            command,
            when: match release.when {
                Some(WhenChoice::After) => When::After,
                Some(WhenChoice::Before) | None => When::Before,
            },
            task_definition: release.task_definition.map(|path| self.root.join(path.value())),
        }
    }

    fn only(&mut self, services: &Entries<Option<Service>>, only: &[String]) {
        for key in only {
            let place = Place::default();
            self.known_service(&Located { place, value: key.clone() }, "--only", services);
        }
    }

    fn known_service(&mut self, key: &impl Worded, what: &str, services: &Entries<Option<Service>>) {
        let keys = services.0.iter().map(|(key, _)| key.value.as_str());
        if keys.clone().any(|known| known == key.value()) {
            return;
        }
        let by_name = services.0.iter().find(|(_, service)| {
            let name = service.as_ref().and_then(|service| service.name.as_ref());
            name.is_some_and(|name| name.value() == key.value())
        });
        let shown = key.shown();
        let hint = match by_name {
            Some((of, _)) if nearest(&shown, keys.clone()).is_none() => {
                format!("services go by their key here: `{}`", of.value)
            }
            _ => suggestion(&shown, keys),
        };
        self.error_with(key.place(), format!("{what} `{shown}`: there is no such service"), hint);
    }

    /// `after` must not lead back to where it started.
    fn circles(&mut self, places: &Entries<Option<Service>>, services: &[ServiceConfig]) {
        let mut pending: Vec<&ServiceConfig> = services.iter().collect();
        loop {
            let waiting: BTreeSet<&str> = pending.iter().map(|service| service.key.as_str()).collect();
            let before = pending.len();
            pending.retain(|service| service.after.iter().any(|after| waiting.contains(after.as_str())));
            if pending.len() == before {
                break;
            }
        }
        let Some(first) = pending.first() else { return };
        let mut path = vec![&first.key];
        let circle = loop {
            let current = path[path.len() - 1];
            let next = pending.iter().find(|service| service.key == *current).and_then(|service| {
                service.after.iter().find(|after| pending.iter().any(|service| service.key == **after))
            });
            let Some(next) = next else { return };
            if let Some(start) = path.iter().position(|key| *key == next) {
                path.push(next);
                break &path[start..];
            }
            path.push(next);
        };
        let place = places
            .0
            .iter()
            .find(|(key, _)| circle[0].as_str() == key.value)
            .map_or(Place::default(), |(key, _)| key.place);
        let circle: Vec<&str> = circle.iter().map(|key| key.as_str()).collect();
        self.error(place, format!("`after` goes in a circle: {}", circle.join(" -> ")));
    }

    fn file(&mut self, what: &str, path: &Located<Text>) {
        if let Some(why) = why_no_file(&self.root.join(path.value())).filter(|_| self.has_sources) {
            self.error(path.place, format!("{what} `{}`: {why}", path.shown()));
        }
    }
}

const NO_SUCH_FILE: &str = "there is no such file";

/// A folder of the kernel's holds no files: they show processes and devices.
fn why_no_file(path: &std::path::Path) -> Option<&'static str> {
    match path.metadata() {
        Ok(found) if found.is_dir() => Some("it is a folder"),
        Ok(found) if found.is_file() && !is_shown_by_kernel(path) => None,
        Err(_) if !is_shown_by_kernel(path) => Some(NO_SUCH_FILE),
        _ => Some("it is not a file"),
    }
}

fn is_shown_by_kernel(path: &std::path::Path) -> bool {
    path.canonicalize().is_ok_and(|real| is_of_kernel(&real)) || is_of_kernel(path)
}

fn loose(entries: Entries<Loose>) -> BTreeMap<String, Resolved> {
    entries.0.into_iter().map(|(key, value)| (key.value, value.0)).collect()
}

fn values(entries: Entries<Loose>) -> BTreeMap<String, String> {
    entries.0.into_iter().map(|(key, value)| (key.value, value.0.value().to_owned())).collect()
}
