//! Devices by what they can (`--gpus`), found in the Container Device Interface's documents.

use super::DeviceRequest;
use super::cdi::Registry;
use crate::{Error, ErrorKind, Result};
use hull_spec::runtime::Spec;
use std::path::PathBuf;

/// Drivers of GPUs, and the kind of their devices, in the order in which they are tried.
const GPUS: [(&str, &str); 2] = [("nvidia", "nvidia.com/gpu"), ("amd", "amd.com/gpu")];

fn failed(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::Internal, text)
}

/// Puts all requested devices into a container.
///
/// # Errors
/// `Internal`, in dockerd's words, for what nobody can give.
pub(super) fn add(
    spec: &mut Spec,
    requests: &[DeviceRequest],
    directories: &[PathBuf],
) -> Result<()> {
    if requests.is_empty() {
        return Ok(());
    }
    let registry = Registry::read(directories);
    let names: Result<Vec<_>> = requests
        .iter()
        .map(|request| names(request, &registry))
        .collect();
    registry.inject(spec, &names?.concat())
}

/// The full names of the devices that serve a request.
fn names(request: &DeviceRequest, registry: &Registry) -> Result<Vec<String>> {
    if request.driver == "cdi" {
        if request.count != 0 {
            return Err(failed("unexpected count in CDI device request"));
        }
        if !request.options.is_empty() {
            return Err(failed("unexpected options in CDI device request"));
        }
        return Ok(request.ids.clone());
    }
    let gpu = |list: &Vec<String>| list.iter().any(|word| word == "gpu");
    let mut kinds = GPUS
        .iter()
        .filter(|(driver, _)| request.driver.is_empty() || request.driver == *driver)
        .map(|(_, kind)| (*kind, registry.names(kind)));
    let found = kinds.find(|(_, there)| !there.is_empty());
    let Some((kind, there)) = found.filter(|_| request.capabilities.iter().any(gpu)) else {
        return Err(failed(format!(
            "could not select device driver {:?} with capabilities: {}",
            request.driver,
            lists(&request.capabilities)
        )));
    };
    let chosen = choose(request, &there)?;
    Ok(chosen.iter().map(|name| format!("{kind}={name}")).collect())
}

fn choose<'a>(request: &'a DeviceRequest, there: &[&'a str]) -> Result<Vec<&'a str>> {
    if !request.ids.is_empty() {
        if request.count != 0 {
            return Err(failed(
                "cannot set both Count and DeviceIDs on device request",
            ));
        }
        return Ok(request.ids.iter().map(String::as_str).collect());
    }
    let numbered = || {
        there
            .iter()
            .copied()
            .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
    };
    match usize::try_from(request.count) {
        // A document may have a name for all of them.
        Err(_) if there.contains(&"all") => Ok(vec!["all"]),
        Err(_) => Ok(there.to_vec()),
        Ok(count) if numbered().count() >= count => Ok(numbered().take(count).collect()),
        Ok(count) => Err(failed(format!(
            "{count} GPUs are requested, and there are {}",
            numbered().count()
        ))),
    }
}

/// Lists of words as Go writes them: `[[gpu] [utility]]`.
fn lists(words: &[Vec<String>]) -> String {
    let inner: Vec<String> = words
        .iter()
        .map(|list| format!("[{}]", list.join(" ")))
        .collect();
    format!("[{}]", inner.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(change: impl FnOnce(&mut DeviceRequest)) -> std::result::Result<Vec<String>, String> {
        let (_directory, registry) = super::super::cdi::examples();
        let mut request = DeviceRequest {
            capabilities: vec![vec!["gpu".to_owned()]],
            ..DeviceRequest::default()
        };
        change(&mut request);
        names(&request, &registry).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn gpus_are_chosen_by_count_and_by_name() {
        assert_eq!(asked(|r| r.count = -1).unwrap(), ["nvidia.com/gpu=all"]);
        assert_eq!(asked(|r| r.count = 1).unwrap(), ["nvidia.com/gpu=0"]);
        let two = asked(|r| r.count = 2).unwrap();
        assert_eq!(two, ["nvidia.com/gpu=0", "nvidia.com/gpu=1"]);
        assert!(asked(|r| r.count = 3).is_err());
        let named = asked(|r| r.ids = vec!["1".to_owned()]).unwrap();
        assert_eq!(named, ["nvidia.com/gpu=1"]);
        assert!(asked(|r| (r.ids, r.count) = (vec!["1".to_owned()], 1)).is_err());
        let cdi = asked(|r| {
            (r.driver, r.ids) = ("cdi".to_owned(), vec!["a/b=c".to_owned()]);
        });
        assert_eq!(cdi.unwrap(), ["a/b=c"]);
    }

    #[test]
    fn what_nobody_can_give_is_told_in_dockerds_words() {
        assert_eq!(
            asked(|r| r.driver = "amd".to_owned()).unwrap_err(),
            "could not select device driver \"amd\" with capabilities: [[gpu]]"
        );
        assert_eq!(
            asked(|r| r.capabilities = Vec::new()).unwrap_err(),
            "could not select device driver \"\" with capabilities: []"
        );
        let cdi = |change: fn(&mut DeviceRequest)| {
            asked(|r| {
                r.driver = "cdi".to_owned();
                change(r);
            })
            .unwrap_err()
        };
        assert_eq!(
            cdi(|r| r.count = 2),
            "unexpected count in CDI device request"
        );
        assert_eq!(
            cdi(|r| r.options.extend([("a".to_owned(), "b".to_owned())])),
            "unexpected options in CDI device request"
        );
    }
}
