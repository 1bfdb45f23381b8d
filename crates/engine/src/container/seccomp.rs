//! System call filters: Docker's default profile, and profiles in Docker's format.
//!
//! The names are those that Docker's profile allows; calls that the kernel or the architecture does
//! not know are skipped by the runtime. What is conditional in it (capabilities, architecture) is
//! decided here, for one container.

use crate::{Error, ErrorKind, Result};
use hull_spec::runtime::{Seccomp, SeccompAction, SeccompArg, SeccompOperator, SeccompSyscall};
use serde::Deserialize;

/// Allowed in every container.
const ALWAYS: &str = "\
    _llseek _newselect accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod \
    chown chown32 clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime \
    clock_gettime64 clock_nanosleep clock_nanosleep_time64 close close_range connect copy_file_range \
    creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 \
    epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2 \
    fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 \
    fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat \
    fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64 \
    futex_wait futex_waitv futex_wake futimesat get_robust_list get_thread_area getcpu getcwd getdents \
    getdents64 getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer \
    getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid getresgid32 getresuid \
    getresuid32 getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday getuid getuid32 \
    getxattr getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel \
    io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit ioctl ioprio_get \
    ioprio_set ipc kill landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lchown32 \
    lgetxattr link linkat listen listmount listxattr listxattrat llistxattr lremovexattr lseek lsetxattr \
    lstat lstat64 madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat \
    mknod mknodat mlock mlock2 mlockall mmap mmap2 mprotect mq_getsetattr mq_notify mq_open \
    mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal \
    msgctl msgget msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat \
    open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect \
    poll ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease process_vm_readv \
    process_vm_writev pselect6 pselect6_time64 ptrace pwrite64 pwritev pwritev2 read readahead readlink \
    readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr \
    removexattrat rename renameat renameat2 restart_syscall riscv_hwprobe rmdir rseq rt_sigaction \
    rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait \
    rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min \
    sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval \
    sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler \
    sched_yield seccomp select semctl semget semop semtimedop semtimedop_time64 send sendfile sendfile64 \
    sendmmsg sendmsg sendto set_robust_list set_thread_area set_tid_address setfsgid setfsgid32 setfsuid \
    setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 \
    setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit setsid setsockopt setuid \
    setuid32 setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 \
    sigprocmask sigreturn socketcall socketpair splice stat stat64 statfs statfs64 statmount statx \
    symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete \
    timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create \
    timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill truncate truncate64 \
    ugetrlimit umask uname unlink unlinkat uretprobe utime utimensat utimensat_time64 utimes vfork \
    vmsplice wait4 waitid waitpid write writev";

/// Allowed on these architectures, in Go's names.
const BY_ARCHITECTURE: &[(&[&str], &str)] = &[
    (&["ppc64le"], "sync_file_range2 swapcontext"),
    (
        &["arm", "arm64"],
        "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls",
    ),
    (&["amd64", "x32"], "arch_prctl"),
    (&["amd64", "x32", "x86"], "modify_ldt"),
    (
        &["s390", "s390x"],
        "s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr",
    ),
    (&["riscv64"], "riscv_flush_icache"),
];

