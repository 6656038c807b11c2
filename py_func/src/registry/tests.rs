use super::*;

fn registry() -> (tempfile::TempDir, Registry) {
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::new(directory.path().join("store"));
    (directory, registry)
}

fn listed(registry: &Registry) -> Vec<String> {
    registry.functions().unwrap().iter().map(|it| format!("{}/{} {}", it.user, it.name, it.bytes)).collect()
}

#[test]
fn what_is_stored_is_found_and_replaced() {
    let (_directory, registry) = registry();
    assert_eq!(listed(&registry), Vec::<String>::new());
    assert!(registry.runtime().unwrap().is_none());
    for (user, name, source) in [("b", "f", "1"), ("a", "g", "22"), ("a", "f", "333"), ("b", "f", "4444")] {
        registry.store(user, name, source.as_bytes()).unwrap();
        assert_eq!(registry.source(user, name).unwrap(), source.as_bytes());
    }
    assert_eq!(listed(&registry), ["a/f 3", "a/g 2", "b/f 4"]);
}

#[test]
fn so_many_versions_are_kept() {
    let (_directory, registry) = registry();
    let registry = registry.keep_versions(NonZero::new(3).unwrap());
    let sizes = |registry: &Registry| {
        registry.versions("a", "f").unwrap().into_iter().map(|it| it.bytes).collect::<Vec<_>>()
    };
    for (source, expected) in [
        ("1", &[1][..]),
        ("22", &[2, 1]),
        ("333", &[3, 2, 1]),
        ("4444", &[4, 3, 2]),
        // What was there before comes to the front, as when somebody goes back to it.
        ("22", &[2, 4, 3]),
        ("22", &[2, 4, 3]),
    ] {
        registry.store("a", "f", source.as_bytes()).unwrap();
        assert_eq!(sizes(&registry), expected, "{source}");
        let files = fs::read_dir(registry.function_directory("a", "f")).unwrap().count();
        assert_eq!(files, expected.len() + 1, "the sources of other versions are removed");
    }
    for stored in registry.versions("a", "f").unwrap() {
        let source = registry.source_of_version("a", "f", stored.version()).unwrap();
        assert_eq!((source.len() as u64, hash(&source)), (stored.bytes, stored.sha256));
    }
    for gone in [hash(b"1"), String::new(), hash(b"22")[..15].to_owned()] {
        let error = registry.source_of_version("a", "f", &gone).unwrap_err();
        assert!(matches!(error, RegistryError::NoVersion { .. }), "{gone} {error}");
    }
    // With fewer to be kept, those too many go with the next upload.
    let registry = registry.keep_versions(NonZero::<usize>::MIN);
    registry.store("a", "f", b"55555").unwrap();
    assert_eq!(sizes(&registry), [5]);
    registry.remove("a", "f").unwrap();
    assert!(matches!(registry.versions("a", "f"), Err(RegistryError::NoFunction { .. })));
}

#[test]
fn what_was_removed_is_not_gone_back_to() {
    let (_directory, registry) = registry();
    let registry = registry.keep_versions(NonZero::new(2).unwrap());
    let restore = |source: &[u8]| registry.restore("a", "f", &hash(source)[..VERSION_DIGITS]);
    assert!(matches!(restore(b"1"), Err(RegistryError::NoFunction { .. })));
    for source in ["1", "22", "333"] {
        registry.store("a", "f", source.as_bytes()).unwrap();
    }
    assert!(matches!(restore(b"1"), Err(RegistryError::NoVersion { .. })));
    assert_eq!(restore(b"22").unwrap().bytes, 2);
    assert_eq!(registry.source("a", "f").unwrap(), b"22");
    let sizes: Vec<_> = registry.versions("a", "f").unwrap().iter().map(|it| it.bytes).collect();
    assert_eq!(sizes, [2, 3]);
    registry.remove("a", "f").unwrap();
    assert!(matches!(restore(b"333"), Err(RegistryError::NoFunction { .. })));
    assert_eq!(listed(&registry), [""; 0]);
}

#[test]
fn runtimes_that_nobody_uses_are_removed() {
    let (_directory, registry) = registry();
    let runtimes = registry.root().join("runtimes");
    let lock = Lock::exclusive(registry.root()).unwrap();
    for name in ["chosen", "before", "gone back to", "used", "unused", ".new-killed"] {
        fs::create_dir_all(runtimes.join(name).join("root")).unwrap();
    }
    let upgraded = r#"{"running": {"image": "/elsewhere"}, "previous": {"image": "runtimes/gone back to", "stored": "1"}}"#;
    fs::write(registry.root().join(UPGRADED), upgraded).unwrap();
    let in_use = InUse::new(&runtimes.join("used")).unwrap();
    let remove = || {
        registry.remove_unused_runtimes(&["chosen", "before"]).unwrap();
        files::names(&runtimes).unwrap()
    };
    assert_eq!(remove(), ["before", "chosen", "gone back to", "used"]);
    assert_eq!(fs::read_dir(&runtimes).unwrap().count(), 4);
    drop(in_use);
    assert_eq!(remove(), ["before", "chosen", "gone back to"]);
    assert!(InUse::new(&runtimes.join("used")).is_none());
    drop(lock);
}

