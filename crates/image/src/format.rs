//! The two ways in which a layer lies on disk, and which of them new layers get.

use crate::erofs;
use crate::store::Store;
use serde::{Deserialize, Serialize};
use std::io::{self, Cursor};
use std::path::Path;
use std::str::FromStr;

/// How a layer lies on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Its files, unpacked into a directory.
    #[default]
    Directory,
    /// Its tar archive as it is, and an EROFS index that points into it.
    Erofs,
}

/// What an administrator wants for new layers. Those that are there stay as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FormatChoice {
    /// EROFS where the kernel mounts it from the store's files, which Linux does since 6.12, else
    /// directories.
    #[default]
    Auto,
    /// This one.
    Only(Format),
}

/// A word that is none of `auto`, `erofs` and `directory`.
#[derive(Debug, thiserror::Error)]
#[error("invalid store format: {0}: use auto, erofs or directory")]
pub struct InvalidFormat(String);

impl FromStr for FormatChoice {
    type Err = InvalidFormat;

    fn from_str(text: &str) -> Result<Self, InvalidFormat> {
        match text {
            "auto" => Ok(Self::Auto),
            "erofs" => Ok(Self::Only(Format::Erofs)),
            "directory" => Ok(Self::Only(Format::Directory)),
            _ => Err(InvalidFormat(text.to_owned())),
        }
    }
}

impl Store {
    /// The format that new layers get. The kernel is asked once, when the first layer comes.
    ///
    /// # Errors
    /// When EROFS is demanded and the kernel cannot mount it.
    pub fn format(&self) -> io::Result<Format> {
        let inner = &self.inner;
        if let Some(known) = inner.format.get() {
            return Ok(*known);
        }
        let format = match inner.options.format {
            FormatChoice::Only(Format::Directory) => Format::Directory,
            choice => match self.probe() {
                Ok(()) => Format::Erofs,
                Err(error) if choice == FormatChoice::Auto => {
                    tracing::info!(%error, "layers are unpacked: this kernel cannot mount them from files here");
                    Format::Directory
                }
                Err(error) => return Err(error),
            },
        };
        Ok(*inner.format.get_or_init(|| format))
    }

    /// Mounts the smallest layer there is.
    fn probe(&self) -> io::Result<()> {
        if self.inner.mounts.dir().is_none() {
            let text = "there is no directory to mount layers in";
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        let dir = self.inner.ingest.stage();
        fs_err::create_dir(&dir)?;
        let result = probe_in(&dir);
        self.discard_or_warn(&dir);
        result
    }
}

fn probe_in(dir: &Path) -> io::Result<()> {
    // An archive of nothing: two blocks of zeros.
    let empty = [0; 1024];
    let (tar, index) = (dir.join("tar"), dir.join("erofs"));
    fs_err::write(&tar, empty)?;
    let mut file = fs_err::File::create(&index)?.into_file();
    erofs::index(&mut Cursor::new(empty), &mut file).map_err(io::Error::other)?;
    drop(file);
    hull_linux::mount::erofs(&index, &tar).map(drop)
}
