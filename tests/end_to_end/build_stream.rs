//! The classic endpoint, as clients that speak no other protocol see it. The texts are those of docker 28.5.

use hull_tests::client::Client;
use hull_tests::daemon::Daemon;
use hull_tests::http::Reply;
use hull_tests::image::Layer;
use hull_tests::setup::with;
use serde_json::Value;

fn ask(daemon: &Daemon<'_>, files: &[(&str, &str)], query: &str) -> Reply {
    let mut context = Layer::new();
    for (name, text) in files {
        context = context.file(name, 0o644, text.as_bytes());
    }
    daemon.ask("POST", &format!("/build?{query}"), &context.finish())
}

/// The lines of a build with this Dockerfile.
fn build(daemon: &Daemon<'_>, dockerfile: &str, query: &str) -> Vec<Value> {
    let reply = ask(daemon, &[("Dockerfile", dockerfile), ("f", "f\n")], query);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let text = reply.text();
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect()
}

/// What was said, with the numbers that are never the same as `ID`.
fn said(lines: &[Value]) -> String {
    let text: String = lines
        .iter()
        .filter_map(|line| line["stream"].as_str())
        .collect();
    let word = |word: &str| {
        let id = word.trim_end();
        let is = id.len() == 12 && id.bytes().all(|b| b.is_ascii_hexdigit());
        if is {
            word.replace(id, "ID")
        } else {
            word.to_owned()
        }
    };
    text.split_inclusive([' ', '\n']).map(word).collect()
}

const DOCKERFILE: &str = "ARG BASE=busybox\nFROM $BASE AS one\nENV a=b\nWORKDIR /w\nRUN echo hi; \\\n    echo err >&2\n\
    COPY f /f\nFROM busybox AS unused\nRUN echo unused\nFROM busybox\nCOPY --from=one /f /g\nCMD [\"a\"]\n";

const FIRST: &str = "Step 1/10 : ARG BASE=busybox
Step 2/10 : FROM $BASE AS one
 ---> ID
Step 3/10 : ENV a=b
 ---> Running in ID
 ---> Removed intermediate container ID
 ---> ID
Step 4/10 : WORKDIR /w
 ---> Running in ID
 ---> Removed intermediate container ID
 ---> ID
Step 5/10 : RUN echo hi;     echo err >&2
 ---> Running in ID
