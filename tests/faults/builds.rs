//! Builds whose daemon is killed, whose client goes away, and whose results become too many.

use hull_tests::client::Client;
use hull_tests::daemon::{Daemon, wait_until};
use hull_tests::image::Layer;
use hull_tests::setup::with;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;

/// A build under way, whose stream is read line by line.
struct Building(BufReader<UnixStream>);

impl Building {
    fn begin(daemon: &Daemon<'_>, dockerfile: &str, query: &str) -> Self {
        let context = Layer::new()
            .file("Dockerfile", 0o644, dockerfile.as_bytes())
            .finish();
        let mut stream = UnixStream::connect(daemon.socket()).expect("the daemon listens");
        let head = format!(
            "POST /build?{query} HTTP/1.1\r\nHost: d\r\nContent-Type: application/x-tar\r\nContent-Length: {}\r\n\r\n",
            context.len()
        );
        stream.write_all(head.as_bytes()).expect("the daemon reads");
        stream.write_all(&context).expect("the daemon reads");
        Self(BufReader::new(stream))
    }

    /// Reads until something was said.
    fn says(&mut self, text: &str) {
        let mut said = String::new();
        let mut line = String::new();
        while self.0.read_line(&mut line).expect("a reply") > 0 {
            said.push_str(&line);
            if line.contains(text) {
                return;
            }
            line.clear();
        }
        panic!("{text:?} was not said: {said}");
    }

    /// The rest of the reply, to its last chunk.
    fn finish(mut self) -> String {
        let mut said = String::new();
        let mut line = String::new();
        while self.0.read_line(&mut line).expect("a reply") > 0 {
            said.push_str(&line);
            if line.trim_end() == "0" {
                break;
            }
            line.clear();
        }
        said
    }
}

fn build(daemon: &Daemon<'_>, dockerfile: &str, query: &str) -> String {
    Building::begin(daemon, dockerfile, query).finish()
}

/// The snapshots there are.
fn snapshots(daemon: &Daemon<'_>) -> usize {
    fs_err::read_dir(daemon.path("data/snapshots"))
        .expect("test data")
        .count()
}

fn no_shims(daemon: &Daemon<'_>) {
    wait_until("the step's processes are gone", || match daemon.shims() {
        none if none.is_empty() => Ok(()),
        left => Err(left),
    });
}

#[test]
fn a_build_goes_on_after_the_last_finished_step_when_the_daemon_was_killed() {
    with(Client::Hull, |s| {
        let dockerfile = "FROM busybox\nRUN echo first-step; echo 1 > /1\nRUN echo second-step; cat /1 > /2\nARG WAIT\n\
            RUN echo wait''ing; [ \"$WAIT\" = no ] || while :; do i=$((i+1)); mkdir -p /d/$((i%500)); : > /d/$((i%500))/$i; done; cat /2 > /3\nCMD [\"cat\", \"/3\"]\n";
        let mut building = Building::begin(&s.daemon, dockerfile, "t=killed");
        building.says("waiting");
        s.daemon.kill();
        drop(building);
        s.daemon.restart();
        no_shims(&s.daemon);
        assert!(!s.daemon.path("data/build").exists(), "no context is left");
        assert!(snapshots(&s.daemon) <= 2, "the third step has left nothing");
        // What is still written while it is removed would stay until the next start.
        wait_until("what it wrote is deleted", || {
            match fs_err::read_dir(s.daemon.path("data/trash")).map(Iterator::count) {
                Ok(0) => Ok(()),
                left => Err(left),
            }
        });
        let arguments = "t=killed&buildargs=%7B%22WAIT%22%3A%22no%22%7D";
        let said = build(&s.daemon, dockerfile, arguments);
        assert!(said.contains("Successfully tagged killed:latest"), "{said}");
        assert!(!said.contains("first-step\\n"), "it is known: {said}");
        assert!(said.contains("waiting"), "{said}");
        assert_eq!(s.line("run --rm killed").ok(), "1");
        let pruned = s.daemon.ask("POST", "/build/prune?all=1", b"");
        assert_eq!(pruned.status, 200);
        assert_eq!(snapshots(&s.daemon), 0);
        s.daemon.remove_containers();
        assert_eq!(s.daemon.leftovers(), [""; 0]);
    });
}

#[test]
fn a_build_ends_with_its_client_unless_another_waits_for_the_same() {
    with(Client::Hull, |s| {
        let waits = "FROM busybox\nRUN echo wait''ing; sleep 1000\n";
        let mut building = Building::begin(&s.daemon, waits, "");
        building.says("waiting");
        assert_eq!(s.daemon.shims().len(), 1);
        drop(building);
        no_shims(&s.daemon);

        // It can be ended by its name, too.
        let mut building = Building::begin(&s.daemon, waits, "buildid=mine");
        building.says("waiting");
        assert_eq!(
            s.daemon.ask("POST", "/build/cancel?id=mine", b"").status,
            200
        );
        let rest = building.finish();
        assert!(rest.contains("errorDetail"), "{rest}");
        no_shims(&s.daemon);

        let shared = "FROM busybox\nRUN --mount=type=cache,target=/c touch /c/here; echo wait''ing; \
            while [ ! -e /c/go ]; do sleep 0.05; done; echo w''ent\n";
        let mut one = Building::begin(&s.daemon, shared, "");
        one.says("waiting");
        let mut two = Building::begin(&s.daemon, shared, "t=shared");
        two.says("waiting");
        drop(one);
        let caches = fs_err::read_dir(s.daemon.path("data/snapshots")).unwrap();
        let caches = caches.map(|entry| entry.unwrap().path().join("upper"));
        let cache = caches.into_iter().find(|path| path.join("here").exists());
        assert_eq!(
            s.daemon.shims().len(),
            1,
            "it does not end, and is not done twice"
        );
        fs_err::write(cache.unwrap().join("go"), "").unwrap();
        two.says("went");
        let rest = two.finish();
        assert!(rest.contains("Successfully tagged shared:latest"), "{rest}");
        no_shims(&s.daemon);
        s.daemon.remove_containers();
        assert_eq!(s.daemon.leftovers(), [""; 0]);
    });
}

#[test]
fn the_build_cache_is_kept_within_its_limits() {
    with(Client::Hull, |s| {
        let _ = s.daemon.stop();
        let settings = r#"{"builder":{"gc":{"policy":[{"all":true,"maxUsedSpace":"1"}]}}}"#;
        fs_err::write(s.daemon.path("daemon.json"), settings).unwrap();
        s.daemon.restart();
        let dockerfile = "FROM busybox\nRUN echo kept > /file\nCMD [\"cat\", \"/file\"]\n";
        let said = build(&s.daemon, dockerfile, "t=collected");
        assert!(said.contains("Successfully tagged"), "{said}");
        wait_until("nothing is left in the cache", || {
            let usage = s.daemon.get("/system/df?type=build-cache").json();
            match usage["BuildCache"].as_array().map(Vec::len) {
                Some(0) => Ok(()),
                other => Err(other),
            }
        });
        // Rows go first.
        wait_until("no files are left of it", || match snapshots(&s.daemon) {
            0 => Ok(()),
            left => Err(left),
        });
        assert_eq!(s.line("run --rm collected").ok(), "kept");
        let said = build(&s.daemon, dockerfile, "t=collected");
        assert!(!said.contains("Using cache"), "{said}");
    });
}
