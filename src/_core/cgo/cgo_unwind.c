/* cgo_unwind.c: gort's own traceback, context and symbolizer functions (runtime.SetCgoTraceback).
 *
 *     context     the registers of the place from which Python is called back
 *     traceback   from there, or from where a signal came, libgcc's unwinder walks the stack
 *     symbolizer  names from the symbol tables by dladdr; with libdw of elfutils also static and inlined
 *                 functions, files and lines, of programs and libraries with debug information
 *
 * Which frames. A stack of C code that Python called and that calls back looks like this, innermost first:
 *
 *     gort, interpreter, ctypes, libffi | the program's C code | libffi, ctypes, interpreter, gort ...
 *
 * The middle is what is wanted. The others are known by the loaded object that they are in ("glue", found by
 * cgo_find_glue). The walk ends at the latest where the frame of the enclosing call is (cgoframe), so that C
 * code of an outer callback is never taken for that of an inner one.
 *
 * Why not backtrace() of libc: it begins here and nowhere else. _Unwind_Backtrace does too, but calling it in
 * a frame whose CFI names other registers as its caller's (gort_unwind_from) makes it begin anywhere, on
 * other stacks also. Why not libunwind or libbacktrace: neither is on every machine; libgcc is, because it
 * belongs to the compiler.
 *
 * Signals. The context and traceback functions use nothing that is not async-signal-safe with glibc 2.35 or
 * later, where libgcc finds the unwind tables without a lock (context allocates, but is not called in
 * handlers). libdw allocates: if the thread is in a signal handler that interrupted libc or the dynamic
 * linker, which may hold the lock of malloc or of the list of objects, the symbolizer does without
 * (may_allocate). dladdr takes only a recursive lock. libdw also has frames of hundreds of kilobytes, for
 * which neither a signal stack nor every goroutine's is large enough: it has a stack of its own.
 *
 * Differs from Go, which has no such functions of its own; programs link a package that sets them. On aarch64
 * the stack below a signal is not walked (unwind_arm64.S); Go passes signals to the traceback function on
 * amd64, and not on arm64.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "cgo/cgo.h"

#include "os/arch/arch.h"
#include "os/os.h"

#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <unwind.h>

/* -- loaded objects ---------------------------------------------------------------------------- */

typedef struct {
    uintptr_t lo, hi;
} range;

static inline bool
within(const range *r, uintptr_t a)
{
    return a >= r->lo && a < r->hi;
}

#define MAX_GLUE 16
static range glue[MAX_GLUE];
static _Atomic int nglue; /* grows; signal handlers read it */
static range python;      /* the one of them that is the interpreter */
static range libc[3];     /* libc, the dynamic linker, and the library of malloc */

static range
extent(const struct dl_phdr_info *info)
{
    range r = {UINTPTR_MAX, 0};
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
        if (ph->p_type != PT_LOAD)
            continue;
        uintptr_t lo = info->dlpi_addr + ph->p_vaddr, hi = lo + ph->p_memsz;
        r.lo = lo < r.lo ? lo : r.lo;
        r.hi = hi > r.hi ? hi : r.hi;
    }
    return r;
}

static int
look_at_object(struct dl_phdr_info *info, size_t size, void *unused)
{
    (void)size, (void)unused;
    static const char *const names[] = {"_ctypes.", "libffi", "_cffi_backend."};
    range r = extent(info);
    const char *name = strrchr(info->dlpi_name, '/');
    name = name ? name + 1 : info->dlpi_name;
    if (within(&r, (uintptr_t)getpid))
        libc[0] = r;
    if (strncmp(name, "ld-linux", 8) == 0)
        libc[1] = r;
    if (within(&r, (uintptr_t)malloc))
        libc[2] = r;
    if (within(&r, (uintptr_t)PyObject_Call))
        python = r;
    bool is = within(&r, (uintptr_t)PyObject_Call) || within(&r, (uintptr_t)cgo_find_glue);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        is |= strncmp(name, names[i], strlen(names[i])) == 0;
    int n = nglue;
    for (int i = 0; i < n; i++)
        is &= glue[i].lo != r.lo;
    if (is && n < MAX_GLUE) {
        glue[n] = r;
        nglue = n + 1;
    }
    return 0;
}

void
cgo_find_glue(void)
{
    dl_iterate_phdr(look_at_object, NULL);
}

static bool
is_glue(uintptr_t pc)
{
    for (int i = 0; i < nglue; i++) {
        if (within(&glue[i], pc))
            return true;
    }
    return false;
}

static bool
in_libc(uintptr_t pc)
{
    return within(&libc[0], pc) || within(&libc[1], pc) || within(&libc[2], pc);
}

/* -- context ----------------------------------------------------------------------------------- */

