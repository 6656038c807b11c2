//! WASI preview 1 for functions: arguments as the guest passes them, checked, and what it gets back.
//!
//! A pointer or length that is wild ends the guest; whatever else is wrong is answered as an error number.

use std::time::{Duration, SystemTime};

use faasm_image::host::{Caller, Linker, Result, format_err};
use wasmtime_wasi::I32Exit;

use super::types::{Errno, Stat, Times};
use super::volume::{nanoseconds, now};
use super::{Files, Lock, MOST_BYTES, ROOT_DESCRIPTOR, Whence};
use crate::host::{Host, NoRoom, OutputTooLarge, abi, clock, memory, range};

const MODULE: &str = "wasi_snapshot_preview1";

/// The most parts that one read or write may have, as on Linux.
const MOST_PARTS: u32 = 1024;

/// The most random bytes that are asked for at a time. Python's `os.urandom()` asks for 256.
const MOST_RANDOM: u32 = 1 << 20;

/// The longest path that is looked at at all.
const MOST_PATH: u32 = 64 << 10;

/// How long it takes to ask again for a lock that somebody else has, at first and at most.
const LOCK_RETRY: Duration = Duration::from_millis(1);
const LOCK_RETRY_MOST: Duration = Duration::from_millis(50);

/// What becomes of a guest whose call is not successful.
enum Refusal {
    Errno(Errno),
    End(faasm_image::host::Error),
}

impl From<Errno> for Refusal {
    fn from(error: Errno) -> Self {
        Self::Errno(error)
    }
}

impl From<faasm_image::host::Error> for Refusal {
    fn from(error: faasm_image::host::Error) -> Self {
        Self::End(error)
    }
}

type Answer = Result<(), Refusal>;

fn number(answer: Answer) -> Result<i32> {
    match answer {
        Ok(()) => Ok(0),
        Err(Refusal::Errno(error)) => Ok(error.number()),
        Err(Refusal::End(error)) => Err(error),
    }
}

/// Links functions that take the guest's memory, its host, and what the guest passes.
macro_rules! link {
    ($linker:ident: $($name:ident($($argument:ident: $type:ty),*);)+) => {$(
        $linker.func_wrap(MODULE, stringify!($name), |mut caller: Caller<'_, Host>, $($argument: $type),*| {
            let (memory, host) = memory(&mut caller)?;
            number($name(&mut Memory(memory), host, $($argument),*))
        })?;
    )+};
}

/// Makes all of WASI preview 1 known to a linker, except for `poll_oneoff`.
pub(in crate::host) fn link(linker: &mut Linker<Host>) -> Result<()> {
    link! { linker:
        args_get(pointers: u32, text: u32);
        args_sizes_get(count: u32, size: u32);
        environ_get(pointers: u32, text: u32);
        environ_sizes_get(count: u32, size: u32);
        clock_res_get(clock: u32, result: u32);
        clock_time_get(clock: u32, precision: u64, result: u32);
        fd_advise(descriptor: u32, offset: u64, length: u64, advice: u32);
        fd_allocate(descriptor: u32, offset: u64, length: u64);
        fd_close(descriptor: u32);
        fd_datasync(descriptor: u32);
        fd_fdstat_get(descriptor: u32, result: u32);
        fd_fdstat_set_flags(descriptor: u32, flags: u32);
        fd_fdstat_set_rights(descriptor: u32, base: u64, inheriting: u64);
        fd_filestat_get(descriptor: u32, result: u32);
        fd_filestat_set_size(descriptor: u32, size: u64);
        fd_filestat_set_times(descriptor: u32, accessed: u64, modified: u64, which: u32);
        fd_pread(descriptor: u32, parts: u32, count: u32, offset: u64, result: u32);
        fd_prestat_get(descriptor: u32, result: u32);
        fd_prestat_dir_name(descriptor: u32, path: u32, length: u32);
        fd_pwrite(descriptor: u32, parts: u32, count: u32, offset: u64, result: u32);
        fd_read(descriptor: u32, parts: u32, count: u32, result: u32);
        fd_readdir(descriptor: u32, buffer: u32, length: u32, cookie: u64, result: u32);
        fd_renumber(from: u32, to: u32);
        fd_seek(descriptor: u32, offset: u64, whence: u32, result: u32);
        fd_sync(descriptor: u32);
        fd_tell(descriptor: u32, result: u32);
        fd_write(descriptor: u32, parts: u32, count: u32, result: u32);
        path_create_directory(directory: u32, path: u32, length: u32);
        path_filestat_get(directory: u32, lookup: u32, path: u32, length: u32, result: u32);
        path_filestat_set_times(
            directory: u32, lookup: u32, path: u32, length: u32, accessed: u64, modified: u64, which: u32
        );
        path_link(from: u32, lookup: u32, old: u32, old_length: u32, to: u32, new: u32, new_length: u32);
        path_open(
            directory: u32, lookup: u32, path: u32, length: u32, how: u32, base: u64, inheriting: u64, flags: u32,
            result: u32
        );
        path_readlink(directory: u32, path: u32, length: u32, buffer: u32, capacity: u32, result: u32);
        path_remove_directory(directory: u32, path: u32, length: u32);
        path_rename(from: u32, old: u32, old_length: u32, to: u32, new: u32, new_length: u32);
        path_symlink(target: u32, target_length: u32, directory: u32, path: u32, length: u32);
        path_unlink_file(directory: u32, path: u32, length: u32);
        proc_raise(signal: u32);
        random_get(buffer: u32, length: u32);
        sched_yield();
        sock_accept(descriptor: u32, flags: u32, result: u32);
        sock_recv(descriptor: u32, parts: u32, count: u32, flags: u32, result: u32, result_flags: u32);
        sock_send(descriptor: u32, parts: u32, count: u32, flags: u32, result: u32);
        sock_shutdown(descriptor: u32, how: u32);
    }
    linker.func_wrap(MODULE, "proc_exit", |status: u32| -> Result<()> {
        Err(I32Exit(status.cast_signed()).into())
    })?;
    Ok(())
}

