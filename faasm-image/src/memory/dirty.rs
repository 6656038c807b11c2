//! Finds the pages of a private mapping that were written to, and gives them their content back.
//!
//! Dropping all private pages (`MADV_DONTNEED`) is one system call, but then the next guest faults once more for every page it
//! writes to, which takes longer than most calls. Linux 6.7 can list the pages (`PAGEMAP_SCAN`, see `linux/fs.h` and
//! <https://docs.kernel.org/admin-guide/mm/pagemap.html>); they are copied back and stay private, ready to be written to again.
#![expect(unsafe_code, reason = "rustix has no function for this ioctl")]

use std::{io, ops::Range};

use super::MemoryImage;
use crate::{
    engine::{GUEST_STACK, HOST_STACK},
    thread::{ThreadNumber, this_thread},
};

/// The most bytes that are copied back. A guest that wrote to more keeps memory which others could use.
const MOST: usize = 8 << 20;

/// How many bytes of private copies are not worth looking for some that are not needed.
const MORE: usize = 64 << 10;

/// Which pages of a mapping are private copies, as far as is known, and when that was.
#[derive(Default)]
pub(crate) struct Copies {
    /// As offsets.
    ranges: Vec<Range<usize>>,
    /// Whether those are all, but for what the guest has written to since it began.
    known: bool,
    faults: Option<Faults>,
    /// The faults when nothing wrote to the memory any more.
    faults_at_end: Option<Faults>,
    switches: Option<i64>,
    /// The faults when the thread began that writes to it now.
    turn: Option<Faults>,
    /// How many bytes they are.
    bytes: usize,
    /// How often they were restored since they became many more.
    restored: u32,
    /// How many faults threads have had while they wrote to it, ever since it was new. At most, where it is not known.
    faulted: usize,
}

/// How many page faults the current thread has had.
///
/// A page only becomes a private copy in the fault of a thread that writes to it. So when only one thread wrote to the memory, and
/// that had no fault meanwhile, then there are no more copies than before.
type Faults = (ThreadNumber, i64, i64);

impl Copies {
    /// To be called before anything writes to the memory.
    pub(crate) fn begin(&mut self) {
        (self.faults, self.switches) = counts().unzip();
        self.faults_at_end = None;
        self.turn = self.faults;
    }

    /// To be called when nothing writes to the memory any more.
    pub(crate) fn end(&mut self) {
        (self.faults_at_end, self.switches) = counts().unzip();
        self.end_turn(self.faults_at_end);
    }

    /// How often another thread had run in the place of this one when the memory began to be written to, or ended.
    pub(crate) fn switches(&self) -> Option<i64> {
        self.switches
    }

    /// To be called before this thread writes to the memory.
    pub(crate) fn write(&mut self) {
        let this = this_thread();
        let is_other = |(thread, ..): Faults| thread != this;
        if self.faults.is_some_and(is_other) {
            self.faults = None;
        }
        if self.turn.is_none_or(is_other) {
            self.end_turn(None);
            self.turn = counts().unzip().0;
        }
    }

    /// This thread writes to the memory no more, and another one may go on.
    pub(crate) fn pause(&mut self) {
        self.faults = None;
        self.end_turn(counts().unzip().0);
    }

    /// Another thread than the one that began may have written to the memory.
    pub(crate) fn written_elsewhere(&mut self) {
        self.faults = None;
    }

    /// The most bytes that the native stack of those who wrote to the memory can take, if they all had the same one: not more pages than
    /// there were faults. Nothing says which of the faults were of the stack.
    pub(crate) fn most_stack(&self) -> usize {
        self.faulted.saturating_mul(super::page_size()).min(GUEST_STACK + HOST_STACK)
    }

    fn end_turn(&mut self, now: Option<Faults>) {
        let Some((thread, minor, major)) = self.turn.take() else { return };
        let new = now.filter(|(now, ..)| *now == thread).and_then(|(_, now_minor, now_major)| {
            usize::try_from(now_minor - minor + now_major - major).ok()
        });
        self.faulted = self.faulted.saturating_add(new.unwrap_or(usize::MAX));
    }

