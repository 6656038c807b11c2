//! Container images and manifests for Kubernetes, judged by what others have written for them.
//!
//! The types are those of the crates `oci-spec` and `k8s-openapi`, which are generated from the specifications. They skip what they do not
//! know, so what they have read is compared with what was there. `umoci`, the reference tool of the Open Container Initiative, unpacks the
//! image where it is installed; with `FAASM_REQUIRE_UMOCI`, as `.ci/run` has it, it must be.

mod bundle_support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bundle_support::Machine;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, ImageManifest, MediaType, OciLayout};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// An image layout in a directory, with everything that can be in one.
fn layout(machine: &Machine) -> PathBuf {
    let image = faasm_tests::image().display();
    fs::write(machine.work().join("hello.py"), "def faasm_main(): return 'hello'\n").unwrap();
    machine.run(&format!("upload python hello --image {image}"));
    let server = env!("CARGO_BIN_EXE_py_func-under-test");
    let package =
        format!("package --image {image} --version 1.0+x --oci --include functions --server {server}");
    let archive = machine.run(&package);
    let directory = machine.work().join("layout");
    tar::Archive::new(fs::File::open(archive.trim()).unwrap()).unpack(&directory).unwrap();
    directory
}

/// Reads what a type describes, which must be all that is there.
fn described<T: DeserializeOwned + Serialize>(value: &Value) -> T {
    let read: T = serde_json::from_value(value.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), *value, "there is more, or less, than is described");
    read
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The file of a descriptor, if it is the one that is described.
fn blob(layout: &Path, descriptor: &Descriptor) -> PathBuf {
    let path = layout.join("blobs/sha256").join(descriptor.as_digest_sha256().unwrap());
    let content = fs::read(&path).unwrap();
    let digest: String = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((Some(&*digest), content.len() as u64), (descriptor.as_digest_sha256(), descriptor.size()));
    path
}

#[test]
fn a_container_image_is_what_the_specification_describes() {
    let machine = Machine::new(None);
    let directory = layout(&machine);
    let layout: OciLayout = described(&read(&directory.join("oci-layout")));
    assert_eq!(layout.image_layout_version(), "1.0.0");
    let index: ImageIndex = described(&read(&directory.join("index.json")));
    assert_eq!((index.schema_version(), index.media_type()), (2, &Some(MediaType::ImageIndex)));
    let [image] = index.manifests().as_slice() else { panic!("{index:?}") };
    let manifest: ImageManifest = described(&read(&blob(&directory, image)));
    assert_eq!((manifest.schema_version(), manifest.media_type()), (2, &Some(MediaType::ImageManifest)));
    assert_eq!(manifest.config().media_type(), &MediaType::ImageConfig);

    let mut config = read(&blob(&directory, manifest.config()));
    // It is Docker's own, and specified there.
    let health = config["config"].as_object_mut().unwrap().remove("Healthcheck").unwrap();
    assert_eq!(health["Test"][0], "CMD");
    let config: ImageConfiguration = described(&config);
    let platform = image.platform().as_ref().unwrap();
    assert_eq!((platform.architecture(), platform.os()), (config.architecture(), config.os()));
    let settings = config.config().as_ref().unwrap();
    // Who may run as root is not refused by Kubernetes only if the user is a number.
    assert!(settings.user().as_ref().unwrap().split(':').all(|it| it.parse::<u32>().unwrap() > 0));
    assert_eq!(config.rootfs().typ(), "layers");
    assert_eq!(config.rootfs().diff_ids().len(), manifest.layers().len());
    let with_layer = config.history().as_ref().unwrap().iter().filter(|it| it.empty_layer() != Some(true));
    assert_eq!(with_layer.count(), manifest.layers().len());
    let mut named: BTreeSet<PathBuf> = BTreeSet::new();
    for (layer, content) in manifest.layers().iter().zip(config.rootfs().diff_ids()) {
        assert_eq!(layer.media_type(), &MediaType::ImageLayerGzip);
        let path = blob(&directory, layer);
        let mut digest = Sha256::new();
        let mut plain = flate2::read::GzDecoder::new(fs::File::open(&path).unwrap());
        std::io::copy(&mut plain, &mut HashWriter(&mut digest)).unwrap();
        let digest: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(format!("sha256:{digest}"), *content);
        named.insert(path);
    }
    // Nothing is carried along that nothing names.
    named.extend([blob(&directory, image), blob(&directory, manifest.config())]);
    let there: BTreeSet<PathBuf> =
        fs::read_dir(directory.join("blobs/sha256")).unwrap().map(|it| it.unwrap().path()).collect();
    assert_eq!(there, named);

    unpacked_by_umoci(&machine, &directory, image.annotations().as_ref().unwrap());
}

struct HashWriter<'a>(&'a mut Sha256);

