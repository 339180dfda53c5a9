/* compat.c: the seam to CPython. The only file that knows its version or includes its internal headers.
 *
 * What it relies on, per version (all three are in bug-fix or security mode: these structures do not change):
 *   3.11        The current thread state is a global, and PyThreadState_Swap leaves the key of PyGILState_Ensure
 *               behind (which then deadlocks): ts_switch sets both.
 *   3.12, 3.13  PyThreadState_Swap releases and retakes the GIL (70-120 ns, and others may get in). The current thread
 *               state is a thread-local of libpython that is not exported: find_tss_offset looks for it in libpython's
 *               TLS block and proves its find by a real swap. With it ts_switch does what the swap would do without
 *               touching the GIL; without it ts_switch falls back to PyThreadState_Swap.
 *   3.13        The version of the code's instrumentation is part of each thread state and refreshed on attaching. A
 *               request to drop the GIL, and pending signals, are bits of one thread state: the former is handed on
 *               by ts_switch, the latter go to main's thread state, which only the main goroutine runs with. A thread
 *               looks at those bits once more after it has dropped the GIL, when an interpreter that ends may have
 *               freed its thread state: ts_outlive.
 *
 * Signals. CPython runs signal handlers in the OS thread whose identifier is _PyRuntime.main_thread. gort lets other
 * goroutines run on the process's main thread and, if that is occupied, the main goroutine on another one;
 * so main_thread is set when the main goroutine is resumed (to the thread that it runs on) and cleared when it parks.
 *
 * Data stacks. The first chunk of a goroutine's data stack lies in its own C stack. CPython frees chunks with the arena
 * allocator's free; the hook here ignores ours and keeps a pool of CPython's own 16 KiB chunks, each of which
 * would otherwise be an mmap and a munmap.
 */
#define Py_BUILD_CORE_MODULE 1
#define Py_BUILD_CORE 1
#include "compat.h"

#include "os.h"

#include <internal/pycore_ceval.h>
#include <internal/pycore_code.h>
#include <internal/pycore_dict.h>
#include <internal/pycore_frame.h>
#include <internal/pycore_gc.h>
#include <internal/pycore_interp.h>
#include <internal/pycore_object.h>
#include <internal/pycore_pystate.h>
#include <internal/pycore_runtime.h>

#include <link.h>

#if PY_VERSION_HEX < 0x030B0000 || PY_VERSION_HEX >= 0x030E0000
#error "gort supports CPython 3.11, 3.12 and 3.13"
#endif
#ifdef Py_GIL_DISABLED
#error "gort supports builds of CPython with the GIL only"
#endif

#define V312 (PY_VERSION_HEX >= 0x030C0000)
#define V313 (PY_VERSION_HEX >= 0x030D0000)

static PyInterpreterState *interp;
static PyThreadState *main_ts;

/* -- data-stack chunks ------------------------------------------------------------------------ */

#define PY_CHUNK_SIZE (16 * 1024)
#define POOL_MAX 1024
static PyObjectArenaAllocator arena;
static void *pool[POOL_MAX];
static int npool;
static atomic_flag pool_lock =
    ATOMIC_FLAG_INIT; /* thread states may be deleted without the GIL. Nobody waits for it:
                                                  * in the child of a fork its holder may be gone */

static void *
chunk_alloc(void *ctx, size_t size)
{
    (void)ctx;
    if (size == PY_CHUNK_SIZE && !atomic_flag_test_and_set_explicit(&pool_lock, memory_order_acquire)) {
        void *chunk = npool > 0 ? pool[--npool] : NULL;
        atomic_flag_clear_explicit(&pool_lock, memory_order_release);
        if (chunk)
            return chunk;
    }
    return arena.alloc(arena.ctx, size);
}

static void
chunk_free(void *ctx, void *addr, size_t size)
{
    (void)ctx;
    if (size == CHUNK_SIZE)
        return; /* part of a goroutine's stack */
    if (size == PY_CHUNK_SIZE && !atomic_flag_test_and_set_explicit(&pool_lock, memory_order_acquire)) {
        bool kept = npool < POOL_MAX;
        if (kept)
            pool[npool++] = addr;
        atomic_flag_clear_explicit(&pool_lock, memory_order_release);
        if (kept)
            return;
    }
    arena.free(arena.ctx, addr, size);
}

void
compat_after_fork(void)
{
    main_ts = PyThreadState_Get();
    ts_set_thread(main_ts, PyThread_get_thread_ident());
#if V313
    _PyRuntime.main_tstate = main_ts;
#endif
}