/// `faasm_dup`.
pub(in crate::host) fn dup(
    mut caller: Caller<'_, Host>,
    descriptor: u32,
    target: u32,
    exact: u32,
) -> Result<i32> {
    let (_, host) = memory(&mut caller)?;
    Ok(match host.files()?.duplicate(descriptor, target, exact != 0) {
        Ok(new) => i32::try_from(new)?,
        Err(error) => -error.number(),
    })
}

/// `faasm_lock`.
pub(in crate::host) async fn lock(
    mut caller: Caller<'_, Host>,
    (descriptor, operation, start, length): (u32, u32, u64, u64),
) -> Result<i32> {
    let has = |flag| operation & flag != 0;
    let kind = match operation & 3 {
        abi::FAASM_LOCK_NONE => None,
        abi::FAASM_LOCK_SHARED => Some(Lock::Shared),
        abi::FAASM_LOCK_EXCLUSIVE => Some(Lock::Exclusive),
        _ => return Ok(-Errno::INVAL.number()),
    };
    let range = (!has(abi::FAASM_LOCK_FILE)).then_some((start, length));
    let (_, host) = memory(&mut caller)?;
    let mut pause = LOCK_RETRY;
    loop {
        match host.files()?.lock(descriptor, kind, has(abi::FAASM_LOCK_TEST), range) {
            Err(Errno::AGAIN) if has(abi::FAASM_LOCK_WAIT) => {
                host.wait("a lock of a file", tokio::time::sleep(pause)).await?;
                pause = (2 * pause).min(LOCK_RETRY_MOST);
            }
            Err(error) => return Ok(-error.number()),
            Ok(()) => return Ok(0),
        }
    }
}

/// The guest's memory.
struct Memory<'a>(&'a mut [u8]);

