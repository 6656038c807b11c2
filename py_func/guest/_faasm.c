/* The built-in module `_faasm`: the host interface as Python sees it, one function for each import of
 * faasm.h. The package `faasm` is what people use; it adds types, defaults and documentation. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/file.h>
#include <unistd.h>

#include "faasm.h"
#include "heap.h"

/* From this size on, in bytes, an input is worth being in memory once and not twice. */
enum { LARGE_INPUT = 1 << 20 };

/* A large input that was asked for. The host has forgotten it then, so this is what is left for who asks again. */
static PyObject *g_input;

static PyObject *module_input(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    if (g_input) return Py_NewRef(g_input);
    uint32_t length = faasm_input(NULL, 0, 0);
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, length);
    if (!bytes) return NULL;
    faasm_input((uint8_t *)PyBytes_AS_STRING(bytes), length, 0);
    if (length >= LARGE_INPUT) {
        g_input = Py_NewRef(bytes);
        faasm_input(NULL, 0, FAASM_INPUT_KEPT);
    }
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

/* Requests. Every one of them is made by ask(), and what they leave becomes an object by one of the functions behind it. */

static PyObject *answer(void) {
    uint32_t length = faasm_answer(NULL, 0, 0);
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, length);
    if (bytes) faasm_answer((uint8_t *)PyBytes_AS_STRING(bytes), length, 0);
    return bytes;
}

static PyObject *answer_text(void) {
    PyObject *bytes = answer();
    PyObject *text = bytes ? PyUnicode_DecodeUTF8(PyBytes_AS_STRING(bytes), PyBytes_GET_SIZE(bytes), "replace") : NULL;
    Py_XDECREF(bytes);
    return text;
}

/* The entries of a list, as bytes or as text. */
static PyObject *answer_list(int text) {
    PyObject *bytes = answer(), *list = bytes ? PyList_New(0) : NULL;
    if (!list) goto done;
    const char *at = PyBytes_AS_STRING(bytes), *end = at + PyBytes_GET_SIZE(bytes);
    while (end - at >= 4) {
        uint32_t length;
        memcpy(&length, at, 4);
        at += 4;
        if (length > (uint32_t)(end - at)) break;
        PyObject *entry = text ? PyUnicode_DecodeUTF8(at, length, "replace") : PyBytes_FromStringAndSize(at, length);
        if (!entry || PyList_Append(list, entry) < 0) {
            Py_XDECREF(entry);
            Py_CLEAR(list);
            break;
        }
        Py_DECREF(entry);
        at += length;
    }
done:
    Py_XDECREF(bytes);
    return list;
}

/* Makes a request. Negative if it was refused, and then an exception is set. */
static int64_t ask(uint32_t operation, const char *name, Py_ssize_t name_length, const Py_buffer *data, uint64_t first, uint64_t second) {
    int64_t result = faasm_request(operation, (const uint8_t *)name, (uint32_t)name_length, data ? data->buf : NULL,
                                   data ? (uint32_t)data->len : 0, first, second);
    if (result >= 0) return result;
    PyObject *kind = result == -FAASM_ERROR_KEY       ? PyExc_KeyError
                     : result == -FAASM_ERROR_VALUE   ? PyExc_ValueError
                     : result == -FAASM_ERROR_RUNTIME ? PyExc_RuntimeError
                                                      : PyExc_OSError;
    PyObject *text = answer_text();
    if (text) PyErr_SetObject(kind, text);
    Py_XDECREF(text);
    return -1;
}

static PyObject *none_or_error(int64_t result) { return result < 0 ? NULL : Py_NewRef(Py_None); }

static PyObject *module_get_output(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    return ask(FAASM_OUTPUT, NULL, 0, NULL, 0, 0) < 0 ? NULL : answer();
}

static PyObject *module_info(PyObject *module, PyObject *argument) {
    (void)module;
    long what = PyLong_AsLong(argument);
    if (what == -1 && PyErr_Occurred()) return NULL;
    return ask(FAASM_INFO, NULL, 0, NULL, (uint64_t)what, 0) < 0 ? NULL : answer_text();
}

