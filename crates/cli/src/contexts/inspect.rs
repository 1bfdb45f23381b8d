//! `hull context inspect`.

use super::store::DEFAULT;
use crate::command::{Arity, Command};
use crate::container::show;
use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::{Flag, Matches, value};
use serde_json::{Map, Value};

static FLAGS: &[Flag] = &[value("format", "string", "Fill in a template, or 'json'").short('f')];

pub(crate) static COMMAND: Command = Command {
    words: &["context inspect"],
    usage: "[OPTIONS] [CONTEXT] [CONTEXT...]",
    about: "Show everything about one or more contexts",
    flags: &[FLAGS],
    arity: Arity::AtLeast(0),
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let names = match matches.args.as_slice() {
        [] => vec![cli.context_name()],
        names => names.to_vec(),
    };
    cli.block_on(show(&names, matches.text("format"), |name| {
        let described = describe(cli, &name);
        async move { described.map_err(|failure| failure.message().unwrap_or_default()) }
    }))
}

/// The object, its members in Docker's order.
fn describe(cli: &Cli, name: &str) -> Result<String, Failure> {
    let store = cli.contexts();
    let nowhere = || "<IN MEMORY>".to_owned();
    let (metadata, endpoints, material, places) = if name == DEFAULT {
        let address = serde_json::to_value(cli.default_address()).unwrap_or_default();
        let endpoints = Map::from_iter([("docker".to_owned(), address)]);
        (Map::new(), endpoints, Map::new(), (nowhere(), nowhere()))
    } else {
        let meta = store.get(name)?;
        let files: Vec<Value> = store.tls(name)?.into_keys().map(Value::from).collect();
        let material = match files.as_slice() {
            [] => Map::new(),
            _ => Map::from_iter([("docker".to_owned(), Value::from(files))]),
        };
        let place = |path: std::path::PathBuf| path.to_string_lossy().into_owned();
        let places = (
            place(store.meta_folder(name)),
            place(store.tls_folder(name)),
        );
        (meta.metadata, meta.endpoints, material, places)
    };
    let text = |value: &Value| {
        let bytes = hull_api::json::to_vec_escaped(value).map_err(std::io::Error::other)?;
        Ok::<_, Failure>(String::from_utf8_lossy(&bytes).into_owned())
    };
    Ok(format!(
        "{{\"Name\":{},\"Metadata\":{},\"Endpoints\":{},\"TLSMaterial\":{},\"Storage\":{{\"MetadataPath\":{},\"TLSPath\":{}}}}}",
        text(&name.into())?,
        text(&metadata.into())?,
        text(&endpoints.into())?,
        text(&material.into())?,
        text(&places.0.into())?,
        text(&places.1.into())?
    ))
}
