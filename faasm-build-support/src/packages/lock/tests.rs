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
        self.lock_with(&BTreeMap::new(), &requirements, mode)
    }

    fn lock_with(
        &self,
        hashes: &BTreeMap<String, Hashes>,
        requirements: &[Requirement],
        mode: &Mode,
    ) -> Result<Vec<Locked>> {
        read_or_resolve(&self.cx, self.directory.path(), &self.recipes(), requirements, hashes, mode)
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

/// A merge or an edit can leave anything.
#[test]
fn a_file_that_does_not_have_what_is_required_is_not_used() {
    let project = Project::new();
    let requirements = ["frame", "my-yaml>=6"];
    let locked = project.lock(&requirements, &Mode::Keep).unwrap();
    let whole = project.text();
    let entry = |name: &str| {
        let begin = whole.find(&format!("[[package]]\nname = \"{name}\"")).unwrap();
        let end = whole[begin + 1..].find("[[package]]").map_or(whole.len(), |it| begin + 1 + it);
        whole[begin..end].to_owned()
    };
    for changed in [
        whole.replace(&entry("num"), ""),
        whole.replace(&entry("my-lib"), ""),
        whole.replace(&entry("frame"), ""),
        format!("{whole}\n{}", entry("num")),
        whole.replace("version = \"6.0\"", "version = \"5.0\""),
    ] {
        assert_ne!(changed, whole);
        fs::write(project.path(), &changed).unwrap();
        let error = project.lock(&requirements, &Mode::Locked).unwrap_err();
        assert!(error.to_string().contains("does not have what is required"), "{error}");
        assert_eq!(names(&project.lock(&requirements, &Mode::Keep).unwrap()), names(&locked));
        assert_eq!(project.text(), whole);
    }
}

/// `six` as it is locked from the index.
fn with_wheel(file: &str, version: &str, sha256: &str) -> String {
    format!(
        "version = 1\npython = \"3.13\"\nrequirements = [\"six\"]\n\n[[package]]\nname = \"six\"\n\
         version = \"{version}\"\nsource = \"index\"\nfile = \"{file}\"\nsha256 = \"{sha256}\"\n"
    )
}

const SIX: &str = "six-1.17.0-py3-none-any.whl";

#[test]
fn a_wheel_is_the_one_that_its_entry_names() {
    let project = Project::new();
    let digest = "0".repeat(64);
    fs::write(project.path(), with_wheel(SIX, "1.17.0", &digest)).unwrap();
    assert_eq!(names(&project.lock(&["six"], &Mode::Locked).unwrap()), "six 1.17.0");
    for (file, version) in [(SIX, "9.9"), ("seven-1.17.0-py3-none-any.whl", "1.17.0"), ("six.whl", "1.17.0")]
    {
        fs::write(project.path(), with_wheel(file, version, &digest)).unwrap();
        assert!(project.lock(&["six"], &Mode::Locked).is_err(), "{file}");
    }
    for (file, digest) in [("../six-1.17.0-py3-none-any.whl", digest.as_str()), (SIX, "/tmp/x"), (SIX, "00")]
    {
        fs::write(project.path(), with_wheel(file, "1.17.0", digest)).unwrap();
        let error = project.lock(&["six"], &Mode::Keep).unwrap_err();
        assert!(error.to_string().contains("hash of `six`"), "{error}");
    }
}

#[test]
fn a_recipe_takes_the_place_of_a_wheel() {
    let project = Project::new();
    fs::write(project.path(), with_wheel(SIX, "1.17.0", &"0".repeat(64))).unwrap();
    project.recipe("six", "package: {name: six, version: 1.16.0}\n");
    let error = project.lock(&["six"], &Mode::Locked).unwrap_err();
    assert!(error.to_string().contains("recipes have changed"), "{error}");
    assert_eq!(names(&project.lock(&["six"], &Mode::Keep).unwrap()), "six 1.16.0");
}

/// What the index said once is asked again, but what is locked and downloaded will do without.
#[test]
fn other_requirements_are_locked_without_the_network() {
    let project = Project::new();
    let wheel = project.cx.cache.root().join("downloads");
    fs::create_dir_all(&wheel).unwrap();
    let digest = "0".repeat(64);
    fs::write(wheel.join(format!("metadata-{digest}-{SIX}")), "Metadata-Version: 2.1\nName: six\n").unwrap();
    fs::write(project.path(), with_wheel(SIX, "1.17.0", &digest)).unwrap();
    assert_eq!(names(&project.lock(&["six", "num"], &Mode::Keep).unwrap()), "num 2.50, six 1.17.0");
    assert_eq!(names(&project.lock(&["num"], &Mode::Keep).unwrap()), "num 2.50");
}

#[test]
fn other_hashes_are_refused() {
    let project = Project::new();
    let requirements: Vec<Requirement> = ["frame", "my-yaml"].map(|it| it.parse().unwrap()).to_vec();
    let lock = |name: &str, sha256: &[&str], mode: &Mode| {
        let sha256 = sha256.iter().map(|it| (*it).to_owned()).collect();
        let hashes = Hashes { path: "requirements.txt".into(), sha256 };
        project.lock_with(&BTreeMap::from([(name.to_owned(), hashes)]), &requirements, mode)
    };
    // Whether versions are chosen or read. `num` is there because `frame` requires it, and `frame` has no source to compare.
    for (mode, there) in [(Mode::Keep, false), (Mode::Keep, true), (Mode::Locked, true)] {
        for (name, part) in
            [("num", "hash sha256:aa, and `num` has to have one of those here"), ("frame", "has no hash")]
        {
            let error = lock(name, &["bb"], &mode).unwrap_err().to_string();
            assert!(error.contains("requirements.txt") && error.contains(part), "{error}");
        }
        assert_eq!(project.path().exists(), there);
        assert!(lock("num", &["bb", "aa"], &mode).is_ok());
        assert!(lock("else", &[], &mode).is_ok());
    }
}
