//! How an image was built: SLSA provenance, version 0.2 or 1, in BuildKit's words (moby/buildkit
//! `docs/attestations/slsa-definitions.md`).

use super::steps::steps;
use super::{Attestation, Mode, package_url};
use crate::frontend::shown_url;
use crate::graph::{Op, Output, Source};
use crate::plan::{Plan, PlannedImage, SourceFile};
use crate::solve::KnownSources;
use hull_spec::Platform;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

const PREDICATE: &str = "https://slsa.dev/provenance/v0.2";
const BUILD_TYPE: &str = "https://mobyproject.org/buildkit@v1";

const PREDICATE_1: &str = "https://slsa.dev/provenance/v1";
const BUILD_TYPE_1: &str =
    "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md";

/// How provenance is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// With all arguments or only those that are no secret.
    pub mode: Mode,
    /// As SLSA's version 1, and not 0.2.
    pub version_1: bool,
    /// Who built, a URI; empty: nobody says.
    pub builder: String,
    /// The client says that each build of the same makes the same bytes.
    pub reproducible: bool,
}

/// A build that is over.
#[derive(Clone, Copy, Debug)]
pub struct Built<'a> {
    /// What was done.
    pub plan: &'a Plan,
    /// Which of its images this is about.
    pub image: &'a PlannedImage,
    /// What its sources were found to be.
    pub sources: &'a KnownSources,
    /// What it is known by.
    pub id: &'a str,
}

/// What is told of a build.
#[must_use]
pub fn provenance(built: &Built<'_>, terms: &Terms) -> Attestation {
    let predicate = version_02(built, terms);
    let (predicate_type, predicate) = match terms.version_1 {
        true => (PREDICATE_1, version_1(predicate)),
        false => (PREDICATE, predicate),
    };
    Attestation {
        predicate_type: predicate_type.to_owned(),
        predicate,
    }
}

fn version_02(built: &Built<'_>, terms: &Terms) -> Value {
    let full = terms.mode == Mode::Max;
    let steps = full.then(|| steps(&built.plan.graph, built.image.output));
    let attributes = &built.plan.request.attributes;
    let (materials, locals, known) = materials(built);
    let entry = attributes.get("filename");
    let entry = entry.map_or("Dockerfile", String::as_str);
    let mut config_source = json!({"entryPoint": entry});
    if let Some(context) = remote(attributes) {
        config_source["uri"] = json!(shown_url(context));
    }
    let mut metadata = json!({
        "buildInvocationID": built.id,
        "buildStartedOn": built.plan.began.to_string(),
        "buildFinishedOn": Timestamp::now().to_string(),
        "completeness": {"parameters": full, "environment": true, "materials": known},
        "reproducible": terms.reproducible,
    });
    if full {
        let locations = steps.as_ref().map(|steps| &steps.locations);
        metadata[format!("{BUILD_TYPE}#metadata")] =
            json!({"source": {"locations": locations, "infos": infos(&built.plan.sources)}});
    }
    let mut parameters = json!({"frontend": "dockerfile.v0", "args": arguments(attributes, full)});
    if !locals.is_empty() {
        let locals: Vec<Value> = locals.iter().map(|name| json!({"name": name})).collect();
        parameters["locals"] = json!(locals);
    }
    let mut told = json!({
        "builder": {"id": terms.builder},
        "buildType": BUILD_TYPE,
        "materials": materials,
        "invocation": {
            "configSource": config_source,
            "parameters": parameters,
            "environment": {"platform": crate::frontend::host_platform().to_string()},
        },
        "metadata": metadata,
    });
    if let Some(steps) = steps {
        told["buildConfig"] = steps.config;
    }
    told
}

