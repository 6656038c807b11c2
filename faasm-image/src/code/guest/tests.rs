use std::{
    pin::Pin,
    sync::Barrier,
    task::{Context, Poll, Waker},
    thread,
};

use super::*;
use crate::{Code, boot_memory, compile};

impl<T: Send + 'static> Guest<T> {
    /// As [`Guest::call`], on this thread.
    fn now<P: WasmParams + Sync + 'static, R: WasmResults + Sync + 'static>(
        &mut self,
        name: &str,
        params: P,
    ) -> Result<R, Fault> {
        pollster::block_on(self.call(name, params))
    }
}

const PAGE: u32 = 64 << 10;
const UNLIMITED: Limits = Limits { memory: 4 << 30, deadline: None, interrupt: None };

/// A guest that can do everything these tests need.
const GUEST: &str = r#"(module
    (memory (export "memory") 1)
    (data (i32.const 16) "boot")
    (global $sp (export "__stack_pointer") (mut i32) (i32.const 65536))
    (func (export "size") (result i32) (memory.size))
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
    (func (export "store") (param i32 i32) (i32.store (local.get 0) (local.get 1)))
    (func (export "fill") (param i32)
        (memory.fill (i32.const 0) (local.get 0) (i32.mul (memory.size) (i32.const 65536)))
        (global.set $sp (local.get 0)))
    (func (export "stack_pointer") (result i32) (global.get $sp))
    (func (export "spin") (loop (br 0)))
    (func (export "spin_and_read") (loop (drop (i32.load (i32.const 64))) (br 0)))
    (func (export "spin_and_write") (loop (i32.store (i32.const 64) (i32.const 1)) (br 0)))
    (func (export "spin_and_write_back") (loop (i32.store (i32.const 64) (i32.load (i32.const 64))) (br 0)))
    (func (export "spin_and_overwrite")
        (loop (i32.store (i32.const 64) (i32.const 1)) (i32.store (i32.const 64) (i32.const 2)) (br 0)))
    (func (export "spin_after_reads") (drop (i32.load8_u (i32.const 0))) (drop (i64.load8_s (i32.const 0)))
        (loop (br 0)))
    (func (export "spin_and_grow") (loop (drop (memory.grow (i32.const 0))) (br 0)))
    (func (export "spin_in_new_memory") (local $new i32)
        (local.set $new (i32.mul (memory.grow (i32.const 1)) (i32.const 65536)))
        (loop (i32.store (local.get $new) (i32.const 1)) (br 0)))
    (func (export "copy") (param i32 i32 i32) (memory.copy (local.get 0) (local.get 1) (local.get 2)))
    (func (export "fill_range") (param i32 i32 i32) (memory.fill (local.get 0) (local.get 1) (local.get 2)))
    (func (export "spin_and_copy") (param i32)
        (loop (memory.copy (i32.const 0) (i32.const 64) (local.get 0)) (br 0)))
    (func (export "spin_and_fill") (param i32)
        (loop (memory.fill (i32.const 0) (i32.const 64) (local.get 0)) (br 0)))
    (func (export "spin_deeply") (param i32)
        (loop $outer (local.set 0 (i32.const 0))
            (loop $inner (br_if $inner (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 9))))
            (br $outer)))
    (func $tree (export "recurse_widely") (param i32)
        (if (local.get 0) (then
            (call $tree (i32.sub (local.get 0) (i32.const 1)))
            (call $tree (i32.sub (local.get 0) (i32.const 1))))))
    (func $deep (export "recurse_to") (param i32) (result i32)
        (if (result i32) (local.get 0)
            (then (i32.add (call $deep (i32.sub (local.get 0) (i32.const 1))) (i32.const 1)))
            (else (i32.const 0))))
    (func $chain (export "tail_call") (return_call $chain))
    (func (export "wait_for") (param i32) (loop (br_if 0 (i32.eqz (i32.load (local.get 0))))))
    (func $recurse (export "recurse") (param i32) (result i32)
        (i32.add (call $recurse (local.get 0)) (i32.const 1)))
    (func $abort unreachable)
    (func $work (export "fail_midway")
        (global.set $sp (i32.sub (global.get $sp) (i32.const 32)))
        (call $abort)))"#;

fn program(text: &str) -> (Program<()>, MemoryImage) {
    linked(text, |_| Ok(()))
}

