//! Rows against each other, and snapshots against their directories.

use super::{Check, Finding, Problem, Step};
use hull_spec::Digest;

impl Check<'_> {
    /// Names → images → layers.
    pub(super) fn rows(&mut self) -> Step {
        let catalog = self.store.inner.rows.catalog();
        for name in catalog.names.values() {
            let here = |id| self.store.inner.rows.catalog().images.contains_key(id);
            if here(&name.image) {
                continue;
            }
            let id = name.reference.familiar();
            let detail = format!("image {} is not there", name.image.short());
            let mut finding = Finding::new(Problem::Missing, "name", id, detail);
            self.repair_name(&name.reference, &mut finding);
            self.found(finding)?;
        }
        for (id, row) in &catalog.images {
            let Some(lost) = self.lost(&row.layers) else {
                continue;
            };
            // It may have been removed, with its layers, meanwhile.
            if !self.store.inner.rows.catalog().images.contains_key(id) {
                continue;
            }
            let detail = format!("layer {} is not there", lost.short());
            let mut finding = Finding::new(Problem::Missing, "image", id.as_str(), detail);
            self.repair_image(id, &mut finding);
            self.found(finding)?;
        }
        Ok(())
    }

    /// The first of these layers that has no row.
    fn lost<'l>(&self, layers: &'l [Digest]) -> Option<&'l Digest> {
        let catalog = self.store.inner.rows.catalog();
        layers.iter().find(|layer| !catalog.has_layer(layer))
    }

    /// Snapshots have their directories and layers. Nothing is done about one that has not: it is a
    /// container's.
    pub(super) fn snapshots(&mut self) -> Step {
        let snapshots = self.store.inner.rows.snapshots()?;
        self.checked.snapshots = snapshots.len() as u64;
        for (key, row) in snapshots {
            let dir = self.store.inner.root.join("snapshots").join(&key);
            let finished = self.options.finished;
            let needed: &[&str] = match finished {
                prefix if !prefix.is_empty() && key.starts_with(prefix) => &["upper"],
                _ => &["upper", "work"],
            };
            let whole = needed.iter().all(|name| dir.join(name).is_dir());
            let lost = self.lost(&row.layers);
            if whole && lost.is_none() {
                continue;
            }
            if self.store.inner.rows.snapshot(&key)?.is_none() {
                continue;
            }
            let detail = match lost {
                Some(layer) => format!("layer {} is not there", layer.short()),
                None => "its directories are not there".to_owned(),
            };
            let mut finding = Finding::new(Problem::Missing, "snapshot", key, detail);
            self.refuse(&mut finding, "containers are left as they are: remove it");
            self.found(finding)?;
        }
        Ok(())
    }
}
