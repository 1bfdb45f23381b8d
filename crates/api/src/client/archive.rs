//! Requests that carry archives, in either direction: they go on for gigabytes.

use super::lines::Body;
use super::{Client, Error, JsonLines, Payload, Target, read_body};
use crate::container::{Change, CommitResponse};
use crate::json;
use crate::progress::Message;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Method, Response, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use std::io;
use tokio::sync::mpsc;

/// What is sent, as it is read.
pub type Upload = UnsyncBoxBody<Bytes, io::Error>;

/// What comes out of a channel as something to send; an error breaks the request off.
#[must_use]
pub fn upload(pieces: mpsc::Receiver<io::Result<Vec<u8>>>) -> Upload {
    let pieces = stream::unfold(pieces, |mut pieces| async move {
        let piece = pieces.recv().await?;
        Some((piece.map(|bytes| Frame::data(bytes.into())), pieces))
    });
    StreamBody::new(pieces).boxed_unsync()
}

/// Nothing to send: an import from a URL.
#[must_use]
pub fn no_upload() -> Upload {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// What to make of a file system's archive.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// `-` for what is sent, or a URL.
    pub source: String,
    /// Name of the new image.
    pub reference: String,
    /// For the history.
    pub message: String,
    /// `os/arch[/variant]`.
    pub platform: String,
    /// Dockerfile instructions.
    pub changes: Vec<String>,
}

/// What to make of a container.
#[derive(Clone, Debug, Default)]
pub struct CommitOptions {
    /// Which one.
    pub container: String,
    /// Name of the new image.
    pub repository: String,
    /// Its tag.
    pub tag: String,
    /// For the history.
    pub comment: String,
    /// Who makes it.
    pub author: String,
    /// Go on while the image is made.
    pub no_pause: bool,
    /// Dockerfile instructions.
    pub changes: Vec<String>,
}

fn each(mut target: Target, name: &str, values: &[String]) -> Target {
    for value in values {
        target = target.query(name, value);
    }
    target
}

impl Client {
    /// Images as an archive; `platform` is JSON, or empty.
    ///
    /// # Errors
    /// 404; those of the connection, as everywhere here.
    pub async fn save(&self, names: &[String], platform: &str) -> Result<Body, Error> {
        let target = each(Target::new("/images/get"), "names", names);
        let target = target.query_some("platform", Some(platform));
        let response = self.send(Method::GET, &target, Payload::default()).await?;
        Ok(Body::new(response))
    }

    /// Adds the images of an archive; `platform` is JSON, or empty.
    ///
    /// # Errors
    /// 400 for a platform that is none; what is wrong with the archive is told in the stream.
    pub async fn load(
        &self,
        archive: Upload,
        quiet: bool,
        platform: &str,
    ) -> Result<JsonLines<Message>, Error> {
        let target = Target::new("/images/load")
            .query("quiet", if quiet { "1" } else { "0" })
            .query_some("platform", Some(platform));
        Ok(JsonLines::new(
            self.send_upload(Method::POST, &target, archive).await?,
        ))
    }

    /// Makes an image of a file system's archive.
    ///
    /// # Errors
    /// 400 for names and instructions that are none, 404 for a URL that leads nowhere.
    pub async fn import(
        &self,
        options: &ImportOptions,
        archive: Upload,
    ) -> Result<JsonLines<Message>, Error> {
        let target = Target::new("/images/create")
            .query("fromSrc", &options.source)
            .query_some("repo", Some(&options.reference))
            .query_some("message", Some(&options.message))
            .query_some("platform", Some(&options.platform));
        let target = each(target, "changes", &options.changes);
        Ok(JsonLines::new(
            self.send_upload(Method::POST, &target, archive).await?,
        ))
    }

    /// A container's files as an archive.
    ///
    /// # Errors
    /// 404.
    pub async fn export(&self, container: &str) -> Result<Body, Error> {
        let target = Target::segments(&["containers", container, "export"]);
        let response = self.send(Method::GET, &target, Payload::default()).await?;
        Ok(Body::new(response))
    }

    /// Makes an image of a container; gives its id.
    ///
    /// # Errors
    /// 404; 400 for names and instructions that are none.
    pub async fn commit(&self, options: &CommitOptions) -> Result<String, Error> {
        let target = Target::new("/commit")
            .query("container", &options.container)
            .query_some("repo", Some(&options.repository))
            .query_some("tag", Some(&options.tag))
            .query_some("comment", Some(&options.comment))
            .query_some("author", Some(&options.author));
        let target = each(target, "changes", &options.changes);
        let target = if options.no_pause {
            target.query("pause", "0")
        } else {
            target
        };
        let reply = self.post(&target, Payload::default()).await?;
        Ok(json::from_slice::<CommitResponse>(&reply)?.id)
    }

    /// What a container changed of its image's files.
    ///
    /// # Errors
    /// 404.
    pub async fn changes(&self, container: &str) -> Result<Vec<Change>, Error> {
        let target = Target::segments(&["containers", container, "changes"]);
        Ok(self
            .get::<Option<Vec<Change>>>(&target)
            .await?
            .unwrap_or_default())
    }

    /// Sends what cannot be sent twice, on a connection of its own.
    pub(super) async fn send_upload(
        &self,
        method: Method,
        target: &Target,
        body: Upload,
    ) -> Result<Response<Incoming>, Error> {
        // Settles the version, and has a daemon started, before anything is read.
        let ping = Target::new("/_ping");
        read_body(self.send(Method::GET, &ping, Payload::default()).await?).await?;
        let path = self.path(target);
        let request = self.request(&method, &path, &Payload::default())?;
        let mut request = request.map(|_| body);
        let tar = HeaderValue::from_static("application/x-tar");
        request.headers_mut().insert(header::CONTENT_TYPE, tar);
        let mut sender = self.connect(&method, &path).await?;
        let response = sender.send_request(request).await;
        let response = response.map_err(|source| Error::Http {
            method,
            path,
            source,
        })?;
        if response.status().as_u16() < 400 {
            return Ok(response);
        }
        Err(self.daemon_error(response).await)
    }
}
