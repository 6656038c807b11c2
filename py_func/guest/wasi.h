/* What WASI's C library lacks and something in a guest needs, as far as it must be called. */
#ifndef FAASM_WASI_H
#define FAASM_WASI_H

/* Gives SQLite a source of randomness. To be called before the first database is opened. */
void faasm_prepare_sqlite(void);

#endif
