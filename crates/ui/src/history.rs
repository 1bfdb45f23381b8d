//! What machine and containers used in the last 24 hours: one row every [`INTERVAL`], in memory and in one file.
//!
//! ```text
//! file   hull history 1\n
//!        frame*       length u32 · checksum u32 · payload            little endian
//! name   N · key u32 · length of the id u16 · id · name              before the first row that has the key
//! row    S · seconds since 1970 u64 · host u16×10 · (key u32 · u16×6)*
//! ```
//!
//! Bounds: [`LONGEST`] rows and [`MAX_RECORDS`] records of containers in memory, 16 bytes each, which is 24 hours of ninety
//! containers and less of more; what containers are called counts as records do. The file is written anew when it is more than twice as long as it has to be. It is never
//! waited for: what a loss of power costs is minutes of a chart. A file that is damaged counts up to the damage.

mod file;

use crate::meter::{HOST_NAMES, HostRates, NAMES, Pace, Rates};
use crate::small::{pack, unpack};
use file::File;
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;

/// Seconds between two rows.
pub const INTERVAL: u64 = 30;
/// Rows that are kept: 24 hours.
pub const LONGEST: usize = 2880;
const _: () = assert!(LONGEST as u64 * INTERVAL == 24 * 3600);
/// Records of containers that are kept, in all rows together: 4 MiB.
pub const MAX_RECORDS: usize = 1 << 18;
/// The longest id and name that are kept, bytes: more is cut off.
const MAX_NAME: usize = 255;
/// What a container that is known takes beside its id and name, bytes, about.
const KNOWN: usize = 192;
/// Containers in a row; those with the most memory if there are more.
pub const MAX_CONTAINERS: usize = 1024;

/// One container in one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Record {
    key: u32,
    numbers: [u16; NAMES.len()],
}

/// What was used at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    /// Seconds since 1970.
    at: u64,
    host: [u16; HOST_NAMES.len()],
    records: Box<[Record]>,
}

/// A container that is in some row.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    id: String,
    name: String,
    /// In how many rows.
    rows: usize,
}

impl Known {
    /// Bytes that it takes, about; the id is there twice.
    fn bytes(&self) -> usize {
        KNOWN + 2 * self.id.len() + self.name.len()
    }
}

/// An id or name as it is kept.
fn short(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_NAME)]
}

/// The rows, without their file.
#[derive(Debug, Default)]
struct Rows {
    rows: VecDeque<Row>,
    records: usize,
    /// Bytes of what is known of containers.
    known_bytes: usize,
    known: BTreeMap<u32, Known>,
    keys: BTreeMap<String, u32>,
    next: u32,
}

/// The last 24 hours.
#[derive(Debug)]
pub struct History {
    rows: Rows,
    file: File,
}

/// Numbers for a chart: a time for each, and for each name a number or `null` at each time.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Chart {
    /// Seconds since 1970, oldest first.
    pub times: Vec<u64>,
    /// By [`HOST_NAMES`] or [`NAMES`].
    pub numbers: BTreeMap<&'static str, Vec<Option<f32>>>,
}

impl History {
    /// The history that is kept at `path`, or an empty one, which is kept there from now on.
    ///
    /// # Errors
    /// When the file can be neither read nor written.
    pub fn open(path: &Path, now: u64) -> io::Result<Self> {
        let (file, mut rows) = File::open(path)?;
        rows.expire(now);
        Ok(Self { rows, file })
    }

    /// Adds what was used. Rows that a clock set back has made the future's go.
    ///
    /// # Errors
    /// When the file cannot be written; the row is there all the same.
    pub fn add(&mut self, now: u64, pace: &Pace) -> io::Result<()> {
        let named = self.rows.add(now, pace);
        self.rows.expire(now);
        self.file.append(&self.rows, &named)
    }

    /// The machine's numbers since then, at most `points` of each: where there are more rows, each point is the mean of some.
    #[must_use]
    pub fn host(&self, since: u64, points: usize) -> Chart {
        let rows = self.rows.since(since);
        chart(rows, &HOST_NAMES, points, |row| Some(&row.host))
    }

    /// As [`History::host`], of a container by its id. Where it did not run its numbers are `None`.
    #[must_use]
    pub fn container(&self, id: &str, since: u64, points: usize) -> Chart {
        let key = self.rows.keys.get(id).copied();
        let rows = self.rows.since(since);
        chart(rows, &NAMES, points, move |row| {
            let found = row.records.binary_search_by_key(&key?, |record| record.key);
            found.ok().map(|at| &row.records[at].numbers)
        })
    }

    /// Bytes that the rows take in memory, about.
    #[must_use]
    pub fn memory(&self) -> usize {
        let records = self.rows.records * size_of::<Record>();
        records + self.rows.known_bytes + self.rows.rows.len() * size_of::<Row>()
    }
}

