//! Every choice of a release is made here, before anything is touched; the steps only carry it out.

mod difference;
pub mod digest;
pub mod document;
mod images;
mod infrastructure;
pub mod offline;
mod planned;
pub mod release_tags;
pub mod risk;

use super::failure::{Failure, Reason};
use super::image::{Digest, ImageRef};
use super::names::{ContainerName, ImageKey, PinnedImage, ServiceKey, ServiceRef, TaskDefinitionArn};
use super::resolved::{self, Resolved};
use super::service::{Controller, Deployment, Role, Service, State};
use super::task_definition::compare::{self, Difference};
use super::task_definition::launch_volumes;
use super::task_definition::one_off::one_off;
use super::task_definition::validate::{self, Findings, Released};
use super::task_definition::{RELEASE_TAG, TAG_PREFIX, TaskDefinition};
use crate::validated_config::{
    Config, ImageSource, Lock, OnCancel, OnFailure, ReleaseCommand, ServiceConfig, SmokeCheck,
};
pub use difference::TO_BE_BUILT;
use images::plan_image;
pub use images::{ImageAction, ImagePlan, KeptStage, LookUp, StageCaches};
use risk::Risk;
use sha2::{Digest as _, Sha256};
use std::time::Duration;

/// On a revision: which release commands ran before it, each by name and a hash of what it runs.
pub const COMMANDS_TAG: &str = "fargate-deploy:commands";

/// What preflight found, and nothing else: the input of every choice.
#[derive(Clone, Debug)]
pub struct Before {
    pub services: Vec<ServiceBefore>,
    pub found: Found,
}

/// What was found beside the services: it does not move while a release waits for its turn.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub images: Vec<ImageBefore>,
    /// The task definitions of release commands that have one of their own, by the command's name.
    pub definitions: Vec<(String, TaskDefinition)>,
}

#[derive(Clone, Debug)]
pub struct ServiceBefore {
    pub key: ServiceKey,
    pub service: Service,
    /// The revision that the service runs: what a rollback goes back to.
    pub running: TaskDefinition,
    /// What the new revision starts from: the file in git, or `running`.
    pub base: TaskDefinition,
    /// The highest release number seen in the family, 0 when there is none.
    pub latest_release: u64,
}

#[derive(Clone, Debug)]
pub struct ImageBefore {
    pub key: ImageKey,
    /// `HOST/NAME`.
    pub name: String,
    pub tags: Vec<String>,
    /// The tag under which this very content is looked up and kept; `None` when it must be built anyway.
    pub content_tag: Option<String>,
    /// The one of its commit, where `content_tag` is of any commit.
    pub commit_tag: Option<String>,
    pub looked_up: Option<LookUp>,
    pub stage_caches: StageCaches,
    pub found: Option<ImageFound>,
    /// Its repository refuses to move a tag.
    pub is_immutable: bool,
    /// Its repository is not there, and is created by the deploy.
    pub is_to_be_created: bool,
}

/// An image that exists already.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageFound {
    pub digest: Digest,
    pub tags: Vec<String>,
    pub platform: Option<String>,
}

/// Everything that a release does. The default plans nothing.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub number: u64,
    pub images: Vec<ImagePlan>,
    pub services: Vec<ServicePlan>,
    pub commands: Vec<CommandPlan>,
    /// What the services' own settings mean for this release.
    pub warnings: Vec<Risk>,
    pub settings: Settings,
}

/// How the release is carried out.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub on_failure: OnFailure,
    pub fail_fast: bool,
    pub on_cancel: OnCancel,
    /// How long a rollout is watched.
    pub wait: Duration,
    pub lock: Lock,
    /// The RDS instance of which a snapshot is taken before the first release command.
    pub snapshot: Option<String>,
    /// Roll on although nothing changed.
    pub force: bool,
}

impl Settings {
    fn of(config: &Config) -> Self {
        Self {
            on_failure: config.on_failure,
            fail_fast: config.fail_fast,
            on_cancel: config.on_cancel,
            wait: config.wait,
            lock: config.lock,
            snapshot: config.snapshot.clone(),
            force: config.force,
        }
    }
}

