/* cgo.h: what cgo.c, which keeps the calls between Python and C, and cgo_unwind.c, which knows what C frames
 * they have, want from each other. */
#ifndef GORT_CGO_H
#define GORT_CGO_H

#include "core.h"
#include "lib/out.h"

/* What the functions of SetCgoTraceback are called with. The layout is documented: programs bring their
 * own. */
typedef struct {
    uintptr_t Context;
} cgo_context_arg;

typedef struct {
    uintptr_t Context, SigContext;
    uintptr_t *Buf;
    uintptr_t Max;
} cgo_traceback_arg;

typedef struct {
    uintptr_t PC;
    const char *File;
    uintptr_t Lineno;
    const char *Func;
    uintptr_t Entry, More, Data;
} cgo_symbolizer_arg;

/* A call from Python to C, or from C back to Python, that has not returned. It lies on the stack of the C
 * function that made it: there is nothing to free, and a goroutine takes it along to another thread. */
typedef struct cgoframe cgoframe;
struct cgoframe {
    cgoframe *outer;
    bool callback;     /* from C to Python */
    uintptr_t context; /* of a callback: what the context function recorded; 0: nothing */
    bool linked;       /* in the list */
};

/* The innermost call of what runs on this thread. Async-signal-safe. */
cgoframe *cgo_innermost(void);

/* Hooks of dumps. */

/* The frames of the C code that made gp's nth call to Python that has not returned, 0 the latest: for each a
 * line `name(...)` and a line with a tab, the place. Nothing if there is no traceback function.
 * Async-signal-safe as far as the program's functions are. */
void cgo_print_context(out *o, g *gp, int nth);
/* The frames of the C code that this thread was in when the signal came. Nothing if there is no traceback
 * function. */
void cgo_print_signal(out *o, void *ucontext);

/* Add to the module the list of calls, and the check of arguments (cgo_check.c). -1: exception set. */
int gort_cgo_init(PyObject *module);
int gort_cgo_check_init(PyObject *module);

/* -- cgo_unwind.c ------------------------------------------------------------------------------- */

/* gort's own three functions for SetCgoTraceback, called as the program's are: the first one where C calls
 * Python, the others also in signal handlers. */
void cgo_unwind_context(cgo_context_arg *arg); /* in context_*.S */
void cgo_unwind_traceback(cgo_traceback_arg *arg);
void cgo_unwind_symbolizer(cgo_symbolizer_arg *arg);
/* Loads libdw by this name. False: there is none, and places are files and offsets. GIL held. */
bool cgo_unwind_init(const char *libdw);
/* Looks which loaded objects belong to the interpreter; again after a library for calls into C was loaded.
 * GIL held. */
void cgo_find_glue(void);

#endif
