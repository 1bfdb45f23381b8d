//! A connection that must go on.

use crate::daemon::wait_until;
use crate::host::within;
use std::io::{Read, Write};
use std::net::{Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Bytes that go from a client to a server and back, one after the other, for as long as this lives.
#[derive(Debug)]
pub struct Stream {
    count: Arc<AtomicU64>,
    ends: [TcpStream; 2],
    threads: Vec<JoinHandle<()>>,
}

impl Stream {
    /// Listens on `port` in the namespace `server`, and connects from the namespace `client` to `to`, which must lead there.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn start(server: &Path, port: u16, client: &Path, to: SocketAddr) -> Self {
        let listener = within(server, || {
            TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).expect("listen")
        });
        let patience = Duration::from_secs(30);
        let ours = within(client, || TcpStream::connect_timeout(&to, patience))
            .unwrap_or_else(|error| panic!("{to}: {error}"));
        let (mut theirs, _) = listener.accept().expect("accept");
        let other = theirs.try_clone().expect("a second descriptor");
        let mut own = ours.try_clone().expect("a second descriptor");
        own.set_nodelay(true).expect("send at once");
        theirs.set_nodelay(true).expect("send at once");
        let count = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&count);
        let back = std::thread::spawn(move || {
            let mut byte = [0];
            while theirs.read_exact(&mut byte).is_ok() && theirs.write_all(&byte).is_ok() {}
        });
        let forth = std::thread::spawn(move || {
            let mut byte = [7];
            while own.write_all(&byte).is_ok() && own.read_exact(&mut byte).is_ok() {
                counted.fetch_add(1, Ordering::Relaxed);
                // It shall go on, not keep the machine busy.
                let pause = rustix::event::Timespec {
                    tv_sec: 0,
                    tv_nsec: 1_000_000,
                };
                let _ = rustix::event::poll(&mut [], Some(&pause));
            }
        });
        Self {
            count,
            ends: [ours, other],
            threads: vec![back, forth],
        }
    }

    /// Waits until something more has come back.
    ///
    /// # Panics
    /// When the connection is broken or nothing comes.
    pub fn goes_on(&self) {
        let before = self.count.load(Ordering::Relaxed);
        wait_until("the stream goes on", || {
            let now = self.count.load(Ordering::Relaxed);
            if now > before { Ok(()) } else { Err(now) }
        });
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // The way between them may be gone.
        for end in &self.ends {
            let _ = end.shutdown(Shutdown::Both);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
