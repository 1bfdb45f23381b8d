//! Whole files: what is read, what is refused, what is warned of.

use super::*;
use proptest::prelude::*;

fn read(text: &str) -> Result<Dockerfile, Error> {
    Dockerfile::read(&parse(text.as_bytes())?, &mut Linter::default())
}

fn action(text: &str) -> Action {
    let file = read(&format!("FROM a\n{text}")).unwrap();
    file.stages[0].instructions[0].action.clone()
}

/// The message, and the line of the nearest place.
fn refused(text: &str) -> (String, u32) {
    let error = read(text).unwrap_err();
    let line = error.places.first().map_or(0, |lines| lines.first);
    (error.message, line)
}

fn shell(line: &str) -> CommandLine {
    CommandLine {
        words: Vec::from_iter((!line.is_empty()).then(|| line.to_owned())),
        shell: true,
    }
}

fn exec(words: &[&str]) -> CommandLine {
    CommandLine {
        words: words.iter().map(|word| (*word).to_owned()).collect(),
        shell: false,
    }
}

#[test]
fn lines_are_joined_and_comments_taken_out() {
    let text = "# escape=`\n\n# about\nFROM a\nRUN x `\n  # note\n  y `\n\n  z\n  run \\ `\n\t w";
    let syntax = parse(text.as_bytes()).unwrap();
    assert_eq!(syntax.escape, '`');
    let texts: Vec<&str> = syntax.statements.iter().map(|s| s.text.as_str()).collect();
    assert_eq!(texts, ["FROM a", "RUN x   y   z", "run \\ \t w"]);
    assert_eq!(syntax.statements[0].comments, ["about"]);
    let lines: Vec<_> = syntax
        .statements
        .iter()
        .map(|s| (s.lines.first, s.lines.last))
        .collect();
    assert_eq!(lines, [(4, 4), (5, 9), (10, 11)]);
    assert_eq!(syntax.empty_continuations, [Lines { first: 9, last: 9 }]);
}

#[test]
fn line_ends_and_marks_of_other_systems_are_fine() {
    let syntax =
        parse(b"\xef\xbb\xbfFROM a\r\nRUN b \\\r\n c\r\nCOPY <<X /\r\nd\r\nX\r\n").unwrap();
    assert_eq!(syntax.statements[1].text, "RUN b  c");
    assert_eq!(syntax.statements[2].heredocs[0].content, "d\r\n");
    parse(b"FROM a\n# caf\xe9\nRUN b").unwrap();
}

#[test]
fn an_escape_at_the_end_is_no_continuation_when_it_is_escaped() {
    let syntax = parse(b"FROM a\\\\\nRUN b").unwrap();
    assert_eq!(syntax.statements.len(), 2);
    assert_eq!(syntax.statements[0].text, "FROM a\\\\");
}

#[test]
fn heredocs_are_attached() {
    let text =
        "FROM a\nRUN <<A cat - <<-'B' x\n1\nA\n\t2 $y\n\tB\nADD <<C <<\"D\" /d/\n3\nC\n4\nD\n";
    let file = read(text).unwrap();
    let [run, add] = &file.stages[0].instructions[..] else {
        panic!("two instructions")
    };
    let Action::Run(run) = &run.action else {
        panic!("RUN")
    };
    assert_eq!(run.files[1].content, "\t2 $y\n");
    assert_eq!(run.files[1].text, "2 $y\n");
    let Action::Add(add) = &add.action else {
        panic!("ADD")
    };
    let files: Vec<_> = add
        .sources
        .files
        .iter()
        .map(|f| (&*f.name, &*f.content, f.expand))
        .collect();
    assert_eq!(files, [("C", "3\n", true), ("D", "4\n", false)]);
    assert_eq!(add.sources.dest, "/d/");
    // Quotes, JSON and other instructions make them plain words.
    assert!(matches!(action("RUN echo '<<A'"), Action::Run(run) if run.files.is_empty()));
    assert!(matches!(action("RUN [\"<<A\"]"), Action::Run(run) if run.files.is_empty()));
    assert_eq!(action("CMD cat <<A"), Action::Cmd(shell("cat <<A")));
    assert_eq!(
        action("ONBUILD RUN <<A\nx\nA\n"),
        Action::OnBuild("RUN <<A\nx\nA".into())
    );
}