static PyObject *module_config(PyObject *module, PyObject *arguments) {
    (void)module;
    const char *name;
    Py_ssize_t length;
    if (!PyArg_ParseTuple(arguments, "s#", &name, &length)) return NULL;
    if (ask(FAASM_CONFIG, name, length, NULL, 0, 0) >= 0) return answer_text();
    if (!PyErr_ExceptionMatches(PyExc_KeyError)) return NULL;
    PyErr_Clear();
    Py_RETURN_NONE;
}

static PyObject *module_log(PyObject *module, PyObject *arguments) {
    (void)module;
    unsigned int level;
    Py_buffer text;
    if (!PyArg_ParseTuple(arguments, "Is*", &level, &text)) return NULL;
    int64_t result = ask(FAASM_LOG, NULL, 0, &text, level, 0);
    PyBuffer_Release(&text);
    return none_or_error(result);
}

static PyObject *module_digest(PyObject *module, PyObject *arguments) {
    (void)module;
    const char *name;
    Py_ssize_t length;
    Py_buffer data;
    if (!PyArg_ParseTuple(arguments, "s#y*", &name, &length, &data)) return NULL;
    int64_t result = ask(FAASM_DIGEST, name, length, &data, 0, 0);
    PyBuffer_Release(&data);
    return result < 0 ? NULL : answer();
}

static PyObject *module_state_size(PyObject *module, PyObject *arguments) {
    (void)module;
    const char *key;
    Py_ssize_t length;
    if (!PyArg_ParseTuple(arguments, "s#", &key, &length)) return NULL;
    int64_t size = ask(FAASM_STATE_SIZE, key, length, NULL, 0, 0);
    return size < 0 ? NULL : PyLong_FromLongLong(size);
}

/* Offsets and sizes are not negative; -1 where it is allowed stands for none. */
static int is_number(long long number, int or_none) {
    if (number >= 0 || (or_none && number == -1)) return 1;
    PyErr_Format(PyExc_ValueError, "an offset, a length or a size is %lld", number);
    return 0;
}

static uint64_t number_or_none(long long number) { return number < 0 ? FAASM_NONE : (uint64_t)number; }

static PyObject *module_state_read(PyObject *module, PyObject *arguments) {
    (void)module;
    const char *key;
    Py_ssize_t key_length;
    long long offset = 0, length = -1;
    if (!PyArg_ParseTuple(arguments, "s#|LL", &key, &key_length, &offset, &length)) return NULL;
    if (!is_number(offset, 0) || !is_number(length, 1)) return NULL;
    return ask(FAASM_STATE_READ, key, key_length, NULL, (uint64_t)offset, number_or_none(length)) < 0 ? NULL : answer();
}

static PyObject *module_state_read_into(PyObject *module, PyObject *arguments) {
    (void)module;
    const char *key;
    Py_ssize_t key_length;
    long long offset;
    Py_buffer buffer;
    if (!PyArg_ParseTuple(arguments, "s#Lw*", &key, &key_length, &offset, &buffer)) return NULL;
    PyObject *result = NULL;
    if (is_number(offset, 0) && ask(FAASM_STATE_READ, key, key_length, NULL, (uint64_t)offset, (uint64_t)buffer.len) >= 0)
        result = PyLong_FromUnsignedLong(faasm_answer(buffer.buf, (uint32_t)buffer.len, 0));
    PyBuffer_Release(&buffer);
    return result;
}

/* Requests that take a key and data. */
static PyObject *with_data(uint32_t operation, PyObject *arguments) {
    const char *key;
    Py_ssize_t length;
    Py_buffer data;
    if (!PyArg_ParseTuple(arguments, "s#y*", &key, &length, &data)) return NULL;
    int64_t result = ask(operation, key, length, &data, 0, 0);
    PyBuffer_Release(&data);
    return none_or_error(result);
}

static PyObject *module_state_write(PyObject *module, PyObject *arguments) { (void)module; return with_data(FAASM_STATE_WRITE, arguments); }
static PyObject *module_state_append(PyObject *module, PyObject *arguments) { (void)module; return with_data(FAASM_STATE_APPEND, arguments); }

