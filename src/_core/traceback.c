/* traceback.c: goroutines as text, in Go's form.
 *
 *     goroutine 7 [chan receive, 2 minutes]:
 *     __main__.worker(...)
 *             /srv/app.py:12
 *     created by __main__.main in goroutine 1
 *             /srv/app.py:40 +0x5c
 *
 * One writer serves runtime.stack(), panics, fatal errors and the dump of a signal handler. It has two forms: with the GIL,
 * and `careful`, for whoever cannot have it: then it allocates nothing, takes no lock, and looks at what it
 * follows (compat.h); what changes under its eyes comes out short, not wrong.
 *
 * What is shown follows GOTRACEBACK (tb): at level 1 the program's frames, at level 2 those of the runtime too (gort's own
 * files, runpy and the interpreter's bootstrap) with fp, sp and pc.
 *
 * Differs from Go: frames print as Go prints inlined ones, `name(...)`, since Python's arguments are no words; fp is
 * the interpreter's frame, sp its evaluation stack. threading.Threads are shown after the goroutines.
 */
#include "traceback.h"

#include "compat.h"
#include "os.h"
#include "pc.h"

#include <stdlib.h>
#include <string.h>

#define MAX_FRAMES 100
#define MAX_ANCESTOR_FRAMES 100

struct tracebackcfg tb = {.level = 1};

static char *runtime_prefix; /* gort's own directory, with a slash at the end */
static size_t runtime_prefix_len;
static char *launcher; /* its file _cli.py */

/* -- text ---------------------------------------------------------------------------------------- */

void
out_flush(out *o)
{
    if (o->fd >= 0)
        write_all(o->fd, o->buf, o->n);
    o->n = 0;
}

void
put(out *o, const char *s, size_t n)
{
    while (n > 0) {
        if (o->n == o->cap) {
            if (o->fd >= 0)
                out_flush(o);
            else {
                size_t cap = o->cap ? 2 * o->cap : 4096;
                char *more = o->failed ? NULL : realloc(o->buf, cap);
                if (!more) {
                    o->failed = true;
                    return;
                }
                o->buf = more;
                o->cap = cap;
            }
        }
        size_t k = o->cap - o->n < n ? o->cap - o->n : n;
        memcpy(o->buf + o->n, s, k);
        o->n += k;
        s += k;
        n -= k;
    }
}

void
put_str(out *o, const char *s)
{
    put(o, s, strlen(s));
}

void
put_uint(out *o, uint64_t v)
{
    char b[20], *p = b + sizeof b;
    do
        *--p = (char)('0' + v % 10);
    while ((v /= 10) != 0);
    put(o, p, (size_t)(b + sizeof b - p));
}

void
put_hex(out *o, uint64_t v)
{
    char b[16], *p = b + sizeof b;
    do
        *--p = "0123456789abcdef"[v & 15];
    while ((v >>= 4) != 0);
    put(o, "0x", 2);
    put(o, p, (size_t)(b + sizeof b - p));
}

static void
put_char(out *o, uint32_t c)
{
    char b[4];
    if (c < 0x80)
        b[0] = (char)c, put(o, b, 1);
    else if (c < 0x800) {
        b[0] = (char)(0xc0 | c >> 6), b[1] = (char)(0x80 | (c & 0x3f));
        put(o, b, 2);
    }
    else if (c >= 0xd800 && c < 0xe000) { /* half a pair, as surrogateescape leaves: no character */
        put_str(o, "\\u");
        for (int i = 12; i >= 0; i -= 4)
            put(o, &"0123456789abcdef"[c >> i & 15], 1);
    }
    else if (c < 0x10000) {
        b[0] = (char)(0xe0 | c >> 12), b[1] = (char)(0x80 | (c >> 6 & 0x3f)),
        b[2] = (char)(0x80 | (c & 0x3f));
        put(o, b, 3);
    }
    else {
        b[0] = (char)(0xf0 | c >> 18), b[1] = (char)(0x80 | (c >> 12 & 0x3f));
        b[2] = (char)(0x80 | (c >> 6 & 0x3f)), b[3] = (char)(0x80 | (c & 0x3f));
        put(o, b, 4);
    }
}

/* A str; `otherwise` if it is none. */
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
            put_char(o, kind == 1   ? ((const uint8_t *)at)[j]
                        : kind == 2 ? ((const uint16_t *)at)[j]
                                    : ((const uint32_t *)at)[j]);
        }
        i += k;
    }
}

