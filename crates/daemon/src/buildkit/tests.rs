use super::filesync::tests::Client;
use super::session::Channel;
use super::*;
use bollard_buildkit_proto::moby::buildkit::v1 as proto;
use bollard_buildkit_proto::moby::buildkit::v1::frontend as gateway;
use bollard_buildkit_proto::moby::filesync::v1::file_sync_server::FileSyncServer;
use gateway::llb_bridge_client::LlbBridgeClient;
use http::{HeaderMap, HeaderValue};
use proto::control_client::ControlClient;
use std::collections::HashMap;
use std::path::PathBuf;
use tonic::{Code, Request, Status};

/// A builder, and a client of it with a directory.
struct Pair {
    dir: tempfile::TempDir,
    buildkit: BuildKit,
    engine: Arc<Engine>,
    channel: Channel,
}

impl Pair {
    /// `None` where images cannot be built.
    async fn new(dockerfile: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root builds images here");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let context = dir.path().join("context");
        fs_err::create_dir(&context).unwrap();
        fs_err::write(context.join("Dockerfile"), dockerfile).unwrap();
        fs_err::write(context.join("file"), "from the client").unwrap();
        let app = crate::app::for_tests(&[], dir.path());
        let engine = Arc::clone(&app.engine);
        let buildkit = BuildKit::default();
        engine.set_build_sources(buildkit.sources(engine.data_root()));
        let (near, far) = tokio::io::duplex(64 << 10);
        let (serving, served) = (buildkit.clone(), Arc::clone(&engine));
        tokio::spawn(async move { serving.serve_calls(served, near).await });
        let (channel, connection) = Channel::open(far).await.unwrap();
        tokio::spawn(connection);
        let pair = Self {
            dir,
            buildkit,
            engine,
            channel,
        };
        pair.open_session(context).await;
        Some(pair)
    }

    async fn open_session(&self, root: PathBuf) {
        let mut headers = HeaderMap::new();
        let text = HeaderValue::from_static;
        headers.insert("x-docker-expose-session-uuid", text("client"));
        headers.insert("x-docker-expose-session-sharedkey", text("directory"));
        let method = text(filesync::DIFF_COPY);
        headers.append("x-docker-expose-session-grpc-method", method);
        let introduction = Introduction::read(&headers).unwrap();
        let (near, far) = tokio::io::duplex(64 << 10);
        let client = Client::of(root);
        let services = Routes::new(FileSyncServer::new(client));
        tokio::spawn(grpc::serve(far, services));
        let buildkit = self.buildkit.clone();
        tokio::spawn(async move { buildkit.serve_session(introduction, near).await });
    }

    fn control(&self) -> ControlClient<Channel> {
        ControlClient::with_origin(self.channel.clone(), Channel::origin())
    }

    fn request(name: &str, frontend: &str, exporter: &str) -> proto::SolveRequest {
        let image = HashMap::from([("name".to_owned(), "docker.io/library/made:1".to_owned())]);
        let exporter = proto::Exporter {
            r#type: exporter.to_owned(),
            attrs: image,
        };
        proto::SolveRequest {
            r#ref: name.to_owned(),
            session: "client".to_owned(),
            frontend: frontend.to_owned(),
            frontend_attrs: attributes(),
            exporters: vec![exporter],
            ..proto::SolveRequest::default()
        }
    }

    async fn told(&self, name: &str) -> Result<proto::StatusResponse, Status> {
        let request = proto::StatusRequest {
            r#ref: name.to_owned(),
        };
        let mut answers = self.control().status(request).await?.into_inner();
        let mut all = proto::StatusResponse::default();
        while let Some(some) = answers.message().await? {
            all.vertexes.extend(some.vertexes);
            all.statuses.extend(some.statuses);
            all.logs.extend(some.logs);
        }
        Ok(all)
    }

    async fn has_image(&self, name: &str) -> bool {
        let listed = self.engine.image_inspect(name, None).await;
        listed.is_ok()
    }
}

