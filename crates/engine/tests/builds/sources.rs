//! Sources that are elsewhere, from servers on the loopback of the test's own network namespace.

use super::*;
use hull_engine::build::attest::{Built, Wanted};
use hull_engine::build::graph::{GitSource, HttpSource};
use hull_engine::build::plan::Request;
use hull_engine::build::{Part, frontend};
use std::collections::HashMap;
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

/// A page: its bytes and further lines of the answer's head.
type Pages = HashMap<&'static str, (Vec<u8>, String)>;

/// A server of pages that can change. Counts whole answers.
#[derive(Clone)]
struct Server {
    pages: Arc<Mutex<Pages>>,
    given: Arc<Mutex<Vec<String>>>,
    url: String,
}

impl Server {
    fn new() -> Self {
        hull_linux::namespace::bring_up_loopback().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            pages: Arc::default(),
            given: Arc::default(),
            url: format!("http://{}", listener.local_addr().unwrap()),
        };
        let serving = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serving.answer(&mut stream.unwrap());
            }
        });
        server
    }

    fn set(&self, path: &'static str, bytes: &[u8], head: &str) {
        let mut pages = self.pages.lock().unwrap();
        pages.insert(path, (bytes.to_vec(), head.to_owned()));
    }

    fn given(&self) -> usize {
        std::mem::take(&mut *self.given.lock().unwrap()).len()
    }

    fn answer(&self, stream: &mut TcpStream) {
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
            request.push(byte[0]);
        }
        let request = String::from_utf8_lossy(&request).into_owned();
        let path = request.split(' ').nth(1).unwrap_or_default();
        let pages = self.pages.lock().unwrap();
        let Some((bytes, head)) = pages.get(path) else {
            let _ = stream.write_all(
                b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            );
            return;
        };
        let tag = head.lines().find_map(|line| line.strip_prefix("ETag: "));
        let asked = request
            .lines()
            .find_map(|line| line.strip_prefix("if-none-match: "));
        if tag.is_some() && tag == asked {
            let _ = stream.write_all(b"HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n");
            return;
        }
        self.given.lock().unwrap().push(path.to_owned());
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n{head}\r\n",
            bytes.len()
        );
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(bytes);
    }
}

fn solve(engine: &Arc<Engine>, source: Source) -> Result<Solution, String> {
    let mut build = Build::new(Path::new("/"));
    let output = build.op(Op::Source(source), Vec::new());
    let (solved, _) = build.solve(engine, output);
    solved.map_err(|error| error.to_string())
}

#[test]
fn pages_are_files_and_are_asked_for_by_their_tags() {
    let Some(host) = Host::new() else { return };
    let server = Server::new();
    with(&host, move |engine| {
        let source = |path: &str| HttpSource {
            url: format!("{}{path}", server.url),
            ..HttpSource::default()
        };
        let http = |source| solve(&engine, Source::Http(source));
        let modified = "ETag: \"1\"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
        server.set("/a/b.txt", b"one", modified);
        let first = http(source("/a/b.txt")).unwrap();
        assert_eq!(list(&engine, &first), ["b.txt 600 0:0 3"]);
        let bytes = packed(&engine, &first);
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entry = archive.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(entry.header().mtime().unwrap(), 784_111_777);
        let again = http(source("/a/b.txt")).unwrap();
        assert_eq!(
            (server.given(), &again.id),
            (1, &first.id),
            "it has not changed"
        );

        server.set("/a/b.txt", b"two", "ETag: \"2\"\r\n");
        let changed = http(source("/a/b.txt")).unwrap();
        assert_ne!(changed.id, first.id);
        assert_eq!(read(&engine, &changed, "b.txt"), "two");
        let named = HttpSource {
            filename: "c".to_owned(),
            mode: Some(0o755),
            uid: 7,
            gid: 8,
            ..source("/a/b.txt")
        };
        assert_eq!(list(&engine, &http(named).unwrap()), ["c 755 7:8 3"]);

        let error = http(source("/none")).unwrap_err();
        assert_eq!(
            error,
            "failed to solve: failed to load cache key: invalid response status 404"
        );
        let wrong = HttpSource {
            checksum: Some(hull_engine::Digest::from_sha256(&[7; 32])),
            ..source("/a/b.txt")
        };
        let error = http(wrong).unwrap_err();
        assert!(error.contains("digest mismatch sha256:"), "{error}");
        let nobody = HttpSource {
            url: "http://127.0.0.1:1/x".to_owned(),
            ..HttpSource::default()
        };
        assert!(http(nobody).is_err());
    });
}

