//! Exceptions that guests throw.

use std::time::Duration;

use faasm_image::{Code, Fault, Guest, Limits, MemoryImage, Program, boot_memory, compile};

/// Throws in many ways.
const GUEST: &str = r#"(module
    (memory (export "memory") 1)
    (tag $t (param i32))
    (tag $other)
    (func $throw (export "throw") (param i32) (throw $t (local.get 0)))
    (func (export "catch") (param i32) (result i32)
        (block $caught (result i32)
            (try_table (catch $t $caught) (call $throw (local.get 0)))
            unreachable))
    (func $deep (export "catch_from_below") (param i32) (result i32)
        (block $caught (result i32)
            (try_table (catch $t $caught)
                (if (local.get 0)
                    (then (throw $t (i32.add (call $deep (i32.sub (local.get 0) (i32.const 1))) (i32.const 1))))
                    (else (throw $t (i32.const 0)))))
            unreachable))
    ;; What is thrown again and again on its way up.
    (func $held (export "hold") (param i32)
        (block $caught (result exnref)
            (try_table (catch_all_ref $caught)
                (if (local.get 0)
                    (then (call $held (i32.sub (local.get 0) (i32.const 1))))
                    (else (throw $other))))
            unreachable)
        throw_ref)
    (func (export "catch_many") (param i32)
        (loop $again
            (block $caught
                (try_table (catch $other $caught) (throw $other)))
            (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
    (func $held_back (export "catch_at_a_time") (param i32) (local exnref)
        (block $caught (result exnref)
            (try_table (catch_all_ref $caught) (throw $other))
            unreachable)
        (local.set 1)
        (if (local.get 0) (then (call $held_back (i32.sub (local.get 0) (i32.const 1)))))
        (drop (ref.is_null (local.get 1)))
        (if (i32.const 0) (then (throw_ref (local.get 1)))))
    (func (export "grow_and_throw") (param i32)
        (if (i32.eq (memory.grow (local.get 0)) (i32.const -1)) (then (throw $other))))
    (func (export "spin") (loop $again (try_table (catch $other $again) (throw $other)))))"#;

const UNLIMITED: Limits = Limits { memory: 4 << 30, deadline: None, interrupt: None };

fn program() -> (Program<()>, MemoryImage) {
    let wasm = wat::parse_str(GUEST).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), compile(&wasm, None).unwrap()).unwrap();
    let program = Program::new(&Code::load(file.path()).unwrap(), |_| Ok(())).unwrap();
    (program, MemoryImage::from_bytes(&boot_memory(&wasm).unwrap()).unwrap())
}

fn call<R: wasmtime::WasmResults + Sync + 'static>(
    guest: &mut Guest<()>,
    name: &str,
    number: i32,
) -> Result<R, Fault> {
    pollster::block_on(guest.call(name, number))
}

#[test]
fn what_is_thrown_is_caught_in_every_sandbox() {
    let (program, image) = program();
    for round in 0..20 {
        let mut guest = program.instantiate(&image, UNLIMITED, ()).unwrap();
        assert_eq!(call::<i32>(&mut guest, "catch", round).unwrap(), round);
        assert_eq!(call::<i32>(&mut guest, "catch_from_below", 100).unwrap(), 100);
        guest.finish();
    }
}

#[test]
fn what_nobody_catches_is_a_fault() {
    let (program, image) = program();
    for (name, number) in [("throw", 7), ("hold", 5)] {
        let mut guest = program.instantiate(&image, UNLIMITED, ()).unwrap();
        let fault = call::<()>(&mut guest, name, number).unwrap_err();
        assert!(matches!(&fault, Fault::Trap(text) if text.contains("nobody catches")), "{fault}");
        guest.finish();
        // The next one knows nothing of it.
        let mut guest = program.instantiate(&image, UNLIMITED, ()).unwrap();
        assert_eq!(call::<i32>(&mut guest, "catch", number).unwrap(), number);
    }
}

/// What was caught and can be caught no more makes room.
#[test]
fn a_million_exceptions_take_no_memory() {
    let (program, image) = program();
    let mut guest = program.instantiate(&image, UNLIMITED, ()).unwrap();
    call::<()>(&mut guest, "catch_many", 1_000_000).unwrap();
}

#[test]
fn more_at_a_time_than_there_is_room_for_is_a_fault() {
    let (program, image) = program();
    let mut guest = program.instantiate(&image, UNLIMITED, ()).unwrap();
    call::<()>(&mut guest, "catch_at_a_time", 1000).unwrap();
    let fault = call::<()>(&mut guest, "catch_at_a_time", 100_000).unwrap_err();
    assert!(matches!(&fault, Fault::Trap(text) if text.contains("too many exceptions")), "{fault}");
}

/// As an uncaught `std::bad_alloc`.
#[test]
fn what_is_thrown_for_want_of_memory_says_so() {
    let (program, image) = program();
    let limits = Limits { memory: 2 << 16, ..UNLIMITED };
    let mut guest = program.instantiate(&image, limits, ()).unwrap();
    let fault = call::<()>(&mut guest, "grow_and_throw", 5).unwrap_err();
    assert!(matches!(fault, Fault::Memory), "{fault}");
}

#[test]
fn a_loop_of_exceptions_is_stopped() {
    let (program, image) = program();
    let limits = Limits { deadline: Some(Duration::from_millis(50)), ..UNLIMITED };
    let mut guest = program.instantiate(&image, limits, ()).unwrap();
    let fault = pollster::block_on(guest.call::<(), ()>("spin", ())).unwrap_err();
    assert!(matches!(fault, Fault::Deadline), "{fault}");
}
