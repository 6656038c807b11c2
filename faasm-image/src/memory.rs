//! Memory images: the content of a guest's linear memory, ready to be mapped copy-on-write.
//!
//! As a file, an image is the flat content of the memory and nothing else; the length of the file is the size of the
//! memory. Pages of zeros are holes, so that they take no room on disk.

mod creator;
mod dirty;
mod holes;
mod mapping;

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::Path,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

pub(crate) use creator::{Creator, with_memory};
pub(crate) use dirty::Copies;
use holes::Holes;
pub(crate) use mapping::Mapping;

use crate::{Error, Result, engine::RESERVATION, file};

/// The size of a WebAssembly page, the unit of memory sizes, in bytes.
pub(crate) const PAGE: usize = 64 << 10;

/// The content of a guest's memory at rest, from which any number of sandboxes start at once. Clones share it.
///
/// Sandboxes map it copy-on-write, so that they share the pages they don't write to.
#[derive(Clone)]
pub struct MemoryImage(Arc<Inner>);

struct Inner {
    file: File,
    size: usize,
    holes: Holes,
    /// The file, mapped, from the first time on that somebody wants it.
    content: OnceLock<Option<mapping::Content>>,
}

impl std::fmt::Debug for MemoryImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryImage").field("size", &self.0.size).finish_non_exhaustive()
    }
}

/// Tells one image from another, also after it is gone.
pub(crate) struct ImageId(Weak<Inner>);

impl ImageId {
    pub(crate) fn is(&self, image: &MemoryImage) -> bool {
        std::ptr::eq(self.0.as_ptr(), Arc::as_ptr(&image.0))
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }
}

/// How many images were dropped so far in this process.
pub(crate) fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

static DROPPED: AtomicU64 = AtomicU64::new(0);

impl Drop for Inner {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

impl MemoryImage {
    /// Opens an image file. Its pages are read when a guest first touches them and stay shared with every other
    /// process which uses the same file.
    ///
    /// The file must not be changed or cut short in place as long as the image is used: the content of guests would
    /// change, and touching a page that is gone ends the process. To replace an image file, rename another over it.
    pub fn from_file(path: &Path) -> Result<MemoryImage> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        let size = file.metadata().map_err(Error::io("read", path))?.len();
        let holes = Holes::of(&file, check_size(size)?).map_err(Error::io("read", path))?;
        MemoryImage::new(file, size, holes)
    }

    /// An image of these bytes, held in memory.
    pub fn from_bytes(bytes: &[u8]) -> Result<MemoryImage> {
        check_size(bytes.len() as u64)?;
        let hold = || {
            let file = anonymous_file()?;
            copy_sparse(bytes.len(), &file, |at, block| {
                block.copy_from_slice(&bytes[at..at + block.len()]);
                Ok(())
            })?;
            seal(&file)?;
            Ok(file)
        };
        let file = hold().map_err(Error::Memory)?;
        let holes = Holes::of(&file, bytes.len()).map_err(Error::Memory)?;
        MemoryImage::new(file, bytes.len() as u64, holes)
    }

    /// Writes the image to a file, whole or not at all.
    pub fn save(&self, path: &Path) -> Result<()> {
        file::write_atomically(path, |to| {
            copy_sparse(self.size(), to, |at, block| self.0.file.read_exact_at(block, at as u64))
        })
    }

    /// The size of a memory with this content, in bytes.
    pub fn size(&self) -> usize {
        self.0.size
    }

    pub(crate) fn id(&self) -> ImageId {
        ImageId(Arc::downgrade(&self.0))
    }

    fn file(&self) -> &File {
        &self.0.file
    }

    /// The content, or `None` if it cannot be mapped. Not to be read in holes, because that may take memory.
    fn content(&self) -> Option<&[u8]> {
        let content = self.0.content.get_or_init(|| mapping::Content::new(&self.0.file, self.0.size).ok());
        content.as_ref().map(mapping::Content::bytes)
    }

