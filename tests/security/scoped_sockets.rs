//! What scoped sockets let nobody do, whoever asks by them.
#![expect(clippy::too_many_lines, reason = "a test is a story")]

use hull_tests::client::Client;
use hull_tests::http::{Reply, Request, send};
use hull_tests::setup::{Setup, with};
use serde_json::{Value, json};
use std::os::unix::net::UnixStream;

/// A socket that a grant has given.
struct Scoped(String);

impl Scoped {
    fn make(s: &Setup<'_>, line: &str) -> Self {
        Self(s.line(&format!("access create {line}")).ok().to_owned())
    }

    fn ask(&self, method: &str, target: &str, body: &Value) -> Reply {
        let stream = UnixStream::connect(&self.0).expect("connected");
        let body = match body {
            Value::Null => Vec::new(),
            body => body.to_string().into_bytes(),
        };
        let request = Request {
            method,
            target,
            headers: &[("Host", "d"), ("Content-Type", "application/json")],
            body: &body,
        };
        send(stream, request).expect("an answer")
    }

    fn status(&self, method: &str, target: &str) -> u16 {
        self.ask(method, target, &Value::Null).status
    }

    /// A container with this host configuration: status and message.
    fn create(&self, host: &Value) -> (u16, String) {
        let body = json!({"Image": "busybox", "Cmd": ["sleep", "1000"], "HostConfig": host});
        let reply = self.ask("POST", "/containers/create", &body);
        (reply.status, reply.text())
    }

    /// What the real `docker` says over this socket.
    fn docker(&self, s: &Setup<'_>, line: &str) -> hull_tests::command::Finished {
        let mut command = Client::Docker.command(&s.daemon);
        command.env("DOCKER_HOST", format!("unix://{}", self.0));
        hull_tests::command::run(command.args(line.split(' ')), &[])
    }
}

#[test]
fn a_monitor_reads_and_changes_nothing() {
    with(Client::Hull, |s| {
        let _ = s.line("run -d --name watched busybox sleep 1000").ok();
        let monitor = Scoped::make(s, "monitor --allow read");
        for target in [
            "/_ping",
            "/version",
            "/info",
            "/containers/json",
            "/images/json",
            "/networks",
        ] {
            assert_eq!(monitor.status("GET", target), 200, "{target}");
        }
        assert_eq!(monitor.status("GET", "/containers/watched/json"), 200);
        for (method, target) in [
            ("POST", "/containers/watched/stop"),
            ("POST", "/containers/watched/exec"),
            ("POST", "/containers/create"),
            ("DELETE", "/containers/watched?force=1"),
            ("PUT", "/containers/watched/archive?path=/"),
            ("GET", "/containers/watched/archive?path=/"),
            ("POST", "/images/create?fromImage=a"),
            ("POST", "/build"),
            ("POST", "/session"),
            ("POST", "/grpc"),
            ("POST", "/auth"),
            ("GET", "/swarm"),
            ("GET", "/hull/access"),
            ("POST", "/hull/access/create"),
            ("DELETE", "/hull/access/monitor"),
        ] {
            assert_eq!(monitor.status(method, target), 403, "{method} {target}");
        }
        assert_eq!(s.inspect("watched", "/State/Running"), json!(true));
        // Who and by which socket is written down, also of what was refused.
        let log = fs_err::read_to_string(s.daemon.path("data/audit.log")).expect("read");
        let lines = log
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let refused = lines
            .filter(|line| line["access"] == "monitor")
            .find(|line| line["path"] == "/containers/watched/stop" && line["status"] == 403);
        let refused = refused.expect("noted");
        assert_eq!(
            (&refused["uid"], &refused["pid"]),
            (&json!(0), &json!(std::process::id()))
        );
        let _ = s.line("rm -f watched").ok();
    });
}

