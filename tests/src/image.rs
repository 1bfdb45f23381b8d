//! Images, made here from files of Debian's packages: real layers, configs and manifests.

use flate2::Compression;
use flate2::write::GzEncoder;
use hull_spec::Digest;
use hull_spec::image::media_type;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::io::Write;
use std::path::Path;

/// The digest of some bytes.
#[must_use]
pub fn digest(bytes: &[u8]) -> Digest {
    Digest::from_sha256(&Sha256::digest(bytes).into())
}

/// How a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    Plain,
    /// With gzip.
    Gzip,
    /// With zstd.
    Zstd,
}

/// Which family of media types an image uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// The OCI image specification's.
    Oci,
    /// Docker's, version 2, schema 2.
    Docker,
}

/// An image ready to be pushed.
#[derive(Debug, Clone)]
pub struct Image {
    blobs: Vec<Vec<u8>>,
    manifest: Vec<u8>,
    media_type: &'static str,
    config: Digest,
}

impl Image {
    /// Makes an image of uncompressed tar layers, the base first, and the config's `config` object.
    ///
    /// # Panics
    /// When compressing fails, which it cannot in memory.
    #[must_use]
    pub fn new(layers: &[Vec<u8>], config: &Value, packing: Packing, family: Family) -> Self {
        let architecture = hull_spec::Platform::host().architecture;
        Self::of(&architecture, layers, config, (packing, family))
    }

    /// As [`Image::new`], for a processor of another architecture.
    ///
    /// # Panics
    /// As [`Image::new`].
    #[must_use]
    pub fn of(
        architecture: &str,
        layers: &[Vec<u8>],
        config: &Value,
        (packing, family): (Packing, Family),
    ) -> Self {
        let diff_ids: Vec<String> = layers
            .iter()
            .map(|layer| digest(layer).to_string())
            .collect();
        let history: Vec<Value> = layers
            .iter()
            .map(|_| json!({"created": "2026-01-02T03:04:05Z", "created_by": "made for a test"}))
            .collect();
        let config = json!({
            "created": "2026-01-02T03:04:05Z", "architecture": architecture,
            "os": "linux", "config": config, "rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": history,
        });
        let config = serde_json::to_vec(&config).expect("a value is JSON");
        let mut blobs: Vec<Vec<u8>> = layers.iter().map(|layer| pack(layer, packing)).collect();
        let described: Vec<Value> = blobs
            .iter()
            .map(|blob| descriptor(layer_type(packing, family), blob))
            .collect();
        let (manifest_type, config_type) = match family {
            Family::Oci => (media_type::OCI_MANIFEST, media_type::OCI_CONFIG),
            Family::Docker => (media_type::DOCKER_MANIFEST, media_type::DOCKER_CONFIG),
        };
        let manifest = json!({
            "schemaVersion": 2, "mediaType": manifest_type,
            "config": descriptor(config_type, &config), "layers": described,
        });
        let config_digest = digest(&config);
        blobs.push(config);
        Self {
            blobs,
            manifest: serde_json::to_vec(&manifest).expect("a value is JSON"),
            media_type: manifest_type,
            config: config_digest,
        }
    }

    /// The layers, compressed, and the config.
    #[must_use]
    pub fn blobs(&self) -> &[Vec<u8>] {
        &self.blobs
    }

    /// The manifest.
    #[must_use]
    pub fn manifest(&self) -> &[u8] {
        &self.manifest
    }

    /// The manifest's media type.
    #[must_use]
    pub fn media_type(&self) -> &'static str {
        self.media_type
    }

    /// The config's digest: the image id as Docker shows it.
    #[must_use]
    pub fn id(&self) -> &Digest {
        &self.config
    }
}

/// An index of images for these architectures, and its media type.
///
/// # Panics
/// Never in practice: a value is JSON.
#[must_use]
pub fn index(images: &[(&str, &Image)]) -> (&'static str, Vec<u8>) {
    let entry = |(architecture, image): &(&str, &Image)| {
        let mut entry = descriptor(image.media_type(), image.manifest());
        entry["platform"] = json!({"os": "linux", "architecture": architecture});
        entry
    };
    let manifests: Vec<Value> = images.iter().map(entry).collect();
    let index = json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": manifests,
    });
    let bytes = serde_json::to_vec(&index).expect("a value is JSON");
    (media_type::OCI_INDEX, bytes)
}

/// A descriptor of `bytes`.
#[must_use]
pub fn descriptor(kind: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": kind, "digest": digest(bytes).to_string(), "size": bytes.len()})
}

fn layer_type(packing: Packing, family: Family) -> &'static str {
    match (family, packing) {
        (Family::Oci, Packing::Plain) => media_type::OCI_LAYER,
        (Family::Oci, Packing::Gzip) => media_type::OCI_LAYER_GZIP,
        (Family::Oci, Packing::Zstd) => media_type::OCI_LAYER_ZSTD,
        (Family::Docker, Packing::Plain) => media_type::DOCKER_LAYER,
        (Family::Docker, _) => media_type::DOCKER_LAYER_GZIP,
    }
}

