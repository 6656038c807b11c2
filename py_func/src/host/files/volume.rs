//! A tree of files in memory: the private `/tmp` of a call, the files of a function that is a package, and an index of the image's
//! library, whose contents stay where they are.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::types::{Errno, FileType, Stat, Times};

/// The number of a file or directory in its volume.
pub(crate) type Inode = usize;

/// The directory that all others are in.
pub(crate) const TOP: Inode = 0;

/// What each file, directory or link counts for besides its content, and each name besides its length, so that many empty ones are
/// not free.
const NODE_BYTES: u64 = 512;
const NAME_BYTES: u64 = 128;

/// The longest file, whatever the limit.
const LONGEST: u64 = 1 << 40;

/// How much more room than it needs now a growing file gets at most.
const GROWTH: usize = 1 << 20;

pub(crate) struct Volume {
    nodes: Vec<Option<Node>>,
    free: Vec<Inode>,
    used: u64,
    limit: u64,
}

struct Node {
    content: Content,
    /// How many names it has. One without is gone when nobody has it open any more.
    links: u32,
    opened: u32,
    /// Of a directory, the one it is in.
    parent: Inode,
    accessed: u64,
    modified: u64,
    changed: u64,
}

enum Content {
    Directory(BTreeMap<Box<[u8]>, Inode>),
    File(Vec<u8>),
    /// A file of the host, which nobody changes.
    Outside(PathBuf, u64),
    Link(Box<[u8]>),
}

impl Volume {
    /// An empty one, which may have so many bytes.
    pub(crate) fn new(limit: u64) -> Self {
        let top = Node::new(Content::Directory(BTreeMap::new()), TOP);
        Self { nodes: vec![Some(top)], free: Vec::new(), used: 0, limit }
    }

    /// The tree of a directory of the host that nobody changes. Contents are read when they are asked for.
    pub(crate) fn index(directory: &Path) -> io::Result<Self> {
        let mut volume = Self::new(u64::MAX);
        let mut directories = vec![(TOP, directory.to_path_buf())];
        while let Some((inode, path)) = directories.pop() {
            for entry in fs::read_dir(path)? {
                let entry = entry?;
                let (name, metadata) = (entry.file_name().into_encoded_bytes(), entry.metadata()?);
                let modified = metadata.modified().map_or(0, nanoseconds);
                let content = if metadata.is_dir() {
                    Content::Directory(BTreeMap::new())
                } else if metadata.is_file() {
                    Content::Outside(entry.path(), metadata.len())
                } else {
                    // There is nothing else in an image.
                    continue;
                };
                let is_directory = metadata.is_dir();
                let child = volume.add(inode, &name, content)?;
                if let Some(node) = volume.nodes.get_mut(child).and_then(Option::as_mut) {
                    (node.accessed, node.modified, node.changed) = (modified, modified, modified);
                }
                if is_directory {
                    directories.push((child, entry.path()));
                }
            }
        }
        Ok(volume)
    }

    /// What there is by a name in a directory.
    pub(crate) fn lookup(&self, directory: Inode, name: &[u8]) -> Result<Option<Inode>, Errno> {
        Ok(self.names(directory)?.get(name).copied())
    }

    /// The directory that a directory is in.
    pub(crate) fn parent(&self, directory: Inode) -> Result<Inode, Errno> {
        self.names(directory)?;
        let node = self.node(directory)?;
        // Of one that was removed, that one may be, too.
        if node.links == 0 { Err(Errno::NOENT) } else { Ok(node.parent) }
    }

    pub(crate) fn kind(&self, inode: Inode) -> Result<FileType, Errno> {
        Ok(self.node(inode)?.kind())
    }

    /// Where a symbolic link leads.
    pub(crate) fn target(&self, inode: Inode) -> Option<&[u8]> {
        match &self.node(inode).ok()?.content {
            Content::Link(target) => Some(target),
            _ => None,
        }
    }

