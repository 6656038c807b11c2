//! Bills of materials, in the JSON of CycloneDX 1.6 (ECMA-424).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};
use crate::hash;

/// The name of a bill of materials in a bundle.
pub const SBOM: &str = "sbom.cdx.json";

/// Something that a runtime has from others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Component {
    /// Its kind in package URLs: `generic`, `pypi`, `cargo`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its licence.
    pub license: License,
}

/// What is known of a licence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum License {
    /// An SPDX expression.
    Expression(String),
    /// Its name, in the words of whoever gives it.
    Name(String),
    /// Nothing.
    Unknown,
}

/// The bill of materials of a runtime. The same components make the same bytes: it has no time, and its serial number is made from what
/// it says.
pub fn document(version: &str, components: &[Component]) -> Vec<u8> {
    let mut components = components.to_vec();
    components.sort();
    components.dedup();
    let runtime = format!("pkg:generic/py_func@{}", encoded(version));
    let listed: Vec<Value> = components.iter().map(describe).collect();
    let names: Vec<String> = components.iter().map(purl).collect();
    let mut document = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": runtime,
                "name": "py_func",
                "version": version,
                "purl": runtime,
                "licenses": [{ "license": { "id": "Apache-2.0" } }],
            },
            "tools": {
                "components": [{ "type": "application", "name": "cargo-faasm", "version": env!("CARGO_PKG_VERSION") }],
            },
        },
        "components": listed,
        "dependencies": [{ "ref": runtime, "dependsOn": names }],
    });
    let digest = hash::hex(Sha256::new_with_prefix(document.to_string()));
    if let Some(document) = document.as_object_mut() {
        document.insert("serialNumber".to_owned(), json!(format!("urn:uuid:{}", uuid(&digest))));
    }
    format!("{document:#}\n").into_bytes()
}

/// The Python packages in the directory that guests see as `/`, by what their `METADATA` says.
///
/// # Errors
///
/// When it cannot be read.
pub fn python_packages(root: &Path) -> Result<Vec<Component>> {
    let mut packages = Vec::new();
    let library = root.join("lib");
    for python in directories(&library)?.iter().filter(|it| it.starts_with("python")) {
        let site = library.join(python).join("site-packages");
        for name in directories(&site)?.iter().filter(|it| it.ends_with(".dist-info")) {
            let path = site.join(name).join("METADATA");
            let text = fs::read(&path).map_err(Error::io("read", &path))?;
            packages.extend(python_package(&String::from_utf8_lossy(&text)));
        }
    }
    Ok(packages)
}

/// What a `METADATA` says, which has the form of a mail's headers.
fn python_package(text: &str) -> Option<Component> {
    let headers = || text.lines().take_while(|it| !it.is_empty());
    let header = |name: &str| {
        let value =
            headers().find_map(|line| line.split_once(": ").filter(|it| it.0.eq_ignore_ascii_case(name)));
        value.map(|it| it.1.trim()).filter(|it| !it.is_empty())
    };
    let classifier = || {
        let license = |line: &str| line.strip_prefix("Classifier: License :: ").map(str::to_owned);
        headers().filter_map(license).last().map(|it| it.rsplit(" :: ").next().unwrap_or(&it).to_owned())
    };
    // Some have the whole text there.
    let named = || header("License").filter(|it| it.len() <= 64).map(str::to_owned);
    let license = match header("License-Expression") {
        Some(expression) => License::Expression(expression.to_owned()),
        None => named().or_else(classifier).map_or(License::Unknown, License::Name),
    };
    let name = header("Name")?.to_lowercase().replace(['_', '.'], "-");
    Some(Component { kind: "pypi", name, version: header("Version")?.to_owned(), license })
}

fn describe(component: &Component) -> Value {
    let purl = purl(component);
    let mut described: BTreeMap<&str, Value> = BTreeMap::from([
        ("type", json!("library")),
        ("bom-ref", json!(purl)),
        ("name", json!(component.name)),
        ("version", json!(component.version)),
        ("purl", json!(purl)),
    ]);
    match &component.license {
        License::Expression(it) => drop(described.insert("licenses", json!([{ "expression": it }]))),
        License::Name(it) => drop(described.insert("licenses", json!([{ "license": { "name": it } }]))),
        License::Unknown => {}
    }
    json!(described)
}

fn purl(component: &Component) -> String {
    let Component { kind, name, version, .. } = component;
    format!("pkg:{kind}/{}@{}", encoded(name), encoded(version))
}

/// Text as a part of a package URL.
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded += &format!("%{byte:02X}"),
        }
    }
    encoded
}

/// A UUID of version 8 (RFC 9562), which may have any bits besides those that say so.
fn uuid(digest: &str) -> String {
    let part = |from: usize, to: usize| digest.get(from..to).unwrap_or_default();
    format!("{}-{}-8{}-a{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
}

fn directories(path: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(Error::io("read the directory", path))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(Error::io("read the directory", path))?.file_name();
        names.extend(name.into_string().ok());
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_says_what_there_is() {
        let component = |name: &str, license| Component {
            kind: "generic",
            name: name.to_owned(),
            version: "1+x".to_owned(),
            license,
        };
        let mit = License::Expression("MIT".to_owned());
        let [a, b] = [component("libc++", mit), component("b", License::Unknown)];
        let text = document("1.0", &[a.clone(), b.clone()]);
        assert_eq!(text, document("1.0", &[b.clone(), a.clone(), b.clone()]));
        assert_ne!(text, document("1.1", &[a, b]));
        let value: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(value["components"][1]["purl"], "pkg:generic/libc%2B%2B@1%2Bx");
        assert_eq!(value["components"][1]["licenses"][0]["expression"], "MIT");
        assert_eq!(value["components"][0].get("licenses"), None);
        assert_eq!(value["dependencies"][0]["dependsOn"].as_array().unwrap().len(), 2);
        let serial = value["serialNumber"].as_str().unwrap();
        assert_eq!((serial.len(), &serial[23..24], &serial[28..29]), (45, "8", "a"), "{serial}");
    }

    #[test]
    fn python_packages_say_what_they_are() {
        let name = |it: &str| License::Name(it.to_owned());
        for (text, license) in [
            ("License-Expression: MIT\nLicense: no", License::Expression("MIT".to_owned())),
            ("License: PSF-2.0\nClassifier: License :: OSI Approved :: BSD License", name("PSF-2.0")),
            ("Classifier: License :: OSI Approved :: BSD License", name("BSD License")),
            ("Summary: x\n\nLicense: in the description", License::Unknown),
        ] {
            let component = python_package(&format!("Name: Py_YAML\nVersion: 1.0\n{text}\n")).unwrap();
            assert_eq!(component.name, "py-yaml");
            assert_eq!(component.license, license, "{text}");
        }
        assert_eq!(python_package("Name: x\n\nVersion: 1"), None);
    }
}
