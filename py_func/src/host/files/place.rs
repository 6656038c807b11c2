//! Where a path leads: one tree for the guest, made of several file systems.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use super::Files;
use super::types::{Errno, FileType, Stat};
use super::volume::{Inode, TOP};
use crate::host::abi::FAASM_READ_ONLY_DEVICE;

/// Directories of the guest's `/` that are file systems of their own.
pub(super) const DEVICES: &[u8] = b"dev";
pub(super) const TMP: &[u8] = b"tmp";
pub(super) const PACKAGE: &[u8] = b"function";
pub(super) const SHARED: &[u8] = b"shared";

/// What `st_dev` is; those of trees in memory are less, but for a bit by which the guest knows what is read-only.
const READ_ONLY: u64 = FAASM_READ_ONLY_DEVICE as u64;
const DEVICES_DEVICE: u64 = 4;
pub(super) const SHARED_DEVICE: u64 = 5;

/// The longest path and the longest name in it, in bytes.
const LONGEST_PATH: usize = 4096;
const LONGEST_NAME: usize = 255;

/// How many symbolic links one path may lead through.
const MOST_LINKS: u32 = 32;

/// A file or directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Volume(Which, Inode),
    /// The directory of devices.
    Devices,
    Device(Device),
    /// Below the user's shared files. What it is, or whether it is there, was not asked.
    Shared(PathBuf),
}

/// Which of the trees in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// The image's library.
    Root,
    /// The function's own files.
    Package,
    /// The private files of the call.
    Tmp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Device {
    Null,
    Zero,
    Random,
    Input,
    /// Standard output is 0, standard error 1.
    Output(usize),
}

/// Their names. Where one has two, the last is a name only.
pub(super) const DEVICE_NAMES: [(&[u8], Device); 7] = [
    (b"null", Device::Null),
    (b"random", Device::Random),
    (b"stderr", Device::Output(1)),
    (b"stdin", Device::Input),
    (b"stdout", Device::Output(0)),
    (b"urandom", Device::Random),
    (b"zero", Device::Zero),
];

pub(super) const ROOT: Place = Place::Volume(Which::Root, TOP);

/// What a path names.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) parent: Place,
    /// Its name in there. Empty where the path ends with `..` or is a directory's own.
    pub(super) name: Vec<u8>,
    /// `None` if there is nothing by that name.
    pub(super) place: Option<Place>,
    /// Whether the path says that it is a directory.
    pub(super) is_directory: bool,
}

impl Files {
    /// Follows a path from a directory on. `follow` says whether the last name may be that of a symbolic link.
    pub(super) fn resolve(&self, from: &Place, path: &[u8], follow: bool) -> Result<Found, Errno> {
        if path.is_empty() {
            return Err(Errno::NOENT);
        }
        if path.contains(&0) {
            return Err(Errno::INVAL);
        }
        if path.len() > LONGEST_PATH {
            return Err(Errno::NAMETOOLONG);
        }
        let is_directory = [b"/".as_slice(), b"/.", b"/.."].iter().any(|end| path.ends_with(end))
            || path == b"."
            || path == b"..";
        let mut here = if path.starts_with(b"/") { ROOT } else { from.clone() };
        // The last one is the next.
        let mut rest: Vec<Vec<u8>> = Vec::new();
        push(&mut rest, path);
        let mut links = 0;
        while let Some(name) = rest.pop() {
            if name == b".." {
                here = self.parent(&here)?;
                continue;
            }
            if name.len() > LONGEST_NAME {
                return Err(Errno::NAMETOOLONG);
            }
            let is_last = rest.is_empty();
            let Some(place) = self.enter(&here, &name)? else {
                if is_last {
                    return Ok(Found { parent: here, name, place: None, is_directory });
                }
                return Err(Errno::NOENT);
            };
            if (!is_last || follow || is_directory)
                && let Some(target) = self.target(&place)
            {
                links += 1;
                if links > MOST_LINKS {
                    return Err(Errno::LOOP);
                }
                if target.starts_with(b"/") {
                    here = ROOT;
                }
                push(&mut rest, target);
                continue;
            }
            if is_last {
                return Ok(Found { parent: here, name, place: Some(place), is_directory });
            }
            here = place;
        }
        Ok(Found { parent: here.clone(), name: Vec::new(), place: Some(here), is_directory })
    }

