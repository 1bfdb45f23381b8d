//! What a container stands on: state, control group, descriptors that only the runtime can open.

use super::{Wishes, sources};
use crate::cgroups;
use crate::error::{Error, Step as _};
use crate::plan::{Bundle, Namespaces};
use crate::rootless;
use crate::state::Container;
use hull_linux::cgroup::Cgroup;
use hull_linux::procfs::Proc;
use hull_spec::runtime::Linux;
use rustix::fd::OwnedFd;

/// What is made or opened before the process is born, in this order.
pub(super) struct Ground {
    pub(super) namespaces: Namespaces,
    pub(super) group: Option<Cgroup>,
    /// The group's directory, where a process can be born in it (cgroup v2).
    pub(super) directory: Option<OwnedFd>,
    pub(super) fifo: Option<OwnedFd>,
    pub(super) sources: Vec<Option<OwnedFd>>,
    pub(super) proc: Proc,
}

impl Ground {
    /// Makes and opens it.
    pub(super) fn lay(
        container: &mut Container,
        bundle: &Bundle,
        wishes: &Wishes,
    ) -> Result<Self, Error> {
        cgroups::refuse_foreign(&mut container.record.cgroup)?;
        // Before anything is made, so that whatever follows can be found and removed.
        container.directory.write(&container.record)?;
        container.directory.write_config(&bundle.text)?;
        let nothing = Linux::default();
        let linux = bundle.spec.linux.as_ref().unwrap_or(&nothing);
        let namespaces = Namespaces::of(linux)?;
        let systemd = container.record.cgroup.unit.is_some();
        let group = if systemd {
            // It will be there when there is a process for it.
            cgroups::open(&container.record.cgroup)?
        } else {
            rootless::make_group(&mut container.record, linux, wishes.rootless)?
        };
        let directory = match &group {
            Some(group) if !systemd => group.open().step(|| "open the control group")?,
            _ => None,
        };
        let proc = Proc::open().step(|| "open /proc")?;
        Ok(Self {
            fifo: wishes
                .fifo
                .then(|| container.directory.make_fifo())
                .transpose()?,
            sources: sources::open(&proc, bundle, linux, &namespaces)?,
            proc,
            namespaces,
            group,
            directory,
        })
    }
}
