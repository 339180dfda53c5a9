/* signal.h: signals that end the process (signal.c). */
#ifndef GORT_SIGNAL_H
#define GORT_SIGNAL_H

#include "core.h"

void signals_init(void);    /* installs the handlers of signals that end the process, for good */
bool quit_wanted(void);     /* hook: SIGQUIT came, and sysmon has to see to the dump */
void quit(void);            /* hook: sysmon does so; ends the process */
void quit_kicked(void *uc); /* hook: in a thread that sysmon has chosen to write the dump */
void quit_after_fork(void); /* in the child: a SIGQUIT of the parent's is the parent's to answer */
_Noreturn void crash(void); /* SIGABRT's default action */
/* Would a fault of this thread, if it had one now, come to gort's handler? Three system calls,
 * async-signal-safe. */
bool faults_are_caught(void);
int start_dying(void); /* 1 at the first call, 2 at the second, ... */
/* Hook: is there a signal handler that is neither Python's nor ours? known: signals that Python handles, bit
 * N-1 for signal N. */
bool handled_in_c(uint64_t known);

#endif