/// The same in the words of version 1.
fn version_1(mut told: Value) -> Value {
    let mut take = |pointer: &str| told.pointer_mut(pointer).map_or(Value::Null, Value::take);
    let mut source = json!({"path": take("/invocation/configSource/entryPoint")});
    if let uri @ Value::String(_) = take("/invocation/configSource/uri") {
        source["uri"] = uri;
    }
    let mut metadata = json!({
        "invocationID": take("/metadata/buildInvocationID"),
        "startedOn": take("/metadata/buildStartedOn"),
        "finishedOn": take("/metadata/buildFinishedOn"),
        "buildkit_completeness": {
            "request": take("/metadata/completeness/parameters"),
            "resolvedDependencies": take("/metadata/completeness/materials"),
        },
        "buildkit_reproducible": take("/metadata/reproducible"),
    });
    let own = format!("{BUILD_TYPE}#metadata");
    if let more @ Value::Object(_) = told["metadata"][own].take() {
        metadata["buildkit_metadata"] = more;
    }
    let mut take = |pointer: &str| told.pointer_mut(pointer).map_or(Value::Null, Value::take);
    let mut internal = json!({"builderPlatform": take("/invocation/environment/platform")});
    if let config @ Value::Object(_) = take("/buildConfig") {
        internal["buildConfig"] = config;
    }
    json!({
        "buildDefinition": {
            "buildType": BUILD_TYPE_1,
            "externalParameters": {
                "configSource": source,
                "request": take("/invocation/parameters"),
            },
            "internalParameters": internal,
            "resolvedDependencies": take("/materials"),
        },
        "runDetails": {"builder": {"id": take("/builder/id")}, "metadata": metadata},
    })
}

/// The context, where it is not the client's directory.
fn remote(attributes: &BTreeMap<String, String>) -> Option<&String> {
    let key = attributes
        .get("contextkey")
        .map_or("context", String::as_str);
    attributes.get(key).filter(|context| !context.is_empty())
}

/// What the frontend was asked for; values of arguments and labels only if all is told: they may be secrets.
fn arguments(attributes: &BTreeMap<String, String>, full: bool) -> Value {
    let hidden = |key: &str| {
        ["build-arg:", "label:", "vcs:"]
            .iter()
            .any(|prefix| key.starts_with(prefix))
    };
    let told = attributes.iter().filter(|(key, _)| {
        !key.starts_with("attest:")
            && !key.starts_with("local-sessionid:")
            && (full || !hidden(key))
    });
    let told = told.map(|(key, value)| (key.clone(), json!(shown_url(value))));
    Value::Object(told.collect::<Map<_, _>>())
}

/// What the image was made from, by name; the client's directories; and whether all of it is known by digest.
fn materials(built: &Built<'_>) -> (Vec<Value>, BTreeSet<String>, bool) {
    let outputs: Vec<Output> = built.image.output.into_iter().collect();
    let mut found: BTreeMap<String, Value> = BTreeMap::new();
    let mut locals = BTreeSet::from(["dockerfile".to_owned()]);
    let mut complete = true;
    for id in built.plan.graph.needed(&outputs) {
        let vertex = built.plan.graph.vertex(id);
        let Op::Source(source) = &vertex.op else {
            continue;
        };
        let content = built.sources.content(&vertex.digest);
        let platform = vertex.platform.as_ref().unwrap_or(&built.image.platform);
        if let Source::Local(local) = source {
            locals.insert(local.name.clone());
            complete = false;
            continue;
        }
        let (uri, digest) = named(source, content.as_deref(), platform);
        let mut material = json!({"uri": uri});
        match digest {
            Some((kind, digest)) => material["digest"] = json!({kind: digest}),
            None => complete = false,
        }
        found.insert(uri, material);
    }
    (found.into_values().collect(), locals, complete)
}

