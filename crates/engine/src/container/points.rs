//! From the mounts that were asked for to mount points: sources and names are decided, volumes made,
//! images looked up. What comes later covers what came before at the same target:
//!
//! ```text
//! --volumes-from, in order ─► -v, --mount, --tmpfs ─► volumes of the request and of the image,
//!                                                     where nothing is yet
//! ```

use super::merge::clean;
use super::record::Record;
use super::{Bind, Mount, MountKind, MountPoint, Propagation, VolumeMount};
use crate::volume::{self, VolumeRequest};
use crate::{Engine, Error, ErrorKind, Result};
use hull_image::Snapshotter;
use hull_image::diff::View;
use hull_spec::rootfs::RootFs;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd as _;
use std::path::Path;

fn invalid(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, text)
}

impl Engine {
    /// Decides what is mounted where. The volumes are the container's from here on, see
    /// [`Engine::abandon_points`] for a container that does not come to be.
    ///
    /// # Errors
    /// Docker's complaints about sources, volumes, images and other containers.
    pub(super) fn resolve_mounts(&self, record: &mut Record) -> Result<()> {
        let config = std::sync::Arc::clone(&record.config);
        for mount in &config.mounts {
            check_source(mount)?;
        }
        let mut inherited = BTreeMap::new();
        for from in &config.volumes_from {
            for point in self.points_of(from)? {
                inherited.insert(point.target.clone(), point);
            }
        }
        let own: BTreeSet<String> = config
            .mounts
            .iter()
            .map(|mount| clean(&mount.target.to_string_lossy()))
            .collect();
        inherited.retain(|target, _| !own.contains(target));
        for point in inherited.into_values() {
            self.inherit(&point, &record.id)?;
            record.mounts.push(point);
        }
        for mount in &config.mounts {
            let number = record.mounts.len();
            let point = self.point(mount, &record.id, number)?;
            record.mounts.push(point);
        }
        for path in record.effective.volumes.clone() {
            let target = clean(&path);
            if target == "/" {
                return Err(invalid("invalid volume: destination can't be '/'"));
            }
            if record.mounts.iter().all(|point| point.target != target) {
                let wanted = VolumeMount {
                    driver: config.volume_driver.clone(),
                    ..VolumeMount::default()
                };
                let mut point = self.volume_point(&wanted, &record.id)?;
                point.target = target;
                record.mounts.push(point);
            }
        }
        Ok(())
    }

    /// A container with these mount points does not come to be: its own volumes go again.
    pub(super) fn abandon_points(&self, record: &Record) {
        self.release_volumes(record, true);
        self.drop_images(record);
    }

    /// Lets go of the layers of mounted images.
    pub(super) fn drop_images(&self, record: &Record) {
        for point in record
            .mounts
            .iter()
            .filter(|point| !point.snapshot.is_empty())
        {
            if let Err(error) = self.snapshots.remove(&point.snapshot) {
                tracing::warn!(%error, "a mounted image was not let go of");
            }
        }
    }

    /// The mount points of another container, as `--volumes-from` has them.
    fn points_of(&self, from: &str) -> Result<Vec<MountPoint>> {
        if from.is_empty() {
            return Err(invalid(
                "volumes-from specification cannot be an empty string",
            ));
        }
        let (name, mode) = from.split_once(':').unwrap_or((from, ""));
        let mut read_only = false;
        let mut seen = BTreeSet::new();
        for word in mode.split(',').filter(|_| !mode.is_empty()) {
            let kind = match word {
                "ro" => {
                    read_only = true;
                    "access"
                }
                "rw" => "access",
                "z" | "Z" => "label",
                "consistent" | "cached" | "delegated" => "consistency",
                _ => return Err(invalid(format!("invalid mode: {mode}"))),
            };
            if !seen.insert(kind) {
                return Err(invalid(format!("invalid mode: {mode}")));
            }
        }
        let other = self.find(name).map_err(|error| invalid(error.message()))?;
        let mounts = other.read(|record| {
            // What --tmpfs asked for is not inherited, in dockerd either.
            let asked = record.config.request.as_ref();
            let tmpfs = asked.and_then(|asked| asked["HostConfig"]["Tmpfs"].as_object());
            let is_own =
                |point: &&MountPoint| !tmpfs.is_some_and(|tmpfs| tmpfs.contains_key(&point.target));
            record
                .mounts
                .iter()
                .filter(is_own)
                .cloned()
                .collect::<Vec<_>>()
        });
        let take = |mut point: MountPoint| {
            point.read_only |= read_only;
            point.copy = false;
            point.mode = String::new();
            point
        };
        Ok(mounts.into_iter().map(take).collect())
    }

    /// A volume of another container becomes this one's too.
    fn inherit(&self, point: &MountPoint, id: &str) -> Result<()> {
        if point.kind == "volume" {
            let wanted = VolumeRequest {
                name: point.name.clone(),
                driver: point.driver.clone(),
                ..VolumeRequest::default()
            };
            self.make_volume(wanted, Some(id))?;
        }
        Ok(())
    }

    fn point(&self, mount: &Mount, id: &str, number: usize) -> Result<MountPoint> {
        let mut point = match &mount.kind {
            MountKind::Bind(bind) => self.bind_point(bind)?,
            MountKind::Tmpfs { options } => MountPoint {
                kind: "tmpfs".to_owned(),
                mode: options.clone(),
                ..MountPoint::default()
            },
            MountKind::Volume(volume) => self.volume_point(volume, id)?,
            MountKind::Image { source, subpath } => MountPoint {
                subpath: subpath.clone(),
                ..self.image_point(source, &format!("{id}-image-{number}"))?
            },
        };
        point.target = clean(&mount.target.to_string_lossy());
        point.read_only |= mount.read_only;
        if point.kind != "tmpfs" {
            point.mode.clone_from(&mount.mode);
        }
        if point.kind == "volume" && point.mode.is_empty() && point.driver == volume::LOCAL {
            "z".clone_into(&mut point.mode);
        }
        Ok(point)
    }

