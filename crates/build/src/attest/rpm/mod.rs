//! rpm's database: which packages an image of Fedora, Red Hat, SUSE or Amazon has. It has one header per package
//! (rpm `docs/manual/format_header.md`), in one of three stores: SQLite's (rpm 4.16 and later), rpm's own "ndb" (SUSE),
//! and Berkeley DB's hash table (before). All of it is an image's, and may be hostile.

mod bdb;
mod ndb;
mod sqlite;

use super::spdx::Package;
use std::collections::BTreeSet;

/// A store and the places where it may be.
pub(super) const PLACES: [(&str, Store); 7] = [
    ("usr/lib/sysimage/rpm/rpmdb.sqlite", Store::Sqlite),
    ("var/lib/rpm/rpmdb.sqlite", Store::Sqlite),
    ("usr/share/rpm/rpmdb.sqlite", Store::Sqlite),
    ("usr/lib/sysimage/rpm/Packages.db", Store::Ndb),
    ("var/lib/rpm/Packages.db", Store::Ndb),
    ("usr/lib/sysimage/rpm/Packages", Store::BerkeleyDb),
    ("var/lib/rpm/Packages", Store::BerkeleyDb),
];

/// What a store reads of headers in all may be so many times its own size: they may overlap in a hostile one.
const MAX_GROWTH: usize = 2;

/// How a database is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Store {
    Sqlite,
    Ndb,
    BerkeleyDb,
}

/// Why a database cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Damaged {
    /// Not such a store.
    #[error("it is no {0} database")]
    Kind(&'static str),
    /// A place that it names is not in it.
    #[error("it ends too early")]
    Short,
    /// Its parts lead round in circles, or name each other too often.
    #[error("it is damaged")]
    Circle,
}

/// The packages of a database, at most so many.
pub(super) fn packages(store: Store, bytes: &[u8], most: usize) -> Result<Vec<Package>, Damaged> {
    let mut found = Vec::new();
    let mut left = bytes.len().saturating_mul(MAX_GROWTH);
    let mut take = |header: &[u8]| {
        left = left.checked_sub(header.len()).ok_or(Damaged::Circle)?;
        if found.len() < most {
            found.extend(package(header)?);
        }
        Ok(())
    };
    match store {
        Store::Sqlite => sqlite::each(bytes, &mut take)?,
        Store::Ndb => ndb::each(bytes, &mut take)?,
        Store::BerkeleyDb => bdb::each(bytes, &mut take)?,
    }
    Ok(found)
}

/// Gets the header of each package.
type Take<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), Damaged>;

/// `length` bytes at a place.
fn part(bytes: &[u8], at: usize, length: usize) -> Result<&[u8], Damaged> {
    let end = at.checked_add(length).ok_or(Damaged::Short)?;
    bytes.get(at..end).ok_or(Damaged::Short)
}

fn big(bytes: &[u8], at: usize) -> Result<usize, Damaged> {
    let four: [u8; 4] = part(bytes, at, 4)?.try_into().map_err(|_| Damaged::Short)?;
    Ok(u32::from_be_bytes(four) as usize)
}

fn little(bytes: &[u8], at: usize) -> Result<usize, Damaged> {
    let four: [u8; 4] = part(bytes, at, 4)?.try_into().map_err(|_| Damaged::Short)?;
    Ok(u32::from_le_bytes(four) as usize)
}

/// The tags of a header that are wanted (rpm `include/rpm/rpmtag.h`).
const NAME: usize = 1000;
const VERSION: usize = 1001;
const RELEASE: usize = 1002;
const EPOCH: usize = 1003;
const VENDOR: usize = 1011;
const LICENSE: usize = 1014;
const ARCHITECTURE: usize = 1022;
/// Types of their values: a number, a text, texts.
const INT32: usize = 4;
const STRINGS: [usize; 3] = [6, 8, 9];
const WANTED: [usize; 7] = [NAME, VERSION, RELEASE, EPOCH, VENDOR, LICENSE, ARCHITECTURE];
/// rpm's own limit of entries (rpm `lib/header_internal.h`).
const MAX_ENTRIES: usize = 65_535;
/// No longer text is said, bytes.
const MAX_TEXT: usize = 4096;
/// Bytes of an entry: tag, type, offset, count.
const ENTRY: usize = 16;