/// Allowed with this capability.
const BY_CAPABILITY: &[(&str, &str)] = &[
    ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
    (
        "CAP_SYS_ADMIN",
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr \
         lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl \
         quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare",
    ),
    ("CAP_SYS_BOOT", "reboot"),
    ("CAP_SYS_CHROOT", "chroot"),
    ("CAP_SYS_MODULE", "delete_module init_module finit_module"),
    ("CAP_SYS_PACCT", "acct"),
    (
        "CAP_SYS_PTRACE",
        "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
    ),
    ("CAP_SYS_RAWIO", "iopl ioperm"),
    (
        "CAP_SYS_TIME",
        "settimeofday stime clock_settime clock_settime64",
    ),
    ("CAP_SYS_TTY_CONFIG", "vhangup"),
    (
        "CAP_SYS_NICE",
        "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    ),
    ("CAP_SYSLOG", "syslog"),
    ("CAP_BPF", "bpf"),
    ("CAP_PERFMON", "perf_event_open"),
];

/// `CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID |
/// CLONE_NEWNET`: without `CAP_SYS_ADMIN` no call may ask for any of them.
const NAMESPACE_FLAGS: u64 = 0x7e02_0000;
/// clone3(2) hides its flags in memory where no filter can look: "not there" makes libraries use clone(2).
const ENOSYS: u32 = 38;
const EPERM: u32 = 1;

fn allow(names: &str) -> SeccompSyscall {
    SeccompSyscall {
        names: names.split_whitespace().map(str::to_owned).collect(),
        action: SeccompAction::Allow,
        ..SeccompSyscall::default()
    }
}

fn allow_if(name: &str, arg: SeccompArg) -> SeccompSyscall {
    SeccompSyscall {
        args: vec![arg],
        ..allow(name)
    }
}

fn arg(index: u32, op: SeccompOperator, value: u64, value_two: u64) -> SeccompArg {
    SeccompArg {
        index,
        value,
        value_two,
        op,
    }
}

/// This machine's architecture in Go's name, and the ones whose calls the kernel takes too.
fn architectures() -> (&'static str, &'static [&'static str]) {
    match std::env::consts::ARCH {
        "x86_64" => (
            "amd64",
            &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        ),
        "aarch64" => ("arm64", &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]),
        _ => ("", &[]),
    }
}

/// Docker's profile for a container with these capabilities.
pub(super) fn default(capabilities: &[String]) -> Seccomp {
    let (own, all) = architectures();
    let has = |name: &str| capabilities.iter().any(|known| known == name);
    let mut rules = vec![allow(ALWAYS)];
    // Sockets of every family but two: AF_ALG has had holes without end, and AF_VSOCK is not
    // confined by any namespace.
    rules.push(allow_if("socket", arg(0, SeccompOperator::Less, 38, 0)));
    rules.push(allow_if("socket", arg(0, SeccompOperator::Equal, 39, 0)));
    rules.push(allow_if("socket", arg(0, SeccompOperator::Greater, 40, 0)));
    // PER_LINUX, PER_LINUX32, with UNAME26, and "tell me": personality(2).
    for persona in [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff] {
        rules.push(allow_if(
            "personality",
            arg(0, SeccompOperator::Equal, persona, 0),
        ));
    }
    rules.extend(
        BY_ARCHITECTURE
            .iter()
            .filter(|(arches, _)| arches.contains(&own))
            .map(|(_, names)| allow(names)),
    );
    rules.extend(
        BY_CAPABILITY
            .iter()
            .filter(|(name, _)| has(name))
            .map(|(_, names)| allow(names)),
    );
    if !has("CAP_SYS_ADMIN") {
        rules.push(allow_if(
            "clone",
            arg(0, SeccompOperator::MaskedEqual, NAMESPACE_FLAGS, 0),
        ));
        rules.push(SeccompSyscall {
            action: SeccompAction::Errno,
            errno_ret: Some(ENOSYS),
            ..allow("clone3")
        });
    }
    Seccomp {
        default_action: SeccompAction::Errno,
        default_errno_ret: Some(EPERM),
        architectures: all.iter().map(|name| (*name).to_owned()).collect(),
        syscalls: rules,
        ..Seccomp::default()
    }
}

/// A profile in Docker's format: the runtime specification's, with conditions.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    #[serde(default)]
    arch_map: Option<Vec<ArchMap>>,
    #[serde(default)]
    syscalls: Option<Vec<Rule>>,
    #[serde(flatten)]
    rest: serde_json::Map<String, serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMap {
    architecture: String,
    #[serde(default)]
    sub_architectures: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Rule {
    /// The form before `names`.
    #[serde(default)]
    name: String,
    #[serde(default)]
    includes: Option<Conditions>,
    #[serde(default)]
    excludes: Option<Conditions>,
    #[serde(flatten)]
    rule: SeccompSyscall,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Conditions {
    caps: Option<Vec<String>>,
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

/// A profile of the user's, for a container with these capabilities.
///
/// # Errors
/// `Internal` for what is not a profile: dockerd's status.
pub(super) fn from_profile(text: &str, capabilities: &[String]) -> Result<Seccomp> {
    let invalid = |e: serde_json::Error| {
        Error::new(
            ErrorKind::Internal,
            format!("Decoding seccomp profile failed: {e}"),
        )
    };
    let profile: Profile = serde_json::from_str(text).map_err(invalid)?;
    let mut seccomp: Seccomp =
        serde_json::from_value(serde_json::Value::Object(profile.rest)).map_err(invalid)?;
    let (own, all) = architectures();
    if let Some(map) = profile.arch_map.iter().flatten().find(|map| {
        all.first()
            .is_some_and(|native| map.architecture == *native)
    }) {
        seccomp.architectures = std::iter::once(map.architecture.clone())
            .chain(map.sub_architectures.iter().flatten().cloned())
            .collect();
    }
    for Rule {
        name,
        includes,
        excludes,
        mut rule,
    } in profile.syscalls.into_iter().flatten()
    {
        let included = includes.is_none_or(|conditions| conditions.all_hold(own, capabilities));
        let excluded = excludes.is_some_and(|conditions| conditions.any_holds(own, capabilities));
        if included && !excluded {
            if !name.is_empty() {
                rule.names.push(name);
            }
            seccomp.syscalls.push(rule);
        }
    }
    Ok(seccomp)
}

impl Conditions {
    fn held(&self, own: &str, capabilities: &[String]) -> impl Iterator<Item = bool> {
        let arch = self
            .arches
            .as_ref()
            .filter(|list| !list.is_empty())
            .map(|list| list.iter().any(|arch| arch == own));
        let caps = self
            .caps
            .as_ref()
            .filter(|list| !list.is_empty())
            .map(|list| list.iter().all(|cap| capabilities.contains(cap)));
        let kernel = self
            .min_kernel
            .as_deref()
            .filter(|text| !text.is_empty())
            .map(kernel_is_at_least);
        [arch, caps, kernel].into_iter().flatten()
    }

    fn all_hold(&self, own: &str, capabilities: &[String]) -> bool {
        self.held(own, capabilities).all(|held| held)
    }

    fn any_holds(&self, own: &str, capabilities: &[String]) -> bool {
        self.held(own, capabilities).any(|held| held)
    }
}

fn kernel_is_at_least(wanted: &str) -> bool {
    let numbers = |text: &str| {
        let mut parts = text
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|part| part.parse::<u32>().ok());
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
    };
    numbers(&rustix::system::uname().release().to_string_lossy()) >= numbers(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(profile: &Seccomp, name: &str) -> bool {
        profile.syscalls.iter().any(|rule| {
            rule.action == SeccompAction::Allow && rule.names.iter().any(|known| known == name)
        })
    }

    #[test]
    fn capabilities_open_calls() {
        let plain = default(&[]);
        assert!(
            allows(&plain, "read")
                && !allows(&plain, "mount")
                && !allows(&plain, "keyctl")
                && !allows(&plain, "bpf")
        );
        assert!(
            plain
                .syscalls
                .iter()
                .any(|rule| rule.names == ["clone3"] && rule.errno_ret == Some(38))
        );
        let admin = default(&["CAP_SYS_ADMIN".to_owned()]);
        assert!(allows(&admin, "mount") && allows(&admin, "clone3"));
        assert!(allows(&default(&["CAP_SYS_CHROOT".to_owned()]), "chroot"));
    }

    #[test]
    fn profiles_are_read_with_their_conditions() {
        let text = r#"{"defaultAction":"SCMP_ACT_ERRNO","archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]}],
            "syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[],"comment":"","includes":{},"excludes":{}},
            {"name":"write","action":"SCMP_ACT_ALLOW"},
            {"names":["mount"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_SYS_ADMIN"]}},
            {"names":["chroot"],"action":"SCMP_ACT_ALLOW","excludes":{"caps":["CAP_SYS_ADMIN"]}},
            {"names":["bpf"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"99.1"}}]}"#;
        let profile = from_profile(text, &[]).unwrap();
        assert!(
            allows(&profile, "read") && allows(&profile, "write") && allows(&profile, "chroot")
        );
        assert!(!allows(&profile, "mount") && !allows(&profile, "bpf"));
        assert!(from_profile("{", &[]).is_err());
    }
}
