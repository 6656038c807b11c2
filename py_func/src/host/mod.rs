//! What a guest can reach of its host: WASI, and the imports of `guest/faasm.h`.

pub(crate) mod abi;
mod chain;
mod clock;
mod command;
mod context;
mod files;
mod request;

use std::sync::Arc;
use std::time::Instant;

use faasm_image::Stopper;
use faasm_image::host::{Caller, Extern, Linker, Result, format_err};
use wasmtime_wasi::WasiCtxBuilder;

use crate::call::Account;
use crate::runtime::Inner;

pub(crate) use context::{CallContext, Lineage, Tally, WaitedTooLong};
#[cfg(feature = "server")]
pub(crate) use files::{Errno as FileError, FileType as FileKind, SharedFile, UserFiles};
pub(crate) use files::{Library, SharedFiles, TOP, Volume};

use command::Command;
use files::{Files, wasi};

/// The host's side of one sandbox.
#[derive(Default)]
pub(crate) struct Host {
    /// Made when the guest first asks for a file, which many calls never do.
    files: Option<Box<Files>>,
    /// Of the interpreter as a command, which has no files of ours.
    command: Option<Command>,
    /// The files of a function that is a package.
    package: Option<Arc<Volume>>,
    input: Vec<u8>,
    output: Vec<u8>,
    output_limit: usize,
    /// `None` where nobody counts what is held for the guest.
    account: Option<Arc<dyn Account>>,
    deadline: Option<Instant>,
    /// `None` where nobody stops the guest.
    stopper: Option<Stopper>,
    failure: Option<(u32, String)>,
    /// What the last request has left.
    answer: Vec<u8>,
    /// `None` where there is no call: while a guest is asked about itself, and for the interpreter as a command.
    context: Option<Box<CallContext>>,
}

/// What a sandbox has left, however it ended.
pub(crate) struct Remains {
    pub(crate) output: Vec<u8>,
    /// One of `FAASM_FAIL_*`, and its text.
    pub(crate) failure: Option<(u32, String)>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) tally: Tally,
}

/// The error by which a guest is ended that puts out more than it may.
#[derive(Debug, thiserror::Error)]
#[error("the output is larger than its limit")]
pub(crate) struct OutputTooLarge;

/// The error by which a guest is ended that puts out more than there is room for.
#[derive(Debug, thiserror::Error)]
#[error("there is no room for the output")]
pub(crate) struct NoRoom;

impl Host {
    /// A host that gives its guest `input` and, when it has begun, the files of the runtime.
    pub(crate) fn new(input: Vec<u8>, package: Option<Arc<Volume>>, context: CallContext) -> Self {
        Self { input, package, context: Some(Box::new(context)), ..Self::default() }
    }

    /// Has what is held for the guest counted. Its input counts already.
    pub(crate) fn counted_by(self, account: Option<Arc<dyn Account>>) -> Self {
        Self { account, ..self }
    }

    /// Prepares for a guest of this runtime, which is to end at `deadline`.
    pub(crate) fn begin(&mut self, runtime: &Inner, deadline: Option<Instant>) {
        self.output_limit = runtime.output_limit;
        self.deadline = deadline;
    }

    fn make_files(&self) -> Result<Files> {
        let context =
            self.context.as_ref().ok_or_else(|| format_err!("this is no call: there are no files"))?;
        let runtime = &context.runtime;
        let shared = runtime.shared.as_ref().map(|shared| shared.of(&context.user));
        let (package, account) = (self.package.clone(), self.account.clone());
        let files = Files::new(&runtime.library, package, shared, runtime.tmp_limit, self.output_limit);
        Ok(files.counted_by(account))
    }

    /// Says how to see that the guest was interrupted.
    pub(crate) fn watch(&mut self, stopper: Stopper) {
        self.stopper = Some(stopper);
    }

    /// A host for the interpreter as a command, which has what `wasi` gives it, so many directories among it.
    pub(crate) fn command(wasi: WasiCtxBuilder, directories: usize) -> Self {
        let command = Some(Command::new(wasi, directories));
        Self { command, output_limit: usize::MAX, ..Self::default() }
    }

    /// A host for an interpreter that is being initialised, with one directory, and is told what to import.
    #[cfg(feature = "server")]
    pub(crate) fn initialiser(wasi: WasiCtxBuilder, preload: Vec<u8>) -> Self {
        Self { input: preload, output_limit: 1 << 20, ..Self::command(wasi, 1) }
    }

    /// What the guest has said about its failure.
    #[cfg(feature = "server")]
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.as_ref().map(|(_, text)| text.as_str())
    }

    pub(crate) fn into_remains(self) -> Remains {
        let [stdout, stderr] = self.files.map(|files| files.into_outputs()).unwrap_or_default();
        let tally = self.context.map(|context| context.tally).unwrap_or_default();
        Remains { output: self.output, failure: self.failure, stdout, stderr, tally }
    }
}

