//! `criu swrk`: CRIU as a child that serves one request over a socket, whose borders of messages it keeps.
//!
//! ```text
//!      runtime                                     criu swrk FD
//!         │ ◄────────────── ready, descriptors ────────│ before it becomes CRIU
//!         │ ── request: dump, restore, version … ────► │
//!         │ ◄──────── notify: "setup-namespaces" … ────│ at points where the runtime has a say
//!         │ ── notify, success ──────────────────────► │
//!         │ ◄──────────────────── response: success ───│
//! ```
//! Field numbers are those of CRIU's `rpc.proto`.

use super::message::{Message, Value, fields};
use crate::error::{Error, Step as _, chain, said};
use hull_linux::process::{self, Child, Clones, spawn};
use rustix::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use rustix::io::{Errno, FdFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, send, sendmsg, socketpair,
};
use std::ffi::{CString, OsString};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

/// Types of requests and responses.
pub(super) mod kind {
    pub(in super::super) const DUMP: i64 = 1;
    pub(in super::super) const RESTORE: i64 = 2;
    pub(in super::super) const PRE_DUMP: i64 = 4;
    pub(super) const NOTIFY: i64 = 6;
    pub(super) const FEATURE_CHECK: i64 = 9;
    pub(super) const VERSION: i64 = 10;
    /// By number, for errors.
    pub(super) const NAMES: [&str; 13] = [
        "EMPTY",
        "DUMP",
        "RESTORE",
        "CHECK",
        "PRE_DUMP",
        "PAGE_SERVER",
        "NOTIFY",
        "CPUINFO_DUMP",
        "CPUINFO_CHECK",
        "FEATURE_CHECK",
        "VERSION",
        "WAIT_PID",
        "PAGE_SERVER_CHLD",
    ];
}

/// What CRIU says at a point of its work.
#[derive(Debug)]
pub(super) struct Notice {
    /// Which point.
    pub(super) script: String,
    /// The first process, where there is one.
    pub(super) pid: i32,
    /// A descriptor that came along.
    pub(super) file: Option<OwnedFd>,
}

/// A running CRIU.
#[derive(Debug)]
pub(super) struct Service {
    socket: OwnedFd,
    child: Child,
}

impl Service {
    /// Starts it, with `namespaces` of its own. `prepare` runs in the new process; the descriptors it
    /// opens there are given back. Of the runtime's descriptors, CRIU gets those of `inherited`.
    pub(super) fn start(
        namespaces: u64,
        inherited: &[OwnedFd],
        prepare: impl FnOnce() -> Result<Vec<OwnedFd>, Error>,
    ) -> Result<(Self, Vec<OwnedFd>), Error> {
        let program = find()?;
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .step(|| "make the socket to criu")?;
        let how = Clones {
            namespaces,
            ..Clones::default()
        };
        let child = spawn(&how, || {
            let ready = prepare().and_then(|files| send_ready(&theirs, &files));
            let Err(error) = ready.and_then(|()| execute(program, &theirs, inherited));
            // A message that cannot be CRIU's, no field having the number 0; the runtime tells the rest.
            let text = format!("\0{}", chain(&error));
            let _ = send(&theirs, text.as_bytes(), SendFlags::NOSIGNAL);
            1
        })
        .step(|| "start criu")?;
        drop(theirs);
        let service = Self {
            socket: ours,
            child,
        };
        let (bytes, files) = service.receive()?;
        match bytes.strip_prefix(b"\0") {
            Some(b"") => Ok((service, files)),
            Some(text) => Err(said(String::from_utf8_lossy(text))),
            None => Err(said("criu said something out of turn")),
        }
    }

    /// Has one request served and waits until CRIU has ended. Notices are answered by `notice`.
    pub(super) fn call(
        self,
        request: &Message,
        mut notice: impl FnMut(Notice) -> Result<(), Error>,
    ) -> Result<Vec<u8>, Error> {
        let answer = self.talk(request, &mut notice);
        drop(self.socket);
        // What it has to say it has said; a failure of its own ended the conversation.
        let ended = crate::launch::wait(&self.child)?;
        let (kind, answer) = answer?;
        // After a pre-dump CRIU waits for another request, and takes the end of them for a failure.
        if crate::launch::exit_code(&ended) != 0 && kind != kind::PRE_DUMP {
            return Err(said(format!(
                "criu failed: exit status {}",
                crate::launch::exit_code(&ended)
            )));
        }
        Ok(answer)
    }

