//! One service of a compose file, member by member.

use super::Read;
use super::members::{add, depends_on, deploy, health, port, ports, ulimits, volumes};
use crate::Input;
use crate::app::{App, Container, Fate, Image, Source, Variable};
use crate::interpolate::env_file;
use crate::settings::why_secret;
use crate::shell::words;
use crate::size::{cpu_units, mebibytes, seconds};
use crate::tree::{Key, Node, Origin, Place, shown};

/// What Fargate has no equivalent for, or what a service on AWS has instead.
const DROPPED: [(&str, &str); 34] = [
    ("container_name", "ECS names containers itself"),
    ("hostname", "a task in `awsvpc` has a name of its own"),
    ("domainname", "a task in `awsvpc` has a name of its own"),
    ("restart", "ECS replaces a task that stops"),
    ("networks", "tasks reach each other in the VPC, as their security groups allow"),
    ("logging", "logs go to CloudWatch"),
    ("links", "compose itself links services by their names"),
    ("external_links", "compose itself links services by their names"),
    ("tty", "nobody types into a task; `exec` opens a terminal"),
    ("stdin_open", "nobody types into a task; `exec` opens a terminal"),
    ("shm_size", "Fargate has no size for /dev/shm"),
    ("tmpfs", "Fargate has no tmpfs: a task has 20 GiB of its own for as long as it runs"),
    ("cap_drop", "Fargate takes `cap_add: [SYS_PTRACE]` alone"),
    ("cap_add", "Fargate takes `SYS_PTRACE` alone: write it into the task definition where it is needed"),
    ("security_opt", "Fargate does not have it"),
    ("sysctls", "write those that Fargate takes into `systemControls` of the task definition"),
    ("devices", "Fargate has no devices"),
    ("dns", "the VPC's resolver answers"),
    ("dns_search", "the VPC's resolver answers"),
    ("extra_hosts", "Fargate has no such entries: use a private hosted zone"),
    ("develop", "for a developer's machine"),
    ("pull_policy", "ECS pulls each digest"),
    ("mem_swappiness", "Fargate has no swap"),
    ("memswap_limit", "Fargate has no swap"),
    ("oom_kill_disable", "Fargate does not have it"),
    ("oom_score_adj", "Fargate does not have it"),
    ("pid", "Fargate has `task` alone: write it into the task definition"),
    ("ipc", "Fargate does not have it"),
    ("userns_mode", "Fargate does not have it"),
    ("runtime", "Fargate has one"),
    ("isolation", "Fargate has one"),
    ("attach", "for a terminal"),
    ("annotations", "for people"),
    ("cgroup_parent", "Fargate does not have it"),
];

