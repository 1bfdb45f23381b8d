//! `docker buildx`, `bake` and `docker compose build`, unmodified, with their default driver.
//!
//! `$HULL_TEST_BUILDX` and `$HULL_TEST_COMPOSE` are the programs: `scripts/test` provides those of Debian's newer releases.

use hull_tests::client::Client;
use hull_tests::command::{self, Finished};
use hull_tests::daemon::wait_until;
use hull_tests::setup::{Setup, with};
use serde_json::Value;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A directory with files, and buildx.
struct Bench<'s, 'h> {
    s: &'s Setup<'h>,
    dir: tempfile::TempDir,
    config: PathBuf,
}

fn program(variable: &str) -> Option<PathBuf> {
    let found = std::env::var_os(variable).map(PathBuf::from);
    hull_tests::can_run(variable, found.is_some()).then_some(found?)
}

impl<'s, 'h> Bench<'s, 'h> {
    fn new(s: &'s Setup<'h>, buildx: &Path) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("hull-test-")
            .tempdir()
            .expect("test data");
        let config = dir.path().join("config");
        let plugins = config.join("cli-plugins");
        fs_err::create_dir_all(&plugins).expect("test data");
        fs_err::os::unix::fs::symlink(buildx, plugins.join("docker-buildx")).expect("test data");
        Self { s, dir, config }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs_err::read_to_string(self.path(name)).expect("a file that was made")
    }

    fn write(&self, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = self.path(name);
            fs_err::create_dir_all(path.parent().expect("test data")).expect("test data");
            fs_err::write(path, text).expect("test data");
        }
    }

    /// A context of these files.
    fn context(&self, files: &[(&str, &str)]) {
        let _ = fs_err::remove_dir_all(self.path("c"));
        for (name, text) in files {
            self.write(&[(&format!("c/{name}"), text)]);
        }
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env("DOCKER_HOST", self.s.daemon.address())
            .env("DOCKER_CONFIG", &self.config)
            .env_remove("HULL_HOST")
            .env("BUILDKIT_PROGRESS", "plain")
            .current_dir(self.dir.path());
        command
    }

    fn docker(&self) -> Command {
        self.command(Path::new("docker"))
    }

    fn run(&self, line: &str) -> Finished {
        let words = line.split(' ').filter(|word| !word.is_empty());
        command::run(self.docker().args(words), &[])
    }

    /// Builds the context.
    fn build(&self, line: &str) -> Finished {
        self.run(&format!("buildx build {line} c"))
    }
}

fn with_buildx(test: impl Fn(&Bench<'_, '_>)) {
    let Some(buildx) = program("HULL_TEST_BUILDX") else {
        return;
    };
    if !Client::available().contains(&Client::Docker) {
        return;
    }
    with(Client::Docker, |s| test(&Bench::new(s, &buildx)));
}

const STAGES: &str = "FROM busybox AS made\nARG WHAT=nothing\nRUN echo \"made of $WHAT\" > /made && echo said\n\
    FROM busybox\nCOPY --from=made /made /made\nCOPY d /d\nLABEL a=b\nCMD [\"cat\", \"/made\", \"/d/file\"]\n";

#[test]
fn images_are_loaded_pushed_and_exported() {
    with_buildx(|b| {
        b.context(&[("Dockerfile", STAGES), ("d/file", "from the client\n")]);
        loaded(b);
        pushed(b);
        exported(b);
        as_archives(b);
        several_platforms(b);
        used_and_pruned(b);
    });
}

