//! How steps are named in the progress.

use super::convert::Conversion;
use super::stage::{Id, State, Step};
use crate::dockerfile::Lines;
use crate::dockerfile::shell::{Shell, Variables};
use crate::graph::Location;
use hull_spec::Platform;

/// What a step is called in the progress.
pub(super) struct Title<'a> {
    pub(super) text: &'a str,
    pub(super) on_build: bool,
}

pub(super) fn place(lines: Lines) -> Location {
    Location {
        source: 0,
        lines: vec![(lines.first, lines.last)],
    }
}

/// An instruction with its name in upper case and variables in place, as the progress shows it.
pub(super) fn name(c: &Conversion<'_>, id: Id, step: &Step, code: &str) -> String {
    named(
        code,
        &c.shell,
        &c.stages.all[id].state.env,
        &step.instruction.name,
    )
}

pub(super) fn named(code: &str, shell: &Shell, env: &dyn Variables, keyword: &str) -> String {
    let text = match shell.expand(code, env) {
        Ok(found) => found.text,
        Err(_) => code.to_owned(),
    };
    match text.strip_prefix(keyword) {
        Some(rest) => format!("{}{rest}", keyword.to_uppercase()),
        None => text,
    }
}

/// The name with the step's number: `[stage 2/5] RUN …`.
pub(super) fn prefixed(c: &mut Conversion<'_>, id: Id, title: &Title<'_>) -> String {
    let many = c.options.multi_platform;
    let build = &mut c.stages.all[id];
    if build.total == 0 {
        return title.text.to_owned();
    }
    build.count += 1;
    let mut text = "[".to_owned();
    if many && let Some(platform) = &build.platform {
        text = format!("{text}{platform}{} ", crossing(platform, &build.state));
    }
    if !build.shown.is_empty() {
        text = format!("{text}{} ", build.shown);
    }
    let width = build.total.ilog10() as usize + 1;
    text = format!("{text}{:>width$}/{}] ", build.count, build.total);
    if title.on_build {
        text.push_str("ONBUILD ");
    }
    text + title.text
}

/// Another platform that a stage builds for, as its variables say.
fn crossing(own: &Platform, state: &State) -> String {
    let target = match state.env.get("TARGETPLATFORM").map(str::parse::<Platform>) {
        Some(Ok(platform)) => platform,
        _ => {
            let get = |name| state.env.get(name).map(str::to_owned);
            let (os, architecture) = (get("TARGETOS"), get("TARGETARCH"));
            let variant = get("TARGETVARIANT");
            if os.is_none() && architecture.is_none() && variant.is_none() {
                return String::new();
            }
            let given = |value: Option<String>, own: &str| {
                value
                    .filter(|value| !value.is_empty())
                    .unwrap_or_else(|| own.to_owned())
            };
            Platform {
                os: given(os, &own.os),
                architecture: given(architecture, &own.architecture),
                variant: variant.filter(|variant| !variant.is_empty()),
                os_version: None,
            }
        }
    };
    if target.os != own.os {
        return format!("->{target}");
    }
    if target.architecture == own.architecture {
        return String::new();
    }
    let variant = target.variant.map(|variant| format!("/{variant}"));
    format!("->{}{}", target.architecture, variant.unwrap_or_default())
}
