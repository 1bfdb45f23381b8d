//! `events`: what a container uses, and word of it when its memory runs out.

use super::{Command, Context, output};
use crate::arguments::{Arguments, Flag, Kind, Order};
use crate::cgroups::{self, Event};
use crate::error::{Error, Step as _, chain, said};
use crate::report::Report;
use crate::state::Container;
use hull_linux::cgroup::{Cgroup, OomNews, OomWatch};
use hull_spec::runtime::ContainerStatus;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "events",
    summary: "show what a container uses and when it runs out of memory",
    arguments: "<container-id>\n\nThe id names the container.",
    description: "One JSON document a line: of type \"stats\" at every interval, of type \"oom\" at once.\n\
        Ends with the container.",
    flags: &[
        Flag::new(
            "interval",
            Kind::Duration("5s"),
            "time between two statistics",
        ),
        Flag::new("stats", Kind::Switch, "show the statistics once"),
    ],
    order: Order::Anywhere,
    count: (1, 1),
    run,
};

/// Prints one event, or all until the container ends.
fn run(context: &Context, arguments: &Arguments) -> Result<ExitCode, Error> {
    let container = context.container(arguments)?;
    let interval = arguments.number("interval").unwrap_or(5_000_000_000);
    let interval = u64::try_from(interval).unwrap_or(0);
    if interval == 0 {
        return Err(said("duration interval must be greater than 0"));
    }
    let id = &container.record.id;
    let stopped = || said(format!("container with id {id} is not running"));
    if container.status()? == ContainerStatus::Stopped {
        return Err(stopped());
    }
    let group = cgroups::needed(&container.record.cgroup, "unable to get statistics")?;
    if arguments.is_set("stats") {
        stats(id, &group)?;
        return Ok(ExitCode::SUCCESS);
    }
    let process = container.process()?.ok_or_else(stopped)?;
    let interval = Duration::from_nanos(interval);
    follow(&container, &group, &process, interval, &context.report)?;
    Ok(ExitCode::SUCCESS)
}

fn print(event: &Event<'_>) -> Result<(), Error> {
    let text = serde_json::to_string(event).step(|| "encode an event")?;
    output(&format!("{text}\n"))
}

fn stats(id: &str, group: &Cgroup) -> Result<(), Error> {
    print(&Event {
        kind: "stats",
        id,
        data: Some(group.stats().into()),
    })
}

/// Waits for whatever comes first: the next interval, the end of memory, the end of the container.
fn follow(
    container: &Container,
    group: &Cgroup,
    process: &OwnedFd,
    interval: Duration,
    report: &Report,
) -> Result<(), Error> {
    let id = &container.record.id;
    let mut watch = OomWatch::new(group).step(|| "watch the container's memory")?;
    let mut next = Instant::now() + interval;
    loop {
        let left = next.saturating_duration_since(Instant::now());
        let left = Timespec {
            tv_sec: left.as_secs().cast_signed(),
            tv_nsec: left.subsec_nanos().into(),
        };
        let mut ready = [
            PollFd::new(&watch, PollFlags::IN),
            PollFd::new(process, PollFlags::IN),
        ];
        let count = rustix::io::retry_on_intr(|| poll(&mut ready, Some(&left)))
            .step(|| "wait for events")?;
        let [memory, ended] = ready.map(|descriptor| !descriptor.revents().is_empty());
        // The process may have ended because there was no memory for it.
        let news = if memory || ended {
            watch.take().unwrap_or_else(|error| {
                report.warning(&chain(&error));
                OomNews::Ended
            })
        } else {
            OomNews::Nothing
        };
        if news == OomNews::OutOfMemory {
            print(&Event {
                kind: "oom",
                id,
                data: None,
            })?;
        }
        if ended || news == OomNews::Ended {
            return Ok(());
        }
        if count == 0 {
            stats(id, group)?;
            next += interval;
        }
    }
}
