//! Requests about images.

use super::{Client, Error, JsonLines, Payload, Target};
use crate::image::{
    AuthConfig, DeleteItem, HistoryItem, Platform, PruneResponse, SearchResult, Summary,
};
use crate::json;
use crate::progress::Message;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use http::Method;
use std::collections::BTreeMap;

/// What to list.
#[derive(Clone, Debug, Default)]
pub struct ImageListOptions {
    /// Also intermediate ones.
    pub all: bool,
    /// By key.
    pub filters: BTreeMap<String, Vec<String>>,
    /// With each image's platforms.
    pub manifests: bool,
}

/// How to push.
#[derive(Clone, Debug, Default)]
pub struct PushOptions {
    /// The tag; empty for all.
    pub tag: String,
    /// One platform, as JSON; empty for all that there are.
    pub platform: String,
    /// The form of the layers; empty for what is there.
    pub compression: String,
}

/// Credentials as the `X-Registry-Auth` header carries them.
#[derive(Clone, Default)]
pub struct EncodedAuth(Option<String>);

impl std::fmt::Debug for EncodedAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("EncodedAuth").finish_non_exhaustive()
    }
}

impl EncodedAuth {
    /// Encodes credentials.
    ///
    /// # Errors
    /// [`Error::Encode`]; strings always encode.
    pub fn new(auth: &AuthConfig) -> Result<Self, Error> {
        let json = serde_json::to_vec(auth).map_err(Error::Encode)?;
        Ok(Self(Some(URL_SAFE.encode(json))))
    }

    pub(super) fn into_header(self) -> Option<String> {
        self.0
    }
}

/// A platform as it is written in a query.
///
/// # Errors
/// [`Error::Encode`]; strings always encode.
pub fn encoded(platform: &Platform) -> Result<String, Error> {
    serde_json::to_string(platform).map_err(Error::Encode)
}

impl Client {
    /// The images.
    ///
    /// # Errors
    /// Those of the request, as everywhere here.
    pub async fn images(&self, options: &ImageListOptions) -> Result<Vec<Summary>, Error> {
        let target = Target::new("/images/json")
            .flag("all", options.all)
            .flag("manifests", options.manifests)
            .filters(&options.filters);
        self.get(&target).await
    }

    /// Pulls; `tag` may be a digest, or empty for all tags.
    ///
    /// # Errors
    /// Before the stream begins; later ones are its last message.
    pub async fn pull(
        &self,
        name: &str,
        tag: &str,
        platform: &str,
        auth: EncodedAuth,
    ) -> Result<JsonLines<Message>, Error> {
        let target = Target::new("/images/create")
            .query("fromImage", name)
            .query_some("platform", Some(platform))
            .query_some("tag", Some(tag));
        let payload = Payload::default().with_header("x-registry-auth", auth.0);
        let response = self.send(Method::POST, &target, payload).await?;
        Ok(JsonLines::new(response))
    }

    /// Searches a registry, Docker Hub unless the term begins with another's host; a limit of 0 is the
    /// usual one.
    ///
    /// # Errors
    /// 400 for a filter or limit that is none; what the registry says.
    pub async fn search_images(
        &self,
        term: &str,
        limit: i64,
        filters: &BTreeMap<String, Vec<String>>,
        auth: EncodedAuth,
    ) -> Result<Vec<SearchResult>, Error> {
        let limit = (limit != 0).then(|| limit.to_string());
        let target = Target::new("/images/search")
            .query("term", term)
            .query_some("limit", limit.as_deref())
            .filters(filters);
        let payload = Payload::default().with_header("x-registry-auth", auth.0);
        let response = self.send(Method::GET, &target, payload).await?;
        Ok(json::from_slice(&super::read_body(response).await?)?)
    }

    /// Pushes a tag of a repository, or with an empty `tag` all of them. `platform` is JSON;
    /// `compression` is Hull's own and empty for what the daemon is set to.
    ///
    /// # Errors
    /// Before the stream begins; later ones are its last message.
    pub async fn push(
        &self,
        name: &str,
        options: &PushOptions,
        auth: EncodedAuth,
    ) -> Result<JsonLines<Message>, Error> {
        let target = Target::segments(&["images", name, "push"])
            .query_some("compression", Some(&options.compression))
            .query_some("platform", Some(&options.platform))
            .query_some("tag", Some(&options.tag));
        // Without a header the daemon would look for credentials in the body.
        let auth = auth.0.unwrap_or_else(|| URL_SAFE.encode("{}"));
        let payload = Payload::default().with_header("x-registry-auth", Some(auth));
        let response = self.send(Method::POST, &target, payload).await?;
        Ok(JsonLines::new(response))
    }

    /// Gives an image another name.
    ///
    /// # Errors
    /// 404, 400 for a name that is none.
    pub async fn tag(&self, image: &str, repository: &str, tag: &str) -> Result<(), Error> {
        let target = Target::segments(&["images", image, "tag"])
            .query("repo", repository)
            .query_some("tag", Some(tag));
        self.act(target).await
    }

    /// Removes a name, and the image with its last one.
    ///
    /// # Errors
    /// 404, 409 when it is in use.
    pub async fn remove_image(
        &self,
        image: &str,
        force: bool,
        no_prune: bool,
        platforms: &[Platform],
    ) -> Result<Vec<DeleteItem>, Error> {
        let mut target = Target::segments(&["images", image])
            .flag("force", force)
            .flag("noprune", no_prune);
        for platform in platforms {
            target = target.query("platforms", &encoded(platform)?);
        }
        let response = self
            .send(Method::DELETE, &target, Payload::default())
            .await?;
        Ok(json::from_slice(&super::read_body(response).await?)?)
    }

    /// An image's history, newest step first.
    ///
    /// # Errors
    /// 404, also when it is not for that platform.
    pub async fn image_history(
        &self,
        image: &str,
        platform: Option<&Platform>,
    ) -> Result<Vec<HistoryItem>, Error> {
        let platform = platform.map(encoded).transpose()?;
        let target = Target::segments(&["images", image, "history"])
            .query_some("platform", platform.as_deref());
        self.get(&target).await
    }

    /// Removes what nothing uses.
    ///
    /// # Errors
    /// 409 when another prune is under way.
    pub async fn prune_images(
        &self,
        filters: &BTreeMap<String, Vec<String>>,
    ) -> Result<PruneResponse, Error> {
        let target = Target::new("/images/prune").filters(filters);
        Ok(json::from_slice(
            &self.post(&target, Payload::default()).await?,
        )?)
    }
}
