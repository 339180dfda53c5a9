/* greenlet.h: goroutines that use greenlets (greenlet.c). */
#ifndef GORT_GREENLET_H
#define GORT_GREENLET_H

#include "core.h"

int greenlet_init(void); /* -1: exception set */
/* The method's entry in its module's or type's table, if it is called as `flags` say; else NULL, no exception set. */
PyMethodDef *method_of(PyObject *owner, const char *name, int flags);

#endif
