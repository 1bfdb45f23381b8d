//! `hull build` beyond one machine's store: caches, image layouts, registries with a login, agents, hosts and networks.

use hull_tests::client::Client;
use hull_tests::command::{self, Finished};
use hull_tests::setup::{Setup, with};
use serde_json::Value;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// A directory with files.
struct Bench<'s, 'h> {
    s: &'s Setup<'h>,
    dir: TempDir,
}

impl Bench<'_, '_> {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = self.path(name);
            fs_err::create_dir_all(path.parent().expect("test data")).expect("test data");
            fs_err::write(path, text).expect("test data");
        }
    }

    /// A context of one Dockerfile.
    fn context(&self, dockerfile: &str) {
        let _ = fs_err::remove_dir_all(self.path("c"));
        self.write(&[("c/Dockerfile", dockerfile)]);
    }

    fn feed(&self, line: &str, input: &[u8]) -> Finished {
        let mut command = self.s.client.command(&self.s.daemon);
        command.current_dir(self.dir.path()).arg("build");
        command.args(line.split(' ').filter(|word| !word.is_empty()));
        command::run(&mut command, input)
    }

    /// Builds the context.
    fn build(&self, line: &str) -> Finished {
        self.feed(&format!("{line} c"), &[])
    }

    /// Builds it without failure; what was told.
    fn built(&self, line: &str) -> String {
        let built = self.build(line);
        let _ = built.ok();
        built.stderr
    }

    fn run(&self, line: &str) -> String {
        self.s.line(line).ok().to_owned()
    }

    fn json(&self, name: &str) -> Value {
        let text = fs_err::read(self.path(name)).expect("a file that was made");
        serde_json::from_slice(&text).expect("JSON")
    }

    fn shell(&self, script: &str) {
        let mut command = Command::new("sh");
        command.args(["-euc", script]).current_dir(self.dir.path());
        let _ = command::run(&mut command, &[]).ok();
    }

    /// All that builds have left goes.
    fn forget(&self, images: &[&str]) {
        for image in images {
            let _ = self.s.run(&["rmi", "-f", image]);
        }
        let _ = self.run("builder prune -af");
    }
}

fn with_bench(test: impl Fn(&Bench<'_, '_>)) {
    if Client::available().contains(&Client::Hull) {
        with(Client::Hull, |s| {
            let dir = tempfile::Builder::new()
                .prefix("hull-test-")
                .tempdir()
                .expect("test data");
            test(&Bench { s, dir });
        });
    }
}

const CACHED: &str = "FROM busybox AS first\nRUN echo first >/a && echo 'done' first\n\
    FROM busybox\nCOPY --from=first /a /a\nRUN echo second >/b && echo 'done' second\nCMD [\"cat\", \"/a\", \"/b\"]\n";

#[test]
fn caches_go_to_directories_images_and_registries() {
    with_bench(|b| {
        b.context(CACHED);
        let guarded = b.s.registry.guarded(b.s.host);
        let server = guarded.host();
        let login = ["login", "-u", "alice", "--password-stdin", &server];
        let _ = b.s.client.feed(&b.s.daemon, &login, b"secret\n").ok();
        let image = format!("{server}/reach/image:1");
        let cache = format!("type=registry,ref={server}/reach/cache:1");
        for (to, from) in [
            (
                "--cache-to type=local,dest=kept,mode=max".to_owned(),
                "type=local,src=kept".to_owned(),
            ),
            (format!("--cache-to {cache},mode=max"), cache.clone()),
            (
                "--build-arg BUILDKIT_INLINE_CACHE=1 --push".to_owned(),
                image.clone(),
            ),
        ] {
            let told = b.built(&format!("{to} -t {image}"));
            assert!(told.contains(" done second\n"), "{to}: {told}");
            b.forget(&[&image]);
            let told = b.built(&format!("--cache-from {from} -t {image}"));
            assert!(!told.contains(" done second\n"), "{to}: {told}");
            assert!(
                told.contains("importing cache manifest from"),
                "{to}: {told}"
            );
            assert_eq!(b.run(&format!("run --rm {image}")), "first\nsecond", "{to}");
            b.forget(&[&image]);
        }
        let index = b.json("kept/index.json");
        assert_eq!(
            index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"],
            "latest"
        );
        // What is not there is no reason not to build.
        let told = b.built("--cache-from type=local,src=nowhere --cache-from 127.0.0.1:1/none");
        assert!(
            told.contains("WARNING: local cache import at nowhere not found"),
            "{told}"
        );
        let failed = b.build("--cache-to type=registry,ref=127.0.0.1:1/none");
        assert!(
            failed.fails(1).contains("error writing cache"),
            "{failed:?}"
        );
        let _ = b.built("--cache-to type=registry,ref=127.0.0.1:1/none,ignore-error=true");
        pushed(b, &server);
    });
}

