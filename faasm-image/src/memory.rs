//! Memory images: the content of a guest's linear memory, ready to be mapped copy-on-write.

mod creator;
mod difference;
mod dirty;
mod flat;
mod holes;
mod mapping;
mod turns;

use std::{
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt as _,
    path::Path,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

pub(crate) use creator::{Creator, with_memory};
pub(crate) use difference::Difference;
pub(crate) use dirty::Copies;
use flat::Flat;
pub(crate) use flat::copy_sparse;
use holes::Holes;
pub(crate) use mapping::Mapping;
pub(crate) use turns::Stopped;

use crate::{Error, Result, file};

/// The size of a WebAssembly page, the unit of memory sizes, in bytes.
pub(crate) const PAGE: usize = 64 << 10;

/// The content of a guest's memory at rest, from which any number of sandboxes start at once. Clones share it.
///
/// Sandboxes map it copy-on-write, so that they share the pages they don't write to. The image of a guest that was started from another
/// image is kept as what differs from that, so it takes little memory.
#[derive(Clone)]
pub struct MemoryImage(Arc<Inner>);

struct Inner {
    base: Arc<Flat>,
    difference: Arc<Difference>,
    is_small_difference: bool,
    /// From the first time on that somebody wants them.
    own_pages: OnceLock<Option<OwnPages>>,
}

/// The pages of an image that differ from its base, to be mapped.
struct OwnPages {
    file: File,
    /// Where they belong, in the order in which they are in the file.
    runs: Vec<Range<usize>>,
}

impl std::fmt::Debug for MemoryImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryImage").field("size", &self.size()).finish_non_exhaustive()
    }
}

/// Tells one image from another, also after it is gone.
pub(crate) struct ImageId(Weak<Inner>, Weak<Flat>);

impl ImageId {
    pub(crate) fn is(&self, image: &MemoryImage) -> bool {
        std::ptr::eq(self.0.as_ptr(), Arc::as_ptr(&image.0))
    }

    /// Whether the two have the same base.
    pub(crate) fn is_related(&self, image: &MemoryImage) -> bool {
        std::ptr::eq(self.1.as_ptr(), Arc::as_ptr(&image.0.base))
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }

