/* Calls of functions whose types are known when the program runs. In WebAssembly a call names the type of what it calls, so each that can
 * be called is written here: up to three arguments of any kind, and up to ten that are integers of 32 bits or pointers. Others are refused
 * when the call is prepared. So are structures by value, variable arguments and functions that call back, for which code would have to
 * be made. A function that has another type than the call says ends the program. */
#include <ffi.h>
#include <stdlib.h>

#define SCALAR(name, c_type, kind) \
    ffi_type ffi_type_##name = {sizeof(c_type), _Alignof(c_type), FFI_TYPE_##kind, NULL};

SCALAR(uint8, uint8_t, UINT8)
SCALAR(sint8, int8_t, SINT8)
SCALAR(uint16, uint16_t, UINT16)
SCALAR(sint16, int16_t, SINT16)
SCALAR(uint32, uint32_t, UINT32)
SCALAR(sint32, int32_t, SINT32)
SCALAR(uint64, uint64_t, UINT64)
SCALAR(sint64, int64_t, SINT64)
SCALAR(float, float, FLOAT)
SCALAR(double, double, DOUBLE)
SCALAR(longdouble, long double, LONGDOUBLE)
SCALAR(pointer, void *, POINTER)
ffi_type ffi_type_void = {1, 1, FFI_TYPE_VOID, NULL};

/* The kinds of values that WebAssembly has, and the number of each in the code of a type. */
union value {
    uint32_t i;
    uint64_t l;
    float f;
    double d;
};
enum { NUMBER_i, NUMBER_l, NUMBER_f, NUMBER_d, NUMBER_v, UNKNOWN };
#define TYPE_i uint32_t
#define TYPE_l uint64_t
#define TYPE_f float
#define TYPE_d double
#define TYPE_v void

enum { ANY_KINDS = 3, MOST_ARGUMENTS = 10 };

static unsigned kind(const ffi_type *type) {
    switch (type->type) {
    case FFI_TYPE_VOID: return NUMBER_v;
    case FFI_TYPE_INT:
    case FFI_TYPE_UINT8:
    case FFI_TYPE_SINT8:
    case FFI_TYPE_UINT16:
    case FFI_TYPE_SINT16:
    case FFI_TYPE_UINT32:
    case FFI_TYPE_SINT32:
    case FFI_TYPE_POINTER: return NUMBER_i;
    case FFI_TYPE_UINT64:
    case FFI_TYPE_SINT64: return NUMBER_l;
    case FFI_TYPE_FLOAT: return NUMBER_f;
    case FFI_TYPE_DOUBLE: return NUMBER_d;
    default: return UNKNOWN;
    }
}

ffi_status ffi_prep_cif(ffi_cif *cif, ffi_abi abi, unsigned count, ffi_type *result, ffi_type **arguments) {
    if (abi != FFI_DEFAULT_ABI) return FFI_BAD_ABI;
    if (count > MOST_ARGUMENTS || kind(result) == UNKNOWN) return FFI_BAD_TYPEDEF;
    /* Types with fewer arguments come first; among these an argument is a digit. */
    unsigned code = 0, before = 0, size = 1;
    for (unsigned index = 0; index < count; index++) {
        unsigned number = kind(arguments[index]);
        if (number >= NUMBER_v || (count > ANY_KINDS && number != NUMBER_i)) return FFI_BAD_TYPEDEF;
        code = code * 4 + number;
        before += size;
        size *= 4;
    }
    cif->abi = abi;
    cif->nargs = count;
    cif->arg_types = arguments;
    cif->rtype = result;
    cif->bytes = 0;
    cif->flags = count > ANY_KINDS ? 0 : before + code;
    return FFI_OK;
}

ffi_status ffi_prep_cif_var(ffi_cif *cif, ffi_abi abi, unsigned fixed, unsigned count, ffi_type *result, ffi_type **arguments) {
    return fixed == count ? ffi_prep_cif(cif, abi, count, result, arguments) : FFI_BAD_ARGTYPE;
}

#define STORE_i(call) result->i = call
#define STORE_l(call) result->l = call
#define STORE_f(call) result->f = call
#define STORE_d(call) result->d = call
#define STORE_v(call) call

#define EACH_1(macro, ...) macro(__VA_ARGS__, i) macro(__VA_ARGS__, l) macro(__VA_ARGS__, f) macro(__VA_ARGS__, d)
#define EACH_2(macro, ...) macro(__VA_ARGS__, i) macro(__VA_ARGS__, l) macro(__VA_ARGS__, f) macro(__VA_ARGS__, d)
#define EACH_3(macro, ...) macro(__VA_ARGS__, i) macro(__VA_ARGS__, l) macro(__VA_ARGS__, f) macro(__VA_ARGS__, d)

#define CALL_1(r, a) \
    case 1 + NUMBER_##a: \
        STORE_##r(((TYPE_##r(*)(TYPE_##a))function)(v[0].a)); \
        return;
