use super::*;
use std::path::PathBuf;

use crate::cache::Cache;
use crate::progress;

struct Project {
    directory: tempfile::TempDir,
    cx: Context,
}

impl Project {
    /// A directory with recipes for `num` 2.5, `yaml` with the library `libyaml`, and `frame` that requires `num`. Offline, so that
    /// nothing asks an index.
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(directory.path().join("cache"));
        let cx = Context { cache, offline: true, jobs: 1, progress: progress::silent() };
        let project = Self { directory, cx };
        project
            .recipe("num", "package: {name: num, version: '2.50'}\nsource: {pypi: num==2.50, sha256: aa}\n");
        project.recipe("frame", "package: {name: frame, version: 3.1}\nrequirements: {run: [num>=2.3]}\n");
        project.recipe("my-yaml", "package: {name: my-yaml, version: 6.0}\nrequirements: {host: [my-lib]}\n");
        project.recipe(
            "my-lib",
            "package: {name: my-lib, version: 2024b}\nbuild: {type: static_library, script: make}\n",
        );
        project
    }

    fn recipe(&self, name: &str, text: &str) {
        let directory = self.directory.path().join("recipes").join(name);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("meta.yaml"), text).unwrap();
    }

    fn recipes(&self) -> Recipes {
        Recipes::load(&self.cx, &[self.directory.path().join("recipes")]).unwrap()
    }

    fn lock(&self, requirements: &[&str], mode: &Mode) -> Result<Vec<Locked>> {
        let requirements: Vec<Requirement> = requirements.iter().map(|it| it.parse().unwrap()).collect();
        read_or_resolve(&self.cx, self.directory.path(), &self.recipes(), &requirements, mode)
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join(FILE_NAME)
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path()).unwrap()
    }
}

fn names(locked: &[Locked]) -> String {
    locked.iter().map(|it| format!("{} {}", it.name, it.version)).collect::<Vec<_>>().join(", ")
}

#[test]
fn versions_are_written_and_read_again() {
    let project = Project::new();
    let first = project.lock(&["frame", "my-yaml>=6"], &Mode::Keep).unwrap();
    assert_eq!(names(&first), "frame 3.1, my-lib 2024b, my-yaml 6.0, num 2.50");
    let text = project.text();
    for part in [
        "name = \"num\"\nversion = \"2.50\"\nsource = \"recipe\"\nsha256 = \"aa\"\nrecipe = \"",
        "dependencies = [\"my-lib\"]",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let modified = fs::metadata(project.path()).unwrap().modified().unwrap();
    for mode in [Mode::Keep, Mode::Locked] {
        assert_eq!(names(&project.lock(&["my-yaml>=6", "frame"], &mode).unwrap()), names(&first));
    }
    assert_eq!(fs::metadata(project.path()).unwrap().modified().unwrap(), modified);
}

#[test]
fn what_is_locked_stays_until_it_is_updated() {
    let project = Project::new();
    project.lock(&["num"], &Mode::Keep).unwrap();
    project.recipe("newer", "package: {name: num, version: 2.60}\n");
    assert_eq!(names(&project.lock(&["num"], &Mode::Keep).unwrap()), "num 2.50");
    assert_eq!(names(&project.lock(&["num", "frame"], &Mode::Keep).unwrap()), "frame 3.1, num 2.50");
    let other = Mode::Update(["frame".to_owned()].into());
    assert_eq!(names(&project.lock(&["num", "frame"], &other).unwrap()), "frame 3.1, num 2.50");
    let all = Mode::Update(BTreeSet::new());
    assert_eq!(names(&project.lock(&["num", "frame"], &all).unwrap()), "frame 3.1, num 2.60");
}

#[test]
fn a_locked_file_does_not_change() {
    let project = Project::new();
    let error = project.lock(&["num"], &Mode::Locked).unwrap_err();
    assert!(error.to_string().contains("no such file") && !project.path().exists(), "{error}");
    project.lock(&["num"], &Mode::Keep).unwrap();
    let before = project.text();
    let error = project.lock(&["frame"], &Mode::Locked).unwrap_err();
    assert!(error.to_string().contains("other packages"), "{error}");
    project.recipe("num", "package: {name: num, version: '2.50'}\nbuild: {cflags: -O1}\n");
    let error = project.lock(&["num"], &Mode::Locked).unwrap_err();
    assert!(error.to_string().contains("recipes have changed") && error.hint().is_some(), "{error}");
    assert_eq!(project.text(), before);
    project.lock(&["num"], &Mode::Keep).unwrap();
    assert_ne!(project.text(), before);
}

#[test]
fn nothing_required_needs_no_file() {
    let project = Project::new();
    for mode in [Mode::Keep, Mode::Locked] {
        assert_eq!(names(&project.lock(&[], &mode).unwrap()), "");
    }
    assert!(!project.path().exists());
    project.lock(&["num"], &Mode::Keep).unwrap();
    project.lock(&[], &Mode::Keep).unwrap();
    assert!(!project.text().contains("num"), "{}", project.text());
}

#[test]
fn a_file_that_cannot_be_understood_is_named() {
    let project = Project::new();
    for (text, part) in [
        ("version = 2\nnew = 1", "version 2"),
        ("x", "faasm.lock"),
        ("version = 1\npackage = 3", "faasm.lock"),
    ] {
        fs::write(project.path(), text).unwrap();
        let error = project.lock(&["num"], &Mode::Keep).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn bad_recipes_are_named() {
    let project = Project::new();
    project.recipe("a", "package: {name: a, version: 1}\nrequirements: {host: [b]}\n");
    let error = project.lock(&["a"], &Mode::Keep).unwrap_err();
    assert!(error.to_string().contains("`b`"), "{error}");
    project.recipe(
        "b",
        "package: {name: b, version: 1}\nbuild: {type: static_library}\nrequirements: {host: [b]}\n",
    );
    let error = project.lock(&["a"], &Mode::Keep).unwrap_err();
    assert!(error.to_string().contains("b → b"), "{error}");
}
