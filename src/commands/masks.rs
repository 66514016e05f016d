//! What the surroundings of a run hold that must not be shown.

use crate::config::is_credential;
use crate::events::{Event, Sink};
use fargate_deploy_core::redact::Secret;
use std::collections::BTreeMap;

/// Shorter values are the words that stand-ins take for keys.
const SHORTEST: usize = 8;

/// What the run itself was started with: tokens and keys, and the passwords of proxies. Runners mask most of them in their own
/// logs, and nothing of what is posted.
pub(crate) fn mask_credentials(env: &BTreeMap<String, String>, sink: &dyn Sink) {
    for (name, value) in env {
        let upper = name.to_ascii_uppercase();
        // Of names that hold credentials, some say only where they are, or whose.
        let is_secret = is_credential(name)
            && ["TOKEN", "_KEY", "SECRET", "_JWT", "AUTH_CONFIG"].iter().any(|end| upper.ends_with(end));
        if is_secret && value.len() >= SHORTEST {
            sink.emit(Event::Mask(Secret::new(value.trim())));
        }
        let user_info =
            value.split_once("://").and_then(|(_, rest)| rest.split(['/', '?', '#']).next()?.rsplit_once('@'));
        if let Some((user_info, _)) = user_info.filter(|_| upper.ends_with("_PROXY")) {
            let password = user_info.split_once(':').map_or(user_info, |(_, password)| password);
            sink.emit(Event::Mask(Secret::new(password)));
        }
    }
}