static PyObject *module_state_write_at(PyObject *module, PyObject *arguments) {
    (void)module;
    const char *key;
    Py_ssize_t length;
    long long offset, total = -1;
    Py_buffer data;
    if (!PyArg_ParseTuple(arguments, "s#Ly*|L", &key, &length, &offset, &data, &total)) return NULL;
    int64_t result = -1;
    if (is_number(offset, 0) && is_number(total, 1))
        result = ask(FAASM_STATE_WRITE_AT, key, length, &data, (uint64_t)offset, number_or_none(total));
    PyBuffer_Release(&data);
    return none_or_error(result);
}

static PyObject *module_state_resize(PyObject *module, PyObject *arguments) {
    (void)module;
    const char *key;
    Py_ssize_t length;
    long long size;
    if (!PyArg_ParseTuple(arguments, "s#L", &key, &length, &size) || !is_number(size, 0)) return NULL;
    return none_or_error(ask(FAASM_STATE_RESIZE, key, length, NULL, (uint64_t)size, 0));
}

static PyObject *module_state_appended(PyObject *module, PyObject *arguments) {
    (void)module;
    const char *key;
    Py_ssize_t length;
    long long count = -1;
    if (!PyArg_ParseTuple(arguments, "s#|L", &key, &length, &count) || !is_number(count, 1)) return NULL;
    return ask(FAASM_STATE_APPENDED, key, length, NULL, number_or_none(count), 0) < 0 ? NULL : answer_list(0);
}

static PyObject *module_state_keys(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    return ask(FAASM_STATE_KEYS, NULL, 0, NULL, 0, 0) < 0 ? NULL : answer_list(1);
}

/* Requests that take a key and nothing else. */
static PyObject *with_key(uint32_t operation, PyObject *arguments) {
    const char *key;
    Py_ssize_t length;
    if (!PyArg_ParseTuple(arguments, "s#", &key, &length)) return NULL;
    return none_or_error(ask(operation, key, length, NULL, 0, 0));
}

static PyObject *module_state_delete(PyObject *module, PyObject *arguments) { (void)module; return with_key(FAASM_STATE_DELETE, arguments); }
static PyObject *module_state_push(PyObject *module, PyObject *arguments) { (void)module; return with_key(FAASM_STATE_PUSH, arguments); }
static PyObject *module_state_push_partial(PyObject *module, PyObject *arguments) { (void)module; return with_key(FAASM_STATE_PUSH_PARTIAL, arguments); }
static PyObject *module_state_pull(PyObject *module, PyObject *arguments) { (void)module; return with_key(FAASM_STATE_PULL, arguments); }
static PyObject *module_state_clear_appended(PyObject *module, PyObject *arguments) { (void)module; return with_key(FAASM_STATE_CLEAR_APPENDED, arguments); }

static PyObject *with_lock(uint32_t operation, PyObject *arguments) {
    const char *key;
    Py_ssize_t length;
    int exclusive;
    if (!PyArg_ParseTuple(arguments, "s#p", &key, &length, &exclusive)) return NULL;
    return none_or_error(ask(operation, key, length, NULL, (uint64_t)exclusive, 0));
}

static PyObject *module_state_lock(PyObject *module, PyObject *arguments) { (void)module; return with_lock(FAASM_STATE_LOCK, arguments); }
static PyObject *module_state_unlock(PyObject *module, PyObject *arguments) { (void)module; return with_lock(FAASM_STATE_UNLOCK, arguments); }

static PyObject *module_chain(PyObject *module, PyObject *arguments) {
    (void)module;
    const char *function, *entry;
    Py_buffer data;
    if (!PyArg_ParseTuple(arguments, "ssy*", &function, &entry, &data)) return NULL;
    PyObject *name = PyBytes_FromFormat("%s%c%s", function, 0, entry);
    int64_t call = name ? ask(FAASM_CHAIN, PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name), &data, 0, 0) : -1;
    Py_XDECREF(name);
    PyBuffer_Release(&data);
    return call < 0 ? NULL : PyLong_FromLongLong(call);
}

static int64_t await(PyObject *argument) {
    unsigned long long call = PyLong_AsUnsignedLongLong(argument);
    if (call == (unsigned long long)-1 && PyErr_Occurred()) return -1;
    return ask(FAASM_AWAIT, NULL, 0, NULL, call, 0);
}

