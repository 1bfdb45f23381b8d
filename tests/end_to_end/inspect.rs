//! `inspect`, `version`, `info`, `events`.

use hull_tests::setup::with_each_client;

#[test]
fn templates_pick_values() {
    with_each_client(|s| {
        let _ = s
            .line("create --name ii -e A=1 -l k=v busybox echo hi")
            .ok();
        assert_eq!(
            s.run(&[
                "inspect",
                "-f",
                "{{.Name}} {{.State.Status}} {{.Config.Labels.k}}",
                "ii"
            ])
            .ok(),
            "/ii created v"
        );
        assert_eq!(
            s.run(&["inspect", "-f", "{{json .Config.Cmd}}", "ii"]).ok(),
            r#"["echo","hi"]"#
        );
        assert_eq!(
            s.run(&["inspect", "-f", "{{range .Config.Cmd}}[{{.}}]{{end}}", "ii"])
                .ok(),
            "[echo][hi]"
        );
        assert!(
            s.line("inspect nosuch")
                .fails(1)
                .contains("No such object: nosuch")
        );
    });
}

#[test]
fn the_daemon_tells_about_itself() {
    with_each_client(|s| {
        let version = s.line("version");
        assert!(
            version.ok().contains("Server:") && version.ok().contains("API version:"),
            "{version:?}"
        );
        let info = s.run(&[
            "info",
            "--format",
            "{{.OSType}} {{.Containers}} {{.Images}}",
        ]);
        assert!(info.ok().starts_with("linux 0 "), "{info:?}");
        assert!(s.line("info").ok().contains("Cgroup Version:"));
    });
}

#[test]
fn events_tell_what_happened() {
    with_each_client(|s| {
        let _ = s
            .line("run --rm --name ev --network none busybox true")
            .ok();
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs();
        // dockerd cuts `until` to whole seconds, so "now" would lack what happened in this one.
        let (since, until) = ((now - 60).to_string(), (now + 1).to_string());
        let words = [
            "events",
            "--since",
            &since,
            "--until",
            &until,
            "--filter",
            "container=ev",
            "--format",
            "{{.Action}}",
        ];
        let events = s.run(&words);
        assert_eq!(
            events
                .ok()
                .lines()
                .filter(|action| *action != "attach")
                .collect::<Vec<_>>(),
            ["create", "start", "die", "destroy"]
        );
    });
}