    fn talk(
        &self,
        request: &Message,
        notice: &mut impl FnMut(Notice) -> Result<(), Error>,
    ) -> Result<(i64, Vec<u8>), Error> {
        self.send(request)?;
        loop {
            let (bytes, files) = self.receive()?;
            if let Some(text) = bytes.strip_prefix(b"\0") {
                return Err(said(String::from_utf8_lossy(text)));
            }
            let response = Response::read(&bytes)
                .ok_or_else(|| said("criu said something that makes no sense"))?;
            if !response.success {
                let kind = usize::try_from(response.kind).ok();
                let name = kind.and_then(|kind| kind::NAMES.get(kind)).unwrap_or(&"?");
                return Err(said(format!(
                    "criu failed: type {name} errno {}",
                    response.errno
                )));
            }
            if response.kind != kind::NOTIFY {
                return Ok((response.kind, bytes));
            }
            let (script, pid) = response.notice;
            let file = files.into_iter().next();
            let done = notice(Notice { script, pid, file });
            let mut answer = Message::default();
            answer.number(1, kind::NOTIFY).flag(3, done.is_ok());
            self.send(&answer)?;
            done?;
        }
    }

    fn send(&self, message: &Message) -> Result<(), Error> {
        match send(&self.socket, message.as_bytes(), SendFlags::NOSIGNAL) {
            // That it has ended shows when it is listened to.
            Ok(_) | Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
            Err(error) => Err(error).step(|| "write to criu"),
        }
    }

    fn receive(&self) -> Result<(Vec<u8>, Vec<OwnedFd>), Error> {
        let mut buffer = vec![0; 40 * 1024];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let length = rustix::io::retry_on_intr(|| {
            let mut parts = [IoSliceMut::new(&mut buffer)];
            recvmsg(
                &self.socket,
                &mut parts,
                &mut control,
                RecvFlags::CMSG_CLOEXEC,
            )
        })
        .step(|| "read from criu")?
        .bytes;
        if length == 0 {
            return Err(said("criu ended unexpectedly"));
        }
        let mut files = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(sent) = message {
                files.extend(sent);
            }
        }
        buffer.truncate(length);
        Ok((buffer, files))
    }
}

/// What every response says.
struct Response {
    kind: i64,
    success: bool,
    errno: i32,
    notice: (String, i32),
}

impl Response {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut response = Self {
            kind: 0,
            success: false,
            errno: 0,
            notice: (String::new(), 0),
        };
        for (field, value) in fields(bytes)? {
            match field {
                1 => response.kind = value.number()?.cast_signed(),
                2 => response.success = value.number()? != 0,
                5 => response.notice = notice(value)?,
                7 => response.errno = value.signed()?,
                _ => {}
            }
        }
        Some(response)
    }
}

fn notice(value: Value<'_>) -> Option<(String, i32)> {
    let mut notice = (String::new(), 0);
    for (field, value) in fields(value.bytes()?)? {
        match field {
            1 => notice.0 = String::from_utf8_lossy(value.bytes()?).into_owned(),
            2 => notice.1 = value.signed()?,
            _ => {}
        }
    }
    Some(notice)
}

/// The first message: the process is ready to become CRIU, and these are its descriptors.
fn send_ready(socket: &OwnedFd, files: &[OwnedFd]) -> Result<(), Error> {
    let files: Vec<_> = files.iter().map(OwnedFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&files));
    }
    let parts = [IoSlice::new(b"\0")];
    sendmsg(socket, &parts, &mut control, SendFlags::NOSIGNAL).step(|| "write to the runtime")?;
    Ok(())
}

