//! The files of a function: what its descriptors and paths mean.
//!
//! ```text
//! /           the image's library                read only, an index of it in memory
//! /dev        null, zero, random, urandom, stdin, stdout, stderr
//! /function   the files of a function that is a package    read only
//! /shared     files that calls of a user share   where the runtime was given a directory for them
//! /tmp        private, empty in every call       in memory
//! ```
//!
//! All of it belongs to one call and is dropped with it; what is read only is shared. Nothing that a guest says reaches the
//! host's file system except below `/shared`: other paths are looked up in trees in memory.

mod place;
mod shared;
mod types;
mod volume;
pub(super) mod wasi;

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

pub(crate) use shared::{Lock, SharedFile, SharedFiles, UserFiles};
pub(crate) use types::{Errno, FileType};
pub(crate) use volume::{TOP, Volume};

use place::{DEVICE_NAMES, Device, Found, Place, ROOT, Which};
use shared::Options;
use types::{Stat, Times, fdflags, oflags, rights};
use volume::Inode;

use crate::call::Account;

/// How many descriptors a call may have, and the largest is one less.
const MOST_DESCRIPTORS: usize = 256;

/// The descriptor from which the guest's C library starts all paths. It has to stay what it is.
const ROOT_DESCRIPTOR: u32 = 3;

/// How many bytes of listings a call may hold. A name counts for 64 more than it has.
const LISTING_LIMIT: usize = 16 << 20;
const LISTING_ENTRY: usize = 64;

/// The most that is read or written at a time, so that a guest cannot keep its host busy in one step.
pub(super) const MOST_BYTES: usize = 16 << 20;

/// The same where it takes longer.
const MOST_RANDOM_BYTES: usize = 64 << 10;

/// The image's library, as an index that is made when it is first needed.
pub(crate) struct Library {
    directory: PathBuf,
    volume: OnceLock<Arc<Volume>>,
}

impl Library {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory, volume: OnceLock::new() }
    }

    fn volume(&self) -> &Arc<Volume> {
        self.volume.get_or_init(|| {
            // If the directory is gone, the guest finds no file, which is what there is.
            Arc::new(Volume::index(&self.directory).unwrap_or_else(|_| Volume::new(0)))
        })
    }
}

/// The files of one call.
pub(crate) struct Files {
    root: Arc<Volume>,
    package: Option<Arc<Volume>>,
    tmp: Volume,
    shared: Option<UserFiles>,
    /// By descriptor, where in `open` it is.
    descriptors: Vec<Option<usize>>,
    open: Vec<Option<Open>>,
    outputs: [Vec<u8>; 2],
    output_limit: usize,
    flooded: bool,
    /// Who counts what is in `outputs`, if somebody does.
    account: Option<Arc<dyn Account>>,
    crowded: bool,
    /// How many bytes of listings are held.
    listed: usize,
}

/// Something that is open, for one descriptor or several.
struct Open {
    file: Opened,
    position: u64,
    flags: u16,
    base: u64,
    inheriting: u64,
    /// Of a directory, what was in it when it was last read from its beginning.
    listing: Option<Listing>,
    descriptors: usize,
}

enum Opened {
    Device(Device),
    Directory(Place),
    Memory(Which, Inode),
    /// A file of the host that stands in a volume's index.
    Outside(File, Which, Inode),
    Shared(SharedFile),
}

struct Listing {
    entries: Vec<Entry>,
    bytes: usize,
}

struct Entry {
    name: Vec<u8>,
    inode: u64,
    kind: FileType,
}

/// `fdstat`.
pub(super) struct Status {
    pub(super) kind: FileType,
    pub(super) flags: u16,
    pub(super) base: u64,
    pub(super) inheriting: u64,
}

/// From where a file's offset is counted, as `whence` numbers it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Whence {
    Start,
    Current,
    End,
}

