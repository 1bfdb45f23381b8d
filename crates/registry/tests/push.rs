//! Pushing, against a registry of the tests' own that breaks, forgets and lies on demand.

#![allow(missing_docs, unreachable_pub, dead_code, reason = "tests")]
#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests"
)]

mod server;

use bytes::Bytes;
use hull_registry::{Client, Config, Credentials, Error, Kind, Mount, Pusher, Sent, Source};
use hull_spec::image::{Descriptor, media_type as mt};
use server::{
    Reply, Seen, Server, client, config, descriptor, digest, failure, redirect, stalled, text, with,
};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a registry stores, and what is wrong with it.
#[derive(Debug, Default)]
struct Shelf {
    blobs: BTreeMap<String, Bytes>,
    manifests: BTreeMap<String, Bytes>,
    uploads: BTreeMap<usize, Vec<u8>>,
    next: usize,
    /// Where the bodies of the next uploads break.
    cuts: VecDeque<usize>,
    /// A body larger than this is refused.
    largest: Option<usize>,
    least: Option<u64>,
    /// Answers that replace the good ones: by method, in order.
    faults: VecDeque<(&'static str, u16, &'static str)>,
    /// Added to what `Range` claims.
    lie: i64,
    absolute: bool,
    referrers: bool,
}

struct Registry {
    shelf: Arc<Mutex<Shelf>>,
    server: Server,
}

impl Registry {
    async fn start(shelf: Shelf) -> Self {
        let shelf = Arc::new(Mutex::new(shelf));
        let (cutting, answering) = (shelf.clone(), shelf.clone());
        let server = Server::breaking(
            move |method, path| match method.as_str() {
                "PUT" | "PATCH" if path.contains("/uploads/") => cutting
                    .lock()
                    .unwrap()
                    .cuts
                    .pop_front()
                    .filter(|at| *at > 0),
                _ => None,
            },
            move |seen, _| answering.lock().unwrap().answer(seen),
        )
        .await;
        Self { shelf, server }
    }

    async fn pusher(&self) -> Pusher {
        self.pusher_of(&client()).await
    }

    async fn pusher_of(&self, client: &Client) -> Pusher {
        let reference = self.server.reference("team/app:1");
        client
            .pusher(&reference, &Credentials::Anonymous)
            .await
            .unwrap()
    }

    fn blob(&self, blob: &Descriptor) -> Option<Bytes> {
        let shelf = self.shelf.lock().unwrap();
        shelf.blobs.get(blob.digest.as_str()).cloned()
    }

    fn methods(&self) -> Vec<String> {
        let seen = self.server.seen();
        seen.iter().map(|seen| seen.method.to_string()).collect()
    }
}

impl Shelf {
    fn answer(&mut self, seen: &Seen) -> Reply {
        if let Some((method, status, code)) = self.faults.front().copied()
            && seen.method == method
        {
            self.faults.pop_front();
            return failure(status, code, "on purpose");
        }
        let path = seen.path.trim_start_matches("/v2/team/app/");
        if let Some(rest) = path.strip_prefix("blobs/uploads/") {
            return self.upload(seen, rest);
        }
        match path.split_once('/') {
            Some(("blobs", digest)) => match self.blobs.contains_key(digest) {
                true => text(200, ""),
                false => text(404, ""),
            },
            Some(("manifests", name)) if seen.method == "PUT" => {
                self.manifests.insert(name.to_owned(), seen.bytes.clone());
                let stored = digest(&seen.bytes).to_string();
                let reply = with(text(201, ""), "docker-content-digest", &stored);
                match self.referrers && seen.body.contains("subject") {
                    true => with(reply, "oci-subject", "sha256:00"),
                    false => reply,
                }
            }
            Some(("manifests", name)) => match self.manifests.get(name) {
                Some(bytes) => with(text(200, bytes.clone()), "content-type", mt::OCI_INDEX),
                None => failure(404, "MANIFEST_UNKNOWN", "manifest unknown"),
            },
            _ => failure(404, "UNSUPPORTED", "nothing here"),
        }
    }

