//! Flags and files, as they are given and as they are meant.

use super::*;
use clap::Parser;

fn settings(args: &[&str], file: Option<&str>) -> Result<Settings, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("daemon.json");
    let mut all = vec!["hull daemon".to_owned()];
    all.extend(args.iter().map(|arg| (*arg).to_owned()));
    if let Some(file) = file {
        fs_err::write(&path, file).unwrap();
        all.push(format!("--config-file={}", path.display()));
    }
    let flags = Flags::try_parse_from(all).map_err(|error| error.to_string())?;
    Settings::new(flags).map_err(|error| error.to_string().replace(path.to_str().unwrap(), "FILE"))
}

#[test]
fn everything_has_a_default() {
    let settings = settings(&[], Some("{}")).unwrap();
    assert_eq!(settings.hosts[0].to_string(), "unix:///run/hull/hull.sock");
    assert_eq!(settings.data_root, Path::new("/var/lib/hull"));
    assert_eq!(settings.pidfile, Path::new("/run/hull/hull.pid"));
    assert_eq!(settings.log_level, LevelFilter::INFO);
    assert_eq!(settings.default_runtime, "hull-runtime");
    assert_eq!(settings.transfer.limits.downloads, 6);
    assert_eq!(settings.transfer.config_dirs.len(), 2);
}

#[test]
fn transfers_have_limits_and_proxies() {
    let text = r#"{"max-concurrent-downloads":3,"max-concurrent-uploads":0,"max-download-attempts":2,
        "push-compression":"zstd:5","registry-config-dirs":["/c"],
        "proxies":{"http-proxy":"http://p:1","no-proxy":"a,b"}}"#;
    let transfer = settings(&["--https-proxy=http://q:2"], Some(text))
        .unwrap()
        .transfer;
    let limits = transfer.limits;
    assert_eq!(
        (limits.downloads, limits.uploads, limits.attempts),
        (3, 6, 2)
    );
    assert_eq!(
        transfer.compression,
        hull_engine::image::Compression::Zstd(5)
    );
    assert_eq!(transfer.config_dirs, [Path::new("/c")]);
    assert_eq!(transfer.proxies.http.as_deref(), Some("http://p:1"));
    assert_eq!(transfer.proxies.https.as_deref(), Some("http://q:2"));
}

#[test]
fn flags_are_dockerds() {
    let settings = settings(
        &[
            "-H",
            "unix:///a",
            "--host=tcp://127.0.0.1:1",
            "--data-root",
            "/d",
            "--exec-root=/e",
            "-p",
            "/p",
            "--insecure-registry",
            "10.0.0.0/8",
            "--registry-mirror=http://m:5000",
            "-l",
            "warn",
            "--default-runtime=crun",
            "--add-runtime",
            "crun=/usr/bin/crun",
            "-G",
            "wheel",
            "--store-format=directory",
            "--keep-compressed-layers=false",
        ],
        None,
    )
    .unwrap();
    assert_eq!(settings.hosts.len(), 2);
    assert_ne!(settings.store_format, StoreFormat::Auto);
    assert!(!settings.keep_compressed_layers);
    assert_eq!(settings.registry_mirrors, ["http://m:5000/"]);
    assert_eq!(settings.runtimes["crun"].path, Path::new("/usr/bin/crun"));
    assert_eq!(
        (settings.group.as_deref(), settings.log_level),
        (Some("wheel"), LevelFilter::WARN)
    );
}

#[test]
fn the_file_has_dockerds_keys() {
    let settings = settings(
        &["-D"],
        Some(
            r#"{"hosts":["unix:///a"],"data-root":"/d","exec-root":"/e","pidfile":"/p","insecure-registries":["a:1"],
            "registry-mirrors":["https://m"],"log-level":"error","default-runtime":"r","group":"g",
            "runtimes":{"r":{"path":"/r","runtimeArgs":["--x"]}}}"#,
        ),
    )
    .unwrap();
    assert_eq!(settings.log_level, LevelFilter::DEBUG);
    assert_eq!(settings.runtimes["r"].args, ["--x"]);
    assert_eq!(settings.insecure_registries, ["a:1"]);
}

