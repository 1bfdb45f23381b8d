//! Berkeley DB's hash table (db 5.3 `src/dbinc/db_page.h`), as little-endian machines write it: pages with keys and
//! values in turns; values that are longer than a page are in pages of their own.

use super::{Damaged, Take, little, part};

const MAGIC: usize = 0x0006_1561;
/// Bytes of a page's head.
const HEAD: usize = 26;
/// Types of pages with keys and values: unsorted and sorted.
const TABLE: [u8; 2] = [2, 13];
/// The type of a value that is elsewhere.
const ELSEWHERE: u8 = 3;

/// Gives each header.
pub(super) fn each(bytes: &[u8], take: Take<'_>) -> Result<(), Damaged> {
    let wrong = Damaged::Kind("Berkeley DB hash");
    if bytes.len() < 512 || little(bytes, 12)? != MAGIC {
        return Err(wrong);
    }
    let size = little(bytes, 20)?;
    if !size.is_power_of_two() || !(512..=65_536).contains(&size) {
        return Err(wrong);
    }
    for page in bytes.chunks_exact(size).skip(1) {
        if !TABLE.contains(&page[25]) {
            continue;
        }
        let entries = short(page, 20)?;
        for value in (1..entries).step_by(2) {
            let at = short(page, HEAD + 2 * value)?;
            if part(page, at, 1)? != [ELSEWHERE] {
                // The number that the next package gets.
                continue;
            }
            let (number, length) = (little(page, at + 4)?, little(page, at + 8)?);
            take(&overflow((bytes, size), number, length)?)?;
        }
    }
    Ok(())
}

/// The bytes of a value of that length, which begins in page `number`.
fn overflow(
    (bytes, size): (&[u8], usize),
    mut number: usize,
    length: usize,
) -> Result<Vec<u8>, Damaged> {
    if length > bytes.len() {
        return Err(Damaged::Short);
    }
    let mut value = Vec::with_capacity(length);
    while value.len() < length {
        let page = part(bytes, number.saturating_mul(size), size)?;
        // Pages are full but the last.
        let data = &page[HEAD..];
        value.extend_from_slice(&data[..data.len().min(length - value.len())]);
        number = little(page, 16)?;
    }
    Ok(value)
}

fn short(bytes: &[u8], at: usize) -> Result<usize, Damaged> {
    let two: [u8; 2] = part(bytes, at, 2)?.try_into().map_err(|_| Damaged::Short)?;
    Ok(usize::from(u16::from_le_bytes(two)))
}
