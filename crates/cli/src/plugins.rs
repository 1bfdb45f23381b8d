//! Programs of others that are commands of ours: `docker-compose` is `hull compose`.
//!
//! A plugin is a program `docker-NAME` in one of Docker's folders. Asked for `docker-cli-plugin-metadata` it describes itself;
//! for everything else it takes our whole command line and our place.

use crate::connection::variable;
use crate::context::Cli;
use crate::contexts::DEFAULT;
use crate::failure::Failure;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The folders of all users; an earlier one counts more.
const FOLDERS: &[&str] = &[
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
];

/// Plugins that Hull has the commands of itself.
const BUILT_IN: &[&str] = &["buildx"];

/// What a plugin says of itself.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Plugin {
    pub(crate) schema_version: String,
    pub(crate) vendor: String,
    pub(crate) version: String,
    pub(crate) short_description: String,
    #[serde(skip_deserializing)]
    pub(crate) name: String,
    #[serde(skip_deserializing)]
    pub(crate) path: PathBuf,
}

fn folders(cli: &Cli) -> Vec<PathBuf> {
    let mut folders = cli.config().plugin_dirs().to_vec();
    folders.push(cli.config_dir().join("cli-plugins"));
    folders.extend(FOLDERS.iter().map(PathBuf::from));
    folders
}

/// Lower-case letters and digits: nothing that could lead out of a folder.
fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

fn is_program(path: &Path) -> bool {
    fs_err::metadata(path)
        .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// The program of this name, if there is one.
pub(crate) fn find(cli: &Cli, name: &str) -> Option<PathBuf> {
    if !is_name(name) {
        return None;
    }
    let candidates = folders(cli);
    let mut candidates = candidates
        .iter()
        .map(|folder| folder.join(format!("docker-{name}")));
    candidates.find(|path| is_program(path))
}

/// Becomes the plugin; comes back only when that fails.
pub(crate) fn run(cli: &Cli, path: &Path) -> Failure {
    let mut command = Command::new(path);
    command.args(std::env::args_os().skip(1));
    let own = std::env::args_os()
        .next()
        .unwrap_or_else(|| OsString::from("docker"));
    command.env("DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND", own);
    if !crate::command::is_docker() {
        translate(cli, &mut command);
    }
    let error = command.exec();
    Failure::new(format!("{}: {error}", path.display()))
}

/// Tells the plugin in Docker's variables what it cannot know of Hull's.
fn translate(cli: &Cli, command: &mut Command) {
    for name in ["CONFIG", "TLS", "TLS_VERIFY", "CERT_PATH", "API_VERSION"] {
        if let Some(value) = variable(name) {
            command.env(format!("DOCKER_{name}"), value);
        }
    }
    let context = cli.context_name();
    if context == DEFAULT {
        command.env("DOCKER_HOST", cli.default_address().host);
        // A plugin cannot start a daemon that is not there. If it cannot be reached, the plugin says so.
        let _ = cli.start_daemon();
    } else if !cli.globals().changed("context") {
        command.env_remove("DOCKER_HOST");
        command.env("DOCKER_CONTEXT", context);
    }
}

/// All that are installed, by name, those left out that do not answer.
pub(crate) fn all(cli: &Cli) -> Vec<Plugin> {
    let mut found: Vec<Plugin> = Vec::new();
    for folder in folders(cli) {
        for entry in fs_err::read_dir(folder).into_iter().flatten().flatten() {
            let file = entry.file_name();
            let name = file.to_str().and_then(|file| file.strip_prefix("docker-"));
            let Some(name) = name.filter(|name| is_name(name)) else {
                continue;
            };
            if BUILT_IN.contains(&name) || found.iter().any(|known| known.name == name) {
                continue;
            }
            found.extend(describe(name, entry.path()));
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

fn describe(name: &str, path: PathBuf) -> Option<Plugin> {
    if !is_program(&path) {
        return None;
    }
    let said = Command::new(&path)
        .arg("docker-cli-plugin-metadata")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let mut plugin: Plugin = serde_json::from_slice(&said.stdout).ok()?;
    name.clone_into(&mut plugin.name);
    plugin.path = path;
    Some(plugin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_are_found_by_name_and_describe_themselves() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("cli-plugins");
        fs_err::create_dir(&folder).unwrap();
        let path = folder.join("docker-zzhulltest");
        fs_err::write(
            &path,
            "#!/bin/sh\necho '{\"Vendor\":\"V\",\"Version\":\"1\"}'\n",
        )
        .unwrap();
        let words = ["--config", dir.path().to_str().unwrap()].map(str::to_owned);
        let cli = Cli::new(&words).unwrap();
        assert_eq!(find(&cli, "zzhulltest"), None);
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find(&cli, "zzhulltest"), Some(path.clone()));
        assert_eq!(find(&cli, "../cli-plugins/docker-zzhulltest"), None);
        assert_eq!(describe("zzhulltest", path).unwrap().vendor, "V");
    }
}
