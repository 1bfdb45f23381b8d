//! The user guide and the README, as their readers meet them: every command in their `console` blocks is executed, in the
//! order of the book, and what it prints is compared with what the book shows.
//!
//! A block is what a terminal shows: commands behind `$ `, and below each what it prints, where it matters. `...` stands for
//! any text, on a line of its own for any lines; ids, sizes, times and runs of spaces need not be the same. A command without
//! output below it must succeed, no more. Comments before a block say what a reader need not know:
//!
//! ```text
//! <!-- file: NAME -->          the block, of whatever language, is a file that the reader writes
//! <!-- not run: REASON -->     the block cannot run here; the reason is printed
//! <!-- needs: compose -->      skipped where that is missing: compose, buildx, docker, firewall
//! <!-- ends with: 1 -->        the exit code of the block's last command
//! <!-- again -->               what it looks at needs a moment: it is asked again until it prints what is shown
//! <!-- terminal: ["A","B"] --> it runs on a terminal; when that shows A, B is typed (several pairs are possible)
//! ```
//!
//! `HULL_TEST_CHAPTER=networks` runs one chapter; `HULL_TEST_SHOW=1` prints what every command printed.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what was skipped is told"
)]

mod book;
mod compare;
mod stage;

use book::{Chapter, Step};
use hull_tests::host::Host;
use stage::Stage;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

/// The repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the repository")
}

#[test]
fn every_command_works() {
    if hull_tests::host::reference().is_some() || !stage::is_possible() {
        return;
    }
    let only = std::env::var("HULL_TEST_CHAPTER").ok();
    let host = Host::start();
    let stage = Stage::set(&host);
    if only.is_some() {
        // What earlier chapters would have pulled.
        stage.pull();
    }
    let mut wrong = Vec::new();
    for chapter in book::chapters(root()) {
        if only.as_ref().is_some_and(|only| *only != chapter.name) {
            continue;
        }
        let begun = Instant::now();
        wrong.extend(follow(&stage, &chapter));
        stage.clear();
        println!("{}: {:.1?}", chapter.name, begun.elapsed());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Does what the chapter says, and tells what is otherwise.
fn follow(stage: &Stage<'_>, chapter: &Chapter) -> Vec<String> {
    let mut wrong = Vec::new();
    let reader = stage.reader(&chapter.name);
    let mut told = BTreeSet::new();
    let show = std::env::var_os("HULL_TEST_SHOW").is_some();
    for step in &chapter.steps {
        match step {
            Step::File { name, text } => reader.write(name, text),
            Step::Skipped { line, reason } => {
                println!("{}:{line}: not run: {reason}", chapter.name);
            }
            Step::Command(command) => {
                if let Some(missing) = command.needs.iter().find(|what| !stage.has(what)) {
                    if told.insert(missing) {
                        println!("{}: skipped: {missing} is missing here", chapter.name);
                    }
                    continue;
                }
                let (done, compared) = reader.follow(command);
                if show {
                    println!("@@ {}:{} [{}]", chapter.name, command.line, done.code);
                    println!("{}", done.output);
                }
                if let Err(why) = compared {
                    let place = format!("{}:{}", chapter.name, command.line);
                    wrong.push(format!("{place}: $ {}\n{why}", command.text));
                    // What comes after it in the chapter would fail for its sake.
                    if !show {
                        eprintln!("{place}: the rest of the chapter is left out");
                        break;
                    }
                }
            }
        }
    }
    wrong
}

#[test]
fn links_and_summary_lead_somewhere() {
    let wrong = book::broken_links(root());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn outputs_are_compared_loosely_and_no_more() {
    compare::tests();
    book::tests();
}
