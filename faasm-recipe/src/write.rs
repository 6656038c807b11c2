//! Writing recipes.

use crate::recipe::{Build, ExportKind, Exports, PackageType, Recipe};

impl Recipe {
    /// The text of a `meta.yaml` that says the same, in the schema's order, without what is empty or as by default. What
    /// `extra` had is not kept.
    pub fn to_yaml(&self) -> String {
        let mut text = String::new();
        let Self { package, source, build, requirements, test, about, extra: _ } = self;
        section(
            &mut text,
            "package",
            &[
                ("name", Value::Text(&package.name)),
                ("version", Value::Text(&package.version)),
                ("top-level", Value::List(&package.top_level)),
                ("tag", Value::List(&package.tag)),
                ("_disabled", Value::Flag(package.disabled, false)),
                ("pinned", Value::Flag(package.pinned, false)),
            ],
        );
        let path = source.path.as_ref().map(|it| it.to_string_lossy());
        section(
            &mut text,
            "source",
            &[
                ("url", Value::optional(source.url.as_deref())),
                ("pypi", Value::optional(source.pypi.as_deref())),
                ("debian", Value::optional(source.debian.as_deref())),
                ("crate", Value::optional(source.krate.as_deref())),
                ("path", Value::optional(path.as_deref())),
                ("extract_dir", Value::optional(source.extract_dir.as_deref())),
                ("sha256", Value::optional(source.sha256.as_deref())),
                ("patches", Value::List(&source.patches)),
                ("extras", Value::Pairs(&source.extras)),
            ],
        );
        write_build(&mut text, build);
        section(
            &mut text,
            "requirements",
            &[
                ("run", Value::List(&requirements.run)),
                ("host", Value::List(&requirements.host)),
                ("build-extras", Value::List(&requirements.build_extras)),
                ("executable", Value::List(&requirements.executable)),
                ("constraint", Value::List(&requirements.constraint)),
            ],
        );
        section(
            &mut text,
            "test",
            &[
                ("imports", Value::List(&test.imports)),
                ("suite", Value::List(&test.suite)),
                ("requires", Value::List(&test.requires)),
                ("source-files", Value::List(&test.source_files)),
            ],
        );
        section(
            &mut text,
            "about",
            &[
                ("home", Value::optional(about.home.as_deref())),
                ("PyPI", Value::optional(about.pypi.as_deref())),
                ("summary", Value::optional(about.summary.as_deref())),
                ("license", Value::optional(about.license.as_deref())),
            ],
        );
        text
    }
}

fn write_build(text: &mut String, build: &Build) {
    let kind = match build.package_type {
        PackageType::Package => "",
        PackageType::StaticLibrary => "static_library",
        PackageType::SharedLibrary => "shared_library",
        PackageType::CpythonModule => "cpython_module",
    };
    let exports = match &build.exports {
        Exports::Kind(ExportKind::Pyinit) => Value::Text(""),
        Exports::Kind(ExportKind::Requested) => Value::Text("requested"),
        Exports::Kind(ExportKind::WholeArchive) => Value::Text("whole_archive"),
        Exports::Symbols(symbols) => Value::List(symbols),
    };
    section(
        text,
        "build",
        &[
            ("type", Value::Text(kind)),
            ("script", Value::Text(&build.script)),
            ("post", Value::Text(&build.post)),
            ("cross-script", Value::Text(&build.cross_script)),
            ("cflags", Value::Text(&build.cflags)),
            ("cxxflags", Value::Text(&build.cxxflags)),
            ("ldflags", Value::Text(&build.ldflags)),
            ("backend-flags", Value::Text(&build.backend_flags)),
            ("exports", exports),
            ("unvendor-tests", Value::Flag(build.unvendor_tests, true)),
            ("retain-test-patterns", Value::List(&build.retain_test_patterns)),
            ("vendor-sharedlib", Value::Flag(build.vendor_sharedlib, true)),
            ("cross-build-env", Value::Flag(build.cross_build_env, false)),
            ("_cross-build-env-skip-install", Value::Flag(build.cross_build_env_skip_install, false)),
            ("cross-build-files", Value::List(&build.cross_build_files)),
        ],
    );
}

