//! Contexts of builds that attack: names and links that lead out, devices and pipes where a file is read, archives that lie
//! or break off, clients that stall. Nothing outside is read or written, nothing hangs, nothing is left.

use hull_tests::client::Client;
use hull_tests::daemon::{Daemon, wait_until};
use hull_tests::http::Reply;
use hull_tests::image::{Layer, Packing, pack};
use hull_tests::setup::with;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use tar::EntryType::{Block, Char, Directory, Fifo, Link, Regular, Symlink};

const SECRET: &str = "the host's own words";

fn build(daemon: &Daemon<'_>, context: &[u8]) -> Reply {
    daemon.send("POST", "/build?t=built", "application/x-tar", context)
}

fn dockerfile(text: &str) -> Layer {
    Layer::new().file("Dockerfile", 0o644, text.as_bytes())
}

/// Contexts are gone, whatever they were.
fn is_clean(daemon: &Daemon<'_>) {
    wait_until("the contexts are gone", || {
        let left = fs_err::read_dir(daemon.path("data/build"));
        let left: Vec<_> = left.into_iter().flatten().flatten().collect();
        left.is_empty().then_some(()).ok_or(left)
    });
}

#[test]
fn nothing_outside_of_a_context_is_written() {
    with(Client::Hull, |s| {
        let outside = s.daemon.path("outside");
        fs_err::create_dir(&outside).unwrap();
        fs_err::write(outside.join("file"), SECRET).unwrap();
        let target = outside.to_str().unwrap();
        let file = format!("{target}/file");
        let up = format!("../../../../../../../../..{target}");
        let all = || dockerfile("FROM scratch\nCOPY . /all\n");
        let contexts = [
            all().entry(&format!("{up}/dotdot"), Regular, 0o644, None, b"x"),
            all().entry(&format!("{target}/absolute"), Regular, 0o644, None, b"x"),
            all()
                .entry("link", Symlink, 0o777, Some(target), b"")
                .entry("link/through", Regular, 0o644, None, b"x")
                .entry("link/directory", Directory, 0o755, None, b""),
            all().entry("link", Symlink, 0o777, Some(&up), b"").entry(
                "link/through",
                Regular,
                0o644,
                None,
                b"x",
            ),
            all()
                .entry("link", Symlink, 0o777, Some(&file), b"")
                .entry("link", Regular, 0o644, None, b"x"),
            all().entry("hard", Link, 0o644, Some(&format!("{up}/file")), b""),
            all()
                .entry("link", Symlink, 0o777, Some(target), b"")
                .entry("hard", Link, 0o644, Some("link/file"), b""),
            all()
                .entry("link", Symlink, 0o777, Some(target), b"")
                .entry("link", Directory, 0o777, None, b"")
                .entry("link/inside", Regular, 0o644, None, b"x"),
            all().entry("..", Directory, 0o777, None, b""),
            all().entry(".", Symlink, 0o777, Some(target), b""),
            all().entry("", Symlink, 0o777, Some(target), b""),
            // As part of an image, where ADD takes it apart.
            dockerfile("FROM busybox\nRUN ln -s /etc /link\nADD inner.tar /\n").file(
                "inner.tar",
                0o644,
                &Layer::new()
                    .entry(&format!("{up}/inner"), Regular, 0o644, None, b"x")
                    .finish(),
            ),
            dockerfile("FROM scratch\nADD inner.tar /\nADD inner2.tar /\n")
                .file(
                    "inner.tar",
                    0o644,
                    &Layer::new().symlink("link", target).finish(),
                )
                .file(
                    "inner2.tar",
                    0o644,
                    &Layer::new().file("link/through", 0o644, b"x").finish(),
                ),
        ];
        for (number, context) in contexts.into_iter().enumerate() {
            let reply = build(&s.daemon, &context.finish());
            let names: Vec<_> = fs_err::read_dir(&outside)
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .collect();
            assert_eq!(names, ["file"], "context {number}: {}", reply.text());
            let kept = fs_err::read_to_string(outside.join("file")).unwrap();
            assert_eq!(kept, SECRET, "context {number}: {}", reply.text());
            let links = std::os::unix::fs::MetadataExt::nlink(&fs_err::metadata(&file).unwrap());
            assert_eq!(links, 1, "context {number}: {}", reply.text());
        }
        is_clean(&s.daemon);
    });
}