fn loaded(b: &Bench<'_, '_>) {
    let line = "--load -t one -t two:2 --build-arg WHAT=wood --iidfile id --metadata-file about";
    let built = b.build(line);
    let _ = built.ok();
    for text in [
        "[internal] load build definition from Dockerfile",
        "transferring dockerfile:",
        "[internal] load metadata for docker.io/library/busybox:latest",
        "[made 2/2] RUN echo \"made of wood\" > /made && echo said",
        "said",
        "[stage-1 2/3] COPY --from=made /made /made",
        "exporting to image",
        "naming to docker.io/library/one:latest",
        "naming to docker.io/library/two:2",
    ] {
        assert!(built.stderr.contains(text), "{text}: {}", built.stderr);
    }
    for image in ["one", "two:2"] {
        let run = b.run(&format!("run --rm {image}"));
        assert_eq!(run.ok(), "made of wood\nfrom the client");
    }
    let id = b.run("image inspect -f {{.Id}} one");
    assert_eq!(b.text("id"), id.ok());
    let about: Value = serde_json::from_str(&b.text("about")).expect("JSON");
    assert_eq!(
        about["image.name"],
        "docker.io/library/one:latest,docker.io/library/two:2"
    );
    assert_eq!(about["containerimage.config.digest"], id.ok());
    // Nothing has changed, and then only a file.
    let again = b.build("-t one --build-arg WHAT=wood");
    let _ = again.ok();
    assert!(
        !again.stderr.contains("\nsaid\n") && again.stderr.contains("CACHED"),
        "{again:?}"
    );
    b.write(&[("c/d/file", "changed\n")]);
    let changed = b.build("-q -t one --build-arg WHAT=wood");
    assert!(changed.ok().starts_with("sha256:"), "{changed:?}");
    assert_eq!(b.run("run --rm one").ok(), "made of wood\nchanged");
}

fn pushed(b: &Bench<'_, '_>) {
    let name = format!("{}/pushed", b.s.registry.host());
    let built = b.build(&format!(
        "--push -t {name}:1 -t {name}:2 --metadata-file about"
    ));
    let _ = built.ok();
    let about: Value = serde_json::from_str(&b.text("about")).expect("JSON");
    let digest = about["containerimage.digest"].as_str().expect("a digest");
    for tag in ["1", "2", digest] {
        let (status, manifest) =
            b.s.registry
                .get(b.s.host, &format!("/v2/pushed/manifests/{tag}"));
        assert_eq!(status, 200, "{tag}");
        assert_eq!(hull_tests::image::digest(&manifest).to_string(), digest);
    }
    let text = format!("pushing manifest for {name}:1@{digest}");
    assert!(built.stderr.contains(&text), "{}", built.stderr);
    let _ = b.run(&format!("image rm {name}:1 {name}:2")).ok();
    let run = b.run(&format!("run --rm {name}:2"));
    assert_eq!(run.ok(), "made of nothing\nchanged");
    let _ = b.run(&format!("image rm {name}:2")).ok();
    let refused = b.build("--push -t 127.0.0.1:1/nobody:1");
    assert!(
        refused
            .fails(1)
            .contains("failed to push 127.0.0.1:1/nobody:1"),
        "{refused:?}"
    );
}

fn exported(b: &Bench<'_, '_>) {
    let dockerfile = "FROM busybox AS b\nRUN mkdir /o && echo hi >/o/f && chmod 750 /o/f && ln -s f /o/l\nFROM scratch\nCOPY --from=b /o /o\n";
    b.context(&[("Dockerfile", dockerfile)]);
    let _ = b.build("-o out").ok();
    assert_eq!(b.text("out/o/f"), "hi\n");
    let link = fs_err::read_link(b.path("out/o/l")).expect("a link");
    assert_eq!(link, Path::new("f"));
    let mode = fs_err::metadata(b.path("out/o/f"))
        .expect("a file")
        .permissions();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777,
        0o750
    );
    b.context(&[(
        "Dockerfile",
        "FROM scratch\nARG TARGETARCH\nCOPY Dockerfile /$TARGETARCH\n",
    )]);
    let _ = b.build("--platform linux/amd64,linux/arm64 -o both").ok();
    for arch in ["amd64", "arm64"] {
        assert!(b.path(&format!("both/linux_{arch}/{arch}")).is_file());
    }
    b.context(&[("Dockerfile", dockerfile)]);
    let _ = b.build("-o type=tar,dest=out.tar").ok();
    let listed = command::run(Command::new("tar").arg("-tf").arg(b.path("out.tar")), &[]);
    assert!(listed.ok().contains("o/f"), "{listed:?}");
}

