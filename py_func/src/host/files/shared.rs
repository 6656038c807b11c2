//! Files that the calls of a user share: a directory of the host for each user, with a quota.
//!
//! Guests name files below their user's directory only, and `cap-std` sees to it that no link in there leads out of it.
//! What a user has is counted by looking through the directory, and from then on with every change; since another process may
//! change it, too, it is looked through again now and then.

#[cfg(feature = "server")]
mod whole;

use std::collections::HashMap;
use std::fs::{File, FileTimes, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, UNIX_EPOCH};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, Metadata, MetadataExt as _, OpenOptions, OpenOptionsExt as _};
use nix::libc;

use super::types::{Errno, FileType, Stat, Times};

/// What files take is counted in blocks, and each has one for itself.
const BLOCK: u64 = 4096;

/// How long what was counted is believed while others may change the files, and when it says that the quota is reached.
const BELIEVED: Duration = Duration::from_secs(10);
const BELIEVED_WHEN_FULL: Duration = Duration::from_millis(100);

/// Looking through a directory takes at most this part of the time.
const SHARE: u32 = 20;

/// The shared files of all users.
pub(crate) struct SharedFiles {
    directory: PathBuf,
    quota: u64,
    users: Mutex<HashMap<String, Arc<Mutex<Usage>>>>,
}

impl SharedFiles {
    /// Those below a directory of the host, which need not exist, with so many bytes for each user.
    pub(crate) fn new(directory: PathBuf, quota: u64) -> Self {
        Self { directory, quota, users: Mutex::default() }
    }

    /// Those of one user, for one call. The user's name must be a valid one.
    pub(crate) fn of(&self, user: &str) -> UserFiles {
        let usage = Arc::clone(locked(&self.users).entry(user.to_owned()).or_default());
        UserFiles {
            directory: self.directory.join(user),
            top: OnceLock::new(),
            quota: self.quota,
            usage,
            lock_holders: HashMap::new(),
        }
    }
}

/// The shared files of a user, as a call sees them. Paths are relative to their top, which is the empty path.
pub(crate) struct UserFiles {
    directory: PathBuf,
    top: OnceLock<Dir>,
    quota: u64,
    usage: Arc<Mutex<Usage>>,
    /// By which open file the call has its locks on parts of a file: all of them by one, since it is the call that has them.
    lock_holders: HashMap<Identity, Arc<File>>,
}

/// Device and inode.
type Identity = (u64, u64);

/// What is known of a user's files.
#[derive(Default)]
struct Usage {
    used: u64,
    /// When that was counted, and until when it is believed.
    counted: Option<(Instant, Instant)>,
    open: HashMap<Identity, Opened>,
}

/// A file that calls of this process have open.
#[derive(Default)]
struct Opened {
    count: u32,
    /// It has no name any more, but takes so many bytes until it is closed.
    unlinked: Option<u64>,
}

/// A shared file that is open.
pub(crate) struct SharedFile {
    file: Arc<File>,
    identity: Identity,
    quota: u64,
    usage: Arc<Mutex<Usage>>,
    top: Dir,
}

/// How a file is to be opened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    pub(crate) write: bool,
    pub(crate) create: bool,
    pub(crate) exclusive: bool,
    pub(crate) truncate: bool,
    /// Only a directory will do.
    pub(crate) directory: bool,
}

impl UserFiles {
    /// Opens a file; `None` if there is a directory.
    pub(crate) fn open(&self, path: &Path, options: Options) -> Result<Option<SharedFile>, Errno> {
        let top = self.top()?;
        loop {
            if let Some(stat) = self.existing(path)? {
                if options.create && options.exclusive {
                    return Err(Errno::EXIST);
                }
                match stat {
                    FileType::Directory if options.write || options.create || options.truncate => {
                        return Err(Errno::ISDIR);
                    }
                    FileType::Directory => return Ok(None),
                    _ if options.directory => return Err(Errno::NOTDIR),
                    FileType::RegularFile => (),
                    FileType::SymbolicLink => return Err(Errno::LOOP),
                    _ => return Err(Errno::ACCES),
                }
                // For writing whatever the guest may do with it, because locks of both kinds need that.
                let opened = top.open_with(path, open_options().read(true).write(true)).or_else(|error| {
                    if options.write { Err(error) } else { top.open_with(path, open_options().read(true)) }
                });
                let file = match opened {
                    // Somebody else removed it meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::NotFound && options.create => continue,
                    file => self.opened(file?.into_std(), locked(&self.usage))?,
                };
                if options.truncate {
                    file.resize(0)?;
                }
                return Ok(Some(file));
            }
            if !options.create {
                return Err(Errno::NOENT);
            }
            let mut usage = locked(&self.usage);
            usage.reserve(BLOCK, top, self.quota)?;
            match top.open_with(path, open_options().read(true).write(true).create_new(true)) {
                Ok(file) => return self.opened(file.into_std(), usage).map(Some),
                Err(error) => {
                    usage.release(BLOCK);
                    // Somebody else created it meanwhile.
                    if options.exclusive || error.kind() != io::ErrorKind::AlreadyExists {
                        return Err(error.into());
                    }
                }
            }
        }
    }