#[test]
fn nothing_outside_of_a_context_is_read() {
    with(Client::Hull, |s| {
        let outside = s.daemon.path("outside");
        fs_err::create_dir(&outside).unwrap();
        fs_err::write(outside.join("file"), SECRET).unwrap();
        fs_err::write(
            outside.join("Dockerfile"),
            "FROM busybox\nLABEL l=outside\n",
        )
        .unwrap();
        let target = outside.to_str().unwrap();
        let up = format!("../../../../../../../../..{target}");
        let mut copies = String::from("FROM busybox\nRUN mkdir /out\n");
        for source in ["absolute/file", "up/file", "direct", "up", "absolute"] {
            copies.push_str(&format!("COPY {source} /out/\n"));
            let context = dockerfile(&copies)
                .symlink("absolute", target)
                .symlink("up", &up)
                .symlink("direct", &format!("{target}/file"));
            let reply = build(&s.daemon, &context.finish());
            let text = reply.text();
            assert!(
                text.contains("not found")
                    || text.contains("no such file")
                    || text.contains("does not exist"),
                "{source}: {text}"
            );
            copies.truncate(copies.find("COPY").unwrap());
        }
        // Links to nowhere come along as links, and what the steps see below them is the image's.
        let steps = format!(
            "FROM busybox\nCOPY links /links\nRUN --mount=target=/c ! cat /c/links/up/file /c/links/absolute/file\n\
             RUN ! cat /links/up/file\nRUN --mount=target=/m,source=links/up true || true\nRUN ! ls {target}\n"
        );
        let context = dockerfile(&steps)
            .directory("links", 0o755)
            .symlink("links/up", &up)
            .symlink("links/absolute", target);
        let reply = build(&s.daemon, &context.finish());
        assert!(!reply.text().contains(SECRET), "{}", reply.text());
        // The Dockerfile, and what is ignored.
        for link in [format!("{target}/Dockerfile"), format!("{up}/Dockerfile")] {
            let context = Layer::new().symlink("Dockerfile", &link).finish();
            let reply = build(&s.daemon, &context);
            assert!(
                reply.text().contains("Cannot locate specified Dockerfile"),
                "{reply:?}"
            );
        }
        let context = dockerfile("FROM scratch\nCOPY file /\n")
            .file("file", 0o644, b"")
            .symlink(".dockerignore", &format!("{target}/file"));
        let reply = build(&s.daemon, &context.finish());
        assert!(!reply.text().contains(SECRET), "{}", reply.text());
        let named = format!("/build?dockerfile=../../../../../../../..{target}/Dockerfile");
        let context = dockerfile("FROM scratch\n").finish();
        let reply = s.daemon.send("POST", &named, "application/x-tar", &context);
        assert!(reply.text().contains("forbidden path"), "{reply:?}");
        is_clean(&s.daemon);
    });
}

#[test]
fn devices_and_pipes_of_a_context_are_not_opened() {
    with(Client::Hull, |s| {
        // Where a text is expected.
        for name in ["Dockerfile", ".dockerignore", "Dockerfile.dockerignore"] {
            for kind in [Fifo, Char, Block, Directory] {
                let mut context = Layer::new();
                if name != "Dockerfile" {
                    context = dockerfile("FROM scratch\nCOPY . /\n");
                }
                let reply = build(
                    &s.daemon,
                    &context.entry(name, kind, 0o644, None, b"").finish(),
                );
                let text = reply.text();
                assert!(
                    [
                        "not a regular file",
                        "is a directory",
                        "cannot be empty",
                        "Cannot locate",
                        "reading Dockerfile"
                    ]
                    .iter()
                    .any(|why| text.contains(why)),
                    "{name} {kind:?}: {text}"
                );
            }
        }
        // What is copied stays what it is, and is not read; a step may not use a device that it was not given.
        let text = "FROM busybox\nCOPY all /all\nCOPY all/pipe /one\nADD all/pipe /two\n\
            RUN test -p /all/pipe && test -p /one && test -p /two && test -c /all/memory && test -b /all/disk \
            && ! head -c 1 /all/memory && ! head -c 1 /all/disk && test -u /all/suid && echo fine\n";
        let context = dockerfile(text)
            .directory("all", 0o755)
            .entry("all/pipe", Fifo, 0o644, None, b"")
            .device("all/memory", Char, (1, 1))
            .device("all/disk", Block, (8, 0))
            .file("all/suid", 0o4755, b"x");
        let reply = build(&s.daemon, &context.finish());
        assert!(reply.text().contains("Successfully"), "{}", reply.text());
        is_clean(&s.daemon);
    });
}

