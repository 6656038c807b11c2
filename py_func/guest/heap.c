/* The heap of an image. Guests share its pages as long as they do not write to them, so it is arranged for few writes. */
#define Py_BUILD_CORE
#include <Python.h>
#include <internal/pycore_interp.h>
#include <internal/pycore_obmalloc.h>
#include <internal/pycore_pystate.h>
#include <stdlib.h>

#include "heap.h"

/* Objects of an image live as long as any call that starts from it. Once they are immortal, calls do not count references to them, and
 * so neither write to their pages nor need copies of those. */

static int make_immortal(PyObject *object, void *unused) {
    (void)unused;
    if (_Py_IsImmortal(object)) return 0;
    Py_SET_REFCNT(object, _Py_IMMORTAL_REFCNT);
    if (PyCode_Check(object)) {
        /* The collector does not know code objects, so nobody else comes to what they refer to. */
        PyCodeObject *code = (PyCodeObject *)object;
        make_immortal(code->co_consts, NULL);
        make_immortal(code->co_names, NULL);
        make_immortal(code->co_name, NULL);
        make_immortal(code->co_qualname, NULL);
        make_immortal(code->co_filename, NULL);
    } else if (PyTuple_CheckExact(object)) {
        /* Nor tuples of simple things. */
        for (Py_ssize_t index = 0; index < PyTuple_GET_SIZE(object); index++) make_immortal(PyTuple_GET_ITEM(object, index), NULL);
    }
    return 0;
}

static int visit_object(PyObject *object, void *everything) {
    /* Instances of a function's own classes may have finalizers, which are to run when they are dropped. */
    int is_code = PyFunction_Check(object) || PyType_Check(object) || PyModule_Check(object) || PyCFunction_Check(object);
    if (!*(int *)everything && !is_code) return 1;
    traverseproc traverse = Py_TYPE(object)->tp_traverse;
    make_immortal(object, NULL);
    if (PyFunction_Check(object)) make_immortal(PyFunction_GET_CODE(object), NULL);
    if (*(int *)everything && traverse) traverse(object, make_immortal, NULL);
    return 1;
}

/* Free places between objects of the interpreter are given away for good, so that a function's objects do not end up among
 * them, each on another page, but all together on new ones. A function's image is the pages that differ. */

static void fill_pools(void) {
    struct _obmalloc_state *state = _PyInterpreterState_GET()->obmalloc;
    /* Pools that have free blocks, of each size. One that holds a single block was begun for it, so there are no others left. */
    for (size_t size = ALIGNMENT; size <= SMALL_REQUEST_THRESHOLD; size += ALIGNMENT) {
        for (;;) {
            void *block = PyObject_Malloc(size);
            if (!block) return;
            if (((poolp)_Py_ALIGN_DOWN(block, POOL_SIZE))->ref.count == 1) {
                PyObject_Free(block);
                break;
            }
        }
    }
    /* Pools that were never used or became free. */
    while (state->mgmt.usable_arenas && PyObject_Malloc(SMALL_REQUEST_THRESHOLD)) continue;
}

/* More than any free chunk between others. */
enum { LARGE = 1 << 22, SMALLEST = 16 };

static void fill_chunks(void) {
    void *volatile end = malloc(LARGE);
    if (!end) return;
    free(end);
    /* What is not taken from the end of the heap was between others. */
    for (size_t size = LARGE; size >= SMALLEST; size /= 2) {
        char *chunk;
        while ((chunk = malloc(size)) && chunk < (char *)end) continue;
        free(chunk);
    }
}

/* Room for the heap, so that most calls need not have the memory grow, after which it cannot be reset in place. It is never touched
 * before it is used, so it takes no memory. A function's image gets more only when it has used up half of it, so that most
 * images are as large as the interpreter's. */
enum { ROOM = 8 << 20 };

static void make_room(size_t size) {
    /* A compiler may leave out what malloc() and free() do together, but not if it has to look. */
    void *volatile room = malloc(size);
    free(room);
}

void faasm_settle(int everything) {
    PyUnstable_GC_VisitObjects(visit_object, &everything);
    if (everything) {
        fill_pools();
        fill_chunks();
    }
    make_room(everything ? ROOM : ROOM / 2);
}
