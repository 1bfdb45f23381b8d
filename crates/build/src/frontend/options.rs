//! What a client asks for: the attributes of BuildKit's `dockerfile.v0`.

use crate::dockerfile::{Checks, Error, boolean, csv};
use crate::graph::{NetworkMode, Proxy, ResolveMode};
use crate::plan::PlanInput;
use hull_spec::Platform;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// They, read.
#[derive(Clone, Debug, Default)]
pub(super) struct Options {
    pub(super) build_args: BTreeMap<String, String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) target: String,
    /// For which an image is made; none: the host's.
    pub(super) platforms: Vec<Platform>,
    pub(super) multi_platform: bool,
    pub(super) resolve: ResolveMode,
    pub(super) extra_hosts: Vec<(String, IpAddr)>,
    /// Bytes of `/dev/shm`; 0: as always.
    pub(super) shm_size: u64,
    pub(super) ulimits: Vec<(String, i64, i64)>,
    pub(super) cgroup_parent: String,
    pub(super) network: NetworkMode,
    /// Stages that ignore the cache; an empty list is all.
    pub(super) no_cache: Option<Vec<String>>,
    pub(super) hostname: String,
    pub(super) cache_namespace: String,
    /// Seconds since 1970.
    pub(super) epoch: Option<i64>,
    pub(super) checks: Option<Checks>,
    /// Named contexts.
    pub(super) contexts: BTreeMap<String, String>,
    /// Trees that contexts may be.
    pub(super) inputs: BTreeMap<String, PlanInput>,
    /// What is said of them: the config of each, in JSON.
    pub(super) input_metadata: BTreeMap<String, String>,
    /// The Dockerfile's name.
    pub(super) filename: String,
    /// The context, where it is not the client's directory.
    pub(super) context: String,
    /// Whether `.git` of a context that is a repository stays.
    pub(super) keep_git_dir: bool,
    /// The source that has the Dockerfile, where it is not in the context.
    pub(super) dockerfile_key: Option<String>,
    /// The name of a session by the name of a source.
    pub(super) sessions: BTreeMap<String, String>,
    /// What is wanted instead of a build.
    pub(super) call: Option<String>,
    /// A frontend that the client demands.
    pub(super) syntax: Option<String>,
}

impl Options {
    pub(super) fn read(attributes: &BTreeMap<String, String>) -> Result<Self, Error> {
        let value = |name: &str| attributes.get(name).map_or("", String::as_str);
        let under = |prefix: &str| -> BTreeMap<String, String> {
            let all = attributes.iter();
            all.filter_map(|(key, value)| {
                Some((key.strip_prefix(prefix)?.to_owned(), value.clone()))
            })
            .collect()
        };
        let platforms = platforms(value("platform"))?;
        let first = |names: [&str; 2]| {
            let found = names.iter().find(|name| !value(name).is_empty());
            found.map_or("", |name| value(name)).to_owned()
        };
        let several = first(["build-arg:BUILDKIT_MULTI_PLATFORM", "multi-platform"]);
        let context_key = attributes
            .get("contextkey")
            .map_or("context", String::as_str);
        Ok(Self {
            multi_platform: multi_platform(&several, platforms.len())?,
            platforms,
            build_args: under("build-arg:"),
            labels: under("label:"),
            target: value("target").to_owned(),
            resolve: resolve_mode(value("image-resolve-mode"))?,
            extra_hosts: extra_hosts(value("add-hosts"))
                .map_err(|error| error.within("failed to parse additional hosts"))?,
            shm_size: shm_size(value("shm-size"))?,
            ulimits: ulimits(value("ulimit"))
                .map_err(|error| error.within("failed to parse ulimit"))?,
            cgroup_parent: value("cgroup-parent").to_owned(),
            network: network(value("force-network-mode"))?,
            no_cache: attributes.get("no-cache").map(|stages| {
                let names = stages.split(',').filter(|name| !name.is_empty());
                names.map(str::to_owned).collect()
            }),
            hostname: first(["build-arg:BUILDKIT_SANDBOX_HOSTNAME", "hostname"]),
            cache_namespace: value("build-arg:BUILDKIT_CACHE_MOUNT_NS").to_owned(),
            epoch: epoch(value("build-arg:SOURCE_DATE_EPOCH"))?,
            checks: checks(attributes.get("build-arg:BUILDKIT_DOCKERFILE_CHECK"))?,
            contexts: under("context:"),
            inputs: BTreeMap::new(),
            input_metadata: under("input-metadata:"),
            filename: match attributes.get("filename") {
                Some(name) => name.clone(),
                None => "Dockerfile".to_owned(),
            },
            context: value(context_key).to_owned(),
            keep_git_dir: boolean(value("build-arg:BUILDKIT_CONTEXT_KEEP_GIT_DIR"))
                .unwrap_or(false),
            dockerfile_key: attributes.get("dockerfilekey").cloned(),
            sessions: under("local-sessionid:"),
            call: attributes.get("requestid").cloned(),
            syntax: attributes.get("build-arg:BUILDKIT_SYNTAX").cloned(),
        })
    }

