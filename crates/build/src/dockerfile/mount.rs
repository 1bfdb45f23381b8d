//! `RUN --mount` and `RUN --device`.

use super::place::Error;
use super::suggest;

/// What a mount is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MountType {
    /// Files of a stage, an image or the context.
    #[default]
    Bind,
    /// A directory that stays from build to build.
    Cache,
    /// Memory.
    Tmpfs,
    /// A secret.
    Secret,
    /// The client's ssh agent.
    Ssh,
}

const TYPES: [(&str, MountType); 5] = [
    ("bind", MountType::Bind),
    ("cache", MountType::Cache),
    ("tmpfs", MountType::Tmpfs),
    ("secret", MountType::Secret),
    ("ssh", MountType::Ssh),
];

/// What happens when two steps want one cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Both have it.
    Shared,
    /// The second gets another.
    Private,
    /// The second waits.
    Locked,
}

const SHARING: [(&str, Sharing); 3] = [
    ("shared", Sharing::Shared),
    ("private", Sharing::Private),
    ("locked", Sharing::Locked),
];

const KEYS: [&str; 19] = [
    "type",
    "from",
    "source",
    "target",
    "readonly",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "src",
    "dst",
    "destination",
    "ro",
    "rw",
    "readwrite",
    "env",
];

/// A mount as it is written: variables may stand anywhere but in `from`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountText {
    /// The stage, image or context; empty is the build's context, or nothing.
    pub from: String,
    fields: Vec<String>,
}

/// A mount.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mount {
    /// What it is.
    pub kind: MountType,
    /// The stage, image or context.
    pub from: String,
    /// The path there; of a secret its id.
    pub source: String,
    /// Where it is seen.
    pub target: String,
    /// Whether it cannot be written.
    pub readonly: bool,
    /// Of tmpfs, in bytes; 0 is no limit.
    pub size: u64,
    /// Of caches, secrets and ssh.
    pub id: String,
    /// Of caches.
    pub sharing: Option<Sharing>,
    /// Whether a secret or agent must be there.
    pub required: bool,
    /// The variable that gets a secret.
    pub env: Option<String>,
    /// The mode of a file or directory that is made.
    pub mode: Option<u32>,
    /// Its owner.
    pub uid: Option<u32>,
    /// Its group.
    pub gid: Option<u32>,
}

impl MountText {
    /// Reads the flag's value as far as that goes without variables.
    pub(super) fn new(text: &str) -> Result<Self, Error> {
        let fields = csv(text).map_err(|error| error.within("failed to parse csv mounts"))?;
        let mut from = String::new();
        for field in &fields {
            let Some((key, value)) = field.split_once('=') else {
                continue;
            };
            if !key.eq_ignore_ascii_case("from") {
                continue;
            }
            if value.find('$').is_some_and(|at| at + 1 != value.len()) {
                return Err(Error::new(
                    "'from' doesn't support variable expansion, define alias stage instead",
                ));
            }
            value.clone_into(&mut from);
        }
        Ok(Self { from, fields })
    }

    /// The mount, with variables in place.
    ///
    /// # Errors
    /// With BuildKit's message.
    pub fn read(
        &self,
        expand: &mut dyn FnMut(&str) -> Result<String, Error>,
    ) -> Result<Mount, Error> {
        let mut mount = Mount::default();
        let mut readonly = None;
        for field in &self.fields {
            let (key, value) = match field.split_once('=') {
                Some((key, value)) => (key.to_lowercase(), Some(expand(value)?)),
                None => (field.to_lowercase(), None),
            };
            match (key.as_str(), value) {
                ("readonly" | "ro", value) => readonly = Some(truth(&key, value)?),
                ("readwrite" | "rw", value) => readonly = Some(!truth(&key, value)?),
                ("required", value) => {
                    if !matches!(mount.kind, MountType::Secret | MountType::Ssh) {
                        return Err(mount.unexpected(&key));
                    }
                    mount.required = truth(&key, value)?;
                }
                (_, Some(value)) => mount.set(&key, value, field)?,
                (_, None) => {
                    let message = format!("invalid field '{field}' must be a key=value pair");
                    return Err(Error::new(message));
                }
            }
        }
        mount.readonly =
            readonly.unwrap_or(!matches!(mount.kind, MountType::Cache | MountType::Tmpfs));
        mount.check()?;
        Ok(mount)
    }
}

impl Mount {
    fn unexpected(&self, key: &str) -> Error {
        let kind = self.kind_name();
        Error::new(format!("unexpected key '{key}' for mount type '{kind}'"))
    }

