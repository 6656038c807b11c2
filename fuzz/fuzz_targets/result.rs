#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| py_func::server::checks::result(bytes));