#[test]
fn archives_that_lie_or_break_off_are_refused() {
    with(Client::Hull, |s| {
        let good = dockerfile("FROM scratch\nCOPY big /\n").file("big", 0o644, &[7; 100_000]);
        let good = good.finish();
        let gzipped = pack(&good, Packing::Gzip);
        let mut claims = good.clone();
        // The second header's size: all that eleven octal digits can say.
        let at = 1024 + 124;
        claims[at..at + 11].copy_from_slice(b"77777777777");
        let mut negative = good.clone();
        negative[at..at + 12].copy_from_slice(&[0xff; 12]);
        let mut flipped = gzipped.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 0xff;
        let long = "n".repeat(300);
        let deep = "d/".repeat(3000);
        let named = |path: &str| {
            let mut tar = tar::Builder::new(Vec::new());
            let mut header = tar::Header::new_gnu();
            header.set_size(0);
            header.set_mode(0o644);
            tar.append_data(&mut header, path, &[][..]).unwrap();
            tar.into_inner().unwrap()
        };
        let fixed = |mut bytes: Vec<u8>| {
            // The checksum of a header that was changed.
            bytes[1024 + 148..1024 + 156].fill(b' ');
            let sum: u32 = bytes[1024..1536].iter().map(|byte| u32::from(*byte)).sum();
            bytes[1024 + 148..1024 + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            bytes
        };
        for (what, context) in [
            ("nothing", Vec::new()),
            ("no archive", b"certainly no archive".repeat(100)),
            ("zeros", vec![0; 10_240]),
            ("broken off", good[..50_000].to_vec()),
            ("broken off in a header", good[..1100].to_vec()),
            (
                "packed and broken off",
                gzipped[..gzipped.len() - 20].to_vec(),
            ),
            ("packed and damaged", flipped),
            (
                "packed nonsense",
                [&[0x1f, 0x8b, 8, 0][..], &[0xaa; 1000]].concat(),
            ),
            ("a wrong checksum", claims.clone()),
            ("a size of 8 GiB", fixed(claims)),
            ("a negative size", fixed(negative)),
            ("a long name", named(&long)),
            ("a deep path", named(&deep)),
        ] {
            let reply = build(&s.daemon, &context);
            let refused = reply.status != 200 || reply.text().contains("errorDetail");
            assert!(refused, "{what}: {}", reply.text());
            assert!(!reply.text().contains("panic"), "{what}: {}", reply.text());
            is_clean(&s.daemon);
        }
        let reply = build(&s.daemon, &gzipped);
        assert!(reply.text().contains("Successfully"), "{}", reply.text());
        is_clean(&s.daemon);
    });
}

#[test]
fn a_client_that_stalls_harms_nobody() {
    with(Client::Hull, |s| {
        let context = dockerfile("FROM scratch\nCOPY big /\n").file("big", 0o644, &[7; 500_000]);
        let context = context.finish();
        let stalled: Vec<UnixStream> = (0..8)
            .map(|number| {
                let mut stream = UnixStream::connect(s.daemon.socket()).unwrap();
                let head = format!(
                    "POST /build HTTP/1.1\r\nHost: d\r\nContent-Type: application/x-tar\r\nContent-Length: {}\r\n\r\n",
                    context.len()
                );
                stream.write_all(head.as_bytes()).unwrap();
                stream.write_all(&context[..number * 60_000]).unwrap();
                stream
            })
            .collect();
        wait_until("their contexts begin to come", || {
            let begun = fs_err::read_dir(s.daemon.path("data/build"));
            let begun = begun.map_or(0, Iterator::count);
            (begun == stalled.len()).then_some(()).ok_or(begun)
        });
        // Others go on.
        let reply = build(&s.daemon, &context);
        assert!(reply.text().contains("Successfully"), "{}", reply.text());
        let _ = s.line("run --rm --network none busybox true").ok();
        drop(stalled);
        is_clean(&s.daemon);
        // One that is gone when its steps run ends them; one that asks for another's step does not.
        let context = dockerfile("FROM busybox\nRUN echo begun; sleep 1000\n").finish();
        let mut stream = UnixStream::connect(s.daemon.socket()).unwrap();
        let head = format!(
            "POST /build HTTP/1.1\r\nHost: d\r\nContent-Type: application/x-tar\r\nContent-Length: {}\r\n\r\n",
            context.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&context).unwrap();
        let mut said = Vec::new();
        while !said.windows(5).any(|bytes| bytes == b"begun") {
            let mut buffer = [0; 4096];
            let count = std::io::Read::read(&mut stream, &mut buffer).unwrap();
            assert!(count > 0, "{}", String::from_utf8_lossy(&said));
            said.extend(&buffer[..count]);
        }
        drop(stream);
        wait_until("the step's processes end", || {
            let left = s.daemon.shims();
            left.is_empty().then_some(()).ok_or(left)
        });
        is_clean(&s.daemon);
    });
}
