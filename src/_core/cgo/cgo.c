/* cgo.c: calls from Python into C, and from that C back to Python, that the runtime is told of.
 *
 * Every call made through gort.cgo is a cgoframe on the C stack of call_ or callback_, in a list that starts
 * in its g (a plain thread has a list of its own). The list says three things: whether a thread is in C at
 * this moment, which C frames belong between which Python frames of a traceback, and where a stack ends for
 * gort's own unwinder.
 *
 * Invariants
 *   1. A frame is in the list from before the call until after it, and lies on the stack that makes the call.
 *      So the list goes with the goroutine to another thread, and is empty at the end of its life. A
 *      goroutine that uses greenlets has none, for they move what lies on its stack: dumps show no C frames
 *      of it.
 *   2. The context function is called for each callback: with 0 before Python runs, and with what it
 *      recorded, unless that was 0, when the callback returns to C. A context is used only between the two
 *      calls.
 *   3. The three functions of the program are set once and never change: a context is released by the
 *      function that recorded it.
 *
 * Whether to give the P away. entercgo does so if somebody waits for it. For a C function that takes a
 * microsecond that would cost more than it gains, so `quick` remembers which functions lately took less than
 * the 20 us after which sysmon calls a goroutine blocked: they keep the P, and if one of them loses it, it
 * was not quick after all. A wrong entry costs time and nothing else. C code that keeps the GIL keeps the P
 * too: nobody could use it. A callback does nothing about Ps: the goroutine runs without one until it parks,
 * like any that lost its P.
 *
 * Programs' functions may be wrong. What they return is bounded, strings are copied with mem_copy, which
 * cannot fault, and the output says what is wrong.
 *
 * Who may call: all functions of Python with the GIL. Those that print or give PCs are async-signal-safe if
 * the program's functions are. A goroutine's list is stable while the caller has the GIL or is on its thread;
 * so are the C frames that a context stands for, as they wait for the callback to return.
 *
 * Differs from Go: ctypes and cffi make the calls, so the C code finds itself below the frames of libffi and
 * the interpreter. The context function is called from C, but above those frames. Go leaves it to sysmon to
 * take the P of a call into C.
 */
#include "cgo/cgo.h"

#include "cpython/compat.h"
#include "os/os.h"
#include "sched/g.h"
#include "sched/sched.h"
#include "stacks/traceback.h"

#include <stdlib.h>
#include <string.h>

/* -- the P --------------------------------------------------------------------------------------- */

/* sysmon would find out that gp is in C, some 20 us to a millisecond later; here it is known. But the P is
 * given away only if somebody waits for it: it costs two thread switches, one here and one for the GIL when
 * gp is back. What becomes runnable later is left to sysmon, and so are timers that are not due yet. gp is
 * then like a goroutine whose P was taken: it needs none until it parks. */
static bool
entercgo(g *gp, int64_t now)
{
    m *mp = gp->m;
    p *pp = mp->p;
    if (!pp || (!pp->runq.head && !sched.runq.head &&
                atomic_load_explicit(&sched.timer0, memory_order_relaxed) > now &&
                !(maing && maing->status == Gwaiting && signals_pending())))
        return false;
    if (unlikely(sched.stopping || (sched.ending && maing && maing->status != Gwaiting)))
        return false; /* main has returned: the others run only while it waits */
    mp->p = NULL;
    pp->schedtick++; /* to sysmon the P has not stood still since gp began */
    pp->syscalltick++;
    sched.handoffs++;
    startm(pp, NULL); /* before the GIL is given up: the M that is woken can only wait for that */
    return true;
}

static void
exitcgo(g *gp)
{
    m *mp = gp->m;
    if (!mp->p) {
        p *pp = pidleget();
        if (pp)
            acquirep(mp, pp);
    }
}

/* -- the list ---------------------------------------------------------------------------------- */

static _Thread_local cgoframe *thread_frames __attribute__((tls_model("initial-exec")));

/* The list of the goroutine or thread that runs here. Out of line, like getm. */
static noinline cgoframe **
frames(void)
{
    __asm__ volatile("");
    m *mp = getm();
    g *gp = mp ? mp->curg : NULL;
    return gp ? &gp->cgo : &thread_frames;
}

cgoframe *
cgo_innermost(void)
{
    return *frames();
}

/* Not for a goroutine that uses greenlets: they copy away the stack that the frames lie on, and end their
 * calls in any order. */
