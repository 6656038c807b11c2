//! The files of a call by themselves, without a guest: what each operation does, and in long random sequences the same as the
//! host's own file system.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use super::*;

const READ: u64 = rights::FD_READ | rights::FD_SEEK | rights::FD_TELL | rights::FD_READDIR | rights::PATHS;
const BOTH: u64 = READ | rights::FD_WRITE | rights::FD_FILESTAT_SET_SIZE | rights::FD_ALLOCATE;
const CREATE: u32 = oflags::CREATE;
const LIMIT: u64 = 1 << 20;

fn files() -> Files {
    with_shared(None)
}

fn with_shared(shared: Option<UserFiles>) -> Files {
    let mut root = Volume::new(u64::MAX);
    let lib = root.create_directory(TOP, b"lib").unwrap();
    root.create_file(lib, b"os.py", b"import sys\n".to_vec()).unwrap();
    let library = Library { directory: PathBuf::new(), volume: OnceLock::from(Arc::new(root)) };
    let mut package = Volume::new(u64::MAX);
    package.create_file(TOP, b"main.py", b"pass\n".to_vec()).unwrap();
    Files::new(&library, Some(Arc::new(package)), shared, LIMIT, 100)
}

fn open(files: &mut Files, path: &str, how: u32, base: u64) -> Result<u32, Errno> {
    files.open_path(ROOT_DESCRIPTOR, (path.as_bytes(), true), how, (base, u64::MAX), 0)
}

fn write(files: &mut Files, path: &str, content: &[u8]) -> Result<(), Errno> {
    let descriptor = open(files, path, CREATE | oflags::TRUNCATE, BOTH)?;
    let written = files.write(descriptor, None, content);
    files.close(descriptor)?;
    assert_eq!(written?, content.len());
    Ok(())
}

fn read(files: &mut Files, path: &str) -> Result<Vec<u8>, Errno> {
    let descriptor = open(files, path, 0, READ)?;
    let mut bytes = vec![0; 1 << 16];
    let count = files.read(descriptor, None, &mut bytes);
    files.close(descriptor)?;
    bytes.truncate(count?);
    Ok(bytes)
}

fn names(files: &mut Files, path: &str) -> Result<Vec<String>, Errno> {
    let descriptor = open(files, path, oflags::DIRECTORY, READ)?;
    let names = list(files, descriptor, 4096);
    files.close(descriptor)?;
    names
}

/// All names that a descriptor lists, without `.` and `..`, read with buffers of this size.
fn list(files: &mut Files, descriptor: u32, size: usize) -> Result<Vec<String>, Errno> {
    let (mut names, mut cookie) = (Vec::new(), 0);
    loop {
        let mut buffer = vec![0; size];
        let filled = files.list(descriptor, cookie, &mut buffer)?;
        let mut rest = &buffer[..filled];
        while rest.len() > 24 {
            let length = u32::from_le_bytes(rest[16..20].try_into().unwrap()) as usize;
            let Some(name) = rest[24..].get(..length) else { break };
            names.push(String::from_utf8(name.to_vec()).unwrap());
            cookie = u64::from_le_bytes(rest[..8].try_into().unwrap());
            rest = &rest[24 + length..];
        }
        if filled < size {
            names.retain(|name| name != "." && name != "..");
            return Ok(names);
        }
    }
}

#[test]
fn the_tree() {
    let mut files = files();
    assert_eq!(names(&mut files, ".").unwrap(), ["dev", "function", "tmp", "lib"]);
    assert_eq!(names(&mut files, "tmp").unwrap(), [""; 0]);
    assert_eq!(read(&mut files, "lib/os.py").unwrap(), b"import sys\n");
    assert_eq!(read(&mut files, "/function/../tmp/../lib//./os.py").unwrap(), b"import sys\n");
    assert_eq!(read(&mut files, "../../function/main.py").unwrap(), b"pass\n");
    for (path, error) in [
        ("", Errno::NOENT),
        ("missing", Errno::NOENT),
        ("missing/..", Errno::NOENT),
        ("lib/os.py/..", Errno::NOTDIR),
        ("lib/os.py/", Errno::NOTDIR),
        ("dev/null/x", Errno::NOTDIR),
        ("shared", Errno::NOENT),
        ("a\0b", Errno::INVAL),
        (&"x".repeat(256), Errno::NAMETOOLONG),
        (&"x/".repeat(2049), Errno::NAMETOOLONG),
    ] {
        assert_eq!(open(&mut files, path, 0, READ), Err(error), "{path:?}");
    }
    let inodes =
        [".", "lib", "lib/os.py", "tmp", "function", "function/main.py", "dev", "dev/null", "dev/zero"];
    let mut seen: Vec<_> = inodes
        .iter()
        .map(|path| files.stat_path(ROOT_DESCRIPTOR, path.as_bytes(), true).unwrap())
        .map(|stat| (stat.device, stat.inode))
        .collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), inodes.len());
}

