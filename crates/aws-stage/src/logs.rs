//! CloudWatch Logs: groups, streams and their events.

use super::api::{Caller, partition};
use super::error::{AwsError, Reply};
use super::request::{epoch_seconds, flag, list, lock, number, page, required, text};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Log groups by name.
pub(crate) struct Logs {
    account: String,
    region: String,
    groups: Mutex<BTreeMap<String, Group>>,
    events: AtomicU64,
}

#[derive(Default)]
struct Group {
    created: i64,
    streams: BTreeMap<String, Stream>,
}

#[derive(Default)]
struct Stream {
    created: i64,
    events: Vec<Event>,
}

#[derive(Clone)]
struct Event {
    timestamp: i64,
    ingestion: i64,
    message: String,
    /// Tells it from every other event of the stage.
    id: u64,
}

/// A page of events is at most this many bytes of messages, and this many events.
/// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_GetLogEvents.html>
const PAGE_BYTES: usize = 1024 * 1024;
const PAGE_EVENTS: usize = 10_000;

impl Logs {
    pub(crate) fn new(account: &str, region: &str) -> Self {
        Self {
            account: account.to_owned(),
            region: region.to_owned(),
            groups: Mutex::default(),
            events: AtomicU64::default(),
        }
    }

    pub(crate) fn has_group(&self, group: &str) -> bool {
        lock(&self.groups).contains_key(group)
    }

    /// The stream of a container that starts: there is one also for a container that never writes a line.
    pub(crate) fn open(&self, group: &str, stream: &str) {
        let mut groups = lock(&self.groups);
        let Some(group) = groups.get_mut(group) else { return };
        group.streams.entry(stream.to_owned()).or_insert_with(|| Stream { created: now(), events: vec![] });
    }

    /// Makes a log group for a container whose log options ask for it; one that is there stays as it is.
    pub(crate) fn create(&self, group: &str) {
        let mut groups = lock(&self.groups);
        groups.entry(group.to_owned()).or_insert_with(|| Group { created: now(), streams: BTreeMap::new() });
    }

    /// One line of a container; the stream is made on its first.
    pub(crate) fn append(&self, group: &str, stream: &str, timestamp: i64, message: String) {
        let mut groups = lock(&self.groups);
        let Some(group) = groups.get_mut(group) else { return };
        let stream =
            group.streams.entry(stream.to_owned()).or_insert_with(|| Stream { created: now(), events: vec![] });
        // AWS gives events in the order of their timestamps.
        let at = stream.events.partition_point(|event| event.timestamp <= timestamp);
        let id = self.events.fetch_add(1, Ordering::Relaxed);
        stream.events.insert(at, Event { timestamp, ingestion: now(), message, id });
    }

    pub(crate) async fn call(&self, _caller: &Caller, operation: &str, body: Value) -> Reply {
        match operation {
            "CreateLogGroup" => self.create_group(&body),
            "DeleteLogGroup" => {
                let removed = lock(&self.groups).remove(required(&body, "logGroupName")?);
                removed.map(|_| json!({})).ok_or_else(|| missing("log group"))
            }
            "DescribeLogGroups" => self.describe_groups(&body),
            "CreateLogStream" => self.create_stream(&body),
            "DescribeLogStreams" => self.describe_streams(&body),
            "PutLogEvents" => self.put_events(&body),
            "GetLogEvents" => self.get_events(&body),
            "FilterLogEvents" => self.filter_events(&body),
            "TagResource" | "TagLogGroup" | "PutRetentionPolicy" => Ok(json!({})),
            _ => Err(AwsError::unknown_operation(operation)),
        }
    }

    fn create_group(&self, body: &Value) -> Reply {
        let name = required(body, "logGroupName")?;
        let mut groups = lock(&self.groups);
        if groups.contains_key(name) {
            return Err(AwsError::client("ResourceAlreadyExistsException", "The specified log group already exists"));
        }
        groups.insert(name.to_owned(), Group { created: now(), streams: BTreeMap::new() });
        Ok(json!({}))
    }