/// Compresses a layer.
///
/// # Panics
/// Never in practice: writing to memory does not fail.
#[must_use]
pub fn pack(layer: &[u8], packing: Packing) -> Vec<u8> {
    match packing {
        Packing::Plain => layer.to_vec(),
        Packing::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(layer).expect("write to memory");
            encoder.finish().expect("write to memory")
        }
        Packing::Zstd => zstd::encode_all(layer, 1).expect("write to memory"),
    }
}

/// A layer under construction.
#[expect(missing_debug_implementations, reason = "tar::Builder has none")]
pub struct Layer(tar::Builder<Vec<u8>>);

impl Default for Layer {
    fn default() -> Self {
        Self::new()
    }
}

impl Layer {
    /// An empty layer.
    #[must_use]
    pub fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    /// Adds a directory.
    #[must_use]
    pub fn directory(self, path: &str, mode: u32) -> Self {
        self.entry(path, tar::EntryType::Directory, mode, None, &[])
    }

    /// Adds a file.
    #[must_use]
    pub fn file(self, path: &str, mode: u32, content: &[u8]) -> Self {
        self.entry(path, tar::EntryType::Regular, mode, None, content)
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(path, tar::EntryType::Symlink, 0o777, Some(target), &[])
    }

    /// Adds a hard link.
    #[must_use]
    pub fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(path, tar::EntryType::Link, 0o644, Some(target), &[])
    }

    /// Adds a device of these numbers, major and minor.
    ///
    /// # Panics
    /// When its name does not fit a tar header.
    #[must_use]
    pub fn device(mut self, path: &str, kind: tar::EntryType, (major, minor): (u32, u32)) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_path(path).expect("a short name");
        header.set_entry_type(kind);
        header.set_mode(0o666);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(0);
        header
            .set_device_major(major)
            .expect("a header has devices");
        header
            .set_device_minor(minor)
            .expect("a header has devices");
        header.set_cksum();
        self.0.append(&header, &[][..]).expect("write to memory");
        self
    }

    /// Adds any entry, with the names as they are: hostile ones too.
    ///
    /// # Panics
    /// When a name does not fit a tar header.
    #[must_use]
    #[expect(clippy::too_many_arguments, reason = "a tar header's fields")]
    pub fn entry(
        mut self,
        path: &str,
        kind: tar::EntryType,
        mode: u32,
        link: Option<&str>,
        content: &[u8],
    ) -> Self {
        let mut header = tar::Header::new_gnu();
        // Not set_path: that refuses `..` and absolute names, which hostile layers have.
        let name = &mut header.as_old_mut().name;
        name[..path.len()].copy_from_slice(path.as_bytes());
        if let Some(link) = link {
            let name = &mut header.as_old_mut().linkname;
            name[..link.len()].copy_from_slice(link.as_bytes());
        }
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_700_000_000);
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.0.append(&header, content).expect("write to memory");
        self
    }

    /// Adds everything below a directory of this machine.
    ///
    /// # Panics
    /// When the directory cannot be read.
    #[must_use]
    pub fn tree(mut self, directory: &Path) -> Self {
        self.0.follow_symlinks(false);
        self.0
            .append_dir_all(".", directory)
            .expect("read the tree");
        self
    }

    /// The finished tar.
    ///
    /// # Panics
    /// Never in practice: writing to memory does not fail.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.0.into_inner().expect("write to memory")
    }
}

/// Where Debian's `busybox-static` puts its program.
pub const BUSYBOX: &str = "/bin/busybox";

/// The layer of a small but whole system: Debian's static busybox under all its names, users, and
/// the directories that programs expect.
///
/// # Panics
/// When `busybox-static` is not installed.
#[must_use]
pub fn busybox_layer() -> Vec<u8> {
    let program = fs_err::read(BUSYBOX).expect("the Debian package busybox-static is installed");
    let listed = crate::command::run(std::process::Command::new(BUSYBOX).arg("--list"), &[]);
    let mut layer = Layer::new();
    for directory in [
        "bin", "dev", "etc", "home", "proc", "root", "sys", "usr", "usr/bin", "usr/sbin", "var",
        "sbin",
    ] {
        layer = layer.directory(directory, 0o755);
    }
    layer = layer
        .directory("tmp", 0o1777)
        .file("bin/busybox", 0o755, &program)
        .file(
            "etc/passwd",
            0o644,
            b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home:/bin/sh\n",
        )
        .file(
            "etc/group",
            0o644,
            b"root:x:0:\nuser:x:1000:\nstaff:x:50:user\n",
        )
        .file("etc/not-executable", 0o644, b"data\n");
    for applet in listed.ok().lines().filter(|name| *name != "busybox") {
        layer = layer.symlink(&format!("bin/{applet}"), "busybox");
    }
    layer.finish()
}

/// A small system as an image of two layers, with Docker's usual `PATH`.
#[must_use]
pub fn busybox(packing: Packing, family: Family) -> Image {
    let second = Layer::new()
        .directory("etc", 0o755)
        .file("etc/motd", 0o644, b"made from Debian's busybox\n")
        .finish();
    let config = json!({
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        "Cmd": ["sh"],
    });
    Image::new(&[busybox_layer(), second], &config, packing, family)
}
