//! Container images, as a layout of the Open Container Initiative, made without a container engine.
//!
//! The image has layers from what changes least to what changes most: what the server needs of an operating system, the server, the
//! runtime, and functions, if there are some. It runs as an ordinary user, and its file system may be read-only; what it keeps is in [`HOME`].
//!
//! See the OCI Image Format Specification 1.1 for the layout, the configuration and the media types. The archive also has the
//! `manifest.json` by which engines that know no layouts load images; and the configuration a health check, which is Docker's own.

mod layer;
mod system;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};
use crate::hash;
use crate::manifest::check_version;
use crate::write::Function;
use layer::{Layer, Packed};

/// Where the server is.
const SERVER: &str = "usr/bin/py_func";

/// Where the runtime is.
const RUNTIME: &str = "opt/faasm/runtime";

/// Where functions are that the server has from the start.
const FUNCTIONS: &str = "opt/faasm/functions";

/// Where the server keeps functions that are uploaded, state and files.
pub const HOME: &str = "/var/lib/faasm";

/// The user and group that it runs as, which by convention are nobody in particular.
pub const USER: u64 = 65532;

/// Where it listens.
pub const PORT: u16 = 8080;

/// A container image that is to be made.
#[derive(Clone, Copy, Debug)]
pub struct Container<'a> {
    /// The version of the runtime, which is the image's tag.
    pub version: &'a str,
    /// The program `py_func`, for Linux.
    pub server: &'a Path,
    /// The directory of an image with machine code that runs on all machines which the container is for.
    pub runtime: &'a Path,
    /// The functions that the server has from the start.
    pub functions: &'a [Function],
}

/// Writes a container image as an archive, and answers its digest. The same files make the same bytes.
///
/// # Errors
///
/// When the server is no program for Linux, something that it needs is not on this machine, or a file cannot be read or written.
pub fn write(container: &Container<'_>, path: &Path) -> Result<String> {
    let directory = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(directory).map_err(Error::io("create the directory", directory))?;
    let blobs = tempfile::tempdir_in(directory).map_err(Error::io("create a directory in", directory))?;
    let architecture = system::architecture(container.server)?;

    let mut system = Layer::default();
    system::add(&mut system, container.server)?;
    let mut server = Layer::default();
    server.file(SERVER, container.server, 0o755)?;
    let mut runtime = Layer::default();
    runtime.tree(RUNTIME, container.runtime)?;
    let mut contents = vec![("operating system", system), ("server", server), ("runtime", runtime)];
    if !container.functions.is_empty() {
        let mut functions = Layer::default();
        for Function { user, name, source, extension } in container.functions {
            functions.bytes(&format!("{FUNCTIONS}/{user}/{name}.{extension}"), source.clone(), 0o644)?;
        }
        contents.push(("functions", functions));
    }
    let layers = contents.iter().map(|it| it.1.pack(blobs.path())).collect::<Result<Vec<_>>>()?;
    let comments: Vec<&str> = contents.iter().map(|it| it.0).collect();

    let config = config(container, architecture, &layers, &comments);
    let config = blob(blobs.path(), &config)?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config.descriptor("application/vnd.oci.image.config.v1+json"),
        "layers": layers.iter().map(Packed::descriptor).collect::<Vec<_>>(),
    });
    let manifest = blob(blobs.path(), &manifest)?;
    let name = format!("py_func:{}", container.version.replace('+', "-"));
    let mut described = manifest.descriptor("application/vnd.oci.image.manifest.v1+json");
    if let Some(described) = described.as_object_mut() {
        described.insert("platform".to_owned(), json!({ "architecture": architecture, "os": "linux" }));
        let annotations = json!({
            "io.containerd.image.name": format!("docker.io/library/{name}"),
            "org.opencontainers.image.ref.name": name,
        });
        described.insert("annotations".to_owned(), annotations);
    }
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [described],
    });
    let blob_path = |digest: &str| format!("blobs/sha256/{digest}");
    let legacy = json!([{
        "Config": blob_path(&config.digest),
        "RepoTags": [name],
        "Layers": layers.iter().map(|it| blob_path(&it.digest)).collect::<Vec<_>>(),
    }]);

    let mut all = Layer::default();
    for digest in [&config.digest, &manifest.digest].into_iter().chain(layers.iter().map(|it| &it.digest)) {
        all.file(&blob_path(digest), &blobs.path().join(digest), 0o644)?;
    }
    all.bytes("index.json", index.to_string().into_bytes(), 0o644)?;
    all.bytes("manifest.json", legacy.to_string().into_bytes(), 0o644)?;
    all.bytes("oci-layout", json!({ "imageLayoutVersion": "1.0.0" }).to_string().into_bytes(), 0o644)?;
    let file = tempfile::Builder::new().permissions(Permissions::from_mode(0o666)).tempfile_in(directory);
    let mut file = file.map_err(Error::io("write", path))?;
    all.write(file.as_file_mut(), path)?;
    file.as_file().sync_all().map_err(Error::io("write", path))?;
    file.persist(path).map_err(|error| Error::io("write", path)(error.error))?;
    Ok(format!("sha256:{}", manifest.digest))
}

