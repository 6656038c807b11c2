//! Guests' memories as mappings of images, and the engine's hook that asks for them.
#![expect(unsafe_code, reason = "memory is mapped and protected by hand")]

use std::{
    cell::Cell,
    ffi::c_void,
    io,
    ptr::{self, NonNull},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap, mmap_anonymous, mprotect, munmap};
use wasmtime::{LinearMemory, MemoryCreator, MemoryType};

use super::{MemoryImage, PAGE};
use crate::engine::{GUARD, RESERVATION};

/// What the next memory made on this thread is to be.
pub(crate) struct Request {
    /// Its initial content and size.
    pub(crate) image: MemoryImage,
    /// The size it may grow to, in bytes.
    pub(crate) limit: usize,
    /// Set when it was asked to grow beyond the limit.
    pub(crate) limit_hit: Arc<AtomicBool>,
}

thread_local! {
    static REQUEST: Cell<Option<Request>> = const { Cell::new(None) };
}

/// Runs `instantiate`, which makes one instance on this thread, and gives that instance the requested memory.
///
/// The engine has one hook for all memories and passes it nothing about the instance, hence the detour.
pub(crate) fn with_memory<R>(request: Request, instantiate: impl FnOnce() -> R) -> R {
    struct Clear;
    impl Drop for Clear {
        fn drop(&mut self) {
            REQUEST.take();
        }
    }
    let _clear = Clear;
    REQUEST.set(Some(request));
    instantiate()
}

/// Unmaps what is kept for images that are gone.
pub(super) fn forget(image: u64) {
    let mut pool = pool();
    let (gone, kept) = pool.drain(..).partition::<Vec<_>, _>(|mapping| mapping.image == image);
    *pool = kept;
    // Unmapping takes long enough to let others at the pool meanwhile.
    drop(pool);
    drop(gone);
}

/// The engine's source of memories.
pub(crate) struct Mapper;

// SAFETY: The engine relies on three things, and `Mapping` provides them for its whole life. (1) The base address does
// not change. (2) From it, `RESERVATION` bytes and `GUARD` more are mapped for this memory alone, and those past
// `byte_size` fault; the constants are the engine's own settings, and the parameters are compared with them here.
// (3) The bytes below `byte_size` can be read and written.
//
// The trait asks for zeroed memory, and ours has the image's content: all content is a valid content of a linear
// memory, and the compiler cannot have assumed zeros, since data segments and functions of the host write before the
// first instruction runs.
//
// The size at the start is the image's, which may be more than the module's minimum. The engine takes the current size
// from `byte_size` when it fills in the instance (`LinearMemoryProxy::vmmemory` in wasmtime 48), and both
// `memory.size` and bounds checks of the host read it from there. Compiled code assumes of the declared type only
// what a larger memory still satisfies: that constant addresses below the minimum are in bounds, and that the size is
// fixed if minimum and maximum are equal. Accesses are otherwise unchecked: a 32-bit address plus a static offset
// below `GUARD` stays within the mapping, and larger offsets are compared with `RESERVATION`, not with the size.
// Growth counts from the current size and is limited by the declared maximum, as in a memory that has grown.
unsafe impl MemoryCreator for Mapper {
    fn new_memory(
        &self,
        ty: MemoryType,
        minimum: usize,
        maximum: Option<usize>,
        reserved: Option<usize>,
        guard: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        let Request { image, limit, limit_hit } =
            REQUEST.take().ok_or("no memory image was provided for this memory")?;
        if reserved != Some(RESERVATION) || guard != GUARD || ty.page_size() != PAGE as u64 || ty.is_shared()
        {
            return Err("this kind of memory cannot be mapped from an image".to_owned());
        }
        let size = image.size();
        if size < minimum || maximum.is_some_and(|maximum| size > maximum) {
            return Err(format!("a memory image of {size} bytes does not belong to this machine code"));
        }
        if size > limit {
            return Err(format!("the memory image alone takes {size} bytes, and the limit is {limit}"));
        }
        let reused = {
            let mut pool = pool();
            let at = pool.iter().rposition(|mapping| mapping.image == image.0.id);
            at.map(|at| pool.swap_remove(at))
        };
        let mapping = match reused {
            Some(mapping) => mapping,
            None => {
                Mapping::new(&image).map_err(|error| format!("mapping the memory image failed: {error}"))?
            }
        };
        Ok(Box::new(GuestMemory { mapping: Some(mapping), size, limit, limit_hit, _image: image }))
    }
}

