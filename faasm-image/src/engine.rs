//! The engine's settings, in one place: machine code runs only in an engine whose settings match those it was
//! compiled with.

use std::{
    hash::{Hash as _, Hasher},
    num::NonZeroUsize,
    sync::{Arc, OnceLock},
};

use sha2::{Digest as _, Sha256};
use wasmtime::{Collector, Config, Engine, Inlining, ModuleVersionStrategy, OptLevel, WasmFeatures};

use crate::{
    Error, Result, file, host_target,
    memory::{Creator, PAGE},
    target,
};

/// The version of the engine that compiles and runs guests, as it is written into manifests.
pub const ENGINE_VERSION: &str = wasmtime_environ::VERSION;

/// The version of what code and this crate agree on besides the engine: how guests are stopped (`code/poll.rs`).
const CONVENTION: u32 = 2;

/// Address space reserved for a guest's memory, in bytes: all that a 32-bit address can reach, so that compiled code
/// needs no bounds checks.
pub(crate) const RESERVATION: usize = 4 << 30;

/// Inaccessible address space on both sides of the reservation, in bytes, which catches addresses with a static
/// offset.
pub(crate) const GUARD: usize = 32 << 20;

/// The most memory that exceptions of a guest take which were thrown and may still be caught, in bytes.
pub(crate) const EXCEPTIONS: usize = 1 << 20;

/// Native stack that a guest may use, in bytes. A guest which needs more ends with
/// [`Fault::StackOverflow`](crate::Fault::StackOverflow). CPython limits the recursion of its C code by number, not by size, and
/// its developers run it with this much on WASI (`Tools/wasm/wasi.py`).
pub(crate) const GUEST_STACK: usize = 16 << 20;

/// Native stack kept free above [`GUEST_STACK`] for the functions of the host that a guest calls, in bytes.
pub(crate) const HOST_STACK: usize = 512 << 10;

/// WebAssembly features guests may use: what C compilers emit. They are listed rather than left to the engine's
/// default, because that default depends on the Cargo features of the engine, which differ between the build script
/// that compiles an image and the program that runs it.
const FEATURES: WasmFeatures = WasmFeatures::WASM2
    // Of garbage collection there is what exceptions need.
    .union(WasmFeatures::EXCEPTIONS)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::TAIL_CALL);

/// A hash of everything besides the WebAssembly module that decides which machine code [`compile`](crate::compile)
/// makes: engine version, settings, target, and without a target the features of this machine's processor. In
/// lower-case hexadecimal; it is meant as part of a cache key.
pub fn fingerprint(target: Option<&str>) -> Result<String> {
    let mut hasher = StableHasher(Sha256::new());
    crate::FORMAT.hash(&mut hasher);
    compiler(target)?.precompile_compatibility_hash().hash(&mut hasher);
    Ok(file::hex(hasher.0))
}

/// The engine that runs guests. There is one for the process: its memories are mapped from images by [`Creator`].
pub(crate) fn engine() -> Result<&'static Engine> {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    if let Some(engine) = ENGINE.get() {
        return Ok(engine);
    }
    let engine = config(None)
        .and_then(|mut config| Engine::new(config.with_host_memory(Arc::new(Creator))))
        .map_err(|source| Error::Engine { target: host_target(), source })?;
    Ok(ENGINE.get_or_init(|| engine))
}

/// An engine that only compiles. A named target gets code for its baseline processor, or the level that it names; no
/// target, code for exactly this machine's processor.
pub(crate) fn compiler(target: Option<&str>) -> Result<Engine> {
    config(target)
        .and_then(|config| Engine::new(&config))
        .map_err(|source| Error::Engine { target: target.map_or_else(host_target, str::to_owned), source })
}

fn config(target: Option<&str>) -> wasmtime::Result<Config> {
    let mut config = target.map_or_else(|| Ok(Config::new()), target::config)?;
    // By default the engine takes code of any patch release. A patch release may fix the compiler, so code made by
    // another one is to be made again.
    config.module_version(ModuleVersionStrategy::Custom(format!("{ENGINE_VERSION}.{CONVENTION}")))?;
    config
        .wasm_features(FEATURES.complement(), false)
        .wasm_features(FEATURES, true)
        // As with the features: its default depends on the engine's Cargo features.
        .concurrency_support(false)
        .cranelift_opt_level(OptLevel::Speed)
        .memory_reservation(RESERVATION as u64)
        .memory_guard_size(GUARD as u64)
        .guard_before_linear_memory(true)
        .memory_may_move(false)
        // Where exceptions are until they are caught. A guest that throws none has no such memory.
        .collector(Collector::DeferredReferenceCounting)
        .gc_heap_initial_size(PAGE as u64)
        .gc_heap_reservation(EXCEPTIONS as u64)
        .gc_heap_guard_size(0)
        .gc_heap_reservation_for_growth(0)
        .gc_heap_may_move(false)
        // The initial content comes from memory images; the modules have no data segments left.
        .memory_init_cow(false)
        .max_wasm_stack(GUEST_STACK)
        .async_stack_size(GUEST_STACK + HOST_STACK)
        // A fresh instance is made for every call. With eager tables that takes a hundred times longer.
        .table_lazy_init(true)
        // How guests are stopped: code/poll.rs.
        .epoch_interruption(false)
        .compiler_inlining(Inlining::No)
        // Backtraces name functions. Addresses within them would only make the code file larger.
        .generate_address_map(false)
        .wasm_backtrace_max_frames(NonZeroUsize::new(20));
    Ok(config)
}

/// Collects what `Hash` implementations feed into SHA-256, which unlike the standard library's hasher is the same in
/// every process and Rust version.
struct StableHasher(Sha256);

impl Hasher for StableHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let digest = self.0.clone().finalize();
        digest.iter().take(8).fold(0, |value, byte| value << 8 | u64::from(*byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_stable_and_tell_targets_apart() {
        let host = host_target();
        assert_eq!(fingerprint(Some(&host)).unwrap(), fingerprint(Some(&host)).unwrap());
        // The host's own processor has more features than the baseline of its architecture.
        assert_ne!(fingerprint(Some(&host)).unwrap(), fingerprint(None).unwrap());
    }

    #[test]
    fn an_unknown_target_is_named() {
        let error = fingerprint(Some("pdp11-dec-unix")).unwrap_err();
        assert_eq!(error.to_string(), "set up the engine for pdp11-dec-unix");
    }
}
