/* frame.c: frames of Python functions, of any thread state, with and without the GIL.
 *
 * Invariants
 *   1. With care, nothing is followed that was not looked at first, and nothing is believed but what proves
 *      itself: a code object by its type and reference count, an instruction by lying in its code. What
 *      changes meanwhile ends the walk early; it does not lead it astray.
 *   2. A walk that meets `many` incomplete frames in a row ends: it is taken to go in circles.
 *   3. Frames that have not begun, and those that CPython puts in for its own calls, are not shown.
 *
 * Without care: with the GIL. With it: any thread at any time, signal handlers and the allocator too.
 *
 * Rejected: frame objects (PyThreadState_GetFrame). They are made on demand, which cannot be done in a signal
 * handler or within the allocator.
 *
 * Versions. The current frame is found by way of the C frame up to 3.12, then in the thread state itself; a
 * frame's code and instruction have other names there. From 3.12 on calls from C have a frame of their own
 * (FRAME_OWNED_BY_CSTACK; 3.14: FRAME_OWNED_BY_INTERPRETER too, in which every chain ends), and f_func is
 * called f_funcobj. From 3.14 on what a frame refers to are words with tags: the lowest bits say whether the
 * reference counts, or that it is an integer; and the top of the evaluation stack is a pointer, which is
 * right for all frames but one that just runs. In 3.15 every chain ends in a frame of the thread state's own.
 */
#include "cpython/internal.h"

#include <string.h>

/* What a frame refers to; NULL: nothing, or an integer. */
#if V314
static inline PyObject *
referred(_PyStackRef ref)
{
    return ref.bits & Py_INT_TAG & ~Py_TAG_REFCNT ? NULL : PyStackRef_AsPyObjectBorrow(ref);
}
#else
static inline PyObject *
referred(PyObject *op)
{
    return op;
}
#endif

static inline PyCodeObject *
frame_code(const _PyInterpreterFrame *f)
{
#if V313
    return (PyCodeObject *)referred(f->f_executable);
#else
    return f->f_code;
#endif
}

/* Does C code call Python code here? */
static inline bool
is_entry(const _PyInterpreterFrame *f)
{
#if V314
    return f->owner >= FRAME_OWNED_BY_INTERPRETER;
#elif V312
    return f->owner == FRAME_OWNED_BY_CSTACK;
#else
    (void)f;
    return false;
#endif
}

/* The first complete frame from f on. */
static bool
frame_load(pyframe *at, _PyInterpreterFrame *f, enum care care)
{
    const int many = 1000; /* incomplete frames in a row: it goes in circles */
    for (int i = 0; f && i < many; i++) {
        union {
            _PyInterpreterFrame frame;
            PyCodeObject code;
        } copy;
        const _PyInterpreterFrame *v = look(f, &copy, sizeof copy.frame, care);
        if (!v)
            return false;
        _PyInterpreterFrame *previous = v->previous;
        if (is_entry(v)) {
            f = previous;
            continue;
        }
        PyCodeObject *code = frame_code(v);
#if V313
        char *instr = (char *)v->instr_ptr;
#else
        char *instr = (char *)v->prev_instr;
#endif
        PyObject *globals = v->f_globals;
        bool generator = v->owner == FRAME_OWNED_BY_GENERATOR;
        const PyCodeObject *c = look(code, &copy, sizeof copy.code, care); /* v is gone */
        if (!c || (care && !is_code(c)))
            return false;
        ptrdiff_t lasti = instr - (char *)_PyCode_CODE(code);
        ptrdiff_t first = c->_co_firsttraceable * (ptrdiff_t)sizeof(_Py_CODEUNIT);
        if (!generator && lasti < first) {
            f = previous;
            continue;
        }
        if (care && (lasti < -(ptrdiff_t)sizeof(_Py_CODEUNIT) ||
                     (size_t)lasti >= (size_t)Py_SIZE(c) * sizeof(_Py_CODEUNIT)))
            return false;
        at->f = f;
        at->previous = previous;
        at->code = code;
        at->globals = globals;
        at->lasti = lasti < 0 ? 0 : (int)lasti;
        at->sp = (char *)&f->localsplus[c->co_nlocalsplus];
        return true;
    }
    return false;
}

bool
frame_first(pyframe *at, PyThreadState *ts, enum care care)
{
    PyThreadState copy;
    const PyThreadState *v = look(ts, &copy, sizeof copy, care);
    if (!v)
        return false;
#if V313
    return frame_load(at, v->current_frame, care);
#else
    _PyCFrame cframe;
    const _PyCFrame *c = look(v->cframe, &cframe, sizeof cframe, care);
    return c && frame_load(at, c->current_frame, care);
#endif
}

bool
frame_next(pyframe *at, enum care care)
{
    return frame_load(at, at->previous, care);
}

char *
frame_end(const pyframe *at)
{
    const _PyInterpreterFrame *f = at->f;
    int locals = at->code->co_nlocalsplus;
    const int all = locals + at->code->co_stacksize;
#if V314
    ptrdiff_t used = f->stackpointer ? f->stackpointer - f->localsplus : -1;
    if (used < locals || used > all)
        used = all;
#else
    int used = f->stacktop >= locals ? f->stacktop : all;
#endif
    return (char *)&f->localsplus[used];
}

void
frame_visit(const pyframe *at, visitproc visit, void *arg)
{
    const _PyInterpreterFrame *f = at->f;
    PyCodeObject *code = frame_code(f);
    if (!code || !PyCode_Check(code))
        return;
    visit((PyObject *)code, arg);
    visit(f->f_globals, arg);
    visit(f->f_builtins, arg);
    visit(f->f_locals, arg);
#if V312
    visit(referred(f->f_funcobj), arg);
#else
    visit((PyObject *)f->f_func, arg);
#endif
    for (int i = 0; i < code->co_nlocalsplus; i++)
        visit(referred(f->localsplus[i]), arg);
}

uintptr_t
frame_word(const char *frame, size_t at)
{
    uintptr_t word;
    memcpy(&word, frame + at, sizeof word);
#if V314
    if (at >= offsetof(_PyInterpreterFrame, localsplus) ||
        at == offsetof(_PyInterpreterFrame, f_executable) || at == offsetof(_PyInterpreterFrame, f_funcobj))
        return (uintptr_t)referred((_PyStackRef){.bits = word});
#endif
    return word;
}

size_t
object_frame(PyObject *op)
{
    if (PyGen_CheckExact(op) || PyCoro_CheckExact(op) || PyAsyncGen_CheckExact(op))
        return offsetof(PyGenObject, gi_iframe);
    if (PyFrame_Check(op))
        return offsetof(PyFrameObject, _f_frame_data);
    return SIZE_MAX;
}

#if V315
/* (Without a last frame samplers ask nothing of a chain, and with it that it ends there: otherwise they have
 * read it while it changed.) */
void
ts_has_frames(PyThreadState *ts, bool some)
{
    ts->current_frame = ts->base_frame = some ? &impl(ts)->base_frame : NULL;
}
#endif
