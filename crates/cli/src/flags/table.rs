//! How a command declares its flags: tables of constants.

/// One flag.
#[derive(Debug)]
pub(crate) struct Flag {
    /// Without the dashes.
    pub(crate) long: &'static str,
    /// The letter, if there is one.
    pub(crate) short: Option<char>,
    /// What its values are.
    pub(crate) kind: Kind,
    /// The word for its value in the help.
    pub(crate) value_name: &'static str,
    /// For the help.
    pub(crate) help: &'static str,
    /// Shown in the help as it stands.
    pub(crate) default: &'static str,
    /// Another flag it is a spelling of; not in the help.
    pub(crate) same_as: Option<&'static str>,
    /// Accepted, but not in the help.
    pub(crate) hidden: bool,
}

/// What the values of a flag are; checked while parsing, so that the error names the flag.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Takes a value only after `=`.
    Bool,
    /// Anything; the last one counts.
    Text,
    /// Anything, several times.
    List,
    /// A signed number.
    Int,
    /// A small number.
    Uint16,
    /// `512m`.
    Bytes,
    /// The same, or -1 for no limit.
    Swap,
    /// `1m30s`.
    Duration,
    /// `1.5`.
    Cpus,
    /// What the function accepts.
    Checked(fn(&str) -> Result<(), String>),
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl Flag {
    const fn new(long: &'static str, kind: Kind, name: &'static str, help: &'static str) -> Self {
        Self {
            long,
            short: None,
            kind,
            value_name: name,
            help,
            default: "",
            same_as: None,
            hidden: false,
        }
    }

    pub(crate) const fn short(mut self, letter: char) -> Self {
        self.short = Some(letter);
        self
    }

    pub(crate) const fn kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    pub(crate) const fn default(mut self, text: &'static str) -> Self {
        self.default = text;
        self
    }

    pub(crate) const fn same_as(mut self, long: &'static str) -> Self {
        self.same_as = Some(long);
        self.hidden = true;
        self
    }

    pub(crate) const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }
}

/// A boolean.
pub(crate) const fn flag(long: &'static str, help: &'static str) -> Flag {
    Flag::new(long, Kind::Bool, "", help)
}

/// A flag with one value.
pub(crate) const fn value(long: &'static str, name: &'static str, help: &'static str) -> Flag {
    Flag::new(long, Kind::Text, name, help)
}

/// A flag that may be repeated.
pub(crate) const fn list(long: &'static str, name: &'static str, help: &'static str) -> Flag {
    Flag::new(long, Kind::List, name, help)
}

/// A flag with a number.
pub(crate) const fn int(long: &'static str, help: &'static str) -> Flag {
    Flag::new(long, Kind::Int, "int", help)
}
