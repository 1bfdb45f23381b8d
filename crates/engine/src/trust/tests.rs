//! Policies, and signatures made with keys of the tests' own.

use super::evaluate::{Signature, Subject};
use super::policy::{Policy, scopes};
use crate::Reference;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hull_spec::Digest;
use proptest::prelude::*;
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

const DIGEST: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
const OTHER: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";

/// A key that signs.
enum Signer {
    Ecdsa(Box<EcdsaKeyPair>),
    Ed25519(Ed25519KeyPair),
}

impl Signer {
    fn ecdsa() -> Self {
        let random = SystemRandom::new();
        let kind = &signature::ECDSA_P256_SHA256_ASN1_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(kind, document.as_ref(), &random).unwrap();
        Self::Ecdsa(Box::new(pair))
    }

    fn ed25519() -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::Ed25519(Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap())
    }

    fn pem(&self) -> String {
        // The beginning of a SubjectPublicKeyInfo (RFC 5480, RFC 8410) up to the key's own bytes.
        let (head, key): (&[u8], &[u8]) = match self {
            Self::Ecdsa(pair) => (
                b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00",
                pair.public_key().as_ref(),
            ),
            Self::Ed25519(pair) => (
                b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00",
                pair.public_key().as_ref(),
            ),
        };
        let body = STANDARD.encode([head, key].concat());
        format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n")
    }

    fn sign(&self, payload: String) -> Signature {
        let bytes = match self {
            Self::Ecdsa(pair) => {
                let made = pair.sign(&SystemRandom::new(), payload.as_bytes());
                made.unwrap().as_ref().to_vec()
            }
            Self::Ed25519(pair) => pair.sign(payload.as_bytes()).as_ref().to_vec(),
        };
        Signature {
            payload,
            signature: STANDARD.encode(bytes),
        }
    }
}

fn payload(reference: &str, digest: &str) -> String {
    json!({
        "critical": {
            "identity": {"docker-reference": reference},
            "image": {"docker-manifest-digest": digest},
            "type": "cosign container image signature",
        },
        "optional": {"creator": "a test", "timestamp": 1},
    })
    .to_string()
}

fn policy(value: &Value) -> Policy {
    Policy::parse(value.to_string().as_bytes()).unwrap()
}

/// A policy of one requirement for everything.
fn only(requirement: Value) -> Policy {
    policy(&json!({"default": [requirement]}))
}

fn sigstore(pem: &str, identity: Option<Value>) -> Value {
    let mut rule = json!({"type": "sigstoreSigned", "keyData": STANDARD.encode(pem)});
    if let Some(identity) = identity {
        rule["signedIdentity"] = identity;
    }
    rule
}

fn check(policy: &Policy, reference: &str, signatures: &[Signature]) -> Result<(), String> {
    let reference: Reference = reference.parse().unwrap();
    let digests: [Digest; 1] = [DIGEST.parse().unwrap()];
    let subject = Subject {
        reference: &reference,
        digests: &digests,
        signatures,
    };
    policy
        .check(&subject)
        .map_err(|refusal| refusal.to_string())
}

#[test]
fn scopes_go_from_the_exact_name_to_the_domain() {
    let of = |name: &str| scopes(&name.parse().unwrap());
    assert_eq!(
        of("reg.sub.example.com:5000/team/app:v1"),
        [
            "reg.sub.example.com:5000/team/app:v1",
            "reg.sub.example.com:5000/team/app",
            "reg.sub.example.com:5000/team",
            "reg.sub.example.com:5000",
            "*.sub.example.com",
            "*.example.com",
            "*.com",
        ]
    );
    assert_eq!(
        of("busybox"),
        [
            "docker.io/library/busybox:latest",
            "docker.io/library/busybox",
            "docker.io/library",
            "docker.io",
            "*.io",
        ]
    );
    let digested = of(&format!("a.b/c:tag@{DIGEST}"));
    assert_eq!(digested[0], format!("a.b/c@{DIGEST}"));
}