#[test]
fn contexts_are_archives_or_dockerfiles_of_the_web() {
    let Some(host) = Host::new() else { return };
    let server = Server::new();
    let mut archive = tar::Builder::new(Vec::new());
    for (name, text) in [
        ("Dockerfile", "FROM scratch\nCOPY x /y\n"),
        ("other/Dockerfile", "FROM scratch\nCOPY other /z\n"),
        ("x", "from the archive"),
        (".dockerignore", "x"),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        archive
            .append_data(&mut header, name, text.as_bytes())
            .unwrap();
    }
    server.set("/c.tar", &archive.into_inner().unwrap(), "");
    let dockerfile = format!(
        "FROM scratch\nADD {0}/f%20g /\nADD {0}/h /dir/k\n",
        server.url
    );
    server.set("/D", dockerfile.as_bytes(), "");
    server.set("/f%20g", b"f g", "");
    server.set("/h", b"h", "");
    with(&host, move |engine| {
        let build = |attributes: &[(&str, &str)]| {
            build_file(&engine, Path::new("/nowhere"), attributes).map(|(files, _)| files)
        };
        let url = |path: &str| format!("{}{path}", server.url);
        let made = build(&[("context", &url("/c.tar"))]).unwrap();
        assert_eq!(read(&engine, &made, "y"), "from the archive");
        assert_eq!(
            server.given(),
            1,
            "once for the Dockerfile and for the files"
        );
        let made = build(&[
            ("context", &url("/c.tar")),
            ("filename", "other/Dockerfile"),
        ])
        .unwrap();
        assert!(
            list(&engine, &made)
                .iter()
                .any(|line| line.starts_with("z/Dockerfile "))
        );
        let made = build(&[("context", &url("/D"))]).unwrap();
        assert_eq!(read(&engine, &made, "f g"), "f g");
        assert_eq!(read(&engine, &made, "dir/k"), "h");
        let error = build(&[("context", &url("/none"))]).unwrap_err();
        assert_eq!(
            error,
            "failed to read downloaded context: failed to load cache key: invalid response status 404"
        );
        let error = build(&[("context", &url("/c.tar")), ("filename", "none")]).unwrap_err();
        assert!(error.contains("open none: no such file"), "{error}");
    });
}

/// Builds what a Dockerfile says: its files and config.
fn build_file(
    engine: &Arc<Engine>,
    context: &Path,
    attributes: &[(&str, &str)],
) -> Result<(Solution, Vec<u8>), String> {
    let context = Context {
        client: Arc::new(Someone(context.to_owned())),
        watch: Arc::new(Told::default()),
        cancel: Cancel::new(),
        platform: Platform::host(),
        sources: KnownSources::default(),
    };
    let attributes = attributes.iter();
    let request = Request {
        attributes: attributes
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        ..Request::default()
    };
    let solver = engine.solver();
    let plan = frontend::plan(&request, &solver, &context).map_err(|e| e.text)?;
    let target = plan.images[0].output.unwrap();
    let solved = solver.solve(&plan.graph, &[target], &context);
    let files = solved.map_err(|error| error.to_string())?.remove(0);
    Ok((files, plan.images[0].config.clone()))
}

/// A server of repositories, ended with this.
struct GitServer(std::process::Child);

impl Drop for GitServer {
    fn drop(&mut self) {
        // The server is a child of the program that was started.
        let group = rustix::process::Pid::from_raw(self.0.id().try_into().unwrap()).unwrap();
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
        self.0.wait().unwrap();
    }
}

