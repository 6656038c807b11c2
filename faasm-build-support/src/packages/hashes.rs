//! The hashes of packages that files with requirements have.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::lock::{Locked, Source};
use crate::error::{Error, Result};

/// The hashes that the files of a package may have.
#[derive(Clone, Debug)]
pub struct Hashes {
    /// Where that is said.
    pub path: PathBuf,
    /// SHA-256 in lowercase hexadecimal.
    pub sha256: BTreeSet<String>,
}

/// Refuses what is none of that which files with requirements have hashes of: a wheel, or the source that a recipe is for.
///
/// # Errors
///
/// When a package has another hash, or none.
pub(super) fn check(locked: &[Locked], hashes: &BTreeMap<String, Hashes>) -> Result<()> {
    for Locked { name, version, source, .. } in locked {
        let Some(Hashes { path, sha256: allowed }) = hashes.get(name) else { continue };
        let (what, sha256, advice) = match source {
            Source::Wheel { file, sha256 } => (file.clone(), Some(sha256), ""),
            Source::Recipe(found) => {
                let source = &found.recipe.source;
                match &source.path {
                    Some(wheel) if source.is_wheel() => {
                        let advice = "; add its `--hash` if the wheel of that recipe is to be used";
                        (found.directory.join(wheel).display().to_string(), source.sha256.as_ref(), advice)
                    }
                    // What a folder has is not compared with anything.
                    Some(_) => (format!("the source of {name} {version}"), None, ""),
                    None => (format!("the source of {name} {version}"), source.sha256.as_ref(), ""),
                }
            }
        };
        if !sha256.is_some_and(|it| allowed.contains(it)) {
            let has = sha256.map_or_else(|| "no hash".to_owned(), |it| format!("the hash sha256:{it}"));
            let reason = format!(
                "{what}, which would be used, has {has}, and `{name}` has to have one of those here{advice}"
            );
            return Err(Error::Manifest { path: path.clone(), reason });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packages::recipes::Found;

    #[test]
    fn what_has_another_hash_is_refused() {
        let recipe = |source: &str| {
            let text = format!("package: {{name: a, version: '1'}}\nsource: {{{source}}}\n");
            let recipe = faasm_recipe::Recipe::parse(&text, "meta.yaml".as_ref()).unwrap();
            Source::Recipe(Box::new(Found { recipe, directory: "/recipes/a".into(), hash: String::new() }))
        };
        let wheel = Source::Wheel { file: "a-1-py3-none-any.whl".to_owned(), sha256: "aa".to_owned() };
        let hashes = Hashes { path: "requirements.txt".into(), sha256: ["bb".to_owned()].into() };
        let hashes = BTreeMap::from([("a".to_owned(), hashes)]);
        let checked = |source| {
            let locked =
                Locked { name: "a".to_owned(), version: "1".to_owned(), source, dependencies: Vec::new() };
            check(&[locked], &hashes)
        };
        for (source, part) in [
            (wheel, "a-1-py3-none-any.whl, which would be used, has the hash sha256:aa, and `a` has to"),
            (
                recipe("pypi: a==1, sha256: aa"),
                "the source of a 1, which would be used, has the hash sha256:aa",
            ),
            (
                recipe("path: a.whl, sha256: aa"),
                "/recipes/a/a.whl, which would be used, has the hash sha256:aa",
            ),
            (recipe("path: a.whl, sha256: aa"), "add its `--hash`"),
            (recipe("path: ., sha256: bb"), "no hash"),
            (recipe(""), "no hash"),
        ] {
            let error = checked(source).unwrap_err().to_string();
            assert!(error.contains("requirements.txt") && error.contains(part), "{error}");
        }
        for source in ["pypi: a==1, sha256: bb", "path: a.whl, sha256: bb"] {
            assert!(checked(recipe(source)).is_ok(), "{source}");
        }
    }
}
