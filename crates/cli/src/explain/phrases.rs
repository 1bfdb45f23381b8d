//! What programs say when something about the container keeps them from working.

use super::facts::Facts;
use super::finding::Finding;

/// A phrase in small letters, and what to make of it.
struct Phrase {
    /// All of these are in a line.
    words: &'static [&'static str],
    make: fn(&Facts, &str) -> Finding,
}

const fn phrase(words: &'static [&'static str], make: fn(&Facts, &str) -> Finding) -> Phrase {
    Phrase { words, make }
}

/// The more special come first: a line counts for the first that it has.
const PHRASES: &[Phrase] = &[
    phrase(&["glibc_", "not found"], newer_libc),
    phrase(&["error while loading shared libraries"], library),
    phrase(&["exec format error"], architecture),
    phrase(&["read-only file system"], read_only),
    phrase(&["temporary failure in name resolution"], name),
    phrase(&["could not resolve host"], name),
    phrase(&["name or service not known"], name),
    phrase(&["no such host"], name),
    phrase(&["bad address '"], name),
    phrase(&["enotfound"], name),
    phrase(&["address already in use"], address),
    phrase(&["eaddrinuse"], address),
    phrase(&["connection refused", "127.0.0.1"], localhost),
    phrase(&["connection refused", "localhost"], localhost),
    phrase(&["econnrefused", "127.0.0.1"], localhost),
    phrase(&["econnrefused", "::1"], localhost),
    phrase(&["permission denied", "bind"], low_port),
    phrase(&["eacces", "0.0.0.0:"], low_port),
    phrase(&["operation not permitted"], refused),
    phrase(&["eperm"], refused),
    phrase(&["permission denied"], permission),
    phrase(&["eacces"], permission),
    phrase(&["no space left on device"], no_space),
    phrase(&["enospc"], no_space),
    phrase(&["too many open files"], descriptors),
    phrase(&["emfile"], descriptors),
    phrase(&["can't fork"], processes),
    phrase(&["cannot fork"], processes),
    phrase(&["fork: retry"], processes),
    phrase(
        &["pthread_create", "resource temporarily unavailable"],
        processes,
    ),
    phrase(&["outofmemoryerror"], own_memory),
    phrase(&["heap out of memory"], own_memory),
    phrase(&["cannot allocate memory"], own_memory),
    phrase(&["certificate signed by unknown authority"], certificates),
    phrase(&["certificate verify failed"], certificates),
    phrase(&["unable to get local issuer certificate"], certificates),
];

/// What the last lines of a log tell. The last line with a phrase counts: what came before it was survived.
pub(super) fn told(facts: &Facts) -> Option<Finding> {
    facts.log.iter().rev().find_map(|line| {
        let small = line.to_lowercase();
        let has = |phrase: &&Phrase| phrase.words.iter().all(|word| small.contains(word));
        let phrase = PHRASES.iter().find(has)?;
        let mut finding = (phrase.make)(facts, &small);
        if finding.rule.is_empty() {
            finding.rule = format!("its log says: {}", line.trim());
        }
        Some(finding)
    })
}

fn newer_libc(_: &Facts, _: &str) -> Finding {
    Finding::new(
        "The program was built for a newer C library than its image has.",
        "",
    )
    .fix("build it on the release that the image is made from, or take a newer image")
    .fix("or link it statically")
}

fn library(_: &Facts, _: &str) -> Finding {
    Finding::new("A library that the program needs is not in the image.", "")
        .fix("install the package with that library in the Dockerfile's last stage")
}

fn architecture(facts: &Facts, _: &str) -> Finding {
    Finding::new(
        format!(
            "A program in it is not for this machine's processor ({}), or a script has no #! line.",
            facts.host
        ),
        "",
    )
    .fix(format!(
        "take or build the image for this machine: --platform linux/{}",
        facts.host
    ))
}

fn read_only(facts: &Facts, _: &str) -> Finding {
    if facts.inspect.host_config.readonly_rootfs {
        return Finding::new(
            "It writes where it may not: its files are read-only.",
            "it was made with --read-only",
        )
        .fix("give it a place to write: --tmpfs /PATH, or a volume: -v NAME:/PATH");
    }
    Finding::new("It writes to something that is mounted read-only.", "")
        .fix("mount it without :ro, or have it write elsewhere")
}