static inline void
push(cgoframe **list, cgoframe *f)
{
    m *mp = getm();
    if (unlikely(mp && mp->curg && mp->curg->greenlets))
        return;
    f->linked = true;
    f->outer = *list;
    atomic_signal_fence(memory_order_release); /* a signal handler on this thread finds it complete */
    *list = f;
}

static inline void
pop(cgoframe **list, const cgoframe *f)
{
    if (likely(f->linked && *list == f)) /* else greenlets began meanwhile (keep_thread) */
        *list = f->outer;
}

/* -- the program's functions ------------------------------------------------------------------- */

static void (*volatile traceback_fn)(cgo_traceback_arg *);
static void (*volatile context_fn)(cgo_context_arg *);
static void (*volatile symbolizer_fn)(cgo_symbolizer_arg *);

/* False: others are set already; exception set. */
static bool
set_functions(uintptr_t traceback, uintptr_t context, uintptr_t symbolizer)
{
    static bool set;
    if (set && (traceback != (uintptr_t)traceback_fn || context != (uintptr_t)context_fn ||
                symbolizer != (uintptr_t)symbolizer_fn)) {
        PyErr_SetString(Error, "other functions for C tracebacks are already set; they can be set only once");
        return false;
    }
    set = true;
    symbolizer_fn = (void (*)(cgo_symbolizer_arg *))symbolizer;
    context_fn = (void (*)(cgo_context_arg *))context;
    traceback_fn = (void (*)(cgo_traceback_arg *))traceback;
    return true;
}

/* -- text -------------------------------------------------------------------------------------- */

#define MAX_PCS 64   /* frames of one traceback */
#define MAX_MORE 100 /* functions that are inlined at one PC */
#define MAX_TEXT 512 /* bytes of a name */

/* A string of the program. NULL if it cannot be read. */
static const char *
text_of(const char *s, char *buf)
{
    if (!s)
        return NULL;
    size_t n = mem_copy(buf, s, MAX_TEXT - 1);
    buf[n] = 0;
    if (n == 0)
        return NULL;
    for (char *c = buf; *c; c++) {
        if ((unsigned char)*c < ' ')
            *c = '?'; /* a line of the output is a line */
    }
    return buf;
}

/* Calls visit for each function at each pc. False: the symbolizer did not end after MAX_MORE functions at one
 * pc. */
static bool
symbolize(const uintptr_t *pcs, int n, void (*visit)(void *, uintptr_t, const cgo_symbolizer_arg *),
          void *arg)
{
    cgo_symbolizer_arg s = {0}; /* the symbolizer finds in it what it left there */
    bool good = true;
    for (int i = 0; i < n; i++) {
        s.PC = pcs[i];
        int more = 0;
        do {
            if (symbolizer_fn)
                symbolizer_fn(&s);
            visit(arg, pcs[i], &s);
        } while (s.More && ++more < MAX_MORE);
        good &= !s.More;
        s.More = 0;
    }
    s.PC = 0;
    if (symbolizer_fn)
        symbolizer_fn(&s);
    return good;
}

static void
print_function(void *arg, uintptr_t pc, const cgo_symbolizer_arg *s)
{
    out *o = arg;
    char buf[MAX_TEXT];
    const char *text = text_of(s->Func, buf);
    put_str(o, text ? text : "non-Python function");
    put_str(o, text ? "(...)\n\t" : "\n\t");
    text = text_of(s->File, buf);
    if (text) {
        put_str(o, text);
        if (s->Lineno) {
            put_str(o, ":");
            put_uint(o, s->Lineno);
        }
        put_str(o, " ");
    }
    put_str(o, "pc=");
    put_hex(o, pc);
    put_str(o, "\n");
}

typedef struct {
    uintptr_t pc[MAX_PCS + 1]; /* one behind the end, to see whether it stays as it is */
    int n;
    bool overrun;
} callers;

static void
take_traceback(callers *t, uintptr_t context, void *ucontext)
{
    const uintptr_t untouched = 0x5a5a5a5a5a5a5a5a;
    memset(t, 0, sizeof *t);
    t->pc[MAX_PCS] = untouched;
    cgo_traceback_arg arg = {context, (uintptr_t)ucontext, t->pc, MAX_PCS};
    traceback_fn(&arg);
    t->overrun = t->pc[MAX_PCS] != untouched;
    while (t->n < MAX_PCS && t->pc[t->n])
        t->n++;
}

