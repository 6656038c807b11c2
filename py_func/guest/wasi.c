/* What WASI's C library lacks and something in a guest needs. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>

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
