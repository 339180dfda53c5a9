/* dumpfile.h: the fields of a heap dump's records, and the file that they go to. */
#ifndef GORT_DUMPFILE_H
#define GORT_DUMPFILE_H

#include "core.h"

extern struct dumpfile {
    int fd;
    int error; /* errno of the write that failed: nothing more is written */
    size_t n;
    char buf[1 << 16];
} dumpfile;

void dumpfile_begin(int fd);
void dumpfile_flush(void);
void put_bytes(const void *p, size_t n);
void put_uvarint(uint64_t v);
void put_address(const void *p);
void put_string(const char *s);
/* module.name of a type or a function; without the module if it is builtins or not known. */
void put_qualified(PyObject *module, PyObject *name);

#endif
