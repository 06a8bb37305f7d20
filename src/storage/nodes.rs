//! What is asked of the servers that serve the database.

use super::error::StoreResult;
use crate::domain::node::Node;

/// Reads nodes.
#[expect(clippy::missing_errors_doc, reason = "a read fails where the database does, and nowhere else")]
pub trait ReadNodes {
    /// Those that live, the oldest first. None where a lock lets one server in at a time: then every earlier run has ended.
    fn nodes(&self) -> StoreResult<Vec<Node>>;
}
