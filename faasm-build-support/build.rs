//! Keeps the name of the platform that this crate is compiled for, which the `cc` crate wants to know at run time.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-env=FAASM_HOST={}", std::env::var("TARGET").expect("Cargo sets TARGET"));
}
