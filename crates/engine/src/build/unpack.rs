//! Archives that ADD takes apart, as Docker does with those it knows: tar, plain or packed by gzip, bzip2, xz
//! or zstd.

use super::copy::Look;
use super::find::{Found, make_directories};
use hull_build::world::Cancel;
use hull_image::archive::decompressed;
use hull_image::extract::{Options, extract};
use hull_linux::path::Root;
use rustix::fs::OFlags;
use std::fs::File;
use std::io::{self, BufReader, Read as _};
use std::path::Path;

/// Bytes until the build ends.
struct Until<'c, R>(R, &'c Cancel);

impl<R: io::Read> io::Read for Until<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1.check().map_err(io::Error::other)?;
        self.0.read(buffer)
    }
}

/// Unpacks a file if it is an archive; tells whether it is. It ends with the build.
///
/// # Errors
/// For an archive that is broken, and those of writing files.
pub(super) fn unpack(
    found: &Found,
    (root, dest): (&Root, &Path),
    owner: Option<(u32, u32)>,
    cancel: &Cancel,
) -> io::Result<bool> {
    let file = File::from(found.open()?);
    let plain = decompressed(BufReader::with_capacity(64 << 10, file))?;
    let mut plain = BufReader::with_capacity(64 << 10, plain);
    // What looks packed and is not is a file like any other.
    let mut first = [0; 512];
    let mut filled = 0;
    while filled < first.len() {
        match plain.read(&mut first[filled..]) {
            Ok(0) | Err(_) => return Ok(false),
            Ok(count) => filled += count,
        }
    }
    if !is_tar(&first) {
        return Ok(false);
    }
    let plain = io::Cursor::new(first).chain(plain);
    let mut plain = BufReader::with_capacity(64 << 10, Until(plain, cancel));
    let look = Look {
        owner,
        ..Look::default()
    };
    drop(make_directories(root, dest, 0o755, &look)?);
    let directory = root.open_at(dest, OFlags::RDONLY | OFlags::DIRECTORY)?;
    let options = Options {
        keep_kind: false,
        owner,
    };
    extract(&mut plain, (root, dest, directory), options).map_err(io::Error::other)?;
    Ok(true)
}

/// Whether bytes begin with the header of an entry: its checksum is right.
fn is_tar(head: &[u8]) -> bool {
    let Some(header) = head.get(..512) else {
        return false;
    };
    let Ok(field) = std::str::from_utf8(&header[148..156]) else {
        return false;
    };
    let field = field.trim_matches([' ', '\0']);
    let Ok(sum) = u32::from_str_radix(field, 8) else {
        return false;
    };
    let bytes = header.iter().enumerate();
    let summed = bytes.map(|(at, byte)| match at {
        148..156 => u32::from(b' '),
        _ => u32::from(*byte),
    });
    sum == summed.sum::<u32>()
}
