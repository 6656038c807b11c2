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

#define FAASM_ABI_VERSION 1

/* How a load or a call ended: the kind given to faasm_fail(). */
#define FAASM_FAIL_EXCEPTION 1 /* an exception; the text is its traceback */
#define FAASM_FAIL_SYNTAX 2    /* the source does not compile; the text says where */
#define FAASM_FAIL_ENTRY 3     /* no such entry point; the text names those there are */
#define FAASM_FAIL_RESULT 4    /* the entry point returned something that is no result */
#define FAASM_FAIL_MEMORY 5    /* a MemoryError nobody caught; the text is its traceback */

#ifdef __wasm__
#define FAASM_IMPORT(name) __attribute__((import_module("faasm"), import_name(#name)))
#define FAASM_EXPORT(name) __attribute__((export_name(#name), visibility("default")))
#else
#define FAASM_IMPORT(name)
#define FAASM_EXPORT(name)
#endif

/* Imports: implemented by the host. */

/* Copies at most `capacity` bytes of the call's input, starting at `offset`, to `buffer`.
 * Returns the length of the whole input; with a capacity of 0 that is all it does. */
uint32_t faasm_input(uint8_t *buffer, uint32_t capacity, uint32_t offset) FAASM_IMPORT(input);

/* Makes `data` the call's output; the last one counts. Past the output limit the call is ended. */
void faasm_output(const uint8_t *data, uint32_t length) FAASM_IMPORT(output);

/* Says how the load or the call failed: one of FAASM_FAIL_*, with a UTF-8 text for people. */
void faasm_fail(uint32_t kind, const uint8_t *text, uint32_t length) FAASM_IMPORT(fail);

/* Exports: implemented by the guest, called by the host in the order in which they stand here. */

/* Returns FAASM_ABI_VERSION as the guest knows it. Changes nothing. */
uint32_t faasm_abi_version(void) FAASM_EXPORT(faasm_abi_version);

/* Starts the interpreter and imports the modules named in the input, one a line. 0, or a failure was reported. */
int32_t faasm_init(void) FAASM_EXPORT(faasm_init);

/* Imports a function's module. The input is three texts, each ended by a NUL (name, file name, default
 * entry point), and then the source. 0, or a failure was reported. */
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
