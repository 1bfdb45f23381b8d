//! The web page: who may use it, and what a person sees in a real browser.

use hull_tests::browser::Browser;
use hull_tests::client::Client;
use hull_tests::daemon::wait_until;
use hull_tests::http::{Reply, Request, send};
use hull_tests::setup::{Setup, with};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

const ADDRESS: &str = "127.0.0.1:8123";

/// A daemon with a page, and its token.
fn with_page(test: impl Fn(&mut Setup<'_>, &str)) {
    if hull_tests::host::reference().is_some() {
        return;
    }
    with(Client::Hull, |s| {
        s.daemon.stop();
        s.daemon.set_arguments(&["--ui", ADDRESS]);
        s.daemon.restart();
        let token = fs_err::read_to_string(s.daemon.path("run/ui.token")).expect("the token");
        let told = format!("the page is at http://{ADDRESS}/#token={}", token.trim());
        assert!(s.daemon.log().contains(&told), "{}", s.daemon.log());
        test(s, token.trim());
    });
}

fn ask(s: &Setup<'_>, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    s.host.within(|| {
        let stream = TcpStream::connect(ADDRESS).expect("connect to the page");
        let request = Request {
            method,
            target,
            headers,
            body,
        };
        send(stream, request).expect("a reply of the page")
    })
}

#[test]
fn the_page_answers_its_own_user_only() {
    with_page(|s, token| {
        let bearer = format!("Bearer {token}");
        let own = [("Authorization", bearer.as_str())];
        let page = ask(s, "GET", "/", &[], b"");
        assert_eq!(page.status, 200);
        let policy = page.header("content-security-policy").expect("a policy");
        assert!(
            policy.contains("script-src 'self';") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(page.header("x-frame-options"), Some("DENY"));
        for (path, kind) in [("/app.js", "text/javascript"), ("/style.css", "text/css")] {
            let reply = ask(s, "GET", path, &[], b"");
            assert!(
                reply
                    .header("content-type")
                    .unwrap_or_default()
                    .starts_with(kind),
                "{reply:?}"
            );
        }
        let list = "/api/containers/json?all=1";
        assert_eq!(ask(s, "GET", list, &own, b"").status, 200);
        for (status, headers) in [
            (401, vec![]),
            (401, vec![("Authorization", "Bearer 0")]),
            (403, vec![own[0], ("Origin", "http://127.0.0.1:9000")]),
            (403, vec![own[0], ("Origin", "null")]),
            (403, vec![own[0], ("Sec-Fetch-Site", "same-site")]),
            (401, vec![("Cookie", bearer.as_str())]),
        ] {
            assert_eq!(
                ask(s, "GET", list, &headers, b"").status,
                status,
                "{headers:?}"
            );
        }
        rebound(s, &bearer);
        limits(s, own[0]);
        let _ = s.line("run -d --name page busybox sleep 1000").ok();
        numbers(s, own[0]);
        shell(s, token);
        let before = wait_until("the first row of the history", || {
            let times = times(&ask(s, "GET", "/api/hull/history", &own, b""));
            if times.is_empty() {
                Err("none")
            } else {
                Ok(times)
            }
        });
        s.daemon.kill();
        s.daemon.restart();
        let after = times(&ask(s, "GET", "/api/hull/history", &own, b""));
        assert!(after.starts_with(&before[..1]), "{before:?} {after:?}");
    });
}

fn times(reply: &Reply) -> Vec<u64> {
    assert_eq!(reply.status, 200, "{reply:?}");
    let times = reply.json()["times"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    times.iter().filter_map(serde_json::Value::as_u64).collect()
}

/// A process over a websocket: with the token only, and offered as browsers can.
fn shell(s: &Setup<'_>, token: &str) {
    let bearer = format!("Bearer {token}");
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
    ];
    let body = br#"{"Cmd":["sh","-c","read x; echo got $x"],"AttachStdin":true,"AttachStdout":true,"Tty":true}"#;
    let made = ask(s, "POST", "/api/containers/page/exec", &headers, body);
    assert_eq!(made.status, 201, "{made:?}");
    let id = made.json()["Id"].as_str().expect("an id").to_owned();
    let open = |protocols: &str| {
        s.host.within(|| {
            let mut stream = TcpStream::connect(ADDRESS).expect("connect");
            let head = format!("GET /api/hull/exec/{id}/ws HTTP/1.1\r\nHost: {ADDRESS}\r\nOrigin: http://{ADDRESS}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: {protocols}\r\n\r\n");
            stream.write_all(head.as_bytes()).expect("ask");
            let mut reader = BufReader::new(stream);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                assert!(reader.read_line(&mut head).expect("a head") > 0, "{head}");
            }
            (head, reader)
        })
    };
    let (head, _) = open("hull, hull.token.0");
    assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
    let (head, mut reader) = open(&format!("hull, hull.token.{token}"));
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.contains("Sec-WebSocket-Protocol: hull\r\n"), "{head}");
    reader
        .get_mut()
        .write_all(b"\x82\x84\0\0\0\0abc\n")
        .expect("type");
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).expect("the output");
    assert!(
        String::from_utf8_lossy(&rest).contains("got abc"),
        "{rest:?}"
    );
}

