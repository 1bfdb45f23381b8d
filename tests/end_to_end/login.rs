//! `login`, `logout`, and credentials on their way to a registry.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use hull_tests::client::Client;
use hull_tests::command::{self, Finished};
use hull_tests::setup::{Setup, with_each_client};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

fn config(s: &Setup<'_>) -> serde_json::Value {
    let path = s.daemon.path("client").join("config.json");
    serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap()
}

#[test]
fn credentials_are_tried_kept_used_and_forgotten() {
    with_each_client(|s| {
        let guarded = s.registry.guarded(s.host);
        let server = guarded.host();
        let image = format!("{server}/busybox");
        let anonymous = s.run(&["pull", &image]);
        assert!(
            anonymous.fails(1).contains("no basic auth credentials"),
            "{anonymous:?}"
        );
        let wrong = s.run(&["login", "-u", "alice", "-p", "wrong", &server]);
        let refusal =
            format!("login attempt to http://{server}/v2/ failed with status: 401 Unauthorized");
        assert!(wrong.fails(1).contains(&refusal), "{wrong:?}");
        let login = ["login", "-u", "alice", "--password-stdin", server.as_str()];
        let right = s.client.feed(&s.daemon, &login, b"secret\n");
        assert_eq!(right.ok(), "Login Succeeded");
        assert_eq!(config(s)["auths"][&server]["auth"], "YWxpY2U6c2VjcmV0");
        let again = s.run(&["login", &server]);
        assert_eq!(again.ok(), "Login Succeeded");
        if s.client == Client::Hull {
            // Older clients have other words.
            assert!(
                right
                    .stderr
                    .contains("WARNING! Your credentials are stored unencrypted in"),
                "{right:?}"
            );
            assert!(
                again
                    .stderr
                    .contains("existing credentials... [Username: alice]"),
                "{again:?}"
            );
        }
        let _ = s.run(&["pull", "-q", &image]).ok();
        let _ = s.run(&["rmi", &image]).ok();
        // `run` sends them too.
        let _ = s.run(&["run", "--rm", &image, "true"]).ok();
        let out = s.run(&["logout", &server]);
        assert_eq!(out.ok(), format!("Removing login credentials for {server}"));
        assert_eq!(config(s)["auths"], serde_json::json!({}));
        let _ = s.run(&["rmi", &image]).ok();
        let _ = s.run(&["pull", &image]).fails(1);
        let nobody = s.run(&["login", &server]);
        assert!(nobody.fails(1).contains("non TTY device"), "{nobody:?}");
    });
}

/// A helper that keeps one file per server.
const HELPER: &str = r#"#!/bin/sh
in=$(cat)
echo "$1 $in" >> "$KEPT/log"
file() { printf '%s/%s' "$KEPT" "$(printf %s "$1" | tr '/:' '__')"; }
case $1 in
store) printf %s "$in" > "$(file "$(printf %s "$in" | sed 's/.*"ServerURL":"\([^"]*\)".*/\1/')")";;
get) cat "$(file "$in")" 2>/dev/null || { echo "credentials not found in native keychain"; exit 1; };;
erase) rm "$(file "$in")" 2>/dev/null || { echo "credentials not found in native keychain"; exit 1; };;
esac
"#;

