//! Volumes and mounts: what outlives containers, and how it gets into them.
#![expect(
    clippy::unwrap_used,
    clippy::too_many_lines,
    reason = "a test is a story, and fails by panicking"
)]

use hull_tests::host::reference;
use hull_tests::setup::{Setup, with_each_client};
use serde_json::{Value, json};

fn shell(s: &Setup, flags: &str, script: &str) -> String {
    let mut words: Vec<&str> = vec!["run", "--rm"];
    words.extend(flags.split(' ').filter(|word| !word.is_empty()));
    words.extend(["busybox", "sh", "-c", script]);
    s.run(&words).ok().to_owned()
}

/// Asks by the API; gives status and body.
fn ask(s: &Setup, method: &str, target: &str, body: &Value) -> (u16, Value) {
    let body = match body {
        Value::Null => Vec::new(),
        body => body.to_string().into_bytes(),
    };
    let reply = s.daemon.ask(method, target, &body);
    let json = serde_json::from_slice(&reply.body).unwrap_or(Value::Null);
    (reply.status, json)
}

fn message(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["message"].as_str().unwrap_or_default())
}

#[test]
fn a_volume_outlives_its_containers() {
    with_each_client(|s| {
        assert_eq!(s.line("volume create --label a=b keeps").ok(), "keeps");
        let _ = shell(s, "-v keeps:/data", "echo kept >/data/file");
        assert_eq!(
            shell(
                s,
                "-v keeps:/else:ro",
                "cat /else/file; touch /else/x 2>&1 | grep -o Read-only"
            ),
            "kept\nRead-only"
        );
        let _ = s
            .line("create --name holds -v keeps:/data busybox true")
            .ok();
        let refused = s.line("volume rm keeps");
        assert!(
            refused.fails(1).contains("volume is in use - ["),
            "{refused:?}"
        );
        let listed = s.line("volume ls -q --filter label=a=b");
        assert_eq!(listed.ok(), "keeps");
        assert_eq!(
            s.line("volume ls -q --filter dangling=true --filter name=keeps")
                .ok(),
            ""
        );
        let shown = s.line("volume inspect -f {{.Driver}}-{{.Scope}}-{{.Labels.a}} keeps");
        assert_eq!(shown.ok(), "local-local-b");
        let _ = s.line("rm -v holds").ok();
        assert_eq!(s.line("volume rm keeps").ok(), "keeps");
        assert!(
            s.line("volume rm keeps")
                .fails(1)
                .contains("no such volume")
        );
        let _ = s.line("volume rm -f keeps").ok();
    });
}

#[test]
fn anonymous_volumes_go_with_their_container() {
    with_each_client(|s| {
        let count = || s.line("volume ls -q").ok().lines().count();
        let before = count();
        let _ = shell(s, "-v /data", "touch /data/x; mount | grep -q ' /data '");
        assert_eq!(count(), before);
        let _ = s
            .line("run --name first -v /data busybox touch /data/x")
            .ok();
        let seen = s.line("run --name second --volumes-from first:ro busybox sh -c ls${IFS}/data");
        assert_eq!(seen.ok(), "x");
        let rw = s.inspect("second", "/Mounts/0/RW");
        assert_eq!(rw, json!(false));
        let name = s.inspect("first", "/Mounts/0/Name");
        assert_eq!(s.inspect("second", "/Mounts/0/Name"), name);
        let label = format!("/volumes/{}", name.as_str().unwrap());
        let labels = ask(s, "GET", &label, &Value::Null).1["Labels"].clone();
        assert_eq!(labels, json!({"com.docker.volume.anonymous": ""}));
        let _ = s.line("rm -v first").ok();
        assert_eq!(count(), before + 1, "the second one has it too");
        let _ = s.line("rm -v second").ok();
        assert_eq!(count(), before);
        let _ = s.line("run --name third -v /data busybox true").ok();
        let _ = s.line("rm third").ok();
        assert_eq!(count(), before + 1);
        let pruned = s.line("volume prune -f");
        assert!(pruned.ok().starts_with("Deleted Volumes:\n"), "{pruned:?}");
        assert_eq!(count(), before);
    });
}