#[test]
fn the_longest_scope_decides_and_is_named() {
    let accept = json!([{"type": "insecureAcceptAnything"}]);
    let reject = json!([{"type": "reject"}]);
    let policy = policy(&json!({
        "default": reject,
        "transports": {
            "docker": {
                "docker.io/library": accept,
                "docker.io/library/bad": reject,
                "docker.io/library/bad:good": accept,
                "*.example.com": accept,
                "x.example.com": reject,
            },
            "atomic": {"anything/goes": accept},
            "docker-archive": {"": accept},
        },
    }));
    for (name, allowed) in [
        ("busybox", true),
        ("bad", false),
        ("bad:good", true),
        ("team/app", false),
        ("a.example.com/app", true),
        ("a.b.example.com:5000/app", true),
        ("x.example.com/app", false),
        ("example.com/app", false),
        ("evilexample.com/app", false),
        ("localhost:5000/app", false),
    ] {
        assert_eq!(check(&policy, name, &[]).is_ok(), allowed, "{name}");
    }
    assert_eq!(
        check(&policy, "bad", &[]).unwrap_err(),
        "docker.io/library/bad:latest is refused by \"reject\" of the scope \"docker.io/library/bad\" of the transport \"docker\""
    );
    assert_eq!(
        check(&policy, "team/app:1", &[]).unwrap_err(),
        "docker.io/team/app:1 is refused by \"reject\" of the policy's default"
    );
    policy
        .check_transport("docker-archive", "an archive")
        .unwrap();
    assert!(policy.check_transport("oci-archive", "an archive").is_err());
}

#[test]
fn signatures_of_every_kind_of_key_are_verified() {
    for signer in [Signer::ecdsa(), Signer::ed25519()] {
        let policy = only(sigstore(&signer.pem(), None));
        let good = signer.sign(payload("reg.lan/app:1", DIGEST));
        check(&policy, "reg.lan/app:1", std::slice::from_ref(&good)).unwrap();
        // Of several signatures and keys one is enough.
        let stranger = Signer::ecdsa();
        let foreign = stranger.sign(payload("reg.lan/app:1", DIGEST));
        check(&policy, "reg.lan/app:1", &[foreign.clone(), good.clone()]).unwrap();
        let both = only(json!({"type": "sigstoreSigned",
            "keyDatas": [STANDARD.encode(stranger.pem()), STANDARD.encode(signer.pem())]}));
        check(&both, "reg.lan/app:1", &[good]).unwrap();
        assert!(
            check(&policy, "reg.lan/app:1", &[foreign])
                .unwrap_err()
                .ends_with("cryptographic signature verification failed")
        );
    }
}

#[test]
fn signatures_of_other_tools_are_verified() {
    let text = include_str!("testdata/payload.json");
    for (pem, made) in [
        (
            include_str!("testdata/rsa.pub"),
            include_str!("testdata/rsa.sig"),
        ),
        (
            include_str!("testdata/p384.pub"),
            include_str!("testdata/p384.sig"),
        ),
    ] {
        let signature = Signature {
            payload: text.to_owned(),
            signature: made.trim().to_owned(),
        };
        let policy = only(sigstore(pem, None));
        check(&policy, "registry.example.com/team/app:v1", &[signature]).unwrap();
    }
}

#[test]
fn what_is_signed_must_be_what_is_pulled() {
    let signer = Signer::ecdsa();
    let policy = only(sigstore(&signer.pem(), None));
    let refused =
        |signatures: &[Signature]| check(&policy, "reg.lan/app:1", signatures).unwrap_err();
    assert!(refused(&[]).ends_with("a signature was required, but no signature exists"));
    let image = signer.sign(payload("reg.lan/app:1", OTHER));
    assert!(refused(std::slice::from_ref(&image)).contains("is for another image"));
    let name = signer.sign(payload("reg.lan/app:2", DIGEST));
    assert!(
        refused(std::slice::from_ref(&name)).contains("signature for identity \"reg.lan/app:2\"")
    );
    assert!(refused(&[image, name]).contains("none of the signatures were accepted"));
    let mut altered = signer.sign(payload("reg.lan/app:1", OTHER));
    altered.payload = payload("reg.lan/app:1", DIGEST);
    assert!(refused(&[altered]).contains("verification failed"));
    for bad in [
        json!({"critical": {}, "optional": null}),
        json!({"critical": {"type": "atomic container signature", "identity": {"docker-reference": "reg.lan/app:1"},
            "image": {"docker-manifest-digest": DIGEST}}}),
        json!({"critical": {"type": "cosign container image signature", "identity": {"docker-reference": "reg.lan/app:1"},
            "image": {"docker-manifest-digest": DIGEST}, "more": 1}}),
    ] {
        let signature = signer.sign(bad.to_string());
        assert!(
            refused(&[signature]).contains("a signature's payload"),
            "{bad}"
        );
    }
}

