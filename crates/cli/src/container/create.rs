//! `hull create`, and the creation that `hull run` begins with.

use super::options::{self, FLAGS};
use crate::command::{Arity, Command, program};
use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::Matches;
use crate::image::pull_for_run;
use crate::terminal;
use hull_api::client::Error;
use hull_api::container::{CreateRequest, CreateResponse};
use std::io::Write as _;

pub(crate) static COMMAND: Command = Command {
    words: &["container create", "create"],
    usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    about: "Create a container without starting it",
    flags: &[FLAGS],
    arity: Arity::AtLeast(1),
    interspersed: false,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let request = request(cli, matches, "create")?;
    let id = cli.block_on(create(cli, matches, request))?;
    crate::print(&format!("{id}\n"));
    Ok(())
}

/// An error with the hint where help is.
pub(super) fn with_help(message: &str, command: &str) -> String {
    let program = program();
    format!("{program}: {message}\n\nRun '{program} {command} --help' for more information")
}

/// What the flags ask for.
pub(super) fn request(
    cli: &Cli,
    matches: &Matches,
    command: &str,
) -> Result<CreateRequest, Failure> {
    let refused = |message: String| Failure::with_code(125, with_help(&message, command));
    match matches.text("pull") {
        "" | "always" | "missing" | "never" => {}
        other => {
            return Err(refused(format!(
                "invalid pull option: '{other}': must be one of \"always\", \"missing\" or \"never\""
            )));
        }
    }
    let mut request = options::request(matches).map_err(refused)?;
    let (place, _) = cli.place()?;
    let given = |name: &str| {
        let mut names = request.config.env.iter().flatten();
        names.any(|pair| pair.split('=').next() == Some(name))
    };
    let proxies = cli.config().proxies(&place.endpoint.to_string(), given);
    if !proxies.is_empty() {
        let pairs = proxies
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"));
        request.config.env.get_or_insert_default().extend(pairs);
    }
    Ok(request)
}

/// Creates the container; pulls its image when it is not there.
pub(super) async fn create(
    cli: &Cli,
    matches: &Matches,
    mut request: CreateRequest,
) -> Result<String, Failure> {
    let image = request.config.image.clone();
    crate::image::check(&image)?;
    let pull = matches.text("pull");
    let platform = matches.text("platform");
    if !platform.is_empty() {
        let read = platform.parse::<hull_spec::Platform>();
        read.map_err(|error| Failure::new(format!("error parsing specified platform: {error}")))?;
    }
    let quiet = matches.bool("quiet");
    let id_file = IdFile::new(matches.text("cidfile"))?;
    if matches.bool("use-api-socket") {
        mount_socket(&mut request);
    }
    let (rows, columns) = terminal::size();
    request.host_config.console_size = [rows.into(), columns.into()];
    if pull == "always" {
        pull_for_run(cli, &image, platform, quiet).await?;
    }
    let client = cli.client()?;
    let name = matches.text("name");
    let mut response = match client.create(&request, name, platform).await {
        Err(error)
            if error.is_not_found() && matches!(pull, "" | "missing") && is_image(&error) =>
        {
            if !quiet {
                let shown = crate::image::with_default_tag(&image);
                crate::say(&format!("Unable to find image '{shown}' locally"));
            }
            pull_for_run(cli, &image, platform, quiet).await?;
            client.create(&request, name, platform).await?
        }
        result => result?,
    };
    let labels = request.config.labels.as_ref();
    if labels.is_some_and(|labels| labels.contains_key(super::debug::LABEL)) {
        // What its user did not ask for needs no warning.
        response.warnings.clear();
    }
    finish(&response, id_file)
}

/// Whether it is the image that was not found; networks and volumes cannot be pulled.
fn is_image(error: &Error) -> bool {
    matches!(error, Error::Daemon { message, .. } if message.contains("image"))
}

fn finish(response: &CreateResponse, id_file: Option<IdFile>) -> Result<String, Failure> {
    for warning in &response.warnings {
        crate::say(&format!("WARNING: {warning}"));
    }
    if let Some(file) = id_file {
        file.write(&response.id)?;
    }
    Ok(response.id.clone())
}

fn mount_socket(request: &mut CreateRequest) {
    request.host_config.mounts.push(hull_api::container::Mount {
        kind: "bind".to_owned(),
        source: crate::context::default_socket().to_owned(),
        target: "/var/run/docker.sock".to_owned(),
        ..Default::default()
    });
}

/// The file of `--cidfile`: made before the container, removed again when that fails.
struct IdFile {
    path: String,
    file: fs_err::File,
    written: bool,
}

impl IdFile {
    fn new(path: &str) -> Result<Option<Self>, Failure> {
        if path.is_empty() {
            return Ok(None);
        }
        let mut options = fs_err::OpenOptions::new();
        let file = options.write(true).create_new(true).open(path).map_err(|error| {
            if error.kind() == std::io::ErrorKind::AlreadyExists {
                Failure::new(format!(
                    "container ID file found, make sure the other container isn't running or delete {path}"
                ))
            } else {
                Failure::new(format!("failed to create the container ID file: {error}"))
            }
        })?;
        Ok(Some(Self {
            path: path.to_owned(),
            file,
            written: false,
        }))
    }

    fn write(mut self, id: &str) -> Outcome {
        self.file.write_all(id.as_bytes())?;
        self.written = true;
        Ok(())
    }
}

impl Drop for IdFile {
    fn drop(&mut self) {
        if !self.written {
            // The error that brought us here matters more.
            let _ = fs_err::remove_file(&self.path);
        }
    }
}
