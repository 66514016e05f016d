//! Kamal's `config/deploy.yml`: one image, a service for each role.
//! <https://kamal-deploy.org/docs/configuration/overview/>

use super::process::{arguments, dropped, health_path, service, start_command, variables};
use crate::Input;
use crate::app::{App, Container, Fate, Image, Port, Refusal, Source, Variable, key, unused};
use crate::databases::{self, Kind};
use crate::shell::argv_of_line;
use crate::tree::{Key, Node, Origin, Place, shown};

pub(crate) fn read(input: &Input<'_>, app: &mut App) -> Result<(), Refusal> {
    let root = input.yaml(app)?.root;
    if root.get("servers").is_none() || root.get("image").is_none() {
        let what = "it has no `image` and `servers`: no file of Kamal's";
        return Err(input.refusal(Place::default(), what, "name another file with `--from`"));
    }
    app.name = Some(root.text_of("service").map_or(input.name.to_owned(), |name| key(name).to_ascii_lowercase()));
    let builder = root.get("builder");
    let is_arm = builder.and_then(|builder| builder.get("arch")).is_some_and(|arch| arch.texts() == ["arm64"]);
    let args = arguments(input, app, builder.and_then(|builder| builder.get("args")));
    let of_builder = |name: &str| builder.and_then(|builder| builder.text_of(name));
    // Its own context is the repository, not the folder of the file.
    let context = crate::normal(of_builder("context").unwrap_or("."));
    let plain = crate::normal(&format!("{context}/Dockerfile"));
    let image = Source::Built(
        app.image(Image {
            key: "app".to_owned(),
            dockerfile: of_builder("dockerfile").map(crate::normal).filter(|file| *file != plain),
            context,
            target: of_builder("target").map(str::to_owned),
            args,
            build_secrets: builder
                .and_then(|builder| builder.get("secrets"))
                .map(|names| names.texts().into_iter().map(str::to_owned).collect())
                .unwrap_or_default(),
            platform: is_arm.then_some("linux/arm64"),
            ..Image::default()
        }),
    );
    let mut common = Container::default();
    env(input, app, "all", root.get("env"), &mut common);
    let port = ["proxy", "healthcheck"].iter().find_map(|of| root.at(&[of, "app_port"]).or(root.at(&[of, "port"])));
    let port =
        port.and_then(Node::text).and_then(|port| port.parse::<u16>().ok()).filter(|port| *port > 0).unwrap_or(80);
    let servers = root.get("servers");
    let roles = servers.map(Node::entries).unwrap_or_default();
    let mut names: Vec<(String, Place, Option<&Node>)> =
        roles.iter().map(|(key, node)| (key.text.clone(), key.place, Some(node))).collect();
    if names.is_empty() {
        // A list of hosts is the role `web`.
        names.push(("web".to_owned(), servers.map(|node| node.place).unwrap_or_default(), None));
    }
    for (name, at, node) in names {
        let taken: Vec<_> = app.services.iter().map(|service| service.key.clone()).collect();
        let key = unused(&name, &taken);
        let mut made = service(&key, image.clone());
        made.is_arm = is_arm;
        made.containers[0].environment.clone_from(&common.environment);
        made.containers[0].secrets.clone_from(&common.secrets);
        if let Some(command) = node.and_then(|node| node.get("cmd")) {
            let argv = argv_of_line(command.text().unwrap_or_default());
            made.containers[0].command = start_command(app, input, &key, command.place, argv);
        }
        env(input, app, &key, node.and_then(|node| node.get("env")), &mut made.containers[0]);
        if name == "web" {
            made.containers[0].ports.push(Port { number: port, is_udp: false });
            let why =
                format!("Kamal's proxy is a load balancer on AWS, with a target group of type `ip` and port {port}");
            app.row(Fate::Translated, input.path, at, format!("{key}: port `{port}`"), why);
            let path = ["proxy", "traefik"]
                .iter()
                .find_map(|of| root.at(&[of, "healthcheck", "path"]))
                .or(root.at(&["healthcheck", "path"]));
            if let Some((path, text)) = path.and_then(|path| Some((path, path.text()?))) {
                health_path(app, input, &mut made, path.place, text);
            }
        }
        app.row(Fate::Kept, input.path, at, format!("role `{name}`"), "an ECS service; its hosts are Fargate's");
        app.services.push(made);
    }
    for (member, value) in root.entries() {
        top_level(input, app, member, value);
    }
    if !input.folder.folders(".kamal").is_empty() {
        let why = "a hook that migrates belongs under `release`; others are steps of the workflow";
        app.row(Fate::Decide, ".kamal", Place::default(), "hooks", why);
    }
    Ok(())
}

fn top_level(input: &Input<'_>, app: &mut App, member: &Key, value: &Node) {
    match member.text.as_str() {
        "service" | "servers" | "builder" | "env" | "proxy" | "healthcheck" => {}
        "image" => app.row(
            Fate::Translated,
            input.path,
            member.place,
            "`image`",
            "the image is pushed to ECR, under `repository` of the config",
        ),
        "accessories" => {
            for (name, accessory) in value.entries() {
                let image = accessory.text_of("image").unwrap_or_default();
                let what = format!("accessory `{}` ({})", shown(&name.text), shown(image));
                match databases::of_image(image) {
                    Some(Kind::Managed { product }) => {
                        let why = format!(
                            "data does not live in a container: create {product} in your infrastructure code; move its data before the first deploy"
                        );
                        app.row(Fate::Decide, input.path, name.place, what, why);
                    }
                    _ => app.row(
                        Fate::Decide,
                        input.path,
                        name.place,
                        what,
                        "it is deployed by itself: a service of its own, with a task definition of its own",
                    ),
                }
            }
        }
        "volumes" => app.row(
            Fate::Decide,
            input.path,
            member.place,
            "`volumes`",
            "what is to outlive a task needs EFS or S3: add the volume to the task definition, or leave it out",
        ),
        "registry" => dropped(app, input, member, "ECR's login is the deploy role's"),
        "ssh"
        | "sshkit"
        | "retain_containers"
        | "hooks_path"
        | "run_directory"
        | "primary_role"
        | "allow_empty_roles"
        | "require_destination"
        | "minimum_version"
        | "stop_wait_time"
        | "drain_timeout"
        | "deploy_timeout"
        | "readiness_delay"
        | "aliases"
        | "boot"
        | "logging"
        | "labels"
        | "secrets_path" => {
            dropped(app, input, member, "Kamal's own");
        }
        "asset_path" => app.row(
            Fate::Decide,
            input.path,
            member.place,
            "`asset_path`",
            "old and new assets are served side by side from S3 and CloudFront, or not at all",
        ),
        _ => dropped(app, input, member, ""),
    }
}

/// `clear` and `secret`, or the variables themselves.
fn env(input: &Input<'_>, app: &mut App, service: &str, node: Option<&Node>, container: &mut Container) {
    let Some(node) = node else { return };
    let is_split = node.get("clear").or(node.get("secret")).is_some();
    variables(input, app, service, if is_split { node.get("clear") } else { Some(node) }, container);
    for item in node.get("secret").map(Node::items).unwrap_or_default() {
        let Some(text) = item.text() else { continue };
        // `NAME:OTHER` takes the value of another secret.
        let name = text.split(':').next().unwrap_or_default();
        let variable = Variable { file: input.path, place: item.place, name, value: "", origin: Origin::Unset };
        app.secret(service, container, variable, "its value is not in the file");
    }
}