fn attributes() -> HashMap<String, String> {
    [("filename", "Dockerfile")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

fn of_build<T>(message: T, name: &'static str) -> Request<T> {
    let mut request = Request::new(message);
    let value = tonic::metadata::MetadataValue::from_static(name);
    request
        .metadata_mut()
        .insert("buildkit-controlapi-buildid", value);
    request
}

const COPY: &str = "FROM scratch\nCOPY file /file\n";

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_made_and_its_making_is_told() {
    let Some(pair) = Pair::new(COPY).await else {
        return;
    };
    let mut control = pair.control();
    let (solved, told) = tokio::join!(
        control.solve(Pair::request("one", "dockerfile.v0", "moby")),
        pair.told("one"),
    );
    let response = solved.unwrap().into_inner().exporter_response;
    assert!(response["containerimage.config.digest"].starts_with("sha256:"));
    assert_eq!(response["image.name"], "docker.io/library/made:1");
    assert!(pair.has_image("made:1").await);
    let told = told.unwrap();
    let done = |name: &str| {
        let mut vertices = told.vertexes.iter();
        vertices.any(|vertex| vertex.name.contains(name) && vertex.completed.is_some())
    };
    assert!(
        done("COPY file /file") && done("exporting to image"),
        "{told:?}"
    );
    let transfers = told
        .statuses
        .iter()
        .any(|status| status.id == "transferring context:");
    assert!(transfers, "{told:?}");
    let listen = proto::BuildHistoryRequest {
        early_exit: true,
        ..proto::BuildHistoryRequest::default()
    };
    let mut history = control
        .listen_build_history(listen)
        .await
        .unwrap()
        .into_inner();
    let record = history.message().await.unwrap().unwrap().record.unwrap();
    assert_eq!((record.r#ref.as_str(), record.error), ("one", None));
    let used = control
        .disk_usage(proto::DiskUsageRequest::default())
        .await
        .unwrap();
    assert!(!used.into_inner().record.is_empty());
    let prune = proto::PruneRequest::default();
    let mut pruned = control.prune(prune).await.unwrap().into_inner();
    let mut kinds = Vec::new();
    while let Some(record) = pruned.message().await.unwrap() {
        kinds.push(record.record_type);
    }
    assert!(kinds.iter().any(|kind| kind == "source.local"), "{kinds:?}");
    let filtered = proto::DiskUsageRequest {
        filter: vec!["type==regular".to_owned()],
        ..proto::DiskUsageRequest::default()
    };
    let used = control.disk_usage(filtered).await.unwrap().into_inner();
    assert!(used.record.iter().all(|one| one.record_type == "regular"));
    drop(pair.dir);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_call_the_frontend_itself() {
    let Some(pair) = Pair::new(COPY).await else {
        return;
    };
    let mut bridge = LlbBridgeClient::with_origin(pair.channel.clone(), Channel::origin());
    let mut control = pair.control();
    let client = async {
        let pong = bridge
            .ping(of_build(gateway::PingRequest {}, "two"))
            .await
            .unwrap();
        let caps = pong.into_inner().frontend_api_caps;
        assert!(caps.iter().any(|cap| cap.id == "return" && cap.enabled));
        let solve = gateway::SolveRequest {
            frontend: "dockerfile.v0".to_owned(),
            frontend_opt: attributes(),
            allow_result_return: true,
            allow_result_array_ref: true,
            evaluate: true,
            ..gateway::SolveRequest::default()
        };
        let solved = bridge
            .solve(of_build(solve, "two"))
            .await
            .unwrap()
            .into_inner();
        let result = solved.result.unwrap();
        assert!(result.metadata.contains_key("containerimage.config"));
        let returned = gateway::ReturnRequest {
            result: Some(result),
            error: None,
        };
        bridge.r#return(of_build(returned, "two")).await.unwrap();
    };
    let (solved, ()) = tokio::join!(control.solve(Pair::request("two", "", "moby")), client);
    assert!(
        solved
            .unwrap()
            .into_inner()
            .exporter_response
            .contains_key("containerimage.digest")
    );
    assert!(pair.has_image("made:1").await);
    let lost = bridge.ping(of_build(gateway::PingRequest {}, "none")).await;
    // What needs no build is answered to anybody.
    lost.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_told_with_their_lines() {
    let Some(pair) = Pair::new("FROM scratch\nCOPI file /\n").await else {
        return;
    };
    let mut control = pair.control();
    let request = Pair::request("three", "dockerfile.v0", "moby");
    let status = control.solve(request).await.unwrap_err();
    assert!(
        status.message().contains("unknown instruction: COPI"),
        "{status:?}"
    );
    assert!(!status.details().is_empty());
    for (request, text) in [
        (
            Pair::request("x", "dockerfile.v0", "nonsense"),
            "exporter \"nonsense\" could not be found",
        ),
        (
            Pair::request("x", "other.v0", "moby"),
            "unsupported frontend other.v0",
        ),
        (
            Pair::request("", "dockerfile.v0", "moby"),
            "a build needs a short name",
        ),
    ] {
        let status = control.solve(request).await.unwrap_err();
        assert!(status.message().contains(text), "{status:?}");
    }
    assert!(!pair.has_image("made:1").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_ends_with_its_client() {
    let Some(pair) = Pair::new(COPY).await else {
        return;
    };
    let mut control = pair.control();
    // It waits for what the client makes of it, which never comes.
    let solving = tokio::spawn(async move {
        let request = Pair::request("four", "", "moby");
        control.solve(request).await
    });
    let build = pair.buildkit.builds.get("four").await.unwrap();
    let second = pair
        .control()
        .solve(Pair::request("four", "", "moby"))
        .await
        .unwrap_err();
    assert_eq!(
        (second.code(), second.message()),
        (Code::Unknown, "job ID four exists")
    );
    solving.abort();
    let mut reader = build.progress.reader();
    assert_eq!(reader.next().await, None);
    assert!(build.context.cancel.is_cancelled());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_build_told_can_be_asked_for_when_it_is_over() {
    let Some(pair) = Pair::new(COPY).await else {
        return;
    };
    let mut control = pair.control();
    let failed = control.solve(Pair::request("five", "other.v0", "moby"));
    let _ = failed.await.unwrap_err();
    let mut late = pair
        .buildkit
        .builds
        .progress("five")
        .await
        .unwrap()
        .reader();
    while late.next().await.is_some() {}
}
