//! `update`: other limits for a container that runs.

use super::{Command, Context};
use crate::arguments::{Arguments, Flag, Kind, Order};
use crate::cgroups::{self, Change};
use crate::error::{Error, Step as _, chain, said};
use crate::systemd;
use hull_spec::runtime::{ContainerStatus, Resources};
use hull_spec::{Thousand, parse_size};
use rustix::fs::{Mode, OFlags};
use std::io::Read as _;
use std::process::ExitCode;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "update",
    summary: "change the limits of a container",
    arguments: "<container-id>",
    description: "Changes all that is asked for or nothing.",
    flags: &[
        Flag::new(
            "resources",
            Kind::Text,
            "file with the new limits, or '-' for standard input: a JSON object as linux.resources\n\
             \x20  of config.json, of \"memory\", \"cpu\", \"blockIO\", \"pids\" and \"unified\"; what is not in it\n\
             \x20  stays, and all other options are ignored",
        )
        .letter('r'),
        Flag::new("blkio-weight", Kind::Number(0), "weight for block devices, 10 to 1000"),
        Flag::new("cpu-period", Kind::Text, "period of the quota, microseconds"),
        Flag::new("cpu-quota", Kind::Text, "processor time in a period, microseconds"),
        Flag::new("cpu-burst", Kind::Text, "processor time that may be saved up, microseconds"),
        Flag::new("cpu-share", Kind::Text, "weight for processor time"),
        Flag::new("cpu-rt-period", Kind::Text, "period of realtime, microseconds"),
        Flag::new("cpu-rt-runtime", Kind::Text, "realtime in a period, microseconds"),
        Flag::new("cpuset-cpus", Kind::Text, "processors, such as 0-2,7"),
        Flag::new("cpuset-mems", Kind::Text, "memory nodes"),
        // The kernel has no such limits any more; runc takes them without showing them.
        Flag::new("kernel-memory", Kind::Text, ""),
        Flag::new("kernel-memory-tcp", Kind::Text, ""),
        Flag::new("memory", Kind::Text, "memory, bytes; -1 is no limit"),
        Flag::new("cpu-idle", Kind::Text, "1: only the time that nobody else wants"),
        Flag::new("memory-reservation", Kind::Text, "memory under pressure, bytes"),
        Flag::new("memory-swap", Kind::Text, "memory and swap together, bytes; -1 is no limit"),
        Flag::new("pids-limit", Kind::Number(0), "processes and threads; -1 is no limit"),
        Flag::new("l3-cache-schema", Kind::Text, "Intel RDT: parts of the L3 cache; refused, as it cannot be changed yet"),
        Flag::new("mem-bw-schema", Kind::Text, "Intel RDT: memory bandwidth; refused, as it cannot be changed yet"),
    ],
    order: Order::Anywhere,
    count: (1, 1),
    run,
};

/// Sets the limits, then keeps the configuration that has them.
fn run(context: &Context, arguments: &Arguments) -> Result<ExitCode, Error> {
    let container = context.container(arguments)?;
    let wanted = match arguments.text("resources") {
        Some(path) => from_file(path)?,
        None => from_flags(arguments)?,
    };
    let memory = wanted.memory.as_ref();
    if memory.is_some_and(|memory| memory.kernel.is_some() || memory.kernel_tcp.is_some()) {
        context
            .report
            .warning("Kernel memory settings are ignored and will be removed");
    }
    for (flag, what) in [
        ("l3-cache-schema", "Intel RDT/CAT: l3 cache schema"),
        ("mem-bw-schema", "Intel RDT/MBA: memory bandwidth schema"),
    ] {
        if arguments.text(flag).is_some() {
            return Err(said(format!("{what} cannot be changed by update")));
        }
    }
    if container.status()? == ContainerStatus::Stopped {
        return Err(Error::NotRunning);
    }
    let text = container.directory.config_text()?;
    let mut change = Change::of(&text, wanted)?;
    let group = cgroups::needed(&container.record.cgroup, "cannot set limits")?;
    container.directory.prepare_config(&change.config)?;
    let done = match &container.record.cgroup.unit {
        Some(unit) => systemd::update(unit, &group, &mut change),
        None => {
            let done = group.update(&change.limits);
            done.map_err(|error| said(chain(&error)))
        }
    };
    done.inspect_err(|_| container.directory.drop_config())?;
    container.directory.accept_config()?;
    Ok(ExitCode::SUCCESS)
}

