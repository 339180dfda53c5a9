/* out.h: where text goes that is written without the interpreter. Any layer may use it. */
#ifndef GORT_OUT_H
#define GORT_OUT_H

#include "os/os.h"

/* A growing buffer, which the caller frees, or with fd >= 0 that file each time `buf` is full. With a buffer
 * of the caller's and an fd all of the put functions are async-signal-safe. */
typedef struct out {
    char *buf;
    size_t n, cap;
    int fd;
    bool failed; /* no memory: text is missing */
    /* for text about what is in the heap */
    bool quiet;        /* nothing may be allocated there meanwhile: the caller is the allocator */
    enum care pc_care; /* quiet: how to read what the allocator may be moving just now */
} out;

/* n bytes as they are. Never fails: text for which there is no memory is left out (`failed`). */
void put(out *o, const char *s, size_t n);
void put_str(out *o, const char *s); /* up to its final 0 */
void put_uint(out *o, uint64_t v);   /* in decimal */
void put_hex(out *o, uint64_t v);    /* with 0x in front */
void put_rune(out *o, uint32_t c);   /* a character as UTF-8; half a surrogate pair as \u and its number */
/* Writes what is in the buffer to the file; the last call for it. An out without a file loses its text. */
void out_flush(out *o);

#endif
