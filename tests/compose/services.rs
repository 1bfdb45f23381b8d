//! Services that need each other, and what happens to them in time.

use crate::stage::Project;
use std::process::Stdio;

/// A page through the web server; an order through cache and worker into the database, also after a
/// restart of parts, and with the same rows after everything was down.
pub(crate) fn a_shop_works(p: &Project<'_>) {
    p.up_and_wait();
    let page = p.stage.page(8085);
    assert!(
        page.contains("200 OK") && page.ends_with("a shop on port 8085\n"),
        "{page}"
    );
    assert_eq!(
        p.states(),
        [
            "cache running",
            "database running",
            "migrate exited",
            "web running",
            "worker running"
        ]
    );
    order(p, "apple");
    assert_eq!(p.inspect("migrate", 1)["State"]["ExitCode"], 0);
    // The back network is internal: the outside cannot be reached, and the front cannot see the database.
    assert_eq!(
        p.shell("worker", "ip route 2>/dev/null | grep -c default || :"),
        "0"
    );
    let _ = p.run("restart database cache").ok();
    p.up_and_wait();
    order(p, "pear");
    let _ = p.run("down -t 5").ok();
    p.up_and_wait();
    order(p, "plum");
    assert_eq!(rows(p), "apple,pear,plum");
    let port = p.run("port web 80");
    assert_eq!(port.ok(), "127.0.0.1:8085");
    let top = p.run("top cache");
    assert!(top.ok().contains("redis-server"), "{top:?}");
    let _ = p.run("stop -t 5 web").ok();
    assert!(p.states().contains(&"web exited".to_owned()));
    let _ = p.run("start web").ok();
    let _ = p.run("pause cache").ok();
    assert!(p.states().contains(&"cache paused".to_owned()));
    let _ = p.run("unpause cache").ok();
    let _ = p.run("kill worker").ok();
}

fn order(p: &Project<'_>, what: &str) {
    let line = format!(
        "redis-cli rpush orders {what} >/dev/null && redis-cli --raw blpop done 50 | tail -n 1"
    );
    assert_eq!(p.shell("cache", &line), what);
}

fn rows(p: &Project<'_>) -> String {
    p.shell(
        "database",
        "psql -h /tmp -At -d shop -c \"select string_agg(what, ',' order by what) from orders\"",
    )
}

/// Replicas behind a proxy, more and fewer of them.
pub(crate) fn several_are_found_by_name(p: &Project<'_>) {
    p.up_and_wait();
    let found = "getent ahostsv4 backend | awk '{print $1}' | sort -u | wc -l";
    assert_eq!(p.shell("proxy", found), "2");
    assert!(!p.shell("proxy", "curl -fsS http://127.0.0.1/").is_empty());
    let _ = p.run("up -d --wait --scale backend=4").ok();
    assert_eq!(p.shell("proxy", found), "4");
    let _ = p.run("scale backend=1").ok();
    p.until("proxy", found, "1");
    let one = p.inspect("backend", 1);
    let page = p.shell("proxy", "sleep 1.1; curl -fsS http://127.0.0.1/");
    assert_eq!(one["Config"]["Hostname"], page);
}

pub(crate) fn profiles_choose_services(p: &Project<'_>) {
    p.up();
    assert_eq!(p.states(), ["app running"]);
    let _ = p.run("--profile debug up -d").ok();
    assert_eq!(p.states(), ["app running", "debug running"]);
    let said = p.run("run --rm tool goodbye");
    assert_eq!(said.ok(), "tool says goodbye");
    let services = p.run("config --services");
    assert_eq!(services.ok(), "app");
    let projects = p.run("ls -q");
    assert!(projects.ok().lines().any(|line| line == p.full_name()));
    let label = p
        .stage
        .docker(&["ps", "-q", "--filter", "label=org.example.team=blue"]);
    assert_eq!(label.ok().lines().count(), 1);
    let _ = p.run("rm -s -f debug").ok();
    assert_eq!(p.states(), ["app running"]);
}

