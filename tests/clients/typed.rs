//! What Hull answers, read by the types of bollard, which are generated from Docker's description of its API: a field of another
//! kind, or a value that the description does not have, is an error. scripts/test-clients builds this as one more of the tests
//! of that crate, with its dependencies.

#![recursion_limit = "512"]

use bollard::container::LogOutput;
use bollard::exec::StartExecResults;
use bollard::models::{
    ContainerCreateBody, ContainerStateStatusEnum, ContainerUpdateBody, EventMessageTypeEnum, ExecConfig,
    HealthStatusEnum, NetworkConnectRequest, NetworkCreateRequest, NetworkDisconnectRequest, VolumeCreateOptions,
};
use bollard::query_parameters::*;
use bollard::{Docker, body_full};
use futures_util::{Stream, StreamExt, TryStreamExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::HashMap;

const IMAGE: &str = "busybox:latest";

fn docker() -> Docker {
    Docker::connect_with_unix_defaults().unwrap()
}

/// A request's type, from the JSON that the API's description has.
fn from<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn filters(name: &str, value: &str) -> HashMap<String, Vec<String>> {
    HashMap::from([(name.to_owned(), vec![value.to_owned()])])
}

/// All that was asked for is what is told; what else is told are defaults.
fn assert_kept(asked: &Value, told: &Value, place: &str) {
    match (asked, told) {
        (Value::Object(asked), Value::Object(told)) => {
            for (name, value) in asked {
                let place = format!("{place}/{name}");
                assert_kept(value, told.get(name).unwrap_or(&Value::Null), &place);
            }
        }
        (Value::Array(asked), Value::Array(told)) if asked.len() == told.len() => {
            asked
                .iter()
                .zip(told)
                .for_each(|(asked, told)| assert_kept(asked, told, place));
        }
        _ => assert_eq!(asked, told, "{place}"),
    }
}

async fn create(docker: &Docker, name: &str, body: Value) -> String {
    let options = CreateContainerOptionsBuilder::new().name(name).build();
    let made = docker
        .create_container(Some(options), from::<ContainerCreateBody>(body))
        .await
        .unwrap();
    assert_eq!(made.warnings, [] as [String; 0]);
    made.id
}

async fn started(docker: &Docker, name: &str, script: &str) -> String {
    let body = json!({"Image": IMAGE, "Cmd": ["sh", "-c", script], "HostConfig": {"NetworkMode": "none"}});
    let id = create(docker, name, body).await;
    docker
        .start_container(name, None::<StartContainerOptions>)
        .await
        .unwrap();
    id
}

async fn removed(docker: &Docker, name: &str) {
    let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
    docker.remove_container(name, Some(options)).await.unwrap();
}

async fn collected<T, E: std::fmt::Debug>(stream: impl Stream<Item = Result<T, E>>) -> Vec<T> {
    stream.try_collect().await.unwrap()
}

#[tokio::test]
async fn the_daemon_tells_of_itself() {
    let docker = docker();
    assert_eq!(docker.ping().await.unwrap(), "OK");
    let version = docker.version().await.unwrap();
    assert_eq!(version.os.as_deref(), Some("linux"));
    assert!(version.components.unwrap().iter().any(|part| part.name == "Engine"));
    let info = docker.info().await.unwrap();
    assert_eq!(info.server_version, version.version);
    assert!(info.runtimes.unwrap().contains_key("runc"));
    assert!(info.plugins.unwrap().network.unwrap().contains(&"bridge".to_owned()));
    let usage = docker.df(None::<DataUsageOptions>).await.unwrap();
    assert!(
        usage
            .images
            .unwrap()
            .iter()
            .any(|image| image.repo_tags.contains(&IMAGE.to_owned()))
    );
}

#[tokio::test]
async fn what_is_asked_for_is_what_is_inspected() {
    let docker = docker();
    let body = json!({
        "Image": IMAGE, "Cmd": ["600"], "Entrypoint": ["/bin/sleep"], "Hostname": "h", "Domainname": "d.example", "User": "1:2",
        "Env": ["A=b", "PATH=/bin"], "WorkingDir": "/tmp", "Labels": {"typed": "all"}, "StopSignal": "SIGINT", "StopTimeout": 3, "Tty": true,
        "OpenStdin": true, "StdinOnce": true, "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/anonymous": {}},
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1_000_000_000, "Timeout": 2_000_000_000, "Retries": 4, "StartPeriod": 5_000_000_000_i64},
        "HostConfig": {
            "Memory": 67_108_864, "MemorySwap": 134_217_728, "MemoryReservation": 33_554_432, "CpuShares": 512, "NanoCpus": 500_000_000,
            "CpusetCpus": "0", "PidsLimit": 64, "OomScoreAdj": 100, "ShmSize": 1_048_576, "Init": true, "ReadonlyRootfs": true,
            "CapAdd": ["NET_ADMIN"], "CapDrop": ["MKNOD"], "SecurityOpt": ["no-new-privileges"], "GroupAdd": ["5"],
            "Dns": ["192.0.2.1"], "DnsOptions": ["ndots:2"], "DnsSearch": ["example"], "ExtraHosts": ["a:192.0.2.2"],
            "Tmpfs": {"/scratch": "size=1m"}, "Ulimits": [{"Name": "nofile", "Soft": 512, "Hard": 1024}], "IpcMode": "private", "CgroupnsMode": "private",
            "Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/nothing", "CgroupPermissions": "r"}], "Sysctls": {"net.ipv4.ip_default_ttl": "63"},
            "Binds": ["/usr:/host:ro"], "Mounts": [{"Type": "volume", "Source": "typed-mount", "Target": "/data", "VolumeOptions": {"Labels": {"a": "b"}}}],
            "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18080"}]}, "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2},
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}}, "Annotations": {"note": "x"}, "Runtime": "runc"
        }
    });
    create(&docker, "typed-all", body.clone()).await;
    docker
        .start_container("typed-all", None::<StartContainerOptions>)
        .await
        .unwrap();
    let told = docker
        .inspect_container("typed-all", Some(InspectContainerOptions { size: true }))
        .await
        .unwrap();
    let state = told.state.as_ref().unwrap();
    assert_eq!(
        (state.status, state.running),
        (Some(ContainerStateStatusEnum::RUNNING), Some(true))
    );
    assert!(matches!(
        state.health.as_ref().unwrap().status,
        Some(HealthStatusEnum::STARTING | HealthStatusEnum::HEALTHY)
    ));
    assert!(told.size_rw.is_some() && told.size_root_fs.unwrap() > 0);
    assert_eq!(told.mounts.as_ref().unwrap().len(), 3);
    let settings = told.network_settings.as_ref().unwrap();
    assert_eq!(
        settings.ports.as_ref().unwrap()["80/tcp"].as_ref().unwrap()[0]
            .host_port
            .as_deref(),
        Some("18080")
    );
    let (config, host) = (
        serde_json::to_value(&told.config).unwrap(),
        serde_json::to_value(&told.host_config).unwrap(),
    );
    assert_kept(&body["HostConfig"], &host, "HostConfig");
    let mut asked = body;
    asked.as_object_mut().unwrap().remove("HostConfig");
    assert_kept(&asked, &config, "Config");
    let options = ListContainersOptionsBuilder::new()
        .all(true)
        .size(true)
        .filters(&filters("label", "typed=all"))
        .build();
    let list = docker.list_containers(Some(options)).await.unwrap();
    assert_eq!(
        (list.len(), list[0].names.as_deref()),
        (1, Some(&["/typed-all".to_owned()][..]))
    );
    assert!(
        list[0]
            .ports
            .as_ref()
            .unwrap()
            .iter()
            .any(|port| port.public_port == Some(18080))
    );
    let update = json!({"Memory": 50_331_648, "MemorySwap": 134_217_728, "RestartPolicy": {"Name": "no"}});
    docker
        .update_container("typed-all", from::<ContainerUpdateBody>(update))
        .await
        .unwrap();
    let told = docker
        .inspect_container("typed-all", None::<InspectContainerOptions>)
        .await
        .unwrap();
    assert_eq!(told.host_config.unwrap().memory, Some(50_331_648));
    removed(&docker, "typed-all").await;
    docker
        .remove_volume("typed-mount", None::<RemoveVolumeOptions>)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_life_and_what_is_heard_of_it() {
    let docker = docker();
    let id = started(
        &docker,
        "typed-life",
        "echo out; echo err >&2; touch /new; trap 'exit 7' TERM; while :; do sleep 0.1; done",
    )
    .await;
    let mut logs = docker.logs(
        "typed-life",
        Some(LogsOptionsBuilder::new().follow(true).stdout(true).stderr(true).build()),
    );
    let (mut out, mut err) = (String::new(), String::new());
    while out.is_empty() || err.is_empty() {
        match logs.next().await.unwrap().unwrap() {
            LogOutput::StdOut { message } => out.push_str(&String::from_utf8_lossy(&message)),
            LogOutput::StdErr { message } => err.push_str(&String::from_utf8_lossy(&message)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((out.as_str(), err.as_str()), ("out\n", "err\n"));
    let top = docker.top_processes("typed-life", None::<TopOptions>).await.unwrap();
    assert!(top.titles.unwrap().contains(&"PID".to_owned()) && !top.processes.unwrap().is_empty());
    let stats = collected(docker.stats("typed-life", Some(StatsOptionsBuilder::new().stream(false).build()))).await;
    assert_eq!(stats[0].id.as_deref(), Some(id.as_str()));
    assert!(stats[0].memory_stats.is_some() && stats[0].pids_stats.is_some() && stats[0].cpu_stats.is_some());
    docker.pause_container("typed-life").await.unwrap();
    let told = docker
        .inspect_container("typed-life", None::<InspectContainerOptions>)
        .await
        .unwrap();
    assert_eq!(told.state.unwrap().status, Some(ContainerStateStatusEnum::PAUSED));
    docker.unpause_container("typed-life").await.unwrap();
    let changes = docker.container_changes("typed-life").await.unwrap().unwrap();
    assert!(changes.iter().any(|change| change.path == "/new"), "{changes:?}");
    let waiting = docker.wait_container("typed-life", None::<WaitContainerOptions>);
    docker
        .stop_container("typed-life", None::<StopContainerOptions>)
        .await
        .unwrap();
    // bollard makes an error of what is not 0.
    let ended = waiting.collect::<Vec<_>>().await;
    assert!(
        matches!(
            ended[..],
            [Err(bollard::errors::Error::DockerContainerWaitError { code: 7, .. })]
        ),
        "{ended:?}"
    );
    removed(&docker, "typed-life").await;
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() + 1;
    let options = EventsOptionsBuilder::new()
        .since("1")
        .until(&now.to_string())
        .filters(&filters("container", &id))
        .build();
    let events = collected(docker.events(Some(options))).await;
    assert!(
        events
            .iter()
            .all(|event| event.typ == Some(EventMessageTypeEnum::CONTAINER))
    );
    let actions: Vec<_> = events.iter().filter_map(|event| event.action.as_deref()).collect();
    for action in ["create", "start", "pause", "unpause", "kill", "die", "stop", "destroy"] {
        assert!(actions.contains(&action), "{action} is not in {actions:?}");
    }
}

#[tokio::test]
async fn commands_and_files() {
    let docker = docker();
    started(&docker, "typed-exec", "sleep 600").await;
    let config = json!({"AttachStdout": true, "AttachStderr": true, "Cmd": ["sh", "-c", "echo $A; pwd; exit 3"], "Env": ["A=b"], "WorkingDir": "/tmp"});
    let exec = docker
        .create_exec("typed-exec", from::<ExecConfig>(config))
        .await
        .unwrap()
        .id;
    let StartExecResults::Attached { output, .. } = docker.start_exec(&exec, None).await.unwrap() else {
        panic!("detached")
    };
    let said: String = collected(output).await.iter().map(ToString::to_string).collect();
    assert_eq!(said, "b\n/tmp\n");
    let told = docker.inspect_exec(&exec).await.unwrap();
    assert_eq!(
        (told.exit_code, told.running, told.container_id.map(|id| id.len())),
        (Some(3), Some(false), Some(64))
    );

    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(4);
    header.set_mode(0o640);
    archive.append_data(&mut header, "file", &b"text"[..]).unwrap();
    let upload = UploadToContainerOptionsBuilder::new().path("/tmp").build();
    docker
        .upload_to_container(
            "typed-exec",
            Some(upload),
            body_full(archive.into_inner().unwrap().into()),
        )
        .await
        .unwrap();
    let download = DownloadFromContainerOptionsBuilder::new().path("/tmp/file").build();
    let bytes = collected(docker.download_from_container("typed-exec", Some(download)))
        .await
        .concat();
    let mut archive = tar::Archive::new(&bytes[..]);
    let entry = archive.entries().unwrap().next().unwrap().unwrap();
    assert_eq!((entry.size(), entry.header().mode().unwrap()), (4, 0o640));
    removed(&docker, "typed-exec").await;
}

#[tokio::test]
async fn images_are_listed_made_and_removed() {
    let docker = docker();
    started(&docker, "typed-image", "echo kept > /kept").await;
    collected(docker.wait_container("typed-image", None::<WaitContainerOptions>)).await;
    let options = CommitContainerOptionsBuilder::new()
        .container("typed-image")
        .repo("typed")
        .tag("1")
        .comment("c")
        .author("a")
        .build();
    let id = docker
        .commit_container(
            options,
            from::<bollard::models::ContainerConfig>(json!({"Labels": {"l": "m"}})),
        )
        .await
        .unwrap()
        .id;
    let told = docker.inspect_image("typed:1").await.unwrap();
    assert_eq!(
        (told.id.as_deref(), told.author.as_deref(), told.comment.as_deref()),
        (Some(id.as_str()), Some("a"), Some("c"))
    );
    assert_eq!(told.config.unwrap().labels.unwrap()["l"], "m");
    assert_eq!(told.root_fs.unwrap().layers.unwrap().len(), 2);
    let history = docker.image_history("typed:1").await.unwrap();
    assert_eq!(
        (history.len(), history[0].comment.as_str(), history[0].tags.as_slice()),
        (2, "c", &["typed:1".to_owned()][..])
    );
    let options = ListImagesOptionsBuilder::new()
        .filters(&filters("reference", "typed"))
        .build();
    let list = docker.list_images(Some(options)).await.unwrap();
    assert_eq!(
        (list.len(), list[0].repo_tags.as_slice()),
        (1, &["typed:1".to_owned()][..])
    );
    removed(&docker, "typed-image").await;
    let gone = docker
        .remove_image("typed:1", None::<RemoveImageOptions>, None)
        .await
        .unwrap();
    assert!(gone.iter().any(|item| item.untagged.as_deref() == Some("typed:1")));
    assert!(gone.iter().any(|item| item.deleted.as_deref() == Some(id.as_str())));
    let refused = docker.inspect_image("typed:1").await.unwrap_err();
    assert!(
        matches!(
            refused,
            bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }
        ),
        "{refused:?}"
    );
}

#[tokio::test]
async fn networks_and_volumes() {
    let docker = docker();
    let asked = json!({"Name": "typed-net", "Driver": "bridge", "Internal": true, "EnableIPv6": true, "Labels": {"a": "b"},
        "IPAM": {"Driver": "default", "Config": [{"Subnet": "10.213.0.0/24", "IPRange": "10.213.0.128/25", "Gateway": "10.213.0.1"}, {"Subnet": "fd00:213::/64"}]}});
    let id = docker
        .create_network(from::<NetworkCreateRequest>(asked.clone()))
        .await
        .unwrap()
        .id;
    started(&docker, "typed-member", "sleep 600").await;
    docker
        .disconnect_network(
            "none",
            from::<NetworkDisconnectRequest>(json!({"Container": "typed-member", "Force": false})),
        )
        .await
        .unwrap();
    let connect = json!({"Container": "typed-member", "EndpointConfig": {"IPAMConfig": {"IPv4Address": "10.213.0.200"}, "Aliases": ["one"], "GwPriority": 5}});
    docker
        .connect_network("typed-net", from::<NetworkConnectRequest>(connect))
        .await
        .unwrap();
    let told = docker
        .inspect_network("typed-net", None::<InspectNetworkOptions>)
        .await
        .unwrap();
    let member = told.containers.as_ref().unwrap().values().next().unwrap();
    assert_eq!(
        (member.name.as_deref(), member.ipv4_address.as_deref()),
        (Some("typed-member"), Some("10.213.0.200/24"))
    );
    let mut told = serde_json::to_value(&told).unwrap();
    // The gateway of the second is chosen.
    told["IPAM"]["Config"][1].as_object_mut().unwrap().remove("Gateway");
    assert_kept(&asked, &told, "network");
    let container = docker
        .inspect_container("typed-member", None::<InspectContainerOptions>)
        .await
        .unwrap();
    let endpoint = container
        .network_settings
        .unwrap()
        .networks
        .unwrap()
        .remove("typed-net")
        .unwrap();
    assert_eq!(
        (endpoint.network_id.as_deref(), endpoint.gw_priority),
        (Some(id.as_str()), Some(5))
    );
    assert!(endpoint.dns_names.unwrap().contains(&"one".to_owned()));
    let options = ListNetworksOptionsBuilder::new()
        .filters(&filters("name", "typed-net"))
        .build();
    assert_eq!(docker.list_networks(Some(options)).await.unwrap().len(), 1);
    removed(&docker, "typed-member").await;
    docker.remove_network("typed-net").await.unwrap();

    let asked = json!({"Name": "typed-volume", "Driver": "local", "DriverOpts": {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}, "Labels": {"a": "b"}});
    let made = docker.create_volume(from::<VolumeCreateOptions>(asked)).await.unwrap();
    assert_eq!(
        (
            made.name.as_str(),
            made.options["o"].as_str(),
            made.labels["a"].as_str()
        ),
        ("typed-volume", "size=1m", "b")
    );
    assert_eq!(docker.inspect_volume("typed-volume").await.unwrap(), made);
    let options = ListVolumesOptionsBuilder::new()
        .filters(&filters("label", "a=b"))
        .build();
    assert!(
        docker
            .list_volumes(Some(options))
            .await
            .unwrap()
            .volumes
            .unwrap()
            .contains(&made)
    );
    docker
        .remove_volume("typed-volume", None::<RemoveVolumeOptions>)
        .await
        .unwrap();
}
