pub(super) mod model;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use pollster::block_on;

use super::content::CHUNK;
use super::global::value_cost;
use super::*;

const LIMITS: Limits = Limits { user_quota: 64 << 20, local: 64 << 20 };

fn in_memory() -> State {
    State::new(Arc::new(Memory::default()), LIMITS)
}

async fn whole(state: &State, user: &str, key: &str) -> Result<Vec<u8>> {
    let mut value = vec![0; state.size(user, key).await?.unwrap_or(0) as usize];
    let length = state.read(user, key, 0, &mut value).await?;
    assert_eq!(length, value.len());
    Ok(value)
}

/// Whether a future has to wait. It is dropped after that.
fn waits(future: impl Future) -> bool {
    matches!(pin!(future).poll(&mut Context::from_waker(Waker::noop())), Poll::Pending)
}

/// A global tier that counts what is fetched, and fails to write, or never gets done with it, when it is told to.
#[derive(Default)]
struct Probe {
    memory: Memory,
    fetched: AtomicU64,
    fail: AtomicU64,
}

const FAIL: u64 = 1;
const HANG: u64 = 2;

impl Global for Probe {
    fn size<'a>(&'a self, user: &'a str, key: &'a str) -> BoxFuture<'a, Option<u64>> {
        self.memory.size(user, key)
    }
    fn read<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        range: std::ops::Range<u64>,
    ) -> BoxFuture<'a, Option<Vec<u8>>> {
        self.fetched.fetch_add(range.end - range.start, Ordering::Relaxed);
        self.memory.read(user, key, range)
    }
    fn write<'a>(&'a self, user: &'a str, key: &'a str, change: Change, quota: u64) -> BoxFuture<'a, ()> {
        match self.fail.load(Ordering::Relaxed) {
            FAIL => Box::pin(async { Err(Error::LocalFull { user: "probe".to_owned(), limit: 0 }) }),
            HANG => Box::pin(std::future::pending()),
            _ => self.memory.write(user, key, change, quota),
        }
    }
    fn delete<'a>(&'a self, user: &'a str, key: &'a str) -> BoxFuture<'a, ()> {
        self.memory.delete(user, key)
    }
    fn append<'a>(&'a self, user: &'a str, key: &'a str, entry: Bytes, quota: u64) -> BoxFuture<'a, ()> {
        self.memory.append(user, key, entry, quota)
    }
    fn appended<'a>(&'a self, user: &'a str, key: &'a str, count: usize) -> BoxFuture<'a, Vec<Vec<u8>>> {
        self.memory.appended(user, key, count)
    }
    fn clear_appended<'a>(&'a self, user: &'a str, key: &'a str) -> BoxFuture<'a, ()> {
        self.memory.clear_appended(user, key)
    }
    fn keys<'a>(&'a self, user: &'a str) -> BoxFuture<'a, Vec<String>> {
        self.memory.keys(user)
    }
}

#[test]
fn the_example_of_the_original() {
    block_on(async {
        let state = in_memory();
        state.write("python", "k", b"0123456789").await.unwrap();
        state.write_at("python", "k", 2, b"999", None).await.unwrap();
        assert_eq!(whole(&state, "python", "k").await.unwrap(), b"0199956789");
        let mut segment = [0; 4];
        assert_eq!(state.read("python", "k", 4, &mut segment).await.unwrap(), 4);
        assert_eq!(&segment, b"9567");
        assert_eq!(state.read("python", "k", 8, &mut segment).await.unwrap(), 2);
        assert_eq!(state.read("python", "k", u64::MAX, &mut segment).await.unwrap(), 0);
    });
}

#[test]
fn users_do_not_see_each_other() {
    block_on(async {
        let state = in_memory();
        state.write("a", "k", b"secret").await.unwrap();
        state.push("a", "k").await.unwrap();
        state.append("a", "log", "entry").await.unwrap();
        assert_eq!(state.size("b", "k").await.unwrap(), None);
        assert!(state.appended("b", "log", None).await.unwrap().is_empty());
        assert!(state.keys("b").await.unwrap().is_empty());
        state.delete("b", "k").await.unwrap();
        assert_eq!(state.keys("a").await.unwrap(), ["k", "log"]);
    });
}