fn linked(
    text: &str,
    link: impl FnOnce(&mut wasmtime::Linker<()>) -> wasmtime::Result<()>,
) -> (Program<()>, MemoryImage) {
    let wasm = wat::parse_str(text).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), compile(&wasm, None).unwrap()).unwrap();
    let program = Program::new(&Code::load(file.path()).unwrap(), link).unwrap();
    (program, MemoryImage::from_bytes(&boot_memory(&wasm).unwrap()).unwrap())
}

#[test]
fn every_sandbox_starts_as_its_image_whatever_others_did() {
    let (program, image) = program(GUEST);
    let untouched = {
        let mut bytes = vec![0; PAGE as usize];
        bytes[16..20].copy_from_slice(b"boot");
        bytes
    };
    for round in 0..5 {
        let mut guest = program.instantiate(&image, UNLIMITED, ()).unwrap();
        assert_eq!(guest.memory_size(), PAGE as usize, "round {round}");
        assert!(guest.read(0, PAGE as usize).unwrap() == untouched, "round {round}");
        assert_eq!(guest.now::<_, i32>("stack_pointer", ()).unwrap(), 65536);
        assert!(matches!(guest.now::<_, i32>("load", PAGE), Err(Fault::Trap(_))));

        // Other sizes in other rounds, so that memory one round grew into is grown into again by the next.
        let more = [3, 1, 7, 2, 3][round];
        assert_eq!(guest.now::<_, i32>("grow", more).unwrap(), 1);
        let grown = guest.read(PAGE, (more * PAGE) as usize).unwrap();
        assert!(grown.iter().all(|byte| *byte == 0), "round {round}");
        guest.now::<_, ()>("fill", 0xa5_u32).unwrap();
        guest.write(20, b"host").unwrap();
    }
}

#[test]
fn an_image_may_be_larger_than_the_module_declares() {
    let (program, _) = program(GUEST);
    let mut bytes = vec![0; 5 * PAGE as usize];
    let last = 5 * PAGE - 4;
    bytes[last as usize..].copy_from_slice(&7_u32.to_le_bytes());
    let image = MemoryImage::from_bytes(&bytes).unwrap();
    let mut guest = program.instantiate(&image, UNLIMITED, ()).unwrap();

    assert_eq!(guest.now::<_, u32>("size", ()).unwrap(), 5);
    assert_eq!(guest.now::<_, u32>("load", last).unwrap(), 7);
    guest.now::<_, ()>("store", (3 * PAGE, 8_u32)).unwrap();
    assert_eq!(guest.read(3 * PAGE, 4).unwrap(), [8, 0, 0, 0]);
    assert_eq!(guest.now::<_, u32>("grow", 1).unwrap(), 5);
    assert_eq!(guest.now::<_, u32>("load", 5 * PAGE).unwrap(), 0);
    let fault = guest.now::<_, u32>("load", 6 * PAGE).unwrap_err();
    assert!(fault.to_string().starts_with("out of bounds memory access"), "{fault}");
}

