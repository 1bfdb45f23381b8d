//! What each entry of a log says besides: labels, variables and a tag, as the options ask.

use super::invalid;
use crate::Result;
use crate::container::record::Record;
use regex::Regex;
use std::collections::BTreeMap;

type Options = BTreeMap<String, String>;

/// Checks patterns and template.
///
/// # Errors
/// When they cannot be read.
pub(super) fn check(options: &Options) -> Result<()> {
    pattern(options, "labels-regex")?;
    pattern(options, "env-regex")?;
    let tag = options.get("tag").map_or("", String::as_str);
    fill_in(tag, |_| Some(String::new())).map(drop)
}

/// The attributes of a container's log, its tag among them.
///
/// # Errors
/// As [`check`].
pub(super) fn of(record: &Record) -> Result<BTreeMap<String, String>> {
    let mut found = asked(record)?;
    let tag = tag(record, "")?;
    if !tag.is_empty() {
        found.insert("tag".to_owned(), tag);
    }
    Ok(found)
}

/// The option `tag`, or else `usual`, filled in.
///
/// # Errors
/// As [`check`].
pub(super) fn tag(record: &Record, usual: &str) -> Result<String> {
    let options = &record.config.log.options;
    let tag = options.get("tag").map_or("", String::as_str);
    let tag = if tag.is_empty() { usual } else { tag };
    fill_in(tag, |field| field_of(record, field))
}

/// Labels and variables that the options ask for.
///
/// # Errors
/// As [`check`].
pub(super) fn asked(record: &Record) -> Result<BTreeMap<String, String>> {
    let options = &record.config.log.options;
    let effective = &record.effective;
    let labels = effective
        .labels
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let mut found = chosen(options, "labels", labels)?;
    let env = effective
        .env
        .iter()
        .filter_map(|variable| variable.split_once('='));
    found.extend(chosen(options, "env", env)?);
    Ok(found)
}

/// Those that are named in option `name`, or fit the pattern in `name-regex`.
fn chosen<'r>(
    options: &Options,
    name: &str,
    all: impl Iterator<Item = (&'r str, &'r str)>,
) -> Result<BTreeMap<String, String>> {
    let names = options.get(name).map_or("", String::as_str);
    let names: Vec<&str> = names.split(',').filter(|name| !name.is_empty()).collect();
    let pattern = pattern(options, &format!("{name}-regex"))?;
    let fits = |name: &str| {
        pattern
            .as_ref()
            .is_some_and(|pattern| pattern.is_match(name))
    };
    Ok(all
        .filter(|(name, _)| names.contains(name) || fits(name))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}

fn pattern(options: &Options, name: &str) -> Result<Option<Regex>> {
    let pattern = options.get(name).filter(|text| !text.is_empty());
    let pattern = pattern.map(|text| Regex::new(text)).transpose();
    pattern.map_err(|error| invalid(format!("error parsing regexp: {name}: {error}")))
}

/// Fills fields such as `{{.Name}}` into a template. The language has more, of which nobody makes use in tags.
fn fill_in(template: &str, field: impl Fn(&str) -> Option<String>) -> Result<String> {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, action)) = rest.split_once("{{") {
        text.push_str(before);
        let Some((action, after)) = action.split_once("}}") else {
            return Err(invalid("template: log-tag:1: unclosed action"));
        };
        let action = action.trim();
        let name = action.strip_prefix('.').filter(|name| is_field(name));
        let Some(name) = name else {
            return Err(invalid(format!(
                "template: log-tag:1: a tag can have fields such as {{{{.Name}}}}, not {{{{{action}}}}}"
            )));
        };
        let value = field(name).filter(|_| FIELDS.contains(&name));
        text.push_str(&value.ok_or_else(|| {
            invalid(format!(
                "template: log-tag:1:2: executing \"log-tag\" at <.{name}>: can't evaluate field {name} in type *logger.Info"
            ))
        })?);
        rest = after;
    }
    text.push_str(rest);
    Ok(text)
}

fn is_field(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The fields that [`field_of`] knows.
const FIELDS: [&str; 13] = [
    "ID",
    "FullID",
    "ContainerID",
    "Name",
    "ContainerName",
    "ImageID",
    "ImageFullID",
    "ContainerImageID",
    "ImageName",
    "ContainerImageName",
    "Command",
    "Hostname",
    "DaemonName",
];

fn field_of(record: &Record, field: &str) -> Option<String> {
    let short = |id: &str| id.get(..12).unwrap_or(id).to_owned();
    Some(match field {
        "ID" => short(&record.id),
        "FullID" | "ContainerID" => record.id.clone(),
        "Name" => record.name.clone(),
        "ContainerName" => format!("/{}", record.name),
        "ImageID" => short(&record.image_id),
        "ImageFullID" | "ContainerImageID" => record.image_id.clone(),
        "ImageName" | "ContainerImageName" => record.image_name.clone(),
        "Command" => record.effective.args.join(" "),
        "Hostname" => crate::system::host_name(),
        // What clients see of it is Docker's name for its daemon.
        "DaemonName" => "docker".to_owned(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_filled_in() {
        let fill = |template: &str| fill_in(template, |field| Some(format!("<{field}>")));
        assert_eq!(fill("a/{{.Name}}-{{ .ID }}!").unwrap(), "a/<Name>-<ID>!");
        assert_eq!(fill("").unwrap(), "");
        let refused = |template| fill(template).unwrap_err().message().to_owned();
        assert!(refused("{{.Nope}}").ends_with("can't evaluate field Nope in type *logger.Info"));
        assert!(refused("{{upper .Name}}").contains("not {{upper .Name}}"));
        assert_eq!(refused("x{{"), "template: log-tag:1: unclosed action");
    }

    #[test]
    fn labels_and_variables_are_chosen_by_name_and_pattern() {
        let options = [("labels", "a.b,,x"), ("labels-regex", "^q")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let options = BTreeMap::from(options);
        let all = [("a.b", "1"), ("q1", "2"), ("b", "3")];
        let found = chosen(&options, "labels", all.into_iter()).unwrap();
        assert_eq!(found.into_keys().collect::<Vec<_>>(), ["a.b", "q1"]);
        assert!(chosen(&options, "env", all.into_iter()).unwrap().is_empty());
    }
}
