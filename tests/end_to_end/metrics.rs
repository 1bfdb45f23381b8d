//! `/metrics`, read by a parser of the tests' own.

use hull_tests::client::Client;
use hull_tests::http::{Request, send};
use hull_tests::setup::{Setup, with};
use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpStream;

const ADDRESS: &str = "127.0.0.1:9323";

/// Families that dockerd 28.5 serves without a swarm and that Hull has.
const DOCKERDS: [&str; 9] = [
    "engine_daemon_container_actions_seconds",
    "engine_daemon_container_states_containers",
    "engine_daemon_engine_cpus_cpus",
    "engine_daemon_engine_info",
    "engine_daemon_engine_memory_bytes",
    "engine_daemon_events_subscribers_total",
    "engine_daemon_events_total",
    "engine_daemon_health_checks_failed_total",
    "engine_daemon_health_checks_total",
];

/// What a page says: kinds by family, and numbers by name with labels as written.
#[derive(Debug, Default)]
struct Page {
    kinds: BTreeMap<String, String>,
    samples: BTreeMap<String, f64>,
}

/// Reads a page strictly: every sample belongs to the family above it, families are told once, labels are well formed.
fn parse(text: &str, open: bool) -> Page {
    let mut page = Page::default();
    let mut family = String::new();
    let mut body = text;
    if open {
        body = text.strip_suffix("# EOF\n").expect("an end");
    }
    assert!(body.ends_with('\n'), "{body:?}");
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help");
            assert!(!help.is_empty());
            name.clone_into(&mut family);
            continue;
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a kind");
            assert_eq!(name, family, "{line}");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            let before = page.kinds.insert(family.clone(), kind.to_owned());
            assert_eq!(before, None, "{family} comes twice");
            continue;
        }
        assert!(!line.starts_with('#'), "{line}");
        let (sample, value) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = match sample.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}').expect("an end of labels")),
            None => (sample, ""),
        };
        check_labels(labels);
        let kind = page.kinds.get(&family).expect("a kind");
        let suffixes: &[&str] = match (kind.as_str(), open) {
            ("counter", true) => &["_total"],
            ("histogram", _) => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        let suffix = name
            .strip_prefix(family.as_str())
            .expect("the family's name");
        assert!(suffixes.contains(&suffix), "{line} in {family}");
        let value: f64 = value.parse().expect("a number");
        assert!(value.is_finite() && value >= 0.0, "{line}");
        let before = page.samples.insert(sample.to_owned(), value);
        assert_eq!(before, None, "{line} comes twice");
    }
    page
}

fn check_labels(text: &str) {
    let mut names = BTreeSet::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (name, value) = rest.split_once("=\"").expect("a value in quotes");
        assert!(
            name.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'),
            "{text}"
        );
        assert!(names.insert(name), "{text}");
        let mut end = 0;
        let bytes = value.as_bytes();
        while bytes[end] != b'"' {
            if bytes[end] == b'\\' {
                assert!(matches!(bytes[end + 1], b'\\' | b'"' | b'n'), "{text}");
                end += 1;
            }
            end += 1;
        }
        rest = &value[end + 1..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
}

#[test]
fn prometheus_can_read_what_is_served() {
    if hull_tests::host::reference().is_some() {
        return;
    }
    with(Client::Hull, |s| {
        s.daemon.stop();
        s.daemon.set_arguments(&["--metrics-addr", ADDRESS]);
        s.daemon.restart();
        let get = |path: &str, accept: &str| {
            s.host.within(|| {
                let stream = TcpStream::connect(ADDRESS).expect("connect");
                let request = Request {
                    method: "GET",
                    target: path,
                    headers: &[("Accept", accept)],
                    body: b"",
                };
                send(stream, request).expect("a reply")
            })
        };
        assert_eq!(get("/containers/json", "*/*").status, 404);
        let _ = s
            .line("run -d --name measured --memory 64m busybox sleep 1000")
            .ok();
        let _ = s.line("create --name waits busybox").ok();
        let plain = get("/metrics", "*/*");
        assert_eq!(plain.status, 200);
        let kind = plain.header("content-type").unwrap_or_default();
        assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
        let page = parse(&plain.text(), false);
        for family in DOCKERDS {
            assert!(page.kinds.contains_key(family), "{family}");
        }
        numbers(s, &page);
        let open = get("/metrics", "application/openmetrics-text; version=1.0.0");
        let kind = open.header("content-type").unwrap_or_default();
        assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
        let open = parse(&open.text(), true);
        assert_eq!(open.kinds["engine_daemon_events"], "counter");
        assert_eq!(open.samples.len(), page.samples.len());
    });
}

/// What two containers are told as.
fn numbers(s: &Setup<'_>, page: &Page) {
    let number = |name: &str| {
        *page
            .samples
            .get(name)
            .unwrap_or_else(|| panic!("{name} in {page:#?}"))
    };
    let states = "engine_daemon_container_states_containers";
    assert_eq!(number(&format!("{states}{{state=\"running\"}}")), 1.0);
    assert_eq!(number(&format!("{states}{{state=\"stopped\"}}")), 1.0);
    let actions = "engine_daemon_container_actions_seconds";
    assert_eq!(number(&format!("{actions}_count{{action=\"start\"}}")), 1.0);
    assert_eq!(
        number(&format!("{actions}_count{{action=\"create\"}}")),
        2.0
    );
    assert!(number("engine_daemon_events_total") >= 3.0);
    let id = s.inspect("measured", "/Id");
    let labels = format!("{{id={id},name=\"measured\"}}");
    assert!(number(&format!("hull_container_memory_bytes{labels}")) > 0.0);
    assert_eq!(
        number(&format!("hull_container_memory_limit_bytes{labels}")),
        f64::from(64 << 20)
    );
}
