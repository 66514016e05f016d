//! Reading the members of a request in the words AWS uses when one is missing or out of bounds.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::error::AwsError;

/// A string member; absent, null and other types read as `None`.
pub(crate) fn text<'a>(body: &'a Value, name: &str) -> Option<&'a str> {
    body.get(name).and_then(Value::as_str)
}

/// A string member that the operation cannot do without.
pub(crate) fn required<'a>(body: &'a Value, name: &str) -> Result<&'a str, AwsError> {
    text(body, name).ok_or_else(|| {
        AwsError::client(
            "ValidationException",
            format!(
                "1 validation error detected: Value null at '{}' failed to satisfy constraint: Member must not be null",
                camel(name)
            ),
        )
    })
}

/// A boolean member; Query requests carry it as text.
pub(crate) fn flag(body: &Value, name: &str) -> bool {
    match body.get(name) {
        Some(Value::Bool(value)) => *value,
        Some(Value::String(value)) => value.eq_ignore_ascii_case("true"),
        _ => false,
    }
}

/// An integer member; Query requests carry it as text.
pub(crate) fn number(body: &Value, name: &str) -> Option<i64> {
    match body.get(name)? {
        Value::Number(value) => value.as_i64(),
        Value::String(value) => value.parse().ok(),
        _ => None,
    }
}

/// A list member; absent reads as empty.
pub(crate) fn list<'a>(body: &'a Value, name: &str) -> &'a [Value] {
    body.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The strings of a list member.
pub(crate) fn texts<'a>(body: &'a Value, name: &str) -> Vec<&'a str> {
    list(body, name).iter().filter_map(Value::as_str).collect()
}

/// One page of `items`: `nextToken` is an offset, as opaque to clients as AWS's own.
pub(crate) fn page<T: Clone>(
    items: &[T],
    token: Option<&str>,
    size: usize,
) -> Result<(Vec<T>, Option<String>), AwsError> {
    let start = match token {
        None => 0,
        Some(token) => token
            .parse::<usize>()
            .ok()
            .filter(|start| *start <= items.len())
            .ok_or_else(|| AwsError::client("InvalidParameterException", "Invalid nextToken."))?,
    };
    let end = items.len().min(start + size.max(1));
    Ok((items[start..end].to_vec(), (end < items.len()).then(|| end.to_string())))
}

/// Now, as the JSON protocols write a timestamp.
pub(crate) fn epoch_seconds() -> f64 {
    let millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    millis as f64 / 1000.0
}

/// Random lowercase hexadecimal digits, twice as many as `bytes`.
pub(crate) fn random_hex(bytes: usize) -> String {
    let mut random = vec![0u8; bytes];
    // The generator of the operating system only fails where nothing else would work either.
    let _ = aws_lc_rs::rand::fill(&mut random);
    hex::encode(&random)
}

/// Locks also what a panicking thread left behind: the stage's state is consistent between statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn camel(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}
