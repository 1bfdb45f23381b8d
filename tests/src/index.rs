//! A registry's search index: always the same three repositories.

use crate::host::Host;
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// The index. It serves until the test's process ends.
#[derive(Debug)]
pub struct Index {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Index {
    /// Serves on loopback of `host`.
    ///
    /// # Panics
    /// When loopback has no free port.
    #[must_use]
    pub fn start(host: &Host) -> Self {
        let listener = host.within(|| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // TLS is tried first, and that client leaves.
                let _ = serve(stream, &log);
            }
        });
        Self { address, asked }
    }

    /// Host and port.
    #[must_use]
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// The searches so far, as `q=…&n=…`.
    ///
    /// # Panics
    /// When the serving thread panicked.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("the log").clone()
    }
}

fn serve(mut stream: TcpStream, log: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut first = [0];
    stream.peek(&mut first)?;
    if first[0] != b'G' {
        return Ok(());
    }
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut header = String::new();
    while reader.read_line(&mut header)? > 2 {
        header.clear();
    }
    let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let body = match target.strip_prefix("/v1/search?") {
        Some(query) => {
            log.lock().expect("the log").push(query.to_owned());
            let long = "A busybox image whose description goes on for longer than a table has room";
            json!({"num_results": 3, "query": "busybox", "results": [
                {"name": "busybox", "description": long, "star_count": 3000, "is_official": true, "is_automated": false},
                {"name": "team/busybox", "description": "two\nlines", "star_count": 3, "is_official": false, "is_automated": true},
                {"name": "team/zero", "description": "", "star_count": 0, "is_official": false, "is_automated": false},
            ]})
            .to_string()
        }
        None => "{}".to_owned(),
    };
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
