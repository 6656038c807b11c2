/* The floating-point environment. In WebAssembly no operation leaves a flag behind, and the functions of C's library do nothing.
 * Here, flags that a program raises itself are kept until it clears them. That is how NumPy's linear algebra reports a matrix that
 * it can do nothing with. The header beside this names them. */
#include <fenv.h>

static int flags;

int feclearexcept(int mask) {
    flags &= ~mask;
    return 0;
}

int feraiseexcept(int mask) {
    flags |= mask;
    return 0;
}

int fetestexcept(int mask) { return flags & mask; }

int fegetenv(fenv_t *environment) {
    environment->__cw = (unsigned long)flags;
    return 0;
}

int fesetenv(const fenv_t *environment) {
    flags = environment == FE_DFL_ENV ? 0 : (int)environment->__cw;
    return 0;
}

int feholdexcept(fenv_t *environment) {
    fegetenv(environment);
    flags = 0;
    return 0;
}

int feupdateenv(const fenv_t *environment) {
    int raised = flags;
    fesetenv(environment);
    return feraiseexcept(raised);
}

/* The library has these in the same object file, of which there must be no second one. */
int fegetround(void) { return FE_TONEAREST; }
int __fesetround(int mode) {
    (void)mode;
    return 0;
}