#[test]
fn refusals() {
    block_on(async {
        let state = in_memory();
        state.write("u", "ten", &[0; 10]).await.unwrap();
        let mut byte = [0];
        let long = "k".repeat(MAX_KEY + 1);
        let big = MAX_VALUE + 1;
        for (refused, expected) in [
            (state.write("../u", "k", b"").await, "the name \"../u\""),
            (state.write("u", "", b"").await, "key of 0 bytes"),
            (state.append("u", &long, "").await, "key of 513 bytes"),
            (state.keys("").await.map(drop), "the name \"\""),
            (state.read("u", "none", 0, &mut byte).await.map(drop), "\"none\" of u"),
            (state.push("u", "none").await, "\"none\" of u"),
            (state.push_partial("u", "none").await, "\"none\" of u"),
            (state.pull("u", "none").await, "\"none\" of u"),
            (state.resize("u", "none", 1).await, "\"none\" of u"),
            (state.write_at("u", "none", 0, b"", None).await, "\"none\" of u"),
            (state.write("u", "ten", &[0; 9]).await, "its size is 10"),
            (state.write_at("u", "ten", 0, b"", Some(11)).await, "its size is 10"),
            (state.write_at("u", "ten", 8, b"abc", None).await, "3 bytes at 8"),
            (state.write_at("u", "ten", u64::MAX, b"abc", None).await, "it ends at 10"),
            (state.write_at("u", "none", 2, b"a", Some(2)).await, "it ends at 2"),
            (state.write_at("u", "none", 0, b"a", Some(big)).await, "at most 1073741824"),
            (state.resize("u", "ten", big).await, "at most 1073741824"),
        ] {
            let message = refused.unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
        assert_eq!(state.keys("u").await.unwrap(), ["ten"]);
    });
}

#[test]
fn quotas() {
    block_on(async {
        let quota = value_cost("k", 1000);
        let state = State::new(Arc::new(Memory::default()), Limits { user_quota: quota, local: 2 * quota });
        let quota_of = |it: Result<()>| matches!(it, Err(Error::Quota { user, .. }) if user == "u");

        // Unpushed values.
        assert!(quota_of(state.write("u", "k", &[1; 1001]).await));
        assert!(quota_of(state.write_at("u", "k", 0, &[1], Some(1001)).await));
        state.write("u", "k", &[1; 1000]).await.unwrap();
        assert!(quota_of(state.write("u", "l", b"").await));
        assert!(quota_of(state.resize("u", "k", 1001).await));
        assert_eq!(whole(&state, "u", "k").await.unwrap(), [1; 1000]);

        // The global tier, whose room does not depend on what is local.
        state.push("u", "k").await.unwrap();
        assert!(quota_of(state.append("u", "log", "").await));
        state.write("u", "l", b"").await.unwrap();
        assert!(quota_of(state.push("u", "l").await));
        state.delete("u", "k").await.unwrap();
        state.push("u", "l").await.unwrap();
        state.append("u", "log", vec![0; 1000 - OVERHEAD as usize]).await.unwrap();
        assert!(quota_of(state.append("u", "log", "").await));
        state.clear_appended("u", "log").await.unwrap();
        state.append("u", "log", "").await.unwrap();

        // Others have quotas of their own, until memory is full.
        state.write("a", "k", &[1; 1000]).await.unwrap();
        state.write("b", "k", &[1; 1000]).await.unwrap();
        let full = state.write("c", "k", b"").await;
        assert!(matches!(full, Err(Error::LocalFull { user, .. }) if user == "c"));
        state.delete("a", "k").await.unwrap();
        state.write("c", "k", &[1; 1000]).await.unwrap();
    });
}

#[test]
fn only_what_is_read_is_fetched_and_only_once() {
    block_on(async {
        let probe = Arc::new(Probe::default());
        let value: Vec<u8> = (0..4 * CHUNK + 10).map(|it| (it / 7) as u8).collect();
        let writer = State::new(Arc::clone(&probe) as Arc<dyn Global>, LIMITS);
        writer.write("u", "k", &value).await.unwrap();
        writer.push("u", "k").await.unwrap();

        let reader = State::new(Arc::clone(&probe) as Arc<dyn Global>, LIMITS);
        assert_eq!(reader.size("u", "k").await.unwrap(), Some(value.len() as u64));
        let mut part = vec![0; 100];
        for (offset, fetched) in
            [(5, CHUNK), (0, 0), (2 * CHUNK - 50, 2 * CHUNK), (4 * CHUNK, 10), (CHUNK, 0), (3 * CHUNK, CHUNK)]
        {
            let before = probe.fetched.load(Ordering::Relaxed);
            let length = reader.read("u", "k", offset, &mut part).await.unwrap();
            assert_eq!(part[..length], value[offset as usize..][..length]);
            assert_eq!(probe.fetched.load(Ordering::Relaxed) - before, fetched, "at {offset}");
        }
        assert_eq!(probe.fetched.load(Ordering::Relaxed), value.len() as u64);
    });
}

#[test]
fn hosts_push_the_bytes_they_wrote_and_no_others() {
    block_on(async {
        let global: Arc<dyn Global> = Arc::new(Memory::default());
        let [a, b] = [State::new(Arc::clone(&global), LIMITS), State::new(global, LIMITS)];
        let size = 2 * CHUNK;
        a.write("u", "k", &vec![b'.'; size as usize]).await.unwrap();
        a.push("u", "k").await.unwrap();
        b.size("u", "k").await.unwrap();

        let mut expected = vec![b'.'; size as usize];
        for offset in (0..size - 1).step_by(1001) {
            a.write_at("u", "k", offset, b"a", None).await.unwrap();
            b.write_at("u", "k", offset + 1, b"b", None).await.unwrap();
            expected[offset as usize..][..2].copy_from_slice(b"ab");
        }
        b.push_partial("u", "k").await.unwrap();
        a.push_partial("u", "k").await.unwrap();
        // Each keeps seeing what it fetched until it pulls; `b` had fetched nothing.
        assert_ne!(whole(&a, "u", "k").await.unwrap(), expected);
        assert_eq!(whole(&b, "u", "k").await.unwrap(), expected);
        a.pull("u", "k").await.unwrap();
        assert_eq!(whole(&a, "u", "k").await.unwrap(), expected);

        // The global value wins over what was not pushed.
        a.write_at("u", "k", 0, b"x", None).await.unwrap();
        a.pull("u", "k").await.unwrap();
        assert_eq!(whole(&a, "u", "k").await.unwrap(), expected);

        // Reading on after the rest is gone is an error, and so is pulling.
        a.pull("u", "k").await.unwrap();
        b.delete("u", "k").await.unwrap();
        assert!(matches!(whole(&a, "u", "k").await, Err(Error::Changed { .. })));
        assert!(matches!(a.pull("u", "k").await, Err(Error::NoValue { .. })));
        assert_eq!(a.size("u", "k").await.unwrap(), None);
    });
}

#[test]
fn a_push_that_fails_or_is_dropped_can_be_repeated() {
    block_on(async {
        for how in [FAIL, HANG] {
            let probe = Arc::new(Probe::default());
            let state = State::new(Arc::clone(&probe) as Arc<dyn Global>, LIMITS);
            state.write_at("u", "k", 3, b"abc", Some(10)).await.unwrap();
            probe.fail.store(how, Ordering::Relaxed);
            match how {
                FAIL => assert!(state.push_partial("u", "k").await.is_err()),
                _ => assert!(waits(state.push_partial("u", "k"))),
            }
            state.evict(0);
            probe.fail.store(0, Ordering::Relaxed);
            state.push_partial("u", "k").await.unwrap();
            assert_eq!(probe.read("u", "k", 0..10).await.unwrap().unwrap(), b"\0\0\0abc\0\0\0\0");
        }
    });
}

#[test]
fn one_key_does_not_hold_up_another() {
    block_on(async {
        let probe = Arc::new(Probe::default());
        let state = State::new(Arc::clone(&probe) as Arc<dyn Global>, LIMITS);
        state.write("u", "k", b"1").await.unwrap();
        probe.fail.store(HANG, Ordering::Relaxed);
        let mut push = pin!(state.push("u", "k"));
        let mut context = Context::from_waker(Waker::noop());
        assert!(push.as_mut().poll(&mut context).is_pending());
        state.write("u", "l", b"2").await.unwrap();
        assert_eq!(whole(&state, "u", "l").await.unwrap(), b"2");
        // What is here can be read and written while it is pushed.
        state.write("u", "k", b"3").await.unwrap();
        assert_eq!(whole(&state, "u", "k").await.unwrap(), b"3");
    });
}

#[test]
fn scattered_bytes_are_pushed_in_several_steps() {
    block_on(async {
        let state = in_memory();
        let size = 5 * CHUNK;
        let mut expected = vec![0; size as usize];
        for offset in (0..size).step_by(2) {
            state.write_at("u", "k", offset, &[7], Some(size)).await.unwrap();
            expected[offset as usize] = 7;
        }
        // A bit for each byte comes on top.
        assert!(state.local_bytes() < size * 5 / 4);
        state.push_partial("u", "k").await.unwrap();
        state.pull("u", "k").await.unwrap();
        assert_eq!(whole(&state, "u", "k").await.unwrap(), expected);
    });
}

#[test]
fn parallel_writes_and_appends_are_all_kept() {
    let state = in_memory();
    std::thread::scope(|scope| {
        for number in 0..300_u64 {
            let state = &state;
            scope.spawn(move || {
                block_on(async {
                    let data = number.to_le_bytes();
                    state.write_at("u", "k", number * 8, &data, Some(2400)).await.unwrap();
                    state.push_partial("u", "k").await.unwrap();
                    state.append("u", "log", data.to_vec()).await.unwrap();
                });
            });
        }
    });
    block_on(async {
        state.pull("u", "k").await.unwrap();
        let expected: Vec<u8> = (0..300_u64).flat_map(u64::to_le_bytes).collect();
        assert_eq!(whole(&state, "u", "k").await.unwrap(), expected);
        let mut entries = state.appended("u", "log", None).await.unwrap();
        assert_eq!(state.appended("u", "log", Some(7)).await.unwrap(), entries[..7]);
        entries.sort_by_key(|entry| u64::from_le_bytes(entry[..].try_into().unwrap()));
        assert_eq!(entries.concat(), expected);
    });
}

#[test]
fn locks_are_fair_and_given_back() {
    block_on(async {
        let state = in_memory();
        let first = state.lock("u", "k", Lock::Shared).await.unwrap();
        let second = state.lock("u", "k", Lock::Shared).await.unwrap();
        let mut context = Context::from_waker(Waker::noop());
        let mut exclusive = pin!(state.lock("u", "k", Lock::Exclusive));
        assert!(exclusive.as_mut().poll(&mut context).is_pending());
        // It would be granted if nobody had asked for an exclusive one before.
        assert!(waits(state.lock("u", "k", Lock::Shared)));
        let _other = state.lock("u", "other", Lock::Exclusive).await.unwrap();
        // Neither eviction nor deletion makes a new lock.
        state.evict(0);
        state.delete("u", "k").await.unwrap();
        drop(first);
        assert!(exclusive.as_mut().poll(&mut context).is_pending());
        drop(second);
        let exclusive = exclusive.await.unwrap();
        assert!(waits(state.lock("u", "k", Lock::Shared)));
        drop(exclusive);
        drop(state.lock("u", "k", Lock::Shared).await.unwrap());
    });
}

#[test]
fn memory_stays_below_the_limit() {
    block_on(async {
        let limits = Limits { user_quota: 1 << 30, local: 1 << 20 };
        let state = State::new(Arc::new(Memory::default()), limits);
        for number in 0..100 {
            let key = format!("k{number}");
            state.write("u", &key, &[number; 100_000]).await.unwrap();
            state.push("u", &key).await.unwrap();
            assert!(state.local_bytes() <= limits.local, "{number}");
        }
        for number in 0..100 {
            assert_eq!(whole(&state, "u", &format!("k{number}")).await.unwrap(), [number; 100_000]);
            assert!(state.local_bytes() <= limits.local, "{number}");
        }
        // Nor does asking for what there is not take memory for ever.
        for number in 0..10_000 {
            assert_eq!(state.size("u", &format!("none{number}")).await.unwrap(), None);
        }
        assert!(state.local_bytes() <= limits.local);

        state.write("u", "unpushed", b"1").await.unwrap();
        state.evict(0);
        assert_eq!(whole(&state, "u", "unpushed").await.unwrap(), b"1");
        state.delete("u", "unpushed").await.unwrap();
        state.evict(0);
        assert_eq!(state.local_bytes(), 0);
    });
}

#[test]
fn random_operations_do_what_a_simple_model_does() {
    for seed in 0..20 {
        model::compare(seed, 500, &(Arc::new(Memory::default()) as Arc<dyn Global>));
    }
}
