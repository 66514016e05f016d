//! `railway.json` and `railway.toml`: one service.
//! <https://docs.railway.com/reference/config-as-code>

use super::process::{
    built, desired_count, dropped, health_path, listens, port_of_dockerfile, release_line, service, start_command,
};
use crate::Input;
use crate::app::{App, Fate, Refusal};
use crate::shell::argv_of_line;
use crate::tree::{Node, Place, shown};

pub(crate) fn read(input: &Input<'_>, app: &mut App) -> Result<(), Refusal> {
    let root = match input.path.ends_with(".toml") {
        true => input.toml(app)?.root,
        false => input.yaml(app)?.root,
    };
    app.name = Some(input.name.to_owned());
    let (build, deploy) = (root.get("build"), root.get("deploy"));
    // An absolute path starts at the repository.
    let dockerfile = build.and_then(|build| build.text_of("dockerfilePath")).map(|path| path.trim_start_matches('/'));
    let image = built(app, "app", ".", dockerfile);
    let port = port_of_dockerfile(input, dockerfile.unwrap_or("Dockerfile")).unwrap_or(8080);
    let mut web = service("web", image);
    listens(&mut web.containers[0], port);
    let why = format!("it is {port} here, as the container's variable and port");
    app.row(Fate::Translated, input.path, Place::default(), "web: `$PORT`", why);
    for (member, value) in build.map(Node::entries).unwrap_or_default() {
        match (member.text.as_str(), value.text()) {
            ("dockerfilePath", _) => app.row(Fate::Kept, input.path, member.place, "`dockerfilePath`", ""),
            ("builder", Some("DOCKERFILE")) => {}
            ("builder", Some(other)) => {
                let what = format!("`builder` {}", shown(other));
                app.row(Fate::Decide, input.path, member.place, what, "the image is built from a `Dockerfile` here");
            }
            ("watchPatterns", _) => dropped(app, input, member, "a workflow says when it runs"),
            ("buildCommand" | "nixpacksPlan" | "nixpacksConfigPath", _) => {
                dropped(app, input, member, "write it into the `Dockerfile`");
            }
            _ => dropped(app, input, member, ""),
        }
    }
    for (member, value) in deploy.map(Node::entries).unwrap_or_default() {
        if value.is_null() {
            continue;
        }
        let text = value.text().unwrap_or_default();
        match member.text.as_str() {
            "startCommand" => {
                web.containers[0].command = start_command(app, input, "web", member.place, argv_of_line(text));
                app.row(Fate::Kept, input.path, member.place, "`startCommand`", "");
            }
            "preDeployCommand" => release_line(app, input, "web", value, "`preDeployCommand`"),
            "healthcheckPath" => health_path(app, input, &mut web, member.place, text),
            "healthcheckTimeout" => {
                dropped(app, input, member, "the target group's health check and the service's grace period")
            }
            "numReplicas" => desired_count(app, input, "web", member.place, text),
            "cronSchedule" => {
                let why = "a schedule belongs to EventBridge Scheduler; the service here would run all the time";
                app.row(Fate::Decide, input.path, member.place, "`cronSchedule`", why);
            }
            "restartPolicyType" | "restartPolicyMaxRetries" => {
                dropped(app, input, member, "ECS replaces a task that stops")
            }
            "sleepApplication" => dropped(app, input, member, "a Fargate task does not sleep"),
            "region" | "multiRegionConfig" | "runtime" | "limitOverride" => {
                dropped(app, input, member, "Railway's own")
            }
            "requiredMountPath" => {
                let why = "what is to outlive a task needs EFS or S3: add the volume to the task definition";
                app.row(Fate::Decide, input.path, member.place, "`requiredMountPath`", why);
            }
            "overlapSeconds" | "drainingSeconds" => {
                web.containers[0].stop_timeout =
                    text.parse::<u64>().ok().filter(|_| member.text == "drainingSeconds").map(|s| s.clamp(2, 120));
                app.row(
                    Fate::Translated,
                    input.path,
                    member.place,
                    format!("`{}`", member.text),
                    "`stopTimeout`, and the target group's deregistration delay",
                );
            }
            _ => dropped(app, input, member, ""),
        }
    }
    for (member, _) in root.entries() {
        match member.text.as_str() {
            "$schema" | "build" | "deploy" => {}
            "environments" => {
                let why = "write what differs under `environments` of the config, with a task definition for each";
                app.row(Fate::Decide, input.path, member.place, "`environments`", why);
            }
            _ => dropped(app, input, member, "Railway does not know it either"),
        }
    }
    app.row(
        Fate::Decide,
        "",
        Place::default(),
        "variables of the service at Railway",
        "they are in no file: `railway variables` lists them; secrets go under `secrets` of the task definition",
    );
    app.services.push(web);
    Ok(())
}
