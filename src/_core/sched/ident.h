/* ident.h: who runs (ident.c). */
#ifndef GORT_IDENT_H
#define GORT_IDENT_H

#include "core.h"

/* Who owns what is acquired here: the goroutine or the plain thread that runs. Needs no GIL. */
unsigned long owner_id(void);
extern unsigned long main_ident; /* main's */
/* Has threading and the extension modules that ask which thread runs get owner_id(). -1: exception set. */
int ident_init(void);

#endif
