//! `hull man DIRECTORY`: pages for man(1), one for each command, made of the same tables as `--help`.

use crate::command::{self, Arity, Command, GROUPS};
use crate::context::{Cli, GLOBAL_FLAGS};
use crate::failure::Outcome;
use crate::flags::{Flag, Matches};
use std::fmt::Write as _;
use std::path::Path;

/// All of them.
pub(crate) static COMMANDS: &[&Command] = &[&COMMAND];

static COMMAND: Command = Command {
    words: &["man"],
    usage: "DIRECTORY",
    about: "Write a manual page for each command into a directory",
    flags: &[],
    arity: Arity::Exactly(1),
    interspersed: true,
    run,
};

fn run(_: &Cli, matches: &Matches) -> Outcome {
    let folder = Path::new(&matches.args[0]);
    fs_err::create_dir_all(folder)?;
    fs_err::write(folder.join("hull.1"), overview())?;
    for command in command::all() {
        let name = title(command.words[0]);
        fs_err::write(folder.join(format!("{name}.1")), page(command))?;
        // The other names lead to the first.
        for alias in command.words.iter().skip(1) {
            let path = folder.join(format!("{}.1", title(alias)));
            fs_err::write(path, format!(".so man1/{name}.1\n"))?;
        }
    }
    Ok(())
}

/// `hull-container-ls`.
fn title(words: &str) -> String {
    format!("hull-{}", words.replace(' ', "-"))
}

/// Text as roff reads it as such.
fn plain(text: &str) -> String {
    let escaped = text.replace('\\', "\\e").replace('-', "\\-");
    // A line that begins so would be a request.
    match escaped.starts_with(['.', '\'']) {
        true => format!("\\&{escaped}"),
        false => escaped,
    }
}

fn head(title: &str, about: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!(
        ".TH {} 1 \"\" \"Hull {version}\" \"Hull\"\n.SH NAME\n{} \\- {}\n",
        title.to_uppercase().replace('-', "\\-"),
        plain(title),
        plain(about)
    )
}

// Writing to a String cannot fail, here and below.
fn options(out: &mut String, flags: &[&Flag]) {
    for flag in flags {
        let short = flag
            .short
            .map_or(String::new(), |c| format!("\\fB\\-{c}\\fR, "));
        let value = match flag.value_name {
            "" => String::new(),
            name => format!(" \\fI{}\\fR", plain(name)),
        };
        let _ = writeln!(out, ".TP\n{short}\\fB\\-\\-{}\\fR{value}", plain(flag.long));
        let default = match flag.default {
            "" => String::new(),
            text => format!(" (default {})", plain(text)),
        };
        let _ = writeln!(out, "{}{default}", plain(flag.help));
    }
}

fn shown(tables: &[&'static [Flag]]) -> Vec<&'static Flag> {
    let all = tables.iter().flat_map(|table| table.iter());
    let mut flags: Vec<&Flag> = all.filter(|flag| !flag.hidden).collect();
    flags.sort_by_key(|flag| flag.long);
    flags
}

fn page(command: &Command) -> String {
    let words = command.words[0];
    let mut out = head(&title(words), command.about);
    out.push_str(".SH SYNOPSIS\n");
    for words in command.words {
        let usage = plain(command.usage);
        let _ = writeln!(out, ".B hull {}\n{usage}\n.br", plain(words));
    }
    let _ = writeln!(out, ".SH DESCRIPTION\n{}.", plain(command.about));
    let flags = shown(command.flags);
    if !flags.is_empty() {
        out.push_str(".SH OPTIONS\n");
        options(&mut out, &flags);
    }
    out.push_str(".SH SEE ALSO\n.BR hull (1)\n");
    out
}

fn overview() -> String {
    let mut out = head("hull", "containers, with Docker's commands and API");
    out.push_str(".SH SYNOPSIS\n.B hull\n[OPTIONS] COMMAND\n.SH OPTIONS\n");
    options(&mut out, &shown(&[GLOBAL_FLAGS]));
    out.push_str(".SH COMMANDS\n");
    let mut pages: Vec<(&str, &str)> = command::all()
        .map(|command| (command.words[0], command.about))
        .chain([("daemon", "Start the daemon")])
        .collect();
    pages.sort_unstable();
    for (words, about) in pages {
        let _ = writeln!(out, ".TP\n\\fB{}\\fR\n{}", plain(words), plain(about));
    }
    out.push_str(".SH GROUPS\n");
    for (name, about) in GROUPS {
        let _ = writeln!(out, ".TP\n\\fB{}\\fR\n{}", plain(name), plain(about));
    }
    out.push_str(
        ".SH ENVIRONMENT\n.TP\n\\fBHULL_HOST\\fR, \\fBDOCKER_HOST\\fR\nAddress of the daemon (unix://, tcp://, ssh://)\n\
         .TP\n\\fBHULL_CONTEXT\\fR, \\fBDOCKER_CONTEXT\\fR\nName of the context\n\
         .TP\n\\fBHULL_CONFIG\\fR, \\fBDOCKER_CONFIG\\fR\nFolder of the client's configuration\n",
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_and_every_alias_leads_there() {
        let dir = tempfile::tempdir().unwrap();
        let words = ["man".to_owned(), dir.path().display().to_string()];
        let cli = Cli::new(&words).unwrap();
        command::dispatch(&cli, &words).unwrap();
        let read = |name: &str| fs_err::read_to_string(dir.path().join(name)).unwrap();
        assert!(read("hull-container-ls.1").contains("\\fB\\-a\\fR, \\fB\\-\\-all\\fR"));
        assert_eq!(read("hull-ps.1"), ".so man1/hull-container-ls.1\n");
        assert!(read("hull.1").contains("hull \\- containers"));
    }
}
