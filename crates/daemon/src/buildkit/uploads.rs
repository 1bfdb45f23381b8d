//! Contexts that one request brings for the build of another: clients of before Docker 23 send what comes from standard
//! input so.

use crate::error::ApiError;
use http::StatusCode;
use hull_engine::build::world::LocalFiles;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// How long a build waits for its context to begin to come, and a context for its build: they are asked for at the
/// same time.
const WAIT: Duration = Duration::from_secs(10);
/// The longest name of a build, bytes, and contexts that may wait at the same time.
const MAX_NAME: usize = 256;
const MAX_WAITING: usize = 100;

/// A context on its way to a build.
#[derive(Debug)]
struct Coming {
    /// The number of its [`Place`]: another may have the same name later.
    place: u64,
    /// `None`: it is still coming.
    files: Option<Arc<dyn LocalFiles>>,
}

/// Contexts that wait for their builds, by the builds' names.
#[derive(Debug, Default)]
pub(crate) struct Uploads {
    coming: Mutex<HashMap<String, Coming>>,
    places: AtomicU64,
    changed: Notify,
}

/// The place of a context that is coming. It goes with this.
#[derive(Debug)]
pub(crate) struct Place {
    uploads: Arc<Uploads>,
    build: String,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut coming = self.uploads.coming();
        let gone = match coming.get(&self.build) {
            Some(own) if own.place == self.number => coming.remove(&self.build),
            _ => None,
        };
        // The files may go with it: nobody waits for that.
        drop(coming);
        drop(gone);
        self.uploads.changed.notify_waiters();
    }
}

impl Place {
    /// Waits until the build has taken `files`, for which it has some seconds.
    ///
    /// # Errors
    /// dockerd's 500 when it has not.
    pub(crate) async fn give(self, files: Arc<dyn LocalFiles>) -> Result<(), ApiError> {
        if let Some(own) = self.uploads.coming().get_mut(&self.build) {
            own.files = Some(files);
        }
        self.uploads.changed.notify_waiters();
        let taken = self.uploads.until(|coming| {
            let waits = coming.get(&self.build);
            waits
                .is_none_or(|other| other.place != self.number)
                .then_some(())
        });
        let taken = tokio::time::timeout(WAIT, taken).await;
        taken.map_err(|_| ApiError::internal("context deadline exceeded"))
    }
}

impl Uploads {
    fn coming(&self) -> MutexGuard<'_, HashMap<String, Coming>> {
        self.coming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for `look` to find something.
    async fn until<T>(&self, look: impl Fn(&mut HashMap<String, Coming>) -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(found) = look(&mut self.coming()) {
                return found;
            }
            changed.await;
        }
    }

    /// Says that a context comes for the build of that name.
    ///
    /// # Errors
    /// 400 for a name that is none, or has one already; 503 when too many wait.
    pub(crate) fn begin(self: &Arc<Self>, build: String) -> Result<Place, ApiError> {
        if build.is_empty() || build.len() > MAX_NAME {
            return Err(ApiError::bad_request("a build needs a short name"));
        }
        let mut coming = self.coming();
        if coming.len() >= MAX_WAITING {
            return Err(ApiError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too many contexts wait for their builds",
            ));
        }
        if coming.contains_key(&build) {
            let text = format!("a context of the build {build} is coming already");
            return Err(ApiError::bad_request(text));
        }
        let number = self.places.fetch_add(1, Ordering::Relaxed);
        let own = Coming {
            place: number,
            files: None,
        };
        coming.insert(build.clone(), own);
        drop(coming);
        self.changed.notify_waiters();
        Ok(Place {
            uploads: Arc::clone(self),
            build,
            number,
        })
    }

    /// The context for the build of that name. What is coming is waited for.
    ///
    /// # Errors
    /// 500 when none comes, or breaks off.
    pub(crate) async fn wait(&self, build: &str) -> Result<Arc<dyn LocalFiles>, ApiError> {
        let missing = || {
            let text = format!("no context was uploaded for the build {build}");
            ApiError::internal(text)
        };
        let begun = self.until(|coming| coming.contains_key(build).then_some(()));
        let begun = tokio::time::timeout(WAIT, begun).await;
        begun.map_err(|_| missing())?;
        let came = self.until(|coming| match coming.get(build) {
            Some(Coming { files: None, .. }) => None,
            Some(_) => Some(coming.remove(build).and_then(|came| came.files)),
            None => Some(None),
        });
        let came = came.await.ok_or_else(missing);
        self.changed.notify_waiters();
        came
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[derive(Debug)]
    struct Files;

    impl LocalFiles for Files {
        fn path(&self) -> &Path {
            Path::new("/")
        }
    }

    #[tokio::test]
    async fn a_context_finds_its_build_whichever_comes_first() {
        let uploads = Arc::new(Uploads::default());
        let place = uploads.begin("one".to_owned()).unwrap();
        let (found, given) = tokio::join!(uploads.wait("one"), place.give(Arc::new(Files)));
        given.unwrap();
        assert_eq!(found.unwrap().path(), Path::new("/"));
        let later = async {
            tokio::task::yield_now().await;
            uploads
                .begin("two".to_owned())
                .unwrap()
                .give(Arc::new(Files))
                .await
        };
        let (found, given) = tokio::join!(uploads.wait("two"), later);
        assert!(found.is_ok() && given.is_ok());
        assert!(uploads.coming().is_empty());
    }

    #[tokio::test]
    async fn one_that_breaks_off_is_missed() {
        let uploads = Arc::new(Uploads::default());
        let place = uploads.begin("one".to_owned()).unwrap();
        assert!(uploads.begin("one".to_owned()).is_err(), "there is one");
        let (found, ()) = tokio::join!(uploads.wait("one"), async { drop(place) });
        assert!(found.unwrap_err().message.contains("no context"));
        assert!(uploads.begin(String::new()).is_err());
    }

    #[tokio::test]
    async fn a_place_takes_no_other_with_it() {
        let uploads = Arc::new(Uploads::default());
        let first = uploads.begin("one".to_owned()).unwrap();
        // A build has taken its files; the next upload of that name comes before the first one's answer is done.
        uploads.coming().clear();
        let second = uploads.begin("one".to_owned()).unwrap();
        drop(first);
        assert!(uploads.coming().contains_key("one"));
        drop(second);
        assert!(uploads.coming().is_empty());
    }
}
