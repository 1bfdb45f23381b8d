//! `commit`.
//!
//! ```text
//! pause ─► upper directory ─ diff ─► new layer ─┐
//!          request │ container │ changes ─► config ─► image
//! resume ◄──────────────────────────────────────┘
//! ```

use super::export::diff_error;
use super::live::Container;
use super::record::Record;
use super::{MountKind, State};
use crate::image::instructions;
use crate::{Engine, Error, ErrorKind, Reference, Result, blocking};
use hull_image::archive::pipe;
use hull_image::{Image, ImageId};
use hull_spec::image::{ContainerConfig, Empty, Healthcheck, History, ImageConfig};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;

/// The diffID of a layer with nothing in it, which no image lists: two blocks of zeros.
const EMPTY_LAYER: &str = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";

/// What to make of a container.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CommitRequest {
    /// Which one.
    pub container: String,
    /// Repository of the new image, with or without tag; empty for none.
    pub repository: String,
    /// Tag of the new image.
    pub tag: String,
    /// For the history.
    pub comment: String,
    /// For config and history.
    pub author: String,
    /// Whether the container stands still meanwhile.
    pub pause: bool,
    /// Dockerfile instructions.
    pub changes: Vec<String>,
    /// Goes before the container's own config.
    pub config: Option<ContainerConfig>,
}

