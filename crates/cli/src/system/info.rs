//! `hull info`.

use super::version::ClientVersion;
use crate::command::{Arity, Command};
use crate::config_file::HUB;
use crate::context::Cli;
use crate::failure::{Failure, Outcome, client_message};
use crate::flags::{Flag, Matches, value};
use crate::format::bytes_size;
use crate::template::{Data, Empty, Template};
use hull_api::client::Error;
use hull_api::system::Info;
use std::fmt::Write as _;
use std::path::Path;

static FLAGS: &[Flag] = &[
    value("format", "string", "Fill in a template, or 'json'").short('f'),
    value(
        "bundle",
        "file",
        "Write what is needed to find out what is wrong here into an archive, without secrets",
    ),
];

pub(crate) static COMMAND: Command = Command {
    words: &["system info", "info"],
    usage: "[OPTIONS]",
    about: "Show what the daemon knows of itself and its host",
    flags: &[FLAGS],
    arity: Arity::None,
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let bundle = matches.text("bundle");
    if !bundle.is_empty() {
        return super::bundle::write(cli, Path::new(bundle));
    }
    let format = match matches.text("format") {
        "json" => "{{json .}}",
        other => other,
    };
    let client = cli.client()?;
    let debug = cli.globals().bool("debug");
    let info = cli.block_on(client.info());
    let own = ClientVersion::new(client.api_version(), cli.context_name());
    if !format.is_empty() {
        return templated(cli, format, info, &own);
    }
    let mut text = format!(
        "Client:\n Version:    {}\n Context:    {}\n Debug Mode: {debug}\n",
        env!("CARGO_PKG_VERSION"),
        cli.context_name()
    );
    plugins(cli, &mut text);
    text.push_str("\nServer:\n");
    let user = cli.config().credentials(HUB).map(|auth| auth.username);
    match &info {
        Ok(info) => server(info, debug, &user.unwrap_or_default(), &mut text),
        Err(_) => {
            crate::print(&text);
        }
    }
    match info {
        Ok(info) => {
            crate::print(&text);
            for warning in info.warnings.iter().flatten() {
                crate::say(warning);
            }
            Ok(())
        }
        Err(error @ Error::Connect { .. }) => Err(error.into()),
        Err(error) => {
            crate::say(&format!("ERROR: {}", client_message(&error)));
            Err(Failure::new("errors pretty printing info"))
        }
    }
}

fn templated(cli: &Cli, format: &str, info: Result<Info, Error>, own: &ClientVersion) -> Outcome {
    let template = Template::parse(format)
        .map_err(|error| Failure::with_code(64, format!("template parsing error: {error}")))?;
    let info = info.inspect_err(|_| crate::print("\n"))?;
    let mut members = match Data::of(&info) {
        Data::Object(members) => members,
        _ => Vec::new(),
    };
    let mut client = match Data::of(own) {
        Data::Object(members) => members,
        _ => Vec::new(),
    };
    let debug = cli.globals().bool("debug");
    client.insert(0, ("Debug".to_owned(), Data::Bool(debug)));
    let plugins = Data::of(&crate::plugins::all(cli));
    client.push(("Plugins".to_owned(), plugins));
    client.push(("Warnings".to_owned(), Data::Null));
    if format.contains("Errors") {
        // Nothing went wrong, or we were not here; as JSON they are left out.
        members.push(("ServerErrors".to_owned(), Data::NullOf(Empty::List)));
        members.push(("ClientErrors".to_owned(), Data::NullOf(Empty::List)));
    }
    members.push(("ClientInfo".to_owned(), Data::Object(client)));
    let text = template.render_struct(&Data::Object(members), "system.dockerInfo");
    // The line ends also when nothing can stand in it.
    crate::print(&format!("{}\n", text.as_deref().unwrap_or_default()));
    text.map(drop)
        .map_err(|error| Failure::new(error.to_string()))
}

fn plugins(cli: &Cli, out: &mut String) {
    let found = crate::plugins::all(cli);
    if !found.is_empty() {
        out.push_str(" Plugins:\n");
    }
    for plugin in found {
        let crate::plugins::Plugin {
            name,
            short_description,
            vendor,
            version,
            path,
            ..
        } = plugin;
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(out, "  {name}: {short_description} ({vendor})");
        let _ = writeln!(
            out,
            "    Version:  {version}\n    Path:     {}",
            path.display()
        );
    }
}

/// A line with a label, unless there is nothing to say.
fn some(out: &mut String, label: &str, value: &str) {
    if !value.is_empty() {
        line(out, label, value);
    }
}

fn line(out: &mut String, label: &str, value: impl std::fmt::Display) {
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(out, " {label}: {value}");
}

fn server(info: &Info, debug: bool, user: &str, out: &mut String) {
    counts(info, out);
    drivers(info, out);
    runtimes(info, out);
    host(info, out);
    line(out, "Debug Mode", info.debug);
    if info.debug || debug {
        let _ = writeln!(out, "  File Descriptors: {}", info.n_fd);
        let _ = writeln!(out, "  Goroutines: {}", info.n_goroutines);
        let _ = writeln!(out, "  System Time: {}", info.system_time);
        let _ = writeln!(out, "  EventsListeners: {}", info.n_events_listener);
    }
    some(out, "HTTP Proxy", &info.http_proxy);
    some(out, "HTTPS Proxy", &info.https_proxy);
    some(out, "No Proxy", &info.no_proxy);
    some(out, "Username", user);
    block(out, "Labels", info.labels.iter().flatten());
    line(out, "Experimental", info.experimental_build);
    registries(info, out);
    line(out, "Live Restore Enabled", info.live_restore_enabled);
    some(out, "Product License", &info.product_license);
    if let Some(pools) = info
        .default_address_pools
        .as_ref()
        .filter(|pools| !pools.is_empty())
    {
        out.push_str(" Default Address Pools:\n");
        for pool in pools {
            let _ = writeln!(out, "   Base: {}, Size: {}", pool.base, pool.size);
        }
    }
    if let Some(firewall) = &info.firewall_backend {
        line(out, "Firewall Backend", &firewall.driver);
        pairs(out, "  ", &firewall.info);
    }
    out.push('\n');
}

