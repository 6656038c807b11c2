"""The guest's side of making images and of calls. Run by py_func.c; people use the package `faasm`.

Every function that py_func.c calls answers an int. Whatever goes wrong in code of the user is
reported to the host here, so that no exception of theirs reaches C.
"""

import ast  # traceback imports it for every report, which then would be slow, and impossible without memory
import gc
import importlib.machinery
import linecache
import os
import sys
import traceback
import types

import _faasm
import _faasm_stdlib  # completes modules when they are imported

# 0 to 2 are the standard streams, 3 is the root of the file system.
_FIRST_DESCRIPTOR = 4
_LAST_DESCRIPTOR = 255

# Where the files of a function are that is a package.
_PACKAGE = "/function"

# Entries of a traceback that are shown at its beginning and at its end. Together they are more than Python's own limit of
# recursion; a function that has raised that gets as deep as memory allows, and would take minutes to report.
_SHOWN_ENTRIES = 1000


class TimeLimit(KeyboardInterrupt):
    """The call has reached its time limit. It is stopped for good a moment later, so there is time to clean up and no more.

    Like the interrupt of a user, it goes through what keeps other exceptions: tasks of asyncio that nobody awaits, unittest.
    """

    __module__ = "faasm"

    def __str__(self):
        return "the time limit was reached here"


_main = None
_main_takes_input = False
_restore_hooks = []
# NumPy's global generator, if there is one that _faasm can seed: a capsule.
_numpy_generator = None


def on_restore(hook):
    """Has `hook()` run at the start of every call, before the entry point.

    Every call starts from the memory as it was after the module's import. Whatever drew on randomness or time
    there is the same in each of them; this is where to draw again. The standard library's generators and
    NumPy's are reseeded without asking. Returns `hook`, so that it can be used as a decorator.
    """
    _restore_hooks.append(hook)
    return hook


def prepare(preloads):
    """Makes the interpreter ready to be the base image: imports the modules named in `preloads`, one a line."""
    for name in preloads.decode().split():
        try:
            importlib.import_module(name)
        except BaseException as exception:
            return _fail(exception)
    if "numpy" in sys.modules:
        try:
            from faasm import _numpy

            _numpy.prepare()
        except BaseException as exception:
            return _fail(exception)
    _find_numpy_generator()
    _warm_up()
    return _settle(True)


def load(request):
    """Imports the module of a function and makes the memory fit to be its image: `name NUL file NUL entry NUL source`. Without a
    file it is one of a package."""
    try:
        # What was preloaded has its generators from when the image was made.
        _reseed()
        if (status := _import(request)) != 0:
            return status
        _find_numpy_generator()
    except BaseException as exception:
        return _fail(exception)
    return _settle(False)


def _import(request):
    global _main, _main_takes_input
    name, file, entry, source = request.split(b"\0", 3)
    name, file, entry = name.decode(), file.decode(), entry.decode()
    module = _load_source(name, file, source) if file else _load_package(name)
    if module is None:
        return -1
    if any(_is_coroutine_function(value) for value in vars(module).values()):
        _prepare_asyncio()
    sys.modules["faasm._function"] = module
    _main = getattr(module, entry, None)
    if callable(_main):
        _main_takes_input = _takes_input(_main)
    else:
        _main = None
    return 0