#[test]
fn a_new_volume_gets_what_the_image_has() {
    with_each_client(|s| {
        let _ = s.script("run --name maker busybox", "mkdir -p /data/in; echo x >/data/in/f; ln -s in/f /data/l; chown 7:8 /data/in; chmod 1751 /data").ok();
        let _ = s
            .run(&["commit", "-c", "VOLUME /data /empty", "maker", "vol-image"])
            .ok();
        let script = "cat /data/l; stat -c %u:%g:%a /data/in; stat -c %a /data; ls /empty | wc -l";
        let run = |flags: &str| {
            let mut words: Vec<&str> = vec!["run", "--rm"];
            words.extend(flags.split(' ').filter(|word| !word.is_empty()));
            words.extend(["vol-image", "sh", "-c", script]);
            s.run(&words).stdout
        };
        let all = "x\n7:8:755\n1751\n0\n";
        assert_eq!(run(""), all);
        assert_eq!(run("-v filled:/data"), all);
        assert_eq!(run("--mount source=filled2,target=/data"), all);
        assert_eq!(
            shell(s, "-v filled:/d", "cat /d/in/f; echo changed >/d/in/f"),
            "x"
        );
        assert!(
            run("-v filled:/data").starts_with("changed\n"),
            "what is there stays"
        );
        assert_eq!(shell(s, "-v bare:/data:nocopy", "ls /data | wc -l"), "0");
        assert!(!run("-v bare2:/data:nocopy").starts_with('x'));
        for volume in ["filled", "filled2", "bare", "bare2"] {
            let _ = s.run(&["volume", "rm", volume]).ok();
        }
        let _ = s.line("rm maker").ok();
        let _ = s.line("rmi vol-image").ok();
    });
}

#[test]
fn requests_about_volumes_are_answered_as_dockerd_does() {
    with_each_client(|s| {
        let post = |body: Value| ask(s, "POST", "/volumes/create", &body);
        let (status, made) = post(json!({"Name": "told", "Labels": {"a": "b"}}));
        assert_eq!(
            (status, &made["Driver"], &made["Scope"]),
            (201, &json!("local"), &json!("local"))
        );
        assert_eq!(
            (&made["Options"], &made["Labels"]),
            (&Value::Null, &json!({"a": "b"}))
        );
        assert!(
            made["Mountpoint"]
                .as_str()
                .unwrap()
                .ends_with("/volumes/told/_data")
        );
        let again = post(json!({"Name": "told", "Labels": {"c": "d"}}));
        assert_eq!(again, (201, made));
        let (status, unnamed) = post(json!({}));
        assert_eq!((status, unnamed["Name"].as_str().unwrap().len()), (201, 64));
        for (body, status, text) in [
            (
                json!({"Name": "told2", "DriverOpts": {"foo": "b"}}),
                400,
                "create told2: invalid option: \"foo\"",
            ),
            (
                json!({"Name": "told2", "DriverOpts": {"type": "tmpfs"}}),
                400,
                "create told2: missing required option: \"device\"",
            ),
            (
                json!({"Name": "a"}),
                400,
                "create a: volume name is too short, names should be at least two alphanumeric characters",
            ),
            (
                json!({"Name": "told3", "ClusterVolumeSpec": {}}),
                503,
                "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.",
            ),
        ] {
            assert_eq!(message(&post(body.clone())), (status, text), "{body}");
        }
        if reference().is_none() {
            // dockerd looks for half a minute.
            let nope = post(json!({"Name": "told4", "Driver": "nope"}));
            assert_eq!(
                message(&nope),
                (
                    404,
                    "create told4: error looking up volume plugin nope: plugin \"nope\" not found"
                )
            );
        }
        for (method, target, status, text) in [
            ("GET", "/volumes/nope", 404, "get nope: no such volume"),
            ("DELETE", "/volumes/nope", 404, "get nope: no such volume"),
            ("DELETE", "/volumes/nope?force=1", 204, ""),
            (
                "GET",
                "/volumes?filters={%22dangling%22:[%22maybe%22]}",
                400,
                "invalid filter 'dangling=[maybe]'",
            ),
            (
                "GET",
                "/volumes?filters={%22foo%22:[%22x%22]}",
                400,
                "invalid filter 'foo'",
            ),
            (
                "PUT",
                "/volumes/told?version=1",
                503,
                "volume update only valid for cluster volumes, but swarm is unavailable",
            ),
            (
                "POST",
                "/volumes/prune?filters={%22until%22:[%221h%22]}",
                400,
                "invalid filter 'until'",
            ),
        ] {
            let body = if method == "PUT" {
                json!({})
            } else {
                Value::Null
            };
            let answer = ask(s, method, target, &body);
            assert_eq!(message(&answer), (status, text), "{method} {target}");
        }
        let all = ask(
            s,
            "POST",
            "/volumes/prune?filters={%22all%22:[%22true%22],%22label%22:[%22a%22]}",
            &Value::Null,
        );
        assert_eq!((all.0, &all.1["VolumesDeleted"]), (200, &json!(["told"])));
        let named = format!("/volumes/{}", unnamed["Name"].as_str().unwrap());
        assert_eq!(ask(s, "DELETE", &named, &Value::Null).0, 204);
    });
}

