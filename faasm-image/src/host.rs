//! The engine's types which functions offered to guests are written against, in one place, so that crates which
//! link such functions follow the engine version of this crate.

pub use wasmtime::{
    AsContext, AsContextMut, Caller, Error, Extern, Linker, Memory, Result, StoreContext, StoreContextMut,
    WasmParams, WasmResults, bail, format_err,
};