pub(super) fn read(input: &Input<'_>, app: &mut App, key: &Key, node: &Node) -> Read {
    let name = key.text.clone();
    let mut read = Read {
        name: name.clone(),
        place: key.place,
        container: Container::default(),
        cpu: 0,
        memory: 0,
        is_arm: false,
        shares: None,
        depends_on: vec![],
    };
    read.container.image = image(input, app, &name, node, &mut read.is_arm);
    // Files first: what stands in the service itself wins.
    if let Some(files) = node.get("env_file") {
        env_files(input, app, &name, files, &mut read.container);
    }
    for (member, value) in node.entries() {
        let at = member.place;
        let what = format!("{name}: `{}`", shown(&member.text));
        let mut row = |fate, why: &str| app.row(fate, input.path, at, what.clone(), why);
        if value.is_null() && member.text != "environment" {
            continue;
        }
        match member.text.as_str() {
            "image" | "build" | "env_file" | "extends" | "profiles" | "provider" => {}
            "platform" => read.is_arm = value.text().is_some_and(|text| text.contains("arm")),
            "environment" => environment(input, app, &name, value, &mut read.container),
            "command" => match argv(value) {
                Ok(argv) => {
                    row(Fate::Kept, "");
                    read.container.command = app.command(input.path, at, &what, argv);
                }
                Err(why) => row(Fate::Decide, &why),
            },
            "entrypoint" => match argv(value) {
                Ok(argv) => {
                    row(Fate::Kept, "");
                    read.container.entry_point = app.command(input.path, at, &what, argv);
                }
                Err(why) => row(Fate::Decide, &why),
            },
            "ports" => ports(input, app, &name, value, &mut read.container),
            "expose" => {
                for text in value.texts() {
                    match port(text) {
                        Some(port) => add(&mut read.container, port),
                        None => {
                            app.row(Fate::Decide, input.path, at, what.clone(), format!("`{}` is no port", shown(text)))
                        }
                    }
                }
            }
            "healthcheck" => read.container.health = health(input, app, &name, at, value),
            "depends_on" => {
                read.depends_on = depends_on(value);
                row(
                    Fate::Dropped,
                    "services of ECS start on their own: one that waits for another tries again; `after` orders a release",
                );
            }
            "deploy" => deploy(input, app, &name, value, &mut read),
            "scale" => row(
                Fate::Decide,
                &format!(
                    "the desired count is the service's on AWS: create it with {}",
                    value.text().unwrap_or_default()
                ),
            ),
            "cpus" => read.cpu = value.text().and_then(cpu_units).unwrap_or(read.cpu),
            "mem_limit" => read.memory = value.text().and_then(mebibytes).unwrap_or(read.memory),
            "mem_reservation" | "cpu_shares" | "cpu_quota" | "cpu_period" | "cpuset" | "cpu_count" | "cpu_percent" => {
                row(Fate::Dropped, "a Fargate task has its size to itself");
            }
            "stop_grace_period" => match value.text().and_then(seconds) {
                Some(asked) => {
                    read.container.stop_timeout = Some(asked.clamp(2, 120));
                    match asked {
                        2..=120 => row(Fate::Kept, ""),
                        _ => row(Fate::Translated, "Fargate waits 2 to 120 seconds"),
                    }
                }
                None => row(Fate::Decide, "it is no time"),
            },
            "stop_signal" => match value.text() {
                Some("SIGTERM" | "15") => row(Fate::Kept, ""),
                _ => row(Fate::Decide, "ECS sends the image's own signal: write `STOPSIGNAL` into the Dockerfile"),
            },
            "user" => {
                read.container.user = value.text().filter(|text| !text.is_empty()).map(str::to_owned);
                row(Fate::Kept, "");
            }
            "working_dir" => {
                read.container.working_directory = value.text().filter(|text| !text.is_empty()).map(str::to_owned);
                row(Fate::Kept, "");
            }
            "read_only" => read.container.is_read_only = value.is_true(),
            "init" => read.container.has_init = value.is_true(),
            "ulimits" => ulimits(input, app, &name, value, &mut read.container),
            "network_mode" => match value.text() {
                Some(mode) if mode.starts_with("service:") => {
                    read.shares = mode.strip_prefix("service:").map(str::to_owned);
                    row(Fate::Translated, "the container is part of that service's task");
                }
                _ => row(Fate::Dropped, "a Fargate task has a network interface of its own (`awsvpc`)"),
            },
            "volumes" => volumes(input, app, &name, value),
            "secrets" => secrets(input, app, &name, value, &mut read.container),
            "configs" => row(
                Fate::Decide,
                "a Fargate task mounts no files: put them into the image, or read them from a parameter",
            ),
            "labels" => row(
                Fate::Decide,
                "a proxy or a scheduler may read them, and none does on AWS: routes belong to the load balancer, schedules to EventBridge Scheduler",
            ),
            "privileged" if !value.is_true() => {}
            "gpus" => row(Fate::Decide, "Fargate has no GPUs: this service needs EC2 capacity"),
            text if text.starts_with("x-") => {}
            text => match DROPPED.iter().find(|(known, _)| *known == text) {
                Some((_, why)) => row(Fate::Dropped, why),
                None => row(Fate::Dropped, "not known to this importer"),
            },
        }
    }
    without_files(input, app, &name, &mut read.container);
    read
}

