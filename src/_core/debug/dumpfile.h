/* dumpfile.h: the fields of a heap dump's records, and the file that they go to. GIL held; nothing is
 * allocated. */
#ifndef GORT_DUMPFILE_H
#define GORT_DUMPFILE_H

#include "core.h"

extern struct dumpfile {
    int fd;
    int error; /* errno of the write that failed: nothing more is written */
    size_t n;
    char buf[1 << 16];
} dumpfile;

/* What is put from now on goes to fd, and an earlier error is forgotten. The file stays the caller's. */
void dumpfile_begin(int fd);
/* Writes what is in the buffer; the last call of a dump. An error is left in dumpfile.error. */
void dumpfile_flush(void);
/* The bytes as they are, without their number: for fields whose size the format knows. */
void put_bytes(const void *p, size_t n);
/* A number in the format's own encoding: seven bits a byte, the lowest first. */
void put_uvarint(uint64_t v);
/* An address, as the format has it: a number. NULL is 0. */
void put_address(const void *p);
/* The number of bytes, and the bytes without the final 0. */
void put_string(const char *s);
/* module.name of a type or a function; without the module if it is builtins or not known. */
void put_qualified(PyObject *module, PyObject *name);

#endif
