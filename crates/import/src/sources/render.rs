//! `render.yaml`: services, databases and groups of variables.
//! <https://render.com/docs/blueprint-spec>

use super::process::{
    built, desired_count, dropped, health_path, listens, port_of_dockerfile, release_line, service, start_command,
};
use crate::Input;
use crate::app::{App, Container, Fate, Refusal, Service, Source, Variable, unused};
use crate::shell::argv_of_line;
use crate::tree::{Node, Origin, shown};

pub(crate) fn read(input: &Input<'_>, app: &mut App) -> Result<(), Refusal> {
    let root = input.yaml(app)?.root;
    app.name = Some(input.name.to_owned());
    for database in root.get("databases").map(Node::items).unwrap_or_default() {
        let what = format!("database `{}`", shown(database.text_of("name").unwrap_or_default()));
        let why = "create RDS for PostgreSQL in your infrastructure code; move its data before the first deploy";
        app.row(Fate::Decide, input.path, database.place, what, why);
    }
    for node in root.get("services").map(Node::items).unwrap_or_default() {
        one(input, app, &root, node);
    }
    for (member, _) in root.entries() {
        match member.text.as_str() {
            "services" | "databases" | "envVarGroups" => {}
            "previews" | "previewsEnabled" | "previewsExpireAfterDays" => dropped(app, input, member, "Render's own"),
            "projects" => app.row(
                Fate::Decide,
                input.path,
                member.place,
                "`projects`",
                "name the services of one environment at the top level",
            ),
            _ => dropped(app, input, member, ""),
        }
    }
    Ok(())
}

fn one(input: &Input<'_>, app: &mut App, root: &Node, node: &Node) {
    let given = node.text_of("name").unwrap_or("web");
    let kind = node.text_of("type").unwrap_or("web");
    let runtime = node.text_of("runtime").or(node.text_of("env")).unwrap_or("docker");
    let what = format!("service `{}` ({kind})", shown(given));
    match (kind, runtime) {
        ("redis" | "keyvalue", _) => {
            app.row(
                Fate::Decide,
                input.path,
                node.place,
                what,
                "create ElastiCache (Valkey or Redis OSS) in your infrastructure code",
            );
            return;
        }
        ("cron", _) => {
            app.row(
                Fate::Decide,
                input.path,
                node.place,
                what,
                "a schedule belongs to EventBridge Scheduler, which can run a task of a service's definition",
            );
            return;
        }
        ("static", _) | (_, "static") => {
            app.row(Fate::Decide, input.path, node.place, what, "static files belong into S3 and CloudFront");
            return;
        }
        ("web" | "worker" | "pserv", _) => app.row(Fate::Kept, input.path, node.place, what.clone(), "an ECS service"),
        _ => app.row(
            Fate::Decide,
            input.path,
            node.place,
            what.clone(),
            "not a type that is known here: it is taken for a service",
        ),
    }
    let taken: Vec<_> = app.services.iter().map(|service| service.key.clone()).collect();
    let key = unused(given, &taken);
    let context = node.text_of("dockerContext").or(node.text_of("rootDir")).unwrap_or(".").to_owned();
    let dockerfile = node.text_of("dockerfilePath").map(crate::normal);
    let image = match node.at(&["image", "url"]).and_then(Node::text) {
        Some(reference) => Source::Reference(reference.to_owned()),
        None => built(app, &key, &context, dockerfile.as_deref()),
    };
    if !matches!(runtime, "docker" | "image") {
        let why = "Render builds it; here the image is built from a `Dockerfile`, which does what `buildCommand` did";
        app.row(Fate::Decide, input.path, node.place, format!("{key}: runtime `{}`", shown(runtime)), why);
    }
    let mut made = service(&key, image);
    variables(input, app, root, &key, node.get("envVars"), &mut made.containers[0]);
    for (member, value) in node.entries() {
        self::member(input, app, &mut made, member, value);
    }
    if kind != "worker" {
        let file = dockerfile.unwrap_or_else(|| crate::normal(&format!("{context}/Dockerfile")));
        let set = made.containers[0]
            .environment
            .iter()
            .find(|(name, _)| name == "PORT")
            .and_then(|(_, port)| port.parse().ok());
        let port = set.or_else(|| port_of_dockerfile(input, &file)).filter(|port| *port > 0).unwrap_or(10_000);
        listens(&mut made.containers[0], port);
        app.row(
            Fate::Translated,
            input.path,
            node.place,
            format!("{key}: `$PORT`"),
            format!("it is {port} here, as the container's variable and port"),
        );
    }
    app.services.push(made);
}