#[test]
fn nothing_but_tmp_can_be_changed() {
    let mut files = files();
    for path in ["lib/os.py", "function/main.py"] {
        assert_eq!(open(&mut files, path, 0, BOTH), Err(Errno::ROFS));
        assert_eq!(open(&mut files, path, oflags::TRUNCATE, READ), Err(Errno::ROFS));
        assert_eq!(files.unlink(ROOT_DESCRIPTOR, path.as_bytes()), Err(Errno::ROFS));
        assert_eq!(files.rename((3, path.as_bytes()), (3, b"tmp/x")), Err(Errno::ROFS));
        let times = Times { accessed: Some(1), modified: None };
        assert_eq!(files.set_times_path(3, path.as_bytes(), true, times), Err(Errno::ROFS));
    }
    write(&mut files, "tmp/file", b"x").unwrap();
    for directory in ["", "lib/", "function/", "dev/"] {
        let new = format!("{directory}new");
        assert_eq!(open(&mut files, &new, CREATE, BOTH), Err(Errno::ROFS));
        assert_eq!(files.create_directory(3, new.as_bytes()), Err(Errno::ROFS));
        assert_eq!(files.symlink(b"x", 3, new.as_bytes()), Err(Errno::ROFS));
        assert_eq!(files.rename((3, b"tmp/file"), (3, new.as_bytes())), Err(Errno::ROFS));
        assert_eq!(files.link((3, b"tmp/file", false), (3, new.as_bytes())), Err(Errno::ROFS));
    }
    for mount in ["tmp", "dev", "function", "."] {
        assert!(files.remove_directory(3, mount.as_bytes()).is_err(), "{mount}");
        assert!(files.rename((3, mount.as_bytes()), (3, b"tmp/x")).is_err(), "{mount}");
        assert!(files.rename((3, b"tmp/file"), (3, mount.as_bytes())).is_err(), "{mount}");
    }
    assert_eq!(files.link((3, b"lib/os.py", false), (3, b"tmp/os.py")), Err(Errno::XDEV));
}

#[test]
fn descriptors() {
    let mut files = files();
    assert_eq!(files.close(ROOT_DESCRIPTOR), Err(Errno::NOTSUP));
    assert_eq!(files.duplicate(0, ROOT_DESCRIPTOR, true), Err(Errno::NOTSUP));
    assert_eq!(files.close(4), Err(Errno::BADF));
    let first = open(&mut files, "tmp/f", CREATE, BOTH).unwrap();
    assert_eq!(first, 4);
    assert_eq!(files.duplicate(first, 0, false), Ok(5));
    assert_eq!(files.duplicate(first, 200, true), Ok(200));
    assert_eq!(files.duplicate(first, 200, true), Ok(200));
    assert_eq!(files.duplicate(first, 256, true), Err(Errno::BADF));
    assert_eq!(files.duplicate(first, 256, false), Err(Errno::INVAL));
    assert_eq!(files.duplicate(17, 18, true), Err(Errno::BADF));
    // All have one offset.
    files.write(first, None, b"ab").unwrap();
    files.write(200, None, b"cd").unwrap();
    assert_eq!(files.seek(5, 0, Whence::Current), Ok(4));
    files.renumber(200, 5).unwrap();
    assert_eq!(files.write(200, None, b"x"), Err(Errno::BADF));
    files.close(first).unwrap();
    assert_eq!(files.seek(5, -4, Whence::End), Ok(0));
    let mut bytes = [0; 4];
    assert_eq!((files.read(5, None, &mut bytes), &bytes), (Ok(4), b"abcd"));
    assert_eq!(files.renumber(5, 77), Err(Errno::BADF));
    files.close(5).unwrap();

    // As many as there may be, and again.
    for _ in 0..2 {
        let all: Vec<u32> = std::iter::from_fn(|| open(&mut files, "tmp/f", 0, READ).ok()).collect();
        assert_eq!(all, (4..256).collect::<Vec<u32>>());
        assert_eq!(open(&mut files, "tmp/g", CREATE, BOTH), Err(Errno::MFILE));
        assert_eq!(files.duplicate(4, 0, false), Err(Errno::MFILE));
        all.into_iter().for_each(|descriptor| files.close(descriptor).unwrap());
    }
    assert_eq!(names(&mut files, "tmp").unwrap(), ["f"], "what could not be opened was not created");
}

