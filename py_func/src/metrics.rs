//! What runtimes count and measure, for whatever recorder the program has installed for the crate `metrics`.
//! Without one, this costs some nanoseconds a call.
//!
//! | name | kind | labels | is |
//! | --- | --- | --- | --- |
//! | `faasm_calls_total` | counter | `outcome` | calls that have ended or were turned away, chained ones included |
//! | `faasm_call_seconds` | histogram | | how long a call took, from the start of its sandbox |
//! | `faasm_call_cpu_seconds` | histogram | | how long threads computed for it |
//! | `faasm_call_own_memory_bytes` | histogram | | how much memory its sandbox had for itself, where that was counted |
//! | `faasm_wait_seconds` | histogram | | how long a call or a load waited for its turn to begin, if it had to |
//! | `faasm_resets_total` | counter | `result` | sandboxes after a call: `in_place`, or `dropped` |
//! | `faasm_loads_total` | counter | `outcome` | imports of functions' modules |
//! | `faasm_load_seconds` | histogram | | how long those took that succeeded |
//! | `faasm_chained_calls_total` | counter | | calls that calls have started |
//! | `faasm_state_operations_total` | counter | `outcome` | requests for state: `answered`, or `refused` |
//! | `faasm_state_read_bytes_total` | counter | | bytes of state that functions have read |
//! | `faasm_state_written_bytes_total` | counter | | bytes of state that functions have written |
//!
//! An `outcome` is `returned` or what ended the call: a [kind](crate::CallError::kind). No label has a name of a user, function or
//! key, of which there can be any number: those are in the spans (`tracing`, target `py_func`): `load`, `call`, `reset`, `chain` and
//! `state`.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};

use crate::call::{CallFailure, Output, Usage};

/// Tells the installed recorder what there is, in which units. Once, and only for those who want it.
pub fn describe() {
    for (name, text) in [
        ("faasm_calls_total", "Calls that have ended or were turned away."),
        ("faasm_resets_total", "Sandboxes that were reset or dropped after a call."),
        ("faasm_loads_total", "Imports of functions' modules."),
        ("faasm_chained_calls_total", "Calls that calls have started."),
        ("faasm_state_operations_total", "Requests for state."),
    ] {
        describe_counter!(name, Unit::Count, text);
    }
    describe_counter!("faasm_state_read_bytes_total", Unit::Bytes, "Bytes of state that were read.");
    describe_counter!("faasm_state_written_bytes_total", Unit::Bytes, "Bytes of state that were written.");
    for (name, text) in [
        ("faasm_call_seconds", "How long calls took."),
        ("faasm_call_cpu_seconds", "How long threads computed for calls."),
        ("faasm_wait_seconds", "How long calls and loads waited for their turn to begin."),
        ("faasm_load_seconds", "How long imports of functions' modules took."),
    ] {
        describe_histogram!(name, Unit::Seconds, text);
    }
    let text = "Memory that sandboxes had for themselves.";
    describe_histogram!("faasm_call_own_memory_bytes", Unit::Bytes, text);
}

/// A counter by outcome. Its labels are constants, which costs nothing where one made of a variable would be allocated.
macro_rules! count_outcome {
    ($name:literal, $outcome:expr) => {
        match $outcome {
            "returned" => counter!($name, "outcome" => "returned"),
            "exception" => counter!($name, "outcome" => "exception"),
            outcome => counter!($name, "outcome" => outcome),
        }
        .increment(1)
    };
}

pub(crate) fn called(result: &Result<Output, CallFailure>) {
    let (outcome, usage) = outcome(result);
    count_outcome!("faasm_calls_total", outcome);
    histogram!("faasm_call_seconds").record(usage.wall_time);
    histogram!("faasm_call_cpu_seconds").record(usage.cpu_time);
    match usage.own_memory {
        Some(bytes) => {
            histogram!("faasm_call_own_memory_bytes").record(bytes as f64);
            counter!("faasm_resets_total", "result" => "in_place").increment(1);
        }
        None => counter!("faasm_resets_total", "result" => "dropped").increment(1),
    }
}

/// A call that did not begin.
pub(crate) fn turned_away(failure: &CallFailure) {
    count_outcome!("faasm_calls_total", failure.error.kind());
}

pub(crate) fn loaded(result: &Result<Output, CallFailure>) {
    let (outcome, usage) = outcome(result);
    count_outcome!("faasm_loads_total", outcome);
    if result.is_ok() {
        histogram!("faasm_load_seconds").record(usage.wall_time);
    }
}

pub(crate) fn waited(time: Duration) {
    histogram!("faasm_wait_seconds").record(time);
}

pub(crate) fn chained() {
    counter!("faasm_chained_calls_total").increment(1);
}

/// A request for state: how many bytes it read, or `None` if it was refused, and how many it wrote.
pub(crate) fn state(read: Option<u64>, written: u64) {
    match read {
        Some(read) => {
            counter!("faasm_state_operations_total", "outcome" => "answered").increment(1);
            counter!("faasm_state_read_bytes_total").increment(read);
            counter!("faasm_state_written_bytes_total").increment(written);
        }
        None => counter!("faasm_state_operations_total", "outcome" => "refused").increment(1),
    }
}

/// What a call ended with, and what it took.
pub(crate) fn outcome(result: &Result<Output, CallFailure>) -> (&'static str, Usage) {
    match result {
        Ok(output) => ("returned", output.usage),
        Err(failure) => (failure.error.kind(), failure.usage),
    }
}
