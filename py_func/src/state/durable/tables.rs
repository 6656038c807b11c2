//! The tables of the database, and what is done to them.

use bytes::Bytes;
use redb::{
    Database, ReadTransaction, ReadableDatabase as _, ReadableTable, Table, TableDefinition, WriteTransaction,
};
use std::ops::Range;

use crate::state::Error;
use crate::state::global::{Change, log_cost, recount, value_cost};

/// The version of all that follows.
const FORMAT: u64 = 1;

/// Values are kept in parts of this size, so that a partial push writes only what changed. A little less than a power of two,
/// since redb gives a part pages of a power of two and needs some bytes of them.
const CHUNK: u64 = (64 << 10) - 256;

/// `format` and `next id`.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// What is held for a user, in bytes.
const HELD: TableDefinition<'_, &str, u64> = TableDefinition::new("held");

/// Values, by user and key: their identifier and size.
const VALUES: TableDefinition<'_, (&str, &str), (u64, u64)> = TableDefinition::new("values");

/// Parts of values, by identifier and number. A part that is not there, or the end of one that is too short, is zero.
const CHUNKS: TableDefinition<'_, (u64, u64), &[u8]> = TableDefinition::new("chunks");

/// Append logs, by user and key: their identifier, number of entries, and sum of their lengths.
const LOGS: TableDefinition<'_, (&str, &str), (u64, u64, u64)> = TableDefinition::new("logs");

/// Entries of append logs, by identifier and number.
const ENTRIES: TableDefinition<'_, (u64, u64), &[u8]> = TableDefinition::new("entries");

type Result<T, E = redb::Error> = std::result::Result<T, E>;

/// What is changed of a key.
pub(super) struct Write {
    pub(super) user: String,
    pub(super) key: String,
    pub(super) operation: Operation,
}

pub(super) enum Operation {
    Write { change: Change, quota: u64 },
    Delete,
    Append { entry: Bytes, quota: u64 },
    ClearAppended,
}

/// Makes all tables.
pub(super) fn create(database: &Database) -> Result<()> {
    let transaction = database.begin_write()?;
    Tables::open(&transaction)?.meta.insert("format", FORMAT)?;
    Ok(transaction.commit()?)
}

/// Checks that all tables are there and have the version that is known here.
pub(super) fn check(database: &Database) -> Result<()> {
    let transaction = database.begin_read()?;
    transaction.open_table(VALUES)?;
    transaction.open_table(LOGS)?;
    transaction.open_table(CHUNKS)?;
    transaction.open_table(ENTRIES)?;
    transaction.open_table(HELD)?;
    match transaction.open_table(META)?.get("format")?.map(|it| it.value()) {
        Some(FORMAT) => Ok(()),
        Some(other) => {
            Err(redb::Error::Corrupted(format!("it has format {other}, and this program knows {FORMAT}")))
        }
        None => Err(redb::Error::Corrupted("it does not say which format it has".to_owned())),
    }
}

pub(super) fn size(transaction: &ReadTransaction, user: &str, key: &str) -> Result<Option<u64>> {
    Ok(transaction.open_table(VALUES)?.get((user, key))?.map(|it| it.value().1))
}

pub(super) fn read(
    transaction: &ReadTransaction,
    user: &str,
    key: &str,
    range: Range<u64>,
) -> Result<Option<Vec<u8>>> {
    let values = transaction.open_table(VALUES)?;
    let Some((id, size)) = values.get((user, key))?.map(|it| it.value()) else { return Ok(None) };
    let end = range.end.min(size);
    let start = range.start.min(end);
    let mut result = vec![0; (end - start) as usize];
    let chunks = transaction.open_table(CHUNKS)?;
    for chunk in chunks.range((id, start / CHUNK)..(id, end.div_ceil(CHUNK)))? {
        let (number, bytes) = chunk?;
        let (offset, bytes) = (number.value().1 * CHUNK, bytes.value());
        // What the chunk and the range have in common.
        let (from, to) = (start.max(offset), end.min(offset + bytes.len() as u64));
        if from < to {
            result[(from - start) as usize..(to - start) as usize]
                .copy_from_slice(&bytes[(from - offset) as usize..(to - offset) as usize]);
        }
    }
    Ok(Some(result))
}

