//! From the configuration's system call filter to `linux::seccomp`.

use crate::error::{Error, Step as _, said};
use crate::handshake::InitEnd;
use hull_linux::seccomp::{self, Action, Architecture, Comparison, Condition, Flags, Policy, Rule};
use hull_spec::runtime::{Seccomp, SeccompAction, SeccompArg, SeccompOperator, SeccompSyscall};
use std::io;

/// EPERM, what a refused call fails with unless the profile says otherwise.
const EPERM: u32 = 1;

/// A filter, ready to be installed.
#[derive(Debug)]
pub(crate) struct Filter {
    filter: seccomp::Filter,
    flags: Flags,
}

impl Filter {
    /// Whether some calls are left to an agent.
    pub(crate) fn notifies(&self) -> bool {
        self.filter.notifies()
    }

    /// Puts the filter on this process, for ever.
    ///
    /// # Errors
    /// What seccomp(2) gives.
    pub(crate) fn install(&self) -> io::Result<()> {
        self.filter.install(self.flags).map(drop)
    }

    /// Puts the filter on this process, for ever, and hands the listener over, if there is one.
    pub(crate) fn enforce(&self, channel: &InitEnd) -> Result<(), Error> {
        let listener = self.filter.install(self.flags);
        match listener.step(|| "install the seccomp filter")? {
            Some(listener) => channel.hand_over(listener),
            None => Ok(()),
        }
    }
}

/// Refuses what Hull or the kernel cannot do, without compiling.
pub(crate) fn check(profile: &Seccomp) -> Result<(), Error> {
    flags(profile.flags.as_deref())?;
    for name in &profile.architectures {
        architecture(name)?;
    }
    if profile.default_action == SeccompAction::Notify {
        return Err(said("SCMP_ACT_NOTIFY cannot be used as default action"));
    }
    let mut rules = profile.syscalls.iter();
    let listened = |rule: &&SeccompSyscall| rule.action == SeccompAction::Notify;
    if rules
        .clone()
        .filter(listened)
        .any(|rule| rule.names.iter().any(|name| name == "write"))
    {
        return Err(said("SCMP_ACT_NOTIFY cannot be used for the write syscall"));
    }
    if profile.listener_path.is_empty() && rules.any(|rule| rule.action == SeccompAction::Notify) {
        return Err(said("seccomp listenerPath is not set"));
    }
    Ok(())
}

/// Compiles a profile.
///
/// # Errors
/// For what Hull or the kernel cannot do: an action, flag or argument that does not exist, a profile
/// that is too long.
pub(crate) fn compile(profile: &Seccomp) -> Result<Filter, Error> {
    check(profile)?;
    let mut architectures = vec![Architecture::native()];
    for name in &profile.architectures {
        // Those of other machines have no programs here.
        if let Some(architecture) = architecture(name)?
            && !architectures.contains(&architecture)
        {
            architectures.push(architecture);
        }
    }
    let default = action(profile.default_action, profile.default_errno_ret)?;
    let mut rules = Vec::with_capacity(profile.syscalls.len());
    for rule in &profile.syscalls {
        rules.extend(self::rules(rule)?);
    }
    // A rule that does what happens anyway never stands in the way of another one, as with runc.
    rules.sort_by_key(|rule| rule.action == default);
    let policy = Policy {
        default,
        architectures,
        rules,
    };
    let filter = seccomp::compile(&policy).map_err(|error| said(error.to_string()))?;
    Ok(Filter {
        filter,
        flags: flags(profile.flags.as_deref())?,
    })
}

/// The rules that an entry of a profile stands for: one, or one for each condition when an argument is
/// compared twice. Then any of the conditions is enough, as profiles written for runc expect.
fn rules(entry: &SeccompSyscall) -> Result<Vec<Rule>, Error> {
    let action = action(entry.action, entry.errno_ret)?;
    let conditions: Vec<Condition> = entry
        .args
        .iter()
        .map(condition)
        .collect::<Result<_, Error>>()?;
    let rule = |conditions| Rule {
        names: entry.names.clone(),
        action,
        conditions,
    };
    let twice = entry.args.iter().enumerate().any(|(at, arg)| {
        entry.args[..at]
            .iter()
            .any(|other| other.index == arg.index)
    });
    Ok(if twice {
        conditions
            .into_iter()
            .map(|condition| rule(vec![condition]))
            .collect()
    } else {
        vec![rule(conditions)]
    })
}

