//! Time, as guests see it, and waiting for it.
//!
//! A guest that sleeps runs no code in which its deadline could be noticed. So this, and not `wasmtime-wasi`, is its `poll_oneoff`:
//! it sleeps until the deadline at most, and then ends the guest.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime};

use faasm_image::host::{Caller, Result, format_err};
use wasmtime_wasi::HostMonotonicClock;

use super::{Host, memory, range};

/// The guest's monotonic clock. Only differences have a meaning, so it starts with the process.
pub(super) struct Monotonic;

static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

impl HostMonotonicClock for Monotonic {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        monotonic()
    }
}

/// Its time, in nanoseconds.
pub(super) fn monotonic() -> u64 {
    u64::try_from(ORIGIN.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

// The layouts of `subscription` and `event`, from the WASI preview 1 witx files.
const SUBSCRIPTION: usize = 48;
const EVENT: u32 = 32;
const EVENT_CLOCK: u8 = 0;
const ERRNO_SUCCESS: i32 = 0;
const ERRNO_INVAL: i32 = 28;

/// What a guest waits for.
struct Subscription {
    userdata: [u8; 8],
    kind: u8,
    /// How long until it happens. Files, and streams of bytes that are there or are not, are always ready.
    after: Duration,
}

pub(super) async fn poll_oneoff(
    mut caller: Caller<'_, Host>,
    (subscriptions, events, count, stored): (u32, u32, u32, u32),
) -> Result<i32> {
    let (memory, host) = memory(&mut caller)?;
    let bytes = u32::try_from(SUBSCRIPTION)?
        .checked_mul(count)
        .ok_or_else(|| format_err!("the guest waits for too much"))?;
    let waiting: Vec<Subscription> =
        memory[range(memory.len(), subscriptions, bytes)?].chunks_exact(SUBSCRIPTION).map(read).collect();
    let Some(first) = waiting.iter().map(|it| it.after).min() else { return Ok(ERRNO_INVAL) };
    // Checked before sleeping: a guest with wild pointers is to be ended at once.
    let target = range(memory.len(), events, EVENT.saturating_mul(count))?;
    let stored = range(memory.len(), stored, 4)?;

    if !first.is_zero() {
        // At the deadline the guest wakes early, is interrupted, and shows where it slept.
        let left = host.time_left().filter(|left| *left < first);
        host.suspended(tokio::time::sleep(left.unwrap_or(first))).await?;
        if left.is_some() {
            host.interrupted().await;
        }
    }
    let happened = waiting.iter().filter(|it| it.after <= first);
    let mut written = 0_u32;
    for (subscription, event) in happened.zip(memory[target].chunks_exact_mut(EVENT as usize)) {
        event.fill(0);
        event[..8].copy_from_slice(&subscription.userdata);
        event[10] = subscription.kind;
        // The number of bytes that can be read or written is not known; one is what "some" looks like.
        event[16] = u8::from(subscription.kind != EVENT_CLOCK);
        written += 1;
    }
    memory[stored].copy_from_slice(&written.to_le_bytes());
    Ok(ERRNO_SUCCESS)
}

fn read(bytes: &[u8]) -> Subscription {
    let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|index| bytes[at + index]));
    let userdata = std::array::from_fn(|index| bytes[index]);
    let kind = bytes[8];
    let after = if kind == EVENT_CLOCK {
        let (clock, timeout, absolute) = (bytes[16], Duration::from_nanos(number(24)), bytes[40] & 1 != 0);
        let now = match clock {
            0 => SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(),
            _ => Duration::from_nanos(monotonic()),
        };
        if absolute { timeout.saturating_sub(now) } else { timeout }
    } else {
        Duration::ZERO
    };
    Subscription { userdata, kind, after }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(id: u8, timeout: Duration, absolute: bool) -> Duration {
        let mut bytes = [0; SUBSCRIPTION];
        bytes[16] = id;
        bytes[24..32].copy_from_slice(&(timeout.as_nanos() as u64).to_le_bytes());
        bytes[40] = u8::from(absolute);
        read(&bytes).after
    }

    #[test]
    fn timeouts_are_relative_or_absolute() {
        let hour = Duration::from_secs(3600);
        assert_eq!(clock(1, hour, false), hour);
        assert_eq!(clock(0, hour, false), hour);
        // An hour after 1970 is past, and so is the moment at which the process started.
        assert_eq!(clock(0, hour, true), Duration::ZERO);
        assert_eq!(clock(1, Duration::ZERO, true), Duration::ZERO);
        let in_an_hour = Duration::from_nanos(monotonic()) + hour;
        assert!(clock(1, in_an_hour, true) <= hour && clock(1, in_an_hour, true) > hour / 2);
    }
}
