/* What `ctypes.CDLL(None)` and `ctypes.pythonapi` find: functions that programs ask for there. There is no table of all functions in a
 * WebAssembly program, and one would keep all of them in it. */
#include <Python.h>
#include <ctype.h>
#include <ffi.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FUNCTION(name) {#name, (void *)name},

static const struct {
    const char *name;
    void *address;
} functions[] = {
    FUNCTION(abs) FUNCTION(labs) FUNCTION(atoi) FUNCTION(atof) FUNCTION(strtol) FUNCTION(strtoul) FUNCTION(strtod)
    FUNCTION(malloc) FUNCTION(calloc) FUNCTION(realloc) FUNCTION(free) FUNCTION(getenv) FUNCTION(rand) FUNCTION(srand)
    FUNCTION(memchr) FUNCTION(memcmp) FUNCTION(memcpy) FUNCTION(memmove) FUNCTION(memset)
    FUNCTION(strcat) FUNCTION(strchr) FUNCTION(strcmp) FUNCTION(strcpy) FUNCTION(strdup) FUNCTION(strlen) FUNCTION(strncmp)
    FUNCTION(strncpy) FUNCTION(strnlen) FUNCTION(strrchr) FUNCTION(strstr) FUNCTION(tolower) FUNCTION(toupper) FUNCTION(time)
    FUNCTION(acos) FUNCTION(asin) FUNCTION(atan) FUNCTION(atan2) FUNCTION(cbrt) FUNCTION(ceil) FUNCTION(cos) FUNCTION(cosh)
    FUNCTION(exp) FUNCTION(fabs) FUNCTION(floor) FUNCTION(fmod) FUNCTION(hypot) FUNCTION(log) FUNCTION(log10) FUNCTION(log2)
    FUNCTION(pow) FUNCTION(round) FUNCTION(sin) FUNCTION(sinh) FUNCTION(sqrt) FUNCTION(tan) FUNCTION(tanh)

    FUNCTION(Py_DecRef) FUNCTION(Py_GetVersion) FUNCTION(Py_IncRef) FUNCTION(Py_IsInitialized)
    FUNCTION(PyBuffer_Release) FUNCTION(PyByteArray_AsString) FUNCTION(PyByteArray_FromStringAndSize) FUNCTION(PyByteArray_Size)
    FUNCTION(PyBytes_AsString) FUNCTION(PyBytes_FromString) FUNCTION(PyBytes_FromStringAndSize) FUNCTION(PyBytes_Size)
    FUNCTION(PyCapsule_GetName) FUNCTION(PyCapsule_GetPointer) FUNCTION(PyCapsule_IsValid) FUNCTION(PyCapsule_New)
    FUNCTION(PyCapsule_GetContext) FUNCTION(PyCapsule_SetContext) FUNCTION(PyCapsule_SetName) FUNCTION(PyCapsule_SetPointer)
    FUNCTION(PyDict_GetItem) FUNCTION(PyDict_GetItemString) FUNCTION(PyDict_New) FUNCTION(PyDict_SetItem)
    FUNCTION(PyDict_SetItemString) FUNCTION(PyDict_Size)
    FUNCTION(PyErr_Clear) FUNCTION(PyErr_Occurred) FUNCTION(PyErr_SetString)
    FUNCTION(PyEval_GetBuiltins) FUNCTION(PyFloat_AsDouble) FUNCTION(PyFloat_FromDouble)
    FUNCTION(PyGILState_Ensure) FUNCTION(PyGILState_Release) FUNCTION(PyImport_ImportModule)
    FUNCTION(PyList_Append) FUNCTION(PyList_GetItem) FUNCTION(PyList_New) FUNCTION(PyList_SetItem) FUNCTION(PyList_Size)
    FUNCTION(PyLong_AsLong) FUNCTION(PyLong_AsLongLong) FUNCTION(PyLong_AsVoidPtr) FUNCTION(PyLong_FromLong)
    FUNCTION(PyLong_FromLongLong) FUNCTION(PyLong_FromVoidPtr)
    FUNCTION(PyMem_Free) FUNCTION(PyMem_Malloc) FUNCTION(PyMem_Realloc)
    FUNCTION(PyMemoryView_FromBuffer) FUNCTION(PyMemoryView_FromMemory) FUNCTION(PyMemoryView_FromObject)
    FUNCTION(PyObject_CallObject) FUNCTION(PyObject_CheckBuffer) FUNCTION(PyObject_DelItem) FUNCTION(PyObject_Free)
    FUNCTION(PyObject_GetAttr) FUNCTION(PyObject_GetAttrString) FUNCTION(PyObject_GetBuffer) FUNCTION(PyObject_GetItem)
    FUNCTION(PyObject_Hash) FUNCTION(PyObject_IsTrue) FUNCTION(PyObject_Malloc) FUNCTION(PyObject_Repr)
    FUNCTION(PyObject_RichCompareBool) FUNCTION(PyObject_SetAttr) FUNCTION(PyObject_SetAttrString) FUNCTION(PyObject_SetItem)
    FUNCTION(PyObject_Size) FUNCTION(PyObject_Str) FUNCTION(PyObject_Type)
    FUNCTION(PyRun_SimpleString) FUNCTION(PySequence_Check) FUNCTION(PyThreadState_Get) FUNCTION(PyThreadState_SetAsyncExc)
    FUNCTION(PyTuple_GetItem) FUNCTION(PyTuple_New) FUNCTION(PyTuple_SetItem) FUNCTION(PyTuple_Size)
    FUNCTION(PyUnicode_AsUTF8) FUNCTION(PyUnicode_AsUTF8AndSize) FUNCTION(PyUnicode_FromString) FUNCTION(PyUnicode_FromStringAndSize)
};

/* What the last function has not found. */
static char message[160];
static int failed;

static void *fail(const char *what, const char *name) {
    snprintf(message, sizeof message, "%s %s", name, what);
    failed = 1;
    return NULL;
}

void *faasm_dlopen(const char *name, int mode) {
    if (name) return fail("cannot be loaded: there are no shared libraries in WebAssembly", name);
    return (void *)functions;
}

void *faasm_dlsym(void *library, const char *name) {
    for (size_t index = 0; index < sizeof functions / sizeof *functions; index++) {
        if (strcmp(functions[index].name, name) == 0) return functions[index].address;
    }
    return fail("is not among the functions that can be found by name", name);
}

int faasm_dlclose(void *library) { return 0; }

char *faasm_dlerror(void) {
    if (!failed) return NULL;
    failed = 0;
    return message;
}
