/* Jumps out of functions. Nothing can unwind the stack here, so the first answer of setjmp() is its only one, and longjmp(), by which
 * most C libraries leave what has failed, ends the call like a C++ exception. */
#ifndef FAASM_SETJMP_H
#define FAASM_SETJMP_H

#ifdef __cplusplus
extern "C" {
#endif

typedef int jmp_buf[1];
typedef jmp_buf sigjmp_buf;

#define setjmp(place) ((void)(place), 0)
#define _setjmp(place) setjmp(place)
#define sigsetjmp(place, mask) ((void)(mask), setjmp(place))

__attribute__((noreturn)) void longjmp(jmp_buf place, int value);
#define _longjmp(place, value) longjmp(place, value)
#define siglongjmp(place, value) longjmp(place, value)

#ifdef __cplusplus
}
#endif

#endif