#[test]
fn a_scope_is_all_there_is() {
    with(Client::Hull, |s| {
        let _ = s
            .line("run -d --name inside --label team=a busybox sleep 1000")
            .ok();
        let _ = s
            .line("run -d --name outside --label team=b busybox sleep 1000")
            .ok();
        let _ = s.line("volume create --label team=a in-volume").ok();
        let _ = s.line("volume create out-volume").ok();
        let _ = s.line("network create --label team=a in-net").ok();
        let _ = s.line("network create out-net").ok();
        let team = Scoped::make(s, "team --allow all --label team=a");
        let names = |target: &str| {
            let reply = team.ask("GET", target, &Value::Null);
            assert_eq!(reply.status, 200, "{target}: {}", reply.text());
            reply.text()
        };
        let containers = names("/containers/json?all=1&limit=1");
        assert!(
            containers.contains("/inside") && !containers.contains("/outside"),
            "{containers}"
        );
        let volumes = names("/volumes");
        assert!(
            volumes.contains("in-volume") && !volumes.contains("out-volume"),
            "{volumes}"
        );
        let networks = names("/networks");
        assert!(
            networks.contains("in-net") && !networks.contains("out-net"),
            "{networks}"
        );
        let out = s.inspect("outside", "/Id");
        let out = out.as_str().expect("an id");
        for (method, target) in [
            ("GET", format!("/containers/{out}/json")),
            ("GET", "/containers/outside/logs?stdout=1".to_owned()),
            ("POST", "/containers/outside/kill".to_owned()),
            ("POST", format!("/containers/{}/stop", &out[..12])),
            ("DELETE", "/containers/outside?force=1".to_owned()),
            ("POST", "/commit?container=outside".to_owned()),
            ("GET", "/volumes/out-volume".to_owned()),
            ("DELETE", "/volumes/out-volume".to_owned()),
            ("GET", "/networks/out-net".to_owned()),
            ("DELETE", "/networks/out-net".to_owned()),
            (
                "GET",
                "/containers/json?filters={%22before%22:[%22outside%22]}".to_owned(),
            ),
        ] {
            assert_eq!(team.status(method, &target), 404, "{method} {target}");
        }
        let connect = |network: &str, container: &str| {
            let body = json!({"Container": container});
            team.ask("POST", &format!("/networks/{network}/connect"), &body)
                .status
        };
        assert_eq!(connect("in-net", "outside"), 404);
        assert_eq!(connect("out-net", "inside"), 404);
        assert_eq!(connect("in-net", "inside"), 200);
        // What reaches beyond is not cut down in silence, and what chooses by labels is.
        assert_eq!(team.status("POST", "/images/prune"), 403);
        assert_eq!(team.status("GET", "/system/df"), 403);
        assert_eq!(
            team.status("POST", "/volumes/prune?filters={%22all%22:[%22true%22]}"),
            200
        );
        assert!(s.line("volume ls -q").ok().contains("out-volume"));
        assert_eq!(team.status("POST", "/containers/inside/stop?t=0"), 204);
        assert_eq!(s.inspect("outside", "/State/Running"), json!(true));
        let _ = s.line("rm -f inside outside").ok();
        let _ = s.line("network rm in-net out-net").ok();
        let _ = s.line("volume rm -f in-volume out-volume").ok();
    });
}

#[test]
fn what_is_made_gives_the_host_to_nobody() {
    with(Client::Hull, |s| {
        let _ = s.line("volume create --label team=a in-volume").ok();
        let _ = s.line("volume create out-volume").ok();
        let _ = s.line("network create out-net").ok();
        let _ = s.line("run -d --name outside busybox sleep 1000").ok();
        let host_network = s.line("network inspect -f {{.Id}} host").ok().to_owned();
        let team = Scoped::make(s, "team --allow all --label team=a --image busybox");
        let whole = Scoped::make(s, "whole --allow all");
        let refused = [
            json!({"Privileged": true}),
            json!({"Binds": ["/:/host"]}),
            json!({"Binds": ["../x:/host"]}),
            json!({"Mounts": [{"Type": "bind", "Source": "/", "Target": "/host"}]}),
            json!({"Mounts": [{"Type": "volume", "Target": "/m", "VolumeOptions":
                {"DriverConfig": {"Options": {"type": "none", "o": "bind", "device": "/"}}}}]}),
            json!({"Mounts": [{"Type": "image", "Source": "busybox", "Target": "/m"}]}),
            json!({"NetworkMode": "host"}),
            json!({"NetworkMode": host_network}),
            json!({"PidMode": "host"}),
            json!({"PidMode": "container:outside"}),
            json!({"IpcMode": "host"}),
            json!({"UTSMode": "host"}),
            json!({"UsernsMode": "host"}),
            json!({"CgroupnsMode": "host"}),
            json!({"CapAdd": ["SYS_ADMIN"]}),
            json!({"SecurityOpt": ["seccomp=unconfined"]}),
            json!({"MaskedPaths": []}),
            json!({"ReadonlyPaths": []}),
            json!({"Devices": [{"PathOnHost": "/dev/mem", "PathInContainer": "/dev/mem", "CgroupPermissions": "rwm"}]}),
            json!({"DeviceCgroupRules": ["a *:* rwm"]}),
            json!({"DeviceRequests": [{"Count": -1}]}),
            json!({"CgroupParent": "/"}),
            json!({"Runtime": "other"}),
            json!({"Sysctls": {"kernel.shmmax": "1"}}),
            json!({"VolumesFrom": ["outside"]}),
            json!({"Annotations": {"a": "b"}}),
            json!({"LogConfig": {"Type": "syslog", "Config": {"syslog-address": "udp://127.0.0.1:1"}}}),
            json!({"LogConfig": {"Type": "", "Config": {"syslog-address": "udp://127.0.0.1:1"}}}),
            json!({"NetworkMode": "container:outside"}),
            json!({"OomKillDisable": true}),
            json!({"OomScoreAdj": -1000}),
        ];
        for host in &refused {
            for scoped in [&team, &whole] {
                let (status, text) = scoped.create(host);
                // A network is looked for in the scope first.
                let missing = status == 404 && text.contains("network");
                assert!(status == 403 || missing, "{host}: {status} {text}");
            }
        }
        let with_address = json!({"Image": "busybox", "NetworkingConfig": {"EndpointsConfig":
            {"bridge": {"IPAMConfig": {"LinkLocalIPs": ["169.254.169.254"]}}}}});
        assert_eq!(
            whole
                .ask("POST", "/containers/create", &with_address)
                .status,
            403
        );
        let restored = "/containers/outside/start?checkpoint=c&checkpoint-dir=/tmp";
        assert_eq!(whole.status("POST", restored), 403);
        assert_eq!(
            whole.status("GET", "/containers/outside/top?ps_args=-eo+ppid=PID,args"),
            403
        );
        let taken = json!({"Name": "out-volume"});
        assert_eq!(team.ask("POST", "/volumes/create", &taken).status, 403);
        // Of the scope only.
        for host in [
            json!({"Binds": ["out-volume:/v"]}),
            json!({"Binds": ["new-volume:/v"]}),
            json!({"NetworkMode": "out-net"}),
            json!({"NetworkMode": "container:outside"}),
        ] {
            let (status, text) = team.create(&host);
            assert!(matches!(status, 403 | 404 | 400), "{host}: {status} {text}");
        }
        assert!(!s.line("volume ls -q").ok().contains("new-volume"));
        let other = json!({"Image": "other", "Labels": {"team": "a"}});
        assert_eq!(team.ask("POST", "/containers/create", &other).status, 403);
        let other = json!({"Image": "busybox", "Labels": {"team": "b"}});
        assert_eq!(team.ask("POST", "/containers/create", &other).status, 403);
        let volume =
            json!({"Name": "evil", "DriverOpts": {"type": "none", "o": "bind", "device": "/"}});
        assert_eq!(whole.ask("POST", "/volumes/create", &volume).status, 403);
        for network in [
            json!({"Name": "evil", "Driver": "macvlan", "Options": {"parent": "lo"}}),
            json!({"Name": "evil", "IPAM": {"Config": [{"Subnet": "10.0.0.0/8"}]}}),
        ] {
            assert_eq!(
                whole.ask("POST", "/networks/create", &network).status,
                403,
                "{network}"
            );
        }
        assert_eq!(
            team.status("POST", "/images/create?fromImage=other&tag=1"),
            403
        );
        assert_eq!(team.status("POST", "/images/busybox/tag?repo=other"), 403);
        used_by_docker(s, &team);
        let _ = s.line("rm -f outside").ok();
        let _ = s.line("network rm out-net").ok();
        let _ = s.line("volume rm in-volume out-volume").ok();
    });
}

