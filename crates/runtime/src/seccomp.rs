//! From the configuration's system call filter to `linux::seccomp`.

use crate::error::{Error, said};
use hull_linux::seccomp::{self, Action, Architecture, Comparison, Condition, Flags, Policy, Rule};
use hull_spec::runtime::{Seccomp, SeccompAction, SeccompArg, SeccompOperator};
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
    /// Puts the filter on this process, for ever.
    ///
    /// # Errors
    /// What seccomp(2) gives.
    pub(crate) fn install(&self) -> io::Result<()> {
        self.filter.install(self.flags).map(drop)
    }
}

/// Compiles a profile.
///
/// # Errors
/// For what Hull or the kernel cannot do: an action, flag or argument that does not exist, a profile
/// that is too long, a listener.
pub(crate) fn compile(profile: &Seccomp) -> Result<Filter, Error> {
    if !profile.listener_path.is_empty() {
        return Err(said(
            "seccomp listeners are not supported by this version of hull-runtime",
        ));
    }
    let mut architectures = vec![Architecture::native()];
    for name in &profile.architectures {
        // Those of other machines have no programs here: whatever they call is refused.
        if let Some(architecture) = architecture(name)
            && !architectures.contains(&architecture)
        {
            architectures.push(architecture);
        }
    }
    let rules = profile.syscalls.iter().map(|rule| {
        Ok(Rule {
            names: rule.names.clone(),
            action: action(rule.action, rule.errno_ret)?,
            conditions: rule
                .args
                .iter()
                .map(condition)
                .collect::<Result<_, Error>>()?,
        })
    });
    let policy = Policy {
        default: action(profile.default_action, profile.default_errno_ret)?,
        architectures,
        rules: rules.collect::<Result<_, Error>>()?,
    };
    let filter = seccomp::compile(&policy).map_err(|error| said(error.to_string()))?;
    Ok(Filter {
        filter,
        flags: flags(&profile.flags)?,
    })
}

fn architecture(name: &str) -> Option<Architecture> {
    match name {
        "SCMP_ARCH_X86_64" => Some(Architecture::X86_64),
        "SCMP_ARCH_X86" => Some(Architecture::I386),
        "SCMP_ARCH_X32" => Some(Architecture::X32),
        "SCMP_ARCH_AARCH64" => Some(Architecture::Aarch64),
        _ => None,
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
        SeccompAction::Notify => {
            return Err(said(
                "the seccomp action SCMP_ACT_NOTIFY is not supported by this version of hull-runtime",
            ));
        }
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

fn flags(names: &[String]) -> Result<Flags, Error> {
    let mut flags = Flags::default();
    for name in names {
        match name.as_str() {
            "SECCOMP_FILTER_FLAG_TSYNC" => flags.all_threads = true,
            "SECCOMP_FILTER_FLAG_LOG" => flags.log = true,
            "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => flags.allow_speculation = true,
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => flags.wait_killable = true,
            other => return Err(said(format!("seccomp flag {other:?} is not known"))),
        }
    }
    Ok(flags)
}
