//! `checkpoint`: a running container becomes files.

use super::{Command, Context, delete};
use crate::arguments::{Arguments, Flag, Kind, Order};
use crate::criu::{self, Dump, GroupMode, Options, PageServer};
use crate::error::{Error, Step as _, said, status_name};
use hull_linux::namespace::flag;
use hull_linux::process;
use hull_spec::runtime::ContainerStatus;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub(super) const WORK_PATH: Flag = Flag::new(
    "work-path",
    Kind::Text,
    "directory of criu's log and working files",
);
pub(super) const TCP_ESTABLISHED: Flag = Flag::new(
    "tcp-established",
    Kind::Switch,
    "allow open TCP connections",
);
pub(super) const EXT_UNIX_SK: Flag = Flag::new(
    "ext-unix-sk",
    Kind::Switch,
    "allow unix sockets to the outside",
);
pub(super) const SHELL_JOB: Flag = Flag::new("shell-job", Kind::Switch, "allow jobs of a shell");
pub(super) const LAZY_PAGES: Flag = Flag::new(
    "lazy-pages",
    Kind::Switch,
    "fetch pages of memory when they are used (userfaultfd)",
);
pub(super) const FILE_LOCKS: Flag = Flag::new("file-locks", Kind::Switch, "keep file locks");
pub(super) const GROUPS_MODE: Flag = Flag::new(
    "manage-cgroups-mode",
    Kind::Text,
    "how much of control groups is kept: 'soft' (default), 'full', 'strict' or 'ignore'",
);
pub(super) const EMPTY_NS: Flag = Flag::new(
    "empty-ns",
    Kind::List,
    "make a namespace, but leave it empty ('network')",
);
pub(super) const AUTO_DEDUP: Flag = Flag::new(
    "auto-dedup",
    Kind::Switch,
    "take pages out of earlier images that later ones have again",
);

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "checkpoint",
    summary: "save a running container",
    arguments: "<container-id>\n\nThe id is the name of a container that runs.",
    description: "Saves the processes of a container as files, with CRIU (the package criu), and\nends the container unless it is to go on. \"restore\" brings it back.",
    flags: &[
        Flag::new(
            "image-path",
            Kind::Text,
            "directory of the files; without it ./checkpoint",
        ),
        WORK_PATH,
        Flag::new(
            "parent-path",
            Kind::Text,
            "directory of the pre-dump before this, relative to image-path",
        ),
        Flag::new("leave-running", Kind::Switch, "let the container go on"),
        TCP_ESTABLISHED,
        Flag::new(
            "tcp-skip-in-flight",
            Kind::Switch,
            "leave out TCP connections that are not accepted yet",
        ),
        Flag::new(
            "link-remap",
            Kind::Switch,
            "give names back to files that were unlinked, where that works",
        ),
        EXT_UNIX_SK,
        SHELL_JOB,
        LAZY_PAGES,
        Flag::new(
            "status-fd",
            Kind::Number(-1),
            "descriptor to which a zero byte is written once lazy pages can be fetched",
        ),
        Flag::new(
            "page-server",
            Kind::Text,
            "ADDRESS:PORT to which pages of memory are sent",
        ),
        FILE_LOCKS,
        Flag::new(
            "pre-dump",
            Kind::Switch,
            "save memory only, and let the container go on",
        ),
        GROUPS_MODE,
        EMPTY_NS,
        AUTO_DEDUP,
    ],
    order: Order::Anywhere,
    count: (1, 1),
    run,
};

/// Dumps the container, and removes it unless it goes on.
fn run(context: &Context, arguments: &Arguments) -> Result<ExitCode, Error> {
    let container = context.container(arguments)?;
    if !rustix::process::geteuid().is_root() {
        context
            .report
            .warning("checkpoint of an unprivileged user's container is seldom possible");
    }
    let status = container.status()?;
    if matches!(status, ContainerStatus::Created | ContainerStatus::Stopped) {
        return Err(said(format!(
            "Container cannot be checkpointed in {} state",
            status_name(status)
        )));
    }
    let images = images(arguments)?;
    let server = arguments.text("page-server");
    let dump = Dump {
        parent: parent(arguments.text("parent-path"), &images)?,
        options: options(arguments, images)?,
        leave_running: arguments.is_set("leave-running"),
        tcp_skip_in_flight: arguments.is_set("tcp-skip-in-flight"),
        link_remap: arguments.is_set("link-remap"),
        pre_dump: arguments.is_set("pre-dump"),
        page_server: server.map(PageServer::parse).transpose()?,
        status: status_file(arguments.number("status-fd").unwrap_or(-1))?,
    };
    let goes_on = dump.leave_running || dump.pre_dump;
    // What the caller left open is for neither CRIU nor hooks.
    process::close_on_exec_from(3).step(|| "close descriptors on exec")?;
    criu::dump(&container, dump, &context.report)?;
    if !goes_on {
        delete::remove_after(&container, &context.report);
    }
    Ok(ExitCode::SUCCESS)
}

/// The absolute directory of the images.
pub(super) fn images(arguments: &Arguments) -> Result<PathBuf, Error> {
    let given = arguments.text("image-path").unwrap_or("checkpoint");
    std::path::absolute(given).step(|| "find the current directory")
}

/// What the options say, for `checkpoint` and `restore`.
pub(super) fn options(arguments: &Arguments, images: PathBuf) -> Result<Options, Error> {
    let mode = arguments.text("manage-cgroups-mode");
    let mut empty = 0;
    for name in arguments.values("empty-ns") {
        empty |= match name.as_str() {
            "network" => flag::NETWORK,
            other => return Err(said(format!("namespace {other:?} is not supported"))),
        };
    }
    Ok(Options {
        images,
        work: arguments.text("work-path").map(PathBuf::from),
        tcp_established: arguments.is_set("tcp-established"),
        external_unix: arguments.is_set("ext-unix-sk"),
        shell_job: arguments.is_set("shell-job"),
        file_locks: arguments.is_set("file-locks"),
        auto_dedup: arguments.is_set("auto-dedup"),
        lazy_pages: arguments.is_set("lazy-pages"),
        groups: mode.map(GroupMode::of).transpose()?.unwrap_or_default(),
        empty_namespaces: empty,
    })
}

/// The directory of an earlier pre-dump, which is kept as a relative link.
fn parent(given: Option<&str>, images: &Path) -> Result<Option<String>, Error> {
    let Some(given) = given else {
        return Ok(None);
    };
    if Path::new(given).is_absolute() {
        return Err(said("--parent-path must be relative"));
    }
    let path = images.join(given);
    let found = fs_err::metadata(&path).step(|| "invalid --parent-path")?;
    if !found.is_dir() {
        return Err(said(format!(
            "--parent-path: {} is not a directory",
            path.display()
        )));
    }
    Ok(Some(given.to_owned()))
}

/// The caller's descriptor, opened once more.
fn status_file(number: i64) -> Result<Option<OwnedFd>, Error> {
    if number == -1 {
        return Ok(None);
    }
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open(format!("/proc/self/fd/{number}"), flags, Mode::empty());
    file.map(Some)
        .step(|| format!("invalid --status-fd argument {number}"))
}
