//! From flags to what the daemon is asked for and what it may ask.

use super::agents::Agents;
use super::caches::{self, Written};
use super::context::{Context, Place};
use super::output::{Output, Sink};
use super::store::{self, Stores};
use crate::container::{check_label, csv};
use crate::failure::Failure;
use crate::flags::Matches;
use crate::image::{canonical, check, split};
use hull_api::build::{Choice, Request};
use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;

/// A build: what is sent, and what there is for questions.
#[derive(Debug)]
pub(super) struct Build {
    pub(super) request: Request,
    /// Directories by the names that the daemon knows them by.
    pub(super) directories: BTreeMap<String, PathBuf>,
    pub(super) secrets: BTreeMap<String, Secret>,
    pub(super) agents: Agents,
    /// Directories with blobs.
    pub(super) stores: Stores,
    /// The directory that gets a cache.
    pub(super) cache: Option<Written>,
    /// What becomes of what is given back, by the exporters' places.
    pub(super) sinks: BTreeMap<usize, Sink>,
    /// What is asked for instead of a build, and whether as JSON.
    pub(super) call: Option<(Call, bool)>,
    /// What goes when the build is over.
    pub(super) _context: Context,
}

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Secret {
    File(PathBuf),
    Variable(String),
}

/// What is asked for instead of a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Check,
    Outline,
    Targets,
}

/// Reads what was typed.
///
/// # Errors
/// What makes no sense, mostly in the words of Docker's client.
pub(super) fn read(matches: &Matches) -> Result<Build, Failure> {
    let typed = matches.args.first().map_or("", String::as_str);
    let context = Context::open(typed, matches.text("file"))?;
    let names = names(matches.list("tag"))?;
    let call = call(matches)?;
    let mut attributes = context.attributes.clone();
    attributes.extend(settings(matches)?);
    let mut directories = context.directories.clone();
    let mut stores = Stores::default();
    for typed in matches.list("build-context") {
        named_context(typed, &mut attributes, &mut directories, &mut stores)?;
    }
    let cache_from = caches::imports(matches.list("cache-from"), &mut stores)?;
    let arguments = matches.list("build-arg");
    let (cache_to, cache) = caches::exports(matches.list("cache-to"), arguments, &mut stores)?;
    let (exporters, sinks) = match call {
        Some(_) => (Vec::new(), BTreeMap::new()),
        None => exporters(matches, &names)?,
    };
    if let Some((call, _)) = call {
        let id = match call {
            Call::Check => "frontend.lint",
            Call::Outline => "frontend.outline",
            Call::Targets => "frontend.targets",
        };
        attributes.insert("requestid".to_owned(), id.to_owned());
    }
    let request = Request {
        shared_key: match context.is_scratch() {
            // Such files never come again.
            true => String::new(),
            false => shared_key(&directories),
        },
        attributes,
        exporters,
        cache_from,
        cache_to,
        entitlements: entitlements(matches),
        keep_failed: keeps_failed(matches.text("on-fail"))?,
    };
    Ok(Build {
        request,
        directories,
        secrets: secrets(matches.list("secret"))?,
        agents: Agents::read(matches.list("ssh"))?,
        stores,
        cache,
        sinks,
        call,
        _context: context,
    })
}

/// Equal for builds of the same directories, so that only what has changed is sent.
fn shared_key(directories: &BTreeMap<String, PathBuf>) -> String {
    let host = rustix::system::uname();
    let user = rustix::process::getuid().as_raw();
    let paths: Vec<String> = directories
        .values()
        .map(|path| path.display().to_string())
        .collect();
    format!(
        "hull:{}:{user}:{}",
        host.nodename().to_string_lossy(),
        paths.join(":")
    )
}

/// `--allow`; who says `--network host` means it.
fn entitlements(matches: &Matches) -> Vec<String> {
    let mut all: Vec<String> = matches
        .list("allow")
        .iter()
        .flat_map(|text| text.split(','))
        .map(str::to_owned)
        .collect();
    if matches.text("network") == "host" {
        all.push("network.host".to_owned());
    }
    all
}

fn keeps_failed(text: &str) -> Result<bool, Failure> {
    match text {
        "" => Ok(false),
        "shell" => Ok(true),
        other => Err(Failure::new(format!(
            "invalid value {other:?} of --on-fail: there is only \"shell\""
        ))),
    }
}

