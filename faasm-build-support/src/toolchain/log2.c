/* The base-2 logarithm, in the place of zig's, which keeps the low half of a subnormal number after scaling it and
 * so is wrong in the seventh digit (zig 0.17.1, compiler_rt/log2.zig). Exact for powers of two. */
double frexp(double, int *);
double log(double);

double log2(double x) {
    int exponent;
    double fraction = frexp(x, &exponent);
    if (!(fraction - fraction == 0.0 && fraction > 0.0)) return log(x); /* zero, negative, infinite or no number */
    if (fraction < 0.70710678118654752440) {
        fraction *= 2.0;
        exponent -= 1;
    }
    return log(fraction) * 1.44269504088896340736 + exponent;
}