    /// What a directory has by a name.
    fn enter(&self, directory: &Place, name: &[u8]) -> Result<Option<Place>, Errno> {
        Ok(match directory {
            place if *place == ROOT && self.mounted(name).is_some() => self.mounted(name),
            Place::Volume(which, inode) => {
                self.volume(*which)?.lookup(*inode, name)?.map(|inode| Place::Volume(*which, inode))
            }
            Place::Devices => {
                let device = DEVICE_NAMES.iter().find(|(known, _)| *known == name);
                device.map(|(_, device)| Place::Device(*device))
            }
            Place::Device(_) => return Err(Errno::NOTDIR),
            Place::Shared(path) => Some(Place::Shared(path.join(OsStr::from_bytes(name)))),
        })
    }

    fn parent(&self, place: &Place) -> Result<Place, Errno> {
        Ok(match place {
            Place::Volume(_, TOP) | Place::Devices => ROOT,
            Place::Volume(which, inode) => Place::Volume(*which, self.volume(*which)?.parent(*inode)?),
            Place::Device(_) => return Err(Errno::NOTDIR),
            Place::Shared(path) => {
                if self.stat_place(place)?.kind != FileType::Directory {
                    return Err(Errno::NOTDIR);
                }
                path.parent().map_or(ROOT, |parent| Place::Shared(parent.to_path_buf()))
            }
        })
    }

    /// The file system by that name, if there is one.
    fn mounted(&self, name: &[u8]) -> Option<Place> {
        match name {
            DEVICES => Some(Place::Devices),
            TMP => Some(Place::Volume(Which::Tmp, TOP)),
            PACKAGE if self.package.is_some() => Some(Place::Volume(Which::Package, TOP)),
            SHARED if self.shared.is_some() => Some(Place::Shared(PathBuf::new())),
            _ => None,
        }
    }

    /// The names of file systems that there are.
    pub(super) fn mounts(&self) -> impl Iterator<Item = (&'static [u8], Place)> {
        [DEVICES, PACKAGE, SHARED, TMP].into_iter().filter_map(|name| Some((name, self.mounted(name)?)))
    }

    /// Where a symbolic link leads.
    pub(super) fn target(&self, place: &Place) -> Option<&[u8]> {
        match place {
            Place::Volume(which, inode) => self.volume(*which).ok()?.target(*inode),
            _ => None,
        }
    }

    pub(super) fn stat_place(&self, place: &Place) -> Result<Stat, Errno> {
        let (device, stat) = match place {
            Place::Volume(which, inode) => (which.device(), self.volume(*which)?.stat(*inode)?),
            Place::Devices => (DEVICES_DEVICE, stat_device(1, FileType::Directory)),
            Place::Device(device) => (DEVICES_DEVICE, stat_device(device.inode(), FileType::CharacterDevice)),
            Place::Shared(path) => (SHARED_DEVICE, self.shared()?.stat(path)?),
        };
        Ok(Stat { device, ..stat })
    }
}

impl Which {
    pub(super) fn device(self) -> u64 {
        match self {
            Self::Root => 1 | READ_ONLY,
            Self::Package => 2 | READ_ONLY,
            Self::Tmp => 3,
        }
    }
}

impl Device {
    fn inode(self) -> u64 {
        match self {
            Self::Null => 2,
            Self::Zero => 3,
            Self::Random => 4,
            Self::Input => 5,
            Self::Output(index) => 6 + index as u64,
        }
    }
}

/// A device has no time, and no size.
fn stat_device(inode: u64, kind: FileType) -> Stat {
    Stat { device: DEVICES_DEVICE, inode, kind, links: 1, size: 0, accessed: 0, modified: 0, changed: 0 }
}

/// Puts the names of a path in front of those that are to be followed yet.
fn push(rest: &mut Vec<Vec<u8>>, path: &[u8]) {
    let names = path.split(|&byte| byte == b'/').filter(|name| !matches!(name, [] | [b'.']));
    rest.extend(names.rev().map(<[u8]>::to_vec));
}
