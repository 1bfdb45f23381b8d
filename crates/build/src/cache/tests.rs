use super::*;
use crate::graph::digest_of;

fn database(dir: &std::path::Path) -> Arc<Database> {
    Arc::new(Database::open(dir.join("db")).unwrap())
}

fn entry(id: &str, steps: &[&str], parents: &[&str]) -> Entry {
    let pieces = steps.iter().map(|step| Piece::Step((*step).to_owned()));
    Entry {
        id: id.to_owned(),
        outputs: vec![pieces.collect()],
        keys: vec![digest_of(&id)],
        parents: parents.iter().map(|id| (*id).to_owned()).collect(),
        description: id.to_owned(),
        kind: Kind::Regular,
        created: Timestamp::now(),
        last_used: None,
        uses: 0,
        layers: BTreeMap::new(),
        boot: None,
    }
}

#[test]
fn results_survive_a_restart_and_half_written_ones_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(database(dir.path()), "one").unwrap();
    let pins = [
        cache.put(entry("a", &["1"], &[])),
        cache.put(entry("b", &["1", "2"], &["a"])),
    ];
    cache.settled(&["a".to_owned()]);
    cache.also("a", &digest_of(&"other"));
    cache.flush().unwrap();
    while cache.known().writing {
        std::thread::yield_now();
    }
    drop((pins, cache));
    let cache = Cache::open(database(dir.path()), "one").unwrap();
    assert_eq!(cache.records().len(), 2);
    assert_eq!(cache.find(&digest_of(&"other")).unwrap().0.id, "a");
    drop(cache);
    let cache = Cache::open(database(dir.path()), "two").unwrap();
    assert!(cache.find(&digest_of(&"b")).is_none() && cache.find(&digest_of(&"a")).is_some());
    assert!(cache.names("1") && !cache.names("2"));
}

#[test]
fn a_step_goes_with_the_last_result_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(database(dir.path()), "one").unwrap();
    let first = cache.put(entry("a", &["1"], &[]));
    let second = cache.put(entry("b", &["1", "2"], &["a"]));
    drop(first);
    let own: Vec<_> = cache
        .records()
        .into_iter()
        .map(|record| record.own)
        .collect();
    assert_eq!(own, [vec!["1".to_owned()], vec!["2".to_owned()]]);
    let ids = ["a".to_owned(), "b".to_owned()];
    assert_eq!(cache.remove(&ids), Removed::default(), "a build needs both");
    drop(second);
    assert!(cache.remove(&ids[..1]).steps.is_empty());
    let removed = cache.remove(&ids);
    assert_eq!(removed.results, ["b"]);
    assert_eq!(removed.steps.len(), 2);
}

#[test]
fn what_replaces_a_result_leaves_no_step_behind() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(database(dir.path()), "one").unwrap();
    let first = cache.put_or_join(entry("a", &["1", "2"], &[]), |_| true);
    assert!(first.left.is_empty());
    let same = cache.put_or_join(entry("a", &["3"], &[]), |_| true);
    assert_eq!(same.entry.outputs, first.entry.outputs);
    assert!(same.left.is_empty());
    let gone = cache.put_or_join(entry("a", &["1", "3"], &[]), |_| false);
    assert!(
        gone.left.is_empty(),
        "others still read what is there of it"
    );
    assert!(cache.names("1") && cache.names("3") && !cache.names("2"));
    drop((first, same));
    let other = cache.put_or_join(entry("b", &["4"], &[]), |_| true);
    assert!(other.left.is_empty(), "one of them still has it");
    drop(gone);
    let other = cache.put_or_join(entry("c", &["5"], &[]), |_| true);
    assert_eq!(other.left, ["2"]);
    let alone = cache.put_or_join(entry("a", &["6"], &[]), |_| false);
    assert_eq!(alone.left.len(), 2, "nobody has it: {:?}", alone.left);
}
