//! Requests with a client and images that are only there for the test. What BuildKit makes of the same was
//! recorded from Docker 28.5 (BuildKit 0.25).

use super::*;
use crate::graph::{self, ImageSource, LocalSource, MountKind, Op, Source, Vertex};
use crate::progress::Watch;
use crate::solve::{Context, KnownSources, Solver};
use crate::world::{
    Cancel, Client, Directory, Fetched, Job, LocalFiles, Login, Piece, ResolvedImage, Selection,
    SourceKey, Tree, World, WorldError, WorldResult,
};
use hull_spec::Digest;
use serde_json::{Value, json};
use std::os::unix::net::UnixListener;
use std::sync::Mutex;

const BASE: &str = include_str!("recorded/base.json");

struct Files(tempfile::TempDir);

impl Client for Files {
    fn local(&self, source: &LocalSource, _: &Job<'_>) -> WorldResult<Arc<dyn LocalFiles>> {
        match source.name.as_str() {
            "context" | "dockerfile" => Ok(Arc::new(Directory(self.0.path().to_owned()))),
            "other" => Ok(Arc::new(Directory(self.0.path().join("d")))),
            name => Err(WorldError::NotFound(format!("no local source {name}"))),
        }
    }

    fn secret(&self, _: &str) -> WorldResult<Option<Vec<u8>>> {
        Ok(None)
    }

    fn ssh(&self, _: &str, _: UnixListener) -> WorldResult<Option<Box<dyn Send>>> {
        Ok(None)
    }

    fn credentials(&self, _: &str) -> WorldResult<Option<Login>> {
        Ok(None)
    }
}

/// Has `bb`, and `trigger` with instructions for who builds on it.
#[derive(Default)]
struct Images(Mutex<Vec<String>>);

impl World for Images {
    fn resolve_image(
        &self,
        source: &ImageSource,
        platform: &Platform,
        _: &Job<'_>,
    ) -> WorldResult<ResolvedImage> {
        let asked = format!("{} {platform}", source.reference);
        self.0.lock().unwrap().push(asked);
        let mut config: Value = serde_json::from_str(BASE).unwrap();
        match source.reference.as_str() {
            "docker.io/library/bb:latest" | "docker.io/library/foreign:latest" => {}
            "docker.io/library/trigger:latest" => {
                let triggers = json!(["RUN first", "COPY --from=bb /x /y"]);
                config["config"]["OnBuild"] = triggers;
            }
            _ => return Err(WorldError::NotFound("pull access denied".to_owned())),
        }
        config["architecture"] = match source.reference.contains("foreign") {
            true => json!("s390x"),
            false => json!(platform.architecture),
        };
        Ok(ResolvedImage {
            reference: source.reference.clone(),
            digest: None,
            id: graph::digest_of(&config),
            config: serde_json::to_vec(&config).unwrap(),
            content: None,
            keep: None,
        })
    }

    fn source_key(&self, _: &Source, _: &Platform, _: &Job<'_>) -> WorldResult<SourceKey> {
        Ok(SourceKey::default())
    }

    fn fetch(
        &self,
        _: &Source,
        _: Option<&str>,
        _: &Platform,
        _: &Job<'_>,
    ) -> WorldResult<Fetched> {
        Err(WorldError::other("nothing is fetched"))
    }

    fn perform(&self, _: &Vertex, _: &[Tree], _: &Job<'_>) -> WorldResult<Vec<Tree>> {
        Err(WorldError::other("nothing is done"))
    }

    fn content(&self, _: &Tree, _: &Selection, _: &Job<'_>) -> WorldResult<Digest> {
        Err(WorldError::other("nothing is looked at"))
    }

    fn read_file(&self, _: &Tree, _: &str, _: u64) -> WorldResult<Option<Vec<u8>>> {
        Ok(None)
    }

    fn has(&self, _: &[Piece]) -> bool {
        false
    }

    fn discard(&self, _: &str) {}

    fn size(&self, _: &str) -> u64 {
        0
    }
}

#[derive(Default)]
struct Seen(Mutex<Vec<Event>>);

