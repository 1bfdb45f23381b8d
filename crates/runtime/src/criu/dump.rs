//! A container becomes files.

use super::service::{Feature, Service, check, kind, version};
use super::{Directories, Options, common, external, message::Message, quote_log};
use crate::cgroups;
use crate::error::{Error, Step as _, said};
use crate::report::Report;
use crate::state::Container;
use hull_linux::cgroup::Cgroup;
use hull_spec::runtime::{Linux, Spec};
use rustix::fd::OwnedFd;
use std::path::Path;

/// Standard streams of the first process, as `/proc/PID/fd` names them.
pub(super) const DESCRIPTORS: &str = "descriptors.json";

const LOG: &str = "dump.log";

/// What only a dump is told.
#[derive(Debug, Default)]
pub(crate) struct Dump {
    /// What its restore will be told too.
    pub(crate) options: Options,
    /// `--parent-path`, relative to the images.
    pub(crate) parent: Option<String>,
    /// `--leave-running`.
    pub(crate) leave_running: bool,
    /// `--tcp-skip-in-flight`.
    pub(crate) tcp_skip_in_flight: bool,
    /// `--link-remap`.
    pub(crate) link_remap: bool,
    /// `--pre-dump`: memory only, and the container goes on.
    pub(crate) pre_dump: bool,
    /// `--page-server`.
    pub(crate) page_server: Option<PageServer>,
    /// `--status-fd`: gets a zero byte when pages can be asked for.
    pub(crate) status: Option<OwnedFd>,
}

/// Who takes the pages of memory.
#[derive(Debug)]
pub(crate) struct PageServer {
    pub(crate) address: String,
    pub(crate) port: u16,
}

/// Dumps a running container.
pub(crate) fn dump(container: &Container, mut dump: Dump, report: &Report) -> Result<(), Error> {
    let found = version()?;
    report.debug(|| format!("Using CRIU {found}"));
    let spec = container.directory.config()?;
    let nothing = Linux::default();
    let linux = spec.linux.as_ref().unwrap_or(&nothing);
    let group = cgroups::open(&container.record.cgroup)?;
    let directories = Directories::open(&dump.options, true)?;
    if dump.pre_dump {
        check(Feature::MemTrack)?;
    }
    if dump.options.lazy_pages {
        check(Feature::LazyPages)?;
    }
    let mut opts = common(&dump.options, LOG, &spec);
    directories.add(&mut opts);
    add_own(&mut opts, &dump, container);
    external::add_namespaces(&mut opts, linux)?;
    if let Some(freezer) = group.as_ref().and_then(freezer) {
        opts.text(44, &freezer);
    }
    if !dump.pre_dump {
        add_mounts(&mut opts, container, &spec, group.as_ref())?;
        write_descriptors(container.record.pid, &dump.options.images)?;
    }
    let mut request = Message::default();
    let kind = if dump.pre_dump {
        kind::PRE_DUMP
    } else {
        kind::DUMP
    };
    request.number(1, kind).message(2, &opts);
    let was_frozen = group.as_ref().is_some_and(Cgroup::is_frozen);
    let done = Service::start(0, &[], || Ok(Vec::new())).and_then(|(service, _)| {
        service.call(&request, |notice| {
            report.debug(|| format!("notify: {}", notice.script));
            if let ("status-ready", Some(status)) = (notice.script.as_str(), dump.status.take()) {
                rustix::io::write(&status, &[0]).step(|| "write to the status descriptor")?;
            }
            Ok(())
        })
    });
    if let Err(error) = done {
        quote_log(&dump.options, LOG, report);
        if let Some(group) = group.filter(|group| !was_frozen && group.is_frozen()) {
            // A CRIU that was killed leaves what it has stopped as it is.
            group.thaw().step(|| "unable to thaw")?;
        }
        return Err(error);
    }
    Ok(())
}

/// What only a dump has.
fn add_own(opts: &mut Message, dump: &Dump, container: &Container) {
    opts.number(2, container.record.pid.into())
        .flag(3, dump.leave_running)
        .text(13, &container.record.rootfs.to_string_lossy())
        .flag(18, dump.link_remap)
        .flag(46, dump.tcp_skip_in_flight);
    if let Some(server) = &dump.page_server {
        let mut message = Message::default();
        message
            .text(1, &server.address)
            .number(2, server.port.into());
        opts.message(11, &message);
    }
    if let Some(parent) = &dump.parent {
        opts.text(14, parent).flag(15, true);
    }
}

/// The directory through which all processes are stopped at once.
fn freezer(group: &Cgroup) -> Option<String> {
    let directory = group.directory("freezer")?;
    directory
        .exists()
        .then(|| directory.to_string_lossy().into_owned())
}

fn add_mounts(
    opts: &mut Message,
    container: &Container,
    spec: &Spec,
    group: Option<&Cgroup>,
) -> Result<(), Error> {
    let record = &container.record;
    for (place, _) in external::mounts(spec, &record.bundle, &record.rootfs, group)? {
        external::add_mount(opts, &place, &place);
    }
    if let Some(linux) = &spec.linux {
        external::add_masked(opts, linux, record.pid);
    }
    Ok(())
}

/// Pipes among the standard streams are somebody else's: at the restore there are others in their place.
fn write_descriptors(pid: i32, images: &Path) -> Result<(), Error> {
    let name = |number: i32| {
        let link = fs_err::read_link(format!("/proc/{pid}/fd/{number}"));
        link.map_or_else(
            |_| NOTHING.to_owned(),
            |link| link.to_string_lossy().into_owned(),
        )
    };
    let names: Vec<String> = (0..3).map(name).collect();
    let text = serde_json::to_vec(&names).step(|| "encode the descriptors")?;
    let path = images.join(DESCRIPTORS);
    let new = images.join(format!(".{DESCRIPTORS}"));
    crate::files::replace(&path, &new, &text, 0o600).step(|| format!("write {DESCRIPTORS}"))
}

/// What a stream that is closed is called.
const NOTHING: &str = "/dev/null";

impl PageServer {
    /// `ADDRESS:PORT`.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let (address, port) = text
            .split_once(':')
            .filter(|(_, port)| !port.contains(':'))
            .ok_or_else(|| said("Use --page-server ADDRESS:PORT to specify page server"))?;
        Ok(Self {
            address: address.to_owned(),
            port: port.parse().map_err(|_| said("Invalid port number"))?,
        })
    }
}
