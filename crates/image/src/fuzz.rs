//! What reads strangers' layers, as functions of bytes: for the fuzzer, and for the test that runs them
//! briefly with every change. Each panics where a property does not hold.

use crate::decompress::Decoder;
use crate::erofs::{self, check};
use crate::unpack::{Archive, Segment};
use std::fs::File;
use std::io::{BufRead, BufReader, Read as _, Seek as _};

/// What a compressed input may become here; what a layer may become is the store's business.
const LONGEST: u64 = 4 << 20;

/// A target: its name, which is that of the directory of its seeds, and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 3] = [
    ("tar", tar),
    ("erofs", erofs),
    ("compressed_layer", compressed_layer),
];

/// The tar reader: entries or a refusal, and no more data than there is.
pub fn tar(bytes: &[u8]) {
    read(&mut &bytes[..]);
    read(&mut &mended(bytes)[..]);
}

fn read(source: &mut dyn BufRead) {
    let mut archive = Archive::new(source);
    while let Ok(Some(entry)) = archive.next() {
        if let Some(segments) = &entry.sparse {
            let inside = |part: &Segment| part.offset + part.length <= entry.size;
            assert!(segments.iter().all(inside), "{entry:?}");
        }
        while let Ok(data) = archive.data() {
            let count = data.len();
            if count == 0 {
                break;
            }
            archive.consume(count);
        }
    }
}

/// The EROFS writer: an index that holds together, the same one every time, or a refusal.
pub fn erofs(bytes: &[u8]) {
    let bytes = mended(bytes);
    let Some(first) = index(&bytes) else {
        return;
    };
    if let Err(wrong) = check::check(&first, bytes.len() as u64) {
        panic!("{wrong}");
    }
    assert_eq!(index(&bytes), Some(first), "not the same again");
}

/// Layers as they are fetched: gzip, zstd, or neither.
pub fn compressed_layer(bytes: &[u8]) {
    if let Ok(decoder) = Decoder::new(bytes) {
        read(&mut BufReader::new(decoder.take(LONGEST)));
    }
}

/// The same with right checksums wherever there may be a header, so that what is wrong with it
/// reaches the parser.
fn mended(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let (blocks, _) = bytes.as_chunks_mut::<512>();
    for block in blocks
        .iter_mut()
        .filter(|block| block[257..262] == *b"ustar")
    {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    bytes
}

fn index(bytes: &[u8]) -> Option<Vec<u8>> {
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::memfd_create("index", flags).ok()?);
    erofs::index(&mut &bytes[..], &mut file).ok()?;
    let mut index = Vec::new();
    file.rewind().ok()?;
    file.read_to_end(&mut index).ok()?;
    Some(index)
}