impl Files {
    /// Those of a call at its beginning.
    pub(crate) fn new(
        library: &Library,
        package: Option<Arc<Volume>>,
        shared: Option<UserFiles>,
        tmp_limit: u64,
        output_limit: usize,
    ) -> Self {
        let standard = [Device::Input, Device::Output(0), Device::Output(1)]
            .map(|device| Open::new(Opened::Device(device)));
        let directory = Open::new(Opened::Directory(ROOT));
        Self {
            root: Arc::clone(library.volume()),
            package,
            tmp: Volume::new(tmp_limit),
            shared,
            descriptors: (0..4).map(Some).collect(),
            open: standard.into_iter().chain([directory]).map(Some).collect(),
            outputs: Default::default(),
            output_limit,
            flooded: false,
            account: None,
            crowded: false,
            listed: 0,
        }
    }

    /// Has what is written to standard output and to standard error counted.
    pub(crate) fn counted_by(self, account: Option<Arc<dyn Account>>) -> Self {
        Self { account, ..self }
    }

    /// What was written to standard output and to standard error.
    pub(crate) fn into_outputs(self) -> [Vec<u8>; 2] {
        self.outputs
    }

    /// Whether more was written to one of them than may be.
    pub(super) fn flooded(&self) -> bool {
        self.flooded
    }

    /// Whether more was written to one of them than there was room for.
    pub(super) fn crowded(&self) -> bool {
        self.crowded
    }

    /// Opens a path, or makes a file there; see `path_open` of WASI.
    pub(super) fn open_path(
        &mut self,
        directory: u32,
        (path, follow): (&[u8], bool),
        how: u32,
        (base, inheriting): (u64, u64),
        flags: u16,
    ) -> Result<u32, Errno> {
        let has = |flag| how & flag != 0;
        let exclusive = has(oflags::CREATE) && has(oflags::EXCLUSIVE);
        let mut found = self.find(directory, path, follow && !exclusive)?;
        let descriptor = self.free_descriptor(0)?;
        if has(oflags::CREATE) && has(oflags::DIRECTORY) {
            return Err(Errno::INVAL);
        }
        let options = Options {
            write: base & rights::FD_WRITE != 0,
            create: has(oflags::CREATE),
            exclusive,
            truncate: has(oflags::TRUNCATE),
            directory: has(oflags::DIRECTORY) || found.is_directory,
        };
        let file = match found.place.take() {
            Some(Place::Shared(path)) => match self.shared()?.open(&path, options)? {
                Some(file) => Opened::Shared(file),
                None => Opened::Directory(Place::Shared(path)),
            },
            Some(_) if exclusive => return Err(Errno::EXIST),
            Some(place) => self.open_place(place, options)?,
            None if !options.create => return Err(Errno::NOENT),
            None if options.directory => return Err(Errno::ISDIR),
            None => {
                let directory = self.writable(&found.parent)?;
                let inode = self.tmp.create_file(directory, &found.name, Vec::new())?;
                self.tmp.open(inode)?;
                Opened::Memory(Which::Tmp, inode)
            }
        };
        let mut open = Open::new(file);
        open.base &= base;
        open.inheriting &= inheriting;
        open.flags = flags & fdflags::ALL;
        self.insert(descriptor, open);
        Ok(descriptor)
    }

    fn open_place(&mut self, place: Place, options: Options) -> Result<Opened, Errno> {
        let stat = self.stat_place(&place)?;
        let changes = options.write || options.truncate;
        match (stat.kind, place) {
            (FileType::Directory, _) if changes || options.create => Err(Errno::ISDIR),
            (FileType::Directory, place) => {
                if let Place::Volume(Which::Tmp, inode) = place {
                    self.tmp.open(inode)?;
                }
                Ok(Opened::Directory(place))
            }
            (FileType::SymbolicLink, _) => Err(Errno::LOOP),
            _ if options.directory => Err(Errno::NOTDIR),
            (_, Place::Device(device)) => Ok(Opened::Device(device)),
            (_, Place::Volume(Which::Tmp, inode)) => {
                if options.truncate {
                    self.tmp.resize(inode, 0)?;
                }
                self.tmp.open(inode)?;
                Ok(Opened::Memory(Which::Tmp, inode))
            }
            _ if changes => Err(Errno::ROFS),
            (_, Place::Volume(which, inode)) => Ok(match self.volume(which)?.outside(inode)? {
                Some(path) => Opened::Outside(File::open(path)?, which, inode),
                None => Opened::Memory(which, inode),
            }),
            _ => Err(Errno::ACCES),
        }
    }