    fn kind_name(&self) -> &'static str {
        let found = TYPES.iter().find(|(_, kind)| *kind == self.kind);
        found.map_or("bind", |(name, _)| name)
    }

    fn set(&mut self, key: &str, value: String, field: &str) -> Result<(), Error> {
        match key {
            "type" => self.kind = one_of(&TYPES, &value, "mount type")?,
            "from" => self.from = value,
            "source" | "src" => self.source = value,
            "target" | "dst" | "destination" => self.target = value,
            "size" if self.kind == MountType::Tmpfs => {
                self.size = bytes(&value)
                    .ok_or_else(|| Error::new(format!("invalid value for size: {value}")))?;
            }
            "size" => return Err(self.unexpected(key)),
            "id" => self.id = value,
            "sharing" => self.sharing = Some(one_of(&SHARING, &value, "sharing value")?),
            "mode" => self.mode = Some(number(key, &value, 8)?),
            "uid" => self.uid = Some(number(key, &value, 10)?),
            "gid" => self.gid = Some(number(key, &value, 10)?),
            "env" => self.env = Some(value),
            _ => {
                let message = format!("unexpected key '{key}' in '{field}'");
                return Err(Error::new(suggest::hinted(message, key, KEYS)));
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Error> {
        let kind = self.kind_name();
        let refused = |why: String| Err(Error::new(why));
        if matches!(self.kind, MountType::Bind | MountType::Tmpfs) {
            let given = [("mode", self.mode), ("uid", self.uid), ("gid", self.gid)];
            if let Some((name, _)) = given.into_iter().find(|(_, value)| value.is_some()) {
                return refused(format!("{name} not allowed for {kind:?} type mounts"));
            }
        }
        if self.kind == MountType::Secret {
            if !self.from.is_empty() {
                return refused("secret mount should not have a from".to_owned());
            }
            if self.sharing.is_some() {
                return refused("secret mount should not define sharing".to_owned());
            }
            if self.source.is_empty() && self.target.is_empty() && self.id.is_empty() {
                return refused("invalid secret mount. one of source, target required".to_owned());
            }
            if !self.source.is_empty() && !self.id.is_empty() {
                return refused("both source and id can't be set".to_owned());
            }
        }
        if self.sharing.is_some() && self.kind != MountType::Cache {
            return refused(format!("invalid cache sharing set for {kind} mount"));
        }
        Ok(())
    }
}

fn one_of<T: Copy>(all: &[(&'static str, T)], value: &str, what: &str) -> Result<T, Error> {
    let lower = value.to_lowercase();
    let found = all.iter().find(|(name, _)| *name == lower);
    found.map(|(_, one)| *one).ok_or_else(|| {
        let message = format!("unsupported {what} {value:?}");
        let names = all.iter().map(|(name, _)| *name);
        Error::new(suggest::hinted(message, value, names))
    })
}

fn truth(key: &str, value: Option<String>) -> Result<bool, Error> {
    let Some(value) = value else {
        return Ok(true);
    };
    super::boolean(&value).ok_or_else(|| Error::new(format!("invalid value for {key}: {value}")))
}

fn number(key: &str, value: &str, radix: u32) -> Result<u32, Error> {
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.then(|| u32::from_str_radix(value, radix).ok());
    number
        .flatten()
        .ok_or_else(|| Error::new(format!("invalid value {value} for {key}")))
}

/// Bytes such as `64m`, `1.5GiB`: units are powers of 1024, as for memory everywhere in Docker.
fn bytes(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.'));
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let number: f64 = number.parse().ok()?;
    let unit = unit.trim_start_matches(' ').to_ascii_lowercase();
    let power = match unit.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return None,
    };
    let bytes = number * 1024_f64.powi(power);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "digits have no sign, and as much as 2^63 is refused"
    )]
    (bytes < 9.2e18).then_some(bytes as u64)
}

/// A CDI device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// `vendor.com/class=name`, or without a name.
    pub name: String,
    /// Whether the build fails without it.
    pub required: bool,
}

impl Device {
    pub(super) fn new(text: &str) -> Result<Self, Error> {
        let fields = csv(text).map_err(|error| error.within("failed to parse csv devices"))?;
        let mut device = Self::default();
        for field in fields {
            let (key, value) = match field.split_once('=') {
                Some((key, value)) => (key.to_lowercase(), Some(value.to_owned())),
                None => (field.to_lowercase(), None),
            };
            match (key.as_str(), value) {
                ("required", value) => device.required = truth(&key, value)?,
                ("name", Some(value)) if device.name.is_empty() => device.name = value,
                ("name", Some(_)) => {
                    let message = format!("device name already set to {}", device.name);
                    return Err(Error::new(message));
                }
                _ if device.name.is_empty() => device.name = field,
                (_, None) => {
                    let message = format!("invalid field '{field}' must be a key=value pair");
                    return Err(Error::new(message));
                }
                (_, Some(_)) => {
                    let message = format!("unexpected key '{key}' in '{field}'");
                    let names = ["name", "required"];
                    return Err(Error::new(suggest::hinted(message, &key, names)));
                }
            }
        }
        Ok(device)
    }
}

