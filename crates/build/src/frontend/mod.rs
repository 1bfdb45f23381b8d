//! The Dockerfile frontend: what a client asks for, in BuildKit's words, becomes a graph and configs of images.
//!
//! Nothing is built here. The Dockerfile and the ignore file are fetched from the client, or with the context from
//! where that is; configs of base images are looked up; all else happens when the graph is solved.

mod calls;
mod checks;
mod convert;
mod copy;
mod dispatch;
mod draft;
mod git;
mod golang;
mod host;
mod image;
mod nobody;
mod options;
mod ports;
mod remote;
mod resolve;
mod run;
mod stage;
mod title;

use crate::dockerfile::{self, Checks, Error, Lines, Linter};
use crate::graph::{Graph, Location};
use crate::plan::{Plan, PlanError, PlannedImage, Request, SourceFile};
use crate::progress::{Event, Warning};
use crate::solve::{Context, Solver};
use convert::{Conversion, Input};
use host::Host;
use hull_spec::Platform;
use options::Options;
use std::sync::Arc;

pub(crate) use git::shown as shown_url;
pub(crate) use nobody::try_text;

/// Frontends that are asked for by `# syntax=` and that this one stands for.
const OWN_SYNTAX: [&str; 2] = [
    "docker.io/docker/dockerfile",
    "docker.io/docker/dockerfile-upstream",
];

/// Makes a plan of a request. Warnings go to who watches.
///
/// # Errors
/// With BuildKit's message and the place in the Dockerfile.
pub fn plan(request: &Request, solver: &Solver, context: &Context) -> Result<Plan, Box<PlanError>> {
    let began = jiff::Timestamp::now();
    let plain = |error: Error| plan_error(&error, None);
    let mut options = Options::read(&request.attributes).map_err(plain)?;
    options.inputs.clone_from(&request.inputs);
    let mut host = Host::new(&**solver.world(), context);
    host.remote = remote::bring(&options, solver, context).map_err(plain)?;
    let file = host.dockerfile(&options).map_err(plain)?;
    let mut linter = Linter::default();
    let made = make(&options, &host, &file, &mut linter);
    if options.call.is_none() {
        tell(&linter, context);
    }
    let plan = made.map_err(|error| plan_error(&error, Some(file)))?;
    Ok(Plan {
        request: request.clone(),
        began,
        ..plan
    })
}

fn make(
    options: &Options,
    host: &Host<'_>,
    file: &SourceFile,
    linter: &mut Linter,
) -> Result<Plan, Error> {
    check_syntax(options, &file.text)?;
    if let Some(call) = &options.call {
        return calls::answer(call, options, host, file);
    }
    let syntax = read(file)?;
    *linter = Linter::new(wanted_checks(options, &file.text)?);
    let mut graph = Graph::new();
    let mut images = Vec::new();
    let platforms: Vec<Option<&Platform>> = match options.platforms.as_slice() {
        [] => vec![None],
        all => all.iter().map(Some).collect(),
    };
    for (number, platform) in platforms.into_iter().enumerate() {
        let input = Input {
            syntax: &syntax,
            options,
            host,
            platform,
            all_stages: false,
        };
        // Each platform would say the same.
        let mut again = linter.clone();
        let linter = if number == 0 {
            &mut *linter
        } else {
            &mut again
        };
        let (conversion, target) = Conversion::run(&input, linter)?;
        let made = conversion.finish(target, &mut graph)?;
        images.push(PlannedImage {
            platform: platform.cloned().unwrap_or_else(host_platform),
            output: made.output,
            config: made.image.to_json(),
        });
    }
    Ok(Plan {
        graph: Arc::new(graph),
        images,
        sources: vec![file.clone()],
        ..Plan::default()
    })
}

fn read(file: &SourceFile) -> Result<dockerfile::Syntax, Error> {
    if file.text.is_empty() {
        return Err(Error::new("the Dockerfile cannot be empty"));
    }
    dockerfile::parse(&file.text)
}

/// The rules that are checked: as the client says, else as the Dockerfile.
fn wanted_checks(options: &Options, text: &[u8]) -> Result<Checks, Error> {
    if let Some(checks) = &options.checks {
        return Ok(checks.clone());
    }
    let text = String::from_utf8_lossy(text);
    let directive = dockerfile::directive(&text, "check");
    let value = directive
        .map(|directive| directive.value)
        .unwrap_or_default();
    Checks::parse(&value).map_err(|error| error.within("failed to parse check options"))
}

/// Another frontend would have to be run as a container, with rights over the build.
fn check_syntax(options: &Options, text: &[u8]) -> Result<(), Error> {
    let text = String::from_utf8_lossy(text);
    let (line, lines) = match (&options.syntax, dockerfile::detect_syntax(&text)) {
        (Some(given), _) => (given.clone(), Lines::default()),
        (None, Some(found)) => found,
        (None, None) => return Ok(()),
    };
    let name = line.split_whitespace().next().unwrap_or_default();
    let reference = name.parse::<hull_spec::Reference>();
    let own = reference.as_ref().is_ok_and(|reference| {
        let name = format!("{}/{}", reference.domain(), reference.path());
        OWN_SYNTAX.contains(&name.as_str())
    });
    if own {
        return Ok(());
    }
    let error = Error::new(format!(
        "frontend {name:?} is not supported: Dockerfiles are read by Hull itself, as docker/dockerfile:1 reads them"
    ));
    Err(match lines.first {
        0 => error,
        _ => error.at(lines),
    })
}

fn plan_error(error: &Error, file: Option<SourceFile>) -> Box<PlanError> {
    let lines = |lines: &Lines| (lines.first, lines.last);
    let location = Location {
        source: 0,
        lines: error.places.iter().map(lines).collect(),
    };
    Box::new(PlanError {
        text: error.message.clone(),
        location: (!error.places.is_empty()).then_some(location),
        file: file.filter(|_| !error.places.is_empty()),
        source: None,
    })
}

/// Tells of breaches of rules.
fn tell(linter: &Linter, context: &Context) {
    for warning in &linter.warnings {
        let lines = warning.lines;
        context.watch.tell(Event::Warning(Warning {
            short: warning.short(),
            detail: vec![warning.rule.description().to_owned()],
            url: warning.rule.url(),
            location: (lines.first > 0).then(|| Location {
                source: 0,
                lines: vec![(lines.first, lines.last)],
            }),
            vertex: None,
            level: 1,
        }));
    }
}

/// The platform of this machine, as BuildKit names it: without the level of its instructions.
pub(crate) fn host_platform() -> Platform {
    Platform {
        variant: None,
        ..Platform::host()
    }
}

/// Go's names, and no variant where it is the usual one.
fn normalized(platform: &Platform) -> Platform {
    let mut own = platform
        .to_string()
        .parse()
        .unwrap_or_else(|_| platform.clone());
    if own.architecture == "arm64" && own.variant.as_deref() == Some("v8") {
        own.variant = None;
    }
    own.os_version.clone_from(&platform.os_version);
    own
}

#[cfg(test)]
mod tests;
