/* dumpfile.c: the fields of a heap dump's records (docs/internals/heapdump.md), and the file that they go to.
 *
 * Invariants
 *   1. Nothing is allocated and no Python code runs: the heap stays as it is while it is written down.
 *   2. After a write that failed nothing more is written, and the caller finds the reason in dumpfile.error.
 *
 * Lock: the GIL. There is one file; the GIL is kept as long as it is in use.
 *
 * Rejected: lib/out.c, which is for text and does not care whether a write fails.
 */
#include "debug/dumpfile.h"

#include "cpython/compat.h"
#include "os/os.h"

#include <errno.h>
#include <string.h>

struct dumpfile dumpfile;

void
dumpfile_begin(int fd)
{
    dumpfile.fd = fd;
    dumpfile.n = 0;
    dumpfile.error = 0;
}

void
dumpfile_flush(void)
{
    if (!dumpfile.error && !write_all(dumpfile.fd, dumpfile.buf, dumpfile.n))
        dumpfile.error = errno;
    dumpfile.n = 0;
}

void
put_bytes(const void *p, size_t n)
{
    if (n > sizeof dumpfile.buf - dumpfile.n)
        dumpfile_flush();
    if (n > sizeof dumpfile.buf) {
        if (!dumpfile.error && !write_all(dumpfile.fd, p, n))
            dumpfile.error = errno;
        return;
    }
    memcpy(dumpfile.buf + dumpfile.n, p, n);
    dumpfile.n += n;
}

void
put_uvarint(uint64_t v)
{
    char b[10], *p = b;
    for (; v >= 0x80; v >>= 7)
        *p++ = (char)(v | 0x80);
    *p++ = (char)v;
    put_bytes(b, (size_t)(p - b));
}

void
put_address(const void *p)
{
    put_uvarint((uintptr_t)p);
}

void
put_string(const char *s)
{
    put_uvarint(strlen(s));
    put_bytes(s, strlen(s));
}

/* A str as UTF-8, in at most n bytes; how many. Anything else is "?". */
static size_t
utf8_of(PyObject *s, char *to, size_t n)
{
    const char *data;
    Py_ssize_t length;
    int kind = s ? str_data(s, &data, &length, false) : 0;
    if (!kind) {
        *to = '?';
        return 1;
    }
    char *p = to;
    for (Py_ssize_t i = 0; i < length && (size_t)(p - to) + 4 <= n; i++) {
        uint32_t c = kind == 1   ? ((const uint8_t *)data)[i]
                     : kind == 2 ? ((const uint16_t *)data)[i]
                                 : ((const uint32_t *)data)[i];
        if (c >= 0xd800 && c < 0xe000)
            c = '?'; /* half a pair is not a character */
        int more = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
        static const uint8_t first[] = {0, 0xc0, 0xe0, 0xf0};
        *p++ = (char)(first[more] | c >> 6 * more);
        while (more-- > 0)
            *p++ = (char)(0x80 | (c >> 6 * more & 0x3f));
    }
    return (size_t)(p - to);
}

/* module.name; without the module if it is builtins or not known. */
void
put_qualified(PyObject *module, PyObject *name)
{
    char b[1024];
    size_t n = 0;
    if (module && PyUnicode_Check(module) && PyUnicode_CompareWithASCIIString(module, "builtins") != 0) {
        n = utf8_of(module, b, sizeof b / 2);
        b[n++] = '.';
    }
    n += utf8_of(name, b + n, sizeof b - n);
    put_uvarint(n);
    put_bytes(b, n);
}
