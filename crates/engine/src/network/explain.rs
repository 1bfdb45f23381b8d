//! `network explain`.

use crate::container::Port;
use crate::{Engine, Error, ErrorKind, Result};
use std::sync::Arc;

impl Engine {
    /// Who can reach a container, or one port of it, from where and by which rule: in words, a line each.
    ///
    /// # Errors
    /// `NotFound`, `Conflict` for one that does not run.
    pub async fn network_explain(
        self: &Arc<Self>,
        container: &str,
        port: Option<Port>,
    ) -> Result<Vec<String>> {
        drop(port);
        self.find(container)?;
        let text = "explaining networks is not supported by this version of Hull";
        Err(Error::new(ErrorKind::NotImplemented, text))
    }
}
