/* offsets.c: is this interpreter laid out as the one that gort was compiled for?
 *
 * gort reads and writes CPython's private structures. Within a version these keep their layout, but for
 * members that bug-fix releases add at the end, and an interpreter may have been built with other options or
 * patches. From 3.13 on CPython describes its structures itself, for debuggers (_PyRuntime.debug_offsets).
 * That is compared with what the headers say that gort was compiled with.
 *
 * Invariants
 *   1. An interpreter that differs in what is compared is refused before anything of it is read or changed.
 *   2. A thread state's public part may have grown by datastack_cached_chunk alone (3.13). Its private part
 *      begins where the public one ends: impl() goes by impl_shift.
 *
 * offsets_init: once, when gort is imported, with the GIL.
 *
 * Rejected: comparing version numbers. Nearly all bug-fix releases of a version can be used by one binary,
 * and a patched interpreter has the number of the original.
 *
 * Versions. In 3.15 the private part of a thread state has a member more if there is a JIT. 3.11 and 3.12
 * describe nothing, and have got no new members. 3.14 before 3.14.5 has another collector, whatever the
 * headers said that gort was compiled with.
 */
#include "cpython/internal.h"

#include <string.h>

#define SYS_JIT "_jit" /* sys._jit, from 3.14 on */

#if V313

ptrdiff_t impl_shift;
size_t spare_chunk_at;

/* 3.13.0's thread state has this size; datastack_cached_chunk came behind it. */
#define TS_SIZE_313 304
#if !V314
_Static_assert(sizeof(PyThreadState) == TS_SIZE_313 || sizeof(PyThreadState) == TS_SIZE_313 + sizeof(void *),
               "a thread state has members that gort does not know");
#endif

int
jit_says(const char *method)
{
    PyObject *jit = PySys_GetObject(SYS_JIT);
    PyObject *r = jit ? PyObject_CallMethod(jit, method, NULL) : Py_NewRef(Py_False);
    int is = r ? r == Py_True : -1;
    Py_XDECREF(r);
    return is;
}

#if V315
size_t lazy_imports_at, tracer_at;

/* Whether an interpreter has a JIT is decided by a macro that its headers do not define for others; a thread
 * state's private part then has a member more. -1: exception set. */
static int
find_jit_members(void)
{
    int has = jit_says("is_available");
    if (has < 0)
        return -1;
    lazy_imports_at = offsetof(_PyThreadStateImpl, mem_free_queue) + sizeof(struct llist_node);
    if (has) {
        tracer_at = lazy_imports_at;
        lazy_imports_at += sizeof(void *);
    }
    return 0;
}
#endif

static void
put_version(char *buf, size_t n, uint64_t v)
{
    snprintf(buf, n, "%d.%d.%d", (int)(v >> 24 & 0xff), (int)(v >> 16 & 0xff), (int)(v >> 8 & 0xff));
}

static int
refuse(const char *here, const char *what, uint64_t is, uint64_t was)
{
    PyErr_Format(PyExc_ImportError,
                 "gort was compiled for CPython " PY_VERSION
                 ", and the structures of this %s differ (%s is %llu, "
                 "not %llu): install gort from source for it",
                 here, what, (unsigned long long)is, (unsigned long long)was);
    return -1;
}

