/* The allocator of the C library: Doug Lea's, which is wasi-libc's own choice. Zig's rounds sizes up to powers of two and never
 * joins free blocks, so that a guest runs out of memory with half of it unused. */
#include <errno.h>
#include <stddef.h>
#include <unistd.h>

/* Memory only grows, by whole WebAssembly pages, and is zero when new. */
#define HAVE_MMAP 0
#define MORECORE_CANNOT_TRIM 1
#define malloc_getpagesize 65536
/* What C promises for every type: long double has 16 bytes. */
#define MALLOC_ALIGNMENT 16
#define USE_LOCKS 0
/* An image must not depend on the time it was made at. */
#define LACKS_TIME_H 1
#define LACKS_SYS_PARAM_H 1
#define NO_MALLINFO 1
#define NO_MALLOC_STATS 1
#define DLMALLOC_EXPORT extern

#include "dlmalloc.c"

/* The rest of what C and musl have. Each must be here: blocks of two allocators must not meet in one free(). */
void *aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }

void *reallocarray(void *block, size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(block, bytes);
}