fn name(facts: &Facts, _: &str) -> Finding {
    let mode = facts.inspect.host_config.network_mode.as_str();
    if mode == "none" {
        return Finding::new(
            "It has no network, so no name can be looked up.",
            "it was made with --network none",
        );
    }
    let finding = Finding::new("It could not find the address of a name.", "");
    if matches!(mode, "default" | "bridge" | "") {
        return finding
            .fix("if it is another container's name: the default network has no names; use one of your own: hull network create NAME, and --network NAME for both")
            .fix("if it is a name of the internet: --dns ADDRESS");
    }
    finding.fix("is the other container running, and on the same network? hull network inspect shows it")
        .fix("if it is a name of the internet: --dns ADDRESS")
}

fn address(facts: &Facts, _: &str) -> Finding {
    if facts.inspect.host_config.network_mode == "host" {
        return Finding::new("Its port is taken by another program of this host, whose network it shares.", "")
            .fix("end the other program (ss -ltnp shows it), or let this one have a network of its own: without --network host");
    }
    Finding::new("Two programs inside the container want the same port.", "")
        .fix("look which are started: hull top, and the image's entrypoint")
}

fn localhost(_: &Facts, _: &str) -> Finding {
    Finding::new(
        "It connects to localhost, which in a container is the container itself, and nothing listens there.",
        "",
    )
    .fix("another container: use its name, on a network of your own")
    .fix("a program of this host: use host.docker.internal, with --add-host host.docker.internal:host-gateway")
}

fn low_port(facts: &Facts, _: &str) -> Finding {
    Finding::new(
        "It wants a port below 1024, which needs root or CAP_NET_BIND_SERVICE.",
        format!("it runs as {}", facts.user()),
    )
    .fix("have it listen on a higher port, and publish that: -p 80:8080")
    .fix("or: --cap-add NET_BIND_SERVICE, or --sysctl net.ipv4.ip_unprivileged_port_start=0")
}

/// What a refused program is about, and the right it would need. Containers have none of these unless asked.
const RIGHTS: &[(&[&str], &str)] = &[
    (
        &[
            "iptables",
            "nft",
            "ip6tables",
            "tun",
            "rtnetlink",
            "ioctl(siocs",
        ],
        "NET_ADMIN",
    ),
    (&["ping", "raw socket", "sock_raw"], "NET_RAW"),
    (&["mount", "swapon", "sethostname", "quota"], "SYS_ADMIN"),
    (&["ptrace", "strace", "gdb"], "SYS_PTRACE"),
    (
        &["settimeofday", "clock_settime", "date:", "adjtime"],
        "SYS_TIME",
    ),
    (&["chown", "changing ownership"], "CHOWN"),
    (&["setpriority", "nice", "sched_set"], "SYS_NICE"),
    (&["mlock"], "IPC_LOCK"),
    (&["chroot"], "SYS_CHROOT"),
    (&["mknod"], "MKNOD"),
    (&["setuid", "setgid", "setgroups"], "SETUID"),
    (&["insmod", "modprobe"], "SYS_MODULE"),
];

/// System calls that the default profile refuses, whatever rights there are.
const FILTERED: &[&str] = &[
    "io_uring",
    "perf_event",
    "userfaultfd",
    "keyctl",
    "bpf",
    "unshare",
    "clone3",
    "setns",
];

fn refused(facts: &Facts, line: &str) -> Finding {
    let host = &facts.inspect.host_config;
    if let Some(call) = FILTERED.iter().find(|call| line.contains(**call)) {
        return Finding::new(format!("The seccomp profile refuses {call}."), "")
            .fix("a profile that allows it: --security-opt seccomp=FILE.json")
            .fix("only to see whether that is it: --security-opt seccomp=unconfined");
    }
    let about = |words: &[&str]| words.iter().any(|word| line.contains(word));
    let Some((_, right)) = RIGHTS.iter().find(|(words, _)| about(words)) else {
        return Finding::new(
            "The kernel refused something that needs a right (capability) which the container does not have, or a system call that its seccomp profile refuses.",
            "",
        )
        .fix("to see which: run it with --cap-add ALL, then with --security-opt seccomp=unconfined; then allow only what it needs");
    };
    let dropped = host
        .cap_drop
        .iter()
        .flat_map(|words| words.0.iter())
        .any(|word| {
            let word = word.to_uppercase();
            word == "ALL" || word.trim_start_matches("CAP_") == *right
        });
    let rule = if dropped {
        format!("CAP_{right} was taken away with --cap-drop")
    } else if facts.is_root() {
        String::new()
    } else {
        format!("it runs as {}, who has no capabilities", facts.user())
    };
    Finding::new(
        format!("It did something that needs CAP_{right}, which it does not have."),
        rule,
    )
    .fix(format!("--cap-add {right}, if it is to do that"))
}