#[test]
fn functions_of_stores_without_versions_are_read() {
    let (_directory, registry) = registry();
    registry.store("a", "f", b"old").unwrap();
    let directory = registry.function_directory("a", "f");
    let meta = format!(
        r#"{{ "source": "function-{0}.py", "bytes": 3, "sha256": "{1}", "uploaded": 5 }}"#,
        &hash(b"old")[..16],
        hash(b"old"),
    );
    fs::write(directory.join(META), meta).unwrap();
    assert_eq!(registry.source("a", "f").unwrap(), b"old");
    assert_eq!(registry.versions("a", "f").unwrap().len(), 1);
}

#[test]
fn packages_are_told_from_modules() {
    let (_directory, registry) = registry();
    for (name, source) in [("module", b"pass\n".as_slice()), ("zip", b"PK\x03\x04"), ("gzip", b"\x1f\x8b")] {
        registry.store("a", name, source).unwrap();
        assert_eq!(registry.source("a", name).unwrap(), source);
    }
    let kinds: Vec<_> =
        registry.functions().unwrap().into_iter().map(|it| (it.name, it.is_package)).collect();
    assert_eq!(kinds, [("gzip".to_owned(), true), ("module".to_owned(), false), ("zip".to_owned(), true)]);
}

#[test]
fn what_a_killed_writer_leaves_is_no_function() {
    let (_directory, registry) = registry();
    registry.store("a", "f", b"old").unwrap();
    let directory = registry.function_directory("a", "f");
    // Killed while it wrote the source, and after it; and another before its first `meta.json`.
    fs::write(directory.join(".new-x"), "ne").unwrap();
    fs::write(directory.join("function-0123.py"), "new").unwrap();
    fs::create_dir_all(registry.function_directory("a", "g")).unwrap();
    assert_eq!(listed(&registry), ["a/f 3"]);
    assert_eq!(registry.source("a", "f").unwrap(), b"old");
    assert!(matches!(registry.source("a", "g"), Err(RegistryError::NoFunction { .. })));
    registry.store("a", "f", b"newer").unwrap();
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 3, "two versions and what says so");
}

#[test]
fn readers_see_whole_functions_while_writers_replace_them() {
    let (_directory, registry) = registry();
    let versions: Vec<Vec<u8>> = (0..4_u8).map(|version| vec![version; 10_000]).collect();
    registry.store("a", "f", &versions[0]).unwrap();
    std::thread::scope(|scope| {
        for version in &versions {
            let registry = &registry;
            scope.spawn(move || (0..20).for_each(|_| drop(registry.store("a", "f", version).unwrap())));
        }
        for _ in 0..100 {
            let source = registry.source("a", "f").unwrap();
            assert!(versions.contains(&source));
        }
    });
    assert_eq!(listed(&registry), ["a/f 10000"]);
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let (_directory, registry) = registry();
    for (user, name) in [("..", "f"), ("a", "../f"), ("a/b", "f"), ("", "f"), ("a", ".f")] {
        let error = registry.source(user, name).unwrap_err();
        let RegistryError::Runtime(error) = error else { panic!("{error}") };
        assert!(matches!(*error, crate::Error::Name { .. }), "{error}");
    }
    assert!(matches!(registry.source("a", RUNTIME_NAME), Err(RegistryError::Reserved)));
}

#[test]
fn damage_is_noticed() {
    let (_directory, registry) = registry();
    registry.store("a", "f", b"old").unwrap();
    let directory = registry.function_directory("a", "f");
    let source = directory.join(files::names(&directory).unwrap().remove(0));
    fs::write(source, "changed").unwrap();
    assert!(matches!(registry.source("a", "f"), Err(RegistryError::Damaged { .. })));
    fs::write(directory.join(META), "{").unwrap();
    assert!(matches!(registry.functions(), Err(RegistryError::Damaged { .. })));
    registry.store("a", "f", b"new").unwrap();
    assert_eq!(listed(&registry), ["a/f 3"], "an upload mends it");
}

#[test]
fn only_an_image_becomes_the_runtime() {
    let (directory, registry) = registry();
    let error = registry.upload_runtime(directory.path()).unwrap_err();
    let RegistryError::Runtime(error) = error else { panic!("{error}") };
    assert!(matches!(*error, crate::Error::Image(_)), "{error}");
    assert!(registry.runtime().unwrap().is_none());
}
