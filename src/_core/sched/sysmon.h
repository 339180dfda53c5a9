/* sysmon.h: the thread that watches (sysmon.c). */
#ifndef GORT_SYSMON_H
#define GORT_SYSMON_H

#include "core.h"

void sysmon_start(void);       /* it does not run yet. If no thread can be had the program ends. GIL held */
void sysmon_try_start(void);   /* for what can do without it: nothing if it runs, or cannot. GIL held */
void sysmon_memory_idle(void); /* hook: there is idle memory, and mheap_unwatched was set */
void sysmon_wake(void);        /* it looks at once. No GIL; async-signal-safe */
/* There is something to do, now or at a time, and the goroutine that has the P may stay in C: ends a long
 * pause. */
static inline void
sysmon_notice(void)
{
    if (unlikely(atomic_load_explicit(&sched.sysmonslow, memory_order_relaxed))) {
        atomic_store_explicit(&sched.sysmonslow, false, memory_order_relaxed);
        sysmon_wake();
    }
}
void sysmon_asks_no_more(void); /* at the interpreter's end */
int32_t sysmon_tid(void);       /* 0: it has not begun yet */
void sysmon_pause(void);        /* before a fork: it ends, in a program without goroutines */
void sysmon_resume(void);       /* after it, in the parent: it starts again if it was ended for the fork */
void sysmon_after_fork(void);   /* in the child, which has none */
/* Writes GODEBUG=schedtrace's line, or scheddetail's, to errfd. Needs no GIL; one thread at a time. */
void schedtrace(bool detailed);

#endif
