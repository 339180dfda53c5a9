/* traceback.c: text, as far as cgo.c needs it. Replaced by the one that also prints goroutines. */
#include "traceback.h"

#include "os.h"

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
    if (o->fd >= 0) {
        for (; n > 0; n--) {
            if (o->n == o->cap)
                out_flush(o);
            o->buf[o->n++] = *s++;
        }
        return;
    }
    if (o->n + n > o->cap) {
        size_t cap = (o->n + n) * 2;
        char *buf = PyMem_RawRealloc(o->buf, cap);
        if (!buf) {
            o->failed = true;
            return;
        }
        o->buf = buf;
        o->cap = cap;
    }
    memcpy(o->buf + o->n, s, n);
    o->n += n;
}

void
put_str(out *o, const char *s)
{
    put(o, s, strlen(s));
}

static void
put_base(out *o, uint64_t v, unsigned base)
{
    char buf[24];
    size_t i = sizeof buf;
    do
        buf[--i] = "0123456789abcdef"[v % base];
    while ((v /= base) != 0);
    put(o, buf + i, sizeof buf - i);
}

void
put_uint(out *o, uint64_t v)
{
    put_base(o, v, 10);
}

void
put_hex(out *o, uint64_t v)
{
    put_str(o, "0x");
    put_base(o, v, 16);
}
