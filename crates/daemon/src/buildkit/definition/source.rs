//! Sources: an identifier with a scheme, and attributes.

use super::invalid;
use bollard_buildkit_proto::pb;
use hull_engine::build::graph::{
    Differ, GitSource, HttpSource, ImageSource, LocalSource, OciLayoutSource, ResolveMode, Source,
};
use std::collections::BTreeMap;
use std::str::FromStr;
use tonic::Status;

struct Attributes<'a>(&'a BTreeMap<String, String>);

impl Attributes<'_> {
    fn text(&self, name: &str) -> String {
        self.0.get(name).cloned().unwrap_or_default()
    }

    fn flag(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| value == "true")
    }

    fn list(&self, name: &str) -> Result<Vec<String>, Status> {
        match self.0.get(name) {
            None => Ok(Vec::new()),
            Some(text) => serde_json::from_str(text)
                .map_err(|error| invalid(format!("{name} is no list: {error}"))),
        }
    }

    fn number<T: FromStr<Err: std::fmt::Display> + Default>(
        &self,
        name: &str,
    ) -> Result<T, Status> {
        match self.0.get(name) {
            None => Ok(T::default()),
            Some(text) => text
                .parse()
                .map_err(|error| invalid(format!("{name}: {error}"))),
        }
    }
}

/// Where a definition takes files from.
///
/// # Errors
/// `InvalidArgument` for what nobody knows.
pub(super) fn read(op: &pb::SourceOp) -> Result<Source, Status> {
    let attributes = Attributes(&op.attrs);
    let unknown = || invalid(format!("unknown source {}", op.identifier));
    let (scheme, rest) = op.identifier.split_once("://").ok_or_else(unknown)?;
    Ok(match scheme {
        "docker-image" => Source::Image(ImageSource {
            reference: rest.to_owned(),
            resolve: match attributes.text("image.resolvemode").as_str() {
                "pull" => ResolveMode::ForcePull,
                "local" => ResolveMode::PreferLocal,
                _ => ResolveMode::Default,
            },
            layer_limit: attributes.number("image.layerlimit")?,
        }),
        "local" => Source::Local(local(rest, &attributes)?),
        "git" => Source::Git(git(rest, &attributes)),
        "http" | "https" => Source::Http(http(&op.identifier, &attributes)?),
        "oci-layout" => Source::OciLayout(OciLayoutSource {
            reference: rest.to_owned(),
            store: attributes.text("oci.store"),
            session: attributes.text("oci.session"),
            layer_limit: attributes.number("oci.layerlimit")?,
        }),
        _ => return Err(unknown()),
    })
}

fn local(name: &str, attributes: &Attributes<'_>) -> Result<LocalSource, Status> {
    Ok(LocalSource {
        name: name.to_owned(),
        session: attributes.text("local.session"),
        include: attributes.list("local.includepattern")?,
        exclude: attributes.list("local.excludepatterns")?,
        follow: attributes.list("local.followpaths")?,
        shared_key_hint: attributes.text("local.sharedkeyhint"),
        differ: match attributes.text("local.differ").as_str() {
            "none" => Differ::None,
            _ => Differ::Metadata,
        },
        metadata_only: attributes.flag("local.metadatatransfer"),
        metadata_except: attributes.list("local.metadatatransferexclude")?,
    })
}