#[test]
fn every_instruction_is_read() {
    use Action::{
        Cmd, Entrypoint, Expose, Label, Maintainer, Shell, StopSignal, User, Volume, Workdir,
    };
    let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
    assert_eq!(action("CMD a  b"), Cmd(shell("a  b")));
    assert_eq!(action("CMD"), Cmd(shell("")));
    assert_eq!(action("cmd [\"a\",\"b\"]"), Cmd(exec(&["a", "b"])));
    assert_eq!(action("ENTRYPOINT []"), Entrypoint(exec(&[])));
    assert_eq!(action("ENTRYPOINT ['a']"), Entrypoint(shell("['a']")));
    assert_eq!(action("EXPOSE 90 80/udp"), Expose(words(&["80/udp", "90"])));
    assert_eq!(action("MAINTAINER a b"), Maintainer("a b".into()));
    assert_eq!(action("SHELL [\"a\",\"-c\"]"), Shell(words(&["a", "-c"])));
    assert_eq!(action("STOPSIGNAL 9"), StopSignal("9".into()));
    assert_eq!(action("USER a:b"), User("a:b".into()));
    assert_eq!(action("VOLUME /a /b"), Volume(words(&["/a", "/b"])));
    assert_eq!(action("VOLUME [\"/a b\"]"), Volume(words(&["/a b"])));
    assert_eq!(action("WORKDIR /a b"), Workdir("/a b".into()));
    assert_eq!(action("ONBUILD  run a"), Action::OnBuild("run a".into()));
    let pair = |name: &str, value: &str, legacy| Pair {
        name: name.into(),
        value: value.into(),
        legacy,
    };
    assert_eq!(
        action("ENV a b  c"),
        Action::Env(vec![pair("a", "b  c", true)])
    );
    assert_eq!(
        action("LABEL a=b \"c d\"='e f'"),
        Label(vec![pair("a", "b", false), pair("\"c d\"", "'e f'", false)])
    );
    let arg = |name: &str, value: Option<&str>| Argument {
        name: name.into(),
        value: value.map(str::to_owned),
        comment: String::new(),
    };
    assert_eq!(
        action("ARG a b=c d="),
        Action::Arg(vec![
            arg("a", None),
            arg("b", Some("c")),
            arg("d", Some(""))
        ])
    );
}

#[test]
fn flags_of_instructions_are_read() {
    use Action::Healthcheck;
    let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
    let Healthcheck(check) = action("HEALTHCHECK --interval=1m --retries=3 CMD a b") else {
        panic!("HEALTHCHECK")
    };
    assert_eq!(check.test.unwrap(), ["CMD-SHELL", "a b"]);
    assert_eq!((check.interval, check.retries), (60_000_000_000, 3));
    assert!(
        matches!(action("HEALTHCHECK none"), Healthcheck(c) if c.test == Some(words(&["NONE"])))
    );
    let Action::Copy(copy) = action(
        "COPY --from=x --chown=1:2 --chmod=u+x --link --parents --exclude=a --exclude=b c d e/",
    ) else {
        panic!("COPY")
    };
    assert_eq!(copy.sources.paths, ["c", "d"]);
    assert_eq!(copy.sources.exclude, ["a", "b"]);
    assert!(copy.parents && copy.sources.link);
    let Action::Run(run) =
        action("RUN --network=none --security=insecure --mount=type=cache,target=/c --device=x a")
    else {
        panic!("RUN")
    };
    assert_eq!(run.network, Network::None);
    assert!(run.insecure);
    assert_eq!(run.command, shell("a"));
    let stage = &read("# b all of it\nfrom --platform=$X a As B")
        .unwrap()
        .stages[0];
    assert_eq!(
        (&*stage.name, &*stage.base, &*stage.platform),
        ("b", "a", "$X")
    );
    assert_eq!(stage.comment, "all of it");
    let file = read("ARG x=1\nFROM a\nFROM b").unwrap();
    assert_eq!((file.global_args.len(), file.stages.len()), (1, 2));
}

