//! Tells the tests where the image is that the build script of `py_func` made, as Cargo tells it to direct dependents.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-env=FAASM_TEST_IMAGE={}", std::env::var("DEP_PY_FUNC_IMAGE")?);
    println!("cargo::rustc-env=FAASM_TEST_PY_FUNC={}", std::env::var("DEP_PY_FUNC_PACKAGE")?);
    Ok(())
}
