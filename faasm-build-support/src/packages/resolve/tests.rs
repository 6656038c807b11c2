use super::*;
use serde_json::json;
use std::path::Path;

/// An index: names of wheels, each with what it requires; lines with a space in front say that.
const INDEX: &str = "
web-2.0-py3-none-any.whl
 util>=2
 tiny; sys_platform == 'win32'
 fast>=1; extra == 'speed'
web-1.0-py3-none-any.whl
 util<2
util-2.1-py3-none-any.whl
util-2.2rc1-py3-none-any.whl
util-1.5-py3-none-any.whl
fast-1.3-py3-none-any.whl
fast-1.4-py314-none-any.whl
native-1.0-cp313-cp313-manylinux_2_17_x86_64.whl
needs_native-1.0-py3-none-any.whl
 native
beta-1.0b1-py3-none-any.whl
broken-2.0-py3-none-any.whl
 util ! 1
broken-1.0-py3-none-any.whl
old-1.0-py2-none-any.whl
ring_a-1.0-py3-none-any.whl
 ring-b
ring_b-1.0-py3-none-any.whl
 ring-a
uses_num-1.0-py3-none-any.whl
 num>=2
wants_beta-1.0-py3-none-any.whl
 util>=2.2rc1
far-1.0-py3-none-any.whl
 util @ https://example.org/util.whl
";

fn project(file: &str) -> String {
    faasm_recipe::normalized(file.split('-').next().unwrap_or_default()).unwrap_or_default()
}

fn recipes() -> Recipes {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("num", "package: {name: num, version: 2.5}\n"),
        ("frame", "package: {name: frame, version: 3.1}\nrequirements:\n  run: ['num>=2.3', util]\n"),
    ] {
        std::fs::create_dir(directory.path().join(name)).unwrap();
        std::fs::write(directory.path().join(name).join("meta.yaml"), text).unwrap();
    }
    let cache = crate::cache::Cache::new(directory.path().join("cache"));
    let cx = Context { cache, offline: true, jobs: 1, progress: crate::progress::silent() };
    Recipes::load(&cx, &[directory.path().to_path_buf()]).unwrap()
}

fn resolve_texts(texts: &[&str], preferred: &[(&str, &str)]) -> Result<Vec<Chosen>> {
    let files = |name: &str| -> Result<Vec<ProjectFile>> {
        let wheels = INDEX.lines().filter(|it| it.ends_with(".whl") && project(it) == name);
        let file = |name: &str| json!({ "filename": name, "url": name, "hashes": { "sha256": "00" }, "yanked": false });
        Ok(wheels.map(|it| serde_json::from_value(file(it)).unwrap()).collect())
    };
    let metadata = |_: &str, file: &ProjectFile| -> Result<String> {
        let after = INDEX.lines().skip_while(|it| *it != file.name).skip(1);
        let requires = after.take_while(|it| it.starts_with(' ')).map(|it| format!("Requires-Dist:{it}\n"));
        Ok(requires.collect())
    };
    let requirements: Vec<Requirement> = texts.iter().map(|it| it.parse().unwrap()).collect();
    let preferred =
        preferred.iter().map(|(name, version)| ((*name).to_owned(), version.parse().unwrap())).collect();
    resolve_with(&Index { files: &files, metadata: &metadata }, &recipes(), &requirements, &preferred)
}

fn versions(chosen: &[Chosen]) -> String {
    chosen.iter().map(|it| format!("{} {}", it.name, it.version)).collect::<Vec<_>>().join(", ")
}