/// Names in full, as BuildKit's clients send them.
fn names(typed: &[String]) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    for text in typed {
        check(text)?;
        let name = split(text);
        if text.is_empty() || name.repository.is_empty() {
            let text = format!("invalid tag {text:?}: invalid reference format");
            return Err(Failure::new(text));
        }
        if name.digest.is_some() {
            let text = format!("invalid tag {text:?}: a digest cannot be given to an image");
            return Err(Failure::new(text));
        }
        let repository = canonical(name.repository);
        names.push(format!("{repository}:{}", name.tag.unwrap_or("latest")));
    }
    Ok(names)
}

fn call(matches: &Matches) -> Result<Option<(Call, bool)>, Failure> {
    let typed = match (matches.bool("check"), matches.text("call")) {
        (true, "" | "check") => "check",
        (true, other) => {
            let text = format!("conflicting flags: --check and --call={other}");
            return Err(Failure::new(text));
        }
        (false, "" | "build") => return Ok(None),
        (false, typed) => typed,
    };
    let (name, rest) = typed.split_once(',').unwrap_or((typed, ""));
    let call = match name {
        "check" | "lint" => Call::Check,
        "outline" => Call::Outline,
        "targets" => Call::Targets,
        other => return Err(Failure::new(format!("invalid value {other:?} of --call"))),
    };
    match rest {
        "" | "format=text" => Ok(Some((call, false))),
        "format=json" => Ok(Some((call, true))),
        other => Err(Failure::new(format!("invalid option {other:?} of --call"))),
    }
}

/// `key=value`; the value of a key alone comes from the environment, and without it there is none.
fn argument(text: &str) -> Option<(String, String)> {
    match text.split_once('=') {
        Some((key, value)) => Some((key.to_owned(), value.to_owned())),
        None => Some((text.to_owned(), env::var(text).ok()?)),
    }
}

/// What the frontend is told.
fn settings(matches: &Matches) -> Result<BTreeMap<String, String>, Failure> {
    let mut all = BTreeMap::new();
    let mut set = |key: &str, value: String| {
        if !value.is_empty() {
            all.insert(key.to_owned(), value);
        }
    };
    set("target", matches.text("target").to_owned());
    let platforms = matches.list("platform").iter();
    let platforms = platforms.flat_map(|text| text.split(','));
    set("platform", platforms.collect::<Vec<_>>().join(","));
    set("cgroup-parent", matches.text("cgroup-parent").to_owned());
    if matches.changed("shm-size") {
        set("shm-size", matches.bytes("shm-size").to_string());
    }
    set("ulimit", matches.list("ulimit").join(","));
    set("add-hosts", hosts(matches.list("add-host"))?);
    match matches.text("network") {
        "" | "default" => {}
        mode @ ("host" | "none") => set("force-network-mode", mode.to_owned()),
        other => {
            return Err(Failure::new(format!(
                "network mode {other:?} is not supported in builds: default, host and none are"
            )));
        }
    }
    if matches.bool("pull") {
        set("image-resolve-mode", "pull".to_owned());
    }
    for text in matches.list("build-arg") {
        if let Some((key, value)) = argument(text) {
            all.insert(format!("build-arg:{key}"), value);
        }
    }
    // As BuildKit's clients have it.
    let epoch = "build-arg:SOURCE_DATE_EPOCH";
    if let Ok(value) = env::var("SOURCE_DATE_EPOCH")
        && !all.contains_key(epoch)
    {
        all.insert(epoch.to_owned(), value);
    }
    for text in matches.list("label") {
        check_label(text).map_err(Failure::new)?;
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        all.insert(format!("label:{key}"), value.to_owned());
    }
    // An empty list is: all of them.
    let filtered: Vec<&str> = matches
        .list("no-cache-filter")
        .iter()
        .flat_map(|text| text.split(','))
        .collect();
    if matches.bool("no-cache") {
        all.insert("no-cache".to_owned(), String::new());
    } else if !filtered.is_empty() {
        all.insert("no-cache".to_owned(), filtered.join(","));
    }
    attestations(matches, &mut all)?;
    Ok(all)
}