    /// Without the device.
    pub(crate) fn stat(&self, inode: Inode) -> Result<Stat, Errno> {
        let node = self.node(inode)?;
        let size = match &node.content {
            Content::Directory(names) => names.len() as u64,
            Content::File(bytes) => bytes.len() as u64,
            Content::Outside(_, length) => *length,
            Content::Link(target) => target.len() as u64,
        };
        Ok(Stat {
            device: 0,
            inode: inode as u64 + 1,
            kind: node.kind(),
            links: u64::from(node.links),
            size,
            accessed: node.accessed,
            modified: node.modified,
            changed: node.changed,
        })
    }

    /// The names in a directory, in order.
    pub(crate) fn list(&self, directory: Inode) -> Result<impl Iterator<Item = (&[u8], Inode)>, Errno> {
        Ok(self.names(directory)?.iter().map(|(name, inode)| (&**name, *inode)))
    }

    pub(crate) fn create_file(
        &mut self,
        directory: Inode,
        name: &[u8],
        content: Vec<u8>,
    ) -> Result<Inode, Errno> {
        self.add(directory, name, Content::File(content))
    }

    pub(crate) fn create_directory(&mut self, directory: Inode, name: &[u8]) -> Result<Inode, Errno> {
        self.add(directory, name, Content::Directory(BTreeMap::new()))
    }

    pub(crate) fn create_link(&mut self, directory: Inode, name: &[u8], target: &[u8]) -> Result<(), Errno> {
        self.add(directory, name, Content::Link(target.into())).map(drop)
    }

    /// Gives a file another name.
    pub(crate) fn link(&mut self, inode: Inode, directory: Inode, name: &[u8]) -> Result<(), Errno> {
        if self.kind(inode)? == FileType::Directory {
            return Err(Errno::PERM);
        }
        if self.lookup(directory, name)?.is_some() {
            return Err(Errno::EXIST);
        }
        self.insert(directory, name, inode)?;
        let node = self.node_mut(inode)?;
        node.links += 1;
        node.changed = now();
        Ok(())
    }

    /// Takes a name from what is no directory.
    pub(crate) fn unlink(&mut self, directory: Inode, name: &[u8]) -> Result<(), Errno> {
        let inode = self.lookup(directory, name)?.ok_or(Errno::NOENT)?;
        if self.kind(inode)? == FileType::Directory {
            return Err(Errno::ISDIR);
        }
        self.take(directory, name)
    }

    pub(crate) fn remove_directory(&mut self, directory: Inode, name: &[u8]) -> Result<(), Errno> {
        let inode = self.lookup(directory, name)?.ok_or(Errno::NOENT)?;
        if !self.names(inode)?.is_empty() {
            return Err(Errno::NOTEMPTY);
        }
        self.take(directory, name)
    }

    /// Moves what has one name to another, in the place of what has that.
    pub(crate) fn rename(
        &mut self,
        (from, old): (Inode, &[u8]),
        (to, new): (Inode, &[u8]),
    ) -> Result<(), Errno> {
        let inode = self.lookup(from, old)?.ok_or(Errno::NOENT)?;
        let is_directory = self.kind(inode)? == FileType::Directory;
        let replaced = self.lookup(to, new)?;
        if replaced == Some(inode) {
            return Ok(());
        }
        if self.node(to)?.links == 0 {
            return Err(Errno::NOENT);
        }
        if is_directory && self.is_within(to, inode)? {
            return Err(Errno::INVAL);
        }
        if let Some(replaced) = replaced {
            if self.is_within(from, replaced)? {
                return Err(Errno::NOTEMPTY);
            }
            match (is_directory, &self.node(replaced)?.content) {
                (true, Content::Directory(names)) if !names.is_empty() => return Err(Errno::NOTEMPTY),
                (true, Content::Directory(_)) => (),
                (true, _) => return Err(Errno::NOTDIR),
                (false, Content::Directory(_)) => return Err(Errno::ISDIR),
                (false, _) => (),
            }
        } else {
            // Only a longer name needs more room.
            let more = (new.len() as u64).saturating_sub(old.len() as u64);
            self.reserve(more)?;
            self.used -= more;
        }
        if replaced.is_some() {
            self.take(to, new)?;
        }
        self.names_mut(from)?.remove(old);
        self.names_mut(to)?.insert(new.into(), inode);
        self.used = (self.used + new.len() as u64).saturating_sub(old.len() as u64);
        let now = now();
        for changed in [from, to] {
            self.node_mut(changed)?.modified = now;
        }
        let node = self.node_mut(inode)?;
        node.changed = now;
        if is_directory {
            node.parent = to;
        }
        Ok(())
    }

