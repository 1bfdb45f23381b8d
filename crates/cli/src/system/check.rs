//! `hull system check`.

use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::{Flag, Matches, flag};
use crate::format::human_size;
use crate::listing::{Listing, format_flag};
use crate::template::{Data, Record};
use hull_api::check::{Finding, Summary};

static FLAGS: &[Flag] = &[
    format_flag(),
    flag(
        "repair",
        "Drop or make anew what is damaged; containers are left as they are",
    ),
];

pub(crate) static COMMAND: Command = Command {
    words: &["system check"],
    usage: "[OPTIONS]",
    about: "Verify images, layers and what belongs to them",
    flags: &[FLAGS],
    arity: Arity::None,
    interspersed: true,
    run,
};

const TABLE: &str = "table {{.Problem}}\t{{.Object}}\t{{.ID}}\t{{.Detail}}";
const TABLE_WITH_REPAIR: &str =
    "table {{.Problem}}\t{{.Object}}\t{{.ID}}\t{{.Detail}}\t{{.Repair}}";

const HEADINGS: &[(&str, &str)] = &[
    ("Problem", "PROBLEM"),
    ("Object", "OBJECT"),
    ("ID", "ID"),
    ("Detail", "DETAIL"),
    ("Repaired", "REPAIRED"),
    ("Repair", "REPAIR"),
];

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let (format, repair) = (matches.text("format"), matches.bool("repair"));
    let default = if repair { TABLE_WITH_REPAIR } else { TABLE };
    let listing = Listing::new(format, false, default, HEADINGS)?;
    let client = cli.client()?;
    let (found, summary) = cli.block_on(async {
        let mut messages = client.check(repair).await?;
        let (mut found, mut summary) = (Vec::new(), None);
        while let Some(message) = messages.next().await? {
            if !message.error.is_empty() {
                return Err(Failure::new(message.error));
            }
            found.extend(message.finding);
            summary = summary.or(message.summary);
        }
        let over = summary.ok_or_else(|| Failure::new("the check was broken off"))?;
        Ok((found, over))
    })?;
    let plain = matches!(format, "" | "table");
    if !found.is_empty() || !plain {
        listing.print(found.iter().map(row))?;
    }
    if plain {
        crate::print(&last_line(&found, &summary));
    }
    if found.is_empty() {
        Ok(())
    } else {
        Err(Failure::Exit(1))
    }
}

fn row(finding: &Finding) -> Data {
    Data::Record(Record::new(
        "*formatter.checkContext",
        vec![
            ("Problem", finding.problem.as_str().into()),
            ("Object", finding.object.as_str().into()),
            ("ID", finding.id.as_str().into()),
            ("Detail", finding.detail.as_str().into()),
            ("Repaired", Data::Bool(finding.repaired)),
            ("Repair", finding.repair.as_str().into()),
        ],
    ))
}

fn last_line(found: &[Finding], checked: &Summary) -> String {
    let repaired = found.iter().filter(|finding| finding.repaired).count();
    let outcome = match (found.len(), repaired) {
        (0, _) => "nothing found".to_owned(),
        (found, 0) => format!("{found} found"),
        (found, repaired) => format!("{found} found, {repaired} repaired"),
    };
    #[expect(clippy::cast_precision_loss, reason = "shown with four digits")]
    let size = human_size(checked.bytes as f64, 4);
    let gap = if found.is_empty() { "" } else { "\n" };
    format!(
        "{gap}Checked {} images, {} layers, {} containers ({size}): {outcome}\n",
        checked.images, checked.layers, checked.containers
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_says_how_it_is() {
        let checked = Summary {
            images: 2,
            layers: 5,
            containers: 1,
            bytes: 1_234_567,
        };
        let line = |found: &[Finding]| last_line(found, &checked);
        let start = "Checked 2 images, 5 layers, 1 containers (1.235MB): ";
        assert_eq!(line(&[]), format!("{start}nothing found\n"));
        let mut found = vec![Finding::default(); 2];
        assert_eq!(line(&found), format!("\n{start}2 found\n"));
        found[0].repaired = true;
        assert_eq!(line(&found), format!("\n{start}2 found, 1 repaired\n"));
    }
}