#[test]
fn rights_are_kept() {
    let mut files = files();
    write(&mut files, "tmp/f", b"abc").unwrap();
    let reader = open(&mut files, "tmp/f", 0, READ).unwrap();
    assert_eq!(files.write(reader, None, b"x"), Err(Errno::NOTCAPABLE));
    assert_eq!(files.resize(reader, 0), Err(Errno::INVAL));
    let writer = open(&mut files, "tmp/f", 0, BOTH & !rights::FD_READ).unwrap();
    assert_eq!(files.read(writer, None, &mut [0; 4]), Err(Errno::NOTCAPABLE));
    files.set_rights(writer, rights::FD_TELL, 0).unwrap();
    assert_eq!(files.write(writer, None, b"x"), Err(Errno::NOTCAPABLE));
    assert_eq!(files.set_rights(writer, rights::FD_WRITE, 0), Err(Errno::NOTCAPABLE));
    assert_eq!(files.list(reader, 0, &mut [0; 100]), Err(Errno::NOTCAPABLE));
    assert_eq!(files.write(0, None, b"x"), Err(Errno::NOTCAPABLE));
    assert_eq!(files.read(1, None, &mut [0; 4]), Err(Errno::NOTCAPABLE));
}

#[test]
fn devices() {
    let mut files = files();
    let mut bytes = [7; 8];
    for (path, count, expected) in [("null", 0, 7), ("stdin", 0, 7), ("zero", 8, 0)] {
        let device = open(&mut files, &format!("dev/{path}"), 0, READ).unwrap();
        assert_eq!((files.read(device, None, &mut bytes), bytes), (Ok(count), [expected; 8]), "{path}");
        bytes = [7; 8];
    }
    for path in ["random", "urandom"] {
        let device = open(&mut files, &format!("dev/{path}"), 0, BOTH).unwrap();
        assert_eq!(files.read(device, None, &mut bytes), Ok(8));
        assert_ne!(bytes, [7; 8]);
        assert_eq!(files.write(device, None, b"x"), Ok(1));
    }
    let out = open(&mut files, "dev/stdout", oflags::TRUNCATE, BOTH).unwrap();
    files.write(out, None, b"out").unwrap();
    files.write(1, None, b"put").unwrap();
    assert_eq!(files.seek(1, 0, Whence::Current), Err(Errno::SPIPE));
    assert!(!files.flooded());
    assert_eq!(files.write(2, None, &[b'e'; 101]), Ok(100));
    assert!(files.flooded());
    assert_eq!(files.into_outputs(), [b"output".to_vec(), vec![b'e'; 100]]);
}

