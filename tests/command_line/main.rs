//! Hull's command line beside Docker's: the same lines, what they print and how they end compared.
//!
//! `cases/*.txt` has the lines (the form is told in [`case`]), `docker/*.txt` what the real `docker` with a real dockerd made of
//! them. They are recorded by this very test:
//!
//! ```text
//! HULL_TEST_RECORD=1 HULL_TEST_ENGINE=dockerd cargo test -p hull-tests --test command_line
//! ```
//!
//! Ids, times and sizes are masked (`mask.rs`). `differs.txt` lists where Hull prints otherwise on purpose, and why.
//! `HULL_TEST_ONLY=name` plays one file. Of `--help` the names of commands and flags are compared (`help.rs`), not the words.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test throughout"
)]

mod case;
mod help;
mod mask;

use case::Case;
use hull_tests::command::{Finished, run};
use hull_tests::daemon::{Daemon, other_engine};
use hull_tests::host::Host;
use hull_tests::http::{Request, send};
use hull_tests::image::busybox_layer;
use mask::Mask;
use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A client called `docker` with a folder and a configuration of its own.
pub(crate) struct Client<'d> {
    daemon: &'d Daemon<'d>,
    program: PathBuf,
    home: tempfile::TempDir,
}

impl<'d> Client<'d> {
    fn new(daemon: &'d Daemon<'d>) -> Self {
        let home = tempfile::Builder::new()
            .prefix("hull-line-")
            .tempdir()
            .unwrap();
        fs_err::create_dir(home.path().join("config")).unwrap();
        fs_err::create_dir(home.path().join("work")).unwrap();
        fs_err::write(home.path().join("work/file"), "text\n").unwrap();
        for file in fs_err::read_dir(directory().join("files")).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap();
            fs_err::copy(&path, home.path().join("work").join(name)).unwrap();
        }
        let program = if other_engine().is_some() {
            PathBuf::from("docker")
        } else {
            let link = home.path().join("docker");
            std::os::unix::fs::symlink(hull_tests::binaries().join("hull"), &link).unwrap();
            link
        };
        Self {
            daemon,
            program,
            home,
        }
    }

    pub(crate) fn run(&self, words: &[String], variables: &[(String, String)]) -> Finished {
        let mut command = Command::new(&self.program);
        for name in [
            "DOCKER_CONTEXT",
            "DOCKER_TLS_VERIFY",
            "HULL_HOST",
            "COLUMNS",
        ] {
            command.env_remove(name);
        }
        command
            .env("DOCKER_HOST", self.daemon.address())
            .env("DOCKER_CONFIG", self.home.path().join("config"))
            .env("HOME", self.home.path())
            .env("TZ", "UTC")
            .env("LC_ALL", "C")
            .current_dir(self.home.path().join("work"))
            .args(words);
        for (name, value) in variables {
            match value.as_str() {
                "" => command.env_remove(name),
                value => command.env(name, value),
            };
        }
        run(&mut command, &[])
    }
}

#[test]
fn every_line_prints_what_dockers_does() {
    let busybox = Path::new(hull_tests::image::BUSYBOX).exists();
    if !hull_tests::can_run("busybox-static", busybox) {
        return;
    }
    let host = Host::start();
    let daemon = Daemon::start(&host, &[]);
    import(&daemon);
    let client = Client::new(&daemon);
    let record = std::env::var_os("HULL_TEST_RECORD").is_some();
    let mut wrong = Vec::new();
    for name in names() {
        let said = play(&client, &name);
        let path = directory().join("docker").join(format!("{name}.txt"));
        if record {
            fs_err::write(path, said.join("\n")).unwrap();
            continue;
        }
        // What is masked since they were recorded.
        let recorded = Mask::new(&[]).apply(&fs_err::read_to_string(path).unwrap());
        let recorded: Vec<&str> = recorded.split("\n\n$ ").collect();
        compare(&name, &recorded, &said, &mut wrong);
    }
    if other_engine().is_none() && std::env::var_os("HULL_TEST_ONLY").is_none() {
        names_are_completed(&client);
    }
    let found = help::of(&client);
    let path = directory().join("docker/help");
    if record {
        fs_err::write(path, found.join("\n") + "\n").unwrap();
        return;
    }
    let recorded = fs_err::read_to_string(path).unwrap();
    help::compare(&recorded, &found, &mut wrong);
    judge(wrong);
}

