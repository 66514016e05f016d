//! A sink that remembers.

use fargate_deploy::events::{Event, Sink};
use fargate_deploy::render::sentences;
use std::sync::Mutex;

#[derive(Default)]
pub struct RecordedEvents(Mutex<Vec<Event>>);

impl Sink for RecordedEvents {
    fn emit(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

impl RecordedEvents {
    pub fn masked(&self) -> Vec<String> {
        self.texts(|event| match event {
            Event::Mask(secret) => Some(secret.expose().to_owned()),
            _ => None,
        })
    }

    pub fn warnings(&self) -> Vec<String> {
        self.texts(|event| match event {
            Event::Warning(warning) => Some(sentences::warning(warning)),
            _ => None,
        })
    }

    fn texts(&self, of: impl Fn(&Event) -> Option<String>) -> Vec<String> {
        self.0.lock().unwrap().iter().filter_map(of).collect()
    }
}
