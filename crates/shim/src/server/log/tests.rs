use super::*;
use proptest::prelude::*;
use std::io::Read;
use std::path::Path;

fn config(directory: &Path) -> LogConfig {
    LogConfig {
        path: directory.join("x.log"),
        max_files: 1,
        ..LogConfig::default()
    }
}

fn log(change: impl FnOnce(&mut LogConfig)) -> (tempfile::TempDir, Files) {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(directory.path());
    change(&mut config);
    let log = Files::open(&config).unwrap();
    (directory, log)
}

fn entries(text: &str) -> Vec<(String, String)> {
    let entry = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        (
            value["log"].as_str().unwrap().to_owned(),
            value["stream"].as_str().unwrap().to_owned(),
        )
    };
    text.lines().map(entry).collect()
}

fn lines(path: &Path) -> Vec<(String, String)> {
    entries(&fs_err::read_to_string(path).unwrap())
}

fn names(directory: &Path) -> Vec<String> {
    let found = fs_err::read_dir(directory).unwrap();
    let mut names: Vec<String> = found
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn lines_are_joined_and_streams_kept_apart() {
    let (directory, mut log) = log(|_| {});
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
fn a_line_is_cut_where_dockerd_cuts_it_whatever_pieces_it_comes_in() {
    for (length, expected) in [
        (MAX_LINE - 1, vec![MAX_LINE]),
        (MAX_LINE, vec![MAX_LINE, 1]),
        (MAX_LINE + 1, vec![MAX_LINE, 2]),
        (2 * MAX_LINE + 10, vec![MAX_LINE, MAX_LINE, 11]),
    ] {
        let mut line = vec![b'a'; length];
        line.push(b'\n');
        for size in [line.len(), MAX_LINE, 1000, 7] {
            let (directory, mut log) = log(|_| {});
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
    let (directory, mut log) = log(|config| {
        config.max_size = 200;
        config.max_files = 3;
    });
    for number in 0..20 {
        log.write(1, format!("line {number}\n").as_bytes()).unwrap();
    }
    log.finish().unwrap();
    assert_eq!(names(directory.path()), ["x.log", "x.log.1", "x.log.2"]);
    let last = lines(&directory.path().join("x.log"));
    assert_eq!(last.last().unwrap().0, "line 19\n");
}

#[test]
fn old_files_are_compressed() {
    let (directory, mut log) = log(|config| {
        config.max_size = 200;
        config.max_files = 4;
        config.compress = true;
    });
    for number in 0..12 {
        log.write(1, format!("line {number}\n").as_bytes()).unwrap();
    }
    log.finish().unwrap();
    let found = names(directory.path());
    assert_eq!(found[2..], ["x.log.2.gz", "x.log.3.gz"]);
    // The end of the container does not wait for the last one.
    assert!(matches!(found[1].as_str(), "x.log.1" | "x.log.1.gz"));
    let mut text = String::new();
    for name in found[1..].iter().rev() {
        let file = fs_err::File::open(directory.path().join(name)).unwrap();
        let read = if name.ends_with(".gz") {
            flate2::read::GzDecoder::new(file).read_to_string(&mut text)
        } else {
            { file }.read_to_string(&mut text)
        };
        read.unwrap();
    }
    text += &fs_err::read_to_string(directory.path().join("x.log")).unwrap();
    let found = entries(&text);
    assert_eq!(found.last().unwrap().0, "line 11\n");
    let numbers = found.iter().map(|(line, _)| line.trim().to_owned());
    let from = 12 - found.len();
    let expected: Vec<String> = (from..12).map(|number| format!("line {number}")).collect();
    assert_eq!(numbers.collect::<Vec<_>>(), expected);
}

#[test]
fn a_file_that_is_deleted_or_cut_is_begun_anew() {
    let (directory, mut log) = log(|config| config.max_size = 1000);
    let path = directory.path().join("x.log");
    log.write(1, b"lost\n").unwrap();
    fs_err::remove_file(&path).unwrap();
    log.write(1, b"one\n").unwrap();
    assert_eq!(lines(&path).len(), 1);
    fs_err::OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(&path)
        .unwrap();
    log.write(1, b"two\n").unwrap();
    assert_eq!(lines(&path)[0].0, "two\n");
}

#[test]
fn a_thread_may_write_instead() {
    let (directory, mut log) = log(|config| config.buffer = Some(1 << 20));
    for number in 0..1000 {
        log.write(1, format!("{number}\n").as_bytes()).unwrap();
    }
    log.write(2, b"rest").unwrap();
    log.finish().unwrap();
    let found = lines(&directory.path().join("x.log"));
    // All fits into the buffer: none is lost.
    assert_eq!((found.len(), found[1000].0.as_str()), (1001, "rest"));
}

proptest! {
    #[test]
    fn whatever_comes_in_any_pieces_is_read_back(pieces in proptest::collection::vec("[a-c<\\n]{0,40}", 0..20)) {
        let (directory, mut log) = log(|_| {});
        for piece in &pieces {
            log.write(1, piece.as_bytes()).unwrap();
        }
        log.finish().unwrap();
        let back: String = lines(&directory.path().join("x.log")).into_iter().map(|(line, _)| line).collect();
        prop_assert_eq!(back, pieces.concat());
    }
}