fn image(input: &Input<'_>, app: &mut App, name: &str, node: &Node, is_arm: &mut bool) -> Source {
    let given = node.get("image").filter(|image| image.text().is_some_and(|text| !text.trim().is_empty()));
    let reference = given.and_then(Node::text).unwrap_or_default().trim().trim_end_matches(':').to_owned();
    let Some(build) = node.get("build").filter(|build| !build.is_null()) else {
        let place = given.map_or(node.place, |image| image.place);
        let what = format!("{name}: image `{}`", shown(&reference));
        let unknown = given.and_then(Node::as_scalar).is_some_and(|scalar| scalar.origin == Origin::Unset);
        match unknown {
            true => app.row(
                Fate::Decide,
                input.path,
                place,
                what,
                "a variable of its name is not set: write the image that is meant into the task definition",
            ),
            false if reference.contains("@sha256:") => app.row(Fate::Kept, input.path, place, what, ""),
            false => app.row(
                Fate::Kept,
                input.path,
                place,
                what,
                "it is not built here: a deploy changes it when the task definition does",
            ),
        }
        return Source::Reference(reference);
    };
    let context = build.text().or_else(|| build.text_of("context")).unwrap_or(".");
    if context.contains("://") || context.starts_with("git@") || context.starts_with("github.com") {
        app.row(
            Fate::Decide,
            input.path,
            build.place,
            format!("{name}: build context `{}`", shown(context)),
            "a context is a folder here: check it out first",
        );
    }
    let context = input.beside(context);
    let mut image = Image {
        key: name.to_owned(),
        dockerfile: build
            .text_of("dockerfile")
            .map(|file| crate::normal(&format!("{context}/{file}")))
            .filter(|file| *file != crate::normal(&format!("{context}/Dockerfile"))),
        target: build.text_of("target").map(str::to_owned),
        repository: of_registry(&reference),
        context,
        ..Image::default()
    };
    for (member, value) in build.entries() {
        let what = format!("{name}: build `{}`", shown(&member.text));
        match member.text.as_str() {
            "context" | "dockerfile" | "target" => {}
            "args" => arguments(input, app, name, value, &mut image),
            "platforms" => *is_arm = value.texts().first().is_some_and(|text| text.contains("arm")),
            "secrets" => {
                let names = value.items().iter().filter_map(|item| item.text().or_else(|| item.text_of("source")));
                image.build_secrets.extend(names.map(str::to_owned));
                app.row(
                    Fate::Translated,
                    input.path,
                    member.place,
                    what,
                    "build secrets: each is read from the environment variable of its name",
                );
            }
            "cache_from" | "cache_to" | "no_cache" | "pull" => {
                app.row(Fate::Dropped, input.path, member.place, what, "the build's cache is kept in the pushed image")
            }
            "dockerfile_inline" => app.row(
                Fate::Decide,
                input.path,
                member.place,
                what,
                "write it into a file and name it as `dockerfile`",
            ),
            "labels"
            | "tags"
            | "network"
            | "shm_size"
            | "ssh"
            | "extra_hosts"
            | "additional_contexts"
            | "isolation"
            | "privileged"
            | "ulimits"
            | "entitlements"
            | "provenance"
            | "sbom" => {
                app.row(Fate::Dropped, input.path, member.place, what, "a build here has no such setting");
            }
            _ => app.row(Fate::Dropped, input.path, member.place, what, "not known to this importer"),
        }
    }
    let platform = node.text_of("platform").unwrap_or_default();
    image.platform = (*is_arm || platform.contains("arm")).then_some("linux/arm64");
    app.row(Fate::Kept, input.path, build.place, format!("{name}: build of `{}`", shown(&image.context)), "");
    Source::Built(app.image(image))
}

/// A repository that names its registry, without its tag.
fn of_registry(reference: &str) -> Option<String> {
    let (host, _) = reference.split_once('/')?;
    let is_sound = reference.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "./:-_@".contains(c));
    (host.contains(['.', ':']) && is_sound).then(|| without_tag(reference))
}

fn without_tag(reference: &str) -> String {
    let name = reference.split('@').next().unwrap_or_default();
    match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name.to_owned(),
        _ => name.to_owned(),
    }
}

