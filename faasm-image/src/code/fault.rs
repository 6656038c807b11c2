//! Why a call into a guest did not return.

use wasmtime::{GcHeapOutOfMemory, ThrownException, Trap, WasmBacktrace};

use crate::memory::{Mapping, Stopped};

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
    #[error("the memory limit was reached")]
    Memory,
    /// The guest's calls were nested too deeply.
    #[error("the stack overflowed")]
    StackOverflow,
    /// The guest did something that has no result: it ran into `unreachable` (what `abort` compiles to), accessed an
    /// address outside its memory, divided by zero, called a function through a pointer of another type. The text says
    /// what, and names the innermost functions it was in.
    #[error("{0}")]
    Trap(String),
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
    /// What the engine's error means in a guest with this memory.
    pub(super) fn new(error: wasmtime::Error, mapping: &Mapping) -> Fault {
        let trap = error.downcast_ref::<Trap>();
        let text = match trap {
            Some(trap) => trap.to_string(),
            None if error.is::<Stopped>() => return Fault::Deadline,
            None if error.is::<ThrownException>() => "an exception was thrown that nobody catches".to_owned(),
            None if error.is::<GcHeapOutOfMemory<()>>() => {
                "there are too many exceptions at a time".to_owned()
            }
            None => return Fault::Host(error),
        };
        match trap {
            // What it failed for may have been something else, but it was to be stopped.
            _ if mapping.stopped() => Fault::Deadline,
            Some(Trap::StackOverflow) => Fault::StackOverflow,
            _ if mapping.limit_hit() => Fault::Memory,
            _ => {
                let text = text.strip_prefix("wasm trap: ").unwrap_or(&text).to_owned();
                Fault::Trap(with_functions(text, error.downcast_ref()))
            }
        }
    }
}

fn with_functions(mut text: String, backtrace: Option<&WasmBacktrace>) -> String {
    // Enough to see what the guest was doing.
    const FUNCTIONS: usize = 6;
    let frames = backtrace.map_or(&[][..], WasmBacktrace::frames);
    for (index, frame) in frames.iter().take(FUNCTIONS).enumerate() {
        text.push_str(if index == 0 { " in " } else { " <- " });
        match frame.func_name() {
            Some(name) => text.push_str(name),
            None => text.push_str(&format!("function {}", frame.func_index())),
        }
    }
    text
}