#[test]
fn links_are_followed_where_they_may_be() {
    let mut files = files();
    write(&mut files, "tmp/f", b"abc").unwrap();
    files.create_directory(3, b"tmp/d").unwrap();
    for (target, name) in [
        ("f", "near"),
        ("/lib/os.py", "far"),
        ("../tmp/near", "chain"),
        ("self", "self"),
        ("missing", "broken"),
        ("d", "directory"),
    ] {
        files.symlink(target.as_bytes(), 3, format!("tmp/{name}").as_bytes()).unwrap();
    }
    assert_eq!(files.symlink(b"x", 3, b"tmp/f"), Err(Errno::EXIST));
    assert_eq!(read(&mut files, "tmp/near").unwrap(), b"abc");
    assert_eq!(read(&mut files, "tmp/chain").unwrap(), b"abc");
    assert_eq!(read(&mut files, "tmp/far").unwrap(), b"import sys\n");
    assert_eq!(read(&mut files, "tmp/self"), Err(Errno::LOOP));
    assert_eq!(read(&mut files, "tmp/broken"), Err(Errno::NOENT));
    // What is made through a link is made where it leads.
    write(&mut files, "tmp/broken", b"x").unwrap();
    assert_eq!(read(&mut files, "tmp/missing").unwrap(), b"x");
    write(&mut files, "tmp/directory/g", b"y").unwrap();
    assert_eq!(names(&mut files, "tmp/d").unwrap(), ["g"]);
    assert_eq!(files.open_path(3, (b"tmp/near", false), 0, (READ, 0), 0), Err(Errno::LOOP));
    assert_eq!(
        files.open_path(3, (b"tmp/self", true), CREATE | oflags::EXCLUSIVE, (BOTH, 0), 0),
        Err(Errno::EXIST)
    );
    assert_eq!(files.read_link(3, b"tmp/chain").unwrap(), b"../tmp/near");
    assert_eq!(files.read_link(3, b"tmp/f"), Err(Errno::INVAL));
    let stat = |files: &Files, follow| files.stat_path(3, b"tmp/near", follow).unwrap().kind;
    assert_eq!((stat(&files, false), stat(&files, true)), (FileType::SymbolicLink, FileType::RegularFile));
}

#[test]
fn what_is_open_stays() {
    let mut files = files();
    let file = open(&mut files, "tmp/f", CREATE, BOTH).unwrap();
    files.write(file, None, &[1; 1000]).unwrap();
    let used = files.tmp.used();
    files.unlink(3, b"tmp/f").unwrap();
    assert!(files.tmp.used() > used - 1000, "it takes room for as long as it is open");
    assert_eq!(files.stat(file).unwrap().links, 0);
    assert_eq!(files.read(file, Some(999), &mut [0; 2]), Ok(1));
    files.close(file).unwrap();
    assert_eq!(files.tmp.used(), 0);

    files.create_directory(3, b"tmp/d").unwrap();
    let directory = open(&mut files, "tmp/d", oflags::DIRECTORY, READ).unwrap();
    files.remove_directory(3, b"tmp/d").unwrap();
    assert_eq!(
        files.open_path(directory, (b"f", true), CREATE, (BOTH, 0), 0),
        Err(Errno::NOENT),
        "nothing is made in what is gone"
    );
    assert_eq!(files.open_path(directory, (b"../x", true), CREATE, (BOTH, 0), 0), Err(Errno::NOENT));
    assert_eq!(list(&mut files, directory, 4096).unwrap(), [""; 0]);
    files.close(directory).unwrap();
    assert_eq!(files.tmp.used(), 0);
}

#[test]
fn a_listing_does_not_change_while_it_is_read() {
    let mut files = files();
    let expected: Vec<String> = (0..500).map(|number| format!("file {number:03}")).collect();
    for name in &expected {
        write(&mut files, &format!("tmp/{name}"), b"").unwrap();
    }
    let directory = open(&mut files, "tmp", 0, READ).unwrap();
    for size in [40, 100, 4096, 1 << 20] {
        assert_eq!(list(&mut files, directory, size).unwrap(), expected, "{size}");
    }
    // Entries are removed behind the reader's back.
    let (mut seen, mut cookie) = (0, 2);
    files.list(directory, 0, &mut [0; 24]).unwrap();
    loop {
        let mut buffer = [0; 40];
        let filled = files.list(directory, cookie, &mut buffer).unwrap();
        if filled == 0 {
            break;
        }
        let name = format!("tmp/{}", String::from_utf8_lossy(&buffer[24..32]));
        files.unlink(3, name.as_bytes()).unwrap();
        (seen, cookie) = (seen + 1, cookie + 1);
    }
    assert_eq!(seen, 500);
    assert_eq!(list(&mut files, directory, 4096).unwrap(), [""; 0]);
    files.close(directory).unwrap();
    assert_eq!(files.listed, 0);
}

#[test]
fn listings_have_a_limit() {
    let mut files = files();
    for number in 0..500 {
        write(&mut files, &format!("tmp/{number:0250}"), b"").unwrap();
    }
    let open: Vec<u32> = (0..200).map(|_| open(&mut files, "tmp", 0, READ).unwrap()).collect();
    let results: Vec<_> = open.iter().map(|it| files.list(*it, 0, &mut [0; 64])).collect();
    assert!(results.contains(&Err(Errno::NOMEM)));
    assert!(files.listed <= LISTING_LIMIT);
    open.iter().for_each(|it| files.close(*it).unwrap());
    assert_eq!(files.listed, 0);
}