/* -- frames --------------------------------------------------------------------------------------- */

static bool
starts_with(PyObject *s, const char *prefix, size_t n, bool whole, bool careful)
{
    const char *data;
    Py_ssize_t length;
    char copy[512];
    int kind = str_data(s, &data, &length, careful);
    if (kind != 1 || (size_t)length < n || (whole && (size_t)length != n) || n > sizeof copy)
        return false;
    if (careful) {
        if (!mem_read(copy, data, n))
            return false;
        data = copy;
    }
    return memcmp(data, prefix, n) == 0;
}

/* Does the code belong to the runtime and not to the program? */
static bool
is_runtime(PyCodeObject *code, bool careful)
{
    static const char *const bootstrap[] = {"<frozen runpy>", "<frozen importlib._bootstrap>",
                                            "<frozen importlib._bootstrap_external>"};
    PyObject *file = code->co_filename;
    if (runtime_prefix && starts_with(file, runtime_prefix, runtime_prefix_len, false, careful))
        return true;
    for (size_t i = 0; i < sizeof bootstrap / sizeof *bootstrap; i++) {
        if (starts_with(file, bootstrap[i], strlen(bootstrap[i]), true, careful))
            return true;
    }
    return false;
}

/* Is it the launcher of `gort run`, below which there is nothing of the program's? */
static bool
is_launcher(PyCodeObject *code, bool careful)
{
    return launcher && starts_with(code->co_filename, launcher, strlen(launcher), true, careful);
}

static void
put_name(out *o, PyCodeObject *code, PyObject *module, bool careful)
{
    put_unicode(o, module, "?", careful);
    put(o, ".", 1);
    put_unicode(o, code->co_qualname, "?", careful);
}

static void
put_place(out *o, PyCodeObject *code, int line, bool careful)
{
    put(o, "\t", 1);
    put_unicode(o, code->co_filename, "?", careful);
    put(o, ":", 1);
    put_uint(o, line > 0 ? (uint64_t)line : 0);
}