/// `--attest type=sbom,…`, `--sbom`, `--provenance`.
fn attestations(matches: &Matches, all: &mut BTreeMap<String, String>) -> Result<(), Failure> {
    let mut typed: Vec<String> = matches.list("attest").to_vec();
    for kind in ["provenance", "sbom"] {
        match matches.text(kind) {
            "" => {}
            "true" => typed.push(format!("type={kind}")),
            "false" => typed.push(format!("type={kind},disabled=true")),
            more => typed.push(format!("type={kind},{more}")),
        }
    }
    for text in typed {
        let mut fields = fields(&text)?;
        let kind = fields.remove("type").unwrap_or_default();
        if !matches!(&*kind, "sbom" | "provenance") {
            return Err(Failure::new(format!("invalid attestation type {kind:?}")));
        }
        if fields.remove("disabled").is_some_and(|off| off == "true") {
            all.remove(&format!("attest:{kind}"));
            continue;
        }
        let more: Vec<String> = fields
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        all.insert(format!("attest:{kind}"), more.join(","));
    }
    Ok(())
}

/// `name:address` as the frontend has it.
fn hosts(typed: &[String]) -> Result<String, Failure> {
    let mut all = Vec::new();
    for text in typed {
        let found = text.split_once('=').or_else(|| text.split_once(':'));
        let (name, address) = found
            .filter(|(name, address)| !name.is_empty() && !address.is_empty())
            .ok_or_else(|| Failure::new(format!("bad format for add-host: {text:?}")))?;
        let bare = address.trim_start_matches('[').trim_end_matches(']');
        all.push(format!("{name}={bare}"));
    }
    Ok(all.join(","))
}

/// `type=a,key=value,…`.
pub(super) fn fields(text: &str) -> Result<BTreeMap<String, String>, Failure> {
    let mut fields = BTreeMap::new();
    for field in csv(text).map_err(Failure::new)? {
        let (key, value) = field
            .split_once('=')
            .ok_or_else(|| Failure::new(format!("invalid value {field}")))?;
        fields.insert(key.trim().to_lowercase(), value.to_owned());
    }
    Ok(fields)
}

/// `--build-context name=place`.
fn named_context(
    typed: &str,
    attributes: &mut BTreeMap<String, String>,
    directories: &mut BTreeMap<String, PathBuf>,
    stores: &mut Stores,
) -> Result<(), Failure> {
    let (name, value) = typed
        .split_once('=')
        .filter(|(name, value)| !name.is_empty() && !value.is_empty())
        .ok_or_else(|| {
            Failure::new(format!(
                "invalid context value: {typed}, expected key=value"
            ))
        })?;
    let value = match (value.strip_prefix("oci-layout://"), Place::of(value)?) {
        (Some(layout), _) => layout_context(layout, stores)?,
        (None, Place::Directory(path)) => {
            directories.insert(name.to_owned(), path);
            format!("local:{name}")
        }
        (None, Place::Elsewhere(url)) => url,
    };
    attributes.insert(format!("context:{name}"), value);
    Ok(())
}

/// `directory:tag@digest`: an image in a layout, by its tag (`latest`), its digest, or as the only one.
fn layout_context(typed: &str, stores: &mut Stores) -> Result<String, Failure> {
    let (place, digest) = typed.split_once('@').unwrap_or((typed, ""));
    let (directory, tag) = place.split_once(':').unwrap_or((place, "latest"));
    let unresolved = |why: &str| {
        Failure::new(format!(
            "oci-layout reference {typed:?} could not be resolved: {why}"
        ))
    };
    let directory =
        fs_err::canonicalize(directory).map_err(|error| unresolved(&error.to_string()))?;
    let digest = match digest {
        "" => {
            let found = store::named_or_only(&directory, tag).map_err(|why| unresolved(&why))?;
            found.ok_or_else(|| unresolved("failed to resolve digest"))?
        }
        digest => digest.parse().map_err(|_| unresolved("invalid digest"))?,
    };
    let id = format!("layout-{}", stores.len());
    stores.insert(id.clone(), directory);
    Ok(format!("oci-layout://{id}:{tag}@{digest}"))
}

