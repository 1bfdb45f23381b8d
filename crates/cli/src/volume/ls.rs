//! `hull volume ls`.

use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::Outcome;
use crate::flags::{Flag, Matches, flag};
use crate::format::natural_cmp;
use crate::listing::{Listing, filter_flag, filters, format_flag, joined, with_raw};
use crate::template::{Data, Record};
use hull_api::volume::Volume;

static FLAGS: &[Flag] = &[
    flag("cluster", "").hidden(),
    filter_flag("Only those that match, such as \"dangling=true\"").short('f'),
    format_flag(),
    flag("quiet", "Show only names").short('q'),
];

pub(crate) static COMMAND: Command = Command {
    words: &["volume ls", "volume list"],
    usage: "[OPTIONS]",
    about: "List volumes",
    flags: &[FLAGS],
    arity: Arity::None,
    interspersed: true,
    run,
};

const TABLE: &str = "table {{.Driver}}\t{{.Name}}";

const HEADINGS: &[(&str, &str)] = &[
    ("Driver", "DRIVER"),
    ("Name", "VOLUME NAME"),
    ("Scope", "SCOPE"),
    ("Mountpoint", "MOUNTPOINT"),
    ("Labels", "LABELS"),
    ("Links", "LINKS"),
    ("Size", "SIZE"),
    ("Availability", "AVAILABILITY"),
    ("Group", "GROUP"),
    ("Status", "STATUS"),
];

const RAW: &str = "name: {{.Name}}\ndriver: {{.Driver}}\n";

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let format = match (matches.text("format"), matches.bool("quiet")) {
        ("", false) => cli.config().volumes_format().to_owned(),
        ("" | "table", true) => "{{.Name}}".to_owned(),
        (format, _) => format.to_owned(),
    };
    let format = with_raw(format, matches.bool("quiet"), RAW);
    let listing = Listing::new(&format, false, TABLE, HEADINGS)?.failing("template parsing error");
    let filters = filters(matches.list("filter"))?;
    let client = cli.client()?;
    let mut list = cli.block_on(client.volumes(&filters))?;
    for warning in list.warnings.unwrap_or_default() {
        crate::say(&format!("WARNING: {warning}"));
    }
    list.volumes.sort_by(|a, b| natural_cmp(&a.name, &b.name));
    listing.print(list.volumes.iter().map(row))
}

fn row(volume: &Volume) -> Data {
    let labels = volume.labels.clone().unwrap_or_default();
    let usage = volume.usage_data.as_ref();
    #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
    let size = usage.map(|usage| crate::format::human_size(usage.size as f64, 3));
    let links = usage.map(|usage| usage.ref_count.to_string());
    let unknown = || "N/A".to_owned();
    let record = Record::new(
        "*formatter.volumeContext",
        vec![
            ("Availability", unknown().into()),
            ("Driver", volume.driver.as_str().into()),
            ("Group", unknown().into()),
            ("Labels", joined(&labels).into()),
            ("Links", links.unwrap_or_else(unknown).into()),
            ("Mountpoint", volume.mountpoint.as_str().into()),
            ("Name", volume.name.as_str().into()),
            ("Scope", volume.scope.as_str().into()),
            ("Size", size.unwrap_or_else(unknown).into()),
            ("Status", unknown().into()),
        ],
    );
    Data::Record(record.labels(&labels))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As docker 28.2 prints them.
    #[test]
    fn rows_are_dockers() {
        let volume = Volume {
            name: "v".into(),
            driver: "local".into(),
            scope: "local".into(),
            mountpoint: "/m".into(),
            labels: Some([("a".to_owned(), "b".to_owned())].into()),
            ..Volume::default()
        };
        assert_eq!(
            row(&volume).to_json(),
            r#"{"Availability":"N/A","Driver":"local","Group":"N/A","Labels":"a=b","Links":"N/A","Mountpoint":"/m","Name":"v","Scope":"local","Size":"N/A","Status":"N/A"}"#
        );
    }
}