/* -- thread states ---------------------------------------------------------------------------- */

#if V312
static void find_tss_offset(void);
#endif

int
compat_init(void)
{
    interp = PyInterpreterState_Get();
    if (interp != PyInterpreterState_Main()) {
        PyErr_SetString(PyExc_ImportError, "gort runs in the main interpreter only, not in a subinterpreter");
        return -1;
    }
#if V313
    main_ts = _PyRuntime.main_tstate;
#else
    /* new thread states are put in front: the first one of the process is the last */
    for (PyThreadState *ts = PyInterpreterState_ThreadHead(interp); ts; ts = PyThreadState_Next(ts))
        main_ts = ts;
#endif
#if V312
    main_interp = interp;
    newest_interp = &_PyRuntime.interpreters.head;
    find_tss_offset();
#endif
    PyObject_GetArenaAllocator(&arena);
    PyObjectArenaAllocator hook = {NULL, chunk_alloc, chunk_free};
    PyObject_SetArenaAllocator(&hook);
    return 0;
}

const char *
allocator_name(void)
{
    return _PyMem_GetCurrentAllocatorName();
}

#if V312
/* New interpreters are put in front of the list: while the main one is the first, it is alone. A thread of another one
 * always sees that it is not: it has its interpreter since that was put there. */
PyInterpreterState *main_interp, **newest_interp;

/* Without a thread state, nobody is in the interpreter but the one that begins or ends it. */
noinline bool
interp_shares_gil(void)
{
    PyThreadState *ts = _PyThreadState_UncheckedGet();
    return !ts || ts->interp == main_interp || ts->interp->ceval.gil == main_interp->ceval.gil;
}
#endif

PyThreadState *
ts_new(void)
{
    return PyThreadState_New(interp);
}

void
ts_outlive(PyThreadState *ts)
{
#if V313
    PyMutex *mutex = &_PyRuntime.interpreters.mutex;
    PyMutex_Lock(mutex);
    if (ts->prev != ts) {
        if (ts->prev)
            ts->prev->next = ts->next;
        else
            interp->threads.head = ts->next;
        if (ts->next)
            ts->next->prev = ts->prev;
        ts->prev = ts; /* so that whoever deletes it finds a list to take it out of */
        ts->next = NULL;
    }
    PyMutex_Unlock(mutex);
#else
    (void)ts;
#endif
}

void
ts_set_chunk(PyThreadState *ts, void *mem, size_t size)
{
    _PyStackChunk *chunk = mem;
    chunk->previous = NULL;
    chunk->size = size;
    chunk->top = 0;
    ts->datastack_chunk = chunk;
    ts->datastack_top =
        &chunk->data[1]; /* data[0] of a root chunk is never used: popping it would free the chunk */
    ts->datastack_limit = (PyObject **)((char *)mem + size);
}

/* C_RECURSION_LIMIT counts entries into C, blind to the size of the stack. The hungriest that the standard library is
 * known for, sorted(key=...) calling itself, takes 2.4 KiB per counted entry. */
#define C_FRAME 2400

int
ts_c_budget(size_t stack)
{
#if V313
    const size_t limit = Py_C_RECURSION_LIMIT;
#elif V312
    const size_t limit = C_RECURSION_LIMIT;
#else
    const size_t limit = 1; /* 3.11 has one counter for Python and C */
#endif
    size_t n = stack / C_FRAME;
    return (int)(n < limit ? n : limit);
}

void
ts_set_c_budget(PyThreadState *ts, int budget)
{
#if V312
    ts->c_recursion_remaining = budget;
#else
    (void)ts;
    (void)budget;
#endif
}

bool
ts_is_clean(PyThreadState *ts)
{
    return ts->dict == NULL && ts->context == NULL && ts->c_traceobj == NULL && ts->c_profileobj == NULL &&
           ts->async_exc == NULL && ts->async_gen_firstiter == NULL && ts->async_gen_finalizer == NULL
#if V313
           && ts->threading_local_key == NULL && ts->threading_local_sentinel == NULL
#else
           && ts->on_delete == NULL
#endif
        ;
}

