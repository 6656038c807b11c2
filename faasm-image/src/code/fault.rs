//! Why a call into a guest did not return.

use std::fmt::Write as _;

use wasmtime::{Trap, WasmBacktrace};

/// Why a call into a guest did not return. The guest's state is undefined afterwards: drop it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The guest ran past [`Limits::deadline`](crate::Limits::deadline).
    #[error("the deadline passed")]
    Deadline,
    /// The guest trapped after its memory reached [`Limits::memory`](crate::Limits::memory) and growing it further
    /// was refused. Guests usually handle the refusal, and then there is no fault but
    /// [`Guest::memory_limit_hit`](crate::Guest::memory_limit_hit) tells.
    #[error("the memory limit of {limit} bytes was reached")]
    Memory {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The guest's calls were nested too deeply.
    #[error("the stack overflowed")]
    StackOverflow,
    /// The guest did something that has no result: it ran into `unreachable` (what `abort` compiles to), accessed an
    /// address outside its memory, divided by zero, called a function through a pointer of another type.
    #[error("{what}{}", in_functions(functions))]
    Trap {
        /// What it did, in words.
        what: String,
        /// The functions it was in, innermost first, as far as they have names.
        functions: Vec<String>,
    },
    /// A function of the host ended the call. What it returned can be had by downcasting, which is also how an exit
    /// from the guest arrives that the host's WASI functions turn into an error.
    #[error("a function of the host ended the call")]
    Host(#[source] wasmtime::Error),
    /// The guest has no such function.
    #[error("the guest has no function `{name}` of the type {ty}")]
    NoFunction {
        /// The name that was called.
        name: String,
        /// The parameters and results that were asked for.
        ty: &'static str,
    },
    /// An address range lies outside the guest's memory.
    #[error("{len} bytes at {address:#x} lie outside the guest's memory of {size} bytes")]
    Address {
        /// Where the range starts.
        address: u32,
        /// The length of the range, in bytes.
        len: usize,
        /// The size of the memory, in bytes.
        size: usize,
    },
}

impl Fault {
    /// What the engine's error means; `limit` is the memory limit if it was hit.
    pub(super) fn new(error: wasmtime::Error, limit: Option<usize>) -> Fault {
        match error.downcast_ref::<Trap>() {
            None => Fault::Host(error),
            Some(Trap::Interrupt) => Fault::Deadline,
            Some(Trap::StackOverflow) => Fault::StackOverflow,
            Some(trap) => match limit {
                Some(limit) => Fault::Memory { limit },
                None => {
                    let text = trap.to_string();
                    let what = text.strip_prefix("wasm trap: ").unwrap_or(&text).to_owned();
                    Fault::Trap { what, functions: functions(&error) }
                }
            },
        }
    }
}

fn functions(error: &wasmtime::Error) -> Vec<String> {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return Vec::new() };
    let name = |frame: &wasmtime::FrameInfo| {
        frame.func_name().map_or_else(|| format!("function {}", frame.func_index()), str::to_owned)
    };
    backtrace.frames().iter().map(name).collect()
}

fn in_functions(functions: &[String]) -> String {
    // Enough to see what the guest was doing; the rest is in the field.
    const SHOWN: usize = 6;
    let mut text = String::new();
    for (index, name) in functions.iter().take(SHOWN).enumerate() {
        let link = if index == 0 { " in" } else { " <-" };
        let _ = write!(text, "{link} {name}");
    }
    text
}
