//! Generated
#![allow(missing_docs)]
pub const FAASM_ABI_VERSION: u32 = 1;
pub const FAASM_FAIL_EXCEPTION: u32 = 1;
pub const FAASM_FAIL_SYNTAX: u32 = 2;
pub const FAASM_FAIL_ENTRY: u32 = 3;
pub const FAASM_FAIL_RESULT: u32 = 4;
pub const FAASM_FAIL_MEMORY: u32 = 5;
