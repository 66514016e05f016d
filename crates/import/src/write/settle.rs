//! The last look at a service: what one part says of another, and AWS refuses.

use crate::app::{App, Fate, Service, Source};
use crate::tree::Place;

/// Takes out what cannot be deployed, and says so.
pub(super) fn settle(app: &mut App) {
    let mut services = std::mem::take(&mut app.services);
    for service in &mut services {
        images(app, service);
        waits(app, service);
    }
    app.services = services;
}

/// Stands for an image that no file names.
const NO_IMAGE: &str = "<IMAGE>";

fn images(app: &mut App, service: &mut Service) {
    for container in &mut service.containers {
        if let Source::Reference(reference) = &mut container.image
            && reference.trim().is_empty()
        {
            NO_IMAGE.clone_into(reference);
            let what = format!("{}: the image of `{}`", service.key, container.name);
            app.row(Fate::Decide, "", Place::default(), what, "no file names it: write it into the task definition");
        }
    }
}

/// A container can wait for another one of its task to be healthy only where that is checked, and never in a circle. Of one
/// that has to end, the end must not end the task.
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDependency.html>
fn waits(app: &mut App, service: &mut Service) {
    let checked: Vec<_> = service.containers.iter().filter(|c| c.health.is_some()).map(|c| c.name.clone()).collect();
    let names: Vec<_> = service.containers.iter().map(|container| container.name.clone()).collect();
    let mut has_to_end = vec![];
    for container in &mut service.containers {
        let own = container.name.clone();
        let mut seen: Vec<String> = vec![];
        container.depends_on.retain(|(name, _)| {
            let is_new = !seen.contains(name);
            seen.push(name.clone());
            is_new && *name != own && names.contains(name)
        });
        for (name, on) in &mut container.depends_on {
            if *on == "HEALTHY" && !checked.contains(name) {
                *on = "START";
                let what = format!("{}: `{own}` waits for `{name}` to be healthy", service.key);
                app.row(
                    Fate::Translated,
                    "",
                    Place::default(),
                    what,
                    "its health is not checked: it waits for its start",
                );
            }
            if matches!(*on, "SUCCESS" | "COMPLETE") {
                has_to_end.push(name.clone());
            }
        }
    }
    for container in service.containers.iter_mut().filter(|container| has_to_end.contains(&container.name)) {
        container.is_optional = true;
    }
    if is_circular(service) {
        service.containers.iter_mut().for_each(|container| container.depends_on.clear());
        let what = format!("{}: containers wait for each other in a circle", service.key);
        app.row(Fate::Dropped, "", Place::default(), what, "AWS refuses it: they start at once");
    }
}

fn is_circular(service: &Service) -> bool {
    let mut waiting: Vec<_> = service.containers.iter().collect();
    loop {
        let before = waiting.len();
        let names: Vec<_> = waiting.iter().map(|container| container.name.clone()).collect();
        waiting.retain(|container| container.depends_on.iter().any(|(name, _)| names.contains(name)));
        if waiting.len() == before {
            return before > 0;
        }
    }
}
