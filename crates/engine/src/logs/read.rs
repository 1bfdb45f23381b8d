//! A log's lines in order, as far as they are asked for.

use super::entry::{Decoder, Found};
use super::files::{LogFile, Place};
use super::{LogLine, LogOptions};
use bytes::Bytes;
use std::collections::VecDeque;
use std::io;

/// How much is handed over at once, about.
const PIECE: usize = 128 << 10;

/// Writes a line as a client is to get it.
pub(super) type Write = Box<dyn FnMut(&LogLine<'_>, &mut Vec<u8>) + Send>;

/// What reading has come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Lines, written as asked.
    Piece(Bytes),
    /// There is no more at present.
    Wait,
    /// There will be no more.
    End,
}

/// Reads a log.
pub(super) struct Reader {
    place: Place,
    options: LogOptions,
    decoder: Decoder,
    write: Write,
    /// Files after the current one.
    coming: VecDeque<LogFile>,
    current: Option<LogFile>,
    opened: bool,
    /// More may be written, or other files begun.
    pub(super) live: bool,
    enough: bool,
    out: Vec<u8>,
}

impl Reader {
    pub(super) fn new(place: Place, options: LogOptions, write: Write) -> Self {
        Self {
            decoder: Decoder::new(place.format),
            place,
            options,
            write,
            coming: VecDeque::new(),
            current: None,
            opened: false,
            live: options.follow,
            enough: false,
            out: Vec::new(),
        }
    }

    /// Reads about as much as is handed over at once.
    pub(super) fn step(&mut self) -> io::Result<Step> {
        if !self.opened {
            let LogOptions { tail, since, .. } = self.options;
            self.coming = self.place.open(tail, since)?.into();
            self.opened = true;
        }
        while self.out.len() < PIECE && !self.enough {
            if self.current.is_none() {
                self.current = self.coming.pop_front();
            }
            let Some(file) = &mut self.current else {
                // One that was deleted comes again with the next line.
                self.coming = match self.live {
                    true => self.place.open(None, None)?.into(),
                    false => VecDeque::new(),
                };
                if self.coming.is_empty() {
                    break;
                }
                continue;
            };
            self.enough = decode(
                file,
                &mut self.decoder,
                self.options,
                &mut self.write,
                &mut self.out,
            );
            if self.enough || self.out.len() >= PIECE || file.fill()? {
                continue;
            }
            if !self.coming.is_empty() {
                self.current = None;
                continue;
            }
            if !self.options.follow {
                break;
            }
            // Also when nothing more is written: the last lines may be in other files than this one.
            self.coming.extend(self.place.after(file)?);
            // What was written between the last look and the rotation is read before the next file is.
            if self.coming.is_empty() && !file.fill()? {
                break;
            }
        }
        Ok(if !self.out.is_empty() {
            let next = Vec::with_capacity(if self.out.len() < PIECE { 0 } else { PIECE });
            Step::Piece(std::mem::replace(&mut self.out, next).into())
        } else if self.live && !self.enough {
            if let Some(file) = &mut self.current {
                file.rest();
            }
            Step::Wait
        } else {
            Step::End
        })
    }
}

/// Writes the lines that were read; `true` when no later one is wanted.
fn decode(
    file: &mut LogFile,
    decoder: &mut Decoder,
    options: LogOptions,
    write: &mut Write,
    out: &mut Vec<u8>,
) -> bool {
    while out.len() < PIECE {
        let (length, line) = match decoder.next(file.bytes()) {
            Found::More => return false,
            Found::Nothing(length) => {
                file.consume(length);
                continue;
            }
            Found::Line(length, line) => (length, line),
        };
        let skipped = file.skip > 0;
        if !skipped {
            let too_late = |until| line.at() > until;
            if options.until.is_some_and(too_late) {
                return true;
            }
            let stream = if line.stderr {
                options.stderr
            } else {
                options.stdout
            };
            if stream && options.since.is_none_or(|since| line.at() >= since) {
                write(&line, out);
            }
        }
        file.skip -= usize::from(skipped);
        file.consume(length);
    }
    false
}

#[cfg(test)]
mod tests;