fn counts(info: &Info, out: &mut String) {
    line(out, "Containers", info.containers);
    let _ = writeln!(out, "  Running: {}", info.containers_running);
    let _ = writeln!(out, "  Paused: {}", info.containers_paused);
    let _ = writeln!(out, "  Stopped: {}", info.containers_stopped);
    line(out, "Images", info.images);
    some(out, "Server Version", &info.server_version);
}

fn drivers(info: &Info, out: &mut String) {
    some(out, "Storage Driver", &info.driver);
    pairs(out, "  ", info.driver_status.as_deref().unwrap_or_default());
    pairs(out, " ", &info.system_status);
    some(out, "Logging Driver", &info.logging_driver);
    some(out, "Cgroup Driver", &info.cgroup_driver);
    some(out, "Cgroup Version", &info.cgroup_version);
    let words = |list: &Option<Vec<String>>| list.as_deref().unwrap_or_default().join(" ");
    out.push_str(" Plugins:\n");
    let _ = writeln!(out, "  Volume: {}", words(&info.plugins.volume));
    let _ = writeln!(out, "  Network: {}", words(&info.plugins.network));
    let authorization = words(&info.plugins.authorization);
    if !authorization.is_empty() {
        let _ = writeln!(out, "  Authorization: {authorization}");
    }
    let _ = writeln!(out, "  Log: {}", words(&info.plugins.log));
    block(
        out,
        "CDI spec directories",
        info.cdi_spec_dirs.iter().flatten(),
    );
    if !info.discovered_devices.is_empty() {
        out.push_str(" Discovered Devices:\n");
        for device in &info.discovered_devices {
            let _ = writeln!(out, "  {}: {}", device.source, device.id);
        }
    }
}

fn runtimes(info: &Info, out: &mut String) {
    line(out, "Swarm", &info.swarm.local_node_state);
    if !info.runtimes.is_empty() {
        let names: Vec<&str> = info.runtimes.keys().map(String::as_str).collect();
        line(out, "Runtimes", names.join(" "));
        line(out, "Default Runtime", &info.default_runtime);
    }
    if info.os_type != "linux" {
        return;
    }
    line(out, "Init Binary", &info.init_binary);
    line(out, "containerd version", &info.containerd_commit.id);
    line(out, "runc version", &info.runc_commit.id);
    line(out, "init version", &info.init_commit.id);
    if !info.security_options.is_empty() {
        out.push_str(" Security Options:\n");
        for option in &info.security_options {
            security(option, out);
        }
    }
}

/// `name=seccomp,profile=builtin`.
fn security(option: &str, out: &mut String) {
    let mut name = option;
    let mut profile = None;
    for pair in option.split(',') {
        match pair.split_once('=') {
            Some(("name", value)) => name = value,
            Some(("profile", value)) => profile = Some(value),
            _ => {}
        }
    }
    let _ = writeln!(out, "  {name}");
    if let Some(profile) = profile {
        let _ = writeln!(out, "   Profile: {profile}");
    }
}

fn host(info: &Info, out: &mut String) {
    some(out, "Kernel Version", &info.kernel_version);
    some(out, "Operating System", &info.operating_system);
    some(out, "OSType", &info.os_type);
    some(out, "Architecture", &info.architecture);
    line(out, "CPUs", info.n_cpu);
    #[expect(clippy::cast_precision_loss, reason = "shown with four digits")]
    line(out, "Total Memory", bytes_size(info.mem_total as f64));
    some(out, "Name", &info.name);
    some(out, "ID", &info.id);
    line(out, "Docker Root Dir", &info.docker_root_dir);
}

fn registries(info: &Info, out: &mut String) {
    let Some(registries) = &info.registry_config else {
        return;
    };
    if !registries.insecure_registry_cidrs.is_empty() || !registries.index_configs.is_empty() {
        out.push_str(" Insecure Registries:\n");
        for index in registries
            .index_configs
            .values()
            .filter(|index| !index.secure)
        {
            let _ = writeln!(out, "  {}", index.name);
        }
        for range in &registries.insecure_registry_cidrs {
            let _ = writeln!(out, "  {range}");
        }
    }
    block(out, "Registry Mirrors", registries.mirrors.iter().flatten());
}

fn block<'a>(out: &mut String, label: &str, values: impl Iterator<Item = &'a String>) {
    let mut values = values.peekable();
    if values.peek().is_some() {
        let _ = writeln!(out, " {label}:");
    }
    for value in values {
        let _ = writeln!(out, "  {value}");
    }
}

fn pairs(out: &mut String, indent: &str, pairs: &[[String; 2]]) {
    for [name, value] in pairs {
        let _ = writeln!(out, "{indent}{name}: {value}");
    }
}
