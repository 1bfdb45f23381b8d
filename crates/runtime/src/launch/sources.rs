//! Sources of bind mounts that the runtime must open itself.
//!
//! They may lie where only the host's root can look, and root of a user namespace is not it; and only who
//! has privileges over the file system may map the ids of a mount.

use super::id_map;
use crate::error::{Error, Step as _};
use crate::init::mounts::bind;
use crate::plan::{Bundle, Namespaces};
use crate::rootless;
use hull_linux::mount::{self, Attributes, Options};
use hull_linux::procfs::Proc;
use hull_spec::runtime::{Linux, Mount};
use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};

/// Opens them, in the order of the mounts; empty when there are none.
pub(super) fn open(
    proc: &Proc,
    bundle: &Bundle,
    linux: &Linux,
    namespaces: &Namespaces,
) -> Result<Vec<Option<OwnedFd>>, Error> {
    // A user's own namespace is the only place where that user may open them.
    let all = namespaces.has_user() && rootless::may_administer();
    if !all && !bundle.spec.mounts.iter().any(is_mapped) {
        return Ok(Vec::new());
    }
    let mut maps = Maps {
        proc,
        linux,
        joined: namespaces.joined_user.as_ref(),
        own: None,
    };
    let open = |mount: &Mount| {
        let options = Options::parse(&mount.options);
        let binds = (options.bind || mount.kind == "bind") && !options.remount;
        let mapped = is_mapped(mount);
        if !binds || !(all || mapped) {
            return Ok(None);
        }
        let tree = bind::open_source(&bundle.path, mount, &options)?;
        if !linux.rootfs_propagation.ends_with("shared") {
            // Opened outside of the container's mount namespace it would stay a peer of the host's mount, and
            // what is mounted below it would appear there.
            let slave = Attributes {
                propagation: rustix::mount::MountPropagationFlags::DOWNSTREAM
                    .bits()
                    .into(),
                ..Attributes::default()
            };
            mount::set_attributes(tree.as_fd(), true, &slave)
                .step(|| format!("keep {} apart from the host", mount.source))?;
        }
        if mapped {
            maps.with(mount, |namespace| {
                bind::set_id_map(&tree, mount, &options, namespace)
            })?;
        }
        Ok(Some(tree))
    };
    bundle.spec.mounts.iter().map(open).collect()
}

fn is_mapped(mount: &Mount) -> bool {
    !mount.uid_mappings.is_empty()
        || !mount.gid_mappings.is_empty()
        || mount
            .options
            .iter()
            .any(|word| matches!(word.as_str(), "idmap" | "ridmap"))
}

/// Where maps come from: a mount's own, the namespace the container joins, or the container's.
struct Maps<'a> {
    proc: &'a Proc,
    linux: &'a Linux,
    joined: Option<&'a OwnedFd>,
    /// A namespace with the container's maps: its own one is not born yet.
    own: Option<OwnedFd>,
}

impl Maps<'_> {
    fn with(
        &mut self,
        mount: &Mount,
        act: impl FnOnce(BorrowedFd<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if !mount.uid_mappings.is_empty() {
            let (uids, gids) = (&mount.uid_mappings, &mount.gid_mappings);
            return act(id_map::user_namespace(self.proc, uids, gids)?.as_fd());
        }
        if let Some(joined) = self.joined {
            return act(joined.as_fd());
        }
        let own = match self.own.take() {
            Some(own) => own,
            None => {
                let (uids, gids) = (&self.linux.uid_mappings, &self.linux.gid_mappings);
                id_map::user_namespace(self.proc, uids, gids)?
            }
        };
        act(self.own.insert(own).as_fd())
    }
}