    pub(super) fn close(&mut self, descriptor: u32) -> Result<(), Errno> {
        if descriptor == ROOT_DESCRIPTOR {
            return Err(Errno::NOTSUP);
        }
        let place = self.descriptors.get_mut(descriptor as usize).ok_or(Errno::BADF)?;
        let index = place.take().ok_or(Errno::BADF)?;
        let Some(open) = self.open.get_mut(index).and_then(Option::as_mut) else { return Err(Errno::BADF) };
        if let (Opened::Shared(file), Some(shared)) = (&open.file, &mut self.shared) {
            shared.unlock_all(file);
        }
        open.descriptors -= 1;
        if open.descriptors == 0
            && let Some(open) = self.open[index].take()
        {
            self.listed -= open.listing.map_or(0, |listing| listing.bytes);
            if let Opened::Memory(Which::Tmp, inode) | Opened::Directory(Place::Volume(Which::Tmp, inode)) =
                open.file
            {
                self.tmp.close(inode);
            }
        }
        Ok(())
    }

    /// Another descriptor for what one has open: exactly `target`, or the lowest from there on.
    pub(super) fn duplicate(&mut self, descriptor: u32, target: u32, exact: bool) -> Result<u32, Errno> {
        let index = self.index(descriptor)?;
        if !exact {
            if target as usize >= MOST_DESCRIPTORS {
                return Err(Errno::INVAL);
            }
            let target = self.free_descriptor(target)?;
            self.point(target, index);
            return Ok(target);
        }
        if target as usize >= MOST_DESCRIPTORS {
            return Err(Errno::BADF);
        }
        if target != descriptor {
            match self.close(target) {
                Ok(()) | Err(Errno::BADF) => self.point(target, index),
                Err(error) => return Err(error),
            }
        }
        Ok(target)
    }

    /// Moves what one descriptor has open to another, which must be open.
    pub(super) fn renumber(&mut self, from: u32, to: u32) -> Result<(), Errno> {
        self.index(to)?;
        if from == ROOT_DESCRIPTOR {
            return Err(Errno::NOTSUP);
        }
        if from != to {
            self.duplicate(from, to, true)?;
            self.close(from)?;
        }
        Ok(())
    }

    pub(super) fn status(&self, descriptor: u32) -> Result<Status, Errno> {
        let open = self.get(descriptor)?;
        let Open { flags, base, inheriting, .. } = *open;
        let kind = match &open.file {
            Opened::Device(_) => FileType::CharacterDevice,
            Opened::Directory(_) => FileType::Directory,
            _ => FileType::RegularFile,
        };
        Ok(Status { kind, flags, base, inheriting })
    }

    pub(super) fn set_flags(&mut self, descriptor: u32, flags: u16) -> Result<(), Errno> {
        self.get_mut(descriptor, rights::FD_FDSTAT_SET_FLAGS)?.flags = flags & fdflags::ALL;
        Ok(())
    }

    /// Takes rights away.
    pub(super) fn set_rights(&mut self, descriptor: u32, base: u64, inheriting: u64) -> Result<(), Errno> {
        let open = self.get_mut(descriptor, 0)?;
        if base & !open.base != 0 || inheriting & !open.inheriting != 0 {
            return Err(Errno::NOTCAPABLE);
        }
        (open.base, open.inheriting) = (base, inheriting);
        Ok(())
    }