impl Watch for Seen {
    fn tell(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

struct Tried {
    plan: Result<Plan, Box<PlanError>>,
    warnings: Vec<String>,
    asked: Vec<String>,
}

fn plan_with(dockerfile: &str, attributes: &[(&str, &str)], ignore: &str) -> Tried {
    let dir = tempfile::tempdir().unwrap();
    fs_err::write(dir.path().join("Dockerfile"), dockerfile).unwrap();
    fs_err::create_dir(dir.path().join("d")).unwrap();
    if !ignore.is_empty() {
        fs_err::write(dir.path().join(".dockerignore"), ignore).unwrap();
    }
    let seen = Arc::new(Seen::default());
    let context = Context {
        client: Arc::new(Files(dir)),
        watch: Arc::clone(&seen) as Arc<dyn Watch>,
        cancel: Cancel::new(),
        platform: host_platform(),
        sources: KnownSources::default(),
    };
    let attributes = attributes
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let request = Request {
        attributes: attributes.collect(),
        ..Request::default()
    };
    let images = Arc::new(Images::default());
    let kept = tempfile::tempdir().unwrap();
    let database = hull_image::Database::open(kept.path().join("db")).unwrap();
    let cache = crate::cache::Cache::open(Arc::new(database), "boot").unwrap();
    let solver = Solver::new(Arc::<Images>::clone(&images), cache);
    let plan = plan(&request, &solver, &context);
    let seen = seen.0.lock().unwrap();
    let warning = |event: &Event| match event {
        Event::Warning(warning) => Some(warning.short.clone()),
        _ => None,
    };
    Tried {
        plan,
        warnings: seen.iter().filter_map(warning).collect(),
        asked: images.0.lock().unwrap().clone(),
    }
}

fn planned(dockerfile: &str, attributes: &[(&str, &str)]) -> Plan {
    let tried = plan_with(dockerfile, attributes, "");
    tried.plan.map_err(|error| error.text).unwrap()
}

fn refused(dockerfile: &str, attributes: &[(&str, &str)]) -> String {
    plan_with(dockerfile, attributes, "").plan.unwrap_err().text
}

fn warned(dockerfile: &str) -> Vec<String> {
    let checks = [("build-arg:BUILDKIT_DOCKERFILE_CHECK", "experimental=all")];
    plan_with(dockerfile, &checks, "left*\n").warnings
}

fn names(plan: &Plan) -> Vec<&str> {
    plan.graph
        .vertices()
        .iter()
        .map(|vertex| vertex.metadata.name.as_str())
        .collect()
}

fn config(plan: &Plan) -> Value {
    serde_json::from_slice(&plan.images[0].config).unwrap()
}

fn execs(plan: &Plan) -> Vec<&graph::Exec> {
    plan.graph
        .vertices()
        .iter()
        .filter_map(|vertex| match &vertex.op {
            Op::Exec(exec) => Some(exec.as_ref()),
            _ => None,
        })
        .collect()
}

#[test]
fn config_history_and_names_are_buildkits() {
    let given = [("build-arg:VERSION", "2.0"), ("label:l", "m")];
    let tried = plan_with(include_str!("recorded/everything.dockerfile"), &given, "");
    let plan = tried.plan.map_err(|error| error.text).unwrap();
    let mut expected: Value =
        serde_json::from_str(include_str!("recorded/everything.json")).unwrap();
    let mut made = config(&plan);
    let host = host_platform().architecture;
    expected["architecture"] = json!(host);
    let lists = (expected["history"].take(), made["history"].take());
    let (expected_list, made_list) = (lists.0.as_array().unwrap(), lists.1.as_array().unwrap());
    for (expected, made) in expected_list.iter().zip(made_list) {
        assert_eq!(made, expected);
    }
    assert_eq!(made_list.len(), expected_list.len());
    assert_eq!(made, expected);
    assert_eq!(
        names(&plan),
        [
            "[base 1/4] FROM docker.io/library/bb:latest",
            "[base 2/4] WORKDIR /srv",
            "[base 3/4] WORKDIR sub/../app",
            "[base 4/4] RUN echo \"1\" 2.0 > /srv/out",
            "[second 1/7] ONBUILD RUN echo onbuild",
            "[internal] load build context",
            "[second 2/7] COPY --chown=1:2 --chmod=0644 a.txt d ./",
            "[second 3/7] COPY --from=base /srv/out /out",
            "[second 4/7] ADD --link a.txt /linked/",
            "[second 4/7] LINK ADD --link a.txt /linked/",
            "[internal] preparing inline document",
            "[internal] preparing inline document",
            "[second 5/7] COPY <<EOF <<-RAW /files/",
            "[second 6/7] RUN <<EOF (echo one...)",
        ]
    );
    let said = [
        "MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label (line 35)",
        "UndefinedVar: Usage of undefined variable '$A' (line 6)",
        "LegacyKeyValueFormat: \"ENV key=value\" should be used instead of legacy \"ENV key value\" format (line 7)",
        "ExposeProtoCasing: Defined protocol '443/UDP' in EXPOSE instruction should be lowercase (line 13)",
    ];
    assert_eq!(tried.warnings, said);
}

#[test]
fn only_what_the_target_needs_is_planned_and_asked_for() {
    let text = "FROM bb AS a\nRUN a\nFROM missing AS b\nRUN b\nFROM a AS c\nRUN c\nFROM scratch\nCOPY --from=b /x /\n";
    let tried = plan_with(text, &[("target", "c")], "");
    let plan = tried.plan.map_err(|error| error.text).unwrap();
    assert_eq!(tried.asked.len(), 1);
    assert_eq!(
        names(&plan),
        [
            "[a 1/2] FROM docker.io/library/bb:latest",
            "[a 2/2] RUN a",
            "[c 1/1] RUN c"
        ]
    );
    let error = plan_with(text, &[], "").plan.unwrap_err();
    assert_eq!(
        error.text,
        "missing: failed to resolve source metadata for docker.io/library/missing:latest: pull access denied"
    );
    assert_eq!(error.location.unwrap().lines, [(3, 3)]);
    assert_eq!(
        refused(text, &[("target", "d")]),
        "target stage \"d\" could not be found (did you mean a?)"
    );
}

#[test]
fn the_context_brings_only_what_is_copied() {
    let local = |plan: &Plan| {
        let vertices = plan.graph.vertices().iter();
        let mut locals = vertices.filter_map(|vertex| match &vertex.op {
            Op::Source(Source::Local(local)) => Some(local.clone()),
            _ => None,
        });
        locals.next().unwrap()
    };
    let text = "FROM scratch\nCOPY a/ ./b /x/\nADD c /\n";
    let tried = plan_with(text, &[], "# x\n/no\n!no/yes\n");
    let found = local(&tried.plan.unwrap());
    assert_eq!(found.follow, ["a", "b", "c"]);
    assert_eq!(found.exclude, ["no", "!no/yes"]);
    assert_eq!(
        local(&planned("FROM scratch\nCOPY . /\n", &[])).follow,
        [""; 0]
    );
    let named = [("context:files", "local:other")];
    let found = local(&planned("FROM scratch\nCOPY --from=files y /\n", &named));
    assert_eq!(
        (found.name.as_str(), found.follow),
        ("other", vec!["y".to_owned()])
    );
}

#[test]
fn mounts_of_a_step() {
    let text = "FROM bb AS a\nFROM bb\nWORKDIR /w\nENV N=cc\nRUN --mount=type=cache,target=/$N,uid=5 \
        --mount=target=src,rw --mount=from=a,source=/etc,target=/e --mount=type=tmpfs,target=/t,size=1k \
        --mount=type=secret,id=s,env=S --mount=type=secret,id=f,required --mount=type=ssh --network=none x\n";
    let given = [
        ("shm-size", "4096"),
        ("build-arg:HTTP_PROXY", "p"),
        ("add-hosts", "h=1.2.3.4"),
    ];
    let plan = planned(text, &given);
    let execs = execs(&plan);
    let exec = execs[0];
    assert_eq!(exec.network, graph::NetworkMode::None);
    assert_eq!(exec.cwd, "/w");
    assert_eq!(exec.proxy.as_ref().unwrap().http, "p");
    assert_eq!(exec.extra_hosts[0].0, "h");
    assert!(
        exec.env
            .contains(&"SSH_AUTH_SOCK=/run/buildkit/ssh_agent.0".to_owned())
    );
    assert_eq!(exec.secret_env[0].name, "S");
    let mounts: Vec<_> = exec
        .mounts
        .iter()
        .map(|m| (m.dest.as_str(), m.selector.as_str(), m.readonly))
        .collect();
    let expected = [
        ("/", "", false),
        ("/cc", "/cache", false),
        ("/w/src", "", false),
        ("/e", "/etc", true),
        ("/t", "", false),
        ("/run/secrets/f", "", false),
        ("/run/buildkit/ssh_agent.0", "", false),
        ("/dev/shm", "", false),
    ];
    assert_eq!(mounts, expected);
    assert!(matches!(&exec.mounts[1].kind, MountKind::Cache { id, .. } if id == "//cc"));
    assert!(matches!(
        &exec.mounts[4].kind,
        MountKind::Tmpfs { size: 1024 }
    ));
}

#[test]
fn triggers_of_the_base_come_first_and_may_need_stages() {
    let plan = planned("FROM trigger\nRUN own\n", &[]);
    let expected = [
        "[stage-0 1/2] FROM docker.io/library/trigger:latest",
        "FROM docker.io/library/bb:latest",
        "[stage-0 2/4] ONBUILD RUN first",
        "[stage-0 3/4] ONBUILD COPY --from=bb /x /y",
        "[stage-0 4/4] RUN own",
    ];
    let expected = expected.map(|name| name.replace("stage-0 ", ""));
    let (mut found, mut wanted) = (
        names(&plan),
        expected.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    found.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(found, wanted);
    assert!(config(&plan)["config"].get("OnBuild").is_none());
}

#[test]
fn platforms_have_their_own_images_and_variables() {
    let text = "FROM --platform=$BUILDPLATFORM bb AS b\nARG TARGETARCH\nRUN make $TARGETARCH\nFROM bb\nCOPY --from=b /o /\n";
    let plan = planned(text, &[("platform", "linux/arm64,linux/s390x")]);
    let platforms: Vec<_> = plan
        .images
        .iter()
        .map(|image| image.platform.to_string())
        .collect();
    assert_eq!(platforms, ["linux/arm64", "linux/s390x"]);
    assert_eq!(config(&plan)["architecture"], "arm64");
    let shown = names(&plan);
    let host = host_platform();
    assert!(
        shown.contains(&format!("[{host}->arm64 b 2/2] RUN make arm64").as_str()),
        "{shown:?}"
    );
    assert!(
        shown.contains(&"[linux/s390x stage-1 1/2] FROM docker.io/library/bb:latest"),
        "{shown:?}"
    );
    // The stage that builds begins with one image for both.
    let first = format!("[{host} b 1/2] FROM docker.io/library/bb:latest");
    assert_eq!(
        shown.iter().filter(|name| **name == first).count(),
        1,
        "{shown:?}"
    );
}

/// A Dockerfile, and what is said of it.
const MISTAKES: &[(&str, &str)] = &[
    ("", "the Dockerfile cannot be empty"),
    ("ARG a\n", "dockerfile contains no stages to build"),
    ("ARG a\nFROM $a\n", "base name ($a) should not be blank"),
    (
        "FROM --platform=$X bb\n",
        "empty platform value from expression $X",
    ),
    (
        "FROM BB\n",
        "failed to parse stage name \"BB\": invalid reference format: repository name (library/BB) must be lowercase",
    ),
    (
        "FROM bb\nCOPY --from=$x a b\n",
        "variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope as a workaround",
    ),
    ("FROM bb\nCOPY --from=7 a b\n", "invalid stage index 7"),
    (
        "FROM bb AS a\nCOPY --from=b x /\nFROM bb AS b\nCOPY --from=a x /\n",
        "circular dependency detected on stage: a",
    ),
    (
        "FROM bb AS a\nRUN --mount=from=a,target=/ x\n",
        "circular dependency detected on stage: a",
    ),
    (
        "FROM bb\nRUN --mount=type=bnid x\n",
        "unsupported mount type \"bnid\" (did you mean bind?)",
    ),
    (
        "FROM bb\nRUN --mount=target=/ x\n",
        "invalid mount target \"/\"",
    ),
    (
        "FROM bb\nCOPY --chmod=9 a b\n",
        "invalid chmod parameter: '9'. it should be octal string and between 0 and 07777",
    ),
    ("FROM bb\nCOPY --chmod=u+q a b\n", "invalid syntax"),
    (
        "FROM bb\nCOPY http://h/x b\n",
        "source can't be a URL for COPY",
    ),
    (
        "FROM bb\nCOPY https://h/x.git b\n",
        "source can't be a git ref for COPY",
    ),
    (
        "FROM bb\nADD --checksum=x a b\n",
        "checksum requires HTTP(S) or Git sources",
    ),
    (
        "FROM bb\nENV a=${b?no}\n",
        "failed to process \"${b?no}\": b: no",
    ),
    ("FROM bb\nSTOPSIGNAL x\n", "invalid signal: x"),
    ("FROM bb\nEXPOSE x\n", "invalid containerPort: x"),
    (
        "# syntax=example.com/other\nFROM bb\n",
        "frontend \"example.com/other\" is not supported: Dockerfiles are read by Hull itself, as docker/dockerfile:1 reads them",
    ),
];

#[test]
fn mistakes_are_told_in_buildkits_words() {
    for (text, said) in MISTAKES {
        assert_eq!(refused(text, &[]), *said, "{text:?}");
    }
    planned("# syntax=docker/dockerfile:1.7-labs\nFROM bb\n", &[]);
    let missing = refused("FROM bb\n", &[("filename", "other")]);
    assert_eq!(
        missing,
        "failed to read dockerfile: open other: no such file or directory"
    );
    let remote = refused("FROM bb\n", &[("context", "https://h/a.git")]);
    assert!(
        remote.starts_with("failed to read dockerfile: a source without"),
        "{remote}"
    );
}

/// A Dockerfile, and what it is warned of.
const BREACHES: &[(&str, &str)] = &[
    (
        "FROM bb AS context\n",
        "ReservedStageName: Stage name should not use the same name as reserved stage \"context\" (line 1)",
    ),
    (
        "FROM bb AS a\nFROM bb AS a\n",
        "DuplicateStageName: Duplicate stage name \"a\", stage names should be unique (line 2)",
    ),
    (
        "FROM bb\nrun x\nRUN y\n",
        "ConsistentInstructionCasing: Command 'run' should match the case of the command majority (uppercase) (line 2)",
    ),
    (
        "FROM bb\nCMD x\n",
        "JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals (line 2)",
    ),
    (
        "ARG bse=bb\nFROM ${bes:-bb}\n",
        "UndefinedArgInFrom: FROM argument 'bes' is not declared (did you mean bse?) (line 2)",
    ),
    (
        "FROM bb\nWORKDIR x\n",
        "WorkdirRelativePath: Relative workdir \"x\" can have unexpected results if the base image changes (line 2)",
    ),
    (
        "FROM bb\nENV PAHT=$PAHT\n",
        "UndefinedVar: Usage of undefined variable '$PAHT' (did you mean $PATH?) (line 2)",
    ),
    (
        "FROM bb\nCMD [\"a\"]\nCMD [\"b\"]\n",
        "MultipleInstructionsDisallowed: Multiple CMD instructions should not be used in the same stage because only the last one will be used (line 2)",
    ),
    (
        "FROM bb\nLABEL a b\n",
        "LegacyKeyValueFormat: \"LABEL key=value\" should be used instead of legacy \"LABEL key value\" format (line 2)",
    ),
    (
        "FROM --platform=$TARGETPLATFORM bb\n",
        "RedundantTargetPlatform: Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior (line 1)",
    ),
    (
        "FROM bb\nARG GITHUB_TOKEN\n",
        "SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ARG \"GITHUB_TOKEN\") (line 2)",
    ),
    ("ARG base\nFROM ${base:-}bb$base\n", ""),
    (
        "FROM --platform=linux/s390x bb\n",
        "FromPlatformFlagConstDisallowed: FROM --platform flag should not use constant value \"linux/s390x\" (line 1)",
    ),
    ("FROM --platform=linux/s390x bb AS for-s390x\n", ""),
    (
        "FROM bb\nCOPY left.txt /\n",
        "CopyIgnoredFile: Attempting to Copy file \"left.txt\" that is excluded by .dockerignore (line 2)",
    ),
    (
        "# x does\nFROM bb AS y\n",
        "InvalidDefinitionDescription: Comment for FROM should follow the format: `# y <description>` (line 2)",
    ),
    (
        "FROM bb\nEXPOSE 80/TCP\n",
        "ExposeProtoCasing: Defined protocol '80/TCP' in EXPOSE instruction should be lowercase (line 2)",
    ),
    (
        "FROM bb\nEXPOSE 1:80\n",
        "ExposeInvalidFormat: EXPOSE instruction should not define an IP address or host-port mapping, found '1:80' (line 2)",
    ),
    ("FROM bb\nENV PUBLIC_KEY=x keyboard=y\n", ""),
];

#[test]
fn every_rule_that_needs_values_is_checked() {
    for (text, said) in BREACHES {
        let expected: Vec<&str> = Some(*said)
            .into_iter()
            .filter(|said| !said.is_empty())
            .collect();
        assert_eq!(warned(text), expected, "{text:?}");
    }
    let tried = plan_with(
        "ARG base\nFROM bb$base\nFROM $base\n",
        &[("build-arg:base", "bb")],
        "",
    );
    let default = "InvalidDefaultArgInFrom: Default value for ARG $base results in empty or invalid base image name (line 3)";
    assert_eq!(tried.warnings, [default]);
    let platform = &[("platform", "linux/amd64")];
    let tried = plan_with("FROM foreign\n", platform, "");
    let foreign = "InvalidBaseImagePlatform: Base image foreign was pulled with platform \"linux/s390x\", expected \"linux/amd64\" for current build (line 1)";
    assert_eq!(tried.warnings, [foreign]);
    let text = "# check=error=true\nFROM bb\nCMD x\n";
    assert_eq!(
        refused(text, &[]),
        "lint violation found for rules: JSONArgsRecommended"
    );
    planned(
        "# check=error=true;skip=JSONArgsRecommended\nFROM bb\nCMD x\n",
        &[],
    );
}

#[test]
fn calls_are_answered_instead_of_a_build() {
    let text = "# v the version\nARG v=1\n# app all of it\nFROM bb AS app\nARG v\nARG x\nRUN --mount=type=secret,id=s,required y\nCMD z\n";
    let answer = |call, name: &str| {
        let plan = planned(text, &[("requestid", call)]);
        String::from_utf8(plan.answers[name].clone()).unwrap()
    };
    let outline = answer("frontend.outline", "result.txt");
    assert_eq!(
        outline,
        "TARGET:      app\nDESCRIPTION: all of it\n\nBUILD ARG   VALUE   DESCRIPTION\nv           1       the version\nx                   \n\nSECRET   REQUIRED\ns        true\n\n"
    );
    let document: Value = serde_json::from_str(&answer("frontend.outline", "result.json")).unwrap();
    assert_eq!(
        document["args"][0]["location"]["ranges"][0]["start"]["line"],
        2
    );
    assert_eq!(
        answer("frontend.targets", "result.txt"),
        "TARGET        DESCRIPTION\napp (default) all of it\n"
    );
    assert_eq!(answer("frontend.lint", "result.statuscode"), "1");
    let lint: Value = serde_json::from_str(&answer("frontend.lint", "result.json")).unwrap();
    assert_eq!(lint["warnings"][0]["ruleName"], "JSONArgsRecommended");
    assert!(answer("frontend.lint", "result.txt").contains("   8 | >>> CMD z\n"));
    assert_eq!(
        refused(text, &[("requestid", "x")]),
        "unsupported request x"
    );
    let broken = planned("FROM bb\nRUNN x\n", &[("requestid", "frontend.lint")]);
    let broken: Value = serde_json::from_slice(&broken.answers["result.json"]).unwrap();
    assert_eq!(
        broken["buildError"]["location"]["ranges"][0]["start"]["line"],
        2
    );
}
