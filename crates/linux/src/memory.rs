//! The allocator of the C library.

/// Makes memory that is freed go back to the host: large pieces at once, and small ones from fewer
/// arenas. glibc otherwise keeps what many threads had, and takes ever larger pieces from there.
/// mallopt(3); nothing happens with another C library.
pub fn return_early() {
    #[cfg(target_env = "gnu")]
    for (parameter, value) in [
        (libc::M_MMAP_THRESHOLD, 1024 * 1024),
        (libc::M_TRIM_THRESHOLD, 1024 * 1024),
        (libc::M_ARENA_MAX, 2),
    ] {
        // SAFETY: mallopt takes two integers, changes malloc's own settings and locks them itself.
        unsafe { libc::mallopt(parameter, value) };
    }
}

/// Gives memory back that is free between pieces in use, all over the heap: after a burst of work that kept a little
/// of much. malloc_trim(3), a few milliseconds; nothing happens with another C library.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes a number, locks what it changes and touches free memory only.
    unsafe {
        libc::malloc_trim(0)
    };
}
