//! What Terraform will do, and what it has to give: plans and outputs in the JSON that Terraform and OpenTofu publish.
//!
//! Values of a plan are never kept, sensitive or not: a summary names resources, attributes and outputs only.
//! <https://developer.hashicorp.com/terraform/internals/json-format>

pub mod outputs;
mod plan;

use serde::Serialize;
use std::fmt;

pub use outputs::Outputs;

/// Terraform's plan, as far as a reviewer of a deploy has to know it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct TerraformSummary {
    pub terraform_version: Option<String>,
    pub counts: Counts,
    /// What changes, the dangerous first: destroyed, replaced, forgotten, updated, created, moved, imported.
    pub changes: Vec<ResourceChange>,
    /// Outputs that change, by name.
    pub outputs: Vec<OutputChange>,
    /// All outputs that there are after the plan was applied.
    pub output_names: Vec<String>,
    /// Addresses of what was changed outside of Terraform.
    pub drift: Vec<String>,
    /// Address and reason of what Terraform puts off to a later plan.
    pub deferred: Vec<(String, String)>,
    /// Addresses of the actions that are run beside the changes.
    pub actions: Vec<String>,
    /// Planning ended with an error: this is only what was found until then.
    pub is_errored: bool,
    /// More plans are needed after this one, as with `-target` or deferred changes.
    pub is_incomplete: bool,
}

/// How many resources, data sources not counted. An imported or moved resource that also changes counts twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Counts {
    pub create: usize,
    pub update: usize,
    pub replace: usize,
    pub destroy: usize,
    pub import: usize,
    pub forget: usize,
    pub moved: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ResourceChange {
    pub address: String,
    pub action: Action,
    /// Where it was before a `moved` block.
    pub moved_from: Option<String>,
    pub is_imported: bool,
    /// A leftover object of an interrupted replacement.
    pub is_deposed: bool,
    /// Why it is destroyed or replaced, in words.
    pub why: Option<String>,
    /// Attributes that differ, or that force the replacement.
    pub attributes: Vec<String>,
}

/// In the order of danger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    Destroy,
    Replace,
    /// Terraform no longer manages it; the object stays.
    Forget,
    Update,
    Create,
    /// Only its address, or who manages it, changes.
    Keep,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct OutputChange {
    pub name: String,
    pub action: OutputAction,
    /// False: the value is known only after the plan was applied.
    pub is_known: bool,
    pub is_sensitive: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutputAction {
    Create,
    Update,
    Destroy,
}

/// A name that the config takes from Terraform's outputs and that this plan does not leave alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct OutputConcern {
    pub name: String,
    pub trouble: Trouble,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trouble {
    /// Neither there nor planned.
    Missing,
    Destroyed,
    /// A deploy before the apply uses another value than one after it.
    Changes,
    /// It changes to what only the apply will tell.
    ChangesToUnknown,
    /// It is there only after the apply.
    NotYet,
    /// It is sensitive: a config cannot take it.
    Sensitive,
}

impl TerraformSummary {
    /// Reads what `terraform show -json PLANFILE` printed.
    ///
    /// # Errors
    /// Why it is no such thing, in one sentence.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        plan::summarize(bytes)
    }

    /// Nothing to apply: no resource and no output changes, and no action is run.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.outputs.is_empty() && self.deferred.is_empty() && self.actions.is_empty()
    }

    pub fn destroyed(&self) -> impl Iterator<Item = &ResourceChange> {
        self.changes.iter().filter(|change| change.action == Action::Destroy)
    }

    pub fn replaced(&self) -> impl Iterator<Item = &ResourceChange> {
        self.changes.iter().filter(|change| change.action == Action::Replace)
    }

    /// Which of the outputs that a config takes (`${tf:NAME}`, without what follows the first dot) the plan touches.
    /// `names` come from [`crate::validated_config::Config::terraform_outputs`].
    pub fn concerns<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Vec<OutputConcern> {
        let concern = |name: &'a str| {
            let changed = self.outputs.iter().find(|output| output.name == name);
            let trouble = match changed {
                Some(output) if output.is_sensitive => Trouble::Sensitive,
                Some(OutputChange { action: OutputAction::Destroy, .. }) => Trouble::Destroyed,
                Some(OutputChange { action: OutputAction::Create, .. }) => Trouble::NotYet,
                Some(OutputChange { is_known: false, .. }) => Trouble::ChangesToUnknown,
                Some(_) => Trouble::Changes,
                None if self.output_names.iter().any(|known| known == name) => return None,
                // What a plan of a part does not name may be there.
                None if self.is_errored || self.is_incomplete => return None,
                None => Trouble::Missing,
            };
            Some(OutputConcern { name: name.to_owned(), trouble })
        };
        let mut concerns: Vec<_> = names.into_iter().filter_map(concern).collect();
        concerns.sort_by(|a, b| (a.trouble, &a.name).cmp(&(b.trouble, &b.name)));
        concerns.dedup();
        concerns
    }
}

impl fmt::Display for OutputConcern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.trouble {
            Trouble::Missing => "Terraform has no such output, and plans none",
            Trouble::Destroyed => "the plan takes this output away",
            Trouble::Changes => "the plan changes this output: a deploy before the apply uses the old value",
            Trouble::ChangesToUnknown => "the plan changes this output, to what is known only after the apply",
            Trouble::NotYet => "this output is there only after the apply",
            Trouble::Sensitive => "this output is sensitive: a config cannot take it",
        };
        write!(f, "`${{tf:{}}}`: {why}", self.name)
    }
}
