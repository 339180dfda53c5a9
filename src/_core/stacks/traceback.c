/* traceback.c: goroutines as text, in Go's form.
 *
 *     goroutine 7 [chan receive, 2 minutes]:
 *     __main__.worker(...)
 *             /srv/app.py:12
 *     created by __main__.main in goroutine 1
 *             /srv/app.py:40 +0x5c
 *
 * One writer serves runtime.stack(), panics, fatal errors and the dump of a signal handler. It has two forms:
 * with the GIL, and `careful`, for callers that cannot have it: then it allocates nothing, takes no lock, and
 * looks at what it follows by system calls (CAREFUL in os.h); what changes meanwhile comes out incomplete,
 * not wrong.
 *
 * What is shown follows GOTRACEBACK (tb): at level 1 the program's frames, at level 2 those of the runtime
 * too (gort's own files, runpy and the interpreter's bootstrap) with fp, sp and pc.
 *
 * Differs from Go: frames print as Go prints inlined ones, `name(...)`, since Python's arguments are not
 * words; fp is the interpreter's frame, sp its evaluation stack. threading.Threads are shown after the
 * goroutines.
 */
#include "stacks/traceback.h"

#include "cpython/compat.h"
#include "gc/finalizer.h"
#include "hooks.h"
#include "os/os.h"
#include "sched/g.h"
#include "sched/thread.h"
#include "sched/stack.h"
#include "stacks/pc.h"
#include "stacks/signal.h"

#include <stdlib.h>
#include <string.h>

#define MAX_FRAMES 100
#define MAX_ANCESTOR_FRAMES 100

PyCodeObject *callback_code;
struct tracebackcfg tb = {.level = 1};

/* -- names ---------------------------------------------------------------------------------------- */

/* A str; `otherwise` if it is not one. */
static void
put_unicode(out *o, PyObject *s, const char *otherwise, bool careful)
{
    const char *data;
    Py_ssize_t length;
    int kind = s ? str_data(s, &data, &length, careful) : 0;
    if (!kind) {
        put_str(o, otherwise);
        return;
    }
    const Py_ssize_t longest = 4096;
    if (length > longest)
        length = longest;
    for (Py_ssize_t i = 0; i < length;) {
        char copy[256];
        const char *at = data + i * kind;
        Py_ssize_t k =
            (Py_ssize_t)sizeof copy / kind < length - i ? (Py_ssize_t)sizeof copy / kind : length - i;
        if (careful) {
            if (!mem_read(copy, at, (size_t)(k * kind)))
                return;
            at = copy;
        }
        for (Py_ssize_t j = 0; j < k; j++) {
            put_rune(o, kind == 1   ? ((const uint8_t *)at)[j]
                        : kind == 2 ? ((const uint16_t *)at)[j]
                                    : ((const uint32_t *)at)[j]);
        }
        i += k;
    }
}

/* -- frames --------------------------------------------------------------------------------------- */

static void
put_name(out *o, const codeview *code, PyObject *module, bool careful)
{
    put_unicode(o, module, "?", careful);
    put(o, ".", 1);
    put_unicode(o, code->qualname, "?", careful);
}

static void
put_place(out *o, const codeview *code, int line, bool careful)
{
    put(o, "\t", 1);
    put_unicode(o, code->filename, "?", careful);
    put(o, ":", 1);
    put_uint(o, line > 0 ? (uint64_t)line : 0);
}

/* A frame, at level 2 with fp, sp and pc. */
static void
put_frame(out *o, const pyframe *at, const codeview *code, int line, bool careful)
{
    put_name(o, code, globals_name(at->globals, careful), careful);
    put_str(o, "(...)\n");
    put_place(o, code, line, careful);
    if (tb.level >= 2) {
        uintptr_t pc;
        if (careful || o->quiet)
            pc = code_pc(at->code, at->lasti, careful ? CAREFUL : o->pc_care);
        else {
            func *f = func_of(at->code, at->globals);
            pc = f ? func_pc(f, at->lasti) : 0;
        }
        put_str(o, " +");
        put_hex(o, (uint64_t)at->lasti + 2);
        if (at->f) {
            put_str(o, " fp=");
            put_hex(o, (uintptr_t)at->f);
            put_str(o, " sp=");
            put_hex(o, (uintptr_t)at->sp);
        }
        if (pc) {
            put_str(o, " pc=");
            put_hex(o, pc);
        }
    }
    put(o, "\n", 1);
}

