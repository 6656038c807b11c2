/* C++ with its library, an object that is made before anything runs, files, exceptions, and jumps. */
#include <Python.h>

#include <algorithm>
#include <csetjmp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <stdexcept>
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

/* What a copy of a new file holds, and how long it is. */
static PyObject *copied(PyObject *, PyObject *argument) {
    const std::filesystem::path directory = PyUnicode_AsUTF8(argument);
    std::ofstream(directory / "first") << "line " << 1 << "\n";
    std::filesystem::copy_file(directory / "first", directory / "second");
    std::filesystem::remove(directory / "first");
    std::ifstream file(directory / "second");
    const std::string text(std::istreambuf_iterator<char>(file), {});
    const bool gone = !std::ifstream(directory / "first").is_open();
    return Py_BuildValue("slN", text.c_str(), (long)std::filesystem::file_size(directory / "second"), PyBool_FromLong(gone));
}

/* What its destructor finds out is seen, however the function is left. */
static long ended;
struct Ends {
    ~Ends() { ended++; }
};

struct Own : std::runtime_error {
    using std::runtime_error::runtime_error;
};

static void fail(long how) {
    Ends ends;
    if (how == 0) throw Own("own");
    if (how == 1) throw std::out_of_range("standard");
    if (how == 2) std::vector<int>().at(1);
    if (how == 3) std::stoi("no number");
    if (how == 4) throw 4;
    if (how == 5) try { fail(0); } catch (...) { throw; }
}

/* What failed in which way, and how many objects were ended. */
static PyObject *caught(PyObject *, PyObject *argument) {
    const char *kind = "nothing";
    std::string what;
    ended = 0;
    try {
        fail(PyLong_AsLong(argument));
    } catch (const Own &error) {
        kind = "Own", what = error.what();
    } catch (const std::out_of_range &error) {
        kind = "out_of_range";
    } catch (const std::exception &error) {
        kind = "exception", what = error.what();
    } catch (...) {
        kind = "other";
    }
    return Py_BuildValue("ssl", kind, what.c_str(), ended);
}

/* Nothing in CPython catches it. */
static PyObject *thrown(PyObject *, PyObject *) {
    throw Own("nobody");
}

static jmp_buf place;

[[gnu::noinline]] static void jump(long value) {
    if (value) longjmp(place, (int)value);
}

static PyObject *jumped(PyObject *, PyObject *argument) {
    volatile long times = 0;
    int value = setjmp(place);
    times++;
    if (value == 0) jump(PyLong_AsLong(argument));
    return Py_BuildValue("il", value, (long)times);
}

/* Objects that are made when the module is imported first, as when a library is loaded: the interpreter is there, and their order is theirs. */
static PyObject *made() {
    static long times;
    return Py_BuildValue("(sl)", "made", ++times);
}
static PyObject *const first = made();
static PyObject *const second = PyTuple_Pack(2, first, made());

static PyObject *constructed(PyObject *, PyObject *) { return Py_NewRef(second); }

static PyMethodDef methods[] = {
    {"sorted", sorted, METH_NOARGS, nullptr},
    {"copied", copied, METH_O, nullptr},
    {"caught", caught, METH_O, nullptr},
    {"thrown", thrown, METH_NOARGS, nullptr},
    {"jumped", jumped, METH_O, nullptr},
    {"constructed", constructed, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};
static PyModuleDef module = {PyModuleDef_HEAD_INIT, "_cpp", nullptr, 0, methods};

PyMODINIT_FUNC PyInit__cpp(void) { return PyModule_Create(&module); }
