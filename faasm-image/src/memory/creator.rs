//! The engine's hook that asks for memories.
#![expect(unsafe_code, reason = "the engine's traits are promises about memory")]

use std::{
    cell::Cell,
    ffi::c_void,
    io,
    ptr::{self, NonNull},
    sync::Arc,
};

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use wasmtime::{LinearMemory, MemoryCreator, MemoryType};

use super::{Mapping, PAGE};
use crate::engine::{EXCEPTIONS, GUARD, RESERVATION};

thread_local! {
    static REQUEST: Cell<Option<(Arc<Mapping>, usize)>> = const { Cell::new(None) };
}

/// Runs `instantiate`, which makes one instance on this thread, and gives that instance the mapping, with `size` bytes at its
/// start.
///
/// The engine has one hook for all memories and passes it nothing about the instance, hence the detour.
pub(crate) fn with_memory<R>(mapping: Arc<Mapping>, size: usize, instantiate: impl FnOnce() -> R) -> R {
    struct Clear;
    impl Drop for Clear {
        fn drop(&mut self) {
            REQUEST.take();
        }
    }
    let _clear = Clear;
    REQUEST.set(Some((mapping, size)));
    instantiate()
}

/// The engine's source of memories.
pub(crate) struct Creator;

// SAFETY: The engine relies on three things, and `Mapping` provides them for its whole life. (1) The base address does
// not change. (2) From it, `RESERVATION` bytes and `GUARD` more are mapped for this memory alone, and those past
// `byte_size` fault; the constants are the engine's own settings, and the parameters are compared with them here. (3) The bytes
// below `byte_size` can be read and written by whoever has the turn, as `Mapping::enter` says. Compiled code may find them
// inaccessible, once and for all; it takes that as an access out of bounds, since all its accesses may trap. The engine's own
// functions that access them are not called: `code/bulk.rs` has those that code would call.
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
unsafe impl MemoryCreator for Creator {
    fn new_memory(
        &self,
        ty: MemoryType,
        minimum: usize,
        maximum: Option<usize>,
        reserved: Option<usize>,
        guard: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        // Not the guest's memory, but the engine's own for exceptions; its size is a setting of the engine, too.
        if reserved == Some(EXCEPTIONS) && guard == 0 {
            let heap = Heap::new(minimum).map_err(|error| error.to_string())?;
            return Ok(Box::new(heap));
        }
        let (mapping, size) = REQUEST.take().ok_or("no memory image was provided for this memory")?;
        if reserved != Some(RESERVATION) || guard != GUARD || ty.page_size() != PAGE as u64 || ty.is_shared()
        {
            return Err("this kind of memory cannot be mapped from an image".to_owned());
        }
        if size < minimum || maximum.is_some_and(|maximum| size > maximum) {
            return Err(format!("a memory image of {size} bytes does not belong to this machine code"));
        }
        Ok(Box::new(GuestMemory { mapping, size }))
    }
}

/// The memory of one guest, as the engine sees it.
struct GuestMemory {
    mapping: Arc<Mapping>,
    size: usize,
}

// SAFETY: See `Creator`. `as_ptr` is constant; `grow_to` makes the new bytes accessible before it raises the size.
unsafe impl LinearMemory for GuestMemory {
    fn byte_size(&self) -> usize {
        self.size
    }

    fn byte_capacity(&self) -> usize {
        RESERVATION
    }

    fn grow_to(&mut self, new_size: usize) -> wasmtime::Result<()> {
        // The engine turns an error into the guest's -1.
        self.mapping.grow_to(new_size)?;
        self.size = new_size;
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        self.mapping.base()
    }
}

/// The memory in which the engine keeps exceptions that a guest has thrown, for as long as somebody can catch them. No guest sees it:
/// [`EXCEPTIONS`] bytes of address space, all of which can be read and written.
struct Heap {
    base: NonNull<c_void>,
    size: usize,
}

// SAFETY: It is memory of the process that `Heap` owns alone.
unsafe impl Send for Heap {}
// SAFETY: Nothing reads or writes it through a shared reference but the engine, which has the turn.
unsafe impl Sync for Heap {}

impl Heap {
    fn new(size: usize) -> io::Result<Heap> {
        if size > EXCEPTIONS {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        // SAFETY: New address space takes nothing from anyone.
        let base = unsafe {
            let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
            mmap_anonymous(ptr::null_mut(), EXCEPTIONS, ProtFlags::READ | ProtFlags::WRITE, flags)?
        };
        let base = NonNull::new(base).ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Heap { base, size })
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        // SAFETY: The range is what `new` mapped, and the engine has dropped what it had in it.
        let _ = unsafe { munmap(self.base.as_ptr(), EXCEPTIONS) };
    }
}

// SAFETY: `as_ptr` is constant, and from there all of the `EXCEPTIONS` bytes that the engine's settings reserve can be read and written,
// also those that are not within `byte_size` yet: compiled code compares with no more than the reservation, and there is no guard.
unsafe impl LinearMemory for Heap {
    fn byte_size(&self) -> usize {
        self.size
    }

    fn byte_capacity(&self) -> usize {
        EXCEPTIONS
    }

    fn grow_to(&mut self, new_size: usize) -> wasmtime::Result<()> {
        // The engine puts up with an error, and removes what is not needed any more, or has.
        wasmtime::ensure!(new_size <= EXCEPTIONS, "too many exceptions");
        self.size = new_size;
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        self.base.as_ptr().cast()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryImage;

    #[test]
    fn a_memory_nobody_asked_for_is_refused() {
        let ask = || Creator.new_memory(MemoryType::new(1, None), PAGE, None, Some(RESERVATION), GUARD);
        assert!(ask().is_err());
        let image = MemoryImage::from_bytes(&[0; PAGE]).unwrap();
        let mapping = || Mapping::new(&image, RESERVATION).unwrap();
        assert!(with_memory(mapping(), PAGE, ask).is_ok());
        with_memory(mapping(), PAGE, || ());
        assert!(ask().is_err(), "a request outlived its instantiation");
    }
}
