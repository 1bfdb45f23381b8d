//! Plain downloads: what `import` fetches, which is no registry's.

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use std::io;
use std::time::Duration;
use url::Url;

/// How long a connection may take, and a server may be silent.
const PATIENCE: Duration = Duration::from_secs(60);
/// How much of an error's page is told.
const MAX_PAGE: usize = 4096;

/// Why a URL could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// It is no URL of http or https.
    #[error("Get \"{0}\": unsupported protocol scheme")]
    Scheme(String),
    /// The server cannot be reached.
    #[error("Get \"{url}\"")]
    Unreachable {
        /// The URL.
        url: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The server refuses.
    #[error("failed to GET {url} with status {status}: {page}")]
    Refused {
        /// The URL.
        url: String,
        /// The status with its reason.
        status: String,
        /// Its number.
        code: u16,
        /// The beginning of what the server says to it.
        page: String,
    },
}

impl DownloadError {
    /// The status of a refusal.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }
}

/// Something that is being fetched.
pub struct Download {
    /// Its length in bytes, if the server tells.
    pub length: Option<u64>,
    /// Its bytes as they come.
    pub bytes: BoxStream<'static, io::Result<Bytes>>,
}

impl std::fmt::Debug for Download {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Download")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

/// Fetches a URL by GET, through the proxies of the environment. Without a scheme it is http's, as
/// dockerd takes it.
///
/// # Errors
/// See [`DownloadError`].
pub async fn download(text: &str) -> Result<Download, DownloadError> {
    let full = if text.contains("://") {
        text.to_owned()
    } else {
        format!("http://{text}")
    };
    let url = full.parse::<Url>().ok();
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https"));
    let url = url.ok_or_else(|| DownloadError::Scheme(full.clone()))?;
    let unreachable = |source: reqwest::Error| DownloadError::Unreachable {
        url: full.clone(),
        source: source.without_url(),
    };
    crate::install_crypto_provider();
    let client = reqwest::Client::builder()
        .connect_timeout(PATIENCE)
        .read_timeout(PATIENCE)
        .build()
        .map_err(unreachable)?;
    let response = client.get(url).send().await.map_err(unreachable)?;
    let status = response.status();
    if !status.is_success() {
        let mut page = Vec::new();
        let mut body = response.bytes_stream();
        while page.len() < MAX_PAGE
            && let Some(Ok(bytes)) = body.next().await
        {
            page.extend_from_slice(&bytes);
        }
        page.truncate(MAX_PAGE);
        return Err(DownloadError::Refused {
            url: full,
            status: status.to_string(),
            code: status.as_u16(),
            page: String::from_utf8_lossy(&page).trim().to_owned(),
        });
    }
    Ok(Download {
        length: response.content_length(),
        bytes: response
            .bytes_stream()
            .map(|piece| piece.map_err(io::Error::other))
            .boxed(),
    })
}
