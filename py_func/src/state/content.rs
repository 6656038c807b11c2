//! What the local tier has of a value: chunks that were fetched or written, and which bytes of them were not pushed.
//!
//! Nothing here waits or knows where the global tier is; `mod.rs` moves bytes between the two.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::dirty::Dirty;
use super::global::Change;

/// What is fetched at once at least, and what dirty bytes are tracked by.
pub(super) const CHUNK: u64 = 64 << 10;

/// How many chunks that follow each other are fetched at once at most.
const FETCH: u64 = 64;

/// After so many parts a change is full. Scattered single bytes of a large value would take hundreds of times its size if
/// they all were told in one.
const PARTS: usize = 1 << 16;

/// A value, as far as it is here. A chunk that is not here is taken from the global tier where that has it, and zero elsewhere.
pub(super) struct Content {
    size: u64,
    /// So many bytes from the start have their content from the global tier where they are not here.
    backed: u64,
    /// Whether the global tier has had the value.
    known: bool,
    /// Whether the size or any byte was not pushed.
    dirty: bool,
    chunks: BTreeMap<u64, Chunk>,
    held: u64,
}

struct Chunk {
    /// As long as the chunk, or as the value reaches into it. Shared with a push while that lasts, and copied by a write then.
    data: Arc<[u8]>,
    /// Whether all bytes are those of the value, and not just those that were written.
    whole: bool,
    dirty: Dirty,
    /// What a push is about to store.
    pushing: Dirty,
}

impl Content {
    /// A value of `size` bytes that only the local tier has, zero so far.
    pub(super) fn new(size: u64) -> Self {
        Self { size, backed: 0, known: false, dirty: true, chunks: BTreeMap::new(), held: 0 }
    }

    /// A value of `size` bytes that only the global tier has.
    pub(super) fn global(size: u64) -> Self {
        Self { size, backed: size, known: true, dirty: false, chunks: BTreeMap::new(), held: 0 }
    }

    /// A value that is `data` and was not pushed.
    pub(super) fn written(data: &[u8]) -> Self {
        let mut content = Self::new(data.len() as u64);
        content.write(0, data);
        content
    }

    /// Replaces the whole value.
    pub(super) fn replace(&mut self, new: Self) {
        *self = Self { known: self.known, ..new };
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.dirty
    }

    pub(super) fn is_known(&self) -> bool {
        self.known
    }

    /// The memory it takes, in bytes.
    pub(super) fn held(&self) -> u64 {
        self.held
    }

    /// The first bytes of `range` that must be fetched before it can be read.
    pub(super) fn missing(&self, range: Range<u64>) -> Option<Range<u64>> {
        let end = range.end.min(self.backed);
        let missing = |index: &u64| self.chunks.get(index).is_none_or(|chunk| !chunk.whole);
        let first = (range.start / CHUNK..end.div_ceil(CHUNK)).find(missing)?;
        let last = (first..end.div_ceil(CHUNK)).take(FETCH as usize).take_while(missing).last()?;
        Some(first * CHUNK..((last + 1) * CHUNK).min(self.backed))
    }

    /// Takes over what was fetched for `missing`. What was written in the meantime stays.
    pub(super) fn fill(&mut self, start: u64, fetched: &[u8]) {
        for (index, bytes) in (start / CHUNK..).zip(fetched.chunks(CHUNK as usize)) {
            let old = self.chunks.get(&index);
            if old.is_some_and(|old| old.whole) {
                continue;
            }
            let mut data = vec![0; self.length(index)];
            let length = bytes.len().min(data.len());
            data[..length].copy_from_slice(&bytes[..length]);
            let mut dirty = Dirty::None;
            if let Some(old) = old {
                self.held -= old.held();
                for range in old.dirty.ranges(old.data.len()) {
                    data[range.clone()].copy_from_slice(&old.data[range]);
                }
                dirty = old.dirty.clone();
            }
            // No push is under way, since the two exclude each other.
            let chunk = Chunk { data: data.into(), whole: true, dirty, pushing: Dirty::None };
            self.held += chunk.held();
            self.chunks.insert(index, chunk);
        }
    }

    /// Copies from `offset` on into `buffer`, up to the end of the value, and returns how many bytes. Nothing of it may be
    /// missing.
    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> usize {
        let length = self.size.saturating_sub(offset).min(buffer.len() as u64) as usize;
        for (at, index, range) in pieces(offset, length) {
            let target = &mut buffer[at..at + range.len()];
            match self.chunks.get(&index) {
                Some(chunk) => target.copy_from_slice(&chunk.data[range]),
                None => target.fill(0),
            }
        }
        length
    }

