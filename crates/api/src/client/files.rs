//! Files of containers, and what containers use.

use super::archive::Upload;
use super::lines::Body;
use super::{Client, Error, JsonLines, Payload, Target};
use crate::container::archive::{PATH_STAT_HEADER, PathStat};
use crate::container::stats::Stats;
use crate::json;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, Response};
use hyper::body::Incoming;

fn target(container: &str, path: &str) -> Target {
    Target::segments(&["containers", container, "archive"]).query("path", path)
}

/// The header that tells of the path.
fn stat_of(response: &Response<Incoming>) -> Result<PathStat, Error> {
    let missing = || Error::Body("the reply does not tell of the path".into());
    let header = response
        .headers()
        .get(PATH_STAT_HEADER)
        .ok_or_else(missing)?;
    let json = STANDARD
        .decode(header)
        .map_err(|error| Error::Body(error.into()))?;
    Ok(json::from_slice(&json)?)
}

impl Client {
    /// What a path in a container is.
    ///
    /// # Errors
    /// 404 for a container or path that is not there.
    pub async fn path_stat(&self, container: &str, path: &str) -> Result<PathStat, Error> {
        let target = target(container, path);
        stat_of(&self.send(Method::HEAD, &target, Payload::default()).await?)
    }

    /// A file or directory of a container as an archive.
    ///
    /// # Errors
    /// As [`Client::path_stat`].
    pub async fn copy_from(&self, container: &str, path: &str) -> Result<(PathStat, Body), Error> {
        let target = target(container, path);
        let response = self.send(Method::GET, &target, Payload::default()).await?;
        Ok((stat_of(&response)?, Body::new(response)))
    }

    /// Extracts an archive into a directory of a container; nothing in it replaces a directory by something
    /// else, nor the other way round. With `own` the files become those of the container's user.
    ///
    /// # Errors
    /// 404; 400 for a directory that is none or read-only.
    pub async fn copy_into(
        &self,
        container: &str,
        path: &str,
        own: bool,
        archive: Upload,
    ) -> Result<(), Error> {
        let mut target = target(container, path).query("noOverwriteDirNonDir", "true");
        if own {
            target = target.query("copyUIDGID", "true");
        }
        let sent = self.send_upload(Method::PUT, &target, archive).await;
        sent.map(|_| ())
    }

    /// What a container uses, once a second.
    ///
    /// # Errors
    /// 404.
    pub async fn stats(&self, container: &str) -> Result<JsonLines<Stats>, Error> {
        let target = Target::segments(&["containers", container, "stats"]).query("stream", "1");
        let response = self.send(Method::GET, &target, Payload::default()).await?;
        Ok(JsonLines::new(response))
    }

    /// What a container uses now, and what it used a second before.
    ///
    /// # Errors
    /// 404.
    pub async fn stats_once(&self, container: &str) -> Result<Stats, Error> {
        let target = Target::segments(&["containers", container, "stats"]).query("stream", "0");
        self.get(&target).await
    }
}
