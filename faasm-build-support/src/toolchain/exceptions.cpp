/* C++ exceptions. Code is compiled without the means to unwind the stack, so nothing that is thrown can be caught: it ends the
 * call, and says what it was. The names are those of the Itanium C++ ABI, to which clang compiles `throw` and `catch`. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

extern "C" {

/* The layout of std::type_info in libc++abi: behind its virtual functions the mangled name. */
struct type_info {
    const void *functions;
    const char *name;
};

static char memory[4096];

void *__cxa_allocate_exception(size_t size) {
    void *exception = malloc(size);
    return exception ? exception : memory;
}

void __cxa_free_exception(void *exception) {
    if (exception != memory) free(exception);
}

[[noreturn]] void __cxa_throw(void *, type_info *type, void (*)(void *)) {
    fprintf(stderr, "a C++ exception of the type %s was thrown, and nothing can catch it here\n", type ? type->name : "unknown");
    abort();
}

[[noreturn]] void __cxa_rethrow(void) { abort(); }
void *__cxa_begin_catch(void *exception) { return exception; }
void __cxa_end_catch(void) {}
void *__cxa_get_exception_ptr(void *exception) { return exception; }
}
