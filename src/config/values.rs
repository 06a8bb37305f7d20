//! The layers on top of each other: each value with where it came from, the highest of each key.

use std::collections::BTreeMap;

use super::key::Key;
use super::value::Raw;

/// The values of one source, by key, each with its origin.
#[derive(Clone, Debug, Default)]
pub(super) struct Layer(BTreeMap<&'static str, (Raw, String)>);

impl Layer {
    /// An empty value counts as not set, in every layer.
    pub(super) fn set(&mut self, key: &'static Key, raw: Raw, origin: &str) {
        let empty = matches!(&raw, Raw::Text(text) if text.trim().is_empty());
        if !empty {
            self.0.insert(key.name, (raw, origin.to_owned()));
        }
    }

    /// Whether the source sets the key.
    pub(super) fn sets(&self, key: &Key) -> bool {
        self.0.contains_key(key.name)
    }
}

/// The layers on top of each other.
#[derive(Debug, Default)]
pub(super) struct Values(Layer);

impl Values {
    /// Lays them; a later layer wins.
    pub(super) fn lay(layers: impl IntoIterator<Item = Layer>) -> Self {
        Self(Layer(layers.into_iter().flat_map(|layer| layer.0).collect()))
    }

    /// What a key is set to, and where that came from.
    pub(super) fn get(&self, key: &Key) -> Option<(Raw, String)> {
        self.0.0.get(key.name).cloned()
    }
}
