/* The host interface of cargo-faasm: what a guest may ask of its host, and what a host may ask of a guest.
 *
 * Both sides are made from this file. The guest includes it; the host's constants and signatures
 * (`py_func/src/host/abi.rs`) are generated from it with bindgen, and a test fails when they differ.
 * Add at the end, never change what is there: raise FAASM_ABI_VERSION instead.
 */
#ifndef FAASM_H
#define FAASM_H

#include <stddef.h>
#include <stdint.h>

#define FAASM_ABI_VERSION 3

/* How a load or a call ended: the kind given to faasm_fail(). */
#define FAASM_FAIL_EXCEPTION 1 /* an exception; the text is its traceback */
#define FAASM_FAIL_SYNTAX 2    /* the source does not compile; the text says where */
#define FAASM_FAIL_ENTRY 3     /* no such entry point; the text names those there are */
#define FAASM_FAIL_RESULT 4    /* the entry point returned something that is no result */
#define FAASM_FAIL_MEMORY 5    /* a MemoryError nobody caught; the text is its traceback */
#define FAASM_FAIL_TIME 6      /* the exception by which the host had the call interrupted; the text is its traceback */

/* What faasm_request() can be asked. Behind each: its name, its data, its numbers where it has them, and what it returns or
 * answers. Keys are of the user whose function it is. */
#define FAASM_INFO 1                  /* first: one of FAASM_INFO_*; answers text */
#define FAASM_CONFIG 2                /* name of a flag; answers its value, FAASM_ERROR_KEY if it is not set */
#define FAASM_LOG 3                   /* data: text; first: the level, as Python's module `logging` has it */
#define FAASM_DIGEST 4                /* name of a hash function, data; answers the hash */
#define FAASM_OUTPUT 5                /* answers what faasm_output() was given last */
#define FAASM_STATE_SIZE 16           /* key; returns the value's size */
#define FAASM_STATE_READ 17           /* key; first: offset, second: length; answers bytes, fewer past the end */
#define FAASM_STATE_WRITE 18          /* key, data: the whole value */
#define FAASM_STATE_WRITE_AT 19       /* key, data; first: offset, second: size of a value that is made, or FAASM_NONE */
#define FAASM_STATE_RESIZE 20         /* key; first: the size */
#define FAASM_STATE_DELETE 21         /* key */
#define FAASM_STATE_PUSH 22           /* key */
#define FAASM_STATE_PUSH_PARTIAL 23   /* key */
#define FAASM_STATE_PULL 24           /* key */
#define FAASM_STATE_APPEND 25         /* key, data: an entry */
#define FAASM_STATE_APPENDED 26       /* key; first: how many, or FAASM_NONE for all; answers a list */
#define FAASM_STATE_CLEAR_APPENDED 27 /* key */
#define FAASM_STATE_LOCK 28           /* key; first: 1 exclusive, 0 shared; waits */
#define FAASM_STATE_UNLOCK 29         /* key; first: as when it was locked */
#define FAASM_STATE_KEYS 30           /* answers a list */
#define FAASM_CHAIN 48                /* name: function, NUL, entry point, either may be empty; data: input; returns the call's number */
#define FAASM_AWAIT 49                /* first: a call's number; waits; returns its status as 32 bits without sign, answers its output */
#define FAASM_AWAIT_ANY 50            /* data: numbers of calls, 64 bits each, little endian; first: nanoseconds, or FAASM_NONE; waits for one
                                       * of them to end, and at most for so long; answers the numbers of those that have ended, in the
                                       * order in which they did, in the same form */

#define FAASM_INFO_USER 0
#define FAASM_INFO_FUNCTION 1
#define FAASM_INFO_ENTRY 2
#define FAASM_INFO_CALL 3

#define FAASM_NONE 0x7FFFFFFFFFFFFFFF

/* Why a request was refused: faasm_request() returns the negative of one of these, and the answer is a text for people. */
#define FAASM_ERROR_KEY 1     /* there is nothing by this name */
#define FAASM_ERROR_VALUE 2   /* something about the request is wrong */
#define FAASM_ERROR_RUNTIME 3 /* it cannot be done now: a limit was reached, a call failed */
#define FAASM_ERROR_SYSTEM 4  /* storage or network failed */

/* What faasm_lock() does: one of the first three, and any of the others. */
#define FAASM_LOCK_NONE 0      /* gives a lock back */
#define FAASM_LOCK_SHARED 1    /* others may have it, too */
#define FAASM_LOCK_EXCLUSIVE 2 /* nobody else may */
#define FAASM_LOCK_WAIT 4      /* waits until it can be had */
#define FAASM_LOCK_TEST 8      /* only asks whether it could be had */
#define FAASM_LOCK_FILE 16     /* as flock() has it: the lock is of the open file, and start and length mean nothing */