/// `host/path#reference:directory`, where the whole URL is an attribute.
fn git(rest: &str, attributes: &Attributes<'_>) -> GitSource {
    let (place, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (reference, subdir) = fragment.split_once(':').unwrap_or((fragment, ""));
    let remote = match attributes.text("git.fullurl") {
        whole if whole.is_empty() => format!("https://{place}"),
        whole => whole,
    };
    GitSource {
        remote,
        reference: reference.to_owned(),
        subdir: subdir.to_owned(),
        keep_git_dir: attributes.flag("git.keepgitdir"),
        checksum: attributes.text("git.checksum"),
        skip_submodules: attributes.flag("git.skipsubmodules"),
        auth_token_secret: attributes.text("git.authtokensecret"),
        auth_header_secret: attributes.text("git.authheadersecret"),
        known_ssh_hosts: attributes.text("git.knownsshhosts"),
        ssh: attributes.text("git.mountsshsock"),
    }
}

fn http(url: &str, attributes: &Attributes<'_>) -> Result<HttpSource, Status> {
    let checksum = attributes.text("http.checksum");
    let checksum = Some(checksum).filter(|text| !text.is_empty());
    let mode = attributes.text("http.perm");
    let mode = Some(mode).filter(|text| !text.is_empty()).map(|text| {
        let digits = text.strip_prefix("0o").unwrap_or(&text);
        u32::from_str_radix(digits, 8).map_err(|error| invalid(format!("http.perm: {error}")))
    });
    Ok(HttpSource {
        url: url.to_owned(),
        checksum: checksum
            .map(|text| {
                text.parse()
                    .map_err(|error| invalid(format!("http.checksum: {error}")))
            })
            .transpose()?,
        filename: attributes.text("http.filename"),
        mode: mode.transpose()?,
        uid: attributes.number("http.uid")?,
        gid: attributes.number("http.gid")?,
        auth_header_secret: attributes.text("http.authheadersecret"),
    })
}

/// Attributes being written: what is empty is left out.
#[derive(Default)]
struct Written(BTreeMap<String, String>);

impl Written {
    fn set(&mut self, name: &str, value: impl ToString) {
        let value = value.to_string();
        if !value.is_empty() {
            self.0.insert(name.to_owned(), value);
        }
    }

    fn flag(&mut self, name: &str, value: bool) {
        self.set(name, if value { "true" } else { "" });
    }

    fn list(&mut self, name: &str, value: &[String]) {
        if !value.is_empty() {
            self.set(name, serde_json::json!(value));
        }
    }

    fn number(&mut self, name: &str, value: u32) {
        if value != 0 {
            self.set(name, value);
        }
    }
}

/// A source as definitions have it; one of a client's that names no session gets `session`.
pub(super) fn write(source: &Source, session: &str) -> pb::SourceOp {
    let mut written = Written::default();
    let identifier = match source {
        Source::Image(image) => {
            written.set(
                "image.resolvemode",
                match image.resolve {
                    ResolveMode::Default => "",
                    ResolveMode::ForcePull => "pull",
                    ResolveMode::PreferLocal => "local",
                },
            );
            written.number("image.layerlimit", image.layer_limit);
            format!("docker-image://{}", image.reference)
        }
        Source::Local(local) => {
            write_local(local, session, &mut written);
            format!("local://{}", local.name)
        }
        Source::Git(git) => write_git(git, &mut written),
        Source::Http(http) => {
            let sum = http.checksum.as_ref().map(ToString::to_string);
            written.set("http.checksum", sum.unwrap_or_default());
            written.set("http.filename", &http.filename);
            let mode = http.mode.map(|mode| format!("0{mode:o}"));
            written.set("http.perm", mode.unwrap_or_default());
            written.number("http.uid", http.uid);
            written.number("http.gid", http.gid);
            written.set("http.authheadersecret", &http.auth_header_secret);
            http.url.clone()
        }
        Source::OciLayout(layout) => {
            written.set("oci.store", &layout.store);
            written.set("oci.session", own(&layout.session, session));
            written.number("oci.layerlimit", layout.layer_limit);
            format!("oci-layout://{}", layout.reference)
        }
    };
    pb::SourceOp {
        identifier,
        attrs: written.0,
    }
}

fn own<'a>(named: &'a str, session: &'a str) -> &'a str {
    if named.is_empty() { session } else { named }
}

fn write_local(local: &LocalSource, session: &str, written: &mut Written) {
    written.set("local.session", own(&local.session, session));
    written.list("local.includepattern", &local.include);
    written.list("local.excludepatterns", &local.exclude);
    written.list("local.followpaths", &local.follow);
    written.set("local.sharedkeyhint", &local.shared_key_hint);
    if local.differ == Differ::None {
        written.set("local.differ", "none");
    }
    written.flag("local.metadatatransfer", local.metadata_only);
    written.list("local.metadatatransferexclude", &local.metadata_except);
}

fn write_git(git: &GitSource, written: &mut Written) -> String {
    written.set("git.fullurl", &git.remote);
    written.flag("git.keepgitdir", git.keep_git_dir);
    written.set("git.checksum", &git.checksum);
    written.flag("git.skipsubmodules", git.skip_submodules);
    written.set("git.authtokensecret", &git.auth_token_secret);
    written.set("git.authheadersecret", &git.auth_header_secret);
    written.set("git.knownsshhosts", &git.known_ssh_hosts);
    written.set("git.mountsshsock", &git.ssh);
    let place = git
        .remote
        .split_once("://")
        .map_or(git.remote.as_str(), |(_, rest)| rest);
    let place = place.rsplit_once('@').map_or(place, |(_, rest)| rest);
    let mut identifier = format!("git://{}", place.split('#').next().unwrap_or(place));
    if !git.reference.is_empty() || !git.subdir.is_empty() {
        identifier.push('#');
        identifier.push_str(&git.reference);
    }
    if !git.subdir.is_empty() {
        identifier.push(':');
        identifier.push_str(&git.subdir);
    }
    identifier
}