impl std::io::Write for HashWriter<'_> {
    fn write(&mut self, content: &[u8]) -> std::io::Result<usize> {
        self.0.update(content);
        Ok(content.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn unpacked_by_umoci(
    machine: &Machine,
    layout: &Path,
    annotations: &std::collections::HashMap<String, String>,
) {
    let tag = annotations["org.opencontainers.image.ref.name"].rsplit(':').next().unwrap();
    // Names of references have no colons for this tool, so that it is given one of its own.
    let mut index = read(&layout.join("index.json"));
    index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"] = tag.into();
    fs::write(layout.join("index.json"), index.to_string()).unwrap();
    let bundle = machine.work().join("unpacked");
    let image = format!("{}:{tag}", layout.display());
    let unpacked =
        Command::new("umoci").args(["unpack", "--rootless", "--image", &image]).arg(&bundle).output();
    let output = match unpacked {
        Ok(output) => output,
        Err(error) => {
            assert!(std::env::var_os("FAASM_REQUIRE_UMOCI").is_none(), "failed to start umoci: {error}");
            eprintln!("umoci cannot be started, so it does not judge the image: {error}");
            return;
        }
    };
    assert!(output.status.success(), "{}", bundle_support::text(&output.stderr));
    for file in ["usr/bin/py_func", "opt/faasm/runtime/manifest.json", "opt/faasm/functions/python/hello.py"]
    {
        assert!(bundle.join("rootfs").join(file).is_file(), "{file}");
    }
    // What an engine is to do is understood as it was meant.
    let runtime = read(&bundle.join("config.json"));
    assert_eq!(runtime["process"]["args"], serde_json::json!(["/usr/bin/py_func"]));
    let environment = runtime["process"]["env"].as_array().unwrap();
    assert!(environment.contains(&"FAASM_FUNCTIONS=/opt/faasm/functions".into()), "{environment:?}");
}

#[test]
fn the_manifests_are_what_kubernetes_describes_and_belong_together() {
    let machine = Machine::new(None);
    let text = machine.run("package --version 1.0+x --kubernetes registry.example/py_func:1.0");
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    let kinds: BTreeMap<&str, &Value> =
        documents.iter().map(|it| (it["kind"].as_str().unwrap(), it)).collect();
    assert_eq!(kinds.len(), documents.len());
    let account: ServiceAccount = described(kinds["ServiceAccount"]);
    let deployment: Deployment = described(kinds["Deployment"]);
    let service: Service = described(kinds["Service"]);
    let budget: PodDisruptionBudget = described(kinds["PodDisruptionBudget"]);
    let scaler: HorizontalPodAutoscaler = described(kinds["HorizontalPodAutoscaler"]);
    assert_eq!(documents.len(), 5, "each is one of these");

    // What names something names what is there.
    let spec = deployment.spec.unwrap();
    let labels = spec.template.metadata.unwrap().labels.unwrap();
    let pod = spec.template.spec.unwrap();
    for selector in [
        spec.selector.match_labels.unwrap(),
        service.spec.as_ref().unwrap().selector.clone().unwrap(),
        budget.spec.unwrap().selector.unwrap().match_labels.unwrap(),
    ] {
        assert!(!selector.is_empty());
        assert!(selector.iter().all(|(name, value)| labels.get(name) == Some(value)), "{selector:?}");
    }
    // Values of labels have no plus signs.
    let is_label = |it: char| it.is_ascii_alphanumeric() || "-_.".contains(it);
    assert!(labels.values().all(|it| it.len() < 64 && it.chars().all(is_label)), "{labels:?}");
    assert_eq!(pod.service_account_name, account.metadata.name);
    let scaler = scaler.spec.unwrap();
    let scaled = scaler.scale_target_ref;
    assert_eq!(Some(scaled.name), deployment.metadata.name);
    assert_eq!((scaled.kind.as_str(), scaled.api_version.as_deref()), ("Deployment", Some("apps/v1")));
    let [container] = pod.containers.as_slice() else { panic!("{:?}", pod.containers) };
    let ports: Vec<_> = container.ports.iter().flatten().map(|it| it.name.clone().unwrap()).collect();
    let target = service.spec.unwrap().ports.unwrap().remove(0).target_port.unwrap();
    let probes = [&container.liveness_probe, &container.readiness_probe, &container.startup_probe]
        .map(|it| it.as_ref().unwrap().http_get.clone().unwrap());
    for port in probes.iter().map(|it| it.port.clone()).chain([target]) {
        let k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::String(port) = port else {
            panic!("{port:?}")
        };
        assert!(ports.contains(&port), "{port}");
    }
    let volumes: BTreeSet<_> = pod.volumes.into_iter().flatten().map(|it| it.name).collect();
    let mounted: BTreeSet<_> = container.volume_mounts.iter().flatten().map(|it| it.name.clone()).collect();
    assert_eq!(volumes, mounted);
    let resources = container.resources.clone().unwrap();
    assert!(
        resources.limits.unwrap().contains_key("memory") && resources.requests.unwrap().contains_key("cpu")
    );

    // The server answers the probes, and has the metric by which it is scaled.
    let server = machine.serve(&format!("--image {}", faasm_tests::image().display()));
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::blocking::Client::builder().no_proxy().build().unwrap();
    let get = |path: &str| {
        let answer = client.get(format!("{}{path}", server.url)).send().unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.text().unwrap()
    };
    for probe in probes {
        get(&probe.path.unwrap());
    }
    let metrics = get("/metrics");
    let scaled: Vec<_> = scaler.metrics.unwrap().into_iter().filter_map(|it| it.pods).collect();
    assert!(!scaled.is_empty());
    for metric in scaled {
        let name = metric.metric.name;
        assert!(metrics.contains(&format!("\n{name} ")), "{name}: {metrics}");
    }
}