/// Replaces this process by CRIU.
fn execute(
    program: PathBuf,
    socket: &OwnedFd,
    inherited: &[OwnedFd],
) -> Result<std::convert::Infallible, Error> {
    let keep = |file: BorrowedFd<'_>| rustix::io::fcntl_setfd(file, FdFlags::empty());
    keep(socket.as_fd()).step(|| "pass a descriptor")?;
    for file in inherited {
        keep(file.as_fd()).step(|| "pass a descriptor")?;
    }
    let string = |text: OsString| CString::new(text.into_vec()).step(|| "a zero byte in a name");
    let socket = socket.as_raw_fd().to_string();
    let arguments = [
        c"criu".to_owned(),
        c"swrk".to_owned(),
        string(socket.into())?,
    ];
    let environment = std::env::vars_os().map(|(mut name, value)| {
        name.push("=");
        name.push(value);
        string(name)
    });
    let environment = environment.collect::<Result<Vec<_>, _>>()?;
    let path = string(program.into_os_string())?;
    process::reset_all();
    Err(process::execute(&path, &arguments, &environment))
        .step(|| format!("exec {}", path.to_string_lossy()))
}

/// Where CRIU is.
fn find() -> Result<PathBuf, Error> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|directory| directory.join("criu"))
        .find(|program| rustix::fs::access(program, rustix::fs::Access::EXEC_OK).is_ok())
        .ok_or_else(|| {
            said("exec: \"criu\": executable file not found in $PATH (it is in the package criu)")
        })
}

/// Has a question answered.
fn ask(question: &Message) -> Result<Vec<u8>, Error> {
    let (service, _) = Service::start(0, &[], || Ok(Vec::new()))?;
    service.call(question, |_| Ok(()))
}

/// The oldest CRIU that knows all we ask it for: external PID namespaces came last.
const OLDEST: u64 = 31_500;

/// Makes sure that there is a CRIU that can be used. Gives its version, 3.17.1 being 31701.
pub(super) fn version() -> Result<u64, Error> {
    let mut request = Message::default();
    request.number(1, kind::VERSION);
    let answer = ask(&request).step(|| "CRIU version check failed")?;
    let version = read_version(&answer)
        .ok_or_else(|| said("CRIU version check failed: no version in the answer"))?;
    if version < OLDEST {
        return Err(said(format!(
            "CRIU version {version} must be {OLDEST} or higher"
        )));
    }
    Ok(version)
}

fn read_version(answer: &[u8]) -> Option<u64> {
    let (_, version) = fields(answer)?
        .into_iter()
        .find(|(field, _)| *field == 10)?;
    let mut number = 0;
    for (field, value) in fields(version.bytes()?)? {
        match field {
            1 => number += value.number()? * 10_000,
            2 => number += value.number()? * 100,
            4 => number += value.number()?,
            _ => {}
        }
    }
    Some(number)
}

/// Features that depend on the kernel, by their field in the question.
#[derive(Clone, Copy, Debug)]
pub(super) enum Feature {
    /// Which pages were written since the last dump.
    MemTrack = 1,
    /// Restoring pages when they are touched.
    LazyPages = 2,
}

/// Makes sure that CRIU and the kernel have a feature.
pub(super) fn check(feature: Feature) -> Result<(), Error> {
    let field = feature as u32;
    let (mut request, mut features) = (Message::default(), Message::default());
    features.flag(field, true);
    request.number(1, kind::FEATURE_CHECK).message(5, &features);
    let answer = ask(&request).step(|| "CRIU feature check failed")?;
    if has(&answer, field).unwrap_or(false) {
        Ok(())
    } else {
        Err(said(format!("criu is missing features: [{feature:?}]")))
    }
}

fn has(answer: &[u8], feature: u32) -> Option<bool> {
    let (_, features) = fields(answer)?.into_iter().find(|(field, _)| *field == 8)?;
    let found = fields(features.bytes()?)?;
    let (_, value) = found.into_iter().find(|(field, _)| *field == feature)?;
    Some(value.number()? != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_one_number() {
        let (mut answer, mut version) = (Message::default(), Message::default());
        version
            .number(1, 4)
            .number(2, 2)
            .text(3, "v4.2")
            .number(4, 1);
        answer
            .number(1, kind::VERSION)
            .flag(2, true)
            .message(10, &version);
        assert_eq!(read_version(answer.as_bytes()), Some(40_201));
    }

    #[test]
    fn a_notice_is_understood() {
        let (mut answer, mut inner) = (Message::default(), Message::default());
        inner.text(1, "post-restore").number(2, 77);
        answer
            .number(1, kind::NOTIFY)
            .flag(2, true)
            .message(5, &inner);
        let response = Response::read(answer.as_bytes()).expect("a response");
        assert!(response.success);
        assert_eq!(response.notice, ("post-restore".to_owned(), 77));
    }
}