    /// Someone else than a guest has changed what is mapped.
    pub(crate) fn forget(&mut self) {
        self.known = false;
    }

    /// Restores `memory`, a private mapping of an image, to which nothing writes any more. Answers how many bytes were copied, all of
    /// which are still private; `None` if the pages cannot be listed, or are so many that dropping them is better.
    ///
    /// `drop_pages` gives pages the image's content by sharing them again; without it they stay private. Pages that guests do not
    /// write to any more, of an import or a larger call, are thus not copied for ever.
    pub(super) fn restore(
        &mut self,
        memory: &mut [u8],
        image: &MemoryImage,
        drop_pages: Option<impl Fn(&mut [u8]) -> io::Result<()>>,
    ) -> Option<usize> {
        if !self.known || self.faults.is_none() || self.faults != self.faults_at_end.take() {
            self.known = false;
            self.ranges.clear();
            list(memory, MOST, &mut self.ranges)?;
            let bytes = self.ranges.iter().map(Range::len).sum();
            if bytes > 2 * self.bytes + MORE {
                self.restored = 0;
            }
            (self.known, self.bytes) = (true, bytes);
        }
        self.restored = self.restored.saturating_add(1);
        if let Some(drop_pages) = drop_pages
            && is_time_to_trim(self.restored)
        {
            return self.trim(memory, image, drop_pages);
        }
        for range in &self.ranges {
            image.copy(range.start, memory.get_mut(range.clone())?)?;
        }
        Some(self.bytes)
    }

    /// As `restore`, and has no copies of pages any more that were not written to since it was restored before.
    fn trim(
        &mut self,
        memory: &mut [u8],
        image: &MemoryImage,
        drop_pages: impl Fn(&mut [u8]) -> io::Result<()>,
    ) -> Option<usize> {
        self.known = false;
        let mut kept = Vec::new();
        let mut content = vec![0; super::page_size()];
        for range in std::mem::take(&mut self.ranges) {
            for start in range.step_by(content.len()) {
                let range = start..start + content.len();
                let page = memory.get_mut(range.clone())?;
                image.copy(start, &mut content)?;
                if *page != content {
                    page.copy_from_slice(&content);
                } else if drop_pages(page).is_ok() {
                    continue;
                }
                push(&mut kept, range);
            }
        }
        (self.ranges, self.known) = (kept, true);
        self.bytes = self.ranges.iter().map(Range::len).sum();
        Some(self.bytes)
    }
}

/// Whether pages that were restored so often are to be looked at. Those that hold what they should may still have been written to, as
/// counts of references are, and then the next guest has a fault for each; hence more and more seldom.
fn is_time_to_trim(restored: u32) -> bool {
    restored.is_power_of_two() && restored.trailing_zeros().is_multiple_of(2) && restored > 1
}

/// Appends a range to others, with the last of them if it follows that.
fn push(ranges: &mut Vec<Range<usize>>, range: Range<usize>) {
    match ranges.last_mut() {
        Some(last) if last.end == range.start => last.end = range.end,
        _ => ranges.push(range),
    }
}

/// The pages of `memory`, a private mapping of an image, that were written to; `None` if they cannot be listed.
pub(super) fn private_pages(memory: &[u8]) -> Option<Vec<Range<usize>>> {
    let mut ranges = Vec::new();
    list(memory, usize::MAX, &mut ranges).map(|()| ranges)
}

#[cfg(not(target_os = "linux"))]
fn counts() -> Option<(Faults, i64)> {
    None
}

#[cfg(not(target_os = "linux"))]
fn list(_memory: &[u8], _most: usize, _ranges: &mut Vec<Range<usize>>) -> Option<()> {
    None
}

#[cfg(target_os = "linux")]
use linux::{counts, list};

#[cfg(target_os = "linux")]
mod linux {
    use std::{ffi::c_void, fs::File, ops::Range, sync::OnceLock};

