//! The text of `--help`.

use super::Flag;
use crate::command::{Command, program};
use std::fmt::Write as _;

/// `hull ps [OPTIONS]`.
pub(crate) fn usage_line(words: &str, command: &Command) -> String {
    let program = program();
    let mut line = format!("{program} {words}");
    if !command.usage.is_empty() {
        line.push(' ');
        // Those with a second line name the program there.
        line.push_str(&command.usage.replace("\thull ", &format!("\t{program} ")));
    }
    line
}

/// The help of one command, wrapped to `columns`.
pub(crate) fn write_help(words: &str, command: &Command, columns: usize) -> String {
    let program = program();
    let mut out = format!(
        "Usage:  {}\n\n{}\n",
        usage_line(words, command),
        command.about
    );
    if command.words.len() > 1 {
        let aliases: Vec<String> = command
            .words
            .iter()
            .map(|words| format!("{program} {words}"))
            .collect();
        // Writing to a String cannot fail, here and below.
        let _ = write!(out, "\nAliases:\n  {}\n", aliases.join(", "));
    }
    let flags: Vec<&Flag> = visible(command.flags);
    if !flags.is_empty() {
        out.push_str("\nOptions:\n");
        out.push_str(&write_flags(&flags, columns));
    }
    out
}

/// The flags that the help shows, in alphabetical order.
fn visible(tables: &[&'static [Flag]]) -> Vec<&'static Flag> {
    static HELP: Flag = super::flag("help", "Show what the command does");
    let mut flags: Vec<&Flag> = super::all(tables).filter(|flag| !flag.hidden).collect();
    if flags.iter().any(|flag| flag.short == Some('h')) {
        // As in Docker's: nobody can know, for -h is something else.
        flags.push(&HELP);
    }
    flags.sort_by_key(|flag| flag.long);
    flags
}

/// One line per flag, its description in a column of its own.
pub(crate) fn write_flags(flags: &[&Flag], columns: usize) -> String {
    let left: Vec<String> = flags
        .iter()
        .map(|flag| {
            let short = match flag.short {
                Some(short) => format!("-{short}, "),
                None => "    ".to_owned(),
            };
            format!("  {short}--{} {}", flag.long, flag.value_name)
                .trim_end()
                .to_owned()
        })
        .collect();
    let indent = left.iter().map(String::len).max().unwrap_or_default() + 3;
    let room = columns.saturating_sub(indent).max(24);
    let mut out = String::new();
    for (flag, left) in flags.iter().zip(left) {
        let mut help = flag.help.to_owned();
        if !flag.default.is_empty() {
            let _ = write!(help, " (default {})", flag.default);
        }
        for (number, line) in wrap(&help, room).iter().enumerate() {
            let start = if number == 0 { left.as_str() } else { "" };
            let _ = writeln!(out, "{start:indent$}{line}");
        }
    }
    out
}

fn wrap(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len() + 1 + word.len() <= room => {
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
    use super::super::{flag, value};
    use super::*;

    #[test]
    fn descriptions_stand_in_one_column_and_wrap() {
        static ALL: Flag = flag("all", "Show everything there is").short('a');
        static TAIL: Flag = value("tail", "string", "Lines").default("\"all\"");
        assert_eq!(
            write_flags(&[&ALL, &TAIL], 46),
            "  -a, --all           Show everything there is\n      --tail string   Lines (default \"all\")\n"
        );
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
    }
}
