//! The isolated environment that a package is built in: a native Python that says about itself what is true of the target.
//!
//! It has the native interpreter and library, the target's headers and configuration, and what the build backend is made of.
//! Setuptools and Meson ask `sysconfig` of the Python they run in, so that is all that they need to be told.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::requirements::Wheel;
use super::{Tools, wheel, wrapper};
use crate::cpython::{self, SHORT_VERSION, SYSCONFIG_DATA};
use crate::error::{Error, Result};
use crate::fs_util;
use crate::progress::Context;

/// Files that compilers and linkers read.
const FOR_COMPILERS: [&str; 7] = ["a", "h", "hpp", "ini", "pc", "pxd", "pxi"];

/// Macros without which wasi-libc hides what it only emulates.
const DEFINES: [&str; 4] = [
    "-D_WASI_EMULATED_GETPID",
    "-D_WASI_EMULATED_MMAN",
    "-D_WASI_EMULATED_PROCESS_CLOCKS",
    "-D_WASI_EMULATED_SIGNAL",
];

/// What setuptools compiles with. Meson brings its own.
const CFLAGS: &str = "-O3 -DNDEBUG -fwrapv";

/// What a build sets besides.
#[derive(Clone, Debug, Default)]
pub(super) struct Flags {
    pub(super) c: Vec<String>,
    pub(super) cxx: Vec<String>,
    pub(super) link: Vec<String>,
    /// Directories with `include` and `lib` of C libraries that are linked when the image is.
    pub(super) host: Vec<PathBuf>,
}

/// An environment on disk.
pub(super) struct Environment {
    root: PathBuf,
    variables: Vec<(String, String)>,
    /// Further variables, whose values need not be text.
    more: Vec<(String, OsString)>,
}

impl Environment {
    /// Lays one out in the directory `root`.
    pub(super) fn new(cx: &Context, tools: &Tools, flags: &Flags, root: &Path) -> Result<Self> {
        let library = root.join(cpython::library_path());
        for part in ["bin", "lib"] {
            fs_util::link_tree_except(&tools.native.prefix().join(part), &root.join(part), &[])?;
        }
        fs_util::link_tree_except(
            &tools.python.include(),
            &root.join(format!("include/python{SHORT_VERSION}")),
            &[],
        )?;
        for name in ["python", "python3"] {
            let link = root.join("bin").join(name);
            std::os::unix::fs::symlink(format!("python{SHORT_VERSION}"), &link)
                .map_err(Error::io("create the link", &link))?;
        }
        fs_util::link_or_copy(&cpython::zlib(cx, &tools.native)?, &library.join("lib-dynload/zlib.so"))?;
        let data = tools.python.sysconfig_data();
        let text = fs::read_to_string(&data).map_err(Error::io("read", &data))?;
        // Where the target's Python would be installed, had it been.
        let text = text.replace("/usr/local", &root.to_string_lossy());
        let data = library.join(SYSCONFIG_DATA);
        fs::write(&data, text).map_err(Error::io("write", &data))?;
        let site = library.join("site-packages");
        fs::create_dir_all(&site).map_err(Error::io("create the directory", &site))?;

        let mut environment = Self { root: root.to_path_buf(), variables: Vec::new(), more: Vec::new() };
        environment.variables = environment.variables(cx, tools, flags)?;
        environment.write_cross_file()?;
        Ok(environment)
    }

    pub(super) fn python(&self) -> PathBuf {
        self.root.join(format!("bin/python{SHORT_VERSION}"))
    }

    pub(super) fn site(&self) -> PathBuf {
        self.root.join(cpython::library_path()).join("site-packages")
    }

    /// Where Meson is to build.
    pub(super) fn build_directory(&self) -> PathBuf {
        self.root.join("build")
    }

    /// What Meson is to be told of the target.
    pub(super) fn cross_file(&self) -> PathBuf {
        self.root.join("cross.ini")
    }

    /// Installs a wheel.
    pub(super) fn install(&self, wheel: &Wheel) -> Result<()> {
        wheel::install(&wheel.path, &self.site(), &self.root.join("bin"), &self.python())
    }

    /// Puts what compilers read of a package for the target into the place of the same of a package for this machine, which the
    /// build imports to ask where its headers are.
    pub(super) fn overlay(&self, site: &Path) -> Result<()> {
        overlay(site, &self.site())
    }

    /// A command with the environment's programs and variables.
    pub(super) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.envs(self.more.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Sets further variables.
    pub(super) fn set(&mut self, variables: Vec<(String, OsString)>) {
        self.more.extend(variables);
    }

    fn variables(&self, cx: &Context, tools: &Tools, flags: &Flags) -> Result<Vec<(String, String)>> {
        let wrapper = wrapper::wrapper(cx)?;
        let native = crate::toolchain::native(cx)?;
        let program = |name: &str| wrapper.join(name).to_string_lossy().into_owned();
        let joined = |flags: &[String]| flags.join(wrapper::SEPARATOR);
        let host = |part: &str| flags.host.iter().map(move |it| it.join(part)).collect::<Vec<_>>();
        let paths = |paths: &[PathBuf]| {
            let joined = std::env::join_paths(paths);
            joined.map(|it| it.to_string_lossy().into_owned()).map_err(|error| Error::Lookup {
                what: "a place for the build".to_owned(),
                reason: error.to_string(),
            })
        };
        let mut path = vec![self.root.join("bin"), wrapper.clone()];
        path.extend(host("bin"));
        path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));

