/* sysmon.h: the thread that watches (sysmon.c). */
#ifndef GORT_SYSMON_H
#define GORT_SYSMON_H

#include "core.h"

void sysmon_start(void);
void sysmon_try_start(void);   /* for what can do without it */
void sysmon_memory_idle(void); /* hook */
void sysmon_wake(void);
/* There is something to do, or to do at a time, and whoever is to do it may stay in C. */
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
void sysmon_pause(void);        /* before a fork */
void sysmon_resume(void);
void sysmon_after_fork(void); /* in the child, which has none */
void schedtrace(bool detailed);

#endif
