/* mgcpacer.c: the pacer: GOGC for CPython's collector.
 *
 * CPython collects by counting objects, whatever they weigh and however many there are. The pacer does it by
 * bytes: a cycle begins when the heap reaches the goal, which is what the last cycle left (or the smallest
 * heap since then: blocks are also freed by their reference counts) and GOGC per cent more, but at least 4
 * MiB * GOGC / 100. The collector itself stays CPython's: mgc.c asks it for a collection, and is told when
 * one begins and ends.
 *
 * THE MACHINE. One phase, changed by enter(), which checks at debug level 1 that the transition is one of
 * these:
 *
 *      wanted                     runs
 *
 *      Idle ---------- begin ---> RunYoung --------- end ---> WantSlice; Idle if it is overdrawn
 *       |                         RunForced -------- end ---> Idle
 *       | WantSlice -- begin ---> RunSlice --------- end ---> Idle
 *       |   |
 *       |   | ask: the heap has reached the goal
 *       v   v
 *      WantYoung ----- begin ---> RunGoal ---.------ end ---> WantSlice or Idle: that will do
 *                                            '------ end ---> WantRest: a full one pays
 *      WantFull ------ begin --.
 *      WantRest ------ begin --+> RunFull ---------- end ---> Idle
 *      WantTimed ----- begin --'
 *
 *   ask     Idle and WantSlice become WantYoung, or WantFull where the goal is the memory limit's. Idle and
 *           any phase with "Want" become WantTimed when FORCE_PERIOD has passed.
 *   unask   Any phase with "Want" becomes Idle, for instance because GOGC has changed; so does `next`
 *           (below).
 *   start, stop   Off becomes Idle; any becomes Off.
 *
 * Allocations go on while a collection runs, in finalizers. What they ask for is kept in `next`, and entered
 * at the end, unless the collection has made it pointless: it was a cycle, or the heap is below the goal now.
 *
 * The program's own collections begin in any phase in which nothing runs. Its gc.collect(2) is RunForced, or
 * RunFull if a full one was wanted anyway and it is not runtime.gc() that calls it. gc.collect(1) is
 * RunOther, and so is gc.collect(0) while gc is disabled or the count of the young is below the threshold (it
 * never is in a phase with "Want"); otherwise gc.collect(0) begins what is drawn above. A full one that is
 * wanted is still wanted after a younger one, RunOther or RunYoung; otherwise the collection that begins
 * takes the place of the one that was wanted.
 *
 * A cycle is RunFull, RunForced, or RunGoal that no WantRest follows. In WantRest it has begun and not ended.
 *
 * WHICH COLLECTION. CPython's generations offer three prices:
 *   young    what was allocated since the last one; by count, each 8,192 containers, or fewer with a GOGC
 *            below 100, without regard to the goal. Cycles that die young never make the heap grow. Where
 *            most of the young die, as in a server whose requests are cycles, the count goes down, to 1,024:
 *            memory is used again while it is still in the processor's cache. Where few do it goes up again.
 *            After some that found nothing it is a sample, an eighth, until that finds something.
 *   slice    after each young one, or after some small ones: the part of the old objects that was looked at
 *            longest ago. It frees cyclic garbage within the slice, and above all it tells how much garbage
 *            there is among the old objects. Slices grow while they find some. Containers of thousands of
 *            items are left out: they take too long.
 *   full     all of them: the price of the whole heap.
 * At the goal a young one comes. If it frees half of what was allocated since the last cycle, that was the
 * cycle, and the goal stays. If not, a full one follows if
 *   - it will take less than AFFORDABLE of the time since the last one; or
 *   - less than OVERDUE, and either it promises something or the heap has passed GOALS goals in a row without
 *     one; or
 *   - it promises something, and so it did the last GOALS_PROMISED times that the goal moved on; or
 *   - the heap has passed GOALS_MAX goals.
 * With a GOGC below 100, which asks for memory rather than time, a promise is enough, and the last number is
 * GOALS_FRUGAL. A full one promises something if the last full one or the slices found that GARBAGE of the
 * old objects or more were garbage; or if many die young: MORTALITY of the young ones were garbage, and those
 * that survived may be garbage now. Otherwise, in a program that builds up data as fast as it can, the goal
 * moves on.
 *
 * Near the memory limit goals are lower, and cycles are full ones, but collections take no more than half of
 * the time. Each takes its processor time from an account. The account is filled by the processor time that
 * the process spends on other things (so that it is half on a busy machine too), and by time that goes by, at
 * a quarter. The limit asks for a collection when the account holds what it will take, or half of what the
 * account can hold. That is bounded, so that a quiet hour does not buy a minute of collections. While the
 * account is overdrawn the young ones, which come by count, are samples, and from the goal on there are no
 * slices. Meanwhile the heap grows beyond the
 * limit, as Go's does when its limiter is on.
 *
 * A heap that does not grow is collected all the same: a full one is due FORCE_PERIOD after the last, unless
 * it would take longer than FORCE_MOST: a program that did not ask for a pause must not notice one.
 *
 * Lock: the GIL. No function here reads a clock or the heap, calls Python or allocates.
 *
 * Differs from Go: a collection stops the world from its beginning to its end, in the goroutine that
 * allocates. So all its time is "assist" in Go's terms, or, if it was asked for, "dedicated". Nothing is
 * allocated while it marks and nothing is swept later, so there is no ratio of assistance, and no trigger
 * below the goal.
 */
