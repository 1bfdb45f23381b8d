//! What a scoped socket may do and see.

use crate::error::ApiError;
use hull_api::access::Grant as WireGrant;
use std::collections::{BTreeMap, BTreeSet};

/// What there is to allow: nouns and their verbs.
pub(super) const VERBS: &[(&str, &[&str])] = &[
    (
        "containers",
        &[
            "attach", "changes", "copy", "create", "events", "exec", "export", "inspect", "kill",
            "list", "logs", "pause", "prune", "remove", "rename", "restart", "start", "stats",
            "stop", "top", "update", "wait",
        ],
    ),
    (
        "images",
        &[
            "commit", "events", "history", "inspect", "list", "load", "prune", "pull", "push",
            "remove", "save", "tag",
        ],
    ),
    (
        "networks",
        &[
            "connect", "create", "events", "inspect", "list", "prune", "remove",
        ],
    ),
    ("system", &["df", "info"]),
    (
        "volumes",
        &["create", "events", "inspect", "list", "prune", "remove"],
    ),
];

/// The verbs of `read`: they change nothing.
const READING: &[&str] = &[
    "changes", "events", "history", "info", "inspect", "list", "logs", "stats", "top", "wait",
];

/// A checked grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) name: String,
    /// Pairs of [`VERBS`].
    allow: BTreeSet<(&'static str, &'static str)>,
    /// A key, and its value if that matters.
    labels: BTreeMap<String, Option<String>>,
    images: Vec<String>,
    pub(super) group: String,
    pub(super) created: String,
}

impl Grant {
    /// Reads a request, or what was kept of one.
    ///
    /// # Errors
    /// 400 that says what is wrong.
    pub(super) fn read(wire: WireGrant) -> Result<Self, ApiError> {
        check_name(&wire.name)?;
        let mut labels = BTreeMap::new();
        for label in wire.labels {
            let (key, value) = match label.split_once('=') {
                Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                None => (label, None),
            };
            if key.is_empty() {
                return Err(ApiError::bad_request(
                    "a label of a grant needs a name: KEY or KEY=VALUE",
                ));
            }
            if labels.insert(key.clone(), value).is_some() {
                let text = format!("label {key} is given twice: an object cannot have both");
                return Err(ApiError::bad_request(text));
            }
        }
        if wire.images.iter().any(String::is_empty) {
            return Err(ApiError::bad_request("an image's name must not be empty"));
        }
        let allow = verbs(&wire.allow)?;
        if allow.is_empty() {
            return Err(ApiError::bad_request(
                "a grant must allow something: read, all, or NOUN:VERB as containers:list",
            ));
        }
        Ok(Self {
            name: wire.name,
            allow,
            labels,
            images: wire.images,
            group: wire.group,
            created: wire.created,
        })
    }

    /// For clients and for the disk.
    pub(super) fn to_wire(&self, socket: String) -> WireGrant {
        let allow = self.allow.iter();
        let labels = self.labels.iter().map(|(key, value)| match value {
            Some(value) => format!("{key}={value}"),
            None => key.clone(),
        });
        WireGrant {
            name: self.name.clone(),
            allow: allow.map(|(noun, verb)| format!("{noun}:{verb}")).collect(),
            labels: labels.collect(),
            images: self.images.clone(),
            group: self.group.clone(),
            socket,
            created: self.created.clone(),
        }
    }

    /// Whether this may be done at all.
    pub(crate) fn allows(&self, noun: &str, verb: &str) -> bool {
        self.allow.iter().any(|pair| *pair == (noun, verb))
    }

    /// Whether all there is may be seen.
    pub(super) fn is_whole(&self) -> bool {
        self.labels.is_empty() && self.images.is_empty()
    }

    /// Whether images are told apart.
    pub(super) fn has_images(&self) -> bool {
        !self.images.is_empty()
    }

    /// Whether something with these labels is in the scope.
    pub(crate) fn has_labels(&self, labels: &BTreeMap<String, String>) -> bool {
        self.labels.iter().all(|(key, wanted)| {
            let found = labels.get(key);
            found.is_some_and(|found| wanted.as_ref().is_none_or(|wanted| wanted == found))
        })
    }

    /// Whether a container is in the scope.
    pub(crate) fn has_container(&self, labels: &BTreeMap<String, String>, image: &str) -> bool {
        self.has_labels(labels) && self.has_image(image)
    }

