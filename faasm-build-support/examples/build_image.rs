//! temporary
use std::sync::Arc;
fn main() -> Result<(), faasm_build_support::Error> {
    let guest = faasm_build_support::GuestSources::read(std::path::Path::new("py_func"))?;
    let mut cx = faasm_build_support::Context::from_env()?;
    cx.progress = Arc::new(|e| if !matches!(e, faasm_build_support::progress::Event::Bytes{..}) { eprintln!("{e:?}") });
    let built = faasm_build_support::Image::new(guest).preload(["json", "re", "math", "datetime", "collections", "functools", "dataclasses", "io", "time"]).build_in(&cx)?;
    println!("{}", built.directory().display());
    Ok(())
}
