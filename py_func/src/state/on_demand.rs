//! A durable global tier that is opened when it is first used.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{io, thread};

use bytes::Bytes;
use tokio::sync::{OnceCell, oneshot};

use super::{BoxFuture, Change, Durable, Error, Global};

/// How long to wait for another process to close it: as long as a call of a command takes.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// A [`Durable`] tier for short-lived processes, such as commands. It is opened by the first operation, so that a process that has
/// no state does not keep others from theirs, and waits some seconds when another process has it open.
pub struct OnDemand {
    directory: PathBuf,
    opened: OnceCell<Durable>,
}

impl OnDemand {
    /// The state in `directory`, which need not exist.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), opened: OnceCell::new() }
    }

    async fn get(&self) -> Result<&Durable, Error> {
        let open = || async {
            let directory = self.directory.clone();
            let (done, opened) = oneshot::channel();
            // It blocks, and nobody says on which runtime this is polled.
            let thread = thread::Builder::new().name("faasm-state-open".to_owned());
            let _ = thread.spawn(move || done.send(open_patiently(&directory)));
            opened.await.unwrap_or_else(|_| {
                let source = io::Error::other("a thread could not be started");
                Err(Error::io("open the state in", &self.directory)(source))
            })
        };
        self.opened.get_or_try_init(open).await
    }
}

fn open_patiently(directory: &Path) -> Result<Durable, Error> {
    let mut waited = Duration::ZERO;
    loop {
        match Durable::open(directory) {
            Err(Error::InUse { .. }) if waited < PATIENCE => thread::sleep(PAUSE),
            result => return result,
        }
        waited += PAUSE;
    }
}

impl Global for OnDemand {
    fn size<'a>(&'a self, user: &'a str, key: &'a str) -> BoxFuture<'a, Option<u64>> {
        Box::pin(async move { self.get().await?.size(user, key).await })
    }

    fn read<'a>(&'a self, user: &'a str, key: &'a str, range: Range<u64>) -> BoxFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move { self.get().await?.read(user, key, range).await })
    }

    fn write<'a>(&'a self, user: &'a str, key: &'a str, change: Change, quota: u64) -> BoxFuture<'a, ()> {
        Box::pin(async move { self.get().await?.write(user, key, change, quota).await })
    }

    fn delete<'a>(&'a self, user: &'a str, key: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move { self.get().await?.delete(user, key).await })
    }

    fn append<'a>(&'a self, user: &'a str, key: &'a str, entry: Bytes, quota: u64) -> BoxFuture<'a, ()> {
        Box::pin(async move { self.get().await?.append(user, key, entry, quota).await })
    }

    fn appended<'a>(&'a self, user: &'a str, key: &'a str, count: usize) -> BoxFuture<'a, Vec<Vec<u8>>> {
        Box::pin(async move { self.get().await?.appended(user, key, count).await })
    }

    fn clear_appended<'a>(&'a self, user: &'a str, key: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move { self.get().await?.clear_appended(user, key).await })
    }

    fn keys<'a>(&'a self, user: &'a str) -> BoxFuture<'a, Vec<String>> {
        Box::pin(async move { self.get().await?.keys(user).await })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_opened_before_it_is_used() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("state");
        let (one, other) = (OnDemand::new(&place), OnDemand::new(&place));
        assert!(!place.exists());
        pollster::block_on(one.append("user", "log", Bytes::from_static(b"entry"), u64::MAX)).unwrap();
        // The second waits until the first is closed.
        let waiting = std::thread::spawn(move || pollster::block_on(other.appended("user", "log", 9)));
        std::thread::sleep(3 * PAUSE);
        assert!(!waiting.is_finished());
        drop(one);
        assert_eq!(waiting.join().unwrap().unwrap(), [b"entry"]);
    }
}