/// The memory of one guest.
struct GuestMemory {
    /// Present until dropped.
    mapping: Option<Mapping>,
    size: usize,
    limit: usize,
    limit_hit: Arc<AtomicBool>,
    /// Keeps the pool from forgetting the image while it is used. Dropped after `mapping` was given back.
    _image: MemoryImage,
}

// SAFETY: See `Mapper`. `as_ptr` is constant; `grow_to` makes the new bytes accessible before it raises the size.
unsafe impl LinearMemory for GuestMemory {
    fn byte_size(&self) -> usize {
        self.size
    }

    fn byte_capacity(&self) -> usize {
        RESERVATION
    }

    fn grow_to(&mut self, new_size: usize) -> wasmtime::Result<()> {
        // The engine turns an error into the guest's -1.
        if new_size > self.limit {
            self.limit_hit.store(true, Ordering::Relaxed);
            wasmtime::bail!("the limit of {} bytes is reached", self.limit);
        }
        let mapping = self.mapping.as_mut().ok_or_else(|| wasmtime::format_err!("the memory is gone"))?;
        mapping.grow_to(new_size)?;
        self.size = new_size;
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        self.mapping.as_ref().map_or(ptr::null_mut(), Mapping::base)
    }
}

impl Drop for GuestMemory {
    fn drop(&mut self) {
        let Some(mut mapping) = self.mapping.take() else { return };
        // A mapping which could not be reset is unmapped.
        if mapping.reset().is_ok() {
            let mut pool = pool();
            let oldest = (pool.len() >= POOL).then(|| pool.remove(0));
            pool.push(mapping);
            drop(pool);
            drop(oldest);
        }
    }
}

/// The largest number of unused mappings kept.
const POOL: usize = 64;

/// Unused mappings, the one used last at the end. Each has the untouched content of its image, so that using it again
/// costs no system call.
fn pool() -> MutexGuard<'static, Vec<Mapping>> {
    static MAPPINGS: Mutex<Vec<Mapping>> = Mutex::new(Vec::new());
    MAPPINGS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Address space with an image at its start: an inaccessible guard, the image, inaccessible memory up to the end of
/// the reservation, and another guard.
struct Mapping {
    /// The first byte after the guard.
    base: NonNull<c_void>,
    image: u64,
    image_size: usize,
    /// Bytes from the base that can be read and written; from the image's end to here they are anonymous memory.
    accessible: usize,
}

// SAFETY: A mapping belongs to the process, not to a thread, and `Mapping` owns it alone. Shared references give
// nothing but its address.
unsafe impl Send for Mapping {}
// SAFETY: As above.
unsafe impl Sync for Mapping {}

const WHOLE: usize = GUARD + RESERVATION + GUARD;

impl Mapping {
    fn new(image: &MemoryImage) -> io::Result<Mapping> {
        // SAFETY: New address space, chosen by the kernel, takes nothing from anyone.
        let start = unsafe {
            let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
            mmap_anonymous(ptr::null_mut(), WHOLE, ProtFlags::empty(), flags)?
        };
        let base = NonNull::new(start.wrapping_byte_add(GUARD)).ok_or(io::ErrorKind::AddrNotAvailable)?;
        // From here on, dropping it unmaps.
        let mapping = Mapping { base, image: image.0.id, image_size: image.size(), accessible: image.size() };
        mapping.map_image(image)?;
        Ok(mapping)
    }

    fn base(&self) -> *mut u8 {
        self.base.as_ptr().cast()
    }