/// Installs the helpers `test` and `broken`; gives where the first keeps things, and the path to find both.
fn helpers(s: &Setup<'_>) -> (PathBuf, String) {
    let (kept, programs) = (s.daemon.path("kept"), s.daemon.path("bin"));
    for directory in [&kept, &programs, &s.daemon.path("client")] {
        fs_err::create_dir_all(directory).unwrap();
    }
    for (name, text) in [
        ("test", HELPER),
        ("broken", "#!/bin/sh\necho it is broken\nexit 3\n"),
    ] {
        let program = programs.join(format!("docker-credential-{name}"));
        fs_err::write(&program, text).unwrap();
        fs_err::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = std::env::var("PATH").unwrap();
    (kept, format!("{}:{path}", programs.display()))
}

#[test]
fn credentials_are_kept_by_helpers() {
    with_each_client(|s| {
        let guarded = s.registry.guarded(s.host);
        let server = guarded.host();
        let (kept, path) = helpers(s);
        let run = |arguments: &[&str], input: &[u8]| -> Finished {
            let mut command: Command = s.client.command(&s.daemon);
            command
                .args(arguments)
                .env("PATH", &path)
                .env("KEPT", &kept);
            command::run(&mut command, input)
        };
        let configure =
            |text: &str| fs_err::write(s.daemon.path("client").join("config.json"), text).unwrap();
        let login = ["login", "-u", "alice", "--password-stdin", server.as_str()];
        let image = format!("{server}/busybox");
        for store in [
            "{\"credsStore\":\"test\"}".to_owned(),
            format!("{{\"credHelpers\":{{\"{server}\":\"test\"}}}}"),
        ] {
            configure(&store);
            let stored = run(&login, b"secret");
            assert_eq!(stored.ok(), "Login Succeeded");
            assert!(!stored.stderr.contains("unencrypted"), "{stored:?}");
            assert_eq!(config(s)["auths"][&server], serde_json::json!({}));
            assert_eq!(run(&["login", &server], b"").ok(), "Login Succeeded");
            let _ = run(&["pull", "-q", &image], b"").ok();
            let _ = run(&["logout", &server], b"").ok();
            let log = fs_err::read_to_string(kept.join("log")).unwrap();
            assert!(log.contains(&format!("erase {server}\n")), "{log}");
            assert!(
                log.contains(r#""Username":"alice","Secret":"secret""#),
                "{log}"
            );
            assert!(
                run(&["pull", &image], b"")
                    .fails(1)
                    .contains("no basic auth")
            );
        }
        configure("{\"credsStore\":\"broken\"}");
        let broken = run(&login, b"secret");
        let text = "Error saving credentials: error storing credentials - err: exit status 3, out: `it is broken`";
        assert!(broken.fails(1).contains(text), "{broken:?}");
        configure("{\"credsStore\":\"missing\"}");
        let missing = run(&login, b"secret");
        let text = "err: exec: \"docker-credential-missing\": executable file not found in $PATH";
        assert!(missing.fails(1).contains(text), "{missing:?}");
        // What is public needs no helper.
        let public = format!("{}/busybox", s.registry.host());
        let _ = run(&["pull", "-q", &public], b"").ok();
    });
}

#[test]
fn what_is_not_typed_is_asked_for() {
    with_each_client(|s| {
        if s.client != Client::Hull || !hull_tests::can_run("script", command::exists("script")) {
            return;
        }
        let guarded = s.registry.guarded(s.host);
        let server = guarded.host();
        let steps = [("Username: ", "alice\n"), ("Password: ", "secret\n")];
        let asked = s.client.converse(&s.daemon, &["login", &server], &steps);
        assert!(asked.ok().ends_with("Login Succeeded"), "{asked:?}");
        // The password is not shown.
        assert!(!asked.stdout.contains("secret"), "{asked:?}");
    });
}

#[test]
fn the_environment_has_the_first_word() {
    with_each_client(|s| {
        // Docker's client has this since version 28.3.
        if s.client != Client::Hull {
            return;
        }
        let guarded = s.registry.guarded(s.host);
        let server = guarded.host();
        let image = format!("{server}/busybox");
        let auths = serde_json::json!({"auths": {server: {"auth": "YWxpY2U6c2VjcmV0"}}});
        let mut command = s.client.command(&s.daemon);
        command
            .args(["pull", "-q", &image])
            .env("DOCKER_AUTH_CONFIG", auths.to_string());
        let _ = command::run(&mut command, b"").ok();
        let _ = s.run(&["rmi", &image]).ok();
        assert!(
            s.run(&["pull", &image])
                .fails(1)
                .contains("no basic auth credentials")
        );
    });
}
