//! Unpacking source archives and wheels.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Component, Path};

use zip::ZipArchive;

use crate::error::{Error, Result};

/// Unpacks a `.tar.xz`, `.tar.gz`, `.tgz`, `.zip` or `.whl` into a directory, which is created if need be.
/// Modification times of tar archives are kept, because makefiles go by them; so are executable bits.
///
/// # Errors
///
/// [`Error::Unpack`] when the archive is of another kind, damaged, or has a member outside of the directory.
pub fn unpack(archive: &Path, into: &Path) -> Result<()> {
    fs::create_dir_all(into).map_err(Error::io("create the directory", into))?;
    let file = BufReader::new(File::open(archive).map_err(Error::io("open", archive))?);
    let name = archive.to_string_lossy();
    if name.ends_with(".tar.xz") {
        unpack_tar(archive, lzma_rust2::XzReader::new(file, true), into)
    } else if name.ends_with(".tar.gz") || name.ends_with(".tgz") {
        unpack_tar(archive, flate2::bufread::MultiGzDecoder::new(file), into)
    } else if name.ends_with(".whl") || name.ends_with(".zip") {
        unpack_zip(archive, file, into)
    } else {
        Err(refuse(archive, "only .tar.xz, .tar.gz, .tgz, .zip and .whl can be unpacked"))
    }
}

/// The file `METADATA` of a wheel.
pub(crate) fn read_wheel_metadata(wheel: &Path) -> Result<String> {
    let file = BufReader::new(File::open(wheel).map_err(Error::io("open", wheel))?);
    let zip = ZipArchive::new(file).map_err(|error| refuse(wheel, error))?;
    let is_metadata = |name: &str| {
        name.split_once('/').is_some_and(|(top, file)| top.ends_with(".dist-info") && file == "METADATA")
    };
    let member = zip.file_names().filter_map(Result::ok).find(|name| is_metadata(name));
    let member = member.ok_or_else(|| refuse(wheel, "it has no METADATA"))?.into_owned();
    read_zip_member(wheel, &member)
}

/// The text of one member of a zip archive.
pub(super) fn read_zip_member(archive: &Path, member: &str) -> Result<String> {
    let file = BufReader::new(File::open(archive).map_err(Error::io("open", archive))?);
    let mut zip = ZipArchive::new(file).map_err(|error| refuse(archive, error))?;
    let mut member = zip.by_name(member).map_err(|error| refuse(archive, format!("{member}: {error}")))?;
    let mut text = String::new();
    member.read_to_string(&mut text).map_err(|error| refuse(archive, error))?;
    Ok(text)
}

fn unpack_tar(archive: &Path, reader: impl Read, into: &Path) -> Result<()> {
    let mut tar = tar::Archive::new(reader);
    tar.set_preserve_mtime(true);
    for entry in tar.entries().map_err(|error| refuse(archive, error))? {
        let mut entry = entry.map_err(|error| refuse(archive, error))?;
        let path = entry.path().map_err(|error| refuse(archive, error))?.into_owned();
        let outside = || refuse(archive, format!("{} is outside of the archive", path.display()));
        if !path.components().all(|it| matches!(it, Component::Normal(_) | Component::CurDir)) {
            return Err(outside());
        }
        // This also refuses what would be written through a symbolic link that leads elsewhere.
        if !entry.unpack_in(into).map_err(|error| explain(archive, &path, into, error))? {
            return Err(outside());
        }
    }
    Ok(())
}

fn unpack_zip(archive: &Path, reader: impl Read + io::Seek, into: &Path) -> Result<()> {
    let mut zip = ZipArchive::new(reader).map_err(|error| refuse(archive, error))?;
    for number in 0..zip.len() {
        let mut entry = zip.by_index(number).map_err(|error| refuse(archive, error))?;
        let name = entry.name().map_err(|error| refuse(archive, error))?.into_owned();
        let Some(relative) = entry.enclosed_name().filter(|_| !entry.is_symlink() && !name.starts_with('/'))
        else {
            return Err(refuse(archive, format!("{name} is outside of the archive or a link")));
        };
        let path = into.join(relative);
        if entry.is_dir() {
            fs::create_dir_all(&path).map_err(Error::io("create the directory", &path))?;
            continue;
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(Error::io("create the directory", parent))?;
        }
        let mut file = File::create(&path).map_err(Error::io("create", &path))?;
        io::copy(&mut entry, &mut file).map_err(|error| explain(archive, Path::new(&name), &path, error))?;
        make_executable(&file, &path, entry.unix_mode())?;
    }
    Ok(())
}

/// Zip archives have Unix modes if they were made on Unix. Only the executable bit counts; the rest is up to
/// the user.
#[cfg(unix)]
fn make_executable(file: &File, path: &Path, mode: Option<u32>) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;

    if mode.is_none_or(|mode| mode & 0o111 == 0) {
        return Ok(());
    }
    file.set_permissions(fs::Permissions::from_mode(0o755)).map_err(Error::io("make executable", path))
}

