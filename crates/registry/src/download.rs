//! Plain downloads: what `import` fetches, which is no registry's.

use crate::config::is_loopback;
use crate::{Client, Secret};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use reqwest::{StatusCode, header};
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
    /// What is set for proxies is wrong.
    #[error(transparent)]
    Setup(Box<crate::Error>),
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
    /// Its URL as it may be shown.
    pub url: String,
    /// Its length in bytes, if the server tells.
    pub length: Option<u64>,
    /// By what the server knows this version of it: `ETag`.
    pub tag: Option<String>,
    /// `Last-Modified`, as the server writes it.
    pub modified: Option<String>,
    /// `Content-Disposition`, as the server writes it.
    pub disposition: Option<String>,
    /// Its bytes as they come.
    pub bytes: BoxStream<'static, io::Result<Bytes>>,
}

impl std::fmt::Debug for Download {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Download")
            .field("url", &self.url)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

/// What a download says beside its URL.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// Nothing is wanted if the server still has the version of this `ETag`.
    pub unless: Option<String>,
    /// The `Authorization` header; no other server that the first one names gets it.
    pub authorization: Option<Secret>,
}

/// A URL as it may be shown: with its scheme (http when it has none), and stars for a password, as Go's
/// HTTP client writes it.
#[must_use]
pub fn shown_url(text: &str) -> String {
    let full = full(text);
    let Some((scheme, rest)) = full.split_once("://") else {
        return full;
    };
    // More slashes are skipped by those who parse it.
    let slashes = rest.len() - rest.trim_start_matches(['/', '\\']).len();
    let (slashes, rest) = rest.split_at(slashes);
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let user = authority
        .rsplit_once('@')
        .and_then(|(user, host)| Some((user.split_once(':')?.0, host)));
    match user {
        Some((user, host)) => format!("{scheme}://{slashes}{user}:***@{host}{path}"),
        None => full,
    }
}

/// Without a scheme it is http's, as dockerd takes it.
fn full(text: &str) -> String {
    match text.contains("://") {
        true => text.to_owned(),
        false => format!("http://{text}"),
    }
}

impl Client {
    /// Fetches a URL by GET, through the proxies that registries are asked through. Without a scheme it
    /// is http's.
    ///
    /// # Errors
    /// See [`DownloadError`]; none of them tells the URL's password.
    pub async fn download(&self, text: &str) -> Result<Download, DownloadError> {
        let response = self.get(text, &Ask::default()).await?;
        match response.status().is_success() {
            true => Ok(download(shown_url(text), response)),
            false => Err(refused(shown_url(text), response).await),
        }
    }

    /// As [`Client::download`]; `None` when the server has what is known already.
    ///
    /// # Errors
    /// As [`Client::download`].
    pub async fn download_unless(
        &self,
        text: &str,
        ask: &Ask,
    ) -> Result<Option<Download>, DownloadError> {
        let response = self.get(text, ask).await?;
        match response.status() {
            StatusCode::NOT_MODIFIED if ask.unless.is_some() => Ok(None),
            status if status.is_success() => Ok(Some(download(shown_url(text), response))),
            _ => Err(refused(shown_url(text), response).await),
        }
    }

    async fn get(&self, text: &str, ask: &Ask) -> Result<reqwest::Response, DownloadError> {
        let shown = shown_url(text);
        let url = full(text).parse::<Url>().ok();
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https"));
        let url = url.ok_or_else(|| DownloadError::Scheme(shown.clone()))?;
        let unreachable = |source: reqwest::Error| DownloadError::Unreachable {
            url: shown.clone(),
            source: source.without_url(),
        };
        crate::install_crypto_provider();
        let mut builder = reqwest::Client::builder()
            .connect_timeout(PATIENCE)
            .read_timeout(PATIENCE)
            .no_proxy();
        if !url.host_str().is_some_and(is_loopback) {
            let rules = self.config().proxies.rules();
            for proxy in rules.map_err(|error| DownloadError::Setup(Box::new(error)))? {
                builder = builder.proxy(proxy);
            }
        }
        let mut request = builder.build().map_err(unreachable)?.get(url);
        if let Some(tag) = &ask.unless {
            request = request.header(header::IF_NONE_MATCH, tag);
        }
        if let Some(secret) = &ask.authorization {
            request = request.header(header::AUTHORIZATION, secret.expose());
        }
        request.send().await.map_err(unreachable)
    }
}

fn download(url: String, response: reqwest::Response) -> Download {
    let text = |name: header::HeaderName| {
        let value = response.headers().get(name)?.to_str().ok()?;
        Some(value.to_owned())
    };
    Download {
        url,
        length: response.content_length(),
        tag: text(header::ETAG),
        modified: text(header::LAST_MODIFIED),
        disposition: text(header::CONTENT_DISPOSITION),
        bytes: response
            .bytes_stream()
            .map(|piece| piece.map_err(|error| io::Error::other(error.without_url())))
            .boxed(),
    }
}

async fn refused(url: String, response: reqwest::Response) -> DownloadError {
    let status = response.status();
    let mut page = Vec::new();
    let mut body = response.bytes_stream();
    while page.len() < MAX_PAGE
        && let Some(Ok(bytes)) = body.next().await
    {
        page.extend_from_slice(&bytes);
    }
    page.truncate(MAX_PAGE);
    DownloadError::Refused {
        url,
        status: status.to_string(),
        code: status.as_u16(),
        page: String::from_utf8_lossy(&page).trim().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, Proxies};

    #[test]
    fn passwords_are_not_shown() {
        for (text, expected) in [
            ("http://u:pw@h:1/a?b@c:d", "http://u:***@h:1/a?b@c:d"),
            ("u:pw@h/a", "http://u:***@h/a"),
            ("https://u:p@w@h", "https://u:***@h"),
            ("http:///u:pw@h/a", "http:///u:***@h/a"),
            ("ftp://:pw@h/a", "ftp://:***@h/a"),
            ("http://u@h:80/a:b@c", "http://u@h:80/a:b@c"),
            ("h:80/a", "http://h:80/a"),
        ] {
            assert_eq!(shown_url(text), expected);
        }
    }

    #[tokio::test]
    async fn downloads_go_through_the_proxies_that_are_set() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let proxy = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = proxy.local_addr().unwrap();
        let asked = tokio::spawn(async move {
            let (mut stream, _) = proxy.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            let answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno";
            stream.write_all(answer).await.unwrap();
            String::from_utf8(request).unwrap()
        });
        let client = Client::new(Config {
            proxies: Proxies {
                http: Some(address.to_string()),
                https: None,
                none: Some(String::new()),
            },
            ..Config::default()
        });
        let error = client.download("us:hidden@files.invalid/a.tar").await;
        let error = error.unwrap_err();
        assert_eq!(error.status(), Some(404));
        let text = error.to_string();
        assert!(text.contains("http://us:***@files.invalid/a.tar"), "{text}");
        let asked = asked.await.unwrap();
        assert!(
            asked.starts_with("GET http://files.invalid/a.tar "),
            "{asked}"
        );
        // This machine is asked itself: nobody listens there.
        let error = client.download("us:hidden@127.0.0.1:1/a.tar").await;
        let error = error.unwrap_err();
        assert!(matches!(error, DownloadError::Unreachable { .. }));
        assert!(
            !format!("{error:?} {error}").contains("hidden"),
            "{error:?}"
        );
    }
}