/// An instruction set by name; `None` for those of machines that this program does not run on.
fn architecture(name: &str) -> Result<Option<Architecture>, Error> {
    const OTHERS: [&str; 18] = [
        "LOONGARCH64",
        "M68K",
        "MIPS",
        "MIPS64",
        "MIPS64N32",
        "MIPSEL",
        "MIPSEL64",
        "MIPSEL64N32",
        "PARISC",
        "PARISC64",
        "PPC",
        "PPC64",
        "PPC64LE",
        "RISCV64",
        "S390",
        "S390X",
        "SH",
        "SHEB",
    ];
    let short = name.strip_prefix("SCMP_ARCH_");
    match short {
        Some("X86_64") => Ok(Some(Architecture::X86_64)),
        Some("X86") => Ok(Some(Architecture::I386)),
        Some("X32") => Ok(Some(Architecture::X32)),
        Some("AARCH64") => Ok(Some(Architecture::Aarch64)),
        Some("ARM") => Ok(Some(Architecture::Arm)),
        Some(other) if OTHERS.contains(&other) => Ok(None),
        _ => Err(said(format!(
            "string {name} is not a valid arch for seccomp"
        ))),
    }
}

fn action(action: SeccompAction, number: Option<u32>) -> Result<Action, Error> {
    let number = u16::try_from(number.unwrap_or(EPERM))
        .map_err(|_| said("a seccomp errno is larger than 65535"))?;
    Ok(match action {
        SeccompAction::Allow => Action::Allow,
        SeccompAction::Errno => Action::Errno(number),
        SeccompAction::Kill | SeccompAction::KillThread => Action::KillThread,
        SeccompAction::KillProcess => Action::KillProcess,
        SeccompAction::Trap => Action::Trap,
        SeccompAction::Trace => Action::Trace(number),
        SeccompAction::Log => Action::Log,
        SeccompAction::Notify => Action::Notify,
    })
}

fn condition(arg: &SeccompArg) -> Result<Condition, Error> {
    let value = arg.value;
    let comparison = match arg.op {
        SeccompOperator::NotEqual => Comparison::NotEqual(value),
        SeccompOperator::Less => Comparison::Less(value),
        SeccompOperator::LessOrEqual => Comparison::LessOrEqual(value),
        SeccompOperator::Equal => Comparison::Equal(value),
        SeccompOperator::GreaterOrEqual => Comparison::GreaterOrEqual(value),
        SeccompOperator::Greater => Comparison::Greater(value),
        SeccompOperator::MaskedEqual => Comparison::Masked {
            mask: value,
            value: arg.value_two,
        },
    };
    let argument = u8::try_from(arg.index)
        .map_err(|_| said("a seccomp rule compares an argument that calls do not have"))?;
    Ok(Condition {
        argument,
        comparison,
    })
}

/// Flags by name. Where a profile says nothing, speculation is not slowed down, as with runc.
fn flags(names: Option<&[String]>) -> Result<Flags, Error> {
    let mut flags = Flags {
        allow_speculation: names.is_none(),
        ..Flags::default()
    };
    for name in names.unwrap_or_default() {
        match name.as_str() {
            "SECCOMP_FILTER_FLAG_TSYNC" => flags.all_threads = true,
            "SECCOMP_FILTER_FLAG_LOG" => flags.log = true,
            "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => flags.allow_speculation = true,
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => flags.wait_killable = true,
            other => {
                return Err(said(format!(
                    "seccomp flag {other} is not known to hull-runtime"
                )));
            }
        }
    }
    Ok(flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(args: &str) -> SeccompSyscall {
        let text = format!(r#"{{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{args}]}}"#);
        serde_json::from_str(&text).expect("parses")
    }

    #[test]
    fn an_argument_compared_twice_makes_alternatives() {
        let [a, b, c] = [
            r#"{"index":0,"value":1,"op":"SCMP_CMP_EQ"}"#,
            r#"{"index":0,"value":2,"op":"SCMP_CMP_EQ"}"#,
            r#"{"index":1,"value":2,"op":"SCMP_CMP_EQ"}"#,
        ];
        let count = |args: &str| rules(&entry(args)).expect("possible").len();
        assert_eq!(count(""), 1);
        assert_eq!(count(&format!("{a},{c}")), 1);
        assert_eq!(count(&format!("{a},{b},{c}")), 3);
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        for profile in [
            r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#,
            r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_NOSUCH"]}"#,
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_NOTIFY"}]}"#,
            r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/x",
                "syscalls":[{"names":["read","write"],"action":"SCMP_ACT_NOTIFY"}]}"#,
            r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["nosuch"]}"#,
            r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":65536}"#,
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],
                "action":"SCMP_ACT_ERRNO","args":[{"index":6,"value":0,"op":"SCMP_CMP_EQ"}]}]}"#,
        ] {
            let profile: Seccomp = serde_json::from_str(profile).expect("parses");
            assert!(compile(&profile).is_err(), "{profile:?}");
        }
    }
}
