//! A headless Chromium, driven through its DevTools protocol over two pipes.

use crate::host::Host;
use base64::Engine as _;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

/// Where Debian's package has it.
const PROGRAM: &str = "/usr/bin/chromium";

/// A browser with one page.
#[derive(Debug)]
pub struct Browser {
    process: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    session: String,
    last: u64,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Whether there is one.
    #[must_use]
    pub fn is_available() -> bool {
        crate::can_run("chromium", std::path::Path::new(PROGRAM).exists())
    }

    /// Starts one in the namespace of `host`, with a window of that size.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(host: &Host, width: u32, height: u32) -> Self {
        let profile = tempfile::Builder::new()
            .prefix("hull-browser-")
            .tempdir()
            .expect("a directory");
        // It wants its commands at descriptor 3 and answers at 4.
        let script = "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1";
        let mut process = host
            .command("sh")
            .args(["-c", script, PROGRAM])
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--remote-debugging-pipe",
                &format!("--window-size={width},{height}"),
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .env("HOME", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start chromium");
        let to = process.stdin.take().expect("a pipe");
        let from = BufReader::new(process.stdout.take().expect("a pipe"));
        let mut browser = Self {
            process,
            to,
            from,
            session: String::new(),
            last: 0,
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", &json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.call("Target.attachToTarget", &attach);
        browser.session = session["sessionId"].as_str().expect("a session").to_owned();
        browser.call("Runtime.enable", &json!({}));
        browser.call("Page.enable", &json!({}));
        browser
    }

    /// Calls one of the protocol's methods.
    ///
    /// # Panics
    /// When it fails.
    pub fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.last += 1;
        let mut message = json!({"id": self.last, "method": method, "params": parameters});
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.to.write_all(&bytes).expect("ask chromium");
        loop {
            let mut bytes = Vec::new();
            let length = self
                .from
                .read_until(0, &mut bytes)
                .expect("chromium's answer");
            assert!(length > 0, "chromium has ended");
            bytes.pop();
            let answer: Value = serde_json::from_slice(&bytes).expect("JSON of chromium");
            if answer["id"] == json!(self.last) {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].clone();
            }
        }
    }

    /// Opens an address.
    pub fn open(&mut self, address: &str) {
        self.call("Page.navigate", &json!({"url": address}));
    }

    /// What an expression of JavaScript yields; a promise is waited for.
    ///
    /// # Panics
    /// When it throws.
    pub fn value(&mut self, expression: &str) -> Value {
        let parameters =
            json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let answer = self.call("Runtime.evaluate", &parameters);
        assert!(
            answer["exceptionDetails"].is_null(),
            "{expression}: {answer}"
        );
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    ///
    /// # Panics
    /// When it does not become true; what the page shows is told.
    pub fn wait(&mut self, expression: &str) {
        crate::daemon::wait_until(expression, || {
            // Between two pages there is nothing to ask, and what is asked too early throws.
            let parameters = json!({"expression": expression, "returnByValue": true});
            if self.call("Runtime.evaluate", &parameters)["result"]["value"] == json!(true) {
                return Ok(());
            }
            let shown = json!({"expression": "document.body?.innerText", "returnByValue": true});
            Err(self.call("Runtime.evaluate", &shown)["result"]["value"].clone())
        });
    }

    /// Types a text, or `\r` as the key Enter.
    pub fn type_text(&mut self, text: &str) {
        for piece in text.split_inclusive('\r') {
            let plain = piece.trim_end_matches('\r');
            if !plain.is_empty() {
                self.call("Input.insertText", &json!({"text": plain}));
            }
            if piece.ends_with('\r') {
                for kind in ["keyDown", "keyUp"] {
                    let key = json!({"type": kind, "key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"});
                    self.call("Input.dispatchKeyEvent", &key);
                }
            }
        }
    }

    /// Keeps a picture of the page where `HULL_SCREENSHOTS` says, if it does.
    pub fn picture(&mut self, name: &str) {
        let Some(place) = std::env::var_os("HULL_SCREENSHOTS") else {
            return;
        };
        let answer = self.call("Page.captureScreenshot", &json!({"format": "png"}));
        let data = answer["data"].as_str().unwrap_or_default();
        let bytes = base64::engine::general_purpose::STANDARD.decode(data);
        let path = std::path::Path::new(&place).join(format!("{name}.png"));
        fs_err::write(path, bytes.expect("base64")).expect("write the picture");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It ends its own children when it is asked; killed, it would leave them.
        let _ = self
            .to
            .write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        let _ = self.process.wait();
    }
}
