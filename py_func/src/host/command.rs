//! WASI of the interpreter as a command: wasmtime's, with descriptors that can be duplicated.
//!
//! Of wasmtime's descriptors each has its file and its offset to itself. So the guest has descriptors of its own, of which any number
//! may name one of wasmtime's, and every function that takes a descriptor is linked once more, with a look into a table before it.
//! That calls the functions by which wasmtime implements its own imports, which are public but not promised to stay.

use std::collections::BTreeMap;

use faasm_image::host::{Caller, Linker, Result};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p1::wasi_snapshot_preview1::{self as p1, WasiSnapshotPreview1 as _};
use wasmtime_wasi::p1::{WasiP1Ctx, add_to_linker_async};
use wiggle::GuestMemory;

use super::files::Errno;
use super::{Host, clock, memory, range};

const MODULE: &str = "wasi_snapshot_preview1";

/// Descriptors are less than this.
const MOST_DESCRIPTORS: u32 = 1 << 16;

/// How many bytes the host may hold for the guest in one call of a function: as many as the guest can have a place for.
const HELD: usize = u32::MAX as usize;

/// What the interpreter as a command has of its host.
pub(super) struct Command {
    wasi: WasiP1Ctx,
    descriptors: Descriptors,
}

/// The guest's descriptors, and which of wasmtime's each one is.
struct Descriptors(BTreeMap<u32, u32>);

impl Command {
    /// With what `wasi` gives, in which there are so many directories.
    pub(super) fn new(mut wasi: WasiCtxBuilder, directories: usize) -> Self {
        let wasi = wasi.allow_blocking_current_thread(true).monotonic_clock(clock::Monotonic).build_p1();
        Self { wasi, descriptors: Descriptors::new(directories) }
    }

    async fn close(&mut self, memory: &mut GuestMemory<'_>, descriptor: u32) -> Result<i32> {
        p1::fd_close(&mut self.wasi, memory, descriptor.cast_signed()).await
    }
}

impl Default for Command {
    fn default() -> Self {
        Self::new(WasiCtxBuilder::new(), 0)
    }
}

impl Descriptors {
    /// The standard streams, and directories.
    fn new(directories: usize) -> Self {
        Self((0..MOST_DESCRIPTORS).take(3 + directories).map(|it| (it, it)).collect())
    }

    /// Which of wasmtime's it is.
    fn inner(&self, descriptor: u32) -> Result<u32, Errno> {
        self.0.get(&descriptor).copied().ok_or(Errno::BADF)
    }

    /// The lowest that is free, from one on.
    fn free(&self, from: u32) -> Result<u32, Errno> {
        (from..MOST_DESCRIPTORS).find(|it| !self.0.contains_key(it)).ok_or(Errno::MFILE)
    }

    /// Has a descriptor name one of wasmtime's. What it named before is answered if nothing names it any more.
    fn point(&mut self, descriptor: u32, inner: u32) -> Option<u32> {
        self.0.insert(descriptor, inner).filter(|it| self.is_unnamed(*it))
    }

    /// Takes a descriptor away. What it named is answered if nothing names it any more.
    fn remove(&mut self, descriptor: u32) -> Result<Option<u32>, Errno> {
        let inner = self.0.remove(&descriptor).ok_or(Errno::BADF)?;
        Ok(self.is_unnamed(inner).then_some(inner))
    }

    /// Another descriptor, exactly `target` or the lowest from there on, and what is to be closed for it.
    fn duplicate(&mut self, descriptor: u32, target: u32, exact: bool) -> Result<(u32, Option<u32>), Errno> {
        let inner = self.inner(descriptor)?;
        if target >= MOST_DESCRIPTORS {
            return Err(if exact { Errno::BADF } else { Errno::INVAL });
        }
        let new = if exact { target } else { self.free(target)? };
        Ok((new, self.point(new, inner)))
    }

    fn is_unnamed(&self, inner: u32) -> bool {
        self.0.values().all(|it| *it != inner)
    }
}

/// Links functions of wasmtime's, each with the arguments that are descriptors translated.
macro_rules! translated {
    (call sync $call:expr) => { $call };
    (call async $call:expr) => { $call.await };
    ($linker:ident: $($kind:tt $name:ident($($argument:ident: $type:ty),*) of $($descriptor:ident),+;)+) => {$(
        $linker.func_wrap_async(
            MODULE,
            stringify!($name),
            |mut caller: Caller<'_, Host>, ($($argument,)*): ($($type,)*)| Box::new(async move {
                let (mut memory, command) = parts(&mut caller)?;
                $(
                    let $descriptor = match command.descriptors.inner($descriptor.cast_unsigned()) {
                        Ok(inner) => inner.cast_signed(),
                        Err(error) => return Ok(error.number()),
                    };
                )+
                translated!(call $kind p1::$name(&mut command.wasi, &mut memory, $($argument),*))
            }),
        )?;
    )+};
}

