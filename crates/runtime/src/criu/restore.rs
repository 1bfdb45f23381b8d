//! Files become a container.

use super::dump::DESCRIPTORS;
use super::service::{Notice, Service, kind, version};
use super::{Directories, Options, common, external, message::Message, quote_log};
use crate::cgroups;
use crate::console;
use crate::error::{Error, Step as _, said};
use crate::hooks;
use crate::id::ContainerId;
use crate::launch::{self, Started, Wishes};
use crate::plan::Bundle;
use crate::report::Report;
use crate::rootless;
use crate::state::{Container, StateDirectory};
use hull_linux::cgroup::Cgroup;
use hull_linux::mount;
use hull_linux::namespace::flag;
use hull_linux::path::Root;
use hull_linux::process::Child;
use hull_linux::procfs;
use hull_spec::runtime::{ContainerStatus, Linux};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{MountPropagationFlags, UnmountFlags};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const LOG: &str = "restore.log";

/// What only a restore is told.
#[derive(Debug, Default)]
pub(crate) struct Restore {
    /// What the dump was told too.
    pub(crate) options: Options,
    /// `--lsm-profile`.
    pub(crate) lsm_profile: Option<String>,
    /// `--lsm-mount-context`.
    pub(crate) lsm_mount_context: Option<String>,
    /// Who gets the pseudo terminal.
    pub(crate) console: Option<OwnedFd>,
    /// `--rootless`; nothing for `auto`.
    pub(crate) rootless: Option<bool>,
}

/// Makes a container of a bundle and the files of a dump.
pub(crate) fn restore(
    root: &Path,
    id: &ContainerId,
    bundle: &Bundle,
    restore: &Restore,
    report: &Report,
) -> Result<(Container, Started), Error> {
    let found = version()?;
    report.debug(|| format!("Using CRIU {found}"));
    if found < 31_600 && (restore.lsm_profile.is_some() || restore.lsm_mount_context.is_some()) {
        return Err(said("--lsm-profile requires at least CRIU 3.16"));
    }
    // Without them there is nothing to make a container of.
    Directories::open(&restore.options, false)?;
    let mut container = Container {
        directory: StateDirectory::create(root, id)?,
        record: launch::record(id, bundle, &Wishes::default()),
    };
    let _making = container.directory.claim();
    let made = make(&mut container, bundle, restore, report);
    if made.is_err() {
        quote_log(&restore.options, LOG, report);
        // The failure is what is reported; what cannot be taken back, `delete --force` finds.
        let _ = crate::command::delete::destroy(&container);
    }
    Ok((container, made?))
}

fn make(
    container: &mut Container,
    bundle: &Bundle,
    restore: &Restore,
    report: &Report,
) -> Result<Started, Error> {
    cgroups::refuse_foreign(&mut container.record.cgroup)?;
    container.directory.write(&container.record)?;
    container.directory.write_config(&configuration(bundle)?)?;
    let nothing = Linux::default();
    let linux = bundle.spec.linux.as_ref().unwrap_or(&nothing);
    let place = Place::make(container)?;
    let group = rootless::make_group(&mut container.record, linux, restore.rootless)?;
    let mut opts = common(&restore.options, LOG, &bundle.spec);
    opts.flag(6, true)
        .text(13, &place.0.to_string_lossy())
        .flag(26, true);
    for (field, text) in [(53, &restore.lsm_profile), (63, &restore.lsm_mount_context)] {
        if let Some(text) = text {
            opts.text(field, text);
        }
    }
    let files = external::give_namespaces(&mut opts, linux)?;
    for (name, source) in
        external::mounts(&bundle.spec, &bundle.path, &bundle.rootfs, group.as_ref())?
    {
        external::add_mount(&mut opts, &name, &source.to_string_lossy());
    }
    external::add_mask(&mut opts, linux);
    add_streams(&mut opts, &restore.options.images)?;
    for (controller, path) in group_roots(group.as_ref(), &container.record.cgroup.path)? {
        let mut entry = Message::default();
        entry.text(1, &controller).text(2, &path);
        opts.message(25, &entry);
    }
    let (service, directories) = Service::start(flag::MOUNT, &files, || {
        group
            .as_ref()
            .map_or(Ok(()), Cgroup::enter)
            .step(|| "unable to apply cgroup configuration")?;
        place.fill(bundle)?;
        Ok(Directories::open(&restore.options, false)?.into_files())
    })?;
    let directories = Directories::received(directories)?;
    directories.add(&mut opts);
    let mut request = Message::default();
    request.number(1, kind::RESTORE).message(2, &opts);
    service.call(&request, |notice| {
        noticed(&notice, container, bundle, restore, report)
    })?;
    started(container)
}

/// The configuration as it is kept. CRIU restores processes into a time namespace: later ones join it.
fn configuration(bundle: &Bundle) -> Result<Vec<u8>, Error> {
    let step = || "keep the configuration";
    let mut document: serde_json::Value = serde_json::from_slice(&bundle.text).step(step)?;
    if let Some(list) = document["linux"]["namespaces"].as_array_mut()
        && !list.iter().any(|one| one["type"] == "time")
        && Path::new("/proc/self/ns/time").exists()
    {
        list.push(serde_json::json!({"type": "time"}));
    }
    serde_json::to_vec(&document).step(step)
}

