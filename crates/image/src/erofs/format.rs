//! The numbers of EROFS on disk (Linux, `fs/erofs/erofs_fs.h`); everything is little endian.

use crate::unpack::Error;

/// The smallest block there is, because that is what everything in a tar archive is aligned to.
pub(super) const BLOCK_BITS: u8 = 9;
pub(super) const BLOCK_SIZE: usize = 1 << BLOCK_BITS;
pub(super) const BLOCK: u64 = BLOCK_SIZE as u64;
/// Inodes lie at multiples of this; their number is the multiple, counted from the metadata's start.
pub(super) const SLOT: u64 = 32;
pub(super) const SUPERBLOCK_AT: usize = 1024;
/// The superblock's own block and all before it; the device table is in it too.
pub(super) const HEAD: u64 = SUPERBLOCK_AT as u64 + BLOCK;
/// A chunk that is a hole.
pub(super) const HOLE: u64 = 0xffff_ffff << 32;
/// No file may be larger: ext4's limit with blocks of 4 KiB, so that both formats take the same layers.
pub(super) const MAX_FILE: u64 = (1 << 44) - 4096;
/// The longest target of a symbolic link: `PATH_MAX` with its NUL.
pub(super) const MAX_TARGET: usize = 4095;

pub(super) const TYPE_MASK: u16 = 0o170_000;
pub(super) const FILE: u16 = 0o100_000;
pub(super) const DIRECTORY: u16 = 0o040_000;
pub(super) const SYMLINK: u16 = 0o120_000;
pub(super) const CHARACTER: u16 = 0o020_000;
pub(super) const BLOCK_DEVICE: u16 = 0o060_000;
pub(super) const FIFO: u16 = 0o010_000;

pub(super) const MAGIC: u32 = 0xe0f5_e1e2;
/// The superblock has a checksum; inodes have times of modification.
const COMPATIBLE: u32 = 0x1 | 0x2;
/// Files in chunks (5.15), further devices (5.16).
const INCOMPATIBLE: u32 = 0x4 | 0x8;
/// The size of the superblock and of what describes a device.
const DEVICE_SLOT: usize = 128;
/// The place behind the superblock, counted in such slots.
const FIRST_DEVICE: u16 = 9;

/// How the data of an inode is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// Blocks that follow one another.
    Plain = 0,
    /// The same, but the last block's bytes follow the inode.
    Inline = 2,
    /// A table of chunks follows the inode.
    Chunks = 4,
}

/// In the format of chunks: a table that says for each chunk on which device it is.
pub(super) const CHUNK_INDEXES: u32 = 0x20;

/// The number of the block that begins at, or holds, a byte.
pub(super) fn block(offset: u64) -> Result<u32, Error> {
    u32::try_from(offset >> BLOCK_BITS)
        .ok()
        .filter(|block| *block != u32::MAX)
        .ok_or(Error::Bound("its archive is larger than 2 TiB"))
}

/// A number that the caller knows to fit.
pub(super) fn short(number: impl TryInto<u16>) -> u16 {
    number.try_into().unwrap_or(u16::MAX)
}

/// A number that the caller knows to fit.
pub(super) fn word(number: impl TryInto<u32>) -> u32 {
    number.try_into().unwrap_or(u32::MAX)
}

/// What the superblock says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Superblock {
    pub(super) root: u16,
    pub(super) inodes: u64,
    /// What inodes without a time of their own have.
    pub(super) time: (i64, u32),
    /// Blocks of the index; the archive's follow in the space of addresses.
    pub(super) blocks: u32,
    pub(super) metadata: u32,
    pub(super) uuid: [u8; 16],
    /// Blocks of the archive.
    pub(super) archive: u32,
}

impl Superblock {
    /// The block that holds it, and the device table behind it.
    pub(super) fn encode(&self) -> [u8; BLOCK_SIZE] {
        let mut out = [0; BLOCK_SIZE];
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &MAGIC.to_le_bytes());
        put(8, &COMPATIBLE.to_le_bytes());
        put(12, &[BLOCK_BITS]);
        put(14, &self.root.to_le_bytes());
        put(16, &self.inodes.to_le_bytes());
        put(24, &self.time.0.to_le_bytes());
        put(32, &self.time.1.to_le_bytes());
        put(36, &self.blocks.to_le_bytes());
        put(40, &self.metadata.to_le_bytes());
        put(48, &self.uuid);
        put(80, &INCOMPATIBLE.to_le_bytes());
        // One further device, described in the slot after the superblock.
        put(86, &1u16.to_le_bytes());
        put(88, &FIRST_DEVICE.to_le_bytes());
        put(DEVICE_SLOT + 64, &self.archive.to_le_bytes());
        put(DEVICE_SLOT + 68, &self.blocks.to_le_bytes());
        let checksum = crc32c(&out);
        out[4..8].copy_from_slice(&checksum.to_le_bytes());
        out
    }
}

