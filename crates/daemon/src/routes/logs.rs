//! `GET /containers/{id}/logs`.

use super::attach::content_type;
use crate::convert::time;
use crate::error::ApiError;
use crate::query::{Query, parse_int};
use crate::reply::{self, Outcome};
use crate::request::Request;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::HeaderValue;
use hull_api::stream::{self, StreamKind};
use hull_engine::logs::{LogEntry, LogOptions};

/// Reads a container's log: frames, or bare bytes when it has a terminal.
pub(crate) async fn logs(request: Request) -> Result<Outcome, ApiError> {
    let query = &request.query;
    let options = options(query)?;
    let form = Form {
        timestamps: query.flag("timestamps"),
        framed: true,
    };
    let logs = request.app.engine.logs(&request.name, options).await?;
    let content_type = content_type(logs.tty, request.version);
    let form = Form {
        framed: !logs.tty,
        ..form
    };
    let pieces = logs.entries.map(move |entry| {
        Ok(match entry {
            Ok(entry) => form.write(&entry),
            // The head is out; dockerd's clients take this frame for an error.
            Err(error) => {
                let text = format!("Error grabbing logs: {}\n", error.full_message());
                form.frame(StreamKind::SystemError, text.as_bytes())
            }
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
    })
}

/// How lines are written.
#[derive(Clone, Copy)]
pub(super) struct Form {
    pub(super) timestamps: bool,
    pub(super) framed: bool,
}

impl Form {
    pub(super) fn write(self, entry: &LogEntry) -> Bytes {
        let kind = if entry.stderr {
            StreamKind::Stderr
        } else {
            StreamKind::Stdout
        };
        if !self.timestamps {
            return self.frame(kind, &entry.line);
        }
        let mut line = time::fixed(entry.at).into_bytes();
        line.push(b' ');
        line.extend_from_slice(&entry.line);
        self.frame(kind, &line)
    }

    fn frame(self, kind: StreamKind, payload: &[u8]) -> Bytes {
        if !self.framed {
            return Bytes::copy_from_slice(payload);
        }
        let mut bytes = BytesMut::with_capacity(stream::HEADER_LEN + payload.len());
        stream::encode(kind, payload, &mut bytes);
        bytes.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_framed_as_dockerd_frames_them() {
        let entry = LogEntry {
            stderr: true,
            at: "2026-11-21T05:49:11.23562982Z".parse().unwrap(),
            line: Bytes::from_static(b"err\n"),
        };
        let form = Form {
            timestamps: true,
            framed: true,
        };
        assert_eq!(
            &form.write(&entry)[..],
            b"\x02\0\0\0\0\0\0\x232026-11-21T05:49:11.235629820Z err\n"
        );
        let form = Form {
            timestamps: false,
            framed: false,
        };
        assert_eq!(&form.write(&entry)[..], b"err\n");
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