/// Manifests for Kubernetes: a Deployment, a Service, and what belongs to them. `image` is the name under which a cluster finds the
/// container image.
///
/// # Errors
///
/// When that can be no name of an image, or the version no label.
pub fn kubernetes(version: &str, image: &str) -> Result<String> {
    check_version(version).map_err(|reason| Error::Content { name: version.to_owned(), reason })?;
    let is_name = |it: char| it.is_ascii_alphanumeric() || "./_-:@".contains(it);
    if image.is_empty() || !image.chars().all(is_name) {
        let reason = "it is no name of a container image, such as example.org/py_func:1.0".to_owned();
        return Err(Error::Content { name: image.to_owned(), reason });
    }
    // Labels have no plus signs.
    let (user, port, version) = (USER.to_string(), PORT.to_string(), version.replace('+', "-"));
    let values = [
        ("{version}", version.as_str()),
        ("{image}", image),
        ("{user}", &user),
        ("{port}", &port),
        ("{home}", HOME),
    ];
    Ok(values.iter().fold(KUBERNETES.to_owned(), |text, (name, value)| text.replace(name, value)))
}

const KUBERNETES: &str = include_str!("oci/kubernetes.yaml");

/// `comments` say what the layers are.
fn config(container: &Container<'_>, architecture: &str, layers: &[Packed], comments: &[&str]) -> Value {
    let diffs: Vec<String> = layers.iter().map(|it| format!("sha256:{}", it.content)).collect();
    let entry =
        |it: &&str| json!({ "created": EPOCH, "created_by": "cargo faasm package --oci", "comment": it });
    let history: Vec<Value> = comments.iter().map(entry).collect();
    let mut environment = vec![
        "PATH=/usr/bin".to_owned(),
        format!("FAASM_HOME={HOME}"),
        format!("FAASM_IMAGE=/{RUNTIME}"),
        format!("FAASM_LISTEN=0.0.0.0:{PORT}"),
    ];
    if !container.functions.is_empty() {
        environment.push(format!("FAASM_FUNCTIONS=/{FUNCTIONS}"));
    }
    let port = format!("{PORT}/tcp");
    json!({
        "created": EPOCH,
        "architecture": architecture,
        "os": "linux",
        "config": {
            "User": format!("{USER}:{USER}"),
            "ExposedPorts": { port: {} },
            "Env": environment,
            "Entrypoint": [format!("/{SERVER}")],
            "Volumes": { HOME: {} },
            "WorkingDir": "/",
            "StopSignal": "SIGTERM",
            "Healthcheck": {
                "Test": ["CMD", format!("/{SERVER}"), "health"],
                "Interval": 10_000_000_000_u64,
                "Timeout": 5_000_000_000_u64,
                "StartPeriod": 10_000_000_000_u64,
                "Retries": 3,
            },
            "Labels": {
                "org.opencontainers.image.title": "py_func",
                "org.opencontainers.image.description": "Runs Python functions over HTTP, each call in a sandbox of its own",
                "org.opencontainers.image.version": container.version,
                "org.opencontainers.image.licenses": "Apache-2.0",
            },
        },
        "rootfs": { "type": "layers", "diff_ids": diffs },
        "history": history,
    })
}

/// Images have no time, so that the same files make the same image.
const EPOCH: &str = "1970-01-01T00:00:00Z";

/// A file named by its SHA-256.
struct Blob {
    digest: String,
    len: u64,
}

impl Blob {
    fn descriptor(&self, media_type: &str) -> Value {
        json!({ "mediaType": media_type, "digest": format!("sha256:{}", self.digest), "size": self.len })
    }
}

fn blob(directory: &Path, content: &Value) -> Result<Blob> {
    let text = content.to_string();
    let digest = hash::hex(Sha256::new_with_prefix(&text));
    let path = directory.join(&digest);
    fs::write(&path, &text).map_err(Error::io("write", &path))?;
    Ok(Blob { digest, len: text.len() as u64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_are_filled_in() {
        let text = kubernetes("1.0+x", "example.org/py_func:1.0").unwrap();
        assert!(!text.contains(['{', '}']), "{text}");
        assert!(text.contains("image: \"example.org/py_func:1.0\"") && text.contains("version: \"1.0-x\""));
        assert!(kubernetes("1\n", "x").is_err() && kubernetes("1", "x\"\ny: z").is_err());
    }
}