#[test]
fn tmp_has_a_limit() {
    let mut files = files();
    let file = open(&mut files, "tmp/f", CREATE, BOTH).unwrap();
    let block = vec![1; 100_000];
    let written: usize = std::iter::from_fn(|| files.write(file, None, &block).ok()).sum();
    assert!((1_000_000..=LIMIT as usize).contains(&written), "{written}");
    assert_eq!(files.write(file, None, b"x"), Err(Errno::NOSPC));
    assert_eq!(files.resize(file, LIMIT), Err(Errno::NOSPC));
    assert_eq!(files.resize(file, u64::MAX), Err(Errno::FBIG));
    assert_eq!(files.write(file, Some(u64::MAX - 5), b"abc"), Err(Errno::FBIG));
    assert_eq!(files.write(file, Some(1 << 30), b"abc"), Err(Errno::NOSPC));
    assert_eq!(files.allocate(file, 0, LIMIT), Err(Errno::NOSPC));
    // What is there can be written over, and made shorter.
    assert_eq!(files.write(file, Some(0), &block), Ok(block.len()));
    files.resize(file, 10).unwrap();
    assert_eq!(files.write(file, Some(20), b"x"), Ok(1));
    let mut bytes = [7; 21];
    assert_eq!(files.read(file, Some(0), &mut bytes), Ok(21));
    assert_eq!(bytes[10..], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, b'x']);
    files.close(file).unwrap();
    files.unlink(3, b"tmp/f").unwrap();
    // Empty files are not free either.
    let count = (0..).take_while(|number| write(&mut files, &format!("tmp/{number}"), b"").is_ok()).count();
    assert!((1000..2000).contains(&count), "{count}");
    let used = files.tmp.used();
    assert!(write(&mut files, "tmp/one more", b"").is_err());
    assert_eq!(files.tmp.used(), used, "what failed takes nothing");
}

#[test]
fn what_is_opened_for_appending_is_written_at_its_end() {
    let mut files = files();
    write(&mut files, "tmp/f", b"abc").unwrap();
    let append = files.open_path(3, (b"tmp/f", true), 0, (BOTH, 0), fdflags::APPEND).unwrap();
    let other = open(&mut files, "tmp/f", 0, BOTH).unwrap();
    files.seek(other, 0, Whence::End).unwrap();
    files.write(append, None, b"d").unwrap();
    files.write(other, None, b"D").unwrap();
    files.write(append, None, b"e").unwrap();
    assert_eq!(read(&mut files, "tmp/f").unwrap(), b"abcDe");
    assert_eq!(files.seek(append, 0, Whence::Current), Ok(5));
}

fn shared(quota: u64) -> (tempfile::TempDir, SharedFiles) {
    let directory = tempfile::tempdir().unwrap();
    let shared = SharedFiles::new(directory.path().join("files"), quota);
    (directory, shared)
}