typedef struct {
    registers regs;
    uintptr_t
        end; /* address of the enclosing call's frame: higher ones are not its callees'. 0: there is none */
} place;

/* Called by cgo_unwind_context. */
__attribute__((used, visibility("hidden"))) void
cgo_record_context(cgo_context_arg *arg, const registers *regs)
{
    if (arg->Context) {
        free((place *)arg->Context);
        return;
    }
    place *pl = malloc(sizeof *pl);
    if (pl)
        *pl = (place){*regs, (uintptr_t)cgo_innermost()};
    arg->Context = (uintptr_t)pl;
}

/* -- traceback --------------------------------------------------------------------------------- */

#define MAX_GLUE_FRAMES 1000 /* before the first frame that is wanted: an interpreter that recurses in C */

typedef struct {
    uintptr_t *buf, n, max, end;
    bool arrived; /* behind gort_unwind_from, at the place to begin from */
    /* so far; if the interpreter called it, it is not the program's: a wait for the GIL, say */
    bool only_libc;
    int skipped;
} walk;

static uintptr_t
call_pc(struct _Unwind_Context *frame)
{
    int before = 0; /* the frame of an interrupted function: its pc is not a return address */
    uintptr_t pc = _Unwind_GetIPInfo(frame, &before);
    return before ? pc : pc - 1;
}

static _Unwind_Reason_Code
step(struct _Unwind_Context *frame, void *arg)
{
    walk *w = arg;
    uintptr_t pc = call_pc(frame);
    if (!w->arrived) {
        w->arrived = pc >= (uintptr_t)gort_unwind_from && pc < (uintptr_t)gort_unwind_from_end;
        return _URC_NO_REASON;
    }
    if (w->n == w->max || pc + 1 < 4096 || (w->end && _Unwind_GetCFA(frame) > w->end))
        return _URC_END_OF_STACK;
    if (is_glue(pc)) {
        if (w->n > 0 && w->only_libc && within(&python, pc))
            w->n = 0;
        if (w->n > 0 || ++w->skipped > MAX_GLUE_FRAMES)
            return _URC_END_OF_STACK;
    }
    else {
        w->only_libc = (w->n == 0 || w->only_libc) && in_libc(pc);
        w->buf[w->n++] = pc;
    }
    return _URC_NO_REASON;
}

static void
walk_stack(void *w)
{
    _Unwind_Backtrace(step, w);
}

void
cgo_unwind_traceback(cgo_traceback_arg *arg)
{
    walk w = {.buf = arg->Buf, .max = arg->Max};
    cgoframe *f = cgo_innermost();
    if (arg->Context) {
        const place *pl = (const place *)arg->Context;
        w.end = pl->end;
        gort_unwind_from(&pl->regs, walk_stack, &w);
    }
    else if (arg->SigContext) {
        registers regs;
        ucontext_registers((const void *)arg->SigContext, &regs);
        w.end = (uintptr_t)f;
        if (ARCH_UNWINDS_SIGNALS)
            gort_unwind_from(&regs, walk_stack, &w);
        else if (!is_glue(regs.pc) && w.max > 0)
            w.buf[w.n++] = regs.pc;
    }
    else {
        w.end = (uintptr_t)f;
        w.arrived = true;
        walk_stack(&w);
    }
    if (w.n < w.max)
        w.buf[w.n] = 0;
}

/* -- libdw ------------------------------------------------------------------------------------- */

/* The part of elfutils' interface that is used: its headers need not be installed. */
typedef struct Dwfl Dwfl;
typedef struct Dwfl_Module Dwfl_Module;
typedef struct Dwfl_Line Dwfl_Line;
typedef struct Dwarf_Files Dwarf_Files;
typedef struct {
    void *addr, *cu, *abbrev;
    long padding;
} Dwarf_Die;
typedef struct {
    unsigned code, form;
    unsigned char *value;
    void *cu;
} Dwarf_Attribute;
typedef struct {
    void *find_elf, *find_debuginfo, *section_address;
    char **debuginfo_path;
} Dwfl_Callbacks;
enum { DW_TAG_inlined_subroutine = 0x1d, DW_AT_call_file = 0x58, DW_AT_call_line = 0x59 };