pub(super) fn appended(
    transaction: &ReadTransaction,
    user: &str,
    key: &str,
    count: usize,
) -> Result<Vec<Vec<u8>>> {
    let logs = transaction.open_table(LOGS)?;
    let Some((id, ..)) = logs.get((user, key))?.map(|it| it.value()) else { return Ok(Vec::new()) };
    let entries = transaction.open_table(ENTRIES)?;
    let entries = entries.range((id, 0)..=(id, u64::MAX))?.take(count);
    entries.map(|entry| Ok(entry?.1.value().to_vec())).collect()
}

pub(super) fn keys(transaction: &ReadTransaction, user: &str) -> Result<Vec<String>> {
    let mut keys = keys_of(&transaction.open_table(VALUES)?, user)?;
    keys.extend(keys_of(&transaction.open_table(LOGS)?, user)?);
    keys.sort_unstable();
    keys.dedup();
    Ok(keys)
}

fn keys_of<V: redb::Value + 'static>(
    table: &impl ReadableTable<(&'static str, &'static str), V>,
    user: &str,
) -> Result<Vec<String>> {
    let mut keys = Vec::new();
    for record in table.range((user, "")..)? {
        let record = record?.0;
        let (owner, key) = record.value();
        if owner != user {
            break;
        }
        keys.push(key.to_owned());
    }
    Ok(keys)
}

/// Does all writes in one transaction. Each result says whether that write was refused; a refused one leaves no trace in the
/// others.
pub(super) fn commit(database: &Database, writes: Vec<Write>) -> Result<Vec<Result<(), Error>>> {
    let transaction = database.begin_write()?;
    let mut tables = Tables::open(&transaction)?;
    let results = writes.into_iter().map(|write| tables.apply(write)).collect::<Result<_>>()?;
    drop(tables);
    transaction.commit()?;
    Ok(results)
}

struct Tables<'a> {
    meta: Table<'a, &'static str, u64>,
    held: Table<'a, &'static str, u64>,
    values: Table<'a, (&'static str, &'static str), (u64, u64)>,
    chunks: Table<'a, (u64, u64), &'static [u8]>,
    logs: Table<'a, (&'static str, &'static str), (u64, u64, u64)>,
    entries: Table<'a, (u64, u64), &'static [u8]>,
}

impl<'a> Tables<'a> {
    fn open(transaction: &'a WriteTransaction) -> Result<Self> {
        Ok(Self {
            meta: transaction.open_table(META)?,
            held: transaction.open_table(HELD)?,
            values: transaction.open_table(VALUES)?,
            chunks: transaction.open_table(CHUNKS)?,
            logs: transaction.open_table(LOGS)?,
            entries: transaction.open_table(ENTRIES)?,
        })
    }

    fn apply(&mut self, write: Write) -> Result<Result<(), Error>> {
        let Write { user, key, operation } = write;
        match operation {
            Operation::Write { change, quota } => return self.write(&user, &key, &change, quota),
            Operation::Append { entry, quota } => return self.append(&user, &key, &entry, quota),
            Operation::Delete => {
                self.delete_value(&user, &key)?;
                self.delete_log(&user, &key)?;
            }
            Operation::ClearAppended => self.delete_log(&user, &key)?,
        }
        Ok(Ok(()))
    }

    fn write(&mut self, user: &str, key: &str, change: &Change, quota: u64) -> Result<Result<(), Error>> {
        let old = self.values.get((user, key))?.map(|it| it.value());
        let old_cost = old.map_or(0, |(_, size)| value_cost(key, size));
        if let Err(refusal) = self.recount(user, old_cost, value_cost(key, change.size), quota)? {
            return Ok(Err(refusal));
        }
        let (id, old_size) = match old {
            Some(old) => old,
            None => (self.new_id()?, 0),
        };
        let keep = change.keep.min(change.size);
        if keep < old_size {
            self.truncate(id, keep)?;
        }
        self.patch(id, &change.parts)?;
        self.values.insert((user, key), (id, change.size))?;
        Ok(Ok(()))
    }

