//! `policy.json`: what is written in it, checked as a whole before any of it is used.

use super::json::{self, Fields, Invalid, Json};
use super::requirement::Requirement;
use hull_spec::Reference;
use std::collections::BTreeMap;
use std::fmt;

/// A trust policy (containers-policy.json(5)): for every image the requirements that it must meet.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    default: Vec<Requirement>,
    /// Transport → scope → requirements; the scope `""` is the transport's own default.
    transports: BTreeMap<String, BTreeMap<String, Vec<Requirement>>>,
}

/// The transport of images that come from registries.
pub(super) const REGISTRY: &str = "docker";
/// Transports that know no scope but their default: an archive that is uploaded has no place.
const WITHOUT_SCOPES: &[&str] = &["docker-archive", "docker-daemon", "tarball"];
/// Transports whose scopes are paths.
const WITH_PATHS: &[&str] = &["dir", "oci", "oci-archive"];

/// Which part of a policy speaks about an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    transport: Option<String>,
    name: String,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.transport, self.name.as_str()) {
            (None, _) => f.write_str("the policy's default"),
            (Some(transport), "") => write!(f, "the default of the transport \"{transport}\""),
            (Some(transport), name) => {
                write!(f, "the scope \"{name}\" of the transport \"{transport}\"")
            }
        }
    }
}

impl Policy {
    /// Reads a policy. Keys that are unknown or stand twice are errors, as for podman and skopeo.
    ///
    /// # Errors
    /// [`Invalid`], which names the place.
    pub fn parse(bytes: &[u8]) -> Result<Self, Invalid> {
        let mut fields = json::parse(bytes)?.fields()?;
        let default = fields
            .required("default")
            .and_then(requirements)
            .map_err(|e| e.within("default"))?;
        let transports = match fields.optional("transports") {
            None => BTreeMap::new(),
            Some(value) => transports(value).map_err(|e| e.within("transports"))?,
        };
        fields.finish()?;
        Ok(Self {
            default,
            transports,
        })
    }

    /// The requirements for an image of a registry: those of the longest scope that fits.
    pub(super) fn for_reference(&self, reference: &Reference) -> (Scope, &[Requirement]) {
        self.find(REGISTRY, scopes(reference))
    }

    /// The requirements for what comes by another transport, from no known place.
    pub(super) fn for_transport(&self, transport: &str) -> (Scope, &[Requirement]) {
        self.find(transport, Vec::new())
    }

    fn find(&self, transport: &str, names: Vec<String>) -> (Scope, &[Requirement]) {
        let own = self.transports.get(transport);
        let fallback = std::iter::once(String::new());
        for name in names.into_iter().chain(fallback) {
            if let Some(found) = own.and_then(|scopes| scopes.get(&name)) {
                let transport = Some(transport.to_owned());
                return (Scope { transport, name }, found);
            }
        }
        let scope = Scope {
            transport: None,
            name: String::new(),
        };
        (scope, &self.default)
    }
}

/// The scopes that speak about a reference, the most exact first: itself, its repository, the
/// namespaces above, the host, and `*.` of the domains above the host.
pub(super) fn scopes(reference: &Reference) -> Vec<String> {
    let name = reference.name();
    let mut scopes = vec![identity(reference)];
    let mut rest = name.as_str();
    loop {
        scopes.push(rest.to_owned());
        match rest.rsplit_once('/') {
            Some((above, _)) => rest = above,
            None => break,
        }
    }
    // A port belongs to no wildcard.
    let mut host = rest.split(':').next().unwrap_or(rest);
    while let Some((_, above)) = host.split_once('.') {
        scopes.push(format!("*.{above}"));
        host = above;
    }
    scopes
}

/// What is asked for, in full; a digest says more than the tag beside it.
pub(super) fn identity(reference: &Reference) -> String {
    match reference.digest() {
        Some(digest) => reference.with_digest(digest).to_string(),
        None => reference.clone().with_default_tag().to_string(),
    }
}

fn requirements(value: Json) -> Result<Vec<Requirement>, Invalid> {
    let list = value.list()?;
    if list.is_empty() {
        return Err(Invalid::new(
            "list of verification policy requirements must not be empty",
        ));
    }
    list.into_iter()
        .map(|item| item.fields().and_then(Requirement::parse))
        .collect()
}

fn transports(
    value: Json,
) -> Result<BTreeMap<String, BTreeMap<String, Vec<Requirement>>>, Invalid> {
    let mut transports = BTreeMap::new();
    for (transport, scopes) in value.object()? {
        let scopes = transport_scopes(&transport, scopes).map_err(|e| e.within(&transport))?;
        transports.insert(transport, scopes);
    }
    Ok(transports)
}

fn transport_scopes(
    transport: &str,
    value: Json,
) -> Result<BTreeMap<String, Vec<Requirement>>, Invalid> {
    let mut scopes = BTreeMap::new();
    for (scope, list) in value.object()? {
        check_scope(transport, &scope)?;
        let list = requirements(list).map_err(|e| e.within(&format!("{scope:?}")))?;
        scopes.insert(scope, list);
    }
    Ok(scopes)
}

fn check_scope(transport: &str, scope: &str) -> Result<(), Invalid> {
    if scope.is_empty() {
        return Ok(());
    }
    if WITHOUT_SCOPES.contains(&transport) {
        return Err(Invalid::new(format!(
            "{scope:?}: there are no scopes here except the default \"\""
        )));
    }
    if WITH_PATHS.contains(&transport) && !scope.starts_with('/') {
        return Err(Invalid::new(format!(
            "{scope:?}: a scope must be an absolute path"
        )));
    }
    if transport == REGISTRY && scope.contains("*") {
        let valid = scope
            .strip_prefix("*.")
            .is_some_and(|domain| !domain.is_empty() && !domain.contains(['*', '/', ':']));
        // Elsewhere such a rule would be one that never applies.
        if !valid {
            return Err(Invalid::new(format!(
                "{scope:?}: `*` stands only for the first part of a host, as in \"*.example.com\""
            )));
        }
    }
    Ok(())
}

/// The only member of the simplest requirements.
pub(super) fn only_type(fields: Fields) -> Result<(), Invalid> {
    fields.finish()
}