    fn begun(&mut self, seen: &Seen, status: u16, id: usize) -> Reply {
        let host = seen.header("host").unwrap();
        let prefix = match self.absolute {
            true => format!("http://{host}"),
            false => String::new(),
        };
        let location = format!("{prefix}/v2/team/app/blobs/uploads/{id}?_state=x%2Fy");
        let reply = with(text(status, ""), "location", &location);
        let has = self.uploads[&id].len();
        let last = i64::try_from(has.saturating_sub(1)).unwrap() + self.lie;
        let reply = with(reply, "range", &format!("0-{last}"));
        match self.least {
            Some(least) => with(reply, "oci-chunk-min-length", &least.to_string()),
            None => reply,
        }
    }

    fn upload(&mut self, seen: &Seen, id: &str) -> Reply {
        if seen.method == "POST" {
            let mounted =
                seen.query.contains("from=other%2Fapp") || seen.query.contains("from=other/app");
            if mounted {
                return text(201, "");
            }
            self.next += 1;
            self.uploads.insert(self.next, Vec::new());
            return self.begun(seen, 202, self.next);
        }
        let id: usize = id.parse().unwrap();
        let Some(has) = self.uploads.get(&id).map(Vec::len) else {
            return failure(
                404,
                "BLOB_UPLOAD_UNKNOWN",
                "blob upload unknown to registry",
            );
        };
        if self
            .largest
            .is_some_and(|largest| seen.bytes.len() > largest)
        {
            return text(413, "too large");
        }
        match seen.method.as_str() {
            "GET" => self.begun(seen, 204, id),
            "DELETE" => {
                self.uploads.remove(&id);
                text(204, "")
            }
            "PATCH" => {
                let range = seen.header("content-range").unwrap();
                if !range.starts_with(&format!("{has}-")) {
                    return text(416, "");
                }
                self.uploads
                    .get_mut(&id)
                    .unwrap()
                    .extend_from_slice(&seen.bytes);
                self.begun(seen, 202, id)
            }
            _ => self.finish(seen, id),
        }
    }

    fn finish(&mut self, seen: &Seen, id: usize) -> Reply {
        let upload = self.uploads.get_mut(&id).unwrap();
        upload.extend_from_slice(&seen.bytes);
        let stored = digest(upload).to_string();
        if !seen
            .query
            .replace("%3A", ":")
            .contains(&format!("digest={stored}"))
        {
            return failure(
                400,
                "DIGEST_INVALID",
                "provided digest did not match uploaded content",
            );
        }
        let bytes = self.uploads.remove(&id).unwrap();
        self.blobs.insert(stored.clone(), bytes.into());
        with(text(201, ""), "docker-content-digest", &stored)
    }
}

fn sample() -> Bytes {
    (0..300_000_u32).flat_map(u32::to_le_bytes).collect()
}

async fn upload(pusher: &Pusher, bytes: &Bytes) -> Result<Descriptor, Error> {
    let blob = descriptor("application/octet-stream", bytes);
    let source: Arc<dyn Source> = Arc::new(bytes.clone());
    let sent = Arc::new(Sent::default());
    pusher.upload(&blob, &source, None, &sent).await?;
    assert_eq!(sent.bytes(), blob.size);
    Ok(blob)
}

#[tokio::test]
async fn a_blob_is_stored_with_two_requests_wherever_its_location_is() {
    for absolute in [false, true] {
        let registry = Registry::start(Shelf {
            absolute,
            ..Shelf::default()
        })
        .await;
        let pusher = registry.pusher().await;
        let blob = upload(&pusher, &sample()).await.unwrap();
        assert_eq!(registry.blob(&blob).unwrap(), sample());
        assert_eq!(registry.methods(), ["POST", "PUT"]);
        assert!(pusher.has_blob(&blob.digest).await.unwrap());
        let empty = upload(&pusher, &Bytes::new()).await.unwrap();
        assert!(pusher.has_blob(&empty.digest).await.unwrap());
        assert!(!pusher.has_blob(&digest(b"other")).await.unwrap());
    }
}

#[tokio::test]
async fn what_broke_off_goes_on_where_it_was() {
    let registry = Registry::start(Shelf {
        cuts: VecDeque::from([500_000, 100_000]),
        ..Shelf::default()
    })
    .await;
    // What a broken PUT brought is kept by this registry, as by most.
    let blob = upload(&registry.pusher().await, &sample()).await;
    let blob = blob.unwrap();
    assert_eq!(registry.blob(&blob).unwrap(), sample());
    let sent: usize = registry
        .server
        .seen()
        .iter()
        .map(|seen| seen.bytes.len())
        .sum();
    assert!(sent < 2 * sample().len(), "{sent}");
    let methods = registry.methods();
    assert_eq!(
        methods.iter().filter(|method| *method == "POST").count(),
        1,
        "{methods:?}"
    );
    assert!(methods.contains(&"PATCH".to_owned()), "{methods:?}");
}

