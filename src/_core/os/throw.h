/* throw.h: a broken invariant, for the layers that know nothing of the runtime. */
#ifndef GORT_THROW_H
#define GORT_THROW_H

/* Go's throw. Never returns, needs no lock. */
_Noreturn void throw(const char *text);

#endif