void
put_frames(out *o, g *gp, PyThreadState *ts, bool careful)
{
    pyframe at;
    int n = 0, callbacks = 0;
    int steps = 0;
    if (o->quiet && tb.level >= 2)
        o->pc_care = faults_are_caught() ? CATCHING : CAREFUL;
    const int bound = careful ? 100000 : INT32_MAX; /* a chain that changes could go in circles */
    for (bool more = ts && frame_first(&at, ts, careful); more && steps < bound;
         more = frame_next(&at, careful), steps++) {
        codeview code;
        if (gp && at.code == callback_code)
            hooks.print_context(o, gp, callbacks++);
        if (!code_look(&code, at.code, careful))
            break;
        if (tb.level < 2 && is_runtime_file(code.filename, careful)) {
            if (is_launcher_file(code.filename, careful))
                break;
            continue;
        }
        if (n++ == MAX_FRAMES) {
            put_str(o, "...additional frames elided...\n");
            break;
        }
        put_frame(o, &at, &code, code_line(&code, at.lasti, careful), careful);
    }
}

/* -- goroutines ----------------------------------------------------------------------------------- */

static const char *
status_text(g *gp)
{
    switch (gp->status) {
    case Gidle:
        return "idle";
    case Grunnable:
        return "runnable";
    case Grunning:
        break;
    case Gwaiting:
        return gp->waitreason < waitReasonCount && gp->waitreason ? waitreason_text[gp->waitreason]
                                                                  : "waiting";
    case Gdead:
        return "dead";
    default:
        return "???";
    }
    m *mp = gp->m;
    return mp && !mp->p && mp != getm() ? "syscall"
                                        : "running"; /* its P was taken: in C, or it computes without */
}

void
put_header(out *o, g *gp, const char *status)
{
    put_str(o, "goroutine ");
    put_uint(o, gp->goid);
    put_str(o, " [");
    put_str(o, status ? status : status_text(gp));
    if (!status && gp->status == Gwaiting && gp->waitsince) {
        int64_t minutes = (nanotime() - gp->waitsince) / 60000000000;
        if (minutes >= 1) {
            put_str(o, ", ");
            put_uint(o, (uint64_t)minutes);
            put_str(o, " minutes");
        }
    }
    if (gp->flags & G_LOCKED)
        put_str(o, ", locked to thread");
    put_str(o, "]:\n");
}

static void
put_created_by(out *o, PyCodeObject *by, PyObject *module, int lasti, uint64_t parent, bool careful)
{
    codeview v, *code = &v;
    if (!code_look(code, by, careful))
        return;
    put_str(o, "created by ");
    put_name(o, code, module, careful);
    if (parent) {
        put_str(o, " in goroutine ");
        put_uint(o, parent);
    }
    put(o, "\n", 1);
    put_place(o, code, code_line(code, lasti, careful), careful);
    put_str(o, " +");
    put_hex(o, (uint64_t)lasti + 2);
    put(o, "\n", 1);
}

void
put_tail(out *o, g *gp, bool careful)
{
    PyCodeObject *code = gp->created_code;
    if (code && gp->parent) {
        func *f = careful || o->quiet ? NULL : code_extra(code); /* quiet: as in put_frame */
        put_created_by(o, code, f ? func_module(f) : gp->created_module, gp->created_lasti, gp->parent,
                       careful);
    }
    if (careful)
        return; /* ancestors are found by binary search in a table that may be moving */
    for (const ancestors *a = gp->ancestors; a; a = a->next) {
        put_str(o, "[originating from goroutine ");
        put_uint(o, a->goid);
        put_str(o, "]:\n");
        for (size_t i = 0; i < a->npcs; i++) {
            func *f = findfunc(a->pcs[i]);
            codeview code;
            if (!f || !code_look(&code, func_code(f), TRUSTING) ||
                (tb.level < 2 && is_runtime_file(code.filename, false)))
                continue;
            put_name(o, &code, func_module(f), false);
            put_str(o, "(...)\n");
            put_place(o, &code, func_line(f, a->pcs[i] - 1), false);
            put_str(o, " +");
            put_hex(o, a->pcs[i] - func_entry(f));
            put(o, "\n", 1);
        }
        if (a->npcs == MAX_ANCESTOR_FRAMES)
            put_str(o, "...additional frames elided...\n");
        func *by = a->goid != 1 ? findfunc(a->gopc) : NULL;
        if (by)
            put_created_by(o, func_code(by), func_module(by), (int)(a->gopc - func_entry(by)) - 2, 0, false);
    }
}