    fn bind_point(&self, bind: &Bind) -> Result<MountPoint> {
        let source = clean(&bind.source.to_string_lossy());
        let (root, path) = (self.config.data_root.as_path(), Path::new(&source));
        let within = path.starts_with(root) || root.starts_with(path);
        let propagation = match (bind.propagation, within) {
            (None, false) => Propagation::RPrivate,
            // So that the container keeps no mount of ours from being unmounted.
            (None, true) => Propagation::RSlave,
            (Some(asked @ (Propagation::RSlave | Propagation::RShared)), _) => asked,
            (Some(asked), false) => asked,
            (Some(asked), true) => {
                return Err(invalid(format!(
                    "invalid mount config: must use either propagation mode \"rslave\" or \"rshared\" when mount source is within the daemon root, daemon root: {root:?}, bind mount source: {source:?}, propagation: {:?}",
                    asked.as_str()
                )));
            }
        };
        Ok(MountPoint {
            kind: "bind".to_owned(),
            source,
            propagation: propagation.as_str().to_owned(),
            propagation_by_default: bind.propagation.is_none(),
            create_source: bind.create_source,
            non_recursive: bind.non_recursive,
            read_only_below: bind.read_only_below,
            id_map: bind.id_map.clone(),
            ..MountPoint::default()
        })
    }

    fn volume_point(&self, wanted: &VolumeMount, id: &str) -> Result<MountPoint> {
        let request = VolumeRequest {
            name: wanted.name.clone(),
            driver: wanted.driver.clone(),
            options: wanted.options.clone(),
            labels: wanted.labels.clone(),
        };
        let row = self.make_volume(request, Some(id))?;
        let local = row.driver == volume::LOCAL;
        let source = local.then(|| self.volume_data(&row.name));
        Ok(MountPoint {
            kind: "volume".to_owned(),
            name: row.name.clone(),
            driver: row.driver.clone(),
            source: source.unwrap_or_default().to_string_lossy().into_owned(),
            anonymous: wanted.name.is_empty(),
            copy: !wanted.no_copy,
            subpath: wanted.subpath.clone(),
            ..MountPoint::default()
        })
    }

    fn image_point(&self, source: &str, snapshot: &str) -> Result<MountPoint> {
        let found = self.store.resolve_for(source, None).and_then(|id| {
            let pin = self.store.pin_image(&id)?;
            Ok((self.store.image(&id)?, pin))
        });
        let (image, _pin) = found.map_err(crate::image::store_error)?;
        self.check_stored(&image, source)?;
        self.snapshots
            .prepare(snapshot, &image.layers)
            .map_err(crate::image::snapshot_error)?;
        let shown = self.config.data_root.join("snapshots").join(snapshot);
        Ok(MountPoint {
            kind: "image".to_owned(),
            name: source.to_owned(),
            source: shown.join("merged").to_string_lossy().into_owned(),
            snapshot: snapshot.to_owned(),
            read_only: true,
            propagation: Propagation::RPrivate.as_str().to_owned(),
            ..MountPoint::default()
        })
    }

    /// Gives new volumes what the image has at their targets. The container's snapshot is there.
    pub(super) fn populate(&self, record: &Record) -> Result<()> {
        let mut image: Option<Option<View>> = None;
        for point in record
            .mounts
            .iter()
            .filter(|point| point.kind == "volume" && point.copy)
        {
            if image.is_none() {
                image = Some(self.image_files(&record.id)?);
            }
            let Some(Some(image)) = &image else {
                return Ok(());
            };
            self.populate_one(record, point, image)?;
        }
        Ok(())
    }

    fn populate_one(&self, record: &Record, point: &MountPoint, image: &View) -> Result<()> {
        let target = Path::new(&point.target);
        if !point.anonymous && !volume::is_directory(image.as_fd(), target) {
            // Nothing to copy: a volume that cannot be mounted is found out at the start.
            return Ok(());
        }
        let visit = self.visit_volume(&point.name, &record.id)?;
        let copied = volume::populate(image.as_fd(), target, visit.place());
        let outcome = copied.map_err(|error| {
            let text = format!(
                "could not copy what the image has at {} into volume {}",
                point.target, point.name
            );
            Error::new(ErrorKind::Internal, text).caused_by(error)
        })?;
        if outcome == volume::Outcome::NoDirectory && point.anonymous {
            let text = format!(
                "cannot mount volume over existing file, file exists {}",
                point.target
            );
            return Err(Error::new(ErrorKind::Internal, text));
        }
        Ok(())
    }

    /// The image's files, without what the container writes.
    fn image_files(&self, id: &str) -> Result<Option<View>> {
        let root = self.snapshots.root_fs(id);
        let lower = match root.map_err(crate::image::snapshot_error)? {
            RootFs::Directory { .. } => Vec::new(),
            RootFs::Overlay { lower, .. } => lower,
        };
        View::of(&lower).map_err(|error| {
            let text = "could not look at the image's files";
            Error::new(ErrorKind::Internal, text).caused_by(error)
        })
    }
}

fn check_source(mount: &Mount) -> Result<()> {
    match &mount.kind {
        MountKind::Bind(bind)
            if bind.must_exist && fs_err::symlink_metadata(&bind.source).is_err() =>
        {
            Err(invalid(format!(
                "invalid mount config for type \"bind\": bind source path does not exist: {}",
                bind.source.display()
            )))
        }
        _ => Ok(()),
    }
}
