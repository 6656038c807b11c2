#![no_main]

use std::fs;
use std::path::Path;

use faasm_bundle::{Bundle, Limits, Manifest};

const LIMITS: Limits = Limits { files: 20, unpacked: 1 << 20, ratio: 100 };

/// What files compressed by Zstandard begin with.
const COMPRESSED: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

// Nothing may be written beside the directory that is given, and no more than is allowed.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let place = tempfile::tempdir().unwrap();
    let (file, into) = (place.path().join("bundle.tar.zst"), place.path().join("in/to"));
    fs::write(&file, bundle(bytes)).unwrap();
    let mut bundle = Bundle::open(&file).unwrap();
    if bundle.manifest(&LIMITS).is_err() {
        return;
    }
    fs::create_dir_all(&into).unwrap();
    let unpacked = bundle.unpack(&into, &LIMITS, &|_, _| true);
    let count = |directory: &Path| fs::read_dir(directory).unwrap().count();
    assert_eq!((count(place.path()), count(&place.path().join("in"))), (2, 1));
    if let Ok(manifest) = unpacked {
        assert!(manifest.files.len() <= LIMITS.files);
        assert!(manifest.files.iter().all(|part| into.join(&part.path).is_file()));
    }
});

/// Some bytes as a bundle: a manifest becomes one with empty files, anything else is compressed if it is not.
fn bundle(bytes: &[u8]) -> Vec<u8> {
    if bytes.starts_with(&COMPRESSED) {
        return bytes.to_vec();
    }
    if !bytes.starts_with(b"{") {
        return zstd::encode_all(bytes, 1).unwrap();
    }
    let mut archive = tar::Builder::new(zstd::Encoder::new(Vec::new(), 1).unwrap());
    let mut add = |path: &str, content: &[u8]| {
        let mut header = tar::Header::new_ustar();
        // Not through a method that refuses bad ones.
        let length = path.len().min(100);
        header.as_mut_bytes()[..length].copy_from_slice(&path.as_bytes()[..length]);
        header.set_size(content.len() as u64);
        header.set_cksum();
        archive.append(&header, content).unwrap();
    };
    add("manifest.json", bytes);
    if let Ok(manifest) = serde_json::from_slice::<Manifest>(bytes) {
        manifest.files.iter().take(LIMITS.files).for_each(|part| add(&part.path, b""));
    }
    archive.into_inner().unwrap().finish().unwrap()
}