    /// The path on the host of a file whose content is there.
    pub(crate) fn outside(&self, inode: Inode) -> Result<Option<&Path>, Errno> {
        Ok(match &self.node(inode)?.content {
            Content::Outside(path, _) => Some(path),
            _ => None,
        })
    }

    /// Copies what there is from `offset` on.
    pub(crate) fn read(&self, inode: Inode, offset: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        let Content::File(bytes) = &self.node(inode)?.content else { return Err(Errno::INVAL) };
        let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    /// Writes as much as there is room for, which is at least a byte. What is between the end and `offset` becomes zeros.
    pub(crate) fn write(&mut self, inode: Inode, offset: u64, data: &[u8]) -> Result<usize, Errno> {
        if data.is_empty() {
            return Ok(0);
        }
        let end = offset.checked_add(data.len() as u64).filter(|end| *end <= LONGEST).ok_or(Errno::FBIG)?;
        let length = self.file(inode)?.len() as u64;
        let room = self.limit.saturating_sub(self.used);
        let end = end.min(length.saturating_add(room).max(length));
        if end <= offset {
            return Err(Errno::NOSPC);
        }
        if end > length {
            self.resize(inode, end)?;
        }
        let (start, end) = (offset as usize, end as usize);
        let data = &data[..end - start];
        self.file(inode)?[start..end].copy_from_slice(data);
        let node = self.node_mut(inode)?;
        node.modified = now();
        node.changed = node.modified;
        Ok(data.len())
    }

    pub(crate) fn resize(&mut self, inode: Inode, size: u64) -> Result<(), Errno> {
        if size > LONGEST {
            return Err(Errno::FBIG);
        }
        let length = self.file(inode)?.len() as u64;
        if size > length {
            self.reserve(size - length)?;
        } else {
            self.used -= length - size;
        }
        let (size, bytes) = (size as usize, self.file(inode)?);
        if size > bytes.capacity() {
            let wanted = size.max(bytes.capacity() + bytes.capacity().min(GROWTH));
            bytes.reserve_exact(wanted - bytes.len());
        }
        bytes.resize(size, 0);
        if size < bytes.capacity() / 2 {
            bytes.shrink_to_fit();
        }
        let node = self.node_mut(inode)?;
        node.modified = now();
        node.changed = node.modified;
        Ok(())
    }

    pub(crate) fn set_times(&mut self, inode: Inode, times: Times) -> Result<(), Errno> {
        let node = self.node_mut(inode)?;
        node.accessed = times.accessed.unwrap_or(node.accessed);
        node.modified = times.modified.unwrap_or(node.modified);
        node.changed = now();
        Ok(())
    }

    /// Has something stay until it is closed as often as it was opened, whether it has a name or not.
    pub(crate) fn open(&mut self, inode: Inode) -> Result<(), Errno> {
        self.node_mut(inode)?.opened += 1;
        Ok(())
    }

    pub(crate) fn close(&mut self, inode: Inode) {
        if let Ok(node) = self.node_mut(inode) {
            node.opened = node.opened.saturating_sub(1);
            self.forget_unused(inode);
        }
    }

    /// How many bytes all of it counts for.
    #[cfg(test)]
    pub(crate) fn used(&self) -> u64 {
        self.used
    }

    fn node(&self, inode: Inode) -> Result<&Node, Errno> {
        self.nodes.get(inode).and_then(Option::as_ref).ok_or(Errno::STALE)
    }

    fn node_mut(&mut self, inode: Inode) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(inode).and_then(Option::as_mut).ok_or(Errno::STALE)
    }

    fn names(&self, directory: Inode) -> Result<&BTreeMap<Box<[u8]>, Inode>, Errno> {
        match &self.node(directory)?.content {
            Content::Directory(names) => Ok(names),
            _ => Err(Errno::NOTDIR),
        }
    }

    fn names_mut(&mut self, directory: Inode) -> Result<&mut BTreeMap<Box<[u8]>, Inode>, Errno> {
        match &mut self.node_mut(directory)?.content {
            Content::Directory(names) => Ok(names),
            _ => Err(Errno::NOTDIR),
        }
    }

