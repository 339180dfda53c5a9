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
 * Versions. The current frame is found by way of the C frame up to 3.12, in the thread state itself in 3.13;
 * a frame's code and instruction have other names there. From 3.12 on calls from C have a frame of their own
 * (FRAME_OWNED_BY_CSTACK), and f_func is called f_funcobj.
 */
#include "cpython/internal.h"

static inline PyCodeObject *
frame_code(const _PyInterpreterFrame *f)
{
#if V313
    return (PyCodeObject *)f->f_executable;
#else
    return f->f_code;
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
#if V312
        if (v->owner == FRAME_OWNED_BY_CSTACK) {
            f = previous;
            continue;
        }
#endif
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
    int used = f->stacktop >= locals ? f->stacktop : locals + at->code->co_stacksize;
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
    visit(f->f_funcobj, arg);
#else
    visit((PyObject *)f->f_func, arg);
#endif
    for (int i = 0; i < code->co_nlocalsplus; i++)
        visit(f->localsplus[i], arg);
}