    fn describe_groups(&self, body: &Value) -> Reply {
        let prefix = text(body, "logGroupNamePrefix").unwrap_or_default();
        let groups = lock(&self.groups);
        let described: Vec<Value> = groups
            .iter()
            .filter(|(name, _)| name.starts_with(prefix))
            .map(|(name, group)| json!({"logGroupName": name, "creationTime": group.created, "arn": format!("{}:*", self.arn(name)), "storedBytes": 0}))
            .collect();
        let (items, next) = page(&described, text(body, "nextToken"), number(body, "limit").unwrap_or(50) as usize)?;
        Ok(with_token(json!({"logGroups": items}), next))
    }

    fn create_stream(&self, body: &Value) -> Reply {
        let mut groups = lock(&self.groups);
        let group = groups.get_mut(required(body, "logGroupName")?).ok_or_else(|| missing("log group"))?;
        let name = required(body, "logStreamName")?;
        if group.streams.contains_key(name) {
            return Err(AwsError::client("ResourceAlreadyExistsException", "The specified log stream already exists"));
        }
        group.streams.insert(name.to_owned(), Stream { created: now(), events: vec![] });
        Ok(json!({}))
    }

    fn describe_streams(&self, body: &Value) -> Reply {
        let groups = lock(&self.groups);
        let name = required(body, "logGroupName")?;
        let group = groups.get(name).ok_or_else(|| missing("log group"))?;
        let prefix = text(body, "logStreamNamePrefix").unwrap_or_default();
        let mut described: Vec<Value> = group
            .streams
            .iter()
            .filter(|(stream, _)| stream.starts_with(prefix))
            .map(|(stream, content)| {
                json!({
                    "logStreamName": stream, "creationTime": content.created, "storedBytes": 0,
                    "arn": format!("{}:log-stream:{stream}", self.arn(name)),
                    "firstEventTimestamp": content.events.first().map(|e| e.timestamp),
                    "lastEventTimestamp": content.events.last().map(|e| e.timestamp),
                })
            })
            .collect();
        if text(body, "orderBy") == Some("LastEventTime") {
            described.sort_by_key(|stream| stream["lastEventTimestamp"].as_i64());
        }
        if flag(body, "descending") {
            described.reverse();
        }
        let (items, next) = page(&described, text(body, "nextToken"), number(body, "limit").unwrap_or(50) as usize)?;
        Ok(with_token(json!({"logStreams": items}), next))
    }

    fn put_events(&self, body: &Value) -> Reply {
        let (group, stream) = (required(body, "logGroupName")?, required(body, "logStreamName")?);
        let known = lock(&self.groups).get(group).ok_or_else(|| missing("log group"))?.streams.contains_key(stream);
        if !known {
            return Err(missing("log stream"));
        }
        for event in list(body, "logEvents") {
            let message = text(event, "message").unwrap_or_default().to_owned();
            self.append(group, stream, number(event, "timestamp").unwrap_or_default(), message);
        }
        Ok(json!({"nextSequenceToken": "0"}))
    }

