//! Packages with extension modules, from their source to calls. The first run fetches setuptools, and all others need no network.

use std::fs;

use faasm_build_support::{Built, Context, GuestSources, Image};
use faasm_tests::{call, load, run, text};
use py_func::Runtime;

/// An image with packages of `tests/recipes`.
fn build(packages: &[&str], preload: &[&str]) -> Result<Built, faasm_build_support::Error> {
    let guest = GuestSources::read(faasm_tests::py_func_package())?;
    // A path that is relative to where tests run, as people write it.
    let image = Image::new(guest).packages(packages.iter().copied()).recipe_folders(["recipes"]);
    image.preload(preload.iter().copied()).build_in(&Context::from_env()?)
}

const BOTH: &str = "from extensions.one import _native as a; from extensions.two import _native as b";

#[test]
fn extension_modules_are_linked() {
    let built = build(&["extensions"], &["extensions.one._native"]).unwrap();
    let runtime = Runtime::builder().image(built.directory()).build().unwrap();
    for (at_load, expression, expected) in [
        // Both have a variable of that name.
        (BOTH, "a.number(), b.number()", "(1, 2)"),
        ("from extensions.one._native import *", "count(1, 2, 3), Thing().value", "(3, 10)"),
        ("from extensions.two._native import *", "-Thing(), repr(Thing())", "(-2, 'a thing')"),
        // As of a module that is loaded from a file.
        (BOTH, "a.__name__, a.number.__module__", "('extensions.one._native', 'extensions.one._native')"),
        (
            "import pickle; from extensions.one import _native as a",
            "pickle.loads(pickle.dumps(a.number))()",
            "1",
        ),
        // They share a C library, which is linked once.
        (BOTH, "a.next(), b.next(), a.next()", "(1, 2, 3)"),
        ("from extensions import _cpp", "_cpp.sorted()", "'three:5 one:3 '"),
        (
            "from extensions._cpp import *",
            "[caught(how) for how in range(7)]",
            "[('Own', 'own', 1), ('out_of_range', '', 1), ('out_of_range', '', 1), \
              ('exception', 'stoi: no conversion', 1), ('other', '', 1), ('Own', 'own', 2), ('nothing', '', 1)]",
        ),
        ("from extensions._cpp import *", "jumped(0), jumped(5)", "((0, 1), (5, 2))"),
        ("from extensions._cpp import *", "constructed()", "(('made', 1), ('made', 2))"),
        ("from extensions._cpp import *", "copied('/tmp')", "('line 1\\n', 7, True)"),
        (
            "import importlib, sys; from extensions import _cpp; del sys.modules['extensions._cpp']",
            "importlib.import_module('extensions._cpp').constructed()",
            "(('made', 1), ('made', 2))",
        ),
        ("import importlib.util", "importlib.util.find_spec('extensions.tests')", "None"),
        // What is no Python of this version is there for who does not import it.
        ("import importlib.util", "importlib.util.find_spec('extensions.old') is None", "False"),
        ("import importlib.metadata", "importlib.metadata.version('extensions')", "'1.0'"),
        (
            "import sys",
            "[f'extensions.{name}._native' in sys.modules for name in ('one', 'two')]",
            "[True, False]",
        ),
    ] {
        let source = format!("{at_load}\ndef faasm_main(): return repr(({expression}))\n");
        assert_eq!(run(&runtime, &source), expected, "{source}");
    }
}

#[test]
fn calls_do_not_see_what_others_did_in_a_library() {
    let built = build(&["extensions"], &[]).unwrap();
    let runtime = Runtime::builder().image(built.directory()).build().unwrap();
    let source = "from extensions.one import _native\ndef faasm_main(): return str(_native.next())\n";
    let function = load(&runtime, source);
    for _ in 0..5 {
        assert_eq!(text(&call(&function, b"").output), "1");
    }
}

#[test]
fn exceptions_that_nobody_catches_end_the_call_alone() {
    let built = build(&["extensions"], &[]).unwrap();
    let runtime = Runtime::builder().image(built.directory()).build().unwrap();
    let source = "from extensions import _cpp\ndef faasm_main(data):\n    \
        if data: _cpp.thrown()\n    return repr(_cpp.caught(0))\n";
    let function = load(&runtime, source);
    for _ in 0..3 {
        let failure = function.call("throw").wait().unwrap_err();
        assert!(failure.to_string().contains("an exception was thrown that nobody catches in "), "{failure}");
        assert_eq!(text(&call(&function, b"").output), "('Own', 'own', 1)");
    }
}

/// Recipes that cannot be built: what a `meta.yaml` of the package `broken` has besides its name, and what is said of it.
const BROKEN: [(&str, &[&str]); 6] = [
    (
        "source: {path: src}\nbuild: {script: 'echo the reason >&2; exit 3'}\n",
        &["package broken-1.0", "exited with 3", "package_broken-1.0.log", "the reason"],
    ),
    ("source: {path: src}\nrequirements: {host: [broken]}\n", &["broken → broken"]),
    ("source: {path: src}\nrequirements: {host: [missing]}\n", &["`missing`, for which there is no recipe"]),
    ("source: {path: src, patches: [fix.patch]}\n", &["patch", "fix.patch"]),
    (
        "source: {crate: libffi-sys==4.2.2, sha256: abc}\n",
        &["libffi-sys 4.2.2", "checksum in the registry is not abc"],
    ),
    // The source says that it is compiled by maturin.
    ("source: {path: src}\n", &["compiled with Rust", "executable: [rustup]"]),
];

#[test]
fn recipes_that_cannot_be_built_say_why() {
    for (rest, expected) in BROKEN {
        let recipes = tempfile::tempdir().unwrap();
        let source = recipes.path().join("broken/src");
        fs::create_dir_all(&source).unwrap();
        let write =
            |path: &str, text: &str| fs::write(recipes.path().join("broken").join(path), text).unwrap();
        write("meta.yaml", &format!("package: {{name: broken, version: '1.0'}}\n{rest}"));
        write("fix.patch", "--- a/missing\n+++ b/missing\n@@ -1 +1 @@\n-old\n+new\n");
        write("src/pyproject.toml", "[build-system]\nrequires = ['maturin']\nbuild-backend = 'maturin'\n");
        let image = Image::new(GuestSources::default()).packages(["broken"]).recipe_folders([recipes.path()]);
        let error = image.build_in(&Context::from_env().unwrap()).unwrap_err().to_string();
        for part in expected {
            assert!(error.contains(part), "{rest}: {error}");
        }
    }
}

#[test]
fn what_cannot_be_built_says_why() {
    for (package, expected) in
        [("extensions>=2", "of extensions there is only 1.0, not >=2"), ("exten sions", "`exten sions`")]
    {
        let error = build(&[package], &[]).unwrap_err().to_string();
        assert!(error.contains(expected), "{package}: {error}");
    }
}