/// The fields of one line of comma-separated values (RFC 4180).
pub(crate) fn csv(text: &str) -> Result<Vec<String>, Error> {
    let wrong = |at: usize, why: &str| {
        let column = at + 1;
        Err(Error::new(format!(
            "parse error on line 1, column {column}: {why}"
        )))
    };
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let mut field = String::new();
        if let Some(mut quoted) = rest.strip_prefix('"') {
            loop {
                let Some(end) = quoted.find('"') else {
                    return wrong(text.len(), "extraneous or missing \" in quoted-field");
                };
                field.push_str(&quoted[..end]);
                quoted = &quoted[end + 1..];
                let Some(more) = quoted.strip_prefix('"') else {
                    break;
                };
                field.push('"');
                quoted = more;
            }
            rest = quoted;
            if !rest.is_empty() && !rest.starts_with(',') {
                let at = text.len() - rest.len() - 1;
                return wrong(at, "extraneous or missing \" in quoted-field");
            }
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            if let Some(at) = rest[..end].find('"') {
                let at = text.len() - rest.len() + at;
                return wrong(at, "bare \" in non-quoted-field");
            }
            field.push_str(&rest[..end]);
            rest = &rest[end..];
        }
        fields.push(field);
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => return Ok(fields),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Mount, String> {
        let mut as_it_is = |value: &str| Ok(value.to_owned());
        let mount = MountText::new(text).and_then(|mount| mount.read(&mut as_it_is));
        mount.map_err(|error| error.message)
    }

    #[test]
    fn every_kind_of_mount() {
        let bind = read("target=/a,from=b,source=c,rw").unwrap();
        assert_eq!((bind.kind, bind.readonly), (MountType::Bind, false));
        assert_eq!(
            (&*bind.target, &*bind.from, &*bind.source),
            ("/a", "b", "c")
        );
        assert!(read("dst=/a").unwrap().readonly);
        let cache = read("type=cache,target=/c,id=x,sharing=locked,mode=0700,uid=1,gid=2").unwrap();
        assert_eq!(
            (cache.sharing, cache.mode),
            (Some(Sharing::Locked), Some(0o700))
        );
        assert!(!cache.readonly);
        assert_eq!(
            read("type=tmpfs,target=/t,size=1.5m").unwrap().size,
            3 << 19
        );
        let secret = read("type=secret,id=x,env=X,required").unwrap();
        assert!(secret.required && secret.readonly);
        assert_eq!(secret.env.as_deref(), Some("X"));
        assert_eq!(read("type=ssh,required=true").unwrap().kind, MountType::Ssh);
        assert_eq!(
            read("\"target=/a,b\",\"source=\"\"c\"").unwrap().target,
            "/a,b"
        );
    }

    #[test]
    fn mistakes_are_told_in_buildkits_words() {
        for (text, said) in [
            (
                "type=bnid",
                "unsupported mount type \"bnid\" (did you mean bind?)",
            ),
            ("type=x", "unsupported mount type \"x\""),
            (
                "type=cache,sharing=lokced",
                "unsupported sharing value \"lokced\" (did you mean locked?)",
            ),
            (
                "tagret=/x",
                "unexpected key 'tagret' in 'tagret=/x' (did you mean target?)",
            ),
            ("x", "invalid field 'x' must be a key=value pair"),
            (
                "required",
                "unexpected key 'required' for mount type 'bind'",
            ),
            ("size=1", "unexpected key 'size' for mount type 'bind'"),
            ("type=tmpfs,size=x", "invalid value for size: x"),
            ("ro=maybe", "invalid value for ro: maybe"),
            ("mode=9", "invalid value 9 for mode"),
            ("mode=0700", "mode not allowed for \"bind\" type mounts"),
            (
                "type=tmpfs,uid=1",
                "uid not allowed for \"tmpfs\" type mounts",
            ),
            (
                "type=secret",
                "invalid secret mount. one of source, target required",
            ),
            (
                "type=secret,source=a,id=b",
                "both source and id can't be set",
            ),
            (
                "type=secret,id=a,from=b",
                "secret mount should not have a from",
            ),
            ("sharing=locked", "invalid cache sharing set for bind mount"),
            (
                "from=$x",
                "'from' doesn't support variable expansion, define alias stage instead",
            ),
            (
                "a\"b",
                "failed to parse csv mounts: parse error on line 1, column 2: bare \" in non-quoted-field",
            ),
        ] {
            assert_eq!(read(text).unwrap_err(), said, "{text}");
        }
    }

    #[test]
    fn a_device_is_its_name_alone_or_with_a_key() {
        let device = |text: &str| Device::new(text).map(|d| (d.name, d.required));
        assert_eq!(device("v.com/d=a"), Ok(("v.com/d=a".into(), false)));
        assert_eq!(
            device("name=v.com/d=a,required"),
            Ok(("v.com/d=a".into(), true))
        );
        assert_eq!(
            device("v.com/d,required=false"),
            Ok(("v.com/d".into(), false))
        );
        let said = device("a=b,name=c").unwrap_err().message;
        assert_eq!(said, "device name already set to a=b");
    }
}
