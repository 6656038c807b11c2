"""What programs do with files, in the directory that the input names. Every check is an assertion."""

import os
import pathlib
import shutil
import sqlite3
import sys
import tarfile
import tempfile
import zipfile


def descriptors(place):
    path = place / "shared offset"
    first = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    second = os.dup(first)
    assert os.write(first, b"hello ") == 6 and os.write(second, b"world") == 5
    assert os.dup2(second, 200) == 200
    os.close(first)
    os.close(second)
    assert os.lseek(200, 0, os.SEEK_SET) == 0
    assert os.read(200, 100) == b"hello world"
    assert os.pread(200, 3, 6) == b"wor" and os.pwrite(200, b"W", 6) == 1
    os.ftruncate(200, 7)
    os.close(200)
    assert path.read_bytes() == b"hello W"
    # A file object and its descriptor's duplicate, as NumPy writes arrays.
    with open(path, "r+b") as file:
        file.seek(0, os.SEEK_END)
        file.flush()
        with os.fdopen(os.dup(file.fileno()), "wb") as other:
            assert other.tell() == 7
            other.write(b"!")
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == 8
    with open(path, "ab") as file:
        file.write(b"?")
    assert path.read_bytes() == b"hello W!?"


def standard_output(place):
    saved = os.dup(1)
    with open(place / "captured", "w+") as file:
        os.dup2(file.fileno(), 1)
        print("into the file", flush=True)
        os.dup2(saved, 1)
        os.close(saved)
        file.seek(0)
        assert file.read() == "into the file\n"


def temporary(place):
    with tempfile.TemporaryFile(dir=place) as file:
        file.write(bytes(100_000))
        file.seek(0)
        assert len(file.read()) == 100_000
    with tempfile.NamedTemporaryFile("w+", dir=place) as file:
        file.write("text")
        file.flush()
        assert pathlib.Path(file.name).read_text() == "text"
    assert not os.path.exists(file.name)
    with tempfile.TemporaryDirectory(dir=place) as directory:
        pathlib.Path(directory, "a/b").mkdir(parents=True)
        pathlib.Path(directory, "a/b/c").write_text("c")
    assert not os.path.exists(directory)
    with tempfile.SpooledTemporaryFile(max_size=10, dir=place) as file:
        file.write(b"more than ten bytes")
        file.seek(0)
        assert file.read(4) == b"more"


def trees(place):
    source, copy = place / "tree", place / "copy"
    (source / "deep/er").mkdir(parents=True)
    for number in range(10):
        (source / f"deep/{number}.txt").write_text(str(number))
    (source / "deep/er/bytes").write_bytes(bytes(range(256)) * 300)
    shutil.copytree(source, copy)

    def listed(top):
        return sorted((str(path.relative_to(top)), path.is_dir() or path.read_bytes()) for path in top.rglob("*"))

    assert listed(source) == listed(copy) and len(listed(source)) == 13
    walked = [(os.path.relpath(top, source), sorted(names)) for top, _, names in os.walk(source)]
    assert walked[0] == (".", []) and walked[2] == ("deep/er", ["bytes"]), walked
    with os.scandir(source / "deep") as entries:
        kinds = {entry.name: entry.is_dir() for entry in entries}
    assert kinds["er"] and not kinds["0.txt"] and len(kinds) == 11
    shutil.move(copy / "deep/er", place / "moved")
    assert (place / "moved/bytes").stat().st_size == 76_800
    os.replace(source / "deep/0.txt", source / "deep/1.txt")
    assert (source / "deep/1.txt").read_text() == "0"
    stamp = 1_000_000_000
    os.utime(source / "deep/1.txt", (stamp, stamp + 1))
    assert int((source / "deep/1.txt").stat().st_mtime) == stamp + 1
    shutil.copy2(source / "deep/1.txt", place / "dated")
    assert int((place / "dated").stat().st_mtime) == stamp + 1
    for tree in (source, copy, place / "moved"):
        shutil.rmtree(tree)
    assert not source.exists()