/// What a shell is told at a tab, and what bash makes of it.
fn names_are_completed(client: &Client<'_>) {
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let said = client.run(&words("__complete network rm br"), &[]);
    assert_eq!(said.ok(), "bridge\t");
    let said = client.run(&words("__complete run --rm bo"), &[]);
    assert_eq!(said.ok(), "box:1\t");
    let script = client.run(&words("completion bash"), &[]);
    let file = client.home.path().join("completion");
    fs_err::write(&file, script.ok()).unwrap();
    let shell = "PATH=\"$1:$PATH\"; source \"$1/completion\"; COMP_WORDS=(docker run --rm box:); COMP_CWORD=3; \
                 _docker_complete; echo \"${COMPREPLY[@]}\"";
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", shell, "bash"])
        .arg(client.home.path())
        .env("DOCKER_HOST", client.daemon.address())
        .env("DOCKER_CONFIG", client.home.path().join("config"));
    assert_eq!(run(&mut bash, &[]).ok(), "1");
    other_shells_complete(client);
}

/// A zsh on a terminal of its own, whose line is printed after a tab.
const ZSH: &str = r#"
zmodload zsh/zpty
zpty inner zsh -f -i
zpty -w inner 'autoload -U compinit; compinit -u -D; source <(docker completion zsh); shown() { print -r -- "<${BUFFER}>"; BUFFER= }; zle -N shown; bindkey "^X" shown; PS1="AT""HAND "'
zpty -r inner out '*ATHAND *'
for line; do
  zpty -n -w inner "$line"$'\t\x18'
  zpty -r inner out '*<docker*>*'
  print -r -- "<${${out##*<}%%>*}>"
done
"#;

/// What zsh and fish make of a tab.
fn other_shells_complete(client: &Client<'_>) {
    let shell = |name: &str, arguments: &[&str]| {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new(name);
        command
            .args(arguments)
            .env("PATH", format!("{}:{path}", client.home.path().display()))
            .env("HOME", client.home.path())
            .env("TERM", "vt100")
            .env("DOCKER_HOST", client.daemon.address())
            .env("DOCKER_CONFIG", client.home.path().join("config"));
        run(&mut command, &[]).ok().to_owned()
    };
    if hull_tests::can_run("zsh", hull_tests::command::exists("zsh")) {
        let lines = [
            "docker network rm br",
            "docker run --rm bo",
            "docker context us",
        ];
        let said = shell("zsh", &[&["-f", "-c", ZSH, "zsh"][..], &lines].concat());
        assert_eq!(
            said,
            "<docker network rm bridge >\n<docker run --rm box:1 >\n<docker context use >"
        );
    }
    if hull_tests::can_run("fish", hull_tests::command::exists("fish")) {
        let ask = "docker completion fish | source; for line in $argv; complete -C $line; end";
        let lines = [
            "docker network rm br",
            "docker run --rm bo",
            "docker -c def",
        ];
        let said = shell("fish", &[&["--no-config", "-c", ask][..], &lines].concat());
        assert_eq!(said, "bridge\nbox:1\ndefault");
    }
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("command_line")
}