fn as_archives(b: &Bench<'_, '_>) {
    b.context(&[(
        "Dockerfile",
        "FROM busybox\nRUN echo archived >/a\nCMD cat /a\n",
    )]);
    let _ = b
        .build("-t three:3 -o type=docker,dest=docker.tar --metadata-file about")
        .ok();
    let about: Value = serde_json::from_str(&b.text("about")).expect("JSON");
    assert_ne!(
        b.run("image inspect three:3").code,
        0,
        "only the archive has it"
    );
    let _ = b.run("load -q -i docker.tar").ok();
    assert_eq!(b.run("run --rm three:3").ok(), "archived");
    let _ = b.build("-t four:4 -o type=oci,dest=oci.tar").ok();
    let index = command::run(
        Command::new("tar")
            .args(["-xOf"])
            .arg(b.path("oci.tar"))
            .arg("index.json"),
        &[],
    );
    let index: Value = serde_json::from_str(index.ok()).expect("JSON");
    let manifest = &index["manifests"][0];
    assert_eq!(
        manifest["annotations"]["org.opencontainers.image.ref.name"],
        "4"
    );
    assert_eq!(manifest["digest"], about["containerimage.digest"]);
    let _ = b.run("load -q -i oci.tar").ok();
    assert_eq!(b.run("run --rm four:4").ok(), "archived");
    from_layout(b);
    attested(b);
}

/// A stage that begins with an image of a layout, whose blobs only the client has.
fn from_layout(b: &Bench<'_, '_>) {
    b.context(&[("Dockerfile", "FROM busybox\nRUN echo laid out >/l\n")]);
    let _ = b.build("-o type=oci,dest=layout.tar").ok();
    let _ = b.run("buildx prune -a -f").ok();
    let layout = b.path("layout");
    fs_err::create_dir(&layout).expect("test data");
    let mut unpack = Command::new("tar");
    let unpack = unpack.arg("-xf").arg(b.path("layout.tar"));
    let _ = command::run(unpack.arg("-C").arg(&layout), &[]).ok();
    b.context(&[("Dockerfile", "FROM below\nRUN cat /l >/copy\n")]);
    let context = format!("--build-context below=oci-layout://{}", layout.display());
    let _ = b.build(&format!("{context} -t laid")).ok();
    assert_eq!(b.run("run --rm laid cat /copy").ok(), "laid out");
}

/// A layout has an image, and its packages and its steps beside it.
fn is_attested(b: &Bench<'_, '_>, layout: &str) {
    let json = |path: String| -> Value {
        serde_json::from_str(&b.text(&format!("{layout}/{path}"))).expect("JSON")
    };
    let blob = |of: &Value| {
        let digest = of["digest"].as_str().expect("a digest");
        json(digest.replace("sha256:", "blobs/sha256/"))
    };
    let index = json("index.json".to_owned());
    let index = blob(&index["manifests"][0]);
    let [image, beside] = index["manifests"].as_array().expect("manifests").as_slice() else {
        panic!("an image and what is attested of it: {index}");
    };
    let of = &beside["annotations"]["vnd.docker.reference.digest"];
    assert_eq!(*of, image["digest"]);
    let statements = blob(beside);
    let sbom = blob(&statements["layers"][0]);
    assert_eq!(sbom["predicate"]["packages"][0]["name"], "base-files");
    let provenance = blob(&statements["layers"][1]);
    let steps = &provenance["predicate"]["buildConfig"]["llbDefinition"];
    let copies = |step: &Value| step["op"]["Op"]["file"].is_object();
    let steps = steps.as_array().expect("steps");
    assert!(steps.iter().any(copies), "{provenance}");
}

