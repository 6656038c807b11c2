//! One guest from its start to its end, and what its end is called.

use std::sync::Arc;
use std::time::{Duration, Instant};

use faasm_image::{Fault, Guest, MemoryImage, Spent};
use wasmtime_wasi::I32Exit;

use crate::call::{CallError, CallFailure, Output, Usage};
use crate::host::{Host, NoRoom, OutputTooLarge, Tally, WaitedTooLong, abi};
use crate::runtime::Inner;

/// A guest with the limits it was given, for what its end is to be called.
pub(crate) struct Sandbox {
    pub(crate) guest: Guest<Host>,
    started: Instant,
    memory_limit: usize,
    output_limit: usize,
    time_limit: Duration,
}

impl Sandbox {
    /// Starts a guest. Its time counts from here.
    pub(crate) fn new(
        runtime: &Arc<Inner>,
        memory: &MemoryImage,
        mut host: Host,
        timeout: Option<Duration>,
    ) -> Result<Self, CallFailure> {
        let started = Instant::now();
        let limits = runtime.limits(timeout);
        host.begin(runtime, limits.deadline.and_then(|after| started.checked_add(after)));
        match runtime.program.instantiate(memory, limits, host) {
            Ok(mut guest) => {
                let stopper = guest.stopper();
                guest.data_mut().watch(stopper);
                Ok(Self {
                    guest,
                    started,
                    memory_limit: limits.memory,
                    output_limit: runtime.output_limit,
                    time_limit: timeout.unwrap_or(runtime.timeout),
                })
            }
            Err(error) => Err(CallFailure::fault(format!("the sandbox did not start: {error}"))),
        }
    }

    /// Calls an entry point; an empty name stands for the function's own.
    pub(crate) async fn call(&mut self, entry: &str) -> Result<i32, Fault> {
        let mut pointer = 0_u32;
        let length = entry.len() as u32;
        if length > 0 {
            pointer = self.guest.call("faasm_alloc", (length,)).await?;
            if pointer == 0 {
                return Err(Fault::Memory);
            }
            self.guest.write(pointer, entry.as_bytes())?;
        }
        self.guest.call("faasm_call", (pointer, length)).await
    }

    /// Reads the results out of the sandbox and ends it.
    pub(crate) fn finish(self, status: Result<i32, Fault>) -> Result<Output, CallFailure> {
        let (memory, hit_memory_limit) = (self.guest.memory_size(), self.guest.memory_limit_hit());
        let (host, Spent { own_memory, cpu_time }) =
            tracing::trace_span!(target: "py_func", "reset").in_scope(|| self.guest.finish());
        let remains = host.into_remains();
        let (stdout, stderr) = (remains.stdout, remains.stderr);
        let Tally { state_read, state_written, chained_calls } = remains.tally;
        let usage = Usage {
            wall_time: self.started.elapsed(),
            cpu_time,
            memory,
            own_memory,
            state_read,
            state_written,
            output: remains.output.len() + stdout.len() + stderr.len(),
            chained_calls,
        };

        let over_memory = |text: String| CallError::MemoryLimit { limit: self.memory_limit, text };
        let over_time = |text: String| CallError::TimeLimit { limit: self.time_limit, text };
        let error = match (remains.failure, status) {
            (_, Err(Fault::Deadline)) => over_time(String::new()),
            (_, Err(Fault::Memory)) => over_memory(String::new()),
            (_, Err(Fault::StackOverflow)) => CallError::StackLimit,
            (_, Err(Fault::Host(error))) if error.is::<OutputTooLarge>() => {
                CallError::OutputLimit { limit: self.output_limit }
            }
            (_, Err(Fault::Host(error))) if error.is::<NoRoom>() => CallError::NoRoom,
            (_, Err(Fault::Host(error))) => {
                if let Some(waited) = error.downcast_ref::<WaitedTooLong>() {
                    over_time(waited.to_string())
                } else if let Some(I32Exit(status)) = error.downcast_ref() {
                    // `os._exit()`, which skips everything that happens at the end of a call.
                    return Ok(Output { status: *status, output: remains.output, stdout, stderr, usage });
                } else {
                    CallError::Fault { reason: format!("{error:#}") }
                }
            }
            (_, Err(fault)) => CallError::Fault { reason: fault.to_string() },
            (Some((abi::FAASM_FAIL_MEMORY, text)), _) if hit_memory_limit => over_memory(text),
            (Some((kind, text)), _) => match kind {
                abi::FAASM_FAIL_SYNTAX => CallError::Syntax { text },
                abi::FAASM_FAIL_ENTRY => CallError::Entry { text },
                abi::FAASM_FAIL_RESULT => CallError::Result { text },
                abi::FAASM_FAIL_TIME => over_time(text),
                _ => CallError::Exception { traceback: text },
            },
            (None, Ok(status)) => {
                return Ok(Output { status, output: remains.output, stdout, stderr, usage });
            }
        };
        Err(CallFailure { error, stdout, stderr, usage })
    }
}
