/* What WASI's C library lacks and something in a guest needs. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sqlite3.h>
#include <stdint.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "faasm.h"
#include "wasi.h"

/* What WASI's headers leave out of <fcntl.h>, as C code that was compiled for others of musl's systems numbers it. SQLite does where the
 * headers do not. */
enum { DUPLICATE = 0, GET_LOCK = 12, SET_LOCK = 13, SET_LOCK_WAIT = 14, DUPLICATE_CLOEXEC = 1030 };
enum { READ_LOCK = 0, WRITE_LOCK = 1, NO_LOCK = 2 };

/* Who the guest is. Not root, which programs take for being allowed to do what nobody is here. */
enum { USER = 1000 };

int dup(int);
int dup2(int, int);
int dup3(int, int, int);
unsigned getegid(void);
unsigned geteuid(void);
unsigned getgid(void);
unsigned getuid(void);
unsigned umask(unsigned);
int __real_access(const char *path, int mode);
int __real_faccessat(int directory, const char *path, int mode, int flags);
int __wrap_access(const char *path, int mode);
int __wrap_faccessat(int directory, const char *path, int mode, int flags);
int __real___wasilibc_find_relpath_alloc(const char *path, const char **prefix, char **relative, size_t *size, int grow);
int __wrap___wasilibc_find_relpath_alloc(const char *path, const char **prefix, char **relative, size_t *size, int grow);
int __real_fcntl(int descriptor, int command, ...);
int __wrap_fcntl(int descriptor, int command, ...);

/* Sets errno as functions of C do. Its numbers are WASI's. */
static int checked(int32_t result) {
    if (result >= 0) return result;
    errno = -result;
    return -1;
}

int dup(int descriptor) { return checked(faasm_dup((uint32_t)descriptor, 0, 0)); }

int dup2(int descriptor, int target) { return checked(faasm_dup((uint32_t)descriptor, (uint32_t)target, 1)); }

int dup3(int descriptor, int target, int flags) {
    /* The only flag there is closes the descriptor in programs that are started, and there are none. */
    (void)flags;
    if (descriptor != target) return dup2(descriptor, target);
    errno = EINVAL;
    return -1;
}

unsigned getegid(void) { return USER; }
unsigned geteuid(void) { return USER; }
unsigned getgid(void) { return USER; }
unsigned getuid(void) { return USER; }

unsigned umask(unsigned mask) {
    /* Files have no permissions here, so this is only remembered. */
    static unsigned current = 022;
    unsigned old = current;
    current = mask & 0777;
    return old;
}

/* WASI has no permissions, so libc takes everything that is there for writable. */
static int check_writable(int mode, const struct stat *status) {
    if (!(mode & W_OK) || !(status->st_dev & FAASM_READ_ONLY_DEVICE)) return 0;
    errno = EROFS;
    return -1;
}

int __wrap_access(const char *path, int mode) {
    struct stat status;
    if (__real_access(path, mode) < 0 || stat(path, &status) < 0) return -1;
    return check_writable(mode, &status);
}

int __wrap_faccessat(int directory, const char *path, int mode, int flags) {
    struct stat status;
    /* WASI's libc refuses this flag. Of what is there it allows everything, so it need not be asked. */
    int link = flags & AT_SYMLINK_NOFOLLOW;
    if (!link && __real_faccessat(directory, path, mode, flags) < 0) return -1;
    if (fstatat(directory, path, &status, link) < 0) return -1;
    return check_writable(mode, &status);
}

int __wrap___wasilibc_find_relpath_alloc(const char *path, const char **prefix, char **relative, size_t *size, int grow) {
    /* POSIX has no file of that name, and libc takes it for the working directory. */
    if (*path == '\0') {
        errno = ENOENT;
        return -1;
    }
    return __real___wasilibc_find_relpath_alloc(path, prefix, relative, size, grow);
}

