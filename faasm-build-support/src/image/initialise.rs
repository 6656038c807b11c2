//! Running the guest's initialiser, after which its memory is the base image.

use std::path::Path;

use faasm_image::host::{Caller, Extern, Linker};
use faasm_image::{Code, Limits, MemoryImage, Program};
use wasmtime_wasi::p1::{self, WasiP1Ctx};
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

use super::{BASE, BOOT, CODE, image_error};
use crate::error::{Error, Result};

/// The interpreter and whatever is preloaded must fit into this, in bytes.
const MEMORY_LIMIT: usize = 2 << 30;

/// The host of a guest that is being initialised: it may read its library, and is told what to preload.
struct Host {
    wasi: WasiP1Ctx,
    preload: Vec<u8>,
    failure: Option<String>,
}

/// Starts the interpreter in the image at `directory`, which has everything but the memory after that, and writes that.
pub(super) fn initialise(directory: &Path, preload: &[String]) -> Result<()> {
    let code = Code::load(&directory.join(CODE)).map_err(image_error("load the machine code"))?;
    let program = Program::new(&code, link).map_err(image_error("link the guest"))?;
    let boot =
        MemoryImage::from_file(&directory.join(BOOT)).map_err(image_error("map the initial memory"))?;

    let mut wasi = WasiCtxBuilder::new();
    // What the interpreter says when it cannot start is for whoever reads the build's output.
    wasi.allow_blocking_current_thread(true).inherit_stderr();
    wasi.preopened_dir(directory.join("root"), "/", FsPerms::ReadOnly)
        .map_err(image_error_from("open the runtime root"))?;
    let host = Host { wasi: wasi.build_p1(), preload: preload.join("\n").into_bytes(), failure: None };
    let limits = Limits { memory: MEMORY_LIMIT, deadline: None, interrupt: None };
    let mut guest = program.instantiate(&boot, limits, host).map_err(image_error("start the guest"))?;

    let result = pollster::block_on(async {
        guest.call::<_, ()>("_initialize", ()).await?;
        guest.call::<_, i32>("faasm_init", ()).await
    });
    if let Some(text) = guest.data_mut().failure.take() {
        return Err(Error::Initialise { text });
    }
    match result {
        Ok(0) => (),
        Ok(status) => return Err(Error::Initialise { text: format!("it answered {status}") }),
        Err(fault) => return Err(image_error("run the interpreter's initialisation")(fault)),
    }
    let memory = guest.capture().map_err(image_error("take the image"))?;
    memory.save(&directory.join(BASE)).map_err(image_error("write the image"))
}

/// The imports that an initialiser uses. The others end it.
fn link(linker: &mut Linker<Host>) -> faasm_image::host::Result<()> {
    p1::add_to_linker_sync(linker, |host: &mut Host| &mut host.wasi)?;
    linker.func_wrap(
        "faasm",
        "input",
        |mut caller: Caller<'_, Host>, buffer: u32, capacity: u32, offset: u32| {
            let preload = caller.data().preload.clone();
            let rest = preload.get(offset as usize..).unwrap_or_default();
            let count = rest.len().min(capacity as usize);
            slice(&mut caller, buffer, count)?.copy_from_slice(&rest[..count]);
            faasm_image::host::Result::Ok(preload.len() as u32)
        },
    )?;
    linker.func_wrap(
        "faasm",
        "fail",
        |mut caller: Caller<'_, Host>, _kind: u32, text: u32, length: u32| {
            let text = String::from_utf8_lossy(slice(&mut caller, text, length as usize)?).into_owned();
            caller.data_mut().failure = Some(text);
            faasm_image::host::Result::Ok(())
        },
    )?;
    // Nothing else is there yet, and nothing asks for it: what is imported runs no code of users.
    linker.func_wrap("faasm", "output", |_: u32, _: u32| too_early::<()>())?;
    linker.func_wrap("faasm", "answer", |_: u32, _: u32, _: u32| too_early::<u32>())?;
    linker.func_wrap("faasm", "dup", |_: u32, _: u32, _: u32| too_early::<i32>())?;
    linker.func_wrap("faasm", "lock", |_: u32, _: u32, _: u64, _: u64| too_early::<i32>())?;
    linker.func_wrap("faasm", "request", |_: u32, _: u32, _: u32, _: u32, _: u32, _: u64, _: u64| {
        too_early::<i64>()
    })?;
    Ok(())
}

fn too_early<T>() -> faasm_image::host::Result<T> {
    Err(faasm_image::host::format_err!("the interpreter is being initialised, and has no host yet"))
}

fn slice<'a>(
    caller: &'a mut Caller<'_, Host>,
    pointer: u32,
    length: usize,
) -> faasm_image::host::Result<&'a mut [u8]> {
    let memory = caller.get_export("memory").and_then(Extern::into_memory);
    memory
        .and_then(|memory| memory.data_mut(caller).get_mut(pointer as usize..)?.get_mut(..length))
        .ok_or_else(|| faasm_image::host::format_err!("the guest names memory it does not have"))
}

fn image_error_from(action: &'static str) -> impl FnOnce(faasm_image::host::Error) -> Error {
    move |error| Error::Image { action, source: error.into_boxed_dyn_error() }
}