/// A third line, and what is said of it.
const MISTAKES: &[(&str, &str)] = &[
    ("RUNN x", "unknown instruction: RUNN (did you mean RUN?)"),
    ("frm x", "unknown instruction: frm (did you mean from?)"),
    ("xyzzy", "unknown instruction: xyzzy"),
    (
        "RUN --netwrok=x y",
        "unknown flag: --netwrok (did you mean network?)",
    ),
    ("RUN --network=x y", "invalid network mode \"x\""),
    ("RUN --security=x y", "security \"x\" is not valid"),
    (
        "COPY a",
        "COPY requires at least two arguments, but only one was provided. Destination could not be determined",
    ),
    (
        "ADD",
        "ADD requires at least two arguments, but only one was provided. Destination could not be determined",
    ),
    (
        "COPY a <<b\nb",
        "COPY cannot accept a heredoc as a destination",
    ),
    (
        "RUN [\"a\", 1]",
        "when using JSON array syntax, arrays must be comprised of strings only",
    ),
    ("ENV", "ENV requires at least one argument"),
    ("ENV a", "ENV must have two arguments"),
    ("ENV =a", "ENV names can not be blank"),
    (
        "LABEL a=b c",
        "Syntax error - can't find = in \"c\". Must be of the form: name=value",
    ),
    ("ARG =b", "ARG names can not be blank"),
    ("ARG", "ARG requires at least one argument"),
    ("EXPOSE", "EXPOSE requires at least one argument"),
    ("USER", "USER requires exactly one argument"),
    ("WORKDIR", "WORKDIR requires exactly one argument"),
    (
        "VOLUME [\" \"]",
        "VOLUME specified can not be an empty string",
    ),
    ("SHELL a", "SHELL requires the arguments to be in JSON form"),
    ("SHELL []", "SHELL requires at least one argument"),
    ("HEALTHCHECK", "HEALTHCHECK requires at least one argument"),
    ("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"),
    (
        "HEALTHCHECK x y",
        "Unknown type \"X\" in HEALTHCHECK (try CMD)",
    ),
    ("HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments"),
    (
        "HEALTHCHECK --interval=1us CMD x",
        "Interval \"interval\" cannot be less than 1ms",
    ),
    (
        "HEALTHCHECK --interval=5 CMD x",
        "time: missing unit in duration \"5\"",
    ),
    (
        "HEALTHCHECK --retries=-1 CMD x",
        "--retries cannot be negative (-1)",
    ),
    (
        "HEALTHCHECK --retries=x CMD x",
        "strconv.ParseInt: parsing \"x\": invalid syntax",
    ),
    ("ONBUILD", "ONBUILD requires at least one argument"),
    (
        "ONBUILD ONBUILD RUN x",
        "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed",
    ),
    ("ONBUILD from x", "FROM isn't allowed as an ONBUILD trigger"),
    ("FROM", "FROM requires either one or three arguments"),
    ("FROM a b", "FROM requires either one or three arguments"),
    (
        "FROM a AS 1b",
        "invalid name for build stage: \"1b\", name can't start with a number or contain symbols",
    ),
    (
        "FROM --platfrom=x a",
        "unknown flag: --platfrom (did you mean platform?)",
    ),
];

#[test]
fn mistakes_are_told_in_buildkits_words() {
    for (line, said) in MISTAKES {
        let (message, line_number) = refused(&format!("FROM a\n\n{line}\n"));
        let message = message
            .strip_prefix("dockerfile parse error on line 3: ")
            .unwrap_or(&message);
        assert_eq!((message, line_number), (*said, 3), "{line}");
    }
    assert_eq!(refused(""), ("file with no instructions".into(), 0));
    assert_eq!(refused("# only\n"), ("file with no instructions".into(), 1));
    assert_eq!(
        refused("RUN x"),
        ("no build stage in current context".into(), 1)
    );
    assert_eq!(
        refused("# escape=x\nFROM a"),
        ("invalid escape token 'x' does not match ` or \\".into(), 1)
    );
    assert_eq!(
        refused("# escape=`\n#escape=`\nFROM a").0,
        "only one escape parser directive can be used"
    );
    assert_eq!(
        refused("FROM a\nRUN <<A\nx\n"),
        ("unterminated heredoc".into(), 2)
    );
    let long = format!("FROM a\nRUN {}", "x".repeat(70_000));
    assert_eq!(
        refused(&long).0,
        "dockerfile line greater than max allowed size of 65535"
    );
}