/// What an inode says of itself; see [`Inode::encode`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Inode {
    pub(super) extended: bool,
    pub(super) layout: Layout,
    /// Bytes of attributes that follow it.
    pub(super) attributes: u32,
    pub(super) mode: u16,
    pub(super) links: u32,
    pub(super) size: u64,
    /// First block, device number or format of the chunks.
    pub(super) union: u32,
    pub(super) number: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) time: (i64, u32),
}

impl Inode {
    /// 32 bytes, or 64 when it is an extended one.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let short = |number: u32| short(number).to_le_bytes();
        let format = (self.layout as u16) << 1 | u16::from(self.extended);
        out.extend_from_slice(&format.to_le_bytes());
        let attributes = match self.attributes {
            0 => 0,
            bytes => (bytes - word(ATTRIBUTES_HEAD)) / 4 + 1,
        };
        out.extend_from_slice(&short(attributes));
        out.extend_from_slice(&self.mode.to_le_bytes());
        if self.extended {
            out.extend_from_slice(&[0; 2]);
            out.extend_from_slice(&self.size.to_le_bytes());
            out.extend_from_slice(&self.union.to_le_bytes());
            out.extend_from_slice(&self.number.to_le_bytes());
            out.extend_from_slice(&self.uid.to_le_bytes());
            out.extend_from_slice(&self.gid.to_le_bytes());
            out.extend_from_slice(&self.time.0.to_le_bytes());
            out.extend_from_slice(&self.time.1.to_le_bytes());
            out.extend_from_slice(&self.links.to_le_bytes());
            out.resize(start + 64, 0);
        } else {
            out.extend_from_slice(&short(self.links));
            out.extend_from_slice(&word(self.size).to_le_bytes());
            out.extend_from_slice(&[0; 4]);
            out.extend_from_slice(&self.union.to_le_bytes());
            out.extend_from_slice(&self.number.to_le_bytes());
            out.extend_from_slice(&short(self.uid));
            out.extend_from_slice(&short(self.gid));
            out.extend_from_slice(&[0; 4]);
        }
    }
}

/// What the attributes of an inode begin with: a filter that is not used, and no shared ones.
pub(super) const ATTRIBUTES_HEAD: usize = 12;
/// The most an inode can say that it has.
pub(super) const MAX_ATTRIBUTES: usize = ATTRIBUTES_HEAD + 4 * (u16::MAX as usize - 1);

/// The name spaces of attributes by number. The two of ACLs are whole names.
const SPACES: [(&[u8], u8); 5] = [
    (b"user.", 1),
    (b"system.posix_acl_access", 2),
    (b"system.posix_acl_default", 3),
    (b"trusted.", 4),
    (b"security.", 6),
];

/// Appends one extended attribute; `false` for one of a name space that does not exist here.
pub(super) fn attribute(name: &[u8], value: &[u8], out: &mut Vec<u8>) -> bool {
    let space = SPACES
        .iter()
        .find_map(|(prefix, space)| Some((*space, name.strip_prefix(*prefix)?)));
    let Some((space, name)) = space else {
        return false;
    };
    let length = u8::try_from(name.len()).unwrap_or(u8::MAX);
    out.extend_from_slice(&[length, space]);
    out.extend_from_slice(&short(value.len()).to_le_bytes());
    out.extend_from_slice(name);
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(4), 0);
    true
}

/// The type of a directory's entry, as `DT_*` in the kernel's order of its own.
pub(super) fn entry_type(mode: u16) -> u8 {
    match mode & TYPE_MASK {
        FILE => 1,
        DIRECTORY => 2,
        CHARACTER => 3,
        BLOCK_DEVICE => 4,
        FIFO => 5,
        _ => 7,
    }
}

/// A device number as the kernel keeps it on disk.
pub(super) fn device(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

/// CRC-32C without the final inversion, as the kernel computes it over the superblock's block.
pub(super) fn crc32c(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg())
        })
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_checksum_is_castagnolis() {
        // RFC 3720, B.4, before the final inversion.
        assert_eq!(!super::crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(!super::crc32c(b"123456789"), 0xe306_9283);
    }
}
