//! Sandboxes: instances of a program that start from a memory image.

use std::{
    any::{Any, type_name},
    fmt, io,
    sync::Arc,
    time::{Duration, Instant},
};

use wasmtime::{
    CallHook, Extern, Global, Instance, Memory, ModuleExport, Store, TypedFunc, Val, WasmParams, WasmResults,
};

use super::{Fault, Linked, Program, cpu::CpuTime, idle::Kept};
use crate::{
    Error, MemoryImage, Result, deadline,
    deadline::Interrupt,
    memory::{Copies, Difference, Mapping, with_memory},
};

/// What a sandbox may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The size its memory may grow to, in bytes. At least the size of the image it starts from.
    pub memory: usize,
    /// How long it may take, counted from its start and including the time in functions of the host. A guest that
    /// waits in such a function is stopped when the function returns. `None` lets it run for ever.
    pub deadline: Option<Duration>,
    /// How the guest is asked to end when the deadline has passed, before it is stopped. `None` stops it at once.
    pub interrupt: Option<Interrupt>,
}

impl<T: Send + 'static> Program<T> {
    /// Starts a sandbox whose memory is `image`, copied on write. No guest code runs yet. Takes a microsecond if a sandbox with the
    /// same image [ended](Guest::finish) before.
    ///
    /// Fails if the image doesn't fit the program or the limits.
    pub fn instantiate(&self, image: &MemoryImage, limits: Limits, data: T) -> Result<Guest<T>> {
        let now = Instant::now();
        let deadline = limits.deadline.and_then(|after| now.checked_add(after));
        if image.size() > limits.memory {
            return Err(Error::MemoryLimit { image: image.size(), limit: limits.memory });
        }
        let mut sandbox = match self.0.idle.take(image).and_then(|kept| kept.adopt(image)) {
            Some(mut sandbox) => {
                sandbox.mapping.begin(limits.memory);
                *sandbox.store.data_mut() = data;
                sandbox
            }
            None => self.0.make(image, limits.memory, data)?,
        };
        sandbox.copies.begin();
        let mut cpu = CpuTime::default();
        cpu.begin(now, sandbox.copies.switches());
        let armed = deadline.map(|deadline| deadline::watch(&sandbox.mapping, deadline, limits.interrupt));
        Ok(Guest {
            armed: armed.transpose().map_err(Error::Deadline)?,
            sandbox,
            image: image.clone(),
            program: Arc::clone(&self.0),
            faulted: false,
            cpu,
        })
    }
}