    /// Reads at an offset, or where the last read or write ended.
    pub(super) fn read(
        &mut self,
        descriptor: u32,
        at: Option<u64>,
        buffer: &mut [u8],
    ) -> Result<usize, Errno> {
        let open = self.get(descriptor)?;
        open.require(if at.is_some() { rights::FD_READ | rights::FD_SEEK } else { rights::FD_READ })?;
        let offset = at.unwrap_or(open.position);
        let count = match &open.file {
            Opened::Device(device) => return device.read(buffer),
            Opened::Directory(_) => return Err(Errno::ISDIR),
            Opened::Memory(which, inode) => self.volume(*which)?.read(*inode, offset, buffer)?,
            Opened::Outside(file, ..) => file.read_at(buffer, offset)?,
            Opened::Shared(file) => file.read(offset, buffer)?,
        };
        if at.is_none() {
            self.get_mut(descriptor, 0)?.position = offset + count as u64;
        }
        Ok(count)
    }

    /// Writes at an offset, or where the last read or write ended, or at the end if it was opened so.
    pub(super) fn write(&mut self, descriptor: u32, at: Option<u64>, data: &[u8]) -> Result<usize, Errno> {
        let index = self.index(descriptor)?;
        let Some(open) = self.open.get_mut(index).and_then(Option::as_mut) else { return Err(Errno::BADF) };
        open.require(if at.is_some() { rights::FD_WRITE | rights::FD_SEEK } else { rights::FD_WRITE })?;
        let append = at.is_none() && open.flags & fdflags::APPEND != 0;
        let offset = at.unwrap_or(open.position);
        let (count, end) = match &open.file {
            Opened::Device(Device::Output(index)) => {
                let output = &mut self.outputs[*index];
                let count = data.len().min(self.output_limit - output.len());
                let (before, after) = (output.len(), output.len() + count);
                if self.account.as_ref().is_some_and(|account| !account.resize(before, after)) {
                    self.crowded = true;
                    return Ok(0);
                }
                output.extend_from_slice(&data[..count]);
                self.flooded |= count < data.len();
                return Ok(count);
            }
            // The others take everything, and it is gone.
            Opened::Device(_) => return Ok(data.len()),
            Opened::Directory(_) => return Err(Errno::ISDIR),
            Opened::Memory(Which::Tmp, inode) => {
                let offset = if append { self.tmp.stat(*inode)?.size } else { offset };
                let count = self.tmp.write(*inode, offset, data)?;
                (count, offset + count as u64)
            }
            Opened::Memory(..) | Opened::Outside(..) => return Err(Errno::ROFS),
            Opened::Shared(file) => file.write((!append).then_some(offset), data)?,
        };
        if at.is_none() {
            open.position = end;
        }
        Ok(count)
    }

    pub(super) fn seek(&mut self, descriptor: u32, offset: i64, whence: Whence) -> Result<u64, Errno> {
        let open = self.get(descriptor)?;
        let from = match (&open.file, whence) {
            (Opened::Device(Device::Input | Device::Output(_)), _) => return Err(Errno::SPIPE),
            (Opened::Device(_), _) => return Ok(0),
            (Opened::Directory(_), _) => return Err(Errno::INVAL),
            (_, Whence::Start) => 0,
            (_, Whence::Current) => open.position,
            (_, Whence::End) => self.stat(descriptor)?.size,
        };
        let asks = matches!((offset, whence), (0, Whence::Current));
        let position = from.checked_add_signed(offset).filter(|it| i64::try_from(*it).is_ok());
        let position = position.ok_or(Errno::INVAL)?;
        self.get_mut(descriptor, if asks { rights::FD_TELL } else { rights::FD_SEEK })?.position = position;
        Ok(position)
    }

    pub(super) fn sync(&self, descriptor: u32, data_only: bool) -> Result<(), Errno> {
        match &self.get(descriptor)?.file {
            Opened::Shared(file) => file.sync(data_only),
            Opened::Device(_) => Err(Errno::INVAL),
            _ => Ok(()),
        }
    }