    /// Whether a stage ignores the cache.
    pub(super) fn ignores_cache(&self, stage: &str) -> bool {
        let stages = self.no_cache.as_deref();
        stages.is_some_and(|stages| {
            stages.is_empty() || stages.iter().any(|name| name.eq_ignore_ascii_case(stage))
        })
    }

    /// The session that has a source; empty is the build's own.
    pub(super) fn session(&self, source: &str) -> String {
        self.sessions.get(source).cloned().unwrap_or_default()
    }

    /// The proxies among the build arguments.
    pub(super) fn proxy(&self) -> Option<Proxy> {
        let mut proxy = Proxy::default();
        let mut found = false;
        for (name, value) in &self.build_args {
            let place = match name.to_ascii_lowercase().as_str() {
                "http_proxy" => &mut proxy.http,
                "https_proxy" => &mut proxy.https,
                "ftp_proxy" => &mut proxy.ftp,
                "no_proxy" => &mut proxy.no,
                "all_proxy" => &mut proxy.all,
                _ => continue,
            };
            place.clone_from(value);
            found = true;
        }
        found.then_some(proxy)
    }
}

fn platforms(text: &str) -> Result<Vec<Platform>, Error> {
    let names = text.split(',').filter(|_| !text.is_empty());
    let read = names.map(|name| {
        name.parse::<Platform>()
            .map_err(|why| Error::new(format!("failed to parse target platform {name}: {why}")))
    });
    read.collect()
}

fn multi_platform(text: &str, count: usize) -> Result<bool, Error> {
    if text.is_empty() {
        return Ok(count > 1);
    }
    let wanted = boolean(text)
        .ok_or_else(|| Error::new(format!("invalid boolean value for multi-platform: {text}")))?;
    if !wanted && count > 1 {
        return Err(Error::new(
            "conflicting config: returning multiple target platforms is not allowed",
        ));
    }
    Ok(wanted)
}

fn resolve_mode(text: &str) -> Result<ResolveMode, Error> {
    match text {
        "" | "default" => Ok(ResolveMode::Default),
        "pull" => Ok(ResolveMode::ForcePull),
        "local" => Ok(ResolveMode::PreferLocal),
        other => Err(Error::new(format!("invalid image-resolve-mode: {other}"))),
    }
}

fn extra_hosts(text: &str) -> Result<Vec<(String, IpAddr)>, Error> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let read = |field: String| {
        let lower = field.to_lowercase();
        let (name, address) = lower
            .split_once('=')
            .ok_or_else(|| Error::new(format!("invalid key-value pair {field}")))?;
        let address = address
            .parse()
            .map_err(|_| Error::new(format!("failed to parse IP {address}")))?;
        Ok((name.to_owned(), address))
    };
    csv(text)?.into_iter().map(read).collect()
}

fn shm_size(text: &str) -> Result<u64, Error> {
    if text.is_empty() {
        return Ok(0);
    }
    let read = text.parse::<i64>().ok();
    read.map(|size| u64::try_from(size).unwrap_or(0))
        .ok_or_else(|| {
            Error::new(format!(
                "failed to parse shm size: strconv.ParseInt: parsing {text:?}: invalid syntax"
            ))
        })
}

fn ulimits(text: &str) -> Result<Vec<(String, i64, i64)>, Error> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let read = |field: String| {
        let wrong = || Error::new(format!("invalid ulimit argument: {field}"));
        let (name, limits) = field.split_once('=').ok_or_else(wrong)?;
        let number = |text: &str| text.parse::<i64>().map_err(|_| wrong());
        let (soft, hard) = match limits.split_once(':') {
            Some((soft, hard)) => (number(soft)?, number(hard)?),
            None => (number(limits)?, number(limits)?),
        };
        if hard != -1 && (soft > hard || soft == -1) {
            return Err(Error::new(format!(
                "ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
            )));
        }
        Ok((name.to_owned(), soft, hard))
    };
    csv(text)?.into_iter().map(read).collect()
}

fn network(text: &str) -> Result<NetworkMode, Error> {
    match text {
        "" | "sandbox" => Ok(NetworkMode::Default),
        "none" => Ok(NetworkMode::None),
        "host" => Ok(NetworkMode::Host),
        other => Err(Error::new(format!("invalid netmode {other}"))),
    }
}

fn epoch(text: &str) -> Result<Option<i64>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        Error::new(format!(
            "invalid SOURCE_DATE_EPOCH: {text}: strconv.ParseInt: parsing {text:?}: invalid syntax"
        ))
    })
}

fn checks(text: Option<&String>) -> Result<Option<Checks>, Error> {
    let read = text.map(|text| Checks::parse(text)).transpose();
    read.map_err(|error| error.within("failed to parse build-arg:BUILDKIT_DOCKERFILE_CHECK"))
}
