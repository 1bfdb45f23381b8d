//! `hull version`.

use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::{Flag, Matches, value};
use crate::format::{TabWriter, ansic};
use crate::template::{Data, Template};
use hull_api::system::{Component, Version};
use serde::Serialize;

static FLAGS: &[Flag] = &[value("format", "string", "Fill in a template, or 'json'").short('f')];

pub(crate) static COMMAND: Command = Command {
    words: &["version"],
    usage: "[OPTIONS]",
    about: "Show the versions of command line and daemon",
    flags: &[FLAGS],
    arity: Arity::None,
    interspersed: true,
    run,
};

/// What the command line says of itself.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ClientVersion {
    version: &'static str,
    api_version: String,
    #[serde(rename = "DefaultAPIVersion")]
    default_api_version: &'static str,
    git_commit: &'static str,
    go_version: &'static str,
    os: &'static str,
    arch: &'static str,
    build_time: &'static str,
    context: String,
}

impl ClientVersion {
    pub(super) fn new(api_version: String, context: String) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            api_version,
            default_api_version: hull_api::API_VERSION,
            git_commit: option_env!("HULL_GIT_COMMIT").unwrap_or("unknown"),
            go_version: "none (Rust)",
            os: "linux",
            arch: go_arch(),
            build_time: option_env!("HULL_BUILD_TIME").unwrap_or("unknown"),
            context,
        }
    }
}

/// Go's name of the architecture, which Docker's clients know.
fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// What templates see.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Both {
    client: ClientVersion,
    server: Option<Version>,
}

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let format = matches.text("format");
    let template = match format {
        "" => None,
        "json" => Some("{{json .}}"),
        text => Some(text),
    }
    .map(|text| Template::named("version", text))
    .transpose()
    .map_err(|error| Failure::with_code(64, format!("template parsing error: {error}")))?;
    let client = cli.client()?;
    let server = cli.block_on(client.server_version());
    let (server, failure) = match server {
        Ok(mut version) => {
            complete(&mut version);
            (Some(version), None)
        }
        Err(error) => (None, Some(error)),
    };
    let both = Both {
        client: ClientVersion::new(client.api_version(), cli.context_name()),
        server,
    };
    match template {
        None => crate::print(&text(&both)),
        Some(template) => {
            let data = Data::of(&both);
            let text = template.render_struct(&data, "system.versionInfo");
            // The line ends also when nothing can stand in it.
            crate::print(&format!("{}\n", text.as_deref().unwrap_or_default()));
            text.map_err(|error| Failure::new(error.to_string()))?;
        }
    }
    failure.map_or(Ok(()), |error| Err(error.into()))
}

/// Daemons before components were invented are one component.
fn complete(version: &mut Version) {
    for component in &mut version.components {
        if let Some(time) = component.details.get_mut("BuildTime") {
            *time = ansic(time);
        }
    }
    if !version.components.iter().any(|part| part.name == "Engine") {
        let details = [
            ("ApiVersion", &version.api_version),
            ("MinAPIVersion", &version.min_api_version),
            ("Os", &version.os),
            ("Arch", &version.arch),
        ];
        version.components.push(Component {
            name: "Engine".to_owned(),
            version: version.version.clone(),
            details: details
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.clone()))
                .collect(),
        });
    }
}

fn text(both: &Both) -> String {
    let mut table = TabWriter::new(20, 1);
    let client = &both.client;
    let api = if client.api_version == client.default_api_version {
        client.api_version.clone()
    } else {
        format!(
            "{} (downgraded from {})",
            client.api_version, client.default_api_version
        )
    };
    table.push(&format!(
        "Client:\n Version:\t{}\n API version:\t{api}\n Go version:\t{}\n Git commit:\t{}\n Built:\t{}\n OS/Arch:\t{}/{}\n Context:\t{}\n",
        client.version,
        client.go_version,
        client.git_commit,
        client.build_time,
        client.os,
        client.arch,
        client.context
    ));
    if let Some(server) = &both.server {
        let name = server
            .platform
            .as_ref()
            .map_or("", |platform| &platform.name);
        let space = if name.is_empty() { "" } else { " " };
        table.push(&format!("\nServer:{space}{name}\n"));
        for component in &server.components {
            table.push(&part(component));
        }
    }
    table.finish()
}

fn part(component: &Component) -> String {
    let detail = |name: &str| component.details.get(name).map_or("", String::as_str);
    let mut text = format!(" {}:\n  Version:\t{}\n", component.name, component.version);
    if component.name == "Engine" {
        text.push_str(&format!(
            "  API version:\t{} (minimum version {})\n  Go version:\t{}\n  Git commit:\t{}\n  Built:\t{}\n  OS/Arch:\t{}/{}\n  Experimental:\t{}\n",
            detail("ApiVersion"),
            detail("MinAPIVersion"),
            detail("GoVersion"),
            detail("GitCommit"),
            detail("BuildTime"),
            detail("Os"),
            detail("Arch"),
            detail("Experimental")
        ));
        return text;
    }
    for (name, value) in &component.details {
        text.push_str(&format!("  {name}:\t{value}\n"));
    }
    text
}