/// The URI of a source and its digest, as far as that is known.
fn named(
    source: &Source,
    content: Option<&str>,
    platform: &Platform,
) -> (String, Option<(&'static str, String)>) {
    match source {
        Source::Local(local) => (format!("local://{}", local.name), None),
        Source::Image(image) => match image.reference.parse::<hull_spec::Reference>() {
            Ok(name) => {
                let digest = name
                    .digest()
                    .map(|digest| ("sha256", digest.hex().to_owned()));
                (package_url(&name, Some(platform)), digest)
            }
            Err(_) => (image.reference.clone(), None),
        },
        Source::OciLayout(layout) => {
            let digest = layout.reference.rsplit_once("@sha256:");
            let digest = digest.map(|(_, hex)| ("sha256", hex.to_owned()));
            (format!("oci-layout://{}", layout.reference), digest)
        }
        Source::Git(git) => {
            let commit = content.map(|content| {
                content
                    .chars()
                    .take_while(char::is_ascii_hexdigit)
                    .collect::<String>()
            });
            let remote = shown_url(&git.remote);
            let name = match git.reference.as_str() {
                "" => remote,
                reference => format!("{remote}#{reference}"),
            };
            (name, commit.map(|commit| ("sha1", commit)))
        }
        Source::Http(http) => {
            let read = content.and_then(|text| serde_json::from_str::<Value>(text).ok());
            let digest = read.and_then(|read| {
                Some(read["digest"].as_str()?.strip_prefix("sha256:")?.to_owned())
            });
            (
                shown_url(&http.url),
                digest.map(|digest| ("sha256", digest)),
            )
        }
    }
}

fn infos(files: &[SourceFile]) -> Vec<Value> {
    use base64::Engine as _;
    let encode = |text: &[u8]| base64::engine::general_purpose::STANDARD.encode(text);
    let info = |file: &SourceFile| json!({"filename": file.name, "language": "Dockerfile", "data": encode(&file.text)});
    files.iter().map(info).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Graph, ImageSource, Metadata, ResolveMode};
    use crate::plan::Request;
    use std::sync::Arc;

    fn plan() -> Plan {
        let mut graph = Graph::new();
        let image = ImageSource {
            reference: format!("docker.io/library/bb:1@sha256:{}", "a1".repeat(32)),
            resolve: ResolveMode::Default,
            layer_limit: 0,
        };
        let output = graph
            .output(
                Op::Source(Source::Image(image)),
                Vec::new(),
                None,
                Metadata::default(),
            )
            .unwrap();
        let attributes = BTreeMap::from(
            [
                ("build-arg:TOKEN", "hush"),
                ("target", "x"),
                ("attest:sbom", ""),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned())),
        );
        Plan {
            graph: Arc::new(graph),
            images: vec![PlannedImage {
                platform: "linux/amd64".parse().unwrap(),
                output: Some(output),
                config: Vec::new(),
            }],
            request: Request {
                attributes,
                ..Request::default()
            },
            ..Plan::default()
        }
    }

    fn terms(mode: Mode) -> Terms {
        Terms {
            mode,
            ..Terms::default()
        }
    }

    fn told(terms: &Terms) -> Attestation {
        let plan = plan();
        let built = Built {
            image: &plan.images[0],
            plan: &plan,
            sources: &KnownSources::default(),
            id: "i",
        };
        provenance(&built, terms)
    }

    #[test]
    fn only_who_asks_for_all_is_told_arguments() {
        let min = told(&terms(Mode::Min)).predicate;
        assert_eq!(
            min["materials"],
            json!([{"uri": "pkg:docker/bb@1?platform=linux%2Famd64", "digest": {"sha256": "a1".repeat(32)}}])
        );
        assert_eq!(
            min["invocation"]["parameters"]["args"],
            json!({"target": "x"})
        );
        assert_eq!(min["metadata"]["completeness"]["materials"], json!(true));
        assert!(min["buildConfig"].is_null());
        let max = told(&terms(Mode::Max)).predicate;
        assert_eq!(max["buildConfig"]["llbDefinition"][0]["id"], "step0");
        assert_eq!(
            max["invocation"]["parameters"]["args"]["build-arg:TOKEN"],
            "hush"
        );
    }

    #[test]
    fn version_1_tells_the_same() {
        let max = told(&terms(Mode::Max)).predicate;
        let newer = Terms {
            version_1: true,
            builder: "https://ci".to_owned(),
            ..terms(Mode::Max)
        };
        let newer = told(&newer);
        assert_eq!(newer.predicate_type, PREDICATE_1);
        let newer = newer.predicate;
        let definition = &newer["buildDefinition"];
        assert_eq!(definition["resolvedDependencies"], max["materials"]);
        let internal = &definition["internalParameters"];
        assert_eq!(internal["buildConfig"], max["buildConfig"]);
        assert_eq!(
            internal["builderPlatform"],
            max["invocation"]["environment"]["platform"]
        );
        let request = &definition["externalParameters"]["request"];
        assert_eq!(*request, max["invocation"]["parameters"]);
        assert_eq!(newer["runDetails"]["builder"]["id"], "https://ci");
        let metadata = &newer["runDetails"]["metadata"];
        assert_eq!(metadata["invocationID"], "i");
        assert_eq!(
            metadata["buildkit_completeness"],
            json!({"request": true, "resolvedDependencies": true})
        );
        assert!(metadata["buildkit_metadata"]["source"]["infos"].is_array());
    }
}
