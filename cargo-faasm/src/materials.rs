//! What a runtime is made of: the bill of materials and the licences in a bundle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};
use faasm_build_support::components;
use faasm_bundle::sbom::{self, Component, License, SBOM};
use faasm_image::Manifest;

use crate::cli::{Format, Global};
use crate::image;
use crate::package::{Place, cargo};
use crate::progress::Steps;
use crate::shell::Shell;

/// The documents in a bundle of the image in a directory, by path.
pub(crate) fn documents(
    shell: Shell,
    global: &Global,
    image: &Path,
    place: &Place,
    version: &str,
) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let manifest = Manifest::read(image)?;
    let cx = image::context(global, &Steps::new(shell, Format::Human))?;
    let mut documents = BTreeMap::new();
    let mut listed = sbom::python_packages(&image.join("root"))?;
    for linked in components::linked(&cx, &manifest.inputs)? {
        for text in &linked.texts {
            let content = fs::read(text).with_context(|| format!("failed to read {}", text.display()))?;
            // Licences of several directories may have the same name.
            let name = text.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let mut paths = (0_u32..).map(|count| match count {
                0 => format!("licenses/{}/{name}", linked.name),
                count => format!("licenses/{}/{count}-{name}", linked.name),
            });
            if let Some(path) = paths.find(|it| !documents.contains_key(it)) {
                documents.insert(path, content);
            }
        }
        listed.push(Component {
            kind: "generic",
            name: linked.name,
            version: linked.version,
            license: linked.license.map_or(License::Unknown, License::Expression),
        });
    }
    if !matches!(place, Place::Nowhere) {
        listed.extend(crates(global)?);
    }
    documents.insert(SBOM.to_owned(), sbom::document(version, &listed));
    Ok(documents)
}

/// The crates that `py_func` is linked with where the command is called, if it is among those of the package or workspace there.
fn crates(global: &Global) -> anyhow::Result<Vec<Component>> {
    let mut options = vec!["--filter-platform".to_owned(), faasm_image::host_target()];
    if global.offline {
        options.push("--offline".to_owned());
    }
    let mut command = MetadataCommand::new();
    let metadata = command.cargo_path(cargo()).other_options(options).exec();
    let metadata = metadata.context("failed to find out which crates there are")?;
    let Some(root) = metadata.packages.iter().find(|it| it.name.as_str() == "py_func") else {
        return Ok(Vec::new());
    };
    let needed = needed(&metadata, &root.id);
    let component = |package: &cargo_metadata::Package| Component {
        kind: "cargo",
        name: package.name.to_string(),
        version: package.version.to_string(),
        // Older ones separate alternatives by slashes.
        license: package
            .license
            .as_ref()
            .map_or(License::Unknown, |it| License::Expression(it.replace('/', " OR "))),
    };
    Ok(metadata.packages.iter().filter(|it| needed.contains(&it.id)).map(component).collect())
}

/// A package and what it is linked with.
fn needed<'a>(metadata: &'a Metadata, root: &'a PackageId) -> BTreeSet<&'a PackageId> {
    let nodes = metadata.resolve.iter().flat_map(|it| &it.nodes);
    let nodes: BTreeMap<_, _> = nodes.map(|it| (&it.id, it)).collect();
    let (mut found, mut open) = (BTreeSet::from([root]), vec![root]);
    while let Some(id) = open.pop() {
        for dependency in nodes.get(id).into_iter().flat_map(|it| &it.deps) {
            let is_linked = dependency.dep_kinds.iter().any(|it| it.kind == DependencyKind::Normal);
            if is_linked && found.insert(&dependency.pkg) {
                open.push(&dependency.pkg);
            }
        }
    }
    found
}
