//! Sandboxes that have ended and were given their image's content back, kept for the next calls with the same image.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{
    MemoryImage,
    memory::{self, ImageId},
};

/// The most sandboxes that are kept. Each takes some address space and a few memory mappings, of which Linux by default allows
/// a process 65,530.
const MOST: usize = 2048;

/// The most bytes of memory that kept sandboxes may hold among them.
const MOST_BYTES: usize = 512 << 20;

/// How many sandboxes of dropped images are dropped by one that ends. Each takes as long as several calls.
const AT_ONCE: usize = 4;

/// What a kept sandbox takes besides its private pages: instance, stack and page tables. An estimate.
const OVERHEAD: usize = 64 << 10;

/// Sandboxes that wait, the one used last at the end.
pub(super) struct Idle<S>(Mutex<Kept<S>>);

struct Kept<S> {
    entries: Vec<(ImageId, usize, Box<S>)>,
    bytes: usize,
    /// How many images had been dropped when entries of dropped images were last removed.
    dropped_images: u64,
}

impl<S> Default for Idle<S> {
    fn default() -> Self {
        Idle(Mutex::new(Kept { entries: Vec::new(), bytes: 0, dropped_images: 0 }))
    }
}

impl<S> Idle<S> {
    /// One with that image, if there is any.
    pub(super) fn take(&self, image: &MemoryImage) -> Option<Box<S>> {
        let mut kept = self.lock();
        let at = kept.entries.iter().rposition(|(id, _, _)| id.is(image))?;
        let (_, bytes, sandbox) = kept.entries.remove(at);
        kept.bytes -= bytes;
        Some(sandbox)
    }

    /// Keeps a sandbox that holds `bytes` of memory of its own.
    pub(super) fn put(&self, image: &MemoryImage, sandbox: Box<S>, bytes: usize) {
        let mut kept = self.lock();
        let mut gone = Vec::new();
        let dropped_images = memory::dropped();
        if dropped_images != kept.dropped_images {
            gone.extend(kept.entries.extract_if(.., |(id, _, _)| id.is_gone()).take(AT_ONCE));
            if gone.len() < AT_ONCE {
                kept.dropped_images = dropped_images;
            }
        }
        let bytes = bytes + OVERHEAD;
        kept.entries.push((image.id(), bytes, sandbox));
        kept.bytes += bytes;
        kept.bytes -= gone.iter().map(|(_, bytes, _)| bytes).sum::<usize>();
        while kept.entries.len() > MOST || kept.bytes > MOST_BYTES {
            let oldest = kept.entries.remove(0);
            kept.bytes -= oldest.1;
            gone.push(oldest);
        }
        // Unmapping takes long enough to let others at the rest meanwhile.
        drop(kept);
        drop(gone);
    }

    fn lock(&self) -> MutexGuard<'_, Kept<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 64 << 10;

    fn held<S>(idle: &Idle<S>) -> (usize, usize) {
        let kept = idle.lock();
        (kept.entries.len(), kept.bytes)
    }

    fn image() -> MemoryImage {
        MemoryImage::from_bytes(&[0; PAGE]).unwrap()
    }

    #[test]
    fn the_newest_with_the_same_image_is_taken() {
        let (idle, one, other) = (Idle::default(), image(), image());
        for (image, number) in [(&one, 1), (&one, 2), (&other, 3)] {
            idle.put(image, Box::new(number), 0);
        }
        assert_eq!(idle.take(&one).as_deref(), Some(&2));
        assert_eq!(idle.take(&one).as_deref(), Some(&1));
        assert_eq!(idle.take(&one), None);
        assert_eq!(idle.take(&other).as_deref(), Some(&3));
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many_or_too_large_ones() {
        let (idle, image) = (Idle::default(), image());
        for number in 0..MOST + 3 {
            idle.put(&image, Box::new(number), 0);
        }
        assert_eq!(held(&idle).0, MOST);
        idle.put(&image, Box::new(0), MOST_BYTES - 3 * OVERHEAD);
        assert_eq!(held(&idle).0, 3);
        idle.put(&image, Box::new(0), MOST_BYTES);
        assert_eq!(held(&idle), (0, 0));
    }

    #[test]
    fn sandboxes_go_with_their_image() {
        let (idle, one, other) = (Idle::default(), image(), image());
        idle.put(&one, Box::new(1), 100);
        drop(one);
        idle.put(&other, Box::new(2), 0);
        assert_eq!(held(&idle), (1, OVERHEAD));
    }
}
