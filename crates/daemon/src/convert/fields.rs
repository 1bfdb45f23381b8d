//! Every member of a request to create: that it takes effect, or is refused, or warned about. None is accepted and
//! ignored, but for those that say nothing to a daemon.

use super::create::{Host, config};
use crate::config::ContainerDefaults;
use crate::version::ApiVersion;
use hull_api::container::{Config, CreateRequest, HostConfig};
use serde::de::{DeserializeOwned, Deserializer, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Map, Value, json};

/// Members of the outer object that dockerd keeps for others to see and does not look at itself, and why.
const SHOWN: [(&str, &str); 6] = [
    ("AttachStdin", "the client's own: what it will attach"),
    ("AttachStdout", "as AttachStdin"),
    ("AttachStderr", "as AttachStdin"),
    ("ArgsEscaped", "for Windows' command lines"),
    ("OnBuild", "for builds from an image made of the container"),
    ("Shell", "as OnBuild"),
];

/// Members of `HostConfig` of that kind.
const SHOWN_OF_HOST: [(&str, &str); 2] = [
    ("ContainerIDFile", "the client writes it"),
    (
        "KernelMemory",
        "no member of this version of the API any more",
    ),
];

/// What the outer object may say, a value each that is not what would be without it.
const VALUES: &str = r#"{
    "Hostname": "h", "Domainname": "d", "User": "1", "Image": "other", "WorkingDir": "/w",
    "ExposedPorts": {"80/tcp": {}}, "Tty": true, "OpenStdin": true, "StdinOnce": true, "Env": ["A=1"],
    "Cmd": ["c"], "Entrypoint": ["e"], "Healthcheck": {"Test": ["CMD", "x"]}, "Volumes": {"/v": {}},
    "NetworkDisabled": true, "MacAddress": "02:00:00:00:00:01", "Labels": {"a": "b"}, "StopSignal": "SIGINT",
    "StopTimeout": 3
}"#;

/// What `HostConfig` may say.
const HOST_VALUES: &str = r#"{
    "Binds": ["/a:/b"], "LogConfig": {"Type": "none"}, "NetworkMode": "none",
    "PortBindings": {"80/tcp": [{"HostPort": "80"}]}, "RestartPolicy": {"Name": "always"}, "AutoRemove": true,
    "VolumeDriver": "nosuch", "VolumesFrom": ["other"], "ConsoleSize": [1, 2], "Annotations": {"a": "b"},
    "CapAdd": ["KILL"], "CapDrop": ["KILL"], "CgroupnsMode": "private", "Dns": ["1.1.1.1"],
    "DnsOptions": ["ndots:1"], "DnsSearch": ["example.com"], "ExtraHosts": ["a:1.1.1.1"], "GroupAdd": ["1"],
    "IpcMode": "host", "Cgroup": "container:other", "Links": ["other"], "OomScoreAdj": 1, "PidMode": "host",
    "Privileged": true, "PublishAllPorts": true, "ReadonlyRootfs": true, "SecurityOpt": ["no-new-privileges"],
    "StorageOpt": {"size": "1G"}, "Tmpfs": {"/t": ""}, "UTSMode": "host", "UsernsMode": "nosuch",
    "ShmSize": 1, "Sysctls": {"net.a": "1"}, "Runtime": "other", "Isolation": "hyperv", "CpuShares": 1,
    "Memory": 1, "NanoCpus": 1, "CgroupParent": "p", "BlkioWeight": 1,
    "BlkioWeightDevice": [{"Path": "/dev/loop0", "Weight": 1}],
    "BlkioDeviceReadBps": [{"Path": "/dev/loop0", "Rate": 1}],
    "BlkioDeviceWriteBps": [{"Path": "/dev/loop0", "Rate": 1}],
    "BlkioDeviceReadIOps": [{"Path": "/dev/loop0", "Rate": 1}],
    "BlkioDeviceWriteIOps": [{"Path": "/dev/loop0", "Rate": 1}],
    "CpuPeriod": 1, "CpuQuota": 1, "CpuRealtimePeriod": 1, "CpuRealtimeRuntime": 1, "CpusetCpus": "0",
    "CpusetMems": "0", "Devices": [{"PathOnHost": "/dev/null"}], "DeviceCgroupRules": ["c 1:1 r"],
    "DeviceRequests": [{"Driver": "cdi"}], "KernelMemoryTCP": 1, "MemoryReservation": 1, "MemorySwap": 1,
    "MemorySwappiness": 1, "OomKillDisable": true, "PidsLimit": 1, "Ulimits": [{"Name": "core"}], "CpuCount": 1,
    "CpuPercent": 1, "IOMaximumIOps": 1, "IOMaximumBandwidth": 1,
    "Mounts": [{"Type": "tmpfs", "Target": "/m"}], "MaskedPaths": [], "ReadonlyPaths": [], "Init": true
}"#;

/// The names of a type's members, as its deserialisation asks for them.
struct Members<'a>(&'a mut Vec<&'static str>);

impl<'de> Deserializer<'de> for Members<'_> {
    type Error = serde::de::value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(serde::de::Error::custom("no struct"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Self::Error> {
        self.0.extend(fields);
        Err(serde::de::Error::custom("the names were all"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

fn members<T: DeserializeOwned>() -> Vec<&'static str> {
    let mut names = Vec::new();
    let asked = T::deserialize(Members(&mut names));
    assert!(asked.is_err() && !names.is_empty());
    names
}

/// What becomes of a request: the configuration without the words it came in, or that it is refused or warned about.
fn outcome(body: &Value) -> Option<hull_engine::container::Config> {
    let body = serde_json::to_vec(body).unwrap();
    let request = CreateRequest::from_slice(&body).unwrap();
    let host = Host {
        cgroup_v2: false,
        settings: &ContainerDefaults::default(),
    };
    match config(request, None, host, ApiVersion::NEWEST) {
        Ok(asked) if asked.warnings.is_empty() => Some(hull_engine::container::Config {
            request: None,
            ..asked.config
        }),
        _ => None,
    }
}

fn check(names: &[&str], values: &str, shown: &[(&str, &str)], within: &str) {
    let values: Map<String, Value> = serde_json::from_str(values).unwrap();
    // With a volume: what makes volumes has something to make.
    let base = json!({"Image": "i", "HostConfig": {"Binds": ["named:/n"]}});
    let plain = outcome(&base);
    assert!(plain.is_some());
    for name in names {
        let is_shown = shown.iter().any(|(member, _)| member == name);
        let Some(value) = values.get(*name) else {
            assert!(is_shown, "{within}{name}: does it take effect?");
            continue;
        };
        assert!(
            !is_shown,
            "{within}{name} is only shown, and has a value here"
        );
        let mut body = base.clone();
        match within {
            "" => body[*name] = value.clone(),
            within => body[within][*name] = value.clone(),
        }
        assert_ne!(outcome(&body), plain, "{within} {name} is ignored");
    }
    for (name, _) in &values {
        assert!(names.contains(&name.as_str()), "{within} has no {name}");
    }
}

#[test]
fn every_member_takes_effect_or_is_refused() {
    check(&members::<Config>(), VALUES, &SHOWN, "");
    check(
        &members::<HostConfig>(),
        HOST_VALUES,
        &SHOWN_OF_HOST,
        "HostConfig",
    );
}