        let mut compile: Vec<String> = DEFINES.map(str::to_owned).into();
        compile.extend(["-isystem".to_owned(), tools.substitutes.include.display().to_string()]);
        compile.extend(tools.cxx.compile.iter().cloned());
        compile.extend(flags.c.iter().cloned());
        compile.extend(host("include").iter().map(|it| format!("-I{}", it.display())));
        let mut cxx = tools.cxx.flags.clone();
        cxx.extend(flags.cxx.iter().cloned());
        let mut link = flags.link.clone();
        link.extend(host("lib").iter().map(|it| format!("-L{}", it.display())));
        link.extend(
            [
                "-lwasi-emulated-signal",
                "-lwasi-emulated-getpid",
                "-lwasi-emulated-process-clocks",
                "-lwasi-emulated-mman",
            ]
            .map(str::to_owned),
        );
        // A program of a probe that is C++ needs the library; one that is C does not mind it.
        link.extend(tools.cxx.libraries.iter().map(|it| it.display().to_string()));
        link.push(tools.substitutes.archive.display().to_string());

        let data = SYSCONFIG_DATA.trim_end_matches(".py");
        Ok([
            ("PATH", paths(&path)?),
            ("CC", program("cc")),
            ("CXX", program("c++")),
            ("AR", program("ar")),
            ("RANLIB", program("ranlib")),
            ("LD", program("ld")),
            ("STRIP", program("strip")),
            ("LDSHARED", format!("{} -shared", program("cc"))),
            ("LDCXXSHARED", format!("{} -shared", program("c++"))),
            ("CC_FOR_BUILD", native.cc().to_string_lossy().into_owned()),
            ("CXX_FOR_BUILD", native.cxx().to_string_lossy().into_owned()),
            // The compiler knows these directories. Some packages look themselves for the libraries that they are built with, and
            // into these variables for where to look.
            ("CFLAGS", format!("{CFLAGS}{}", search("-I", &host("include")))),
            ("CXXFLAGS", CFLAGS.to_owned()),
            ("LDFLAGS", search("-L", &host("lib")).trim_start().to_owned()),
            ("PKG_CONFIG_LIBDIR", paths(&host("lib/pkgconfig"))?),
            ("PYTHONNOUSERSITE", "1".to_owned()),
            ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
            ("SOURCE_DATE_EPOCH", cpython::RELEASED.to_owned()),
            ("_PYTHON_HOST_PLATFORM", "wasi-wasm32".to_owned()),
            ("_PYTHON_SYSCONFIGDATA_NAME", data.to_owned()),
            ("FAASM_CPYTHON_SOURCE", tools.python.source.to_string_lossy().into_owned()),
            ("FAASM_TOOLCHAIN", tools.toolchain.bin().to_string_lossy().into_owned()),
            ("FAASM_IMAGE_LIBRARIES", paths(&host("lib"))?),
            ("FAASM_COMPILE_FLAGS", joined(&compile)),
            ("FAASM_CXX_FLAGS", joined(&cxx)),
            ("FAASM_LINK_FLAGS", joined(&link)),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into())
    }

    fn write_cross_file(&self) -> Result<()> {
        let program = |name: &str| {
            let found = self.variables.iter().find(|(variable, _)| variable == name);
            found.map(|(_, value)| value.as_str()).unwrap_or_default()
        };
        let text = format!(
            "[binaries]\nc = '{}'\ncpp = '{}'\nar = '{}'\nranlib = '{}'\nstrip = '{}'\ncython = '{}'\npython = '{}'\n\
             numpy-config = '{}'\npkg-config = 'pkg-config'\n\n\
             [properties]\nneeds_exe_wrapper = true\nskip_sanity_check = true\nlongdouble_format = 'IEEE_QUAD_LE'\n\n\
             [host_machine]\nsystem = 'wasi'\ncpu_family = 'wasm32'\ncpu = 'wasm32'\nendian = 'little'\n",
            program("CC"),
            program("CXX"),
            program("AR"),
            program("RANLIB"),
            program("STRIP"),
            self.root.join("bin/cython").display(),
            self.python().display(),
            self.root.join("bin/numpy-config").display(),
        );
        let path = self.cross_file();
        fs::write(&path, text).map_err(Error::io("write", &path))
    }
}

/// The flags by which a program finds what lies in directories, as they are written in `CFLAGS` and `LDFLAGS`.
fn search(option: &str, directories: &[PathBuf]) -> String {
    directories.iter().map(|it| format!(" {option}{}", it.display())).collect()
}

fn overlay(from: &Path, to: &Path) -> Result<()> {
    for path in fs_util::entries(from)? {
        let target = to.join(path.file_name().unwrap_or_default());
        let extension = path.extension().unwrap_or_default();
        if path.is_dir() {
            overlay(&path, &target)?;
        } else if FOR_COMPILERS.iter().any(|it| extension == *it) {
            fs::create_dir_all(to).map_err(Error::io("create the directory", to))?;
            // What is there may be a link to what others use as well.
            if target.exists() {
                fs::remove_file(&target).map_err(Error::io("remove", &target))?;
            }
            fs_util::link_or_copy(&path, &target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_the_target_take_the_place_of_the_machines() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for (name, text) in [
            ("native/a/__init__.py", "native"),
            ("native/a/include/a.h", "native"),
            ("native/a/include/b.h", "native"),
            ("target/a/__init__.py", "target"),
            ("target/a/include/a.h", "target"),
            ("target/a/lib/c.a", "target"),
        ] {
            fs::create_dir_all(path(name).parent().unwrap()).unwrap();
            fs::write(path(name), text).unwrap();
        }
        overlay(&path("target"), &path("native")).unwrap();
        for (name, expected) in [
            ("__init__.py", "native"),
            ("include/a.h", "target"),
            ("include/b.h", "native"),
            ("lib/c.a", "target"),
        ] {
            assert_eq!(fs::read_to_string(path("native/a").join(name)).unwrap(), expected, "{name}");
        }
    }
}