    /// Removes all but the first `length` bytes of a value.
    fn truncate(&mut self, id: u64, length: u64) -> Result<()> {
        self.chunks.retain_in((id, length.div_ceil(CHUNK))..=(id, u64::MAX), |_, _| false)?;
        let (last, rest) = ((id, length / CHUNK), (length % CHUNK) as usize);
        if rest > 0 {
            let chunk = self.chunk(last)?;
            self.chunks.insert(last, &chunk[..rest.min(chunk.len())])?;
        }
        Ok(())
    }

    fn patch(&mut self, id: u64, parts: &[(u64, Bytes)]) -> Result<()> {
        // Parts follow each other, mostly, so that a chunk stays open until one is in another chunk.
        let mut open: Option<((u64, u64), Vec<u8>)> = None;
        for (offset, bytes) in parts {
            let (mut offset, mut rest) = (*offset, &bytes[..]);
            while !rest.is_empty() {
                let (number, start) = ((id, offset / CHUNK), (offset % CHUNK) as usize);
                let (piece, after) = rest.split_at(rest.len().min(CHUNK as usize - start));
                let mut chunk = match open.take() {
                    Some((same, chunk)) if same == number => chunk,
                    other => {
                        if let Some((number, chunk)) = other {
                            self.chunks.insert(number, &chunk[..])?;
                        }
                        self.chunk(number)?
                    }
                };
                let end = start + piece.len();
                if chunk.len() < end {
                    chunk.resize(end, 0);
                }
                chunk[start..end].copy_from_slice(piece);
                open = Some((number, chunk));
                (offset, rest) = (offset + piece.len() as u64, after);
            }
        }
        if let Some((number, chunk)) = open {
            self.chunks.insert(number, &chunk[..])?;
        }
        Ok(())
    }

    fn chunk(&self, number: (u64, u64)) -> Result<Vec<u8>> {
        Ok(self.chunks.get(number)?.map_or_else(Vec::new, |it| it.value().to_vec()))
    }

    fn append(&mut self, user: &str, key: &str, entry: &[u8], quota: u64) -> Result<Result<(), Error>> {
        let length = entry.len() as u64;
        if let Err(refusal) = self.recount(user, 0, log_cost(1, length), quota)? {
            return Ok(Err(refusal));
        }
        let log = self.logs.get((user, key))?.map(|it| it.value());
        let (id, count, bytes) = match log {
            Some(log) => log,
            None => (self.new_id()?, 0, 0),
        };
        self.entries.insert((id, count), entry)?;
        self.logs.insert((user, key), (id, count + 1, bytes + length))?;
        Ok(Ok(()))
    }

    fn delete_value(&mut self, user: &str, key: &str) -> Result<()> {
        let removed = self.values.remove((user, key))?.map(|it| it.value());
        if let Some((id, size)) = removed {
            self.chunks.retain_in((id, 0)..=(id, u64::MAX), |_, _| false)?;
            self.forget(user, value_cost(key, size))?;
        }
        Ok(())
    }

    fn delete_log(&mut self, user: &str, key: &str) -> Result<()> {
        let removed = self.logs.remove((user, key))?.map(|it| it.value());
        if let Some((id, count, bytes)) = removed {
            self.entries.retain_in((id, 0)..=(id, u64::MAX), |_, _| false)?;
            self.forget(user, log_cost(count, bytes))?;
        }
        Ok(())
    }

    /// Counts `new` in place of `old` bytes for a user, unless that is refused.
    fn recount(&mut self, user: &str, old: u64, new: u64, quota: u64) -> Result<Result<(), Error>> {
        let held = self.held.get(user)?.map_or(0, |it| it.value());
        match recount(user, held, old, new, quota) {
            Ok(held) => {
                self.held.insert(user, held)?;
                Ok(Ok(()))
            }
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    fn forget(&mut self, user: &str, cost: u64) -> Result<()> {
        let held = self.held.get(user)?.map_or(0, |it| it.value()).saturating_sub(cost);
        if held == 0 {
            self.held.remove(user)?;
        } else {
            self.held.insert(user, held)?;
        }
        Ok(())
    }

    /// An identifier that nothing had before.
    fn new_id(&mut self) -> Result<u64> {
        let id = self.meta.get("next id")?.map_or(0, |it| it.value());
        self.meta.insert("next id", id + 1)?;
        Ok(id)
    }
}
