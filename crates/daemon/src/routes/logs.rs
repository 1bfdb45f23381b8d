//! `GET /containers/{id}/logs`.

use super::attach::content_type;
use crate::convert::time;
use crate::error::ApiError;
use crate::query::{Query, parse_int};
use crate::reply::{self, Outcome};
use crate::request::Request;
use futures_util::StreamExt;
use http::HeaderValue;
use hull_api::stream::{self, StreamKind};
use hull_engine::logs::{LogLine, LogOptions};

/// Reads a container's log: frames, or bare bytes when it has a terminal.
pub(crate) async fn logs(request: Request) -> Result<Outcome, ApiError> {
    let query = &request.query;
    let options = options(query)?;
    let form = Form {
        timestamps: query.flag("timestamps"),
        details: query.flag("details"),
        framed: true,
    };
    let logs = request.app.engine.logs(&request.name, options).await?;
    let content_type = content_type(logs.tty, request.version);
    let form = Form {
        framed: !logs.tty,
        ..form
    };
    let pieces = logs.pieces(move |line, out| form.write(line, out));
    let pieces = pieces.map(move |piece| {
        piece.or_else(|error| {
            // The head is out; dockerd's clients take this frame for an error.
            let text = format!("Error grabbing logs: {}\n", error.full_message());
            let mut out = Vec::new();
            form.frame(StreamKind::SystemError, &[text.as_bytes()], &mut out);
            Ok(out.into())
        })
    });
    let stop = request.app.shutdown.clone();
    Ok(reply::stream(stop, HeaderValue::from_static(content_type), pieces).into())
}

fn options(query: &Query) -> Result<LogOptions, ApiError> {
    let (stdout, stderr) = (query.flag("stdout"), query.flag("stderr"));
    if !stdout && !stderr {
        return Err(ApiError::bad_request(
            "Bad parameters: you must choose at least one stream",
        ));
    }
    // Whatever is no number means everything, as for dockerd.
    let tail = parse_int(query.text("tail")).ok();
    Ok(LogOptions {
        stdout,
        stderr,
        since: time::parse(query.text("since"))?,
        until: time::parse(query.text("until"))?,
        tail: tail.and_then(|lines| usize::try_from(lines).ok()),
        follow: query.flag("follow"),
        details: query.flag("details"),
    })
}

/// How lines are written.
#[derive(Clone, Copy)]
pub(super) struct Form {
    pub(super) timestamps: bool,
    pub(super) details: bool,
    pub(super) framed: bool,
}

impl Form {
    pub(super) fn write(self, line: &LogLine<'_>, out: &mut Vec<u8>) {
        let kind = if line.stderr {
            StreamKind::Stderr
        } else {
            StreamKind::Stdout
        };
        let mut front = String::new();
        if self.timestamps {
            front += &time::fixed(line.at());
            front.push(' ');
        }
        if self.details {
            for (number, (name, value)) in line.attributes.iter().enumerate() {
                let separator = if number == 0 { "" } else { "," };
                front += &format!("{separator}{}={}", escaped(name), escaped(value));
            }
            front.push(' ');
        }
        self.frame(kind, &[front.as_bytes(), line.line], out);
    }

    fn frame(self, kind: StreamKind, parts: &[&[u8]], out: &mut Vec<u8>) {
        if self.framed {
            let length = parts.iter().map(|part| part.len()).sum();
            out.extend_from_slice(&stream::header(kind, length));
        }
        parts.iter().for_each(|part| out.extend_from_slice(part));
    }
}

/// As in the query of an address, which is how Docker's clients undo it.
fn escaped(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_framed_as_dockerd_frames_them() {
        let at = "2026-11-21T05:49:11.23562982Z".parse().unwrap();
        let attributes =
            [("a.b", "x y,z"), ("q", "1")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut line = LogLine::new(true, at, b"err\n");
        line.attributes = &attributes;
        let written = |timestamps, details, framed| {
            let form = Form {
                timestamps,
                details,
                framed,
            };
            let mut out = Vec::new();
            form.write(&line, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            written(true, false, true),
            "\x02\0\0\0\0\0\0\x232026-11-21T05:49:11.235629820Z err\n"
        );
        assert_eq!(written(false, false, false), "err\n");
        assert_eq!(
            written(true, true, false),
            "2026-11-21T05:49:11.235629820Z a.b=x+y%2Cz,q=1 err\n"
        );
    }

    #[test]
    fn a_stream_must_be_chosen_and_numbers_be_numbers() {
        let read = |text| options(&Query::parse(text)).map_err(|error| error.message);
        assert_eq!(
            read("").unwrap_err(),
            "Bad parameters: you must choose at least one stream"
        );
        assert_eq!(read("stdout=1&tail=all").unwrap().tail, None);
        assert_eq!(read("stdout=1&tail=-1").unwrap().tail, None);
        assert_eq!(read("stdout=1&tail=5").unwrap().tail, Some(5));
        assert!(read("stdout=1&since=x").is_err());
    }
}
