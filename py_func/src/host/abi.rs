//! The constants of the host interface, generated from `guest/faasm.h`. To make them anew:
//! `FAASM_BLESS=1 cargo test -p faasm-tests --test abi`.

#![allow(dead_code, reason = "all of the interface is here, whatever the host uses of it")]

pub(crate) const FAASM_ABI_VERSION: u32 = 1;
pub(crate) const FAASM_FAIL_EXCEPTION: u32 = 1;
pub(crate) const FAASM_FAIL_SYNTAX: u32 = 2;
pub(crate) const FAASM_FAIL_ENTRY: u32 = 3;
pub(crate) const FAASM_FAIL_RESULT: u32 = 4;
pub(crate) const FAASM_FAIL_MEMORY: u32 = 5;
