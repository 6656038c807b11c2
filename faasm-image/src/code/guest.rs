//! Sandboxes: instances of a program that start from a memory image.

use std::{
    any::type_name,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use wasmtime::{Extern, Instance, Memory, Store, Val, WasmParams, WasmResults};

use super::{Fault, Linked, Program};
use crate::{
    Error, MemoryImage, Result, deadline,
    engine::{GUEST_STACK, HOST_STACK, THREAD_STACK},
    memory,
};

/// What a sandbox may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The size its memory may grow to, in bytes. At least the size of the image it starts from.
    pub memory: usize,
    /// How long it may take, counted from its start and including the time in functions of the host. A guest that
    /// waits in such a function is stopped when the function returns. `None` lets it run for ever.
    pub deadline: Option<Duration>,
}

impl<T: 'static> Program<T> {
    /// Starts a sandbox whose memory is `image`, copied on write. No guest code runs yet. Takes a few microseconds if
    /// a sandbox with the same image was dropped before.
    ///
    /// Fails if the image doesn't fit the program or the limits.
    pub fn instantiate(&self, image: &MemoryImage, limits: Limits, data: T) -> Result<Guest<T>> {
        let deadline = limits.deadline.and_then(|after| Instant::now().checked_add(after));
        let program = Arc::clone(&self.0);
        let mut store = Store::new(program.instance.module().engine(), data);
        let limit_hit = Arc::new(AtomicBool::new(false));
        let request =
            memory::Request { image: image.clone(), limit: limits.memory, limit_hit: Arc::clone(&limit_hit) };
        let instance = memory::with_memory(request, || program.instance.instantiate(&mut store))
            .map_err(Error::Instantiate)?;
        let memory = instance
            .get_module_export(&mut store, &program.memory)
            .and_then(Extern::into_memory)
            .ok_or_else(|| Error::Unsuitable("its export `memory` is not a memory".to_owned()))?;
        let armed = deadline::set(&mut store, deadline).map_err(Error::Deadline)?;
        program.initial_globals.get_or_init(|| program.globals(&mut store, instance));
        Ok(Guest { store, instance, memory, program, limit_hit, _armed: armed })
    }
}

impl<T: 'static> Linked<T> {
    /// The bits of the globals that code can write.
    fn globals(&self, store: &mut Store<T>, instance: Instance) -> Vec<u64> {
        let mut bits =
            |export| match instance.get_module_export(&mut *store, export)?.into_global()?.get(&mut *store) {
                Val::I32(value) => Some(u64::from(value.cast_unsigned())),
                Val::I64(value) => Some(value.cast_unsigned()),
                Val::F32(bits) => Some(u64::from(bits)),
                Val::F64(bits) => Some(bits),
                _ => None,
            };
        self.globals.iter().map(|(_, export)| bits(export).unwrap_or_default()).collect()
    }
}

/// A sandbox: one running guest, isolated from all others. Dropping it drops everything it did.
pub struct Guest<T: 'static> {
    // Dropped first: while it lives the guest can run, and the deadline must be watched.
    store: Store<T>,
    instance: Instance,
    memory: Memory,
    program: Arc<Linked<T>>,
    limit_hit: Arc<AtomicBool>,
    _armed: Option<deadline::Armed>,
}

impl<T: 'static> fmt::Debug for Guest<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guest").field("memory_size", &self.memory_size()).finish_non_exhaustive()
    }
}