    /// The token that comes back with the end of the stream is the one that was sent.
    /// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_GetLogEvents.html>
    fn get_events(&self, body: &Value) -> Reply {
        let groups = lock(&self.groups);
        let group = groups.get(group_name(body)?).ok_or_else(|| missing("log group"))?;
        let stream = group.streams.get(required(body, "logStreamName")?).ok_or_else(|| missing("log stream"))?;
        let from = number(body, "startTime").unwrap_or(i64::MIN);
        let until = number(body, "endTime").unwrap_or(i64::MAX);
        let events: Vec<_> = stream.events.iter().filter(|e| (from..until).contains(&e.timestamp)).collect();
        let limit = number(body, "limit").map_or(PAGE_EVENTS, |limit| limit.clamp(1, 10_000) as usize);
        let forward = |from: usize| from + fitting(events.iter().skip(from), limit);
        let backward = |to: usize| to - fitting(events.iter().take(to).rev(), limit);
        let position = |token: &str| token.get(2..).and_then(|digits| digits.parse::<usize>().ok());
        let (start, end) = match text(body, "nextToken") {
            Some(token) => {
                let at = position(token).ok_or_else(|| {
                    AwsError::client("InvalidParameterException", "The specified nextToken is invalid.")
                })?;
                let at = at.min(events.len());
                if token.starts_with("b/") { (backward(at), at) } else { (at, forward(at)) }
            }
            None if flag(body, "startFromHead") => (0, forward(0)),
            None => (backward(events.len()), events.len()),
        };
        let shown = events.get(start.min(events.len())..end.min(events.len())).unwrap_or_default();
        let shown: Vec<Value> = shown
            .iter()
            .map(|e| json!({"timestamp": e.timestamp, "message": e.message, "ingestionTime": e.ingestion}))
            .collect();
        Ok(
            json!({"events": shown, "nextForwardToken": format!("f/{end:056}"), "nextBackwardToken": format!("b/{start:056}")}),
        )
    }

    fn filter_events(&self, body: &Value) -> Reply {
        let groups = lock(&self.groups);
        let group = groups.get(group_name(body)?).ok_or_else(|| missing("log group"))?;
        let names: Vec<&str> = list(body, "logStreamNames").iter().filter_map(Value::as_str).collect();
        let prefix = text(body, "logStreamNamePrefix").unwrap_or_default();
        let pattern = text(body, "filterPattern").unwrap_or_default().trim_matches('"');
        let from = number(body, "startTime").unwrap_or(i64::MIN);
        let until = number(body, "endTime").unwrap_or(i64::MAX);
        if names.iter().any(|name| !group.streams.contains_key(*name)) {
            return Err(missing("log stream"));
        }
        let chosen = group
            .streams
            .iter()
            .filter(|(name, _)| name.starts_with(prefix) && (names.is_empty() || names.contains(&name.as_str())));
        let mut found: Vec<(&str, &Event)> = vec![];
        for (name, stream) in chosen {
            let first = stream.events.partition_point(|event| event.timestamp < from);
            let later = stream.events.iter().skip(first).take_while(|event| event.timestamp <= until);
            found.extend(later.filter(|event| event.message.contains(pattern)).map(|event| (name.as_str(), event)));
        }
        found.sort_by_key(|(_, event)| event.timestamp);
        let limit = number(body, "limit").map_or(PAGE_EVENTS, |limit| limit.clamp(1, 10_000) as usize);
        let from = text(body, "nextToken").and_then(|token| token.parse::<usize>().ok()).unwrap_or(0);
        let sizes = found.iter().skip(from).map(|(_, event)| event.message.len());
        let (items, next) = page(&found, text(body, "nextToken"), fitting_sizes(sizes, limit))?;
        let shown = items.into_iter().map(|(name, event)| {
            json!({"logStreamName": name, "timestamp": event.timestamp, "message": event.message,
                "ingestionTime": event.ingestion, "eventId": format!("{:056}", event.id)})
        });
        Ok(with_token(json!({"events": shown.collect::<Vec<_>>(), "searchedLogStreams": []}), next))
    }

    fn arn(&self, group: &str) -> String {
        format!("arn:{}:logs:{}:{}:log-group:{group}", partition(&self.region), self.region, self.account)
    }
}

/// How many of the events fit on one page: one always does.
fn fitting<'a>(events: impl Iterator<Item = &'a &'a Event>, limit: usize) -> usize {
    fitting_sizes(events.map(|event| event.message.len()), limit)
}

fn fitting_sizes(sizes: impl Iterator<Item = usize>, limit: usize) -> usize {
    let mut bytes = 0;
    let fits = sizes.take(limit).take_while(|size| {
        bytes += size;
        bytes <= PAGE_BYTES || bytes == *size
    });
    fits.count()
}

