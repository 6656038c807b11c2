/* The next of a sequence that begins with 1: there is one in the image, however many modules use it. */
int greeting_next(void);