static void
print_traceback(out *o, const callers *t)
{
    if (t->overrun)
        put_str(o, "the cgo traceback function stored more than Max entries\n");
    if (!symbolize(t->pc, t->n, print_function, o))
        put_str(o, "the cgo symbolizer does not stop saying that there is more\n");
    if (t->n == MAX_PCS)
        put_str(o, "...additional C frames elided...\n");
}

static bool
take_context(callers *t, g *gp, int nth)
{
    cgoframe *f = gp ? gp->cgo : thread_frames;
    while (f && !(f->callback && nth-- == 0))
        f = f->outer;
    if (!traceback_fn || !f || !f->context)
        return false;
    take_traceback(t, f->context, NULL);
    return true;
}

static bool
take_signal(callers *t, void *ucontext)
{
    cgoframe *f = cgo_innermost();
    if (!traceback_fn || !f || f->callback)
        return false;
    take_traceback(t, 0, ucontext);
    return true;
}

void
cgo_print_context(out *o, g *gp, int nth)
{
    callers t;
    if (take_context(&t, gp, nth))
        print_traceback(o, &t);
}

void
cgo_print_signal(out *o, void *ucontext)
{
    callers t;
    if (take_signal(&t, ucontext))
        print_traceback(o, &t);
}

/* -- functions of C ---------------------------------------------------------------------------- */

/* Types of ctypes and cffi, as far as they are loaded. */
static PyTypeObject *ctypes_function, *ctypes_byref, *cffi_data, *cffi_lib;
static PyObject *str_flags;

static bool
is_c_function(PyObject *fn)
{
    if (ctypes_function && PyObject_TypeCheck(fn, ctypes_function))
        return true;
    if (cffi_data && PyObject_TypeCheck(fn, cffi_data))
        return true;
    if (!cffi_lib || !PyCFunction_Check(fn))
        return false;
    PyObject *lib = PyCFunction_GET_SELF(fn);
    return lib && Py_IS_TYPE(lib, cffi_lib);
}

/* An attribute of a module, if that is loaded already; else NULL. */
static PyObject *
loaded(const char *module, const char *name)
{
    PyObject *mod = PyDict_GetItemString(PyImport_GetModuleDict(), module); /* borrowed */
    PyObject *value = mod ? PyObject_GetAttrString(mod, name) : NULL;
    PyErr_Clear();
    return value;
}

static PyTypeObject *
loaded_type(const char *module, const char *name)
{
    PyObject *type = loaded(module, name);
    if (type && !PyType_Check(type))
        Py_CLEAR(type);
    return (PyTypeObject *)type;
}

static void
find_types(void)
{
    bool found = false;
    if (!ctypes_function && (ctypes_function = loaded_type("_ctypes", "CFuncPtr")) != NULL)
        found = true;
    if (!ctypes_byref) { /* the type of byref(...) has no name that could be asked for */
        PyObject *byref = loaded("ctypes", "byref"), *c_int = loaded("ctypes", "c_int");
        PyObject *n = byref && c_int ? PyObject_CallNoArgs(c_int) : NULL;
        PyObject *ref = n ? PyObject_CallOneArg(byref, n) : NULL;
        if (ref)
            ctypes_byref = (PyTypeObject *)Py_NewRef(Py_TYPE(ref));
        Py_XDECREF(ref);
        Py_XDECREF(n);
        Py_XDECREF(c_int);
        Py_XDECREF(byref);
        PyErr_Clear();
    }
    if (!cffi_data && (cffi_data = loaded_type("_cffi_backend", "_CDataBase")) != NULL) {
        cffi_lib = loaded_type("_cffi_backend", "Lib");
        found = true;
    }
    if (found)
        cgo_find_glue();
}

/* ctypes keeps the GIL for functions of a PyDLL. */
static bool
releases_gil(PyObject *fn)
{
    const long FUNCFLAG_PYTHONAPI = 4;
    if (!ctypes_function || !PyObject_TypeCheck(fn, ctypes_function))
        return true;
    PyObject *flags = PyObject_GetAttr((PyObject *)Py_TYPE(fn), str_flags);
    long n = flags ? PyLong_AsLong(flags) : 0;
    Py_XDECREF(flags);
    PyErr_Clear();
    return !(n & FUNCFLAG_PYTHONAPI);
}

