/* chan.h: what select and the timers use of channels. GIL held; no Python code runs. */
#ifndef GORT_CHAN_H
#define GORT_CHAN_H

#include "core.h"

#include "sync/timer.h"

extern PyTypeObject *Chan_Type;

int chan_send_now(chan *c, PyObject *v); /* 1 sent, 0 would block, -1 exception set */
int chan_recv_now(chan *c,
                  PyObject **v); /* 1 received, 0 would block, -1 closed and drained, -2 exception set */
bool chan_can_send(chan *c);     /* ... or is closed */
bool chan_can_recv(chan *c);     /* ... or is closed, or is a timer's that is due */
struct chantimer *chan_timer(chan *c);     /* NULL: it is not a timer's */
chan *chan_of_timer(struct chantimer *ct); /* a new channel, which owns ct from now on; NULL: MemoryError */
waitq *chan_queue(chan *c, bool send);     /* of senders, or of receivers */

#endif