#[cfg(not(unix))]
fn make_executable(_: &File, _: &Path, _: Option<u32>) -> Result<()> {
    Ok(())
}

/// Tells a disk that cannot be written from an archive that cannot be read: reading a damaged one gives
/// errors without a number from the system.
fn explain(archive: &Path, member: &Path, target: &Path, error: io::Error) -> Error {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(cause) = source {
        if let Some(code) = cause.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return Error::io("unpack into", target)(io::Error::from_raw_os_error(code));
        }
        source = cause.source();
    }
    refuse(archive, format!("{}: {error}", member.display()))
}

fn refuse(archive: &Path, reason: impl ToString) -> Error {
    Error::Unpack { archive: archive.to_path_buf(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::path::PathBuf;

    /// A tar archive with files of these names. They are written into the header as they are, which the
    /// crate's own function would refuse for bad ones.
    fn tar_gz(directory: &Path, names: &[&str]) -> PathBuf {
        let mut tar = tar::Builder::new(Vec::new());
        for name in names {
            let mut header = tar::Header::new_ustar();
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_size(4);
            header.set_mode(if name.ends_with("configure") { 0o755 } else { 0o644 });
            header.set_mtime(1_000_000_000);
            header.set_cksum();
            tar.append(&header, &b"text"[..]).unwrap();
        }
        let path = directory.join("archive.tar.gz");
        let mut gzip =
            flate2::write::GzEncoder::new(File::create(&path).unwrap(), flate2::Compression::fast());
        gzip.write_all(&tar.into_inner().unwrap()).unwrap();
        gzip.finish().unwrap();
        path
    }

    fn wheel(directory: &Path, names: &[&str]) -> PathBuf {
        let path = directory.join("archive.whl");
        let mut zip = zip::ZipWriter::new(File::create(&path).unwrap());
        for name in names {
            let mode = if name.ends_with("configure") { 0o755 } else { 0o644 };
            zip.start_file(*name, zip::write::SimpleFileOptions::default().unix_permissions(mode)).unwrap();
            zip.write_all(b"text").unwrap();
        }
        zip.finish().unwrap();
        path
    }

    #[test]
    fn modes_and_times_are_kept() {
        use std::os::unix::fs::PermissionsExt as _;

        let directory = tempfile::tempdir().unwrap();
        let names = ["top/configure", "top/sub/file"];
        for archive in [tar_gz(directory.path(), &names), wheel(directory.path(), &names)] {
            let into = directory.path().join(archive.extension().unwrap());
            unpack(&archive, &into).unwrap();
            assert_eq!(fs::read_to_string(into.join("top/sub/file")).unwrap(), "text");
            let executable = |name| fs::metadata(into.join(name)).unwrap().permissions().mode() & 0o100 != 0;
            assert!(executable("top/configure") && !executable("top/sub/file"));
        }
        let modified = fs::metadata(directory.path().join("gz/top/configure")).unwrap().modified().unwrap();
        assert_eq!(modified, std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000));
    }

    #[test]
    fn members_outside_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let into = directory.path().join("a/b/c");
        for name in ["../outside", "x/../../outside", "/tmp/faasm-unpack-outside"] {
            for archive in [tar_gz(directory.path(), &[name]), wheel(directory.path(), &[name])] {
                let error = unpack(&archive, &into).unwrap_err();
                assert!(
                    matches!(&error, Error::Unpack { reason, .. } if reason.contains("outside")),
                    "{error:?}"
                );
            }
            assert!(!into.join(name).exists());
        }
    }

    #[test]
    fn links_that_lead_outside_are_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let (into, outside) = (directory.path().join("into"), directory.path().join("outside"));
        fs::create_dir(&outside).unwrap();
        let mut tar = tar::Builder::new(Vec::new());
        let mut link = tar::Header::new_gnu();
        link.set_entry_type(tar::EntryType::Symlink);
        link.set_size(0);
        tar.append_link(&mut link, "link", &outside).unwrap();
        let mut file = tar::Header::new_gnu();
        file.set_size(4);
        tar.append_data(&mut file, "link/file", &b"text"[..]).unwrap();
        let bytes = tar.into_inner().unwrap();
        let error = unpack_tar(Path::new("x.tar"), &bytes[..], &into).unwrap_err();
        assert!(matches!(error, Error::Unpack { .. }), "{error:?}");
        assert!(!outside.join("file").exists());
    }

    #[test]
    fn damaged_archives_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let whole = fs::read(tar_gz(directory.path(), &["file"])).unwrap();
        for name in ["cut.tar.gz", "cut.tar.xz", "cut.whl", "unknown.rar"] {
            let path = directory.path().join(name);
            fs::write(&path, &whole[..whole.len() / 2]).unwrap();
            let error = unpack(&path, &directory.path().join("into")).unwrap_err();
            assert!(matches!(&error, Error::Unpack { archive, .. } if *archive == path), "{error:?}");
        }
    }
}