/// The package that a header is of; keys that signed packages are headers too, and are none.
fn package(header: &[u8]) -> Result<Option<Package>, Damaged> {
    let entries = big(header, 0)?;
    if entries > MAX_ENTRIES {
        return Err(Damaged::Circle);
    }
    let size = entries.checked_mul(ENTRY).ok_or(Damaged::Short)?;
    let index = part(header, 8, size)?;
    let data = part(header, 8 + size, big(header, 4)?)?;
    let mut package = Package {
        kind: "rpm",
        ..Package::default()
    };
    let mut release = String::new();
    let mut seen = BTreeSet::new();
    for entry in index.chunks_exact(ENTRY) {
        let (tag, kind, offset) = (big(entry, 0)?, big(entry, 4)?, big(entry, 8)?);
        // Each is there once, or all of them could lead to one long text.
        if !WANTED.contains(&tag) || !seen.insert(tag) {
            continue;
        }
        if tag == EPOCH && kind == INT32 {
            package.epoch = big(data, offset)?.to_string();
        }
        let field = match tag {
            NAME => &mut package.name,
            VERSION => &mut package.version,
            RELEASE => &mut release,
            VENDOR => &mut package.supplier,
            LICENSE => &mut package.license,
            ARCHITECTURE => &mut package.architecture,
            _ => continue,
        };
        if STRINGS.contains(&kind) {
            let text = data.get(offset..).ok_or(Damaged::Short)?;
            let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
            if text.len() <= MAX_TEXT {
                *field = String::from_utf8_lossy(text).into_owned();
            }
        }
    }
    if !release.is_empty() {
        package.version = format!("{}-{release}", package.version);
    }
    Ok((!package.name.is_empty() && package.name != "gpg-pubkey").then_some(package))
}

/// Made by rpm 4.18 from three packages, two of which it has several times, so that its table is a tree.
#[cfg(test)]
pub(super) const SAMPLE: &[u8] = include_bytes!("samples/rpmdb.sqlite");

#[cfg(test)]
mod tests {
    use super::*;

    const SQLITE: &[u8] = SAMPLE;
    /// The same headers, put together by `db_load`.
    const BERKELEY_DB: &[u8] = include_bytes!("samples/Packages");