#[test]
fn volumes_with_options_are_mounted_while_they_are_used() {
    with_each_client(|s| {
        let _ = s
            .line("volume create -o type=tmpfs -o device=tmpfs -o o=size=1m,uid=7 memory")
            .ok();
        let script = "stat -c %u /m; df -k /m | tail -1 | awk '{print $2}'; echo x >/m/f";
        assert_eq!(shell(s, "-v memory:/m", script), "7\n1024");
        assert_eq!(
            shell(s, "-v memory:/m", "ls /m | wc -l"),
            "0",
            "it was unmounted"
        );
        let _ = s
            .script(
                "run -d --name one -v memory:/m busybox",
                "echo x >/m/f; sleep 1000",
            )
            .ok();
        assert_eq!(
            shell(s, "-v memory:/m", "until [ -s /m/f ]; do :; done; cat /m/f"),
            "x",
            "it is one for both"
        );
        let _ = s.line("rm -f one").ok();
        let directory = tempfile::tempdir().unwrap();
        let bound = directory.path();
        fs_err::write(bound.join("file"), "of the host\n").unwrap();
        let device = format!("device={}", bound.display());
        let _ = s
            .run(&[
                "volume",
                "create",
                "-o",
                "type=none",
                "-o",
                "o=bind",
                "-o",
                &device,
                "bound",
            ])
            .ok();
        assert_eq!(
            shell(s, "-v bound:/b", "cat /b/file; touch /b/new"),
            "of the host"
        );
        assert!(bound.join("new").exists());
        let _ = s.line("volume rm bound memory").ok();
        assert!(bound.join("file").exists(), "what was bound stays");
        let _ = s
            .line("volume create -o type=none -o o=bind -o device=/nonexistent bad")
            .ok();
        let failed = s.line("run --rm -v bad:/b busybox true");
        assert!(
            failed
                .fails(127)
                .contains("failed to mount local volume: mount /nonexistent:"),
            "{failed:?}"
        );
        let _ = s.line("volume rm bad").ok();
        let mounts = fs_err::read_to_string("/proc/self/mountinfo").unwrap();
        let below = s.daemon.path("data/volumes").display().to_string();
        assert!(
            !mounts.lines().any(|line| line.contains(&below)),
            "{mounts}"
        );
    });
}

