//! As much HTTP as pushing to a registry and asking a daemon takes, so that what tests Hull's own
//! HTTP shares no code with it.

use std::io::{self, BufRead, BufReader, Read, Write};

/// A reply.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The head, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, with its transfer coding undone.
    pub body: Vec<u8>,
}

impl Reply {
    /// The first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

/// A request; the connection serves only this one.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Such as `GET`.
    pub method: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// Further headers.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: &'a [u8],
}

/// Sends a request on `stream` and reads the whole reply.
///
/// # Errors
/// What reading and writing give, and `InvalidData` for a reply that is not HTTP.
pub fn send(mut stream: impl Read + Write, request: Request<'_>) -> io::Result<Reply> {
    let mut head = format!(
        "{} {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n",
        request.method, request.target
    );
    for (name, value) in request.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", request.body.len()));
    stream.write_all(head.as_bytes())?;
    stream.write_all(request.body)?;
    stream.flush()?;
    read_reply(BufReader::new(stream), request.method == "HEAD")
}

fn read_reply(mut from: impl BufRead, head_only: bool) -> io::Result<Reply> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut line = String::new();
    from.read_line(&mut line)?;
    let status = line
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| invalid(&line))?;
    let mut headers = Vec::new();
    loop {
        line.clear();
        from.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let mut reply = Reply {
        status,
        headers,
        body: Vec::new(),
    };
    if head_only {
        return Ok(reply);
    }
    if reply.header("transfer-encoding") == Some("chunked") {
        loop {
            line.clear();
            from.read_line(&mut line)?;
            let length = u64::from_str_radix(line.trim(), 16).map_err(|_| invalid(&line))?;
            (&mut from).take(length).read_to_end(&mut reply.body)?;
            from.read_line(&mut line)?;
            if length == 0 {
                return Ok(reply);
            }
        }
    }
    match reply
        .header("content-length")
        .and_then(|length| length.parse().ok())
    {
        Some(length) => {
            let read = from.take(length).read_to_end(&mut reply.body)?;
            // Who was killed meanwhile has not answered.
            if (read as u64) < length {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        None => {
            let _ = from.read_to_end(&mut reply.body)?;
        }
    }
    Ok(reply)
}
