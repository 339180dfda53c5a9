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

/* mfinal.c */
entry *fin_find(PyObject *op); /* NULL: it has none */
bool fin_owned(const entry *e);
void fin_move(entries *to, entry *e);
void fin_drop(entry *e);
void fin_drop_dead(void); /* runs destructors */
void fin_set_mark(PyObject *op, bool finalized);
/* mfinalorder.c */
void fin_ask(entry *e);
/* mfinalrun.c */
void queuefinalizer(entry *e);
void wakefing(void);
int gort_mfinalrun_init(PyObject *module);

#endif