/// Those of a plan of nothing: nobody is waited for.
impl Default for Settings {
    fn default() -> Self {
        Self {
            on_failure: OnFailure::default(),
            fail_fast: false,
            on_cancel: OnCancel::default(),
            wait: Duration::ZERO,
            lock: Lock::None,
            snapshot: None,
            force: false,
        }
    }
}

#[derive(Clone, Debug)]
pub struct ServicePlan {
    pub key: ServiceKey,
    pub service: ServiceRef,
    pub before: Service,
    pub running: TaskDefinition,
    pub base: TaskDefinition,
    /// Container and image key.
    pub containers: Vec<(ContainerName, ImageKey)>,
    /// Keys of the services of this release that must serve and answer first.
    pub after: Vec<ServiceKey>,
    pub smoke: Vec<SmokeCheck>,
    /// The release commands that run from its new revision, as [`command_id`] names them.
    pub commands: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct CommandPlan {
    pub command: ReleaseCommand,
    pub service: ServiceKey,
    pub container: ContainerName,
    /// Its own task definition.
    pub own: Option<TaskDefinition>,
    /// Containers of the definition that it runs from, and the image key of each.
    pub containers: Vec<(ContainerName, ImageKey)>,
    /// Their images, as far as they are known: see [`CommandPlan::of_images`].
    pub pinned: Vec<PinnedImage>,
}

impl CommandPlan {
    /// Keys of the images that must be ready before it can run.
    pub fn images(&self) -> impl Iterator<Item = &ImageKey> {
        self.containers.iter().map(|(_, key)| key)
    }

    /// The same with its images: what was done from one image was not done from another.
    #[must_use]
    pub fn of_images(&self, images: &[(ImageKey, PinnedImage)]) -> Self {
        let pinned = images.iter().filter(|(key, _)| self.images().any(|of_it| of_it == key));
        Self { pinned: pinned.map(|(_, image)| image.clone()).collect(), ..self.clone() }
    }

    /// Tells it from every other command of a run, whatever it is named: a hash of the command with its values, of what it
    /// runs from, and of its images. ECS shows the values beside it, in the overrides of the task.
    #[must_use]
    pub fn identity(&self) -> String {
        let Self { command, service, container, own, pinned, .. } = self;
        let family = own.as_ref().map(TaskDefinition::family);
        let values = resolved::values(&command.command);
        let written = command_id(self);
        let seed = format!("{written}\n{values:?}\n{:?}\n{service}\n{family:?}\n{container}\n{pinned:?}", command.when);
        hex::encode(&Sha256::digest(seed)[..8])
    }

    /// What it runs from where that is not the service's new revision itself: its own definition with the release's
    /// image, or one that is derived to be safe to run once.
    #[must_use]
    pub fn definition(
        &self,
        number: u64,
        revision: &TaskDefinition,
        images: &[(ImageKey, PinnedImage)],
        provenance: &Provenance,
    ) -> Option<TaskDefinition> {
        let Some(own) = &self.own else { return one_off(revision, &self.container, &self.command.name) };
        let mut definition = own.registrable();
        for (container, key) in &self.containers {
            if let Some((_, image)) = images.iter().find(|(k, _)| k == key) {
                definition.set_image(container, image.as_str());
            }
        }
        let mut definition = match one_off(&definition, &self.container, &self.command.name) {
            Some(safe) => safe.of_family(own.family()),
            None => definition,
        };
        mark(&mut definition, number, provenance);
        definition.make_room();
        Some(definition)
    }
}

/// Facts about this run that end up in tags and labels.
#[derive(Clone, Debug, Default)]
pub struct Provenance {
    pub sha: Option<String>,
    pub actor: Option<String>,
    pub run_url: Option<String>,
    /// The earlier release that this one puts back.
    pub back_to: Option<u64>,
    /// Why it does.
    pub reason: Option<String>,
}

impl Plan {
    /// Chooses. Everything that is wrong with the inputs is found here, together.
    ///
    /// # Errors
    /// `config`: nothing was touched.
    pub fn new(config: &Config, before: Before) -> Result<Self, Failure> {
        let mut problems = vec![];
        let mut warnings = vec![];
        let mut services = vec![];
        for found in before.services {
            if let Some(chosen) = config.services.iter().find(|s| s.key == found.key) {
                services.push(plan_service(config, chosen, found, &mut problems, &mut warnings));
            }
        }
        let Found { images, definitions } = before.found;
        let images = images.into_iter().filter_map(|i| plan_image(config, i, &services, &mut problems)).collect();
        let own = |name: &str| definitions.iter().find(|(of, _)| of == name).map(|(_, definition)| definition.clone());
        let plan_command =
            |c: &ReleaseCommand| plan_command(config, c, own(&c.name), &services, &mut problems, &mut warnings);
        let commands: Vec<_> = config.release.iter().filter_map(plan_command).collect();
        for (service, _) in &mut services {
            service.commands = commands.iter().filter(|c| c.service == service.key).map(command_id).collect();
        }
        if !problems.is_empty() {
            return Err(Failure::new(Reason::Config, problems.remove(0)).with_evidence(problems));
        }
        let number = 1 + services.iter().map(|(_, latest)| *latest).max().unwrap_or_default();
        Ok(Self {
            number,
            images,
            services: services.into_iter().map(|(s, _)| s).collect(),
            commands,
            warnings,
            settings: Settings::of(config),
        })
    }

