//! The log, in Docker's json-file format, and its rotation.
//!
//! One line of JSON per line of output: `{"log":"…\n","stream":"stdout","time":"…"}`. A line of
//! output that fills 16 KiB before it ends becomes several, all but the last without `\n`.

use crate::LogConfig;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;

/// Where Docker cuts lines, bytes.
const MAX_LINE: usize = 16 << 10;

/// A json-file log being written.
#[derive(Debug)]
pub(super) struct JsonFile {
    config: LogConfig,
    file: File,
    size: u64,
    /// What has come of a line that has not ended, for standard output and error.
    partial: [Vec<u8>; 2],
    /// Entries that are not written yet.
    entries: Vec<u8>,
}

impl JsonFile {
    pub(super) fn open(config: &LogConfig) -> io::Result<Self> {
        let file = append(&config.path)?;
        let size = file.metadata()?.len();
        Ok(Self {
            config: config.clone(),
            file,
            size,
            partial: [Vec::new(), Vec::new()],
            entries: Vec::new(),
        })
    }

    /// Takes output of stream 1 or 2 that came now.
    pub(super) fn write(&mut self, stream: u8, bytes: &[u8]) -> io::Result<()> {
        let now = jiff::Timestamp::now().to_string();
        let slot = usize::from(stream == 2);
        let mut partial = std::mem::take(&mut self.partial[slot]);
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let mut rest = piece;
            while !rest.is_empty() {
                // Never full here: a full one is written at once.
                let (head, tail) = rest.split_at(rest.len().min(MAX_LINE - partial.len()));
                partial.extend_from_slice(head);
                rest = tail;
                if head.ends_with(b"\n") || partial.len() == MAX_LINE {
                    self.entry(slot, &partial, &now)?;
                    partial.clear();
                }
            }
        }
        self.partial[slot] = partial;
        self.flush()
    }

    /// Writes what has come of lines that will not end.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        let now = jiff::Timestamp::now().to_string();
        for slot in 0..2 {
            let partial = std::mem::take(&mut self.partial[slot]);
            if !partial.is_empty() {
                self.entry(slot, &partial, &now)?;
            }
        }
        self.flush()
    }

    fn entry(&mut self, slot: usize, line: &[u8], now: &str) -> io::Result<()> {
        let limit = self.config.max_size;
        if limit > 0 && self.size + self.entries.len() as u64 >= limit {
            self.flush()?;
            self.rotate()?;
        }
        let entries = &mut self.entries;
        entries.extend_from_slice(b"{\"log\":\"");
        escape(line, entries);
        entries.extend_from_slice(if slot == 0 {
            b"\",\"stream\":\"stdout\",\"time\":\""
        } else {
            b"\",\"stream\":\"stderr\",\"time\":\""
        });
        entries.extend_from_slice(now.as_bytes());
        entries.extend_from_slice(b"\"}\n");
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let entries = std::mem::take(&mut self.entries);
        self.file.write_all(&entries)?;
        self.size += entries.len() as u64;
        self.entries = entries;
        self.entries.clear();
        Ok(())
    }

    /// `x.log.1` becomes `x.log.2` and so on; the oldest goes, the current one becomes `x.log.1`.
    fn rotate(&mut self) -> io::Result<()> {
        let numbered = |number: u32| -> PathBuf {
            let mut name = self.config.path.clone().into_os_string();
            if number > 0 {
                name.push(format!(".{number}"));
            }
            name.into()
        };
        if self.config.max_files <= 1 {
            self.file.set_len(0)?;
        } else {
            for number in (0..self.config.max_files - 1).rev() {
                match fs_err::rename(numbered(number), numbered(number + 1)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            self.file = append(&self.config.path)?;
        }
        self.size = 0;
        Ok(())
    }
}

fn append(path: &std::path::Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
}

/// Writes `line` as Docker's encoder writes strings: what HTML would misread is escaped, and what
/// is not UTF-8 becomes U+FFFD.
fn escape(line: &[u8], to: &mut Vec<u8>) {
    let mut plain_from = 0;
    let mut at = 0;
    while at < line.len() {
        let byte = line[at];
        if byte.is_ascii() {
            if needs_escape(byte) {
                to.extend_from_slice(&line[plain_from..at]);
                escape_byte(byte, to);
                plain_from = at + 1;
            }
            at += 1;
            continue;
        }
        let length = character_length(&line[at..]);
        match length {
            None => {
                to.extend_from_slice(&line[plain_from..at]);
                to.extend_from_slice(b"\\ufffd");
                at += 1;
                plain_from = at;
            }
            // Line and paragraph separator, which JavaScript takes for line ends.
            Some(3)
                if line[at..].starts_with(&[0xe2, 0x80, 0xa8])
                    || line[at..].starts_with(&[0xe2, 0x80, 0xa9]) =>
            {
                to.extend_from_slice(&line[plain_from..at]);
                to.extend_from_slice(if line[at + 2] == 0xa8 {
                    b"\\u2028"
                } else {
                    b"\\u2029"
                });
                at += 3;
                plain_from = at;
            }
            Some(length) => at += length,
        }
    }
    to.extend_from_slice(&line[plain_from..]);
}

fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&')
}

