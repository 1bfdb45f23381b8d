//! `hull explain`: why a container died or does not start, is unhealthy or cannot be reached, by which rule, and what to
//! do. Docker has no such command; it asks for nothing that Docker's API has not, so dockerd's containers are
//! explained too.
//!
//! ```text
//! facts ──► start    what the daemon said, and the file that was to be executed (program)
//!       ├─► exit     code, signal, memory, who sent the signal ──► phrases: what its log says
//!       └─► running  health, ports, where its processes listen (listen)
//! ```

mod exit;
mod facts;
mod finding;
mod listen;
mod phrases;
mod program;
mod running;
mod start;

use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::{Flag, Matches, value};
use crate::template::{Data, Template};
use facts::Facts;
use finding::{Explanation, harmless};

static FLAGS: &[Flag] = &[value("format", "string", "Fill in a template, or 'json'").short('f')];

static COMMAND: Command = Command {
    words: &["container explain", "explain"],
    usage: "[OPTIONS] CONTAINER",
    about: "Show why a container died, does not start, is unhealthy or cannot be reached",
    flags: &[FLAGS],
    arity: Arity::Exactly(1),
    interspersed: true,
    run,
};

/// All commands here.
pub(crate) static COMMANDS: &[&Command] = &[&COMMAND];

/// Lines of the log that are shown below an end that nothing else explains.
const SHOWN: usize = 8;

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let format = match matches.text("format") {
        "json" => "{{json .}}",
        format => format,
    };
    let failed = |error| Failure::new(format!("template parsing error: {error}"));
    // A wrong template is told before anything is asked.
    let template = Template::parse(format).map_err(failed)?;
    let client = cli.client()?;
    let facts = cli.block_on(Facts::gather(client, &matches.args[0]))?;
    let explanation = explain(&facts);
    if format.is_empty() {
        crate::print(&explanation.text());
    } else {
        let text = template.render(&Data::of(&explanation)).map_err(failed)?;
        crate::print(&format!("{text}\n"));
    }
    Ok(())
}

fn explain(facts: &Facts) -> Explanation {
    let state = &facts.inspect.state;
    let ran = !state.started_at.starts_with("0001");
    let findings = match state.status.as_str() {
        "running" | "paused" | "restarting" => running::findings(facts),
        _ if ran => exit::findings(facts),
        _ => start::said(facts).into_iter().collect(),
    };
    let died = ran && !state.running && state.exit_code != 0;
    let first = facts.log.len().saturating_sub(SHOWN);
    let log = if died || state.restarting {
        &facts.log[first..]
    } else {
        &[]
    };
    Explanation {
        container: facts.name().to_owned(),
        state: sentence(facts, ran, findings.is_empty()),
        findings,
        log: log.iter().map(|line| harmless(line)).collect(),
    }
}

/// The container's state.
fn sentence(facts: &Facts, ran: bool, well: bool) -> String {
    let state = &facts.inspect.state;
    let ago = |text: &str| {
        let then = text
            .parse::<jiff::Timestamp>()
            .map_or(facts.now, jiff::Timestamp::as_second);
        #[expect(clippy::cast_precision_loss, reason = "seconds of some years")]
        crate::format::human_duration((facts.now - then).max(0) as f64)
    };
    let health = state
        .health
        .as_ref()
        .map_or("", |health| health.status.as_str());
    match state.status.as_str() {
        "restarting" => format!(
            "waits to be started again; it ended with {}",
            exit::code(state.exit_code)
        ),
        "paused" => "is paused".to_owned(),
        "running" if well && matches!(health, "" | "none" | "healthy") => {
            format!(
                "runs for {}, and nothing is found to be wrong",
                ago(&state.started_at).to_lowercase()
            )
        }
        "running" => format!("runs for {}", ago(&state.started_at).to_lowercase()),
        "dead" => "could not be removed wholly: remove it again".to_owned(),
        _ if ran => format!(
            "ended {} ago with {}",
            ago(&state.finished_at).to_lowercase(),
            exit::code(state.exit_code)
        ),
        _ if state.error.is_empty() => {
            format!("has not been started yet: hull start {}", facts.name())
        }
        _ => "could not be started".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_told_of_in_a_sentence() {
        let mut facts = Facts {
            now: 1_767_225_660,
            ..Facts::default()
        };
        facts.inspect.name = "/web".to_owned();
        facts.inspect.state.status = "exited".to_owned();
        facts.inspect.state.started_at = "2026-01-01T00:00:00Z".to_owned();
        facts.inspect.state.finished_at = "2026-01-01T00:00:30Z".to_owned();
        facts.inspect.state.exit_code = 3;
        facts.log = vec!["boom\u{1b}[0m".to_owned()];
        let explanation = explain(&facts);
        assert_eq!(explanation.state, "ended 30 seconds ago with code 3");
        assert_eq!(explanation.log, ["boom[0m"]);
        facts.inspect.state.status = "created".to_owned();
        facts.inspect.state.started_at = "0001-01-01T00:00:00Z".to_owned();
        assert_eq!(
            explain(&facts).state,
            "has not been started yet: hull start web"
        );
    }
}
