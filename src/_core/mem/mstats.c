/* mstats.c: the heap's own figures.
 *
 * Counting is exact: each block that the hooks hand out and each that they take back is counted under its
 * class when it happens, and bytes are counts times the class's size (large blocks: whole pages, counted by
 * themselves).
 *
 * The debug modes count in the same way (memdebug.c). MemStats is made of these and of other layers' figures
 * (debug/memstats.c), and heapcheck.c checks what they are made of.
 *
 * Lock: the GIL.
 */
#include "mem/heap.h"

uint64_t
sum_bytes(const uint64_t *counts, uint64_t large)
{
    uint64_t sum = large;
    for (unsigned c = 1; c < NUM_CLASSES; c++)
        sum += counts[c] * class_size[c];
    return sum;
}

uint64_t
sum_blocks(const uint64_t *counts)
{
    uint64_t n = 0;
    for (unsigned c = 0; c < NUM_CLASSES; c++)
        n += counts[c];
    return n;
}

uint64_t
total_alloc_now(void)
{
    return sum_bytes(cache.mallocs, cache.large_alloc);
}

uint64_t
heap_alloc_now(void)
{
    return total_alloc_now() - sum_bytes(cache.frees, cache.large_free);
}

uint64_t
heap_blocks_now(void)
{
    return sum_blocks(cache.mallocs) - sum_blocks(cache.frees);
}

/* -- for Python ------------------------------------------------------------------------------- */

static PyObject *
install_heap_(PyObject *mod, PyObject *args, PyObject *kw)
{
    (void)mod;
    static char *names[] = {"allocfreetrace", "clobberfree", "efence", "sbrk", NULL};
    int trace = 0, clobber = 0, fence = 0, sbrk = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kw, "|$pppp:install_heap", names, &trace, &clobber, &fence, &sbrk))
        return NULL;
    const char *why = heap_install((trace ? ModeAllocFreeTrace : 0) | (clobber ? ModeClobberFree : 0) |
                                   (fence ? ModeEfence : 0) | (sbrk ? ModeSbrk : 0));
    if (why)
        return PyUnicode_FromString(why);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"install_heap", (PyCFunction)(void (*)(void))install_heap_, METH_VARARGS | METH_KEYWORDS,
     "install_heap(*, allocfreetrace=False, clobberfree=False, efence=False, sbrk=False)\n--\n\n"
     "CPython's objects come from gort's heap from now on, in these debug modes; returns None or why not."},
    {NULL, NULL, 0, NULL},
};

int
gort_mstats_init(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