#[test]
fn parts_of_volumes_and_images_are_mounted() {
    with_each_client(|s| {
        if !s.client.is_own() {
            // Older ones do not know the options.
            return;
        }
        let _ = shell(
            s,
            "-v parts:/v",
            "mkdir -p /v/a/b; echo in >/v/a/b/f; ln -s /etc /v/out; echo one >/v/single",
        );
        let mount = |options: &str| format!("--mount {options}");
        assert_eq!(
            shell(
                s,
                &mount("source=parts,target=/p,volume-subpath=a/b"),
                "cat /p/f"
            ),
            "in"
        );
        assert_eq!(
            shell(
                s,
                &mount("source=parts,target=/p,volume-subpath=single"),
                "cat /p"
            ),
            "one"
        );
        for (path, text) in [
            ("nope", "cannot access path"),
            ("out", "cannot access path"),
        ] {
            let option = format!("source=parts,target=/p,volume-subpath={path}");
            let failed = s.run(&["run", "--rm", "--mount", &option, "busybox", "true"]);
            let told = failed.stderr.clone();
            assert!(
                failed.code == 125 && (told.contains(text) || told.contains("escapes")),
                "{failed:?}"
            );
        }
        let script = "/i/bin/busybox echo image; touch /i/x 2>&1 | grep -o Read-only";
        assert_eq!(
            shell(s, &mount("type=image,source=busybox,target=/i"), script),
            "image\nRead-only"
        );
        let script = "/i/busybox echo part";
        assert_eq!(
            shell(
                s,
                &mount("type=image,source=busybox,target=/i,image-subpath=bin"),
                script
            ),
            "part"
        );
        let _ = s.line("volume rm parts").ok();
    });
}

/// A shared mount of a tmpfs, gone with this.
struct Shared(tempfile::TempDir);

impl Shared {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let shared = Self(directory);
        let run = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            let path = shared.0.path();
            let status = std::process::Command::new("mount")
                .args(words)
                .arg(path)
                .status();
            assert!(status.unwrap().success(), "{line}");
        };
        run("-t tmpfs tmpfs");
        run("--make-shared");
        shared
    }

    fn path(&self) -> &std::path::Path {
        self.0.path()
    }

    fn has_mount(&self, name: &str) -> bool {
        let at = format!(" {}/{name} ", self.path().display());
        let mounts = fs_err::read_to_string("/proc/self/mountinfo").unwrap();
        mounts.lines().any(|line| line.contains(&at))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let unmount = std::process::Command::new("umount")
            .arg("-R")
            .arg(self.path())
            .status();
        let _ = unmount;
    }
}

#[test]
fn mounts_propagate_as_asked_for() {
    with_each_client(|s| {
        if reference().is_some() {
            return;
        }
        let shared = Shared::new();
        let path = shared.path().display().to_string();
        fs_err::create_dir(shared.path().join("out")).unwrap();
        fs_err::create_dir(shared.path().join("in")).unwrap();
        let flag = |mode: &str| {
            format!("--cap-add SYS_ADMIN --security-opt apparmor=unconfined -v {path}:/p:{mode}")
        };
        let script = "mount -t tmpfs x /p/out && grep -c ' /p/out ' /proc/self/mountinfo";
        assert_eq!(shell(s, &flag("rprivate"), script), "1");
        assert!(!shared.has_mount("out"));
        assert_eq!(shell(s, &flag("rshared"), script), "1");
        assert!(
            shared.has_mount("out"),
            "the container has mounted it on the host"
        );
        let bind = format!("{path}:/p:rslave");
        let wait = "until grep -q ' /p/in ' /proc/self/mountinfo; do :; done; echo seen";
        let _ = s
            .run(&[
                "run", "-d", "--name", "slave", "-v", &bind, "busybox", "sh", "-c", wait,
            ])
            .ok();
        let status = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "tmpfs"])
            .arg(shared.path().join("in"))
            .status();
        assert!(status.unwrap().success());
        assert_eq!(s.line("wait slave").ok(), "0");
        let _ = s.line("rm slave").ok();
        assert!(
            shared.has_mount("out") && shared.has_mount("in"),
            "what was mounted stays"
        );
        let script = "touch /p/x /p/in/x 2>&1 | grep -c Read-only";
        assert_eq!(shell(s, &format!("-v {path}:/p:ro"), script), "2");
        let own = tempfile::tempdir().unwrap();
        let bind = format!("{}:/p:rshared", own.path().display());
        let failed = s.run(&["run", "--rm", "-v", &bind, "busybox", "true"]);
        let mounted = failed.code == 0;
        assert!(
            mounted || failed.fails(125).contains("but it is not a shared mount"),
            "{failed:?}"
        );
    });
}

