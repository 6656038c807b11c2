//! `cargo faasm tree`

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use faasm_build_support::packages::Project;
use faasm_build_support::packages::lock::{Locked, Mode};

use crate::cli::{Format, Global, Tree};
use crate::locking;
use crate::shell::{self, Shell};

pub(super) fn run(shell: &Shell, global: &Global, arguments: &Tree) -> anyhow::Result<ExitCode> {
    let directory = locking::directory(global)?;
    let mode = if arguments.locked { Mode::Locked } else { Mode::from_env()? };
    let _alone = (mode != Mode::Locked).then(|| locking::alone(shell, &directory)).transpose()?;
    let project = Project::read(&directory)?;
    // What the lock file's change writes as JSON is not what was asked for.
    let locked = locking::lock(shell, global, Format::Human, &project, &mode)?;
    match arguments.message.format {
        Format::Json => locked
            .iter()
            .try_for_each(|package| shell::json(&locking::package_json("package-locked", package)))?,
        Format::Human => {
            let roots: Vec<&str> = project.requirements.iter().map(|it| it.name.as_str()).collect();
            shell::data(draw(&locked, &roots).as_bytes())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What is required, each with what that requires below it. What was shown before is only named, with an asterisk if there is
/// more to it, as `cargo tree` does.
fn draw(locked: &[Locked], roots: &[&str]) -> String {
    let packages: BTreeMap<&str, &Locked> = locked.iter().map(|it| (it.name.as_str(), it)).collect();
    let roots: BTreeSet<&str> = roots.iter().copied().collect();
    let mut drawing = Drawing { packages, shown: BTreeSet::new(), text: String::new() };
    for root in roots {
        drawing.package(root, "", "");
    }
    drawing.text
}

struct Drawing<'a> {
    packages: BTreeMap<&'a str, &'a Locked>,
    shown: BTreeSet<&'a str>,
    text: String,
}

impl<'a> Drawing<'a> {
    fn package(&mut self, name: &str, branch: &str, indent: &str) {
        // A marker can keep what is required out of the sandbox.
        let Some(package) = self.packages.get(name).copied() else { return };
        let again = !self.shown.insert(&package.name) && !package.dependencies.is_empty();
        let mark = if again { " (*)" } else { "" };
        self.text.push_str(&format!("{branch}{} {}{mark}\n", package.name, package.version));
        if again {
            return;
        }
        let there: Vec<&String> =
            package.dependencies.iter().filter(|it| self.packages.contains_key(it.as_str())).collect();
        for (number, dependency) in there.iter().enumerate() {
            let is_last = number + 1 == there.len();
            let (tee, line) = if is_last { ("└── ", "    ") } else { ("├── ", "│   ") };
            self.package(dependency, &format!("{indent}{tee}"), &format!("{indent}{line}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use faasm_build_support::packages::lock::Source;

    #[test]
    fn trees() {
        let package = |name: &str, dependencies: &[&str]| Locked {
            name: name.to_owned(),
            version: "1".to_owned(),
            source: Source::Wheel { file: String::new(), sha256: String::new() },
            dependencies: dependencies.iter().map(|&it| it.to_owned()).collect(),
        };
        let locked =
            [package("a", &["b", "c"]), package("b", &["d"]), package("c", &["a", "b"]), package("d", &[])];
        let expected = "\
a 1
├── b 1
│   └── d 1
└── c 1
    ├── a 1 (*)
    └── b 1 (*)
d 1
";
        assert_eq!(draw(&locked, &["d", "a", "elsewhere"]), expected);
    }
}
