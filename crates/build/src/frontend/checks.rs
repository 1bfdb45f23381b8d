//! The rules of style that need more than one instruction.

use crate::dockerfile::shell::{Environment, Expansion, Variables as _};
use crate::dockerfile::{Lines, Linter, Rule, Stage, near};
use crate::ignore::Matcher;
use hull_spec::{Platform, Reference};
use std::collections::BTreeSet;

/// Names of stages that mean something else, and those there are twice.
pub(super) fn stage_names(stages: &[Stage], linter: &mut Linter) {
    let mut seen = BTreeSet::new();
    for stage in stages.iter().filter(|stage| !stage.name.is_empty()) {
        let name = &stage.name;
        if matches!(name.as_str(), "context" | "scratch") {
            let message =
                format!("Stage name should not use the same name as reserved stage {name:?}");
            linter.warn(Rule::ReservedStageName, stage.lines, message);
        }
        if !seen.insert(name) {
            let message = format!("Duplicate stage name {name:?}, stage names should be unique");
            linter.warn(Rule::DuplicateStageName, stage.lines, message);
        }
    }
}

/// All instructions in upper case, or all in lower case.
pub(super) fn casing(stages: &[Stage], linter: &mut Linter) {
    let names = || {
        stages.iter().flat_map(|stage| {
            let instructions = stage.instructions.iter();
            let rest = instructions.map(|instruction| (&instruction.name, instruction.lines));
            std::iter::once((&stage.keyword, stage.lines)).chain(rest)
        })
    };
    let is_lower = |name: &String| *name == name.to_lowercase();
    let is_upper = |name: &String| *name == name.to_uppercase();
    let lower = names().filter(|(name, _)| is_lower(name)).count();
    let upper = names()
        .filter(|(name, _)| is_upper(name) && !is_lower(name))
        .count();
    for (name, lines) in names() {
        let (fits, case) = match lower > upper {
            true => (is_lower(name), "lowercase"),
            false => (is_upper(name), "uppercase"),
        };
        if !fits {
            let message =
                format!("Command '{name}' should match the case of the command majority ({case})");
            linter.warn(Rule::ConsistentInstructionCasing, lines, message);
        }
    }
}

/// A base that is no image's name while no build argument is given.
pub(super) fn default_base(stage: &Stage, base: &str, linter: &mut Linter) {
    if base.parse::<Reference>().is_err() {
        let message = format!(
            "Default value for ARG {} results in empty or invalid base image name",
            stage.base
        );
        linter.warn(Rule::InvalidDefaultArgInFrom, stage.lines, message);
    }
}

/// Variables in `FROM` that nobody declares.
pub(super) fn undefined_in_from(
    known: &BTreeSet<&str>,
    unmatched: &BTreeSet<String>,
    lines: Lines,
    linter: &mut Linter,
) {
    for name in unmatched
        .iter()
        .filter(|name| !known.contains(name.as_str()))
    {
        let meant = match near(name, known.iter().copied()) {
            Some(meant) => format!(" (did you mean {meant}?)"),
            None => String::new(),
        };
        let message = format!("FROM argument '{name}' is not declared{meant}");
        linter.warn(Rule::UndefinedArgInFrom, lines, message);
    }
}

/// `--platform=$TARGETPLATFORM`.
pub(super) fn redundant_platform(
    stage: &Stage,
    found: &Expansion,
    global: &Environment,
    linter: &mut Linter,
) {
    let only = found.matched.len() == 1
        && found.matched.contains("TARGETPLATFORM")
        && found.unmatched.is_empty();
    if only && global.get("TARGETPLATFORM") == Some(&found.text) {
        let message = format!(
            "Setting platform to predefined {} in FROM is redundant as this is the default behavior",
            stage.platform
        );
        linter.warn(Rule::RedundantTargetPlatform, stage.lines, message);
    }
}

/// `--platform=linux/amd64`, unless the stage's name says so.
pub(super) fn constant_platform(stage: &Stage, found: &Expansion, linter: &mut Linter) {
    if !found.matched.is_empty() || !found.unmatched.is_empty() {
        return;
    }
    let Ok(platform) = found.text.parse::<Platform>() else {
        return;
    };
    if stage.name.contains(&platform.os) || stage.name.contains(&platform.architecture) {
        return;
    }
    let message = format!(
        "FROM --platform flag should not use constant value {:?}",
        found.text
    );
    linter.warn(Rule::FromPlatformFlagConstDisallowed, stage.lines, message);
}

/// A base of another platform than the one it was asked for.
pub(super) fn base_platform(
    stage: &Stage,
    name: &str,
    wanted: &Platform,
    own: Option<&Platform>,
    linter: &mut Linter,
) {
    let Some(own) = own else { return };
    if wanted.os != own.os || wanted.architecture != own.architecture {
        let (wanted, own) = (wanted.to_string(), super::normalized(own).to_string());
        let message = format!(
            "Base image {name} was pulled with platform {own:?}, expected {wanted:?} for current build"
        );
        linter.warn(Rule::InvalidBaseImagePlatform, stage.lines, message);
    }
}

/// A file that is copied though it is left out of the context.
pub(super) fn ignored(
    ignored: &Matcher,
    what: &str,
    source: &str,
    lines: Lines,
    linter: &mut Linter,
) {
    if ignored.matches(source) {
        let message =
            format!("Attempting to {what} file {source:?} that is excluded by .dockerignore");
        linter.warn(Rule::CopyIgnoredFile, lines, message);
    }
}

/// A build argument or variable that looks like a secret.
pub(super) fn secret(instruction: &str, name: &str, lines: Lines, linter: &mut Linter) {
    const SECRET: [&str; 10] = [
        "apikey",
        "auth",
        "credential",
        "credentials",
        "key",
        "password",
        "pword",
        "passwd",
        "secret",
        "token",
    ];
    let lower = name.to_lowercase();
    let has = |word: &str| lower.split('_').any(|part| part == word);
    if SECRET.into_iter().any(has) && !has("public") {
        let message = format!(
            "Do not use ARG or ENV instructions for sensitive data ({instruction} {name:?})"
        );
        linter.warn(Rule::SecretsUsedInArgOrEnv, lines, message);
    }
}

/// Variables that nobody set.
pub(super) fn undefined(
    unmatched: &BTreeSet<String>,
    declared: &BTreeSet<&str>,
    env: &Environment,
    lines: Lines,
    linter: &mut Linter,
) {
    for name in unmatched
        .iter()
        .filter(|name| !declared.contains(name.as_str()))
    {
        if matches!(
            name.as_str(),
            "BUILDKIT_SBOM_SCAN_CONTEXT" | "BUILDKIT_SBOM_SCAN_STAGE"
        ) {
            continue;
        }
        let meant = match near(name, env.names()) {
            Some(meant) => format!(" (did you mean ${meant}?)"),
            None => String::new(),
        };
        let message = format!("Usage of undefined variable '${name}'{meant}");
        linter.warn(Rule::UndefinedVar, lines, message);
    }
}
