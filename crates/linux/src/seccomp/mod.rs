//! System call filters: seccomp(2), Linux 3.17.
//!
//! A [`Policy`] says what may be called; [`compile()`] makes a program of classic BPF of it, which the
//! kernel runs before every system call:
//!
//! ```text
//! architecture?  ─► one section each ─► binary search over intervals of call numbers
//!                                           ├─ an action
//!                                           └─ rules with conditions on arguments, in order, then an action
//! ```

mod aarch64;
mod arm;
mod compile;
mod i386;
pub mod listener;
mod x32;
mod x86_64;

pub use compile::compile;

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is made.
    Allow,
    /// It fails with this error.
    Errno(u16),
    /// The process is killed (Linux 4.14).
    KillProcess,
    /// The thread is killed.
    KillThread,
    /// The thread gets `SIGSYS`.
    Trap,
    /// A tracer is asked, with this number for it.
    Trace(u16),
    /// It is made, and logged (Linux 4.14).
    Log,
    /// Whoever holds the listener decides (Linux 5.0).
    Notify,
}

impl Action {
    /// The program's return value, linux/seccomp.h.
    const fn code(self) -> u32 {
        match self {
            Self::KillProcess => 0x8000_0000,
            Self::KillThread => 0,
            Self::Trap => 0x0003_0000,
            Self::Errno(errno) => 0x0005_0000 | errno as u32,
            Self::Notify => 0x7fc0_0000,
            Self::Trace(number) => 0x7ff0_0000 | number as u32,
            Self::Log => 0x7ffc_0000,
            Self::Allow => 0x7fff_0000,
        }
    }
}

/// How an argument is compared, unsigned, all 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Equal(u64),
    /// `≠`
    NotEqual(u64),
    /// `<`
    Less(u64),
    /// `≤`
    LessOrEqual(u64),
    /// `>`
    Greater(u64),
    /// `≥`
    GreaterOrEqual(u64),
    /// `argument & mask = value`
    Masked {
        /// The bits that are looked at.
        mask: u64,
        /// What they must be.
        value: u64,
    },
}

/// A condition on one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Which argument, 0 to 5.
    pub argument: u8,
    /// What it must be.
    pub comparison: Comparison,
}

/// What happens to some calls under some conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Names; those that an architecture does not have are skipped there.
    pub names: Vec<String>,
    /// What happens.
    pub action: Action,
    /// All of these must hold.
    pub conditions: Vec<Condition>,
}

/// An instruction set with its own call numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// 64-bit x86.
    X86_64,
    /// Its variant with 32-bit pointers.
    X32,
    /// 32-bit x86.
    I386,
    /// 64-bit ARM.
    Aarch64,
    /// 32-bit ARM, EABI.
    Arm,
}

impl Architecture {
    /// This program's own.
    #[must_use]
    pub const fn native() -> Self {
        if cfg!(target_arch = "aarch64") {
            Self::Aarch64
        } else {
            Self::X86_64
        }
    }

    /// `AUDIT_ARCH_*` of linux/audit.h. x32 shares x86-64's.
    const fn audit(self) -> u32 {
        match self {
            Self::X86_64 | Self::X32 => 0xc000_003e,
            Self::I386 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
            Self::Arm => 0x4000_0028,
        }
    }

    fn calls(self) -> &'static [(&'static str, u32)] {
        match self {
            Self::X86_64 => x86_64::CALLS,
            Self::X32 => x32::CALLS,
            Self::I386 => i386::CALLS,
            Self::Aarch64 => aarch64::CALLS,
            Self::Arm => arm::CALLS,
        }
    }

    /// The number of a call.
    #[must_use]
    pub fn number(self, name: &str) -> Option<u32> {
        let calls = self.calls();
        calls
            .binary_search_by_key(&name, |(known, _)| known)
            .ok()
            .map(|at| calls[at].1)
    }
}

/// What may be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// For calls that no rule is about.
    pub default: Action,
    /// For which instruction sets; calls of others kill the process.
    pub architectures: Vec<Architecture>,
    /// The first one that fits decides.
    pub rules: Vec<Rule>,
}

/// One instruction, `struct sock_filter` of linux/filter.h.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What it does, `BPF_*`.
    pub code: u16,
    /// How many instructions are skipped when its condition holds.
    pub jump_true: u8,
    /// How many when not.
    pub jump_false: u8,
    /// What it works with.
    pub value: u32,
}

/// Why a policy cannot become a filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The kernel takes at most 4096 instructions (`BPF_MAXINSNS`).
    #[error("the seccomp profile is too long: {0} instructions where the kernel takes 4096")]
    TooLong(usize),
    /// A condition on an argument that calls do not have.
    #[error("a seccomp rule compares argument {0}, but system calls have six, 0 to 5")]
    Argument(u8),
    /// More conditions than jumps reach over; two for each argument are allowed.
    #[error("a seccomp rule has {0} conditions, at most 12 are possible")]
    Conditions(usize),
}