pub(super) fn git(directory: &Path, words: &[&str]) -> String {
    let mut command = Command::new("git");
    command.args([
        "-c",
        "user.name=n",
        "-c",
        "user.email=e@x",
        "-c",
        "protocol.file.allow=always",
    ]);
    let output = command.args(words).current_dir(directory).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {words:?}: {complaint}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A repository with a commit.
pub(super) fn make_repository(directory: &Path, name: &str) -> PathBuf {
    let path = directory.join(name);
    fs_err::create_dir_all(path.join("d/e")).unwrap();
    git(&path, &["init", "-q", "-b", "trunk"]);
    fs_err::write(path.join("f"), format!("{name} one")).unwrap();
    fs_err::write(path.join("d/e/g"), "deep").unwrap();
    std::os::unix::fs::symlink("../../../../etc/passwd", path.join("d/out")).unwrap();
    git(&path, &["add", "."]);
    git(&path, &["commit", "-q", "-m", "one"]);
    path
}

/// Repositories `main.git` and `part.git`, the second a submodule of the first; `None` without git's server.
fn serve_repositories(directory: &Path) -> Option<(GitServer, String)> {
    let make = |name: &str| make_repository(directory, name);
    let port = {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().port()
    };
    make("part.git");
    let main = make("main.git");
    git(&main, &["tag", "-a", "-m", "tagged", "v1"]);
    let first = git(&main, &["rev-parse", "HEAD"]);
    fs_err::write(main.join("f"), "main two").unwrap();
    git(&main, &["commit", "-q", "-a", "-m", "two"]);
    let url = format!("git://127.0.0.1:{port}");
    let mut server = Command::new("git");
    let base = format!("--base-path={}", directory.display());
    let port = format!("--port={port}");
    server.args([
        "daemon",
        "--export-all",
        "--reuseaddr",
        "--verbose",
        "--listen=127.0.0.1",
    ]);
    server.args([&base, &port]).env("GIT_CONFIG_COUNT", "1");
    server
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*");
    server
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = std::os::unix::process::CommandExt::process_group(&mut server, 0)
        .spawn()
        .ok()?;
    let mut told = Vec::new();
    let mut err = child.stderr.take().unwrap();
    let mut byte = [0];
    while err.read(&mut byte).unwrap() == 1 {
        told.push(byte[0]);
        if told.ends_with(b"Ready to rumble\n") {
            // What it says further is read, so that it never waits for that.
            std::thread::spawn(move || std::io::copy(&mut err, &mut std::io::sink()));
            let server = GitServer(child);
            git(
                &main,
                &[
                    "submodule",
                    "--quiet",
                    "add",
                    &format!("{url}/part.git"),
                    "sub",
                ],
            );
            git(&main, &["commit", "-q", "-m", "three"]);
            assert_eq!(first.len(), 40);
            return Some((server, url));
        }
    }
    child.wait().unwrap();
    None
}

#[test]
fn repositories_are_brought_by_commit() {
    let Some(host) = Host::new() else { return };
    hull_linux::namespace::bring_up_loopback().unwrap();
    let directory = host.path("repositories");
    let Some((server, url)) = serve_repositories(&directory) else {
        let _ = writeln!(std::io::stderr(), "skipped: there is no git daemon");
        return;
    };
    with(&host, move |engine| {
        let main = GitSource {
            remote: format!("{url}/main.git"),
            ..GitSource::default()
        };
        let at = |reference: &str| GitSource {
            reference: reference.to_owned(),
            ..main.clone()
        };
        let bring = |source: GitSource| solve(&engine, Source::Git(source));
        let whole = bring(main.clone()).unwrap();
        let names = list(&engine, &whole).join("\n");
        assert_eq!(read(&engine, &whole, "f"), "main two");
        assert_eq!(read(&engine, &whole, "sub/f"), "part.git one");
        assert!(
            !names.lines().any(|line| line.starts_with(".git/")),
            "{names}"
        );
        let tagged = bring(at("v1")).unwrap();
        assert_eq!(read(&engine, &tagged, "f"), "main.git one");
        let repository = directory.join("main.git");
        let commit = git(&repository, &["rev-parse", "v1^{commit}"]);
        let same = bring(at(&commit)).unwrap();
        assert_eq!(same.id, tagged.id, "a commit is a commit");
        let part = bring(GitSource {
            subdir: "d/e".to_owned(),
            ..at("refs/heads/trunk")
        });
        assert_eq!(list(&engine, &part.unwrap()), ["g 644 0:0 4"]);
        let kept = bring(GitSource {
            keep_git_dir: true,
            skip_submodules: true,
            checksum: commit[..12].to_owned(),
            ..at("v1")
        });
        let kept = kept.unwrap();
        assert_eq!(read(&engine, &kept, ".git/HEAD").trim(), commit);
        let names = list(&engine, &kept).join("\n");
        assert!(!names.contains("sub/f"), "{names}");

        for (source, says) in [
            (
                at("none"),
                "repository does not contain ref none, output: \"\"",
            ),
            (
                GitSource {
                    checksum: "abcd".to_owned(),
                    ..at("v1")
                },
                "expected checksum to match abcd, got",
            ),
            (
                GitSource {
                    subdir: "d/out".to_owned(),
                    ..main.clone()
                },
                "invalid subdir",
            ),
            (
                GitSource {
                    subdir: "../..".to_owned(),
                    ..main.clone()
                },
                "",
            ),
            (
                GitSource {
                    remote: format!("{url}/no.git"),
                    ..main.clone()
                },
                "error fetching default branch for repository git://",
            ),
            (
                GitSource {
                    remote: repository.display().to_string(),
                    ..main.clone()
                },
                "invalid git remote",
            ),
        ] {
            match bring(source) {
                Err(error) => assert!(error.contains(says), "{error}"),
                // `..` ends at the repository's root.
                Ok(made) => assert!(says.is_empty() && list(&engine, &made).len() > 3),
            }
        }
        assert_eq!(
            fs_err::read_dir(host_data(&engine).join("sources/checkout"))
                .unwrap()
                .count(),
            0
        );
        drop(server);
        // What is here needs nobody any more.
        bring(at(&commit)).unwrap();
    });
}

fn host_data(engine: &Engine) -> PathBuf {
    engine.data_root().to_owned()
}

#[test]
fn two_daemons_make_one_image_of_an_epoch() {
    let text = "FROM test\nCOPY . /copied/\nRUN mkdir -p /made/x && echo a > /made/a && ln /made/a /made/b && rm /home/greeting\n\
                WORKDIR /made/y\nENV a=b\n";
    let make = |second: i64| {
        let host = Host::new()?;
        let context = context_dir(&host);
        fs_err::write(context.join("Dockerfile"), text).unwrap();
        let time = rustix::fs::Timespec {
            tv_sec: second,
            tv_nsec: 5,
        };
        let times = rustix::fs::Timestamps {
            last_access: time,
            last_modification: time,
        };
        for name in ["a.txt", "d", "d/c"] {
            let file = fs_err::File::open(context.join(name)).unwrap();
            rustix::fs::futimens(&file, &times).unwrap();
        }
        Some(with(&host, move |engine| {
            let epoch = ("build-arg:SOURCE_DATE_EPOCH", "1700000000");
            let (files, config) = build_file(&engine, &context, &[epoch]).unwrap();
            let export = |epoch| {
                engine
                    .export_image(Some(&files), &config, &[], epoch)
                    .unwrap()
                    .id
            };
            let made = export(Some(1_700_000_000));
            assert_ne!(made, export(None), "the same steps with their own times");
            assert_eq!(made, export(Some(1_700_000_000)));
            inline_names_layers_of_the_image(&engine, &context, &files, &config);
            made
        }))
    };
    let Some(first) = make(1_800_000_000) else {
        return;
    };
    assert_eq!(Some(first), make(1_900_000_000));
}

/// What an image's config says of the cache is of use only if the layers are the image's.
fn inline_names_layers_of_the_image(
    engine: &Arc<Engine>,
    context: &Path,
    files: &Solution,
    config: &[u8],
) {
    let epoch = Some(1_700_000_000);
    let solved = (&Build::new(context).graph, files);
    let config = engine.with_inline_cache(config, solved, epoch).unwrap();
    let image = engine.export_image(Some(files), &config, &[], epoch);
    let config = document(engine, &image.unwrap().id.to_string());
    let own = config["rootfs"]["diff_ids"].as_array().unwrap();
    let results = config["io.hull.cache.v0"]["results"].as_array().unwrap();
    let outputs = results
        .iter()
        .filter_map(|result| result["outputs"].as_array());
    let layers = outputs
        .flatten()
        .flat_map(|output| output.as_array().unwrap());
    let layers: Vec<_> = layers.collect();
    assert!(!layers.is_empty() && layers.iter().all(|layer| own.contains(layer)));
}

/// A document of the store.
fn document(engine: &Engine, digest: &str) -> serde_json::Value {
    let hex = digest.strip_prefix("sha256:").unwrap();
    let path = engine.data_root().join("blobs/sha256").join(hex);
    serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap()
}

#[test]
fn several_platforms_become_an_index_with_what_is_attested() {
    let Some(mut host) = Host::new() else { return };
    let context = context_dir(&host);
    fs_err::create_dir_all(context.join("var/lib/dpkg")).unwrap();
    let status = "Package: bash\nStatus: install ok installed\nVersion: 5\nArchitecture: all\n";
    fs_err::write(context.join("var/lib/dpkg/status"), status).unwrap();
    let text = "FROM scratch\nARG TARGETARCH SECRET\nCOPY var /var\nCOPY a.txt /$TARGETARCH\n";
    fs_err::write(context.join("Dockerfile"), text).unwrap();
    let made = with(&host, move |engine| {
        let context = Context {
            client: Arc::new(Someone(context)),
            watch: Arc::new(Told::default()),
            cancel: Cancel::new(),
            platform: Platform::host(),
            sources: KnownSources::default(),
        };
        let attributes = [
            ("platform", "linux/amd64,linux/arm64"),
            ("build-arg:SECRET", "hush"),
            ("attest:provenance", "mode=min"),
            ("attest:sbom", ""),
        ];
        let attributes = attributes.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let request = Request {
            attributes: attributes.into_iter().collect(),
            ..Request::default()
        };
        let wanted = Wanted::read(&request.attributes, true).unwrap();
        let solver = engine.solver();
        let plan = frontend::plan(&request, &solver, &context).unwrap();
        let targets: Vec<_> = plan
            .images
            .iter()
            .filter_map(|image| image.output)
            .collect();
        let solved = solver.solve(&plan.graph, &targets, &context).unwrap();
        let parts = plan.images.iter().zip(&solved).map(|(image, files)| {
            let built = Built {
                plan: &plan,
                image,
                sources: &context.sources,
                id: "one",
            };
            Part {
                files: Some(files),
                config: &image.config,
                attestations: engine.attestations(&wanted, &built, Some(files)).unwrap(),
            }
        });
        let parts: Vec<_> = parts.collect();
        let names = ["multi:latest".parse().unwrap()];
        engine.export_index(&parts, &names, None).unwrap()
    });
    // What is kept beside images outlives the daemon.
    host.stop();
    host.start();
    let index = made.descriptor.digest.to_string();
    let attestation = with(&host, move |engine| {
        let index = document(&engine, &index);
        let manifests = index["manifests"].as_array().unwrap().clone();
        let platforms: Vec<&str> = manifests
            .iter()
            .map(|entry| entry["platform"]["architecture"].as_str().unwrap())
            .collect();
        assert_eq!(platforms, ["amd64", "arm64", "unknown", "unknown"]);
        let about = &manifests[2]["annotations"];
        assert_eq!(about["vnd.docker.reference.type"], "attestation-manifest");
        assert_eq!(about["vnd.docker.reference.digest"], manifests[0]["digest"]);
        let image = document(&engine, manifests[1]["digest"].as_str().unwrap());
        assert_eq!(image["layers"].as_array().unwrap().len(), 2);
        let attestation = manifests[2]["digest"].as_str().unwrap().to_owned();
        let manifest = document(&engine, &attestation);
        let layers = manifest["layers"].as_array().unwrap();
        let spdx = document(&engine, layers[0]["digest"].as_str().unwrap());
        assert_eq!(spdx["predicate"]["packages"][0]["name"], "bash");
        let slsa = document(&engine, layers[1]["digest"].as_str().unwrap());
        assert_eq!(
            slsa["subject"][0]["name"],
            "pkg:docker/multi@latest?platform=linux%2Famd64"
        );
        assert!(!slsa.to_string().contains("hush"));
        attestation
    });
    host.block_on(async |engine| {
        let history = engine.image_history("multi", None).await.unwrap();
        assert_eq!(history.len(), 3);
        let options = hull_engine::image::RemoveOptions {
            force: true,
            ..hull_engine::image::RemoveOptions::default()
        };
        engine.image_remove("multi", options).await.unwrap();
        let hex = attestation.strip_prefix("sha256:").unwrap();
        let path = engine.data_root().join("blobs/sha256").join(hex);
        assert!(!path.exists(), "it goes with its index");
    });
}
