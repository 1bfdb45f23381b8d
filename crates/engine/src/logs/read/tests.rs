use super::super::entry::Format;
use super::*;
use std::io::Write as _;
use std::path::Path;

fn line(number: usize, stream: &str) -> String {
    format!(
        "{{\"log\":\"{number}\\n\",\"stream\":\"{stream}\",\"time\":\"2026-01-01T00:00:{:02}Z\"}}\n",
        number % 60
    )
}

fn reader(path: &Path, options: LogOptions) -> Reader {
    let place = Place {
        path: path.to_owned(),
        format: Format::Json,
    };
    let write = |line: &LogLine<'_>, out: &mut Vec<u8>| out.extend_from_slice(line.line);
    Reader::new(place, options, Box::new(write))
}

/// What can be read now.
fn rest(reader: &mut Reader) -> Vec<String> {
    let mut text = Vec::new();
    while let Step::Piece(piece) = reader.step().unwrap() {
        text.extend_from_slice(&piece);
    }
    let text = String::from_utf8(text).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn read(path: &Path, options: LogOptions) -> Vec<String> {
    rest(&mut reader(path, options))
}

const ALL: LogOptions = LogOptions {
    stdout: true,
    stderr: true,
    since: None,
    until: None,
    tail: None,
    follow: false,
    details: false,
};

fn tail(lines: usize) -> LogOptions {
    LogOptions {
        tail: Some(lines),
        ..ALL
    }
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

fn text(range: std::ops::Range<usize>) -> String {
    let stream = |number| if number % 2 == 0 { "stdout" } else { "stderr" };
    range.map(|number| line(number, stream(number))).collect()
}

/// As the shim does.
fn pack(path: &Path) {
    use std::os::unix::fs::MetadataExt;
    let before = fs_err::metadata(path).unwrap();
    let mut name = path.to_owned().into_os_string();
    name.push(".gz");
    let file = fs_err::File::create(std::path::PathBuf::from(name)).unwrap();
    let mut encoder = flate2::GzBuilder::new()
        .comment(before.ino().to_string())
        .write(file, flate2::Compression::fast());
    encoder.write_all(&fs_err::read(path).unwrap()).unwrap();
    let file = encoder.finish().unwrap().into_parts().0;
    file.set_modified(before.modified().unwrap()).unwrap();
    fs_err::remove_file(path).unwrap();
}

#[test]
fn files_are_read_in_order_and_cut_as_asked() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.log");
    let at = |name: &str| directory.path().join(name);
    fs_err::write(at("x.log.2"), text(0..3)).unwrap();
    pack(&at("x.log.2"));
    fs_err::write(at("x.log.1"), text(3..6)).unwrap();
    fs_err::write(&path, text(6..9)).unwrap();
    assert_eq!(read(&path, ALL), numbers(0..9));
    for (lines, from) in [(0, 9), (2, 7), (5, 4), (8, 1), (9, 0), (100, 0)] {
        assert_eq!(read(&path, tail(lines)), numbers(from..9), "tail {lines}");
    }
    let stdout = LogOptions {
        stderr: false,
        ..tail(5)
    };
    assert_eq!(read(&path, stdout), ["4", "6", "8"]);
    let time = |second: &str| format!("2026-01-01T00:00:{second}Z").parse().ok();
    let between = LogOptions {
        since: time("03"),
        until: time("05"),
        ..ALL
    };
    assert_eq!(read(&path, between), ["3", "4", "5"]);
    assert_eq!(read(&at("none"), ALL), numbers(0..0));
}

#[test]
fn many_lines_come_in_several_pieces() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.log");
    let long = "x".repeat(3000);
    let text: String = (0..1000)
        .map(|_| line(1, "stdout").replace("\"1\\n", &format!("\"{long}\\n")))
        .collect();
    fs_err::write(&path, text).unwrap();
    let mut reader = reader(&path, ALL);
    let (mut pieces, mut bytes) = (0, 0);
    while let Step::Piece(piece) = reader.step().unwrap() {
        pieces += 1;
        bytes += piece.len();
        assert!(piece.len() < 2 * PIECE);
    }
    assert_eq!(bytes, 3001 * 1000);
    assert!(pieces > 5);
}