static void
put_goroutine(out *o, g *gp, bool careful)
{
    put_header(o, gp, NULL);
    put_frames(o, gp, gp->ts, careful);
    put_tail(o, gp, careful);
}

static bool
is_shown(g *gp)
{
    return g_alive(gp) && gp->ts && !(tb.level < 2 && is_idle_system(gp)) &&
           !(gp->status == Gwaiting && gp->waitreason == waitReasonGoexit); /* main that has ended is none */
}

static int
by_goid(const void *a, const void *b)
{
    uint64_t x = (*(g *const *)a)->goid, y = (*(g *const *)b)->goid;
    return (x > y) - (x < y);
}

void
put_others(out *o, g *me, bool careful)
{
    if (careful) {
        allgs all = {0};
        for (g *gp; (gp = allgs_next(&all)) != NULL;) {
            if (gp != me && is_shown(gp)) {
                put(o, "\n", 1);
                put_goroutine(o, gp, true);
            }
        }
        return;
    }
    size_t n = 0, cap = 0;
    allgs at = {0};
    for (g *gp; (gp = allgs_next(&at)) != NULL;)
        cap += gp != me && is_shown(gp);
    g **all = malloc((cap ? cap : 1) * sizeof *all);
    if (!all) {
        o->failed = true;
        return;
    }
    at = (allgs){0};
    for (g *gp; (gp = allgs_next(&at)) != NULL;) {
        if (gp != me && is_shown(gp))
            all[n++] = gp;
    }
    qsort(all, n, sizeof *all, by_goid);
    for (size_t i = 0; i < n; i++) {
        put(o, "\n", 1);
        put_goroutine(o, all[i], false);
    }
    free(all);
}

/* -- threads --------------------------------------------------------------------------------------- */

/* The g's of the threads that wait in gort, by thread state: open addressing, at most half full. Pages of
 * their own, since in a signal handler there is no allocator. */
typedef struct {
    g **slots;
    size_t size; /* a power of 2; 0: nobody waits, or no memory: then their status is told less exactly */
} waiters;

static g **
waiters_slot(const waiters *w, const PyThreadState *ts)
{
    size_t i = (size_t)(((uintptr_t)ts >> 4) * 0x9e3779b97f4a7c15u >> 20);
    for (;; i++) {
        g **slot = &w->slots[i & (w->size - 1)];
        if (!*slot || (*slot)->ts == ts)
            return slot;
    }
}

static waiters
waiters_find(void)
{
    size_t n = 0, size = 1024;
    for (thread *t = sched.threads; t; t = t->alllink)
        n += t->g.g.status == Gwaiting;
    while (size < 2 * n)
        size *= 2;
    waiters w = {.slots = n ? mem_reserve(size * sizeof *w.slots) : NULL};
    w.size = w.slots ? size : 0;
    for (thread *t = w.size ? sched.threads : NULL; t && n > 0; t = t->alllink) {
        if (t->g.g.status == Gwaiting) {
            *waiters_slot(&w, t->g.g.ts) = &t->g.g;
            n--; /* `careful`: there may be more by now */
        }
    }
    return w;
}

static void
waiters_free(waiters *w)
{
    if (w->size)
        mem_unmap(w->slots, w->size * sizeof *w->slots);
}

/* Does the stack have a frame that level 1 shows? */
static bool
of_program(PyThreadState *ts, bool careful)
{
    pyframe at;
    for (bool more = frame_first(&at, ts, careful); more; more = frame_next(&at, careful)) {
        codeview code;
        if (code_look(&code, at.code, careful) && !is_runtime_file(code.filename, careful))
            return true;
    }
    return false;
}

static void
put_thread(out *o, PyThreadState *ts, const char *status, bool careful)
{
    put_str(o, "thread ");
    put_uint(o, ts_native_id(ts, careful));
    PyObject *name = careful || o->quiet ? NULL : thread_name_of(ts_ident(ts, false));
    if (name) {
        put_str(o, " \"");
        put_unicode(o, name, "?", false);
        put(o, "\"", 1);
        Py_DECREF(name);
    }
    put_str(o, " [");
    put_str(o, status);
    put_str(o, "]:\n");
    put_frames(o, NULL, ts, careful);
}

g *
put_running(out *o)
{
    m *mp = getm();
    g *gp = mp ? mp->curg : NULL;
    PyThreadState *ts = ts_current();
    if (gp) {
        put_header(o, gp, "running");
        put_frames(o, gp, ts, false);
        put_tail(o, gp, false);
        return gp;
    }
    if (ts && !(mp && !mp->curg))
        put_thread(o, ts, "running", false);
    else
        put_str(o, "goroutine 0 [idle]:\n"); /* the scheduler */
    return NULL;
}