    /// Writes within the value.
    pub(super) fn write(&mut self, offset: u64, data: &[u8]) {
        for (at, index, range) in pieces(offset, data.len()) {
            let length = self.length(index);
            let backed = index * CHUNK < self.backed;
            let chunk = self.chunks.entry(index).or_insert_with(|| {
                self.held += length as u64;
                Chunk {
                    data: vec![0; length].into(),
                    whole: !backed,
                    dirty: Dirty::None,
                    pushing: Dirty::None,
                }
            });
            self.held -= chunk.held();
            Arc::make_mut(&mut chunk.data)[range.clone()].copy_from_slice(&data[at..at + range.len()]);
            chunk.whole |= range.len() == length;
            chunk.dirty.insert(range, length);
            self.held += chunk.held();
            self.dirty = true;
        }
    }

    /// Gives the value another size. What it grows by is zero.
    pub(super) fn resize(&mut self, size: u64) {
        let old = std::mem::replace(&mut self.size, size);
        self.backed = self.backed.min(size);
        self.dirty |= size != old;
        for chunk in self.chunks.split_off(&size.div_ceil(CHUNK)).into_values() {
            self.held -= chunk.held();
        }
        // The chunk in which the value ended, or ends now.
        let index = old.min(size) / CHUNK;
        let length = self.length(index);
        if let Some(chunk) = self.chunks.get_mut(&index) {
            self.held -= chunk.held();
            let mut data = chunk.data.to_vec();
            data.resize(length, 0);
            chunk.data = data.into();
            chunk.dirty.truncate(length);
            self.held += chunk.held();
        }
    }

    /// What must be stored of the chunks from number `from` on, until the change is full, and the number of the chunk to go
    /// on with then. With `all`, what is here and was not written is stored as well.
    ///
    /// Must be followed by `end_push`.
    pub(super) fn begin_push(&mut self, from: u64, all: bool) -> (Change, Option<u64>) {
        let mut parts = Vec::new();
        let mut next = None;
        for (&index, chunk) in self.chunks.range_mut(from..) {
            if parts.len() >= PARTS {
                next = Some(index);
                break;
            }
            let length = chunk.data.len();
            let stored = std::mem::take(&mut chunk.dirty);
            let ranges = if all && chunk.whole { Dirty::All.ranges(length) } else { stored.ranges(length) };
            if !ranges.is_empty() {
                let data = Bytes::from_owner(Arc::clone(&chunk.data));
                parts.extend(ranges.into_iter().map(|it| (index * CHUNK + it.start as u64, data.slice(it))));
            }
            chunk.pushing = stored;
        }
        (Change { size: self.size, keep: self.backed, parts }, next)
    }

    /// Notes whether the change of `begin_push` was stored.
    pub(super) fn end_push(&mut self, stored: bool) {
        if stored {
            self.backed = self.size;
            self.known = true;
        }
        let mut held = 0;
        self.chunks.retain(|_, chunk| {
            let pushed = std::mem::take(&mut chunk.pushing);
            if !stored {
                chunk.dirty.merge(pushed);
            }
            // Nothing is left in it that the global tier does not have.
            let keep = chunk.whole || !chunk.dirty.is_empty();
            held += if keep { chunk.held() } else { 0 };
            keep
        });
        self.held = held;
        self.dirty = !stored || self.chunks.values().any(|chunk| !chunk.dirty.is_empty());
    }

    /// The length of a chunk, in bytes.
    fn length(&self, index: u64) -> usize {
        self.size.saturating_sub(index * CHUNK).min(CHUNK) as usize
    }
}

impl Chunk {
    fn held(&self) -> u64 {
        self.data.len() as u64 + self.dirty.held() + self.pushing.held()
    }
}

/// The pieces into which chunks divide `length` bytes at `offset`: where in those, which chunk, and where in that.
fn pieces(offset: u64, length: usize) -> impl Iterator<Item = (usize, u64, Range<usize>)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let position = offset + at as u64;
        let start = (position % CHUNK) as usize;
        let piece = (length - at).min(CHUNK as usize - start);
        let result = (at, position / CHUNK, start..start + piece);
        at += piece;
        (piece > 0).then_some(result)
    })
}