    /// Fills a buffer with entries of a directory, as `dirent` has them, from the one with number `cookie` on. The last may be cut
    /// off. Answers how much of the buffer is full.
    pub(super) fn list(&mut self, descriptor: u32, cookie: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        let open = self.get(descriptor)?;
        open.require(rights::FD_READDIR)?;
        let Opened::Directory(place) = &open.file else { return Err(Errno::NOTDIR) };
        if cookie == 0 || open.listing.is_none() {
            let held = open.listing.as_ref().map_or(0, |listing| listing.bytes);
            let listing = self.listing(place, LISTING_LIMIT - (self.listed - held))?;
            self.listed = self.listed - held + listing.bytes;
            self.get_mut(descriptor, 0)?.listing = Some(listing);
        }
        let listing = self.get(descriptor)?.listing.as_ref();
        let entries = listing.map_or(&[][..], |listing| listing.entries.as_slice());
        let start = usize::try_from(cookie).unwrap_or(usize::MAX).min(entries.len());
        let mut filled = 0;
        for (number, entry) in entries.iter().enumerate().skip(start) {
            let mut header = [0; 24];
            header[..8].copy_from_slice(&(number as u64 + 1).to_le_bytes());
            header[8..16].copy_from_slice(&entry.inode.to_le_bytes());
            header[16..20].copy_from_slice(&(entry.name.len() as u32).to_le_bytes());
            header[20] = entry.kind as u8;
            for part in [&header[..], &entry.name] {
                let count = part.len().min(buffer.len() - filled);
                buffer[filled..filled + count].copy_from_slice(&part[..count]);
                filled += count;
            }
            if filled == buffer.len() {
                break;
            }
        }
        Ok(filled)
    }

    /// What a directory has, if it is not more than `most` bytes.
    fn listing(&self, place: &Place, most: usize) -> Result<Listing, Errno> {
        let mut listing = Listing { entries: Vec::new(), bytes: 0 };
        let mut add = |name: &[u8], inode, kind| {
            listing.bytes += name.len() + LISTING_ENTRY;
            listing.entries.push(Entry { name: name.to_vec(), inode, kind });
            if listing.bytes > most { Err(Errno::NOMEM) } else { Ok(()) }
        };
        let own = self.stat_place(place)?.inode;
        add(b".", own, FileType::Directory)?;
        add(b"..", own, FileType::Directory)?;
        if *place == ROOT {
            for (name, place) in self.mounts() {
                // What is not there is not listed, and does not keep others from being.
                if let Ok(stat) = self.stat_place(&place) {
                    add(name, stat.inode, FileType::Directory)?;
                }
            }
        }
        match place {
            Place::Volume(which, inode) => {
                let volume = self.volume(*which)?;
                for (name, inode) in volume.list(*inode)? {
                    add(name, inode as u64 + 1, volume.kind(inode)?)?;
                }
            }
            Place::Devices => {
                for (name, device) in DEVICE_NAMES {
                    let stat = self.stat_place(&Place::Device(device))?;
                    add(name, stat.inode, stat.kind)?;
                }
            }
            Place::Device(_) => return Err(Errno::NOTDIR),
            Place::Shared(path) => {
                for (name, stat) in self.shared()?.list(path)? {
                    add(&name, stat.inode, stat.kind)?;
                }
            }
        }
        Ok(listing)
    }

    pub(super) fn stat(&self, descriptor: u32) -> Result<Stat, Errno> {
        match &self.get(descriptor)?.file {
            Opened::Device(device) => self.stat_place(&Place::Device(*device)),
            Opened::Directory(place) => self.stat_place(place),
            Opened::Memory(which, inode) | Opened::Outside(_, which, inode) => {
                self.stat_place(&Place::Volume(*which, *inode))
            }
            Opened::Shared(file) => Ok(Stat { device: place::SHARED_DEVICE, ..file.stat()? }),
        }
    }

    pub(super) fn stat_path(&self, directory: u32, path: &[u8], follow: bool) -> Result<Stat, Errno> {
        let found = self.find(directory, path, follow)?;
        let stat = self.stat_place(&found.place.ok_or(Errno::NOENT)?)?;
        if found.is_directory && stat.kind != FileType::Directory {
            return Err(Errno::NOTDIR);
        }
        Ok(stat)
    }

