//! Builds the default image, with the feature `image`, and tells dependents where the guest's sources are.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::metadata=package={}", std::env::var("CARGO_MANIFEST_DIR")?);
    #[cfg(feature = "image")]
    faasm_build_support::Image::from_manifest()?.build()?.emit();
    Ok(())
}
