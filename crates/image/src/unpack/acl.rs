//! POSIX ACLs as extended attributes (acl(5); Linux, `include/uapi/linux/posix_acl_xattr.h`): a
//! version and entries of tag, permissions and id. The kernel keeps them in step with the mode and
//! refuses wrong ones; an index that is mounted as it is must be written so.

use rustix::io::Errno;

const VERSION: [u8; 4] = 2u32.to_le_bytes();
const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;
const NO_ID: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Entry {
    tag: u16,
    permissions: u16,
    id: u32,
}

/// An access ACL as it is after chmod(2) with `mode`; `None` when it says no more than the mode.
///
/// # Errors
/// `EOPNOTSUPP` for another version, `EINVAL` for one that is malformed.
pub(super) fn access(value: &[u8], mode: u32) -> Result<Option<Vec<u8>>, Errno> {
    let mut entries = parse(value)?;
    let masked = entries.iter().any(|entry| entry.tag == MASK);
    if entries.len() <= 3 && !masked {
        return Ok(None);
    }
    for entry in &mut entries {
        let shift = match entry.tag {
            USER_OBJ => 6,
            GROUP_OBJ if !masked => 3,
            MASK => 3,
            OTHER => 0,
            _ => continue,
        };
        entry.permissions = u16::try_from(mode >> shift & 7).unwrap_or(0);
    }
    Ok(Some(encode(&entries)))
}

/// A default ACL; `None` when it is empty.
///
/// # Errors
/// As [`access`].
pub(super) fn default(value: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
    let entries = parse(value)?;
    Ok((!entries.is_empty()).then(|| encode(&entries)))
}

fn parse(value: &[u8]) -> Result<Vec<Entry>, Errno> {
    let (version, rest) = value.split_first_chunk::<4>().ok_or(Errno::INVAL)?;
    if *version != VERSION {
        return Err(Errno::OPNOTSUPP);
    }
    let (chunks, rest) = rest.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(Errno::INVAL);
    }
    let entries: Vec<Entry> = chunks
        .iter()
        .map(|[a, b, c, d, id @ ..]| Entry {
            tag: u16::from_le_bytes([*a, *b]),
            permissions: u16::from_le_bytes([*c, *d]),
            id: u32::from_le_bytes(*id),
        })
        .collect();
    check(&entries)?;
    Ok(entries)
}

/// The order of tags, each of the three classes exactly once, a mask where names are.
fn check(entries: &[Entry]) -> Result<(), Errno> {
    if entries.is_empty() {
        return Ok(());
    }
    let count = |tag| entries.iter().filter(|entry| entry.tag == tag).count();
    let named = |entry: &Entry| matches!(entry.tag, USER | GROUP);
    let known = [USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER];
    let valid = entries.is_sorted_by_key(|entry| entry.tag)
        && entries.iter().all(|entry| known.contains(&entry.tag))
        && entries.iter().all(|entry| entry.permissions <= 7)
        && entries
            .iter()
            .all(|entry| !named(entry) || entry.id != NO_ID)
        && [USER_OBJ, GROUP_OBJ, OTHER].map(count) == [1; 3]
        && count(MASK) <= 1
        && (count(MASK) == 1 || !entries.iter().any(named));
    if valid { Ok(()) } else { Err(Errno::INVAL) }
}

fn encode(entries: &[Entry]) -> Vec<u8> {
    let mut out = VERSION.to_vec();
    for entry in entries {
        let id = match entry.tag {
            USER | GROUP => entry.id,
            _ => NO_ID,
        };
        out.extend_from_slice(&entry.tag.to_le_bytes());
        out.extend_from_slice(&entry.permissions.to_le_bytes());
        out.extend_from_slice(&id.to_le_bytes());
    }
    out
}
