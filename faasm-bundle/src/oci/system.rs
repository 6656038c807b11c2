//! What a program needs of an operating system: its libraries and loader, users, certificates.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::layer::Layer;
use super::{HOME, USER};
use crate::error::{Error, Result};

/// Where distributions keep the certificates of authorities, for object stores.
const CERTIFICATES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// The place at which programs look first.
const CERTIFICATES_HERE: &str = "etc/ssl/certs/ca-certificates.crt";

/// Adds what a program needs. Its libraries are copied from this machine, each to the place where it is here.
pub(super) fn add(layer: &mut Layer, program: &Path) -> Result<()> {
    for path in ["dev", "etc", "proc", "run", "sys", "usr/bin", "var/lib"] {
        layer.directory(path, 0o755, 0);
    }
    layer.directory("tmp", 0o1777, 0);
    layer.directory(HOME.trim_start_matches('/'), 0o750, USER);
    let passwd =
        format!("root:x:0:0:root:/:/sbin/nologin\nnonroot:x:{USER}:{USER}:nonroot:{HOME}:/sbin/nologin\n");
    layer.bytes("etc/passwd", passwd.into_bytes(), 0o644)?;
    layer.bytes("etc/group", format!("root:x:0:\nnonroot:x:{USER}:\n").into_bytes(), 0o644)?;
    layer.bytes("etc/nsswitch.conf", b"hosts: files dns\n".to_vec(), 0o644)?;
    if let Some(path) = CERTIFICATES.iter().map(Path::new).find(|it| it.is_file()) {
        layer.file(CERTIFICATES_HERE, path, 0o644)?;
    }
    let elf = fs::read(program).map_err(Error::io("read", program))?;
    let Some(loader) = Elf::new(&elf).and_then(|it| it.interpreter()) else { return Ok(()) };
    for library in libraries(program, &loader)? {
        let path = library.to_string_lossy();
        layer.file(path.trim_start_matches('/'), &library, 0o755)?;
    }
    Ok(())
}

/// The name that container images have for the processor that a program is for.
pub(super) fn architecture(program: &Path) -> Result<&'static str> {
    let elf = fs::read(program).map_err(Error::io("read", program))?;
    // `e_machine` of the ELF specification's supplements.
    match Elf::new(&elf).and_then(|it| it.u16(18)) {
        Some(62) => Ok("amd64"),
        Some(183) => Ok("arm64"),
        Some(243) => Ok("riscv64"),
        Some(22) => Ok("s390x"),
        _ => {
            let reason = "it is no program for Linux of 64 bits".to_owned();
            Err(Error::Content { name: program.display().to_string(), reason })
        }
    }
}

/// The loader of a program and the libraries that it loads, as the loader itself finds them.
fn libraries(program: &Path, loader: &Path) -> Result<Vec<PathBuf>> {
    let refuse = |reason: String| Error::Content { name: program.display().to_string(), reason };
    let output = Command::new(loader).arg("--list").arg(program).output();
    let output = output.map_err(Error::io("run", loader))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let reason = format!("its loader says {}", String::from_utf8_lossy(&output.stderr).trim());
        return Err(refuse(reason));
    }
    let mut found = vec![loader.to_path_buf()];
    for line in text.lines() {
        if line.contains("=> not found") {
            return Err(refuse(format!("a library is missing here: {}", line.trim())));
        }
        let path = line.split_once("=> ").map_or(line, |it| it.1).trim();
        let path = path.split(" (").next().unwrap_or_default();
        if path.starts_with('/') {
            found.push(path.into());
        }
    }
    Ok(found)
}

/// A program in the Executable and Linking Format, of 64 bits.
struct Elf<'a>(&'a [u8]);

impl<'a> Elf<'a> {
    fn new(bytes: &'a [u8]) -> Option<Self> {
        // Magic number and class.
        bytes.starts_with(b"\x7fELF\x02").then_some(Self(bytes))
    }

    /// The loader that the program asks for. A static program has none.
    fn interpreter(&self) -> Option<PathBuf> {
        const PT_INTERP: u64 = 3;
        let (headers, size, count) =
            (self.number(32, 8)?, u64::from(self.u16(54)?), u64::from(self.u16(56)?));
        let mut entries = (0..count).filter_map(|index| headers.checked_add(index.checked_mul(size)?));
        let header = entries.find(|&at| self.number(at, 4) == Some(PT_INTERP))?;
        let (offset, len) =
            (self.number(header.checked_add(8)?, 8)?, self.number(header.checked_add(32)?, 8)?);
        let text = self.bytes(offset, len)?.strip_suffix(b"\0")?;
        Some(std::str::from_utf8(text).ok()?.into())
    }

    fn u16(&self, at: u64) -> Option<u16> {
        self.number(at, 2)?.try_into().ok()
    }

    /// A number in the byte order that the header says.
    fn number(&self, at: u64, len: u64) -> Option<u64> {
        let bytes = self.bytes(at, len)?.iter();
        let add = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Some(if self.0.get(5) == Some(&2) { bytes.fold(0, add) } else { bytes.rev().fold(0, add) })
    }

    fn bytes(&self, at: u64, len: u64) -> Option<&'a [u8]> {
        let (at, len) = (usize::try_from(at).ok()?, usize::try_from(len).ok()?);
        self.0.get(at..at.checked_add(len)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn this_program_is_understood() {
        let program = std::env::current_exe().unwrap();
        assert!(["amd64", "arm64", "riscv64", "s390x"].contains(&architecture(&program).unwrap()));
        let mut layer = Layer::default();
        add(&mut layer, &program).unwrap();
        let elf = fs::read(&program).unwrap();
        if let Some(loader) = Elf::new(&elf).unwrap().interpreter() {
            let found = libraries(&program, &loader).unwrap();
            assert!(found.iter().any(|it| it.to_string_lossy().contains("libc.")), "{found:?}");
        }
    }

    #[test]
    fn what_is_no_program_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        for content in [&b""[..], b"#!/bin/sh", b"\x7fELF\x01", b"\x7fELF\x02"] {
            fs::write(&path, content).unwrap();
            assert!(architecture(&path).is_err());
            assert_eq!(Elf::new(content).and_then(|it| it.interpreter()), None);
        }
    }
}
