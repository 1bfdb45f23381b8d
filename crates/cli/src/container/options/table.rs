//! The flags that `run` and `create` share.

use super::{devices, environment, hosts, mounts, network};
use crate::flags::{Flag, Kind, flag, int, list, value};

/// Flags that describe the container.
pub(in crate::container) static FLAGS: &[Flag] = &[
    list(
        "add-host",
        "list",
        "Name and address for /etc/hosts (host:ip)",
    )
    .kind(Kind::Checked(hosts::check_host)),
    list("annotation", "map", "Annotation for the OCI runtime"),
    list(
        "attach",
        "list",
        "Stream to attach to: stdin, stdout or stderr",
    )
    .short('a')
    .kind(Kind::Checked(check_stream)),
    value("blkio-weight", "uint16", "Share of block I/O, 10 to 1000").kind(Kind::Uint16),
    list(
        "blkio-weight-device",
        "list",
        "Share of one block device (path:weight)",
    )
    .kind(Kind::Checked(devices::check_weight)),
    list("cap-add", "list", "Give a Linux capability"),
    list("cap-drop", "list", "Take a Linux capability away"),
    value(
        "cgroup-parent",
        "string",
        "Cgroup to put the container's into",
    ),
    value("cgroupns", "string", "Cgroup namespace (host, private)"),
    value("cidfile", "string", "File to write the container's id to"),
    int("cpu-count", "").hidden(),
    int("cpu-percent", "").hidden(),
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
    list(
        "device",
        "list",
        "Device of the host to have (host[:container[:rwm]])",
    ),
    list(
        "device-cgroup-rule",
        "list",
        "Rule for devices that appear later",
    )
    .kind(Kind::Checked(devices::check_rule)),
    list(
        "device-read-bps",
        "list",
        "Limit of bytes a second read from a device (path:rate)",
    )
    .kind(Kind::Checked(devices::check_bps)),
    list(
        "device-read-iops",
        "list",
        "Limit of reads a second from a device (path:rate)",
    )
    .kind(Kind::Checked(devices::check_iops)),
    list(
        "device-write-bps",
        "list",
        "Limit of bytes a second written to a device (path:rate)",
    )
    .kind(Kind::Checked(devices::check_bps)),
    list(
        "device-write-iops",
        "list",
        "Limit of writes a second to a device (path:rate)",
    )
    .kind(Kind::Checked(devices::check_iops)),
    flag(
        "disable-content-trust",
        "No effect: content trust is gone from Docker",
    )
    .default("true"),
    list("dns", "list", "DNS server to ask").kind(Kind::Checked(hosts::check_ip)),
    list("dns-option", "list", "Option of the resolver"),
    list("dns-opt", "", "").same_as("dns-option"),
    list("dns-search", "list", "Domain to search names in")
        .kind(Kind::Checked(hosts::check_domain)),
    value("domainname", "string", "NIS domain name of the container"),
    value(
        "entrypoint",
        "string",
        "Program to run in place of the image's entry point",
    ),
    list(
        "env",
        "list",
        "Set an environment variable (NAME=value, or NAME to pass ours on)",
    )
    .short('e')
    .kind(Kind::Checked(environment::check_env)),
    list(
        "env-file",
        "list",
        "File with environment variables, one a line",
    ),
    list(
        "expose",
        "list",
        "Port, or range of ports, that the container serves",
    ),
    list("gpus", "gpu-request", "GPUs to have ('all' for all)")
        .kind(Kind::Checked(devices::check_gpus)),
    list("group-add", "list", "Group to be in as well"),
    value(
        "health-cmd",
        "string",
        "Command that checks the container's health",
    ),
    value("health-interval", "duration", "Time between two checks").kind(Kind::Duration),
    int(
        "health-retries",
        "Failed checks in a row that make it unhealthy",
    ),
    value(
        "health-start-interval",
        "duration",
        "Time between two checks while it starts",
    )
    .kind(Kind::Duration),
    value(
        "health-start-period",
        "duration",
        "Time to start in, before failed checks count",
    )
    .kind(Kind::Duration),
    value("health-timeout", "duration", "Time that a check may take").kind(Kind::Duration),
    value("hostname", "string", "Host name of the container").short('h'),
    flag(
        "init",
        "Run a small init that reaps processes and passes signals on",
    ),
    flag("interactive", "Keep standard input open").short('i'),
    value("io-maxbandwidth", "", "").kind(Kind::Bytes).hidden(),
    int("io-maxiops", "").hidden(),
    value("ip", "string", "IPv4 address of the container"),
    value("ip6", "string", "IPv6 address of the container"),
    value("ipc", "string", "IPC namespace"),
    value("isolation", "string", "No effect: for Windows alone"),
    value(
        "kernel-memory",
        "bytes",
        "Limit of the kernel's memory; no kernel has it any more",
    )
    .kind(Kind::Bytes),
    list("label", "list", "Label of the container")
        .short('l')
        .kind(Kind::Checked(environment::check_label)),
    list("label-file", "list", "File with labels, one a line"),
    list("link", "list", "Container to be linked to").kind(Kind::Checked(network::check_link)),
    list(
        "link-local-ip",
        "list",
        "Link-local address of the container",
    ),
    value("log-driver", "string", "Where the output is kept"),
    list("log-opt", "list", "Option of the log driver"),
    value("mac-address", "string", "MAC address of the container"),
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
    int("memory-swappiness", "Readiness to swap, 0 to 100").default("-1"),
    list(
        "mount",
        "mount",
        "Mount a directory, volume, image or tmpfs",
    )
    .kind(Kind::Checked(mounts::check_mount)),
    value("name", "string", "Name of the container"),
    list("network", "network", "Network to be in").kind(Kind::Checked(network::check)),
    list("net", "", "")
        .kind(Kind::Checked(network::check))
        .same_as("network"),
    list(
        "network-alias",
        "list",
        "Other name of the container in its network",
    ),
    list("net-alias", "", "").same_as("network-alias"),
    flag("no-healthcheck", "Do not check the container's health"),
    value(
        "on-unhealthy",
        "string",
        "What to do when it becomes unhealthy (none, restart, stop, kill)",
    ),
    flag(
        "oom-kill-disable",
        "Do not kill processes when memory runs out",
    ),
    int(
        "oom-score-adj",
        "Readiness to be killed when memory runs out, -1000 to 1000",
    ),
    value("pid", "string", "PID namespace"),
    int("pids-limit", "Limit of processes; -1 for none"),
    value(
        "platform",
        "string",
        "Platform to choose of an image for several",
    ),
    flag("privileged", "Give all privileges to the container"),
    list(
        "publish",
        "list",
        "Publish a port on the host ([ip:][host:]container[/protocol])",
    )
    .short('p'),
    flag(
        "publish-all",
        "Publish all exposed ports on free ports of the host",
    )
    .short('P'),
    value(
        "pull",
        "string",
        "When to pull the image (always, missing, never)",
    )
    .default("\"missing\""),
    flag("quiet", "Say nothing while pulling").short('q'),
    flag("read-only", "Mount the container's root read-only"),
    value("restart", "string", "When to start again after an exit").default("\"no\""),
    flag(
        "rm",
        "Remove the container and its anonymous volumes after its exit",
    ),
    value("runtime", "string", "OCI runtime to use"),
    list("security-opt", "list", "Security option"),
    value("shm-size", "bytes", "Size of /dev/shm").kind(Kind::Bytes),
    value(
        "stop-signal",
        "string",
        "Signal that asks the container to end",
    ),
    int("stop-timeout", "Seconds to wait before it is killed"),
    list("storage-opt", "list", "Option of the storage driver"),
    list("sysctl", "map", "Kernel parameter").kind(Kind::Checked(environment::check_sysctl)),
    list("tmpfs", "list", "Directory to mount a tmpfs on"),
    flag("tty", "Give the container a terminal").short('t'),
    list("ulimit", "ulimit", "Resource limit (name=soft[:hard])")
        .kind(Kind::Checked(devices::check_ulimit)),
    flag(
        "use-api-socket",
        "Mount the API's socket into the container",
    ),
    value(
        "user",
        "string",
        "User to run as (name or uid, and a group after a colon)",
    )
    .short('u'),
    value("userns", "string", "User namespace"),
    value("uts", "string", "UTS namespace"),
    list(
        "volume",
        "list",
        "Mount a directory or volume (source:target[:options])",
    )
    .short('v'),
    value(
        "volume-driver",
        "string",
        "Driver of the volumes that are made",
    ),
    list("volumes-from", "list", "Container whose volumes to have"),
    value("workdir", "string", "Directory to work in").short('w'),
];

/// Flags of `run` alone.
pub(in crate::container) static RUN_FLAGS: &[Flag] = &[
    flag("detach", "Leave the container running and print its id").short('d'),
    value(
        "detach-keys",
        "string",
        "Keys that leave the container running",
    ),
    flag("sig-proxy", "Pass signals on to the container").default("true"),
];

fn check_stream(stream: &str) -> Result<(), String> {
    match stream.to_lowercase().as_str() {
        "stdin" | "stdout" | "stderr" => Ok(()),
        _ => Err("valid streams are STDIN, STDOUT and STDERR".to_owned()),
    }
}
