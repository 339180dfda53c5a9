/* hooks.c: who takes what comes up from below: see hooks.h.
 *
 * A constant: nothing has to be filled in before it is used, and nobody can change it. It is above all
 * layers, as it names functions of most; it is the one symbol that those below use of a file above them.
 */
#include "hooks.h"

#include "cgo/cgo.h"
#include "debug/memdebug.h"
#include "gc/finalizer.h"
#include "gc/mgc.h"
#include "sched/stack.h"
#include "sched/sysmon.h"
#include "stacks/signal.h"
#include "stacks/traceback.h"
#include "sync/sync.h"
#include "sync/timer.h"

static void
forked(const PyThreadState *ts, const g *gp)
{
    gc_after_fork(ts);
    bufferedio_after_fork(gp);
    finalizers_forked();
    quit_after_fork();
    import_lock_after_fork();
}

const struct hooks hooks = {
    .eval_deep = morestack_eval,
    .heap_goal = gc_look,
    .special_freed = special_freed,
    .memory_idle = sysmon_memory_idle,
    .debug_hooks = debug_hooks,
    .born = set_origin,
    .free_ancestors = free_ancestors,
    .importer_ended = import_lock_left,
    .pay_owed = pay_owed,
    .timer_lost = timer_lost,
    .force_gc = gc_force,
    .scavenge = scavenge,
    .handled_in_c = handled_in_c,
    .quit_wanted = quit_wanted,
    .quit = quit,
    .kicked = quit_kicked,
    .forked = forked,
    .forked_late = finalizers_after_fork,
    .cycle_ended = trace_gc,
    .print_context = cgo_print_context,
    .print_signal = cgo_print_signal,
};
