//! The global tier: what every kind of it offers.

use std::ops::Range;
use std::pin::Pin;

use bytes::Bytes;

use super::Error;

/// What a value, or an entry of an append log, counts for besides its content, in bytes. Without it a million empty values
/// would cost nothing.
pub const OVERHEAD: u64 = 128;

/// What a method of [`Global`] returns.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// A new state of a value, told by what changes.
#[derive(Clone, Debug)]
pub struct Change {
    /// The size of the value from now on, in bytes.
    pub size: u64,
    /// So many bytes from the start keep their content as far as there is any; what follows becomes zero.
    pub keep: u64,
    /// What is written after that, in order: offsets and bytes, all within `size`.
    pub parts: Vec<(u64, Bytes)>,
}

/// Where values and append logs are kept for all hosts. Users and keys were checked by the caller.
///
/// Each method is one atomic step: others see all of it or nothing, and so does whoever opens the store after a crash. When a
/// future is done, its effect is as durable as this tier ever makes it; when it is dropped before, the effect may
/// take place or not.
///
/// A value and an append log of the same key are independent of each other. `quota` is the number of bytes that may be held
/// for the user after the step: of each value [`OVERHEAD`], the length of its key and its size, and of each entry of a log
/// [`OVERHEAD`] and its length. A step that would exceed it and make the user hold more than before fails with
/// [`Error::Quota`] and changes nothing.
pub trait Global: Send + Sync {
    /// The size of a value in bytes, if there is one.
    fn size<'a>(&'a self, user: &'a str, key: &'a str) -> BoxFuture<'a, Option<u64>>;

    /// A part of a value, if there is one; shorter than asked for if the value ends before.
    fn read<'a>(&'a self, user: &'a str, key: &'a str, range: Range<u64>) -> BoxFuture<'a, Option<Vec<u8>>>;

    /// Writes a value, or parts of it. It is created if there is none.
    fn write<'a>(&'a self, user: &'a str, key: &'a str, change: Change, quota: u64) -> BoxFuture<'a, ()>;

    /// Deletes the value and the append log of a key, if there are any.
    fn delete<'a>(&'a self, user: &'a str, key: &'a str) -> BoxFuture<'a, ()>;

    /// Adds an entry to an append log.
    fn append<'a>(&'a self, user: &'a str, key: &'a str, entry: Bytes, quota: u64) -> BoxFuture<'a, ()>;

    /// The first `count` entries of an append log, oldest first.
    fn appended<'a>(&'a self, user: &'a str, key: &'a str, count: usize) -> BoxFuture<'a, Vec<Vec<u8>>>;

    /// Removes all entries of an append log.
    fn clear_appended<'a>(&'a self, user: &'a str, key: &'a str) -> BoxFuture<'a, ()>;

    /// The keys for which there is a value or an append log, sorted.
    fn keys<'a>(&'a self, user: &'a str) -> BoxFuture<'a, Vec<String>>;
}

/// What a value counts for.
pub(super) fn value_cost(key: &str, size: u64) -> u64 {
    OVERHEAD + key.len() as u64 + size
}

/// What an append log counts for.
pub(super) fn log_cost(entries: u64, bytes: u64) -> u64 {
    entries * OVERHEAD + bytes
}

/// What is held for a user after something that counted for `old` counts for `new`.
pub(super) fn recount(user: &str, held: u64, old: u64, new: u64, quota: u64) -> Result<u64, Error> {
    let needed = held.saturating_sub(old) + new;
    if new > old && needed > quota {
        return Err(Error::Quota { user: user.to_owned(), quota, needed });
    }
    Ok(needed)
}
