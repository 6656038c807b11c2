//! Bundles as they should be, and as nobody should make them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use faasm_image::{CodeEntry, FileEntry, Image};
use tempfile::TempDir;

use super::*;

/// A small image in a directory.
fn image(dir: &Path) {
    let wasm = wat::parse_str(
        r#"(module (memory (export "memory") 1) (data (i32.const 0) "x") (func (export "f")))"#,
    )
    .unwrap();
    fs::create_dir_all(dir.join("root/lib/a")).unwrap();
    fs::write(dir.join("root/lib/a/b.py"), "b = 1\n").unwrap();
    fs::write(dir.join("root/lib/c.py"), "").unwrap();
    fs::write(dir.join("py_func.wasm"), &wasm).unwrap();
    fs::write(dir.join("py_func.cwasm"), faasm_image::compile(&wasm, None).unwrap()).unwrap();
    fs::write(dir.join("boot.mem"), faasm_image::boot_memory(&wasm).unwrap()).unwrap();
    fs::write(dir.join("base.mem"), vec![1; 65536]).unwrap();
    faasm_image::Manifest {
        format: faasm_image::FORMAT,
        python: "3.13.5".to_owned(),
        wasm: FileEntry::of(dir, "py_func.wasm").unwrap(),
        code: CodeEntry::of(dir, "py_func.cwasm", None).unwrap(),
        boot: FileEntry::of(dir, "boot.mem").unwrap(),
        base: FileEntry::of(dir, "base.mem").unwrap(),
        inputs: BTreeMap::from([("source".to_owned(), "abc".to_owned())]),
    }
    .write(dir)
    .unwrap();
}

fn bundle_of(image: &Path, directory: &Path, targets: &[Target]) -> Written {
    let functions = [Function {
        user: "python".to_owned(),
        name: "f".to_owned(),
        source: b"def faasm_main(): pass".to_vec(),
        extension: "py".to_owned(),
    }];
    let documents = BTreeMap::from([("licenses/python/LICENSE".to_owned(), b"free".to_vec())]);
    let contents = Contents {
        version: "1.0",
        image,
        targets,
        functions: &functions,
        documents: &documents,
        compression: 3,
    };
    write(&contents, directory, &|_| ()).unwrap()
}

fn bundle(targets: &[Target]) -> (TempDir, Written) {
    let directory = tempfile::tempdir().unwrap();
    image(&directory.path().join("image"));
    let written = bundle_of(&directory.path().join("image"), directory.path(), targets);
    (directory, written)
}

/// What a bundle comes to in a new directory, or what is wrong with it.
fn installed(path: &Path, code: MachineCode) -> Result<(TempDir, Installed), Error> {
    let directory = tempfile::tempdir().unwrap();
    let installed = Bundle::open(path)
        .and_then(|mut bundle| install(&mut bundle, directory.path(), code, &Limits::default(), &|_| ()))?;
    Ok((directory, installed))
}

#[test]
fn the_same_contents_make_the_same_bytes_wherever_they_are() {
    let targets = [Target::Native, Target::Named(faasm_image::host_target())];
    let (_one, first) = bundle(&targets);
    let (_two, second) = bundle(&[targets[1].clone(), targets[0].clone(), targets[0].clone()]);
    assert_ne!(first.path, second.path);
    assert_eq!(fs::read(&first.path).unwrap(), fs::read(&second.path).unwrap());
    assert_eq!((first.sha256, first.len), hash::file(&second.path).unwrap());
    assert_eq!(first.path.file_name().unwrap(), "py_func-1.0-multi.tar.zst");
}

#[test]
fn an_image_comes_out_as_it_went_in() {
    for (targets, code, compiled) in [
        (&[][..], MachineCode::Compile, true),
        (&[], MachineCode::Trust, true),
        (&[Target::Native], MachineCode::Compile, true),
        (&[Target::Native], MachineCode::Trust, false),
        (
            &[Target::Named("aarch64-unknown-linux-gnu".to_owned())],
            MachineCode::Trust,
            cfg!(target_arch = "x86_64"),
        ),
        (&[Target::Named(faasm_image::host_target())], MachineCode::Trust, false),
    ] {
        let (from, written) = bundle(targets);
        let (to, installed) = installed(&written.path, code).unwrap();
        assert_eq!(installed.compiled, compiled, "{targets:?} {code:?}");
        assert_eq!(installed.manifest, written.manifest);
        let image = Image::open(to.path()).unwrap();
        image.verify().unwrap();
        image.load_code().unwrap();
        for name in ["boot.mem", "base.mem", "py_func.wasm", "root/lib/a/b.py", "root/lib/c.py"] {
            let original = fs::read(from.path().join("image").join(name)).unwrap();
            assert_eq!(fs::read(to.path().join(name)).unwrap(), original, "{name}");
        }
        let bundle = to.path().join(DIRECTORY);
        let mut left: Vec<_> = fs::read_dir(&bundle).unwrap().map(|it| it.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["functions", "licenses", "manifest.json"]);
    }
}