impl<T: 'static> Linked<T> {
    fn make(&self, image: &MemoryImage, limit: usize, data: T) -> Result<Box<Sandbox<T>>>
    where
        T: Send,
    {
        let mapping = Mapping::new(image, limit).map_err(Error::Memory)?;
        let mut store = Store::new(self.instance.module().engine(), data);
        let turns = Arc::clone(&mapping);
        store.call_hook(move |_, hook| match hook {
            CallHook::CallingWasm | CallHook::ReturningFromHost => Ok(turns.enter()?),
            CallHook::CallingHost => Ok(turns.leave()?),
            CallHook::ReturningFromWasm => {
                // What it came to is known already.
                let _ = turns.leave();
                Ok(())
            }
        });
        // It runs no code of the guest, so it waits for nothing; linked with functions that may, it must be asked this way.
        let instance = with_memory(Arc::clone(&mapping), image.size(), || {
            pollster::block_on(self.instance.instantiate_async(&mut store))
        })
        .map_err(Error::Instantiate)?;
        let memory = instance
            .get_module_export(&mut store, &self.memory)
            .and_then(Extern::into_memory)
            .ok_or_else(|| Error::Unsuitable("its export `memory` is not a memory".to_owned()))?;
        let global =
            |(_, export): &(_, ModuleExport)| instance.get_module_export(&mut store, export)?.into_global();
        let globals: Vec<_> = self.globals.iter().filter_map(global).collect();
        self.initial_globals.get_or_init(|| bits(&mut store, &globals));
        let (copies, own) = (Copies::default(), Own::Written(Arc::new(Difference::none(image.size()))));
        let sandbox = Box::new(Sandbox {
            store,
            instance,
            functions: Vec::new(),
            globals,
            memory,
            mapping,
            copies,
            own,
        });
        let sandbox = if image.is_mapped() || !image.is_small_difference() {
            sandbox.map(image)
        } else {
            sandbox.write(image)
        };
        sandbox.ok_or_else(|| Error::Memory(io::Error::other("the image cannot be mapped")))
    }

    fn function<Params, Results>(
        &self,
        sandbox: &mut Sandbox<T>,
        name: &str,
    ) -> Result<TypedFunc<Params, Results>, Fault>
    where
        Params: WasmParams + 'static,
        Results: WasmResults + 'static,
    {
        let Sandbox { store, instance, functions, .. } = sandbox;
        let function = self
            .exports
            .get(name)
            .and_then(|export| instance.get_module_export(&mut *store, export)?.into_func())
            .and_then(|function| function.typed::<Params, Results>(&*store).ok())
            .ok_or_else(|| Fault::NoFunction {
                name: name.to_owned(),
                ty: type_name::<fn(Params) -> Results>(),
            })?;
        functions.push((name.to_owned(), Box::new(function.clone())));
        Ok(function)
    }

    /// The first of the globals that code can write whose bits are not those of a fresh instance: its name, and both values.
    fn moved_global(&self, sandbox: &mut Sandbox<T>) -> Option<(&str, u64, u64)> {
        let now = bits(&mut sandbox.store, &sandbox.globals);
        let initial = self.initial_globals.get()?;
        let mut all = self.globals.iter().zip(initial).zip(&now);
        all.find_map(|(((name, _), initial), now)| {
            (initial != now).then_some((name.as_str(), *initial, *now))
        })
    }
}

fn bits<T>(store: &mut Store<T>, globals: &[Global]) -> Vec<u64> {
    let bits = |global: &Global| match global.get(&mut *store) {
        Val::I32(value) => u64::from(value.cast_unsigned()),
        Val::I64(value) => value.cast_unsigned(),
        Val::F32(bits) => u64::from(bits),
        Val::F64(bits) => bits,
        _ => 0,
    };
    globals.iter().map(bits).collect()
}

/// An instance with its memory.
pub(super) struct Sandbox<T: 'static> {
    store: Store<T>,
    instance: Instance,
    /// Those that were called, as `TypedFunc`s. To find one again and check its type takes longer than the call.
    functions: Vec<(String, Box<dyn Any + Send + Sync>)>,
    /// Those that code can write, as in [`Linked::globals`].
    globals: Vec<Global>,
    memory: Memory,
    mapping: Arc<Mapping>,
    copies: Copies,
    own: Own,
}

/// How a memory came to have what its image differs in from its base.
enum Own {
    /// It was written, so that it can be written over for another image.
    Written(Arc<Difference>),
    /// Its pages are mapped, so that guests share those that they do not write to.
    Mapped,
}

impl<T: 'static> Kept<Box<Sandbox<T>>> {
    /// A sandbox with the content of the image. `None` if it cannot be had.
    fn adopt(self, image: &MemoryImage) -> Option<Box<Sandbox<T>>> {
        match self {
            // It is wanted more than once: then sharing pages and resetting fewer of them is worth mapping them.
            Kept::Same(sandbox) if matches!(&sandbox.own, Own::Written(what) if !what.is_empty()) => {
                sandbox.map(image)
            }
            Kept::Same(sandbox) => Some(sandbox),
            Kept::Related(sandbox) => sandbox.write(image),
        }
    }
}

