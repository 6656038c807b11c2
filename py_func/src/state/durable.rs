//! A global tier in a directory, for a single host.
//!
//! It is a redb database: a copy-on-write B-tree in one file, whose commits are atomic and synced to the disk. redb is chosen
//! over log-structured stores such as fjall because values are overwritten in place, read by range, and written from one process;
//! a B-tree does that without compaction in the background.
//!
//! ```text
//! state.redb     the database
//! lock           held by the process that uses the directory
//! .new-*         a database in the making, left by a process that was killed
//! ```

mod tables;
#[cfg(test)]
mod tests;

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender};
use redb::{Database, ReadTransaction, ReadableDatabase as _};
use tokio::sync::oneshot;

use super::Error;
use super::global::{BoxFuture, Change, Global};
use tables::{Operation, Write};

/// What redb may keep of the file in memory, in bytes. The local tier keeps what is used.
const CACHE: usize = 32 << 20;

/// How many writes are committed together at most.
const BATCH: usize = 256;

/// What names of databases in the making start with.
const TEMPORARY: &str = ".new-";

/// A global tier in a directory that outlives the process. What was acknowledged survives the process being killed, and the
/// machine losing power if its disk keeps its promises.
///
/// Writes are done by a thread of its own, which commits those that wait together: syncing the disk is what takes long, and takes
/// as long for one as for many. Dropping it waits for the writes that were begun.
pub struct Durable {
    store: Arc<Store>,
    // `None` only while dropping.
    jobs: Option<Sender<Job>>,
    writer: Option<JoinHandle<()>>,
}

struct Store {
    database: Database,
    path: PathBuf,
    // Given back after the database is closed.
    _lock: File,
}

struct Job {
    write: Write,
    done: oneshot::Sender<Result<(), Error>>,
}

impl Durable {
    /// Opens the state in `directory`, which is created if it is not there. Blocks, longer if the last process was killed.
    ///
    /// # Errors
    ///
    /// When another process has it open, the file system refuses, or the file is damaged or of another version.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, Error> {
        let directory = directory.as_ref();
        fs::create_dir_all(directory).map_err(Error::io("create the directory", directory))?;
        let lock = lock(directory)?;
        let path = directory.join("state.redb");
        remove_unfinished(directory).map_err(Error::io("clean the directory", directory))?;
        if !path.try_exists().map_err(Error::io("look for", &path))? {
            create(directory, &path)?;
        }
        let database = guarded(&path, || {
            let database = Database::builder().set_cache_size(CACHE).open(&path)?;
            tables::check(&database)?;
            Ok(database)
        })?;

        let store = Arc::new(Store { database, path, _lock: lock });
        let (jobs, queue) = crossbeam_channel::unbounded();
        let thread = thread::Builder::new().name("faasm-state".to_owned());
        let writer = thread
            .spawn({
                let store = Arc::clone(&store);
                move || commit_all(&store, &queue)
            })
            .map_err(Error::io("start a thread for", &store.path))?;
        Ok(Self { store, jobs: Some(jobs), writer: Some(writer) })
    }

    fn read<'a, T: Send + 'static>(
        &self,
        work: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error> + Send + 'static,
    ) -> BoxFuture<'a, T> {
        let store = Arc::clone(&self.store);
        // Here and now: what is read is as small as a chunk, and next to always in memory.
        Box::pin(async move { guarded(&store.path, || work(&store.database.begin_read()?)) })
    }

    fn write<'a>(&self, user: &str, key: &str, operation: Operation) -> BoxFuture<'a, ()> {
        let write = Write { user: user.to_owned(), key: key.to_owned(), operation };
        let jobs = self.jobs.clone();
        let path = self.store.path.clone();
        Box::pin(async move {
            let (done, answer) = oneshot::channel();
            if let Some(jobs) = jobs {
                // If the writer is gone, so is `done`.
                let _ = jobs.send(Job { write, done });
            }
            answer.await.unwrap_or_else(|_| {
                Err(Error::Damaged { path, reason: "a write failed half way".to_owned() })
            })
        })
    }
}

impl Drop for Durable {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(writer) = self.writer.take() {
            // If it panicked, those who waited for it were told.
            let _ = writer.join();
        }
    }
}

