fn main() -> Result<(), faasm_build_support::Error> {
    faasm_build_support::Image::from_manifest()?.build()?.emit();
    Ok(())
}