/// Makes WASI preview 1 known to a linker, and `faasm_dup` and `faasm_lock`. There are no locks, so that every one is granted.
pub(super) fn link(linker: &mut Linker<Host>) -> Result<()> {
    add_to_linker_async(linker, |host: &mut Host| &mut command_of(host).wasi)?;
    linker.allow_shadowing(true);
    translated! { linker:
        async fd_advise(fd: i32, offset: i64, length: i64, advice: i32) of fd;
        sync fd_allocate(fd: i32, offset: i64, length: i64) of fd;
        async fd_datasync(fd: i32) of fd;
        async fd_fdstat_get(fd: i32, result: i32) of fd;
        sync fd_fdstat_set_flags(fd: i32, flags: i32) of fd;
        sync fd_fdstat_set_rights(fd: i32, base: i64, inheriting: i64) of fd;
        async fd_filestat_get(fd: i32, result: i32) of fd;
        async fd_filestat_set_size(fd: i32, size: i64) of fd;
        async fd_filestat_set_times(fd: i32, accessed: i64, modified: i64, which: i32) of fd;
        async fd_pread(fd: i32, parts: i32, count: i32, offset: i64, result: i32) of fd;
        sync fd_prestat_get(fd: i32, result: i32) of fd;
        sync fd_prestat_dir_name(fd: i32, path: i32, length: i32) of fd;
        async fd_pwrite(fd: i32, parts: i32, count: i32, offset: i64, result: i32) of fd;
        async fd_read(fd: i32, parts: i32, count: i32, result: i32) of fd;
        async fd_readdir(fd: i32, buffer: i32, length: i32, cookie: i64, result: i32) of fd;
        async fd_seek(fd: i32, offset: i64, whence: i32, result: i32) of fd;
        async fd_sync(fd: i32) of fd;
        sync fd_tell(fd: i32, result: i32) of fd;
        async fd_write(fd: i32, parts: i32, count: i32, result: i32) of fd;
        async path_create_directory(fd: i32, path: i32, length: i32) of fd;
        async path_filestat_get(fd: i32, lookup: i32, path: i32, length: i32, result: i32) of fd;
        async path_filestat_set_times(
            fd: i32, lookup: i32, path: i32, length: i32, accessed: i64, modified: i64, which: i32
        ) of fd;
        async path_link(
            from: i32, lookup: i32, old: i32, old_length: i32, to: i32, new: i32, new_length: i32
        ) of from, to;
        async path_readlink(fd: i32, path: i32, length: i32, buffer: i32, capacity: i32, result: i32) of fd;
        async path_remove_directory(fd: i32, path: i32, length: i32) of fd;
        async path_rename(from: i32, old: i32, old_length: i32, to: i32, new: i32, new_length: i32) of from, to;
        async path_symlink(target: i32, target_length: i32, fd: i32, path: i32, length: i32) of fd;
        async path_unlink_file(fd: i32, path: i32, length: i32) of fd;
        sync sock_accept(fd: i32, flags: i32, result: i32) of fd;
        sync sock_recv(fd: i32, parts: i32, count: i32, flags: i32, result: i32, result_flags: i32) of fd;
        sync sock_send(fd: i32, parts: i32, count: i32, flags: i32, result: i32) of fd;
        sync sock_shutdown(fd: i32, how: i32) of fd;
    }
    linker.func_wrap_async(MODULE, "fd_close", |caller, arguments| Box::new(fd_close(caller, arguments)))?;
    linker.func_wrap_async(MODULE, "fd_renumber", |caller, arguments| {
        Box::new(fd_renumber(caller, arguments))
    })?;
    linker
        .func_wrap_async(MODULE, "path_open", |caller, arguments| Box::new(path_open(caller, arguments)))?;
    linker.func_wrap_async("faasm", "dup", |caller, arguments| Box::new(dup(caller, arguments)))?;
    linker.func_wrap("faasm", "lock", |_: u32, _: u32, _: u64, _: u64| 0_i32)?;
    Ok(())
}

fn command_of(host: &mut Host) -> &mut Command {
    host.command.get_or_insert_default()
}

fn parts<'a>(caller: &'a mut Caller<'_, Host>) -> Result<(GuestMemory<'a>, &'a mut Command)> {
    let (memory, host) = memory(caller)?;
    let command = command_of(host);
    command.wasi.set_hostcall_fuel(HELD);
    Ok((GuestMemory::Unshared(memory), command))
}

