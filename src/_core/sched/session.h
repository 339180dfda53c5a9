/* session.h: panics and deadlocks under a test runner (session.c). */
#ifndef GORT_SESSION_H
#define GORT_SESSION_H

#include "core.h"

/* Adds to the module what a test runner calls. -1: exception set. */
int gort_session_init(PyObject *module);
/* An exception escaped a goroutine. True: main has been told, and the goroutine ends quietly. */
bool session_takes(PyObject *exc);
/* On g0, main is parked: all are asleep. True: main is going to be told, by the M that looks for work
 * next. */
bool session_is_dead(const char *text);
bool session_waits(void); /* is there something that main has not been told yet? */
/* Does this signal handler belong to the test runner, and wake nobody? */
bool session_handles(PyObject *handler);
int session_raise(void); /* main's wait was interrupted: -1 if it has been told something, which is raised */
void session_after_fork(void); /* in the child, which nobody watches: the session is over */

#endif
