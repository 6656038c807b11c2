//! The memory of one guest: an image, mapped copy-on-write into address space of its own.
#![expect(unsafe_code, reason = "memory is mapped and protected by hand")]

use std::{
    ffi::c_void,
    fs::File,
    io,
    ops::Range,
    ptr::{self, NonNull},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
};

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap, mmap_anonymous, mprotect, munmap};

use super::{
    Copies, Difference, MemoryImage, page_size,
    turns::{Stopped, Turns},
};
use crate::engine::{GUARD, RESERVATION};

/// Address space with an image at its start: an inaccessible guard, the image, inaccessible memory, and another guard.
pub(crate) struct Mapping {
    /// The first byte after the guard.
    base: NonNull<c_void>,
    image_size: usize,
    /// Bytes from the base that can be read and written; from the image's end to here, and in its holes, they are anonymous memory.
    accessible: AtomicUsize,
    /// The size it may grow to, in bytes.
    limit: AtomicUsize,
    limit_hit: AtomicBool,
    interrupted: AtomicBool,
    turns: Turns,
}

// SAFETY: A mapping belongs to the process, not to a thread, and `Mapping` owns it alone.
unsafe impl Send for Mapping {}
// SAFETY: What can be done through a shared reference is done by system calls and atomics, and changes no byte that Rust
// code may hold a reference to; `interrupt` says why for itself, and `reset` takes such a reference.
unsafe impl Sync for Mapping {}

const WHOLE: usize = GUARD + RESERVATION + GUARD;

impl Mapping {
    /// Maps the base of an image for a guest that may grow to `limit` bytes.
    pub(crate) fn new(image: &MemoryImage, limit: usize) -> io::Result<Arc<Mapping>> {
        // SAFETY: New address space, chosen by the kernel, takes nothing from anyone.
        let start = unsafe {
            let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
            mmap_anonymous(ptr::null_mut(), WHOLE, ProtFlags::empty(), flags)?
        };
        let base = NonNull::new(start.wrapping_byte_add(GUARD)).ok_or(io::ErrorKind::AddrNotAvailable)?;
        // From here on, dropping it unmaps.
        let mapping = Mapping {
            base,
            image_size: image.size(),
            accessible: AtomicUsize::new(image.size()),
            limit: AtomicUsize::new(limit),
            limit_hit: AtomicBool::new(false),
            interrupted: AtomicBool::new(false),
            turns: Turns::new(),
        };
        let base = image.base();
        for (part, is_hole) in base.holes().split(0..base.size()) {
            if is_hole {
                mapping.protect(part.start, part.len(), MprotectFlags::READ | MprotectFlags::WRITE)?;
            } else {
                mapping.map(part.clone(), base.file(), part.start)?;
            }
        }
        // What the image has and its base does not.
        if base.size() < image.size() {
            let more = image.size() - base.size();
            mapping.protect(base.size(), more, MprotectFlags::READ | MprotectFlags::WRITE)?;
        }
        mapping.keep_small_pages();
        Ok(Arc::new(mapping))
    }

    /// Maps the pages in which the image differs from its base over what is there, which must be the base, or differ from it in no
    /// other pages than these.
    ///
    /// `memory` is this mapping's, and its exclusive borrow shows that nobody else uses it.
    pub(crate) fn map_difference(&self, memory: &mut [u8], image: &MemoryImage) -> Option<()> {
        self.check(memory, image)?;
        let own = image.own_pages()?;
        let mut at = 0;
        for run in &own.runs {
            self.map(run.clone(), &own.file, at).ok()?;
            at += run.len();
        }
        self.keep_small_pages();
        Some(())
    }

    /// Writes what the image differs in from its base over what is there, which must be an image `from` of the same base.
    ///
    /// `memory` as above.
    pub(crate) fn write_difference(
        &self,
        memory: &mut [u8],
        from: &Difference,
        image: &MemoryImage,
    ) -> Option<()> {
        self.check(memory, image)?;
        for pages in from.pages(page_size(), 0) {
            image.base().copy(pages.start, memory.get_mut(pages)?)?;
        }
        image.difference().write(0, memory);
        Some(())
    }

    pub(super) fn base(&self) -> *mut u8 {
        self.base.as_ptr().cast()
    }

    /// Has another guest start with another limit.
    pub(crate) fn begin(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
        self.limit_hit.store(false, Ordering::Relaxed);
        self.interrupted.store(false, Ordering::Relaxed);
    }