/// A value, or the lack of one: an empty text or list, or a flag that is as by default.
enum Value<'a> {
    Text(&'a str),
    List(&'a [String]),
    Pairs(&'a [(String, String)]),
    /// The flag and its default.
    Flag(bool, bool),
}

impl<'a> Value<'a> {
    fn optional(text: Option<&'a str>) -> Self {
        Self::Text(text.unwrap_or_default())
    }

    fn is_left_out(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::List(items) => items.is_empty(),
            Self::Pairs(pairs) => pairs.is_empty(),
            Self::Flag(value, default) => value == default,
        }
    }
}

fn section(text: &mut String, name: &str, entries: &[(&str, Value<'_>)]) {
    let mut body = String::new();
    for (key, value) in entries.iter().filter(|(_, value)| !value.is_left_out()) {
        body.push_str(&format!("  {key}:"));
        match value {
            Value::Text(value) if is_block(value) => {
                body.push_str(" |\n");
                value.lines().for_each(|line| body.push_str(&format!("    {line}\n")));
            }
            Value::Text(value) => body.push_str(&format!(" {}\n", scalar(value))),
            Value::Flag(value, _) => body.push_str(&format!(" {value}\n")),
            Value::List(items) => {
                body.push('\n');
                items.iter().for_each(|item| body.push_str(&format!("    - {}\n", scalar(item))));
            }
            Value::Pairs(pairs) => {
                body.push('\n');
                for (from, to) in *pairs {
                    body.push_str(&format!("    - [{}, {}]\n", scalar(from), scalar(to)));
                }
            }
        }
    }
    if !body.is_empty() {
        let gap = if text.is_empty() { "" } else { "\n" };
        text.push_str(&format!("{gap}{name}:\n{body}"));
    }
}

/// Whether a text can be a literal block: it has several lines, ends with the end of one, and every line is
/// what it seems to be.
fn is_block(text: &str) -> bool {
    let plain = |line: &str| {
        !line.is_empty()
            && !line.starts_with([' ', '\t'])
            && !line.chars().any(|c| c.is_control() && c != '\t')
    };
    text.ends_with('\n') && text.lines().next().is_some_and(plain) && {
        text.lines().all(|line| line.is_empty() || !line.chars().any(|c| c.is_control() && c != '\t'))
            && !text.ends_with("\n\n")
            && !text.contains('\r')
            && !text.contains(['\u{85}', '\u{2028}', '\u{2029}', '\u{feff}'])
    }
}

/// A text as it is if nobody could take that for something else, in quotes otherwise.
fn scalar(text: &str) -> String {
    let inside = |c: char| c.is_ascii_alphanumeric() || " _./@()+=<>-".contains(c);
    // Numbers, and what YAML 1.1 takes for one, begin with these.
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '/')
        // A colon only ends a key before white space.
        && text.replace("://", "").chars().all(inside)
        && !text.ends_with(' ')
        && !["y", "n", "yes", "no", "on", "off", "true", "false", "null"]
            .contains(&text.to_lowercase().as_str());
    if is_plain { text.to_owned() } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    let mut result = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => result.extend(['\\', c]),
            '\n' => result.push_str("\\n"),
            '\t' => result.push_str("\\t"),
            c if c.is_control() || "\u{2028}\u{2029}\u{feff}".contains(c) => {
                result.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => result.push(c),
        }
    }
    result.push('"');
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn what_is_written_reads_the_same() {
        let mut recipe = Recipe::default();
        recipe.package.name = "a".to_owned();
        recipe.package.version = "3.10".to_owned();
        recipe.source.extras = vec![("a, b".to_owned(), "c]".to_owned())];
        recipe.source.path = Some("src/a".into());
        recipe.build.package_type = PackageType::StaticLibrary;
        recipe.build.unvendor_tests = false;
        recipe.build.exports = Exports::Kind(ExportKind::Requested);
        recipe.build.script = "make\n\n  indented # not a comment: \"x\"\n".to_owned();
        for text in [
            "true",
            "NO",
            "1",
            "1e3",
            "~",
            "a: b",
            "a #b",
            "- a",
            "",
            " a",
            "a ",
            "é",
            "\"q\"",
            "it's",
            "\\",
            "a\nb",
            "a\n",
            "\n",
            " a\n",
            "a\r\nb\n",
            "a\n\n",
            "\u{85}",
            "\u{0}",
            "\u{feff}x",
            "\u{2028}\n",
            "*a",
            "&a",
            "%a",
            "@a",
            "`a",
            "{a",
            "[a",
            "b>=1; os_name == 'x'",
            "-m unittest",
            "=",
            "<<",
            "2001-01-01",
            "a\tb",
            "\ta\n",
        ] {
            recipe.build.cflags = text.to_owned();
            recipe.about.summary = (!text.is_empty()).then(|| text.to_owned());
            recipe.requirements.run = vec![text.to_owned()];
            let yaml = recipe.to_yaml();
            let read = Recipe::parse(&yaml, Path::new("meta.yaml"));
            assert_eq!(read.unwrap_or_else(|error| panic!("{error}\n{yaml}")), recipe, "{yaml}");
        }
    }

    #[test]
    fn the_order_is_the_schemas_and_defaults_are_left_out() {
        let text = "package:\n  name: a\n  version: \"1.0\"\n\nsource:\n  pypi: a==1.0\n\nbuild:\n  script: |\n    b\n    c\n\nrequirements:\n  run:\n    - b>=1\n";
        let recipe = Recipe::parse(text, Path::new("meta.yaml")).unwrap();
        assert_eq!(recipe.to_yaml(), text);
    }
}
