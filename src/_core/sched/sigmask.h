/* sigmask.h: which threads take which signals (sigmask.c), and the runtime's own signal (kick.c). */
#ifndef GORT_SIGMASK_H
#define GORT_SIGMASK_H

#include "core.h"

int sigmask_init(void);         /* -1: exception set */
uint64_t sigmask_runtime(void); /* what a thread of the runtime begins with */
void sigmask_main(void);
void sigmask_m(void);
void sigmask_move(bool here);

/* -- kick.c --------------------------------------------------------------------------------------- */

void kick_init(void);
void kick(int32_t tid);        /* ends a system call of the thread early */
uint64_t kick_bit(void);       /* in a mask; 0: there is none */
void push_mask(uint64_t mask); /* the process's first thread, which is busy, goes on with this */

#endif