async fn fd_close(mut caller: Caller<'_, Host>, (descriptor,): (u32,)) -> Result<i32> {
    let (mut memory, command) = parts(&mut caller)?;
    match command.descriptors.remove(descriptor) {
        Ok(Some(inner)) => command.close(&mut memory, inner).await,
        Ok(None) => Ok(0),
        Err(error) => Ok(error.number()),
    }
}

async fn fd_renumber(mut caller: Caller<'_, Host>, (from, to): (u32, u32)) -> Result<i32> {
    let (mut memory, command) = parts(&mut caller)?;
    let descriptors = &mut command.descriptors;
    let moved = match (descriptors.inner(from), descriptors.inner(to)) {
        (Ok(inner), Ok(_)) => inner,
        _ => return Ok(Errno::BADF.number()),
    };
    if from == to {
        return Ok(0);
    }
    // First the new one, so that what is moved is named all the time.
    let replaced = descriptors.point(to, moved);
    let _ = descriptors.remove(from);
    match replaced {
        Some(inner) => command.close(&mut memory, inner).await,
        None => Ok(0),
    }
}

#[allow(clippy::type_complexity, reason = "the arguments are WASI's")]
async fn path_open(
    mut caller: Caller<'_, Host>,
    (fd, lookup, path, length, how, base, inheriting, flags, result): (
        u32,
        i32,
        i32,
        i32,
        i32,
        i64,
        i64,
        i32,
        u32,
    ),
) -> Result<i32> {
    let (mut memory, command) = parts(&mut caller)?;
    let (directory, new) = match (command.descriptors.inner(fd), command.descriptors.free(0)) {
        (Ok(directory), Ok(new)) => (directory.cast_signed(), new),
        (Err(error), _) | (_, Err(error)) => return Ok(error.number()),
    };
    let wasi = &mut command.wasi;
    let answer = result.cast_signed();
    let status = p1::path_open(
        wasi,
        &mut memory,
        directory,
        lookup,
        path,
        length,
        how,
        base,
        inheriting,
        flags,
        answer,
    )
    .await?;
    if status == 0 {
        let (memory, host) = super::memory(&mut caller)?;
        let place = range(memory.len(), result, 4)?;
        let mut inner = [0; 4];
        inner.copy_from_slice(&memory[place.clone()]);
        command_of(host).descriptors.point(new, u32::from_le_bytes(inner));
        memory[place].copy_from_slice(&new.to_le_bytes());
    }
    Ok(status)
}

/// `faasm_dup`.
async fn dup(mut caller: Caller<'_, Host>, (descriptor, target, exact): (u32, u32, u32)) -> Result<i32> {
    let (mut memory, command) = parts(&mut caller)?;
    match command.descriptors.duplicate(descriptor, target, exact != 0) {
        Ok((new, replaced)) => {
            if let Some(inner) = replaced {
                command.close(&mut memory, inner).await?;
            }
            Ok(i32::try_from(new)?)
        }
        Err(error) => Ok(-error.number()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_several_name_is_closed_with_the_last() {
        let mut descriptors = Descriptors::new(1);
        assert_eq!(descriptors.duplicate(1, 0, false), Ok((4, None)));
        assert_eq!(descriptors.remove(1), Ok(None));
        assert_eq!(descriptors.inner(4), Ok(1));
        assert_eq!(descriptors.free(0), Ok(1));
        assert_eq!(descriptors.duplicate(4, 1, true), Ok((1, None)));
        assert_eq!(descriptors.remove(4), Ok(None));
        assert_eq!(descriptors.remove(1), Ok(Some(1)));
        assert_eq!(descriptors.remove(1), Err(Errno::BADF));
    }

    #[test]
    fn what_is_replaced_is_closed() {
        let mut descriptors = Descriptors::new(0);
        assert_eq!(descriptors.duplicate(0, 1, true), Ok((1, Some(1))));
        assert_eq!(descriptors.duplicate(0, 1, true), Ok((1, None)));
        assert_eq!(descriptors.duplicate(1, 1, true), Ok((1, None)));
        for (descriptor, target, exact, error) in [
            (7, 0, false, Errno::BADF),
            (0, MOST_DESCRIPTORS, true, Errno::BADF),
            (0, MOST_DESCRIPTORS, false, Errno::INVAL),
        ] {
            assert_eq!(descriptors.duplicate(descriptor, target, exact), Err(error), "{descriptor} {target}");
        }
        assert_eq!(descriptors.duplicate(0, MOST_DESCRIPTORS - 1, false), Ok((MOST_DESCRIPTORS - 1, None)));
        assert_eq!(descriptors.duplicate(0, MOST_DESCRIPTORS - 1, false), Err(Errno::MFILE));
    }
}