#[test]
fn shared_files_are_those_of_a_user() {
    let (directory, shared) = shared(1 << 20);
    let mut ada = with_shared(Some(shared.of("ada")));
    let mut bob = with_shared(Some(shared.of("bob")));
    assert_eq!(names(&mut ada, "shared").unwrap(), [""; 0]);
    ada.create_directory(3, b"shared/d").unwrap();
    write(&mut ada, "shared/d/f", b"of Ada").unwrap();
    assert_eq!(names(&mut bob, "shared").unwrap(), [""; 0]);
    for path in ["shared/../ada/d/f", "shared/d/f", "shared/../../files/ada/d/f", "ada/d/f"] {
        assert_eq!(read(&mut bob, path), Err(Errno::NOENT), "{path}");
    }
    // Links that somebody else made do not lead out.
    let (place, outside) = (directory.path().join("files/bob"), directory.path().join("files/ada/d"));
    std::os::unix::fs::symlink(&outside, place.join("absolute")).unwrap();
    std::os::unix::fs::symlink("../ada/d", place.join("relative")).unwrap();
    std::os::unix::fs::symlink("../ada/d/f", place.join("file")).unwrap();
    for path in ["absolute/f", "relative/f", "file", "absolute/new"] {
        let path = format!("shared/{path}");
        assert!(read(&mut bob, &path).is_err(), "{path}");
        assert!(write(&mut bob, &path, b"x").is_err(), "{path}");
    }
    // Another call of the same user, in another process as it were.
    let again = SharedFiles::new(directory.path().join("files"), 1 << 20);
    let mut again = with_shared(Some(again.of("ada")));
    assert_eq!(read(&mut again, "shared/d/f").unwrap(), b"of Ada");
    assert_eq!(read(&mut again, "shared/d/../../tmp/../shared/d/f").unwrap(), b"of Ada");
    for (result, expected) in [
        (again.rename((3, b"shared/d"), (3, b"tmp/d")), Errno::XDEV),
        (again.symlink(b"d", 3, b"shared/s"), Errno::NOTSUP),
        (again.link((3, b"shared/d/f", false), (3, b"shared/g")), Errno::NOTSUP),
        (again.remove_directory(3, b"shared"), Errno::BUSY),
        (again.remove_directory(3, b"shared/d"), Errno::NOTEMPTY),
        (again.unlink(3, b"shared/d"), Errno::ISDIR),
        (again.create_directory(3, b"shared/d"), Errno::EXIST),
        (open(&mut again, "shared/d/f/", 0, READ).map(drop), Errno::NOTDIR),
        (open(&mut again, "shared/d", CREATE, BOTH).map(drop), Errno::ISDIR),
        (open(&mut again, "shared/d/f", CREATE | oflags::EXCLUSIVE, BOTH).map(drop), Errno::EXIST),
    ] {
        assert_eq!(result, Err(expected));
    }
}

#[test]
fn a_quota_holds_over_calls_and_files() {
    let quota = 100 * 4096;
    let (_directory, shared) = shared(quota);
    let mut first = with_shared(Some(shared.of("ada")));
    write(&mut first, "shared/a", &[1; 50 * 4096]).unwrap();
    let mut second = with_shared(Some(shared.of("ada")));
    assert_eq!(write(&mut second, "shared/b", &[1; 50 * 4096]), Err(Errno::DQUOT));
    write(&mut second, "shared/b", &[1; 40 * 4096]).unwrap();
    // A file without a name counts until nobody has it open.
    let file = open(&mut first, "shared/a", 0, BOTH).unwrap();
    second.unlink(3, b"shared/a").unwrap();
    assert_eq!(write(&mut second, "shared/c", &[1; 40 * 4096]), Err(Errno::DQUOT));
    assert_eq!(first.write(file, Some(0), &[2; 4096]), Ok(4096));
    assert_eq!(first.resize(file, quota), Err(Errno::DQUOT));
    drop(first);
    write(&mut second, "shared/c", &[1; 40 * 4096]).unwrap();
    // Sparse files count in full, and replacing gives back.
    let file = open(&mut second, "shared/c", 0, BOTH).unwrap();
    assert_eq!(second.write(file, Some(1 << 40), b"x"), Err(Errno::DQUOT));
    second.rename((3, b"shared/c"), (3, b"shared/b")).unwrap();
    second.close(file).unwrap();
    write(&mut second, "shared/d", &[1; 50 * 4096]).unwrap();
    // Others get as much.
    let mut bob = with_shared(Some(shared.of("bob")));
    write(&mut bob, "shared/a", &[1; 90 * 4096]).unwrap();
    let count = (0..).take_while(|n| write(&mut bob, &format!("shared/{n}"), b"").is_ok()).count();
    assert_eq!(count, 9);
}