#[test]
fn what_can_be_seen_without_values_is_warned_of() {
    let text = "FROM a as Base\nfRoM b AS x\nMAINTAINER m\nRUN a \\\n\n b\n# other text\nARG k\n";
    let mut linter = Linter::new(Checks::parse("experimental=all").unwrap());
    Dockerfile::read(&parse(text.as_bytes()).unwrap(), &mut linter).unwrap();
    let said: Vec<String> = linter.warnings.iter().map(Warning::short).collect();
    let expected = [
        "NoEmptyContinuation: Empty continuation line (line 6)",
        "StageNameCasing: Stage name 'Base' should be lowercase (line 1)",
        "FromAsCasing: 'as' and 'FROM' keywords' casing do not match (line 1)",
        "MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label (line 3)",
        "InvalidDefinitionDescription: Comment for ARG should follow the format: `# k <description>` (line 7)",
    ];
    let expected = expected.map(|line| line.replace("(line 7)", "(line 8)"));
    assert_eq!(said, expected);
}

#[test]
fn an_onbuild_is_read_where_it_is_triggered() {
    let lines = Lines { first: 4, last: 4 };
    let instruction = read::trigger("copy --from=x a b", lines).unwrap();
    assert_eq!(instruction.lines, lines);
    assert!(matches!(instruction.action, Action::Copy(_)));
    assert!(read::trigger("RUN a\nRUN b", lines).is_err());
    assert!(read::trigger("FROM a", lines).is_err());
}

/// The same without what printing changes.
fn without_lines(mut syntax: Syntax) -> Syntax {
    for statement in &mut syntax.statements {
        statement.lines = Lines::default();
    }
    for directive in &mut syntax.directives {
        directive.lines = Lines::default();
    }
    syntax.empty_continuations.clear();
    syntax
}

fn comes_back(text: &[u8]) {
    if let Ok(syntax) = parse(text) {
        let printed = syntax.to_string();
        let again = parse(printed.as_bytes()).expect(&printed);
        assert_eq!(without_lines(again), without_lines(syntax), "{printed:?}");
    }
}

#[test]
fn strange_files_come_back() {
    for text in [
        "# escape=`\n# syntax=x\n#y\n# check=z\nFROM a",
        "\n# syntax=x\nFROM a",
        "\u{feff}\u{feff}FROM a",
        "FROM a\nRUN b\\ \\",
        "FROM a\n  # indented\nARG b",
        "\\\nFROM a\nRUN <<\"A B\" <<-C\nx\nA B\n\ty\n\tC",
        "FROM a\nRUN --x='a b'\\\\ -- --y it\\'s",
        "ONBUILD ONBUILD ONBUILD x\n",
    ] {
        comes_back(text.as_bytes());
    }
}

/// Pieces of which files are made that come near to everything.
const PIECES: &str = "((FROM|RUN|COPY|ENV|ARG|ONBUILD|HEALTHCHECK|CMD|x) ?|--[a-z]=?|[a-z]|<<-?[A-C]\n|[A-C]\n|# [a-z]=?`?\n|\\\\\n|\\\\ ?|`|\n|\r\n|\t| |'|\"|\\$|\\{|\\}|\\[|\\]|,|=|é|\u{b}){0,40}";

proptest! {
    #[test]
    fn what_is_printed_is_read_as_the_same(text in PIECES) {
        comes_back(text.as_bytes());
        let _ = read(&text);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        comes_back(&bytes);
    }
}
