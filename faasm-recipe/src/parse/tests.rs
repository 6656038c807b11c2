use super::*;
use crate::recipe::{ExportKind, Exports, PackageType};

fn parse(text: &str) -> Result<Recipe, Error> {
    Recipe::parse(text, Path::new("meta.yaml"))
}

#[test]
fn every_key_of_the_schema() {
    let text = r#"
package:
  name: lib-a
  version: 3.10
  top-level: [a, _a]
  tag: [core]
  _disabled: true
  pinned: true
source:
  url: https://example.org/a-3.10.tar.gz
  debian: pool/main/a/a/a_3.10.orig.tar.gz
  sha256: 00
  extract_dir: a
  patches: [patches/1.patch]
  extras:
    - [extra/setup.cfg, setup.cfg]
build:
  type: static_library
  script: |
    make
    make install
  post: rm x
  cross-script: "true"
  cflags: -O2
  cxxflags: -fno-rtti
  ldflags: -lz
  backend-flags: |
    setup-args=-Dblas=none
    build-dir=build   flag
  exports: whole_archive
  unvendor-tests: false
  _retain-test-patterns: ["*/conftest.py"]
  vendor-sharedlib: false
  cross-build-env: true
  _cross-build-env-skip-install: true
  cross-build-files: [a/include/a.h]
requirements:
  run: ["b>=1; python_version >= '3'"]
  host: [zlib]
  build-extras: [fast]
  executable: [rustup]
  constraint: ["setuptools<80"]
test:
  imports: [a]
  suite: [-m unittest a.tests]
  requires: [pytest]
  source-files: [tests]
about:
  home: https://example.org
  PyPI: https://example.org/a
  summary: A
  license: MIT
extra:
  recipe-maintainers: [me]
  deep: {a: [1, {b: c}]}
"#;
    let recipe = parse(text).unwrap();
    // A version is text, though YAML takes this one for a number.
    assert_eq!(recipe.package.version, "3.10");
    assert_eq!(recipe.build.package_type, PackageType::StaticLibrary);
    assert_eq!(recipe.build.exports, Exports::Kind(ExportKind::WholeArchive));
    assert_eq!(
        recipe.build.config_settings().collect::<Vec<_>>(),
        [("setup-args", "-Dblas=none"), ("build-dir", "build"), ("flag", "")]
    );
    assert_eq!(recipe.build.retain_test_patterns, ["*/conftest.py"]);
    assert_eq!(recipe.source.extras, [("extra/setup.cfg".to_owned(), "setup.cfg".to_owned())]);
    assert_eq!(recipe.test.source_files, ["tests"]);
    assert_eq!(recipe.extra.keys().collect::<Vec<_>>(), ["deep", "recipe-maintainers"]);
}

#[test]
fn what_is_left_out_has_defaults() {
    let recipe = parse("package: {name: a, version: '1'}\nbuild:\n  exports: [f, g]\n").unwrap();
    assert!(recipe.build.unvendor_tests && recipe.build.vendor_sharedlib && !recipe.package.disabled);
    assert_eq!(recipe.build.exports, Exports::Symbols(vec!["f".to_owned(), "g".to_owned()]));
}

#[test]
fn mistakes_are_named_with_their_place() {
    let head = "package:\n  name: a\n  version: '1'\n";
    for (text, place, part, hint) in [
        ("build:\n  cflag: -O2\n", Some((5, 3)), "no key `cflag`", Some("did you mean `cflags`?")),
        (
            "build:\n  unvendor_tests: no\n",
            Some((5, 3)),
            "unvendor_tests",
            Some("did you mean `unvendor-tests`?"),
        ),
        ("sources:\n  url: x\n", Some((4, 1)), "no key `sources`", Some("did you mean `source`?")),
        ("build:\n  wheel: x\n", Some((5, 3)), "no key `wheel`", None),
        (
            "build:\n  type: static-library\n",
            Some((5, 9)),
            "static-library",
            Some("did you mean `static_library`?"),
        ),
        ("build:\n  unvendor-tests: maybe\n", Some((5, 19)), "bool", None),
        ("source:\n  patches: x\n", Some((5, 12)), "sequence", None),
        ("build:\n  script: a\n  script: b\n", Some((6, 3)), "script", None),
        ("build: [\n", None, "", None),
    ] {
        let error = parse(&format!("{head}{text}")).unwrap_err();
        let Error::Syntax { place: found, reason, .. } = &error else { panic!("{error}") };
        if let Some((line, column)) = place {
            assert_eq!(*found, Some(Place { line, column }), "{error}");
        }
        assert!(reason.contains(part), "{error}");
        assert_eq!(error.hint().as_deref(), hint, "{error}");
        assert_eq!(error.to_string().matches("line ").count(), 1, "{error}");
    }
    let error = parse("package:\n  name: a\n").unwrap_err();
    assert!(error.to_string().contains("the key `version` is missing"), "{error}");
}

#[test]
fn a_missing_file_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let error = Recipe::read(directory.path()).unwrap_err();
    assert!(error.to_string().contains("meta.yaml") && error.hint().is_some(), "{error}");
}
