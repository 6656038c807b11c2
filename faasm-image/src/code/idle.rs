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

/// The most memory mappings that kept sandboxes may have among them. Linux by default allows a process 65,530.
const MOST_MAPPINGS: usize = 30_000;

/// From how many on kept sandboxes whose image was only written are used for other images. Below, functions that are called in turn get
/// one each.
const ENOUGH: usize = 16;

/// What a kept sandbox takes besides its private pages and its stack: instance and page tables. An estimate.
const OVERHEAD: usize = 64 << 10;

/// Sandboxes that wait, the one used last at the end.
pub(super) struct Idle<S>(Mutex<All<S>>);

struct All<S> {
    entries: Vec<Entry<S>>,
    bytes: usize,
    mappings: usize,
    /// How many images had been dropped when entries of dropped images were last removed.
    dropped_images: u64,
}

struct Entry<S> {
    image: ImageId,
    bytes: usize,
    mappings: usize,
    /// Whether it can become one with another image of the same base.
    is_written: bool,
    sandbox: S,
}

/// A sandbox that was kept.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kept<S> {
    /// It has the image that was asked for.
    Same(S),
    /// It has another one of the same base, and can be given that one.
    Related(S),
}

impl<S> Default for Idle<S> {
    fn default() -> Self {
        Idle(Mutex::new(All { entries: Vec::new(), bytes: 0, mappings: 0, dropped_images: 0 }))
    }
}

impl<S> Idle<S> {
    /// One for that image, if there is any.
    pub(super) fn take(&self, image: &MemoryImage) -> Option<Kept<S>> {
        let mut all = self.lock();
        if let Some(at) = all.entries.iter().rposition(|entry| entry.image.is(image)) {
            return Some(Kept::Same(all.remove(at)));
        }
        if !image.is_small_difference() {
            return None;
        }
        let is_related = |entry: &Entry<S>| entry.is_written && entry.image.is_related(image);
        let mut related = all.entries.iter().enumerate().filter(|(_, entry)| is_related(entry));
        let (oldest, entry) = related.next()?;
        let enough = entry.image.is_gone() || related.count() + 1 >= ENOUGH;
        enough.then(|| Kept::Related(all.remove(oldest)))
    }

    /// Keeps a sandbox that holds `bytes` of memory of its own, native stack included. `is_written` says whether its image was written and not mapped.
    pub(super) fn put(&self, image: &MemoryImage, sandbox: S, bytes: usize, is_written: bool) {
        let mut all = self.lock();
        let mut gone = Vec::new();
        let dropped_images = memory::dropped();
        if dropped_images != all.dropped_images {
            let is_of_no_use = |entry: &mut Entry<S>| {
                entry.image.is_gone() && (!entry.is_written || entry.image.base_is_gone())
            };
            gone.extend(all.entries.extract_if(.., is_of_no_use).take(AT_ONCE));
            if gone.len() < AT_ONCE {
                all.dropped_images = dropped_images;
            }
            for entry in &gone {
                (all.bytes, all.mappings) = (all.bytes - entry.bytes, all.mappings - entry.mappings);
            }
        }
        let (bytes, mappings) = (bytes + OVERHEAD, image.mappings());
        all.entries.push(Entry { image: image.id(), bytes, mappings, is_written, sandbox });
        (all.bytes, all.mappings) = (all.bytes + bytes, all.mappings + mappings);
        let mut dropped = Vec::new();
        while all.entries.len() > MOST || all.bytes > MOST_BYTES || all.mappings > MOST_MAPPINGS {
            dropped.push(all.remove(0));
        }
        // Unmapping takes long enough to let others at the rest meanwhile.
        drop(all);
        drop((gone, dropped));
    }

    /// How many bytes those that wait hold.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    fn lock(&self) -> MutexGuard<'_, All<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> All<S> {
    fn remove(&mut self, at: usize) -> S {
        let entry = self.entries.remove(at);
        (self.bytes, self.mappings) = (self.bytes - entry.bytes, self.mappings - entry.mappings);
        entry.sandbox
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 64 << 10;

    fn held<S>(idle: &Idle<S>) -> (usize, usize) {
        let entries = idle.lock().entries.len();
        (entries, idle.bytes())
    }

    fn image() -> MemoryImage {
        MemoryImage::from_bytes(&[0; PAGE]).unwrap()
    }

    #[test]
    fn the_newest_with_the_same_image_is_taken() {
        let (idle, one, other) = (Idle::default(), image(), image());
        for (image, number) in [(&one, 1), (&one, 2), (&other, 3)] {
            idle.put(image, number, 0, false);
        }
        assert_eq!(idle.take(&one), Some(Kept::Same(2)));
        assert_eq!(idle.take(&one), Some(Kept::Same(1)));
        assert_eq!(idle.take(&one), None);
        assert_eq!(idle.take(&other), Some(Kept::Same(3)));
    }

    #[test]
    fn the_oldest_related_is_taken_when_there_are_enough_or_its_image_is_gone() {
        let base = image();
        let images: Vec<_> = (0..ENOUGH).map(|_| base.after(&[0; PAGE]).unwrap()).collect();
        let (idle, wanted) = (Idle::default(), base.after(&[1; PAGE]).unwrap());
        idle.put(&image(), 100, 0, true);
        idle.put(&base, 101, 0, false);
        for (number, image) in images.iter().enumerate() {
            assert_eq!(idle.take(&wanted), None);
            idle.put(image, number, 0, true);
        }
        assert_eq!(idle.take(&base.after(&[1; 2 * PAGE]).unwrap()), None, "a larger one");
        assert_eq!(idle.take(&wanted), Some(Kept::Related(0)));
        assert_eq!(idle.take(&wanted), None);
        drop(images);
        assert_eq!(idle.take(&wanted), Some(Kept::Related(1)));
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many_or_too_large_ones() {
        let (idle, image) = (Idle::default(), image());
        for number in 0..MOST + 3 {
            idle.put(&image, number, 0, false);
        }
        assert_eq!(held(&idle).0, MOST);
        idle.put(&image, 0, MOST_BYTES - 3 * OVERHEAD, false);
        assert_eq!(held(&idle).0, 3);
        idle.put(&image, 0, MOST_BYTES, false);
        assert_eq!(held(&idle), (0, 0));
        assert_eq!(idle.lock().mappings, 0);
    }

    #[test]
    fn sandboxes_go_with_their_image() {
        let (idle, one, other) = (Idle::default(), image(), image());
        idle.put(&one, 1, 100, false);
        drop(one);
        idle.put(&other, 2, 0, false);
        assert_eq!(held(&idle), (1, OVERHEAD));
    }
}