#include "gc/mgcpacer.h"

#define HEAP_MIN ((uint64_t)4 << 20)
#define YOUNG 8192      /* containers */
#define YOUNG_MIN 1024  /* what dies young still is in the second cache of a processor */
#define YOUNG_LEAST 700 /* with a small GOGC: CPython's own, up to 3.12 */
#define MOST_DIE (1 / 2.)
#define FEW_DIE (1 / 16.)
#define SAMPLE 1024 /* containers */
#define IN_VAIN 4   /* young ones, before they become samples */
#define SLICE_MIN 512
#define SLICE_MAX 32768
#define GARBAGE (1 / 32.)
#define MORTALITY (1 / 8.)
#define AFFORDABLE (1 / 10.)
#define OVERDUE (1 / 5.)
#define GOALS_PROMISED 2
#define GOALS 3
#define GOALS_MAX 6
#define GOALS_FRUGAL 2
/* nanoseconds for each block of a heap that is much larger than any seen: none of it is in a cache */
#define PRICE_MIN 300.
#define LOOK_MIN ((uint64_t)64 << 10) /* bytes */
#define LOOK_MAX ((uint64_t)1 << 20)
#define FORCE_PERIOD ((int64_t)120 * 1000000000)
#define FORCE_MOST ((int64_t)120 * 1000000)
#define HEADROOM(limit) ((limit) / 32)    /* below the memory limit */
#define ACCOUNT_MAX ((int64_t)1000000000) /* nanoseconds, either way, as in Go's limiter; or one collection */

/* -- the phase ------------------------------------------------------------------------------------ */

#if GORT_DEBUG >= 1
_Noreturn void throw(const char *text);

#define TO(phase) (1u << (phase))
#define QUIT (TO(Off) | TO(Idle))                          /* as may any */
#define DUE (TO(WantYoung) | TO(WantFull) | TO(WantTimed)) /* an allocation asks for it */
#define ANY (TO(RunOther) | TO(RunForced))                 /* the program collects */
static const unsigned arrows[] = {
    [Off] = QUIT,
    [Idle] = TO(Off) | DUE | ANY | TO(RunYoung),
    [WantSlice] = QUIT | DUE | ANY | TO(RunSlice),
    [WantYoung] = QUIT | TO(WantTimed) | ANY | TO(RunGoal),
    [WantFull... WantRest] = QUIT | TO(WantTimed) | ANY | TO(RunYoung) | TO(RunFull),
    [WantTimed] = QUIT | ANY | TO(RunYoung) | TO(RunFull),
    [RunOther] = QUIT | DUE | TO(WantRest),
    [RunSlice] = QUIT | DUE,
    [RunYoung... RunGoal] = QUIT | DUE | TO(WantSlice) | TO(WantRest),
    [RunFull... RunForced] = QUIT | DUE,
};
#endif

static void
enter(gcpacer *c, enum gcphase to)
{
#if GORT_DEBUG >= 1
    if (!(arrows[c->phase] & TO(to)))
        throw("gcpacer: a phase follows one that does not lead to it");
#endif
    c->phase = to;
}

void
pacer_start(gcpacer *c, int64_t now, int64_t cpu)
{
    *c = (gcpacer){.percent = 100,
                   .limit = INT64_MAX,
                   .fullend = now,
                   .lastend =
                       now, /* the account is empty: the time since the machine started is not its own */
                   .lastcpu = cpu,
                   .price = PRICE_MIN,
                   .slice = SLICE_MIN,
                   .young = YOUNG,
                   .young_most = YOUNG,
                   .force_period = FORCE_PERIOD,
                   .force_most = FORCE_MOST};
    enter(c, Idle);
}

void
pacer_stop(gcpacer *c)
{
    enter(c, Off);
}

bool
pacer_ask(gcpacer *c, enum gcphase want)
{
    if (c->phase == Off || pacer_wanted(c) >= want)
        return false;
    if (c->phase >= RunOther)
        c->next = want;
    else
        enter(c, want);
    return true;
}

