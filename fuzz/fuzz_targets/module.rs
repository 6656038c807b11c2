#![no_main]

// Modules that clients send as runtimes are taken apart before they are compiled.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drop(faasm_image::boot_memory(bytes)));