fn arguments(input: &Input<'_>, app: &mut App, name: &str, node: &Node, image: &mut Image) {
    for (place, argument, value, origin) in pairs(node) {
        let what = format!("{name}: build argument `{}`", shown(&argument));
        match value {
            Some(value) if why_secret(&argument, &value, origin).is_none() => image.args.push((argument, value)),
            _ => app.row(Fate::Decide, input.path, place, what, "its value is not in the file, or is a secret: give it as `build-args` with `${env:NAME}`, or, if it is a secret, as a `build-secret`"),
        }
    }
}

/// `NAME: value` of a mapping, or `NAME=value` of a list. No value: the shell's.
fn pairs(node: &Node) -> Vec<(Place, String, Option<String>, Origin)> {
    let of_map = node.entries().iter().map(|(key, value)| {
        let scalar = value.as_scalar();
        (key.place, key.text.clone(), scalar.map(|s| s.text.clone()), scalar.map(|s| s.origin).unwrap_or_default())
    });
    let of_list = node.items().iter().filter_map(|item| {
        let scalar = item.as_scalar()?;
        let (name, value) = match scalar.text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (scalar.text.as_str(), None),
        };
        Some((item.place, name.trim().to_owned(), value, scalar.origin))
    });
    of_map.chain(of_list).filter(|(_, name, ..)| !name.is_empty()).collect()
}

fn environment(input: &Input<'_>, app: &mut App, service: &str, node: &Node, container: &mut Container) {
    for (place, name, value, origin) in pairs(node) {
        let origin = if value.is_none() { Origin::Unset } else { origin };
        let value = value.unwrap_or_default();
        let variable = Variable { file: input.path, place, name: &name, value: &value, origin };
        app.variable(service, container, variable);
    }
}

fn env_files(input: &Input<'_>, app: &mut App, service: &str, node: &Node, container: &mut Container) {
    let of_map = node.items().iter().filter_map(|item| item.text_of("path"));
    let paths: Vec<_> = node.texts().into_iter().chain(of_map).map(str::to_owned).collect();
    for path in paths {
        let file = input.beside(&path);
        let Some(text) = input.folder.text(&file) else {
            let what = format!("{service}: env_file `{}`", shown(&path));
            app.row(
                Fate::Decide,
                input.path,
                node.place,
                what,
                "it is not here: list its variables in the task definition, secrets as `secrets`",
            );
            continue;
        };
        if !app.files.contains(&file) {
            app.files.push(file.clone());
        }
        for (name, value) in env_file(&text) {
            let variable =
                Variable { file: &file, place: Place::default(), name: &name, value: &value, origin: Origin::EnvFile };
            app.variable(service, container, variable);
        }
    }
}

/// A text is split as a shell splits it, and no shell runs it.
fn argv(node: &Node) -> Result<Vec<String>, String> {
    match node.text() {
        Some(line) => words(line),
        None => Ok(node.texts().into_iter().map(str::to_owned).collect()),
    }
}

/// Files under `/run/secrets` become variables: ECS mounts none.
fn secrets(input: &Input<'_>, app: &mut App, service: &str, node: &Node, container: &mut Container) {
    for item in node.items() {
        let Some(name) = item.text().or_else(|| item.text_of("source")) else { continue };
        let variable: String =
            name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
        let why = "ECS gives secrets as variables, not as files: the application has to read it there";
        let read =
            Variable { file: input.path, place: item.place, name: &variable, value: name, origin: Origin::Unset };
        app.secret(service, container, read, why);
        app.row(
            Fate::Decide,
            input.path,
            item.place,
            format!("{service}: secret `{}`", shown(name)),
            format!("{why}: as `{variable}`"),
        );
    }
}

/// `NAME_FILE=/run/secrets/...` names a file that is not there.
fn without_files(input: &Input<'_>, app: &mut App, service: &str, container: &mut Container) {
    let is_file = |value: &str| value.starts_with("/run/secrets/");
    for (name, _) in container.environment.iter().filter(|(_, value)| is_file(value)) {
        let what = format!("{service}: variable `{name}`");
        app.row(
            Fate::Decide,
            input.path,
            Place::default(),
            what,
            "it names a file of a secret, and ECS mounts none: read the variable of the secret",
        );
    }
    container.environment.retain(|(_, value)| !is_file(value));
}
