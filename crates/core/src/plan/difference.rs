//! Where a service's next revision differs from the one that it runs.

use super::{Provenance, ServicePlan};
use crate::names::{ImageKey, PinnedImage};
use crate::task_definition::compare::{self, Difference};
use serde_json::json;

/// What stands for the digest of an image that this release builds.
pub const TO_BE_BUILT: &str = "(built by this release)";

impl ServicePlan {
    /// Where the revision to register differs from the one that runs. An image that is yet to be built differs in any
    /// case, and has no name yet.
    pub fn differences(&self, number: u64, images: &[(ImageKey, PinnedImage)]) -> Vec<Difference> {
        let definition = self.definition(number, images, &Provenance::default());
        let mut found = compare::changes(&self.running, &definition);
        for (container, key) in &self.containers {
            if images.iter().any(|(known, _)| known == key) {
                continue;
            }
            let path = ["containerDefinitions", container.as_str(), "image"].map(str::to_owned).to_vec();
            let at = found.iter().position(|d| d.path == path).unwrap_or(found.len());
            let old = self.running.container(container).and_then(|c| c.get("image").cloned());
            found.splice(at..(at + 1).min(found.len()), [Difference { path, old, new: Some(json!(TO_BE_BUILT)) }]);
        }
        found
    }
}