/// What is attested goes with images in layouts, and lies beside files without one.
fn attested(b: &Bench<'_, '_>) {
    const IMAGE: &str =
        "Package: base-files\nVersion: 12.4\nArchitecture: amd64\nMaintainer: M <m@example.org>\n";
    let dockerfile = "FROM scratch\nCOPY f /d/f\nCOPY p /var/lib/dpkg/status.d/base-files\n";
    b.context(&[("Dockerfile", dockerfile), ("f", "file"), ("p", IMAGE)]);
    let terms = "--provenance=mode=max --sbom=true -t attested:1";
    let _ = b
        .build(&format!("{terms} -o type=oci,dest=attested.tar"))
        .ok();
    let _ = b
        .build(&format!("{terms} -o type=oci,dest=attested,tar=false"))
        .ok();
    fs_err::create_dir(b.path("unpacked")).expect("test data");
    let mut unpack = Command::new("tar");
    let unpack = unpack.arg("-xf").arg(b.path("attested.tar")).arg("-C");
    let _ = command::run(unpack.arg(b.path("unpacked")), &[]).ok();
    for layout in ["unpacked", "attested"] {
        is_attested(b, layout);
    }
    let _ = b.run("load -q -i attested.tar").ok();
    let _ = b.run("image rm attested:1").ok();
    let _ = b
        .build("--sbom=true --provenance=mode=min -o type=local,dest=loose,attestation-prefix=my-")
        .ok();
    let _ = b.build("--sbom=true -o type=tar,dest=loose.tar").ok();
    let sbom: Value = serde_json::from_str(&b.text("loose/my-sbom.spdx.json")).expect("JSON");
    let about: Vec<&str> = sbom["subject"]
        .as_array()
        .expect("files")
        .iter()
        .filter_map(|file| file["name"].as_str())
        .collect();
    assert_eq!(about, ["d/f", "var/lib/dpkg/status.d/base-files"]);
    assert_eq!(b.text("loose/d/f"), "file");
    assert!(b.path("loose/my-provenance.json").is_file());
    let mut list = Command::new("tar");
    let list = command::run(list.arg("-tf").arg(b.path("loose.tar")), &[]);
    assert!(
        list.ok().lines().any(|name| name == "sbom.spdx.json"),
        "{list:?}"
    );
    assert!(
        !list.ok().contains("provenance"),
        "only for images: {list:?}"
    );
}

fn several_platforms(b: &Bench<'_, '_>) {
    let dockerfile = "FROM scratch\nARG TARGETARCH HUSH\nCOPY f /$TARGETARCH\n";
    b.context(&[("Dockerfile", dockerfile), ("f", "file")]);
    let name = format!("{}/several", b.s.registry.host());
    let _ = b
        .build(&format!(
            "--platform linux/amd64,linux/arm64 --build-arg HUSH=secret --provenance=mode=min --sbom=true --push -t {name}:1 --metadata-file about"
        ))
        .ok();
    let about: Value = serde_json::from_str(&b.text("about")).expect("JSON");
    let get = |path: String| -> Value {
        let (status, body) = b.s.registry.get(b.s.host, &format!("/v2/several/{path}"));
        assert_eq!(status, 200, "{path}");
        serde_json::from_slice(&body).expect("JSON")
    };
    let digest = about["containerimage.digest"].as_str().expect("a digest");
    let index = get(format!("manifests/{digest}"));
    assert_eq!(index, get("manifests/1".to_owned()));
    let manifests = index["manifests"].as_array().expect("manifests");
    let platforms = manifests
        .iter()
        .map(|entry| entry["platform"]["architecture"].as_str());
    let expected = ["amd64", "arm64", "unknown", "unknown"].map(Some);
    assert!(platforms.eq(expected), "{index}");
    let attested = &manifests[3];
    assert_eq!(
        attested["annotations"]["vnd.docker.reference.digest"],
        manifests[1]["digest"]
    );
    let attested = attested["digest"].as_str().expect("a digest");
    let manifest = get(format!("manifests/{attested}"));
    let statements = manifest["layers"].as_array().expect("layers").iter();
    let kinds: Vec<String> = statements
        .map(|layer| {
            let digest = layer["digest"].as_str().expect("a digest");
            let statement = get(format!("blobs/{digest}"));
            assert!(!statement.to_string().contains("secret"), "{statement}");
            statement["predicateType"]
                .as_str()
                .expect("a type")
                .to_owned()
        })
        .collect();
    let expected = [
        "https://spdx.dev/Document",
        "https://slsa.dev/provenance/v0.2",
    ];
    assert_eq!(kinds, expected);
    let _ = b.run(&format!("image rm {name}:1")).ok();
}

