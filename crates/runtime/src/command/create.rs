//! `create`: a container whose first process waits for `start`.

use super::{Command, Context, id};
use crate::arguments::{Arguments, Flag, Kind, Order};
use crate::error::{Error, Step as _, said};
use crate::launch::{self, Wishes};
use crate::plan::Bundle;
use crate::protect;
use hull_linux::process;
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
    protect::executable(preserved(arguments)?)?;
    let bundle = Bundle::read(arguments.text("bundle"))?;
    let id = id(arguments)?;
    let wishes = Wishes {
        fifo: true,
        rootless: context.rootless,
        ..wishes(arguments, terminal(&bundle))?
    };
    launch::create(&context.root, &id, &bundle, &wishes, &context.report)?;
    Ok(ExitCode::SUCCESS)
}

/// Whether the first process gets a terminal.
pub(super) fn terminal(bundle: &Bundle) -> bool {
    bundle
        .spec
        .process
        .as_ref()
        .is_some_and(|process| process.terminal)
}

/// What the options say, for `create` and `run`.
pub(super) fn wishes(arguments: &Arguments, terminal: bool) -> Result<Wishes, Error> {
    let socket = arguments.text("console-socket");
    if socket.is_some() && !terminal {
        return Err(said(
            "cannot use console socket if runc will not detach or allocate tty",
        ));
    }
    Ok(Wishes {
        console: launch::console_socket(socket)?,
        pid_file: arguments.text("pid-file").map(Into::into),
        preserved: preserved(arguments)?,
        no_pivot: arguments.is_set("no-pivot"),
        no_new_keyring: arguments.is_set("no-new-keyring"),
        rootless: None,
        fifo: false,
    })
}

/// Descriptors the program keeps: `--preserve-fds` and what socket activation (sd_listen_fds(3)) passed.
///
/// Numbers that nobody passed would be descriptors of our own.
pub(super) fn preserved(arguments: &Arguments) -> Result<u32, Error> {
    let listening = std::env::var("LISTEN_FDS")
        .ok()
        .and_then(|text| text.parse::<u32>().ok());
    let wanted = arguments.number("preserve-fds").unwrap_or(0);
    let wanted = u32::try_from(wanted.max(0)).unwrap_or(u32::MAX);
    let most = wanted.saturating_add(listening.unwrap_or(0));
    let mut passed = 0;
    while passed < most && process::is_inherited(passed.saturating_add(3)) {
        passed += 1;
    }
    if passed < wanted {
        let missing = std::io::Error::from(rustix::io::Errno::NOENT);
        return Err(missing).step(|| format!("unable to stat preserved-fd {passed} (of {wanted})"));
    }
    Ok(passed)
}