#[test]
fn half_a_line_waits_for_its_rest() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.log");
    fs_err::write(&path, line(1, "stdout") + &line(2, "stdout")[..20]).unwrap();
    assert_eq!(read(&path, ALL), ["1"]);
    let mut live = reader(
        &path,
        LogOptions {
            follow: true,
            ..ALL
        },
    );
    assert_eq!(rest(&mut live), ["1"]);
    let mut file = fs_err::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(&line(2, "stdout").as_bytes()[20..]).unwrap();
    assert_eq!(rest(&mut live), ["2"]);
}

/// A writer that rotates, deletes and cuts between the looks of one who follows.
#[test]
fn who_follows_misses_nothing_and_gets_nothing_twice() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let path = at("x.log");
    let mut live = reader(
        &path,
        LogOptions {
            follow: true,
            ..ALL
        },
    );
    assert_eq!(live.step().unwrap(), Step::Wait);
    fs_err::write(&path, text(0..3)).unwrap();
    assert_eq!(rest(&mut live), numbers(0..3));

    // Twice rotated since the last look, with lines before that.
    let append = |text: String| {
        let file = fs_err::OpenOptions::new()
            .append(true)
            .create(true)
            .open(&path);
        file.unwrap().write_all(text.as_bytes()).unwrap();
    };
    append(text(3..4));
    fs_err::rename(&path, at("x.log.1")).unwrap();
    append(text(4..5));
    fs_err::rename(at("x.log.1"), at("x.log.2")).unwrap();
    fs_err::rename(&path, at("x.log.1")).unwrap();
    append(text(5..6));
    assert_eq!(rest(&mut live), numbers(3..6));

    // Rotated and compressed.
    append(text(6..7));
    fs_err::rename(at("x.log.1"), at("x.log.2")).unwrap();
    fs_err::rename(&path, at("x.log.1")).unwrap();
    pack(&at("x.log.1"));
    pack(&at("x.log.2"));
    append(text(7..8));
    assert_eq!(rest(&mut live), numbers(6..8));

    // Deleted, then written anew.
    fs_err::remove_file(&path).unwrap();
    assert_eq!(live.step().unwrap(), Step::Wait);
    append(text(8..9));
    assert_eq!(rest(&mut live), numbers(8..9));

    // Cut, as with one file only.
    fs_err::OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(&path)
        .unwrap();
    assert_eq!(live.step().unwrap(), Step::Wait);
    append(text(9..10));
    assert_eq!(rest(&mut live), numbers(9..10));
    live.live = false;
    assert_eq!(live.step().unwrap(), Step::End);
}

#[test]
fn what_the_shim_writes_in_docker_local_form_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.log");
    let mut bytes = Vec::new();
    for number in 0..5_u8 {
        let entry = [
            b"\x0a\x06stdout\x10\x01\x1a\x01".as_slice(),
            &[b'0' + number],
        ]
        .concat();
        let length = u32::try_from(entry.len()).unwrap().to_be_bytes();
        bytes.extend([length.as_slice(), &entry, &length].concat());
    }
    let read = |lines| {
        let mut reader = reader(&path, tail(lines));
        reader.place.format = Format::Local;
        reader.decoder = Decoder::new(Format::Local);
        rest(&mut reader)
    };
    fs_err::write(&path, &bytes).unwrap();
    assert_eq!(read(2), ["3", "4"]);
    assert_eq!(read(9), numbers(0..5));
    // The last one is being written.
    fs_err::write(&path, &bytes[..bytes.len() - 6]).unwrap();
    assert_eq!(read(2), ["2", "3"]);
    fs_err::write(directory.path().join("x.log.1"), &bytes).unwrap();
    pack(&directory.path().join("x.log.1"));
    assert_eq!(read(6), ["3", "4", "0", "1", "2", "3"]);
}
