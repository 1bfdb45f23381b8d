//! `create`.

use super::live::Container;
use super::record::Record;
use super::{Config, Created, NetworkMode, RestartPolicy, State, merge};
use crate::{Engine, Error, ErrorKind, Result, blocking, names};
use hull_image::{Hold, Image, Snapshotter};
use hull_spec::image::ContainerConfig;
use jiff::Timestamp;
use std::sync::Arc;

/// How often a made-up name is tried before giving up.
const ATTEMPTS: u32 = 30;

impl Engine {
    /// Makes a container; without a name it gets one.
    ///
    /// # Errors
    /// `InvalidInput` for a request that makes no sense, `NotFound` without the image, `Conflict`
    /// for a name that is taken, `NotImplemented` for what Hull cannot do yet.
    pub async fn create(self: &Arc<Self>, name: Option<&str>, config: Config) -> Result<Created> {
        let name = name
            .filter(|name| !name.is_empty())
            .map(names::checked)
            .transpose()?;
        merge::check(&config)?;
        check_removal(&config)?;
        let mut config = config;
        let mut warnings = super::limits::fit(&mut config.resources, self.limits(), false)?;
        self.settle_config(&mut config)?;
        self.settle_shared(&mut config)?;
        warnings.extend(discard_labels(&mut config));
        let engine = Arc::clone(self);
        let created = blocking(move || engine.create_blocking(name, config)).await?;
        warnings.extend(created.warnings);
        Ok(Created {
            warnings,
            ..created
        })
    }

    fn create_blocking(self: &Arc<Self>, name: Option<String>, config: Config) -> Result<Created> {
        let (image, _pin) = self.image_of(&config)?;
        self.check_stored(&image, &config.image)?;
        let runtime = self.runtime_of(&config)?;
        let id = names::id();
        let mut effective = merge::effective(
            &config,
            image
                .config
                .config
                .as_ref()
                .unwrap_or(&ContainerConfig::default()),
            &id,
        )?;
        effective.runtime = runtime;
        if let NetworkMode::Container(other) = &config.network {
            effective.hostname = self
                .find(other)?
                .read(|other| other.effective.hostname.clone());
        }
        super::capabilities::of(&config)?;
        super::resources::rlimits(&config.ulimits)?;
        super::log::check(&config.log)?;
        let name = self.claim_name(name, &id)?;
        let made = self.make(&id, &name, &image, (config, effective));
        if made.is_err() {
            self.release_name(&name, &id);
            let _ = self.snapshots.remove(&id);
            let _ = fs_err::remove_dir_all(self.container_dir(&id));
        }
        made
    }

    fn make(
        self: &Arc<Self>,
        id: &str,
        name: &str,
        image: &Image,
        (config, effective): (Config, super::record::Effective),
    ) -> Result<Created> {
        let generation = self.rows.generation();
        self.snapshots
            .prepare(id, &image.layers)
            .map_err(crate::image::snapshot_error)?;
        fs_err::create_dir_all(self.container_dir(id)).map_err(|e| {
            Error::new(
                ErrorKind::Internal,
                "could not create the container's directory",
            )
            .caused_by(e)
        })?;
        let mut record = Record {
            id: id.to_owned(),
            name: name.to_owned(),
            created: Timestamp::now(),
            image_id: image.id.to_string(),
            image_name: config.image.clone(),
            state: State::Created { failed: None },
            stopped_on_request: false,
            restart_count: 0,
            short_runs: 0,
            out_of_memory: false,
            health: None,
            effective,
            mounts: Vec::new(),
            networks: None,
            publications: Vec::new(),
            link_env: Vec::new(),
            endpoint: None,
            config: Arc::new(config),
        };
        record.networks = Some(self.new_places(&record)?);
        // Only what is evicted next depends on it.
        if let Err(error) = self.store.touch(&image.id) {
            tracing::warn!(%error, "the use of an image was not noted");
        }
        let mounted = self.resolve_mounts(&mut record);
        let mounted = mounted.and_then(|()| self.populate(&record));
        // The commit point: with this row the container exists.
        if let Err(error) = mounted.and_then(|()| self.rows.put_new(&record, generation)) {
            self.abandon_points(&record);
            return Err(error);
        }
        let container = Arc::new(Container::new(record));
        self.insert(&container);
        self.tell_container(&container, "create", &[]);
        let config = container.record().config;
        let mut warnings = warnings_for(&config);
        warnings.extend(foreign_platform(image, &config));
        let is_image = |mount: &super::Mount| matches!(mount.kind, super::MountKind::Image { .. });
        if config.mounts.iter().any(is_image) {
            warnings.push("Image mount is an experimental feature".to_owned());
        }
        let id = id.to_owned();
        Ok(Created { id, warnings })
    }