impl Engine {
    /// Makes an image of a container's files and config.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` for a name or instruction that is none; `Conflict` for a container
    /// that is being removed.
    pub async fn commit(self: &Arc<Self>, request: CommitRequest) -> Result<ImageId> {
        if request.container.is_empty() {
            let text = "invalid name or ID supplied: \"\"";
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        let container = self.find(&request.container)?;
        let record = container.record();
        if matches!(record.state, State::Dead { .. }) {
            let text = format!("You cannot commit container {} which is Dead", record.id);
            return Err(Error::new(ErrorKind::Conflict, text));
        }
        let name = crate::image::new_name(&request.repository, &request.tag)?;
        let (engine, of) = (Arc::clone(self), record.clone());
        let base = blocking(move || engine.base_of(&of)).await?;
        let own = config_of(&record, base.as_ref());
        let mut config = request.config.clone().unwrap_or_else(|| own.clone());
        instructions::apply(&mut config, &request.changes)?;
        merge(&mut config, own);
        let pausing = request.pause && matches!(record.state, State::Running { .. });
        let paused = pausing && self.pause(&record.id).await.is_ok();
        let engine = Arc::clone(self);
        let of = Arc::clone(&container);
        let made =
            blocking(move || engine.commit_blocking(&of, &request, (base, config), name)).await;
        if paused && let Err(error) = self.unpause(&container.id).await {
            tracing::warn!(%error, "a container stays paused after its commit");
        }
        made
    }

    fn commit_blocking(
        &self,
        container: &Container,
        request: &CommitRequest,
        (base, config): (Option<Image>, ContainerConfig),
        name: Option<Reference>,
    ) -> Result<ImageId> {
        let record = container.record();
        let layer = self.layer_of(&record.id)?;
        let mut image = base
            .map(|image| image.config)
            .unwrap_or_else(|| ImageConfig {
                architecture: hull_spec::Platform::host().architecture,
                os: hull_spec::Platform::host().os,
                ..ImageConfig::default()
            });
        let diff_id = layer.diff_id().clone();
        let empty = diff_id.as_str() == EMPTY_LAYER;
        image.rootfs.kind = "layers".to_owned();
        if !empty {
            image.rootfs.diff_ids.push(diff_id.clone());
        }
        let created = Some(Timestamp::now().to_string());
        let command = record.effective.cmd.clone().unwrap_or_default().join(" ");
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        image.history.push(History {
            created: created.clone(),
            created_by: text(&command),
            author: text(&request.author),
            comment: text(&request.comment),
            empty_layer: empty,
        });
        image.created = created;
        image.author = text(&request.author);
        image.comment = String::new();
        image.config = Some(config);
        let id = self.new_image(&image, name.as_ref(), vec![layer])?;
        if empty && let Err(error) = self.store.discard_layers(&[diff_id]) {
            tracing::warn!(%error, "a layer that no image has stays until the next prune");
        }
        self.tell_about_image("create", &id, id.as_str());
        let shown = name.as_ref().map(Reference::familiar).unwrap_or_default();
        if name.is_some() {
            self.tell_about_image("tag", &id, &shown);
        }
        let more = [
            ("comment", request.comment.as_str()),
            ("imageID", id.as_str()),
            ("imageRef", shown.as_str()),
        ];
        self.tell_container(container, "commit", &more);
        Ok(id)
    }

    /// The container's image; without one the new image would lack its layers.
    fn base_of(&self, record: &Record) -> Result<Option<Image>> {
        if record.image_id.is_empty() {
            return Ok(None);
        }
        let id: ImageId = record.image_id.parse().map_err(|_| {
            let text = format!("container {} has no image that is known", record.id);
            Error::new(ErrorKind::Internal, text)
        })?;
        let image = self.store.image(&id);
        image.map(Some).map_err(|error| {
            let text = format!("the container's image {id} is not there any more");
            Error::new(ErrorKind::NotFound, text).caused_by(error)
        })
    }

    /// Makes a layer of what a container wrote: the archive goes from one thread to the other.
    fn layer_of(&self, id: &str) -> Result<hull_image::Hold> {
        let trees = self.trees(id)?;
        let (mut writer, mut reader) = pipe();
        std::thread::scope(|scope| {
            let trees = &trees;
            let written = scope.spawn(move || {
                let lower = trees.lower.as_ref().map(|lower| lower.as_fd());
                let result = hull_image::diff::layer(trees.upper.as_fd(), lower, &mut writer);
                if result.is_err() {
                    writer.fail(io::Error::other("the container's files could not be read"));
                }
                result
            });
            let imported = self.store.import_layer(&mut reader, None);
            // Should the import have failed, the writer must not wait for it.
            drop(reader);
            let written = written.join();
            match (imported, written) {
                (_, Err(_)) => Err(Error::new(ErrorKind::Internal, "reading files panicked")),
                (Ok(layer), Ok(Ok(()))) => Ok(layer.hold),
                (
                    _,
                    Ok(Err(
                        error @ (hull_image::diff::Error::Io { .. }
                        | hull_image::diff::Error::Overlay { .. }
                        | hull_image::diff::Error::TooDeep { .. }),
                    )),
                ) => Err(diff_error(error)),
                (Err(error), _) => Err(crate::image::archive_error(error.into())),
                (Ok(_), Ok(Err(error))) => Err(diff_error(error)),
            }
        })
    }
}

/// The container's config as an image would have it.
fn config_of(record: &Record, base: Option<&Image>) -> ContainerConfig {
    let effective = record.effective.clone();
    let image = base.and_then(|image| image.config.config.clone());
    let image = image.unwrap_or_default();
    let ports = effective.exposed_ports.iter();
    let ports: BTreeMap<String, Empty> = ports
        .map(|port| (format!("{}/{}", port.number, port.protocol), Empty {}))
        .collect();
    let anonymous = record.config.mounts.iter().filter_map(|mount| {
        let anonymous = matches!(&mount.kind, MountKind::Volume(volume) if volume.name.is_empty());
        anonymous.then(|| mount.target.display().to_string())
    });
    let volumes: BTreeMap<String, Empty> = effective
        .volumes
        .iter()
        .cloned()
        .chain(anonymous)
        .map(|path| (path, Empty {}))
        .collect();
    ContainerConfig {
        user: effective.user,
        exposed_ports: (!ports.is_empty()).then_some(ports),
        env: (!effective.env.is_empty()).then_some(effective.env),
        entrypoint: effective.entrypoint,
        cmd: effective.cmd,
        volumes: (!volumes.is_empty()).then_some(volumes),
        working_dir: effective.working_dir,
        labels: (!effective.labels.is_empty()).then_some(effective.labels),
        stop_signal: effective.stop_signal,
        healthcheck: image.healthcheck,
        shell: image.shell,
        on_build: None,
        args_escaped: image.args_escaped,
    }
}

/// Fills up what a request leaves open with the container's config, by dockerd's rules.
fn merge(config: &mut ContainerConfig, own: ContainerConfig) {
    if config.user.is_empty() {
        config.user = own.user;
    }
    fill(&mut config.exposed_ports, own.exposed_ports);
    fill(&mut config.volumes, own.volumes);
    fill(&mut config.labels, own.labels);
    let name = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
    let env = config.env.get_or_insert_default();
    let given: Vec<String> = env.iter().map(|variable| name(variable)).collect();
    let inherited = own.env.into_iter().flatten();
    env.extend(inherited.filter(|variable| !given.contains(&name(variable))));
    if env.is_empty() {
        config.env = None;
    }
    let empty = |words: &Option<Vec<String>>| words.as_ref().is_none_or(Vec::is_empty);
    if empty(&config.entrypoint) {
        if empty(&config.cmd) {
            config.cmd = own.cmd;
        }
        if config.entrypoint.is_none() {
            config.entrypoint = own.entrypoint;
        }
    }
    if config.working_dir.is_empty() {
        config.working_dir = own.working_dir;
    }
    config.stop_signal = config.stop_signal.take().or(own.stop_signal);
    config.shell = config.shell.take().or(own.shell);
    match (&mut config.healthcheck, own.healthcheck) {
        (Some(check), Some(own)) => merge_check(check, own),
        (none, own) => *none = none.take().or(own),
    }
}

fn fill<V>(map: &mut Option<BTreeMap<String, V>>, own: Option<BTreeMap<String, V>>) {
    let Some(own) = own else {
        return;
    };
    let map = map.get_or_insert_default();
    for (key, value) in own {
        map.entry(key).or_insert(value);
    }
}

fn merge_check(check: &mut Healthcheck, own: Healthcheck) {
    if check.test.as_ref().is_none_or(Vec::is_empty) {
        check.test = own.test;
    }
    for (value, own) in [
        (&mut check.interval, own.interval),
        (&mut check.timeout, own.timeout),
        (&mut check.start_period, own.start_period),
        (&mut check.start_interval, own.start_interval),
        (&mut check.retries, own.retries),
    ] {
        if *value == 0 {
            *value = own;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Option<Vec<String>> {
        Some(words.iter().map(|word| (*word).to_owned()).collect())
    }

    /// As dockerd 28.5 merged the same.
    #[test]
    fn what_a_request_leaves_open_is_the_containers() {
        let own = || ContainerConfig {
            env: words(&["A=B", "X=0"]),
            cmd: words(&["sh"]),
            entrypoint: words(&["init"]),
            user: "me".to_owned(),
            labels: Some(BTreeMap::from([("l".to_owned(), "m".to_owned())])),
            ..ContainerConfig::default()
        };
        let mut config = ContainerConfig {
            env: words(&["Q=1", "X=Y"]),
            cmd: words(&["zz"]),
            labels: Some(BTreeMap::from([("j".to_owned(), "k".to_owned())])),
            ..ContainerConfig::default()
        };
        merge(&mut config, own());
        assert_eq!(config.env, words(&["Q=1", "X=Y", "A=B"]));
        assert_eq!(
            (config.cmd, config.entrypoint),
            (words(&["zz"]), words(&["init"]))
        );
        assert_eq!(config.labels.map(|labels| labels.len()), Some(2));
        let mut config = ContainerConfig {
            entrypoint: words(&["other"]),
            ..ContainerConfig::default()
        };
        merge(&mut config, own());
        assert_eq!((config.cmd, config.entrypoint), (None, words(&["other"])));
        assert_eq!(config.user, "me");
    }
}