impl Memory<'_> {
    fn bytes(&mut self, pointer: u32, length: u32) -> Result<&mut [u8]> {
        let range = range(self.0.len(), pointer, length)?;
        Ok(&mut self.0[range])
    }

    fn write(&mut self, pointer: u32, bytes: &[u8]) -> Result<()> {
        self.bytes(pointer, u32::try_from(bytes.len())?)?.copy_from_slice(bytes);
        Ok(())
    }

    fn write_u32(&mut self, pointer: u32, number: u32) -> Result<()> {
        self.write(pointer, &number.to_le_bytes())
    }

    fn write_u64(&mut self, pointer: u32, number: u64) -> Result<()> {
        self.write(pointer, &number.to_le_bytes())
    }

    fn path(&mut self, pointer: u32, length: u32) -> Result<&[u8], Refusal> {
        if length > MOST_PATH {
            return Err(Errno::NAMETOOLONG.into());
        }
        Ok(self.bytes(pointer, length)?)
    }

    /// The buffers of a read or write, `iovec`s, all of them checked, up to as many bytes as are moved at a time.
    fn parts(&mut self, pointer: u32, count: u32) -> Result<Vec<std::ops::Range<usize>>, Refusal> {
        if count > MOST_PARTS {
            return Err(Errno::INVAL.into());
        }
        let number = |bytes: &[u8]| u32::from_le_bytes(std::array::from_fn(|index| bytes[index]));
        let size = self.0.len();
        let mut room = MOST_BYTES;
        let mut parts = Vec::new();
        for part in self.bytes(pointer, 8 * count)?.chunks_exact(8) {
            let part = range(size, number(&part[..4]), number(&part[4..]))?;
            let length = part.len().min(room);
            room -= length;
            parts.push(part.start..part.start + length);
        }
        Ok(parts)
    }
}

impl Host {
    /// The files of the call, made when it first asks for one.
    fn files(&mut self) -> Result<&mut Files> {
        if self.files.is_none() {
            self.files = Some(Box::new(self.make_files()?));
        }
        self.files.as_deref_mut().ok_or_else(|| format_err!("the guest has no files"))
    }
}