    fn names(store: Store, bytes: &[u8]) -> Result<Vec<String>, Damaged> {
        let packages = packages(store, bytes, usize::MAX)?.into_iter();
        let mut names: Vec<String> = packages
            .map(|p| format!("{}:{}-{}.{}", p.epoch, p.name, p.version, p.architecture))
            .collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    const ALL: [&str; 3] = [
        "1:openssl-libs-3.0.7-24.el9.x86_64",
        ":bash-5.2.15-3.el9.x86_64",
        ":tzdata-2024a-1.el9.noarch",
    ];

    /// As rpm's ndb has them (rpm `lib/backend/ndb/rpmpkg.c`).
    fn ndb(headers: &[Vec<u8>]) -> Vec<u8> {
        let word = |number: usize| u32::try_from(number).unwrap().to_le_bytes();
        let mut bytes = vec![0; 4096];
        bytes[..4].copy_from_slice(b"RpmP");
        bytes[12..16].copy_from_slice(&word(1));
        for (number, header) in headers.iter().enumerate() {
            let start = bytes.len();
            bytes.extend(b"BlbS");
            bytes.extend(word(number + 1));
            bytes.extend(word(1));
            bytes.extend(word(header.len()));
            bytes.extend(header);
            bytes.resize(bytes.len().next_multiple_of(16), 0);
            let blocks = (bytes.len() - start) / 16;
            let slot = 32 + number * 16;
            let of = [word(number + 1), word(start / 16), word(blocks)].concat();
            bytes[slot..slot + 4].copy_from_slice(b"Slot");
            bytes[slot + 4..slot + 16].copy_from_slice(&of);
        }
        bytes
    }

    fn headers() -> Vec<Vec<u8>> {
        let mut headers = Vec::new();
        let mut take = |header: &[u8]| {
            headers.push(header.to_vec());
            Ok(())
        };
        bdb::each(BERKELEY_DB, &mut take).unwrap();
        headers
    }

    #[test]
    fn packages_are_read_from_each_store() {
        assert_eq!(names(Store::Sqlite, SQLITE).unwrap(), ALL);
        assert_eq!(names(Store::BerkeleyDb, BERKELEY_DB).unwrap(), ALL);
        assert_eq!(names(Store::Ndb, &ndb(&headers())).unwrap(), ALL);
        let found = packages(Store::BerkeleyDb, BERKELEY_DB, 9).unwrap();
        let bash = found.iter().find(|package| package.name == "bash").unwrap();
        assert_eq!(bash.license, "GPLv3+");
        assert_eq!(bash.supplier, "Example Project");
    }

    /// A table of tables of which all cells are one row, that is most of the file.
    fn one_row_often() -> Vec<u8> {
        let mut bytes = vec![0; 512 * 64];
        bytes[..16].copy_from_slice(b"SQLite format 3\0");
        bytes[16..18].copy_from_slice(&512_u16.to_be_bytes());
        bytes[100] = 13;
        bytes[104] = 150;
        for cell in 0..150 {
            let at = 108 + 2 * cell;
            bytes[at..at + 2].copy_from_slice(&420_u16.to_be_bytes());
        }
        // 30,000 bytes, 39 of them here: two columns of nothing; the next are in page 2.
        bytes[420..427].copy_from_slice(&[0x81, 0xea, 0x30, 1, 3, 0, 0]);
        bytes[466] = 2;
        for page in 1..64_u8 {
            bytes[usize::from(page) * 512 + 3] = page + 2;
        }
        bytes
    }

    #[test]
    fn one_row_is_not_read_for_ever() {
        let found = packages(Store::Sqlite, &one_row_often(), 9);
        assert_eq!(found, Err(Damaged::Circle));
    }

    /// A header with these entries, all of them texts.
    fn header(entries: &[(usize, usize)], data: &[u8]) -> Vec<u8> {
        let word = |number: usize| u32::try_from(number).unwrap().to_be_bytes();
        let mut bytes = [word(entries.len()), word(data.len())].concat();
        for (tag, offset) in entries {
            bytes.extend([word(*tag), word(6), word(*offset), word(1)].concat());
        }
        bytes.extend(data);
        bytes
    }

    #[test]
    fn headers_have_bounds() {
        let found = package(&header(&[(NAME, 0), (NAME, 2)], b"a\0b\0"));
        assert_eq!(found.unwrap().unwrap().name, "a", "a tag is read once");
        let long = [b"a\0".to_vec(), vec![b'x'; MAX_TEXT + 1]].concat();
        let found = package(&header(&[(NAME, 0), (LICENSE, 2), (VERSION, 3)], &long));
        let found = found.unwrap().unwrap();
        assert_eq!((found.license.len(), found.version.len()), (0, MAX_TEXT));
        let many = vec![(NAME, 0); MAX_ENTRIES + 1];
        assert_eq!(package(&header(&many, b"a\0")), Err(Damaged::Circle));
    }

    /// Whatever byte is wrong, and wherever it ends: an answer comes.
    #[test]
    fn what_is_damaged_ends() {
        let ndb = ndb(&headers());
        for (store, sample) in [
            (Store::Sqlite, SQLITE),
            (Store::BerkeleyDb, BERKELEY_DB),
            (Store::Ndb, &ndb),
        ] {
            assert!(names(store, b"").is_err());
            for end in (0..sample.len()).step_by(97) {
                let _ = names(store, &sample[..end]);
            }
            for at in (0..sample.len()).step_by(13) {
                let mut wrong = sample.to_vec();
                wrong[at] ^= 0xff;
                let _ = names(store, &wrong);
            }
        }
        assert_eq!(
            names(Store::Ndb, SQLITE),
            Err(Damaged::Kind("ndb")),
            "another store"
        );
    }
}