void
pacer_unask(gcpacer *c)
{
    if (c->phase >= RunOther)
        c->next = Idle;
    else if (c->phase > Idle)
        enter(c, Idle);
}

static enum gcphase
what_begins(enum gcphase wanted, int generation, bool due, bool forced)
{
    if (generation == 2)
        return wanted >= WantFull && !forced ? RunFull : RunForced;
    if (generation != 0 || !due)
        return RunOther;
    return wanted == WantSlice ? RunSlice : wanted == WantYoung ? RunGoal : RunYoung;
}

void
pacer_begin(gcpacer *c, int generation, bool due, bool forced, gcmoment m)
{
    if (c->phase >= RunOther)
        pacer_end(c); /* nobody told us of its end: a fork lost that collection, or there was no memory */
    enum gcphase wanted = c->phase;
    c->next = wanted >= WantFull && generation != 2 ? wanted : Idle;
    enter(c, what_begins(wanted, generation, due, forced));
    c->start = m;
}

void
pacer_end(gcpacer *c)
{
    enter(c, c->next);
}

/* -- goals -------------------------------------------------------------------------------------- */

static uint64_t
goal_over(const gcpacer *c, uint64_t live, int steps)
{
    double factor = 1, step = 1 + c->percent / 100.;
    for (int i = 0; i < steps; i++)
        factor *= step;
    double least = (double)HEAP_MIN * c->percent / 100, goal = (double)live * factor;
    if (goal < least)
        goal = least;
    return goal < 9e18 ? (uint64_t)goal : (uint64_t)9e18;
}

/* The heap that gets a full collection whatever it costs; before the first one, the first goal. */
static uint64_t
goal_max(const gcpacer *c)
{
    return goal_over(c, c->full, c->percent < 100 ? GOALS_FRUGAL : GOALS_MAX);
}

void
pacer_set_goals(gcpacer *c, int64_t beside)
{
    c->goal = c->percent < 0 ? UINT64_MAX : goal_over(c, c->least, 1);
    /* Goals are computed from the heap that was left, so the last of them may miss goal_max by a little. */
    if (c->full && c->percent >= 0 && c->least < goal_max(c) && goal_max(c) < c->goal)
        c->goal = goal_max(c);
    c->limitgoal = UINT64_MAX;
    if (c->limit == INT64_MAX)
        return;
    int64_t goal = c->limit - HEADROOM(c->limit) - beside, least = (int64_t)(c->least + LOOK_MIN);
    c->limitgoal = (uint64_t)(goal < least ? least : goal); /* least: it cannot be met */
}

bool
pacer_shrink(gcpacer *c, uint64_t heap)
{
    if (heap >= c->least)
        return false;
    c->least = heap;
    if (c->full > heap)
        c->full = heap;
    return true;
}

void
pacer_set_percent(gcpacer *c, int percent)
{
    c->percent = percent;
    c->young_most = YOUNG;
    if (percent >= 0 && percent < 100)
        c->young_most = YOUNG * percent / 100 > YOUNG_LEAST ? YOUNG * percent / 100 : YOUNG_LEAST;
    c->young = c->young_most;
}

int64_t
pacer_countdown(const gcpacer *c, uint64_t heap)
{
    uint64_t goal = pacer_goal(c), left = heap < goal ? goal - heap : LOOK_MAX;
    return (int64_t)(left < LOOK_MIN ? LOOK_MIN : left > LOOK_MAX ? LOOK_MAX : left);
}

/* -- which collection ------------------------------------------------------------------------------ */

/* What a full collection will take, in nanoseconds. */
static double
full_price(const gcpacer *c, uint64_t blocks)
{
    double price = blocks > 4 * c->priced && c->price < PRICE_MIN ? PRICE_MIN : c->price;
    return price * (double)blocks;
}

int64_t
pacer_guess(const gcpacer *c, size_t looked)
{
    return (int64_t)(c->phase >= RunFull ? full_price(c, c->start.blocks) : PRICE_MIN * (double)looked);
}

/* What a collection may take now. */
static int64_t
account(const gcpacer *c, int64_t now, int64_t cpu)
{
    int64_t used = cpu - c->lastcpu, share = (now - c->lastend) / 4;
    return c->account + (used > share ? used : share);
}

static bool
promises(const gcpacer *c)
{
    return c->garbage >= GARBAGE || c->mortality >= MORTALITY;
}

static bool
near_limit(const gcpacer *c)
{
    return c->limitgoal < c->goal;
}

static bool
full_pays(const gcpacer *c, gcmoment m)
{
    double price = full_price(c, m.blocks);
    if (near_limit(c)) {
        /* Half of what it can hold is enough: the price may grow as fast as the account. */
        int64_t held = account(c, m.time, m.cpu);
        return held >= ACCOUNT_MAX / 2 || (double)held >= price;
    }
    if (m.heap >= goal_max(c) || (promises(c) && (c->percent < 100 || c->putoff >= GOALS_PROMISED)))
        return true;
    double share = promises(c) || m.heap >= goal_over(c, c->full, GOALS) ? OVERDUE : AFFORDABLE;
    return price <= share * (double)(m.time - c->fullend);
}

