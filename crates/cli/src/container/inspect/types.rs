//! Which members of the daemon's answers are structs, lists and maps in Docker's own client: it prints them by that.

use crate::template::{Data, Empty, Shape};

/// Members that are maps, of whatever object.
const MAPS: &[&str] = &[
    "Annotations",
    "Containers",
    "DriverOpts",
    "ExposedPorts",
    "Labels",
    "Networks",
    "Options",
    "PortBindings",
    "Ports",
    "Status",
    "StorageOpt",
    "Sysctls",
    "Tmpfs",
    "Volumes",
];
/// Members that are lists.
const LISTS: &[&str] = &[
    "Aliases",
    "Args",
    "Binds",
    "BlkioDeviceReadBps",
    "BlkioDeviceReadIOps",
    "BlkioDeviceWriteBps",
    "BlkioDeviceWriteIOps",
    "BlkioWeightDevice",
    "CapAdd",
    "CapDrop",
    "Cmd",
    "DNSNames",
    "DeviceCgroupRules",
    "DeviceRequests",
    "Devices",
    "Dns",
    "DnsOptions",
    "DnsSearch",
    "Entrypoint",
    "Env",
    "ExecIDs",
    "ExtraHosts",
    "GroupAdd",
    "Layers",
    "Links",
    "MaskedPaths",
    "Mounts",
    "OnBuild",
    "ReadonlyPaths",
    "RepoDigests",
    "RepoTags",
    "SecurityOpt",
    "Shell",
    "Ulimits",
    "VolumesFrom",
];

/// Maps whose values are empty structs.
const SETS: &[&str] = &["ExposedPorts", "Volumes"];
/// Maps and lists whose items are structs.
const OF_STRUCTS: &[(&str, Shape)] = &[
    (
        "Containers",
        &[
            ("Name", ""),
            ("EndpointID", ""),
            ("MacAddress", ""),
            ("IPv4Address", ""),
            ("IPv6Address", ""),
        ],
    ),
    (
        "Devices",
        &[
            ("PathOnHost", ""),
            ("PathInContainer", ""),
            ("CgroupPermissions", ""),
        ],
    ),
    ("PortBindings", BINDING),
    ("Ports", BINDING),
];
const BINDING: Shape = &[("HostIp", ""), ("HostPort", "")];
/// Members that are structs.
const STRUCTS: &[(&str, Shape)] = &[
    ("ConfigFrom", &[("Network", "")]),
    ("GraphDriver", &[("Data", "map[]"), ("Name", "")]),
    (
        "IPAM",
        &[("Driver", ""), ("Options", "map[]"), ("Config", "[]")],
    ),
    ("LogConfig", &[("Type", ""), ("Config", "map[]")]),
    ("Metadata", &[("LastTagTime", "")]),
    ("RestartPolicy", &[("Name", ""), ("MaximumRetryCount", "0")]),
    ("RootFS", &[("Type", ""), ("Layers", "[]")]),
    (
        "State",
        &[
            ("Status", ""),
            ("Running", "false"),
            ("Paused", "false"),
            ("Restarting", "false"),
            ("OOMKilled", "false"),
            ("Dead", "false"),
            ("Pid", "0"),
            ("ExitCode", "0"),
            ("Error", ""),
            ("StartedAt", ""),
            ("FinishedAt", ""),
            ("Health", "<nil>"),
        ],
    ),
    ("docker", &[("Host", ""), ("SkipTLSVerify", "false")]),
];
/// A range of addresses of a network.
const RANGE: Shape = &[
    ("Subnet", ""),
    ("IPRange", ""),
    ("Gateway", ""),
    ("AuxAddress", "map[]"),
];
/// What a container has mounted.
const MOUNT: Shape = &[
    ("Type", ""),
    ("Name", ""),
    ("Source", ""),
    ("Destination", ""),
    ("Driver", ""),
    ("Mode", ""),
    ("RW", "false"),
    ("Propagation", ""),
];