#[test]
fn identities_are_matched_as_by_skopeo() {
    let by_digest = format!("reg.lan/app@{DIGEST}");
    let exact = json!({"type": "matchExact"});
    let repository = json!({"type": "matchRepository"});
    let default = json!({"type": "matchRepoDigestOrExact"});
    let reference = json!({"type": "exactReference", "dockerReference": "reg.lan/golden:9"});
    let golden = json!({"type": "exactRepository", "dockerRepository": "reg.lan/golden"});
    let remap =
        json!({"type": "remapIdentity", "prefix": "mirror.lan/up", "signedPrefix": "reg.lan"});
    let table: &[(&Value, &str, &str, bool)] = &[
        (&exact, "reg.lan/app:1", "reg.lan/app:1", true),
        (&exact, "reg.lan/app:1", "reg.lan/app", false),
        (&exact, &by_digest, "reg.lan/app:1", false),
        (&exact, &by_digest, &by_digest, true),
        (&default, "reg.lan/app:1", "reg.lan/app:1", true),
        (&default, "reg.lan/app:1", "reg.lan/app:2", false),
        (&default, &by_digest, "reg.lan/app:2", true),
        (&default, &by_digest, "reg.lan/app", false),
        (&default, &by_digest, "reg.lan/other:1", false),
        (&repository, "reg.lan/app:1", "reg.lan/app", true),
        (&repository, "reg.lan/app:1", "reg.lan/app:2", true),
        (&repository, "reg.lan/app:1", "reg.lan/application:1", false),
        (
            &repository,
            "busybox:1",
            "index.docker.io/library/busybox",
            true,
        ),
        (&reference, "reg.lan/app:1", "reg.lan/golden:9", true),
        (&reference, "reg.lan/app:1", "reg.lan/app:1", false),
        (&golden, "reg.lan/app:1", "reg.lan/golden", true),
        (&golden, "reg.lan/app:1", "reg.lan/app:1", false),
        (&remap, "mirror.lan/up/app:1", "reg.lan/app:1", true),
        (&remap, "mirror.lan/up/app:1", "mirror.lan/up/app:1", false),
        (
            &remap,
            "mirror.lan/upper/app:1",
            "mirror.lan/upper/app:1",
            true,
        ),
        (&remap, "reg.lan/app:1", "reg.lan/app:1", true),
        (&exact, "reg.lan/app:1", "no reference!", false),
    ];
    let signer = Signer::ed25519();
    for (identity, image, signed, accepted) in table {
        let policy = only(sigstore(&signer.pem(), Some((*identity).clone())));
        let signature = signer.sign(payload(signed, DIGEST));
        assert_eq!(
            check(&policy, image, &[signature]).is_ok(),
            *accepted,
            "{identity}: {image} signed as {signed}"
        );
    }
}

#[test]
fn what_cannot_be_checked_is_refused() {
    let key = STANDARD.encode(Signer::ed25519().pem());
    for (rule, why) in [
        (
            json!({"type": "signedBy", "keyType": "GPGKeys", "keyData": "AA=="}),
            "GPG",
        ),
        (
            json!({"type": "sigstoreSigned", "keyData": key, "rekorPublicKeyPath": "/k"}),
            "Rekor",
        ),
        (
            json!({"type": "sigstoreSigned", "fulcio": {"caPath": "/ca"}}),
            "fulcio",
        ),
        (
            json!({"type": "sigstoreSigned", "keyPath": "/nonexistent/key"}),
            "/nonexistent/key",
        ),
        (
            json!({"type": "sigstoreSigned", "keyData": "AA=="}),
            "no \"PUBLIC KEY\"",
        ),
        (
            json!({"type": "signedBaseLayer", "baseLayerIdentity": {"type": "matchExact"}}),
            "base layers",
        ),
    ] {
        let policy = policy(&json!({"default": [{"type": "insecureAcceptAnything"}, rule]}));
        let refused = check(&policy, "a:1", &[]).unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }
}

