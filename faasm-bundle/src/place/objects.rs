//! Small objects in an object store, for programs that keep more there than bundles.
//!
//! Any number of processes may use the same objects. What one of them wants to replace it names by the tag of what it has read, and is
//! told if that is no longer what is there; and who has read an object is given it again only if it is another one.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use futures_util::TryStreamExt as _;
use object_store::path::Path as Key;
use object_store::{
    Error as StoreError, GetOptions, ObjectMeta, ObjectStore as _, ObjectStoreExt as _, PutMode, PutOptions,
    UpdateVersion,
};
use tokio::runtime::{Builder, Runtime};
use url::Url;

use super::remote::{self, Remote, failed, without_bucket};
use super::{Location, redacted};
use crate::error::{Error, Result};

/// The objects below a place in an object store. Every method blocks until the store has answered.
pub struct Objects {
    remote: Remote,
    url: Url,
    /// Keeps connections open between requests. `None` only while this is dropped.
    runtime: Option<Runtime>,
}

/// What tells contents of an object apart.
#[derive(Clone, Debug)]
pub struct Tag(UpdateVersion);

/// Versions, which some stores have besides, are not in lists of objects.
impl PartialEq for Tag {
    fn eq(&self, other: &Self) -> bool {
        self.0.e_tag.is_some() && self.0.e_tag == other.0.e_tag
    }
}

/// What there is by a name.
#[derive(Clone, Debug)]
pub enum Object {
    /// Nothing.
    Missing,
    /// What the caller knows.
    Same,
    /// Something the caller does not know.
    There {
        /// All of it.
        content: Vec<u8>,
        /// What it is known by from now on.
        tag: Tag,
    },
}

/// An object in a list.
#[derive(Clone, Debug)]
pub struct Listed {
    /// What its content is known by.
    pub tag: Tag,
    /// When it was put there, as the store has the time.
    pub modified: SystemTime,
}