    fn opened(&self, file: File, mut usage: MutexGuard<'_, Usage>) -> Result<SharedFile, Errno> {
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(Errno::ACCES);
        }
        let identity = (metadata.dev(), metadata.ino());
        usage.open.entry(identity).or_default().count += 1;
        drop(usage);
        let top = self.top()?.try_clone()?;
        Ok(SharedFile {
            file: Arc::new(file),
            identity,
            quota: self.quota,
            usage: Arc::clone(&self.usage),
            top,
        })
    }

    /// Without the device. Links are not followed.
    pub(crate) fn stat(&self, path: &Path) -> Result<Stat, Errno> {
        Ok(stat(&self.metadata(path)?))
    }

    pub(crate) fn list(&self, path: &Path) -> Result<impl Iterator<Item = (Vec<u8>, Stat)>, Errno> {
        let entries = self.top()?.read_dir(or_top(path))?;
        Ok(entries.filter_map(|entry| {
            // What is removed meanwhile is not listed.
            let entry = entry.ok()?;
            let stat = stat(&entry.metadata().ok()?);
            Some((entry.file_name().into_encoded_bytes(), stat))
        }))
    }

    pub(crate) fn create_directory(&self, path: &Path) -> Result<(), Errno> {
        let top = self.top()?;
        let mut usage = locked(&self.usage);
        usage.reserve(BLOCK, top, self.quota)?;
        top.create_dir(path).inspect_err(|_| usage.release(BLOCK))?;
        Ok(())
    }

    pub(crate) fn remove_directory(&self, path: &Path) -> Result<(), Errno> {
        let top = self.top()?;
        let mut usage = locked(&self.usage);
        top.remove_dir(path)?;
        usage.release(BLOCK);
        Ok(())
    }

    pub(crate) fn unlink(&self, path: &Path) -> Result<(), Errno> {
        let mut usage = locked(&self.usage);
        let metadata = self.metadata(path)?;
        if metadata.is_dir() {
            return Err(Errno::ISDIR);
        }
        self.top()?.remove_file(path)?;
        usage.unlinked(&metadata);
        Ok(())
    }

    pub(crate) fn rename(&self, from: &Path, to: &Path) -> Result<(), Errno> {
        let top = self.top()?;
        let mut usage = locked(&self.usage);
        let replaced = self.metadata(to).ok();
        let same = replaced.as_ref().map(identity) == self.metadata(from).ok().as_ref().map(identity);
        top.rename(from, top, to)?;
        if let Some(replaced) = replaced.filter(|_| !same) {
            usage.unlinked(&replaced);
        }
        Ok(())
    }

    pub(crate) fn set_times(&self, path: &Path, times: Times) -> Result<(), Errno> {
        let file = self.top()?.open_with(or_top(path), open_options().read(true))?.into_std();
        Ok(file.set_times(file_times(times))?)
    }

    /// Locks a part of a file for the call, without waiting; a length of 0 stands for all from the start on. POSIX has no locks that
    /// keep calls of one process apart, Linux has.
    #[cfg(target_os = "linux")]
    pub(crate) fn lock(
        &mut self,
        file: &SharedFile,
        lock: Option<Lock>,
        test: bool,
        (start, length): (u64, u64),
    ) -> Result<(), Errno> {
        use nix::fcntl::{FcntlArg, fcntl};

        let number = |number: u64| libc::off_t::try_from(number).map_err(|_| Errno::INVAL);
        let kind = match lock {
            None => libc::F_UNLCK,
            Some(Lock::Shared) => libc::F_RDLCK,
            Some(Lock::Exclusive) => libc::F_WRLCK,
        };
        let mut request = libc::flock {
            l_type: kind as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: number(start)?,
            l_len: number(length)?,
            l_pid: 0,
        };
        let holder = self.lock_holders.entry(file.identity).or_insert_with(|| Arc::clone(&file.file));
        if test {
            fcntl(&**holder, FcntlArg::F_OFD_GETLK(&mut request))?;
            let free = request.l_type == libc::F_UNLCK as libc::c_short;
            return if free { Ok(()) } else { Err(Errno::AGAIN) };
        }
        fcntl(&**holder, FcntlArg::F_OFD_SETLK(&request))?;
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn lock(
        &mut self,
        _: &SharedFile,
        _: Option<Lock>,
        _: bool,
        _: (u64, u64),
    ) -> Result<(), Errno> {
        Err(Errno::NOLCK)
    }

    /// Gives back the call's locks on parts of a file, as closing any descriptor of it does.
    pub(crate) fn unlock_all(&mut self, file: &SharedFile) {
        if self.lock_holders.contains_key(&file.identity) {
            // Whoever holds them may be still open otherwise.
            let _ = self.lock(file, None, false, (0, 0));
            self.lock_holders.remove(&file.identity);
        }
    }

    /// What is there, if there is something.
    fn existing(&self, path: &Path) -> Result<Option<FileType>, Errno> {
        match self.stat(path) {
            Ok(stat) => Ok(Some(stat.kind)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn metadata(&self, path: &Path) -> Result<Metadata, Errno> {
        Ok(self.top()?.symlink_metadata(or_top(path))?)
    }

    /// The directory, made if it is not there.
    fn top(&self) -> Result<&Dir, Errno> {
        if let Some(top) = self.top.get() {
            return Ok(top);
        }
        std::fs::create_dir_all(&self.directory)?;
        let opened = Dir::open_ambient_dir(&self.directory, ambient_authority())?;
        Ok(self.top.get_or_init(|| opened))
    }
}

/// Who else may have a lock at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lock {
    Shared,
    Exclusive,
}

impl SharedFile {
    /// Without the device.
    pub(crate) fn stat(&self) -> Result<Stat, Errno> {
        Ok(stat(&Metadata::from_file(&self.file)?))
    }

    pub(crate) fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        Ok(self.file.read_at(buffer, offset)?)
    }

    /// Writes at an offset, or at the end. Answers how much, and where that ends.
    pub(crate) fn write(&self, offset: Option<u64>, data: &[u8]) -> Result<(usize, u64), Errno> {
        // Nobody changes the file's size between asking for it and writing.
        let mut usage = locked(&self.usage);
        let size = self.file.metadata()?.len();
        let offset = offset.unwrap_or(size);
        let end = offset
            .checked_add(data.len() as u64)
            .filter(|end| i64::try_from(*end).is_ok())
            .ok_or(Errno::FBIG)?;
        let growth = blocks(end).saturating_sub(blocks(size));
        usage.reserve(growth, &self.top, self.quota)?;
        let written = self.file.write_at(data, offset);
        let reached = size.max(offset + *written.as_ref().unwrap_or(&0) as u64);
        let grown = if written.is_ok() { blocks(reached) - blocks(size) } else { 0 };
        usage.release(growth - grown);
        usage.unlinked_grew(self.identity, grown);
        let written = written?;
        Ok((written, offset + written as u64))
    }

    pub(crate) fn resize(&self, size: u64) -> Result<(), Errno> {
        let mut usage = locked(&self.usage);
        let (old, new) = (blocks(self.file.metadata()?.len()), blocks(size));
        usage.reserve(new.saturating_sub(old), &self.top, self.quota)?;
        if let Err(error) = self.file.set_len(size) {
            usage.release(new.saturating_sub(old));
            return Err(error.into());
        }
        usage.release(old.saturating_sub(new));
        if let Some(Opened { unlinked: Some(bytes), .. }) = usage.open.get_mut(&self.identity) {
            *bytes = (*bytes + new).saturating_sub(old);
        }
        Ok(())
    }

    pub(crate) fn sync(&self, data_only: bool) -> Result<(), Errno> {
        let synced = if data_only { self.file.sync_data() } else { self.file.sync_all() };
        Ok(synced?)
    }

    pub(crate) fn set_times(&self, times: Times) -> Result<(), Errno> {
        Ok(self.file.set_times(file_times(times))?)
    }

    /// Locks the open file, as `flock` does, without waiting.
    pub(crate) fn lock(&self, lock: Option<Lock>) -> Result<(), Errno> {
        let locked = match lock {
            None => return Ok(self.file.unlock()?),
            Some(Lock::Shared) => self.file.try_lock_shared(),
            Some(Lock::Exclusive) => self.file.try_lock(),
        };
        locked.map_err(|error| match error {
            TryLockError::WouldBlock => Errno::AGAIN,
            TryLockError::Error(error) => error.into(),
        })
    }
}

impl Drop for SharedFile {
    fn drop(&mut self) {
        let mut usage = locked(&self.usage);
        let Some(opened) = usage.open.get_mut(&self.identity) else { return };
        opened.count -= 1;
        if opened.count == 0 {
            let unlinked = opened.unlinked.unwrap_or(0);
            usage.open.remove(&self.identity);
            usage.release(unlinked);
        }
    }
}

impl Usage {
    /// Counts bytes that are about to be used.
    fn reserve(&mut self, bytes: u64, top: &Dir, quota: u64) -> Result<(), Errno> {
        if bytes == 0 {
            return Ok(());
        }
        let now = Instant::now();
        let fits = |usage: &Self| usage.used.checked_add(bytes).is_some_and(|used| used <= quota);
        let believed = match self.counted {
            None => false,
            Some((counted, _)) if !fits(self) => now.duration_since(counted) < BELIEVED_WHEN_FULL,
            Some((_, until)) => now < until,
        };
        if !believed {
            let named = count(top, quota);
            let unnamed: u64 = self.open.values().filter_map(|opened| opened.unlinked).sum();
            self.used = named.saturating_add(unnamed);
            let counted = Instant::now();
            self.counted = Some((counted, counted + BELIEVED.max((counted - now) * SHARE)));
        }
        if !fits(self) {
            return Err(Errno::DQUOT);
        }
        self.used += bytes;
        Ok(())
    }

    fn release(&mut self, bytes: u64) {
        self.used = self.used.saturating_sub(bytes);
    }

    /// Something has lost its name.
    fn unlinked(&mut self, metadata: &Metadata) {
        let content = if metadata.is_file() { blocks(metadata.len()) } else { 0 };
        match self.open.get_mut(&identity(metadata)) {
            Some(opened) => {
                opened.unlinked = Some(content);
                self.release(BLOCK);
            }
            None => self.release(BLOCK + content),
        }
    }

    fn unlinked_grew(&mut self, identity: Identity, bytes: u64) {
        if let Some(Opened { unlinked: Some(unlinked), .. }) = self.open.get_mut(&identity) {
            *unlinked += bytes;
        }
    }
}

/// What everything below a directory counts for, or something above `enough`. What cannot be read counts for its name.
fn count(top: &Dir, enough: u64) -> u64 {
    let mut bytes = 0_u64;
    let mut directories = vec![PathBuf::from(".")];
    while let Some(directory) = directories.pop() {
        let Ok(entries) = top.read_dir(&directory) else { continue };
        for entry in entries.filter_map(Result::ok) {
            bytes = bytes.saturating_add(BLOCK);
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                directories.push(directory.join(entry.file_name()));
            } else if metadata.is_file() {
                bytes = bytes.saturating_add(blocks(metadata.len()));
            }
            if bytes > enough {
                return bytes;
            }
        }
    }
    bytes
}

