/* traceback.h: text about goroutines, in Go's form: traceback.c writes it, cgo.c adds the frames of C
 * code. */
#ifndef GORT_TRACEBACK_H
#define GORT_TRACEBACK_H

#include "core.h"
#include "lib/out.h"
#include "stacks/signal.h"

/* GOTRACEBACK, and tracebackancestors. */
struct tracebackcfg {
    int level; /* 0: no goroutine is shown; 1: the program's frames; 2 and more: those of the runtime too */
    bool all;  /* show every goroutine, not only the one that failed */
    bool crash;
    int ancestors;
};
extern struct tracebackcfg tb;

/* Where a goroutine's creator was, and, with `next`, the creator's creator. */
struct ancestors {
    ancestors *next;
    uint64_t goid;
    uintptr_t gopc; /* of the go() that made it; 0: main */
    size_t npcs;
    uintptr_t pcs[];
};
/* Hooks: `born` and `free_ancestors` of hooks.h. */
void set_origin(g *gp, PyThreadState *ts);
void free_ancestors(ancestors *a);

/* Parts of a goroutine's text: its first line, with `status` instead of its own if not NULL; the frames of
 * ts, or of gp's calls into C among them (gp NULL: a plain thread's); where it was created. `careful`:
 * without the GIL, from anywhere. */
void put_header(out *o, g *gp, const char *status);
void put_frames(out *o, g *gp, PyThreadState *ts, bool careful);
void put_tail(out *o, g *gp, bool careful);
/* All goroutines but `me`, and all plain threads but that of `me`, each with an empty line in front. */
void put_others(out *o, g *me, bool careful);
void put_threads(out *o, PyThreadState *me, bool careful);
/* The goroutine or thread that holds the GIL, which is this one. Returns the goroutine; NULL: it is not
 * one. */
g *put_running(out *o);
/* Adds to the module what makes tracebacks. -1: exception set. */
int gort_traceback_init(PyObject *module);

/* -- runtimefile.c -- */

/* Does the code of this file belong to the runtime and not to the program? */
bool is_runtime_file(PyObject *file, bool careful);
/* Is it the launcher of `gort run`, below which there is nothing of the program's? */
bool is_launcher_file(PyObject *file, bool careful);
int gort_runtimefile_init(PyObject *module); /* -1: exception set */

int gort_walk_init(PyObject *module); /* walk.c. -1: exception set */

/* The code of the Python function that every call from C to Python made through gort.cgo passes; NULL: not
 * loaded. cgo.c sets it. */
extern PyCodeObject *callback_code;

#endif
