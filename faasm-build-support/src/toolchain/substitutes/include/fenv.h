/* The floating-point environment of C's library, with names for its flags. WebAssembly has no such flags, so the library names none,
 * and programs leave out what would raise them. Here they may: fenv.c keeps what is raised. The numbers mean nothing. */
#ifndef FAASM_FENV_H
#define FAASM_FENV_H

#include_next <fenv.h>

#define FE_INVALID 1
#define FE_DIVBYZERO 2
#define FE_OVERFLOW 4
#define FE_UNDERFLOW 8
#define FE_INEXACT 16
#undef FE_ALL_EXCEPT
#define FE_ALL_EXCEPT 31

#endif