fn group_name(body: &Value) -> Result<&str, AwsError> {
    match text(body, "logGroupIdentifier") {
        Some(identifier) => {
            Ok(identifier.rsplit_once("log-group:").map_or(identifier, |(_, name)| name).trim_end_matches(":*"))
        }
        None => required(body, "logGroupName"),
    }
}

fn missing(what: &str) -> AwsError {
    AwsError::client("ResourceNotFoundException", format!("The specified {what} does not exist."))
}

fn with_token(mut answer: Value, next: Option<String>) -> Value {
    if let Some(next) = next {
        answer["nextToken"] = json!(next);
    }
    answer
}

fn now() -> i64 {
    (epoch_seconds() * 1000.0) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pages_end_with_the_token_that_was_sent() {
        let logs = Logs::new("111122223333", "eu-central-1");
        let caller = Caller { account: String::new(), region: String::new(), arn: String::new(), session_policy: None };
        logs.call(&caller, "CreateLogGroup", json!({"logGroupName": "g"})).await.unwrap();
        let body = |token: Option<&str>| json!({"logGroupName": "g", "logStreamName": "s", "startFromHead": true, "limit": 2, "nextToken": token});
        let early = logs.call(&caller, "GetLogEvents", body(None)).await.unwrap_err();
        assert_eq!(early.code, "ResourceNotFoundException");
        for (at, line) in ["one", "two", "three"].into_iter().enumerate() {
            logs.append("g", "s", at as i64, line.to_owned());
        }
        let mut token: Option<String> = None;
        let mut lines = vec![];
        loop {
            let answer = logs.call(&caller, "GetLogEvents", body(token.as_deref())).await.unwrap();
            lines
                .extend(answer["events"].as_array().unwrap().iter().map(|e| e["message"].as_str().unwrap().to_owned()));
            let next = answer["nextForwardToken"].as_str().unwrap().to_owned();
            if token.as_deref() == Some(&next) {
                break;
            }
            token = Some(next);
        }
        assert_eq!(lines, ["one", "two", "three"]);
    }

    #[tokio::test]
    async fn a_page_holds_at_most_a_megabyte_in_either_direction() {
        let logs = Logs::new("111122223333", "eu-central-1");
        let caller = Caller { account: String::new(), region: String::new(), arn: String::new(), session_policy: None };
        logs.call(&caller, "CreateLogGroup", json!({"logGroupName": "g"})).await.unwrap();
        for at in 0..12 {
            logs.append("g", "s", at, "x".repeat(256 * 1024));
        }
        for (from_head, token) in [(true, "nextForwardToken"), (false, "nextBackwardToken")] {
            let (mut pages, mut next) = (vec![], Value::Null);
            loop {
                let body =
                    json!({"logGroupName": "g", "logStreamName": "s", "startFromHead": from_head, "nextToken": next});
                let answer = logs.call(&caller, "GetLogEvents", body).await.unwrap();
                if answer[token] == next {
                    break;
                }
                pages.push(answer["events"].as_array().unwrap().len());
                next = answer[token].clone();
            }
            assert_eq!(pages.iter().filter(|page| **page > 0).copied().collect::<Vec<_>>(), [4, 4, 4], "{token}");
        }
        let all = logs.call(&caller, "FilterLogEvents", json!({"logGroupName": "g"})).await.unwrap();
        assert_eq!((all["events"].as_array().unwrap().len(), all["nextToken"].is_string()), (4, true));
    }

    #[test]
    fn a_container_that_is_silent_has_a_stream() {
        let logs = Logs::new("111122223333", "eu-central-1");
        logs.create("g");
        logs.open("g", "web/app/1");
        let streams = logs.describe_streams(&json!({"logGroupName": "g"})).unwrap();
        assert_eq!(streams["logStreams"][0]["logStreamName"], "web/app/1");
    }
}
