//! `ecs-params.yml` of the ECS CLI, with the compose file beside it: all its services are the containers of one task.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/cmd-ecs-cli-compose-ecsparams.html>

use super::compose::{Extra, read_with};
use super::process::dropped;
use crate::Input;
use crate::app::{App, Fate, Refusal};
use crate::size::{Size, mebibytes};
use crate::tree::{Node, Place, shown};

pub(crate) fn read(input: &Input<'_>, app: &mut App) -> Result<(), Refusal> {
    let root = input.yaml(app)?.root;
    let names =
        ["docker-compose.yml", "docker-compose.yaml", "compose.yaml", "compose.yml"].map(|name| input.beside(name));
    let Some(compose) = names.iter().find(|name| input.folder.text(name).is_some()) else {
        return Err(input.refusal(
            Place::default(),
            "there is no compose file beside it: it says how large the containers are, and not what they run",
            "put the `docker-compose.yml` that `ecs-cli compose` took beside it, or import the live service",
        ));
    };
    let task = root.get("task_definition");
    let mut extra = Extra { is_one_task: true, ..Extra::default() };
    for (name, node) in task.and_then(|task| task.get("services")).map(Node::entries).unwrap_or_default() {
        let memory =
            ["mem_limit", "mem_reservation"].iter().find_map(|member| node.text_of(member)).and_then(mebibytes);
        let cpu = node.text_of("cpu_shares").and_then(|text| text.parse().ok());
        extra.sizes.insert(name.text.clone(), (cpu.unwrap_or_default(), memory.unwrap_or_default()));
        for (member, value) in node.entries() {
            let what = format!("{}: `{}`", name.text, shown(&member.text));
            match member.text.as_str() {
                "cpu_shares" | "mem_limit" | "mem_reservation" => {
                    app.row(Fate::Translated, input.path, member.place, what, "part of the task's size")
                }
                "secrets" => {
                    for secret in value.items() {
                        let both = secret.text_of("name").zip(secret.text_of("value_from"));
                        let from =
                            both.map(|(variable, from)| (name.text.clone(), variable.to_owned(), from.to_owned()));
                        extra.secrets.extend(from);
                    }
                    app.row(Fate::Kept, input.path, member.place, what, "");
                }
                "essential" => {
                    if value.text() == Some("false") {
                        extra.optional.push(name.text.clone());
                    }
                    app.row(Fate::Kept, input.path, member.place, what, "");
                }
                _ => app.row(Fate::Decide, input.path, member.place, what, "write it into the task definition"),
            }
        }
    }
    read_with(&Input { path: compose, ..Input { ..*input } }, app, &extra)?;
    let size = task.and_then(|task| task.get("task_size"));
    let asked = |name: &str| size.and_then(|size| size.text_of(name));
    if let Some(size) = size {
        let cpu = asked("cpu_limit").and_then(|text| text.parse().ok()).unwrap_or_default();
        let memory = asked("mem_limit").and_then(mebibytes).unwrap_or_default();
        let fitting = Size::at_least(cpu, memory);
        app.services.iter_mut().for_each(|service| service.size = fitting);
        app.row(
            Fate::Kept,
            input.path,
            size.place,
            "`task_size`",
            format!("{} CPU units and {} MiB", fitting.cpu, fitting.memory),
        );
    } else {
        app.row(
            Fate::Decide,
            input.path,
            Place::default(),
            "the size of the task",
            "it ran on EC2, which needs none: the sum of its containers is taken",
        );
    }
    for (member, value) in task.map(Node::entries).unwrap_or_default() {
        match member.text.as_str() {
            "services" | "task_size" => {}
            "ecs_network_mode" if value.text() == Some("awsvpc") => {
                app.row(Fate::Kept, input.path, member.place, "`ecs_network_mode`", "")
            }
            "ecs_network_mode" => app.row(
                Fate::Translated,
                input.path,
                member.place,
                "`ecs_network_mode`",
                "Fargate has `awsvpc`: containers reach each other at localhost",
            ),
            "task_execution_role" | "task_role_arn" => {
                let why =
                    "a name of a role: it is `executionRoleArn` or `taskRoleArn` in the task definition, as an ARN";
                app.row(
                    Fate::Decide,
                    input.path,
                    member.place,
                    format!("`{}` {}", member.text, shown(value.text().unwrap_or_default())),
                    why,
                );
            }
            _ => app.row(
                Fate::Decide,
                input.path,
                member.place,
                format!("`{}`", shown(&member.text)),
                "write it into the task definition",
            ),
        }
    }
    for (member, _) in root.entries() {
        match member.text.as_str() {
            "version" | "task_definition" => {}
            "run_params" => app.row(
                Fate::Dropped,
                input.path,
                member.place,
                "`run_params`",
                "subnets and security groups are the service's on AWS, and stay as they are",
            ),
            _ => dropped(app, input, member, ""),
        }
    }
    Ok(())
}