/// Moves bytes between a file and parts of the memory, until one is not full. What was moved counts, whatever comes then.
fn transfer(
    memory: &mut Memory<'_>,
    (parts, count, result): (u32, u32, u32),
    mut at: Option<u64>,
    mut step: impl FnMut(&mut [u8], Option<u64>) -> Result<usize, Errno>,
) -> Answer {
    memory.bytes(result, 4)?;
    let mut total = 0;
    for part in memory.parts(parts, count)? {
        if part.is_empty() && total > 0 {
            continue;
        }
        let length = part.len();
        match step(&mut memory.0[part], at) {
            Ok(moved) => {
                total += moved;
                at = at.map(|at| at.saturating_add(moved as u64));
                if moved < length {
                    break;
                }
            }
            Err(_) if total > 0 => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(memory.write_u32(result, total as u32)?)
}

fn read(
    memory: &mut Memory<'_>,
    host: &mut Host,
    descriptor: u32,
    to: (u32, u32, u32),
    at: Option<u64>,
) -> Answer {
    let files = host.files()?;
    transfer(memory, to, at, |buffer, at| files.read(descriptor, at, buffer))
}

fn write(
    memory: &mut Memory<'_>,
    host: &mut Host,
    descriptor: u32,
    from: (u32, u32, u32),
    at: Option<u64>,
) -> Answer {
    let files = host.files()?;
    transfer(memory, from, at, |data, at| files.write(descriptor, at, data))?;
    if files.flooded() {
        Err(Refusal::End(OutputTooLarge.into()))
    } else if files.crowded() {
        Err(Refusal::End(NoRoom.into()))
    } else {
        Ok(())
    }
}

fn args_get(_: &mut Memory<'_>, _: &mut Host, _pointers: u32, _text: u32) -> Answer {
    Ok(())
}

fn args_sizes_get(memory: &mut Memory<'_>, _: &mut Host, count: u32, size: u32) -> Answer {
    memory.write_u32(count, 0)?;
    Ok(memory.write_u32(size, 0)?)
}

fn environ_get(_: &mut Memory<'_>, _: &mut Host, _pointers: u32, _text: u32) -> Answer {
    Ok(())
}

fn environ_sizes_get(memory: &mut Memory<'_>, host: &mut Host, count: u32, size: u32) -> Answer {
    args_sizes_get(memory, host, count, size)
}

/// The current time of a clock. There are no clocks of processor time.
fn time(clock: u32) -> Result<u64, Errno> {
    match clock {
        0 => Ok(nanoseconds(SystemTime::now())),
        1 => Ok(clock::monotonic()),
        _ => Err(Errno::INVAL),
    }
}

fn clock_res_get(memory: &mut Memory<'_>, _: &mut Host, clock: u32, result: u32) -> Answer {
    time(clock)?;
    Ok(memory.write_u64(result, 1)?)
}

fn clock_time_get(memory: &mut Memory<'_>, _: &mut Host, clock: u32, _precision: u64, result: u32) -> Answer {
    Ok(memory.write_u64(result, time(clock)?)?)
}

fn fd_advise(
    _: &mut Memory<'_>,
    host: &mut Host,
    descriptor: u32,
    _offset: u64,
    _length: u64,
    advice: u32,
) -> Answer {
    host.files()?.status(descriptor)?;
    // Advice may be ignored.
    if advice <= 5 { Ok(()) } else { Err(Errno::INVAL.into()) }
}

fn fd_allocate(_: &mut Memory<'_>, host: &mut Host, descriptor: u32, offset: u64, length: u64) -> Answer {
    Ok(host.files()?.allocate(descriptor, offset, length)?)
}

fn fd_close(_: &mut Memory<'_>, host: &mut Host, descriptor: u32) -> Answer {
    Ok(host.files()?.close(descriptor)?)
}

fn fd_datasync(_: &mut Memory<'_>, host: &mut Host, descriptor: u32) -> Answer {
    Ok(host.files()?.sync(descriptor, true)?)
}

fn fd_fdstat_get(memory: &mut Memory<'_>, host: &mut Host, descriptor: u32, result: u32) -> Answer {
    let status = host.files()?.status(descriptor)?;
    let mut bytes = [0; 24];
    bytes[0] = status.kind as u8;
    bytes[2..4].copy_from_slice(&status.flags.to_le_bytes());
    bytes[8..16].copy_from_slice(&status.base.to_le_bytes());
    bytes[16..].copy_from_slice(&status.inheriting.to_le_bytes());
    Ok(memory.write(result, &bytes)?)
}

fn fd_fdstat_set_flags(_: &mut Memory<'_>, host: &mut Host, descriptor: u32, flags: u32) -> Answer {
    Ok(host.files()?.set_flags(descriptor, flags as u16)?)
}

fn fd_fdstat_set_rights(
    _: &mut Memory<'_>,
    host: &mut Host,
    descriptor: u32,
    base: u64,
    inheriting: u64,
) -> Answer {
    Ok(host.files()?.set_rights(descriptor, base, inheriting)?)
}

fn fd_filestat_get(memory: &mut Memory<'_>, host: &mut Host, descriptor: u32, result: u32) -> Answer {
    memory.bytes(result, Stat::SIZE)?;
    Ok(memory.write(result, &host.files()?.stat(descriptor)?.to_bytes())?)
}

fn fd_filestat_set_size(_: &mut Memory<'_>, host: &mut Host, descriptor: u32, size: u64) -> Answer {
    Ok(host.files()?.resize(descriptor, size)?)
}

/// `fstflags`: for each of the times two bits, to set it to what is given or to now.
fn times(accessed: u64, modified: u64, which: u32) -> Result<Times, Errno> {
    let time = |given, bits| match bits {
        0 => Ok(None),
        1 => Ok(Some(given)),
        2 => Ok(Some(now())),
        _ => Err(Errno::INVAL),
    };
    Ok(Times { accessed: time(accessed, which & 3)?, modified: time(modified, which >> 2)? })
}

fn fd_filestat_set_times(
    _: &mut Memory<'_>,
    host: &mut Host,
    descriptor: u32,
    accessed: u64,
    modified: u64,
    which: u32,
) -> Answer {
    Ok(host.files()?.set_times(descriptor, times(accessed, modified, which)?)?)
}

fn fd_pread(
    memory: &mut Memory<'_>,
    host: &mut Host,
    descriptor: u32,
    parts: u32,
    count: u32,
    offset: u64,
    result: u32,
) -> Answer {
    read(memory, host, descriptor, (parts, count, result), Some(offset))
}

fn fd_prestat_get(memory: &mut Memory<'_>, _: &mut Host, descriptor: u32, result: u32) -> Answer {
    if descriptor != ROOT_DESCRIPTOR {
        return Err(Errno::BADF.into());
    }
    // A directory, whose name has one byte.
    Ok(memory.write_u64(result, 1 << 32)?)
}

fn fd_prestat_dir_name(
    memory: &mut Memory<'_>,
    _: &mut Host,
    descriptor: u32,
    path: u32,
    length: u32,
) -> Answer {
    match (descriptor, length) {
        (ROOT_DESCRIPTOR, 1..) => Ok(memory.write(path, b"/")?),
        (ROOT_DESCRIPTOR, 0) => Err(Errno::NAMETOOLONG.into()),
        _ => Err(Errno::BADF.into()),
    }
}

fn fd_pwrite(
    memory: &mut Memory<'_>,
    host: &mut Host,
    descriptor: u32,
    parts: u32,
    count: u32,
    offset: u64,
    result: u32,
) -> Answer {
    write(memory, host, descriptor, (parts, count, result), Some(offset))
}

fn fd_read(
    memory: &mut Memory<'_>,
    host: &mut Host,
    descriptor: u32,
    parts: u32,
    count: u32,
    result: u32,
) -> Answer {
    read(memory, host, descriptor, (parts, count, result), None)
}

fn fd_readdir(
    memory: &mut Memory<'_>,
    host: &mut Host,
    descriptor: u32,
    buffer: u32,
    length: u32,
    cookie: u64,
    result: u32,
) -> Answer {
    memory.bytes(result, 4)?;
    let filled = host.files()?.list(descriptor, cookie, memory.bytes(buffer, length)?)?;
    Ok(memory.write_u32(result, filled as u32)?)
}

fn fd_renumber(_: &mut Memory<'_>, host: &mut Host, from: u32, to: u32) -> Answer {
    Ok(host.files()?.renumber(from, to)?)
}

fn fd_seek(
    memory: &mut Memory<'_>,
    host: &mut Host,
    descriptor: u32,
    offset: u64,
    whence: u32,
    result: u32,
) -> Answer {
    let whence = match whence {
        0 => Whence::Start,
        1 => Whence::Current,
        2 => Whence::End,
        _ => return Err(Errno::INVAL.into()),
    };
    memory.bytes(result, 8)?;
    Ok(memory.write_u64(result, host.files()?.seek(descriptor, offset.cast_signed(), whence)?)?)
}

fn fd_sync(_: &mut Memory<'_>, host: &mut Host, descriptor: u32) -> Answer {
    Ok(host.files()?.sync(descriptor, false)?)
}

fn fd_tell(memory: &mut Memory<'_>, host: &mut Host, descriptor: u32, result: u32) -> Answer {
    Ok(memory.write_u64(result, host.files()?.seek(descriptor, 0, Whence::Current)?)?)
}

fn fd_write(
    memory: &mut Memory<'_>,
    host: &mut Host,
    descriptor: u32,
    parts: u32,
    count: u32,
    result: u32,
) -> Answer {
    write(memory, host, descriptor, (parts, count, result), None)
}

fn path_create_directory(
    memory: &mut Memory<'_>,
    host: &mut Host,
    directory: u32,
    path: u32,
    length: u32,
) -> Answer {
    Ok(host.files()?.create_directory(directory, memory.path(path, length)?)?)
}

/// `lookupflags`: whether a symbolic link at the end of a path is followed.
fn follows(lookup: u32) -> bool {
    lookup & 1 != 0
}

fn path_filestat_get(
    memory: &mut Memory<'_>,
    host: &mut Host,
    directory: u32,
    lookup: u32,
    path: u32,
    length: u32,
    result: u32,
) -> Answer {
    let stat = host.files()?.stat_path(directory, memory.path(path, length)?, follows(lookup))?;
    Ok(memory.write(result, &stat.to_bytes())?)
}

#[expect(clippy::too_many_arguments, reason = "they are WASI's")]
fn path_filestat_set_times(
    memory: &mut Memory<'_>,
    host: &mut Host,
    directory: u32,
    lookup: u32,
    path: u32,
    length: u32,
    accessed: u64,
    modified: u64,
    which: u32,
) -> Answer {
    let times = times(accessed, modified, which)?;
    let path = memory.path(path, length)?;
    Ok(host.files()?.set_times_path(directory, path, follows(lookup), times)?)
}

#[expect(clippy::too_many_arguments, reason = "they are WASI's")]
fn path_link(
    memory: &mut Memory<'_>,
    host: &mut Host,
    from: u32,
    lookup: u32,
    old: u32,
    old_length: u32,
    to: u32,
    new: u32,
    new_length: u32,
) -> Answer {
    let old = memory.path(old, old_length)?.to_vec();
    let new = memory.path(new, new_length)?;
    Ok(host.files()?.link((from, &old, follows(lookup)), (to, new))?)
}

#[expect(clippy::too_many_arguments, reason = "they are WASI's")]
fn path_open(
    memory: &mut Memory<'_>,
    host: &mut Host,
    directory: u32,
    lookup: u32,
    path: u32,
    length: u32,
    how: u32,
    base: u64,
    inheriting: u64,
    flags: u32,
    result: u32,
) -> Answer {
    memory.bytes(result, 4)?;
    let path = (memory.path(path, length)?, follows(lookup));
    let opened = host.files()?.open_path(directory, path, how, (base, inheriting), flags as u16)?;
    Ok(memory.write_u32(result, opened)?)
}

#[expect(clippy::too_many_arguments, reason = "they are WASI's")]
fn path_readlink(
    memory: &mut Memory<'_>,
    host: &mut Host,
    directory: u32,
    path: u32,
    length: u32,
    buffer: u32,
    capacity: u32,
    result: u32,
) -> Answer {
    memory.bytes(result, 4)?;
    let path = memory.path(path, length)?.to_vec();
    let target = host.files()?.read_link(directory, &path)?;
    let count = target.len().min(capacity as usize);
    memory.write(buffer, &target[..count])?;
    Ok(memory.write_u32(result, count as u32)?)
}

fn path_remove_directory(
    memory: &mut Memory<'_>,
    host: &mut Host,
    directory: u32,
    path: u32,
    length: u32,
) -> Answer {
    Ok(host.files()?.remove_directory(directory, memory.path(path, length)?)?)
}

#[expect(clippy::too_many_arguments, reason = "they are WASI's")]
fn path_rename(
    memory: &mut Memory<'_>,
    host: &mut Host,
    from: u32,
    old: u32,
    old_length: u32,
    to: u32,
    new: u32,
    new_length: u32,
) -> Answer {
    let old = memory.path(old, old_length)?.to_vec();
    let new = memory.path(new, new_length)?;
    Ok(host.files()?.rename((from, &old), (to, new))?)
}

fn path_symlink(
    memory: &mut Memory<'_>,
    host: &mut Host,
    target: u32,
    target_length: u32,
    directory: u32,
    path: u32,
    length: u32,
) -> Answer {
    let target = memory.path(target, target_length)?.to_vec();
    let path = memory.path(path, length)?;
    Ok(host.files()?.symlink(&target, directory, path)?)
}

fn path_unlink_file(
    memory: &mut Memory<'_>,
    host: &mut Host,
    directory: u32,
    path: u32,
    length: u32,
) -> Answer {
    Ok(host.files()?.unlink(directory, memory.path(path, length)?)?)
}

fn proc_raise(_: &mut Memory<'_>, _: &mut Host, _signal: u32) -> Answer {
    Err(Errno::NOSYS.into())
}

fn random_get(memory: &mut Memory<'_>, _: &mut Host, buffer: u32, length: u32) -> Answer {
    if length > MOST_RANDOM {
        return Err(Errno::INVAL.into());
    }
    Ok(getrandom::fill(memory.bytes(buffer, length)?).map_err(|_| Errno::IO)?)
}

fn sched_yield(_: &mut Memory<'_>, _: &mut Host) -> Answer {
    Ok(())
}

/// No descriptor is one of a socket.
fn no_socket(host: &mut Host, descriptor: u32) -> Answer {
    host.files()?.status(descriptor)?;
    Err(Errno::NOTSOCK.into())
}

fn sock_accept(_: &mut Memory<'_>, host: &mut Host, descriptor: u32, _flags: u32, _result: u32) -> Answer {
    no_socket(host, descriptor)
}

#[expect(clippy::too_many_arguments, reason = "they are WASI's")]
fn sock_recv(
    _: &mut Memory<'_>,
    host: &mut Host,
    descriptor: u32,
    _parts: u32,
    _count: u32,
    _flags: u32,
    _result: u32,
    _result_flags: u32,
) -> Answer {
    no_socket(host, descriptor)
}

fn sock_send(
    _: &mut Memory<'_>,
    host: &mut Host,
    descriptor: u32,
    _parts: u32,
    _count: u32,
    _flags: u32,
    _result: u32,
) -> Answer {
    no_socket(host, descriptor)
}

fn sock_shutdown(_: &mut Memory<'_>, host: &mut Host, descriptor: u32, _how: u32) -> Answer {
    no_socket(host, descriptor)
}
