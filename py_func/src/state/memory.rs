//! A global tier in memory, for tests and for runtimes whose state need not outlive them.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;

use super::global::{BoxFuture, Change, Global, log_cost, recount, value_cost};
use super::{Error, locked};

/// A global tier in the memory of this process. What it holds is gone with it.
#[derive(Default)]
pub struct Memory {
    users: Mutex<HashMap<String, Arc<Mutex<User>>>>,
}

#[derive(Default)]
struct User {
    held: u64,
    values: BTreeMap<String, Vec<u8>>,
    logs: BTreeMap<String, Vec<Vec<u8>>>,
}

impl Memory {
    /// Does something with what is held for a user. Users do not wait for each other.
    fn with<'a, T: Send + 'a>(
        &'a self,
        user: &'a str,
        work: impl FnOnce(MutexGuard<'_, User>) -> Result<T, Error> + Send + 'a,
    ) -> BoxFuture<'a, T> {
        Box::pin(async move {
            let content = Arc::clone(locked(&self.users).entry(user.to_owned()).or_default());
            work(locked(&content))
        })
    }
}

impl Global for Memory {
    fn size<'a>(&'a self, user: &'a str, key: &'a str) -> BoxFuture<'a, Option<u64>> {
        self.with(user, |it| Ok(it.values.get(key).map(|value| value.len() as u64)))
    }

    fn read<'a>(&'a self, user: &'a str, key: &'a str, range: Range<u64>) -> BoxFuture<'a, Option<Vec<u8>>> {
        self.with(user, move |it| {
            let part = |value: &Vec<u8>| {
                let end = range.end.min(value.len() as u64) as usize;
                let start = (range.start as usize).min(end);
                value[start..end].to_vec()
            };
            Ok(it.values.get(key).map(part))
        })
    }

    fn write<'a>(&'a self, user: &'a str, key: &'a str, change: Change, quota: u64) -> BoxFuture<'a, ()> {
        self.with(user, move |mut it| {
            let old = it.values.get(key).map_or(0, |value| value_cost(key, value.len() as u64));
            it.held = recount(user, it.held, old, value_cost(key, change.size), quota)?;
            let value = it.values.entry(key.to_owned()).or_default();
            value.truncate(change.keep.min(change.size) as usize);
            value.resize(change.size as usize, 0);
            for (offset, bytes) in change.parts {
                value[offset as usize..][..bytes.len()].copy_from_slice(&bytes);
            }
            Ok(())
        })
    }

    fn delete<'a>(&'a self, user: &'a str, key: &'a str) -> BoxFuture<'a, ()> {
        self.with(user, move |mut it| {
            let value = it.values.remove(key).map_or(0, |value| value_cost(key, value.len() as u64));
            let log = it.logs.remove(key).map_or(0, |log| cost_of_log(&log));
            it.held -= value + log;
            Ok(())
        })
    }

    fn append<'a>(&'a self, user: &'a str, key: &'a str, entry: Bytes, quota: u64) -> BoxFuture<'a, ()> {
        self.with(user, move |mut it| {
            it.held = recount(user, it.held, 0, log_cost(1, entry.len() as u64), quota)?;
            it.logs.entry(key.to_owned()).or_default().push(entry.to_vec());
            Ok(())
        })
    }

    fn appended<'a>(&'a self, user: &'a str, key: &'a str, count: usize) -> BoxFuture<'a, Vec<Vec<u8>>> {
        self.with(user, move |it| Ok(it.logs.get(key).into_iter().flatten().take(count).cloned().collect()))
    }

    fn clear_appended<'a>(&'a self, user: &'a str, key: &'a str) -> BoxFuture<'a, ()> {
        self.with(user, move |mut it| {
            it.held -= it.logs.remove(key).map_or(0, |log| cost_of_log(&log));
            Ok(())
        })
    }

    fn keys<'a>(&'a self, user: &'a str) -> BoxFuture<'a, Vec<String>> {
        self.with(user, |it| {
            let mut keys: Vec<_> = it.values.keys().chain(it.logs.keys()).cloned().collect();
            keys.sort_unstable();
            keys.dedup();
            Ok(keys)
        })
    }
}

fn cost_of_log(log: &[Vec<u8>]) -> u64 {
    log_cost(log.len() as u64, log.iter().map(|entry| entry.len() as u64).sum())
}