impl<T: 'static> Sandbox<T> {
    /// An export that was called before with the same types.
    fn called<Params: 'static, Results: 'static>(&self, name: &str) -> Option<TypedFunc<Params, Results>> {
        let mut functions = self.functions.iter().filter(|(it, _)| it == name);
        functions.find_map(|(_, function)| function.downcast_ref().cloned())
    }

    fn map(mut self: Box<Self>, image: &MemoryImage) -> Option<Box<Self>> {
        self.copies.forget();
        self.mapping.map_difference(self.memory.data_mut(&mut self.store), image)?;
        self.own = Own::Mapped;
        Some(self)
    }

    fn write(mut self: Box<Self>, image: &MemoryImage) -> Option<Box<Self>> {
        self.copies.forget();
        let Own::Written(from) = &self.own else { return None };
        self.mapping.write_difference(self.memory.data_mut(&mut self.store), from, image)?;
        self.own = Own::Written(Arc::clone(image.difference()));
        Some(self)
    }
}

/// A sandbox: one running guest, isolated from all others. Dropping it drops everything it did.
pub struct Guest<T: 'static> {
    // Dropped first, so that nothing is done to a guest that is gone.
    armed: Option<deadline::Armed>,
    sandbox: Box<Sandbox<T>>,
    image: MemoryImage,
    program: Arc<Linked<T>>,
    /// Whether a call did not return.
    faulted: bool,
    cpu: CpuTime,
}

/// What a sandbox has taken.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// How many bytes of memory it had for itself, in whole pages; `None` if it was dropped.
    pub own_memory: Option<usize>,
    /// How long threads have computed for it, functions of the host included.
    pub cpu_time: Duration,
}

/// Stops a guest. It must not be used once the guest was [finished](Guest::finish): there may be another one in its place.
pub struct Stopper(Arc<Mapping>);

impl Stopper {
    /// Has the guest end with [`Fault::Deadline`] the next time it accesses its memory, calls the host or returns from there, and every
    /// later call into it too.
    pub fn stop(&self) {
        self.0.stop();
    }

    /// Whether the guest has been [interrupted](Limits::interrupt).
    pub fn interrupted(&self) -> bool {
        self.0.interrupted()
    }
}

impl<T: 'static> fmt::Debug for Guest<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guest").field("memory_size", &self.memory_size()).finish_non_exhaustive()
    }
}

