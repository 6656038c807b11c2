#ifndef FAASM_HEAP_H
#define FAASM_HEAP_H

/* Makes the heap fit to be an image. `everything` says whether all that lives belongs to the interpreter; otherwise some of it
 * belongs to a function. To be called after a collection. */
void faasm_settle(int everything);

#endif