    fn holes(&self) -> &Holes {
        &self.0.holes
    }

    fn new(file: File, size: u64, holes: Holes) -> Result<MemoryImage> {
        let size = check_size(size)?;
        Ok(MemoryImage(Arc::new(Inner { file, size, holes, content: OnceLock::new() })))
    }
}

fn check_size(size: u64) -> Result<usize> {
    match usize::try_from(size) {
        Ok(bytes) if bytes > 0 && bytes <= RESERVATION && bytes.is_multiple_of(PAGE) => Ok(bytes),
        _ => Err(Error::MemorySize { size }),
    }
}

/// Fills `to` with `size` bytes that `read` delivers in pieces, leaving holes for zeros.
fn copy_sparse(
    size: usize,
    to: &File,
    mut read: impl FnMut(usize, &mut [u8]) -> io::Result<()>,
) -> io::Result<()> {
    // The size of memory pages on most machines; larger blocks would hide most of the zeros.
    const BLOCK: usize = 4096;
    const ZEROS: [u8; BLOCK] = [0; BLOCK];
    let mut piece = vec![0; (16 * PAGE).min(size)];
    to.set_len(size as u64)?;
    for start in (0..size).step_by(piece.len()) {
        let piece = &mut piece[..(size - start).min(16 * PAGE)];
        read(start, piece)?;
        let mut at = start;
        // One write for each run of blocks that are not zero.
        let is_zero = |block: &[u8]| *block == ZEROS;
        let blocks: Vec<_> = piece.chunks_exact(BLOCK).map(is_zero).collect();
        for run in blocks.chunk_by(|left, right| left == right) {
            let len = run.len() * BLOCK;
            if !run[0] {
                to.write_all_at(&piece[at - start..at - start + len], at as u64)?;
            }
            at += len;
        }
    }
    Ok(())
}

#[cfg(target_os = "linux")]
fn anonymous_file() -> io::Result<File> {
    use rustix::fs::{MemfdFlags, memfd_create};
    Ok(File::from(memfd_create("faasm-image", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?))
}

#[cfg(not(target_os = "linux"))]
fn anonymous_file() -> io::Result<File> {
    tempfile::tempfile()
}

/// Has the kernel refuse every later change of the file, so that no mistake in this process can change what all
/// guests start from. Private mappings may still be written to.
#[cfg(target_os = "linux")]
fn seal(file: &File) -> io::Result<()> {
    use rustix::fs::{SealFlags, fcntl_add_seals};
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
    Ok(fcntl_add_seals(file, seals)?)
}

#[cfg(not(target_os = "linux"))]
fn seal(_file: &File) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::MetadataExt as _};

    use super::*;

    #[test]
    fn saved_images_keep_content_and_size_and_leave_holes() {
        let mut bytes = vec![0; 40 * PAGE];
        bytes[PAGE + 1] = 1;
        bytes[7 * PAGE - 1] = 2;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("memory");
        MemoryImage::from_bytes(&bytes).unwrap().save(&path).unwrap();

        assert!(fs::read(&path).unwrap() == bytes);
        assert!(fs::metadata(&path).unwrap().blocks() * 512 < (4 * PAGE) as u64);
        assert_eq!(MemoryImage::from_file(&path).unwrap().size(), bytes.len());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "a temporary file was left behind");
    }

    #[test]
    fn sizes_that_no_memory_has_are_refused() {
        for size in [0, 1, PAGE - 1, PAGE + 1] {
            let error = MemoryImage::from_bytes(&vec![0; size]).unwrap_err();
            assert!(matches!(error, Error::MemorySize { .. }), "{size}: {error}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn images_in_memory_cannot_be_changed() {
        let image = MemoryImage::from_bytes(&[0; PAGE]).unwrap();
        image.0.file.write_all_at(&[1], 0).unwrap_err();
        image.0.file.set_len(0).unwrap_err();
    }
}