def _load_source(name, file, source):
    """The module that a source makes, or None if that failed, which is reported then."""
    try:
        code = compile(source, file, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as exception:
        # ValueError is what a NUL byte in the source raises.
        _faasm.fail(_faasm.FAASM_FAIL_SYNTAX, _format(exception))
        return None
    except (MemoryError, RecursionError) as exception:
        # The compiler's words for a source that is nested too deeply, too.
        _fail(exception)
        return None
    # Tracebacks show lines of the source, which is no file here. The cache is where linecache would put them.
    linecache.cache[file] = (len(source), None, source.decode(errors="replace").splitlines(True), file)
    # A function may be called `json`: that must not become the module that others get to import.
    if name in sys.stdlib_module_names or name in sys.modules:
        name = "function_" + name
    module = types.ModuleType(name)
    module.__file__ = file
    sys.modules[name] = module
    try:
        exec(code, module.__dict__)
    except BaseException as exception:
        _fail(exception)
        return None
    finally:
        _flush()
    return module


def _load_package(name):
    """A module of the function's package, or None if it cannot be imported, which is reported then."""
    if name in sys.stdlib_module_names or name in sys.modules:
        problem = f"the package is called {name}, as a module of the image is, which others would get in its place"
        _faasm.fail(_faasm.FAASM_FAIL_EXCEPTION, problem.encode())
        return None
    sys.path_hooks.insert(0, _package_finder)
    sys.path.insert(0, _PACKAGE)
    try:
        # Unlike importlib.import_module(), this takes the import system's frames out of tracebacks.
        return __import__(name)
    except SyntaxError as exception:
        own = exception.filename and os.path.exists(os.path.join(_PACKAGE, exception.filename))
        if own:
            _faasm.fail(_faasm.FAASM_FAIL_SYNTAX, _format(exception))
        else:
            _fail(exception)
    except BaseException as exception:
        _fail(exception)
    finally:
        _flush()
    return None


def _package_finder(path):
    """A path hook for directories of the package."""
    if path != _PACKAGE and not path.startswith(_PACKAGE + "/"):
        raise ImportError
    return importlib.machinery.FileFinder(path, (_PackageLoader, [".py"]))


class _PackageLoader(importlib.machinery.SourceFileLoader):
    """Has tracebacks name files as they are called in the package. That is where linecache finds them, too, because the package
    is on `sys.path`."""

    def source_to_code(self, data, path, *, _optimize=-1):
        return super().source_to_code(data, path.removeprefix(_PACKAGE + "/"), _optimize=_optimize)


def call(entry):
    """Calls the entry point named `entry`, or the default one if that is None."""
    try:
        if entry is None and _main is not None:
            function, takes_input = _main, _main_takes_input
        else:
            module = sys.modules["faasm._function"]
            function = getattr(module, entry or "faasm_main", None)
            if not callable(function):
                return _fail_entry(module, entry or "faasm_main")
            takes_input = _takes_input(function)
        _restore()
        return _finish(function(_faasm.input()) if takes_input else function())
    except SystemExit as exit:
        return _exit_status(exit.code)
    except BaseException as exception:
        return _fail(exception)
    finally:
        _flush()


def _warm_up():
    """Has the interpreter specialise the code that every load and every call runs, and fill its caches, here and not in each."""
    global _main
    for _ in range(50):
        _import(b"_\0_\0faasm_main\0def faasm_main(): pass\n")
        call(None)
        call(None)
    _main = None
    del sys.modules["_"], sys.modules["faasm._function"], linecache.cache["_"]


def _prepare_asyncio():
    """Does what `_warm_up` does, for functions that are coroutines."""
    # Calls would each take longer to import it than most take in all.
    import asyncio

    # A function that has chosen its own event loop gets it in calls only.
    if asyncio.events._event_loop_policy is None:
        for _ in range(10):
            asyncio.run(_nothing_async())


async def _nothing_async():
    pass


def _settle(all_are_ours):
    """Makes the memory fit to be an image. Answers 0, or reports why it cannot be one."""
    # What is alive now is alive in every call: no collection needs to look at it, and none writes to its pages.
    gc.collect()
    _faasm.settle(all_are_ours)
    gc.freeze()
    for descriptor in range(_FIRST_DESCRIPTOR, _LAST_DESCRIPTOR + 1):
        try:
            os.fstat(descriptor)
        except OSError:
            continue
        problem = (
            f"a file is still open after the import (descriptor {descriptor}); calls start from a copy of the memory, in which "
            "no file is open, so close it, or open it in the call"
        )
        _faasm.fail(_faasm.FAASM_FAIL_EXCEPTION, problem.encode())
        return -1
    return 0


def _restore():
    _reseed()
    for hook in _restore_hooks:
        hook()


def _reseed():
    modules = sys.modules
    if random := modules.get("random"):
        _faasm.reseed_random(random._inst)
        random._inst.gauss_next = None
    if tempfile := modules.get("tempfile"):
        tempfile._name_sequence = None
    if uuid := modules.get("uuid"):
        uuid._node = uuid._last_timestamp = None
    if _numpy_generator is not None:
        _faasm.reseed_numpy(_numpy_generator)
    elif "numpy.random.mtrand" in modules:
        _seed_numpy()
    if "_sqlite3" in modules:
        _faasm.reseed_sqlite()


def _seed_numpy():
    # Without an argument it would do the same in 300 us.
    sys.modules["numpy.random.mtrand"].seed(sys.modules["numpy"].frombuffer(os.urandom(32), "u4"))


def _find_numpy_generator():
    """Looks whether NumPy's global generator is one that _faasm can seed, which takes a tenth of the time that NumPy itself does."""
    global _numpy_generator
    _numpy_generator = None
    if mtrand := sys.modules.get("numpy.random.mtrand"):
        # It also forgets the second one of two numbers that it makes at a time.
        _seed_numpy()
        generator = mtrand._rand._bit_generator
        if type(generator).__name__ == "MT19937":
            state = generator.state["state"]
            if _faasm.is_numpy_twister(generator.capsule, state["key"].tobytes(), int(state["pos"])):
                _numpy_generator = generator.capsule


def _takes_input(function):
    code = getattr(function, "__code__", None)
    if code is not None:
        bound = 1 if hasattr(function, "__self__") else 0
        return code.co_argcount > bound or bool(code.co_flags & 0x04)  # CO_VARARGS
    import inspect

    try:
        inspect.signature(function).bind(b"")
    except (TypeError, ValueError):
        return False
    return True


def _is_coroutine_function(function):
    code = getattr(function, "__code__", None)
    return isinstance(code, types.CodeType) and bool(code.co_flags & 0x80)  # CO_COROUTINE


def _finish(result):
    if result is None:
        return 0
    if isinstance(result, types.CoroutineType):
        import asyncio

        result = asyncio.run(result)
        if result is None:
            return 0
    if isinstance(result, int) and not isinstance(result, bool):
        if -(2**31) <= result < 2**31:
            return result
        # Python refuses to write numbers of thousands of digits.
        shown = result if result.bit_length() <= 64 else f"an int of {result.bit_length()} bits"
        problem = f"the entry point returned {shown}, a status has 32 bits"
    elif isinstance(result, str):
        _faasm.output(result.encode())
        return 0
    elif isinstance(result, (bytes, bytearray, memoryview)):
        _faasm.output(result)
        return 0
    else:
        problem = f"the entry point returned {type(result).__name__!r}; it may return None, an int status, bytes or str"
    _faasm.fail(_faasm.FAASM_FAIL_RESULT, problem.encode())
    return -1


def _exit_status(code):
    # As the interpreter itself does it: a number is the status, None is success, anything else is a message.
    if code is None:
        return 0
    if isinstance(code, int):
        return code if -(2**31) <= code < 2**31 else 1
    print(code, file=sys.stderr)
    return 1


def _fail(exception):
    kind = _faasm.FAASM_FAIL_EXCEPTION
    if isinstance(exception, MemoryError):
        kind = _faasm.FAASM_FAIL_MEMORY
        # A report takes memory too. What has used it all up is usually a local variable of one of these frames.
        traceback.clear_frames(exception.__traceback__)
    elif _is_time_limit(exception):
        kind = _faasm.FAASM_FAIL_TIME
    _faasm.fail(kind, _format(exception))
    return -1


def _is_time_limit(exception):
    # What a task of a group raised is one of a group of exceptions.
    while isinstance(exception, BaseExceptionGroup) and len(exception.exceptions) == 1:
        exception = exception.exceptions[0]
    return isinstance(exception, TimeLimit)


def _fail_entry(module, entry):
    there = sorted(
        name
        for name, value in vars(module).items()
        if isinstance(value, types.FunctionType) and value.__module__ == module.__name__ and not name.startswith("_")
    )
    file = (module.__file__ or module.__name__).removeprefix(_PACKAGE + "/")
    text = f"{file} has no function {entry!r}"
    text += f"; it has {', '.join(there)}" if there else ", and no other"
    _faasm.fail(_faasm.FAASM_FAIL_ENTRY, text.encode())
    return -1


def _format(exception):
    # Frames of this file are no news to people who look for the line of theirs.
    tb = exception.__traceback__
    while tb is not None and tb.tb_frame.f_code.co_filename == __file__:
        tb = tb.tb_next
    exception = exception.with_traceback(tb)
    left_out = _shorten(exception)
    text = "".join(traceback.format_exception(exception))
    if left_out:
        text = f"(of tracebacks, {left_out} entries in the middle are left out)\n{text}"
    return text.encode(errors="backslashreplace")


def _shorten(exception):
    """Takes the middle out of the long tracebacks of an exception and its causes. Answers how many entries that are."""
    left_out = 0
    seen = set()
    while exception is not None and id(exception) not in seen:
        seen.add(id(exception))
        # `last` trails behind the end of the traceback, and stays where the shown beginning ends until the end is far away.
        entry, length, last = exception.__traceback__, 0, None
        start = None
        while entry is not None:
            length += 1
            if length == _SHOWN_ENTRIES:
                start = last = entry
            elif length > 2 * _SHOWN_ENTRIES:
                last = last.tb_next
            entry = entry.tb_next
        if length > 2 * _SHOWN_ENTRIES:
            start.tb_next = last.tb_next
            left_out += length - 2 * _SHOWN_ENTRIES
        exception = exception.__cause__ or exception.__context__
    return left_out


def _flush():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            # Closed or replaced by the function: then there is nothing of ours left to write.
            pass