/// What is allowed works with the real client, which sends empty members of every kind.
fn used_by_docker(s: &Setup<'_>, team: &Scoped) {
    if !Client::available().contains(&Client::Docker) {
        return;
    }
    let run = "run -d --name made -v in-volume:/v --memory 64m --init -p 127.0.0.1::80 busybox sleep 1000";
    let _ = team.docker(s, run).ok();
    assert_eq!(s.inspect("made", "/Config/Labels/team"), json!("a"));
    assert_eq!(team.docker(s, "exec made echo done").ok(), "done");
    assert!(
        team.docker(s, "exec --privileged made true")
            .fails(1)
            .contains("privileged")
    );
    let raised = team.ask(
        "POST",
        "/containers/made/update",
        &json!({"Devices": [{"PathOnHost": "/dev/mem"}]}),
    );
    assert_eq!(raised.status, 403);
    assert!(
        team.docker(s, "run --rm -v /:/host busybox true")
            .fails(125)
            .contains("host's files")
    );
    assert!(!team.docker(s, "ps -a").ok().contains("outside"));
    let _ = team.docker(s, "rm -f made").ok();
}

#[test]
fn a_grant_outlives_the_daemon_and_ends_for_all_when_it_is_taken_back() {
    with(Client::Hull, |s| {
        let made = Scoped::make(s, "short --allow containers:list,events");
        assert!(
            s.line("access create short --allow read")
                .fails(1)
                .contains("exists")
        );
        for wrong in [
            "access create ../x --allow read",
            "access create x",
            "access create x --allow fly:high",
        ] {
            let _ = s.line(wrong).fails(1);
        }
        s.daemon.kill();
        s.daemon.restart();
        assert_eq!(made.status("GET", "/containers/json"), 200);
        assert_eq!(made.status("GET", "/images/json"), 403);
        assert_eq!(s.line("access ls -q").ok(), "short");
        // One that listens is cut off.
        let mut listening = UnixStream::connect(&made.0).expect("connected");
        use std::io::{Read as _, Write as _};
        listening
            .write_all(b"GET /events HTTP/1.1\r\nHost: d\r\n\r\n")
            .expect("sent");
        let mut head = [0; 15];
        listening.read_exact(&mut head).expect("an answer");
        assert_eq!(&head, b"HTTP/1.1 200 OK");
        assert_eq!(s.line("access rm short").ok(), "short");
        let mut rest = Vec::new();
        let _ = listening.read_to_end(&mut rest);
        assert!(UnixStream::connect(&made.0).is_err());
        let _ = s.line("access inspect short").fails(1);
        assert_eq!(s.daemon.stop(), 0);
        s.daemon.restart();
        assert_eq!(s.line("access ls -q").ok(), "");
    });
}