fn permission(facts: &Facts, _: &str) -> Finding {
    let mut finding = Finding::new(
        format!("Its user ({}) may not use a file.", facts.user()),
        "",
    );
    let mut binds = facts
        .inspect
        .mounts
        .iter()
        .filter(|mount| mount.kind == "bind");
    if let Some(mount) = binds.next_back() {
        let (source, target) = (&mount.source, &mount.destination);
        finding = finding
            .fix(format!("if it is below {target}: that is {source} of this host, with this host's owners: ls -ln {source}"))
            .fix(format!("show it with other owners: -v {source}:{target}:idmap=…, or run as its owner: --user UID:GID"));
    }
    finding.fix("if it is in the image: COPY --chown=… or RUN chmod in the Dockerfile")
}

fn no_space(facts: &Facts, line: &str) -> Finding {
    if line.contains("/dev/shm") {
        return shm(facts);
    }
    Finding::new("There was no room on a disk, or in a tmpfs of its.", "")
        .fix("hull system df shows what takes it, hull system prune removes what nothing uses")
}

/// `/dev/shm` is full.
pub(super) fn shm(facts: &Facts) -> Finding {
    #[expect(clippy::cast_precision_loss, reason = "shown with a few digits")]
    let size = crate::format::bytes_size(facts.inspect.host_config.shm_size as f64);
    Finding::new(
        "Its shared memory (/dev/shm) is full.",
        format!("--shm-size is {size}"),
    )
    .fix("more of it: --shm-size 1g")
}

fn descriptors(_: &Facts, _: &str) -> Finding {
    Finding::new("It has as many files open as it may.", "")
        .fix("more: --ulimit nofile=65536:65536")
}

fn processes(facts: &Facts, _: &str) -> Finding {
    let limit = facts
        .inspect
        .host_config
        .pids_limit
        .filter(|limit| *limit > 0);
    let rule = limit.map_or(String::new(), |limit| format!("--pids-limit is {limit}"));
    Finding::new("It could not start another process or thread.", rule)
        .fix("more: --pids-limit 4096, or --ulimit nproc=…")
}

fn own_memory(facts: &Facts, _: &str) -> Finding {
    let limit = facts.inspect.host_config.memory;
    #[expect(clippy::cast_precision_loss, reason = "shown with a few digits")]
    let rule = match limit {
        0 => String::new(),
        limit => format!(
            "the container's limit is {}",
            crate::format::bytes_size(limit as f64)
        ),
    };
    Finding::new(
        "The program had no memory left: its own limit, or the container's.",
        rule,
    )
    .fix("give it more, by its own setting (as -Xmx, --max-old-space-size) and by -m")
}

fn certificates(_: &Facts, _: &str) -> Finding {
    Finding::new("The image has no certificates, or not the one that is needed, to know the other side by.", "")
        .fix("install ca-certificates in the image, or mount a file with your own: -v /etc/ssl/certs:/etc/ssl/certs:ro")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(lines: &[&str]) -> Facts {
        Facts {
            log: lines.iter().map(|line| (*line).to_owned()).collect(),
            host: "amd64".to_owned(),
            ..Facts::default()
        }
    }

    #[test]
    fn the_last_telling_line_counts() {
        let facts = facts(&[
            "cat: x: Permission denied",
            "mount: Operation not permitted",
            "bye",
        ]);
        let finding = told(&facts).unwrap();
        assert!(finding.what.contains("CAP_SYS_ADMIN"), "{finding:?}");
        assert_eq!(finding.rule, "its log says: mount: Operation not permitted");
    }

    #[test]
    fn settings_that_decide_are_named() {
        let mut facts = facts(&["touch: /x: Read-only file system"]);
        facts.inspect.host_config.readonly_rootfs = true;
        assert_eq!(told(&facts).unwrap().rule, "it was made with --read-only");
        facts.log = vec!["chown: /x: Operation not permitted".to_owned()];
        facts.inspect.host_config.cap_drop =
            Some(hull_api::container::Words(vec!["ALL".to_owned()]));
        assert_eq!(
            told(&facts).unwrap().rule,
            "CAP_CHOWN was taken away with --cap-drop"
        );
        facts.log = vec!["listen tcp :80: bind: permission denied".to_owned()];
        facts.inspect.config.user = "1000".to_owned();
        assert_eq!(told(&facts).unwrap().rule, "it runs as 1000");
        facts.log = vec!["hello".to_owned()];
        assert_eq!(told(&facts), None);
    }
}
