//! pip's settings: which package index this machine uses, and how it is reached.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use reqwest::Url;

use super::debian;
use crate::error::{Error, Result};
use crate::progress::Context;

/// What matters of pip's settings.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Settings {
    /// The index, as a URL that may have credentials.
    pub(super) index: Option<String>,
    /// Further certificates to trust.
    pub(super) certificates: Option<PathBuf>,
    /// The proxy to use instead of the system's.
    pub(super) proxy: Option<String>,
}

impl Settings {
    /// The settings in the environment, then those in pip's configuration files.
    ///
    /// Order and places are those that `pip config --help` and
    /// <https://pip.pypa.io/en/stable/topics/configuration/> give.
    pub(super) fn read() -> Self {
        let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let mut files = BTreeMap::new();
        for path in configuration_files(&variable) {
            if let Ok(text) = fs::read_to_string(path) {
                files.append(&mut parse(&text));
            }
        }
        Self::choose(variable, &files)
    }

    fn choose(variable: impl Fn(&str) -> Option<String>, files: &BTreeMap<String, String>) -> Self {
        let file = |name: &str| files.get(name).filter(|value| !value.is_empty()).cloned();
        // uv allows a name in front: `corporate=https://…`.
        let unnamed = |value: String| match value.split_once('=') {
            Some((name, url)) if !name.contains(':') => url.to_owned(),
            _ => value,
        };
        let uv = || variable("UV_DEFAULT_INDEX").or_else(|| variable("UV_INDEX_URL")).map(unnamed);
        Self {
            index: variable("PIP_INDEX_URL").or_else(uv).or_else(|| file("index-url")),
            certificates: variable("PIP_CERT").or_else(|| file("cert")).map(PathBuf::from),
            proxy: variable("PIP_PROXY").or_else(|| file("proxy")),
        }
    }
}

/// The index that pip uses where nothing is configured: pip knows, and where there is no pip, Debian's
/// package of it does.
pub(super) fn default_index(cx: &Context) -> Result<Url> {
    // Starting pip takes most of a second, and resolving asks for many projects.
    static KNOWN: OnceLock<Url> = OnceLock::new();
    if let Some(url) = KNOWN.get() {
        return Ok(url.clone());
    }
    let url = find_default_index(cx)?;
    Ok(KNOWN.get_or_init(|| url).clone())
}

fn find_default_index(cx: &Context) -> Result<Url> {
    let mut reasons = Vec::new();
    for (program, module) in [("python3", true), ("pip3", false), ("pip", false), ("python", true)] {
        let mut command = Command::new(program);
        if module {
            command.args(["-m", "pip"]);
        }
        // Wide, so that the help text does not break the URL.
        command.args(["--disable-pip-version-check", "install", "--help"]).env("COLUMNS", "300");
        let reason = match command.output() {
            Ok(output) if output.status.success() => {
                match parse_help(&String::from_utf8_lossy(&output.stdout)) {
                    Some(url) => return Ok(url),
                    None => "does not name its index".to_owned(),
                }
            }
            Ok(_) => "has no pip".to_owned(),
            Err(error) => error.to_string(),
        };
        reasons.push(format!("{program}: {reason}"));
    }
    match debian_default(cx) {
        Ok(url) => return Ok(url),
        Err(error) => reasons.push(format!("Debian's python3-pip-whl: failed to {error}")),
    }
    let what = "the Python package index of this machine (PIP_INDEX_URL can name it)".to_owned();
    Err(Error::Lookup { what, reason: reasons.join("; ") })
}

/// Configuration files, the later the stronger. A setting of the last ones that exist wins.
fn configuration_files(variable: &impl Fn(&str) -> Option<String>) -> Vec<PathBuf> {
    let home = env::home_dir().unwrap_or_default();
    let mut files = Vec::new();
    if cfg!(target_os = "macos") {
        files.push(PathBuf::from("/Library/Application Support/pip/pip.conf"));
    }
    let system = variable("XDG_CONFIG_DIRS").unwrap_or_else(|| "/etc/xdg".to_owned());
    files.extend(env::split_paths(&system).map(|directory| directory.join("pip/pip.conf")));
    files.push(PathBuf::from("/etc/pip.conf"));
    files.push(home.join(".pip/pip.conf"));
    if cfg!(target_os = "macos") {
        files.push(home.join("Library/Application Support/pip/pip.conf"));
    }
    let user = variable("XDG_CONFIG_HOME").map_or_else(|| home.join(".config"), PathBuf::from);
    files.push(user.join("pip/pip.conf"));
    files.extend(variable("VIRTUAL_ENV").map(|prefix| Path::new(&prefix).join("pip.conf")));
    match variable("PIP_CONFIG_FILE") {
        // This is how pip is told to read none.
        Some(path) if path == "/dev/null" => return Vec::new(),
        Some(path) => files.push(path.into()),
        None => {}
    }
    files
}