/// Several platforms with attestations, to a registry that wants a login.
fn pushed(b: &Bench<'_, '_>, server: &str) {
    b.context("FROM scratch\nARG TARGETARCH\nCOPY Dockerfile /$TARGETARCH\n");
    let name = format!("{server}/reach/several:1");
    let _ = b.built(&format!(
        "--platform linux/amd64,linux/arm64 --provenance mode=min --sbom true --push -t {name} --metadata-file about"
    ));
    let digest = b.json("about")["containerimage.digest"].clone();
    let digest = digest.as_str().expect("a digest");
    // Both registries have the same storage.
    let target = format!("/v2/reach/several/manifests/{digest}");
    let (status, index) = b.s.registry.get(b.s.host, &target);
    assert_eq!(status, 200);
    let index: Value = serde_json::from_slice(&index).expect("JSON");
    let manifests = index["manifests"].as_array().expect("manifests");
    let platforms = manifests
        .iter()
        .map(|entry| entry["platform"]["architecture"].as_str());
    let expected = ["amd64", "arm64", "unknown", "unknown"].map(Some);
    assert!(platforms.eq(expected), "{index}");
    let _ = b.run(&format!("logout {server}"));
    let refused = b.build(&format!("--push -t {server}/reach/other:1"));
    assert!(refused.fails(1).contains("failed to push"), "{refused:?}");
}

#[test]
fn stages_begin_with_images_of_layouts_and_archives_come_compressed() {
    with_bench(|b| {
        b.context("FROM busybox\nRUN echo below >/below\nENV NAME=value\n");
        let _ = b.built("-t layout:1 -o type=oci,dest=layout,tar=false");
        b.forget(&[]);
        b.context("FROM below\nRUN echo $NAME >/above\nCOPY --from=below /below /copied\n");
        let told = b.built("--build-context below=oci-layout://layout:1 -t above");
        assert!(
            told.contains("[context below] load metadata for below@sha256:"),
            "{told}"
        );
        assert_eq!(
            b.run("run --rm above cat /below /above /copied"),
            "below\nvalue\nbelow"
        );
        // The steps are known by what is in it.
        let told = b.built("--build-context below=oci-layout://layout -t above");
        assert!(told.contains("CACHED"), "{told}");
        for (typed, why) in [
            ("nowhere", "could not be resolved"),
            (&*format!("layout@sha256:{}", "00".repeat(32)), "not found"),
        ] {
            let failed = b.build(&format!("--build-context below=oci-layout://{typed}"));
            assert!(failed.fails(1).contains(why), "{typed}: {failed:?}");
        }
        b.context("FROM busybox\nCOPY . /x\nRUN cat /x/file\n");
        b.write(&[("c/file", "of the archive\n")]);
        b.shell("tar -cf - -C c . | gzip >context");
        let archive = fs_err::read(b.path("context")).expect("an archive");
        let built = b.feed("-", &archive);
        let _ = built.ok();
        assert!(built.stderr.contains(" of the archive\n"), "{built:?}");
    });
}

