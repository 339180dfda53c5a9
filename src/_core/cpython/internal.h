/* internal.h: what the files of this folder share: CPython's internal headers, which version it is, and the
 * few variables and functions of one file that another one needs. No file outside this folder includes it.
 *
 * Invariants
 *   1. Only this folder defines Py_BUILD_CORE, includes an internal header or tests the version.
 *   2. main_interp and main_ts are set by compat_init and never NULL again. main_ts changes in the child of a
 *      fork only.
 *   3. What is declared here is hidden: it is reached as a static variable is, without the global offset
 *      table.
 *
 * Versions. Where they differ, V312 to V315 say so in the file of the noun in question; each file's header
 * lists what it relies on. Bug-fix releases add members at the end of structures (PyThreadState has got
 * datastack_cached_chunk in those of 3.13): offsets.c refuses an interpreter whose structures differ in what
 * matters.
 *
 * Rejected: one file for all of it. A new version changes some of these nouns and not others, and nobody
 * finds which.
 */
#ifndef GORT_CPYTHON_INTERNAL_H
#define GORT_CPYTHON_INTERNAL_H

#define Py_BUILD_CORE_MODULE 1
#define Py_BUILD_CORE 1
#include "cpython/compat.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter" /* in 3.13's pycore_object.h */
#include <internal/pycore_ceval.h>
#include <internal/pycore_code.h>
#include <internal/pycore_dict.h>
#include <internal/pycore_frame.h>
#include <internal/pycore_gc.h>
#include <internal/pycore_interp.h>
#include <internal/pycore_object.h>
#include <internal/pycore_pystate.h>
#include <internal/pycore_runtime.h>
#if PY_VERSION_HEX >= 0x030D0000
#include <internal/pycore_time.h>
#endif
#if PY_VERSION_HEX >= 0x030E0000
#include <internal/pycore_interpframe.h>
#include <internal/pycore_stackref.h>
#include <internal/pycore_tstate.h>
#endif
#if PY_VERSION_HEX >= 0x030F0000
#include <internal/pycore_optimizer.h>
#endif
#pragma GCC diagnostic pop

#if PY_VERSION_HEX < 0x030B0000 || PY_VERSION_HEX >= 0x03100000
#error "gort supports CPython 3.11 to 3.15"
#endif
#if PY_VERSION_HEX >= 0x030E0000 && PY_VERSION_HEX < 0x030E05F0
#error "gort supports CPython 3.14 from 3.14.5 on"
#endif
#ifdef Py_GIL_DISABLED
#error "gort supports builds of CPython with the GIL only"
#endif

#define V312 (PY_VERSION_HEX >= 0x030C0000)
#define V313 (PY_VERSION_HEX >= 0x030D0000)
#define V314 (PY_VERSION_HEX >= 0x030E0000)
#define V315 (PY_VERSION_HEX >= 0x030F0000)

#pragma GCC visibility push(hidden)

extern PyThreadState *main_ts; /* interp.c: the main goroutine's */
#if V313
extern ptrdiff_t impl_shift; /* offsets.c: how much larger the public part of a thread state is here */
#endif
#if V315
extern size_t lazy_imports_at; /* offsets.c: where in the private part */
extern size_t tracer_at;       /* and jit_tracer_state; 0: this CPython has no JIT */
#endif

/* What compat_init has each file do. All are called with the GIL, once. */
int offsets_init(void);   /* -1: exception set */
int recursion_init(void); /* -1: exception set */
void gil_init(void);
void tslist_init(void);
void chunks_init(void);
int object_init(void); /* -1: exception set */
int threading_init(void);

/* gil.c: PyGILState_Ensure finds ts in this OS thread from now on; NULL: none. */
void gilstate_set(PyThreadState *ts);
/* tslist.c: puts a new thread state where it belongs in the interpreter's list. Needs no GIL. */
void tslist_add(PyThreadState *ts);
/* offsets.c: what this method of sys._jit returns; false where there is no such thing. -1: exception set. */
int jit_says(const char *method);
/* recursion.c: ts has returned from all calls; its C stack has this size. */
void ts_reset_depth(PyThreadState *ts, size_t stack);
/* chunks.c: the memory that the JIT has recorded a trace of ts in goes back. */
void ts_free_tracer(PyThreadState *ts);
/* frame.c: visits what a frame refers to. Of a frame that runs the evaluation stack's height is not known:
 * its variables are visited. GIL. */
void frame_visit(const pyframe *at, visitproc visit, void *arg);

#pragma GCC visibility pop

#if V313
/* The private members of a thread state, which follow the public ones. */
static inline _PyThreadStateImpl *
impl(const PyThreadState *ts)
{
    return (_PyThreadStateImpl *)((char *)(uintptr_t)ts + impl_shift);
}
#endif

#if V315
/* lazy_imports: the imports that are put off meanwhile. */
static inline PyObject **
ts_lazy_imports(const PyThreadState *ts)
{
    return (PyObject **)((char *)impl(ts) + lazy_imports_at);
}
#endif

/* Copies *from with care, or else just points at it. NULL: it cannot be read. */
static inline const void *
look(const void *from, void *copy, size_t n, enum care care)
{
    if (!care)
        return from;
    return (uintptr_t)from % sizeof(void *) == 0 && mem_look(copy, from, n, care) ? copy : NULL;
}

/* A code object that died leaves its type behind, but not a reference count that could be one. */
static inline bool
is_code(const PyCodeObject *code)
{
    Py_ssize_t n = Py_REFCNT((PyObject *)(uintptr_t)code);
    return Py_IS_TYPE((PyObject *)(uintptr_t)code, &PyCode_Type) && n > 0 && n <= UINT32_MAX &&
           Py_SIZE(code) > 0;
}

#endif
