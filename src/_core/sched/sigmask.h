/* sigmask.h: which threads take which signals (sigmask.c), and the runtime's own signal (kick.c). */
#ifndef GORT_SIGMASK_H
#define GORT_SIGMASK_H

#include "core.h"

/* Replaces the functions of the standard library that have to run with the program's mask. -1: exception
 * set. */
int sigmask_init(void);
uint64_t sigmask_runtime(void); /* what a thread of the runtime begins with */
void sigmask_main(void);        /* main begins on this thread: its mask is the program's */
void sigmask_m(void);           /* this thread, which has sigmask_runtime(), is an M */
/* Main has come to this thread (here), which is not m0's, or is about to leave it. After
 * main_thread_set(true): a signal that it lets in must find main here. */
void sigmask_move(bool here);

/* -- kick.c --------------------------------------------------------------------------------------- */

void kick_init(void);          /* takes a free real-time signal for itself, if there is one */
void kick(int32_t tid);        /* ends a system call of the thread early. No GIL */
uint64_t kick_bit(void);       /* of its signal in a mask; 0: there is none */
void push_mask(uint64_t mask); /* m0's thread, on which something else runs, goes on with this mask */

#endif