#[test]
fn steps_have_the_agents_hosts_and_networks_that_are_given() {
    with_bench(|b| {
        let socket = b.path("agent");
        let _listener = UnixListener::bind(&socket).expect("a socket");
        b.context("FROM busybox\nRUN --mount=type=ssh,id=own test -S $SSH_AUTH_SOCK && echo an ag''ent; cat /etc/hosts\n");
        let told = b.built(&format!(
            "--ssh own={} --add-host gate:host-gateway --add-host other:10.9.8.7",
            socket.display()
        ));
        assert!(told.contains(" an agent\n"), "{told}");
        let line = told.lines().find(|line| line.ends_with("\tgate"));
        let address = line.and_then(|line| line.split_whitespace().rev().nth(1));
        let address = address.map(str::parse::<std::net::IpAddr>);
        assert!(matches!(address, Some(Ok(_))), "{told}");
        assert!(told.contains("10.9.8.7\tother"), "{told}");
        let host = b.s.host.within(|| {
            let link = fs_err::read_link("/proc/thread-self/ns/net").expect("a namespace");
            link.display().to_string()
        });
        b.context("FROM busybox\nRUN readlink /proc/self/ns/net\n");
        let told = b.built("--network host");
        assert!(told.contains(&host), "{host}: {told}");
        b.context("FROM busybox\nRUN --network=host readlink /proc/self/ns/net\n");
        let refused = b.build("");
        assert!(
            refused.fails(1).contains("network.host is not allowed"),
            "{refused:?}"
        );
        let told = b.built("--allow network.host --no-cache");
        assert!(told.contains(&host), "{host}: {told}");
        let refused = b.build("--allow security.insecure");
        assert!(
            refused
                .fails(1)
                .contains("security.insecure is not allowed"),
            "{refused:?}"
        );
    });
}

#[test]
fn an_image_is_verified_by_building_it_again() {
    with_bench(|b| {
        let dockerfile = "FROM busybox\nARG WHAT=same\nRUN mkdir /d && echo $WHAT >/d/file && chmod 640 /d/file\nENV A=b\n";
        b.context(dockerfile);
        let _ = b.built("-t verified --build-arg SOURCE_DATE_EPOCH=1700000000");
        let same = b.build("--verify verified");
        assert!(
            same.ok().contains("verified is what is built: sha256:"),
            "{same:?}"
        );
        // What is built is what the arguments say. That image is somebody's, and stays.
        let _ = b.built("-t other --build-arg SOURCE_DATE_EPOCH=1700000000 --build-arg WHAT=other");
        let other = b.build("--verify verified --build-arg WHAT=other");
        assert_eq!(other.code, 1, "{other:?}");
        for part in [
            "verified is not what is built\n",
            "first difference: instruction ",
            "WHAT=other",
        ] {
            assert!(other.stdout.contains(part), "{part}: {other:?}");
        }
        let id = b.run("image inspect -f {{.Id}} other");
        assert!(other.stdout.contains(&id), "{id}: {other:?}");
        b.context(
            &dockerfile
                .replace("chmod 640", "chmod $((600+$(wc -l </seed)))")
                .replace("RUN", "COPY seed /\nRUN"),
        );
        b.write(&[("c/seed", "")]);
        let _ = b.built("-t seeded --build-arg SOURCE_DATE_EPOCH=1700000000");
        b.write(&[("c/seed", "\n")]);
        let other = b.build("--verify seeded");
        assert_eq!(other.code, 1, "{other:?}");
        assert!(
            other.stdout.contains("first difference: layer 3 of 4, \"COPY seed / # buildkit\"\n  /seed: content: image 0 bytes"),
            "{other:?}"
        );
        b.context("FROM busybox\nRUN echo x >/x\n");
        let _ = b.built("-t timed");
        let times = b.build("--verify timed");
        assert_eq!(times.code, 1, "{times:?}");
        assert!(
            times.stdout.contains("Nothing differs but times.\n"),
            "{times:?}"
        );
        assert!(
            times.stdout.contains("without SOURCE_DATE_EPOCH"),
            "{times:?}"
        );
        // What was built for it is gone.
        assert_eq!(b.run("images -aq --filter dangling=true"), "");
        for (line, why) in [
            ("--verify nothing", "No such image: nothing"),
            ("--verify verified -t x", "conflicting flags"),
            (
                "--verify verified --platform linux/amd64,linux/arm64",
                "one platform",
            ),
        ] {
            let failed = b.build(line);
            assert!(failed.fails(1).contains(why), "{line}: {failed:?}");
        }
    });
}

