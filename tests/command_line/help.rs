//! `--help`: which commands and flags there are. What is said of them is each program's own.

use crate::{Client, Difference};
use std::collections::{BTreeMap, BTreeSet};

/// Groups whose commands are looked at beside the top ones.
const GROUPS: &[&str] = &[
    "container",
    "context",
    "image",
    "manifest",
    "network",
    "system",
    "volume",
];
/// Commands that belong to what Hull has not (swarm, managed plugins, trust), or that plugins are.
const OTHERS: &[&str] = &[
    "bake",
    "buildx*",
    "compose*",
    "plugin",
    "swarm",
    "trust",
    "node",
    "service",
    "stack",
    "secret",
    "config",
    "checkpoint",
    "builder",
    "build",
    "docker",
];

/// `ps | -a --all` for every flag of every command, `container | attach` for every command.
pub(crate) fn of(client: &Client<'_>) -> Vec<String> {
    let mut found = BTreeSet::new();
    let help = |words: &str| {
        let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        let words = [words, vec!["--help".to_owned()]].concat();
        client.run(&words, &[]).stdout
    };
    let top = help("");
    for command in commands(&top) {
        found.insert(format!("docker | {command}"));
        flags(&command, &help(&command), &mut found);
    }
    flags("docker", &top, &mut found);
    for group in GROUPS {
        let text = help(group);
        for command in commands(&text) {
            found.insert(format!("{group} | {command}"));
            let words = format!("{group} {command}");
            flags(&words, &help(&words), &mut found);
        }
    }
    found.into_iter().collect()
}

/// The names in the lists of commands.
fn commands(help: &str) -> Vec<String> {
    let mut within = false;
    let mut names = Vec::new();
    for line in help.lines() {
        if !line.starts_with(' ') {
            within = line.ends_with("ommands:");
        } else if within && let Some(name) = line.split_whitespace().next() {
            names.push(name.to_owned());
        }
    }
    names.retain(|name| !OTHERS.contains(&name.as_str()));
    names
}

fn flags(words: &str, help: &str, found: &mut BTreeSet<String>) {
    for line in help.lines() {
        let flag = line.trim_start();
        // Descriptions that are wrapped stand further in.
        if !flag.starts_with('-') || line.len() - flag.len() > 6 {
            continue;
        }
        let name: Vec<&str> = flag
            .split_whitespace()
            .take_while(|word| word.starts_with('-'))
            .collect();
        found.insert(format!("{words} | {}", name.join(" ").replace(',', "")));
    }
}

/// What Docker has and Hull has not; more is no difference.
pub(crate) fn compare(recorded: &str, found: &[String], wrong: &mut Vec<Difference>) {
    let known: BTreeSet<&str> = found.iter().map(String::as_str).collect();
    let mut missing: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in recorded.lines().filter(|line| !known.contains(line)) {
        let (command, name) = line.split_once(" | ").unwrap();
        missing.entry(command).or_default().push(name);
    }
    for (command, names) in missing {
        for name in names {
            wrong.push(Difference {
                file: "help".to_owned(),
                line: format!("{command} {name}"),
                docker: "is there".to_owned(),
                hull: "is missing".to_owned(),
            });
        }
    }
}
