//! Editing `[package.metadata.faasm]` in a `Cargo.toml`, all else of which stays as it is.

use anyhow::Context as _;
use faasm_recipe::Requirement;
use toml_edit::{Array, DocumentMut, Item, Table, Value};

use crate::error::input;

/// The text with requirements in `packages`: in the place of one for the same package, else in order if what is there is in order,
/// else at the end. A name alone leaves what is said of that package.
pub(crate) fn with_packages(text: &str, requirements: &[Requirement]) -> anyhow::Result<String> {
    edit(text, "packages", |packages| {
        for requirement in requirements {
            let names: Vec<Option<String>> = packages.iter().map(name).collect();
            if let Some(place) = names.iter().position(|it| it.as_deref() == Some(&requirement.name)) {
                if requirement.to_string() != requirement.name {
                    packages.replace(place, requirement.to_string());
                }
                continue;
            }
            let after = |it: &Option<String>| it.as_deref() > Some(requirement.name.as_str());
            let place = if names.is_sorted() { names.iter().position(after) } else { None };
            insert(packages, place.unwrap_or(names.len()), requirement.to_string());
        }
    })
}

/// The text with files in `requirements`, each once.
pub(crate) fn with_files(text: &str, files: &[String]) -> anyhow::Result<String> {
    edit(text, "requirements", |known| {
        for file in files {
            if known.iter().all(|it| it.as_str() != Some(file)) {
                insert(known, known.len(), file.clone());
            }
        }
    })
}

/// The text without packages of these normalised names in `packages`. All of them must be there.
pub(crate) fn without_packages(text: &str, names: &[String]) -> anyhow::Result<String> {
    let mut missing = None;
    let mut there = Vec::new();
    let edited = edit(text, "packages", |packages| {
        there = packages.iter().filter_map(name).collect();
        missing = names.iter().find(|name| !there.contains(name)).cloned();
        let is_removed = |value: &Value| name(value).is_some_and(|it| names.contains(&it));
        let first_prefix = packages.get(0).and_then(|it| it.decor().prefix().cloned());
        packages.retain(|value| !is_removed(value));
        // What comes first now may have had a space in front.
        if let (Some(first), Some(prefix)) = (packages.get_mut(0), first_prefix) {
            first.decor_mut().set_prefix(prefix);
        }
    })?;
    match missing {
        None => Ok(edited),
        Some(name) => {
            let hint = match there.as_slice() {
                [] => "there are none in `packages` of `[package.metadata.faasm]`".to_owned(),
                there => format!("there are {}", there.join(", ")),
            };
            Err(input(format!("the package `{name}` is not in Cargo.toml")).hint(hint).into())
        }
    }
}

fn edit(text: &str, key: &str, change: impl FnOnce(&mut Array)) -> anyhow::Result<String> {
    let wrong = |what: &str| input(format!("failed to edit Cargo.toml: `{what}` is not what it should be"));
    let mut document: DocumentMut = text.parse().with_context(|| input("failed to read Cargo.toml"))?;
    let package = document.get_mut("package").and_then(Item::as_table_mut).ok_or_else(|| wrong("package"))?;
    let mut table = package;
    for part in ["metadata", "faasm"] {
        table = table
            .entry(part)
            .or_insert_with(|| {
                let mut table = Table::new();
                table.set_implicit(part == "metadata");
                Item::Table(table)
            })
            .as_table_mut()
            .ok_or_else(|| wrong(&format!("package.metadata.faasm, which must be a table `[{part}]`")))?;
    }
    let array = table.entry(key).or_insert_with(|| Item::Value(Array::new().into()));
    change(array.as_array_mut().ok_or_else(|| wrong(key))?);
    let edited = document.to_string();
    // The parser makes lines end as on Unix.
    Ok(if text.contains("\r\n") { edited.replace("\r\n", "\n").replace('\n', "\r\n") } else { edited })
}

/// The name of the package that an entry requires.
fn name(value: &Value) -> Option<String> {
    Some(value.as_str()?.parse::<Requirement>().ok()?.name)
}