#[test]
fn several_platforms_go_to_directories_and_archives() {
    with_bench(|b| {
        b.context("FROM scratch\nARG TARGETARCH\nCOPY Dockerfile /$TARGETARCH\n");
        let both = "--platform linux/arm64,linux/amd64";
        let _ = b.built(&format!("{both} -o out"));
        for arch in ["amd64", "arm64"] {
            assert!(b.path(&format!("out/linux_{arch}/{arch}")).is_file());
        }
        let _ = b.built("-o type=local,dest=split,platform-split=true --platform linux/amd64");
        assert!(b.path("split/linux_amd64/amd64").is_file());
        let _ = b.built(&format!("{both} -o type=tar,dest=out.tar"));
        b.shell("tar -tf out.tar | grep -qx linux_arm64/arm64");
        let _ = b.built(&format!(
            "{both} -t both:1 -o type=oci,dest=both.tar --metadata-file about"
        ));
        b.shell("mkdir both && tar -xf both.tar -C both");
        let index = b.json("both/index.json");
        let manifest = &index["manifests"][0];
        assert_eq!(manifest["digest"], b.json("about")["containerimage.digest"]);
        let digest = manifest["digest"].as_str().expect("a digest");
        let index = b.json(&format!(
            "both/blobs/sha256/{}",
            digest.replace("sha256:", "")
        ));
        let platforms = index["manifests"].as_array().expect("manifests").iter();
        let platforms: Vec<&Value> = platforms
            .map(|one| &one["platform"]["architecture"])
            .collect();
        assert_eq!(platforms, ["arm64", "amd64"], "{index}");
        // The one that serves the machine best.
        b.context("FROM both\nARG TARGETARCH\nCOPY --from=both $TARGETARCH /here\n");
        let _ = b.built("--build-context both=oci-layout://both --platform linux/arm64 -o here");
        assert!(b.path("here/here").is_file() && b.path("here/arm64").is_file());
    });
}

/// As a server's ssh would be called; has the client's agent, no key of this host's, and the repository right here.
const SSH: &str = r#"#!/bin/sh
case "$*" in
  "-F /dev/null -o IdentityFile=/dev/null -o BatchMode=yes"*git@example.org*) ;;
  *) echo "called as $*" >&2; exit 255 ;;
esac
ssh-add -L | grep -q hull-test-key || { echo "permission denied" >&2; exit 255; }
for last; do :; done
exec sh -c "$last"
"#;

/// An agent, ended with this.
struct Agent(std::process::Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn repositories_come_over_ssh_with_the_clients_agent() {
    let programs = ["git", "ssh-agent", "ssh-add", "ssh-keygen"];
    let there = |program: &&str| {
        let found = Command::new("which").arg(program).output();
        found.is_ok_and(|found| found.status.success())
    };
    if !hull_tests::can_run("ssh", programs.iter().all(there))
        || !Client::available().contains(&Client::Hull)
    {
        return;
    }
    with(Client::Hull, |s| {
        let dir = tempfile::Builder::new()
            .prefix("hull-test-")
            .tempdir()
            .expect("test data");
        let bin = dir.path().join("bin");
        let _ = s.daemon.stop();
        s.daemon
            .set_prelude(&format!("export PATH={}:$PATH", bin.display()));
        s.daemon.restart();
        let b = Bench { s, dir };
        b.write(&[("bin/ssh", SSH), ("r/f", "over ssh")]);
        b.shell(
            "chmod 755 bin/ssh; ssh-keygen -q -t ed25519 -N '' -C hull-test-key -f key; cd r; git init -q; git add f; \
             git -c user.name=n -c user.email=e@x commit -q -m one",
        );
        let socket = b.path("agent");
        let mut agent = Command::new("ssh-agent");
        let agent = agent.arg("-D").arg("-a").arg(&socket);
        let agent = agent.stdout(std::process::Stdio::null()).spawn();
        let _agent = Agent(agent.expect("ssh-agent"));
        b.shell("export SSH_AUTH_SOCK=$PWD/agent; until [ -S agent ]; do :; done; ssh-add -q key");
        let remote = format!("git@example.org:{}", b.path("r").display());
        b.context(&format!("FROM busybox\nADD {remote} /r\nRUN cat /r/f\n"));
        let refused = b.build("");
        assert!(
            refused.fails(1).contains("permission denied"),
            "{refused:?}"
        );
        let told = b.built(&format!("--ssh default={}", socket.display()));
        assert!(told.contains("over ssh"), "{told}");
        let root = b.s.daemon.path("run/git");
        let left = fs_err::read_dir(root).map_or(0, |entries| entries.flatten().count());
        assert_eq!(left, 0, "agents' sockets go with their use");
    });
}
