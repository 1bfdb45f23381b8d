//! The trust policy: what may be pulled and run.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hull_tests::client::Client;
use hull_tests::daemon::Daemon;
use hull_tests::host::{Host, reference};
use hull_tests::image::{Family, Image, Packing, busybox_layer, descriptor};
use hull_tests::registry::{self, Registry};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;

/// The owner of a key.
struct Signer(EcdsaKeyPair);

impl Signer {
    fn new() -> Self {
        let (random, kind) = (SystemRandom::new(), &ECDSA_P256_SHA256_ASN1_SIGNING);
        let document = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
        Self(EcdsaKeyPair::from_pkcs8(kind, document.as_ref(), &random).unwrap())
    }

    /// The public key as a policy's `keyData`.
    fn key(&self) -> String {
        // What a SubjectPublicKeyInfo of this curve begins with (RFC 5480).
        let head = b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";
        let body = STANDARD.encode([head, self.0.public_key().as_ref()].concat());
        STANDARD.encode(format!(
            "-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n"
        ))
    }

    /// Signs a manifest as cosign does, and leaves the signature where cosign does: under a tag, or as
    /// a referrer, of which old registries have a list under another tag.
    fn sign(&self, registry: SocketAddr, repository: &str, digest: &str, referrer: bool) {
        let payload = json!({"critical": {
            "identity": {"docker-reference": format!("{registry}/{repository}")},
            "image": {"docker-manifest-digest": digest},
            "type": "cosign container image signature",
        }, "optional": null})
        .to_string();
        let signature = self
            .0
            .sign(&SystemRandom::new(), payload.as_bytes())
            .unwrap();
        let mut layer = descriptor(
            "application/vnd.dev.cosign.simplesigning.v1+json",
            payload.as_bytes(),
        );
        layer["annotations"] =
            json!({"dev.cosignproject.cosign/signature": STANDARD.encode(signature)});
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({"schemaVersion": 2, "mediaType": kind, "layers": [layer],
            "config": descriptor("application/vnd.oci.image.config.v1+json", b"{}")})
        .to_string();
        registry::push_blob(registry, repository, payload.as_bytes());
        registry::push_blob(registry, repository, b"{}");
        let name = digest.replace(':', "-");
        let document = (kind, manifest.as_bytes());
        if !referrer {
            registry::push_manifest(registry, repository, &format!("{name}.sig"), document);
            return;
        }
        let own = hull_tests::image::digest(manifest.as_bytes());
        registry::push_manifest(registry, repository, own.as_str(), document);
        let mut entry = descriptor(kind, manifest.as_bytes());
        entry["artifactType"] = json!("application/vnd.dev.cosign.artifact.sig.v1+json");
        let kind = "application/vnd.oci.image.index.v1+json";
        let list = json!({"schemaVersion": 2, "mediaType": kind, "manifests": [entry]}).to_string();
        registry::push_manifest(registry, repository, &name, (kind, list.as_bytes()));
    }
}

fn write(path: &Path, rule: &Value, registry: &str) {
    let policy =
        json!({"default": [{"type": "reject"}], "transports": {"docker": {registry: [rule]}}});
    fs_err::write(path, policy.to_string()).unwrap();
}

fn signed_by(signer: &Signer) -> Value {
    json!({"type": "sigstoreSigned", "keyData": signer.key(), "signedIdentity": {"type": "matchRepository"}})
}

