//! Images on their way to registries: the daemon's own push, with what the build's client logs in with.

use super::target::Named;
use super::told::Told;
use crate::buildkit::builds::Build;
use futures_util::StreamExt as _;
use hull_engine::build::credentials;
use hull_engine::image::{PushRequest, PushStep};
use hull_engine::{Engine, Reference};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::runtime::Handle;
use tonic::Status;

/// Pushes an image under all its names; gives the digest of what the first stands for there.
pub(super) fn push(
    engine: &Arc<Engine>,
    told: &Told<'_>,
    with: (&Build, &Handle),
    named: &Named,
) -> Result<Option<String>, Status> {
    let mut digests = Vec::new();
    for name in &named.names {
        let digest = push_one(engine, told, with, (name, named))
            .map_err(|why| Status::unknown(format!("failed to push {name}: {why}")))?;
        told.part(&format!("pushing manifest for {name}@{digest}"))
            .done();
        digests.push(digest);
    }
    Ok(digests.into_iter().next())
}

fn push_one(
    engine: &Arc<Engine>,
    told: &Told<'_>,
    (build, runtime): (&Build, &Handle),
    (name, named): (&Reference, &Named),
) -> Result<String, String> {
    let context = &build.context;
    let login = context
        .client
        .credentials(name.domain())
        .map_err(|error| error.full_message())?;
    let request = PushRequest {
        reference: name.to_string(),
        platform: None,
        credentials: credentials(login),
        compression: named.compression,
    };
    let mut layers = told.part("pushing layers");
    let mut bytes = HashMap::new();
    let pushing = async {
        let mut steps = engine.push(request).await.map_err(text)?;
        let mut digest = None;
        while let Some(step) = steps.next().await {
            match step.map_err(text)? {
                PushStep::Pushed { digest: found, .. } => digest = Some(found),
                PushStep::Progress(progress) => {
                    if let Some(at) = progress.bytes {
                        bytes.insert(progress.id, at);
                        let all = bytes.values();
                        let (current, total) =
                            all.fold((0, 0), |sum, at| (sum.0 + at.0, sum.1 + at.1));
                        layers.at(current, total);
                    }
                }
                PushStep::InsteadOfIndex { .. } => {}
            }
        }
        digest.ok_or_else(|| "the registry did not say what it has".to_owned())
    };
    let (woken, mut wake) = tokio::sync::oneshot::channel::<()>();
    let _wakes = context.cancel.on_cancel(move || {
        // The error means that the push is over.
        let _ = woken.send(());
    });
    let pushed = runtime.block_on(async {
        tokio::select! {
            pushed = pushing => pushed,
            Ok(()) = &mut wake => Err("context canceled".to_owned()),
        }
    });
    layers.done();
    pushed
}

fn text(error: hull_engine::Error) -> String {
    error.full_message()
}