/// The machine code that is used is the one for the most that this processor has.
#[test]
#[cfg(target_arch = "x86_64")]
fn the_best_machine_code_is_taken() {
    let host = faasm_image::host_target();
    let has_v2 = is_x86_feature_detected!("popcnt") && is_x86_feature_detected!("sse4.2");
    let has_v3 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi2");
    let has_v4 = is_x86_feature_detected!("avx512dq") && is_x86_feature_detected!("avx512vl");
    let levels = [("+v4", has_v4), ("+v3", has_v3), ("+v2", has_v2), ("", true)];
    let targets = levels.map(|it| Target::Named(format!("{host}{}", it.0)));
    let (_from, written) = bundle(&targets);
    assert_eq!(written.manifest.code.len(), targets.len());
    let (to, taken) = installed(&written.path, MachineCode::Trust).unwrap();
    assert!(!taken.compiled);
    let best = levels.iter().find(|it| it.1).unwrap().0;
    assert_eq!(Image::open(to.path()).unwrap().manifest().code.target, format!("{host}{best}"));

    let (_from, written) = bundle(&[targets[0].clone(), Target::Native]);
    let (to, _) = installed(&written.path, MachineCode::Trust).unwrap();
    assert_eq!(Image::open(to.path()).unwrap().manifest().code.target, host);
    let (_from, written) = bundle(&[targets[1].clone()]);
    assert_eq!(written.path.file_name().unwrap().to_str().unwrap(), format!("py_func-1.0-{host}+v3.tar.zst"));
}

#[test]
fn every_way_to_damage_a_bundle_is_noticed() {
    let (directory, written) = bundle(&[Target::Native]);
    let whole = fs::read(&written.path).unwrap();
    let path = directory.path().join("damaged");
    let refused = |content: &[u8], what: &str| {
        fs::write(&path, content).unwrap();
        let Err(error) = installed(&path, MachineCode::Trust) else { panic!("{what}") };
        assert!(matches!(error, Error::Damaged { .. }), "{what}: {error}");
        assert!(error.hint().is_some());
    };
    let mut same = 0;
    for at in (0..whole.len()).step_by(whole.len() / 400) {
        refused(&whole[..at], "cut short");
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(&path, &flipped).unwrap();
        match installed(&path, MachineCode::Trust) {
            // Some bits of compressed data say nothing about the content, such as how much memory a reader needs. The manifest has the
            // hashes of all that is there.
            Ok((_, installed)) => {
                same += 1;
                assert_eq!(installed.manifest, written.manifest, "{at}");
            }
            Err(error) => assert!(matches!(error, Error::Damaged { .. }), "{at}: {error}"),
        }
    }
    assert!(same < 20, "{same} of 400 bits say nothing");
    refused(&[&whole[..], b"x"].concat(), "longer");
    refused(&[&whole[..], &whole[..]].concat(), "twice");
}

/// The entries of an archive: headers and contents.
type Entries = Vec<(tar::Header, Vec<u8>)>;

/// An archive as somebody else could write it: what the manifest's hashes say is as it should be.
fn changed(written: &Written, change: impl FnOnce(&mut Entries)) -> PathBuf {
    let archive = zstd::decode_all(fs::File::open(&written.path).unwrap()).unwrap();
    let mut entries: Entries = Vec::new();
    for entry in tar::Archive::new(archive.as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        std::io::copy(&mut entry, &mut content).unwrap();
        entries.push((entry.header().clone(), content));
    }
    change(&mut entries);
    let path = written.path.with_extension("changed");
    let mut out = zstd::Encoder::new(fs::File::create(&path).unwrap(), 1).unwrap();
    for (mut header, content) in entries {
        header.set_cksum();
        out.write_all(header.as_bytes()).unwrap();
        out.write_all(&content).unwrap();
        out.write_all(&vec![0; content.len().next_multiple_of(512) - content.len()]).unwrap();
    }
    out.write_all(&[0; 1024]).unwrap();
    out.finish().unwrap();
    path
}

