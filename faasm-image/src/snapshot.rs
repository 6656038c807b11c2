//! The memory of a guest before its first instruction.

use std::{fs::File, path::Path};

use wasmparser::{Data, DataKind, Operator, Parser, Payload};

use crate::{
    Error, Result,
    engine::RESERVATION,
    memory::{PAGE, copy_sparse},
};

/// The initial memory of a WebAssembly module: as large as its declared minimum, with its data segments applied.
///
/// Fails if the module has a data segment whose place is not a constant, which position-independent code has, or one
/// that only the guest's own code applies. `wasm-ld` makes neither for a static program.
pub fn boot_memory(wasm: &[u8]) -> Result<Vec<u8>> {
    read(wasm, RESERVATION)
}

/// Writes the [initial memory](boot_memory) of a module to a file, in which zeros take no room.
///
/// Fails, before anything is written, also if it has more than `most` bytes.
pub fn save_boot_memory(wasm: &[u8], path: &Path, most: usize) -> Result<()> {
    let memory = read(wasm, most.min(RESERVATION))?;
    let write = |file: File| {
        copy_sparse(memory.len(), &file, |at, block| {
            block.copy_from_slice(&memory[at..at + block.len()]);
            Ok(())
        })
    };
    File::create(path).and_then(write).map_err(Error::io("write", path))
}

/// The initial memory of a module, of `most` bytes at most.
fn read(wasm: &[u8], most: usize) -> Result<Vec<u8>> {
    let mut memory = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::MemorySection(section) => {
                for ty in section {
                    let pages = usize::try_from(ty?.initial).unwrap_or(usize::MAX);
                    let size = pages.checked_mul(PAGE).filter(|size| *size <= most).ok_or_else(|| {
                        let most = most >> 20;
                        Error::Unsuitable(format!("its memory of {pages} pages is larger than {most} MiB"))
                    })?;
                    memory = vec![0; size];
                }
            }
            Payload::DataSection(section) => {
                for (index, segment) in section.into_iter().enumerate() {
                    apply(&mut memory, index, &segment?)?;
                }
            }
            _ => {}
        }
    }
    Ok(memory)
}

fn apply(memory: &mut [u8], index: usize, segment: &Data<'_>) -> Result<()> {
    let DataKind::Active { memory_index: 0, offset_expr } = &segment.kind else {
        return Err(Error::Unsuitable(format!(
            "data segment {index} is not applied to its memory at the start"
        )));
    };
    let mut operators = offset_expr.get_operators_reader();
    let (Operator::I32Const { value }, Operator::End) = (operators.read()?, operators.read()?) else {
        return Err(Error::Unsuitable(format!("data segment {index} has an offset that is not a constant")));
    };
    // Addresses are unsigned, constants are written signed.
    let start = value.cast_unsigned() as usize;
    let place =
        memory.get_mut(start..).and_then(|rest| rest.get_mut(..segment.data.len())).ok_or_else(|| {
            Error::Unsuitable(format!("data segment {index} lies outside its memory, at {start:#x}"))
        })?;
    place.copy_from_slice(segment.data);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_segments_are_applied_in_order() {
        let wasm = r#"(module (memory 2)
            (data (i32.const 8) "hello") (data (i32.const 9) "E") (data (i32.const 131071) "!"))"#;
        let memory = boot_memory(&wat::parse_str(wasm).unwrap()).unwrap();
        let mut expected = vec![0; 2 * PAGE];
        expected[8..13].copy_from_slice(b"hEllo");
        expected[131_071] = b'!';
        assert!(memory == expected);
    }

    #[test]
    fn a_large_memory_takes_no_room_and_one_that_is_too_large_is_not_written() {
        use std::os::unix::fs::MetadataExt as _;

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("boot.mem");
        let wasm = wat::parse_str(r#"(module (memory 1000) (data (i32.const 50000000) "x"))"#).unwrap();
        let error = save_boot_memory(&wasm, &path, 999 * PAGE).unwrap_err();
        assert!(error.to_string().contains("its memory of 1000 pages is larger than 62 MiB"), "{error}");
        assert!(!path.exists());
        save_boot_memory(&wasm, &path, 1000 * PAGE).unwrap();
        assert!(std::fs::read(&path).unwrap() == boot_memory(&wasm).unwrap());
        // Blocks of 512 bytes.
        assert!(path.metadata().unwrap().blocks() < 1000);
        // One without a memory has none to write.
        save_boot_memory(&wat::parse_str("(module)").unwrap(), &directory.path().join("none"), PAGE).unwrap();
    }

    #[test]
    fn what_cannot_be_applied_is_named() {
        let cases = [
            (r#"(module (memory 1) (data "x"))"#, "data segment 0 is not applied"),
            (
                r#"(module (memory 1) (data (i32.const 65535) "xy"))"#,
                "data segment 0 lies outside its memory, at 0xffff",
            ),
            (r#"(module (memory 1) (data (i32.const -1) "x"))"#, "lies outside its memory, at 0xffffffff"),
            (
                r#"(module (import "env" "b" (global $b i32)) (memory 1) (data (global.get $b) "x"))"#,
                "data segment 0 has an offset that is not a constant",
            ),
        ];
        for (wasm, expected) in cases {
            let error = boot_memory(&wat::parse_str(wasm).unwrap()).unwrap_err();
            assert!(error.to_string().contains(expected), "{wasm}: {error}");
        }
    }
}