/// A registry and a daemon under a policy, for each client.
fn with_policy(test: impl Fn(Client, &Host, Registry, &mut Daemon<'_>, &Path)) {
    if reference().is_some() || !Registry::is_available() {
        return;
    }
    for client in Client::available() {
        let host = Host::start();
        let registry = Registry::start(&host);
        let directory = tempfile::tempdir().unwrap();
        let policy = directory.path().join("policy.json");
        write(
            &policy,
            &json!({"type": "insecureAcceptAnything"}),
            &registry.host(),
        );
        let mut daemon = Daemon::start(&host, &["--policy", policy.to_str().unwrap()]);
        test(client, &host, registry, &mut daemon, &policy);
    }
}

fn image(name: &str) -> Image {
    let own = hull_tests::image::Layer::new()
        .file("name", 0o644, name.as_bytes())
        .finish();
    Image::new(
        &[busybox_layer(), own],
        &json!({}),
        Packing::Gzip,
        Family::Oci,
    )
}

#[test]
fn only_signed_images_come_and_run() {
    with_policy(|client, host, registry, daemon, policy| {
        let (name, digest) = registry.push(host, ("team/app", "1"), &image("one"));
        let (other, _) = registry.push(host, ("team/other", "1"), &image("two"));
        let signer = Signer::new();
        let run =
            |daemon: &Daemon<'_>, name: &str| client.run(daemon, &["run", "--rm", name, "true"]);
        let pull = |daemon: &Daemon<'_>, name: &str| client.run(daemon, &["pull", name]);
        let server = registry.host();
        // What came while everything was accepted is judged anew when it is run.
        let _ = run(daemon, &other).ok();
        write(policy, &signed_by(&signer), &server);
        let refused = run(daemon, &other);
        let rule = format!(
            "{other} is refused by \"sigstoreSigned\" of the scope \"{server}\" of the transport \"docker\": a signature was required, but no signature exists"
        );
        assert!(refused.fails(125).contains(&rule), "{refused:?}");
        // The same image by another name or its id is the same image.
        let _ = client.run(daemon, &["tag", &other, "mine"]).ok();
        assert!(run(daemon, "mine").fails(125).contains("is refused by"));
        // It is so also when nothing else is left of where it came from.
        let _ = client.run(daemon, &["rmi", &other]).ok();
        let origin = "is refused by \"sigstoreSigned\"";
        assert!(run(daemon, "mine").fails(125).contains(origin));
        daemon.kill();
        daemon.restart();
        assert!(run(daemon, "mine").fails(125).contains(origin));
        let refused = pull(daemon, &name);
        assert!(
            refused.fails(1).contains("no signature exists"),
            "{refused:?}"
        );
        assert!(!refused.stdout.contains("Pulling fs layer"), "{refused:?}");

        host.within(|| Signer::new().sign(registry.address(), "team/app", digest.as_str(), false));
        assert!(
            pull(daemon, &name)
                .fails(1)
                .contains("cryptographic signature verification failed")
        );
        host.within(|| signer.sign(registry.address(), "team/app", digest.as_str(), false));
        let _ = pull(daemon, &name).ok();
        let _ = run(daemon, &name).ok();
        // The signature was kept: neither the registry nor this daemon is needed to check it again.
        drop(registry);
        daemon.kill();
        daemon.restart();
        let _ = run(daemon, &name).ok();
        write(policy, &signed_by(&Signer::new()), &server);
        assert!(
            run(daemon, &name)
                .fails(125)
                .contains("verification failed")
        );
    });
}

#[test]
fn a_signed_index_vouches_for_its_images() {
    with_policy(|client, host, registry, daemon, policy| {
        let one = image("platform");
        let (_, digest) = registry.push(host, ("multi", "one"), &one);
        let mut child = descriptor(one.media_type(), one.manifest());
        let architecture = match std::env::consts::ARCH {
            "aarch64" => "arm64",
            _ => "amd64",
        };
        child["platform"] = json!({"os": "linux", "architecture": architecture});
        assert_eq!(child["digest"], digest.as_str());
        let kind = "application/vnd.oci.image.index.v1+json";
        let index =
            json!({"schemaVersion": 2, "mediaType": kind, "manifests": [child]}).to_string();
        let signer = Signer::new();
        host.within(|| {
            let address = registry.address();
            let digest = registry::push_manifest(address, "multi", "all", (kind, index.as_bytes()));
            signer.sign(address, "multi", digest.as_str(), true);
        });
        write(policy, &signed_by(&signer), &registry.host());
        let name = format!("{}/multi:all", registry.host());
        let _ = client.run(daemon, &["run", "--rm", &name, "true"]).ok();
        let alone = format!("{}/multi:one", registry.host());
        assert!(
            client
                .run(daemon, &["pull", &alone])
                .fails(1)
                .contains("no signature exists")
        );
    });
}

#[test]
fn a_policy_that_cannot_be_read_refuses() {
    with_policy(|client, host, registry, daemon, policy| {
        let (name, _) = registry.push(host, ("app", "1"), &image("x"));
        let pull = || client.run(daemon, &["pull", &name]);
        write(policy, &json!({"type": "reject"}), &registry.host());
        assert!(
            pull()
                .fails(1)
                .contains("is refused by \"reject\" of the scope")
        );
        write(
            policy,
            &json!({"type": "insecureAcceptAnything"}),
            "elsewhere",
        );
        assert!(pull().fails(1).contains("of the policy's default"));
        fs_err::write(policy, "{\"default\":[]}").unwrap();
        assert!(pull().fails(1).contains("must not be empty"));
        fs_err::remove_file(policy).unwrap();
        assert!(pull().fails(1).contains("cannot be used"));
        assert_eq!(client.run(daemon, &["images", "-q"]).ok(), "");
    });
}

#[test]
fn archives_come_only_where_their_transport_is_accepted() {
    with_policy(|client, host, registry, daemon, policy| {
        let (name, _) = registry.push(host, ("app", "1"), &image("x"));
        let archive = daemon.path("archive.tar").display().to_string();
        let _ = client.run(daemon, &["pull", "-q", &name]).ok();
        let _ = client.run(daemon, &["save", "-o", &archive, &name]).ok();
        let _ = client.run(daemon, &["rmi", &name]).ok();
        let load = || client.run(daemon, &["load", "-i", &archive]);
        assert!(
            load()
                .fails(1)
                .contains("refused by \"reject\" of the policy's default")
        );
        let import = client.run(daemon, &["import", &archive]);
        assert!(
            import
                .fails(1)
                .contains("this archive is refused by \"reject\""),
            "{import:?}"
        );
        assert_eq!(client.run(daemon, &["images", "-q"]).ok(), "");
        let accept = json!({"": [{"type": "insecureAcceptAnything"}]});
        let text = json!({"default": [{"type": "reject"}],
            "transports": {"docker-archive": accept, "oci-archive": accept}});
        fs_err::write(policy, text.to_string()).unwrap();
        let _ = load().ok();
        // It came from no registry that could be asked for a signature.
        let _ = client.run(daemon, &["run", "--rm", &name, "true"]).ok();
    });
}
