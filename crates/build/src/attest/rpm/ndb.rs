//! rpm's own store (rpm `lib/backend/ndb/rpmpkg.c`): pages of slots, which name blocks of 16 bytes.

use super::{Damaged, Take, little, part};

const BLOCK: usize = 16;
const PAGE: usize = 4096;
/// The two first slots are the header of all.
const FIRST: usize = 32;

/// Gives each header.
pub(super) fn each(bytes: &[u8], take: Take<'_>) -> Result<(), Damaged> {
    if !bytes.starts_with(b"RpmP") {
        return Err(Damaged::Kind("ndb"));
    }
    let pages = little(bytes, 12)?;
    let slots = part(bytes, 0, pages.saturating_mul(PAGE))?;
    let slots = slots.get(FIRST..).unwrap_or_default();
    for slot in slots.chunks_exact(BLOCK) {
        let (package, at) = (little(slot, 4)?, little(slot, 8)?);
        if !slot.starts_with(b"Slot") || package == 0 || at == 0 {
            continue;
        }
        let at = at.saturating_mul(BLOCK);
        let head = part(bytes, at, BLOCK)?;
        if !head.starts_with(b"BlbS") {
            return Err(Damaged::Circle);
        }
        take(part(bytes, at + BLOCK, little(head, 12)?)?)?;
    }
    Ok(())
}