impl<T: 'static> Guest<T> {
    /// Calls an exported function. Parameters and results are single numbers or tuples of them.
    ///
    /// The guest runs while the future is polled, on a stack of its own, and is suspended where a function of the host awaits
    /// something. Dropping the future before it is ready ends the guest.
    pub async fn call<Params, Results>(&mut self, name: &str, params: Params) -> Result<Results, Fault>
    where
        T: Send,
        Params: WasmParams + Sync + 'static,
        Results: WasmResults + Sync + 'static,
    {
        let function = match self.sandbox.called::<Params, Results>(name) {
            Some(function) => function,
            None => self.program.function(&mut self.sandbox, name)?,
        };
        let Sandbox { store, mapping, copies, .. } = &mut *self.sandbox;
        // Until it has returned: a future that is dropped leaves a guest in the middle of something.
        let before = std::mem::replace(&mut self.faulted, true);
        let mut call = std::pin::pin!(function.call_async(store, params));
        let cpu = &mut self.cpu;
        let result = std::future::poll_fn(|context| {
            copies.write();
            cpu.resume();
            let poll = call.as_mut().poll(context);
            // It may go on somewhere else.
            if poll.is_pending() {
                copies.pause();
                cpu.end(None);
            }
            poll
        });
        match result.await {
            Ok(results) => {
                self.faulted = before;
                Ok(results)
            }
            Err(error) => Err(Fault::new(error, mapping)),
        }
    }

    /// A way to stop the guest from another thread.
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.sandbox.mapping))
    }

    /// The bytes of the guest's memory at `address`.
    pub fn read(&self, address: u32, len: usize) -> Result<&[u8], Fault> {
        self.check_memory()?;
        let memory = self.sandbox.memory.data(&self.sandbox.store);
        let outside = Fault::Address { address, len, size: memory.len() };
        memory.get(address as usize..).and_then(|rest| rest.get(..len)).ok_or(outside)
    }

    /// Copies bytes into the guest's memory at `address`.
    pub fn write(&mut self, address: u32, bytes: &[u8]) -> Result<(), Fault> {
        self.check_memory()?;
        self.sandbox.copies.write();
        let memory = self.sandbox.memory.data_mut(&mut self.sandbox.store);
        let outside = Fault::Address { address, len: bytes.len(), size: memory.len() };
        let place = memory.get_mut(address as usize..).and_then(|rest| rest.get_mut(..bytes.len()));
        place.ok_or(outside)?.copy_from_slice(bytes);
        Ok(())
    }

    fn check_memory(&self) -> Result<(), Fault> {
        if self.sandbox.mapping.is_lost() { Err(Fault::Deadline) } else { Ok(()) }
    }

    /// What the host's functions find in their caller.
    pub fn data(&self) -> &T {
        self.sandbox.store.data()
    }

    /// As [`data`](Guest::data), to change it.
    pub fn data_mut(&mut self) -> &mut T {
        self.sandbox.store.data_mut()
    }

    /// Ends the sandbox and keeps its data. What the guest has done is undone at once, so that the next sandbox with the same image
    /// starts sooner; where that cannot be done for certain, after a fault or when the memory has grown, all of it is dropped.
    ///
    /// Besides the data answers what the sandbox has taken.
    pub fn finish(self) -> (T, Spent)
    where
        T: Default,
    {
        let Guest { armed, mut sandbox, image, program, faulted, mut cpu } = self;
        let data = std::mem::take(sandbox.store.data_mut());
        drop(armed);
        sandbox.copies.end();
        let cpu_time = cpu.end(sandbox.copies.switches());
        if faulted || program.moved_global(&mut sandbox).is_some() {
            return (data, Spent { own_memory: None, cpu_time });
        }
        let Sandbox { store, memory, mapping, copies, own, .. } = &mut *sandbox;
        let is_mapped = matches!(own, Own::Mapped);
        let own_memory = mapping.reset(memory.data_mut(store), &image, is_mapped, copies);
        if let Some(bytes) = own_memory {
            let held = bytes + copies.most_stack();
            program.idle.put(&image, sandbox, held, !is_mapped);
        }
        (data, Spent { own_memory, cpu_time })
    }

    /// The size of the guest's memory, in bytes. Memories only grow, so this is also the most it has used.
    pub fn memory_size(&self) -> usize {
        self.sandbox.memory.data_size(&self.sandbox.store)
    }

    /// Whether the guest asked for more memory than [`Limits::memory`] at least once. What it makes of the refusal is
    /// up to the guest; Python raises `MemoryError`.
    pub fn memory_limit_hit(&self) -> bool {
        self.sandbox.mapping.limit_hit()
    }

    /// The memory as it is now, for sandboxes that go on from here.
    ///
    /// Fails if a call was cut short by a fault, because the memory then describes a guest in the middle of something, and if the
    /// guest was interrupted. Ends the watch over the deadline.
    pub fn capture(&mut self) -> Result<MemoryImage> {
        // From here on nobody else writes to the memory, and what was written is not meant for those who start from it.
        self.armed = None;
        if self.faulted || self.sandbox.mapping.interrupted() {
            return Err(Error::CutShort);
        }
        if let Some((global, initial, found)) = self.program.moved_global(&mut self.sandbox) {
            return Err(Error::NotAtRest { global: global.to_owned(), initial, found });
        }
        self.image.after(self.sandbox.memory.data(&self.sandbox.store))
    }
}

#[cfg(test)]
mod tests;