/// `--secret id=a,src=b`.
fn secrets(typed: &[String]) -> Result<BTreeMap<String, Secret>, Failure> {
    let mut secrets = BTreeMap::new();
    for text in typed {
        let mut fields = fields(text)?;
        let mut take = |names: &[&str]| names.iter().find_map(|name| fields.remove(*name));
        let kind = take(&["type"]).unwrap_or_default();
        let source = take(&["src", "source"]);
        let variable = take(&["env"]);
        let id = take(&["id"]);
        if let Some(unknown) = fields.keys().next() {
            let text = format!("unexpected key '{unknown}' in '{text}'");
            return Err(Failure::new(text));
        }
        let id = id.filter(|id| !id.is_empty());
        let id = id.ok_or_else(|| Failure::new("secret: an id is required"))?;
        let secret = match (&*kind, source, variable) {
            ("env", source, variable) => {
                Secret::Variable(variable.or(source).unwrap_or_else(|| id.clone()))
            }
            ("" | "file", Some(path), _) => Secret::File(path.into()),
            ("", None, Some(variable)) => Secret::Variable(variable),
            ("", None, None) if env::var_os(&id).is_some() => Secret::Variable(id.clone()),
            ("" | "file", None, _) => Secret::File(id.clone().into()),
            (other, ..) => {
                return Err(Failure::new(format!("unsupported secret type {other:?}")));
            }
        };
        secret.check()?;
        secrets.insert(id, secret);
    }
    Ok(secrets)
}

impl Secret {
    /// Whether it is there at all; its bytes are read when they are asked for.
    fn check(&self) -> Result<(), Failure> {
        match self {
            Self::File(path) => fs_err::metadata(path)
                .map(drop)
                .map_err(|error| Failure::new(format!("failed to stat secret: {error}"))),
            // One that is not set is empty, as in BuildKit.
            Self::Variable(_) => Ok(()),
        }
    }
}

type Exports = (Vec<Choice>, BTreeMap<usize, Sink>);

/// `--output`, `--push`, `--load`, and without them the image store.
fn exporters(matches: &Matches, names: &[String]) -> Result<Exports, Failure> {
    let mut outputs = Vec::new();
    for text in matches.list("output") {
        outputs.push(Output::read(text, csv)?);
    }
    if matches.bool("push") {
        outputs.push(Output::of("registry"));
    }
    if outputs.is_empty() || matches.bool("load") {
        outputs.push(Output::of("docker"));
    }
    let (mut exporters, mut sinks) = (Vec::new(), BTreeMap::new());
    for output in outputs {
        let (mut exporter, sink) = output.resolve()?;
        let is_image = !matches!(&*exporter.kind, "local" | "tar");
        if is_image && !names.is_empty() {
            let name = exporter.attributes.entry("name".to_owned());
            name.or_insert_with(|| names.join(","));
        }
        if is_image {
            for annotation in matches.list("annotation") {
                let (key, value) = annotation
                    .split_once('=')
                    .ok_or_else(|| Failure::new(format!("invalid annotation {annotation:?}")))?;
                let key = format!("annotation.{key}");
                exporter.attributes.insert(key, value.to_owned());
            }
        }
        if exporter
            .attributes
            .get("push")
            .is_some_and(|push| push == "true")
            && !exporter.attributes.contains_key("name")
        {
            return Err(Failure::new("tag is needed when pushing to registry"));
        }
        if let Some(sink) = sink {
            sinks.insert(exporters.len(), sink);
        }
        exporters.push(exporter);
    }
    Ok((exporters, sinks))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn names_are_whole_and_digests_refused() {
        let named = names(&owned(&["a", "b/c:1", "h:5000/d"])).unwrap();
        assert_eq!(
            named,
            [
                "docker.io/library/a:latest",
                "docker.io/b/c:1",
                "h:5000/d:latest"
            ]
        );
        for bad in ["A", "", "a@sha256:00"] {
            assert!(names(&owned(&[bad])).is_err(), "{bad}");
        }
    }

    #[test]
    fn secrets_are_files_or_variables() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        fs_err::write(&path, "x").unwrap();
        let typed = [
            format!("id=a,src={}", path.display()),
            "id=b,env=B".to_owned(),
            "type=env,id=PATH".to_owned(),
            "id=PATH".to_owned(),
        ];
        let found = secrets(&typed).unwrap();
        assert_eq!(found["a"], Secret::File(path));
        assert_eq!(found["b"], Secret::Variable("B".to_owned()));
        assert_eq!(found["PATH"], Secret::Variable("PATH".to_owned()));
        for bad in ["src=x", "id=x,src=/nowhere/x", "id=x,bad=1", "x"] {
            assert!(secrets(&owned(&[bad])).is_err(), "{bad}");
        }
    }

    #[test]
    fn hosts_are_read() {
        assert_eq!(
            hosts(&owned(&["a:1.2.3.4", "b=[::1]"])).unwrap(),
            "a=1.2.3.4,b=::1"
        );
        assert!(hosts(&owned(&["a"])).is_err());
    }
}