void
ts_reset(PyThreadState *ts, int budget)
{
    if (unlikely(!ts_is_clean(ts))) {
        if (ts->c_tracefunc)
            PyEval_SetTrace(NULL, NULL);
        if (ts->c_profilefunc)
            PyEval_SetProfile(NULL, NULL);
        Py_CLEAR(ts->dict);
        Py_CLEAR(ts->async_exc);
        Py_CLEAR(ts->async_gen_firstiter);
        Py_CLEAR(ts->async_gen_finalizer);
        Py_CLEAR(ts->context);
        ts->context_ver++;
#if V313
        Py_CLEAR(ts->threading_local_key);
        Py_CLEAR(ts->threading_local_sentinel);
#else
        if (ts->on_delete) {
            void (*f)(void *) = ts->on_delete;
            ts->on_delete = NULL;
            f(ts->on_delete_data);
            ts->on_delete_data = NULL;
        }
#endif
    }
    ts->coroutine_origin_tracking_depth = 0;
#if V312
    ts->py_recursion_remaining = ts->py_recursion_limit;
    ts->c_recursion_remaining = budget;
#else
    (void)budget;
    ts->recursion_remaining = ts->recursion_limit;
#endif
    ts->recursion_headroom = 0;
}

#if V312
static ptrdiff_t tss_offset = -1; /* of the current thread state in libpython's TLS block; -1: not known */

typedef struct {
    char *data;
    size_t size;
} tls_block;

static int
find_tls(struct dl_phdr_info *info, size_t size, void *out)
{
    (void)size;
    uintptr_t want = (uintptr_t)&_PyRuntime;
    bool here = false;
    size_t tls = 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
        if (ph->p_type == PT_LOAD && want - (info->dlpi_addr + ph->p_vaddr) < ph->p_memsz)
            here = true;
        if (ph->p_type == PT_TLS)
            tls = ph->p_memsz;
    }
    if (!here)
        return 0;
    *(tls_block *)out = (tls_block){info->dlpi_tls_data, tls};
    return 1;
}

/* Once, at the start: others may get in meanwhile. */
static void
find_tss_offset(void)
{
    tls_block tls = {0};
    PyThreadState *now = PyThreadState_Get(), *other;
    dl_iterate_phdr(find_tls, &tls);
    if (!tls.data || !(other = ts_new()))
        return;
    int found = 0;
    ptrdiff_t at = -1;
    for (size_t i = 0; i + sizeof(void *) <= tls.size; i += sizeof(void *)) {
        PyThreadState **word = (PyThreadState **)(tls.data + i);
        if (*word != now)
            continue;
        PyThreadState_Swap(other);
        bool moved = *word == other;
        PyThreadState_Swap(now);
        if (moved && *word == now) {
            found++;
            at = (ptrdiff_t)i;
        }
    }
    PyThreadState_Clear(other);
    PyThreadState_Delete(other);
    if (found == 1)
        tss_offset = at;
}

void
ts_find_tss(m *mp)
{
    tls_block tls = {0};
    mp->tss = NULL;
    if (tss_offset < 0)
        return;
    dl_iterate_phdr(find_tls, &tls);
    PyThreadState **word = (PyThreadState **)(tls.data + tss_offset);
    if (tls.data && *word == PyThreadState_Get())
        mp->tss = word;
}

static inline struct _gil_runtime_state *
gil(void)
{
    return interp->ceval.gil;
}

void
ts_switch(m *mp, PyThreadState *ts)
{
    if (unlikely(!mp->tss)) {
        PyThreadState *old = _PyThreadState_UncheckedGet();
        if (old == ts)
            return;
        old->_status.bound_gilstate =
            0; /* it may be attached by another OS thread next, and must bind there */
        PyThreadState_Swap(ts);
        return;
    }
    PyThreadState *old = *mp->tss;
    if (old == ts)
        return;
    old->_status.active = 0;
    old->_status.bound_gilstate = 0;
#if V313
    old->_status.holds_gil = 0;
    old->state = _Py_THREAD_DETACHED;
    ts->_status.holds_gil = 1;
    ts->state = _Py_THREAD_ATTACHED;
    /* Attaching would refresh the instrumentation's version and forget a request to drop the GIL that was meant for an
     * earlier run of ts: obeyed when nobody waits any more, it would wait for ever for somebody to take the GIL. A
     * request made of `old` is handed on. One that is lost between these lines is repeated after the switch interval. */
    uintptr_t version = interp->ceval.instrumentation_version;
    uintptr_t bits = _Py_atomic_load_uintptr_relaxed(&ts->eval_breaker), want;
    bool drop = _Py_eval_breaker_bit_is_set(old, _PY_GIL_DROP_REQUEST_BIT);
    do {
        want = version | (bits & _PY_EVAL_EVENTS_MASK & ~(uintptr_t)_PY_GIL_DROP_REQUEST_BIT) |
               (drop ? _PY_GIL_DROP_REQUEST_BIT : 0);
    } while (unlikely(bits != want) && !_Py_atomic_compare_exchange_uintptr(&ts->eval_breaker, &bits, want));
    _Py_atomic_store_ptr_relaxed(&gil()->last_holder, ts);
    if (unlikely(drop))
        _Py_unset_eval_breaker_bit(old, _PY_GIL_DROP_REQUEST_BIT);
#else
    _Py_atomic_store_relaxed(&gil()->last_holder, (uintptr_t)ts);
#endif
    ts->_status.active = 1;
    ts->_status.bound_gilstate = 1;
    *mp->tss = ts;
    PyThread_tss_set(&_PyRuntime.autoTSSkey, ts);
}