/* -- checks of arguments ------------------------------------------------------------------------ */

static int check_level; /* GODEBUG cgocheck */
/* Raises if there is a pointer to an object in what the nth argument points to. */
static PyObject *check_hook;
static PyObject *pointer_free; /* set of types of which level 1 knows that there is none */

static int
check_argument(PyObject *arg, Py_ssize_t nth)
{
    if (arg == Py_None || PyLong_CheckExact(arg) || PyFloat_CheckExact(arg) || PyBool_Check(arg))
        return 0;
    if (check_level == 1) {
        PyObject *type = (PyObject *)Py_TYPE(arg);
        if (ctypes_byref && Py_IS_TYPE(arg, ctypes_byref)) {
            PyObject *target = byref_target(arg);
            if (!target)
                return -1;
            type = (PyObject *)Py_TYPE(target); /* arg keeps the target alive */
            Py_DECREF(target);
        }
        int known = PySet_Contains(pointer_free, type);
        if (known)
            return known < 0 ? -1 : 0;
    }
    PyObject *r = PyObject_CallFunction(check_hook, "On", arg, nth);
    Py_XDECREF(r);
    return r ? 0 : -1;
}

/* -- calls ------------------------------------------------------------------------------------- */

#define QUICK 20000 /* ns; sysmon's limit */
#define NQUICK 256
static PyObject *quick[NQUICK]; /* addresses only, each in its slot */

static int64_t ncalls;

static PyObject *
cgo_call_(PyObject *mod, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    (void)mod;
    if (nargs < 1)
        return PyErr_Format(PyExc_TypeError, "call() takes a C function and its arguments");
    PyObject *fn = args[0];
    if (unlikely(!is_c_function(fn)) && (find_types(), !is_c_function(fn)))
        return PyErr_Format(PyExc_TypeError, "call() takes a function of ctypes or cffi, not %R", fn);
    if (check_level) {
        Py_ssize_t total = nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
        for (Py_ssize_t i = 1; i < total; i++) {
            if (check_argument(args[i], i) < 0)
                return NULL;
        }
    }
    ncalls++;
    m *mp = getm();
    g *gp = mp ? mp->curg : NULL;

    cgoframe f = {.callback = false};
    cgoframe **list = frames();
    PyObject **slot = &quick[((uintptr_t)fn >> 4) % NQUICK];
    bool is_quick = *slot == fn, had = gp && mp->p, handed = false;
    int64_t start = 0;
    if (gp && !is_quick) {
        start = nanotime();
        if (releases_gil(fn))
            handed = entercgo(gp, start);
    }
    push(list, &f);
    PyObject *r = PyObject_Vectorcall(fn, args + 1, (size_t)(nargs - 1), kwnames);
    pop(list, &f);
    if (gp) {
        if (is_quick) {
            if (had && !gp->m->p)
                *slot = NULL;
        }
        else if (nanotime() - start < QUICK)
            *slot = fn;
        else if (handed && !(gp->flags & G_MAIN))
            gp->flags |= G_BLOCKS;
        exitcgo(gp);
    }
    return r;
}

static PyObject *
cgo_callback_(PyObject *mod, PyObject *const *args, Py_ssize_t nargs)
{
    (void)mod;
    if (check_args("cgo_callback()", args, nargs) < 0)
        return NULL;
    cgoframe f = {.callback = true};
    cgoframe **list = frames();
    if (context_fn) {
        cgo_context_arg arg = {0};
        context_fn(&arg);
        f.context = arg.Context;
    }
    push(list, &f);
    PyObject *r = PyObject_Vectorcall(args[0], args + 1, (size_t)(nargs - 1), NULL);
    pop(list, &f);
    if (f.context) {
        cgo_context_arg arg = {f.context};
        context_fn(&arg);
    }
    return r;
}

/* -- the module's functions ---------------------------------------------------------------------- */

static PyObject *
cgo_is_function_(PyObject *mod, PyObject *value)
{
    (void)mod;
    return PyBool_FromLong(is_c_function(value) || (find_types(), is_c_function(value)));
}

static PyObject *
cgo_find_glue_(PyObject *mod, PyObject *unused)
{
    (void)mod, (void)unused;
    cgo_find_glue();
    Py_RETURN_NONE;
}

static PyObject *
num_cgo_call_(PyObject *mod, PyObject *unused)
{
    (void)mod, (void)unused;
    return PyLong_FromLongLong(ncalls);
}

