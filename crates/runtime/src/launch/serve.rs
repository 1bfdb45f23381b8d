//! The runtime's part of the handshake.

use super::Started;
use super::end::ended;
use super::listener;
use crate::cgroups;
use crate::error::{Error, Step as _, said};
use crate::handshake::{ToInit, ToRuntime};
use crate::hooks;
use crate::report::Report;
use crate::state::Container;
use hull_spec::runtime::{ContainerStatus, Spec};

/// The runtime's part of the handshake, up to the point where init waits for `start`.
pub(super) fn serve(
    container: &Container,
    started: &Started,
    spec: &Spec,
    report: &Report,
) -> Result<(), Error> {
    started.channel.send(ToInit::Go)?;
    loop {
        match started.channel.receive()? {
            Some(ToRuntime::Ready) => return Ok(()),
            Some(ToRuntime::Warning(text)) => report.warning(&text),
            Some(ToRuntime::Listener(number)) => {
                let seccomp = spec.linux.as_ref().and_then(|linux| linux.seccomp.as_ref());
                let state = container.record.state(ContainerStatus::Creating);
                listener::hand_over(started, number, seccomp, state)
                    .step(|| "error during container init")
                    .step(|| "unable to start container process")?;
            }
            Some(ToRuntime::RunHooks) => {
                let state = container.record.state(ContainerStatus::Creating);
                hooks::run("prestart", &spec.hooks.prestart, &state)
                    .and_then(|()| hooks::run("createRuntime", &spec.hooks.create_runtime, &state))
                    .step(|| "error during container init")
                    .step(|| "unable to start container process")?;
                started.channel.send(ToInit::HooksDone)?;
            }
            Some(ToRuntime::Failed(text)) => {
                return Err(said(text))
                    .step(|| "error during container init")
                    .step(|| "unable to start container process");
            }
            None => {
                let group = cgroups::open(&container.record.cgroup)?;
                let how = if group.is_some_and(|group| group.oom_kills() > 0) {
                    "container init was OOM-killed (memory limit too low?)".to_owned()
                } else {
                    ended(started)
                };
                return Err(said(how)).step(|| "unable to start container process");
            }
        }
    }
}

/// Tells init of a container that nobody else starts to become its program, and learns whether it did.
pub(crate) fn start_now(started: &Started) -> Result<(), Error> {
    started.channel.send(ToInit::Exec)?;
    executed(started, "error during container init: ", |_| {
        Err(said("init said something out of turn"))
    })
}

/// Waits until a process has become its program. `listener` gets the descriptor of a listener.
pub(super) fn executed(
    started: &Started,
    when: &str,
    listener: impl Fn(i32) -> Result<(), Error>,
) -> Result<(), Error> {
    loop {
        match started.channel.receive()? {
            None => return Ok(()),
            Some(ToRuntime::Listener(number)) => {
                listener(number).step(|| "unable to start container process")?;
            }
            Some(ToRuntime::Failed(text)) => {
                let error = Err(said(format!("{when}{text}")));
                return error.step(|| "unable to start container process");
            }
            Some(_) => return Err(said("init said something out of turn")),
        }
    }
}