#[tokio::test]
async fn an_upload_that_the_registry_forgot_begins_again() {
    let registry = Registry::start(Shelf {
        cuts: VecDeque::from([500_000]),
        faults: VecDeque::from([("GET", 404, "BLOB_UPLOAD_UNKNOWN")]),
        ..Shelf::default()
    })
    .await;
    let blob = upload(&registry.pusher().await, &sample()).await.unwrap();
    assert_eq!(registry.blob(&blob).unwrap(), sample());
    assert_eq!(
        registry.methods().iter().filter(|m| *m == "POST").count(),
        2
    );
}

#[tokio::test]
async fn busy_registries_are_asked_again_and_denials_are_not() {
    let registry = Registry::start(Shelf {
        faults: VecDeque::from([
            ("POST", 429, "TOOMANYREQUESTS"),
            ("POST", 503, "UNAVAILABLE"),
            ("PUT", 500, "UNKNOWN"),
        ]),
        ..Shelf::default()
    })
    .await;
    let pusher = registry.pusher().await;
    upload(&pusher, &sample()).await.unwrap();
    registry.shelf.lock().unwrap().faults = VecDeque::from([("POST", 403, "DENIED")]);
    let before = registry.methods().len();
    let error = upload(&pusher, &Bytes::from_static(b"x"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Denied);
    assert_eq!(error.to_string(), "denied: on purpose");
    assert_eq!(registry.methods().len(), before + 1);
}

#[tokio::test]
async fn a_registry_that_always_breaks_is_given_up() {
    let registry = Registry::start(Shelf {
        cuts: VecDeque::from(vec![1; 1000]),
        ..Shelf::default()
    })
    .await;
    let pusher = registry.pusher().await;
    let error = upload(&pusher, &sample()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.to_string().contains("upload of sha256:"), "{error}");
}

#[tokio::test]
async fn large_bodies_become_chunks_where_they_are_refused() {
    let registry = Registry::start(Shelf {
        largest: Some(700_000),
        least: Some(600_000),
        ..Shelf::default()
    })
    .await;
    let blob = upload(&registry.pusher().await, &sample()).await.unwrap();
    assert_eq!(registry.blob(&blob).unwrap(), sample());
    let chunks: Vec<_> = registry
        .server
        .seen()
        .into_iter()
        .filter(|seen| seen.method == "PATCH")
        .map(|seen| seen.bytes.len())
        .collect();
    assert_eq!(chunks, [600_000, 600_000]);
}

#[tokio::test]
async fn lies_about_the_range_do_not_make_a_blob() {
    for lie in [-100_000, 100_000_000] {
        let registry = Registry::start(Shelf {
            lie,
            cuts: VecDeque::from([500_000]),
            ..Shelf::default()
        })
        .await;
        let pusher = registry.pusher().await;
        match upload(&pusher, &sample()).await {
            Ok(blob) => assert_eq!(registry.blob(&blob).unwrap(), sample()),
            Err(error) => assert_eq!(error.kind(), Kind::InvalidResponse, "{error}"),
        }
    }
}

#[derive(Debug)]
struct Short;

impl Source for Short {
    fn read_from(
        &self,
        _: u64,
    ) -> futures_util::stream::BoxStream<'static, std::io::Result<Bytes>> {
        Box::pin(futures_util::stream::iter([Ok(Bytes::from_static(
            b"only this",
        ))]))
    }
}

#[tokio::test]
async fn a_source_that_ends_early_is_the_pushers_fault() {
    let registry = Registry::start(Shelf::default()).await;
    let pusher = registry.pusher().await;
    let blob = descriptor("x", &sample());
    let source: Arc<dyn Source> = Arc::new(Short);
    let error = pusher
        .upload(&blob, &source, None, &Arc::default())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Source(_)), "{error}");
    assert!(
        registry.methods().ends_with(&["DELETE".to_owned()]),
        "{:?}",
        registry.methods()
    );
}

