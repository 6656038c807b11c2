use std::io::Write as _;

use super::*;

/// A tar archive with members of these names as they are, which the crate's own function would refuse for bad ones.
fn tar(members: &[(&str, tar::EntryType)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, kind) in members {
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(if kind.is_file() { 4 } else { 0 });
        header.set_cksum();
        archive.append(&header, if kind.is_file() { &b"text"[..] } else { b"" }).unwrap();
    }
    archive.into_inner().unwrap()
}

fn zip(names: &[&str]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for name in names {
        archive.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(b"text").unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// Each way of packing files with these names.
fn archives(names: &[&str]) -> [Vec<u8>; 3] {
    let members: Vec<_> = names.iter().map(|name| (*name, tar::EntryType::Regular)).collect();
    let tar = tar(&members);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).unwrap();
    [zip(names), gzip.finish().unwrap(), tar]
}

/// The paths of a package's files.
fn paths(volume: &Volume) -> Vec<String> {
    fn visit(volume: &Volume, directory: usize, prefix: &str, paths: &mut Vec<String>) {
        for (name, inode) in volume.list(directory).unwrap() {
            let path = format!("{prefix}{}", std::str::from_utf8(name).unwrap());
            if volume.list(inode).is_ok() {
                visit(volume, inode, &format!("{path}/"), paths);
            } else {
                paths.push(path);
            }
        }
    }
    let mut found = Vec::new();
    visit(volume, TOP, "", &mut found);
    found
}

#[test]
fn layouts() {
    for (names, module, expected) in [
        (&["main.py", "util.py", "data/x.txt"][..], "main", &["data/x.txt", "main.py", "util.py"][..]),
        (&["./main.py", "a/__init__.py"], "main", &["a/__init__.py", "main.py"]),
        (&["project-1.0/main.py", "project-1.0/a.py"], "main", &["a.py", "main.py"]),
        (&["a/b/main.py", "a/README"], "main", &["main.py"]),
        (&["pkg/__init__.py", "pkg/a.py"], "pkg", &["pkg/__init__.py", "pkg/a.py"]),
        (
            &["pkg/__init__.py", "pkg-1.dist-info/METADATA"],
            "pkg",
            &["pkg/__init__.py", "pkg-1.dist-info/METADATA"],
        ),
        (&["__init__.py", "a.py"], "my_function", &["my_function/__init__.py", "my_function/a.py"]),
        (&["pkg-1/__init__.py"], "my_function", &["my_function/__init__.py"]),
        (&["main.py", "__pycache__/main.pyc", ".git/config", "a/.env", "__MACOSX/x"], "main", &["main.py"]),
    ] {
        for archive in archives(names) {
            let package = open(&archive, "my-function").unwrap();
            assert_eq!((package.module.as_str(), &*paths(&package.files)), (module, &*owned(expected)));
        }
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

#[test]
fn packages_without_a_module() {
    for names in [&["a.py"][..], &["a/x.txt", "b/x.txt"], &["a/main.py", "b/main.py"], &["x.txt"], &[]] {
        for archive in archives(names) {
            // An empty archive of the one kind is not recognised, and those of the others have no module.
            let Err(error) = open(&archive, "f") else { panic!("{names:?}") };
            assert!(
                matches!(error, PackageError::NoModule { .. } | PackageError::Archive { .. }),
                "{names:?}: {error}"
            );
        }
    }
}

#[test]
fn members_that_lead_elsewhere_are_refused() {
    let long = "x".repeat(300);
    for (name, reason) in [
        ("../main.py", "out of"),
        ("a/../../main.py", "out of"),
        ("/main.py", "absolute"),
        ("a\\main.py", "backslash"),
    ] {
        for archive in archives(&["main.py", name]) {
            let error = open(&archive, "f").err().unwrap().to_string();
            assert!(error.contains(reason) && error.contains(name), "{name}: {error}");
        }
    }
    for (name, reason) in [(long.as_str(), "too long"), ("main.py/x", "same name")] {
        let error = open(&zip(&["main.py", name]), "f").err().unwrap().to_string();
        assert!(error.contains(reason) && error.contains(name), "{name}: {error}");
    }
    use tar::EntryType::{Block, Char, Fifo, Link, Regular, Symlink};
    for kind in [Block, Char, Fifo, Link, Symlink] {
        let error = open(&tar(&[("main.py", Regular), ("odd", kind)]), "f").err().unwrap().to_string();
        assert!(error.contains("odd: it is neither"), "{error}");
    }
    let error = open(&tar(&[("main.py", Regular), ("main.py", Regular)]), "f").err().unwrap();
    assert!(error.to_string().contains("twice"), "{error}");
}

#[test]
fn bombs_are_refused() {
    // Many small ones.
    let names: Vec<String> = (0..=MOST_FILES).map(|number| format!("{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for archive in archives(&names) {
        assert!(matches!(open(&archive, "f"), Err(PackageError::TooLarge)));
    }
    // One that is large when it is unpacked.
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    archive.start_file("main.py", zip::write::SimpleFileOptions::default()).unwrap();
    io::copy(&mut io::repeat(0).take(MOST_BYTES + 1), &mut archive).unwrap();
    let archive = archive.finish().unwrap().into_inner();
    assert!(archive.len() < 1 << 20);
    assert!(matches!(open(&archive, "f"), Err(PackageError::TooLarge)));
}

#[test]
fn damaged_archives_are_refused() {
    for archive in archives(&["main.py", "a.py", "b.py"]) {
        for length in (0..archive.len()).step_by(7) {
            // The last bytes of a tar archive mean nothing.
            if let Ok(package) = open(&archive[..length], "f") {
                assert_eq!(package.module, "main");
            }
        }
    }
}

#[test]
fn folders_are_packed_the_same_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let top = folder.path().join("pkg");
    fs::create_dir_all(top.join("data")).unwrap();
    fs::create_dir_all(top.join("__pycache__")).unwrap();
    for name in ["__init__.py", "data/x.txt", "__pycache__/x.pyc", ".hidden"] {
        fs::write(top.join(name), name).unwrap();
    }
    let archive = pack(&top).unwrap();
    assert_eq!(archive_kind(&archive), Some("tar.gz"));
    assert_eq!(archive, pack(&top).unwrap());
    let package = open(&archive, "f").unwrap();
    assert_eq!(package.module, "pkg");
    assert_eq!(paths(&package.files), ["pkg/__init__.py", "pkg/data/x.txt"]);

    std::os::unix::fs::symlink("/etc/passwd", top.join("link")).unwrap();
    let error = pack(&top).unwrap_err().to_string();
    assert!(error.contains("link: it is neither"), "{error}");
    assert!(pack(&folder.path().join("missing")).unwrap_err().to_string().contains("missing"));
}

#[test]
fn sources_are_no_archives() {
    for source in ["", "def faasm_main(): pass\n", "PK = 1\n", &format!("#{}ustar", " ".repeat(256))] {
        assert_eq!(archive_kind(source.as_bytes()), None, "{source:?}");
    }
}
