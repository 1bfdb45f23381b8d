//! `events`.

use hull_tests::setup::with_each_client;

#[test]
fn events_are_remembered_over_restarts() {
    with_each_client(|s| {
        let _ = s.line("run --name ev --label a=b busybox true").ok();
        let _ = s.line("rm ev").ok();
        let target = format!("/events?since=1&until={}&filters=", now());
        let told = |s: &mut hull_tests::setup::Setup<'_>, filters: &str| {
            let filters: String = filters.bytes().map(|byte| format!("%{byte:02x}")).collect();
            let reply = s.daemon.get(&format!("{target}{filters}"));
            assert_eq!(reply.status, 200, "{reply:?}");
            let text = reply.text();
            text.lines()
                .map(|line| {
                    let event: serde_json::Value = serde_json::from_str(line).unwrap();
                    event["Action"].as_str().unwrap().to_owned()
                })
                .collect::<Vec<_>>()
        };
        let container = r#"{"container":["ev"]}"#;
        let before = told(s, container);
        assert_eq!(before, ["create", "attach", "start", "die", "destroy"]);
        s.daemon.kill();
        s.daemon.restart();
        assert_eq!(told(s, container), before);
        // As dockerd: the beginning of a name, all labels, and what is no filter does nothing.
        assert_eq!(told(s, r#"{"container":["e"],"event":["die"]}"#), ["die"]);
        assert_eq!(
            told(s, r#"{"label":["a=b","name=ev"],"nope":["x"]}"#),
            before
        );
        assert_eq!(told(s, r#"{"label":["a=b","a=c"]}"#), [""; 0]);
        assert_eq!(told(s, r#"{"scope":["swarm"]}"#), [""; 0]);
    });
}

fn now() -> u64 {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH)
        .expect("a clock")
        .as_secs()
        + 1
}