#[tokio::test]
async fn a_registry_that_takes_nothing_more_is_left() {
    // A listener that accepts and never reads.
    let deaf = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("http://{}/v2/a/blobs/uploads/1", deaf.local_addr().unwrap());
    let to = target.clone();
    let leading = Server::start(move |seen, _| match seen.method.as_str() {
        "POST" => with(text(202, ""), "location", &to),
        _ => text(204, ""),
    })
    .await;
    let impatient = Client::new(Config {
        stall_timeout: Duration::from_millis(300),
        commit_timeout: Duration::from_millis(300),
        ..config()
    });
    let pusher = impatient
        .pusher(&leading.reference("a"), &Credentials::Anonymous)
        .await
        .unwrap();
    let big = Bytes::from(vec![7; 64 << 20]);
    let error = upload(&pusher, &big).await.unwrap_err();
    assert!(error.to_string().contains("timeout"), "{error}");
}

#[tokio::test]
async fn mounts_ask_for_the_right_to_read_there() {
    let server = Server::start(|seen, _| {
        if seen.path == "/token" {
            return text(200, r#"{"token":"t"}"#);
        }
        if seen.header("authorization").is_none() {
            let host = seen.header("host").unwrap();
            let challenge = format!(
                "Bearer realm=\"http://{host}/token\",service=\"reg\",scope=\"repository:team/app:pull\""
            );
            return with(failure(401, "UNAUTHORIZED", "no"), "www-authenticate", &challenge);
        }
        match seen.query.contains("mine") {
            true => text(201, ""),
            false => with(text(202, ""), "location", "/v2/team/app/blobs/uploads/1"),
        }
    })
    .await;
    let client = client();
    let reference = server.reference("team/app:1");
    let pusher = client
        .pusher(&reference, &Credentials::Anonymous)
        .await
        .unwrap();
    let digest = digest(b"x");
    assert!(matches!(
        pusher.mount(&digest, "mine/app").await.unwrap(),
        Mount::Mounted
    ));
    assert!(matches!(
        pusher.mount(&digest, "theirs/app").await.unwrap(),
        Mount::Begun(_)
    ));
    let asked: Vec<String> = server
        .seen()
        .into_iter()
        .filter(|seen| seen.path == "/token")
        .map(|seen| seen.query)
        .collect();
    let scopes = |from: &str| {
        format!(
            "scope=repository%3Ateam%2Fapp%3Apull%2Cpush&scope=repository%3A{from}%2Fapp%3Apull&service=reg"
        )
    };
    assert_eq!(asked, [scopes("mine"), scopes("theirs")]);
}

#[tokio::test]
async fn many_uploads_at_once_need_one_token() {
    let server = Server::start(|seen, _| {
        if seen.path == "/token" {
            return text(200, r#"{"token":"t","expires_in":300}"#);
        }
        match seen.header("authorization") {
            Some("Bearer t") => text(200, ""),
            _ => {
                let host = seen.header("host").unwrap();
                let challenge = format!("Bearer realm=\"http://{host}/token\"");
                with(text(401, ""), "www-authenticate", &challenge)
            }
        }
    })
    .await;
    let reference = server.reference("team/app:1");
    let pusher = client()
        .pusher(&reference, &Credentials::Anonymous)
        .await
        .unwrap();
    let asked = (0..8_u8).map(|number| {
        let pusher = pusher.clone();
        async move { pusher.has_blob(&digest(&[number])).await.unwrap() }
    });
    let found = futures_util::future::join_all(asked).await;
    assert!(found.iter().all(|found| *found));
    assert_eq!(server.count("/token"), 1);
}

#[tokio::test]
async fn credentials_stay_with_the_registry() {
    let thief = Server::start(|seen, _| match seen.method.as_str() {
        "PUT" => text(201, ""),
        _ => text(401, ""),
    })
    .await;
    let elsewhere = thief.url("/v2/team/app/blobs/uploads/1");
    let to = elsewhere.clone();
    let server = Server::start(move |seen, _| match seen.header("authorization") {
        None => with(text(401, ""), "www-authenticate", "Basic realm=\"r\""),
        Some(_) if seen.path.contains("/manifests/") => redirect(&to),
        Some(_) => with(text(202, ""), "location", &to),
    })
    .await;
    let alice = Credentials::Password {
        username: "alice".into(),
        password: "hunter2".into(),
    };
    let reference = server.reference("team/app:1");
    let pusher = client().pusher(&reference, &alice).await.unwrap();
    upload(&pusher, &sample()).await.unwrap();
    let manifest = Bytes::from_static(b"{}");
    pusher
        .put_manifest(Some("1"), mt::OCI_MANIFEST, manifest.clone())
        .await
        .unwrap();
    let seen = thief.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[1].bytes, manifest);
    assert!(
        seen.iter()
            .all(|seen| seen.header("authorization").is_none())
    );
    assert!(
        server
            .seen()
            .iter()
            .any(|seen| seen.header("authorization").is_some())
    );
}

#[tokio::test]
async fn a_referrer_is_found_whether_the_registry_knows_them_or_not() {
    let manifest = |number: u8| {
        Bytes::from(format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","artifactType":"a/{number}","config":{{}},"layers":[],"subject":{{"mediaType":"{}","digest":"{}","size":2}}}}"#,
            mt::OCI_MANIFEST,
            mt::OCI_MANIFEST,
            digest(b"{}"),
        ))
    };
    for referrers in [true, false] {
        let registry = Registry::start(Shelf {
            referrers,
            ..Shelf::default()
        })
        .await;
        let pusher = registry.pusher().await;
        for number in [1, 2, 1] {
            pusher
                .put_manifest(None, mt::OCI_MANIFEST, manifest(number))
                .await
                .unwrap();
        }
        let reference = registry.server.reference("team/app");
        let nobody = Credentials::Anonymous;
        let list = |kind| {
            let reference = reference.clone();
            let nobody = nobody.clone();
            async move {
                client()
                    .referrers(&reference, &digest(b"{}"), kind, &nobody)
                    .await
                    .unwrap()
            }
        };
        let found = list(None).await;
        assert_eq!(found.len(), if referrers { 0 } else { 2 });
        if !referrers {
            assert_eq!(list(Some("a/2")).await.len(), 1);
            assert_eq!(found[0].descriptor.digest, digest(&manifest(1)));
        }
    }
}