#[cfg(target_os = "linux")]
#[test]
fn locks_hold_off_other_calls() {
    let (_directory, shared) = shared(1 << 20);
    let mut calls: Vec<Files> = (0..2).map(|_| with_shared(Some(shared.of("ada")))).collect();
    let files: Vec<[u32; 2]> = calls
        .iter_mut()
        .map(|call| [(); 2].map(|()| open(call, "shared/f", CREATE, BOTH).unwrap()))
        .collect();
    let (whole, part) = (Some((0, 0)), Some((10, 5)));
    let [exclusive, shared] = [Some(Lock::Exclusive), Some(Lock::Shared)];
    let mut lock =
        |call: usize, file: usize, lock, test, range| calls[call].lock(files[call][file], lock, test, range);
    assert_eq!(lock(0, 0, shared, false, part), Ok(()));
    assert_eq!(lock(1, 0, shared, false, whole), Ok(()));
    assert_eq!(lock(0, 0, exclusive, false, part), Err(Errno::AGAIN));
    assert_eq!(lock(1, 1, None, false, whole), Ok(()));
    // The lock is the call's, whichever descriptor it comes by.
    assert_eq!(lock(0, 1, exclusive, false, part), Ok(()));
    assert_eq!(lock(0, 0, exclusive, false, whole), Ok(()));
    assert_eq!(lock(1, 0, shared, true, part), Err(Errno::AGAIN));
    assert_eq!(lock(1, 0, shared, false, part), Err(Errno::AGAIN));
    // As flock has it, it is the open file's.
    assert_eq!(lock(0, 0, exclusive, false, None), Ok(()));
    assert_eq!(lock(0, 1, exclusive, false, None), Err(Errno::AGAIN));
    assert_eq!(lock(1, 0, shared, false, None), Err(Errno::AGAIN));
    // Closing any descriptor gives up those of the call, closing its own that of the file.
    calls[0].close(files[0][0]).unwrap();
    for range in [whole, None] {
        assert_eq!(calls[1].lock(files[1][0], exclusive, false, range), Ok(()), "{range:?}");
    }
}

/// What is below a directory: kinds, contents, targets and numbers of names, by path.
type Tree = BTreeMap<String, (FileType, Vec<u8>, u64)>;

fn tree_of(files: &mut Files, prefix: &str, tree: &mut Tree) {
    for name in names(files, prefix).unwrap() {
        let path = format!("{prefix}/{name}");
        let stat = files.stat_path(3, path.as_bytes(), false).unwrap();
        let content = match stat.kind {
            FileType::RegularFile => read(files, &path).unwrap(),
            FileType::SymbolicLink => files.read_link(3, path.as_bytes()).unwrap().to_vec(),
            _ => Vec::new(),
        };
        let links = if stat.kind == FileType::Directory { 0 } else { stat.links };
        tree.insert(path[prefix_end(&path)..].to_owned(), (stat.kind, content, links));
        if stat.kind == FileType::Directory {
            tree_of(files, &path, tree);
        }
    }
}

/// Where a path goes on below the directory that is compared.
fn prefix_end(path: &str) -> usize {
    path.find('/').map_or(0, |at| at + 1)
}

fn tree_on_disk(root: &Path, directory: &Path, tree: &mut Tree) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let metadata = path.symlink_metadata().unwrap();
        let (kind, content) = if metadata.is_dir() {
            tree_on_disk(root, &path, tree);
            (FileType::Directory, Vec::new())
        } else if metadata.is_symlink() {
            (FileType::SymbolicLink, path.read_link().unwrap().as_os_str().as_bytes().to_vec())
        } else {
            (FileType::RegularFile, fs::read(&path).unwrap())
        };
        let links = if metadata.is_dir() { 0 } else { metadata.nlink() };
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        tree.insert(name, (kind, content, links));
    }
}

/// What the system's error is here. Linux has two that say less than POSIX allows.
fn outcome<T>(result: std::io::Result<T>) -> Result<(), Errno> {
    result.map(drop).map_err(Errno::from)
}