    pub fn service(&self, key: &ServiceKey) -> Option<&ServicePlan> {
        self.services.iter().find(|s| s.key == *key)
    }

    /// Keys of the services that change whatever becomes of the images that are not ready.
    pub fn certain_changes(&self, digests: &[(ImageKey, PinnedImage)]) -> Vec<ServiceKey> {
        let certain = self.services.iter().filter(|s| s.is_certain_to_change(self.number, digests));
        certain.map(|s| s.key.clone()).collect()
    }

    /// What would change where the digests of all images are known; images yet to be built always change something.
    pub fn changes(&self, digests: &[(ImageKey, PinnedImage)]) -> Vec<(ServiceKey, Vec<String>)> {
        let changed = |s: &ServicePlan| s.differences(self.number, digests).iter().map(Difference::dotted).collect();
        let all = self.services.iter().map(|s| (s.key.clone(), changed(s)));
        all.filter(|(_, paths): &(_, Vec<_>)| !paths.is_empty()).collect()
    }

    /// The images that need no build.
    pub fn known_images(&self) -> Vec<(ImageKey, PinnedImage)> {
        self.images.iter().filter_map(|i| Some((i.key.clone(), PinnedImage::of(&i.name, i.digest()?)))).collect()
    }
}

/// `migrate=0123456789ab`: a release command by name and what it runs, as it is written: a hash of a value could be guessed.
pub fn command_id(planned: &CommandPlan) -> String {
    let written: Vec<&str> = planned.command.command.iter().map(Resolved::written).collect();
    let hash = Sha256::digest(written.join("\0"));
    format!("{}={}", planned.command.name, hex::encode(&hash[..6]))
}

impl ServicePlan {
    /// The newest revision of those that the service shows whose deployment completed: what ECS itself goes back to.
    /// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html>
    pub fn last_completed(&self) -> Option<&TaskDefinitionArn> {
        let of = |wanted: &dyn Fn(&Deployment) -> bool| {
            self.before.deployments.iter().find(|d| wanted(d)).map(|d| &d.task_definition)
        };
        of(&|d| d.role == Role::Primary && matches!(d.state, State::Completed | State::Unreported))
            .or_else(|| of(&|d| d.role == Role::Active && d.state == State::Completed))
    }

    /// What a release that is bad goes back to.
    pub fn previous(&self) -> &TaskDefinitionArn {
        self.last_completed().unwrap_or(&self.before.task_definition)
    }

    /// Everything that it runs is known, and differs from what it should run.
    fn is_certain_to_change(&self, number: u64, digests: &[(ImageKey, PinnedImage)]) -> bool {
        let is_known = self.containers.iter().all(|(_, key)| digests.iter().any(|(k, _)| k == key));
        let definition = || self.definition(number, digests, &Provenance::default());
        is_known && !compare::differences(&self.running, &definition()).is_empty()
    }

