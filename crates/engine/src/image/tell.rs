//! The way from a pull or push to whoever reads its progress.

use futures_util::stream::{self, BoxStream, StreamExt as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::mpsc;

/// Steps that wait to be read before bars are left out.
const BOUND: usize = 64;

/// Tells the steps. It never waits: a client that stops to read must not stop who holds a place of all
/// pulls or pushes, or a layer that others wait for.
#[derive(Debug)]
pub(super) struct Teller<T> {
    queue: mpsc::UnboundedSender<T>,
    unread: Arc<AtomicUsize>,
}

impl<T> Clone for Teller<T> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
            unread: Arc::clone(&self.unread),
        }
    }
}

/// A teller, and the steps in the order in which they were told.
pub(super) fn telling<T: Send + 'static>() -> (Teller<T>, BoxStream<'static, T>) {
    let (queue, steps) = mpsc::unbounded_channel();
    let unread = Arc::new(AtomicUsize::new(0));
    let teller = Teller {
        queue,
        unread: Arc::clone(&unread),
    };
    let steps = stream::unfold((steps, unread), |(mut steps, unread)| async move {
        let step = steps.recv().await?;
        unread.fetch_sub(1, Ordering::Relaxed);
        Some((step, (steps, unread)))
    });
    (teller, steps.boxed())
}

impl<T> Teller<T> {
    /// Tells what must arrive. There are a few such lines for each layer and tag.
    pub(super) fn line(&self, step: T) {
        self.unread.fetch_add(1, Ordering::Relaxed);
        // The error means that nobody listens: the task is being aborted.
        let _ = self.queue.send(step);
    }

    /// Tells how far something is, unless too much is unread: the next bar says more.
    pub(super) fn bar(&self, step: T) {
        if self.unread.load(Ordering::Relaxed) < BOUND {
            self.line(step);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_never_wait_and_bars_are_left_out() {
        let (teller, steps) = telling();
        for step in 0..BOUND * 2 {
            teller.bar(step);
        }
        for step in 1000..1000 + BOUND * 2 {
            teller.line(step);
        }
        drop(teller);
        let steps: Vec<usize> = steps.collect().await;
        let expected: Vec<usize> = (0..BOUND).chain(1000..1000 + BOUND * 2).collect();
        assert_eq!(steps, expected);
    }
}
