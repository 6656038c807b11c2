//! Which bytes of a chunk were written and not pushed.

use std::ops::Range;

use fixedbitset::FixedBitSet;

/// A set of offsets into a chunk.
///
/// Whole chunks are the common case and cost nothing. For the rest there is one bit for each byte, so that a guest that writes
/// every other byte costs an eighth of the chunk more, which a list of ranges would exceed many times over.
#[derive(Clone, Debug, Default)]
pub(super) enum Dirty {
    #[default]
    None,
    All,
    Some(FixedBitSet),
}

impl Dirty {
    /// Adds a range of a chunk that is `length` bytes long.
    pub(super) fn insert(&mut self, range: Range<usize>, length: usize) {
        if range.len() == length {
            *self = Self::All;
            return;
        }
        if matches!(self, Self::None) && !range.is_empty() {
            *self = Self::Some(FixedBitSet::with_capacity(length));
        }
        if let Self::Some(bits) = self {
            bits.grow(length);
            bits.insert_range(range);
        }
    }

    /// Adds another set of the same chunk.
    pub(super) fn merge(&mut self, other: Self) {
        match (&mut *self, other) {
            (Self::All, _) | (_, Self::None) => {}
            (Self::Some(bits), Self::Some(others)) => bits.union_with(&others),
            (_, other) => *self = other,
        }
    }

    /// Forgets what lies beyond the first `length` bytes.
    pub(super) fn truncate(&mut self, length: usize) {
        if let Self::Some(bits) = self {
            bits.remove_range(length.min(bits.len())..);
            if bits.is_clear() {
                *self = Self::None;
            }
        }
    }

    /// The ranges of a chunk of `length` bytes that are in the set, in order and apart from each other.
    pub(super) fn ranges(&self, length: usize) -> Vec<Range<usize>> {
        match self {
            Self::None => Vec::new(),
            Self::All => std::iter::once(0..length).collect(),
            Self::Some(bits) => {
                let mut ranges: Vec<Range<usize>> = Vec::new();
                for bit in bits.ones() {
                    match ranges.last_mut() {
                        Some(last) if last.end == bit => last.end += 1,
                        _ => ranges.push(bit..bit + 1),
                    }
                }
                ranges
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }

    /// The memory it takes, in bytes.
    pub(super) fn held(&self) -> u64 {
        match self {
            Self::Some(bits) => bits.len() as u64 / 8,
            _ => 0,
        }
    }
}