    fn map_image(&self, image: &MemoryImage) -> io::Result<()> {
        // SAFETY: The range lies within the reservation, which is ours and in which nothing lives yet. Nobody
        // changes the file: in memory it is sealed, and on disk `MemoryImage::from_file` demands it.
        unsafe {
            let access = ProtFlags::READ | ProtFlags::WRITE;
            let flags = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE;
            mmap(self.base.as_ptr(), image.size(), access, flags, &image.0.file, 0)?;
        }
        Ok(())
    }

    /// Makes everything below `size` accessible. New bytes are zero.
    fn grow_to(&mut self, size: usize) -> io::Result<()> {
        if size > RESERVATION {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if let Some(more) = size.checked_sub(self.accessible).filter(|more| *more > 0) {
            let end = self.base.as_ptr().wrapping_byte_add(self.accessible);
            // SAFETY: The range lies within the reservation; it was inaccessible, so nothing refers to it.
            unsafe { mprotect(end, more, MprotectFlags::READ | MprotectFlags::WRITE)? };
            self.accessible = size;
        }
        Ok(())
    }

    /// Restores the state after `new`: the image's content, and nothing accessible behind it.
    ///
    /// Only to be called when no guest uses the mapping any more.
    #[cfg(target_os = "linux")]
    fn reset(&mut self) -> io::Result<()> {
        use rustix::mm::{Advice, madvise};
        // SAFETY: On Linux this drops the private copies of written pages: those of the file mapping have the file's
        // content again, those of the anonymous mapping are zero again. No guest and hence no reference is left.
        unsafe { madvise(self.base.as_ptr(), self.accessible, Advice::LinuxDontNeed)? };
        let grown = self.accessible - self.image_size;
        if grown > 0 {
            let end = self.base.as_ptr().wrapping_byte_add(self.image_size);
            // SAFETY: The range lies within the reservation, and no reference into it is left.
            unsafe { mprotect(end, grown, MprotectFlags::empty())? };
            self.accessible = self.image_size;
        }
        Ok(())
    }

    /// Other systems have no call that drops private copies for certain, so their mappings are not used twice.
    #[cfg(not(target_os = "linux"))]
    fn reset(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: The range is what `new` mapped, and whoever drops a mapping has no reference into it left. Failure
        // would leak address space, which nothing can be done about.
        let _ = unsafe { munmap(self.base.as_ptr().wrapping_byte_sub(GUARD), WHOLE) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(image: &MemoryImage) -> Box<dyn LinearMemory> {
        let request = Request { image: image.clone(), limit: RESERVATION, limit_hit: Arc::default() };
        with_memory(request, || {
            Mapper.new_memory(MemoryType::new(1, None), PAGE, None, Some(RESERVATION), GUARD)
        })
        .unwrap()
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn mappings_are_used_again_and_go_with_their_image() {
        let image = MemoryImage::from_bytes(&[1; PAGE]).unwrap();
        let id = image.0.id;
        let kept = || pool().iter().filter(|mapping| mapping.image == id).count();
        let first = memory(&image).as_ptr();
        assert_eq!(kept(), 1);
        assert_eq!(memory(&image).as_ptr(), first);

        let memories: Vec<_> = (0..2 * POOL).map(|_| memory(&image)).collect();
        assert_eq!(kept(), 0);
        drop(memories);
        assert!(pool().len() <= POOL);

        drop(image);
        assert_eq!(kept(), 0);
    }

    #[test]
    fn a_memory_nobody_asked_for_is_refused() {
        let ask = || Mapper.new_memory(MemoryType::new(1, None), PAGE, None, Some(RESERVATION), GUARD);
        assert!(ask().is_err());
        let image = MemoryImage::from_bytes(&[0; PAGE]).unwrap();
        let request = Request { image, limit: RESERVATION, limit_hit: Arc::default() };
        with_memory(request, || ());
        assert!(ask().is_err(), "a request outlived its instantiation");
    }
}