hi
\u{1b}[91merr
\u{1b}[0m ---> Removed intermediate container ID
 ---> ID
Step 6/10 : COPY f /f
 ---> ID
Step 7/10 : FROM busybox
 ---> ID
Step 8/10 : COPY --from=one /f /g
 ---> ID
Step 9/10 : CMD [\"a\"]
 ---> Running in ID
 ---> Removed intermediate container ID
 ---> ID
Step 10/10 : LABEL l=m n
 ---> Running in ID
 ---> Removed intermediate container ID
 ---> ID
[Warning] One or more build-args [NO] were not consumed
Successfully built ID
Successfully tagged streamed:latest
";

#[test]
fn a_build_is_told_as_by_dockerds_classic_builder() {
    with(Client::Hull, |s| {
        let query =
            "t=streamed&labels=%7B%22l%22%3A%22m%20n%22%7D&buildargs=%7B%22NO%22%3A%221%22%7D";
        let first = build(&s.daemon, DOCKERFILE, query);
        // Which of two streams a process wrote to first cannot be seen.
        let text = said(&first).replace(
            "\u{1b}[91merr\n\u{1b}[0mhi\n",
            "hi\n\u{1b}[91merr\n\u{1b}[0m",
        );
        assert_eq!(text, FIRST);
        let id = s.daemon.get("/images/streamed/json").json()["Id"].clone();
        let aux = first.iter().find_map(|line| line["aux"]["ID"].as_str());
        assert_eq!(aux, id.as_str());
        let again = said(&build(&s.daemon, DOCKERFILE, query));
        for step in [
            "RUN echo hi;     echo err >&2\n ---> Using cache\n ---> ID\n",
            "COPY --from=one /f /g\n ---> Using cache\n ---> ID\n",
            "CMD [\"a\"]\n ---> Using cache\n ---> ID\n",
        ] {
            assert!(again.contains(step), "{again}");
        }
        surroundings(&s.daemon);
        failures(&s.daemon);
        left_out(&s.daemon);
        uploads(&s.daemon);
        usage(&s.daemon);
    });
}

/// Networks and limits of steps.
fn surroundings(daemon: &Daemon<'_>) {
    let interfaces = "FROM busybox\nRUN ls /sys/class/net; echo end\n";
    let none = said(&build(daemon, interfaces, "networkmode=none"));
    assert!(none.contains("\nlo\nend\n"), "{none}");
    let refused = build(
        daemon,
        "FROM busybox\nRUN true\n",
        "networkmode=nowhere&nocache=1",
    );
    let error = refused.last().expect("a line")["error"].to_string();
    assert!(error.contains("network nowhere not found"), "{error}");
    let limit = "FROM busybox\nRUN cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || true\n";
    let limited = said(&build(daemon, limit, "memory=52428800"));
    assert!(limited.contains("52428800\n"), "{limited}");
}

fn failures(daemon: &Daemon<'_>) {
    let last = |dockerfile: &str| {
        let lines = build(daemon, dockerfile, "");
        let error = lines.last().expect("a line")["errorDetail"].clone();
        (
            said(&lines),
            error["code"].as_i64(),
            error["message"].to_string(),
        )
    };
    let (text, code, message) = last("FROM busybox\nRUN echo out; exit 3\n");
    assert!(
        text.ends_with("RUN echo out; exit 3\n ---> Running in ID\nout\n"),
        "{text}"
    );
    assert_eq!(code, Some(3));
    assert!(
        message.contains("The command '/bin/sh -c echo out; exit 3' returned a non-zero code: 3")
    );
    let (text, code, message) = last("FROM busybox\nCOPY nope /\n");
    assert!(text.ends_with("Step 2/2 : COPY nope /\n"), "{text}");
    assert_eq!(code, None);
    assert!(message.contains("COPY failed: file not found in build context or excluded by .dockerignore: stat nope: file does not exist"));
    let (text, ..) = last("FROM busybox\nENV a=${x:?no}\n");
    assert!(text.ends_with("Step 2/2 : ENV a=${x:?no}\n"), "{text}");
    for (dockerfile, query, status, message) in [
        (
            "FROM busybox\nRUNN a\n",
            "",
            400,
            "dockerfile parse error on line 2: unknown instruction: RUNN (did you mean RUN?)",
        ),
        ("", "", 400, "the Dockerfile (Dockerfile) cannot be empty"),
        (
            "FROM busybox\n",
            "target=zz",
            400,
            "target stage \"zz\" could not be found",
        ),
        (
            "FROM busybox\n",
            "remote=xyz",
            500,
            "remoteURL (xyz) could not be recognized as URL",
        ),
        (
            "FROM busybox\n",
            "dockerfile=other",
            500,
            "Cannot locate specified Dockerfile: other",
        ),
    ] {
        let reply = ask(daemon, &[("Dockerfile", dockerfile)], query);
        assert_eq!(
            (reply.status, reply.json()["message"].as_str()),
            (status, Some(message))
        );
    }
}

/// The Dockerfile and the ignore file always come; they are no part of the context if they are ignored.
fn left_out(daemon: &Daemon<'_>) {
    let built = |name: &str, ignored: &str| {
        let dockerfile = "FROM busybox\nCOPY . /all\nRUN cd /all; find . -type f | sort\n";
        let files = [
            (name, dockerfile),
            (".dockerignore", ignored),
            ("d/file", "f\n"),
        ];
        let reply = ask(daemon, &files, &format!("dockerfile={name}"));
        let lines = reply.text();
        let lines = lines.lines().filter(|line| line.contains("\"./"));
        lines.collect::<String>()
    };
    let all = built("Dockerfile", "nothing\n");
    assert!(
        all.contains("./.dockerignore") && all.contains("./Dockerfile"),
        "{all}"
    );
    let fewer = built("Dockerfile", "Dockerfile\n.dockerignore\n");
    assert!(fewer.contains("./d/file"), "{fewer}");
    assert!(
        !fewer.contains("ockerignore") && !fewer.contains("Dockerfile"),
        "{fewer}"
    );
    let below = built("d/Other", "d\n!d/file\n");
    assert!(
        below.contains("./d/file") && below.contains("./.dockerignore"),
        "{below}"
    );
    assert!(!below.contains("Other"), "{below}");
}

/// Contexts that come as bodies to BuildKit, by the same request or by one beside it, as from clients of before Docker 23.
fn uploads(daemon: &Daemon<'_>) {
    let dockerfile = |text: &str| {
        Layer::new()
            .file("Dockerfile", 0o644, text.as_bytes())
            .finish()
    };
    let send = |query: &str, body: &[u8]| {
        daemon.send(
            "POST",
            &format!("/build?version=2&{query}"),
            "application/x-tar",
            body,
        )
    };
    let context = dockerfile("FROM busybox\nRUN echo by BuildKit\n");
    let posted = send("q=1&t=posted", &context);
    let id = daemon.get("/images/posted/json").json()["Id"].clone();
    assert!(
        posted.text().contains(id.as_str().expect("an id")),
        "{posted:?}"
    );
    std::thread::scope(|scope| {
        let upload = scope.spawn(|| send("buildid=upload-request:brought", &context));
        let built = send("remote=upload-request&buildid=brought&q=1", b"");
        assert!(
            built.text().contains(id.as_str().expect("an id")),
            "{built:?}"
        );
        assert_eq!(upload.join().expect("an answer").status, 200);
    });
    // There is nobody to ask for more.
    let secret =
        dockerfile("FROM busybox\nRUN --mount=type=secret,id=x,required cat /run/secrets/x\n");
    let refused = send("", &secret);
    assert!(
        refused.text().contains("secret x: not found"),
        "{refused:?}"
    );
}

/// What is left, and its removal.
fn usage(daemon: &Daemon<'_>) {
    let records = || daemon.get("/system/df?type=build-cache").json()["BuildCache"].clone();
    let all = records();
    let all = all.as_array().expect("a list");
    let run = all.iter().find(|record| {
        record["Description"]
            .as_str()
            .is_some_and(|d| d.contains("RUN echo hi"))
    });
    let run = run.expect("the step's result");
    assert_eq!(
        (run["Type"].as_str(), run["InUse"].as_bool()),
        (Some("regular"), Some(false))
    );
    assert!(run["UsageCount"].as_i64() > Some(0), "{run}");
    let prune = |query: &str| daemon.ask("POST", &format!("/build/prune?{query}"), b"");
    for (query, message) in [
        (
            "filters=%7B%22x%22%3A%5B%221%22%5D%7D",
            "failed to prune build cache: invalid filter 'x'",
        ),
        (
            "filters=%7B%22id%22%3A%5B%221h%22%2C%222%22%5D%7D",
            "failed to prune build cache: filters expect only one value",
        ),
        (
            "keep-storage=x",
            "keep-storage is in bytes and expects an integer, got x: strconv.Atoi: parsing \"x\": invalid syntax",
        ),
    ] {
        let refused = prune(query);
        assert_eq!(
            (refused.status, refused.json()["message"].as_str()),
            (400, Some(message))
        );
    }
    let nothing = prune("filters=%7B%22unused-for%22%3A%5B%2224h%22%5D%7D&all=1").json();
    assert_eq!(
        (
            nothing["SpaceReclaimed"].as_i64(),
            nothing["CachesDeleted"].is_null()
        ),
        (Some(0), true)
    );
    // What an image has, too, stays.
    let _ = prune("");
    assert!(
        records().to_string().contains("COPY --from=one"),
        "{}",
        records()
    );
    let pruned = prune("all=1").json();
    assert!(pruned["SpaceReclaimed"].as_i64() > Some(0), "{pruned}");
    assert_eq!(records().as_array().map(Vec::len), Some(0));
}
