/* session.h: panics and deadlocks under a test runner (session.c). */
#ifndef GORT_SESSION_H
#define GORT_SESSION_H

#include "core.h"

int gort_session_init(PyObject *module);
/* An exception escaped a goroutine. True: main has been told, and the goroutine ends quietly. */
bool session_takes(PyObject *exc);
/* On g0, main is parked: all are asleep. True: main shall be told, by whoever looks for work next. */
bool session_is_dead(const char *text);
bool session_waits(void); /* main shall be told something */
/* Is it a signal handler of whoever runs the session, who wakes nobody by it? */
bool session_handles(PyObject *handler);
int session_raise(void); /* main's wait was interrupted: -1 if it has been told something, which is raised */
void session_after_fork(void);

#endif
