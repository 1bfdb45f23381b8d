//! `hull system prune`.

use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::{Flag, Matches, flag};
use crate::listing::{confirm, filter_flag, prune_filters};

static FLAGS: &[Flag] = &[
    flag(
        "all",
        "Remove also images that have names but no containers",
    )
    .short('a'),
    filter_flag("Only those that match, such as \"label=<key>=<value>\""),
    flag("force", "Do not ask").short('f'),
    flag("volumes", "Remove also anonymous volumes"),
];

pub(crate) static COMMAND: Command = Command {
    words: &["system prune"],
    usage: "[OPTIONS]",
    about: "Remove what nothing uses",
    flags: &[FLAGS],
    arity: Arity::None,
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let (all, typed) = (matches.bool("all"), matches.list("filter"));
    let filters = prune_filters(cli, typed)?;
    let volumes = matches.bool("volumes");
    if volumes && filters.contains_key("until") {
        let text = "ERROR: The \"until\" filter is not supported with \"--volumes\"";
        return Err(Failure::new(text));
    }
    if !matches.bool("force") && !confirm(&warning(all, volumes, typed)) {
        return Ok(());
    }
    let mut space = crate::container::prune(cli, &filters)?;
    crate::network::prune(cli, &filters)?;
    if volumes {
        space += crate::volume::prune(cli, &filters)?;
    }
    space += crate::image::prune(cli, all, filters.clone())?;
    let client = cli.client()?;
    let cache = cli.block_on(client.prune_build(all, &filters))?;
    if let Some(gone) = cache.caches_deleted.filter(|names| !names.is_empty()) {
        crate::print(&format!(
            "Deleted build cache objects:\n{}\n\n",
            gone.join("\n")
        ));
    }
    crate::listing::reclaimed(space + cache.space_reclaimed);
    Ok(())
}

/// What will go, in Docker's words.
fn warning(all: bool, volumes: bool, filters: &[String]) -> String {
    let (images, cache) = if all {
        let images = "all images without at least one container associated to them";
        (images, "all build cache")
    } else {
        ("all dangling images", "unused build cache")
    };
    let volumes = if volumes {
        "  - all anonymous volumes not used by at least one container\n"
    } else {
        ""
    };
    let mut text = format!(
        "WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at least one container\n{volumes}  - {images}\n  - {cache}\n"
    );
    if !filters.is_empty() {
        let mut filters = filters.to_vec();
        filters.sort_unstable();
        let lines = filters.join("\n  - ");
        text.push_str(&format!(
            "\n  Items to be pruned will be filtered with:\n  - {lines}\n"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_warning_is_dockers() {
        assert_eq!(
            warning(
                true,
                false,
                &["until=24h".to_owned(), "label=a=b".to_owned()]
            ),
            "WARNING! This will remove:
  - all stopped containers
  - all networks not used by at least one container
  - all images without at least one container associated to them
  - all build cache

  Items to be pruned will be filtered with:
  - label=a=b
  - until=24h
"
        );
    }
}
