/* greenlet.h: goroutines that use greenlets (greenlet.c). */
#ifndef GORT_GREENLET_H
#define GORT_GREENLET_H

#include "core.h"

/* Has greenlet's functions replaced when that module is loaded, or now if it is. After schedinit: if
 * greenlets exist already, main is locked to its thread. -1: exception set. */
int greenlet_init(void);

#endif