#[test]
fn keys_are_read_from_files() {
    let directory = tempfile::tempdir().unwrap();
    let signer = Signer::ecdsa();
    let path = directory.path().join("key.pub");
    fs_err::write(&path, signer.pem()).unwrap();
    let good = signer.sign(payload("reg.lan/app:1", DIGEST));
    for rule in [
        json!({"type": "sigstoreSigned", "keyPath": path}),
        json!({"type": "sigstoreSigned", "keyPaths": [path]}),
    ] {
        check(
            &only(rule.clone()),
            "reg.lan/app:1",
            std::slice::from_ref(&good),
        )
        .unwrap();
    }
    fs_err::write(&path, signer.pem().repeat(2)).unwrap();
    let rule = only(json!({"type": "sigstoreSigned", "keyPath": path}));
    assert!(
        check(&rule, "reg.lan/app:1", &[good])
            .unwrap_err()
            .contains("more than one key")
    );
}

/// What is wrong with a policy, and how that is said.
const MISTAKES: &[(&str, &str)] = &[
    ("", "invalid JSON"),
    ("[]", "expected an object"),
    ("{}", "\"default\" is missing"),
    (r#"{"default":[]}"#, "must not be empty"),
    (r#"{"default":{}}"#, "expected a list"),
    (r#"{"default":[{}]}"#, "\"type\" is missing"),
    (
        r#"{"default":[{"type":"rejct"}]}"#,
        "unknown policy requirement type \"rejct\"",
    ),
    (
        r#"{"default":[{"type":"reject","x":1}]}"#,
        "default: reject: unknown key \"x\"",
    ),
    (
        r#"{"default":[{"type":"reject"}],"default":[{"type":"reject"}]}"#,
        "duplicate key",
    ),
    (
        r#"{"default":[{"type":"reject","type":"reject"}]}"#,
        "duplicate key",
    ),
    (
        r#"{"default":[{"type":"reject"}],"Transports":{}}"#,
        "unknown key \"Transports\"",
    ),
    (r#"{"default":[{"type":"reject"}]} x"#, "trailing"),
    (
        r#"{"default":[{"type":"reject"}],"transports":{"docker":{"a":[]}}}"#,
        "transports: docker: \"a\"",
    ),
    (
        r#"{"default":[{"type":"reject"}],"transports":{"docker":{"*example.com":[{"type":"reject"}]}}}"#,
        "`*`",
    ),
    (
        r#"{"default":[{"type":"reject"}],"transports":{"docker-archive":{"/x":[{"type":"reject"}]}}}"#,
        "no scopes",
    ),
    (
        r#"{"default":[{"type":"reject"}],"transports":{"oci":{"x":[{"type":"reject"}]}}}"#,
        "absolute",
    ),
    (
        r#"{"default":[{"type":"sigstoreSigned"}]}"#,
        "exactly one of",
    ),
    (
        r#"{"default":[{"type":"sigstoreSigned","keyPath":"/a","keyData":"AA=="}]}"#,
        "exactly one of",
    ),
    (
        r#"{"default":[{"type":"sigstoreSigned","keyPaths":[]}]}"#,
        "empty",
    ),
    (
        r#"{"default":[{"type":"sigstoreSigned","keyData":"!"}]}"#,
        "base64",
    ),
    (
        r#"{"default":[{"type":"sigstoreSigned","keyPath":1}]}"#,
        "expected a string",
    ),
    (
        r#"{"default":[{"type":"sigstoreSigned","keyPath":"/a","signedIdentity":{"type":"x"}}]}"#,
        "match type",
    ),
    (
        r#"{"default":[{"type":"sigstoreSigned","keyPath":"/a","signedIdentity":{"type":"exactReference","dockerReference":"a"}}]}"#,
        "neither a tag nor digest",
    ),
    (
        r#"{"default":[{"type":"signedBy","keyType":"x","keyPath":"/a"}]}"#,
        "keyType",
    ),
    (
        r#"{"default":[{"type":"signedBy","keyType":"GPGKeys"}]}"#,
        "exactly one of",
    ),
];

#[test]
fn policies_with_mistakes_are_refused() {
    for (text, why) in MISTAKES {
        let error = Policy::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(why), "{text}: {error}");
    }
    let depth = 10_000;
    let deep = format!(
        r#"{{"default":{}{}}}"#,
        "[".repeat(depth),
        "]".repeat(depth)
    );
    assert!(Policy::parse(deep.as_bytes()).is_err());
}

fn any_json() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        Just("default"),
        Just("transports"),
        Just("docker"),
        Just("type"),
        Just("reject"),
        Just("insecureAcceptAnything"),
        Just("sigstoreSigned"),
        Just("keyData"),
        Just("keyPaths"),
        Just("signedIdentity"),
        Just("remapIdentity"),
        Just("prefix"),
        Just("a.b/c"),
        Just(""),
    ];
    let leaf = prop_oneof![
        word.clone().prop_map(|word| json!(word)),
        Just(Value::Null),
        any::<i64>().prop_map(|number| json!(number)),
        any::<bool>().prop_map(|truth| json!(truth)),
    ];
    leaf.prop_recursive(6, 64, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((word.clone(), inner), 0..4).prop_map(|members| {
                members
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value))
                    .collect()
            }),
        ]
    })
}

