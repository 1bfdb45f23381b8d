//! `exec`.

use hull_tests::setup::with_each_client;

#[test]
fn a_second_process_joins_the_container() {
    with_each_client(|s| {
        let _ = s
            .line("run -d --name ee -e A=1 -w /srv busybox sleep 1000")
            .ok();
        let run = s.script("exec -e B=2 ee", "echo $A$B $(pwd); echo err >&2; exit 5");
        assert_eq!(
            (run.stdout.as_str(), run.stderr.as_str(), run.code),
            ("12 /srv\n", "err\n", 5)
        );
        assert_eq!(s.line("exec -u 1000 -w /tmp ee sh -c pwd").ok(), "/tmp");
        assert_eq!(s.line("exec -u 1000 ee id -u").ok(), "1000");
        assert_eq!(
            s.client
                .feed(&s.daemon, &["exec", "-i", "ee", "cat"], b"typed")
                .ok(),
            "typed"
        );
        assert!(s.line("exec ee nosuch").code == 127);
        assert!(s.line("exec ee /etc/not-executable").code == 126);
        let unknown = s.line("exec -u nosuch ee true");
        assert!(
            unknown
                .fails(1)
                .contains("unable to find user nosuch: no matching entries in passwd file"),
            "{unknown:?}"
        );
        let listed = s.line("exec ee ps -o args");
        assert!(listed.ok().contains("sleep 1000"), "{listed:?}");
    });
}

#[test]
fn only_running_containers_take_one() {
    with_each_client(|s| {
        let _ = s.line("create --name cc busybox true").ok();
        let refused = s.line("exec cc true");
        assert!(refused.fails(1).contains("is not running"), "{refused:?}");
        let _ = s.line("run -d --name pp busybox sleep 1000").ok();
        let _ = s.line("pause pp").ok();
        let refused = s.line("exec pp true");
        assert!(
            refused
                .fails(1)
                .contains("is paused, unpause the container before exec"),
            "{refused:?}"
        );
        let _ = s.line("unpause pp").ok();
    });
}