/// A chart of `rows`, each point the mean of neighbours.
fn chart<'r, const N: usize>(
    rows: impl Iterator<Item = &'r Row>,
    names: &[&'static str; N],
    points: usize,
    numbers: impl Fn(&'r Row) -> Option<&'r [u16; N]>,
) -> Chart {
    let rows: Vec<&Row> = rows.collect();
    let together = rows.len().div_ceil(points.max(1)).max(1);
    let mut made = Chart::default();
    let mut columns: [Vec<Option<f32>>; N] = std::array::from_fn(|_| Vec::new());
    for some in rows.chunks(together) {
        made.times.push(some[some.len() - 1].at);
        for (at, column) in columns.iter_mut().enumerate() {
            let known = some.iter().filter_map(|row| unpack(numbers(row)?[at]));
            let (sum, count) = known.fold((0.0, 0_u16), |(sum, count), number| {
                (sum + f64::from(number), count + 1)
            });
            #[expect(clippy::cast_possible_truncation, reason = "it was a 32-bit number")]
            column.push((count > 0).then(|| (sum / f64::from(count)) as f32));
        }
    }
    made.numbers = names.iter().copied().zip(columns).collect();
    made
}

impl Rows {
    /// Adds a row and gives the keys that are new in it.
    fn add(&mut self, at: u64, pace: &Pace) -> Vec<u32> {
        while self.rows.back().is_some_and(|row| row.at >= at) {
            let row = self.rows.pop_back();
            self.forget(row);
        }
        let mut most: Vec<(&String, &(String, Rates))> = pace.containers.iter().collect();
        if most.len() > MAX_CONTAINERS {
            most.sort_by(|(_, (_, one)), (_, (_, other))| {
                other[1]
                    .partial_cmp(&one[1])
                    .unwrap_or(std::cmp::Ordering::Equal)
            });
            most.truncate(MAX_CONTAINERS);
        }
        let mut named = Vec::new();
        let mut records: Vec<Record> = Vec::with_capacity(most.len());
        for (id, (name, rates)) in most {
            let key = self.key(short(id), short(name), &mut named);
            records.push(Record {
                key,
                numbers: rates.map(pack),
            });
        }
        let host: HostRates = pace.host;
        self.put(Row {
            at,
            host: host.map(pack),
            records: records.into(),
        });
        named
    }

    /// The key of a container; in `named` if it is a new one, or has a new name.
    fn key(&mut self, id: &str, name: &str, named: &mut Vec<u32>) -> u32 {
        if let Some(key) = self.keys.get(id) {
            if let Some(known) = self.known.get_mut(key).filter(|known| known.name != name) {
                self.known_bytes -= known.bytes();
                name.clone_into(&mut known.name);
                self.known_bytes += known.bytes();
                named.push(*key);
            }
            return *key;
        }
        // Keys are given anew only after four thousand million of them.
        while self.known.contains_key(&self.next) {
            self.next = self.next.wrapping_add(1);
        }
        let key = self.next;
        self.next = self.next.wrapping_add(1);
        self.name(key, id, name);
        named.push(key);
        key
    }

    fn name(&mut self, key: u32, id: &str, name: &str) {
        let rows = self.known.get(&key).map_or(0, |known| known.rows);
        self.keys.insert(id.to_owned(), key);
        let known = Known {
            id: id.to_owned(),
            name: name.to_owned(),
            rows,
        };
        self.known_bytes += known.bytes();
        if let Some(before) = self.known.insert(key, known) {
            self.known_bytes -= before.bytes();
            if before.id != id {
                self.keys.remove(&before.id);
            }
        }
        self.next = self.next.max(key.wrapping_add(1));
    }

    fn put(&mut self, mut row: Row) {
        row.records.sort_unstable_by_key(|record| record.key);
        for record in &row.records {
            if let Some(known) = self.known.get_mut(&record.key) {
                known.rows += 1;
            }
        }
        self.records += row.records.len();
        self.rows.push_back(row);
    }

    /// Rows that are too old or too many go.
    fn expire(&mut self, now: u64) {
        let oldest = now.saturating_sub(LONGEST as u64 * INTERVAL);
        let over = |rows: &Self| {
            rows.rows.len() > LONGEST
                || rows.records + rows.known_bytes / size_of::<Record>() > MAX_RECORDS
                || rows.rows.front().is_some_and(|row| row.at < oldest)
        };
        while over(self) {
            let row = self.rows.pop_front();
            self.forget(row);
        }
        // A file of another machine, or a clock that is wrong now.
        while self.rows.back().is_some_and(|row| row.at > now) {
            let row = self.rows.pop_back();
            self.forget(row);
        }
    }

    fn forget(&mut self, row: Option<Row>) {
        for record in row.iter().flat_map(|row| &row.records) {
            self.records -= 1;
            let Some(known) = self.known.get_mut(&record.key) else {
                continue;
            };
            known.rows -= 1;
            if known.rows == 0 {
                // The same container may have another key by now.
                if self.keys.get(&known.id) == Some(&record.key) {
                    self.keys.remove(&known.id);
                }
                self.known_bytes -= known.bytes();
                self.known.remove(&record.key);
            }
        }
    }

    fn since(&self, since: u64) -> impl Iterator<Item = &Row> {
        self.rows
            .range(self.rows.partition_point(|row| row.at < since)..)
    }
}

#[cfg(test)]
mod tests;