def archives(place):
    with zipfile.ZipFile(place / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("in/side.txt", "text" * 1000)
    with zipfile.ZipFile(place / "a.zip") as archive:
        archive.extractall(place / "unzipped")
    assert (place / "unzipped/in/side.txt").read_text() == "text" * 1000
    with tarfile.open(place / "a.tar.gz", "w:gz") as archive:
        archive.add(place / "unzipped", "top")
    with tarfile.open(place / "a.tar.gz") as archive:
        archive.extractall(place / "untarred", filter="data")
    assert (place / "untarred/top/in/side.txt").stat().st_size == 4000


def database(place):
    with sqlite3.connect(place / "db") as connection:
        connection.execute("create table numbers (number integer primary key, square integer)")
        connection.executemany("insert into numbers values (?, ?)", ((n, n * n) for n in range(2000)))
        connection.execute("delete from numbers where number % 2")
    connection.close()
    first, second = sqlite3.connect(place / "db"), sqlite3.connect(place / "db", timeout=0)
    first.execute("begin immediate")
    first.execute("insert into numbers values (-1, 1)")
    assert second.execute("select count(*), sum(square) from numbers").fetchone() == (1000, 1_331_334_000)
    try:
        second.execute("begin immediate")
    except sqlite3.OperationalError as error:
        assert "locked" in str(error), error
    else:
        raise AssertionError("two writers at a time")
    first.rollback()
    second.execute("vacuum")
    first.close(), second.close()
    assert not (place / "db-journal").exists()


def users():
    assert os.getuid() == os.geteuid() == os.getgid() == os.getegid() != 0
    old = os.umask(0o027)
    assert os.umask(old) == 0o027


def locks(place):
    import fcntl

    with open(place / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(file, fcntl.LOCK_UN)
        fcntl.lockf(file, fcntl.LOCK_EX, 10, 5)
        fcntl.lockf(file, fcntl.LOCK_UN)
        assert fcntl.fcntl(file, fcntl.F_GETFL) & os.O_WRONLY
        copy = fcntl.fcntl(file, fcntl.F_DUPFD, 100)
        assert copy == 100
        os.close(copy)


def devices():
    for name in ("null", "zero", "random", "urandom", "stdin", "stdout", "stderr"):
        assert os.path.exists(f"/dev/{name}"), name
    with open("/dev/null", "r+b", buffering=0) as null:
        assert null.write(b"x" * 100) == 100 and null.read() == b""
    with open("/dev/zero", "rb") as zero:
        assert zero.read(5000) == bytes(5000)
    with open("/dev/urandom", "rb") as urandom:
        assert urandom.read(16) != urandom.read(16)
    assert open("/dev/stdin").read() == ""
    with open("/dev/stderr", "w") as file:
        file.write("said on /dev/stderr")


def links(place):
    os.symlink("target", place / "link")
    (place / "link").write_text("through")
    assert (place / "target").read_text() == "through" and os.readlink(place / "link") == "target"
    os.link(place / "target", place / "second")
    assert os.path.samefile(place / "second", place / "link") and (place / "second").stat().st_nlink == 2
    os.remove(place / "target")
    assert not (place / "link").exists() and (place / "second").read_text() == "through"
    shutil.copytree(place, place.parent / "with links", symlinks=True)
    assert (place.parent / "with links/link").is_symlink()


def faasm_main(data):
    place = pathlib.Path(data.decode())
    before = sorted(os.listdir(place))
    for check in (descriptors, standard_output, temporary, trees, archives, database, locks):
        directory = place / check.__name__
        directory.mkdir()
        check(directory)
        shutil.rmtree(directory)
    assert sorted(os.listdir(place)) == before
    users()
    devices()
    if place == pathlib.Path("/tmp"):
        directory = place / "links"
        directory.mkdir()
        links(directory)
    assert "numpy" not in sys.modules
    return "all as it should be"
