//! Numbers and structures of WASI preview 1, from its witx files.

use std::io;

use nix::errno::Errno as System;

/// An error number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Errno(u16);

macro_rules! errnos {
    ($($name:ident $system:ident $number:literal,)+) => {
        impl Errno {
            $(pub(crate) const $name: Self = Self($number);)+
        }

        impl From<System> for Errno {
            /// The system may count them in another way.
            fn from(error: System) -> Self {
                match error {
                    $(System::$system => Self::$name,)+
                    _ => Self::IO,
                }
            }
        }
    };
}

errnos! {
    ACCES EACCES 2,
    AGAIN EAGAIN 6,
    BADF EBADF 8,
    BUSY EBUSY 10,
    DQUOT EDQUOT 19,
    EXIST EEXIST 20,
    FBIG EFBIG 22,
    INTR EINTR 27,
    INVAL EINVAL 28,
    IO EIO 29,
    ISDIR EISDIR 31,
    LOOP ELOOP 32,
    MFILE EMFILE 33,
    MLINK EMLINK 34,
    NAMETOOLONG ENAMETOOLONG 37,
    NFILE ENFILE 41,
    NOENT ENOENT 44,
    NOLCK ENOLCK 46,
    NOMEM ENOMEM 48,
    NOSPC ENOSPC 51,
    NOSYS ENOSYS 52,
    NOTDIR ENOTDIR 54,
    NOTEMPTY ENOTEMPTY 55,
    NOTSOCK ENOTSOCK 57,
    NOTSUP ENOTSUP 58,
    PERM EPERM 63,
    ROFS EROFS 69,
    SPIPE ESPIPE 70,
    STALE ESTALE 72,
    TXTBSY ETXTBSY 74,
    XDEV EXDEV 75,
}

impl Errno {
    /// What a descriptor was not opened for. POSIX has no such number; the guest's C library makes it EBADF.
    pub(crate) const NOTCAPABLE: Self = Self(76);

    pub(crate) fn number(self) -> i32 {
        i32::from(self.0)
    }
}

impl From<io::Error> for Errno {
    fn from(error: io::Error) -> Self {
        match (error.raw_os_error(), error.kind()) {
            (Some(number), _) => System::from_raw(number).into(),
            // A path that leads out of a directory, as `cap-std` reports it.
            (None, io::ErrorKind::PermissionDenied) => Self::PERM,
            (None, _) => Self::IO,
        }
    }
}

/// What something in a directory is, as `filetype` numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileType {
    Unknown = 0,
    CharacterDevice = 2,
    Directory = 3,
    RegularFile = 4,
    SymbolicLink = 7,
}

/// `filestat`. Times are nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) kind: FileType,
    pub(crate) links: u64,
    pub(crate) size: u64,
    pub(crate) accessed: u64,
    pub(crate) modified: u64,
    pub(crate) changed: u64,
}

impl Stat {
    pub(crate) const SIZE: u32 = 64;

    pub(crate) fn to_bytes(self) -> [u8; Self::SIZE as usize] {
        let mut bytes = [0; Self::SIZE as usize];
        let kind = self.kind as u64;
        let fields = [self.device, self.inode, kind, self.links, self.size, self.accessed, self.modified];
        for (field, place) in fields.into_iter().chain([self.changed]).zip(bytes.chunks_exact_mut(8)) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }
}

/// Times that are to be set; `None` for those to be left as they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) accessed: Option<u64>,
    pub(crate) modified: Option<u64>,
}

/// `rights`: what a descriptor may be used for.
pub(crate) mod rights {
    pub(crate) const FD_DATASYNC: u64 = 1 << 0;
    pub(crate) const FD_READ: u64 = 1 << 1;
    pub(crate) const FD_SEEK: u64 = 1 << 2;
    pub(crate) const FD_FDSTAT_SET_FLAGS: u64 = 1 << 3;
    pub(crate) const FD_SYNC: u64 = 1 << 4;
    pub(crate) const FD_TELL: u64 = 1 << 5;
    pub(crate) const FD_WRITE: u64 = 1 << 6;
    pub(crate) const FD_ADVISE: u64 = 1 << 7;
    pub(crate) const FD_ALLOCATE: u64 = 1 << 8;
    pub(crate) const FD_READDIR: u64 = 1 << 14;
    pub(crate) const FD_FILESTAT_GET: u64 = 1 << 21;
    pub(crate) const FD_FILESTAT_SET_SIZE: u64 = 1 << 22;
    pub(crate) const FD_FILESTAT_SET_TIMES: u64 = 1 << 23;
    pub(crate) const POLL_FD_READWRITE: u64 = 1 << 27;
    /// Those whose names begin with `path_`.
    pub(crate) const PATHS: u64 = 0x3e00 | 0x1f_8000 | 0x700_0000;

    pub(crate) const FILE: u64 = FD_DATASYNC
        | FD_READ
        | FD_SEEK
        | FD_FDSTAT_SET_FLAGS
        | FD_SYNC
        | FD_TELL
        | FD_WRITE
        | FD_ADVISE
        | FD_ALLOCATE
        | FD_FILESTAT_GET
        | FD_FILESTAT_SET_SIZE
        | FD_FILESTAT_SET_TIMES
        | POLL_FD_READWRITE;
    pub(crate) const DIRECTORY: u64 = FD_DATASYNC
        | FD_READ
        | FD_FDSTAT_SET_FLAGS
        | FD_SYNC
        | FD_READDIR
        | FD_FILESTAT_GET
        | FD_FILESTAT_SET_TIMES
        | PATHS;
}

/// `oflags`: how a file is opened.
pub(crate) mod oflags {
    pub(crate) const CREATE: u32 = 1;
    pub(crate) const DIRECTORY: u32 = 2;
    pub(crate) const EXCLUSIVE: u32 = 4;
    pub(crate) const TRUNCATE: u32 = 8;
}

/// `fdflags`, as far as they change anything.
pub(crate) mod fdflags {
    pub(crate) const APPEND: u16 = 1;
    pub(crate) const ALL: u16 = 0x1f;
}
