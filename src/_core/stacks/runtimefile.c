/* runtimefile.c: which files are the runtime's, so that tracebacks of the program leave their frames out.
 *
 * These are gort's own files, runpy and the interpreter's bootstrap. Names are compared as they are stored,
 * whatever characters gort's folder is called by, and in a signal handler without the interpreter
 * (`careful`).
 *
 * Differs from Go, which goes by the package of a function.
 */
#include "stacks/traceback.h"

#include "cpython/compat.h"
#include "os/os.h"

#include <string.h>

/* Set once, by set_runtime_files, and never freed: a signal handler may look at any time. */
static PyObject *runtime_folder; /* gort's own, with a slash at the end */
static PyObject *launcher_file;  /* that of `gort run`'s main function */
static const char *const bootstrap[] = {"<frozen runpy>", "<frozen importlib._bootstrap>",
                                        "<frozen importlib._bootstrap_external>"};

/* A str as it is stored. */
typedef struct {
    int kind; /* bytes of a character */
    const char *data;
    size_t size;  /* in bytes */
    size_t there; /* how many of them can be looked at: careful, no more than were copied */
    char copy[512];
} text;

static bool
text_load(text *t, PyObject *s, bool careful)
{
    Py_ssize_t length;
    t->kind = s ? str_data(s, &t->data, &length, careful) : 0;
    if (!t->kind)
        return false;
    t->size = t->there = (size_t)length * (size_t)t->kind;
    if (careful) {
        if (t->there > sizeof t->copy)
            t->there = sizeof t->copy;
        if (!mem_read(t->copy, t->data, t->there))
            return false;
        t->data = t->copy;
    }
    return true;
}

/* As many bytes a character, too: what goes on in ASCII has no more of them. */
static bool
starts_with(const text *t, PyObject *prefix)
{
    const char *data;
    Py_ssize_t length;
    int kind = prefix ? str_data(prefix, &data, &length, TRUSTING) : 0;
    size_t size = (size_t)length * (size_t)kind;
    return kind && kind == t->kind && size <= t->there && memcmp(t->data, data, size) == 0;
}

bool
is_runtime_file(PyObject *file, bool careful)
{
    text t;
    if (!text_load(&t, file, careful))
        return false;
    for (size_t i = 0; i < sizeof bootstrap / sizeof *bootstrap; i++) {
        if (t.kind == 1 && t.size == strlen(bootstrap[i]) && memcmp(t.data, bootstrap[i], t.size) == 0)
            return true;
    }
    return starts_with(&t, runtime_folder);
}

bool
is_launcher_file(PyObject *file, bool careful)
{
    text t;
    return text_load(&t, file, careful) && starts_with(&t, launcher_file) &&
           t.size == (size_t)PyUnicode_GET_LENGTH(launcher_file) * (size_t)t.kind;
}

/* -- for Python ------------------------------------------------------------------------------------- */

static PyObject *
set_runtime_files_(PyObject *mod, PyObject *args)
{
    (void)mod;
    PyObject *folder, *launcher;
    if (!PyArg_ParseTuple(args, "UU:set_runtime_files", &folder, &launcher))
        return NULL;
    if (!runtime_folder) {
        launcher_file = Py_NewRef(launcher);
        runtime_folder = Py_NewRef(folder);
    }
    Py_RETURN_NONE;
}

static PyObject *
is_runtime_file_(PyObject *mod, PyObject *file)
{
    (void)mod;
    return PyBool_FromLong(is_runtime_file(file, false));
}

static PyObject *
is_launcher_file_(PyObject *mod, PyObject *file)
{
    (void)mod;
    return PyBool_FromLong(is_launcher_file(file, false));
}

static PyMethodDef functions[] = {
    {"set_runtime_files", set_runtime_files_, METH_VARARGS,
     "set_runtime_files(folder, launcher, /)\n--\n\n"
     "Sets the folder of the runtime's own files, and which of them launches programs.\n\n"
     "Later calls change nothing."},
    {"is_runtime_file", is_runtime_file_, METH_O,
     "is_runtime_file(filename, /)\n--\n\nTrue for files whose frames are the runtime's, not the program's."},
    {"is_launcher_file", is_launcher_file_, METH_O,
     "is_launcher_file(filename, /)\n--\n\n"
     "True for the file of `gort run`: frames below its own are not the program's either."},
    {NULL, NULL, 0, NULL},
};

int
gort_runtimefile_init(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
