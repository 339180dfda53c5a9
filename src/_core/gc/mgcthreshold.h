/* mgcthreshold.h: how CPython's collector is asked for a collection. GIL held; no Python code runs. */
#ifndef GORT_MGCTHRESHOLD_H
#define GORT_MGCTHRESHOLD_H

#include "gc/mgcpacer.h"

/* At the import: the pacer whose wishes these are. -1: exception set. */
int threshold_init(gcpacer *p);
/* May collections begin by themselves? */
bool threshold_automatic(void);
/* The pacer wants this, if collections may begin by themselves: CPython begins it at the next new
 * container. */
void threshold_want(enum gcphase what);
/* The same if the caller collects itself, at once. False: the pacer wants no less already. */
bool threshold_ask(enum gcphase what);
/* The pacer wants nothing any more. */
void threshold_drop(void);
/* The pacer has another size for the young generation; one that the program has set stays. */
void threshold_young(int from, int to);
/* What it wanted begins: the program's thresholds are in place again. */
void threshold_restore(void);

#endif
