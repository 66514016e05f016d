//! A Dockerfile alone: one service that runs its image.

use super::process::{built, listens, port_of_dockerfile, service};
use crate::Input;
use crate::app::{App, Fate, Port, Refusal};
use crate::tree::Place;

pub(crate) fn read(input: &Input<'_>, app: &mut App) -> Result<(), Refusal> {
    let text = input.source()?;
    if !text.lines().any(|line| line.trim_start().to_ascii_lowercase().starts_with("from ")) {
        return Err(input.refusal(
            Place::default(),
            "it has no `FROM`: no Dockerfile",
            "name another file with `--from`",
        ));
    }
    app.files.push(input.path.to_owned());
    app.name = Some(input.name.to_owned());
    let context = input.path.rsplit_once('/').map_or(".", |(folder, _)| folder).to_owned();
    let image = built(app, "app", &context, Some(input.path));
    let mut web = service("web", image);
    match port_of_dockerfile(input, input.path) {
        Some(number) => {
            web.containers[0].ports.push(Port { number, is_udp: false });
            let why = format!("port {number}, as `EXPOSE` says; a target group of type `ip` makes it reachable");
            app.row(Fate::Kept, input.path, Place::default(), "the image's own command", why);
        }
        None => {
            listens(&mut web.containers[0], 8080);
            let why = "no `EXPOSE` says where it listens: 8080 is taken, as port and as the variable `PORT`";
            app.row(Fate::Decide, input.path, Place::default(), "the port", why);
        }
    }
    let health = text.lines().find(|line| line.trim_start().to_ascii_uppercase().starts_with("HEALTHCHECK"));
    if health.is_some() {
        let why = "ECS takes no notice of the image's: write it into the task definition";
        app.row(Fate::Decide, input.path, Place::default(), "`HEALTHCHECK`", why);
    }
    app.services.push(web);
    Ok(())
}