    pub(super) fn resize(&mut self, descriptor: u32, size: u64) -> Result<(), Errno> {
        let open = self.get(descriptor)?;
        // POSIX wants a file that is open for writing.
        open.require(rights::FD_FILESTAT_SET_SIZE).map_err(|_| Errno::INVAL)?;
        match &open.file {
            Opened::Memory(Which::Tmp, inode) => {
                let inode = *inode;
                self.tmp.resize(inode, size)
            }
            Opened::Shared(file) => file.resize(size),
            Opened::Device(_) | Opened::Directory(_) => Err(Errno::INVAL),
            Opened::Memory(..) | Opened::Outside(..) => Err(Errno::ROFS),
        }
    }

    /// Makes a file at least so long.
    pub(super) fn allocate(&mut self, descriptor: u32, offset: u64, length: u64) -> Result<(), Errno> {
        self.get(descriptor)?.require(rights::FD_ALLOCATE)?;
        let end = offset.checked_add(length).ok_or(Errno::FBIG)?;
        if self.stat(descriptor)?.size < end { self.resize(descriptor, end) } else { Ok(()) }
    }

    pub(super) fn set_times(&mut self, descriptor: u32, times: Times) -> Result<(), Errno> {
        let open = self.get(descriptor)?;
        open.require(rights::FD_FILESTAT_SET_TIMES)?;
        let place = match &open.file {
            Opened::Shared(file) => return file.set_times(times),
            Opened::Directory(place) => place.clone(),
            Opened::Memory(which, inode) | Opened::Outside(_, which, inode) => Place::Volume(*which, *inode),
            Opened::Device(device) => Place::Device(*device),
        };
        self.set_times_of(&place, times)
    }

    pub(super) fn set_times_path(
        &mut self,
        directory: u32,
        path: &[u8],
        follow: bool,
        times: Times,
    ) -> Result<(), Errno> {
        let place = self.find(directory, path, follow)?.place.ok_or(Errno::NOENT)?;
        self.set_times_of(&place, times)
    }

    fn set_times_of(&mut self, place: &Place, times: Times) -> Result<(), Errno> {
        match place {
            Place::Volume(Which::Tmp, inode) => self.tmp.set_times(*inode, times),
            Place::Shared(path) => self.shared()?.set_times(path, times),
            _ => Err(Errno::ROFS),
        }
    }

    pub(super) fn create_directory(&mut self, directory: u32, path: &[u8]) -> Result<(), Errno> {
        let found = self.find(directory, path, false)?;
        match found.place {
            Some(Place::Shared(path)) if !found.name.is_empty() => self.shared()?.create_directory(&path),
            Some(_) => Err(Errno::EXIST),
            None => {
                let directory = self.writable(&found.parent)?;
                self.tmp.create_directory(directory, &found.name).map(drop)
            }
        }
    }

    pub(super) fn remove_directory(&mut self, directory: u32, path: &[u8]) -> Result<(), Errno> {
        let found = self.find(directory, path, false)?;
        match self.changeable(&found)? {
            Place::Shared(path) => self.shared()?.remove_directory(&path),
            _ => self.tmp.remove_directory(self.writable(&found.parent)?, &found.name),
        }
    }

    pub(super) fn unlink(&mut self, directory: u32, path: &[u8]) -> Result<(), Errno> {
        let found = self.find(directory, path, false)?;
        let place = self.changeable(&found)?;
        if found.is_directory && self.stat_place(&place)?.kind != FileType::Directory {
            return Err(Errno::NOTDIR);
        }
        match place {
            Place::Shared(path) => self.shared()?.unlink(&path),
            _ => self.tmp.unlink(self.writable(&found.parent)?, &found.name),
        }
    }