#[test]
fn every_file_counts() {
    let (_directory, written) = bundle(&[Target::Native]);
    let count = written.manifest.files.len() + 1;
    assert!(count >= 8, "manifest, code, function, memory, library of two, module, licence: {count}");
    for index in 0..count {
        // An empty file has nothing that could be another.
        let flip = |entries: &mut Entries| entries[index].1.iter_mut().last().map_or((), |byte| *byte ^= 4);
        let cut = |entries: &mut Entries| {
            entries[index].1.pop();
            let len = entries[index].1.len() as u64;
            entries[index].0.set_size(len);
        };
        let is_empty = index > 0 && written.manifest.files[index - 1].len == 0;
        for path in [changed(&written, flip), changed(&written, cut)] {
            let outcome = installed(&path, MachineCode::Compile);
            let is_damage = matches!(outcome, Err(Error::Damaged { .. }));
            assert!(is_damage || (is_empty && outcome.is_ok()), "{index}: {:?}", outcome.err());
        }
    }
}

/// Changes the manifest of a bundle, and nothing else.
fn edit(entries: &mut Entries, edit: impl FnOnce(&mut Manifest)) {
    let mut manifest: Manifest = serde_json::from_slice(&entries[0].1).unwrap();
    edit(&mut manifest);
    manifest.identity = manifest::identity(&manifest.image, &manifest.files).unwrap();
    entries[0].1 = manifest.to_bytes().unwrap();
    let len = entries[0].1.len() as u64;
    entries[0].0.set_size(len);
}

/// The header of an entry with any path at all.
fn header(path: &[u8], kind: tar::EntryType) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes()[..path.len()].copy_from_slice(path);
    header.set_entry_type(kind);
    header.set_size(0);
    header.set_mode(0o644);
    header
}