/// Gives the members of an object their types.
pub(super) fn give(data: &mut Data) {
    match data {
        Data::Object(members) => {
            for (name, value) in members {
                match value {
                    Data::Null if MAPS.contains(&name.as_str()) => {
                        *value = Data::NullOf(Empty::Map);
                    }
                    Data::Null if LISTS.contains(&name.as_str()) => {
                        *value = Data::NullOf(Empty::List);
                    }
                    other => {
                        give(other);
                        member(name, other);
                    }
                }
            }
        }
        Data::List(items) => items.iter_mut().for_each(give),
        _ => {}
    }
}

fn member(name: &str, value: &mut Data) {
    if SETS.contains(&name) {
        return shape_items(value, &[]);
    }
    if let Some((_, shape)) = OF_STRUCTS.iter().find(|(known, _)| *known == name) {
        return shape_items(value, shape);
    }
    match name {
        // A request's mounts are told otherwise, and have no destination.
        "Mounts" if has(value, "Destination") => shape_items(value, MOUNT),
        "Config" if has(value, "Subnet") => shape_items(value, RANGE),
        _ => {
            if let Some((_, shape)) = STRUCTS.iter().find(|(known, _)| *known == name) {
                become_struct(value, shape);
            }
        }
    }
}

/// Whether it is a list whose items have such a member.
fn has(value: &Data, member: &str) -> bool {
    let Data::List(items) = value else {
        return false;
    };
    items.iter().all(|item| match item {
        Data::Object(members) => members.iter().any(|(name, _)| name == member),
        _ => false,
    })
}

/// Has the objects in a list or map, or in the lists of a map, be structs.
fn shape_items(value: &mut Data, shape: Shape) {
    match value {
        Data::List(items) => {
            for item in items {
                become_struct(item, shape);
            }
        }
        Data::Object(members) => {
            for (_, item) in members {
                match item {
                    Data::List(_) => shape_items(item, shape),
                    // A port that is exposed and not published has no list.
                    Data::Null => *item = Data::NullOf(Empty::List),
                    _ => become_struct(item, shape),
                }
            }
        }
        _ => {}
    }
}

fn become_struct(value: &mut Data, shape: Shape) {
    if let Data::Object(members) = value {
        *value = Data::Struct(std::mem::take(members), shape);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(json: &str) -> String {
        let mut data: Data = serde_json::from_str(json).unwrap();
        give(&mut data);
        let Data::Object(members) = &data else {
            panic!("no object");
        };
        members[0].1.to_string()
    }

    /// The texts are those of docker 28.5.
    #[test]
    fn members_are_printed_as_by_go() {
        for (json, expected) in [
            (
                r#"{"Ports":{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"}],"90/tcp":null}}"#,
                "map[80/tcp:[{0.0.0.0 8080}] 90/tcp:[]]",
            ),
            (r#"{"ExposedPorts":{"80/tcp":{}}}"#, "map[80/tcp:{}]"),
            (
                r#"{"RestartPolicy":{"Name":"no","MaximumRetryCount":0}}"#,
                "{no 0}",
            ),
            (
                r#"{"LogConfig":{"Type":"json-file","Config":{}}}"#,
                "{json-file map[]}",
            ),
            (
                r#"{"IPAM":{"Driver":"default","Options":{},"Config":[{"Subnet":"10.1.0.0/16","Gateway":"10.1.0.1"}]}}"#,
                "{default map[] [{10.1.0.0/16  10.1.0.1 map[]}]}",
            ),
            (
                r#"{"Mounts":[{"Type":"bind","Source":"/a","Destination":"/b","Mode":"","RW":true,"Propagation":"rprivate"}]}"#,
                "[{bind  /a /b   true rprivate}]",
            ),
            (r#"{"Mounts":[]}"#, "[]"),
            (r#"{"Binds":null}"#, "[]"),
            (r#"{"Labels":null}"#, "map[]"),
        ] {
            assert_eq!(shown(json), expected, "{json}");
        }
    }
}
