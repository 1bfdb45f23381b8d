//! The config of an image in the making.

use crate::dockerfile::Error;
use hull_spec::Platform;
use hull_spec::image::{ContainerConfig, History, ImageConfig, Layers};
use serde::{Deserialize, Serialize};

/// The `PATH` of images that say nothing of it.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Who made an entry of the history.
const COMMENT: &str = "buildkit.dockerfile.v0";
/// The history of an image is not larger: each `RUN` repeats the build arguments.
const MAX_HISTORY: usize = 8 << 20;

/// An image: config and history, without its layers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Image {
    pub(super) author: Option<String>,
    pub(super) platform: Option<Platform>,
    os_features: Option<Vec<String>>,
    pub(super) config: ContainerConfig,
    /// Whether there is a layer at all.
    pub(super) empty: bool,
    rootfs: Layers,
    history: Vec<History>,
    size: usize,
}

/// What [`ImageConfig`] does not have.
#[derive(Deserialize, Default)]
struct Further {
    #[serde(rename = "os.version", default)]
    os_version: Option<String>,
    #[serde(rename = "os.features", default)]
    os_features: Option<Vec<String>>,
}

/// As BuildKit writes it.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    author: &'a Option<String>,
    architecture: &'a str,
    os: &'a str,
    #[serde(rename = "os.version", skip_serializing_if = "Option::is_none")]
    os_version: Option<&'a str>,
    #[serde(rename = "os.features", skip_serializing_if = "Option::is_none")]
    os_features: &'a Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<&'a str>,
    config: &'a ContainerConfig,
    rootfs: &'a Layers,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    history: &'a [History],
}

impl Image {
    /// `FROM scratch`.
    pub(super) fn scratch(platform: &Platform) -> Self {
        let windows = platform.os == "windows";
        Self {
            platform: Some(platform.clone()),
            empty: true,
            rootfs: Layers {
                kind: "layers".to_owned(),
                diff_ids: Vec::new(),
            },
            config: ContainerConfig {
                working_dir: "/".to_owned(),
                env: (!windows).then(|| vec![format!("PATH={DEFAULT_PATH}")]),
                ..ContainerConfig::default()
            },
            ..Self::default()
        }
    }

    /// An image that is built upon.
    pub(super) fn read(config: &[u8]) -> Result<Self, Error> {
        let wrong =
            |why: serde_json::Error| Error::new(format!("failed to parse image config: {why}"));
        let read: ImageConfig = serde_json::from_slice(config).map_err(wrong)?;
        let further: Further = serde_json::from_slice(config).map_err(wrong)?;
        // Old images do not say which layers they have.
        let layers =
            !read.rootfs.diff_ids.is_empty() || read.history.iter().any(|entry| !entry.empty_layer);
        Ok(Self {
            author: read.author,
            platform: Some(Platform {
                architecture: read.architecture,
                os: read.os,
                os_version: further.os_version,
                variant: read.variant,
            }),
            os_features: further.os_features,
            config: read.config.unwrap_or_default(),
            empty: !layers,
            rootfs: read.rootfs,
            history: read.history,
            size: config.len(),
        })
    }

    /// The value of a variable.
    pub(super) fn env(&self, name: &str) -> Option<&str> {
        let mut all = self.config.env.iter().flatten();
        all.find_map(|line| line.split_once('=').filter(|(key, _)| *key == name))
            .map(|(_, value)| value)
    }

    /// Sets a variable where it stands, or at the end.
    pub(super) fn set_env(&mut self, name: &str, value: &str) {
        let line = format!("{name}={value}");
        let all = self.config.env.get_or_insert_default();
        let key = |line: &String| line.split('=').next() == Some(name);
        match all.iter_mut().find(|line| key(line)) {
            Some(old) => *old = line,
            None => all.push(line),
        }
    }

    /// Sees to it that programs are found.
    pub(super) fn ensure_path(&mut self) {
        let windows = self.platform.as_ref().is_some_and(|p| p.os == "windows");
        if !windows && self.env("PATH").is_none() {
            self.set_env("PATH", DEFAULT_PATH);
        }
    }

    /// Notes what was done.
    pub(super) fn note(
        &mut self,
        by: String,
        layer: bool,
        epoch: Option<i64>,
    ) -> Result<(), Error> {
        self.size += by.len() + COMMENT.len();
        if self.size > MAX_HISTORY {
            let most = MAX_HISTORY >> 20;
            return Err(Error::new(format!(
                "the image's history is larger than {most} MiB"
            )));
        }
        self.history.push(History {
            created: epoch.and_then(|at| Some(jiff::Timestamp::from_second(at).ok()?.to_string())),
            created_by: Some(by),
            author: None,
            comment: Some(COMMENT.to_owned()),
            empty_layer: !layer,
        });
        Ok(())
    }

    /// The config's JSON.
    pub(super) fn to_json(&self) -> Vec<u8> {
        let platform = self.platform.as_ref();
        let document = Document {
            author: &self.author,
            architecture: platform.map_or("", |p| &p.architecture),
            os: platform.map_or("", |p| &p.os),
            os_version: platform.and_then(|p| p.os_version.as_deref()),
            os_features: &self.os_features,
            variant: platform.and_then(|p| p.variant.as_deref()),
            config: &self.config,
            rootfs: &self.rootfs,
            history: &self.history,
        };
        serde_json::to_vec(&document).unwrap_or_default()
    }
}