    pub(super) fn rename(&mut self, (from, old): (u32, &[u8]), (to, new): (u32, &[u8])) -> Result<(), Errno> {
        let (old, new) = (self.find(from, old, false)?, self.find(to, new, false)?);
        let source = self.changeable(&old)?;
        if old.is_directory || new.is_directory {
            let kind = self.stat_place(&source)?.kind;
            if kind != FileType::Directory {
                return Err(Errno::NOTDIR);
            }
        }
        if new.name.is_empty() || (new.parent == ROOT && new.place.is_some()) {
            return Err(Errno::BUSY);
        }
        match (source, &new.parent, &new.place) {
            (Place::Shared(from), _, Some(Place::Shared(to))) => self.shared()?.rename(&from, to),
            (Place::Volume(..), Place::Volume(Which::Tmp, _), _) => {
                let (from, to) = (self.writable(&old.parent)?, self.writable(&new.parent)?);
                self.tmp.rename((from, &old.name), (to, &new.name))
            }
            (_, Place::Volume(Which::Tmp, _) | Place::Shared(_), _) => Err(Errno::XDEV),
            _ => Err(Errno::ROFS),
        }
    }

    /// A second name for a file. Shared files have one each, so that what a user has can be counted.
    pub(super) fn link(
        &mut self,
        (from, old, follow): (u32, &[u8], bool),
        (to, new): (u32, &[u8]),
    ) -> Result<(), Errno> {
        let old = self.find(from, old, follow)?.place.ok_or(Errno::NOENT)?;
        let new = self.find(to, new, false)?;
        match (old, &new.parent, &new.place) {
            (Place::Shared(_), Place::Shared(_), _) => Err(Errno::NOTSUP),
            (_, _, Some(place)) if !matches!(place, Place::Shared(_)) => Err(Errno::EXIST),
            (Place::Volume(Which::Tmp, inode), Place::Volume(Which::Tmp, directory), None) => {
                self.tmp.link(inode, *directory, &new.name)
            }
            (_, Place::Volume(Which::Tmp, _) | Place::Shared(_), _) => Err(Errno::XDEV),
            _ => Err(Errno::ROFS),
        }
    }

    /// Links are for `/tmp` alone: in shared files one would lead each call somewhere else.
    pub(super) fn symlink(&mut self, target: &[u8], directory: u32, path: &[u8]) -> Result<(), Errno> {
        if target.is_empty() || target.contains(&0) {
            return Err(Errno::INVAL);
        }
        let found = self.find(directory, path, false)?;
        match (&found.parent, found.place) {
            (Place::Shared(_), _) => Err(Errno::NOTSUP),
            (_, Some(_)) => Err(Errno::EXIST),
            (parent, None) => {
                let directory = self.writable(parent)?;
                self.tmp.create_link(directory, &found.name, target)
            }
        }
    }

    pub(super) fn read_link(&self, directory: u32, path: &[u8]) -> Result<&[u8], Errno> {
        let place = self.find(directory, path, false)?.place.ok_or(Errno::NOENT)?;
        if let Place::Shared(_) = place {
            self.stat_place(&place)?;
        }
        self.target(&place).ok_or(Errno::INVAL)
    }

    /// Locks a part of a file, or with `None` for the range the open file, without waiting. Files that only this call has need none.
    pub(super) fn lock(
        &mut self,
        descriptor: u32,
        lock: Option<Lock>,
        test: bool,
        range: Option<(u64, u64)>,
    ) -> Result<(), Errno> {
        let index = self.index(descriptor)?;
        match (self.open.get(index).and_then(Option::as_ref), &mut self.shared) {
            (Some(Open { file: Opened::Shared(file), .. }), Some(shared)) => match range {
                Some(range) => shared.lock(file, lock, test, range),
                None => file.lock(lock),
            },
            _ => Ok(()),
        }
    }

    fn find(&self, directory: u32, path: &[u8], follow: bool) -> Result<Found, Errno> {
        let open = self.get(directory)?;
        let Opened::Directory(place) = &open.file else { return Err(Errno::NOTDIR) };
        open.require(rights::PATHS)?;
        self.resolve(place, path, follow)
    }

    /// A directory in which files can be made and removed, in memory.
    fn writable(&self, place: &Place) -> Result<Inode, Errno> {
        match place {
            Place::Volume(Which::Tmp, inode) => Ok(*inode),
            _ => Err(Errno::ROFS),
        }
    }

