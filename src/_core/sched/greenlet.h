/* greenlet.h: goroutines that use greenlets (greenlet.c). */
#ifndef GORT_GREENLET_H
#define GORT_GREENLET_H

#include "core.h"

int greenlet_init(void); /* -1: exception set */

#endif