/* threading.Threads, and threads that C code gave a thread state. */
void
put_threads(out *o, PyThreadState *me, bool careful)
{
    size_t n = 0;
    const size_t bound = careful ? 4000000 : SIZE_MAX; /* a chain that changes could go in circles */
    waiters w = waiters_find();
    for (PyThreadState *ts = ts_head(careful); ts && n < bound; ts = ts_next_other(ts, careful), n++) {
        unsigned long ident = ts_ident(ts, careful);
        if (!ident || is_goid(ident) || is_scheduler(ident) || ts == me || (maing && ts == maing->ts) ||
            (tb.level < 2 && !of_program(ts, careful)))
            continue;
        g *gp = w.size ? *waiters_slot(&w, ts) : NULL;
        put(o, "\n", 1);
        put_thread(o, ts, gp ? waitreason_text[gp->waitreason] : "syscall", careful);
    }
    waiters_free(&w);
}

/* -- ancestors -------------------------------------------------------------------------------------- */

static ancestors *
save_ancestors(g *creator, PyThreadState *ts)
{
    uintptr_t pcs[MAX_ANCESTOR_FRAMES];
    size_t n = callers(ts, 0, pcs, MAX_ANCESTOR_FRAMES);
    ancestors *a = malloc(sizeof *a + n * sizeof *pcs);
    if (!a)
        return NULL;
    a->goid = creator->goid;
    a->npcs = n;
    memcpy(a->pcs, pcs, n * sizeof *pcs);
    func *by = creator->created_code ? code_extra(creator->created_code) : NULL;
    a->gopc = by ? func_pc(by, creator->created_lasti) : 0;
    /* the creator's own ancestors: copied, since it may end first */
    ancestors **end = &a->next;
    int left = tb.ancestors - 1;
    for (const ancestors *from = creator->ancestors; from && left > 0; from = from->next, left--) {
        size_t size = sizeof *from + from->npcs * sizeof *pcs;
        *end = malloc(size);
        if (!*end)
            return a;
        memcpy(*end, from, size);
        end = &(*end)->next;
    }
    *end = NULL;
    return a;
}

/* Hook: gp was created where ts, its creator's, is now. */
void
set_origin(g *gp, PyThreadState *ts)
{
    m *mp = getm();
    g *creator = mp ? mp->curg : NULL;
    pyframe at;
    if (frame_first(&at, ts, false)) {
        gp->created_code = (PyCodeObject *)Py_NewRef(at.code);
        gp->created_lasti = at.lasti;
        func *f = func_of(at.code, at.globals);
        gp->created_module = f ? func_module(f) : NULL;
    }
    if (creator) {
        gp->parent = creator->goid;
        if (unlikely(tb.ancestors > 0))
            gp->ancestors = save_ancestors(creator, ts);
    }
}

void
free_ancestors(ancestors *a)
{
    while (a) {
        ancestors *next = a->next;
        free(a);
        a = next;
    }
}

/* -- for Python ------------------------------------------------------------------------------------- */

static PyObject *
text_of(out *o)
{
    PyObject *s = o->failed ? PyErr_NoMemory()
                            : PyUnicode_DecodeUTF8(o->buf ? o->buf : "", (Py_ssize_t)o->n, "replace");
    free(o->buf);
    return s;
}

/* The frames of an exception's traceback: (frame, line) each. */
static int
put_calls(out *o, PyObject *calls)
{
    PyObject *fast = PySequence_Fast(calls, "calls must be a sequence of pairs of a frame and a line");
    if (!fast)
        return -1;
    int n = 0, err = 0;
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(fast) && !err; i++) {
        PyObject *frame, *globals = NULL;
        int line;
        if (!PyArg_ParseTuple(PySequence_Fast_GET_ITEM(fast, i), "O!i", &PyFrame_Type, &frame, &line) ||
            !(globals = PyFrame_GetGlobals((PyFrameObject *)frame))) {
            err = -1;
            break;
        }
        PyCodeObject *code = PyFrame_GetCode((PyFrameObject *)frame);
        pyframe at = {.code = code, .globals = globals, .lasti = PyFrame_GetLasti((PyFrameObject *)frame)};
        codeview v;
        code_look(&v, code, TRUSTING);
        if (tb.level < 2 && is_runtime_file(v.filename, false))
            err = is_launcher_file(v.filename, false);
        else if (n++ < MAX_FRAMES)
            put_frame(o, &at, &v, line, false);
        else {
            put_str(o, "...additional frames elided...\n");
            err = 1;
        }
        Py_DECREF(globals);
        Py_DECREF(code);
    }
    Py_DECREF(fast);
    return err < 0 ? -1 : 0;
}

