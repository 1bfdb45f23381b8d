//! Requests about builds.

use super::lines::Body;
use super::{Client, Error, Hijacked, JsonLines, Payload, Target};
use crate::build::{Message, Request};
use http::Method;

/// Which question of a build is answered.
fn answer(build: &str, number: u64) -> Target {
    Target::new("/hull/build/answer")
        .query("build", build)
        .query("number", &number.to_string())
}

impl Client {
    /// Begins a build, whose end is that of the reply; it is also ended by not reading on.
    ///
    /// # Errors
    /// 400 for a request that makes no sense; 404 where the daemon is none of Hull's.
    pub async fn build(&self, request: &Request) -> Result<JsonLines<Message>, Error> {
        let target = Target::new("/hull/build");
        let response = self
            .send(Method::POST, &target, Payload::json(request)?)
            .await?;
        Ok(JsonLines::new(response))
    }

    /// Answers a question of a build's with bytes; `None`: there is no such thing here.
    ///
    /// # Errors
    /// 404 when nobody asks that any more.
    pub async fn build_answer(
        &self,
        build: &str,
        number: u64,
        bytes: Option<Vec<u8>>,
    ) -> Result<(), Error> {
        let target = answer(build, number).flag("none", bytes.is_none());
        let payload = Payload::bytes(bytes.unwrap_or_default());
        self.post(&target, payload).await.map(drop)
    }

    /// Answers a question of a build's: it failed here.
    ///
    /// # Errors
    /// As [`Client::build_answer`].
    pub async fn build_refuse(&self, build: &str, number: u64, why: &str) -> Result<(), Error> {
        let target = answer(build, number).query("error", why);
        self.post(&target, Payload::default()).await.map(drop)
    }

    /// Answers a question of a build's with a connection.
    ///
    /// # Errors
    /// As [`Client::build_answer`].
    pub async fn build_connect(&self, build: &str, number: u64) -> Result<Hijacked, Error> {
        self.hijack(&answer(build, number), Payload::default())
            .await
    }

    /// Takes what a build gives.
    ///
    /// # Errors
    /// As [`Client::build_answer`].
    pub async fn build_take(&self, build: &str, number: u64) -> Result<Body, Error> {
        let target = answer(build, number);
        let response = self.send(Method::GET, &target, Payload::default()).await?;
        Ok(Body::new(response))
    }
}