    /// The image, which stays until the container is there.
    fn image_of(&self, config: &Config) -> Result<(Image, Vec<Hold>)> {
        let platform: Option<hull_spec::Platform> = config
            .platform
            .as_deref()
            .map(str::parse)
            .transpose()
            .map_err(|e: hull_spec::InvalidPlatform| {
                Error::new(ErrorKind::InvalidInput, e.to_string())
            })?;
        let found = self
            .store
            .resolve_for(&config.image, platform.as_ref())
            .and_then(|id| {
                let pin = self.store.pin_image(&id)?;
                Ok((self.store.image(&id)?, pin))
            });
        found.map_err(crate::image::store_error)
    }

    fn runtime_of(&self, config: &Config) -> Result<String> {
        let settings = self.settings();
        let name = config
            .runtime
            .clone()
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| settings.default_runtime.clone());
        if settings.runtimes.contains_key(&name) {
            return Ok(name);
        }
        Err(Error::new(
            ErrorKind::InvalidInput,
            format!("unknown or invalid runtime name: {name}"),
        ))
    }

    fn claim_name(&self, name: Option<String>, id: &str) -> Result<String> {
        if let Some(name) = name {
            return self.take_name(&name, id).map(|()| name);
        }
        for attempt in 0..ATTEMPTS {
            let name = names::made_up(attempt);
            if self.take_name(&name, id).is_ok() {
                return Ok(name);
            }
        }
        Ok(id[..12].to_owned())
    }
}

/// What has no effect together with what else was asked for.
fn warnings_for(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    if config.network == NetworkMode::Host && !config.ports.is_empty() {
        warnings.push("Published ports are discarded when using host network mode".to_owned());
    }
    warnings
}

/// Takes out the labels of security modules that the host does not have.
fn discard_labels(config: &mut Config) -> Vec<String> {
    let mut warnings = Vec::new();
    let there = std::path::Path::new("/sys/kernel/security/apparmor").exists();
    if let Some(profile) = config.apparmor.take_if(|_| !there) {
        warnings.push(format!(
            "Your kernel does not support AppArmor or the daemon does not see it. Profile {profile} discarded."
        ));
    }
    if config.selinux.iter().any(|label| label != "disable") {
        config.selinux.clear();
        warnings.push("SELinux support is not enabled. Labels discarded.".to_owned());
    }
    warnings
}

/// What excludes itself.
fn check_removal(config: &Config) -> Result<()> {
    if config.auto_remove && config.restart != RestartPolicy::No {
        let text = "can't create 'AutoRemove' container with restart policy";
        return Err(Error::new(ErrorKind::InvalidInput, text));
    }
    Ok(())
}

/// What dockerd says of an image for another platform, unless that was asked for.
fn foreign_platform(image: &Image, config: &Config) -> Option<String> {
    let host = hull_spec::Platform::host();
    let own = hull_image::Facts::of(&image.config).platform();
    if config.platform.is_some() || own.distance(&host).is_some() {
        return None;
    }
    Some(format!(
        "The requested image's platform ({own}) does not match the detected host platform ({host}) and no specific platform was requested"
    ))
}