    /// The revision to register: the base with the release's images by digest and the release in its tags. Where the
    /// base names no tags of its own, those of the running revision stay.
    #[must_use]
    pub fn definition(
        &self,
        number: u64,
        images: &[(ImageKey, PinnedImage)],
        provenance: &Provenance,
    ) -> TaskDefinition {
        let mut definition = self.base.registrable();
        for (container, key) in &self.containers {
            if let Some((_, image)) = images.iter().find(|(k, _)| k == key) {
                definition.set_image(container, image.as_str());
            }
        }
        if definition.tags.is_empty() {
            definition.tags = self.running.registrable().tags;
        }
        mark(&mut definition, number, provenance);
        if let Some(commands) = self.commands_tag() {
            definition.set_tag(COMMANDS_TAG, commands);
        }
        definition.make_room();
        definition
    }

    /// As many as a tag's value has room for.
    fn commands_tag(&self) -> Option<String> {
        let joined = self.commands.iter().fold(String::new(), |mut all, id| {
            if all.len() + id.len() < 256 {
                all.push_str(if all.is_empty() { "" } else { " " });
                all.push_str(id);
            }
            all
        });
        Some(joined).filter(|tag| !tag.is_empty())
    }
}

/// The release, in the definition's tags.
fn mark(definition: &mut TaskDefinition, number: u64, provenance: &Provenance) {
    definition.tags.retain(|(key, _)| !key.starts_with(TAG_PREFIX));
    definition.set_tag(RELEASE_TAG, format!("r{number}"));
    for (name, value) in [("sha", &provenance.sha), ("actor", &provenance.actor), ("run", &provenance.run_url)] {
        if let Some(value) = value {
            definition.set_tag(&format!("{TAG_PREFIX}{name}"), release_tags::value(value));
        }
    }
    release_tags::mark_rollback(definition, provenance);
}

fn plan_service(
    config: &Config,
    chosen: &ServiceConfig,
    found: ServiceBefore,
    problems: &mut Vec<String>,
    warnings: &mut Vec<Risk>,
) -> (ServicePlan, u64) {
    let name = format!("service `{}`", chosen.name);
    let service = &found.service;
    refuse(&name, service, problems);
    let mut containers = vec![];
    for (container, image) in &chosen.containers {
        match container.clone().or_else(|| found.base.sole_container()) {
            Some(container) if found.base.container(&container).is_some() => {
                containers.push((container, image.clone()))
            }
            Some(container) => problems.push(format!(
                "{name}: container `{container}` is not in the task definition, which has {}",
                found.base.container_names().join(", ")
            )),
            None => problems.push(format!(
                "{name}: `containers` must say which of {} gets the image `{image}`",
                found.base.container_names().join(", ")
            )),
        }
    }
    let of = format!("{name}: task definition");
    let said = match chosen.task_definition {
        Some(_) => validate::of_file(&found.base, &found.running, &released(config, &containers)),
        // AWS took what the service runs.
        None => Findings { problems: validate::of_running(&found.base), warnings: vec![] },
    };
    problems.extend(said.problems.into_iter().map(|p| format!("{of}: {p}")));
    warnings.extend(risk::of_settings(&name, service));
    warnings.extend(risk::of_definition(&of, said.warnings));
    let tagged = if found.base.tags.is_empty() { &found.running } else { &found.base };
    warnings.extend(risk::of_own_tags(&of, tagged));
    let plan = ServicePlan {
        key: chosen.key.clone(),
        service: chosen.reference(),
        before: found.service,
        running: found.running,
        base: found.base,
        containers,
        after: chosen.after.clone(),
        smoke: chosen.smoke.clone(),
        commands: vec![],
    };
    (plan, found.latest_release)
}

/// The containers that get an image of the release, and where it comes from.
pub(crate) fn released(config: &Config, containers: &[(ContainerName, ImageKey)]) -> Vec<Released> {
    let of = |(container, key): &(ContainerName, ImageKey)| Released {
        container: container.clone(),
        is_from_ecr: is_from_ecr(config, key),
    };
    containers.iter().map(of).collect()
}

/// A repository to push to without a host is ECR's.
fn is_from_ecr(config: &Config, image: &ImageKey) -> bool {
    let is_ecr = |text: &str| ImageRef::parse(text).is_ok_and(|reference| reference.ecr().is_some());
    match config.images.iter().find(|i| i.key == *image).map(|i| &i.source) {
        Some(ImageSource::Build(build)) => {
            let host = build.repository.split('/').next().unwrap_or_default();
            is_ecr(&build.repository) || !host.contains(['.', ':'])
        }
        Some(ImageSource::Existing(reference)) => is_ecr(reference),
        None => false,
    }
}

/// Services that UpdateService cannot deploy to, each with the way out: asked before anything else is read of them.
pub fn refuse(name: &str, service: &Service, problems: &mut Vec<String>) {
    if service.status != "ACTIVE" {
        problems.push(format!("{name} is {}: only an ACTIVE service can be deployed to", service.status));
    }
    match &service.controller {
        Controller::Ecs => {}
        Controller::CodeDeploy => problems.push(format!(
            "{name} is deployed by CodeDeploy: UpdateService may not change its task definition; use CodeDeploy, or \
             create the service anew with the ECS controller"
        )),
        Controller::External => {
            problems.push(format!("{name} has the EXTERNAL controller: its task sets are managed by another system"));
        }
        Controller::Unknown(kind) => {
            problems.push(format!("{name} has the deployment controller {kind}, which is not known here"))
        }
    }
    if service.is_express {
        problems.push(format!(
            "{name} is an Express Mode service (resourceManagementType ECS): it is updated by UpdateExpressGatewayService only"
        ));
    }
    if service.controller == Controller::Ecs && !service.is_express && service.task_definition.as_str().is_empty() {
        problems.push(format!("{name} has no task definition of its own: there is nothing to start a revision from"));
    }
}

/// The revision that a service says it runs.
///
/// # Errors
/// `config`: its task sets are managed by another system, and it names none.
pub fn running_revision<'a>(name: &str, service: &'a Service) -> Result<&'a TaskDefinitionArn, Failure> {
    if !service.task_definition.as_str().is_empty() {
        return Ok(&service.task_definition);
    }
    let mut problems = vec![];
    refuse(&format!("service `{name}`"), service, &mut problems);
    let why = problems.pop().unwrap_or_else(|| format!("service `{name}` has no task definition"));
    Err(Failure::new(Reason::Config, why))
}