bool
ts_running(PyThreadState *ts)
{
#if V313
    return _Py_atomic_load_int_relaxed(&gil()->locked) &&
           _Py_atomic_load_ptr_relaxed(&gil()->last_holder) == ts;
#else
    return _Py_atomic_load_relaxed(&gil()->locked) &&
           (PyThreadState *)_Py_atomic_load_relaxed(&gil()->last_holder) == ts;
#endif
}

#else /* 3.11 */

void
ts_find_tss(m *mp)
{
    mp->tss = NULL;
}

void
ts_switch(m *mp, PyThreadState *ts)
{
    (void)mp;
    _Py_atomic_store_relaxed(&_PyRuntime.gilstate.tstate_current, (uintptr_t)ts);
    PyThread_tss_set(&_PyRuntime.gilstate.autoTSSkey, ts);
}

bool
ts_running(PyThreadState *ts)
{
    return (PyThreadState *)_Py_atomic_load_relaxed(&_PyRuntime.gilstate.tstate_current) == ts;
}
#endif

/* -- signals ---------------------------------------------------------------------------------- */

void
main_thread_set(bool mine)
{
    _PyRuntime.main_thread = mine ? PyThread_get_thread_ident() : 0;
}

bool
on_main_thread(void)
{
    return _PyRuntime.main_thread == PyThread_get_thread_ident();
}

#if V313
bool
signals_pending(void)
{
    return _Py_eval_breaker_bit_is_set(main_ts, _PY_SIGNALS_PENDING_BIT);
}

void
signals_clear(void)
{
    _Py_unset_eval_breaker_bit(main_ts, _PY_SIGNALS_PENDING_BIT);
}

void
signals_again(void)
{
    _Py_set_eval_breaker_bit(main_ts, _PY_SIGNALS_PENDING_BIT);
}

void
signals_force(void)
{
    /* the bit is in main's own thread state already */
}
#else
bool
signals_pending(void)
{
    return _Py_atomic_load_relaxed(&_PyRuntime.ceval.signals_pending);
}

void
signals_clear(void)
{
    _Py_atomic_store_relaxed(&_PyRuntime.ceval.signals_pending, 0);
}

void
signals_again(void)
{
    _Py_atomic_store_relaxed(&_PyRuntime.ceval.signals_pending, 1);
    _Py_atomic_store_relaxed(&interp->ceval.eval_breaker, 1);
}

void
signals_force(void)
{
    /* the C handler sets the breaker only if it ran in the main goroutine's thread */
    _Py_atomic_store_relaxed(&interp->ceval.eval_breaker, 1);
}
#endif

void
ts_forget_drop_request(PyThreadState *ts)
{
#if V313
    _Py_unset_eval_breaker_bit(ts, _PY_GIL_DROP_REQUEST_BIT);
#else
    (void)ts;
    _Py_atomic_store_relaxed(&interp->ceval.gil_drop_request, 0);
#endif
}

void
ts_set_thread(PyThreadState *ts, unsigned long ident)
{
    ts->thread_id = ident;
}

/* -- looking into thread states --------------------------------------------------------------- */

/* Copies *from if `careful`, else just points at it. NULL: it cannot be read. */
static const void *
look(const void *from, void *copy, size_t n, bool careful)
{
    if (!careful)
        return from;
    return (uintptr_t)from % sizeof(void *) == 0 && mem_read(copy, from, n) ? copy : NULL;
}

PyThreadState *
ts_head(bool careful)
{
    (void)careful; /* one read */
    return PyInterpreterState_ThreadHead(interp);
}

