//! The client against the reference implementation of a registry, where it is installed.

#![allow(missing_docs, unreachable_pub, dead_code, reason = "tests")]
#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests"
)]

mod server;

use bytes::Bytes;
use futures_util::StreamExt as _;
use hull_registry::{Credentials, Kind};
use hull_spec::Reference;
use hull_spec::image::{Descriptor, media_type as mt};
use server::{client, descriptor};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

struct Registry {
    process: Child,
    address: String,
    _directory: tempfile::TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn start() -> Option<Registry> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yml");
    let text = format!(
        "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:0\n",
        directory.path().join("data").display()
    );
    fs_write(&file, &text);
    let mut command = Command::new("docker-registry");
    command.arg("serve").arg(&file).stdout(Stdio::null());
    let mut process = match command.stderr(Stdio::piped()).spawn() {
        Ok(process) => process,
        Err(error) => {
            eprintln!("skipped: docker-registry: {error}");
            return None;
        }
    };
    let mut log = BufReader::new(process.stderr.take().unwrap());
    let address = loop {
        let mut line = String::new();
        assert_ne!(log.read_line(&mut line).unwrap(), 0, "it does not listen");
        // time="…" level=info msg="listening on 127.0.0.1:40123" go.version=…
        if let Some((_, behind)) = line.split_once("listening on ") {
            break behind.split(['"', ',', ' ']).next().unwrap().to_owned();
        }
    };
    // The pipe must be drained for as long as the registry lives, or it blocks on its own log.
    std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
    Some(Registry {
        process,
        address,
        _directory: directory,
    })
}

#[allow(clippy::disallowed_methods, reason = "no crate for one line of a test")]
fn fs_write(path: &std::path::Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

async fn push_blob(http: &reqwest::Client, registry: &Registry, blob: &Descriptor, bytes: Bytes) {
    let begin = format!("http://{}/v2/team/app/blobs/uploads/", registry.address);
    let begun = http.post(begin).send().await.unwrap();
    let location = begun.headers()["location"].to_str().unwrap().to_owned();
    let put = format!("{location}&digest={}", blob.digest);
    let done = http.put(put).body(bytes).send().await.unwrap();
    assert_eq!(done.status(), 201);
}

#[tokio::test]
async fn what_was_pushed_comes_back() {
    let Some(registry) = start() else {
        return;
    };
    hull_registry::install_crypto_provider();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let config = Bytes::from_static(
        br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#,
    );
    let layer: Bytes = (0..500_000_u32).flat_map(u32::to_le_bytes).collect();
    let config_descriptor = descriptor(mt::DOCKER_CONFIG, &config);
    let layer_descriptor = descriptor(mt::DOCKER_LAYER_GZIP, &layer);
    push_blob(&http, &registry, &config_descriptor, config.clone()).await;
    push_blob(&http, &registry, &layer_descriptor, layer.clone()).await;
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": mt::DOCKER_MANIFEST,
        "config": config_descriptor,
        "layers": [layer_descriptor],
    })
    .to_string();
    let put = format!("http://{}/v2/team/app/manifests/1", registry.address);
    let request = http.put(put).header("content-type", mt::DOCKER_MANIFEST);
    let pushed = request.body(manifest.clone()).send().await.unwrap();
    assert_eq!(pushed.status(), 201);

    let (client, nobody) = (client(), Credentials::Anonymous);
    let app: Reference = format!("{}/team/app:1", registry.address).parse().unwrap();
    let found = client.resolve(&app, &nobody).await.unwrap();
    assert_eq!(found.bytes, manifest);
    assert_eq!(found.descriptor.media_type, mt::DOCKER_MANIFEST);
    let fetched = client
        .fetch_document(&app, &config_descriptor, &nobody)
        .await
        .unwrap();
    assert_eq!(fetched, config);
    let mut blob = client
        .fetch_blob(&app, &layer_descriptor, 1_000_000, &nobody)
        .await
        .unwrap();
    assert_eq!(blob.offset(), 1_000_000);
    let mut rest = Vec::new();
    while let Some(bytes) = blob.next().await {
        rest.extend_from_slice(&bytes.unwrap());
    }
    assert_eq!(rest, layer.slice(1_000_000..));

    let missing: Reference = format!("{}/team/app:2", registry.address).parse().unwrap();
    let error = client.resolve(&missing, &nobody).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert_eq!(
        error.to_string(),
        format!(
            "manifest for {}/team/app:2 not found: manifest unknown: manifest unknown",
            registry.address
        )
    );
}