fn plan_command(
    config: &Config,
    command: &ReleaseCommand,
    own: Option<TaskDefinition>,
    services: &[(ServicePlan, u64)],
    problems: &mut Vec<String>,
    warnings: &mut Vec<Risk>,
) -> Option<CommandPlan> {
    let name = &command.name;
    let Some((service, _)) = services.iter().find(|(s, _)| s.key == command.service) else {
        problems
            .push(format!("release command `{name}`: its service `{}` is not part of this release", command.service));
        return None;
    };
    let base = own.as_ref().unwrap_or(&service.base);
    let first = service.containers.first().map(|(c, _)| c.clone()).filter(|c| base.container(c).is_some());
    let container = command.container.clone().or(first).or_else(|| base.sole_container());
    let Some(container) = container.filter(|c| base.container(c).is_some()) else {
        problems.push(format!(
            "release command `{name}`: `container` must name one of {}",
            base.container_names().join(", ")
        ));
        return None;
    };
    if service.before.network_configuration.is_none() {
        problems.push(format!(
            "release command `{name}`: service `{}` has no network configuration to run it in",
            service.service
        ));
    }
    for volume in launch_volumes::missing(base, &service.before.volume_configurations) {
        problems.push(format!(
            "release command `{name}`: the volume `{volume}` is `configuredAtLaunch`, and service `{}` does not say what like: \
             a task of its own cannot have it",
            service.service
        ));
    }
    let containers = match (&own, service.containers.first()) {
        (None, _) => service.containers.clone(),
        (Some(_), Some((_, image))) => vec![(container.clone(), image.clone())],
        (Some(_), None) => vec![],
    };
    if let Some(own) = &own {
        let of = format!("release command `{name}`: task definition");
        let said = validate::of_file(own, &service.running, &released(config, &containers));
        problems.extend(said.problems.into_iter().map(|p| format!("{of}: {p}")));
        warnings.extend(risk::of_definition(&of, said.warnings));
    }
    let (command, service, pinned) = (command.clone(), service.key.clone(), vec![]);
    Some(CommandPlan { command, service, container, own, containers, pinned })
}
