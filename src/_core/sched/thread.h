/* thread.h: plain threads that wait in gort. */
#ifndef GORT_THREAD_H
#define GORT_THREAD_H

#include "core.h"

/* A plain thread that has waited in gort. It runs no goroutines, so getm() is NULL in it. */
struct thread {
    pthread_g g; /* what wait queues know of it: with G_THREAD, on no M, in no run queue, not in allgs */
    _Atomic uint32_t note; /* futex: 1 when woken */
    thread *alllink;       /* sched.threads */
    thread *freelink;      /* free_threads */
};

static inline thread *
thread_of_g(g *gp)
{
    check(gp->flags & G_THREAD);
    return (thread *)gp;
}

extern thread *free_threads; /* of threads that have ended; under idlelock */
/* That of this OS thread; NULL: it has never waited as a plain thread. */
thread *getthread(void);
void setthread(thread *t); /* of this OS thread; NULL: none any more */
/* gp, this plain thread's, sleeps without the GIL until wake_thread(gp), which any thread with the GIL may
 * call. */
void park_thread(g *gp);
void wake_thread(g *gp);
/* The thread is about to be gone. arg: its record, or FORKER, if it has forked and is main. No GIL. */
void thread_ended(void *arg);
#define FORKER ((void *)1)

#endif