/// The settings of an INI file that hold for `pip install`: those of `[install]`, else of `[global]`.
fn parse(text: &str) -> BTreeMap<String, String> {
    let mut section = String::new();
    let (mut global, mut install) = (BTreeMap::new(), BTreeMap::new());
    for line in text.lines() {
        // An indented line continues the value above it; the values that matter here have one line.
        if line.starts_with([' ', '\t', '#', ';']) {
            continue;
        }
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.clone_into(&mut section);
        } else if let Some((name, value)) = line.split_once(['=', ':']) {
            let settings = match section.as_str() {
                "global" => &mut global,
                "install" => &mut install,
                _ => continue,
            };
            settings.insert(name.trim().to_lowercase().replace('_', "-"), value.trim().to_owned());
        }
    }
    global.append(&mut install);
    global
}

/// The default of `--index-url` in what `pip install --help` prints.
fn parse_help(text: &str) -> Option<Url> {
    let option = &text[text.find("--index-url")?..];
    let (_, default) = option.split_once("(default")?;
    let (url, _) = default.split_once(')')?;
    Url::parse(url.trim()).ok()
}

/// The index that the pip in Debian's `python3-pip-whl` uses. The package is one file and needs no Python.
fn debian_default(cx: &Context) -> Result<Url> {
    const WHEELS: &str = "usr/share/python-wheels";
    let installed = Path::new("/").join(WHEELS);
    let wheel = match find_wheel(&installed) {
        Some(wheel) => wheel,
        None => {
            let package = debian::package(cx, "python3-pip-whl")?.join(WHEELS);
            find_wheel(&package).ok_or_else(|| Error::Unpack {
                archive: package,
                reason: "it has no wheel of pip".to_owned(),
            })?
        }
    };
    let member = "pip/_internal/models/index.py";
    let source = super::unpack::read_zip_member(&wheel, member)?;
    parse_index_model(&source)
        .ok_or_else(|| Error::Unpack { archive: wheel, reason: format!("{member} does not name an index") })
}

fn find_wheel(directory: &Path) -> Option<PathBuf> {
    let paths = fs::read_dir(directory).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let is_pip = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("pip-") && name.ends_with(".whl")
    };
    paths.filter(is_pip).max()
}

/// pip's source has `PyPI = PackageIndex("<root>", …)`, and the simple API is at `<root>simple`.
fn parse_index_model(source: &str) -> Option<Url> {
    let (_, arguments) = source.split_once("\nPyPI = PackageIndex(")?;
    let root = arguments.trim_start().strip_prefix('"')?.split_once('"')?.0;
    Url::parse(root).ok()?.join("simple").ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_have_pips_precedence() {
        let files = parse(
            "[global]\nindex-url = https://global/simple\ncert: /ca.pem\n# proxy = no\n\n[install]\n\
             index_url=https://install/simple\n[freeze]\nindex-url = https://freeze\n",
        );
        let cases = [
            (vec![], Some("https://install/simple")),
            (vec![("UV_INDEX_URL", "https://uv")], Some("https://uv")),
            (
                vec![("UV_INDEX_URL", "https://uv"), ("UV_DEFAULT_INDEX", "own=https://new?a=b")],
                Some("https://new?a=b"),
            ),
            (vec![("UV_INDEX_URL", "https://uv?a=b"), ("PIP_CERT", "/x")], Some("https://uv?a=b")),
            (vec![("PIP_INDEX_URL", "https://pip"), ("UV_INDEX_URL", "https://uv")], Some("https://pip")),
        ];
        for (variables, index) in cases {
            let variables: BTreeMap<_, _> = variables.into_iter().collect();
            let settings = Settings::choose(|name| variables.get(name).map(ToString::to_string), &files);
            assert_eq!(settings.index.as_deref(), index, "{variables:?}");
            let certificates = variables.get("PIP_CERT").copied().unwrap_or("/ca.pem");
            assert_eq!(settings.certificates.as_deref(), Some(Path::new(certificates)));
            assert_eq!(settings.proxy, None);
        }
    }

    #[test]
    fn pips_default_is_found_in_what_it_prints() {
        let help = "  -i, --index-url <url>       Base URL (default\n                 https://index.example/simple). \
                    This (x)\n  --extra-index-url <url>";
        assert_eq!(parse_help(help).unwrap().as_str(), "https://index.example/simple");
        assert_eq!(parse_help("--index-url <url>  Base URL."), None);
    }

    #[test]
    fn pips_default_is_found_in_its_source() {
        let source = "class PackageIndex:\n    pass\n\n\nPyPI = PackageIndex(\n    \"https://index.example/\", x=\"y\"\n)\n";
        assert_eq!(parse_index_model(source).unwrap().as_str(), "https://index.example/simple");
        assert_eq!(parse_index_model("PyPI = None"), None);
    }
}
