/* pc.h: program counters of Python code. */
#ifndef GORT_PC_H
#define GORT_PC_H

#include "cpython/compat.h"

typedef struct func func;

/* The func of a code object, made at the first call; globals name its module. NULL: no memory (no exception
 * set). */
func *func_of(PyCodeObject *code, PyObject *globals);
/* The return PC of a call at byte offset lasti. */
uintptr_t func_pc(const func *f, int lasti);
/* The same for code of which nothing is known but that it was on a stack: with care (os.h), in signal
 * handlers and within the allocator too. 0: it has no PC yet, or it is gone. */
uintptr_t code_pc(PyCodeObject *code, int lasti, enum care care);
/* The func that pc lies in; NULL: none, or its code no longer exists. GIL held: the table may be moving. */
func *findfunc(uintptr_t pc);
uintptr_t func_entry(const func *f);    /* its first PC */
PyCodeObject *func_code(const func *f); /* borrowed */
PyObject *func_module(const func *f);   /* str or NULL; borrowed */
/* The line of a PC as it is: take 1 from a return PC for the line of the call. */
int func_line(const func *f, uintptr_t pc);
/* Return PCs of ts, innermost first, without the first `skip`. */
size_t callers(PyThreadState *ts, size_t skip, uintptr_t *pcs, size_t max);
/* Adds to the module what runtime.callers() and its relatives call. -1: exception set. */
int gort_pc_init(PyObject *module);

#endif
