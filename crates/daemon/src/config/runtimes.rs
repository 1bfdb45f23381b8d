//! OCI runtimes by name.

use super::{ConfigError, file};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The runtime that containers get unless they name another.
pub(crate) const DEFAULT_RUNTIME: &str = "hull-runtime";
/// Names that Docker's users have for "the usual runtime"; here they are Hull's too.
pub(crate) const DOCKERS_RUNTIMES: [&str; 2] = ["runc", "io.containerd.runc.v2"];

/// An OCI runtime by path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Runtime {
    pub(crate) path: PathBuf,
    pub(crate) args: Vec<String>,
}

pub(super) fn runtimes(
    flags: &[String],
    file: Option<BTreeMap<String, file::Runtime>>,
) -> Result<BTreeMap<String, Runtime>, ConfigError> {
    let mut runtimes = BTreeMap::new();
    for flag in flags {
        let spec = || ConfigError::Runtime(flag.clone());
        let (name, path) = flag.split_once('=').ok_or_else(spec)?;
        if name.is_empty() || path.is_empty() {
            return Err(spec());
        }
        add_runtime(&mut runtimes, name.to_owned(), path.into(), Vec::new())?;
    }
    for (name, runtime) in file.unwrap_or_default() {
        if !runtime.runtime_type.is_empty() || runtime.options.is_some() {
            return Err(ConfigError::Plain(format!(
                "runtime '{name}': runtimeType and options are containerd's; name the program by its path"
            )));
        }
        let args = runtime.runtime_args.unwrap_or_default();
        add_runtime(&mut runtimes, name, runtime.path.into(), args)?;
    }
    Ok(runtimes)
}

/// Whether a name stands for Hull's own runtime.
pub(super) fn is_own(name: &str) -> bool {
    name == DEFAULT_RUNTIME || DOCKERS_RUNTIMES.contains(&name)
}

fn add_runtime(
    runtimes: &mut BTreeMap<String, Runtime>,
    name: String,
    path: PathBuf,
    args: Vec<String>,
) -> Result<(), ConfigError> {
    if DOCKERS_RUNTIMES.contains(&name.as_str()) {
        return Err(ConfigError::Plain(format!(
            "runtime name '{name}' is reserved"
        )));
    }
    if runtimes.contains_key(&name) || name == DEFAULT_RUNTIME {
        return Err(ConfigError::RuntimeTwice(name));
    }
    runtimes.insert(name, Runtime { path, args });
    Ok(())
}
