"""Files in memory. WASI cannot map them, so this reads a copy: what is written to it reaches the file with `flush`, `close`, or when
nothing refers to it any more, and what others write to the file meanwhile is not seen. The interface is that of Python's own module."""

import os

error = OSError

ALLOCATIONGRANULARITY = PAGESIZE = 65536
ACCESS_DEFAULT, ACCESS_READ, ACCESS_WRITE, ACCESS_COPY = range(4)
MAP_SHARED, MAP_PRIVATE, MAP_ANON, MAP_ANONYMOUS = 1, 2, 32, 32
PROT_READ, PROT_WRITE, PROT_EXEC = 1, 2, 4


class mmap:
    """The bytes of a file, or of none if `fileno` is -1."""

    def __new__(cls, fileno, length, flags=MAP_SHARED, prot=PROT_READ | PROT_WRITE, access=ACCESS_DEFAULT, offset=0, *, trackfd=True):
        if length < 0:
            raise OverflowError("memory mapped length must be positive")
        if offset < 0:
            raise OverflowError("memory mapped offset must be positive")
        if offset % ALLOCATIONGRANULARITY:
            raise OSError("the offset must be a multiple of ALLOCATIONGRANULARITY")
        if access not in range(4):
            raise ValueError("mmap invalid access parameter.")
        if access == ACCESS_DEFAULT:
            access = ACCESS_READ if not prot & PROT_WRITE else ACCESS_COPY if flags & MAP_PRIVATE else ACCESS_WRITE
        content = bytes(length)
        if fileno != -1:
            size = os.fstat(fileno).st_size
            if length == 0:
                if size == 0:
                    raise ValueError("cannot mmap an empty file")
                if offset >= size:
                    raise ValueError("mmap offset is greater than file size")
                length = size - offset
            elif offset + length > size:
                raise ValueError("mmap length is greater than file size")
            content = _read(fileno, length, offset)
        elif length == 0:
            raise ValueError("cannot mmap an empty file")
        if access == ACCESS_READ:
            self = bytes.__new__(_ReadOnly, content)
        else:
            self = bytearray.__new__(_Writable)
            bytearray.__init__(self, content)
        self._position, self._offset, self._closed = 0, offset, False
        # The file may be closed before this is. Where a descriptor cannot be duplicated, it must not.
        self._descriptor, self._owns = -1, False
        if access == ACCESS_WRITE and fileno != -1:
            try:
                self._descriptor, self._owns = os.dup(fileno), True
            except OSError:
                self._descriptor = fileno
        return self

    def __init__(self, *arguments, **named):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def __del__(self):
        # Nobody would be told of an error.
        try:
            self.close()
        except OSError:
            pass

    @property
    def closed(self):
        return self._closed

    def _check(self):
        if self._closed:
            raise ValueError("mmap closed or invalid")

    def close(self):
        if not self._closed:
            try:
                self.flush()
            finally:
                self._release()
                self._closed = True
                if self._owns:
                    os.close(self._descriptor)

    def _release(self):
        """Lets go of the memory. What cannot be written may stay in use by others."""

    def flush(self, offset=0, size=None):
        self._check()
        if self._descriptor != -1:
            end = len(self) if size is None else offset + size
            _write(self._descriptor, memoryview(self)[offset:end], self._offset + offset)

    def madvise(self, option, start=0, length=None):
        self._check()

    def move(self, dest, src, count):
        self._check()
        if min(dest, src, count) < 0 or max(dest, src) + count > len(self):
            raise ValueError("source, destination, or count out of range")
        self[dest : dest + count] = self[src : src + count]

    def read(self, n=None):
        self._check()
        rest = len(self) - self._position
        count = rest if n is None or n < 0 else min(n, rest)
        start, self._position = self._position, self._position + count
        return bytes(memoryview(self)[start : start + count])

    def read_byte(self):
        if self._position >= len(self):
            raise ValueError("read byte out of range")
        return self.read(1)[0]

    def readline(self):
        self._check()
        end = self._concrete.find(self, b"\n", self._position)
        return self.read(end + 1 - self._position if end >= 0 else None)

    def resize(self, newsize):
        raise SystemError("files in memory cannot be resized here")

    def seek(self, pos, whence=os.SEEK_SET):
        self._check()
        position = pos + (0, self._position, len(self))[whence]
        if not 0 <= position <= len(self):
            raise ValueError("seek out of range")
        self._position = position
        return position

    def seekable(self):
        return True

    def size(self):
        self._check()
        return os.fstat(self._descriptor).st_size if self._descriptor != -1 else len(self)

    def tell(self):
        self._check()
        return self._position

    def write(self, bytes):
        self._check()
        data = memoryview(bytes).cast("B")
        if self._position + len(data) > len(self):
            raise ValueError("data out of range")
        memoryview(self)[self._position : self._position + len(data)] = data
        self._position += len(data)
        return len(data)

    def write_byte(self, byte):
        self.write(byte.to_bytes())

    def find(self, sub, start=None, end=None):
        self._check()
        return self._concrete.find(self, sub, self._position if start is None else start, end)

    def rfind(self, sub, start=None, end=None):
        self._check()
        return self._concrete.rfind(self, sub, self._position if start is None else start, end)


class _ReadOnly(mmap, bytes):
    _concrete = bytes


class _Writable(mmap, bytearray):
    _concrete = bytearray

    def _release(self):
        # A bytearray refuses this, by a BufferError, while an array or a view uses its memory.
        self.clear()

    def __getitem__(self, key):
        item = bytearray.__getitem__(self, key)
        return bytes(item) if isinstance(item, bytearray) else item


def _read(descriptor, length, offset):
    parts = []
    while length:
        part = os.pread(descriptor, length, offset)
        if not part:
            raise ValueError("mmap length is greater than file size")
        parts.append(part)
        length -= len(part)
        offset += len(part)
    return b"".join(parts)


def _write(descriptor, content, offset):
    while content:
        written = os.pwrite(descriptor, content, offset)
        content, offset = content[written:], offset + written