pub(crate) fn namespaces_are_shared(p: &Project<'_>) {
    p.up_and_wait();
    assert_eq!(p.shell("side", "curl -fsS http://127.0.0.1/"), "shared");
    assert_eq!(p.shell("side", "cat /proc/1/comm"), "nginx");
    let _ = p.shell("server", "echo seen >/dev/shm/note");
    assert_eq!(p.shell("side", "cat /dev/shm/note"), "seen");
    let links = p.shell(
        "side",
        "readlink /proc/self/ns/ipc /proc/1/ns/ipc | uniq | wc -l",
    );
    assert_eq!(links, "1");
}

pub(crate) fn what_ends_is_started_again(p: &Project<'_>) {
    p.up();
    // Compose does not count: two attempts more, and the last exit code stays.
    p.wait_until("given up", || {
        p.states().contains(&"crash exited".to_owned())
    });
    let crash = p.inspect("crash", 1);
    assert_eq!(crash["State"]["ExitCode"], 7);
    assert_eq!(crash["RestartCount"], 2);
    assert_eq!(p.shell("polite", "wc -l </marks/crash"), "3");
    let _ = p.run("stop polite").ok();
    let polite = p.inspect("polite", 1);
    assert_eq!(polite["State"]["ExitCode"], 0, "{polite}");
    let _ = p.run("stop stubborn").ok();
    assert_eq!(p.inspect("stubborn", 1)["State"]["ExitCode"], 137);
    let _ = p.run("start polite").ok();
    assert_eq!(p.shell("polite", "cat /marks/polite"), "bye");
}

pub(crate) fn what_is_written_can_be_read(p: &Project<'_>) {
    p.up();
    let hears = || {
        p.run("logs --no-log-prefix --no-color talker")
            .ok()
            .lines()
            .count()
            == 6
    };
    p.wait_until("heard", hears);
    let all = p.run("logs --no-log-prefix --no-color talker");
    // Older versions clear each line first.
    let plain = |line: &'_ str| line.trim_start_matches("\x1b[2K").to_owned();
    let mut lines: Vec<String> = all.ok().lines().map(plain).collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        ["err 1", "err 2", "err 3", "out 1", "out 2", "out 3"]
    );
    let tail = p.run("logs --tail 1 --no-color -t talker");
    assert!(
        plain(tail.ok()).starts_with("talker-1  | 20") && tail.ok().lines().count() == 1,
        "{tail:?}"
    );
    let config = &p.inspect("talker", 1)["HostConfig"]["LogConfig"];
    assert_eq!(config["Config"]["max-file"], "3");
    let quiet = p.inspect("quiet", 1);
    assert_eq!(quiet["HostConfig"]["LogConfig"]["Type"], "none");
}

/// `watch` copies through the archive endpoints, and removes with exec.
pub(crate) fn changed_files_are_copied(p: &Project<'_>) {
    let scratch = p.stage.scratch.path();
    fs_err::write(scratch.join("Dockerfile"), "FROM stack/base\n").expect("test data");
    fs_err::create_dir(scratch.join("source")).expect("test data");
    let _ = p.run("up -d --no-build").ok();
    let mut watching = p.command();
    let mut watching = watching
        .args(["watch", "--no-up"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start compose");
    let output = watching.stdout.take().expect("its output is a pipe");
    let said = crate::stage::first_line(output);
    fs_err::write(scratch.join("source/page"), "first\n").expect("test data");
    p.until("app", "cat /app/page 2>/dev/null", "first");
    fs_err::write(scratch.join("source/page"), "second\n").expect("test data");
    p.until("app", "cat /app/page 2>/dev/null", "second");
    fs_err::remove_file(scratch.join("source/page")).expect("test data");
    p.until("app", "ls /app", "");
    let _ = watching.kill();
    let _ = watching.wait();
    drop(said);
}
