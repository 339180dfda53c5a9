/* hooks.c: see hooks.h. */
#include "lib/hooks.h"

struct hooks hooks;
