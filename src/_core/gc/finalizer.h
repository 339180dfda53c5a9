/* finalizer.h: what others use of finalizers (mfinal.c, mfinalrun.c). GIL held. */
#ifndef GORT_FINALIZER_H
#define GORT_FINALIZER_H

#include "core.h"

/* Adds to the module what runtime.set_finalizer() and the finalizer goroutine call. -1: exception set. */
int gort_mfinal_init(PyObject *module);
/* Is it a goroutine of the runtime that runs no code of the program? Async-signal-safe. */
bool is_idle_system(const g *gp);
void special_freed(void *p);      /* hook: what had a finalizer in this block of the heap died unasked */
void finalizers_forked(void);     /* in the child, before all Python code */
void finalizers_after_fork(void); /* and when it may run */
void finalizers_settle(void); /* a collection has ended: finds the order of the finalizers that it came to */
void finalizers_stop(void);   /* the program ends: lets go of everything; runs destructors */
/* Each finalizer that is set or waits to run. An object that is none of the heap's may be gone: its address
 * tells which it was. Nothing may change meanwhile. */
void finalizers_each(void (*visit)(PyObject *obj, PyTypeObject *type, PyObject *fn, bool waiting));

#endif