impl<T: 'static> Guest<T> {
    /// Calls an exported function. Parameters and results are single numbers or tuples of them.
    ///
    /// On a thread with too little stack for a guest, the call runs on a stack of its own, which costs some
    /// microseconds; threads with [`THREAD_STACK`](crate::THREAD_STACK) have enough.
    pub fn call<Params, Results>(&mut self, name: &str, params: Params) -> Result<Results, Fault>
    where
        Params: WasmParams,
        Results: WasmResults,
    {
        let function = self
            .program
            .exports
            .get(name)
            .and_then(|export| self.instance.get_module_export(&mut self.store, export)?.into_func())
            .and_then(|function| function.typed::<Params, Results>(&self.store).ok())
            .ok_or_else(|| Fault::NoFunction {
                name: name.to_owned(),
                ty: type_name::<fn(Params) -> Results>(),
            })?;
        // The engine measures a guest's stack from where it is entered and does not know how much the thread has
        // left; on the two megabytes most threads have, a deep recursion would end the process.
        stacker::maybe_grow(GUEST_STACK + HOST_STACK, THREAD_STACK, || function.call(&mut self.store, params))
            .map_err(|error| Fault::new(error, self.memory_limit_hit()))
    }

    /// The bytes of the guest's memory at `address`.
    pub fn read(&self, address: u32, len: usize) -> Result<&[u8], Fault> {
        let memory = self.memory.data(&self.store);
        let outside = Fault::Address { address, len, size: memory.len() };
        memory.get(address as usize..).and_then(|rest| rest.get(..len)).ok_or(outside)
    }

    /// Copies bytes into the guest's memory at `address`.
    pub fn write(&mut self, address: u32, bytes: &[u8]) -> Result<(), Fault> {
        let memory = self.memory.data_mut(&mut self.store);
        let outside = Fault::Address { address, len: bytes.len(), size: memory.len() };
        let place = memory.get_mut(address as usize..).and_then(|rest| rest.get_mut(..bytes.len()));
        place.ok_or(outside)?.copy_from_slice(bytes);
        Ok(())
    }

    /// What the host's functions find in their caller.
    pub fn data(&self) -> &T {
        self.store.data()
    }

    /// As [`data`](Guest::data), to change it.
    pub fn data_mut(&mut self) -> &mut T {
        self.store.data_mut()
    }

    /// Ends the sandbox and keeps its data.
    pub fn into_data(self) -> T {
        self.store.into_data()
    }

    /// The size of the guest's memory, in bytes. Memories only grow, so this is also the most it has used.
    pub fn memory_size(&self) -> usize {
        self.memory.data_size(&self.store)
    }

    /// Whether the guest asked for more memory than [`Limits::memory`] at least once. What it makes of the refusal is
    /// up to the guest; Python raises `MemoryError`.
    pub fn memory_limit_hit(&self) -> bool {
        self.limit_hit.load(Ordering::Relaxed)
    }

    /// The memory as it is now, for sandboxes that go on from here.
    ///
    /// Fails if a call was cut short by a fault: the memory then describes a guest in the middle of something.
    pub fn capture(&mut self) -> Result<MemoryImage> {
        let program = Arc::clone(&self.program);
        let now = program.globals(&mut self.store, self.instance);
        let initial = program.initial_globals.get().unwrap_or(&now);
        for (((global, _), &initial), found) in program.globals.iter().zip(initial).zip(now.iter().copied()) {
            if found != initial {
                return Err(Error::NotAtRest { global: global.clone(), initial, found });
            }
        }
        MemoryImage::from_bytes(self.memory.data(&self.store))
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Barrier, thread};

    use super::*;
    use crate::{Code, boot_memory, compile};

    const PAGE: u32 = 64 << 10;
    const UNLIMITED: Limits = Limits { memory: 4 << 30, deadline: None };

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
            assert_eq!(guest.call::<_, i32>("stack_pointer", ()).unwrap(), 65536);
            assert!(matches!(guest.call::<_, i32>("load", PAGE), Err(Fault::Trap(_))));

            // Other sizes in other rounds, so that memory one round grew into is grown into again by the next.
            let more = [3, 1, 7, 2, 3][round];
            assert_eq!(guest.call::<_, i32>("grow", more).unwrap(), 1);
            let grown = guest.read(PAGE, (more * PAGE) as usize).unwrap();
            assert!(grown.iter().all(|byte| *byte == 0), "round {round}");
            guest.call::<_, ()>("fill", 0xa5_u32).unwrap();
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

        assert_eq!(guest.call::<_, u32>("size", ()).unwrap(), 5);
        assert_eq!(guest.call::<_, u32>("load", last).unwrap(), 7);
        guest.call::<_, ()>("store", (3 * PAGE, 8_u32)).unwrap();
        assert_eq!(guest.read(3 * PAGE, 4).unwrap(), [8, 0, 0, 0]);
        assert_eq!(guest.call::<_, u32>("grow", 1).unwrap(), 5);
        assert_eq!(guest.call::<_, u32>("load", 5 * PAGE).unwrap(), 0);
        let fault = guest.call::<_, u32>("load", 6 * PAGE).unwrap_err();
        assert!(fault.to_string().starts_with("out of bounds memory access"), "{fault}");
    }

    #[test]
    fn images_that_do_not_fit_are_refused() {
        let (program, image) = program(&GUEST.replace(r#""memory") 1)"#, r#""memory") 2 3)"#));
        let pages = |pages| MemoryImage::from_bytes(&vec![0; pages * PAGE as usize]).unwrap();
        let cases = [
            (pages(1), usize::MAX, "does not belong to this machine code"),
            (pages(4), usize::MAX, "does not belong to this machine code"),
            (image, PAGE as usize, "the memory image alone takes 131072 bytes, and the limit is 65536"),
        ];
        for (image, memory, expected) in cases {
            let error = program.instantiate(&image, Limits { memory, deadline: None }, ()).unwrap_err();
            let Error::Instantiate(source) = error else { panic!("{error}") };
            assert!(format!("{source:#}").contains(expected), "{source:#}");
        }
    }

    #[test]
    fn the_memory_limit_refuses_growth_and_is_reported() {
        let (program, image) = program(GUEST);
        let memory = 3 * PAGE as usize;
        let mut guest = program.instantiate(&image, Limits { memory, deadline: None }, ()).unwrap();
        assert_eq!(guest.call::<_, i32>("grow", 2).unwrap(), 1);
        assert!(!guest.memory_limit_hit());
        assert_eq!(guest.call::<_, i32>("grow", 1).unwrap(), -1);
        assert!(guest.memory_limit_hit());
        assert_eq!(guest.memory_size(), memory);
        let fault = guest.call::<_, ()>("fail_midway", ()).unwrap_err();
        assert!(matches!(fault, Fault::Memory), "{fault}");
    }

    #[test]
    fn deadlines_stop_their_own_guest_and_no_other() {
        let (program, image) = program(GUEST);
        let limits = |deadline| Limits { memory: usize::MAX, deadline: Some(deadline) };
        let mut patient = program.instantiate(&image, limits(Duration::from_secs(3600)), ()).unwrap();
        let mut unlimited = program.instantiate(&image, UNLIMITED, ()).unwrap();
        for milliseconds in [0, 1, 30] {
            let deadline = Duration::from_millis(milliseconds);
            let mut guest = program.instantiate(&image, limits(deadline), ()).unwrap();
            for _ in 0..2 {
                let fault = guest.call::<_, ()>("spin", ()).unwrap_err();
                assert!(matches!(fault, Fault::Deadline), "{fault}");
            }
        }
        assert_eq!(patient.call::<_, u32>("size", ()).unwrap(), 1);
        assert_eq!(unlimited.call::<_, u32>("size", ()).unwrap(), 1);
    }

    #[test]
    fn deep_recursion_ends_the_call_and_not_the_process() {
        let (program, image) = program(GUEST);
        for stack in [256 << 10, 2 << 20, 16 << 20] {
            let (program, image) = (program.clone(), image.clone());
            let recurse = move || {
                let mut guest = program.instantiate(&image, UNLIMITED, ()).unwrap();
                guest.call::<_, i32>("recurse", 0).unwrap_err()
            };
            let fault = thread::Builder::new().stack_size(stack).spawn(recurse).unwrap().join().unwrap();
            assert!(matches!(fault, Fault::StackOverflow), "{stack}: {fault}");
        }
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
                        assert_eq!(guest.call::<_, u32>("size", ()).unwrap(), u32::from(tag));
                        let expected = u32::from_le_bytes([tag; 4]);
                        assert_eq!(guest.call::<_, u32>("load", 100).unwrap(), expected);
                        guest.call::<_, ()>("fill", 0xff_u32).unwrap();
                    }
                });
            }
        });
    }

    #[test]
    fn captured_guests_go_on_where_they_were() {
        let (program, image) = program(GUEST);
        let mut guest = program.instantiate(&image, UNLIMITED, ()).unwrap();
        guest.call::<_, i32>("grow", 2).unwrap();
        guest.call::<_, ()>("store", (2 * PAGE + 8, 42_u32)).unwrap();
        let captured = guest.capture().unwrap();
        guest.call::<_, ()>("store", (2 * PAGE + 8, 1_u32)).unwrap();
        drop(guest);

        let mut guest = program.instantiate(&captured, UNLIMITED, ()).unwrap();
        assert_eq!(guest.call::<_, u32>("size", ()).unwrap(), 3);
        assert_eq!(guest.call::<_, u32>("load", 2 * PAGE + 8).unwrap(), 42);
        assert_eq!(guest.read(16, 4).unwrap(), b"boot");
    }

    #[test]
    fn a_guest_in_the_middle_of_a_call_is_not_captured() {
        let (program, image) = program(GUEST);
        let mut guest = program.instantiate(&image, UNLIMITED, ()).unwrap();
        let fault = guest.call::<_, ()>("fail_midway", ()).unwrap_err();
        assert_eq!(fault.to_string(), "wasm `unreachable` instruction executed in abort <- work");
        let error = guest.capture().unwrap_err();
        assert!(
            matches!(&error, Error::NotAtRest { global, initial: 65536, found: 65504 } if global == "__stack_pointer"),
            "{error}"
        );
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
        let Fault::Host(error) = guest.call::<_, ()>("run", ()).unwrap_err() else { panic!() };
        assert_eq!(error.downcast_ref::<Exit>().unwrap().0, 3);
    }

    #[test]
    fn what_the_guest_does_not_have_is_a_fault() {
        let (program, image) = program(GUEST);
        let mut guest = program.instantiate(&image, UNLIMITED, ()).unwrap();
        for name in ["absent", "memory", "grow"] {
            let fault = guest.call::<_, i64>(name, ()).unwrap_err();
            assert!(fault.to_string().starts_with(&format!("the guest has no function `{name}`")), "{fault}");
        }
        for (address, len) in [(PAGE, 1), (PAGE - 1, 2), (u32::MAX, 1), (0, usize::MAX)] {
            assert!(matches!(guest.read(address, len), Err(Fault::Address { .. })), "{address} {len}");
        }
        assert!(matches!(guest.write(PAGE - 1, b"xy"), Err(Fault::Address { .. })));
    }
}