#[test]
fn what_means_harm_is_refused_before_anything_is_written_elsewhere() {
    let (_directory, written) = bundle(&[]);
    type Change = Box<dyn FnOnce(&mut Entries)>;
    /// Gives the file at an index another path, in the manifest and in the archive.
    fn renamed(path: &'static str) -> Change {
        Box::new(move |entries| {
            edit(entries, |manifest| manifest.files[2].path = path.to_owned());
            let name = path.as_bytes().to_vec();
            let header = &mut entries[3].0;
            header.as_mut_bytes()[..100].fill(0);
            header.as_mut_bytes()[..name.len()].copy_from_slice(&name);
        })
    }
    let mut cases: Vec<(&str, Change, &str)> = vec![
        ("nothing", Box::new(Vec::clear), "it is empty"),
        ("no manifest", Box::new(|it| drop(it.remove(0))), "where its manifest has \"manifest.json\""),
        ("a file less", Box::new(|it| drop(it.pop())), "it ends before"),
        ("a file twice", Box::new(|it| it.push(it[3].clone())), "that its manifest does not name"),
        ("another order", Box::new(|it| it.swap(2, 3)), "where its manifest has"),
        (
            "a further file",
            Box::new(|it| it.insert(1, (header(b"evil", tar::EntryType::Regular), Vec::new()))),
            "where its manifest has",
        ),
        ("other content", Box::new(|it| it[3].1[0] ^= 1), "is not what its manifest says"),
        (
            "another length",
            Box::new(|it| {
                it[3].1.push(0);
                let len = it[3].1.len() as u64;
                it[3].0.set_size(len);
            }),
            "where its manifest says",
        ),
        (
            "a file that is too large",
            Box::new(|it| edit(it, |manifest| manifest.files[2].len = u64::MAX)),
            "and may become",
        ),
        (
            "files that are too large together",
            Box::new(|it| {
                edit(it, |manifest| manifest.files.iter_mut().for_each(|it| it.len = u64::MAX / 2));
            }),
            "and may become",
        ),
        (
            "a manifest that is too large",
            Box::new(|it| it[0].0.set_size(1 << 40)),
            "its manifest has 1099511627776 bytes",
        ),
        (
            "another format",
            Box::new(|it| edit(it, |manifest| manifest.format = 99)),
            "it has format 99, and this program reads format 1",
        ),
        ("no JSON", Box::new(|it| it[0].1[0] = b'['), "its manifest cannot be understood"),
        (
            "a version that leads elsewhere",
            Box::new(|it| edit(it, |manifest| manifest.version = "../1".to_owned())),
            "the version \"../1\" must be",
        ),
        (
            "code that is not there",
            Box::new(|it| {
                edit(it, |manifest| {
                    manifest.target = "pdp11".to_owned();
                    manifest.code.push(CodePart {
                        path: "code/x".to_owned(),
                        backend: String::new(),
                        engine: String::new(),
                        target: "pdp11".to_owned(),
                        settings: String::new(),
                    });
                });
            }),
            "has no file \"code/x\"",
        ),
        (
            "another identity",
            Box::new(|it| {
                let text = String::from_utf8(it[0].1.clone()).unwrap();
                it[0].1 = text.replace("\"abc\"", "\"abd\"").into_bytes();
            }),
            "the identity of its image",
        ),
        (
            "another memory",
            Box::new(|it| edit(it, |manifest| manifest.image.boot = "0".repeat(64))),
            "the memory in its module",
        ),
        (
            "a file that is a directory, too",
            Box::new(|it| edit(it, |manifest| manifest.files[4].path = "image/root/lib/a/b.py/x".to_owned())),
            "is both a file and a directory",
        ),
    ];
    for path in ["../evil", "/evil", "a/../../evil", "a//b", "./a", "a\\b", "manifest.json"] {
        cases.push(("a path that leads elsewhere", renamed(path), ""));
    }
    for (what, kind) in [
        ("a symbolic link", tar::EntryType::Symlink),
        ("a hard link", tar::EntryType::Link),
        ("a character device", tar::EntryType::Char),
        ("a block device", tar::EntryType::Block),
        ("a pipe", tar::EntryType::Fifo),
        ("a directory", tar::EntryType::Directory),
        ("a sparse file", tar::EntryType::GNUSparse),
        ("a long name", tar::EntryType::GNULongName),
        ("an extension", tar::EntryType::XHeader),
        ("an extension for all", tar::EntryType::XGlobalHeader),
    ] {
        let change: Change = Box::new(move |entries| {
            entries[3].0.set_entry_type(kind);
            entries[3].0.set_link_name("/etc/passwd").unwrap();
        });
        cases.push((what, change, "is no ordinary file"));
    }
    for (what, change, expected) in cases {
        let path = changed(&written, change);
        let above = tempfile::tempdir().unwrap();
        let into = above.path().join("a/b");
        fs::create_dir_all(&into).unwrap();
        let error = Bundle::open(&path)
            .and_then(|mut bundle| {
                install(&mut bundle, &into, MachineCode::Trust, &Limits::default(), &|_| ())
            })
            .expect_err(what);
        let text = error.to_string();
        assert!(text.starts_with("read the bundle ") && text.contains(expected), "{what}: {text}");
        let found: Vec<_> = fs::read_dir(above.path().join("a")).unwrap().collect();
        assert_eq!((found.len(), above.path().join("evil").exists()), (1, false), "{what}");
    }
}

#[test]
fn bombs_are_refused_before_they_go_off() {
    let (_directory, written) = bundle(&[]);
    // A lot of zeros, with a manifest that owns up to it.
    let path = changed(&written, |entries| {
        let zeros = vec![0; 128 << 20];
        let mut content = hash::Hashing::new(zeros.as_slice());
        let len = std::io::copy(&mut content, &mut std::io::sink()).unwrap();
        let sha256 = content.finish().0;
        edit(entries, |manifest| (manifest.files[2].sha256, manifest.files[2].len) = (sha256, len));
        entries[3].0.set_size(len);
        entries[3].1 = zeros;
    });
    assert!(fs::metadata(&path).unwrap().len() < 100 << 10);
    let error = installed(&path, MachineCode::Compile).unwrap_err().to_string();
    assert!(error.contains("and may become 67108864"), "{error}");
    // Data that refers back farther than readers keep.
    let mut out = zstd::Encoder::new(Vec::new(), 1).unwrap();
    out.window_log(27).unwrap();
    out.write_all(&vec![0; 16 << 20]).unwrap();
    fs::write(&path, out.finish().unwrap()).unwrap();
    let error = installed(&path, MachineCode::Compile).unwrap_err().to_string();
    assert!(error.to_lowercase().contains("memory"), "{error}");
}