PyThreadState *
ts_next(PyThreadState *ts, bool careful)
{
    PyThreadState copy;
    const PyThreadState *v = look(ts, &copy, sizeof copy, careful);
    return v ? v->next : NULL;
}

unsigned long
ts_ident(PyThreadState *ts, bool careful)
{
    PyThreadState copy;
    const PyThreadState *v = look(ts, &copy, sizeof copy, careful);
    return v ? v->thread_id : 0;
}

unsigned long
ts_native_id(PyThreadState *ts, bool careful)
{
    PyThreadState copy;
    const PyThreadState *v = look(ts, &copy, sizeof copy, careful);
    return v ? v->native_thread_id : 0;
}

PyThreadState *
ts_of_thread(void)
{
    return PyGILState_GetThisThreadState();
}

PyObject *
threading_module(void)
{
    static PyObject *name;
    if (!name)
        name = PyUnicode_InternFromString("threading");
    PyObject *module = name ? PyImport_GetModule(name) : NULL;
    if (module)
        Py_DECREF(module); /* sys.modules has it */
    else
        PyErr_Clear();
    return module;
}

PyObject *
thread_name_of(unsigned long ident)
{
    PyObject *threading = threading_module();
    PyObject *active = threading ? PyObject_GetAttrString(threading, "_active") : NULL;
    PyObject *key = active ? PyLong_FromUnsignedLong(ident) : NULL;
    PyObject *thread = key && PyDict_Check(active) ? PyDict_GetItemWithError(active, key) : NULL;
    PyObject *name = thread ? PyObject_GetAttrString(thread, "_name") : NULL;
    Py_XDECREF(key);
    Py_XDECREF(active);
    PyErr_Clear();
    return name;
}

Py_ssize_t
ts_count(void)
{
    Py_ssize_t n = 0;
    for (PyThreadState *ts = PyInterpreterState_ThreadHead(interp); ts; ts = PyThreadState_Next(ts))
        n++;
    return n;
}

/* A code object that died leaves its type behind, but not a reference count that could be one. */
static bool
is_code(const PyCodeObject *code)
{
    Py_ssize_t n = Py_REFCNT((PyObject *)(uintptr_t)code);
    return Py_IS_TYPE((PyObject *)(uintptr_t)code, &PyCode_Type) && n > 0 && n <= UINT32_MAX &&
           Py_SIZE(code) > 0;
}

/* The first complete frame from f on. */
static bool
frame_load(pyframe *at, _PyInterpreterFrame *f, bool careful)
{
    const int many = 1000; /* incomplete frames in a row: it goes in circles */
    for (int i = 0; f && i < many; i++) {
        union {
            _PyInterpreterFrame frame;
            PyCodeObject code;
        } copy;
        const _PyInterpreterFrame *v = look(f, &copy, sizeof copy.frame, careful);
        if (!v)
            return false;
        _PyInterpreterFrame *previous = v->previous;
#if V312
        if (v->owner == FRAME_OWNED_BY_CSTACK) {
            f = previous;
            continue;
        }
#endif
#if V313
        PyCodeObject *code = (PyCodeObject *)v->f_executable;
        char *instr = (char *)v->instr_ptr;
#else
        PyCodeObject *code = v->f_code;
        char *instr = (char *)v->prev_instr;
#endif
        PyObject *globals = v->f_globals;
        bool generator = v->owner == FRAME_OWNED_BY_GENERATOR;
        const PyCodeObject *c = look(code, &copy, sizeof copy.code, careful); /* v is gone */
        if (!c || (careful && !is_code(c)))
            return false;
        ptrdiff_t lasti = instr - (char *)_PyCode_CODE(code);
        ptrdiff_t first = c->_co_firsttraceable * (ptrdiff_t)sizeof(_Py_CODEUNIT);
        if (!generator && lasti < first) {
            f = previous;
            continue;
        }
        if (careful && (lasti < -(ptrdiff_t)sizeof(_Py_CODEUNIT) ||
                        (size_t)lasti >= (size_t)Py_SIZE(c) * sizeof(_Py_CODEUNIT)))
            return false;
        at->f = f;
        at->code = code;
        at->globals = globals;
        at->lasti = lasti < 0 ? 0 : (int)lasti;
        at->sp = (char *)&f->localsplus[c->co_nlocalsplus];
        return true;
    }
    return false;
}

