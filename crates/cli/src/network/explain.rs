//! `hull network explain`: Docker has no such command.

use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::{Flag, Matches, value};
use crate::template::{Data, Template};
use hull_api::network::{Explanation, PortExplanation, Way};

static FLAGS: &[Flag] = &[value("format", "string", "Fill in a template, or 'json'").short('f')];

pub(crate) static COMMAND: Command = Command {
    words: &["network explain"],
    usage: "[OPTIONS] CONTAINER[:PORT[/PROTO]]",
    about: "Show who can reach a container, from where and by which rule",
    flags: &[FLAGS],
    arity: Arity::Exactly(1),
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let (name, port) = matches.args[0]
        .split_once(':')
        .unwrap_or((&matches.args[0], ""));
    let client = cli.client()?;
    let explanation = cli.block_on(client.explain_network(name, port))?;
    match matches.text("format") {
        "" => crate::print(&text(&explanation)),
        format => crate::print(&format!("{}\n", filled(format, &explanation)?)),
    }
    Ok(())
}

fn filled(format: &str, explanation: &Explanation) -> Result<String, Failure> {
    let format = if format == "json" {
        "{{json .}}"
    } else {
        format
    };
    let failed = |error| Failure::new(format!("template parsing error: {error}"));
    let template = Template::parse(format).map_err(failed)?;
    template.render(&Data::of(explanation)).map_err(failed)
}

/// The widest line.
const COLUMNS: usize = 80;
/// Where the answers begin.
const INDENT: usize = 24;

fn text(explanation: &Explanation) -> String {
    if explanation.ports.is_empty() {
        return format!(
            "{} serves no port that is known: name one, as in {0}:80\n",
            explanation.container
        );
    }
    let parts: Vec<String> = explanation
        .ports
        .iter()
        .map(|port| part(&explanation.container, port))
        .collect();
    parts.join("\n")
}

fn part(container: &str, port: &PortExplanation) -> String {
    let PortExplanation {
        network,
        protocol,
        port: number,
        ..
    } = port;
    let mut out = format!("Port {number}/{protocol} of {container}, in network {network}\n");
    let both = port.ways.iter().any(|way| way.family == 6);
    for way in &port.ways {
        let who = who(way, both);
        for (at, line) in answer(way).iter().enumerate() {
            let start = if at == 0 { who.as_str() } else { "" };
            out.push_str(&format!("  {start:<width$}{line}\n", width = INDENT - 2));
        }
    }
    for remark in &port.remarks {
        for (at, line) in wrap(remark, COLUMNS - 8).iter().enumerate() {
            let start = if at == 0 { "Note: " } else { "      " };
            out.push_str(&format!("  {start}{line}\n"));
        }
    }
    out
}

fn who(way: &Way, both: bool) -> String {
    let who = match way.from.as_str() {
        "same-network" => "same network",
        "other-network" => "other networks",
        "host" => "this host",
        "loopback" => "this host, loopback",
        "outside" => "other machines",
        "outside-direct" => "machines, directly",
        other => other,
    };
    if both && way.family == 6 {
        format!("{who} v6")
    } else {
        who.to_owned()
    }
}

/// The lines about one kind of client.
fn answer(way: &Way) -> Vec<String> {
    let word = match way.reachable.as_str() {
        "depends" => "depends on rules that are not Hull's",
        other => other,
    };
    let at = if way.at.is_empty() {
        String::new()
    } else {
        format!(", at {}", way.at.join(", "))
    };
    let mut lines = wrap(&format!("{word}{at}"), COLUMNS - INDENT);
    let why = match (way.why.as_str(), way.rule.as_str()) {
        ("", "") => return lines,
        (why, "") => why.to_owned(),
        ("", rule) => format!("[{rule}]"),
        (why, rule) => format!("{why} [{rule}]"),
    };
    lines.extend(wrap(&why, COLUMNS - INDENT));
    lines
}

fn wrap(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_fits_80_columns() {
        let way = |from: &str, family, reachable: &str, at: &[&str]| {
            Way {
            from: from.to_owned(),
            family,
            reachable: reachable.to_owned(),
            at: at.iter().map(|at| (*at).to_owned()).collect(),
            rule: "hull forward-in".to_owned(),
            why: "A port that is published at 127.0.0.1 is for programs of this host alone, whatever the firewall says.".to_owned(),
        }
        };
        let explanation = Explanation {
            container: "web".to_owned(),
            ports: vec![PortExplanation {
                network: "shop_default".to_owned(),
                protocol: "tcp".to_owned(),
                port: 80,
                ways: vec![
                    way("same-network", 4, "yes", &["172.18.0.2:80"]),
                    way("outside-direct", 6, "no", &[]),
                    way("outside", 4, "depends", &["203.0.113.5:8080", "[2001:db8::5]:8080", "[2001:db8::6]:8080"]),
                ],
                remarks: vec!["ufw is active; its rules decide about ports that are published with publish: host-firewall.".to_owned()],
            }],
        };
        let text = text(&explanation);
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        assert!(text.starts_with(
            "Port 80/tcp of web, in network shop_default\n  same network          yes, at 172.18.0.2:80\n                        A port that is published at 127.0.0.1 is for programs of\n"
        ), "{text}");
        assert!(text.contains("\n  machines, directly v6 no\n"), "{text}");
        assert!(text.contains("\n  Note: ufw is active"), "{text}");
        let json = filled("json", &explanation).unwrap();
        assert!(
            json.starts_with(r#"{"Container":"web","Ports":[{"Network":"shop_default""#),
            "{json}"
        );
    }
}