#define LIBDW(X)                                                                                             \
    X(Dwfl *, dwfl_begin, (const Dwfl_Callbacks *))                                                          \
    X(int, dwfl_linux_proc_report, (Dwfl *, pid_t))                                                          \
    X(void, dwfl_report_begin, (Dwfl *))                                                                     \
    X(int, dwfl_report_end, (Dwfl *, void *, void *))                                                        \
    X(Dwfl_Module *, dwfl_addrmodule, (Dwfl *, uint64_t))                                                    \
    X(const char *, dwfl_module_addrname, (Dwfl_Module *, uint64_t))                                         \
    X(Dwfl_Line *, dwfl_module_getsrc, (Dwfl_Module *, uint64_t))                                            \
    X(const char *, dwfl_lineinfo, (Dwfl_Line *, uint64_t *, int *, int *, uint64_t *, uint64_t *))          \
    X(Dwarf_Die *, dwfl_module_addrdie, (Dwfl_Module *, uint64_t, uint64_t *))                               \
    X(int, dwarf_getscopes, (Dwarf_Die *, uint64_t, Dwarf_Die **))                                           \
    X(int, dwarf_getscopes_die, (Dwarf_Die *, Dwarf_Die **))                                                 \
    X(int, dwarf_tag, (Dwarf_Die *))                                                                         \
    X(const char *, dwarf_diename, (Dwarf_Die *))                                                            \
    X(Dwarf_Attribute *, dwarf_attr, (Dwarf_Die *, unsigned, Dwarf_Attribute *))                             \
    X(int, dwarf_formudata, (Dwarf_Attribute *, uint64_t *))                                                 \
    X(int, dwarf_getsrcfiles, (Dwarf_Die *, Dwarf_Files **, size_t *))                                       \
    X(const char *, dwarf_filesrc, (Dwarf_Files *, size_t, uint64_t *, uint64_t *))

#define X(type, name, parameters) static type(*name) parameters;
LIBDW(X)
#undef X

#define LIBDW_STACK (2UL << 20)

static Dwfl *dwfl;                        /* NULL: no libdw */
static char *libdw_stack;                 /* its low end */
static unsigned long long modules_loaded; /* as of the last report to dwfl */