#[test]
fn mistakes_are_told_as_dockerd_tells_them() {
    let refused = |args: &[&str], file| settings(args, file).unwrap_err();
    assert_eq!(
        refused(&[], Some(r#"{"nope":1,"hosts":[]}"#)),
        "unable to configure the daemon with file FILE: the following directives don't match any configuration option: nope"
    );
    assert_eq!(
        refused(&[], Some(r#"{"nope":1,"log-opt":{}}"#)),
        "unable to configure the daemon with file FILE: the following directives don't match any configuration option: log-opt, nope (did you mean log-opts?)"
    );
    assert_eq!(
        refused(&[], Some(r#"{"hosts":}"#)),
        "unable to configure the daemon with file FILE: invalid JSON: expected value at line 1 column 10"
    );
    assert_eq!(
        refused(
            &["-H", "unix:///a", "-D"],
            Some(r#"{"hosts":["unix:///tmp/x"],"debug":true}"#)
        ),
        "unable to configure the daemon with file FILE: the following directives are specified both as a flag and in the configuration file: debug: (from flag: true, from file: true), hosts: (from flag: [unix:///a], from file: [unix:///tmp/x])"
    );
    assert_eq!(refused(&["-l", "foo"], None), "invalid logging level: foo");
    assert_eq!(
        refused(&["--log-driver=syslog", "--log-opt=nope=1"], None),
        "failed to set log opts: unknown log opt 'nope' for syslog log driver"
    );
    assert_eq!(
        refused(&["--registry-mirror", "foo"], None),
        "invalid mirror: no scheme specified for \"foo\": must use either 'https://' or 'http://'"
    );
    assert_eq!(
        refused(&["--default-runtime", "x"], None),
        "specified default runtime 'x' does not exist"
    );
    assert!(refused(&["--add-runtime", "x"], None).contains("name=path"));
    assert_eq!(
        refused(&["--store-format", "zip"], None),
        "invalid store format: zip: use auto, erofs or directory"
    );
    assert!(refused(&["--data-root", "d"], None).contains("absolute"));
    assert_eq!(
        refused(&["--max-concurrent-uploads=-1"], None),
        "invalid max concurrent uploads: -1"
    );
    assert_eq!(
        refused(&[], Some(r#"{"max-download-attempts":0}"#)),
        "invalid max download attempts: 0"
    );
    assert!(refused(&["--push-compression=xz"], None).contains("xz"));
    assert!(refused(&["--nope"], None).contains("--nope"));
    assert!(refused(&["extra"], None).contains("extra"));
}

/// `flag, file, what is said of them`, recorded from dockerd 28.5; it finds out about addresses of the
/// bridge at its start only.
const NETWORKS: &[(&str, &str, &str)] = &[
    ("--mtu=-1", "{}", "invalid default MTU: -1"),
    (
        "--dns=x",
        "{}",
        "invalid argument \"x\" for \"--dns\" flag: invalid string being converted to IP address: x",
    ),
    ("--debug", r#"{"dns":["x"]}"#, "invalid IP address: x"),
    ("--dns-search=a b", "{}", "a b is not a valid domain"),
    (
        "--default-address-pool=x",
        "{}",
        "invalid argument \"x\" for \"--default-address-pool\" flag: invalid field 'x' must be a key=value pair",
    ),
    (
        "--default-network-opt=bridge=x",
        "{}",
        "invalid argument \"bridge=x\" for \"--default-network-opt\" flag: invalid value \"bridge=x\" for map option, should be root-key=key=value",
    ),
    (
        "--debug",
        r#"{"host-gateway-ips":["1.2.3.4"],"host-gateway-ip":"1.2.3.4"}"#,
        "host-gateway-ip and host-gateway-ips must not both be specified in the config file",
    ),
    (
        "--debug",
        r#"{"host-gateway-ips":["1.2.3.4","1.2.3.5"]}"#,
        "only one IPv4 host gateway IP address can be specified",
    ),
    (
        "--icc=false",
        r#"{"icc":false}"#,
        "the following directives are specified both as a flag and in the configuration file: icc: (from flag: false, from file: false)",
    ),
    (
        "--dns=2.2.2.2",
        r#"{"dns":["1.1.1.1"]}"#,
        "the following directives are specified both as a flag and in the configuration file: dns: (from flag: [2.2.2.2], from file: [1.1.1.1])",
    ),
    (
        "--debug",
        r#"{"bridge":"b","bip":"10.0.0.1/24"}"#,
        "You specified -b & --bip, mutually exclusive options. Please specify only one",
    ),
    (
        "--bip=10.0.0.1",
        "{}",
        "invalid bip: invalid CIDR address: 10.0.0.1",
    ),
    (
        "--default-gateway-v6=1.2.3.4",
        "{}",
        "invalid default-gateway-v6: 1.2.3.4 is no IPv6 address",
    ),
    (
        "--debug",
        r#"{"default-address-pools":[{"base":"10.0.0.0/16","size":8}]}"#,
        "invalid default-address-pools: the size of 10.0.0.0/16 must be from 16 to 32",
    ),
    (
        "--publish=x",
        "{}",
        "invalid publish mode: x: use nat or host-firewall",
    ),
    (
        "--firewall-backend=x",
        "{}",
        "invalid firewall-backend \"x\"",
    ),
];

#[test]
fn networks_are_set_up_with_dockerds_words() {
    let refused = |args: &[&str], file| {
        let error = settings(args, file).unwrap_err();
        let reason = error.strip_prefix("unable to configure the daemon with file FILE: ");
        reason.unwrap_or(&error).to_owned()
    };
    for (flag, file, error) in NETWORKS {
        assert_eq!(refused(&[flag], Some(file)), *error);
    }
}

#[test]
fn networks_have_dockerds_flags_and_keys() {
    let file = r#"{"bip":"10.9.0.1/24","mtu":1400,"ip":"127.0.0.1","ipv6":true,"dns-opts":["ndots:1"],
        "default-address-pools":[{"base":"10.10.0.0/16","size":24}],"host-gateway-ips":["1.2.3.4","fd00::1"],
        "default-network-opts":{"bridge":{"a":"b"}},"userland-proxy":true,"publish":"host-firewall",
        "default-publish-address":"127.0.0.1","iptables":false,"ip-forward":false}"#;
    let flags = [
        "--icc=false",
        "--dns=1.1.1.1,9.9.9.9",
        "--default-network-opt=bridge=c=d",
    ];
    let Networking { config, notes } = settings(&flags[..2], Some(file)).unwrap().network;
    assert_eq!((config.bridge.mtu, config.bridge.icc), (Some(1400), false));
    assert_eq!(
        config.bridge.publish_address,
        Some("127.0.0.1".parse().unwrap())
    );
    assert_eq!(config.address_pools[0].size, 24);
    assert_eq!(config.dns, ["1.1.1.1", "9.9.9.9"]);
    assert_eq!(config.host_gateways.len(), 2);
    assert_eq!(config.default_options["bridge"]["a"], "b");
    assert!(config.host_firewall && config.keep_forwarding && config.bridge.ipv6);
    assert_eq!(notes.len(), 1);
    let given = settings(&flags[2..], None).unwrap().network.config;
    assert_eq!(given.default_options["bridge"]["c"], "d");
}

/// Settings as a daemon called `dockerd` has them.
fn as_dockerd(args: &[&str], file: &str) -> Result<Settings, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("daemon.json");
    fs_err::write(&path, file).unwrap();
    let named = format!("--config-file={}", path.display());
    let all = ["dockerd", &named].into_iter().chain(args.iter().copied());
    let mut flags = Flags::try_parse_from(all).map_err(|error| error.to_string())?;
    flags.program = Program::Dockerd;
    Settings::new(flags).map_err(|error| {
        let text = error.to_string().replace(path.to_str().unwrap(), "FILE");
        let prefix = "unable to configure the daemon with file FILE: ";
        text.strip_prefix(prefix).unwrap_or(&text).to_owned()
    })
}

/// Every flag of dockerd 28.5 (`dockerd --help`, and those it hides), with a value that it takes.
const DOCKERDS: &[&str] = &[
    "--add-runtime=a=/a",
    "--allow-direct-routing",
    "--allow-nondistributable-artifacts=x",
    "--bip=10.0.0.1/24",
    "--bip6=fd00::1/64",
    "--bridge=",
    "--cdi-spec-dir=/a",
    "--cgroup-parent=/a",
    "--containerd=/a",
    "--containerd-namespace=a",
    "--containerd-plugins-namespace=a",
    "--cpu-rt-period=0",
    "--cpu-rt-runtime=0",
    "--cri-containerd",
    "--data-root=/a",
    "--debug",
    "--default-address-pool=base=10.10.0.0/16,size=24",
    "--default-cgroupns-mode=private",
    "--default-gateway=10.0.0.2",
    "--default-gateway-v6=fd00::2",
    "--default-ipc-mode=shareable",
    "--default-network-opt=bridge=a=b",
    "--default-runtime=runc",
    "--default-shm-size=1m",
    "--default-ulimit=nofile=1:2",
    "--dns=1.1.1.1",
    "--dns-opt=ndots:1",
    "--dns-search=a",
    "--exec-opt=native.cgroupdriver=systemd",
    "--exec-root=/a",
    "--experimental",
    "--feature=a=true",
    "--fixed-cidr=10.0.0.0/25",
    "--fixed-cidr-v6=fd00::/80",
    "--group=docker",
    "--host=fd://",
    "--host-gateway-ip=1.2.3.4",
    "--http-proxy=http://a",
    "--https-proxy=http://a",
    "--icc=false",
    "--init",
    "--init-path=/a",
    "--insecure-registry=a",
    "--ip=0.0.0.0",
    "--ip-forward=false",
    "--ip-forward-no-drop",
    "--ip-masq=false",
    "--ip6tables=false",
    "--iptables=false",
    "--ipv6",
    "--label=a=b",
    "--live-restore",
    "--log-driver=json-file",
    "--log-format=json",
    "--log-level=error",
    "--log-opt=max-size=1m",
    "--max-concurrent-downloads=1",
    "--max-concurrent-uploads=1",
    "--max-download-attempts=1",
    "--metrics-addr=127.0.0.1:9323",
    "--mtu=1400",
    "--network-control-plane-mtu=1400",
    "--no-new-privileges",
    "--no-proxy=a",
    "--node-generic-resource=a=b",
    "--pidfile=/a",
    "--raw-logs",
    "--registry-mirror=http://a",
    "--rootless=false",
    "--seccomp-profile=unconfined",
    "--selinux-enabled",
    "--shutdown-timeout=5",
    "--storage-driver=overlay2",
    "--storage-opt=a=b",
    "--swarm-default-advertise-addr=a",
    "--tls=false",
    "--tlscacert=/a",
    "--tlscert=/a",
    "--tlskey=/a",
    "--tlsverify=false",
    "--userland-proxy=false",
    "--userland-proxy-path=/a",
    "--userns-remap=",
    "--validate",
];

#[test]
fn all_flags_of_dockerd_are_taken_and_those_without_meaning_are_told_of() {
    let settings = as_dockerd(DOCKERDS, "{}").unwrap();
    let notes = settings.others.notes.join("\n");
    for flag in [
        "shutdown-timeout",
        "storage-opts",
        "exec-opts",
        "features",
        "containerd",
        "swarm",
        "raw-logs",
        "selinux",
        "nondistributable",
    ] {
        assert!(notes.contains(flag), "{flag}: {notes}");
    }
    for quiet in ["live-restore", "storage-driver", "cpu-rt"] {
        assert!(!notes.contains(quiet), "{quiet}: {notes}");
    }
    assert_eq!(settings.hosts, [Address::Passed(String::new())]);
    let metrics = settings.others.metrics.as_ref().map(ToString::to_string);
    assert_eq!(metrics.as_deref(), Some("tcp://127.0.0.1:9323"));
    let engine = crate::daemon::engine_config(&settings);
    assert_eq!(engine.cdi_directories, [PathBuf::from("/a")]);
    assert_eq!(engine.init_path.as_deref(), Some(Path::new("/a")));
    let given = settings.containers;
    assert_eq!(
        (given.cgroup_parent.as_str(), given.ipc_mode.as_str()),
        ("/a", "shareable")
    );
    assert_eq!((given.shm_size, given.init), (Some(1 << 20), true));
    assert_eq!(given.ulimits["nofile"], (1, 2));
    assert_eq!(given.log_opts["max-size"], "1m");
    assert_eq!(given.seccomp.as_deref(), Some("unconfined"));
    assert_eq!(settings.others.labels, ["a=b"]);
}

#[test]
fn as_dockerd_everything_is_where_dockers_clients_look() {
    let settings = as_dockerd(&[], "{}").unwrap();
    assert_eq!(settings.hosts[0].to_string(), "unix:///var/run/docker.sock");
    assert_eq!(settings.pidfile, Path::new("/var/run/docker.pid"));
    assert_eq!(settings.data_root, Path::new("/var/lib/docker/hull"));
    assert_eq!(settings.default_runtime, "runc");
    assert_eq!(settings.network.config.bridge.made, "docker0");
    assert_eq!(settings.containers.cgroup_parent, "docker");
    assert!(settings.tls.is_none() && settings.others.notes.is_empty());
}

/// `flag, file, what is said of them`, recorded from dockerd 28.5 where it has something to say.
const REFUSED: &[(&str, &str, &str)] = &[
    (
        "--default-ipc-mode=x",
        "{}",
        "merged configuration validation from file and command line flags failed: default IPC mode setting (x) is invalid; use \"shareable\" or \"private\"",
    ),
    (
        "--debug",
        r#"{"default-ipc-mode":"host"}"#,
        "merged configuration validation from file and command line flags failed: IPC mode \"host\" is not supported as default value; use \"shareable\" or \"private\"",
    ),
    (
        "--debug",
        r#"{"default-cgroupns-mode":"x"}"#,
        "merged configuration validation from file and command line flags failed: invalid default cgroup namespace (x): use \"host\" or \"private\"",
    ),
    (
        "--debug",
        r#"{"default-shm-size":"x"}"#,
        "invalid JSON: invalid size: 'x'",
    ),
    (
        "--default-ulimit=nofile=1:2",
        r#"{"default-ulimits":{"nofile":{"Name":"nofile","Hard":1,"Soft":1}}}"#,
        "the following directives are specified both as a flag and in the configuration file: default-ulimits: (from flag: [nofile=1:2], from file: map[nofile:map[Hard:1 Name:nofile Soft:1]])",
    ),
    (
        "--log-opt=a=b",
        r#"{"log-opts":{"max-size":"5"}}"#,
        "the following directives are specified both as a flag and in the configuration file: log-opts: (from flag: map[a:b], from file: map[max-size:5])",
    ),
    (
        "--debug",
        r#"{"labels":["com.docker.a=1"]}"#,
        "merged configuration validation from file and command line flags failed: label com.docker.a=1 is not allowed: the namespaces com.docker.*, io.docker.*, and org.dockerproject.* are reserved for internal use",
    ),
    (
        "--exec-opt=foo",
        "{}",
        "merged configuration validation from file and command line flags failed: invalid exec-opt (foo): must be formatted 'opt=value'",
    ),
    (
        "--tlsverify",
        r#"{"tlscert":"/nonexistent/c","tlskey":"/nonexistent/k"}"#,
        "invalid TLS configuration: Could not load X509 key pair (cert: \"/nonexistent/c\", key: \"/nonexistent/k\")",
    ),
    (
        "--authorization-plugin=foo",
        "{}",
        "authorization plugins are not supported",
    ),
    (
        "--debug",
        r#"{"userns-remap":"default"}"#,
        "userns-remap is not supported",
    ),
    ("--rootless", "{}", "rootless mode is not supported"),
    (
        "--add-runtime=runc=/x",
        "{}",
        "runtime name 'runc' is reserved",
    ),
    (
        "--debug",
        r#"{"default-ulimits":{"nope":{"Name":"nope","Hard":1,"Soft":1}}}"#,
        "merged configuration validation from file and command line flags failed: invalid ulimit type: nope",
    ),
    (
        "--default-ulimit=nope=1",
        "{}",
        "invalid argument \"nope=1\" for \"--default-ulimit\" flag: invalid ulimit type: nope",
    ),
];

#[test]
fn what_dockerd_refuses_is_refused_and_so_is_what_would_not_protect() {
    for (flag, file, error) in REFUSED {
        let refused = as_dockerd(&[flag], file).unwrap_err();
        assert!(refused.starts_with(error), "{flag} {file}: {refused}");
    }
    let file = r#"{"builder":{"gc":{"enabled":true}},"live-restore":true,"experimental":true,
        "exec-opts":["native.cgroupdriver=cgroupfs"],"storage-driver":"overlay2","init":true,
        "default-ulimits":{"nofile":{"Name":"nofile","Hard":64000,"Soft":64000}},
        "features":{"buildkit":true},"default-runtime":"runc","ipv6":false}"#;
    let taken = as_dockerd(&[], file).unwrap();
    assert!(taken.others.experimental && taken.containers.init);
    assert_eq!(taken.containers.ulimits["nofile"], (64000, 64000));
    assert_eq!(taken.others.notes.len(), 1, "{:?}", taken.others.notes);
}

#[test]
fn budgets_are_sizes() {
    for (text, bytes) in [
        ("", None),
        ("0", None),
        ("4096", Some(4096)),
        ("50GB", Some(50_000_000_000)),
        ("50g", Some(50_000_000_000)),
        ("2 MiB", Some(2 << 20)),
        ("1TB", Some(1_000_000_000_000)),
        ("1.5GB", Some(1_500_000_000)),
    ] {
        assert_eq!(disk_budget(text).unwrap(), bytes, "{text}");
    }
    for text in ["x", "-1", "5i", "5ib", "5xb", "99999999999TB"] {
        assert!(disk_budget(text).is_err(), "{text}");
    }
    let from_file = settings(&[], Some(r#"{"disk-budget":"1GB"}"#)).unwrap();
    assert_eq!(from_file.disk_budget, Some(1_000_000_000));
    let refused = settings(&["--disk-budget=lots"], None).unwrap_err();
    assert_eq!(
        refused,
        "invalid disk budget: lots: use a size such as 50GB"
    );
}

#[test]
fn a_named_file_must_exist() {
    let flags = Flags::try_parse_from(["x", "--config-file=/nonexistent/file"]).unwrap();
    let error = Settings::new(flags).unwrap_err().to_string();
    assert_eq!(
        error,
        "unable to configure the daemon with file /nonexistent/file: open /nonexistent/file: no such file or directory"
    );
}

#[test]
fn the_page_is_for_this_machine_only_and_metrics_are_for_anybody() {
    let page = |text: &str| settings(&[&format!("--ui={text}")], None).map(|found| found.others.ui);
    assert_eq!(page("").unwrap(), None);
    for (given, meant) in [
        ("127.0.0.1:8080", "127.0.0.1:8080"),
        ("localhost:8080", "127.0.0.1:8080"),
        ("[::1]:80", "[::1]:80"),
    ] {
        assert_eq!(page(given).unwrap(), Some(meant.parse().unwrap()));
    }
    for bad in [
        "0.0.0.0:80",
        "10.0.0.1:80",
        "[::]:80",
        "127.0.0.1",
        "127.0.0.1:0",
        ":80",
        "host:80",
    ] {
        assert_eq!(
            page(bad).unwrap_err(),
            format!(
                "invalid ui address ({bad}): use 127.0.0.1:port or [::1]:port, and ssh -L to reach it from elsewhere"
            )
        );
    }
    let metrics = |text: &str| {
        let found = settings(&[], Some(&format!(r#"{{"metrics-addr":"{text}"}}"#)));
        found.map(|found| found.others.metrics.map(|address| address.to_string()))
    };
    assert_eq!(metrics("").unwrap(), None);
    assert_eq!(metrics(":1").unwrap().as_deref(), Some("tcp://[::]:1"));
    assert_eq!(
        metrics("0.0.0.0:9323").unwrap().as_deref(),
        Some("tcp://0.0.0.0:9323")
    );
    assert!(metrics("0.0.0.0").is_err() && metrics("a:x").is_err());
    let both = settings(&["--ui=127.0.0.1:1"], Some(r#"{"ui":"127.0.0.1:1"}"#));
    assert!(both.unwrap_err().contains("ui: (from flag"));
}

/// The guide's page on settings has every key in the first column of its tables, and none that there is not.
#[test]
fn the_guide_tells_every_key() {
    let page = include_str!("../../../../docs/guide/src/settings.md");
    let mut told = std::collections::BTreeSet::new();
    for row in page.lines().filter(|line| line.starts_with("| `")) {
        let keys = row.split('|').nth(1).expect("a column");
        told.extend(keys.split('`').skip(1).step_by(2));
    }
    let known: std::collections::BTreeSet<&str> = file::known().collect();
    let missing: Vec<_> = known.difference(&told).collect();
    assert!(
        missing.is_empty(),
        "docs/guide/src/settings.md lacks {missing:?}"
    );
    let strange: Vec<_> = told.difference(&known).collect();
    assert!(
        strange.is_empty(),
        "docs/guide/src/settings.md tells of {strange:?}, which is no key"
    );
}
