//! One server at a time has the file, as its lock says: there are no rows of nodes.

use super::tx::SqliteTx;
use crate::domain::node::Node;
use crate::storage::StoreResult;
use crate::storage::nodes::ReadNodes;

impl ReadNodes for SqliteTx<'_> {
    fn nodes(&self) -> StoreResult<Vec<Node>> {
        Ok(Vec::new())
    }
}
