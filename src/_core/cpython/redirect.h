/* redirect.h: another C function behind a method or function that CPython has already (redirect.c). */
#ifndef GORT_REDIRECT_H
#define GORT_REDIRECT_H

#include "core.h"

typedef struct {
    const char *module, *type, *name; /* type NULL: a function of the module */
    int flags;                        /* METH_...: the calling convention that `ours` has */
    void *ours;                       /* a C function of that convention */
    void *orig;    /* pointer to where the one that was there is kept; NULL: nobody calls it */
    bool optional; /* not every release has it */
} redirection;

/* Private ones among them. */
#define THREAD_EXCEPTHOOK "_excepthook"            /* of _thread: what a Thread calls when its run() raises */
#define THREAD_MAIN_IDENT "_get_main_thread_ident" /* of _thread, from 3.13 on */
#define RLOCK_IS_OWNED "_is_owned"                 /* does the caller have this RLock? */
#define RLOCK_RECURSION_COUNT "_recursion_count"   /* how many times; not in every release */
#define RLOCK_RELEASE_SAVE "_release_save"         /* gives it back, and says what must be restored */
#define RLOCK_ACQUIRE_RESTORE "_acquire_restore"   /* takes it again as it was */

/* All n or none. 1: done. 0: this CPython is not as expected, nothing is changed, and a RuntimeWarning has
 * said so and that `otherwise`. -1: exception set. */
int redirect(const redirection *r, size_t n, const char *otherwise);
/* What a module's function, or a type's method that it has not inherited, is called through. Borrowed; NULL:
 * it is not there, or not written in C. No exception is set. */
PyMethodDef *def_in(PyObject *owner, const char *name);
PyMethodDef *builtin_def(const char *module, const char *name);
/* With what calling convention, METH_...? */
static inline int
def_convention(const PyMethodDef *def)
{
    return def->ml_flags & ~METH_COEXIST;
}
/* A type of a module. Borrowed; NULL: exception set. */
PyTypeObject *redirect_type(const char *module, const char *name);
/* The tp_iternext that n types have in common and offer as __next__; NULL: they do not. */
iternextfunc iternext_of(PyTypeObject *const *types, size_t n);
/* Theirs, and that of all subclasses that have inherited it, is `ours` from now on. -1: exception set. */
int redirect_iternext(PyTypeObject *const *types, size_t n, iternextfunc ours);

#endif
