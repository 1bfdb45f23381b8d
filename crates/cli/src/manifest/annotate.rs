//! `hull manifest annotate`.

use super::{full, store};
use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::{Flag, Matches, list, value};

static FLAGS: &[Flag] = &[
    value("arch", "string", "Architecture"),
    value("os", "string", "Operating system"),
    list("os-features", "strings", "Features of the operating system"),
    value("os-version", "string", "Version of the operating system"),
    value("variant", "string", "Variant of the architecture"),
];

pub(crate) static COMMAND: Command = Command {
    words: &["manifest annotate"],
    usage: "[OPTIONS] MANIFEST_LIST MANIFEST",
    about: "Say what a manifest of an index is for",
    flags: &[FLAGS],
    arity: Arity::Exactly(2),
    interspersed: true,
    run,
};

/// What Go knows, by operating system.
const KNOWN: &[(&str, &[&str])] = &[
    ("aix", &["ppc64"]),
    ("android", &["386", "amd64", "arm", "arm64"]),
    ("darwin", &["386", "amd64", "arm", "arm64"]),
    ("dragonfly", &["amd64"]),
    ("freebsd", &["386", "amd64", "arm", "arm64"]),
    (
        "linux",
        &[
            "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle",
            "ppc64", "ppc64le", "riscv64", "s390x",
        ],
    ),
    ("netbsd", &["386", "amd64", "arm"]),
    ("openbsd", &["386", "amd64", "arm"]),
    ("plan9", &["386", "amd64"]),
    ("solaris", &["amd64"]),
    ("windows", &["386", "amd64", "arm", "arm64"]),
];

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let store = store(cli);
    let (list, name) = (full(&matches.args[0])?, full(&matches.args[1])?);
    let Some(mut entry) = store.get(&list, &name)? else {
        return Err(Failure::new(format!(
            "manifest for image {name} does not exist in {list}"
        )));
    };
    let mut platform = entry.descriptor.platform.take().unwrap_or_default();
    let given = |flag: &str| Some(matches.text(flag).to_owned()).filter(|text| !text.is_empty());
    platform.os = given("os").unwrap_or(platform.os);
    platform.architecture = given("arch").unwrap_or(platform.architecture);
    platform.variant = given("variant").unwrap_or(platform.variant);
    platform.os_version = given("os-version").unwrap_or(platform.os_version);
    for features in matches.list("os-features") {
        for feature in features.split(',').filter(|feature| !feature.is_empty()) {
            if !platform.os_features.iter().any(|known| known == feature) {
                platform.os_features.push(feature.to_owned());
            }
        }
    }
    let known = KNOWN.iter().any(|(os, architectures)| {
        *os == platform.os && architectures.contains(&platform.architecture.as_str())
    });
    if !known {
        return Err(Failure::new(format!(
            "manifest entry for image has unsupported os/arch combination: {}/{}",
            platform.os, platform.architecture
        )));
    }
    entry.descriptor.platform = Some(platform);
    store.put(&list, &entry)
}