fn used_and_pruned(b: &Bench<'_, '_>) {
    let used = b.run("buildx du");
    assert!(used.ok().contains("Reclaimable:"), "{used:?}");
    let of = |kind: &str| b.run(&format!("buildx du --verbose --filter type={kind}"));
    assert!(of("regular").ok().contains("ID:"), "{:?}", of("regular"));
    assert!(!of("exec.cachemount").ok().contains("ID:"));
    let _ = b
        .run("buildx prune -a -f --filter type=exec.cachemount")
        .ok();
    assert!(of("regular").ok().contains("ID:"), "another kind stays");
    let pruned = b.run("buildx prune -a -f");
    assert!(pruned.ok().contains("Total:"), "{pruned:?}");
    // Images keep what they have.
    assert_eq!(b.run("run --rm four:4").ok(), "archived");
}

#[test]
fn steps_have_what_the_client_lends() {
    with_buildx(|b| {
        let dockerfile = "FROM busybox\n\
            RUN --mount=type=secret,id=s cat /run/secrets/s | tr a-z A-Z\n\
            RUN --mount=type=secret,id=e,env=VALUE echo \"env $VALUE\" | tr a-z A-Z\n\
            RUN --mount=type=ssh test -S $SSH_AUTH_SOCK && echo an agent\n\
            RUN --mount=type=cache,target=/cache,id=buildx-test echo x >>/cache/f; wc -l </cache/f >/lines\n";
        b.context(&[("Dockerfile", dockerfile)]);
        b.write(&[("secret", "from a file")]);
        let agent = b.path("agent");
        let _listener = UnixListener::bind(&agent).expect("a socket");
        assert!(
            fs_err::metadata(&agent)
                .expect("it")
                .file_type()
                .is_socket()
        );
        let line = format!(
            "--secret id=s,src=secret --secret id=e,env=SECRET --ssh default={} -t lent",
            agent.display()
        );
        let words: Vec<&str> = line.split(' ').collect();
        let mut command = b.docker();
        command.args(["buildx", "build"]).args(&words).arg("c");
        let built = command::run(command.env("SECRET", "from the environment"), &[]);
        let _ = built.ok();
        for text in ["FROM A FILE", "ENV FROM THE ENVIRONMENT", "an agent"] {
            assert!(built.stderr.contains(text), "{text}: {}", built.stderr);
        }
        let history = b.run("history --no-trunc lent");
        assert!(!history.ok().contains("from a file"));
        let found =
            b.s.script("run --rm lent", "cat /lines; ls /run/secrets /cache 2>&1");
        assert!(found.stdout.starts_with('1'), "{found:?}");
        // The cache is there the next time.
        b.write(&[("c/Dockerfile", "FROM busybox\nRUN --mount=type=cache,target=/cache,id=buildx-test echo y >>/cache/f; wc -l </cache/f >/lines\n")]);
        let _ = b.build("-t lent").ok();
        assert_eq!(b.run("run --rm lent cat /lines").ok(), "2");
        b.write(&[(
            "c/Dockerfile",
            "FROM busybox\nRUN --mount=type=secret,id=none,required true\n",
        )]);
        let missing = b.build("");
        assert!(
            missing.fails(1).contains("secret none: not found"),
            "{missing:?}"
        );
    });
}

