//! `hull update`.

use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome, client_message};
use crate::flags::{Flag, Kind, Matches, int, value};
use crate::format::parse_cpus;
use serde_json::{Map, Value, json};

static FLAGS: &[Flag] = &[
    value("blkio-weight", "uint16", "Share of block I/O, 10 to 1000").kind(Kind::Uint16),
    int("cpu-period", "Period of the CPU limit in microseconds"),
    int("cpu-quota", "Microseconds of CPU in a period"),
    int(
        "cpu-rt-period",
        "Period of the real-time limit in microseconds",
    ),
    int(
        "cpu-rt-runtime",
        "Microseconds of real-time CPU in a period",
    ),
    int("cpu-shares", "Share of the CPU").short('c'),
    value("cpus", "decimal", "Number of CPUs").kind(Kind::Cpus),
    value("cpuset-cpus", "string", "CPUs to run on (0-3, 0,1)"),
    value("cpuset-mems", "string", "Memory nodes to use (0-3, 0,1)"),
    value("memory", "bytes", "Limit of memory")
        .short('m')
        .kind(Kind::Bytes),
    value(
        "memory-reservation",
        "bytes",
        "Memory to be left with under pressure",
    )
    .kind(Kind::Bytes),
    value(
        "memory-swap",
        "bytes",
        "Limit of memory and swap together; -1 for no limit of swap",
    )
    .kind(Kind::Swap),
    int("pids-limit", "Limit of processes; -1 for none"),
    value("restart", "string", "When to start again after an exit"),
];

pub(crate) static COMMAND: Command = Command {
    words: &["container update", "update"],
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Change the limits of one or more containers",
    flags: &[FLAGS],
    arity: Arity::AtLeast(1),
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let request = request(matches)?;
    if request.is_empty() {
        return Err(Failure::new(
            "you must provide one or more flags when using this command",
        ));
    }
    let request = Value::Object(request);
    let client = cli.client()?;
    cli.block_on(async {
        let mut errors = Vec::new();
        let mut warnings = Vec::new();
        for name in &matches.args {
            match client.update(name, &request).await {
                Ok(reply) => {
                    crate::print(&format!("{name}\n"));
                    warnings.extend(reply.warnings.unwrap_or_default());
                }
                Err(error) => errors.push(client_message(&error)),
            }
        }
        if !warnings.is_empty() {
            crate::print(&format!("{}\n", warnings.join("\n")));
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(Failure::new(errors.join("\n")))
        }
    })
}

fn request(matches: &Matches) -> Result<Map<String, Value>, Failure> {
    let mut request = Map::new();
    for (flag, member) in [
        ("blkio-weight", "BlkioWeight"),
        ("cpu-period", "CpuPeriod"),
        ("cpu-quota", "CpuQuota"),
        ("cpu-rt-period", "CpuRealtimePeriod"),
        ("cpu-rt-runtime", "CpuRealtimeRuntime"),
        ("cpu-shares", "CpuShares"),
        ("pids-limit", "PidsLimit"),
    ] {
        if let Some(number) = matches.int(flag) {
            request.insert(member.to_owned(), json!(number));
        }
    }
    for (flag, member) in [
        ("memory", "Memory"),
        ("memory-reservation", "MemoryReservation"),
        ("memory-swap", "MemorySwap"),
    ] {
        if matches.changed(flag) {
            request.insert(member.to_owned(), json!(matches.bytes(flag)));
        }
    }
    for (flag, member) in [("cpuset-cpus", "CpusetCpus"), ("cpuset-mems", "CpusetMems")] {
        if matches.changed(flag) {
            request.insert(member.to_owned(), json!(matches.text(flag)));
        }
    }
    if matches.changed("cpus") {
        let cpus = parse_cpus(matches.text("cpus")).map_err(Failure::new)?;
        request.insert("NanoCpus".to_owned(), json!(cpus));
    }
    if matches.changed("restart") {
        let policy =
            super::options::restart_policy(matches.text("restart")).map_err(Failure::new)?;
        request.insert("RestartPolicy".to_owned(), json!(policy));
    }
    Ok(request)
}