static PyObject *module_await_call(PyObject *module, PyObject *argument) {
    (void)module;
    int64_t status = await(argument);
    return status < 0 ? NULL : PyLong_FromLong((int32_t)status);
}

static PyObject *module_await_output(PyObject *module, PyObject *argument) {
    (void)module;
    int64_t status = await(argument);
    return status < 0 ? NULL : Py_BuildValue("(iN)", (int32_t)status, answer());
}

/* The numbers of those of the given calls that have ended, in that order. */
static PyObject *module_await_any(PyObject *module, PyObject *arguments) {
    (void)module;
    PyObject *calls, *result = NULL;
    long long nanoseconds;
    if (!PyArg_ParseTuple(arguments, "OL", &calls, &nanoseconds)) return NULL;
    PyObject *sequence = PySequence_Fast(calls, "numbers of calls are expected");
    if (!sequence) return NULL;
    Py_ssize_t count = PySequence_Fast_GET_SIZE(sequence);
    PyObject *numbers = PyBytes_FromStringAndSize(NULL, count * 8);
    for (Py_ssize_t index = 0; numbers && index < count; index++) {
        unsigned long long number = PyLong_AsUnsignedLongLong(PySequence_Fast_GET_ITEM(sequence, index));
        if (number == (unsigned long long)-1 && PyErr_Occurred()) Py_CLEAR(numbers);
        else memcpy(PyBytes_AS_STRING(numbers) + index * 8, &number, 8);
    }
    Py_DECREF(sequence);
    if (!numbers) return NULL;
    Py_buffer data = {.buf = PyBytes_AS_STRING(numbers), .len = count * 8};
    int64_t refused = ask(FAASM_AWAIT_ANY, NULL, 0, &data, number_or_none(nanoseconds), 0);
    Py_DECREF(numbers);
    PyObject *bytes = refused < 0 ? NULL : answer();
    if (bytes && (result = PyList_New(PyBytes_GET_SIZE(bytes) / 8))) {
        for (Py_ssize_t index = 0; index < PyList_GET_SIZE(result); index++) {
            unsigned long long number;
            memcpy(&number, PyBytes_AS_STRING(bytes) + index * 8, 8);
            PyObject *object = PyLong_FromUnsignedLongLong(number);
            if (!object) {
                Py_CLEAR(result);
                break;
            }
            PyList_SET_ITEM(result, index, object);
        }
    }
    Py_XDECREF(bytes);
    return result;
}

/* SQLite has a generator of its own. Without a buffer, this has it forget its state and draw a new seed when it
 * needs one; see sqlite_randomness() in wasi.c. */
static PyObject *module_reseed_sqlite(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    sqlite3_randomness(0, NULL);
    Py_RETURN_NONE;
}

/* Mersenne Twisters, which both the module random and NumPy's global generator are, have a state of 624 words. Their own ways to
 * seed it take longer than most calls. So it is filled here, with numbers of xoshiro256++ (Blackman and Vigna,
 * https://prng.di.unimi.it), seeded with 256 bits of the host's. */
enum { TWISTER_WORDS = 624 };