#[test]
fn images_that_do_not_fit_are_refused() {
    let (program, image) = program(&GUEST.replace(r#""memory") 1)"#, r#""memory") 2 3)"#));
    let pages = |pages| MemoryImage::from_bytes(&vec![0; pages * PAGE as usize]).unwrap();
    let cases = [
        (pages(1), usize::MAX, "does not belong to this machine code"),
        (pages(4), usize::MAX, "does not belong to this machine code"),
    ];
    for (image, memory, expected) in cases {
        let error = program.instantiate(&image, Limits { memory, ..UNLIMITED }, ()).unwrap_err();
        let Error::Instantiate(source) = error else { panic!("{error}") };
        assert!(format!("{source:#}").contains(expected), "{source:#}");
    }
    let error = program.instantiate(&image, Limits { memory: PAGE as usize, ..UNLIMITED }, ()).unwrap_err();
    assert!(matches!(error, Error::MemoryLimit { image: 131_072, limit: 65_536 }), "{error}");
}

#[test]
fn the_memory_limit_refuses_growth_and_is_reported() {
    let (program, image) = program(GUEST);
    let memory = 3 * PAGE as usize;
    let mut guest = program.instantiate(&image, Limits { memory, ..UNLIMITED }, ()).unwrap();
    assert_eq!(guest.now::<_, i32>("grow", 2).unwrap(), 1);
    assert!(!guest.memory_limit_hit());
    assert_eq!(guest.now::<_, i32>("grow", 1).unwrap(), -1);
    assert!(guest.memory_limit_hit());
    assert_eq!(guest.memory_size(), memory);
    let fault = guest.now::<_, ()>("fail_midway", ()).unwrap_err();
    assert!(matches!(fault, Fault::Memory), "{fault}");
}

#[test]
fn deadlines_stop_their_own_guest_and_no_other() {
    let (program, image) = program(GUEST);
    let limits = |deadline| Limits { memory: usize::MAX, deadline: Some(deadline), interrupt: None };
    let mut patient = program.instantiate(&image, limits(Duration::from_secs(3600)), ()).unwrap();
    let mut unlimited = program.instantiate(&image, UNLIMITED, ()).unwrap();
    for milliseconds in [0, 1, 30] {
        let deadline = Duration::from_millis(milliseconds);
        let mut guest = program.instantiate(&image, limits(deadline), ()).unwrap();
        for _ in 0..2 {
            let fault = guest.now::<_, ()>("spin", ()).unwrap_err();
            assert!(matches!(fault, Fault::Deadline), "{fault}");
        }
        guest.finish();
    }
    assert_eq!(patient.now::<_, u32>("size", ()).unwrap(), 1);
    assert_eq!(unlimited.now::<_, u32>("size", ()).unwrap(), 1);
}

#[test]
fn whatever_a_guest_does_without_end_it_can_be_stopped() {
    let (program, image) = program(GUEST);
    let limits = Limits { deadline: Some(Duration::from_millis(5)), ..UNLIMITED };
    let start = || program.instantiate(&image, limits, ()).unwrap();
    for name in [
        "spin",
        "spin_and_read",
        "spin_and_write",
        "spin_and_write_back",
        "spin_and_overwrite",
        "spin_after_reads",
        "spin_and_grow",
        "spin_in_new_memory",
        "tail_call",
    ] {
        let fault = start().now::<_, ()>(name, ()).unwrap_err();
        assert!(matches!(fault, Fault::Deadline), "{name}: {fault}");
    }
    for (name, argument) in [
        ("spin_deeply", 0),
        ("recurse_widely", 1000),
        ("wait_for", 64),
        ("spin_and_copy", 0),
        ("spin_and_copy", 60_000),
        ("spin_and_fill", 0),
        ("spin_and_fill", 60_000),
    ] {
        let fault = start().now::<_, ()>(name, argument).unwrap_err();
        assert!(matches!(fault, Fault::Deadline), "{name}: {fault}");
    }
}

#[test]
fn guests_are_asked_to_end_before_they_are_stopped() {
    let (program, image) = program(GUEST);
    let interrupt = |address| Some(Interrupt { address, bits: 6, grace: Duration::from_secs(3600) });
    let limits = |address| Limits {
        deadline: Some(Duration::from_millis(5)),
        interrupt: interrupt(address),
        ..UNLIMITED
    };
    for _ in 0..3 {
        let mut guest = program.instantiate(&image, limits(64), ()).unwrap();
        guest.now::<_, ()>("wait_for", 64).unwrap();
        assert_eq!(guest.now::<_, u32>("load", 64).unwrap(), 6);
        guest.finish();
    }
    // One that names a wrong word is stopped when its grace is over, like one that does not heed it.
    for address in [63, 64, PAGE - 2, PAGE, u32::MAX - 3] {
        let mut limits = limits(address);
        limits.interrupt.as_mut().unwrap().grace = Duration::from_millis(5);
        let mut guest = program.instantiate(&image, limits, ()).unwrap();
        let fault = guest.now::<_, ()>("spin", ()).unwrap_err();
        assert!(matches!(fault, Fault::Deadline), "{address}: {fault}");
    }
}

/// What calls the host when told to, so that it is stopped in all of its states.
const CALLER: &str = r#"(module
    (import "host" "work" (func $work))
    (memory (export "memory") 1)
    (global (export "__stack_pointer") (mut i32) (i32.const 0))
    (func (export "run") (loop (call $work) (i32.store (i32.const 0) (i32.const 7)) (br 0))))"#;

#[test]
fn the_host_keeps_its_memory_while_it_has_the_turn() {
    let work = |mut caller: wasmtime::Caller<'_, ()>| {
        let memory = caller.get_export("memory").and_then(Extern::into_memory).unwrap();
        let memory = memory.data_mut(&mut caller);
        memory[4..].fill(3);
        assert!(memory[4..].iter().all(|byte| *byte == 3));
    };
    let (program, image) = linked(CALLER, |linker| linker.func_wrap("host", "work", work).map(|_| ()));
    let (barrier, rounds) = (Barrier::new(2), 300);
    let stoppers = std::sync::Mutex::new(Vec::new());
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..rounds {
                barrier.wait();
                let stopper: Stopper = stoppers.lock().unwrap().pop().unwrap();
                for _ in 0..round * 50 {
                    std::hint::spin_loop();
                }
                stopper.stop();
                barrier.wait();
            }
        });
        for round in 0..rounds {
            let mut guest = program.instantiate(&image, UNLIMITED, ()).unwrap();
            stoppers.lock().unwrap().push(guest.stopper());
            barrier.wait();
            let fault = guest.now::<_, ()>("run", ()).unwrap_err();
            assert!(matches!(fault, Fault::Deadline), "round {round}: {fault}");
            // Also before the one who stops it has returned.
            assert_eq!(guest.read(8, 1).unwrap().len(), 1);
            guest.write(8, b"x").unwrap();
            barrier.wait();
            assert!(matches!(guest.now::<_, ()>("run", ()), Err(Fault::Deadline)));
            guest.finish();
        }
    });
}

