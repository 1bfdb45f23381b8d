//! Containers that could not be started.

use super::facts::{Facts, File};
use super::finding::Finding;
use super::program::{self, Program};

/// Why the file could not be executed, whatever was said about it.
pub(super) fn file(facts: &Facts) -> Option<Finding> {
    let name = &facts.inspect.path;
    let Some(file) = &facts.file else {
        return Some(missing(facts, name));
    };
    if !file.executable {
        return Some(
            Finding::new(
                format!("{} may not be executed.", file.path),
                "it has no x bit",
            )
            .fix("COPY --chmod=755 or RUN chmod +x in the Dockerfile")
            .fix(format!("or name what executes it: sh {}", file.path)),
        );
    }
    match &file.program {
        Program::Elf { machine, loader } => elf(facts, file, *machine, loader.as_deref()),
        Program::Script {
            interpreter,
            carriage,
        } => script(file, interpreter, *carriage),
        Program::Unknown => Some(
            Finding::new(
                format!(
                    "{} is no program, and has no first line that names one.",
                    file.path
                ),
                "neither an ELF file nor one that begins with #!",
            )
            .fix("begin it with #!/bin/sh")
            .fix(format!("or name what executes it: sh {}", file.path)),
        ),
    }
}

fn missing(facts: &Facts, name: &str) -> Finding {
    if name.contains(' ') {
        return Finding::new(
            format!("There is no program \"{name}\": the whole line was taken as its name."),
            "words in quotes are one word",
        )
        .fix("without the quotes, or with a shell: sh -c 'LINE'");
    }
    let rule = if name.contains('/') {
        format!("no file {name} in the container")
    } else {
        "in none of the directories of its PATH".to_owned()
    };
    let over = facts
        .inspect
        .mounts
        .iter()
        .find(|mount| name.starts_with(&format!("{}/", mount.destination)));
    let finding = Finding::new(
        format!("There is no program {name} in the container."),
        rule,
    );
    match over {
        Some(mount) => finding.fix(format!("{} is mounted over what the image has there: mount it elsewhere", mount.destination)),
        None => finding
            .fix("is it spelled right? Words after the image are the command: options of hull come before it")
            .fix("look what is there: hull debug shows the files of a container"),
    }
}

fn elf(facts: &Facts, file: &File, machine: u16, loader: Option<&str>) -> Option<Finding> {
    let made_for = program::machine_name(machine).unwrap_or("another architecture");
    if !program::runs(&facts.host, made_for) {
        return Some(
            Finding::new(
                format!(
                    "{} is a program for {made_for}, and this machine is {}.",
                    file.path, facts.host
                ),
                format!("its ELF header; the image says {}", facts.image),
            )
            .fix(format!(
                "the image for this machine: --platform linux/{}",
                facts.host
            ))
            .fix("or let the kernel emulate it: install qemu-user-static (binfmt_misc)"),
        );
    }
    let loader = loader.filter(|_| file.helper == Some(false))?;
    let kind = if loader.contains("musl") {
        "it was built on Alpine (musl), and the image is none"
    } else if loader.contains("ld-linux") {
        "it was built with glibc, which Alpine's images and scratch have not"
    } else {
        "it is linked dynamically"
    };
    Some(
        Finding::new(
            format!(
                "{} is there, but the loader it needs is not: {loader}.",
                file.path
            ),
            kind,
        )
        .fix("build it on the same base image that it runs on")
        .fix("or link it statically: CGO_ENABLED=0 for Go, -static for C, a musl target for Rust"),
    )
}

fn script(file: &File, interpreter: &str, carriage: bool) -> Option<Finding> {
    if carriage {
        return Some(
            Finding::new(
                format!("{}'s lines end as on Windows: its interpreter's name ends with a carriage return.", file.path),
                "the first line ends with \\r\\n",
            )
            .fix("convert it: sed -i 's/\\r$//' FILE, and git config core.autocrlf input"),
        );
    }
    if file.helper != Some(false) {
        return None;
    }
    let finding = Finding::new(
        format!(
            "{} is there, but its interpreter is not: {interpreter}.",
            file.path
        ),
        format!("its first line is #!{interpreter}"),
    );
    Some(match interpreter {
        "/bin/bash" => finding.fix("begin it with #!/bin/sh, or install bash in the image"),
        _ => finding.fix("install it in the image, or name another in the script's first line"),
    })
}

/// A part of what the daemon said, and what to make of it.
type Said = (&'static [&'static str], fn(&Facts, &str) -> Finding);

const SAID: &[Said] = &[
    (&["port is already allocated"], port),
    (&["address already in use"], port),
    (&["bind source path does not exist"], source),
    (&["unable to find user"], user),
    (&["no matching entries in passwd"], user),
    (&["no space left on device"], |_, _| {
        Finding::new("There is no room left on a disk.", "")
            .fix("hull system df shows what takes it, hull system prune removes what nothing uses")
    }),
    (&["apparmor"], |_, _| {
        Finding::new("Its AppArmor profile is not loaded.", "")
            .fix("load it: apparmor_parser -r FILE, or another: --security-opt apparmor=NAME")
    }),
    (&["seccomp"], |_, _| {
        Finding::new("Its seccomp profile could not be used.", "")
            .fix("look at --security-opt seccomp=FILE")
    }),
    (&["network", "not found"], |_, _| {
        Finding::new("A network it was on is gone.", "")
            .fix("make it again: hull network create NAME; or make the container anew")
    }),
    (&["no such device"], device),
    (&["error gathering device information"], device),
    (&["minimum memory limit"], memory),
    (&["memory.limit_in_bytes"], memory),
    (&["device or resource busy"], |_, _| {
        Finding::new("Something it needs is used elsewhere.", "")
            .fix("hull system check looks for what was left behind")
    }),
];