bool
frame_first(pyframe *at, PyThreadState *ts, bool careful)
{
    PyThreadState copy;
    const PyThreadState *v = look(ts, &copy, sizeof copy, careful);
    if (!v)
        return false;
#if V313
    return frame_load(at, v->current_frame, careful);
#else
    _PyCFrame cframe;
    const _PyCFrame *c = look(v->cframe, &cframe, sizeof cframe, careful);
    return c && frame_load(at, c->current_frame, careful);
#endif
}

bool
frame_next(pyframe *at, bool careful)
{
    _PyInterpreterFrame copy;
    const _PyInterpreterFrame *v = look(at->f, &copy, sizeof copy, careful);
    return v && frame_load(at, v->previous, careful);
}

char *
frame_end(const pyframe *at)
{
    const _PyInterpreterFrame *f = at->f;
    int locals = at->code->co_nlocalsplus;
    int used = f->stacktop >= locals ? f->stacktop : locals + at->code->co_stacksize;
    return (char *)&f->localsplus[used];
}

static PyObject *str_name;

PyObject *
globals_name(PyObject *globals, bool careful)
{
    /* A module's first key is its name. Looked for in the entries, since this may be the dict that is just being resized:
     * then its index is empty and no entry counts yet, but those that it will have are there, with zeros behind. */
    PyDictObject dict;
    PyDictKeysObject keys;
    const PyDictObject *d = look(globals, &dict, sizeof dict, careful);
    if (!d || !PyDict_CheckExact((PyObject *)(uintptr_t)d))
        return NULL;
    char *at = (char *)d->ma_keys;
    const PyDictKeysObject *k = look(at, &keys, sizeof keys, careful);
    if (!k)
        return NULL;
    bool general = k->dk_kind == DICT_KEYS_GENERAL;
    at += offsetof(PyDictKeysObject, dk_indices) + ((size_t)1 << (k->dk_log2_index_bytes & 63));
    const Py_ssize_t n = k->dk_nentries + (k->dk_usable > 0 ? k->dk_usable : 0);
    for (Py_ssize_t i = 0; i < n && i < 64; i++) {
        PyDictKeyEntry entry;
        PyDictUnicodeEntry unicode;
        const PyDictKeyEntry *e = NULL;
        const PyDictUnicodeEntry *u = NULL;
        if (general ? !(e = look(at + i * (Py_ssize_t)sizeof entry, &entry, sizeof entry, careful))
                    : !(u = look(at + i * (Py_ssize_t)sizeof unicode, &unicode, sizeof unicode, careful)))
            return NULL;
        if ((general ? e->me_key : u->me_key) == str_name) {
            PyObject *name = general ? e->me_value : u->me_value;
            return careful || (name && PyUnicode_Check(name)) ? name : NULL;
        }
    }
    if (careful || general) /* whose keys' methods would be called */
        return NULL;
    PyObject *name = PyDict_GetItemWithError(globals, str_name); /* of keys that are all str: no error */
    return name && PyUnicode_Check(name) ? name : NULL;
}

int
str_data(PyObject *s, const char **data, Py_ssize_t *length, bool careful)
{
    PyASCIIObject copy;
    const PyASCIIObject *v = look(s, &copy, sizeof copy, careful);
    /* of a str that died meanwhile, the type may be anything: it is not looked into */
    if (!v || !(Py_IS_TYPE((PyObject *)(uintptr_t)v, &PyUnicode_Type) || (!careful && PyUnicode_Check(s))) ||
        !v->state.compact)
        return 0;
    *data = (const char *)s + (v->state.ascii ? sizeof(PyASCIIObject) : sizeof(PyCompactUnicodeObject));
    *length = v->length;
    return v->state.kind;
}

/* -- code objects -------------------------------------------------------------------------------- */

static Py_ssize_t extra_index;

int
code_extra_init(void (*freed)(void *))
{
    extra_index = _PyEval_RequestCodeExtraIndex(freed);
    str_name = PyUnicode_InternFromString("__name__");
    if (extra_index < 0)
        PyErr_SetString(PyExc_ImportError,
                        "gort needs one of the 255 slots of code objects, and other modules have them all");
    return extra_index < 0 || !str_name ? -1 : 0;
}

void *
code_extra(PyCodeObject *code)
{
    void *extra = NULL;
    if (_PyCode_GetExtra((PyObject *)code, extra_index, &extra) < 0)
        PyErr_Clear();
    return extra;
}

int
code_set_extra(PyCodeObject *code, void *extra)
{
    return _PyCode_SetExtra((PyObject *)code, extra_index, extra);
}