static int fill_twister(uint32_t *words) {
    uint64_t s[4];
    if (getentropy(s, sizeof s) != 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    for (size_t index = 0; index < TWISTER_WORDS; index += 2) {
        uint64_t sum = s[0] + s[3], number = (sum << 23 | sum >> 41) + s[0], shifted = s[1] << 17;
        s[2] ^= s[0], s[3] ^= s[1], s[1] ^= s[2], s[0] ^= s[3], s[2] ^= shifted;
        s[3] = s[3] << 45 | s[3] >> 19;
        memcpy(words + index, &number, sizeof number);
    }
    /* A state of zeros would stay one. */
    words[0] |= 0x80000000;
    return 0;
}

/* RandomObject of CPython 3.13's Modules/_randommodule.c. A test notices when it is another one. */
struct random_object {
    PyObject base;
    int position;
    uint32_t words[TWISTER_WORDS];
};

static PyObject *module_reseed_random(PyObject *module, PyObject *object) {
    (void)module;
    if ((size_t)Py_TYPE(object)->tp_basicsize < sizeof(struct random_object)) {
        PyErr_SetString(PyExc_TypeError, "this is no random.Random");
        return NULL;
    }
    struct random_object *random = (struct random_object *)object;
    if (fill_twister(random->words) < 0) return NULL;
    random->position = TWISTER_WORDS;
    Py_RETURN_NONE;
}

/* mt19937_state of NumPy's numpy/random/src/mt19937/mt19937.h, to which bitgen_t of numpy/random/bitgen.h points first. */
struct numpy_twister {
    uint32_t words[TWISTER_WORDS];
    int position;
};

static struct numpy_twister *numpy_twister(PyObject *capsule) {
    void **generator = PyCapsule_GetPointer(capsule, "BitGenerator");
    return generator ? *generator : NULL;
}

static PyObject *module_is_numpy_twister(PyObject *module, PyObject *arguments) {
    (void)module;
    PyObject *capsule;
    struct numpy_twister expected;
    Py_buffer words;
    if (!PyArg_ParseTuple(arguments, "Oy*i", &capsule, &words, &expected.position)) return NULL;
    struct numpy_twister *twister = numpy_twister(capsule);
    int same = twister && words.len == sizeof expected.words && memcmp(twister->words, words.buf, sizeof expected.words) == 0 &&
               twister->position == expected.position;
    PyBuffer_Release(&words);
    return PyErr_Occurred() ? NULL : PyBool_FromLong(same);
}

static PyObject *module_reseed_numpy(PyObject *module, PyObject *capsule) {
    (void)module;
    struct numpy_twister *twister = numpy_twister(capsule);
    if (!twister || fill_twister(twister->words) < 0) return NULL;
    twister->position = TWISTER_WORDS;
    Py_RETURN_NONE;
}

/* What the module `fcntl` is made of. The functions are those of wasi.c. */

static PyObject *number_or_error(int result) { return result < 0 ? PyErr_SetFromErrno(PyExc_OSError) : PyLong_FromLong(result); }

static PyObject *module_flock(PyObject *module, PyObject *arguments) {
    (void)module;
    int descriptor, operation;
    if (!PyArg_ParseTuple(arguments, "ii", &descriptor, &operation)) return NULL;
    return number_or_error(flock(descriptor, operation));
}

static PyObject *module_lock_range(PyObject *module, PyObject *arguments) {
    (void)module;
    int descriptor, command, type, whence;
    long long start, length;
    if (!PyArg_ParseTuple(arguments, "iiiLLi", &descriptor, &command, &type, &start, &length, &whence)) return NULL;
    struct flock lock = {.l_type = (short)type, .l_whence = (short)whence, .l_start = start, .l_len = length};
    return number_or_error(fcntl(descriptor, command, &lock));
}

static PyObject *module_fcntl(PyObject *module, PyObject *arguments) {
    (void)module;
    int descriptor, command, argument;
    if (!PyArg_ParseTuple(arguments, "iii", &descriptor, &command, &argument)) return NULL;
    return number_or_error(fcntl(descriptor, command, argument));
}

/* How often memory like this was made an image: what is random in the memory of one is so in the memory of all that come from it. */
static int g_images = 1;

/* What recipes have C libraries ask where they would ask for the number of the process, to find out that they are in a copy of
 * their memory and need new randomness. */
int faasm_process(void);

int faasm_process(void) { return g_images; }

static PyObject *module_settle(PyObject *module, PyObject *argument) {
    (void)module;
    int everything = PyObject_IsTrue(argument);
    if (everything < 0) return NULL;
    /* What a module reads as its input while it is imported is not the input of calls. */
    Py_CLEAR(g_input);
    faasm_settle(everything);
    g_images++;
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"input", module_input, METH_NOARGS, "The input of the call, as bytes."},
    {"output", module_output, METH_O, "Makes a bytes-like object the output of the call."},
    {"fail", module_fail, METH_VARARGS, "Reports how the load or the call failed: (kind, text)."},
    {"flock", module_flock, METH_VARARGS, "(fd, operation)"},
    {"lock_range", module_lock_range, METH_VARARGS, "(fd, command, type, start, length, whence)"},
    {"fcntl", module_fcntl, METH_VARARGS, "(fd, command, argument)"},
    {"settle", module_settle, METH_O, "Makes the heap fit to be an image: of the interpreter, or only of a function."},
    {"reseed_sqlite", module_reseed_sqlite, METH_NOARGS, "Has SQLite draw a new seed when it needs random numbers."},
    {"reseed_random", module_reseed_random, METH_O, "Seeds a random.Random."},
    {"is_numpy_twister", module_is_numpy_twister, METH_VARARGS,
     "Whether reseed_numpy() can seed a generator of NumPy, whose state is (capsule, words, position)."},
    {"reseed_numpy", module_reseed_numpy, METH_O, "Seeds the generator of NumPy's in a capsule."},
    {"get_output", module_get_output, METH_NOARGS, "What was given to output() last, as bytes."},
    {"info", module_info, METH_O, "About this call: one of INFO_*, as text."},
    {"config", module_config, METH_VARARGS, "A configuration flag, or None: (name)."},
    {"log", module_log, METH_VARARGS, "Writes to the host's log: (level, text)."},
    {"digest", module_digest, METH_VARARGS, "A hash, computed by the host: (name, data)."},
    {"state_size", module_state_size, METH_VARARGS, "(key)"},
    {"state_read", module_state_read, METH_VARARGS, "(key, offset=0, length=-1)"},
    {"state_read_into", module_state_read_into, METH_VARARGS, "(key, offset, buffer)"},
    {"state_write", module_state_write, METH_VARARGS, "(key, data)"},
    {"state_write_at", module_state_write_at, METH_VARARGS, "(key, offset, data, total=-1)"},
    {"state_resize", module_state_resize, METH_VARARGS, "(key, size)"},
    {"state_delete", module_state_delete, METH_VARARGS, "(key)"},
    {"state_push", module_state_push, METH_VARARGS, "(key)"},
    {"state_push_partial", module_state_push_partial, METH_VARARGS, "(key)"},
    {"state_pull", module_state_pull, METH_VARARGS, "(key)"},
    {"state_append", module_state_append, METH_VARARGS, "(key, data)"},
    {"state_appended", module_state_appended, METH_VARARGS, "(key, count=-1)"},
    {"state_clear_appended", module_state_clear_appended, METH_VARARGS, "(key)"},
    {"state_lock", module_state_lock, METH_VARARGS, "(key, exclusive)"},
    {"state_unlock", module_state_unlock, METH_VARARGS, "(key, exclusive)"},
    {"state_keys", module_state_keys, METH_NOARGS, "All keys of the user."},
    {"chain", module_chain, METH_VARARGS, "Starts a call: (function, entry, data). Returns its number."},
    {"await_call", module_await_call, METH_O, "The status of a chained call."},
    {"await_any", module_await_any, METH_VARARGS, "Those of some calls that have ended, once one has: (calls, nanoseconds or -1)."},
    {"await_output", module_await_output, METH_O, "The status and the output of a chained call."},
    {NULL, NULL, 0, NULL},
};

static int execute(PyObject *module) {
    static const struct {
        const char *name;
        long value;
    } constants[] = {
        {"FAASM_FAIL_EXCEPTION", FAASM_FAIL_EXCEPTION}, {"FAASM_FAIL_SYNTAX", FAASM_FAIL_SYNTAX},
        {"FAASM_FAIL_ENTRY", FAASM_FAIL_ENTRY},         {"FAASM_FAIL_RESULT", FAASM_FAIL_RESULT},
        {"FAASM_FAIL_MEMORY", FAASM_FAIL_MEMORY},       {"FAASM_FAIL_TIME", FAASM_FAIL_TIME},
        {"INFO_USER", FAASM_INFO_USER},                 {"INFO_FUNCTION", FAASM_INFO_FUNCTION},
        {"INFO_ENTRY", FAASM_INFO_ENTRY},               {"INFO_CALL", FAASM_INFO_CALL},
    };
    for (size_t index = 0; index < sizeof constants / sizeof *constants; index++)
        if (PyModule_AddIntConstant(module, constants[index].name, constants[index].value) < 0) return -1;
    return 0;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, execute}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_faasm", "The host interface.", 0, methods, slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__faasm(void) { return PyModuleDef_Init(&definition); }