/* A bit of a file's `st_dev`: nothing can be written there. */
#define FAASM_READ_ONLY_DEVICE 0x40000000

/* An offset with which faasm_input(), given no capacity, copies nothing and returns 0: the guest has read the input and keeps
 * what it needs of it, so the host forgets it. Hosts that do not know it only copy nothing. */
#define FAASM_INPUT_KEPT 0xFFFFFFFF

#ifdef __wasm__
#define FAASM_IMPORT(name) __attribute__((import_module("faasm"), import_name(#name)))
#define FAASM_EXPORT(name) __attribute__((export_name(#name), visibility("default")))
#else
#define FAASM_IMPORT(name)
#define FAASM_EXPORT(name)
#endif

/* Imports: implemented by the host. */

/* Copies at most `capacity` bytes of the call's input, starting at `offset`, to `buffer`.
 * Returns the length of the whole input; with a capacity of 0 that is all it does, unless the offset is FAASM_INPUT_KEPT. */
uint32_t faasm_input(uint8_t *buffer, uint32_t capacity, uint32_t offset) FAASM_IMPORT(input);

/* Makes `data` the call's output; the last one counts. Past the output limit the call is ended. */
void faasm_output(const uint8_t *data, uint32_t length) FAASM_IMPORT(output);

/* Says how the load or the call failed: one of FAASM_FAIL_*, with a UTF-8 text for people. */
void faasm_fail(uint32_t kind, const uint8_t *text, uint32_t length) FAASM_IMPORT(fail);

/* Everything else that a guest can ask of its host, one of the operations above. Returns a number that is not negative, or the
 * negative of a FAASM_ERROR_*. Bytes that belong to it, the answer, are fetched with faasm_answer(). A list is for each
 * entry its length, 32 bits, little endian, and its bytes. */
int64_t faasm_request(uint32_t operation, const uint8_t *name, uint32_t name_length, const uint8_t *data, uint32_t data_length,
                      uint64_t first, uint64_t second) FAASM_IMPORT(request);

/* Copies at most `capacity` bytes of the last request's answer, starting at `offset`, to `buffer`.
 * Returns the length of the whole answer; with a capacity of 0 that is all it does. */
uint32_t faasm_answer(uint8_t *buffer, uint32_t capacity, uint32_t offset) FAASM_IMPORT(answer);

/* Makes another descriptor for what `descriptor` has open; both have one offset. With `exact` it is `target`, which is closed before;
 * otherwise the lowest from `target` on that is free. Returns the new one, or the negative of an error number of WASI. */
int32_t faasm_dup(uint32_t descriptor, uint32_t target, uint32_t exact) FAASM_IMPORT(dup);

/* Locks `length` bytes of a file from `start` on, 0 stands for all of them, as POSIX has it: the call holds the lock against
 * other calls and processes. `operation` is made of FAASM_LOCK_*. Returns 0 or the negative of an error number of WASI. */
int32_t faasm_lock(uint32_t descriptor, uint32_t operation, uint64_t start, uint64_t length) FAASM_IMPORT(lock);

/* Exports: implemented by the guest, called by the host in the order in which they stand here. */

/* Returns FAASM_ABI_VERSION as the guest knows it. Changes nothing. */
uint32_t faasm_abi_version(void) FAASM_EXPORT(faasm_abi_version);

/* Returns where and how to interrupt the interpreter once it is initialised: in the upper half the address of a word, in the lower the
 * bits to set in it, from another thread and while the guest runs. It then raises faasm.TimeLimit. Changes nothing. */
uint64_t faasm_interrupt(void) FAASM_EXPORT(faasm_interrupt);

/* Starts the interpreter and imports the modules named in the input, one a line. 0, or a failure was reported. */
int32_t faasm_init(void) FAASM_EXPORT(faasm_init);

/* Imports a function's module. The input is three texts, each ended by a NUL (name, file name, default
 * entry point), and then the source. Without a file name there is no source either, and the module is one in the directory
 * /function. 0, or a failure was reported. */
int32_t faasm_load(void) FAASM_EXPORT(faasm_load);

/* Memory for the name of an entry point, to be filled by the host and passed to faasm_call(). NULL: out of memory. */
uint8_t *faasm_alloc(uint32_t size) FAASM_EXPORT(faasm_alloc);

/* Calls an entry point of the loaded module; `length` 0 stands for the default one.
 * Returns its status, or a failure was reported. */
int32_t faasm_call(const uint8_t *entry, uint32_t length) FAASM_EXPORT(faasm_call);

/* Instead of all the others: the interpreter as a command, with WASI's arguments and environment.
 * Returns its exit status. */
int32_t faasm_python(void) FAASM_EXPORT(faasm_python);

#endif