size_t
code_size(PyCodeObject *code)
{
    return (size_t)Py_SIZE(code) * sizeof(_Py_CODEUNIT);
}

/* -- the collector ------------------------------------------------------------------------------- */

static struct _gc_runtime_state *
collector(void)
{
    return &interp->gc;
}

bool
collector_enabled(void)
{
    return collector()->enabled;
}

bool
collector_busy(void)
{
    return collector()->collecting;
}

void
collector_thresholds(int t[3])
{
    for (int i = 0; i < 3; i++)
        t[i] = collector()->generations[i].threshold;
}

void
collector_set_thresholds(const int t[3])
{
    for (int i = 0; i < 3; i++)
        collector()->generations[i].threshold = t[i];
}

bool
collector_young_is_due(void)
{
    const struct gc_generation *young = &collector()->generations[0];
    return young->count > young->threshold;
}

void
collector_allow_full(void)
{
    collector()->long_lived_total = 0;
}

/* The lists are circular, with a head that is no object; the low bits of _gc_prev are flags of the object. */

static void
gc_link(PyGC_Head *a, PyGC_Head *b)
{
    a->_gc_next = (uintptr_t)b;
    b->_gc_prev = (b->_gc_prev & ~_PyGC_PREV_MASK) | (uintptr_t)a;
}

static PyGC_Head *
gc_next(const PyGC_Head *a)
{
    return (PyGC_Head *)a->_gc_next;
}

static PyGC_Head *
gc_prev(const PyGC_Head *a)
{
    return (PyGC_Head *)(a->_gc_prev & _PyGC_PREV_MASK);
}

/* Moves what lies between first and last, both included, to the end of another list. */
static void
gc_move(PyGC_Head *first, PyGC_Head *last, PyGC_Head *to)
{
    gc_link(gc_prev(first), gc_next(last));
    gc_link(gc_prev(to), first);
    gc_link(last, to);
}

/* Does a container have so many items that to look at it takes as long as all the others of a slice? */
static bool
is_giant(PyObject *op)
{
    const Py_ssize_t many = 2048;
    if (PyList_CheckExact(op) || PyTuple_CheckExact(op))
        return Py_SIZE(op) > many;
    if (PyDict_CheckExact(op))
        return ((PyDictObject *)op)->ma_used > many;
    return PyAnySet_CheckExact(op) && ((PySetObject *)op)->used > many;
}

size_t
collector_slice(size_t n)
{
    PyGC_Head *young = &collector()->generations[0].head, *middle = &collector()->generations[1].head,
              *old = &collector()->generations[2].head;
    if (gc_next(middle) != middle)
        gc_move(gc_next(middle), gc_prev(middle), old);
    size_t count = 0;
    PyGC_Head *last = gc_prev(old), *one = gc_next(old), *next;
    for (size_t i = 0; i < n && one != old; i++, one = next) {
        next = one == last ? old : gc_next(one);
        bool giant = is_giant((PyObject *)(one + 1));
        count += !giant;
        gc_move(one, one, giant ? old : young);
    }
    return count;
}

void
collector_sample(size_t n)
{
    PyGC_Head *young = &collector()->generations[0].head, *old = &collector()->generations[2].head;
    PyGC_Head *last = young;
    while (n-- > 0 && gc_next(last) != young)
        last = gc_next(last);
    if (gc_next(last) != young)
        gc_move(gc_next(last), gc_prev(young), old);
}

#define SAVEALL (1 << 5) /* gc.DEBUG_SAVEALL */

PyObject *
collector_garbage(void)
{
    return collector()->garbage;
}

bool
collector_save_all(bool on)
{
    if (on && collector()->debug & SAVEALL)
        return false;
    collector()->debug = on ? collector()->debug | SAVEALL : collector()->debug & ~SAVEALL;
    return true;
}

/* Of a frame that runs the evaluation stack's height is not known: its variables are visited. */
static void
frame_roots(const _PyInterpreterFrame *f, visitproc visit, void *arg)
{
#if V313
    PyObject *code = f->f_executable;
#else
    PyObject *code = (PyObject *)f->f_code;
#endif
    if (!code || !PyCode_Check(code))
        return;
    visit(code, arg);
    visit(f->f_globals, arg);
    visit(f->f_builtins, arg);
    visit(f->f_locals, arg);
#if V312
    visit(f->f_funcobj, arg);
#else
    visit((PyObject *)f->f_func, arg);
#endif
    for (int i = 0; i < ((PyCodeObject *)code)->co_nlocalsplus; i++)
        visit(f->localsplus[i], arg);
}

