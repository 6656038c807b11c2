//! The Debian archive that this machine uses, as apt knows it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache::Key;
use crate::command;
use crate::error::{Error, Result};
use crate::progress::Context;

/// Variables by which apt is told how to reach the archive.
const APT_VARIABLES: [&str; 5] = ["APT_CONFIG", "http_proxy", "https_proxy", "ftp_proxy", "no_proxy"];

/// The roots of the archives this machine takes packages from, each with a slash at the end. Those for
/// security updates have no releases, only fixes, and are left out. Works whether or not apt's lists were
/// ever fetched.
///
/// # Errors
///
/// [`Error::Lookup`] where there is no apt, or it has no archive on the network.
pub fn archives() -> Result<Vec<String>> {
    let mut apt = Command::new("apt-get");
    apt.args(["indextargets", "--no-release-info", "--format", "$(REPO_URI)", "Created-By: Packages"]);
    let failed =
        |reason: String| Error::Lookup { what: "the Debian archive of this machine".to_owned(), reason };
    let output = apt.output().map_err(|error| failed(format!("apt-get: {error}")))?;
    if !output.status.success() {
        return Err(failed(format!("apt-get: {}", String::from_utf8_lossy(&output.stderr).trim())));
    }
    let archives = parse_archives(&String::from_utf8_lossy(&output.stdout));
    if archives.is_empty() {
        return Err(failed("apt-get names none that is reached by http or https".to_owned()));
    }
    Ok(archives)
}

/// The content of a binary package, unpacked into the cache. Needs no root and changes nothing on the system.
/// apt checks the signatures.
///
/// # Errors
///
/// [`Error::Step`] or [`Error::Spawn`] when apt or dpkg cannot do it, [`Error::Lookup`] when it is not in the
/// cache and the network must not be used.
pub fn package(cx: &Context, name: &'static str) -> Result<PathBuf> {
    let system = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let key =
        Key::new().value("package", name).value("architecture", env::consts::ARCH).content("system", system);
    let step = format!("debian-package {name}");
    cx.entry("debian-package", name, &key, |directory| {
        if cx.offline {
            let what = format!("Debian's package {name}");
            return Err(Error::Lookup { what, reason: "the network is not to be used".to_owned() });
        }
        let work = directory.join(".apt");
        for part in ["state/lists/partial", "cache/archives/partial"] {
            let path = work.join(part);
            fs::create_dir_all(&path).map_err(Error::io("create the directory", &path))?;
        }
        let log = command::new_log(cx, &step)?;
        // The lists of the system may be missing, as in a fresh container, or old. Then own ones are fetched.
        if command::run(&step, &log, apt(&work).args(["download", name])).is_err() {
            command::run(&step, &log, own_lists(apt(&work), &work).arg("update"))?;
            command::run(&step, &log, own_lists(apt(&work), &work).args(["download", name]))?;
        }
        let file = find_package(&work).ok_or_else(|| Error::Unpack {
            archive: work.clone(),
            reason: format!("apt-get has not left the package {name} there"),
        })?;
        command::run(&step, &log, Command::new("dpkg-deb").arg("-x").arg(&file).arg(directory))?;
        fs::remove_dir_all(&work).map_err(Error::io("remove", &work))
    })
}

fn apt(work: &Path) -> Command {
    let mut command = Command::new("apt-get");
    command.current_dir(work).args(["-q", "-o", "Acquire::Retries=3", "-o", "Acquire::Languages=none"]);
    command.envs(APT_VARIABLES.iter().filter_map(|name| Some((name, env::var_os(name)?))));
    command
}

fn own_lists(mut apt: Command, work: &Path) -> Command {
    for (option, directory) in [("Dir::State", "state"), ("Dir::Cache", "cache")] {
        apt.arg("-o").arg(format!("{option}={}", work.join(directory).display()));
    }
    apt
}

fn find_package(directory: &Path) -> Option<PathBuf> {
    let mut paths = fs::read_dir(directory).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    paths.find(|path| path.extension().is_some_and(|it| it == "deb"))
}

fn parse_archives(output: &str) -> Vec<String> {
    let mut archives: Vec<String> = Vec::new();
    for line in output.lines().map(str::trim) {
        let root = line.trim_end_matches('/');
        let reachable = root.starts_with("http://") || root.starts_with("https://");
        let root = format!("{root}/");
        if reachable && !root.ends_with("-security/") && !archives.contains(&root) {
            archives.push(root);
        }
    }
    archives
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn security_archives_and_repetitions_are_left_out() {
        let output = "http://a.example/debian/\nhttp://a.example/debian/\nhttp://a.example/debian-security/\n\
                      cdrom:[Debian]/\nhttps://b.example/apt\n";
        assert_eq!(parse_archives(output), ["http://a.example/debian/", "https://b.example/apt/"]);
        assert!(parse_archives("").is_empty());
    }
}