    /// Something that can be removed or moved.
    fn changeable(&self, found: &Found) -> Result<Place, Errno> {
        let place = found.place.clone().ok_or(Errno::NOENT)?;
        match &place {
            _ if found.name.is_empty() => Err(Errno::INVAL),
            Place::Shared(path) if path.as_os_str().is_empty() => Err(Errno::BUSY),
            Place::Shared(_) => Ok(place),
            Place::Volume(Which::Tmp, TOP) => Err(Errno::BUSY),
            Place::Volume(Which::Tmp, _) => Ok(place),
            _ => Err(Errno::ROFS),
        }
    }

    fn volume(&self, which: Which) -> Result<&Volume, Errno> {
        match which {
            Which::Root => Ok(&self.root),
            Which::Package => self.package.as_deref().ok_or(Errno::STALE),
            Which::Tmp => Ok(&self.tmp),
        }
    }

    fn shared(&self) -> Result<&UserFiles, Errno> {
        self.shared.as_ref().ok_or(Errno::STALE)
    }

    fn index(&self, descriptor: u32) -> Result<usize, Errno> {
        self.descriptors.get(descriptor as usize).copied().flatten().ok_or(Errno::BADF)
    }

    fn get(&self, descriptor: u32) -> Result<&Open, Errno> {
        let index = self.index(descriptor)?;
        self.open.get(index).and_then(Option::as_ref).ok_or(Errno::BADF)
    }

    fn get_mut(&mut self, descriptor: u32, needed: u64) -> Result<&mut Open, Errno> {
        let index = self.index(descriptor)?;
        let open = self.open.get_mut(index).and_then(Option::as_mut).ok_or(Errno::BADF)?;
        open.require(needed)?;
        Ok(open)
    }

    fn free_descriptor(&self, from: u32) -> Result<u32, Errno> {
        let is_free = |descriptor: &usize| self.descriptors.get(*descriptor).is_none_or(Option::is_none);
        let free = (from as usize..MOST_DESCRIPTORS).find(is_free);
        free.map(|descriptor| descriptor as u32).ok_or(Errno::MFILE)
    }

    fn insert(&mut self, descriptor: u32, open: Open) {
        let index = self.open.iter().position(Option::is_none).unwrap_or(self.open.len());
        if index == self.open.len() {
            self.open.push(None);
        }
        self.open[index] = Some(Open { descriptors: 0, ..open });
        self.point(descriptor, index);
    }

    /// Makes a free descriptor one of something that is open.
    fn point(&mut self, descriptor: u32, index: usize) {
        let descriptor = descriptor as usize;
        if self.descriptors.len() <= descriptor {
            self.descriptors.resize(descriptor + 1, None);
        }
        self.descriptors[descriptor] = Some(index);
        if let Some(open) = self.open.get_mut(index).and_then(Option::as_mut) {
            open.descriptors += 1;
        }
    }
}

impl Open {
    fn new(file: Opened) -> Self {
        let (base, inheriting) = match &file {
            Opened::Directory(_) => (rights::DIRECTORY, rights::DIRECTORY | rights::FILE),
            Opened::Device(Device::Input) => (rights::FILE & !rights::FD_WRITE, 0),
            Opened::Device(Device::Output(_)) => (rights::FILE & !rights::FD_READ, 0),
            _ => (rights::FILE, 0),
        };
        Self { file, position: 0, flags: 0, base, inheriting, listing: None, descriptors: 1 }
    }

    fn require(&self, needed: u64) -> Result<(), Errno> {
        if self.base & needed == needed { Ok(()) } else { Err(Errno::NOTCAPABLE) }
    }
}

impl Device {
    fn read(self, buffer: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Self::Null | Self::Input | Self::Output(_) => Ok(0),
            Self::Zero => {
                buffer.fill(0);
                Ok(buffer.len())
            }
            Self::Random => {
                let count = buffer.len().min(MOST_RANDOM_BYTES);
                getrandom::fill(&mut buffer[..count]).map_err(|_| Errno::IO)?;
                Ok(count)
            }
        }
    }
}

#[cfg(test)]
mod tests;