#[test]
fn memory_may_be_all_that_addresses_reach() {
    let (program, _) = program(&GUEST.replace(r#""memory") 1)"#, r#""memory") 1 65536)"#));
    let image = MemoryImage::from_bytes(&vec![0; PAGE as usize]).unwrap();
    let mut guest = program.instantiate(&image, UNLIMITED, ()).unwrap();
    assert_eq!(guest.now::<_, i32>("grow", 65536).unwrap(), -1);
    assert_eq!(guest.now::<_, i32>("grow", 65535).unwrap(), 1);
    guest.write(u32::MAX, b"x").unwrap();
    assert_eq!(guest.now::<_, u32>("load", u32::MAX - 3).unwrap(), u32::from(b'x') << 24);
    assert!(guest.now::<_, u32>("load", u32::MAX - 2).is_err());
}

#[test]
fn ranges_are_copied_and_filled() {
    let (program, image) = program(GUEST);
    let mut guest = program.instantiate(&image, UNLIMITED, ()).unwrap();
    let content: Vec<u8> = (0..1000_u32).map(|it| (it * 7 + it / 256) as u8).collect();
    let lens = (0..150).chain([255, 256, 257, 400]);
    for len in lens {
        for (to, from) in [
            (500, 10),
            (10, 500),
            (100, 100),
            (100, 101),
            (101, 100),
            (100, 117),
            (117, 100),
            (100, 163),
            (163, 100),
        ] {
            guest.write(1000, &content).unwrap();
            let mut expected = content.clone();
            expected.copy_within(from..from + len, to);
            let arguments = (1000 + to as u32, 1000 + from as u32, len as u32);
            guest.now::<_, ()>("copy", arguments).unwrap();
            assert!(guest.read(1000, 1000).unwrap() == expected, "copy {len} from {from} to {to}");
        }
        guest.write(1000, &content).unwrap();
        let mut expected = content.clone();
        expected[33..33 + len].fill(0x9c);
        guest.now::<_, ()>("fill_range", (1033, 0xffff_ff9c_u32, len as u32)).unwrap();
        assert!(guest.read(1000, 1000).unwrap() == expected, "fill {len}");
    }
    for name in ["copy", "fill_range"] {
        let fault = guest.now::<_, ()>(name, (PAGE - 8, 0, 17)).unwrap_err();
        assert!(matches!(fault, Fault::Trap(_)), "{name}: {fault}");
    }
}

#[test]
fn a_sandbox_that_ended_is_as_if_it_had_never_been_used() {
    let (program, _) = program(GUEST);
    // More pages than fit into one answer of the system, written with gaps between them.
    let size = 1024 * PAGE as usize;
    let content: Vec<u8> = (0..size).map(|at| (at / 4096 % 251) as u8).collect();
    let image = MemoryImage::from_bytes(&content).unwrap();
    let mut seed = 1_u32;
    for round in 0..20 {
        let mut guest = program.instantiate(&image, UNLIMITED, ()).unwrap();
        assert!(guest.read(0, size).unwrap() == content, "round {round}");
        assert_eq!(guest.now::<_, i32>("stack_pointer", ()).unwrap(), 65536, "round {round}");
        for _ in 0..[0, 1, 900, 20_000][round % 4] {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let address = (seed >> 3) % (size as u32 - 4);
            guest.now::<_, ()>("store", (address, !seed)).unwrap();
        }
        match round % 7 {
            3 => drop(guest.now::<_, ()>("fill", 0xff_u32)),
            4 => drop(guest.now::<_, i32>("grow", 1)),
            5 => drop(guest.now::<_, ()>("fail_midway", ())),
            _ => (),
        }
        guest.finish();
    }
}

/// As long as the system lists written pages, which Linux 6.7 began with.
#[test]
fn pages_that_are_not_written_to_any_more_are_shared_again() {
    let (program, _) = program(GUEST);
    let mut bytes = vec![0; 16 * PAGE as usize];
    bytes[8 * PAGE as usize..].fill(7);
    let image = MemoryImage::from_bytes(&bytes).unwrap();
    let mut first = program.instantiate(&image, UNLIMITED, ()).unwrap();
    first.now::<_, ()>("fill_range", (0, 1, 16 * PAGE)).unwrap();
    let Some(most) = first.finish().1.own_memory.filter(|bytes| *bytes > 0) else { return };
    let mut own = most;
    for round in 0..70 {
        let mut guest = program.instantiate(&image, UNLIMITED, ()).unwrap();
        assert!(guest.read(0, bytes.len()).unwrap() == bytes, "round {round}");
        for page in [0, 3 * PAGE, 12 * PAGE] {
            guest.now::<_, ()>("store", (page, round)).unwrap();
        }
        own = guest.finish().1.own_memory.unwrap();
    }
    assert!(own <= 4 * rustix::param::page_size(), "{own} of {most} bytes are still private");
}

#[test]
fn guests_that_go_from_thread_to_thread_are_reset_too() {
    let text = r#"(module (import "host" "wait" (func $wait)) (memory (export "memory") 1)
        (func (export "run") (param i32)
            (call $wait) (i32.store (local.get 0) (i32.const 7)) (call $wait)))"#;
    // Ready when it is polled for the second time.
    let wait = |linker: &mut wasmtime::Linker<()>| {
        linker.func_wrap_async("host", "wait", |_, (): ()| {
            let mut waited = false;
            Box::new(std::future::poll_fn(move |_| {
                if std::mem::replace(&mut waited, true) { Poll::Ready(()) } else { Poll::Pending }
            }))
        })?;
        Ok(())
    };
    let (program, _) = linked(text, wait);
    let image = MemoryImage::from_bytes(&vec![0; 64 * PAGE as usize]).unwrap();
    let poll = |future: Pin<&mut (dyn Future<Output = Result<(), Fault>> + Send)>| {
        future.poll(&mut Context::from_waker(Waker::noop())).is_ready()
    };
    for round in 0..50 {
        let mut guest = program.instantiate(&image, UNLIMITED, ()).unwrap();
        let memory = guest.read(0, image.size()).unwrap();
        assert!(memory.iter().all(|byte| *byte == 0), "round {round}");
        // Each time another page, written to by a thread that neither begins nor ends the call.
        let mut call = Box::pin(guest.call::<_, ()>("run", (round + 1) * PAGE));
        assert!(!poll(call.as_mut()));
        let mut call = thread::scope(|scope| {
            let other = scope.spawn(move || {
                let pending = call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending();
                assert!(pending);
                call
            });
            other.join().unwrap()
        });
        assert!(poll(call.as_mut()));
        drop(call);
        guest.finish();
    }
}

#[test]
fn deep_recursion_ends_the_call_and_not_the_process() {
    let (program, image) = program(GUEST);
    for stack in [256 << 10, 2 << 20, 16 << 20] {
        let (program, image) = (program.clone(), image.clone());
        let recurse = move || {
            let mut guest = program.instantiate(&image, UNLIMITED, ()).unwrap();
            guest.now::<_, i32>("recurse", 0).unwrap_err()
        };
        let fault = thread::Builder::new().stack_size(stack).spawn(recurse).unwrap().join().unwrap();
        assert!(matches!(fault, Fault::StackOverflow), "{stack}: {fault}");
    }
}

/// A kept sandbox keeps its native stack, and guests decide how deep that was used.
#[test]
#[cfg(target_os = "linux")]
fn stacks_count_as_memory_of_kept_sandboxes() {
    let (program, image) = program(GUEST);
    let mut held = [0, 100_000].map(|depth| {
        let mut guest = program.instantiate(&image, UNLIMITED, ()).unwrap();
        assert_eq!(guest.now::<_, i32>("recurse_to", (depth,)).unwrap(), depth);
        guest.finish();
        program.0.idle.bytes()
    });
    // At least a return address and a frame pointer for each call.
    assert!(held[1] >= 1_600_000 && held[0] < 500_000, "{held:?}");
    for _ in 0..20 {
        program.instantiate(&image, UNLIMITED, ()).unwrap().finish();
    }
    held[0] = program.0.idle.bytes();
    assert!(held[0] <= held[1] + 200_000, "{held:?}: calls that use little count as deep ones");
}

#[test]
fn threads_get_the_images_they_asked_for() {
    let (program, _) = program(GUEST);
    let barrier = Barrier::new(4);
    thread::scope(|scope| {
        for tag in 1..=4_u8 {
            let (program, barrier) = (&program, &barrier);
            scope.spawn(move || {
                let image = MemoryImage::from_bytes(&vec![tag; tag as usize * PAGE as usize]).unwrap();
                barrier.wait();
                for _ in 0..200 {
                    let mut guest = program.instantiate(&image, UNLIMITED, ()).unwrap();
                    assert_eq!(guest.now::<_, u32>("size", ()).unwrap(), u32::from(tag));
                    let expected = u32::from_le_bytes([tag; 4]);
                    assert_eq!(guest.now::<_, u32>("load", 100).unwrap(), expected);
                    guest.now::<_, ()>("store", (100, 0xff_u32)).unwrap();
                    guest.finish();
                }
            });
        }
    });
}

#[test]
fn captured_guests_go_on_where_they_were() {
    let (program, image) = program(GUEST);
    let mut guest = program.instantiate(&image, UNLIMITED, ()).unwrap();
    guest.now::<_, i32>("grow", 2).unwrap();
    guest.now::<_, ()>("store", (2 * PAGE + 8, 42_u32)).unwrap();
    let captured = guest.capture().unwrap();
    guest.now::<_, ()>("store", (2 * PAGE + 8, 1_u32)).unwrap();
    drop(guest);

    let mut guest = program.instantiate(&captured, UNLIMITED, ()).unwrap();
    assert_eq!(guest.now::<_, u32>("size", ()).unwrap(), 3);
    assert_eq!(guest.now::<_, u32>("load", 2 * PAGE + 8).unwrap(), 42);
    assert_eq!(guest.read(16, 4).unwrap(), b"boot");
}

#[test]
fn a_guest_in_the_middle_of_a_call_is_not_captured() {
    let (program, image) = program(GUEST);
    let mut guest = program.instantiate(&image, UNLIMITED, ()).unwrap();
    let fault = guest.now::<_, ()>("fail_midway", ()).unwrap_err();
    assert_eq!(fault.to_string(), "wasm `unreachable` instruction executed in abort <- work");
    let error = guest.capture().unwrap_err();
    assert!(matches!(error, Error::CutShort), "{error}");
}

#[test]
fn a_guest_that_has_moved_a_global_is_not_captured() {
    let (program, image) = program(GUEST);
    let mut guest = program.instantiate(&image, UNLIMITED, ()).unwrap();
    guest.now::<_, ()>("fill", 0x0101_0101_u32).unwrap();
    let error = guest.capture().unwrap_err();
    assert!(
        matches!(&error, Error::NotAtRest { global, initial: 65536, .. } if global == "__stack_pointer"),
        "{error}"
    );
}

#[test]
fn an_interrupted_guest_is_not_captured() {
    let (program, image) = program(GUEST);
    let interrupt = Interrupt { address: 64, bits: 1, grace: Duration::from_secs(3600) };
    let limits = Limits { deadline: Some(Duration::from_millis(5)), interrupt: Some(interrupt), ..UNLIMITED };
    let mut guest = program.instantiate(&image, limits, ()).unwrap();
    guest.now::<_, ()>("wait_for", 64).unwrap();
    assert!(matches!(guest.capture().unwrap_err(), Error::CutShort));
}

#[test]
fn errors_of_host_functions_arrive_as_they_are() {
    #[derive(Debug, thiserror::Error)]
    #[error("exit {0}")]
    struct Exit(i32);

    let text = r#"(module (import "host" "exit" (func $exit (param i32))) (memory (export "memory") 1)
        (func (export "run") (call $exit (i32.const 3))))"#;
    let exit = |status: i32| -> wasmtime::Result<()> { Err(Exit(status).into()) };
    let (program, image) = linked(text, |linker| linker.func_wrap("host", "exit", exit).map(drop));
    let mut guest = program.instantiate(&image, UNLIMITED, ()).unwrap();
    let Fault::Host(error) = guest.now::<_, ()>("run", ()).unwrap_err() else { panic!() };
    assert_eq!(error.downcast_ref::<Exit>().unwrap().0, 3);
}

