//! Does one step of a build, for tests that disturb it. It says on standard output what it is doing, one event a line.
//!
//! ```text
//! build-step make    make the entry `test/entry`, of a file with the content `made`
//! build-step stall   begin to make that entry, and never end
//! build-step unpack ARCHIVE   unpack an archive into the entry `test/unpacked`
//! build-step image   build the image, in a cache that has everything up to CPython
//! ```

use std::env;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use faasm_build_support::cache::Key;
use faasm_build_support::progress::Event;
use faasm_build_support::{Context, Error, GuestSources, Image, Result, source};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:?}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Result<()> {
    let mut cx = Context::from_env()?;
    cx.offline = true;
    cx.progress = Arc::new(report);
    match arguments {
        ["make"] => drop(cx.entry("test", "entry", &Key::new(), make)?),
        ["stall"] => drop(cx.entry("test", "entry", &Key::new(), |directory| {
            make(directory)?;
            println!("stalled");
            loop {
                std::thread::park();
            }
        })?),
        ["unpack", archive] => {
            cx.entry("test", "unpacked", &Key::new(), |directory| {
                source::unpack(Path::new(archive), directory)
            })?;
        }
        ["image"] => {
            let built = Image::new(GuestSources::read(faasm_tests::py_func_package())?).build_in(&cx)?;
            println!("image {}", built.directory().display());
        }
        other => panic!("{other:?} is no step"),
    }
    Ok(())
}

fn make(directory: &Path) -> Result<()> {
    let path = directory.join("file");
    fs::write(&path, "made").map_err(Error::io("write", &path))
}

fn report(event: Event) {
    match event {
        Event::Started { step } => {
            // The tests that use this are about the steps after CPython. That takes minutes, and is in the cache.
            assert!(!step.starts_with("cpython"), "{step} would be built");
            println!("started {step}");
        }
        Event::Message { step, text } => println!("message {step}: {text}"),
        Event::Finished { step, cached: true, .. } => println!("cached {step}"),
        Event::Finished { step, .. } => println!("built {step}"),
        Event::Failed { step, .. } => println!("failed {step}"),
        Event::Bytes { .. } => {}
    }
}