#[test]
fn owners_are_shown_as_others() {
    with_each_client(|s| {
        if reference().is_some() {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        fs_err::write(directory.path().join("file"), "").unwrap();
        let bind = format!(
            "{}:/p:idmap=uids=0-1000-1;gids=0-1001-1",
            directory.path().display()
        );
        let ran = s.run(&[
            "run",
            "--rm",
            "-u",
            "1000:1001",
            "-v",
            &bind,
            "busybox",
            "sh",
            "-c",
            "stat -c %u:%g /p/file; touch /p/new",
        ]);
        if ran.stderr.contains("idmap") {
            eprintln!("skipped: the file system cannot map ids: {}", ran.stderr);
            return;
        }
        assert_eq!(ran.ok(), "1000:1001");
        let made = fs_err::metadata(directory.path().join("new")).unwrap();
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&made), 0);
    });
}

/// A volume plugin: volumes are directories in `root`.
fn plugin(socket: &std::path::Path, root: std::path::PathBuf) {
    use std::io::{Read as _, Write as _};
    fs_err::create_dir_all(socket.parent().unwrap()).unwrap();
    let listener = std::os::unix::net::UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let Ok(mut connection) = connection else {
                return;
            };
            let (mut request, mut buffer) = (String::new(), [0; 4096]);
            while let Ok(count @ 1..) = connection.read(&mut buffer) {
                request.push_str(&String::from_utf8_lossy(&buffer[..count]));
                let Some((head, body)) = request.split_once("\r\n\r\n") else {
                    continue;
                };
                let head = head.to_lowercase();
                let length = head.split("content-length: ").nth(1);
                let length = length.map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
                if body.len() >= length {
                    break;
                }
            }
            let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
            let body = request.split("\r\n\r\n").nth(1).unwrap_or_default();
            let body: Value = serde_json::from_str(body).unwrap_or_default();
            let name = body["Name"].as_str().unwrap_or_default();
            let at = root.join(name);
            let described =
                || json!({"Name": name, "Mountpoint": at, "Status": {"hello": "world"}});
            let answer = match path.as_str() {
                "/Plugin.Activate" => json!({"Implements": ["VolumeDriver"]}),
                "/VolumeDriver.Create" => {
                    fs_err::create_dir(&at).unwrap();
                    fs_err::write(at.join("options"), body["Opts"].to_string()).unwrap();
                    json!({})
                }
                "/VolumeDriver.Remove" => {
                    fs_err::remove_dir_all(&at).unwrap();
                    json!({})
                }
                "/VolumeDriver.Mount" => {
                    fs_err::write(
                        root.join(format!(".mounted-{}", body["ID"].as_str().unwrap())),
                        "",
                    )
                    .unwrap();
                    json!({"Mountpoint": at})
                }
                "/VolumeDriver.Unmount" => {
                    fs_err::remove_file(
                        root.join(format!(".mounted-{}", body["ID"].as_str().unwrap())),
                    )
                    .unwrap();
                    json!({})
                }
                "/VolumeDriver.Get" if at.exists() => json!({"Volume": described()}),
                "/VolumeDriver.Get" => json!({"Err": "no such volume"}),
                "/VolumeDriver.List" => {
                    let names = fs_err::read_dir(&root)
                        .unwrap()
                        .map(|entry| entry.unwrap().file_name());
                    let names = names.map(|name| name.into_string().unwrap());
                    let volumes: Vec<Value> = names
                        .filter(|name| !name.starts_with('.'))
                        .map(|name| json!({"Name": name, "Mountpoint": root.join(&name)}))
                        .collect();
                    json!({"Volumes": volumes})
                }
                _ => json!({"Capabilities": {"Scope": "global"}}),
            };
            let answer = answer.to_string();
            let _ = write!(
                connection,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}",
                answer.len()
            );
        }
    });
}