    /// Whether an image of this name is in the scope. An id is no name.
    pub(crate) fn has_image(&self, name: &str) -> bool {
        self.images.is_empty()
            || self.images.iter().any(|pattern| {
                let pattern = familiar(pattern);
                forms(familiar(name)).iter().any(|form| fits(pattern, form))
            })
    }

    /// Gives what is made over this socket the labels by which it is found again.
    ///
    /// # Errors
    /// 403 when it has another value for one of them.
    pub(crate) fn label(&self, labels: &mut BTreeMap<String, String>) -> Result<(), ApiError> {
        for (key, wanted) in &self.labels {
            let found = labels.entry(key.clone());
            let found = found.or_insert_with(|| wanted.clone().unwrap_or_default());
            if wanted.as_ref().is_some_and(|wanted| wanted != found) {
                let wanted = wanted.as_deref().unwrap_or_default();
                return Err(self.refusal(&format!("label {key}={found}: only {key}={wanted}")));
            }
        }
        Ok(())
    }

    /// The labels as the filter `label` has them.
    pub(super) fn label_filters(&self) -> impl Iterator<Item = String> {
        self.labels.iter().map(|(key, value)| match value {
            Some(value) => format!("{key}={value}"),
            None => key.clone(),
        })
    }

    /// 403: `what` is not part of the grant.
    pub(crate) fn refusal(&self, what: &str) -> ApiError {
        let text = format!(
            "access {:?} does not allow {what} (see: hull access inspect {0})",
            self.name
        );
        ApiError::new(http::StatusCode::FORBIDDEN, text)
    }
}

/// Names are part of paths.
pub(super) fn check_name(name: &str) -> Result<(), ApiError> {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let begins = name
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric());
    if begins && name.len() <= 64 && name.bytes().all(fine) {
        return Ok(());
    }
    Err(ApiError::bad_request(format!(
        "invalid name {name:?}: up to 64 letters, digits, '_', '.' and '-', beginning with a letter or digit"
    )))
}

/// `containers:list,inspect`, `images:*`, `read`, `all`.
fn verbs(words: &[String]) -> Result<BTreeSet<(&'static str, &'static str)>, ApiError> {
    let mut allowed = BTreeSet::new();
    let every = || {
        let nouns = VERBS.iter();
        nouns.flat_map(|(noun, verbs)| verbs.iter().map(|verb| (*noun, *verb)))
    };
    for word in words {
        let mut noun = None;
        for item in word.split(',').map(str::trim) {
            let (named, verb) = match item.split_once(':') {
                Some((named, verb)) => (Some(named), verb),
                None => (noun, item),
            };
            noun = named;
            match (named, verb) {
                (None, "all") => allowed.extend(every()),
                (None, "read") => {
                    allowed.extend(every().filter(|(_, verb)| READING.contains(verb)));
                }
                (None, _) => return Err(unknown(item, "name a noun, as in containers:list")),
                (Some(named), verb) => {
                    let found =
                        every().filter(|pair| pair.0 == named && (verb == "*" || pair.1 == verb));
                    let found: Vec<_> = found.collect();
                    if found.is_empty() {
                        return Err(unknown(item, &known(named)));
                    }
                    allowed.extend(found);
                }
            }
        }
    }
    Ok(allowed)
}

fn unknown(item: &str, hint: &str) -> ApiError {
    ApiError::bad_request(format!("{item:?} cannot be allowed: {hint}"))
}

fn known(noun: &str) -> String {
    let verbs = VERBS.iter().find(|(known, _)| *known == noun);
    match verbs {
        Some((_, verbs)) => format!("the verbs of {noun} are {}", verbs.join(", ")),
        None => {
            let nouns: Vec<&str> = VERBS.iter().map(|(noun, _)| *noun).collect();
            format!("the nouns are {}", nouns.join(", "))
        }
    }
}

/// A name without what every name of Docker Hub may begin with.
fn familiar(name: &str) -> &str {
    let name = name.strip_prefix("index.docker.io/").unwrap_or(name);
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    name.strip_prefix("library/").unwrap_or(name)
}

