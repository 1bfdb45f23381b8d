//! SQLite's file (sqlite.org `fileformat2.html`), as much of it as rpm's table `Packages(hnum, blob)` needs: the rows of a
//! table are leaves of a tree of pages, and what of a row is longer than a page is in a chain of others.

use super::{Damaged, MAX_GROWTH, Take, big, part};
use std::cell::Cell;

const MAGIC: &[u8] = b"SQLite format 3\0";
/// Bytes before the first page's own head.
const FILE_HEAD: usize = 100;
const LEAF: u8 = 13;
const INTERIOR: u8 = 5;

struct File<'a> {
    bytes: &'a [u8],
    page: usize,
    /// The bytes of a page that are used.
    usable: usize,
    /// How many bytes of rows may still be read: cells may name one row many times.
    left: Cell<usize>,
}

/// Gives each header.
pub(super) fn each(bytes: &[u8], take: Take<'_>) -> Result<(), Damaged> {
    if !bytes.starts_with(MAGIC) || bytes.len() < FILE_HEAD {
        return Err(Damaged::Kind("SQLite"));
    }
    let page = match short(bytes, 16)? {
        1 => 65_536,
        page if page.is_power_of_two() && page >= 512 => page,
        _ => return Err(Damaged::Kind("SQLite")),
    };
    let file = File {
        bytes,
        page,
        usable: page - usize::from(bytes[20]),
        left: Cell::new(bytes.len().saturating_mul(MAX_GROWTH)),
    };
    let mut root = None;
    // The first page is the table of tables: type, name, table, root, text.
    file.rows(1, &mut |row| {
        if column(row, 0)? == b"table" && column(row, 1)? == b"Packages" {
            let number = column(row, 3)?;
            root = Some(number.iter().fold(0, |n, byte| n << 8 | usize::from(*byte)));
        }
        Ok(())
    })?;
    let root = root.ok_or(Damaged::Kind("rpm"))?;
    file.rows(root, &mut |row| take(column(row, 1)?))
}

impl File<'_> {
    /// Gives the rows of a table, whose root is that page.
    fn rows(&self, root: usize, give: Take<'_>) -> Result<(), Damaged> {
        let mut open = vec![root];
        // No page is in a tree twice.
        let mut left = self.bytes.len() / self.page;
        while let Some(number) = open.pop() {
            left = left.checked_sub(1).ok_or(Damaged::Circle)?;
            let page = self.page(number)?;
            let head = if number == 1 { FILE_HEAD } else { 0 };
            let kind = part(page, head, 1)?[0];
            let cells = short(page, head + 3)?;
            let first = head + if kind == INTERIOR { 12 } else { 8 };
            for cell in 0..cells {
                let at = short(page, first + 2 * cell)?;
                match kind {
                    LEAF => give(&self.payload(page, at)?)?,
                    INTERIOR if open.len() <= left => open.push(big(page, at)?),
                    _ => return Err(Damaged::Circle),
                }
            }
            if kind == INTERIOR {
                open.push(big(page, head + 8)?);
            }
        }
        Ok(())
    }

    fn page(&self, number: usize) -> Result<&[u8], Damaged> {
        let before = number.checked_sub(1).ok_or(Damaged::Circle)?;
        part(self.bytes, before.saturating_mul(self.page), self.page)
    }

    /// A row as it is stored, from its page and those of its chain.
    fn payload(&self, page: &[u8], at: usize) -> Result<Vec<u8>, Damaged> {
        let (length, used) = varint(page, at)?;
        let (_, row) = varint(page, at + used)?;
        let start = at + used + row;
        if length > self.bytes.len() {
            return Err(Damaged::Short);
        }
        let left = self.left.get().checked_sub(length);
        self.left.set(left.ok_or(Damaged::Circle)?);
        // How much is in the page itself: section 1.6 of the description.
        let most = self.usable.saturating_sub(35);
        let least = (self.usable.saturating_sub(12) * 32 / 255).saturating_sub(23);
        let own = match length <= most {
            true => length,
            false => {
                let rest = least + (length - least) % self.usable.saturating_sub(4).max(1);
                if rest <= most { rest } else { least }
            }
        };
        let mut payload = part(page, start, own)?.to_vec();
        let mut next = match own < length {
            true => big(page, start + own)?,
            false => 0,
        };
        while payload.len() < length {
            let page = self.page(next)?;
            next = big(page, 0)?;
            let piece = (length - payload.len()).min(self.usable.saturating_sub(4));
            if piece == 0 {
                return Err(Damaged::Circle);
            }
            payload.extend_from_slice(part(page, 4, piece)?);
        }
        Ok(payload)
    }
}

/// A column's bytes in a row: its length comes from its type, which is in the row's head.
fn column(row: &[u8], wanted: usize) -> Result<&[u8], Damaged> {
    let (head, mut at) = varint(row, 0)?;
    let mut data = head;
    let mut number = 0;
    while at < head {
        let (kind, used) = varint(row, at)?;
        at += used;
        let length = match kind {
            0 | 8 | 9 => 0,
            1..=4 => kind,
            5 => 6,
            6 | 7 => 8,
            10 | 11 => return Err(Damaged::Circle),
            text_or_bytes => (text_or_bytes - 12) / 2,
        };
        if number == wanted {
            return part(row, data, length);
        }
        number += 1;
        data = data.checked_add(length).ok_or(Damaged::Short)?;
    }
    Err(Damaged::Short)
}

/// A number of up to nine bytes, seven bits in each, and how many bytes it took.
fn varint(bytes: &[u8], at: usize) -> Result<(usize, usize), Damaged> {
    let mut number: u64 = 0;
    for place in 0..9 {
        let byte = part(bytes, at.saturating_add(place), 1)?[0];
        if place == 8 {
            number = number << 8 | u64::from(byte);
        } else {
            number = number << 7 | u64::from(byte & 0x7f);
        }
        if byte < 0x80 || place == 8 {
            let number = usize::try_from(number).map_err(|_| Damaged::Short)?;
            return Ok((number, place + 1));
        }
    }
    Err(Damaged::Short)
}

fn short(bytes: &[u8], at: usize) -> Result<usize, Damaged> {
    let two: [u8; 2] = part(bytes, at, 2)?.try_into().map_err(|_| Damaged::Short)?;
    Ok(usize::from(u16::from_be_bytes(two)))
}