    use nix::sys::resource::{UsageWho, getrusage};
    use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, ioctl, opcode};

    use crate::thread::this_thread;

    /// `struct page_region`.
    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    struct Region {
        start: u64,
        end: u64,
        categories: u64,
    }

    /// `struct pm_scan_arg`.
    #[repr(C)]
    #[derive(Default)]
    struct Scan {
        size: u64,
        flags: u64,
        start: u64,
        end: u64,
        walk_end: u64,
        vec: u64,
        vec_len: u64,
        max_pages: u64,
        category_inverted: u64,
        category_mask: u64,
        category_anyof_mask: u64,
        return_mask: u64,
    }

    const PAGE_IS_FILE: u64 = 1 << 2;
    const PAGE_IS_PRESENT: u64 = 1 << 3;
    const PAGE_IS_SWAPPED: u64 = 1 << 4;
    const PAGE_IS_PFNZERO: u64 = 1 << 5;

    // SAFETY: The opcode is `PAGEMAP_SCAN`, which reads and writes a `struct pm_scan_arg` and through its `vec` at most `vec_len`
    // regions; `scan` has both point to what it borrows. The output is the number of regions filled in.
    unsafe impl Ioctl for &mut Scan {
        type Output = usize;
        const IS_MUTATING: bool = true;

        fn opcode(&self) -> Opcode {
            opcode::read_write::<Scan>(b'f', 16)
        }

        fn as_ptr(&mut self) -> *mut c_void {
            std::ptr::from_mut::<Scan>(self).cast()
        }

        unsafe fn output_from_ptr(out: IoctlOutput, _: *mut c_void) -> rustix::io::Result<usize> {
            usize::try_from(out).map_err(|_| rustix::io::Errno::RANGE)
        }
    }

    /// The regions of private copies between two addresses, and where the search ended.
    fn scan(start: u64, end: u64, regions: &mut [Region]) -> Option<(usize, u64)> {
        static PAGEMAP: OnceLock<Option<File>> = OnceLock::new();
        let pagemap = PAGEMAP.get_or_init(|| File::open("/proc/self/pagemap").ok()).as_ref()?;
        let mut scan = Scan {
            size: size_of::<Scan>() as u64,
            start,
            end,
            vec: regions.as_mut_ptr() as u64,
            vec_len: regions.len() as u64,
            // What is neither the file's page nor the page of zeros, and is anywhere at all.
            category_inverted: PAGE_IS_FILE | PAGE_IS_PFNZERO,
            category_mask: PAGE_IS_FILE | PAGE_IS_PFNZERO,
            category_anyof_mask: PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
            ..Scan::default()
        };
        // SAFETY: The argument and the regions are borrowed for the duration of the call, with their true lengths.
        let count = unsafe { ioctl(pagemap, &mut scan) }.ok()?;
        Some((count, scan.walk_end))
    }

    /// The page faults of this thread, and how often another one has run in its place.
    pub(super) fn counts() -> Option<(super::Faults, i64)> {
        let usage = getrusage(UsageWho::RUSAGE_THREAD).ok()?;
        let faults = (this_thread(), usage.minor_page_faults(), usage.major_page_faults());
        let switches = usage.voluntary_context_switches() + usage.involuntary_context_switches();
        Some((faults, switches))
    }

    /// Adds the ranges of private copies, unless they are more than `most` bytes.
    pub(super) fn list(memory: &[u8], most: usize, ranges: &mut Vec<Range<usize>>) -> Option<()> {
        let base = memory.as_ptr() as u64;
        let (mut at, end, mut bytes) = (base, base + memory.len() as u64, 0);
        let mut regions = [Region::default(); 128];
        while at < end {
            let (count, walked) = scan(at, end, &mut regions)?;
            for region in regions.get(..count)? {
                let range =
                    (region.start.checked_sub(base)?) as usize..(region.end.checked_sub(base)?) as usize;
                bytes += range.len();
                if bytes > most {
                    return None;
                }
                ranges.push(range);
            }
            // Without progress it would go on for ever.
            at = Some(walked).filter(|walked| *walked > at)?;
        }
        Some(())
    }
}