/// A name, and less and less of it: `a/b:1@sha256:…`, `a/b:1`, `a/b`.
fn forms(name: &str) -> Vec<&str> {
    let mut forms = vec![name];
    let (tagged, _) = name.split_once('@').unwrap_or((name, ""));
    forms.push(tagged);
    // The colon of a port has a slash behind it.
    if let Some((repository, tag)) = tagged.rsplit_once(':')
        && !tag.contains('/')
        && tagged != "sha256"
        && repository != "sha256"
    {
        forms.push(repository);
    }
    forms
}

/// Whether a pattern, in which `*` is any text, is all of `text`.
fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROJECT: &str = "com.docker.compose.project";

    fn grant(allow: &[&str], labels: &[&str], images: &[&str]) -> Result<Grant, ApiError> {
        let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        Grant::read(WireGrant {
            name: "g".to_owned(),
            allow: owned(allow),
            labels: owned(labels),
            images: owned(images),
            ..WireGrant::default()
        })
    }

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pairs = pairs.iter();
        pairs
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn verbs_are_read() {
        let some = grant(&["containers:list,inspect,images:pull"], &[], &[]).unwrap();
        let wire = some.to_wire(String::new());
        assert_eq!(
            wire.allow,
            ["containers:inspect", "containers:list", "images:pull"]
        );
        let read = grant(&["read"], &[], &[]).unwrap();
        assert!(read.allows("containers", "logs") && read.allows("images", "history"));
        for verb in ["start", "exec", "attach", "copy", "remove", "create"] {
            assert!(!read.allows("containers", verb), "{verb}");
        }
        let all = grant(&["all"], &[], &[]).unwrap();
        assert!(all.allows("networks", "connect") && all.allows("containers", "create"));
        let volumes = grant(&["volumes:*"], &[], &[]).unwrap();
        assert!(volumes.allows("volumes", "prune") && !volumes.allows("networks", "prune"));
        for wrong in ["list", "containers:fly", "planets:list", "", "containers:"] {
            assert!(grant(&[wrong], &[], &[]).is_err(), "{wrong}");
        }
        assert!(grant(&[], &[], &[]).is_err());
        // What is kept is read again.
        assert_eq!(Grant::read(all.to_wire(String::new())).unwrap(), all);
    }

    #[test]
    fn names_stay_in_their_directory() {
        for fine in ["a", "ci-1", "a.b_c"] {
            assert!(check_name(fine).is_ok(), "{fine}");
        }
        for wrong in ["", "..", ".a", "a/b", "a b", "-a", "ä", &"a".repeat(65)] {
            assert!(check_name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn labels_all_have_to_fit() {
        let scoped = grant(&["read"], &["com.docker.compose.project=p", "team"], &[]).unwrap();
        let of_p = labels(&[(PROJECT, "p"), ("team", "x")]);
        assert!(scoped.has_container(&of_p, "any"));
        assert!(!scoped.has_labels(&labels(&[(PROJECT, "p")])));
        assert!(!scoped.has_labels(&labels(&[(PROJECT, "q"), ("team", "x")])));
        assert!(grant(&["read"], &["a=1", "a=2"], &[]).is_err());
        let mut made = labels(&[("team", "y")]);
        scoped.label(&mut made).unwrap();
        assert_eq!(made, labels(&[(PROJECT, "p"), ("team", "y")]));
        let mut other = labels(&[(PROJECT, "q")]);
        assert!(scoped.label(&mut other).is_err());
    }

    #[test]
    fn images_are_known_by_all_their_names() {
        let scoped = grant(&["read"], &[], &["nginx", "r:5000/team/*", "app:1.*"]).unwrap();
        for inside in [
            "nginx",
            "nginx:1",
            "docker.io/library/nginx:1",
            "nginx@sha256:00",
            "r:5000/team/a",
            "r:5000/team/a/b:2",
            "app:1.2",
        ] {
            assert!(scoped.has_image(inside), "{inside}");
        }
        for outside in [
            "nginx2",
            "x/nginx",
            "r:5000/team",
            "app",
            "app:2",
            "sha256:00",
            "",
        ] {
            assert!(!scoped.has_image(outside), "{outside}");
        }
        assert!(grant(&["read"], &[], &[""]).is_err());
    }

    #[test]
    fn patterns() {
        for (pattern, text) in [("a*b*c", "axbyc"), ("*", ""), ("a*", "a"), ("a*a", "aa")] {
            assert!(fits(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("a*a", "a"), ("a*b*b", "ab"), ("", "a"), ("a", "ab")] {
            assert!(!fits(pattern, text), "{pattern} {text}");
        }
    }
}
