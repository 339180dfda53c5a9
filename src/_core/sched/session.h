/* session.h: panics and deadlocks under a test runner and at a prompt (session.c). */
#ifndef GORT_SESSION_H
#define GORT_SESSION_H

#include "core.h"

/* Adds to the module what a test runner calls. -1: exception set. */
int gort_session_init(PyObject *module);
bool session_on(void);      /* is this the process of a session? */
bool session_prompts(void); /* does somebody sit at a prompt? */
/* An exception escaped a goroutine. True: the session goes on, and the goroutine ends quietly. */
bool session_takes(PyObject *exc);
/* On g0, main is parked, and all goroutines are asleep. others_could_wake: by threads that are not the
 * session's own, as main has told. Until when the M that asks may sleep. */
int64_t session_judges(bool (*others_could_wake)(void));
bool session_waits(void);      /* is there something that main has not been told, or asked, yet? */
int session_raise(void);       /* main's wait was interrupted: -1 if it ends by an exception */
void session_after_fork(void); /* in the child, which nobody watches: the session is over */
/* What the session runs now, a line at most; shown if the process dies. */
void session_names(const char *text);
const char *session_name(void); /* "": nothing is known. Async-signal-safe */

#endif
