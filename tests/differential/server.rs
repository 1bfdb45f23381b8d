//! A web server with contexts of builds.

use flate2::Compression;
use flate2::write::GzEncoder;
use hull_tests::host::Host;
use hull_tests::image::Layer;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// Serves on loopback of `host` until the test's process ends; where.
pub(crate) fn start(host: &Host) -> SocketAddr {
    let listener = host.within(|| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    let address = listener.local_addr().expect("a bound socket");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Who leaves early misses the rest.
            let _ = serve(stream);
        }
    });
    address
}

fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut header = String::new();
    while reader.read_line(&mut header)? > 2 {
        header.clear();
    }
    let target = line.split(' ').nth(1).unwrap_or_default();
    let (status, kind, body) = match file(target) {
        Some((kind, body)) => ("200 OK", kind, body),
        None => ("404 Not Found", "text/plain", b"not here\n".to_vec()),
    };
    // Asked anew each time: what is kept of it is another matter.
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nLast-Modified: Sun, 13 Sep 2020 12:26:40 GMT\r\n\
         Connection: close\r\n\r\n",
        body.len()
    )?;
    if !line.starts_with("HEAD ") {
        stream.write_all(&body)?;
    }
    Ok(())
}

fn file(target: &str) -> Option<(&'static str, Vec<u8>)> {
    let dockerfile = b"FROM busybox\nLABEL from=afar\n";
    let context = || {
        Layer::new()
            .file("Dockerfile", 0o644, b"FROM busybox\nCOPY file /\n")
            .file("sub/Dockerfile", 0o644, dockerfile)
            .file("file", 0o644, b"from afar\n")
            .finish()
    };
    Some(match target {
        "/context.tar" => ("application/x-tar", context()),
        "/context.tar.gz" => {
            let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
            packed.write_all(&context()).expect("write to memory");
            let packed = packed.finish().expect("write to memory");
            ("application/gzip", packed)
        }
        "/Dockerfile" => ("text/plain", dockerfile.to_vec()),
        "/page.html" => ("text/html", b"<html>no archive</html>\n".to_vec()),
        "/broken.tar" => ("application/x-tar", context()[..700].to_vec()),
        "/empty" => ("application/x-tar", Vec::new()),
        _ => return None,
    })
}
