/* pc.c: program counters of Python code: a synthetic text segment.
 *
 * Every code object that appears in a PC owns a range of addresses, [entry, entry + size), that no memory is
 * behind. The call at byte offset i of the code has the return PC entry + i + 2, so that a PC behaves as Go's
 * do: minus 1 it lies inside the instruction that called. A million PCs are a million integers, without a
 * Python object.
 *
 * Invariants
 *   1. Ranges are given out upwards and never twice: a PC of code that has died never names other code.
 *   2. `funcs` is sorted by entry: it only grows at its end. Dead entries are taken out when it has to grow.
 *   3. A func is alive as long as its code object, which points at it (code_extra) and does not belong to it.
 *
 * All of it under the GIL, except code_pc.
 *
 * Rejected: the code object's own address as its range: it is used again after its death, and a profile would
 * name the wrong function.
 *
 * Differs from Go: the text segment is made as code is seen, not by a linker. Functions written in C have no
 * PC.
 */
#include "stacks/pc.h"

#include <stdlib.h>
#include <string.h>

#define TEXT 0x400000
#define UNIT 2 /* bytes of an instruction */

struct func {
    uintptr_t entry;
    size_t size;        /* of its range: its code, and one instruction more for the last return PC */
    PyCodeObject *code; /* NULL: it has died */
    PyObject *module;   /* str: the name that its globals had at first; NULL: none */
};

static func **funcs;
static size_t nfuncs, capfuncs, ndead;
static uintptr_t etext = TEXT;

static void
code_died(void *arg)
{
    func *f = arg;
    if (f) {
        f->code = NULL;
        Py_CLEAR(f->module);
        ndead++;
    }
}

static bool
make_room(void)
{
    if (ndead > nfuncs / 4) {
        size_t n = 0;
        for (size_t i = 0; i < nfuncs; i++) {
            if (funcs[i]->code)
                funcs[n++] = funcs[i];
            else
                free(funcs[i]);
        }
        nfuncs = n;
        ndead = 0;
    }
    if (nfuncs < capfuncs)
        return true;
    size_t cap = capfuncs ? 2 * capfuncs : 256;
    func **more = realloc(funcs, cap * sizeof *more);
    if (!more)
        return false;
    funcs = more;
    capfuncs = cap;
    return true;
}

static noinline func *
func_new(PyCodeObject *code, PyObject *globals)
{
    func *f = make_room() ? malloc(sizeof *f) : NULL;
    if (!f)
        return NULL;
    f->size = code_size(code) + UNIT;
    if (code_set_extra(code, f) < 0) {
        PyErr_Clear();
        free(f);
        return NULL;
    }
    f->entry = etext;
    etext += (f->size + 31) & ~(size_t)15; /* never adjacent */
    f->code = code;
    f->module = Py_XNewRef(globals_name(globals, false));
    funcs[nfuncs++] = f;
    return f;
}

func *
func_of(PyCodeObject *code, PyObject *globals)
{
    func *f = code_extra(code);
    return likely(f != NULL) ? f : func_new(code, globals);
}

uintptr_t
func_pc(const func *f, int lasti)
{
    return f->entry + (uintptr_t)lasti + UNIT;
}

/* CPython moves the slots of a code object when another module gets one; a signal handler that interrupts it
 * then finds freed memory in co_extra. The pointer is believed only if what it leads to says that it is this
 * code's func: a func forgets its code when that dies, and before it is freed itself. */
uintptr_t
code_pc(PyCodeObject *code, int lasti, enum care care)
{
    func f, *at = code_extra_look(code, care);
    return at && (uintptr_t)at % sizeof(void *) == 0 && mem_look(&f, at, sizeof f, care) && f.code == code &&
                   lasti >= 0 && (size_t)lasti < f.size
               ? func_pc(&f, lasti)
               : 0;
}

func *
findfunc(uintptr_t pc)
{
    size_t lo = 0, hi = nfuncs;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (funcs[mid]->entry <= pc)
            lo = mid + 1;
        else
            hi = mid;
    }
    func *f = lo ? funcs[lo - 1] : NULL;
    return f && f->code && pc - f->entry < f->size ? f : NULL;
}

uintptr_t
func_entry(const func *f)
{
    return f->entry;
}

PyCodeObject *
func_code(const func *f)
{
    return f->code;
}

PyObject *
func_module(const func *f)
{
    return f->module;
}

int
func_line(const func *f, uintptr_t pc)
{
    size_t off = pc - f->entry, last = f->size - 2 * UNIT;
    int line = PyCode_Addr2Line(f->code, (int)(off < last ? off : last) & ~(UNIT - 1));
    return line > 0 ? line : f->code->co_firstlineno; /* what the compiler added belongs to no line */
}

/* A walk that goes on where it stopped. */
typedef struct {
    pyframe at;
    bool more;
} cursor;

/* PCs of the next `max` frames; how many there were. */
static size_t
take(cursor *w, uintptr_t *pcs, size_t max)
{
    size_t n = 0;
    for (; w->more && n < max; w->more = frame_next(&w->at, false)) {
        func *f = func_of(w->at.code, w->at.globals);
        if (f)
            pcs[n++] = func_pc(f, w->at.lasti);
    }
    return n;
}