enum gcphase
pacer_at_goal(const gcpacer *c, gcmoment m)
{
    return !near_limit(c) ? WantYoung : full_pays(c, m) ? WantFull : Idle;
}

/* Half of what was allocated since the last cycle. */
static bool
was_enough(const gcpacer *c, uint64_t heap)
{
    return 2 * heap <= c->least + pacer_goal(c);
}

bool
pacer_judge(gcpacer *c, gcmoment m)
{
    bool enough = was_enough(c, m.heap), follows = !enough && full_pays(c, m);
    c->putoff += !enough && !follows && !near_limit(c) && promises(c);
    return follows;
}

/* Collections have taken more than half of the time until the one that runs began. */
static bool
overdrawn(const gcpacer *c, int64_t cpu)
{
    return near_limit(c) && account(c, c->start.time, cpu) < 0;
}

size_t
pacer_sample(const gcpacer *c)
{
    return c->invain >= IN_VAIN || overdrawn(c, c->start.cpu) ? SAMPLE : SIZE_MAX;
}

bool
pacer_slice_follows(const gcpacer *c, uint64_t heap, int64_t cpu)
{
    /* Beyond the limit all that the account gets is for the full one that is due: slices would take it as
     * fast as it comes, and that one never begin. */
    bool waits = near_limit(c) && heap >= c->limitgoal,
         follows = c->phase == RunGoal || (c->phase == RunYoung && c->unsliced >= c->young_most);
    return follows && !waits && !overdrawn(c, cpu);
}

int64_t
pacer_force_time(const gcpacer *c, int64_t now, uint32_t cycles)
{
    return c->percent < 0 || cycles == 0 ? INT64_MAX : now + c->force_period;
}

bool
pacer_may_force(const gcpacer *c, uint64_t blocks)
{
    return full_price(c, blocks) <= (double)c->force_most;
}

/* -- what a collection teaches ------------------------------------------------------------------------ */

bool
pacer_cycle_ends(gcpacer *c, uint64_t heap, int64_t now, bool measured)
{
    const gcmoment *start = &c->start;
    bool full = c->phase >= RunFull, moves = full || !was_enough(c, heap) || near_limit(c);
    if (full) {
        c->full = heap;
        c->fullend = now;
        c->putoff = 0;
        if (measured &&
            start->heap > HEAP_MIN / 4) { /* of a smaller one the price is mostly that of beginning */
            c->price = (double)(now - start->time) / (double)start->blocks;
            c->priced = start->blocks;
        }
        c->garbage = start->heap > heap ? (double)(start->heap - heap) / (double)start->heap : 0;
    }
    if (moves)
        c->least = heap;
    return moves;
}

void
pacer_learn(gcpacer *c, size_t looked, size_t collected)
{
    double found = (double)collected / (double)looked;
    if (c->phase == RunSlice && looked) {
        c->garbage += (found - c->garbage) / 4;
        if (found > GARBAGE && c->slice < SLICE_MAX)
            c->slice *= 2;
        else if (found < GARBAGE / 4 && c->slice > SLICE_MIN)
            c->slice /= 2;
    }
    c->unsliced = c->phase == RunSlice                                  ? 0
                  : c->phase == RunYoung && c->unsliced < INT32_MAX / 2 ? c->unsliced + c->young
                                                                        : c->unsliced;
    if (c->phase == RunYoung && looked >= SAMPLE / 2) {
        if (found >= MOST_DIE && c->young / 2 >= YOUNG_MIN)
            c->young /= 2;
        else if (found < FEW_DIE)
            c->young = 2 * c->young < c->young_most ? 2 * c->young : c->young_most;
    }
    if (c->phase == RunYoung || c->phase == RunGoal) {
        c->invain = collected ? 0 : c->invain + 1;
        if (looked >= SAMPLE / 2)
            c->mortality += ((found < 1 ? found : 1) - c->mortality) / 4;
    }
}

/* A collection took this much processor time; a quarter more stands for what comes before and after it, cold
 * caches included. */
void
pacer_pay(gcpacer *c, int64_t took, int64_t now, int64_t cpu)
{
    took += took / 4;
    int64_t most = took > ACCOUNT_MAX ? took : ACCOUNT_MAX, held = account(c, c->start.time, c->start.cpu);
    c->account = (held < most ? held : most) - took;
    if (c->account < -most)
        c->account = -most;
    c->lastend = now;
    c->lastcpu = cpu;
}
