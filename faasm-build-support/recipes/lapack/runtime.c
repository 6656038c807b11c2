/* Intrinsic functions of Fortran that f2c's translation calls, and routines of LAPACK that Fortran 77 has no words for. */

#include <float.h>

#include "f2c.h"

static float _Complex single_(const complex *z) { return CMPLXF(z->r, z->i); }
static double _Complex double_(const doublecomplex *z) { return CMPLX(z->r, z->i); }
static complex single_pair(float _Complex z) { return (complex){crealf(z), cimagf(z)}; }
static doublecomplex double_pair(double _Complex z) { return (doublecomplex){creal(z), cimag(z)}; }

double r_imag(complex *z) { return z->i; }
double d_imag(doublecomplex *z) { return z->i; }
void r_cnjg(complex *result, complex *z) { *result = (complex){z->r, -z->i}; }
void d_cnjg(doublecomplex *result, doublecomplex *z) { *result = (doublecomplex){z->r, -z->i}; }

double c_abs(complex *z) { return hypot(z->r, z->i); }
double z_abs(doublecomplex *z) { return hypot(z->r, z->i); }
void c_div(complex *result, complex *a, complex *b) { *result = single_pair(single_(a) / single_(b)); }
void z_div(doublecomplex *result, doublecomplex *a, doublecomplex *b) { *result = double_pair(double_(a) / double_(b)); }
void c_sqrt(complex *result, complex *z) { *result = single_pair(csqrtf(single_(z))); }
void z_sqrt(doublecomplex *result, doublecomplex *z) { *result = double_pair(csqrt(double_(z))); }
void c_exp(complex *result, complex *z) { *result = single_pair(cexpf(single_(z))); }
void z_exp(doublecomplex *result, doublecomplex *z) { *result = double_pair(cexp(double_(z))); }

double r_sign(real *x, real *sign) { return copysign(*x, *sign); }
double d_sign(doublereal *x, doublereal *sign) { return copysign(*x, *sign); }
double r_lg10(real *x) { return log10(*x); }
double d_lg10(doublereal *x) { return log10(*x); }
integer i_nint(real *x) { return (integer)round(*x); }
integer i_dnnt(doublereal *x) { return (integer)round(*x); }

double pow_dd(doublereal *x, doublereal *n) { return pow(*x, *n); }
double pow_di(doublereal *x, integer *n) { return pow(*x, *n); }
double pow_ri(real *x, integer *n) { return pow(*x, *n); }

integer pow_ii(integer *x, integer *n) {
  if (*n < 0) return *x == 1 ? 1 : *x == -1 ? (*n & 1 ? -1 : 1) : 0;
  integer power = 1, square = *x;
  for (unsigned rest = (unsigned)*n; rest; rest >>= 1, square *= square)
    if (rest & 1) power *= square;
  return power;
}

void pow_zi(doublecomplex *result, doublecomplex *x, integer *n) {
  double _Complex power = 1, square = *n < 0 ? 1 / double_(x) : double_(x);
  for (unsigned rest = *n < 0 ? -(unsigned)*n : (unsigned)*n; rest; rest >>= 1, square *= square)
    if (rest & 1) power *= square;
  *result = double_pair(power);
}

void pow_ci(complex *result, complex *x, integer *n) {
  doublecomplex power, wide = {x->r, x->i};
  pow_zi(&power, &wide, n);
  *result = (complex){(real)power.r, (real)power.i};
}

integer i_len(char *text, ftnlen length) { return length; }

/* Strings of different lengths are compared and copied as if the shorter one had blanks at its end. */
integer s_cmp(char *a, char *b, ftnlen a_length, ftnlen b_length) {
  for (ftnlen i = 0; i < max(a_length, b_length); i++) {
    int x = i < a_length ? (unsigned char)a[i] : ' ', y = i < b_length ? (unsigned char)b[i] : ' ';
    if (x != y) return x - y;
  }
  return 0;
}

void s_copy(char *to, char *from, ftnlen to_length, ftnlen from_length) {
  memset(to, ' ', to_length);
  memmove(to, from, min(to_length, from_length));
}

void s_cat(char *to, char **parts, integer *lengths, integer *count, ftnlen to_length) {
  for (integer i = 0; i < *count && to_length > 0; to_length -= lengths[i], to += lengths[i], i++)
    s_copy(to, parts[i], to_length, min(lengths[i], to_length));
}

/* What a machine's numbers are like. `safe` is the least number whose inverse is finite. */
#define LAMCH(name, type, eps, safe, digits, min_exp, tiny, max_exp, huge) \
  type name(char *what) {                                                  \
    switch (*what | 0x20) {                                                \
      case 'e': return eps / 2;                                            \
      case 's': return safe;                                               \
      case 'b': return FLT_RADIX;                                          \
      case 'p': return eps / 2 * FLT_RADIX;                                \
      case 'n': return digits;                                             \
      case 'r': return 1;                                                  \
      case 'm': return min_exp;                                            \
      case 'u': return tiny;                                               \
      case 'l': return max_exp;                                            \
      case 'o': return huge;                                               \
      default: return 0;                                                   \
    }                                                                      \
  }

LAMCH(slamch_, real, FLT_EPSILON, FLT_MIN, FLT_MANT_DIG, FLT_MIN_EXP, FLT_MIN, FLT_MAX_EXP, FLT_MAX)
LAMCH(dlamch_, doublereal, DBL_EPSILON, DBL_MIN, DBL_MANT_DIG, DBL_MIN_EXP, DBL_MIN, DBL_MAX_EXP, DBL_MAX)

real slamc3_(real *a, real *b) { return *a + *b; }
doublereal dlamc3_(doublereal *a, doublereal *b) { return *a + *b; }

/* Where the first largest of `n` numbers is, counted from one. */
#define MAXLOC(name, type)                       \
  integer name(integer *n, type *x) {            \
    integer largest = 0;                         \
    for (integer i = 1; i < *n; i++)             \
      if (x[i] > x[largest]) largest = i;        \
    return largest + 1;                          \
  }

MAXLOC(ismaxl_, real)
MAXLOC(idmaxl_, doublereal)

char chla_transtype_(integer *trans) {
  return *trans == 111 ? 'N' : *trans == 112 ? 'T' : *trans == 113 ? 'C' : 'X';
}
