//! `search`.

use hull_tests::index::Index;
use hull_tests::setup::with_each_client;

#[test]
fn a_registrys_index_is_searched() {
    with_each_client(|s| {
        let index = Index::start(s.host);
        let term = format!("{}/busybox", index.host());
        let table = s.run(&["search", &term]);
        let lines: Vec<&str> = table.ok().lines().map(str::trim_end).collect();
        assert_eq!(
            lines,
            [
                "NAME           DESCRIPTION                                     STARS     OFFICIAL",
                "busybox        A busybox image whose description goes on fo…   3000      [OK]",
                "team/busybox   two lines                                       3",
                "team/zero                                                      0",
            ]
        );
        let filtered = s.run(&[
            "search",
            "--no-trunc",
            "--limit=7",
            "-f",
            "stars=3",
            "--filter=is-official=false",
            "--format={{.Name}}|{{.Description}}|{{.StarCount}}|{{.IsOfficial}}",
            &term,
        ]);
        assert_eq!(filtered.ok(), "team/busybox|two lines|3|");
        let json = s.run(&["search", "--format=json", "-f=stars=4", &term]);
        assert!(json.ok().contains(r#""IsOfficial":"true""#), "{json:?}");
        assert!(json.ok().contains(r#""StarCount":"3000""#), "{json:?}");
        let asked = index.asked();
        assert_eq!(asked.first().map(String::as_str), Some("q=busybox&n=25"));
        assert_eq!(asked.get(1).map(String::as_str), Some("q=busybox&n=7"));
        for (arguments, text) in [
            (
                ["--limit=101", "-f=stars=1"],
                "limit 101 is outside the range of [1, 100]",
            ),
            (["--limit=1", "-f=stars=x"], "invalid filter 'stars=x'"),
            (["--limit=1", "-f=nope=x"], "invalid filter 'nope'"),
        ] {
            let refused = s.run(&["search", arguments[0], arguments[1], &term]);
            assert!(refused.fails(1).contains(text), "{refused:?}");
        }
    });
}
