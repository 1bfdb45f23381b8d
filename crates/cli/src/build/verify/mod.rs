//! `hull build --verify IMAGE`: whether an image is what a context builds, and what differs first.
//!
//! ```text
//! IMAGE ─ its time, its platform ─► the build, without cache ─► another image, without a name
//!   └──────────── ids equal? ──────── no: both as archives ─► what differs first
//! ```

mod contents;
mod difference;

use super::command::{follow, not_built};
use super::display::{Display, Form};
use super::options::{self, Build};
use super::{arriving, failure, result};
use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::Matches;
use contents::Contents;
use hull_api::build::Choice;
use hull_api::client::{ImageListOptions, Target};
use hull_api::image::Inspect;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// The argument that gives all that is built a time.
const EPOCH: &str = "build-arg:SOURCE_DATE_EPOCH";
/// What makes no sense with it: there is no image to be named or given away.
const EXCLUDED: [&str; 15] = [
    "annotation",
    "cache-from",
    "cache-to",
    "call",
    "check",
    "iidfile",
    "load",
    "metadata-file",
    "no-cache",
    "no-cache-filter",
    "on-fail",
    "output",
    "push",
    "quiet",
    "tag",
];

/// Builds again, and compares.
///
/// # Errors
/// Exit code 1 when something differs; what cannot be built or read.
pub(super) fn run(cli: &Cli, matches: &Matches, form: Form) -> Outcome {
    if let Some(name) = EXCLUDED.iter().find(|name| matches.changed(name)) {
        let text = format!("conflicting flags: --verify makes no image, --{name} is about one");
        return Err(Failure::new(text));
    }
    let name = matches.text("verify");
    let image = cli.block_on(inspect(cli, name))?;
    let mut build = options::read(matches)?;
    again(&mut build, &image)?;
    super::command::add_proxies(cli, &mut build)?;
    let before = cli.block_on(images(cli))?;
    let mut display = Display::new(form);
    let done = match cli.block_on(follow(cli, &build, &mut display))? {
        Ok(done) => done,
        Err(failed) => {
            failure::show(&failed);
            return Err(not_built(&failed));
        }
    };
    let id = result::id(&done);
    let id = id.ok_or_else(|| Failure::new("the daemon does not say what it built"))?;
    if id == image.id {
        crate::print(&format!("{name} is what is built: {id}\n"));
        return Ok(());
    }
    // Whoever has enough of it wants no image to be left either.
    let told = cli.block_on(async {
        tokio::select! {
            told = explain(cli, &image, id) => told,
            _ = tokio::signal::ctrl_c() => Err(Failure::Exit(130)),
        }
    });
    // An image that was there before is somebody's, whatever it is called.
    if !before.contains(id) {
        let client = cli.client()?;
        // Somebody may have made a container of it meanwhile: then it is theirs.
        let _ = cli.block_on(client.remove_image(id, false, false, &[]));
    }
    let told = told?;
    crate::print(&format!("{name} is not what is built\n{told}"));
    Err(Failure::Exit(1))
}

async fn inspect(cli: &Cli, name: &str) -> Result<Inspect, Failure> {
    let target = Target::segments(&["images", name, "json"]);
    let bytes = cli.client()?.get_raw(&target).await?;
    hull_api::json::from_slice(&bytes)
        .map_err(|error| Failure::new(format!("could not read the reply: {error}")))
}

/// The images that there are.
async fn images(cli: &Cli) -> Result<BTreeSet<String>, Failure> {
    let options = ImageListOptions {
        all: true,
        ..ImageListOptions::default()
    };
    let listed = cli.client()?.images(&options).await?;
    Ok(listed.into_iter().map(|image| image.id).collect())
}

/// Has a build do all steps anew, as of the image's time and for its platform, and give the result no name.
fn again(build: &mut Build, image: &Inspect) -> Outcome {
    let attributes = &mut build.request.attributes;
    attributes.insert("no-cache".to_owned(), String::new());
    if !attributes.contains_key(EPOCH) {
        let created = image.created.as_deref().unwrap_or_default();
        let created: Timestamp = created.parse().map_err(|_| {
            Failure::new("the image says no time of its own: give --build-arg SOURCE_DATE_EPOCH")
        })?;
        attributes.insert(EPOCH.to_owned(), created.as_second().to_string());
    }
    let mut platform = format!("{}/{}", image.os, image.architecture);
    if !image.variant.is_empty() {
        platform = format!("{platform}/{}", image.variant);
    }
    let wanted = attributes.entry("platform".to_owned());
    if wanted.or_insert(platform).contains(',') {
        let text = "--verify builds for one platform: an image's id is that of one";
        return Err(Failure::new(text));
    }
    build.request.exporters = vec![Choice {
        kind: "moby".to_owned(),
        attributes: BTreeMap::new(),
    }];
    build.sinks.clear();
    Ok(())
}

/// What differs first, in lines.
async fn explain(cli: &Cli, image: &Inspect, id: &str) -> Result<String, Failure> {
    let other = inspect(cli, id).await?;
    let (known, built) = (image.root_fs.layers.clone(), other.root_fs.layers);
    let known_set: BTreeSet<String> = known.iter().cloned().collect();
    let built_set: BTreeSet<String> = built.iter().cloned().collect();
    let only = |one: &BTreeSet<String>, other: &BTreeSet<String>| -> BTreeSet<String> {
        one.difference(other).cloned().collect()
    };
    let known = contents(cli, &image.id, known, only(&known_set, &built_set)).await?;
    let built = contents(cli, id, built, only(&built_set, &known_set)).await?;
    Ok(difference::explain(&known, &built))
}

async fn contents(
    cli: &Cli,
    id: &str,
    layers: Vec<String>,
    wanted: BTreeSet<String>,
) -> Result<Contents, Failure> {
    let body = cli.client()?.save(&[id.to_owned()], "").await?;
    let id = id.to_owned();
    arriving::read(body, move |archive| {
        Contents::read(archive, id, layers, &wanted)
            .map_err(|error| Failure::new(format!("could not read an image: {error}")))
    })
    .await
}
