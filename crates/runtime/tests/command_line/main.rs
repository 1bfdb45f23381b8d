//! Command lines and what the runtime answers to them, recorded from runc.
//!
//! `scenarios/*.txt` hold command lines (`$ `), the configuration they find (`%`), and what they gave:
//! exit code (`=`), standard output (`|`), standard error (`!`). Paths, times and process ids are replaced by
//! names. `HULL_TEST_RECORD=/path/to/runc` records anew instead of comparing. Help texts are our own:
//! of them only the first line counts. `# differs:` before a command line tells why ours is not what
//! runc gives; its lines are kept when recording.

mod host;

use host::Host;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The lines of a scenario that stand in it as they are; everything else is an answer.
fn is_given(line: &str) -> bool {
    line.is_empty() || line.starts_with(['$', '%', '#'])
}

/// Plays a scenario and gives it back with the answers it got.
fn play(host: &Host, text: &str, recording: bool) -> String {
    let mut played = String::new();
    let (mut differs, mut keep) = (false, false);
    for line in text.lines() {
        if !is_given(line) {
            if keep {
                let _ = writeln!(played, "{line}");
            }
            continue;
        }
        let _ = writeln!(played, "{line}");
        if let Some(command) = line.strip_prefix('$') {
            // An answer of ours that is not runc's is not recorded from runc.
            keep = recording && differs;
            differs = false;
            let answer = host.call(command);
            if !keep {
                played.push_str(&answer);
            }
        } else if let Some(change) = line.strip_prefix('%') {
            host.configure(change);
        } else {
            differs = differs || line.starts_with("# differs:");
        }
    }
    played
}

fn scenario(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/command_line/scenarios")
        .join(name);
    let text = fs_err::read_to_string(&path).expect("a scenario");
    let record = std::env::var_os("HULL_TEST_RECORD").map(PathBuf::from);
    let program = record
        .clone()
        .unwrap_or_else(|| env!("CARGO_BIN_EXE_hull-runtime").into());
    let Some(host) = Host::new(program) else {
        return;
    };
    let played = play(&host, &text, record.is_some());
    if record.is_some() {
        fs_err::write(&path, played).expect("written");
        return;
    }
    let mut here = String::new();
    for (at, (ours, recorded)) in played.lines().zip(text.lines()).enumerate() {
        if ours.starts_with('$') {
            ours.clone_into(&mut here);
        }
        assert_eq!(ours, recorded, "{name}, line {}, {here}", at + 1);
    }
    assert_eq!(played.lines().count(), text.lines().count(), "{name}");
}

#[test]
fn options_and_arguments_are_taken_and_refused_as_by_runc() {
    scenario("arguments.txt");
}

#[test]
fn a_life_is_told_as_by_runc() {
    scenario("life.txt");
}

#[test]
fn processes_beside_the_first_are_as_runcs() {
    scenario("exec.txt");
}

#[test]
fn bad_input_is_refused_in_runcs_words() {
    scenario("refused.txt");
}