bool
cgo_unwind_init(const char *libdw)
{
    if (dwfl)
        return true;
    void *lib = dlopen(libdw, RTLD_NOW | RTLD_LOCAL);
    if (!lib)
        return false;
#define X(type, name, parameters)                                                                            \
    name = (type(*) parameters)dlsym(lib, #name);                                                            \
    if (!name)                                                                                               \
        return false;
    LIBDW(X)
#undef X
    static char *path; /* the default one */
    static Dwfl_Callbacks callbacks;
    callbacks.find_elf = dlsym(lib, "dwfl_linux_proc_find_elf");
    /* looks for debug files on this machine; dwfl_standard_find_debuginfo may ask servers, and wait for
     * them */
    callbacks.find_debuginfo = dlsym(lib, "dwfl_build_id_find_debuginfo");
    callbacks.debuginfo_path = &path;
    libdw_stack = mem_reserve(LIBDW_STACK);
    if (libdw_stack && callbacks.find_elf && callbacks.find_debuginfo) {
        mem_guard(libdw_stack, 4096);
        dwfl = dwfl_begin(&callbacks);
    }
    return dwfl != NULL;
}

static int
count_loads(struct dl_phdr_info *info, size_t size, void *out)
{
    (void)size;
    *(unsigned long long *)out = info->dlpi_adds + info->dlpi_subs;
    return 1;
}

/* -- symbolizer -------------------------------------------------------------------------------- */

/* One traceback that is being turned into text: arg->Data between its first call and that with PC 0. */
typedef struct {
    atomic_flag taken;
    bool use_libdw, reported;
    uintptr_t pc;
    struct {
        const char *func, *file;
        int line;
    } at[16]; /* the functions at this PC: inlined ones and the one that they are in */
    int n, next;
    char object[512]; /* object+offset */
} work;

static work works[4];
static atomic_flag libdw_taken = ATOMIC_FLAG_INIT;

static _Unwind_Reason_Code
find_interrupted(struct _Unwind_Context *frame, void *arg)
{
    int before = 0;
    uintptr_t pc = _Unwind_GetIPInfo(frame, &before);
    if (!before)
        return _URC_NO_REASON;
    *(uintptr_t *)arg = pc;
    return _URC_END_OF_STACK;
}

/* False in a signal handler that interrupted code which may hold a lock that malloc or libdw wants. A thread
 * that is interrupted inside of malloc is in libc at that moment, or in the kernel on its behalf. */
static bool
may_allocate(void)
{
    uintptr_t pc = 0;
    _Unwind_Backtrace(find_interrupted, &pc);
    return !pc || !in_libc(pc);
}

static work *
take_work(void)
{
    for (size_t i = 0; i < sizeof works / sizeof *works; i++) {
        work *k = &works[i];
        if (atomic_flag_test_and_set(&k->taken))
            continue;
        k->use_libdw = dwfl && may_allocate() && !atomic_flag_test_and_set(&libdw_taken);
        k->reported = false;
        return k;
    }
    return NULL;
}

static void
release_work(work *k)
{
    if (k->use_libdw)
        atomic_flag_clear(&libdw_taken);
    atomic_flag_clear(&k->taken);
}

static void
add(work *k, const char *func, const char *file, int line)
{
    if (k->n == sizeof k->at / sizeof *k->at)
        return;
    k->at[k->n].func = func;
    k->at[k->n].file = file;
    k->at[k->n++].line = line;
}

/* The functions that are inlined at pc, innermost first, before the one that holds the code. *file and *line
 * are where the innermost is and become where the outermost is called. */
static void
add_inlined(work *k, Dwfl_Module *mod, uintptr_t pc, const char **file, int *line)
{
    uint64_t bias;
    Dwarf_Die *unit = dwfl_module_addrdie(mod, pc, &bias), *scopes = NULL, *outer = NULL;
    int n = unit ? dwarf_getscopes(unit, pc - bias, &scopes) : 0;
    /* the scopes around an inlined function are those of its definition, but those of the place that it is
     * inlined at are wanted */
    if (n > 0)
        n = dwarf_getscopes_die(&scopes[0], &outer);
    Dwarf_Files *files = NULL;
    size_t nfiles;
    if (n > 0)
        dwarf_getsrcfiles(unit, &files, &nfiles);
    for (int i = 0; i < n; i++) {
        if (dwarf_tag(&outer[i]) != DW_TAG_inlined_subroutine)
            continue;
        add(k, dwarf_diename(&outer[i]), *file, *line);
        Dwarf_Attribute attr;
        uint64_t v;
        *file = NULL;
        *line = 0;
        if (files && dwarf_formudata(dwarf_attr(&outer[i], DW_AT_call_file, &attr), &v) == 0)
            *file = dwarf_filesrc(files, v, NULL, NULL);
        if (dwarf_formudata(dwarf_attr(&outer[i], DW_AT_call_line, &attr), &v) == 0)
            *line = (int)v;
    }
    free(scopes);
    free(outer);
}

/* What libdw knows of k->pc goes to k->at. On libdw_stack. */
static void
ask_libdw(void *arg)
{
    work *k = arg;
    uintptr_t pc = k->pc;
    if (!k->reported) {
        unsigned long long loads = 0;
        dl_iterate_phdr(count_loads, &loads);
        if (loads != modules_loaded) {
            dwfl_report_begin(dwfl);
            dwfl_linux_proc_report(dwfl, getpid());
            dwfl_report_end(dwfl, NULL, NULL);
            modules_loaded = loads;
        }
        k->reported = true;
    }
    Dwfl_Module *mod = dwfl_addrmodule(dwfl, pc);
    if (!mod)
        return;
    const char *file = NULL;
    int line = 0;
    Dwfl_Line *src = dwfl_module_getsrc(mod, pc);
    if (src)
        file = dwfl_lineinfo(src, NULL, &line, NULL, NULL, NULL);
    if (file)
        add_inlined(k, mod, pc, &file, &line);
    const char *name = dwfl_module_addrname(mod, pc);
    if (name || file)
        add(k, name, file, line);
}

static void
look_up(work *k, cgo_symbolizer_arg *arg)
{
    k->n = k->next = 0;
    Dl_info info = {0};
    bool known = dladdr((void *)arg->PC, &info) != 0;
    arg->Entry = (uintptr_t)info.dli_saddr;
    k->pc = arg->PC;
    if (k->use_libdw)
        gort_call_on(libdw_stack + LIBDW_STACK, ask_libdw, k);
    if (k->n == 0)
        add(k, info.dli_sname, NULL, 0);
    k->object[0] = 0;
    if (known && info.dli_fname)
        snprintf(k->object, sizeof k->object, "%s+0x%lx", info.dli_fname,
                 (unsigned long)(arg->PC - (uintptr_t)info.dli_fbase));
    for (int i = 0; i < k->n; i++) {
        if (!k->at[i].file && k->object[0]) {
            k->at[i].file = k->object;
            k->at[i].line = 0;
        }
    }
}

void
cgo_unwind_symbolizer(cgo_symbolizer_arg *arg)
{
    work *k = (work *)arg->Data;
    if (arg->PC == 0) {
        if (k)
            release_work(k);
        arg->Data = 0;
        return;
    }
    if (!k) {
        k = take_work();
        if (!k) { /* more at once than there should be: handlers that interrupt each other */
            Dl_info info = {0};
            dladdr((void *)arg->PC, &info);
            arg->Func = info.dli_sname;
            arg->File = info.dli_fname;
            arg->Lineno = arg->More = 0;
            return;
        }
        arg->Data = (uintptr_t)k;
    }
    if (!arg->More)
        look_up(k, arg);
    arg->Func = k->at[k->next].func;
    arg->File = k->at[k->next].file;
    arg->Lineno = (uintptr_t)k->at[k->next].line;
    arg->More = ++k->next < k->n;
}