/// A compiled filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    instructions: Vec<Instruction>,
    /// Whether any call ends in [`Action::Notify`].
    notifies: bool,
}

/// Flags of seccomp(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// All threads get the filter (`TSYNC`).
    pub all_threads: bool,
    /// Actions other than allowing are logged (`LOG`, Linux 4.14).
    pub log: bool,
    /// No mitigation of speculation for this process (`SPEC_ALLOW`, Linux 4.17).
    pub allow_speculation: bool,
    /// A notified thread waits so that only fatal signals interrupt it (Linux 5.19).
    pub wait_killable: bool,
}

impl Filter {
    /// The program.
    #[must_use]
    pub fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }

    /// Whether some calls are left to a listener.
    #[must_use]
    pub fn notifies(&self) -> bool {
        self.notifies
    }

    /// Puts the filter on the calling thread, for ever. Gives the listener when the policy notifies.
    ///
    /// # Errors
    /// `PermissionDenied` without `no_new_privs` and without `CAP_SYS_ADMIN`; `InvalidInput` for a
    /// flag that the kernel does not know.
    pub fn install(&self, flags: Flags) -> io::Result<Option<OwnedFd>> {
        const SECCOMP_SET_MODE_FILTER: libc::c_ulong = 1;
        let bits: [(bool, libc::c_ulong); 6] = [
            (flags.all_threads, 1),
            (flags.log, 2),
            (flags.allow_speculation, 4),
            (self.notifies, 8),
            // With a listener the call's value is not free to name a thread that could not follow.
            (flags.all_threads && self.notifies, 16),
            // Nobody waits without a listener; the kernel refuses the flag then.
            (flags.wait_killable && self.notifies, 32),
        ];
        let bits = bits
            .iter()
            .filter(|(set, _)| *set)
            .fold(0, |bits, (_, bit)| bits | bit);
        let length =
            u16::try_from(self.instructions.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let program = libc::sock_fprog {
            len: length,
            filter: self.instructions.as_ptr().cast_mut().cast(),
        };
        // SAFETY: `program` points to `len` instructions laid out as struct sock_filter (repr(C), same
        // fields), which the kernel only reads and copies during the call.
        let result = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                SECCOMP_SET_MODE_FILTER,
                bits,
                &raw const program,
            )
        };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        if !self.notifies {
            return Ok(None);
        }
        let raw = i32::try_from(result).map_err(|_| io::ErrorKind::InvalidData)?;
        // SAFETY: with SECCOMP_FILTER_FLAG_NEW_LISTENER seccomp(2) returns a new descriptor, which
        // nothing else has seen.
        Ok(Some(unsafe { OwnedFd::from_raw_fd(raw) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_and_known_numbers_are_right() {
        for architecture in [
            Architecture::X86_64,
            Architecture::X32,
            Architecture::I386,
            Architecture::Aarch64,
            Architecture::Arm,
        ] {
            assert!(
                architecture.calls().is_sorted_by(|a, b| a.0 < b.0),
                "{architecture:?}"
            );
        }
        assert_eq!(Architecture::X86_64.number("openat2"), Some(437));
        assert_eq!(Architecture::I386.number("exit"), Some(1));
        assert_eq!(Architecture::X32.number("read"), Some(0x4000_0000));
        assert_eq!(Architecture::Aarch64.number("clone3"), Some(435));
        assert_eq!(Architecture::Arm.number("openat2"), Some(437));
        assert_eq!(Architecture::Arm.number("set_tls"), Some(0xf_0005));
        assert_eq!(Architecture::X86_64.number("nosuch"), None);
    }

    /// In a thread of its own: a filter cannot be taken off again.
    #[test]
    fn the_kernel_obeys_the_filter() {
        let rule = Rule {
            names: vec!["getppid".to_owned()],
            action: Action::Errno(99),
            conditions: Vec::new(),
        };
        let policy = Policy {
            default: Action::Allow,
            architectures: vec![Architecture::native()],
            rules: vec![rule],
        };
        let filter = compile(&policy).unwrap();
        let outcome = std::thread::spawn(move || {
            rustix::thread::set_no_new_privs(true).unwrap();
            filter.install(Flags::default()).unwrap();
            // SAFETY: getppid(2) takes nothing and touches nothing.
            let result = unsafe { libc::syscall(libc::SYS_getppid) };
            (result, io::Error::last_os_error().raw_os_error())
        });
        assert_eq!(outcome.join().unwrap(), (-1, Some(99)));
    }
}