#[test]
fn what_the_guest_does_not_have_is_a_fault() {
    let (program, image) = program(GUEST);
    let mut guest = program.instantiate(&image, UNLIMITED, ()).unwrap();
    for name in ["absent", "memory", "grow"] {
        let fault = guest.now::<_, i64>(name, ()).unwrap_err();
        assert!(fault.to_string().starts_with(&format!("the guest has no function `{name}`")), "{fault}");
    }
    for (address, len) in [(PAGE, 1), (PAGE - 1, 2), (u32::MAX, 1), (0, usize::MAX)] {
        assert!(matches!(guest.read(address, len), Err(Fault::Address { .. })), "{address} {len}");
    }
    assert!(matches!(guest.write(PAGE - 1, b"xy"), Err(Fault::Address { .. })));
}

/// Images of one base take each other's sandboxes, and have their pages written or mapped, in whatever order they are asked for.
#[test]
fn sandboxes_that_go_from_image_to_image_are_as_new() {
    let (program, _) = program(GUEST);
    let base = {
        let mut bytes = vec![0; 60 * PAGE as usize];
        bytes[..40 * PAGE as usize].fill(3);
        MemoryImage::from_bytes(&bytes).unwrap()
    };
    let mut random = 1_u32;
    let mut next = |below: u32| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 8) % below
    };
    let images: Vec<_> = (1..=24)
        .map(|number| {
            let mut guest = program.instantiate(&base, UNLIMITED, ()).unwrap();
            // Some are large, and some have grown.
            if number % 7 == 0 {
                guest.now::<_, i32>("grow", (1,)).unwrap();
            }
            for _ in 0..if number % 5 == 0 { 400 } else { 4 * number } {
                guest.write(next(59 * PAGE), &[number as u8; 200]).unwrap();
            }
            let image = guest.capture().unwrap();
            let content = guest.read(0, guest.memory_size()).unwrap().to_vec();
            guest.finish();
            (image, content)
        })
        .chain([(base.clone(), {
            let guest = program.instantiate(&base, UNLIMITED, ()).unwrap();
            guest.read(0, guest.memory_size()).unwrap().to_vec()
        })])
        .collect();
    for round in 0..400 {
        // Several at a time, and some images more often than others.
        let guests: Vec<_> = (0..=next(3))
            .map(|_| {
                let below = next(images.len() as u32) + 1;
                let (image, content) = &images[next(below) as usize];
                let guest = program.instantiate(image, UNLIMITED, ()).unwrap();
                assert!(guest.read(0, guest.memory_size()).unwrap() == content, "round {round}");
                guest
            })
            .collect();
        for mut guest in guests {
            for _ in 0..next(5) {
                guest.now::<_, ()>("store", (next(59 * PAGE).cast_signed(), -1)).unwrap();
            }
            if next(20) == 0 {
                guest.now::<_, i32>("grow", (1,)).unwrap();
            }
            if next(20) == 0 {
                guest.now::<_, ()>("fill", (9,)).unwrap();
            }
            guest.finish();
        }
    }
}
