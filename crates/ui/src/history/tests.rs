use super::*;
use crate::meter::Pace;
use proptest::prelude::*;

/// Names and their memory, with half of it as processors.
fn pace(containers: &[(&str, f32)]) -> Pace {
    let mut pace = Pace::default();
    pace.host[0] = Some(2.0);
    for (id, memory) in containers {
        let rates = [Some(memory / 2.0), Some(*memory), None, None, None, None];
        pace.containers
            .insert((*id).to_owned(), (format!("name-{id}"), rates));
    }
    pace
}

fn numbers(history: &History, id: &str) -> Vec<Option<f32>> {
    history.container(id, 0, 1000).numbers["memory"].clone()
}

#[test]
fn a_history_outlives_its_daemon_and_a_torn_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history");
    let mut history = History::open(&path, 1000).unwrap();
    history.add(1000, &pace(&[("a", 8.0), ("b", 4.0)])).unwrap();
    history.add(1030, &pace(&[("b", 2.0)])).unwrap();
    drop(history);
    let mut history = History::open(&path, 1031).unwrap();
    assert_eq!(numbers(&history, "a"), [Some(8.0), None]);
    assert_eq!(numbers(&history, "b"), [Some(4.0), Some(2.0)]);
    assert_eq!(numbers(&history, "c"), [None, None]);
    assert_eq!(history.host(0, 9).times, [1000, 1030]);
    assert_eq!(history.host(1001, 9).numbers["cpu"], [Some(2.0)]);
    history.add(1060, &pace(&[("a", 1.0)])).unwrap();
    drop(history);
    // Cut off in the last row, and then followed by another one.
    let length = fs_err::metadata(&path).unwrap().len();
    let file = fs_err::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(length - 3).unwrap();
    let mut history = History::open(&path, 1061).unwrap();
    assert_eq!(numbers(&history, "a"), [Some(8.0), None]);
    history.add(1090, &pace(&[("a", 3.0)])).unwrap();
    drop(history);
    let history = History::open(&path, 1091).unwrap();
    assert_eq!(numbers(&history, "a"), [Some(8.0), None, Some(3.0)]);
}

#[test]
fn what_is_no_history_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history");
    fs_err::write(&path, "something else").unwrap();
    let mut history = History::open(&path, 10).unwrap();
    history.add(10, &pace(&[("a", 1.0)])).unwrap();
    drop(history);
    assert_eq!(
        numbers(&History::open(&path, 10).unwrap(), "a"),
        [Some(1.0)]
    );
}

#[test]
fn rows_go_after_a_day_and_a_clock_may_be_set_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history");
    let mut history = History::open(&path, 0).unwrap();
    for at in 0..10 {
        history.add(1000 + at * 30, &pace(&[("a", 1.0)])).unwrap();
    }
    history
        .add(1000 + 24 * 3600 + 45, &pace(&[("b", 1.0)]))
        .unwrap();
    assert_eq!(history.host(0, 99).times.len(), 9);
    // Five minutes earlier: what is later now never was.
    history.add(1150, &pace(&[("a", 2.0)])).unwrap();
    let times = history.host(0, 99).times;
    assert_eq!(times, [1060, 1090, 1120, 1150]);
    assert_eq!(numbers(&history, "a").last(), Some(&Some(2.0)));
    drop(history);
    let history = History::open(&path, 1150).unwrap();
    // What had become too old for the wrong clock is in the file still.
    assert!(history.host(0, 99).times.ends_with(&times));
    assert_eq!(numbers(&history, "a").last(), Some(&Some(2.0)));
}

#[test]
fn memory_and_file_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history");
    let mut history = History::open(&path, 0).unwrap();
    let many: Vec<String> = (0..1500)
        .map(|number| format!("container-{number}"))
        .collect();
    let all: Vec<(&str, f32)> = many
        .iter()
        .zip(0_u16..)
        .map(|(id, size)| (id.as_str(), size.into()))
        .collect();
    let pace = pace(&all);
    for at in 0..600 {
        history.add(at * 30, &pace).unwrap();
    }
    assert!(history.memory() <= 5 << 20, "{}", history.memory());
    let length = fs_err::metadata(&path).unwrap().len();
    assert!(length <= 10 << 20, "{length}");
    // Those with the most memory are there.
    assert_eq!(numbers(&history, "container-0").last(), Some(&None));
    assert!(
        numbers(&history, "container-1499")
            .last()
            .unwrap()
            .is_some()
    );
}

#[test]
fn a_chart_has_no_more_points_than_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = History::open(&dir.path().join("history"), 0).unwrap();
    for at in 0..10_u16 {
        history
            .add(u64::from(at) * 30, &pace(&[("a", at.into())]))
            .unwrap();
    }
    let chart = history.container("a", 0, 4);
    assert_eq!(chart.times, [60, 150, 240, 270]);
    assert_eq!(
        chart.numbers["memory"],
        [Some(1.0), Some(4.0), Some(7.0), Some(9.0)]
    );
    assert_eq!(chart.numbers["sent"], [None; 4]);
    assert_eq!(history.container("a", 0, 0).times.len(), 1);
}

proptest! {
    #[test]
    fn any_file_is_read_without_harm(damage: Vec<(usize, u8)>, cut: usize, tail: Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history");
        let mut history = History::open(&path, 0).unwrap();
        for at in 1..4 {
            history.add(at, &pace(&[("a", 1.0), ("b", 2.0)])).unwrap();
        }
        drop(history);
        let mut bytes = fs_err::read(&path).unwrap();
        for (at, byte) in damage {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        bytes.truncate(bytes.len() - cut % bytes.len());
        bytes.extend(tail);
        fs_err::write(&path, bytes).unwrap();
        let mut history = History::open(&path, 100).unwrap();
        history.add(101, &pace(&[("a", 1.0)])).unwrap();
        let length = history.host(0, 99).times.len();
        prop_assert!((1..=4).contains(&length), "{length}");
        drop(history);
        prop_assert_eq!(History::open(&path, 101).unwrap().host(0, 99).times.len(), length);
    }
}

#[test]
fn names_are_cut_off_and_count() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history");
    let mut history = History::open(&path, 0).unwrap();
    // Every row has other containers, whose names end amid a letter where they are cut off.
    for at in 1..=12_u64 {
        let mut pace = Pace::default();
        for number in 0..MAX_CONTAINERS {
            let (id, name) = (format!("{at:02}{number:062}"), "\u{e4}".repeat(4000));
            let rates = [None, Some(1.0), None, None, None, None];
            pace.containers.insert(id, (name, rates));
        }
        history.add(at, &pace).unwrap();
        assert!(history.memory() <= (MAX_RECORDS + LONGEST) * size_of::<Record>());
    }
    let kept = history.host(0, 99).times;
    assert!(kept.len() < 12 && kept.last() == Some(&12), "{kept:?}");
    drop(history);
    assert_eq!(History::open(&path, 12).unwrap().host(0, 99).times, kept);
}
