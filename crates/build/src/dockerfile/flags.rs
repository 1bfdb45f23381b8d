//! Flags of instructions: `--name=value`.

use super::place::Error;
use super::suggest;

/// How a flag is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `--name`, `--name=true`, `--name=false`.
    Switch,
    /// `--name=value`, once.
    Value,
    /// `--name=value`, any number of times.
    Values,
}

/// The flags of one statement, checked.
#[derive(Debug)]
pub(super) struct Flags(Vec<(&'static str, String)>);

impl Flags {
    /// Checks flags against what the instruction takes.
    pub(super) fn read(written: &[String], known: &[(&'static str, Kind)]) -> Result<Self, Error> {
        let mut flags = Self(Vec::new());
        for text in written {
            let (name, value) = match text.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (text.as_str(), None),
            };
            let bare = name
                .strip_prefix("--")
                .ok_or_else(|| Error::new(format!("arg should start with -- : {text}")))?;
            let Some((key, kind)) = known.iter().find(|(key, _)| *key == bare) else {
                let unknown = format!("unknown flag: {name}");
                let names = known.iter().map(|(key, _)| *key);
                return Err(Error::new(suggest::hinted(unknown, bare, names)));
            };
            if *kind != Kind::Values && flags.has(key) {
                let message = format!("duplicate flag specified: {name}");
                return Err(Error::new(message));
            }
            let missing = || Error::new(format!("missing a value on flag: {name}"));
            let value = match (kind, value) {
                (Kind::Switch, None) => "true".to_owned(),
                (Kind::Switch, Some("")) => return Err(missing()),
                (Kind::Switch, Some(value)) => match value.to_lowercase() {
                    known if matches!(known.as_str(), "true" | "false") => known,
                    _ => {
                        return Err(Error::new(format!(
                            "expecting boolean value for flag {name}, not: {value}"
                        )));
                    }
                },
                (_, value) => value.ok_or_else(missing)?.to_owned(),
            };
            flags.0.push((key, value));
        }
        Ok(flags)
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| *key == name)
    }

    /// The value of a flag; empty if it was not given.
    pub(super) fn value(&self, name: &str) -> String {
        self.optional(name).unwrap_or_default()
    }

    /// The value of a flag.
    pub(super) fn optional(&self, name: &str) -> Option<String> {
        let found = self.0.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| value.clone())
    }

    /// Whether a switch is on.
    pub(super) fn on(&self, name: &str) -> bool {
        self.value(name) == "true"
    }

    /// How a switch was set.
    pub(super) fn switch(&self, name: &str) -> Option<bool> {
        self.optional(name).map(|value| value == "true")
    }

    /// All values of a flag.
    pub(super) fn values(&self, name: &str) -> Vec<String> {
        let all = self.0.iter().filter(|(key, _)| *key == name);
        all.map(|(_, value)| value.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[(&str, Kind)] = &[
        ("link", Kind::Switch),
        ("chown", Kind::Value),
        ("exclude", Kind::Values),
    ];

    #[test]
    fn mistakes_are_told_in_buildkits_words() {
        let said = |flag: &str| {
            let flags = flag.split(' ').map(str::to_owned).collect::<Vec<_>>();
            Flags::read(&flags, KNOWN).unwrap_err().message
        };
        assert_eq!(
            said("--chwon=x"),
            "unknown flag: --chwon (did you mean chown?)"
        );
        assert_eq!(said("--nothing"), "unknown flag: --nothing");
        assert_eq!(said("--chown"), "missing a value on flag: --chown");
        assert_eq!(said("--link="), "missing a value on flag: --link");
        assert_eq!(
            said("--link=x"),
            "expecting boolean value for flag --link, not: x"
        );
        assert_eq!(
            said("--chown=a --chown=b"),
            "duplicate flag specified: --chown"
        );
    }

    #[test]
    fn values_are_taken_as_they_are() {
        let given = ["--link", "--chown=", "--exclude=a", "--exclude=b=c"].map(str::to_owned);
        let flags = Flags::read(&given, KNOWN).unwrap();
        assert!(flags.on("link"));
        assert_eq!(flags.optional("chown").as_deref(), Some(""));
        assert_eq!(flags.values("exclude"), ["a", "b=c"]);
        assert_eq!(
            Flags::read(&["--link=False".into()], KNOWN)
                .unwrap()
                .switch("link"),
            Some(false)
        );
    }
}