/// Limits of a file, or of standard input; what follows the first JSON value is ignored.
fn from_file(path: &str) -> Result<Resources, Error> {
    /// Far more than any limits need.
    const MAX_BYTES: u64 = 16 << 20;
    let mut text = String::new();
    let read = if path == "-" {
        std::io::stdin().take(MAX_BYTES).read_to_string(&mut text)
    } else {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::open(path, flags, Mode::empty()).step(|| format!("open {path}"))?;
        std::fs::File::from(file)
            .take(MAX_BYTES)
            .read_to_string(&mut text)
    };
    read.step(|| format!("read {path}"))?;
    let mut values = serde_json::Deserializer::from_str(&text).into_iter::<Resources>();
    match values.next() {
        Some(resources) => resources.step(|| "parse the resources"),
        None => Err(said("EOF")),
    }
}

fn from_flags(arguments: &Arguments) -> Result<Resources, Error> {
    let mut resources = Resources::default();
    let memory = resources.memory.get_or_insert_default();
    memory.limit = bytes(arguments, "memory")?;
    memory.swap = bytes(arguments, "memory-swap")?;
    memory.kernel = bytes(arguments, "kernel-memory")?;
    memory.kernel_tcp = bytes(arguments, "kernel-memory-tcp")?;
    memory.reservation = bytes(arguments, "memory-reservation")?;
    let cpu = resources.cpu.get_or_insert_default();
    cpu.idle = signed(arguments, "cpu-idle")?;
    cpu.burst = unsigned(arguments, "cpu-burst")?;
    cpu.period = unsigned(arguments, "cpu-period")?;
    cpu.realtime_period = unsigned(arguments, "cpu-rt-period")?;
    cpu.shares = unsigned(arguments, "cpu-share")?;
    cpu.quota = signed(arguments, "cpu-quota")?;
    cpu.realtime_runtime = signed(arguments, "cpu-rt-runtime")?;
    let text = |name| arguments.text(name).unwrap_or_default().to_owned();
    cpu.cpus = text("cpuset-cpus");
    cpu.mems = text("cpuset-mems");
    if let Some(weight) = arguments
        .number("blkio-weight")
        .filter(|weight| *weight != 0)
    {
        let weight = u16::try_from(weight)
            .map_err(|_| said(format!("invalid value for blkio-weight: {weight}")))?;
        resources.block_io.get_or_insert_default().weight = Some(weight);
    }
    if let Some(limit) = arguments.number("pids-limit") {
        resources.pids.get_or_insert_default().limit = limit;
    }
    Ok(resources)
}

fn bytes(arguments: &Arguments, name: &str) -> Result<Option<i64>, Error> {
    let Some(text) = arguments.text(name) else {
        return Ok(None);
    };
    if text == "-1" {
        return Ok(Some(-1));
    }
    let size = parse_size(text, Thousand::Binary);
    let size = size.map_err(|why| said(format!("invalid value for {name}: {why}")))?;
    Ok(Some(size))
}

fn signed(arguments: &Arguments, name: &str) -> Result<Option<i64>, Error> {
    parsed(arguments, name, "ParseInt")
}

fn unsigned(arguments: &Arguments, name: &str) -> Result<Option<u64>, Error> {
    parsed(arguments, name, "ParseUint")
}

fn parsed<T: std::str::FromStr<Err = std::num::ParseIntError>>(
    arguments: &Arguments,
    name: &str,
    function: &str,
) -> Result<Option<T>, Error> {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    let Some(text) = arguments.text(name) else {
        return Ok(None);
    };
    text.parse()
        .map(Some)
        .map_err(|error: std::num::ParseIntError| {
            let why = match error.kind() {
                NegOverflow | PosOverflow => "value out of range",
                _ => "invalid syntax",
            };
            said(format!(
                "invalid value for {name}: strconv.{function}: parsing {text:?}: {why}"
            ))
        })
}
