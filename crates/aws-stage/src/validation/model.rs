//! The table that `scripts/service-models` writes.

use std::collections::BTreeMap;

use serde::Deserialize;

const TABLE: &str = include_str!("../../data/service-models.json");

#[derive(Deserialize)]
pub(super) struct Models {
    services: BTreeMap<String, Service>,
}

#[derive(Deserialize)]
pub(super) struct Service {
    /// Operation to the shape of its input; null where it takes none.
    pub(super) operations: BTreeMap<String, Option<String>>,
    shapes: BTreeMap<String, Shape>,
}

/// A shape that has members or constraints; the others are named by their type.
#[derive(Deserialize)]
pub(super) struct Shape {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) required: Vec<String>,
    #[serde(default)]
    pub(super) members: BTreeMap<String, String>,
    pub(super) member: Option<String>,
    pub(super) value: Option<String>,
    pub(super) min: Option<f64>,
    pub(super) max: Option<f64>,
    #[serde(default, rename = "enum")]
    pub(super) variants: Vec<String>,
    pub(super) pattern: Option<String>,
}

impl Models {
    pub(super) fn load() -> Self {
        // The table is part of the binary, and a test reads it.
        serde_json::from_str(TABLE).unwrap_or(Self { services: BTreeMap::new() })
    }

    pub(super) fn service(&self, name: &str) -> Option<&Service> {
        self.services.get(if name == "elbv2" { "elasticloadbalancing" } else { name })
    }

    #[cfg(test)]
    pub(super) fn all(&self) -> impl Iterator<Item = (&String, &Service)> {
        self.services.iter()
    }
}

impl Service {
    pub(super) fn input(&self, operation: &str) -> Option<&Shape> {
        self.shape(self.operations.get(operation)?.as_deref()?)
    }

    pub(super) fn shape(&self, name: &str) -> Option<&Shape> {
        self.shapes.get(name)
    }

    #[cfg(test)]
    pub(super) fn shapes(&self) -> impl Iterator<Item = &Shape> {
        self.shapes.values()
    }
}