fn member(input: &Input<'_>, app: &mut App, made: &mut Service, member: &crate::tree::Key, value: &Node) {
    if value.is_null() {
        return;
    }
    let text = value.text().unwrap_or_default();
    let key = made.key.clone();
    let mut row =
        |fate, why: &str| app.row(fate, input.path, member.place, format!("{key}: `{}`", shown(&member.text)), why);
    match member.text.as_str() {
        "type" | "name" | "runtime" | "env" | "envVars" | "dockerContext" | "dockerfilePath" | "rootDir" | "image" => {}
        "startCommand" | "dockerCommand" => {
            row(Fate::Kept, "");
            made.containers[0].command = start_command(app, input, &key, member.place, argv_of_line(text));
        }
        "preDeployCommand" => release_line(app, input, &key, value, &format!("{key}: `preDeployCommand`")),
        "initialDeployHook" => row(Fate::Decide, "it runs once, at the first deploy: run it by hand"),
        "healthCheckPath" => health_path(app, input, made, member.place, text),
        "numInstances" => desired_count(app, input, &key, member.place, text),
        "scaling" => {
            row(Fate::Decide, "autoscaling is the service's on AWS: a scalable target in your infrastructure code")
        }
        "disk" => row(Fate::Decide, "what is to outlive a task needs EFS or S3: add the volume to the task definition"),
        "domains" => row(Fate::Decide, "domains belong to the load balancer"),
        "maxShutdownDelaySeconds" => {
            made.containers[0].stop_timeout = text.parse::<u64>().ok().map(|seconds| seconds.clamp(2, 120));
            row(Fate::Translated, "`stopTimeout`, of 2 to 120 seconds");
        }
        "buildCommand" => row(Fate::Dropped, "write it into the `Dockerfile`"),
        "plan" => row(
            Fate::Dropped,
            "the task has the smallest size of Fargate: change `cpu` and `memory` in the task definition",
        ),
        "repo"
        | "branch"
        | "autoDeploy"
        | "autoDeployTrigger"
        | "buildFilter"
        | "pullRequestPreviewsEnabled"
        | "previews" => {
            row(Fate::Dropped, "a workflow says what is deployed when");
        }
        "region" | "registryCredential" | "maintenanceMode" | "ipAllowList" => row(Fate::Dropped, "Render's own"),
        _ => row(Fate::Dropped, "not known to this importer"),
    }
}

fn variables(input: &Input<'_>, app: &mut App, root: &Node, key: &str, node: Option<&Node>, container: &mut Container) {
    for item in node.map(Node::items).unwrap_or_default() {
        if let Some(group) = item.text_of("fromGroup") {
            let groups = root.get("envVarGroups").map(Node::items).unwrap_or_default();
            match groups.iter().find(|node| node.text_of("name") == Some(group)) {
                Some(found) => {
                    for item in found.get("envVars").map(Node::items).unwrap_or_default() {
                        variable(input, app, key, item, container);
                    }
                }
                None => app.row(
                    Fate::Decide,
                    input.path,
                    item.place,
                    format!("{key}: group `{}`", shown(group)),
                    "it is not in this file: list its variables in the task definition",
                ),
            }
            continue;
        }
        variable(input, app, key, item, container);
    }
}

fn variable(input: &Input<'_>, app: &mut App, key: &str, item: &Node, container: &mut Container) {
    let Some(name) = item.text_of("key") else {
        app.row(Fate::Dropped, input.path, item.place, format!("{key}: a variable without `key`"), "it has no name");
        return;
    };
    let read = |value, origin| Variable { file: input.path, place: item.place, name, value, origin };
    if let Some(from) = item.get("fromDatabase") {
        let why = format!("it is the database's `{}`", shown(from.text_of("property").unwrap_or("connectionString")));
        app.secret(key, container, read("", Origin::Unset), &why);
    } else if let Some(from) = item.get("fromService") {
        let other = from.text_of("name").unwrap_or_default();
        app.secret(key, container, read(other, Origin::Unset), &format!("it is of the service `{}`", shown(other)));
        let why = format!("`{}` is reached by ECS Service Connect or a load balancer: put that address", shown(other));
        app.row(Fate::Decide, input.path, item.place, format!("{key}: variable `{}`", shown(name)), why);
    } else {
        let scalar = item.get("value").and_then(Node::as_scalar).cloned();
        let origin = if scalar.is_none() { Origin::Unset } else { Origin::Document };
        app.variable(key, container, read(&scalar.unwrap_or_default().text, origin));
    }
}
