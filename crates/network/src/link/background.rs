//! What nobody has to wait for.

/// Small: what runs here makes a few system calls.
const STACK: usize = 128 << 10;

/// Does something in a thread of its own, of the caller's network namespace; at once and here when there
/// are no threads left.
pub(super) fn run(name: &str, work: impl FnOnce() + Send + 'static) {
    // Whoever gets it first does it: a thread that could not be started has taken nothing.
    let work = std::sync::Arc::new(std::sync::Mutex::new(Some(work)));
    let take = |work: &std::sync::Mutex<Option<_>>| {
        work.lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take()
    };
    let theirs = std::sync::Arc::clone(&work);
    let started = std::thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK)
        .spawn(move || {
            if let Some(work) = take(&theirs) {
                work();
            }
        });
    if started.is_err()
        && let Some(work) = take(&work)
    {
        work();
    }
}
