//! Resource limits, scheduling, I/O priority, personality.

use std::io;

/// Sets one limit (`RLIMIT_*` by number) of a process; 0 is the caller. prlimit(2).
///
/// # Errors
/// `EPERM` when the hard limit is raised without CAP_SYS_RESOURCE.
pub fn set_rlimit(pid: i32, resource: u32, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit64 {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: the new limit lives across the call, the old one is not asked for.
    let result =
        unsafe { libc::prlimit64(pid, resource as _, &raw const limit, std::ptr::null_mut()) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Sets the caller's I/O class (1 real time, 2 best effort, 3 idle) and priority (0 to 7). ioprio_set(2).
///
/// # Errors
/// `EPERM` for real time without CAP_SYS_ADMIN or CAP_SYS_NICE.
pub fn set_io_priority(class: i32, priority: i32) -> io::Result<()> {
    const WHO_PROCESS: libc::c_int = 1;
    // SAFETY: the call takes numbers only.
    let result = unsafe {
        libc::syscall(
            libc::SYS_ioprio_set,
            WHO_PROCESS,
            0,
            (class << 13) | priority,
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// `struct sched_attr` of sched_setattr(2).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct SchedulerAttributes {
    /// Size of the structure; filled in by [`set_scheduler`].
    pub size: u32,
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// Nice value.
    pub nice: i32,
    /// Static priority.
    pub priority: u32,
    /// Nanoseconds.
    pub runtime: u64,
    /// Nanoseconds.
    pub deadline: u64,
    /// Nanoseconds.
    pub period: u64,
}

/// Sets the caller's scheduling policy. sched_setattr(2), kernel 3.14.
///
/// # Errors
/// `EPERM`, or `EINVAL` for values that do not fit the policy.
pub fn set_scheduler(mut attributes: SchedulerAttributes) -> io::Result<()> {
    attributes.size = 48;
    // SAFETY: the structure lives across the call and tells its size.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Sets the caller's processors, a mask of bits with the lowest word first. sched_setaffinity(2).
///
/// # Errors
/// `EINVAL` when none of them exists or is in the caller's cpuset.
pub fn set_affinity(mask: &[u64]) -> io::Result<()> {
    // SAFETY: pointer and length, in bytes, describe one live slice, which the kernel only reads.
    let result = unsafe {
        libc::syscall(
            libc::SYS_sched_setaffinity,
            0,
            size_of_val(mask),
            mask.as_ptr(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Sets the caller's memory policy: mode with flags (`MPOL_*`), and nodes as a mask of bits with the
/// lowest word first. set_mempolicy(2).
///
/// # Errors
/// `EINVAL` for a mode the kernel does not know, or nodes that do not exist or do not fit the mode.
pub fn set_memory_policy(mode: u32, nodes: &[u64]) -> io::Result<()> {
    let (pointer, bits) = if nodes.is_empty() {
        (std::ptr::null(), 0)
    } else {
        // One more than there are: the kernel takes one off (set_mempolicy(2), "Bugs" of its history).
        (nodes.as_ptr(), nodes.len() * 64 + 1)
    };
    // SAFETY: the kernel reads `bits - 1` bits of a live slice of that many, or nothing from null.
    let result = unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, pointer, bits) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Sets the execution domain. personality(2).
///
/// # Errors
/// `EINVAL`.
pub fn set_personality(persona: u64) -> io::Result<()> {
    // SAFETY: the call takes a number only.
    let result = unsafe { libc::personality(persona) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