#[test]
fn a_full_disk_is_named() {
    let (_directory, written) = bundle(&[]);
    // A directory in place of the file that is to be written stands for whatever the system may answer.
    let into = tempfile::tempdir().unwrap();
    fs::create_dir_all(into.path().join("image/base.mem")).unwrap();
    let mut bundle = Bundle::open(&written.path).unwrap();
    let error = bundle.unpack(into.path(), &Limits::default(), &|_, _| true).unwrap_err();
    assert!(matches!(&error, Error::Io { path, .. } if path.ends_with("image/base.mem")), "{error}");
}

#[test]
fn signatures_are_of_one_file_and_one_key() {
    let (directory, written) = bundle(&[]);
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let (secret, public) = sign::generate(None).unwrap();
    let (secret, public) = (file("key", &secret), file("key.pub", &public));
    let signature = sign::sign(&written.path, &secret, None).unwrap();
    let key = PublicKey::read(public.to_str().unwrap()).unwrap();
    let line = fs::read_to_string(&public).unwrap().lines().nth(1).unwrap().to_owned();
    PublicKey::read(&line).unwrap();
    Bundle::open(&written.path).unwrap().verify(&signature, &key).unwrap();

    let (_, other) = sign::generate(None).unwrap();
    let other = PublicKey::read(file("other.pub", &other).to_str().unwrap()).unwrap();
    let refused = |path: &Path, signature: &str, key: &PublicKey| {
        let error = Bundle::open(path).unwrap().verify(signature, key).unwrap_err();
        assert!(matches!(error, Error::Signature { .. }), "{error}");
        assert!(error.hint().is_some());
    };
    refused(&written.path, &signature, &other);
    refused(&written.path, "", &key);
    refused(&written.path, &signature.replace("sha256:", "sha256 "), &key);
    let mut content = fs::read(&written.path).unwrap();
    content[100] ^= 1;
    let changed = file("changed", "");
    fs::write(&changed, &content).unwrap();
    refused(&changed, &signature, &key);
    assert!(matches!(PublicKey::read("RWnonsense"), Err(Error::Io { .. })));
    assert!(matches!(PublicKey::read(secret.to_str().unwrap()), Err(Error::Key { .. })));

    // What is unpacked is what was verified.
    fs::write(&changed, fs::read(&written.path).unwrap()).unwrap();
    let mut bundle = Bundle::open(&changed).unwrap();
    bundle.verify(&signature, &key).unwrap();
    let mut other_contents = self::bundle(&[]);
    let image = other_contents.0.path().join("image");
    fs::write(image.join("root/lib/c.py"), "changed").unwrap();
    other_contents.1 = bundle_of(&image, other_contents.0.path(), &[]);
    fs::write(&changed, fs::read(&other_contents.1.path).unwrap()).unwrap();
    let error = bundle
        .unpack(tempfile::tempdir().unwrap().path(), &Limits::default(), &|_, _| true)
        .unwrap_err()
        .to_string();
    assert!(error.contains("after its signature was verified"), "{error}");
}

#[test]
fn what_cannot_be_in_a_bundle_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let image_directory = directory.path().join("image");
    image(&image_directory);
    let attempt = |version: &str, targets: &[Target]| {
        let contents = Contents {
            version,
            image: &image_directory,
            targets,
            functions: &[],
            documents: &BTreeMap::new(),
            compression: 1,
        };
        write(&contents, directory.path(), &|_| ()).map(|_| ()).map_err(|error| error.to_string())
    };
    attempt("1.0", &[]).unwrap();
    assert!(attempt("a/b", &[]).unwrap_err().contains("the version \"a/b\""));
    assert!(attempt("1", &[Target::Named("pdp11-dec-unix".to_owned())]).is_err());
    std::os::unix::fs::symlink("/etc/passwd", image_directory.join("root/link")).unwrap();
    assert!(attempt("1", &[]).unwrap_err().contains("neither a file nor a directory"));
    fs::remove_file(image_directory.join("root/link")).unwrap();
    fs::write(image_directory.join("base.mem"), vec![2; 65536]).unwrap();
    assert!(attempt("1", &[]).unwrap_err().contains("use the image"));
    let left: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "the image and one bundle: {left:?}");
}