    /// Whether also nothing that is related to it is left.
    pub(crate) fn base_is_gone(&self) -> bool {
        self.1.strong_count() == 0
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
    /// Opens an image file: the flat content of the memory and nothing else. Its pages are read when a guest first touches them and stay
    /// shared with every other process which uses the same file.
    ///
    /// The file must not be changed or cut short in place as long as the image is used: the content of guests would
    /// change, and touching a page that is gone ends the process. To replace an image file, rename another over it.
    pub fn from_file(path: &Path) -> Result<MemoryImage> {
        Ok(MemoryImage::flat(Flat::from_file(path)?))
    }

    /// An image of these bytes, held in memory.
    pub fn from_bytes(bytes: &[u8]) -> Result<MemoryImage> {
        Ok(MemoryImage::flat(Flat::from_bytes(bytes)?))
    }

    /// Writes the image to a file, whole or not at all.
    pub fn save(&self, path: &Path) -> Result<()> {
        file::write_atomically(path, |to| {
            copy_sparse(self.size(), to, |at, block| self.copy(at, block).ok_or_else(unmappable))
        })
    }

    /// Writes what differs from the image that its guest was started from to a file, whole or not at all, to be
    /// [read again](MemoryImage::from_difference) by the same `key`.
    pub fn save_difference(&self, path: &Path, key: &[u8; 32]) -> Result<()> {
        self.0.difference.save(path, key)
    }

    /// Reads an image that differs from this one. Fails if the file was written with another key, or is damaged. The key has to name
    /// whatever the image was made of, this one included.
    pub fn from_difference(&self, path: &Path, key: &[u8; 32]) -> Result<MemoryImage> {
        Ok(MemoryImage::new(Arc::clone(&self.0.base), Difference::open(path, key)?))
    }

    /// The size of a memory with this content, in bytes.
    pub fn size(&self) -> usize {
        self.0.difference.size()
    }

    /// The image of a memory that was this one and has been written to since.
    pub(crate) fn after(&self, memory: &[u8]) -> Result<MemoryImage> {
        let mut ranges: Vec<_> = self.0.difference.pages(page_size(), 0).collect();
        let all = 0..memory.len();
        ranges.extend(dirty::private_pages(memory).unwrap_or_else(|| Vec::from([all])));
        ranges.sort_by_key(|range| range.start);
        ranges.dedup_by(|next, range| {
            let joins = next.start <= range.end;
            if joins {
                range.end = range.end.max(next.end);
            }
            joins
        });
        let difference = Difference::between(&self.0.base, memory, &ranges);
        let difference = difference.ok_or_else(|| Error::Memory(unmappable()))?;
        Ok(MemoryImage::new(Arc::clone(&self.0.base), difference))
    }

    pub(crate) fn id(&self) -> ImageId {
        ImageId(Arc::downgrade(&self.0), Arc::downgrade(&self.0.base))
    }

    pub(crate) fn difference(&self) -> &Arc<Difference> {
        &self.0.difference
    }

    /// Whether its pages were mapped for a sandbox before.
    pub(crate) fn is_mapped(&self) -> bool {
        self.0.own_pages.get().is_some()
    }

    /// Whether sandboxes with it can become such with another image of the same base, and the other way round, by writing what differs.
    pub(crate) fn is_small_difference(&self) -> bool {
        self.0.is_small_difference
    }

    /// About how many mappings a sandbox takes for which its pages are mapped.
    pub(crate) fn mappings(&self) -> usize {
        let runs = self.0.own_pages.get().and_then(Option::as_ref).map_or(0, |own| own.runs.len());
        8 + 2 * runs
    }

    /// Copies the content from `at` on, in whole pages. `None` if the base cannot be mapped.
    fn copy(&self, at: usize, target: &mut [u8]) -> Option<()> {
        self.0.base.copy(at, target)?;
        self.0.difference.write(at, target);
        Some(())
    }

    fn base(&self) -> &Flat {
        &self.0.base
    }

    /// The pages that differ from the base, with some that do not, because each run of pages makes for two mappings.
    fn own_pages(&self) -> Option<&OwnPages> {
        const GAP: usize = 16 << 10;
        let make = || {
            let runs: Vec<_> = self.0.difference.pages(page_size(), GAP).collect();
            let file = flat::anonymous_file()?;
            let mut at = 0;
            for run in &runs {
                let mut content = vec![0; run.len()];
                self.copy(run.start, &mut content).ok_or_else(unmappable)?;
                file.write_all_at(&content, at)?;
                at += run.len() as u64;
            }
            flat::seal(&file)?;
            Ok::<_, io::Error>(OwnPages { file, runs })
        };
        self.0.own_pages.get_or_init(|| make().ok()).as_ref()
    }

    fn flat(base: Flat) -> MemoryImage {
        let difference = Difference::none(base.size());
        MemoryImage::new(Arc::new(base), difference)
    }

    fn new(base: Arc<Flat>, difference: Difference) -> MemoryImage {
        // More takes longer to write than to map.
        const MOST: usize = 1 << 20;
        let pages = difference.pages(page_size(), 0).map(|pages| pages.len()).sum::<usize>();
        let is_small_difference = difference.size() == base.size() && pages <= MOST;
        let (difference, own_pages) = (Arc::new(difference), OnceLock::new());
        MemoryImage(Arc::new(Inner { base, difference, is_small_difference, own_pages }))
    }
}

/// The size of the system's pages, in bytes.
fn page_size() -> usize {
    rustix::param::page_size()
}

fn unmappable() -> io::Error {
    io::Error::other("the image cannot be mapped")
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
    fn images_of_images_are_what_they_would_be_as_a_whole() {
        let mut bytes = vec![0; 40 * PAGE];
        bytes[..2 * PAGE].fill(7);
        let first = MemoryImage::from_bytes(&bytes).unwrap();
        bytes[100] = 8;
        let second = first.after(&bytes).unwrap();
        bytes[100] = 7;
        bytes[5 * PAGE] = 9;
        bytes.resize(41 * PAGE, 0);
        let third = second.after(&bytes).unwrap();
        assert_eq!((second.size(), third.size()), (40 * PAGE, 41 * PAGE));
        assert!(third.difference().pages(4096, 0).eq(std::iter::once(5 * PAGE..5 * PAGE + 4096)));

        let dir = tempfile::tempdir().unwrap();
        let (flat, difference) = (dir.path().join("flat"), dir.path().join("difference"));
        third.save(&flat).unwrap();
        assert!(fs::read(&flat).unwrap() == bytes);
        third.save_difference(&difference, &[1; 32]).unwrap();
        let again = first.from_difference(&difference, &[1; 32]).unwrap();
        again.save(&flat).unwrap();
        assert!(fs::read(&flat).unwrap() == bytes);
    }
}