/// Makes the imports of a guest that runs functions known to `linker`. Their types are compared with the guest's when a program is made.
pub(crate) fn link(linker: &mut Linker<Host>) -> Result<()> {
    wasi::link(linker)?;
    linker.func_wrap("faasm", "dup", wasi::dup)?;
    linker.func_wrap_async("faasm", "lock", |caller, arguments| Box::new(wasi::lock(caller, arguments)))?;
    link_common(linker)
}

/// The same for the interpreter as a command, whose files are others.
pub(crate) fn link_command(linker: &mut Linker<Host>) -> Result<()> {
    command::link(linker)?;
    link_common(linker)
}

fn link_common(linker: &mut Linker<Host>) -> Result<()> {
    linker.func_wrap_async("wasi_snapshot_preview1", "poll_oneoff", |caller, arguments| {
        Box::new(clock::poll_oneoff(caller, arguments))
    })?;
    linker.func_wrap("faasm", "input", input)?;
    linker.func_wrap("faasm", "output", output)?;
    linker.func_wrap("faasm", "fail", fail)?;
    linker.func_wrap_async("faasm", "request", |caller, arguments| {
        Box::new(request::request(caller, arguments))
    })?;
    linker.func_wrap("faasm", "answer", answer)?;
    Ok(())
}

fn input(mut caller: Caller<'_, Host>, buffer: u32, capacity: u32, offset: u32) -> Result<u32> {
    let (memory, host) = memory(&mut caller)?;
    if (capacity, offset) == (0, abi::FAASM_INPUT_KEPT) {
        let input = std::mem::take(&mut host.input);
        if let Some(account) = &host.account {
            // There is room for less.
            account.resize(input.len(), 0);
        }
        return Ok(0);
    }
    hand_over(memory, &host.input, buffer, capacity, offset)
}

fn answer(mut caller: Caller<'_, Host>, buffer: u32, capacity: u32, offset: u32) -> Result<u32> {
    let (memory, host) = memory(&mut caller)?;
    hand_over(memory, &host.answer, buffer, capacity, offset)
}

/// Copies from `offset` on what fits into the guest's buffer, and returns how much there is in all.
fn hand_over(memory: &mut [u8], bytes: &[u8], buffer: u32, capacity: u32, offset: u32) -> Result<u32> {
    let target = range(memory.len(), buffer, capacity)?;
    let rest = bytes.get(offset as usize..).unwrap_or_default();
    let count = rest.len().min(capacity as usize);
    memory[target][..count].copy_from_slice(&rest[..count]);
    Ok(u32::try_from(bytes.len())?)
}

fn output(mut caller: Caller<'_, Host>, data: u32, length: u32) -> Result<()> {
    let (memory, host) = memory(&mut caller)?;
    let source = range(memory.len(), data, length)?;
    if source.len() > host.output_limit {
        return Err(OutputTooLarge.into());
    }
    // The one before goes first, so that there are never two.
    let before = std::mem::take(&mut host.output).len();
    if host.account.as_ref().is_some_and(|account| !account.resize(before, source.len())) {
        return Err(NoRoom.into());
    }
    host.output = memory[source].to_vec();
    Ok(())
}

fn fail(mut caller: Caller<'_, Host>, kind: u32, text: u32, length: u32) -> Result<()> {
    let (memory, host) = memory(&mut caller)?;
    let source = range(memory.len(), text, length)?;
    if source.len() > host.output_limit {
        return Err(OutputTooLarge.into());
    }
    host.failure = Some((kind, String::from_utf8_lossy(&memory[source]).into_owned()));
    Ok(())
}

fn memory<'a>(caller: &'a mut Caller<'_, Host>) -> Result<(&'a mut [u8], &'a mut Host)> {
    let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
        return Err(format_err!("the guest has no memory"));
    };
    Ok(memory.data_and_store_mut(caller))
}

/// The guest's pointer and length as a range of its memory. They are whatever the guest says, so both are checked.
fn range(size: usize, pointer: u32, length: u32) -> Result<std::ops::Range<usize>> {
    let (start, end) = (pointer as usize, pointer as usize + length as usize);
    if end > size {
        return Err(format_err!("the guest names bytes {start}..{end} of a memory of {size} bytes"));
    }
    Ok(start..end)
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn wild_pointers_and_lengths_are_refused() {
        for (pointer, length, good) in [
            (0, 0, true),
            (0, 100, true),
            (100, 0, true),
            (99, 1, true),
            (99, 2, false),
            (101, 0, false),
            (0, 101, false),
            (u32::MAX, u32::MAX, false),
            (u32::MAX, 1, false),
            (1, u32::MAX, false),
        ] {
            assert_eq!(range(100, pointer, length).is_ok(), good, "{pointer} {length}");
        }
    }
}