/// An answer to a notice.
fn noticed(
    notice: &Notice,
    container: &mut Container,
    bundle: &Bundle,
    restore: &Restore,
    report: &Report,
) -> Result<(), Error> {
    report.debug(|| format!("notify: {}", notice.script));
    match notice.script.as_str() {
        "setup-namespaces" => {
            let mut state = container.record.state(ContainerStatus::Creating);
            state.pid = Some(notice.pid);
            let all = &bundle.spec.hooks;
            hooks::run("prestart", &all.prestart, &state)?;
            hooks::run("createRuntime", &all.create_runtime, &state)
        }
        "post-restore" => {
            let found = procfs::start_time(notice.pid).step(|| "read the restored process")?;
            let found = found.ok_or_else(|| said("the restored process ended at once"))?;
            container.record.pid = notice.pid;
            container.record.start_time = found.0;
            container.directory.write(&container.record)
        }
        "orphan-pts-master" => match (&restore.console, &notice.file) {
            (Some(socket), Some(master)) => console::send(socket, master.as_fd(), "/dev/pts/ptmx"),
            (None, _) => Err(said(
                "cannot allocate tty if runc will detach without setting console socket",
            )),
            (_, None) => Err(said("no terminal was sent")),
        },
        _ => Ok(()),
    }
}

/// The restored process, which has become a child of ours.
fn started(container: &Container) -> Result<Started, Error> {
    let pid = Pid::from_raw(container.record.pid).ok_or_else(|| said("criu named no process"))?;
    // Not waited for by anybody but us: the number cannot belong to another process.
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).step(|| "open the restored process")?;
    let (channel, _) = crate::handshake::pair()?;
    Ok(Started {
        child: Child { pid, pidfd },
        channel,
    })
}

/// Where CRIU finds the root file system: it must be a mount, in a directory that is not covered.
struct Place(PathBuf);

impl Place {
    fn make(container: &Container) -> Result<Self, Error> {
        let path = container.directory.path().join("criu-root");
        rustix::fs::mkdir(&path, Mode::from_raw_mode(0o755))
            .step(|| format!("mkdir {}", path.display()))?;
        fs_err::canonicalize(path)
            .map(Self)
            .step(|| "find the directory for criu's root")
    }

    /// Mounts the root file system, in CRIU's own mount namespace: whatever happens, nothing of it stays.
    fn fill(&self, bundle: &Bundle) -> Result<(), Error> {
        let flags = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
        rustix::mount::mount_change("/", flags).step(|| "change the propagation of /")?;
        let root = Root::from_directory(self.mount(bundle)?);
        external::make_places(&root, &bundle.path, &bundle.spec.mounts)?;
        drop(root);
        // With everything that was mounted below it to make the places.
        rustix::mount::unmount(&self.0, UnmountFlags::DETACH).step(|| "unmount the rootfs")?;
        self.mount(bundle)?;
        Ok(())
    }

    fn mount(&self, bundle: &Bundle) -> Result<OwnedFd, Error> {
        let step = || format!("mount {}", bundle.rootfs.display());
        let tree = mount::clone_tree(CWD, &bundle.rootfs, true).step(step)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let place = rustix::fs::open(&self.0, flags, Mode::empty()).step(step)?;
        mount::attach(tree.as_fd(), place.as_fd()).step(step)?;
        Ok(tree)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Empty; and else removed with the container.
        let _ = fs_err::remove_dir(&self.0);
    }
}

/// In place of the pipes that were standard streams come our own standard streams.
fn add_streams(opts: &mut Message, images: &Path) -> Result<(), Error> {
    let text = fs_err::read(images.join(DESCRIPTORS)).step(|| format!("read {DESCRIPTORS}"))?;
    let names: Vec<String> =
        serde_json::from_slice(&text).step(|| format!("read {DESCRIPTORS}"))?;
    for (number, name) in (0..).zip(names.iter().take(3)) {
        if name.contains("pipe:") {
            external::add_inherited(opts, name, number);
        }
    }
    Ok(())
}

/// Where in every hierarchy the groups of the dump are to be: the container's group, or ours where it
/// has none.
fn group_roots(group: Option<&Cgroup>, path: &str) -> Result<BTreeMap<String, String>, Error> {
    let listed = fs_err::read_to_string("/proc/self/cgroup").step(|| "read the control groups")?;
    let mut roots = BTreeMap::new();
    for line in listed.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(own)) = (fields.next(), fields.next()) else {
            continue;
        };
        let is_in = group.is_some_and(|group| {
            group.layout().hierarchies().iter().any(|hierarchy| {
                let name = controllers.trim_start_matches("name=");
                let named = hierarchy.controllers.is_empty() && hierarchy.name() == name;
                let first = controllers.split(',').next().unwrap_or_default();
                let has = hierarchy.controllers.iter().any(|known| known == first);
                if controllers.is_empty() {
                    hierarchy.v2
                } else {
                    named || has
                }
            })
        });
        for controller in controllers.split(',') {
            let root = if is_in { path } else { own };
            roots.insert(controller.to_owned(), root.to_owned());
        }
    }
    Ok(roots)
}
