/* What f2c's translation of LAPACK is written in: types as BLAS here has them, and intrinsic functions of Fortran. */

#include <complex.h>
#include <math.h>
#include <string.h>

typedef int integer, logical, ftnlen;
typedef char *address;
typedef float real;
typedef double doublereal;
typedef struct { real r, i; } complex_pair;
typedef struct { doublereal r, i; } doublecomplex;
#undef complex
#define complex complex_pair

typedef logical (*L_fp)();
#define VOID void
#define TRUE_ 1
#define FALSE_ 0

#define abs(x) ((x) >= 0 ? (x) : -(x))
#define dabs(x) ((doublereal)abs(x))
#define min(a, b) ((a) <= (b) ? (a) : (b))
#define max(a, b) ((a) >= (b) ? (a) : (b))
#define dmin(a, b) ((doublereal)min(a, b))
#define dmax(a, b) ((doublereal)max(a, b))
