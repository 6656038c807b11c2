/* The built-in module `_faasm`: the host interface as Python sees it, one function for each import of
 * faasm.h. The package `faasm` is what people use; it adds types, defaults and documentation. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <sqlite3.h>

#include "faasm.h"

static PyObject *module_input(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    uint32_t length = faasm_input(NULL, 0, 0);
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, length);
    if (bytes) faasm_input((uint8_t *)PyBytes_AS_STRING(bytes), length, 0);
    return bytes;
}

static PyObject *module_output(PyObject *module, PyObject *argument) {
    (void)module;
    Py_buffer view;
    if (PyObject_GetBuffer(argument, &view, PyBUF_SIMPLE) < 0) return NULL;
    faasm_output(view.buf, (uint32_t)view.len);
    PyBuffer_Release(&view);
    Py_RETURN_NONE;
}

static PyObject *module_fail(PyObject *module, PyObject *arguments) {
    (void)module;
    unsigned int kind;
    const uint8_t *text;
    Py_ssize_t length;
    if (!PyArg_ParseTuple(arguments, "Iy#", &kind, &text, &length)) return NULL;
    faasm_fail(kind, text, (uint32_t)length);
    Py_RETURN_NONE;
}

/* SQLite has a generator of its own. Without a buffer, this has it forget its state and draw a new seed when it
 * needs one; see sqlite_randomness() in wasi.c. */
static PyObject *module_reseed_sqlite(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    sqlite3_randomness(0, NULL);
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"input", module_input, METH_NOARGS, "The input of the call, as bytes."},
    {"output", module_output, METH_O, "Makes a bytes-like object the output of the call."},
    {"fail", module_fail, METH_VARARGS, "Reports how the load or the call failed: (kind, text)."},
    {"reseed_sqlite", module_reseed_sqlite, METH_NOARGS, "Has SQLite draw a new seed when it needs random numbers."},
    {NULL, NULL, 0, NULL},
};

static int execute(PyObject *module) {
    return PyModule_AddIntMacro(module, FAASM_FAIL_EXCEPTION) < 0 || PyModule_AddIntMacro(module, FAASM_FAIL_SYNTAX) < 0 ||
                   PyModule_AddIntMacro(module, FAASM_FAIL_ENTRY) < 0 || PyModule_AddIntMacro(module, FAASM_FAIL_RESULT) < 0 ||
                   PyModule_AddIntMacro(module, FAASM_FAIL_MEMORY) < 0
               ? -1
               : 0;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, execute}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_faasm", "The host interface.", 0, methods, slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__faasm(void) { return PyModuleDef_Init(&definition); }