proptest! {
    /// Anything is read or refused; what is read decides about every image.
    #[test]
    fn any_document_is_read_or_refused(document in any_json(), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Policy::parse(&bytes);
        for document in [document.clone(), json!({"default": [{"type": "reject"}], "transports": document})] {
            if let Ok(policy) = Policy::parse(document.to_string().as_bytes()) {
                let _ = check(&policy, "a.b/c:1", &[]);
            }
        }
    }

    /// A scope is a prefix of the name at a boundary, or a wildcard of its host, and none comes twice.
    #[test]
    fn scopes_are_boundaries(name in "[a-z]{1,4}(\\.[a-z]{1,3}){0,3}(:[0-9]{1,4})?(/[a-z0-9]{1,5}){1,4}:[a-z]{1,4}") {
        let Ok(reference) = name.parse::<Reference>() else { return Ok(()) };
        let whole = reference.to_string();
        let scopes = scopes(&reference);
        for (at, scope) in scopes.iter().enumerate() {
            prop_assert!(!scopes[..at].contains(scope));
            match scope.strip_prefix("*.") {
                Some(domain) => {
                    let host = reference.domain().split(':').next().unwrap();
                    let ending = format!(".{domain}");
                    prop_assert!(host.ends_with(&ending));
                }
                None => {
                    let rest = whole.strip_prefix(scope.as_str());
                    prop_assert!(rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ':'])));
                }
            }
        }
    }

    /// A signature is worth nothing after any change of a byte of it or of what it signs.
    #[test]
    fn no_changed_byte_is_accepted(at in any::<prop::sample::Index>(), bit in 0_u8..7) {
        let signer = Signer::ed25519();
        let policy = only(sigstore(&signer.pem(), Some(json!({"type": "matchRepository"}))));
        let good = signer.sign(payload("reg.lan/app:1", DIGEST));
        let mut bytes = good.payload.clone().into_bytes();
        let index = at.index(bytes.len());
        bytes[index] ^= 1 << bit;
        let changed = Signature { payload: String::from_utf8(bytes).unwrap(), ..good.clone() };
        prop_assert!(check(&policy, "reg.lan/app:1", &[changed]).is_err());
        let mut raw = STANDARD.decode(&good.signature).unwrap();
        let index = at.index(raw.len());
        raw[index] ^= 1 << bit;
        let changed = Signature { signature: STANDARD.encode(raw), ..good };
        prop_assert!(check(&policy, "reg.lan/app:1", &[changed]).is_err());
    }
}