static PyObject *
traceback_(PyObject *mod, PyObject *args, PyObject *kw)
{
    (void)mod;
    static char *names[] = {"all", "calls", NULL};
    int all;
    PyObject *calls = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kw, "p|$O:traceback", names, &all, &calls))
        return NULL;
    if (!getm() && on_main_thread() && !getg())
        return NULL; /* getg() would have bound the main thread */
    m *mp = getm();
    g *me = mp ? mp->curg : NULL;
    PyThreadState *ts = PyThreadState_Get();
    bool thread = !me && !(mp && !mp->curg); /* no goroutine, and not the scheduler that found a deadlock */
    out o = {.fd = -1};
    if (me) {
        put_header(&o, me, "running");
        if (calls == Py_None)
            put_frames(&o, me, ts, false);
        else if (put_calls(&o, calls) < 0) {
            free(o.buf);
            return NULL;
        }
        put_tail(&o, me, false);
    }
    else if (thread && (tb.level >= 2 || of_program(ts, false)))
        put_thread(&o, ts, "running", false);
    if (all) {
        size_t before = o.n;
        put_others(&o, me, false);
        put_threads(&o, ts, false);
        if (!before && o.n) /* the empty line between the first two */
            memmove(o.buf, o.buf + 1, --o.n);
    }
    return text_of(&o);
}

static PyObject *
newest_(PyObject *mod, PyObject *unused)
{
    (void)mod, (void)unused;
    return PyLong_FromUnsignedLongLong(sched.goidgen);
}

static PyObject *
started_since_(PyObject *mod, PyObject *args)
{
    (void)mod;
    unsigned long long since;
    int stacks;
    if (!PyArg_ParseTuple(args, "Kp:started_since", &since, &stacks))
        return NULL;
    PyObject *list = PyList_New(0);
    allgs at = {0};
    for (g *gp; list && since < sched.goidgen && (gp = allgs_next(&at)) != NULL;) {
        if (!is_shown(gp) || gp->goid <= since || gp->flags & G_SYSTEM)
            continue;
        out o = {.fd = -1};
        if (stacks)
            put_goroutine(&o, gp, false);
        unsigned long long goid = gp->goid, parent = gp->parent;
        PyObject *text = text_of(&o), *t = text ? Py_BuildValue("KKN", goid, parent, text) : NULL;
        if (!t || PyList_Append(list, t) < 0)
            Py_CLEAR(list);
        Py_XDECREF(t);
    }
    if (list && PyList_Sort(list) < 0) /* by number: no two are equal */
        Py_CLEAR(list);
    return list;
}

static PyObject *
set_traceback_(PyObject *mod, PyObject *args, PyObject *kw)
{
    (void)mod;
    static char *names[] = {"level", "all", "crash", "ancestors", NULL};
    int level, all, crash, n;
    if (!PyArg_ParseTupleAndKeywords(args, kw, "$ippi:set_traceback", names, &level, &all, &crash, &n))
        return NULL;
    tb = (struct tracebackcfg){.level = level, .all = all, .crash = crash, .ancestors = n};
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"traceback", (PyCFunction)(void (*)(void))traceback_, METH_VARARGS | METH_KEYWORDS,
     "traceback(all, *, calls=None)\n--\n\n"
     "The running goroutine's stack as text; if `all`, those of the others and the threads too.\n\n"
     "calls: pairs (frame, line) to show in place of the running goroutine's frames."},
    {"newest", newest_, METH_NOARGS, "newest()\n--\n\nThe number of the goroutine that was started last."},
    {"started_since", started_since_, METH_VARARGS,
     "started_since(goid, stacks, /)\n--\n\n"
     "The goroutines with larger numbers that have not ended: (number, its creator's, stack as text)\n"
     "each.\n\n"
     "The texts are empty unless `stacks` is true."},
    {"set_traceback", (PyCFunction)(void (*)(void))set_traceback_, METH_VARARGS | METH_KEYWORDS,
     "Sets what GOTRACEBACK and tracebackancestors say."},
    {NULL, NULL, 0, NULL},
};

int
gort_traceback_init(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
