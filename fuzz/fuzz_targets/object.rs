//! Objects that compilers have made, of which extension modules are linked. What was mended must be an object with the same symbols
//! that needs no repair.
#![no_main]

use faasm_wasm_link::{object, repair};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = object::make_private(bytes, |name| name.starts_with("PyInit_").then(|| name.to_owned()));
    if let Ok((changed, _)) = object::take_constructors(bytes, |number| format!("constructor_{number}")) {
        let again = object::take_constructors(&changed, |_| String::new()).expect("what was changed can be read");
        assert_eq!(again.1, 0);
    }
    let Ok(once) = repair::repair(bytes) else { return };
    if once.mended.is_empty() {
        assert_eq!(once.object, bytes);
        return;
    }
    let twice = repair::repair(&once.object).expect("what was mended can be read");
    assert!(twice.mended.is_empty(), "{:?}", twice.mended);
    if let Ok(symbols) = object::symbols(bytes) {
        let mended = object::symbols(&once.object).expect("its symbols can be read");
        assert!(mended.starts_with(&symbols));
    }
});