impl Global for Durable {
    fn size<'a>(&'a self, user: &'a str, key: &'a str) -> BoxFuture<'a, Option<u64>> {
        let (user, key) = (user.to_owned(), key.to_owned());
        self.read(move |it| tables::size(it, &user, &key))
    }

    fn read<'a>(&'a self, user: &'a str, key: &'a str, range: Range<u64>) -> BoxFuture<'a, Option<Vec<u8>>> {
        let (user, key) = (user.to_owned(), key.to_owned());
        self.read(move |it| tables::read(it, &user, &key, range))
    }

    fn write<'a>(&'a self, user: &'a str, key: &'a str, change: Change, quota: u64) -> BoxFuture<'a, ()> {
        self.write(user, key, Operation::Write { change, quota })
    }

    fn delete<'a>(&'a self, user: &'a str, key: &'a str) -> BoxFuture<'a, ()> {
        self.write(user, key, Operation::Delete)
    }

    fn append<'a>(&'a self, user: &'a str, key: &'a str, entry: Bytes, quota: u64) -> BoxFuture<'a, ()> {
        self.write(user, key, Operation::Append { entry, quota })
    }

    fn appended<'a>(&'a self, user: &'a str, key: &'a str, count: usize) -> BoxFuture<'a, Vec<Vec<u8>>> {
        let (user, key) = (user.to_owned(), key.to_owned());
        self.read(move |it| tables::appended(it, &user, &key, count))
    }

    fn clear_appended<'a>(&'a self, user: &'a str, key: &'a str) -> BoxFuture<'a, ()> {
        self.write(user, key, Operation::ClearAppended)
    }

    fn keys<'a>(&'a self, user: &'a str) -> BoxFuture<'a, Vec<String>> {
        let user = user.to_owned();
        self.read(move |it| tables::keys(it, &user))
    }
}

/// What the writer does: commits what waits, until nobody can send any more. Ends early if the database panics, since what it is
/// worth after that is unknown; all later writes fail then.
fn commit_all(store: &Store, queue: &Receiver<Job>) {
    while let Ok(first) = queue.recv() {
        let (writes, answers): (Vec<_>, Vec<_>) = std::iter::once(first)
            .chain(queue.try_iter().take(BATCH - 1))
            .map(|job| (job.write, job.done))
            .unzip();
        let committed = catch_unwind(AssertUnwindSafe(|| tables::commit(&store.database, writes)));
        let Ok(committed) = committed else { return };
        let results = committed.map_err(|error| name(&store.path, error));
        for (number, done) in answers.into_iter().enumerate() {
            // Nobody may be waiting any more.
            let _ = done.send(match &results {
                Ok(results) => results[number].clone(),
                Err(error) => Err(error.clone()),
            });
        }
    }
}

/// Takes the lock that one process at a time can have, and the system gives back when that dies.
fn lock(directory: &Path) -> Result<File, Error> {
    let path = directory.join("lock");
    let file = File::options().create(true).append(true).open(&path).map_err(Error::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::InUse { path: directory.to_path_buf() }),
        Err(TryLockError::Error(error)) => Err(Error::io("lock", &path)(error)),
    }
}

fn remove_unfinished(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(TEMPORARY.as_bytes()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Makes an empty database under another name, so that one with its final name is whole.
fn create(directory: &Path, path: &Path) -> Result<(), Error> {
    let new = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(directory);
    let new = new.map_err(Error::io("write to", directory))?;
    guarded(new.path(), || tables::create(&Database::create(new.path())?))?;
    new.persist(path).map_err(|error| Error::io("write", path)(error.error))?;
    File::open(directory).and_then(|it| it.sync_all()).map_err(Error::io("sync", directory))
}

/// Calls the database, and names what went wrong. A file that is not what was written may make it panic, which must cost one
/// operation and not the process.
fn guarded<T>(path: &Path, work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, Error> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|error| name(path, error)),
        Err(_) => {
            Err(Error::Damaged { path: path.to_path_buf(), reason: "the database panicked".to_owned() })
        }
    }
}

fn name(path: &Path, error: redb::Error) -> Error {
    match error {
        redb::Error::DatabaseAlreadyOpen => Error::InUse { path: path.to_path_buf() },
        // redb says so of a file that is no database.
        redb::Error::Io(source)
            if matches!(source.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) =>
        {
            Error::Damaged { path: path.to_path_buf(), reason: source.to_string() }
        }
        redb::Error::Io(source) => Error::io("use", path)(source),
        redb::Error::Corrupted(reason) => Error::Damaged { path: path.to_path_buf(), reason },
        error @ (redb::Error::TableDoesNotExist(_)
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::UpgradeRequired(_)) => {
            Error::Damaged { path: path.to_path_buf(), reason: error.to_string() }
        }
        error => Error::Global { place: path.display().to_string(), source: Arc::new(error) },
    }
}