#[tokio::test]
async fn tags_come_in_pages() {
    let server = Server::start(|seen, _| {
        let page = |tags: &str| text(200, format!(r#"{{"name":"team/app","tags":{tags}}}"#));
        match (seen.path.as_str(), seen.query.as_str()) {
            ("/v2/team/app/tags/list", "") => with(
                page(r#"["a","b"]"#),
                "link",
                "</v2/team/app/tags/list?last=b>; rel=\"next\"",
            ),
            ("/v2/team/app/tags/list", "last=b") => with(
                page(r#"["b","../../x","c"]"#),
                "link",
                "<?last=c>; rel=\"next\"",
            ),
            ("/v2/team/app/tags/list", _) => page("null"),
            ("/v2/loop/tags/list", query) => {
                let next = format!("<?{query}x>; rel=\"next\"");
                with(text(200, r#"{"tags":["a"]}"#), "link", &next)
            }
            _ => failure(404, "NAME_UNKNOWN", "repository name not known to registry"),
        }
    })
    .await;
    let nobody = Credentials::Anonymous;
    let tags = client().tags(&server.reference("team/app"), &nobody).await;
    assert_eq!(tags.unwrap(), ["a", "b", "c"]);
    let unknown = server.reference("nosuch");
    let error = client().tags(&unknown, &nobody).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "repository {} not found: name unknown: repository name not known to registry",
            unknown.familiar_name()
        )
    );
    let endless = client().tags(&server.reference("loop"), &nobody).await;
    assert!(matches!(endless.unwrap_err(), Error::TooLarge { .. }));
}

#[tokio::test]
async fn an_answer_that_never_ends_is_told_as_far_as_it_came() {
    let server = Server::start(|seen, _| match seen.method.as_str() {
        "POST" => with(text(202, ""), "location", "/v2/team/app/blobs/uploads/1"),
        "PUT" => {
            let body = r#"{"errors":[{"code":"DENIED","message":"no"}]}"#;
            let mut reply = stalled(body.into());
            *reply.status_mut() = hyper::StatusCode::FORBIDDEN;
            reply
        }
        _ => text(404, ""),
    })
    .await;
    let client = Client::new(Config {
        stall_timeout: Duration::from_secs(2),
        ..config()
    });
    let reference = server.reference("team/app:1");
    let pusher = client.pusher(&reference, &Credentials::Anonymous);
    let error = upload(&pusher.await.unwrap(), &sample()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Denied, "{error}");
}