impl Objects {
    /// The objects below a place, which is a URL of an object store. Nothing is asked yet.
    ///
    /// # Errors
    ///
    /// When it is another place, or what the environment says about the store makes no sense.
    pub fn open(place: &Location) -> Result<Self> {
        let url = match place {
            Location::Url(url) if super::OBJECT_STORES.contains(&url.scheme()) => url.clone(),
            _ => {
                let reason = "it is no object store: its URL begins with s3://, gs:// or az://".to_owned();
                return Err(Error::Location { location: place.to_string(), reason });
            }
        };
        let remote = remote::open(&url)?;
        let mut runtime = Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).thread_name("faasm-objects").enable_all().build();
        let runtime = runtime.map_err(Error::io("start a thread for", redacted(&url)))?;
        Ok(Self { remote, url, runtime: Some(runtime) })
    }

    /// Gets an object, of at most `limit` bytes, unless it is the one that is `known`.
    ///
    /// # Errors
    ///
    /// When the store cannot be reached, or not within `patience`; when it refuses; or the object is larger.
    pub fn get(&self, name: &str, known: Option<&Tag>, limit: u64, patience: Duration) -> Result<Object> {
        let (remote, key) = self.at(name)?;
        let options =
            GetOptions { if_none_match: known.and_then(|it| it.0.e_tag.clone()), ..GetOptions::default() };
        self.wait(name, patience, async move {
            let found = match remote.store.get_opts(&key, options).await {
                Err(StoreError::NotModified { .. }) => return Ok(Object::Same),
                Err(error @ StoreError::NotFound { .. }) => {
                    without_bucket("read", &remote.shown, &error)?;
                    return Ok(Object::Missing);
                }
                other => other.map_err(|it| failed("read", &remote.shown, &it))?,
            };
            if found.meta.size > limit {
                let reason = format!("it has {} bytes, and may have {limit}", found.meta.size);
                return Err(Error::Store { action: "read", location: remote.shown, reason, hint: None });
            }
            let tag = Tag::of(&found.meta);
            let content = found.bytes().await.map_err(|it| failed("read", &remote.shown, &it))?;
            Ok(Object::There { content: content.to_vec(), tag })
        })
    }

    /// Puts an object in the place of the one that is `known`, or of nothing. Answers its tag, or `None` if something else is there. The
    /// store has it when this returns.
    ///
    /// # Errors
    ///
    /// When the store cannot be reached, or not within `patience`, or refuses. Whether the object is there is then not known.
    pub fn replace(
        &self,
        name: &str,
        content: Vec<u8>,
        known: Option<&Tag>,
        patience: Duration,
    ) -> Result<Option<Tag>> {
        let (remote, key) = self.at(name)?;
        let mode = known.map_or(PutMode::Create, |it| PutMode::Update(it.0.clone()));
        self.wait(name, patience, async move {
            let options = PutOptions { mode, ..PutOptions::default() };
            match remote.store.put_opts(&key, content.into(), options).await {
                Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => Ok(None),
                other => {
                    other.map(|it| Some(Tag(it.into()))).map_err(|it| failed("write", &remote.shown, &it))
                }
            }
        })
    }

    /// Puts an object, whatever is there, and answers its tag.
    ///
    /// # Errors
    ///
    /// As [`replace`](Self::replace) has them.
    pub fn put(&self, name: &str, content: Vec<u8>, patience: Duration) -> Result<Tag> {
        let (remote, key) = self.at(name)?;
        self.wait(name, patience, async move {
            let put = remote.store.put(&key, content.into()).await;
            put.map(|it| Tag(it.into())).map_err(|it| failed("write", &remote.shown, &it))
        })
    }

    /// Removes an object, if it is there.
    ///
    /// # Errors
    ///
    /// When the store cannot be reached, or not within `patience`, or refuses.
    pub fn remove(&self, name: &str, patience: Duration) -> Result<()> {
        let (remote, key) = self.at(name)?;
        self.wait(name, patience, async move {
            match remote.store.delete(&key).await {
                Err(StoreError::NotFound { .. }) => Ok(()),
                other => other.map_err(|it| failed("remove", &remote.shown, &it)),
            }
        })
    }

    /// All objects in a folder and below, by the names that the other methods take.
    ///
    /// # Errors
    ///
    /// When the store cannot be reached, or not within `patience`, or refuses.
    pub fn list(&self, folder: &str, patience: Duration) -> Result<BTreeMap<String, Listed>> {
        let (remote, key) = self.at(folder)?;
        let above = self.remote.path.clone();
        self.wait(folder, patience, async move {
            let listed = match remote.store.list(Some(&key)).try_collect::<Vec<_>>().await {
                Err(error @ StoreError::NotFound { .. }) => {
                    without_bucket("list", &remote.shown, &error)?;
                    Vec::new()
                }
                other => other.map_err(|it| failed("list", &remote.shown, &it))?,
            };
            let named = |found: ObjectMeta| {
                let parts = found.location.prefix_match(&above)?;
                let name = parts.map(|it| it.as_ref().to_owned()).collect::<Vec<_>>().join("/");
                Some((name, Listed { tag: Tag::of(&found), modified: found.last_modified.into() }))
            };
            Ok(listed.into_iter().filter_map(named).collect())
        })
    }

    /// Where an object is.
    pub fn location(&self, name: &str) -> Location {
        Location::Url(self.url.clone()).join(name)
    }

    fn at(&self, name: &str) -> Result<(Remote, Key)> {
        let mut remote = self.remote.clone();
        remote.shown = self.location(name).to_string();
        let key = Key::parse(name).map_err(|it| failed("use", &remote.shown, &it.into()))?;
        let key = Key::from_iter(remote.path.parts().chain(key.parts()));
        Ok((remote, key))
    }

    /// Runs what talks to the store on the thread for it, so that connections are used again, and waits here.
    fn wait<T: Send + 'static>(
        &self,
        name: &str,
        patience: Duration,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let gave_up = |reason: String| Error::Store {
            action: "reach",
            location: self.location(name).to_string(),
            reason,
            hint: Some("check the endpoint and the connection"),
        };
        let (sender, receiver) = mpsc::sync_channel(1);
        if let Some(runtime) = &self.runtime {
            drop(runtime.spawn(async move {
                // Nobody waits any more when the thread that asked has panicked.
                let _ = sender.send(tokio::time::timeout(patience, work).await);
            }));
        }
        match receiver.recv() {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(gave_up(format!("there was no answer within {} s", patience.as_secs_f32()))),
            Err(_) => Err(gave_up("the thread for it has ended".to_owned())),
        }
    }
}

impl Tag {
    fn of(found: &ObjectMeta) -> Self {
        Self(UpdateVersion { e_tag: found.e_tag.clone(), version: found.version.clone() })
    }
}

impl Drop for Objects {
    fn drop(&mut self) {
        // Not by waiting, which is forbidden on threads of another such runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