int flock(int descriptor, int operation) {
    uint32_t how = operation & LOCK_EX ? FAASM_LOCK_EXCLUSIVE : operation & LOCK_SH ? FAASM_LOCK_SHARED : FAASM_LOCK_NONE;
    if (!(operation & LOCK_NB)) how |= FAASM_LOCK_WAIT;
    return checked(faasm_lock((uint32_t)descriptor, how | FAASM_LOCK_FILE, 0, 0));
}

/* Where a lock begins is counted from the file's beginning, the current offset, or the end. */
static int lock_start(int descriptor, const struct flock *lock, off_t *start) {
    off_t origin = 0;
    struct stat status;
    if (lock->l_whence == SEEK_CUR) {
        origin = lseek(descriptor, 0, SEEK_CUR);
        if (origin < 0) return -1;
    } else if (lock->l_whence == SEEK_END) {
        if (fstat(descriptor, &status) < 0) return -1;
        origin = status.st_size;
    }
    if (__builtin_add_overflow(origin, lock->l_start, start) || *start < 0) {
        errno = EINVAL;
        return -1;
    }
    return 0;
}

static int lock_range(int descriptor, int command, struct flock *lock) {
    off_t start, length = lock->l_len;
    if (lock_start(descriptor, lock, &start) < 0) return -1;
    if (length < 0) {
        /* The bytes before the start. */
        if (length < -start) {
            errno = EINVAL;
            return -1;
        }
        start += length;
        length = -length;
    }
    uint32_t how = lock->l_type == WRITE_LOCK ? FAASM_LOCK_EXCLUSIVE : lock->l_type == READ_LOCK ? FAASM_LOCK_SHARED : FAASM_LOCK_NONE;
    if (command == SET_LOCK_WAIT) how |= FAASM_LOCK_WAIT;
    if (command == GET_LOCK) how |= FAASM_LOCK_TEST;
    int32_t result = faasm_lock((uint32_t)descriptor, how, (uint64_t)start, (uint64_t)length);
    if (command != GET_LOCK) return checked(result);
    /* Which lock it is that another one has is not told, so it counts for all there can be. */
    if (result == -EAGAIN) {
        lock->l_type = WRITE_LOCK;
        lock->l_pid = 0;
        return 0;
    }
    lock->l_type = NO_LOCK;
    return checked(result);
}

/* WASI has neither locks nor second descriptors of an open file. The linker puts this in the place of libc's fcntl(). */
int __wrap_fcntl(int descriptor, int command, ...) {
    va_list arguments;
    va_start(arguments, command);
    intptr_t argument = va_arg(arguments, intptr_t);
    va_end(arguments);
    switch (command) {
    case DUPLICATE:
    case DUPLICATE_CLOEXEC:
        return checked(faasm_dup((uint32_t)descriptor, (uint32_t)argument, 0));
    case GET_LOCK:
    case SET_LOCK:
    case SET_LOCK_WAIT:
        return lock_range(descriptor, command, (struct flock *)argument);
    default:
        return __real_fcntl(descriptor, command, argument);
    }
}

/* SQLite seeds its generator from /dev/urandom, and without one from the time in seconds, which is the same for all calls
 * of a second. */
static int sqlite_randomness(sqlite3_vfs *vfs, int size, char *buffer) {
    (void)vfs;
    /* getentropy() takes 256 bytes at most; SQLite asks for less. */
    return getentropy(buffer, size < 256 ? (size_t)size : 256) == 0 ? size : 0;
}

void faasm_prepare_sqlite(void) {
    static sqlite3_vfs vfs;
    sqlite3_vfs *own = sqlite3_initialize() == SQLITE_OK ? sqlite3_vfs_find(NULL) : NULL;
    if (!own) return;
    vfs = *own;
    vfs.zName = "wasi";
    vfs.xRandomness = sqlite_randomness;
    sqlite3_vfs_register(&vfs, 1);
}