#[test]
fn versions_are_chosen() {
    for (texts, preferred, expected) in [
        (&["web"][..], &[][..], "util 2.1, web 2.0"),
        (&["web", "util<2"], &[], "util 1.5, web 1.0"),
        (&["web[speed]"], &[], "fast 1.3, util 2.1, web 2.0"),
        (&["util>=2.2rc1"], &[], "util 2.2rc1"),
        (&["beta"], &[], "beta 1.0b1"),
        (&["broken"], &[], "broken 1.0"),
        (&["ring-a"], &[], "ring-a 1.0, ring-b 1.0"),
        (&["frame"], &[], "frame 3.1, num 2.5, util 2.1"),
        (&["uses-num", "num<3"], &[], "num 2.5, uses-num 1.0"),
        (&["web"], &[("web", "1.0")], "util 1.5, web 1.0"),
        (&["web", "util>=2"], &[("web", "1.0"), ("util", "1.5")], "util 2.1, web 2.0"),
        (&["web; sys_platform == 'linux'"], &[], ""),
        (&[], &[], ""),
    ] {
        let chosen = resolve_texts(texts, preferred).unwrap_or_else(|error| panic!("{texts:?}: {error}"));
        assert_eq!(versions(&chosen), expected, "{texts:?}");
    }
    let chosen = resolve_texts(&["web[speed]"], &[]).unwrap();
    assert_eq!(chosen.iter().map(|it| it.dependencies.join(" ")).collect::<Vec<_>>(), ["", "", "fast util"]);
    assert!(
        matches!(&resolve_texts(&["num"], &[]).unwrap()[0].from, Candidate::Recipe(found) if Path::new(&found.directory).ends_with("num"))
    );
}

#[test]
fn conflicts_are_explained() {
    for (texts, expected) in [
        (
            &["num<2"][..],
            "because of num there is only 2.5, not <2 and you require num<2, no versions fit what you require",
        ),
        (
            &["frame", "num==2.5", "util<1"],
            "because of util there is only 2.2rc1, 2.1, 1.5, not <1 and you require util<1, no versions fit what you require",
        ),
        (
            &["web>=2", "util<2"],
            "because web>=2.0 requires util>=2 and you require web>=2, you require util>=2\nand because you require util<2, no versions fit what you require",
        ),
        (
            &["wants-beta"],
            "because util 2.2rc1 is a pre-release, which only you can ask for, by `util>=2.2rc1` and wants-beta==1.0 requires util>=2.2rc1, wants-beta==1.0 cannot be used\nand because of wants-beta there is only 1.0, not <1.0 or >1.0 and you require wants-beta, no versions fit what you require",
        ),
        (
            &["far"],
            "because far cannot be used: util is wanted from https://example.org/util.whl, and only recipes and the index are used and you require far, no versions fit what you require",
        ),
    ] {
        let Err(Error::Resolve { explanation, .. }) = resolve_texts(texts, &[]) else { panic!("{texts:?}") };
        assert_eq!(explanation, expected);
    }
}

#[test]
fn a_version_without_a_recipe_is_to_get_one() {
    let error = resolve_texts(&["num<2"], &[]).unwrap_err();
    assert!(error.hint().unwrap().contains("recipe new num==VERSION"), "{error}");
    assert_eq!(resolve_texts(&["web>=2", "util<2"], &[]).unwrap_err().hint(), None);
}

/// Without an index every question takes as long as its retries.
#[test]
fn an_index_that_does_not_answer_is_asked_once() {
    let asked = std::cell::Cell::new(0);
    let files = |_: &str| {
        asked.set(asked.get() + 1);
        Err(Error::OfflineIndex { what: "it".to_owned() })
    };
    let metadata = |_: &str, _: &ProjectFile| panic!("there is no file");
    let requirements: Vec<Requirement> = ["a", "b", "c"].iter().map(|it| it.parse().unwrap()).collect();
    let index = Index { files: &files, metadata: &metadata };
    assert!(resolve_with(&index, &recipes(), &requirements, &BTreeMap::new()).is_err());
    assert_eq!(asked.get(), 1);
}

#[test]
fn what_is_not_there_is_named() {
    for (text, parts) in [
        (
            "needs-native",
            &["native, which needs-native 1.0 needs, has neither a recipe nor a wheel", "recipe new native"]
                [..],
        ),
        ("old", &["old has neither", "recipe new old"]),
        ("unknown", &["unknown is not on the package index"]),
    ] {
        let error = resolve_texts(&[text], &[]).unwrap_err();
        let text = format!("{error} {}", error.hint().unwrap());
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    }
}