static cursor
walk_from(PyThreadState *ts, size_t skip)
{
    cursor w;
    for (w.more = frame_first(&w.at, ts, false); w.more && skip; skip--)
        w.more = frame_next(&w.at, false);
    return w;
}

size_t
callers(PyThreadState *ts, size_t skip, uintptr_t *pcs, size_t max)
{
    cursor w = walk_from(ts, skip);
    return take(&w, pcs, max);
}

/* -- for Python ---------------------------------------------------------------------------------- */

/* A count of frames: how many are skipped or wanted. */
static int
count_arg(PyObject *o, const char *what, size_t *n)
{
    if (!PyLong_Check(o)) {
        PyErr_Format(PyExc_TypeError, "%s must be an int, not %R", what, o);
        return -1;
    }
    int overflow;
    long long v = PyLong_AsLongLongAndOverflow(o, &overflow);
    if (overflow < 0 || (!overflow && v < 0)) {
        PyErr_Format(PyExc_ValueError, "%s must be at least 0, not %R", what, o);
        return -1;
    }
    *n = overflow > 0 ? SIZE_MAX : (size_t)v;
    return 0;
}

static PyObject *
callers_(PyObject *mod, PyObject *const *args, Py_ssize_t nargs)
{
    (void)mod;
    size_t skip, max = SIZE_MAX;
    if (nargs != 2)
        return PyErr_Format(PyExc_TypeError, "callers() takes skip and limit");
    if (count_arg(args[0], "skip", &skip) < 0 ||
        (args[1] != Py_None && count_arg(args[1], "limit", &max) < 0))
        return NULL;
    uintptr_t few[64], *pcs = few;
    cursor w = walk_from(PyThreadState_Get(), skip);
    size_t n = take(&w, pcs, max < 64 ? max : 64);
    for (size_t room = 64; w.more && n < max; n += take(&w, pcs + n, room < max ? room - n : max - n)) {
        room *= 2;
        uintptr_t *more = PyMem_RawRealloc(pcs == few ? NULL : pcs, room * sizeof *pcs);
        if (!more) {
            PyErr_NoMemory();
            break;
        }
        if (pcs == few)
            memcpy(more, few, sizeof few);
        pcs = more;
    }
    PyObject *list = PyErr_Occurred() ? NULL : PyList_New((Py_ssize_t)n);
    for (size_t i = 0; list && i < n; i++) {
        PyObject *pc = PyLong_FromSize_t(pcs[i]);
        if (pc)
            PyList_SET_ITEM(list, (Py_ssize_t)i, pc);
        else
            Py_CLEAR(list);
    }
    if (pcs != few)
        PyMem_RawFree(pcs);
    return list;
}

static int
pc_arg(PyObject *o, uintptr_t *pc)
{
    if (!PyLong_Check(o)) {
        PyErr_Format(PyExc_TypeError, "a PC must be an int, not %R", o);
        return -1;
    }
    *pc = PyLong_AsSize_t(o);
    if (*pc == (size_t)-1 && PyErr_Occurred()) {
        PyErr_Clear();
        *pc = 0; /* the PC of no function */
    }
    return 0;
}

static PyObject *
findfunc_(PyObject *mod, PyObject *o)
{
    (void)mod;
    uintptr_t pc;
    if (pc_arg(o, &pc) < 0)
        return NULL;
    func *f = findfunc(pc);
    if (!f)
        Py_RETURN_NONE;
    return Py_BuildValue("KOO", (unsigned long long)f->entry, f->code, f->module ? f->module : Py_None);
}

static PyObject *
pc_line_(PyObject *mod, PyObject *o)
{
    (void)mod;
    uintptr_t pc;
    if (pc_arg(o, &pc) < 0)
        return NULL;
    func *f = findfunc(pc);
    return PyLong_FromLong(f ? func_line(f, pc) : 0);
}

#if GORT_TESTS
static PyObject *
entry_of_(PyObject *mod, PyObject *code)
{
    (void)mod;
    if (!PyCode_Check(code))
        return PyErr_Format(PyExc_TypeError, "_entry_of() takes a code object, not %R", code);
    func *f = func_of((PyCodeObject *)code, NULL);
    return f ? PyLong_FromSize_t(f->entry) : PyErr_NoMemory();
}
#endif

static PyMethodDef functions[] = {
    {"callers", (PyCFunction)(void (*)(void))callers_, METH_FASTCALL,
     "callers(skip, limit, /)\n--\n\nThe running goroutine's return PCs, innermost first."},
    {"findfunc", findfunc_, METH_O,
     "findfunc(pc, /)\n--\n\n"
     "(entry, code, name of the module or None) of what owns pc; None if nothing does."},
    {"pc_line", pc_line_, METH_O,
     "pc_line(pc, /)\n--\n\nThe line of the instruction at pc; 0 if no code owns it."},
#if GORT_TESTS
    {"_entry_of", entry_of_, METH_O, "_entry_of(code, /)\n--\n\nThe first PC of a code object."},
#endif
    {NULL, NULL, 0, NULL},
};

int
gort_pc_init(PyObject *module)
{
    return code_extra_init(code_died) < 0 ? -1 : PyModule_AddFunctions(module, functions);
}