    fn file(&mut self, inode: Inode) -> Result<&mut Vec<u8>, Errno> {
        match &mut self.node_mut(inode)?.content {
            Content::File(bytes) => Ok(bytes),
            _ => Err(Errno::INVAL),
        }
    }

    fn reserve(&mut self, bytes: u64) -> Result<(), Errno> {
        let used = self.used.checked_add(bytes).filter(|used| *used <= self.limit).ok_or(Errno::NOSPC)?;
        self.used = used;
        Ok(())
    }

    fn add(&mut self, directory: Inode, name: &[u8], content: Content) -> Result<Inode, Errno> {
        if self.lookup(directory, name)?.is_some() {
            return Err(Errno::EXIST);
        }
        let node = Node::new(content, directory);
        let bytes = node.bytes();
        self.reserve(bytes)?;
        let inode = self.free.pop().unwrap_or(self.nodes.len());
        if let Err(error) = self.insert(directory, name, inode) {
            self.used -= bytes;
            if inode < self.nodes.len() {
                self.free.push(inode);
            }
            return Err(error);
        }
        match self.nodes.get_mut(inode) {
            Some(place) => *place = Some(node),
            None => self.nodes.push(Some(node)),
        }
        Ok(inode)
    }

    /// Enters a name that is not there.
    fn insert(&mut self, directory: Inode, name: &[u8], inode: Inode) -> Result<(), Errno> {
        if self.node(directory)?.links == 0 {
            // It was removed, and is only still open.
            return Err(Errno::NOENT);
        }
        self.reserve(NAME_BYTES + name.len() as u64)?;
        self.names_mut(directory)?.insert(name.into(), inode);
        let node = self.node_mut(directory)?;
        node.modified = now();
        node.changed = node.modified;
        Ok(())
    }

    /// Removes a name that is there, and what has no other.
    fn take(&mut self, directory: Inode, name: &[u8]) -> Result<(), Errno> {
        let inode = self.names_mut(directory)?.remove(name).ok_or(Errno::NOENT)?;
        self.used -= NAME_BYTES + name.len() as u64;
        let now = now();
        let node = self.node_mut(directory)?;
        (node.modified, node.changed) = (now, now);
        let node = self.node_mut(inode)?;
        node.links = node.links.saturating_sub(1);
        node.changed = now;
        self.forget_unused(inode);
        Ok(())
    }

    fn forget_unused(&mut self, inode: Inode) {
        if let Ok(node) = self.node(inode)
            && node.links == 0
            && node.opened == 0
        {
            self.used -= node.bytes();
            self.nodes[inode] = None;
            self.free.push(inode);
        }
    }

    /// Whether a directory is another one or somewhere in it.
    fn is_within(&self, mut directory: Inode, other: Inode) -> Result<bool, Errno> {
        loop {
            if directory == other {
                return Ok(true);
            }
            if directory == TOP {
                return Ok(false);
            }
            directory = self.parent(directory)?;
        }
    }
}

impl Node {
    fn new(content: Content, parent: Inode) -> Self {
        let now = now();
        Self { content, links: 1, opened: 0, parent, accessed: now, modified: now, changed: now }
    }

    fn kind(&self) -> FileType {
        match &self.content {
            Content::Directory(_) => FileType::Directory,
            Content::File(_) | Content::Outside(..) => FileType::RegularFile,
            Content::Link(_) => FileType::SymbolicLink,
        }
    }

    /// What it counts for, without its names.
    fn bytes(&self) -> u64 {
        NODE_BYTES
            + match &self.content {
                Content::Directory(_) | Content::Outside(..) => 0,
                Content::File(bytes) => bytes.len() as u64,
                Content::Link(target) => target.len() as u64,
            }
    }
}

impl From<Errno> for io::Error {
    fn from(error: Errno) -> Self {
        Self::other(format!("error {} of WASI", error.number()))
    }
}

/// Nanoseconds since 1970; 0 for what was before.
pub(crate) fn nanoseconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

pub(crate) fn now() -> u64 {
    nanoseconds(SystemTime::now())
}
