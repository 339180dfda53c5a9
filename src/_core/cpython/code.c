/* code.c: code objects: what they are called, which line an instruction is of, and one pointer of ours in
 * each.
 *
 * Invariants
 *   1. With care, as in frame.c, nothing is followed that was not looked at first. A table that changes
 *      meanwhile gives a wrong line or none.
 *   2. `freed` (code_extra_init) is called when a code object dies, with what code_set_extra gave it. NULL:
 *      only another module has used the object's slots.
 *
 * Without care: with the GIL. With it: any thread at any time.
 *
 * Rejected: PyCode_Addr2Line with care, since it follows the table wherever it leads; and a table of our own
 * from code to pointer, which would have to be told of each code object's death, and would be searched at
 * each profiled call.
 *
 * Versions. All alike: the format of the location table (Objects/locations.md, PEP 657) and the slots of
 * co_extra (PEP 523). CPython may be moving the latter whenever another module gets a slot.
 */
#include "cpython/internal.h"

bool
code_look(codeview *v, PyCodeObject *code, enum care care)
{
    PyCodeObject copy;
    const PyCodeObject *c = look(code, &copy, sizeof copy, care);
    if (!c || (care && !is_code(c)))
        return false;
    *v = (codeview){code, c->co_filename, c->co_qualname, c->co_linetable, c->co_firstlineno};
    return true;
}

/* Reads a table a piece at a time. */
typedef struct {
    const uint8_t *at, *end; /* what has not been read yet */
    const uint8_t *next;
    unsigned n; /* bytes in `piece` from next on */
    enum care care;
    uint8_t piece[256];
} bytereader;

/* The next byte, which stays; -1: there are no more. */
static int
peek_byte(bytereader *r)
{
    if (r->n == 0) {
        size_t k = (size_t)(r->end - r->at) < sizeof r->piece ? (size_t)(r->end - r->at) : sizeof r->piece;
        if (k == 0 || !mem_look(r->piece, r->at, k, r->care))
            return -1;
        r->at += k;
        r->next = r->piece;
        r->n = (unsigned)k;
    }
    return *r->next;
}

static int
take_byte(bytereader *r)
{
    int b = peek_byte(r);
    if (b >= 0)
        r->next++, r->n--;
    return b;
}

/* Six bits a byte, the least significant first, and whether there are more; the sign is the lowest bit. */
static int
take_svarint(bytereader *r)
{
    unsigned v = 0;
    for (int shift = 0; shift < 32; shift += 6) {
        int b = take_byte(r);
        if (b < 0)
            break;
        v |= (unsigned)(b & 63) << shift;
        if (!(b & 64))
            break;
    }
    return v & 1 ? -(int)(v >> 1) : (int)(v >> 1);
}

/* The table of locations (Objects/locations.md of CPython): entries of some code units each, which begin with
 * the only byte that has the highest bit set: 1, 4 bits of kind, 3 bits of length less 1. What changes the
 * line comes right behind. */
static int
find_line(bytereader *r, int line, int lasti)
{
    int end = 0, b;
    while ((b = take_byte(r)) >= 0) {
        int kind = b >> 3 & 15;
        if (kind == PY_CODE_LOCATION_INFO_NO_COLUMNS || kind == PY_CODE_LOCATION_INFO_LONG)
            line += take_svarint(r);
        else if (kind >= PY_CODE_LOCATION_INFO_ONE_LINE0 && kind <= PY_CODE_LOCATION_INFO_ONE_LINE2)
            line += kind - PY_CODE_LOCATION_INFO_ONE_LINE0;
        end += ((b & 7) + 1) * (int)sizeof(_Py_CODEUNIT);
        if (lasti < end)
            return kind == PY_CODE_LOCATION_INFO_NONE ? -1 : line;
        while ((b = peek_byte(r)) >= 0 && !(b & 128))
            take_byte(r);
    }
    return -1;
}

int
code_line(const codeview *v, int lasti, enum care care)
{
    if (!care)
        return PyCode_Addr2Line(v->code, lasti);
    PyBytesObject copy;
    const Py_ssize_t longest = 64 << 20;
    const PyBytesObject *table = look(v->linetable, &copy, sizeof copy, care);
    if (!table || !Py_IS_TYPE((PyObject *)(uintptr_t)table, &PyBytes_Type) || Py_SIZE(table) < 0 ||
        Py_SIZE(table) > longest)
        return -1;
    const uint8_t *at = (const uint8_t *)v->linetable + offsetof(PyBytesObject, ob_sval);
    bytereader r = {.at = at, .end = at + Py_SIZE(table), .care = care};
    return find_line(&r, v->firstline, lasti);
}

static Py_ssize_t extra_index;

int
code_extra_init(void (*freed)(void *))
{
    extra_index = _PyEval_RequestCodeExtraIndex(freed);
    if (extra_index < 0)
        PyErr_SetString(
            PyExc_ImportError,
            "gort needs one of the 255 extra slots of code objects, but other modules use all of them");
    return extra_index < 0 ? -1 : 0;
}

void *
code_extra(PyCodeObject *code)
{
    void *extra = NULL;
    if (_PyCode_GetExtra((PyObject *)code, extra_index, &extra) < 0)
        PyErr_Clear();
    return extra;
}

void *
code_extra_look(PyCodeObject *code, enum care care)
{
    struct { /* as in codeobject.c */
        Py_ssize_t size;
        void *slots[1];
    } head;
    PyCodeObject copy;
    const PyCodeObject *c = look(code, &copy, sizeof copy, care);
    if (!c || !is_code(c) || !c->co_extra || (uintptr_t)c->co_extra % sizeof(void *))
        return NULL;
    const char *at = c->co_extra;
    void *extra;
    return mem_look(&head, at, sizeof head, care) && extra_index < head.size &&
                   mem_look(&extra, at + offsetof(typeof(head), slots) + (size_t)extra_index * sizeof extra,
                            sizeof extra, care)
               ? extra
               : NULL;
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
