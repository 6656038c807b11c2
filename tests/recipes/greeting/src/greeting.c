#include "greeting.h"

static int last;

int greeting_next(void) { return ++last; }