void
interpreter_roots(visitproc visit, void *arg)
{
    visit(PyImport_GetModuleDict(), arg);
    visit(interp->builtins, arg);
    visit(PyInterpreterState_GetDict(interp), arg);
    for (PyThreadState *ts = ts_head(false); ts; ts = ts_next(ts, false)) {
        visit(ts->dict, arg);
        visit(ts->context, arg);
        for (_PyErr_StackItem *e = ts->exc_info; e; e = e->previous_item)
            visit(e->exc_value, arg);
        pyframe at;
        for (bool more = frame_first(&at, ts, false); more; more = frame_next(&at, false))
            frame_roots(at.f, visit, arg);
    }
}

PyObject *
collector_set_callbacks(PyObject *list)
{
    PyObject *old = collector()->callbacks;
    collector()->callbacks = list;
    return old;
}

size_t
collector_young_count(void)
{
    return collector()->generations[0].count > 0 ? (size_t)collector()->generations[0].count : 0;
}

void
collector_each(void (*f)(PyObject *op, void *arg), void *arg)
{
    PyGC_Head *heads[] = {&collector()->generations[0].head, &collector()->generations[1].head,
                          &collector()->generations[2].head, &collector()->permanent_generation.head};
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        for (PyGC_Head *gc = gc_next(heads[i]); gc != heads[i]; gc = gc_next(gc))
            f((PyObject *)(gc + 1), arg);
    }
}

/* -- contexts ------------------------------------------------------------------------------------ */

PyObject *
ts_context(PyThreadState *ts)
{
    return ts->context;
}

void
ts_set_context(PyThreadState *ts, PyObject *context)
{
    Py_XSETREF(ts->context, context);
    ts->context_ver++;
}

bool
ts_handling(PyThreadState *ts, PyObject *type)
{
    for (_PyErr_StackItem *e = ts->exc_info; e; e = e->previous_item) {
        if (e->exc_value && PyErr_GivenExceptionMatches(e->exc_value, type))
            return true;
    }
    return false;
}

/* -- finalizers ---------------------------------------------------------------------------------- */

bool
gc_is_finalized(PyObject *op)
{
    return (_Py_AS_GC(op)->_gc_prev & _PyGC_PREV_MASK_FINALIZED) != 0;
}

void
gc_set_finalized(PyObject *op, bool finalized)
{
    uintptr_t *word = &_Py_AS_GC(op)->_gc_prev;
    *word = finalized ? *word | _PyGC_PREV_MASK_FINALIZED : *word & ~(uintptr_t)_PyGC_PREV_MASK_FINALIZED;
}

bool
gc_is_garbage(PyObject *op)
{
    return (_Py_AS_GC(op)->_gc_prev & _PyGC_PREV_MASK_COLLECTING) != 0;
}

bool
gc_is_garbage_at(PyObject *op, PyTypeObject *type)
{
    struct {
        PyGC_Head head;
        PyObject object;
    } copy;
    return mem_read(&copy, _Py_AS_GC(op), sizeof copy) && copy.object.ob_type == type &&
           Py_REFCNT(&copy.object) > 0 && (copy.head._gc_prev & _PyGC_PREV_MASK_COLLECTING) != 0;
}

uint64_t
gc_collections(void)
{
    uint64_t n = 0;
    for (int i = 0; i < NUM_GENERATIONS; i++)
        n += (uint64_t)interp->gc.generation_stats[i].collections;
    return n;
}

/* CPython uses tp_cache no more, but still traverses and releases it with the type. */
PyObject *
type_note(PyTypeObject *type)
{
    return type->tp_cache;
}

void
type_set_note(PyTypeObject *type, PyObject *note)
{
    Py_XSETREF(type->tp_cache, note);
}

/* -- layout of objects -------------------------------------------------------------------------- */

size_t
object_prefix(PyTypeObject *t)
{
    return _PyType_PreHeaderSize(t);
}

bool
type_has_tail(const PyTypeObject *t)
{
    if (PyType_HasFeature((PyTypeObject *)t, Py_TPFLAGS_UNICODE_SUBCLASS))
        return true; /* the text */
#if V313
    return PyType_HasFeature((PyTypeObject *)t, Py_TPFLAGS_INLINE_VALUES);
#else
    return false;
#endif
}