static PyObject *
cgo_set_traceback_(PyObject *mod, PyObject *args)
{
    (void)mod;
    unsigned long long traceback, context, symbolizer;
    if (!PyArg_ParseTuple(args, "KKK:cgo_set_traceback", &traceback, &context, &symbolizer) ||
        !set_functions((uintptr_t)traceback, (uintptr_t)context, (uintptr_t)symbolizer))
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
cgo_enable_traceback_(PyObject *mod, PyObject *args)
{
    (void)mod;
    const char *libdw;
    if (!PyArg_ParseTuple(args, "s:cgo_enable_traceback", &libdw))
        return NULL;
    find_types();
    cgo_find_glue();
    bool lines = cgo_unwind_init(libdw);
    if (!set_functions((uintptr_t)cgo_unwind_traceback, (uintptr_t)cgo_unwind_context,
                       (uintptr_t)cgo_unwind_symbolizer))
        return NULL;
    return PyBool_FromLong(lines);
}

static PyObject *
cgo_configure_(PyObject *mod, PyObject *args, PyObject *kw)
{
    (void)mod;
    static char *names[] = {"callback", "check", "check_level", "pointer_free", NULL};
    PyObject *callback, *check, *set;
    int level;
    if (!PyArg_ParseTupleAndKeywords(args, kw, "$O!OiO!:cgo_configure", names, &PyCode_Type, &callback,
                                     &check, &level, &PySet_Type, &set))
        return NULL;
    Py_XSETREF(callback_code, (PyCodeObject *)Py_NewRef(callback));
    Py_XSETREF(check_hook, Py_NewRef(check));
    Py_XSETREF(pointer_free, Py_NewRef(set));
    check_level = level;
    find_types();
    Py_RETURN_NONE;
}

#if GORT_TESTS
static void
append_function(void *list, uintptr_t pc, const cgo_symbolizer_arg *s)
{
    char func[MAX_TEXT], file[MAX_TEXT];
    const char *name = text_of(s->Func, func), *place = text_of(s->File, file);
    PyObject *pc_ = PyLong_FromSize_t(pc);
    PyObject *name_ =
        name ? PyUnicode_DecodeUTF8(name, (Py_ssize_t)strlen(name), "replace") : Py_NewRef(Py_None);
    PyObject *place_ = place ? PyUnicode_DecodeFSDefault(place) : Py_NewRef(Py_None);
    PyObject *entry =
        pc_ && name_ && place_ ? Py_BuildValue("OOOn", pc_, name_, place_, (Py_ssize_t)s->Lineno) : NULL;
    if (entry)
        PyList_Append(list, entry); /* an error stays set */
    Py_XDECREF(entry);
    Py_XDECREF(place_);
    Py_XDECREF(name_);
    Py_XDECREF(pc_);
}

static PyObject *
cgo_symbolize_(PyObject *mod, PyObject *arg)
{
    (void)mod;
    PyObject *numbers = PySequence_Tuple(arg);
    Py_ssize_t n = numbers ? PyTuple_GET_SIZE(numbers) : 0;
    uintptr_t *pcs = numbers ? PyMem_Calloc((size_t)n + 1, sizeof *pcs) : NULL;
    PyObject *list = PyList_New(0);
    if (numbers && !pcs)
        PyErr_NoMemory();
    for (Py_ssize_t i = 0; i < n && pcs; i++)
        pcs[i] = (uintptr_t)PyLong_AsVoidPtr(PyTuple_GET_ITEM(numbers, i));
    if (!PyErr_Occurred() && list)
        symbolize(pcs, (int)n, append_function, list);
    if (PyErr_Occurred())
        Py_CLEAR(list);
    PyMem_Free(pcs);
    Py_XDECREF(numbers);
    return list;
}

static PyObject *
cgo_frames_text_(PyObject *mod, PyObject *arg)
{
    (void)mod;
    int nth = (int)PyLong_AsLong(arg);
    if (PyErr_Occurred())
        return NULL;
    out o = {.fd = -1};
    m *mp = getm();
    if (nth >= 0)
        cgo_print_context(&o, mp ? mp->curg : NULL, nth);
    else if (traceback_fn) {
        callers t;
        take_traceback(&t, 0, NULL);
        print_traceback(&o, &t);
    }
    PyObject *text = o.failed ? PyErr_NoMemory() : PyUnicode_DecodeUTF8(o.buf, (Py_ssize_t)o.n, "replace");
    free(o.buf);
    return text;
}

static PyObject *
cgo_pcs_(PyObject *mod, PyObject *arg)
{
    (void)mod;
    int nth = (int)PyLong_AsLong(arg);
    if (PyErr_Occurred())
        return NULL;
    callers t;
    m *mp = getm();
    int n = take_context(&t, mp ? mp->curg : NULL, nth) ? t.n : 0;
    PyObject *list = PyList_New(n);
    for (int i = 0; i < n && list; i++) {
        PyObject *pc = PyLong_FromSize_t(t.pc[i]);
        if (pc)
            PyList_SET_ITEM(list, i, pc);
        else
            Py_CLEAR(list);
    }
    return list;
}

/* A signal handler: what cgo_print_signal says goes to standard error. */
static void
print_on_signal(int sig, void *info, void *ucontext)
{
    (void)sig, (void)info;
    static char buf[4096];
    out o = {.buf = buf, .cap = sizeof buf, .fd = errfd};
    cgo_print_signal(&o, ucontext);
    out_flush(&o);
}
#endif

static PyMethodDef functions[] = {
    {"cgo_call", (PyCFunction)(void (*)(void))cgo_call_, METH_FASTCALL | METH_KEYWORDS,
     "cgo_call(fn, /, *args, **kwargs)\n--\n\nCalls a C function of ctypes or cffi; see gort.cgo.call."},
    {"cgo_callback", (PyCFunction)(void (*)(void))cgo_callback_, METH_FASTCALL,
     "cgo_callback(fn, /, *args)\n--\n\nReturns fn(*args), on behalf of C code that called back."},
    {"cgo_is_function", cgo_is_function_, METH_O,
     "cgo_is_function(value, /)\n--\n\nTrue for what cgo_call() takes."},
    {"cgo_find_glue", cgo_find_glue_, METH_NOARGS,
     "cgo_find_glue()\n--\n\n"
     "Looks again for the loaded objects that belong to the interpreter, ctypes and cffi."},
    {"num_cgo_call", num_cgo_call_, METH_NOARGS,
     "num_cgo_call()\n--\n\n"
     "The number of calls into C that were made through gort.cgo: Go's runtime.NumCgoCall.\n\n"
     "Calls that Python code makes into C in other ways are not counted, since gort is not told of\n"
     "them. A call that ctypes or cffi refuses because of its arguments is counted."},
    {"cgo_set_traceback", cgo_set_traceback_, METH_VARARGS,
     "cgo_set_traceback(traceback, context, symbolizer, /)\n--\n\n"
     "Sets the functions at these addresses."},
    {"cgo_enable_traceback", cgo_enable_traceback_, METH_VARARGS,
     "cgo_enable_traceback(libdw, /)\n--\n\n"
     "Sets gort's own functions; True if the library libdw could be loaded."},
    {"cgo_configure", (PyCFunction)(void (*)(void))cgo_configure_, METH_VARARGS | METH_KEYWORDS,
     "Hands over what gort.cgo has for the core."},
#if GORT_TESTS
    {"_cgo_pcs", cgo_pcs_, METH_O,
     "_cgo_pcs(nth, /)\n--\n\nThe PCs of the C frames that made the caller's nth callback."},
    {"_cgo_symbolize", cgo_symbolize_, METH_O,
     "_cgo_symbolize(pcs, /)\n--\n\n"
     "(pc, function, file, line) for each function at each PC, inlined ones first."},
    {"_cgo_frames_text", cgo_frames_text_, METH_O,
     "_cgo_frames_text(nth, /)\n--\n\n"
     "The C frames that made the caller's nth callback, 0 the latest; -1: those of here."},
#endif
    {NULL, NULL, 0, NULL},
};

int
gort_cgo_init(PyObject *module)
{
    str_flags = PyUnicode_InternFromString("_flags_");
    int err = str_flags ? 0 : -1;
#if GORT_TESTS
    PyObject *handler = PyLong_FromVoidPtr((void *)(uintptr_t)print_on_signal);
    if (!handler || PyModule_AddObjectRef(module, "_cgo_print_on_signal", handler) < 0)
        err = -1;
    Py_XDECREF(handler);
#endif
    return err < 0 || gort_cgo_check_init(module) < 0 ? -1 : PyModule_AddFunctions(module, functions);
}
