//! Which names stand where, and which there are.

use crate::context::Cli;
use crate::contexts::DEFAULT;
use hull_api::client::{Client, Error, ImageListOptions, ListOptions};
use std::collections::BTreeMap;
use std::time::Duration;

/// A tab must not hang on a daemon that does not answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    Containers,
    Running,
    Stopped,
    Images,
    Networks,
    Volumes,
    Contexts,
}

/// The kind of a command's argument of this number.
pub(super) fn of_argument(words: &[&str], number: usize) -> Option<Names> {
    let first = words.first()?;
    Some(match (*first, number) {
        ("container run" | "container create", 0) => Names::Images,
        ("container start", _) => Names::Stopped,
        (
            "container stop" | "container kill" | "container pause" | "container unpause"
            | "container wait" | "container stats",
            _,
        )
        | ("container attach" | "container exec" | "container top" | "container port", 0) => {
            Names::Running
        }
        (
            "container rm" | "container restart" | "container inspect" | "container update"
            | "inspect",
            _,
        )
        | (
            "container logs" | "container diff" | "container export" | "container rename"
            | "container commit",
            0,
        ) => Names::Containers,
        ("image rm" | "image inspect" | "image save", _)
        | ("image push" | "image history" | "image tag" | "image ls", 0) => Names::Images,
        ("network connect" | "network disconnect", 0) => Names::Networks,
        ("network connect" | "network disconnect", 1) => Names::Containers,
        ("network rm" | "network inspect", _) => Names::Networks,
        ("volume rm" | "volume inspect", _) => Names::Volumes,
        ("context rm" | "context inspect", _)
        | ("context use" | "context update" | "context export", 0) => Names::Contexts,
        _ => return None,
    })
}

/// The kind of a flag's value, or the words that it may be.
pub(super) fn of_flag(long: &str) -> Result<Names, &'static [&'static str]> {
    match long {
        "network" | "net" => Ok(Names::Networks),
        "volumes-from" | "link" => Ok(Names::Containers),
        "volume" | "mount-volume" => Ok(Names::Volumes),
        "context" | "from" => Ok(Names::Contexts),
        "restart" => Err(&["no", "always", "on-failure", "unless-stopped"]),
        "pull" => Err(&["always", "missing", "never"]),
        "log-level" => Err(&["debug", "info", "warn", "error", "fatal"]),
        "progress" => Err(&["auto", "plain", "tty", "quiet", "rawjson"]),
        "signal" => Err(&["HUP", "INT", "KILL", "QUIT", "TERM", "USR1", "USR2"]),
        "type" => Err(&["container", "image", "network", "volume"]),
        _ => Err(&[]),
    }
}

/// The names that there are; none when nobody answers.
pub(super) fn ask(cli: &Cli, kind: Names) -> Vec<String> {
    if kind == Names::Contexts {
        let kept = cli.contexts().all().unwrap_or_default();
        let mut names: Vec<String> = kept.into_iter().map(|meta| meta.name).collect();
        names.push(DEFAULT.to_owned());
        return names;
    }
    let Ok(client) = cli.passing_client() else {
        return Vec::new();
    };
    let found = cli.block_on(async { tokio::time::timeout(PATIENCE, names(&client, kind)).await });
    let mut names = found.ok().and_then(Result::ok).unwrap_or_default();
    names.sort();
    names.dedup();
    names
}

async fn names(client: &Client, kind: Names) -> Result<Vec<String>, Error> {
    Ok(match kind {
        Names::Containers | Names::Running | Names::Stopped => {
            let mut options = ListOptions {
                all: kind != Names::Running,
                ..ListOptions::default()
            };
            if kind == Names::Stopped {
                let states = ["created", "exited"].map(str::to_owned).into();
                options.filters = BTreeMap::from([("status".to_owned(), states)]);
            }
            let found = client.containers(&options).await?.into_iter();
            let own = |name: String| name.trim_start_matches('/').to_owned();
            found.flat_map(|one| one.names).map(own).collect()
        }
        Names::Images => {
            let found = client.images(&ImageListOptions::default()).await?;
            let tags = found.into_iter().flat_map(|image| image.repo_tags);
            tags.filter(|tag| !tag.starts_with("<none>")).collect()
        }
        Names::Networks => {
            let found = client.networks(&BTreeMap::new()).await?;
            found.into_iter().map(|network| network.name).collect()
        }
        Names::Volumes => {
            let found = client.volumes(&BTreeMap::new()).await?;
            found
                .volumes
                .into_iter()
                .map(|volume| volume.name)
                .collect()
        }
        Names::Contexts => Vec::new(),
    })
}