fn blocks(size: u64) -> u64 {
    size.div_ceil(BLOCK).saturating_mul(BLOCK)
}

/// Opening must not wait, whatever is there; only regular files are used.
fn open_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    options
}

fn or_top(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

fn stat(metadata: &Metadata) -> Stat {
    let kind = if metadata.is_dir() {
        FileType::Directory
    } else if metadata.is_file() {
        FileType::RegularFile
    } else if metadata.is_symlink() {
        FileType::SymbolicLink
    } else {
        FileType::Unknown
    };
    let time = |seconds: i64, nanoseconds: i64| {
        let (seconds, nanoseconds) = (u64::try_from(seconds).ok(), u64::try_from(nanoseconds).ok());
        seconds.and_then(|it| it.checked_mul(1_000_000_000)?.checked_add(nanoseconds?)).unwrap_or(0)
    };
    Stat {
        device: 0,
        inode: metadata.ino(),
        kind,
        links: metadata.nlink(),
        size: metadata.len(),
        accessed: time(metadata.atime(), metadata.atime_nsec()),
        modified: time(metadata.mtime(), metadata.mtime_nsec()),
        changed: time(metadata.ctime(), metadata.ctime_nsec()),
    }
}

fn file_times(times: Times) -> FileTimes {
    let time = |nanoseconds| UNIX_EPOCH + Duration::from_nanos(nanoseconds);
    let mut set = FileTimes::new();
    if let Some(accessed) = times.accessed {
        set = set.set_accessed(time(accessed));
    }
    if let Some(modified) = times.modified {
        set = set.set_modified(time(modified));
    }
    set
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
