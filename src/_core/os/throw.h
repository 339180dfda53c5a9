/* throw.h: a broken invariant, for files that do not include core.h. */
#ifndef GORT_THROW_H
#define GORT_THROW_H

/* Go's throw. Never returns, needs no lock. */
_Noreturn void throw(const char *text);

#endif
