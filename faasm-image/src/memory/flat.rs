//! The whole content of a memory, as a file that is mapped.
//!
//! The file is the flat content and nothing else; its length is the size of the memory. Pages of zeros are holes, so that they take
//! no room.

use std::{fs::File, io, os::unix::fs::FileExt as _, path::Path, sync::OnceLock};

use super::{Holes, PAGE, mapping::Content};
use crate::{Error, Result, engine::RESERVATION};

/// A file with the content of a memory.
pub(crate) struct Flat {
    file: File,
    size: usize,
    holes: Holes,
    /// The file, mapped, from the first time on that somebody wants it.
    content: OnceLock<Option<Content>>,
}

impl Flat {
    /// See [`MemoryImage::from_file`](super::MemoryImage::from_file).
    pub(super) fn from_file(path: &Path) -> Result<Flat> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        let size = file.metadata().map_err(Error::io("read", path))?.len();
        let size = check_size(size)?;
        Flat::new(file, size).map_err(Error::io("read", path))
    }

    /// Holds these bytes in memory.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Flat> {
        let size = check_size(bytes.len() as u64)?;
        let hold = || {
            let file = anonymous_file()?;
            copy_sparse(size, &file, |at, block| {
                block.copy_from_slice(&bytes[at..at + block.len()]);
                Ok(())
            })?;
            seal(&file)?;
            Flat::new(file, size)
        };
        hold().map_err(Error::Memory)
    }

    fn new(file: File, size: usize) -> io::Result<Flat> {
        Ok(Flat { holes: Holes::of(&file, size)?, file, size, content: OnceLock::new() })
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    pub(super) fn holes(&self) -> &Holes {
        &self.holes
    }

    /// Copies from `at` on what this is the content of. Behind its end a memory is zero. Pages that have their content are only read,
    /// which is faster: of those that a guest has written to most have got the same bytes again.
    ///
    /// `None` if the file cannot be mapped.
    pub(super) fn copy(&self, at: usize, target: &mut [u8]) -> Option<()> {
        let content = self.content()?;
        let end = at.saturating_add(target.len());
        for (part, is_hole) in self.holes.split(at..end.min(self.size)) {
            let places = target.get_mut(part.start - at..part.end - at)?.chunks_mut(BLOCK);
            if is_hole {
                places.filter(|place| **place != ZEROS[..place.len()]).for_each(|place| place.fill(0));
            } else {
                let contents = content.get(part)?.chunks(BLOCK);
                let changed = places.zip(contents).filter(|(place, content)| place != content);
                changed.for_each(|(place, content)| place.copy_from_slice(content));
            }
        }
        let rest = self.size.saturating_sub(at);
        target.get_mut(rest..).unwrap_or_default().fill(0);
        Some(())
    }

    /// The content, or `None` if it cannot be mapped. Not to be read in holes, because that may take memory.
    fn content(&self) -> Option<&[u8]> {
        let content = self.content.get_or_init(|| Content::new(&self.file, self.size).ok());
        content.as_ref().map(Content::bytes)
    }
}

/// The size of memory pages on most machines.
const BLOCK: usize = 4096;
static ZEROS: [u8; BLOCK] = [0; BLOCK];

/// A size that memories can have.
pub(super) fn check_size(size: u64) -> Result<usize> {
    match usize::try_from(size) {
        Ok(bytes) if bytes > 0 && bytes <= RESERVATION && bytes.is_multiple_of(PAGE) => Ok(bytes),
        _ => Err(Error::MemorySize { size }),
    }
}

/// Fills `to` with `size` bytes that `read` delivers in pieces, leaving holes for zeros.
pub(crate) fn copy_sparse(
    size: usize,
    to: &File,
    mut read: impl FnMut(usize, &mut [u8]) -> io::Result<()>,
) -> io::Result<()> {
    // Larger blocks would hide most of the zeros.
    let mut piece = vec![0; 16 * PAGE];
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
pub(super) fn anonymous_file() -> io::Result<File> {
    use rustix::fs::{MemfdFlags, memfd_create};
    Ok(File::from(memfd_create("faasm-image", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn anonymous_file() -> io::Result<File> {
    tempfile::tempfile()
}

/// Has the kernel refuse every later change of the file, so that no mistake in this process can change what all
/// guests start from. Private mappings may still be written to.
#[cfg(target_os = "linux")]
pub(super) fn seal(file: &File) -> io::Result<()> {
    use rustix::fs::{SealFlags, fcntl_add_seals};
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
    Ok(fcntl_add_seals(file, seals)?)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn seal(_file: &File) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn what_is_held_in_memory_cannot_be_changed() {
        let flat = Flat::from_bytes(&[0; PAGE]).unwrap();
        flat.file.write_all_at(&[1], 0).unwrap_err();
        flat.file.set_len(0).unwrap_err();
    }

    #[test]
    fn any_part_can_be_copied() {
        // With a hole in the middle, and one at the end.
        let mut bytes = vec![0; 80 * PAGE];
        bytes[..3 * PAGE].fill(1);
        bytes[40 * PAGE..41 * PAGE].fill(2);
        let flat = Flat::from_bytes(&bytes).unwrap();
        bytes.resize(90 * PAGE, 0);
        for (at, len) in [(0, 90), (1, 3), (2, 70), (39, 3), (41, 9), (79, 2), (80, 1), (85, 5), (5, 0)] {
            let mut target = vec![9; len * PAGE];
            flat.copy(at * PAGE, &mut target).unwrap();
            assert!(target == bytes[at * PAGE..][..len * PAGE], "{at} {len}");
        }
    }
}
