/* out.c: text is written without the interpreter: to a file, or into memory that grows.
 *
 * Invariants
 *   1. With a buffer of the caller's and a file, nothing is allocated: every function is async-signal-safe.
 *   2. Without a file nothing is written; text for which there is no memory is left out, and `failed` says
 *      so.
 *
 * An out has no lock; it belongs to one caller at a time.
 *
 * Rejected: stdio. It has locks, which the interrupted thread may hold, and allocates.
 *
 * Differs from Go's print: it collects what it writes, so that a traceback takes few system calls.
 */
#include "lib/out.h"

#include <stdlib.h>
#include <string.h>

void
out_flush(out *o)
{
    if (o->fd >= 0)
        write_all(o->fd, o->buf, o->n);
    o->n = 0;
}

void
put(out *o, const char *s, size_t n)
{
    while (n > 0) {
        if (o->n == o->cap) {
            if (o->fd >= 0)
                out_flush(o);
            else {
                size_t cap = o->cap ? 2 * o->cap : 4096;
                char *more = o->failed ? NULL : realloc(o->buf, cap);
                if (!more) {
                    o->failed = true;
                    return;
                }
                o->buf = more;
                o->cap = cap;
            }
        }
        size_t k = o->cap - o->n < n ? o->cap - o->n : n;
        memcpy(o->buf + o->n, s, k);
        o->n += k;
        s += k;
        n -= k;
    }
}

void
put_str(out *o, const char *s)
{
    put(o, s, strlen(s));
}

void
put_uint(out *o, uint64_t v)
{
    char b[20], *p = b + sizeof b;
    do
        *--p = (char)('0' + v % 10);
    while ((v /= 10) != 0);
    put(o, p, (size_t)(b + sizeof b - p));
}

void
put_hex(out *o, uint64_t v)
{
    char b[16], *p = b + sizeof b;
    do
        *--p = "0123456789abcdef"[v & 15];
    while ((v >>= 4) != 0);
    put(o, "0x", 2);
    put(o, p, (size_t)(b + sizeof b - p));
}

void
put_rune(out *o, uint32_t c)
{
    char b[4];
    if (c < 0x80)
        b[0] = (char)c, put(o, b, 1);
    else if (c < 0x800) {
        b[0] = (char)(0xc0 | c >> 6), b[1] = (char)(0x80 | (c & 0x3f));
        put(o, b, 2);
    }
    else if (c >= 0xd800 && c < 0xe000) { /* half a pair, as surrogateescape leaves it: not a character */
        put_str(o, "\\u");
        for (int i = 12; i >= 0; i -= 4)
            put(o, &"0123456789abcdef"[c >> i & 15], 1);
    }
    else if (c < 0x10000) {
        b[0] = (char)(0xe0 | c >> 12), b[1] = (char)(0x80 | (c >> 6 & 0x3f)),
        b[2] = (char)(0x80 | (c & 0x3f));
        put(o, b, 3);
    }
    else {
        b[0] = (char)(0xf0 | c >> 18), b[1] = (char)(0x80 | (c >> 12 & 0x3f));
        b[2] = (char)(0x80 | (c >> 6 & 0x3f)), b[3] = (char)(0x80 | (c & 0x3f));
        put(o, b, 4);
    }
}