/* A frame at level 1, and with fp and its kin at level 2. */
static void
put_frame(out *o, const pyframe *at, int line, bool careful)
{
    put_name(o, at->code, globals_name(at->globals, careful), careful);
    put_str(o, "(...)\n");
    put_place(o, at->code, line, careful);
    if (tb.level >= 2) {
        func *f = careful ? NULL : o->quiet ? code_extra(at->code) : func_of(at->code, at->globals);
        put_str(o, " +");
        put_hex(o, (uint64_t)at->lasti + 2);
        if (at->f) {
            put_str(o, " fp=");
            put_hex(o, (uintptr_t)at->f);
            put_str(o, " sp=");
            put_hex(o, (uintptr_t)at->sp);
        }
        if (f) {
            put_str(o, " pc=");
            put_hex(o, func_pc(f, at->lasti));
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
    const int bound = careful ? 100000 : INT32_MAX; /* a chain that changes could go in circles */
    for (bool more = ts && frame_first(&at, ts, careful); more && steps < bound;
         more = frame_next(&at, careful), steps++) {
        if (gp && at.code == cgo_callback_code)
            cgo_print_context(o, gp, callbacks++);
        if (tb.level < 2 && is_runtime(at.code, careful)) {
            if (is_launcher(at.code, careful))
                break;
            continue;
        }
        if (n++ == MAX_FRAMES) {
            put_str(o, "...additional frames elided...\n");
            break;
        }
        put_frame(o, &at, PyCode_Addr2Line(at.code, at.lasti), careful);
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
put_created_by(out *o, PyCodeObject *code, PyObject *module, int lasti, uint64_t parent, bool careful)
{
    put_str(o, "created by ");
    put_name(o, code, module, careful);
    if (parent) {
        put_str(o, " in goroutine ");
        put_uint(o, parent);
    }
    put(o, "\n", 1);
    put_place(o, code, PyCode_Addr2Line(code, lasti), careful);
    put_str(o, " +");
    put_hex(o, (uint64_t)lasti + 2);
    put(o, "\n", 1);
}

void
put_tail(out *o, g *gp, bool careful)
{
    PyCodeObject *code = gp->created_code;
    if (code && gp->parent) {
        func *f = careful ? NULL : code_extra(code);
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
            if (!f || (tb.level < 2 && is_runtime(func_code(f), false)))
                continue;
            put_name(o, func_code(f), func_module(f), false);
            put_str(o, "(...)\n");
            put_place(o, func_code(f), func_line(f, a->pcs[i] - 1), false);
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
    return gp->status != Gdead && gp->status != Gidle && gp->status != Glost && !(gp->flags & G_THREAD) &&
           gp->ts && !(tb.level < 2 && is_idle_system(gp)) &&
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
        for (g *gp = sched.allgs; gp; gp = gp->alllink) {
            if (gp != me && is_shown(gp)) {
                put(o, "\n", 1);
                put_goroutine(o, gp, true);
            }
        }
        return;
    }
    size_t n = 0, cap = 0;
    for (g *gp = sched.allgs; gp; gp = gp->alllink)
        cap += gp != me && is_shown(gp);
    g **all = malloc((cap ? cap : 1) * sizeof *all);
    if (!all) {
        o->failed = true;
        return;
    }
    for (g *gp = sched.allgs; gp; gp = gp->alllink) {
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

/* The g that the thread of ts has because it waits in gort, or NULL. */
static g *
waiting_g(PyThreadState *ts)
{
    for (m *tm = sched.threads; tm; tm = tm->alllink) {
        if (tm->curg->ts == ts && tm->curg->status == Gwaiting)
            return tm->curg;
    }
    return NULL;
}

/* Has the stack a frame that level 1 shows? */
static bool
of_program(PyThreadState *ts, bool careful)
{
    pyframe at;
    for (bool more = frame_first(&at, ts, careful); more; more = frame_next(&at, careful)) {
        if (!is_runtime(at.code, careful))
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
    PyThreadState *ts = _PyThreadState_UncheckedGet();
    if (gp && !(gp->flags & G_THREAD)) {
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
    int n = 0;
    const int bound = 100000;
    for (PyThreadState *ts = ts_head(careful); ts && n < bound; ts = ts_next(ts, careful), n++) {
        unsigned long ident = ts_ident(ts, careful);
        if (!ident || is_goid(ident) || ts == me || (maing && ts == maing->ts))
            continue;
        bool ours = false;
        for (m *mp = sched.allm; mp && !ours; mp = mp->alllink)
            ours = mp->ts == ts;
        if (ours || (tb.level < 2 && !of_program(ts, careful)))
            continue;
        g *gp = waiting_g(ts);
        put(o, "\n", 1);
        put_thread(o, ts, gp ? waitreason_text[gp->waitreason] : "syscall", careful);
    }
}

/* -- ancestors -------------------------------------------------------------------------------------- */

ancestors *
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
    /* the creator's own ones: copied, since it may end first */
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
    PyObject *fast = PySequence_Fast(calls, "calls are a sequence of frames and lines");
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
        if (tb.level < 2 && is_runtime(code, false))
            err = is_launcher(code, false);
        else if (n++ < MAX_FRAMES)
            put_frame(o, &at, line, false);
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
    g *me = mp && mp->curg && !(mp->curg->flags & G_THREAD) ? mp->curg : NULL;
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
set_traceback_(PyObject *mod, PyObject *args, PyObject *kw)
{
    (void)mod;
    static char *names[] = {"level", "all", "crash", "ancestors", "prefix", NULL};
    int level, all, crash, n;
    const char *prefix;
    if (!PyArg_ParseTupleAndKeywords(args, kw, "$ippis:set_traceback", names, &level, &all, &crash, &n,
                                     &prefix))
        return NULL;
    size_t len = strlen(prefix);
    char *copy = strdup(prefix), *file = malloc(len + sizeof "_cli.py");
    if (!copy || !file) {
        free(copy);
        free(file);
        return PyErr_NoMemory();
    }
    memcpy(file, prefix, len);
    memcpy(file + len, "_cli.py", sizeof "_cli.py");
    free(runtime_prefix);
    free(launcher);
    runtime_prefix = copy;
    runtime_prefix_len = len;
    launcher = file;
    tb = (struct tracebackcfg){.level = level, .all = all, .crash = crash, .ancestors = n};
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"traceback", (PyCFunction)(void (*)(void))traceback_, METH_VARARGS | METH_KEYWORDS,
     "traceback(all, *, calls=None)\n--\n\nThe running goroutine as text, and if `all` the others and the threads."},
    {"set_traceback", (PyCFunction)(void (*)(void))set_traceback_, METH_VARARGS | METH_KEYWORDS,
     "What GOTRACEBACK and tracebackancestors say."},
    {NULL, NULL, 0, NULL},
};

int
gort_traceback_init(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