#[test]
fn a_plugin_keeps_volumes() {
    with_each_client(|s| {
        if reference().is_some() {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().to_owned();
        let driver = format!("hulltest{}{}", std::process::id(), s.client.is_own());
        let socket = std::path::PathBuf::from(format!("/run/docker/plugins/{driver}.sock"));
        plugin(&socket, root.clone());
        let _ = s
            .run(&["volume", "create", "-d", &driver, "-o", "a=b", "foreign"])
            .ok();
        assert_eq!(
            fs_err::read_to_string(root.join("foreign/options")).unwrap(),
            r#"{"a":"b"}"#
        );
        assert_eq!(
            s.line("volume inspect -f {{.Scope}}-{{.Status.hello}} foreign")
                .ok(),
            "global-world"
        );
        assert_eq!(
            shell(
                s,
                "-v foreign:/data",
                "cat /data/options; echo x >/data/new"
            ),
            r#"{"a":"b"}"#
        );
        assert_eq!(
            fs_err::read_to_string(root.join("foreign/new")).unwrap(),
            "x\n"
        );
        let hidden = || {
            let names = fs_err::read_dir(&root)
                .unwrap()
                .map(|entry| entry.unwrap().file_name());
            names
                .filter(|name| name.to_string_lossy().starts_with('.'))
                .count()
        };
        assert_eq!(hidden(), 0, "everything mounted was unmounted");
        let flag = format!("--volume-driver {driver} -v made:/data");
        assert_eq!(shell(s, &flag, "ls /data"), "options");
        let anonymous = format!("--rm --volume-driver {driver} -v /data");
        assert_eq!(shell(s, &anonymous, "ls /data"), "options");
        let listed = s.run(&[
            "volume",
            "ls",
            "-q",
            "--filter",
            &format!("driver={driver}"),
        ]);
        assert_eq!(listed.ok(), "foreign\nmade");
        let _ = s.line("volume rm foreign made").ok();
        assert!(!root.join("foreign").exists());
        let _ = fs_err::remove_file(&socket);
    });
}

#[test]
fn a_container_has_the_files_that_programs_look_for() {
    with_each_client(|s| {
        assert_eq!(
            shell(s, "", "stat -c %a:%s /.dockerenv; readlink /etc/mtab"),
            "755:0\n/proc/mounts"
        );
        let _ = s.line("run --name looked busybox true").ok();
        assert_eq!(s.line("diff looked").ok(), "");
        let _ = s.line("rm looked").ok();
    });
}

#[test]
fn volumes_are_told_of_and_found_again() {
    with_each_client(|s| {
        let _ = s
            .line("volume create -o type=tmpfs -o device=tmpfs told-of")
            .ok();
        let run = [
            "run",
            "-d",
            "--name",
            "user",
            "-v",
            "told-of:/v",
            "busybox",
            "sh",
            "-c",
            "echo x >/v/f; sleep 1000",
        ];
        let _ = s.run(&run).ok();
        if reference().is_none() {
            s.daemon.kill();
            s.daemon.restart();
            let refused = s.line("volume rm told-of");
            assert!(refused.fails(1).contains("volume is in use"), "{refused:?}");
            let seen = shell(
                s,
                "-v told-of:/w",
                "until [ -s /w/f ]; do :; done; cat /w/f",
            );
            assert_eq!(seen, "x", "it is the same mount");
        }
        let _ = s.line("rm -f user").ok();
        let _ = s.line("volume rm told-of").ok();
        let target = "/events?since=1&until=1&filters={%22volume%22:[%22told-of%22]}";
        let until = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        let reply = s
            .daemon
            .get(&target.replace("until=1", &format!("until={}", until.as_secs() + 1)));
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        let actions: Vec<String> = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .map(|event| event["Action"].as_str().unwrap().to_owned())
            .collect();
        assert!(
            actions.ends_with(&["unmount".to_owned(), "destroy".to_owned()]),
            "{actions:?}"
        );
    });
}