/// The same random operations here and on a directory of the host: all must have the same result, and leave the same.
fn same_as_the_hosts(mount: &str, mut files: Files, with_links: bool, seed: u64) {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let mut random = fastrand::Rng::with_seed(seed);
    let mut open_files: Vec<(u32, fs::File)> = Vec::new();
    for step in 0..400 {
        let mut path = || {
            let names = ["a", "b", "c", "d"];
            let depth = random.usize(1..=3);
            let mut path: Vec<&str> = (0..depth).map(|_| names[random.usize(..4)]).collect();
            if random.usize(..12) == 0 {
                path.insert(random.usize(..path.len()), ".");
            }
            path.join("/")
        };
        let (one, two) = (path(), path());
        let (here, there) = (format!("{mount}/{one}"), root.join(&one));
        let (here_too, there_too) = (format!("{mount}/{two}"), root.join(&two));
        let content: Vec<u8> = (0..random.usize(..3000)).map(|_| random.u8(..)).collect();
        let operation = random.usize(..if with_links { 14 } else { 12 });
        let (ours, hosts) = match operation {
            0 | 1 => (files.create_directory(3, here.as_bytes()), outcome(fs::create_dir(&there))),
            2 => (files.remove_directory(3, here.as_bytes()), outcome(fs::remove_dir(&there))),
            3 => (files.unlink(3, here.as_bytes()), outcome(fs::remove_file(&there))),
            4 | 5 => (
                files.rename((3, here.as_bytes()), (3, here_too.as_bytes())),
                outcome(fs::rename(&there, &there_too)),
            ),
            6 => (write(&mut files, &here, &content), outcome(fs::write(&there, &content))),
            7 => {
                let new = fs::OpenOptions::new().read(true).write(true).create_new(true).open(&there);
                let ours = open(&mut files, &here, CREATE | oflags::EXCLUSIVE, BOTH);
                match (ours, new) {
                    (Ok(ours), Ok(new)) => {
                        open_files.push((ours, new));
                        continue;
                    }
                    (ours, new) => (ours.map(drop), outcome(new)),
                }
            }
            8 => {
                let existing = fs::OpenOptions::new().read(true).write(true).open(&there);
                match (open(&mut files, &here, 0, BOTH), existing) {
                    (Ok(ours), Ok(existing)) => {
                        open_files.push((ours, existing));
                        continue;
                    }
                    (ours, existing) => (ours.map(drop), outcome(existing)),
                }
            }
            9 if !open_files.is_empty() => {
                let (ours, hosts) = open_files.swap_remove(random.usize(..open_files.len()));
                drop(hosts);
                (files.close(ours), Ok(()))
            }
            10 if !open_files.is_empty() => {
                let (ours, hosts) = &open_files[random.usize(..open_files.len())];
                let offset = random.u64(..10_000);
                assert_eq!(files.write(*ours, Some(offset), &content), Ok(content.len()));
                hosts.write_all_at(&content, offset).unwrap();
                let mut bytes = [vec![0; 5000], vec![0; 5000]];
                let offset = random.u64(..12_000);
                let count = files.read(*ours, Some(offset), &mut bytes[0]).unwrap();
                assert_eq!(count, hosts.read_at(&mut bytes[1], offset).unwrap());
                assert_eq!(bytes[0], bytes[1]);
                continue;
            }
            11 if !open_files.is_empty() => {
                let (ours, hosts) = &open_files[random.usize(..open_files.len())];
                let size = random.u64(..15_000);
                (files.resize(*ours, size), outcome(hosts.set_len(size)))
            }
            12 => (
                files.symlink(one.as_bytes(), 3, here_too.as_bytes()),
                outcome(std::os::unix::fs::symlink(OsStr::new(&one), &there_too)),
            ),
            13 => (
                files.link((3, here.as_bytes(), false), (3, here_too.as_bytes())),
                outcome(fs::hard_link(&there, &there_too)),
            ),
            _ => continue,
        };
        assert_eq!(ours, hosts, "seed {seed}, step {step}, operation {operation} of {one} and {two}");
        if step % 20 == 0 {
            let (mut ours, mut hosts) = (Tree::new(), Tree::new());
            tree_of(&mut files, mount, &mut ours);
            tree_on_disk(root, root, &mut hosts);
            assert_eq!(ours, hosts, "seed {seed}, step {step}");
        }
    }
    for (ours, _) in open_files {
        files.close(ours).unwrap();
    }
    if mount == "tmp" {
        // Everything that was counted is given back.
        remove_all(&mut files, "tmp");
        assert_eq!(files.tmp.used(), 0, "seed {seed}");
    }
}

fn remove_all(files: &mut Files, directory: &str) {
    for name in names(files, directory).unwrap() {
        let path = format!("{directory}/{name}");
        if files.stat_path(3, path.as_bytes(), false).unwrap().kind == FileType::Directory {
            remove_all(files, &path);
            files.remove_directory(3, path.as_bytes()).unwrap();
        } else {
            files.unlink(3, path.as_bytes()).unwrap();
        }
    }
}

#[test]
fn tmp_does_what_the_hosts_file_system_does() {
    for seed in 0..60 {
        same_as_the_hosts("tmp", files(), true, seed);
    }
}

#[test]
fn shared_files_do_what_the_hosts_file_system_does() {
    for seed in 0..20 {
        let (_directory, shared) = shared(1 << 30);
        same_as_the_hosts("shared", with_shared(Some(shared.of("ada"))), false, seed);
    }
}
