//! The flags of `hull build`.

use crate::flags::{Flag, Kind, Matches, flag, list, value};

pub(super) static FLAGS: &[Flag] = &[
    list(
        "add-host",
        "strings",
        "Another line of /etc/hosts (name:address)",
    ),
    list(
        "allow",
        "stringArray",
        "What steps may have beside their own: network.host",
    ),
    list(
        "annotation",
        "stringArray",
        "Annotation of the image (key=value)",
    ),
    list(
        "attest",
        "stringArray",
        "Attestations (type=sbom, type=provenance,mode=max)",
    ),
    list(
        "build-arg",
        "stringArray",
        "Value of an ARG (name=value, or a name of ours)",
    ),
    list(
        "build-context",
        "stringArray",
        "Another context (name=directory, image or URL)",
    ),
    value("builder", "string", "").hidden(),
    list(
        "cache-from",
        "stringArray",
        "Caches to use (a reference, type=local,src=…)",
    ),
    list(
        "cache-to",
        "stringArray",
        "Caches to write (type=registry,ref=…,mode=max)",
    ),
    value(
        "call",
        "string",
        "What to do: build, check, outline, targets",
    )
    .default("\"build\""),
    value("print", "string", "").hidden().same_as("call"),
    value("cgroup-parent", "string", "The cgroup that steps run below"),
    flag("check", "Only look for mistakes, as --call=check"),
    value(
        "file",
        "string",
        "The Dockerfile; '-' is standard input (default \"CONTEXT/Dockerfile\")",
    )
    .short('f'),
    value("iidfile", "string", "Write the image's id to this file"),
    list("label", "stringArray", "Label of the image (key=value)"),
    flag(
        "load",
        "Also load the image into the store, beside other outputs",
    ),
    value(
        "metadata-file",
        "string",
        "Write what was made to this file, as JSON",
    ),
    value("network", "string", "Network of RUN: default, host, none").default("\"default\""),
    flag("no-cache", "Do every step anew"),
    list(
        "no-cache-filter",
        "stringArray",
        "Do the steps of these stages anew",
    ),
    value(
        "on-fail",
        "string",
        "After a step has failed: 'shell' opens one in what it has left",
    ),
    list(
        "output",
        "stringArray",
        "Where the result goes (a directory, type=tar,dest=…)",
    )
    .short('o'),
    list("platform", "stringArray", "Platforms to build for"),
    value(
        "progress",
        "string",
        "How it is shown: auto, plain, tty, quiet, rawjson",
    )
    .default("\"auto\""),
    value("provenance", "string", "As --attest=type=provenance"),
    flag("pull", "Ask registries also for images that are here"),
    flag("push", "As --output=type=registry"),
    flag("quiet", "Print nothing but the image's id").short('q'),
    value("sbom", "string", "As --attest=type=sbom"),
    list(
        "secret",
        "stringArray",
        "Secret of RUN --mount=type=secret (id=name,src=file or env=variable)",
    ),
    value("shm-size", "bytes", "Size of /dev/shm of steps").kind(Kind::Bytes),
    list(
        "ssh",
        "stringArray",
        "Agent or keys of RUN --mount=type=ssh (default, id=socket or id=key)",
    ),
    list("tag", "stringArray", "Name of the image, with its tag").short('t'),
    value("target", "string", "The stage to build"),
    list("ulimit", "ulimit", "Limit of steps (name=soft[:hard])"),
    value(
        "verify",
        "image",
        "Make no image, but see whether this one is what is built, and what differs first",
    ),
];

/// Flags of Docker's classic builder, which BuildKit's clients take too and do nothing with.
pub(super) static IGNORED: &[Flag] = &[
    flag("compress", "").hidden(),
    value("cpu-period", "int", "").kind(Kind::Int).hidden(),
    value("cpu-quota", "int", "").kind(Kind::Int).hidden(),
    value("cpu-shares", "int", "")
        .kind(Kind::Int)
        .short('c')
        .hidden(),
    value("cpuset-cpus", "string", "").hidden(),
    value("cpuset-mems", "string", "").hidden(),
    flag("debug", "").short('D').hidden(),
    flag("force-rm", "").hidden(),
    value("isolation", "string", "").hidden(),
    value("memory", "string", "").short('m').hidden(),
    value("memory-swap", "string", "").hidden(),
    flag("rm", "").hidden(),
    list("security-opt", "strings", "").hidden(),
    flag("squash", "").hidden(),
];

/// Says of each such flag that was given that nothing comes of it: of some in the words of Docker's client, which of the
/// limits says nothing.
pub(super) fn warn(matches: &Matches) {
    let given = IGNORED.iter().filter(|flag| matches.changed(flag.long));
    for text in given.filter_map(|flag| warning(flag.long)) {
        crate::say(&format!("WARNING: {text}"));
    }
}

fn warning(name: &str) -> Option<String> {
    Some(match name {
        "squash" => "experimental flag squash is removed with BuildKit. You should squash inside build using a multi-stage Dockerfile for efficiency.".to_owned(),
        "security-opt" => "security-opt flag is deprecated. \"RUN --security=insecure\" should be used with BuildKit.".to_owned(),
        "isolation" => "isolation flag is deprecated with BuildKit.".to_owned(),
        limit if limit.starts_with("cpu") || limit.starts_with("memory") => {
            format!("--{limit} does not limit this build: use --cgroup-parent")
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_is_said() {
        assert!(warning("rm").is_none() && warning("compress").is_none());
        for name in ["squash", "memory", "cpuset-cpus", "isolation"] {
            assert!(warning(name).unwrap().contains(name), "{name}");
        }
    }
}