fn escape_byte(byte: u8, to: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'"' | b'\\' => to.extend_from_slice(&[b'\\', byte]),
        b'\n' => to.extend_from_slice(b"\\n"),
        b'\r' => to.extend_from_slice(b"\\r"),
        _ => {
            to.extend_from_slice(b"\\u00");
            to.push(DIGITS[usize::from(byte >> 4)]);
            to.push(DIGITS[usize::from(byte & 15)]);
        }
    }
}

/// The length of the UTF-8 character that `bytes` begin with.
fn character_length(bytes: &[u8]) -> Option<usize> {
    let length = match bytes[0] {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return None,
    };
    std::str::from_utf8(bytes.get(..length)?)
        .ok()
        .map(|_| length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn log(max_size: u64, max_files: u32) -> (tempfile::TempDir, JsonFile) {
        let directory = tempfile::tempdir().unwrap();
        let config = LogConfig {
            path: directory.path().join("x.log"),
            max_size,
            max_files,
        };
        let log = JsonFile::open(&config).unwrap();
        (directory, log)
    }

    fn lines(path: &std::path::Path) -> Vec<(String, String)> {
        let text = fs_err::read_to_string(path).unwrap();
        let entry = |line: &str| {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            (
                value["log"].as_str().unwrap().to_owned(),
                value["stream"].as_str().unwrap().to_owned(),
            )
        };
        text.lines().map(entry).collect()
    }

    #[test]
    fn lines_are_joined_and_streams_kept_apart() {
        let (directory, mut log) = log(0, 1);
        log.write(1, b"one\ntw").unwrap();
        log.write(2, b"error\n").unwrap();
        log.write(1, b"o\nrest").unwrap();
        log.finish().unwrap();
        let expected = [
            ("one\n", "stdout"),
            ("error\n", "stderr"),
            ("two\n", "stdout"),
            ("rest", "stdout"),
        ];
        assert_eq!(
            lines(&directory.path().join("x.log")),
            expected.map(|(a, b)| (a.to_owned(), b.to_owned()))
        );
        let text = fs_err::read_to_string(directory.path().join("x.log")).unwrap();
        assert!(
            text.starts_with(r#"{"log":"one\n","stream":"stdout","time":"20"#),
            "{text}"
        );
    }

    #[test]
    fn long_lines_are_cut() {
        let (directory, mut log) = log(0, 1);
        let mut line = vec![b'a'; 2 * MAX_LINE + 10];
        line.push(b'\n');
        log.write(1, &line).unwrap();
        let lengths: Vec<usize> = lines(&directory.path().join("x.log"))
            .iter()
            .map(|(line, _)| line.len())
            .collect();
        assert_eq!(lengths, [MAX_LINE, MAX_LINE, 11]);
    }

    #[test]
    fn a_line_is_cut_where_dockerd_cuts_it_whatever_pieces_it_comes_in() {
        for (length, expected) in [
            (MAX_LINE - 1, vec![MAX_LINE]),
            (MAX_LINE, vec![MAX_LINE, 1]),
            (MAX_LINE + 1, vec![MAX_LINE, 2]),
        ] {
            let mut line = vec![b'a'; length];
            line.push(b'\n');
            for size in [line.len(), MAX_LINE, 1000, 7] {
                let (directory, mut log) = log(0, 1);
                for piece in line.chunks(size) {
                    log.write(1, piece).unwrap();
                }
                let lengths: Vec<usize> = lines(&directory.path().join("x.log"))
                    .iter()
                    .map(|(line, _)| line.len())
                    .collect();
                assert_eq!(lengths, expected, "{length} bytes in pieces of {size}");
            }
        }
    }

    #[test]
    fn old_files_go() {
        let (directory, mut log) = log(200, 3);
        for number in 0..20 {
            log.write(1, format!("line {number}\n").as_bytes()).unwrap();
        }
        let mut names: Vec<_> = fs_err::read_dir(directory.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["x.log", "x.log.1", "x.log.2"]);
        let last = lines(&directory.path().join("x.log"));
        assert_eq!(last.last().unwrap().0, "line 19\n");
    }

    #[test]
    fn characters_are_escaped_as_docker_does() {
        let mut to = Vec::new();
        escape("<a> & \"b\" \\ \t\u{7f}ä\u{2028}\r".as_bytes(), &mut to);
        escape(&[0xff, b'x', 0xe2, 0x80], &mut to);
        let expected =
            "\\u003ca\\u003e \\u0026 \\\"b\\\" \\\\ \\u0009\u{7f}ä\\u2028\\r\\ufffdx\\ufffd\\ufffd";
        assert_eq!(String::from_utf8(to).unwrap(), expected);
    }

    proptest! {
        #[test]
        fn whatever_comes_in_any_pieces_is_read_back(pieces in proptest::collection::vec("[a-c<\\n]{0,40}", 0..20)) {
            let (directory, mut log) = log(0, 1);
            for piece in &pieces {
                log.write(1, piece.as_bytes()).unwrap();
            }
            log.finish().unwrap();
            let back: String = lines(&directory.path().join("x.log")).into_iter().map(|(line, _)| line).collect();
            prop_assert_eq!(back, pieces.concat());
        }
    }
}
