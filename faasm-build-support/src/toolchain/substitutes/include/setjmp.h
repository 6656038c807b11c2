/* Jumps out of functions. They are exceptions; where there are none, with a WASI SDK, the first answer of setjmp() is its only one, and
 * longjmp(), by which most C libraries leave what has failed, ends the call. */
#ifdef __wasm_exception_handling__
#include_next <setjmp.h>
#endif

#ifndef FAASM_SETJMP_H
#define FAASM_SETJMP_H

#ifndef __wasm_exception_handling__
#ifdef __cplusplus
extern "C" {
#endif
typedef int jmp_buf[1];
typedef jmp_buf sigjmp_buf;
__attribute__((noreturn)) void longjmp(jmp_buf place, int value);
#ifdef __cplusplus
}
#endif
#define setjmp(place) ((void)(place), 0)
#endif

/* The compiler knows one name of each, and there are no signals. */
#define _setjmp(place) setjmp(place)
#define sigsetjmp(place, mask) ((void)(mask), setjmp(place))
#define _longjmp(place, value) longjmp(place, value)
#define siglongjmp(place, value) longjmp(place, value)

#endif
