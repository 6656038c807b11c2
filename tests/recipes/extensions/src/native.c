/* Functions with other types than CPython calls them with, as packages have them. */
#include <Python.h>
#include <greeting.h>

int number = NUMBER;

static PyObject *without_argument(PyObject *self) { return PyLong_FromLong(number); }
static PyObject *without_keywords(PyObject *self, PyObject *args) { return PyLong_FromSsize_t(PyTuple_Size(args)); }
static PyObject *next(PyObject *self, PyObject *unused) { return PyLong_FromLong(greeting_next()); }

static PyMethodDef methods[] = {
    {"number", (PyCFunction)without_argument, METH_NOARGS, "The module's number."},
    {"count", (PyCFunction)without_keywords, METH_VARARGS | METH_KEYWORDS, NULL},
    {"next", next, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyObject *get(PyObject *self) { return PyLong_FromLong(10 * number); }
static PyGetSetDef getset[] = {{"value", (getter)get, NULL, NULL, NULL}, {NULL}};

static PyObject *repr(PyObject *self, void *unused, void *unused_too) { return PyUnicode_FromString("a thing"); }
static PyObject *negative(void) { return PyLong_FromLong(-number); }
/* Deallocators have no result. */
static int dealloc(PyObject *self) { Py_TYPE(self)->tp_free(self); return 1; }

static PyNumberMethods numbers = {.nb_negative = (unaryfunc)negative};

static PyTypeObject Thing = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "extensions.Thing",
    .tp_basicsize = sizeof(PyObject),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_dealloc = (destructor)dealloc,
    .tp_repr = (reprfunc)repr,
    .tp_as_number = &numbers,
    .tp_getset = getset,
    .tp_new = PyType_GenericNew,
};

static int exec(PyObject *module) { return PyModule_AddType(module, &Thing); }
static PyModuleDef_Slot slots[] = {{Py_mod_exec, exec}, {0, NULL}};
static PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "_native", .m_methods = methods, .m_slots = slots};

PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&module); }
