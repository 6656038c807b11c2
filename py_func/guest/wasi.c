/* What WASI's C library lacks and something in a guest needs. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sqlite3.h>
#include <stdint.h>
#include <unistd.h>

#include "wasi.h"

/* As SQLite numbers them where the headers do not. */
enum { GET_LOCK = 12, SET_LOCK = 13, SET_LOCK_WAIT = 14, UNLOCKED = 2 };

int __real_fcntl(int descriptor, int command, ...);
int __wrap_fcntl(int descriptor, int command, ...);

/* Locks of files. WASI has none, so libc answers EINVAL, which SQLite takes for a database that somebody else
 * has locked. POSIX locks hold off other processes, never the one that has them: in a sandbox, which is one process with
 * files of its own, every lock can be had at once. The linker puts this in the place of libc's fcntl(). */
int __wrap_fcntl(int descriptor, int command, ...) {
    va_list arguments;
    va_start(arguments, command);
    intptr_t argument = va_arg(arguments, intptr_t);
    va_end(arguments);
    switch (command) {
    case GET_LOCK:
        ((struct flock *)argument)->l_type = UNLOCKED;
        return 0;
    case SET_LOCK:
    case SET_LOCK_WAIT:
        return 0;
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