/// What the daemon said when it could not start it.
pub(super) fn said(facts: &Facts) -> Option<Finding> {
    let error = facts.inspect.state.error.as_str();
    if error.is_empty() {
        return None;
    }
    let small = error.to_lowercase();
    let found = SAID
        .iter()
        .find(|(words, _)| words.iter().all(|word| small.contains(word)));
    let mut finding = match found {
        Some((_, make)) => make(facts, error),
        None => {
            let program = is_about_program(&small).then(|| file(facts)).flatten();
            program.unwrap_or_else(|| Finding::new("It could not be started.", ""))
        }
    };
    if finding.rule.is_empty() {
        finding.rule = format!("the daemon said: {error}");
    }
    Some(finding)
}

/// Whether it was the program that could not be executed.
fn is_about_program(text: &str) -> bool {
    let words = [
        "exec",
        "executable file not found",
        "no such file or directory",
        "permission denied",
        "exec format",
    ];
    text.contains("exec") && words.iter().any(|word| text.contains(word))
}

fn port(facts: &Facts, error: &str) -> Finding {
    let bound = facts.inspect.host_config.port_bindings.iter().flatten();
    let wanted: Vec<u16> = bound
        .flat_map(|(_, bindings)| bindings.iter().flatten())
        .filter_map(|binding| binding.host_port.parse().ok())
        .collect();
    let taker = facts.others.iter().find_map(|other| {
        let port = other
            .ports
            .iter()
            .find(|port| wanted.contains(&port.public_port))?;
        (other.id != facts.inspect.id).then_some((other, port.public_port))
    });
    let rule = format!("the daemon said: {error}");
    match taker {
        Some((other, port)) => {
            let name = other
                .names
                .first()
                .map_or("", |name| name.trim_start_matches('/'));
            Finding::new(
                format!("Port {port} of this host is taken by the container {name}."),
                rule,
            )
            .fix(format!(
                "hull stop {name}, or publish another port: -p {}:…",
                port.saturating_add(1)
            ))
        }
        None => Finding::new(
            "A port of this host that it publishes is taken by another program.",
            rule,
        )
        .fix("ss -ltnp shows which; end it, or publish another port with -p"),
    }
}

fn source(_: &Facts, _: &str) -> Finding {
    Finding::new("A directory of this host that it mounts is not there.", "")
        .fix("make it: mkdir -p DIR; -v makes it by itself, --mount does not")
}

fn user(facts: &Facts, _: &str) -> Finding {
    let user = facts.user();
    Finding::new(format!("The image has no user {user}."), "").fix(format!(
        "RUN adduser … {user} in the Dockerfile, or a number: --user 1000:1000"
    ))
}

fn device(_: &Facts, _: &str) -> Finding {
    Finding::new("A device of this host that it needs is not there.", "")
        .fix("ls -l /dev, and look at --device")
}

fn memory(_: &Facts, _: &str) -> Finding {
    Finding::new("Its memory limit is too small for anything to run.", "")
        .fix("a larger one: -m 64m")
}

#[cfg(test)]
mod tests {
    use super::*;
    use hull_api::container::{Port, PortBinding, Summary};

    fn facts(program: Program, helper: Option<bool>) -> Facts {
        Facts {
            host: "amd64".to_owned(),
            image: "amd64".to_owned(),
            file: Some(File {
                path: "/app".to_owned(),
                program,
                helper,
                executable: true,
            }),
            ..Facts::default()
        }
    }

    #[test]
    fn a_program_tells_why_it_cannot_run() {
        let elf = |machine, loader: &str| Program::Elf {
            machine,
            loader: Some(loader.to_owned()),
        };
        let script = |carriage| Program::Script {
            interpreter: "/bin/bash".to_owned(),
            carriage,
        };
        for (program, helper, told) in [
            (
                elf(62, "/lib64/ld-linux-x86-64.so.2"),
                false,
                "the loader it needs is not",
            ),
            (
                elf(183, "/lib/ld-musl-aarch64.so.1"),
                true,
                "a program for arm64",
            ),
            (script(true), false, "lines end as on Windows"),
            (script(false), false, "its interpreter is not: /bin/bash"),
            (Program::Unknown, false, "is no program"),
        ] {
            let finding = file(&facts(program, Some(helper))).unwrap();
            assert!(finding.what.contains(told), "{finding:?}");
        }
        assert_eq!(
            file(&facts(elf(62, "/lib64/ld-linux-x86-64.so.2"), Some(true))),
            None
        );
        let mut none = facts(Program::Unknown, None);
        none.file = None;
        none.inspect.path = "ehco".to_owned();
        assert!(file(&none).unwrap().rule.contains("PATH"));
    }

    #[test]
    fn who_has_the_port_is_named() {
        let mut facts = facts(Program::Unknown, None);
        facts.inspect.state.error =
            "Bind for 0.0.0.0:8080 failed: port is already allocated".to_owned();
        let binding = PortBinding {
            host_port: "8080".to_owned(),
            ..PortBinding::default()
        };
        facts.inspect.host_config.port_bindings =
            Some([("80/tcp".to_owned(), Some(vec![binding]))].into());
        assert!(said(&facts).unwrap().what.contains("another program"));
        facts.others = vec![Summary {
            id: "x".to_owned(),
            names: vec!["/web".to_owned()],
            ports: vec![Port {
                public_port: 8080,
                ..Port::default()
            }],
            ..Summary::default()
        }];
        assert!(
            said(&facts)
                .unwrap()
                .what
                .contains("taken by the container web")
        );
    }
}
