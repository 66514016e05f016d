//! What a revision's tags say of a rollback, and what a tag's value may be.

use super::Provenance;
use crate::task_definition::TaskDefinition;

/// On a revision of a rollback: the release that it goes back to.
pub const BACK_TO_TAG: &str = "fargate-deploy:rollback-to";
/// The same: why.
pub const REASON_TAG: &str = "fargate-deploy:reason";

pub(super) fn mark_rollback(definition: &mut TaskDefinition, provenance: &Provenance) {
    if let Some(number) = provenance.back_to {
        definition.set_tag(BACK_TO_TAG, format!("r{number}"));
    }
    if let Some(reason) = &provenance.reason {
        definition.set_tag(REASON_TAG, value(reason));
    }
}

/// AWS takes letters, digits, spaces and `_.:/=+-@` in a tag's value, up to 256.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-using-tags.html>
pub(super) fn value(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || " _.:/=+-@".contains(c) { c } else { '-' }).take(256).collect()
}
