//! What is fetched for a build: with the client's secrets, and only as long as somebody wants it.

use super::sources::{git, make_repository};
use super::*;
use hull_engine::build::graph::{GitSource, HttpSource};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// Reads the head of a request.
fn head_of(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        request.push(byte[0]);
    }
    String::from_utf8_lossy(&request).into_owned()
}

/// Serves the files below a directory to who has this header; tells the headers `Authorization` that it got.
fn serve_to(directory: PathBuf, wanted: &'static str) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let request = head_of(&mut stream);
            let header = request.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("authorization").then_some(value)
            });
            let _ = tell.send(header.unwrap_or_default().to_owned());
            let path = request.split(' ').nth(1).unwrap_or_default();
            let path = path.split('?').next().unwrap_or_default();
            let file = fs_err::read(directory.join(path.trim_start_matches('/')));
            let (status, bytes) = match (header == Some(wanted), file) {
                (false, _) => ("401 Unauthorized", Vec::new()),
                (true, Ok(bytes)) => ("200 OK", bytes),
                (true, Err(_)) => ("404 Not Found", Vec::new()),
            };
            let length = bytes.len();
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
            );
            let _ = stream.write_all(head.as_bytes());
            let _ = stream.write_all(&bytes);
        }
    });
    (url, told)
}

/// `hush` as git's servers want tokens, and as it is.
const TOKEN: &str = "basic eC1hY2Nlc3MtdG9rZW46aHVzaA==";
const WHOLE: &str = "hush";

#[test]
fn repositories_are_fetched_with_the_clients_secrets() {
    let Some(host) = Host::new() else { return };
    hull_linux::namespace::bring_up_loopback().unwrap();
    let directory = host.path("repositories");
    let main = make_repository(&directory, "main");
    git(&main, &["update-server-info"]);
    with(&host, move |engine| {
        for (wanted, token) in [(TOKEN, true), (WHOLE, false)] {
            let (url, told) = serve_to(directory.clone(), wanted);
            let source = |id: &str| GitSource {
                remote: format!("{url}/main/.git"),
                auth_token_secret: if token { id } else { "" }.to_owned(),
                auth_header_secret: if token { "" } else { id }.to_owned(),
                ..GitSource::default()
            };
            let bring = |source: GitSource| {
                let mut build = Build::new(Path::new("/"));
                let output = build.op(Op::Source(Source::Git(source)), Vec::new());
                build.solve(&engine, output).0
            };
            let error = bring(source("other")).unwrap_err().to_string();
            assert!(error.contains("failed to fetch") || error.contains("error fetching"));
            assert!(told.try_iter().all(|header| header.is_empty()));
            let brought = bring(source("known")).unwrap();
            assert_eq!(read(&engine, &brought, "f"), "main one");
            assert!(told.try_iter().any(|header| header == wanted));
            // It is no part of what git is told by its command line, nor of what is kept.
            let kept = engine.data_root().join("sources/git");
            let found = std::process::Command::new("grep")
                .args(["-r", "-e", "hush", "-e", "eC1hY2"])
                .arg(kept)
                .output()
                .unwrap();
            assert_eq!(String::from_utf8_lossy(&found.stdout), "");
        }
    });
}

/// What happens while a build fetches.
#[derive(Debug, PartialEq)]
enum Heard {
    /// It asks.
    Came,
    /// Its connection is closed.
    Gone,
    /// It ended, with these words.
    Ended(String),
}

/// A server that takes a connection and says nothing; tells that somebody came, and when that one is gone.
fn silent(tell: Sender<Heard>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut byte = [0];
        let _ = stream.read(&mut byte);
        tell.send(Heard::Came).unwrap();
        while stream.read(&mut byte).is_ok_and(|count| count > 0) {}
        tell.send(Heard::Gone).unwrap();
    });
    port
}

#[test]
fn a_build_that_is_cancelled_fetches_no_more() {
    let Some(host) = Host::new() else { return };
    hull_linux::namespace::bring_up_loopback().unwrap();
    with(&host, move |engine| {
        let git = |port| {
            Source::Git(GitSource {
                remote: format!("http://127.0.0.1:{port}/a.git"),
                ..GitSource::default()
            })
        };
        let http = |port| {
            Source::Http(HttpSource {
                url: format!("http://127.0.0.1:{port}/f"),
                ..HttpSource::default()
            })
        };
        let image = |port| {
            Source::Image(ImageSource {
                reference: format!("127.0.0.1:{port}/a:1"),
                resolve: ResolveMode::Default,
                layer_limit: 0,
            })
        };
        let sources: [&dyn Fn(u16) -> Source; 3] = [&git, &http, &image];
        for source in sources {
            let (tell, heard) = channel();
            let port = silent(tell.clone());
            let mut build = Build::new(Path::new("/"));
            let output = build.op(Op::Source(source(port)), Vec::new());
            // An image's files are only fetched for who works with them.
            let output = build.run(output, "true");
            let cancel = build.cancel.clone();
            let engine = Arc::clone(&engine);
            // Solvers begin where the runtime is.
            let solved = tokio::task::spawn_blocking(move || {
                let error = build.solve(&engine, output).0.unwrap_err();
                tell.send(Heard::Ended(error.to_string())).unwrap();
            });
            let next = || heard.recv_timeout(Duration::from_secs(60)).unwrap();
            assert_eq!(next(), Heard::Came, "{:?}", source(port));
            assert!(!solved.is_finished());
            cancel.cancel();
            // The build's end and that of the connection come in any order.
            let last = [next(), next()];
            assert!(last.contains(&Heard::Gone), "{last:?}");
            let cancelled =
                |one: &Heard| matches!(one, Heard::Ended(why) if why.contains("cancel"));
            assert!(last.iter().any(cancelled), "{last:?}");
        }
    });
}
