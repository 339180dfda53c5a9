/* mfinal.h: what the files of finalizers share: mfinal.c, mfinalorder.c, mfinalrun.c. Lock: the GIL. */
#ifndef GORT_MFINAL_H
#define GORT_MFINAL_H

#include "core.h"

typedef struct job {
    struct job *next;
    PyObject *obj; /* owned once it is queued; before that NULL */
    PyObject *fn;
    bool finalized; /* the mark of 3. */
} job;

typedef struct entry {
    struct entry *next, *prev;
    struct entries *in; /* the list that it is in: one of those in `fin` */
    uintptr_t key;      /* of the object's block */
    PyObject *obj;      /* borrowed; owned in `asked` and `spared` */
    PyTypeObject *type; /* only compared */
    job *job;           /* NULL in `queued` */
    uint64_t number;    /* of its set_finalizer */
    uint64_t due;       /* the collection whose question about it is still to come; 0: none */
    struct entry *root; /* finalizers_settle: the next of the roots */
    bool finalized;     /* `queued`: as in the job that it had */
    bool seen;          /* its block's end will be seen */
    bool chosen;        /* finalizers_settle: to be queued */
} entry;

typedef struct entries {
    entry *first, *last;
    size_t n;
} entries;

extern struct fin {
    /* Each entry is in one: those that nothing was asked about; the batch, and what is still to be asked for
     * of it (mfinalorder.c); those of a batch that wait for others; those whose jobs are queued, and whose
     * question is still to come. */
    entries set, asked, spared, queued;
    uint64_t collection; /* the one whose batch it is */
    job *queue;          /* the oldest first; mfinalrun.c */
    job *dead;           /* finalizers that will not run, and their objects if they are owned: to let go of */
    PyObject *loop;      /* the function of the finalizer goroutine */
} fin;

/* -- mfinal.c; only fin_drop_dead runs Python code -- */

/* The entry of op; NULL: it has none. An entry of another object that lay there before is dropped. */
entry *fin_find(PyObject *op);
/* Does the entry hold a reference to its object? */
bool fin_owned(const entry *e);
/* Puts e at the end of another list, without a change of references. */
void fin_move(entries *to, entry *e);
/* Takes e out of the table and frees it. What it owns is left in fin.dead for the next fin_drop_dead. */
void fin_drop(entry *e);
/* Lets go of what fin_drop and finalizers_settle have left behind. Runs destructors. */
void fin_drop_dead(void);
/* Sets or clears CPython's mark that tp_finalize was called; nothing for an object that is not a
 * container. */
void fin_set_mark(PyObject *op, bool finalized);

/* -- mfinalorder.c -- */

/* The collector asks for an object in fin.set: it becomes a part of the batch, with all that has a finalizer
 * in the garbage that it leads to. */
void fin_ask(entry *e);

/* -- mfinalrun.c -- */

/* Makes e's job one to run, which keeps the object. e is gone after this unless the collector's question is
 * still to come. */
void queuefinalizer(entry *e);
/* Readies or starts the finalizer goroutine. Without memory for it, the next call tries again. */
void wakefing(void);
int gort_mfinalrun_init(PyObject *module); /* -1: exception set */

#endif
