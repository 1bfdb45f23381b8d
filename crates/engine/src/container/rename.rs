//! `rename`.

use crate::{Engine, Error, ErrorKind, Result, blocking, names};
use std::sync::Arc;

impl Engine {
    /// Gives another name.
    ///
    /// # Errors
    /// `Conflict` when it is taken, `InvalidInput` when it is none or the same.
    pub async fn rename(self: &Arc<Self>, name: &str, to: &str) -> Result<()> {
        if to.is_empty() {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "Neither old nor new names may be empty",
            ));
        }
        let container = self.find(name)?;
        let taking = |error: Error, at: &str| {
            let text = format!("Error when allocating new name: {}", error.message());
            // dockerd says the name with the slash that is in front of all names there.
            let text = text.replacen("name (", &format!("name ({at}"), 1);
            Error::new(error.kind(), text)
        };
        let to = names::checked(to).map_err(|error| taking(error, "/"))?;
        let _operation = container.operation.lock().await;
        let old = container.read(|record| record.name.clone());
        if old == to {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "Renaming a container with the same name as its current name",
            ));
        }
        self.take_name(&to, &container.id)
            .map_err(|error| taking(error, ""))?;
        container.change(|record| record.name.clone_from(&to));
        let (rows, record) = (self.rows.clone(), container.record());
        if let Err(error) = blocking(move || rows.put(&record)).await {
            container.change(|record| record.name.clone_from(&old));
            self.release_name(&to, &container.id);
            return Err(error);
        }
        self.release_name(&old, &container.id);
        let (engine, renamed) = (Arc::clone(self), Arc::clone(&container));
        if let Err(error) = blocking(move || engine.rename_places(&renamed)).await {
            tracing::warn!(error = %error.full_message(), "a container's new name is not known to others");
        }
        self.tell_container(&container, "rename", &[("oldName", &format!("/{old}"))]);
        Ok(())
    }
}
