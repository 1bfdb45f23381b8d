//! What variables there are.

use std::collections::{BTreeMap, HashMap};

/// What a variable is looked up in.
pub trait Variables {
    /// Its value.
    fn get(&self, name: &str) -> Option<&str>;
    /// The names of all, in order.
    fn names(&self) -> Vec<&str>;
}

/// No variable is set.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoVariables;

impl Variables for NoVariables {
    fn get(&self, _name: &str) -> Option<&str> {
        None
    }

    fn names(&self) -> Vec<&str> {
        Vec::new()
    }
}

/// Variables in the order in which they were set last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    values: HashMap<String, (u64, String)>,
    order: BTreeMap<u64, String>,
    next: u64,
}

impl Environment {
    /// Without any.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets one, which then is the last.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let name = name.into();
        let place = self.next;
        self.next += 1;
        let old = self.values.insert(name.clone(), (place, value.into()));
        if let Some((before, _)) = old {
            self.order.remove(&before);
        }
        self.order.insert(place, name);
    }

    /// All of them, with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let value = |name: &String| self.values.get(name).map_or("", |(_, value)| value);
        self.order
            .values()
            .map(move |name| (name.as_str(), value(name)))
    }

    /// As a process gets them: `NAME=value`.
    #[must_use]
    pub fn to_list(&self) -> Vec<String> {
        self.iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }
}

impl Variables for Environment {
    fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|(_, value)| value.as_str())
    }

    fn names(&self) -> Vec<&str> {
        self.order.values().map(String::as_str).collect()
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut all = Self::new();
        for (name, value) in pairs {
            all.set(name, value);
        }
        all
    }
}