/// Texts that would be markup if they were taken for it.
const MARKUP: &str = "<img src=x onerror=document.title='broken'>";

#[test]
fn a_person_with_a_browser_sees_and_does() {
    if !Browser::is_available() {
        return;
    }
    with_page(|s, token| {
        let script = format!("echo first line; echo \"{MARKUP}\"; echo needle >&2; sleep 1000");
        let _ = s.line("network create --subnet 10.77.0.0/24 page-net").ok();
        let label = format!("note={MARKUP}");
        let run = [
            "run",
            "-d",
            "--name",
            "front",
            "--network",
            "page-net",
            "-p",
            "8088:80",
            "--label",
            &label,
            "busybox",
            "sh",
            "-c",
            &script,
        ];
        let _ = s.run(&run).ok();
        let _ = s
            .line("run -d --name back --network page-net -v page-data:/data busybox sleep 1000")
            .ok();
        let mut b = Browser::start(s.host, 1280, 800);
        b.open(&format!("http://{ADDRESS}/#token={token}"));
        b.wait("document.querySelectorAll('figure path.line').length >= 1");
        assert_eq!(b.value("location.hash"), "#/", "the token is out of sight");
        b.picture("overview");

        b.value("location.hash = '#/containers'");
        b.wait("document.querySelectorAll('tbody tr').length === 2");
        b.wait("/B/.test(document.querySelector('tbody tr').children[3].textContent)");
        b.picture("containers");
        b.value("document.querySelector('button[aria-label=\"stop back\"]').click()");
        b.wait("document.querySelector('button[aria-label=\"start back\"]') !== null");
        assert_eq!(s.inspect("back", "/State/Status"), "exited");
        b.value("document.querySelector('button[aria-label=\"start back\"]').click()");
        b.wait("document.querySelector('button[aria-label=\"stop back\"]') !== null");

        container(&mut b);
        places(&mut b);
        screens(&mut b);
        // Another page of this machine has no part in it: another port is another origin.
        b.open(&format!("http://localhost:{}/", &ADDRESS[10..]));
        b.wait("document.querySelector('h1')?.textContent === 'Locked'");
        b.picture("locked");
    });
}

/// What programs send to terminals, and the rows that a screen of 10 columns and 4 rows shows then.
const SCREENS: &[(&str, [&str; 4])] = &[
    ("hello world\r\nx", ["hello worl", "d", "x", ""]),
    ("1\r\n2\r\n3\r\n4\r\n5", ["2", "3", "4", "5"]),
    ("abc\x1b[2D\x1b[KX", ["aX", "", "", ""]),
    (
        "a\r\nb\r\nc\r\nd\x1b[2;3r\x1b[2;1H\x1b[L+",
        ["a", "+", "b", "d"],
    ),
    ("a\r\nb\r\nc\r\nd\x1b[2;1H\x1b[M", ["a", "c", "d", ""]),
    ("here\x1b[?1049hthere\x1b[?1049l!", ["here!", "", "", ""]),
    (
        "\u{65e5}\u{672c}\u{8a9e}\u{65e5}\u{672c}\u{8a9e}",
        [
            "\u{65e5}\u{672c}\u{8a9e}\u{65e5}\u{672c}",
            "\u{8a9e}",
            "",
            "",
        ],
    ),
    (
        "e\u{301}x\x1b]0;title\x07y\x1b(0q\x1b(Bq",
        ["e\u{301}xy\u{2500}q", "", "", ""],
    ),
    (
        "abc\x1b[1;2H\x1b[@-\x1b[Pd\x1b[4;10Hz\x1b[99;99H\x1b[1J",
        ["", "", "", ""],
    ),
    (
        "x\x1b[3b\x1b[2;2H\x1b[31;48;2;1;2;3my\x1b[m\x1bM\x1bM\x1bMt",
        ["  t", "", "xxxx", " y"],
    ),
];

/// The screen itself, in the browser that runs it.
fn screens(b: &mut Browser) {
    for (sent, shown) in SCREENS {
        let sent = serde_json::json!(sent);
        let expression = format!(
            "import('/screen.js').then(({{ Screen }}) => {{ const screen = new Screen(10, 4); screen.write(new TextEncoder().encode({sent})); return screen.text(); }})"
        );
        assert_eq!(b.value(&expression), serde_json::json!(shown), "{sent}");
    }
    // Whatever comes, a screen keeps its size.
    let expression = r"import('/screen.js').then(({ Screen }) => {
        let seed = 7;
        const next = () => (seed = (seed * 48271) % 2147483647);
        const alphabet = '\x1b\x1b[[0123456789;?hlmABCDGHJKLMPSTXb@r\r\n\u65e5 ax';
        const screen = new Screen(7, 5);
        const fits = () => screen.grid.length === screen.rows && screen.grid.every((row) => row.length === screen.columns)
            && screen.y < screen.rows && screen.x < screen.columns;
        for (let turn = 0; turn < 200; turn += 1) {
            const text = Array.from({ length: 100 }, () => alphabet[next() % alphabet.length]).join('');
            screen.write(new TextEncoder().encode(text));
            if (turn % 20 === 19) screen.resize(3 + next() % 20, 2 + next() % 9);
            if (!fits()) return turn;
        }
        return 'whole';
    })";
    assert_eq!(b.value(expression), "whole");
}

