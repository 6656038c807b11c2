/* C++ with its library, and an object that is made before anything runs. */
#include <Python.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

static const std::map<std::string, long> lengths = {{"one", 3}, {"three", 5}};

static PyObject *sorted(PyObject *, PyObject *) {
    std::vector<std::string> names;
    for (const auto &[name, length] : lengths) names.push_back(name + ":" + std::to_string(length));
    std::sort(names.begin(), names.end(), [](const auto &a, const auto &b) { return a.size() > b.size(); });
    std::string text;
    for (const auto &name : names) text += name + " ";
    return PyUnicode_FromString(text.c_str());
}

static PyMethodDef methods[] = {{"sorted", sorted, METH_NOARGS, nullptr}, {nullptr, nullptr, 0, nullptr}};
static PyModuleDef module = {PyModuleDef_HEAD_INIT, "_cpp", nullptr, 0, methods};

PyMODINIT_FUNC PyInit__cpp(void) { return PyModule_Create(&module); }
