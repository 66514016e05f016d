//! A plan, for a terminal, for a program and for a reviewer.

pub mod markdown;
pub mod outcome;
pub mod text;

use crate::cli::Format;
use fargate_deploy_core::outcome::Record;
use fargate_deploy_core::plan::document::Published;
use markdown::CommentContext;
use serde_json::json;

/// The plan of a run for people, if it made one.
pub fn lines(record: &Record) -> Vec<String> {
    match (&record.plan, &record.offline_plan) {
        (Some(plan), _) => text::lines(plan),
        (None, Some(plan)) => text::offline_lines(plan),
        (None, None) => vec![],
    }
}

/// The plan of a run as a step summary, if it made one.
pub fn summary(record: &Record) -> Option<String> {
    match (&record.plan, &record.offline_plan) {
        (Some(plan), _) => Some(markdown::summary(plan, CommentContext::default())),
        (None, Some(plan)) => Some(markdown::offline(plan, None)),
        (None, None) => None,
    }
}

/// What standard output gets in a form that is no text.
pub fn printed(format: Format, record: &Record) -> String {
    match (format, &record.plan, &record.offline_plan) {
        (Format::Json, Some(plan), _) => format!("{}\n", json!(Published::plan(plan))),
        (Format::Json, None, Some(plan)) => format!("{}\n", json!(Published::offline(plan))),
        (Format::Markdown, Some(plan), _) => markdown::summary(plan, CommentContext::default()),
        (Format::Markdown, None, Some(plan)) => markdown::offline(plan, None),
        _ => String::new(),
    }
}