/// The files of lines, in order.
fn names() -> Vec<String> {
    let only = std::env::var("HULL_TEST_ONLY").ok();
    let mut names: Vec<String> = fs_err::read_dir(directory().join("cases"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .filter(|name| only.as_ref().is_none_or(|only| only == name))
        .collect();
    names.sort();
    names
}

/// Brings in the image `box:1`, by the API alone.
fn import(daemon: &Daemon<'_>) {
    let stream = UnixStream::connect(daemon.socket()).unwrap();
    let request = Request {
        method: "POST",
        target: "/images/create?fromSrc=-&repo=box&tag=1&message=made+for+a+test&changes=CMD+%5B%22sh%22%5D&changes=LABEL+a=1\
            &changes=ENV+PATH%3D%2Fusr%2Flocal%2Fsbin%3A%2Fusr%2Flocal%2Fbin%3A%2Fusr%2Fsbin%3A%2Fusr%2Fbin%3A%2Fsbin%3A%2Fbin",
        headers: &[("Content-Type", "application/x-tar")],
        body: &busybox_layer(),
    };
    let reply = send(stream, request).unwrap();
    assert!(
        reply.status == 200 && !reply.text().contains("error"),
        "{reply:?}"
    );
}

/// What each line of a file printed, masked.
fn play(client: &Client<'_>, name: &str) -> Vec<String> {
    let path = directory().join("cases").join(format!("{name}.txt"));
    let cases = case::parse(&fs_err::read_to_string(path).unwrap());
    let mask = Mask::new(&[
        (client.home.path().join("config"), "<config>"),
        (client.home.path().to_owned(), "<home>"),
        (client.daemon.path("data"), "<data>"),
        (client.daemon.socket(), "<socket>"),
    ]);
    let mut said = Vec::new();
    for case in &cases {
        let Case {
            line,
            words,
            variables,
            quiet,
            ..
        } = case;
        if let Some(text) = line.strip_prefix("@ ") {
            fs_err::write(client.home.path().join("config/config.json"), text).unwrap();
            continue;
        }
        let finished = client.run(words, variables);
        if *quiet {
            assert_eq!(finished.code, 0, "{name}: {finished:?}");
            continue;
        }
        let error = match finished.stderr.as_str() {
            "" => String::new(),
            text => format!("--\n{}", case.arrange(mask.apply(text))),
        };
        said.push(format!(
            "$ {line}\n{}{error}[{}]\n",
            case.arrange(mask.apply(&finished.stdout)),
            finished.code
        ));
    }
    said
}

/// Blocks as they are recorded against blocks as they are.
fn compare(file: &str, recorded: &[&str], said: &[String], wrong: &mut Vec<Difference>) {
    let block = |text: &str| {
        let text = text.trim_start_matches("$ ").trim_end();
        let (line, rest) = text.split_once('\n').unwrap_or((text, ""));
        (line.to_owned(), rest.to_owned())
    };
    assert_eq!(
        recorded.len(),
        said.len(),
        "{file}: record it anew, the lines have changed"
    );
    for (recorded, said) in recorded.iter().zip(said) {
        let ((recorded, docker), (line, hull)) = (block(recorded), block(said));
        assert_eq!(
            recorded,
            Mask::new(&[]).apply(&line),
            "{file}: record it anew, the lines have changed"
        );
        if docker != hull && docker != without_hints(&hull) {
            wrong.push(Difference {
                file: file.to_owned(),
                line,
                docker,
                hull,
            });
        }
    }
}

/// What Hull prints without the lines that say what to do next: more than Docker's is no difference.
fn without_hints(text: &str) -> String {
    let mut lines = text.lines();
    let mut kept = Vec::new();
    while let Some(line) = lines.next() {
        if line.starts_with("Did you mean ") {
            // It has a paragraph of its own.
            lines.next();
        } else if !line.starts_with("hint: ") {
            kept.push(line);
        }
    }
    kept.join("\n")
}

/// A line that the two answer differently.
pub(crate) struct Difference {
    pub(crate) file: String,
    pub(crate) line: String,
    pub(crate) docker: String,
    pub(crate) hull: String,
}

/// Fails on what `differs.txt` does not have: `file | line | why`.
fn judge(wrong: Vec<Difference>) {
    let listed = fs_err::read_to_string(directory().join("differs.txt")).unwrap();
    let meant: BTreeMap<(String, String), &str> = listed
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            // A command line can have bars of its own.
            let parts = line.split_once(" | ").and_then(|(file, rest)| {
                let (line, why) = rest.rsplit_once(" | ")?;
                Some((file, line, why.trim()))
            });
            let Some((file, line, why)) = parts else {
                panic!("differs.txt: not `file | line | why`: {line}");
            };
            assert!(!why.is_empty(), "differs.txt: say why: {line}");
            ((file.to_owned(), line.to_owned()), why)
        })
        .collect();
    let is_meant = |one: &Difference| meant.contains_key(&(one.file.clone(), one.line.clone()));
    let only = std::env::var_os("HULL_TEST_ONLY").is_some();
    for (file, line) in meant.keys().filter(|_| !only) {
        let still = wrong
            .iter()
            .any(|one| one.file == *file && one.line == *line);
        if !still {
            println!("differs.txt: differs no more: {file} | {line}");
        }
    }
    let text: String = wrong
        .iter()
        .filter(|one| !is_meant(one))
        .map(|one| {
            let Difference {
                file,
                line,
                docker,
                hull,
            } = one;
            format!("=== {file} | {line}\n--- docker\n{docker}\n--- hull\n{hull}\n")
        })
        .collect();
    assert!(text.is_empty(), "printed otherwise than by docker:\n{text}");
}