#[test]
fn what_fails_is_shown_with_its_lines() {
    with_buildx(|b| {
        b.context(&[(
            "Dockerfile",
            "FROM busybox\nRUN true\nRUN echo before; exit 3\n",
        )]);
        let failed = b.build("");
        for text in [
            "before",
            "Dockerfile:3",
            "3 | >>> RUN echo before; exit 3",
            "process \"/bin/sh -c echo before; exit 3\" did not complete successfully: exit code: 3",
        ] {
            assert!(failed.fails(1).contains(text), "{text}: {}", failed.stderr);
        }
        for (text, why) in [
            ("FROM busybox\nRUNN true\n", "unknown instruction: RUNN"),
            ("FROM busybox\nCOPY nope /\n", "\"/nope\": not found"),
            ("FROM busybox\nCOPY --from=nope a /\n", "nope"),
        ] {
            b.context(&[("Dockerfile", text)]);
            let failed = b.build("");
            assert!(failed.fails(1).contains(why), "{why}: {}", failed.stderr);
        }
        let missing = b.build("-f none");
        assert!(missing.fails(1).contains("none"), "{missing:?}");
        checked(b);
        interrupted(b);
    });
}

fn checked(b: &Bench<'_, '_>) {
    let help = b.run("buildx build --help");
    if !hull_tests::can_run("buildx build --check", help.ok().contains("--check")) {
        return;
    }
    let text = "FROM busybox AS Made\nARG WHAT=x # what it is made of\nMAINTAINER me\n";
    b.context(&[("Dockerfile", text)]);
    let checked = b.build("--check");
    let said = format!("{}{}", checked.stdout, checked.stderr);
    assert_eq!(checked.code, 1, "{said}");
    assert!(
        said.contains("MaintainerDeprecated") && said.contains("StageNameCasing"),
        "{said}"
    );
    let outline = b.build("--call outline");
    assert!(outline.ok().contains("WHAT"), "{outline:?}");
    let targets = b.build("--call targets");
    assert!(targets.ok().contains("made"), "{targets:?}");
}