#define CALL_2(r, a, b) \
    case 5 + NUMBER_##a * 4 + NUMBER_##b: \
        STORE_##r(((TYPE_##r(*)(TYPE_##a, TYPE_##b))function)(v[0].a, v[1].b)); \
        return;
#define CALL_3(r, a, b, c) \
    case 21 + NUMBER_##a * 16 + NUMBER_##b * 4 + NUMBER_##c: \
        STORE_##r(((TYPE_##r(*)(TYPE_##a, TYPE_##b, TYPE_##c))function)(v[0].a, v[1].b, v[2].c)); \
        return;
#define CALLS_2(r, a) EACH_1(CALL_2, r, a)
#define CALLS_3(r, a) EACH_2(CALLS_3_OF, r, a)
#define CALLS_3_OF(r, a, b) EACH_1(CALL_3, r, a, b)

#define I uint32_t
#define LONG_CALL(r, count, types, ...) \
    case count: STORE_##r(((TYPE_##r(*) types)function)(__VA_ARGS__)); return;

#define CALLER(r) \
    static void call_##r(void (*function)(void), const ffi_cif *cif, const union value *v, union value *result) { \
        switch (cif->nargs) { \
            LONG_CALL(r, 4, (I, I, I, I), v[0].i, v[1].i, v[2].i, v[3].i) \
            LONG_CALL(r, 5, (I, I, I, I, I), v[0].i, v[1].i, v[2].i, v[3].i, v[4].i) \
            LONG_CALL(r, 6, (I, I, I, I, I, I), v[0].i, v[1].i, v[2].i, v[3].i, v[4].i, v[5].i) \
            LONG_CALL(r, 7, (I, I, I, I, I, I, I), v[0].i, v[1].i, v[2].i, v[3].i, v[4].i, v[5].i, v[6].i) \
            LONG_CALL(r, 8, (I, I, I, I, I, I, I, I), v[0].i, v[1].i, v[2].i, v[3].i, v[4].i, v[5].i, v[6].i, v[7].i) \
            LONG_CALL(r, 9, (I, I, I, I, I, I, I, I, I), v[0].i, v[1].i, v[2].i, v[3].i, v[4].i, v[5].i, v[6].i, v[7].i, v[8].i) \
            LONG_CALL(r, 10, (I, I, I, I, I, I, I, I, I, I), v[0].i, v[1].i, v[2].i, v[3].i, v[4].i, v[5].i, v[6].i, v[7].i, \
                      v[8].i, v[9].i) \
        } \
        switch (cif->flags) { \
        case 0: STORE_##r(((TYPE_##r(*)(void))function)()); return; \
            EACH_1(CALL_1, r) EACH_3(CALLS_2, r) EACH_3(CALLS_3, r) \
        } \
    }

CALLER(v)
CALLER(i)
CALLER(l)
CALLER(f)
CALLER(d)

static union value load(const ffi_type *type, const void *place) {
    union value value = {.l = 0};
    switch (type->type) {
    case FFI_TYPE_UINT8: value.i = *(const uint8_t *)place; break;
    case FFI_TYPE_SINT8: value.i = (uint32_t) * (const int8_t *)place; break;
    case FFI_TYPE_UINT16: value.i = *(const uint16_t *)place; break;
    case FFI_TYPE_SINT16: value.i = (uint32_t) * (const int16_t *)place; break;
    case FFI_TYPE_UINT64:
    case FFI_TYPE_SINT64: value.l = *(const uint64_t *)place; break;
    case FFI_TYPE_FLOAT: value.f = *(const float *)place; break;
    case FFI_TYPE_DOUBLE: value.d = *(const double *)place; break;
    default: value.i = *(const uint32_t *)place;
    }
    return value;
}

void ffi_call(ffi_cif *cif, void (*function)(void), void *place, void **arguments) {
    union value values[MOST_ARGUMENTS], result;
    for (unsigned index = 0; index < cif->nargs; index++) values[index] = load(cif->arg_types[index], arguments[index]);
    switch (kind(cif->rtype)) {
    case NUMBER_v: call_v(function, cif, values, &result); return;
    case NUMBER_i:
        call_i(function, cif, values, &result);
        *(ffi_arg *)place = result.i;
        return;
    case NUMBER_l:
        call_l(function, cif, values, &result);
        *(uint64_t *)place = result.l;
        return;
    case NUMBER_f:
        call_f(function, cif, values, &result);
        *(float *)place = result.f;
        return;
    case NUMBER_d:
        call_d(function, cif, values, &result);
        *(double *)place = result.d;
        return;
    }
}

void *ffi_closure_alloc(size_t size, void **code) { return *code = malloc(size); }

void ffi_closure_free(void *closure) { free(closure); }

ffi_status ffi_prep_closure_loc(ffi_closure *closure, ffi_cif *cif, void (*function)(ffi_cif *, void *, void **, void *), void *data,
                                void *code) {
    return FFI_BAD_ABI;
}