    /// Whether the guest asked for more than its limit.
    pub(crate) fn limit_hit(&self) -> bool {
        self.limit_hit.load(Ordering::Relaxed)
    }

    /// Whether [`stop`](Self::stop) was called.
    pub(crate) fn stopped(&self) -> bool {
        self.turns.stopped()
    }

    /// Makes everything below `size` accessible. New bytes are zero.
    pub(super) fn grow_to(&self, size: usize) -> io::Result<()> {
        if size > self.limit.load(Ordering::Relaxed).min(RESERVATION) {
            self.limit_hit.store(true, Ordering::Relaxed);
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        let accessible = self.accessible.load(Ordering::Relaxed);
        if size > accessible {
            self.protect(accessible, size - accessible, MprotectFlags::READ | MprotectFlags::WRITE)?;
            self.accessible.store(size, Ordering::Relaxed);
        }
        Ok(())
    }

    /// To be called when compiled code of the guest is about to run, or to go on. Nobody else may access the memory from then on, but
    /// through [`interrupt`](Self::interrupt).
    pub(crate) fn enter(&self) -> Result<(), Stopped> {
        self.turns.enter()
    }

    /// To be called when compiled code of the guest does not run any more, before anybody else accesses the memory.
    pub(crate) fn leave(&self) -> Result<(), Stopped> {
        let (read, write) = (MprotectFlags::READ, MprotectFlags::WRITE);
        self.turns.leave(|| self.protect(0, self.accessible.load(Ordering::Relaxed), read | write).is_ok())
    }

    /// Stops the guest, for good: if it runs, it traps the next time it accesses its memory, and it cannot be entered again. May be
    /// called from any thread at any time.
    pub(crate) fn stop(&self) {
        self.turns.stop(|| {
            // The range consists of whole mappings, so there is nothing that the kernel could lack for this.
            let _ = self.protect(0, self.accessible.load(Ordering::Relaxed), MprotectFlags::empty());
        });
    }

    /// Whether, in the host's turn, nobody may access the memory, because it was taken away and could not be given back.
    pub(crate) fn is_lost(&self) -> bool {
        self.turns.taken()
    }

    /// Whether [`interrupt`](Self::interrupt) was called since the guest began.
    pub(crate) fn interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Sets bits in a word of the guest's memory, from another thread and while it runs. Does nothing if the word does not lie in
    /// its image, or not at a multiple of 4.
    pub(crate) fn interrupt(&self, address: u32, bits: u32) {
        let address = address as usize;
        if !address.is_multiple_of(4) || address.saturating_add(4) > self.image_size {
            return;
        }
        // SAFETY: The word lies in memory that is mapped as long as `self` lives, readable and writable meanwhile, and is aligned. The guest
        // accesses it with machine instructions, of which an atomic access is one. Functions of the host that are reading the
        // guest's memory at this moment through a reference, which assumes that nothing changes, would have to be reading
        // this very word: it is the guest who names it, so it may do itself harm but no one else, as a byte read is a byte
        // whatever its value, and no function of the host takes a decision on bytes that it reads twice.
        let word = || unsafe { AtomicU32::from_ptr(self.base().wrapping_add(address).cast()) };
        self.turns.meanwhile(|| word().fetch_or(bits, Ordering::Relaxed));
        self.interrupted.store(true, Ordering::Relaxed);
    }

    /// Gives the image's content back to a memory that has not grown and was not stopped, and answers how many bytes of it
    /// are still private copies. `None` if it cannot be used again. `is_mapped` says whether the pages that differ from the base are
    /// mapped, not written.
    ///
    /// `memory` is this mapping's, and its exclusive borrow shows that no guest and no function of the host is using it.
    pub(crate) fn reset(
        &self,
        memory: &mut [u8],
        image: &MemoryImage,
        is_mapped: bool,
        copies: &mut Copies,
    ) -> Option<usize> {
        self.check(memory, image)?;
        if self.stopped() {
            return None;
        }
        if self.interrupted() {
            copies.written_elsewhere();
        }
        // What differs and is written, not mapped, would be lost with the pages.
        let shares = is_mapped || image.difference().is_empty();
        let drop_pages = shares.then_some(|pages: &mut [u8]| self.drop_private_pages(pages));
        copies.restore(memory, image, drop_pages).or_else(|| {
            copies.forget();
            self.drop_private_pages(memory).ok()?;
            if !is_mapped {
                image.difference().write(0, memory);
            }
            Some(0)
        })
    }

    /// That this is the memory's mapping, and still as large as the image.
    fn check(&self, memory: &[u8], image: &MemoryImage) -> Option<()> {
        let same = ptr::eq(memory.as_ptr(), self.base()) && memory.len() == self.image_size;
        let grown = self.accessible.load(Ordering::Relaxed) != self.image_size;
        (same && !grown && image.size() == self.image_size).then_some(())
    }

    /// Maps part of a file that nobody changes.
    fn map(&self, part: Range<usize>, file: &File, offset: usize) -> io::Result<()> {
        // SAFETY: The range lies within the accessible part of the reservation, which is ours: runs of a difference end below the image's
        // size, which was compared. Nothing refers to it: either nothing lives there yet, or the caller has borrowed all of it.
        // Nobody changes the file: in memory it is sealed, and on disk `MemoryImage::from_file` demands it.
        unsafe {
            let access = ProtFlags::READ | ProtFlags::WRITE;
            let flags = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE;
            let place = self.base.as_ptr().wrapping_byte_add(part.start);
            mmap(place, part.len(), access, flags, file, offset as u64)?;
        }
        Ok(())
    }

    /// Has the kernel never join pages to a huge one. With that, pages of a hole would become writable without a fault of the guest,
    /// of which `Copies` would not know; and a byte that is written would be 2 MiB to clear.
    #[cfg(target_os = "linux")]
    fn keep_small_pages(&self) {
        use rustix::mm::{Advice, madvise};
        // SAFETY: This changes no content. A kernel without huge pages refuses, and need not be asked.
        let _ = unsafe { madvise(self.base.as_ptr(), RESERVATION, Advice::LinuxNoHugepage) };
    }

    #[cfg(not(target_os = "linux"))]
    fn keep_small_pages(&self) {}

    #[cfg(target_os = "linux")]
    fn drop_private_pages(&self, memory: &mut [u8]) -> io::Result<()> {
        use rustix::mm::{Advice, madvise};
        // SAFETY: The slice is of this memory, in whole pages. On Linux this drops the private copies of written pages: those of the file mapping have the file's content again,
        // those of anonymous memory are zero again. It changes bytes as writing to the slice would, which its borrow allows.
        unsafe { Ok(madvise(memory.as_mut_ptr().cast(), memory.len(), Advice::LinuxDontNeed)?) }
    }

    /// Other systems have no call that drops private copies for certain.
    #[cfg(not(target_os = "linux"))]
    fn drop_private_pages(&self, _memory: &mut [u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn protect(&self, offset: usize, len: usize, access: MprotectFlags) -> io::Result<()> {
        // SAFETY: Callers name ranges of the reservation: what lies behind the accessible part, to which nothing refers, and the
        // accessible part itself when compiled code alone has the turn, which may trap there, or to give it back.
        unsafe { Ok(mprotect(self.base.as_ptr().wrapping_byte_add(offset), len, access)?) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: The range is what `new` mapped, and whoever drops a mapping has no reference into it left. Failure
        // would leak address space, which nothing can be done about.
        let _ = unsafe { munmap(self.base.as_ptr().wrapping_byte_sub(GUARD), WHOLE) };
    }
}

/// The whole of an image, mapped to be read.
pub(super) struct Content {
    base: NonNull<c_void>,
    size: usize,
}

// SAFETY: It is memory that nobody changes, and belongs to the process.
unsafe impl Send for Content {}
// SAFETY: As above.
unsafe impl Sync for Content {}

impl Content {
    pub(super) fn new(file: &File, size: usize) -> io::Result<Content> {
        // SAFETY: New address space takes nothing from anyone.
        let base = unsafe { mmap(ptr::null_mut(), size, ProtFlags::READ, MapFlags::SHARED, file, 0)? };
        Ok(Content { base: NonNull::new(base).ok_or(io::ErrorKind::AddrNotAvailable)?, size })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: The range is mapped for as long as `self` lives. Nobody changes the file: in memory it is sealed, and on disk
        // `MemoryImage::from_file` demands it.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr().cast(), self.size) }
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        // SAFETY: The range is what `new` mapped; references into it borrow `self`.
        let _ = unsafe { munmap(self.base.as_ptr(), self.size) };
    }
}