/// Inserts an entry, on a line of its own if the others have one. A comment at the end of the line before stays there.
fn insert(array: &mut Array, place: usize, text: String) {
    let line = array.iter().filter_map(|it| it.decor().prefix()?.as_str()).find(|it| it.contains('\n'));
    let indent = line.and_then(|it| it.rsplit_once('\n')).map(|(_, indent)| indent.to_owned());
    let Some(indent) = indent else {
        array.insert(place, text);
        for (number, value) in array.iter_mut().enumerate() {
            value.decor_mut().set_prefix(if number == 0 { "" } else { " " });
        }
        return;
    };
    // What is between two entries is kept with the second one, or, behind the last, with the list.
    let behind = match array.get(place) {
        Some(next) => next.decor().prefix().and_then(|it| it.as_str()).unwrap_or_default().to_owned(),
        None => array.trailing().as_str().unwrap_or_default().to_owned(),
    };
    let (comment, rest) = behind.split_once('\n').unwrap_or(("", ""));
    match array.get_mut(place) {
        Some(next) => next.decor_mut().set_prefix(format!("\n{rest}")),
        None => array.set_trailing(format!("\n{rest}")),
    }
    array.insert(place, text);
    if let Some(value) = array.get_mut(place) {
        value.decor_mut().set_prefix(format!("{comment}\n{indent}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(text: &str, requirements: &[&str]) -> String {
        let requirements: Vec<Requirement> = requirements.iter().map(|it| it.parse().unwrap()).collect();
        with_packages(text, &requirements).unwrap()
    }

    #[test]
    fn packages_are_added_where_they_belong() {
        let head = "[package] # mine\nname = 'x'\n";
        for (before, added, after) in [
            (
                "",
                &["numpy", "Attrs>=20"][..],
                "\n[package.metadata.faasm]\npackages = [\"attrs>=20\", \"numpy\"]\n",
            ),
            (
                "\n[package.metadata.faasm]\npreload = ['a']\n",
                &["a"],
                "\n[package.metadata.faasm]\npreload = ['a']\npackages = [\"a\"]\n",
            ),
            (
                "[package.metadata.faasm]\npackages = ['b', 'd'] # these\n",
                &["c", "a"],
                "[package.metadata.faasm]\npackages = [\"a\", 'b', \"c\", 'd'] # these\n",
            ),
            (
                "[package.metadata.faasm]\npackages = ['z', 'b']\n",
                &["c"],
                "[package.metadata.faasm]\npackages = ['z', 'b', \"c\"]\n",
            ),
            (
                "[package.metadata.faasm]\npackages = ['b>=1', 'd']\n",
                &["b>=2"],
                "[package.metadata.faasm]\npackages = [\"b>=2\", 'd']\n",
            ),
            (
                "[package.metadata.faasm]\npackages = ['b[x]>=1', 'd']\n",
                &["b", "c"],
                "[package.metadata.faasm]\npackages = ['b[x]>=1', \"c\", 'd']\n",
            ),
            (
                "[package.metadata.faasm]\npackages = [\n  'b', # why\n  'd',\n]\n",
                &["c"],
                "[package.metadata.faasm]\npackages = [\n  'b', # why\n  \"c\",\n  'd',\n]\n",
            ),
            (
                "[package.metadata.faasm]\npackages = [\n  'b', # why\n]\n",
                &["c"],
                "[package.metadata.faasm]\npackages = [\n  'b', # why\n  \"c\",\n]\n",
            ),
        ] {
            assert_eq!(add(&format!("{head}{before}"), added), format!("{head}{after}"), "{before}");
        }
    }

    #[test]
    fn lines_end_as_they_did() {
        let text = "[package]\r\nname = 'x'\r\n\r\n[package.metadata.faasm]\r\npackages = ['a']\r\n";
        assert_eq!(add(text, &["b"]), text.replace("['a']", "['a', \"b\"]"));
    }

    #[test]
    fn packages_are_removed() {
        let text = "[package]\n[package.metadata.faasm]\npackages = ['a>=1', 'b', 'c']\n";
        let removed = without_packages(text, &["a".to_owned(), "c".to_owned()]).unwrap();
        assert_eq!(removed, "[package]\n[package.metadata.faasm]\npackages = ['b']\n");
        let error = without_packages(text, &["d".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("`d`"), "{error}");
    }

    #[test]
    fn files_are_added_once() {
        let text = "[package]\n[package.metadata.faasm]\nrequirements = ['r.txt']\n";
        assert_eq!(with_files(text, &["r.txt".to_owned()]).unwrap(), text);
        assert!(with_files(text, &["p.toml".to_owned()]).unwrap().contains("['r.txt', \"p.toml\"]"));
    }

    #[test]
    fn what_cannot_be_edited_is_said() {
        for text in [
            "[workspace]\n",
            "[package",
            "[package]\nmetadata = 3\n",
            "[package.metadata.faasm]\npackages = 'a'\n",
        ] {
            assert!(with_packages(text, &["a".parse().unwrap()]).is_err(), "{text}");
        }
    }
}
