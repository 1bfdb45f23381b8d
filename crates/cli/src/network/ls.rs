//! `hull network ls`.

use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::Outcome;
use crate::flags::{Flag, Matches, flag};
use crate::format::{natural_cmp, short_id};
use crate::listing::{Listing, chosen_format, filter_flag, filters, format_flag, joined, with_raw};
use crate::template::{Data, Record};
use hull_api::network::Inspect;
use jiff::Timestamp;
use jiff::tz::TimeZone;

static FLAGS: &[Flag] = &[
    filter_flag("Only those that match, such as \"driver=bridge\"").short('f'),
    format_flag(),
    flag("no-trunc", "Do not shorten anything"),
    flag("quiet", "Show only ids").short('q'),
];

pub(crate) static COMMAND: Command = Command {
    words: &["network ls", "network list"],
    usage: "[OPTIONS]",
    about: "List networks",
    flags: &[FLAGS],
    arity: Arity::None,
    interspersed: true,
    run,
};

const TABLE: &str = "table {{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}";

const HEADINGS: &[(&str, &str)] = &[
    ("ID", "NETWORK ID"),
    ("Name", "NAME"),
    ("Driver", "DRIVER"),
    ("Scope", "SCOPE"),
    ("IPv4", "IPV4"),
    ("IPv6", "IPV6"),
    ("Internal", "INTERNAL"),
    ("Labels", "LABELS"),
    ("CreatedAt", "CREATED AT"),
];

const RAW: &str = "network_id: {{.ID}}\nname: {{.Name}}\ndriver: {{.Driver}}\nscope: {{.Scope}}\n";

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let quiet = matches.bool("quiet");
    let format = chosen_format(matches, cli.config().networks_format());
    let listing = Listing::new(&with_raw(format, quiet, RAW), quiet, TABLE, HEADINGS)?
        .failing("template parsing error")
        .whole(matches.bool("no-trunc"));
    let filters = filters(matches.list("filter"))?;
    let client = cli.client()?;
    let mut networks = cli.block_on(client.networks(&filters))?;
    networks.sort_by(|a, b| natural_cmp(&a.name, &b.name));
    let truncate = !matches.bool("no-trunc");
    listing.print(networks.iter().map(|network| row(network, truncate)))
}

fn row(network: &Inspect, truncate: bool) -> Data {
    let id = if truncate {
        short_id(&network.id)
    } else {
        &network.id
    };
    let labels = network.labels.clone().unwrap_or_default();
    let record = Record::new(
        "*network.networkContext",
        vec![
            ("ID", id.into()),
            ("Name", network.name.as_str().into()),
            ("Driver", network.driver.as_str().into()),
            ("Scope", network.scope.as_str().into()),
            ("IPv4", network.enable_ipv4.to_string().into()),
            ("IPv6", network.enable_ipv6.to_string().into()),
            ("Internal", network.internal.to_string().into()),
            ("Labels", joined(&labels).into()),
            ("CreatedAt", created_at(&network.created).into()),
        ],
    );
    Data::Record(record.labels(&labels))
}

/// Go's `time.Time.String()` of the daemon's time.
fn created_at(text: &str) -> String {
    let Ok(time) = text.parse::<Timestamp>() else {
        return text.to_owned();
    };
    let time = time.to_zoned(TimeZone::UTC);
    let fraction = match time.subsec_nanosecond() {
        0 => String::new(),
        nanoseconds => format!(".{nanoseconds:09}")
            .trim_end_matches('0')
            .to_owned(),
    };
    format!("{}{fraction} +0000 UTC", time.strftime("%Y-%m-%d %H:%M:%S"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As docker 28.2 prints them.
    #[test]
    fn rows_are_dockers() {
        let network = Inspect {
            id: "0123456789abcdef".into(),
            name: "n".into(),
            driver: "bridge".into(),
            scope: "local".into(),
            enable_ipv4: true,
            created: "2026-11-21T22:10:35.4165318Z".into(),
            labels: Some([("a".to_owned(), "b".to_owned())].into()),
            ..Inspect::default()
        };
        assert_eq!(
            row(&network, true).to_json(),
            r#"{"CreatedAt":"2026-11-21 22:10:35.4165318 +0000 UTC","Driver":"bridge","ID":"0123456789ab","IPv4":"true","IPv6":"false","Internal":"false","Labels":"a=b","Name":"n","Scope":"local"}"#
        );
    }
}