/// One container: its log, what is known of it, a terminal.
fn container(b: &mut Browser) {
    b.value("location.hash = '#/containers/front/logs'");
    b.wait("document.querySelector('.log')?.textContent.includes('needle')");
    assert_eq!(b.value("document.querySelectorAll('.log img').length"), 0);
    assert_eq!(b.value("document.querySelectorAll('.log .err').length"), 1);
    b.value("document.querySelector('input[type=search]').focus()");
    b.type_text("LINE");
    b.wait("document.querySelectorAll('.log mark').length === 1");
    b.picture("logs");
    b.value("location.hash = '#/containers/front/details'");
    b.wait(&format!(
        "document.querySelector('pre')?.textContent.includes({})",
        serde_json::json!(MARKUP)
    ));
    assert_eq!(b.value("document.title"), "front – Containers – Hull");

    b.value("location.hash = '#/containers/front/terminal'");
    b.wait("document.querySelector('.terminal')?.textContent.includes('/ #')");
    b.value("document.querySelector('.terminal textarea').focus()");
    b.type_text("echo $((6*7)); ls --color=always /\r");
    b.wait("[...document.querySelectorAll('.terminal .row')].some((row) => row.textContent.trim() === '42')");
    b.picture("terminal");
}

/// The other sections.
fn places(b: &mut Browser) {
    b.value("location.hash = '#/networks'");
    b.wait("document.querySelectorAll('.picture a').length === 2");
    b.picture("networks");
    for (section, shown) in [
        ("images", "busybox"),
        ("volumes", "page-data"),
        ("disk", "Image"),
    ] {
        b.value(&format!("location.hash = '#/{section}'"));
        b.wait(&format!(
            "document.querySelector('tbody')?.textContent.includes('{shown}')"
        ));
        b.picture(section);
    }
    b.value(
        "document.querySelector('main a[href^=\"#/images/\"], nav a[href=\"#/images\"]').click()",
    );
    b.wait("document.querySelector('main tbody a[href^=\"#/images/\"]') !== null");
    b.value("document.querySelector('main tbody a[href^=\"#/images/\"]').click()");
    b.wait("document.querySelector('table[aria-label=Layers] rect.meter') !== null");
    b.picture("image");
}

/// A page can do what it needs, and nothing that would make containers or more.
fn limits(s: &Setup<'_>, own: (&str, &str)) {
    let json = [own, ("Content-Type", "application/json")];
    for (method, path) in [
        ("POST", "/api/containers/create"),
        ("POST", "/api/v1.51/containers/create"),
        ("POST", "/api/build"),
        ("POST", "/api/images/load"),
        ("PUT", "/api/containers/x/archive"),
        ("GET", "/containers/json"),
    ] {
        assert_eq!(ask(s, method, path, &json, b"{}").status, 404, "{path}");
    }
    // Nor is the API elsewhere opened by the token's being there.
    assert_eq!(s.daemon.get("/hull/usage").status, 404);
}

/// A stranger's name that means this machine.
fn rebound(s: &Setup<'_>, bearer: &str) {
    let list = "/api/containers/json?all=1";
    let told = s.host.within(|| {
        let mut stream = TcpStream::connect(ADDRESS).expect("connect");
        let text = format!("GET {list} HTTP/1.1\r\nHost: evil.example:8123\r\nAuthorization: {bearer}\r\nConnection: close\r\n\r\n");
        stream.write_all(text.as_bytes()).expect("ask");
        let mut told = String::new();
        stream.read_to_string(&mut told).expect("a reply");
        told
    });
    assert!(told.starts_with("HTTP/1.1 421 "), "{told}");
}

/// What is used now, and questions about the history that make no sense.
fn numbers(s: &Setup<'_>, own: (&str, &str)) {
    let own = [own];
    let usage = ask(s, "GET", "/api/hull/usage", &own, b"").json();
    let id = s.inspect("page", "/Id");
    let numbers = &usage["containers"][id.as_str().expect("an id")];
    assert!(numbers["memory"].as_f64() > Some(0.0), "{usage}");
    assert!(usage["host"]["memory"].as_f64() > Some(1e6), "{usage}");
    assert_eq!(
        ask(s, "GET", "/api/hull/history?container=none", &own, b"").status,
        404
    );
    assert_eq!(
        ask(s, "GET", "/api/hull/history?points=x", &own, b"").status,
        400
    );
}