/* What CPython says of itself, and what gort was compiled with. */
#define IS(member, value) {#member, offsetof(_Py_DebugOffsets, member), value}
static const struct {
    const char *name;
    size_t at; /* in debug_offsets */
    uint64_t value;
} layout[] = {
    IS(runtime_state.finalizing, offsetof(_PyRuntimeState, _finalizing)),
    IS(runtime_state.interpreters_head, offsetof(_PyRuntimeState, interpreters.head)),
    IS(interpreter_state.next, offsetof(PyInterpreterState, next)),
    IS(interpreter_state.threads_head, offsetof(PyInterpreterState, threads.head)),
    IS(interpreter_state.gc, offsetof(PyInterpreterState, gc)),
    IS(interpreter_state.builtins, offsetof(PyInterpreterState, builtins)),
    IS(interpreter_state.ceval_gil, offsetof(PyInterpreterState, ceval.gil)),
    IS(interpreter_state.gil_runtime_state_locked, offsetof(PyInterpreterState, _gil.locked)),
    IS(interpreter_state.gil_runtime_state_holder, offsetof(PyInterpreterState, _gil.last_holder)),
    IS(thread_state.prev, offsetof(PyThreadState, prev)),
    IS(thread_state.next, offsetof(PyThreadState, next)),
    IS(thread_state.interp, offsetof(PyThreadState, interp)),
    IS(thread_state.current_frame, offsetof(PyThreadState, current_frame)),
    IS(thread_state.thread_id, offsetof(PyThreadState, thread_id)),
    IS(thread_state.native_thread_id, offsetof(PyThreadState, native_thread_id)),
    IS(thread_state.datastack_chunk, offsetof(PyThreadState, datastack_chunk)),
    IS(thread_state.status, offsetof(PyThreadState, _status)),
    IS(interpreter_frame.size, sizeof(_PyInterpreterFrame)),
    IS(interpreter_frame.previous, offsetof(_PyInterpreterFrame, previous)),
    IS(interpreter_frame.executable, offsetof(_PyInterpreterFrame, f_executable)),
    IS(interpreter_frame.instr_ptr, offsetof(_PyInterpreterFrame, instr_ptr)),
    IS(interpreter_frame.localsplus, offsetof(_PyInterpreterFrame, localsplus)),
    IS(interpreter_frame.owner, offsetof(_PyInterpreterFrame, owner)),
    IS(code_object.size, sizeof(PyCodeObject)),
    IS(code_object.filename, offsetof(PyCodeObject, co_filename)),
    IS(code_object.qualname, offsetof(PyCodeObject, co_qualname)),
    IS(code_object.linetable, offsetof(PyCodeObject, co_linetable)),
    IS(code_object.firstlineno, offsetof(PyCodeObject, co_firstlineno)),
    IS(code_object.co_code_adaptive, offsetof(PyCodeObject, co_code_adaptive)),
    IS(dict_object.ma_keys, offsetof(PyDictObject, ma_keys)),
    IS(unicode_object.state, offsetof(PyASCIIObject, state)),
    IS(unicode_object.length, offsetof(PyASCIIObject, length)),
    IS(unicode_object.asciiobject_size, sizeof(PyASCIIObject)),
    IS(gc.size, sizeof(struct _gc_runtime_state)),
    IS(gc.collecting, offsetof(struct _gc_runtime_state, collecting)),
#if V314
    IS(thread_state.size, sizeof(PyThreadState)),
    IS(interpreter_frame.stackpointer, offsetof(_PyInterpreterFrame, stackpointer)),
    IS(debugger_support.eval_breaker, offsetof(PyThreadState, eval_breaker)),
    IS(debugger_support.remote_debugger_support, offsetof(PyThreadState, remote_debugger_support)),
    IS(debugger_support.remote_debugging_enabled, offsetof(PyInterpreterState, config.remote_debug)),
#endif
#if V315
    IS(thread_state.holds_gil, offsetof(PyThreadState, holds_gil)),
    IS(gc.generation_stats, offsetof(struct _gc_runtime_state, generation_stats)),
#endif
};

int
offsets_init(void)
{
    const _Py_DebugOffsets *its = &_PyRuntime.debug_offsets;
    char here[40];
    put_version(here, sizeof here, its->version);
    bool described = memcmp(its->cookie, "xdebugpy", sizeof its->cookie) == 0;
    if (!described || its->version >> 16 != PY_VERSION_HEX >> 16) {
        PyErr_Format(PyExc_ImportError, "gort was compiled for CPython " PY_VERSION ", and this %s%s",
                     described ? "is " : "interpreter does not describe its structures",
                     described ? here : "");
        return -1;
    }
#if V314 && !V315
    if (its->version < 0x030E0500) {
        PyErr_Format(PyExc_ImportError,
                     "gort needs CPython 3.14.5 or later: %s has another garbage collector", here);
        return -1;
    }
#endif
    if (its->free_threaded) {
        PyErr_SetString(PyExc_ImportError,
                        "gort supports builds of CPython with the GIL; this one is free-threaded");
        return -1;
    }
    for (size_t i = 0; i < sizeof layout / sizeof *layout; i++) {
        uint64_t is;
        memcpy(&is, (const char *)its + layout[i].at, sizeof is);
        if (is != layout[i].value)
            return refuse(here, layout[i].name, is, layout[i].value);
    }
#if V314
    spare_chunk_at = offsetof(PyThreadState, datastack_cached_chunk);
#else
    const size_t size = (size_t)its->thread_state.size;
    if (size == TS_SIZE_313 + sizeof(void *))
        spare_chunk_at = TS_SIZE_313;
    else if (size != TS_SIZE_313)
        return refuse(here, "thread_state.size", size, sizeof(PyThreadState));
    impl_shift = (ptrdiff_t)size - (ptrdiff_t)sizeof(PyThreadState);
#endif
#if V315
    if (find_jit_members() < 0)
        return -1;
#endif
    return 0;
}

#else

int
offsets_init(void)
{
    return 0;
}
#endif
