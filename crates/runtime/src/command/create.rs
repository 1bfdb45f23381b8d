//! `create`: a container whose first process waits for `start`.

use super::{Command, Context, id};
use crate::arguments::{Arguments, Flag, Kind, Order};
use crate::console;
use crate::error::{Error, Step as _, said};
use crate::launch::{self, Wishes};
use crate::plan::Bundle;
use crate::protect;
use hull_linux::process;
use std::path::Path;
use std::process::ExitCode;

/// The options `create` and `run` share.
pub(super) const BUNDLE: Flag = Flag::new(
    "bundle",
    Kind::Text,
    "directory of the bundle; without it the current one",
)
.letter('b');
pub(super) const CONSOLE_SOCKET: Flag = Flag::new(
    "console-socket",
    Kind::Text,
    "AF_UNIX socket to which the master of the pseudoterminal is sent",
);
pub(super) const PIDFD_SOCKET: Flag = Flag::new(
    "pidfd-socket",
    Kind::Text,
    "AF_UNIX socket to which a pidfd of the process is sent",
);
pub(super) const PID_FILE: Flag = Flag::new(
    "pid-file",
    Kind::Text,
    "file to which the process id is written",
);
pub(super) const NO_PIVOT: Flag = Flag::new(
    "no-pivot",
    Kind::Switch,
    "enter the root file system without pivot_root, which a ramdisk does not allow",
);
pub(super) const NO_NEW_KEYRING: Flag = Flag::new(
    "no-new-keyring",
    Kind::Switch,
    "keep the caller's session keyring instead of making one",
);
pub(super) const PRESERVE_FDS: Flag = Flag::new(
    "preserve-fds",
    Kind::Number(0),
    "pass so many more file descriptors, after standard input, output, error and $LISTEN_FDS",
);

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "create",
    summary: "make a container",
    arguments: "<container-id>\n\nThe id is the name of the new container; no other on this host may have it.",
    description: "Makes the container of a bundle up to the point where its process only waits\nfor \"start\".\n\nThe bundle is a directory with a file \"config.json\" and a root file system. What\nis run is in the file: its process has the list args. See \"hull-runtime spec --help\".",
    flags: &[
        BUNDLE,
        CONSOLE_SOCKET,
        PIDFD_SOCKET,
        PID_FILE,
        NO_PIVOT,
        NO_NEW_KEYRING,
        PRESERVE_FDS,
    ],
    order: Order::Anywhere,
    count: (1, 1),
    run,
};

/// Makes the container and ends while its first process waits.
fn run(context: &Context, arguments: &Arguments) -> Result<ExitCode, Error> {
    let preserved = preserved(arguments, listening())?;
    protect::executable(preserved)?;
    let bundle = bundle(arguments)?;
    let id = id(arguments)?;
    let wishes = Wishes {
        fifo: true,
        preserved,
        rootless: context.rootless,
        systemd: context.systemd_cgroup,
        ..wishes(arguments, terminal(&bundle), true)?
    };
    launch::create(&context.root, &id, &bundle, &wishes, &context.report)?;
    Ok(ExitCode::SUCCESS)
}

/// What the options say, for `create`, `run` and `exec`.
pub(super) fn wishes(arguments: &Arguments, terminal: bool, detach: bool) -> Result<Wishes, Error> {
    let socket = arguments.text("console-socket");
    if detach && terminal && socket.is_none() {
        return Err(said(
            "cannot allocate tty if runc will detach without setting console socket",
        ));
    }
    if socket.is_some() && !(detach && terminal) {
        return Err(said(
            "cannot use console socket if runc will not detach or allocate tty",
        ));
    }
    let open = |path: &str| console::open(Path::new(path));
    let pidfd_socket = arguments.text("pidfd-socket");
    Ok(Wishes {
        console: socket.map(open).transpose()?,
        // runc's word, which its users may look for.
        pidfd_socket: pidfd_socket
            .map(|path| open(path).step(|| format!("failed to dail {path}")))
            .transpose()?,
        pid_file: arguments.text("pid-file").map(Into::into),
        preserved: 0,
        cgroups: arguments.values("cgroup").to_vec(),
        no_pivot: arguments.is_set("no-pivot"),
        no_new_keyring: arguments.is_set("no-new-keyring"),
        rootless: None,
        systemd: false,
        fifo: false,
    })
}

/// Whether the first process gets a terminal.
pub(super) fn terminal(bundle: &Bundle) -> bool {
    let process = bundle.spec.process.as_ref();
    process.is_some_and(|process| process.terminal)
}

/// Reads the bundle. A program that gets sockets of its caller is told in its environment.
pub(super) fn bundle(arguments: &Arguments) -> Result<Bundle, Error> {
    let mut bundle = Bundle::read(arguments.text("bundle"))?;
    let sockets = listening();
    if let (1.., Some(process)) = (sockets, &mut bundle.spec.process) {
        process.env.push(format!("LISTEN_FDS={sockets}"));
        process.env.push("LISTEN_PID=1".to_owned());
    }
    Ok(bundle)
}

/// How many sockets our caller passes for the program (sd_listen_fds(3)).
pub(super) fn listening() -> u32 {
    let number = |name| std::env::var(name).ok()?.parse::<u32>().ok();
    if number("LISTEN_PID") == Some(std::process::id()) {
        number("LISTEN_FDS").unwrap_or(0)
    } else {
        0
    }
}

/// How many descriptors after standard error the program keeps: `sockets`, then those of `--preserve-fds`.
///
/// Numbers that nobody passed would be descriptors of our own.
pub(super) fn preserved(arguments: &Arguments, sockets: u32) -> Result<u32, Error> {
    let wanted = arguments.number("preserve-fds").unwrap_or(0);
    let wanted = u32::try_from(wanted.max(0)).unwrap_or(u32::MAX);
    for at in 0..wanted {
        let number = at.saturating_add(sockets).saturating_add(3);
        if !process::is_inherited(number) {
            let missing = std::io::Error::from(rustix::io::Errno::NOENT);
            return Err(missing).step(|| format!("unable to stat preserved-fd {at} (of {wanted})"));
        }
    }
    Ok(sockets + wanted)
}
