//! A sink that remembers.

use fargate_deploy::events::{Event, Sink};
use fargate_deploy::render::warnings;
use std::sync::Mutex;

#[derive(Default)]
pub struct RecordedEvents(Mutex<Vec<Event>>);

impl Sink for RecordedEvents {
    fn emit(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

impl RecordedEvents {
    pub fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap().clone()
    }

    pub fn masked(&self) -> Vec<String> {
        self.texts(|event| match event {
            Event::Mask(secret) => Some(secret.expose().to_owned()),
            _ => None,
        })
    }

    pub fn warnings(&self) -> Vec<String> {
        self.texts(|event| match event {
            Event::Warning(warning) => Some(warnings::warning(warning)),
            _ => None,
        })
    }

    pub fn output(&self) -> Vec<String> {
        self.texts(|event| match event {
            Event::Output { line, .. } => Some(line.clone()),
            _ => None,
        })
    }

    /// Every event as `--events` writes it, but for those that only tell of waiting.
    pub fn json(&self) -> Vec<serde_json::Value> {
        let events = self.0.lock().unwrap();
        let told = events.iter().filter(|e| !matches!(e, Event::Mask(_) | Event::Waiting(_)));
        told.map(|e| serde_json::to_value(e).unwrap()).collect()
    }

    fn texts(&self, of: impl Fn(&Event) -> Option<String>) -> Vec<String> {
        self.0.lock().unwrap().iter().filter_map(of).collect()
    }
}