/// A client that is interrupted ends its build: nothing of the step is left, which the daemon's end asserts.
fn interrupted(b: &Bench<'_, '_>) {
    b.context(&[("Dockerfile", "FROM busybox\nRUN echo begun; sleep 10000\n")]);
    let log = fs_err::File::create(b.path("log"))
        .expect("a file")
        .into_parts()
        .0;
    let mut client = b
        .docker()
        .args(["buildx", "build", "c"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("start docker");
    wait_until("the step runs", || {
        let log = b.text("log");
        if log.lines().any(|line| line.ends_with(" begun")) {
            Ok(())
        } else {
            Err(log)
        }
    });
    let pid = rustix::process::Pid::from_child(&client);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("interrupt it");
    let status = client.wait().expect("wait for it");
    assert!(!status.success());
    wait_until("the step ends", || {
        let left = b.s.daemon.leftovers();
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
}

const BAKE: &str = r#"group "default" { targets = ["top", "other"] }
target "base" { context = "c" }
target "top" {
  dockerfile-inline = "FROM base\nCOPY --from=base /made /copied\nRUN cat /copied >/top\n"
  contexts = { base = "target:base" }
  tags = ["baked/top"]
}
target "other" {
  inherits = ["base"]
  args = { WHAT = "stone" }
  tags = ["baked/other"]
}
"#;

#[test]
fn bake_and_compose_build() {
    with_buildx(|b| {
        b.context(&[("Dockerfile", STAGES), ("d/file", "d\n")]);
        b.write(&[("docker-bake.hcl", BAKE)]);
        let _ = b.run("buildx bake").ok();
        assert_eq!(b.run("run --rm baked/top cat /top").ok(), "made of nothing");
        assert_eq!(b.run("run --rm baked/other").ok(), "made of stone\nd");
        let label = b.run("image inspect -f {{.Config.Labels.a}} baked/top");
        assert_eq!(label.ok(), "b");
        let Some(compose) = program("HULL_TEST_COMPOSE") else {
            return;
        };
        let file = "services:\n  a:\n    build:\n      context: c\n      args: {WHAT: paper}\n    image: composed/a\n  \
            b:\n    build: {context: c, target: made}\n    image: composed/b\n";
        b.write(&[("compose.yaml", file)]);
        for bake in ["false", "true"] {
            let mut command = b.command(&compose);
            let command = command.env("COMPOSE_BAKE", bake).arg("build");
            let _ = command::run(command, &[]).ok();
            assert_eq!(b.run("run --rm composed/a").ok(), "made of paper\nd");
            assert_eq!(
                b.run("run --rm composed/b cat /made").ok(),
                "made of nothing"
            );
            let _ = b.run("image rm composed/a composed/b").ok();
        }
    });
}

const CACHED: &str = "FROM busybox AS first\nRUN --mount=type=cache,target=/cache,id=exported echo first >/cache/f; echo first >/a && echo done first\n\
    FROM busybox\nCOPY --from=first /a /a\nRUN echo second >/b && echo done second\nCMD [\"cat\", \"/a\", \"/b\"]\n";

/// Builds with a cache that goes to one place, and again with nothing but what comes from there.
fn goes_and_comes(b: &Bench<'_, '_>, registry: &str, to: &str, from: &str) {
    b.context(&[("Dockerfile", CACHED)]);
    let push = if to == "type=inline" { "--push" } else { "" };
    let built = b.build(&format!("--cache-to {to} {push} -t {registry}/image:1"));
    let _ = built.ok();
    assert!(ran(&built.stderr), "{to}: {built:?}");
    forget(b, registry);
    let again = b.build(&format!("--cache-from {from} -t {registry}/image:1"));
    let _ = again.ok();
    let text = &again.stderr;
    assert!(
        text.contains("importing cache manifest from"),
        "{to}: {text}"
    );
    assert!(!ran(text) && text.contains("CACHED"), "{to}: {text}");
    let run = b.run(&format!("run --rm {registry}/image:1"));
    assert_eq!(run.ok(), "first\nsecond", "{to}");
    forget(b, registry);
    if to.contains("mode=max") {
        let more = CACHED.replace("echo first >/cache/f; echo first >/a", "cat /cache/f >/a");
        b.context(&[("Dockerfile", more.as_str())]);
        let _ = b
            .build(&format!("--cache-from {from} -t {registry}/image:1"))
            .ok();
        let run = b.run(&format!("run --rm {registry}/image:1"));
        assert_eq!(
            run.ok(),
            "first\nsecond",
            "the mount's files came along: {to}"
        );
        forget(b, registry);
    }
}

#[test]
fn caches_go_to_other_machines() {
    with_buildx(|b| {
        let registry = b.s.registry.host();
        let places = [
            (
                format!("type=registry,ref={registry}/cache:1,mode=max"),
                format!("type=registry,ref={registry}/cache:1"),
            ),
            (
                "type=local,dest=cache,mode=max".to_owned(),
                "type=local,src=cache".to_owned(),
            ),
            (
                format!("type=registry,ref={registry}/cache:2"),
                format!("type=registry,ref={registry}/cache:2"),
            ),
            (
                "type=inline".to_owned(),
                format!("type=registry,ref={registry}/image:1"),
            ),
        ];
        for (to, from) in places {
            goes_and_comes(b, &registry, &to, &from);
        }
        let nowhere = b.build("--cache-from type=registry,ref=127.0.0.1:1/none");
        let _ = nowhere.ok();
        assert!(
            nowhere.stderr.contains("importing cache manifest from"),
            "{nowhere:?}"
        );
        let failed = b.build("--cache-to type=registry,ref=127.0.0.1:1/none");
        assert!(
            failed.fails(1).contains("error writing cache"),
            "{failed:?}"
        );
        let _ = b
            .build("--cache-to type=registry,ref=127.0.0.1:1/none,ignore-error=true")
            .ok();
    });
}

/// Whether the second step was done: its output is in the progress, not only its name.
fn ran(progress: &str) -> bool {
    let mut lines = progress.lines();
    lines.any(|line| line.ends_with(" done second") && !line.contains("RUN"))
}

/// Removes the image and all that builds have left.
fn forget(b: &Bench<'_, '_>, registry: &str) {
    let _ = b.run(&format!("image rm {registry}/image:1")).ok();
    let pruned = b.s.daemon.ask("POST", "/build/prune?all=1", b"");
    assert_eq!(pruned.status, 200, "{pruned:?}");
    let pruned = b.s.daemon.ask("POST", "/images/prune", b"");
    assert_eq!(pruned.status, 200, "{pruned:?}");
}
