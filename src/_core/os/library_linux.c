/* library_linux.c: the shared libraries of the process, as the dynamic linker has loaded them.
 *
 * Invariants
 *   1. A library is named by an address in it. It stays loaded while it is looked at: the caller sees to
 *      that.
 *   2. A word that the loader has made read-only is writable for no longer than it takes to write it.
 *
 * With no lock but the linker's own, which dl_iterate_phdr takes: not in signal handlers.
 *
 * Rejected: dlsym() and dlinfo(), which know what a library offers but not what it imports; LD_PRELOAD, which
 * has to be there before the process is.
 */
#define _GNU_SOURCE 1
#include "os/os.h"

#include <elf.h>
#include <link.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct {
    uintptr_t addr; /* in the library */
    char *tls;
    size_t size;
} tls_search;

/* Has the library a part that is loaded at addr? */
static bool
holds(const struct dl_phdr_info *info, uintptr_t addr)
{
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
        if (ph->p_type == PT_LOAD && addr - (info->dlpi_addr + ph->p_vaddr) < ph->p_memsz)
            return true;
    }
    return false;
}

static int
find_tls(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size;
    tls_search *search = arg;
    if (!holds(info, search->addr))
        return 0;
    search->tls = info->dlpi_tls_data;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        if (info->dlpi_phdr[i].p_type == PT_TLS)
            search->size = info->dlpi_phdr[i].p_memsz;
    }
    return 1;
}

bool
library_tls(const void *addr, char **data, size_t *size)
{
    tls_search search = {.addr = (uintptr_t)addr};
    dl_iterate_phdr(find_tls, &search);
    *data = search.tls;
    *size = search.size;
    return search.tls != NULL;
}

#if defined(__x86_64__)
#define IS_IMPORT(type) ((type) == R_X86_64_JUMP_SLOT || (type) == R_X86_64_GLOB_DAT)
#else
#define IS_IMPORT(type) ((type) == R_AARCH64_JUMP_SLOT || (type) == R_AARCH64_GLOB_DAT)
#endif

typedef struct {
    uintptr_t addr;
    const char *name;
    void *to;
    bool done;
} library_search;

/* Writes *slot, in a page that the loader has made read-only if it lies in the library's RELRO part. */
static bool
write_import(const struct dl_phdr_info *info, void **slot, void *to)
{
    uintptr_t at = (uintptr_t)slot, page = (uintptr_t)sysconf(_SC_PAGESIZE);
    void *start = (void *)(at & ~(page - 1));
    bool readonly = false;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
        /* the loader protects whole pages only */
        if (ph->p_type == PT_GNU_RELRO && at - (info->dlpi_addr + ph->p_vaddr) < ph->p_memsz)
            readonly = ((info->dlpi_addr + ph->p_vaddr + ph->p_memsz) & ~(page - 1)) > at;
    }
    if (readonly && mprotect(start, page, PROT_READ | PROT_WRITE) != 0)
        return false;
    __atomic_store_n(slot, to, __ATOMIC_RELEASE);
    if (readonly)
        mprotect(start, page, PROT_READ);
    return true;
}

static int
redirect_in_library(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size;
    library_search *search = arg;
    const ElfW(Dyn) *dyn = NULL;
    if (!holds(info, search->addr))
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
        if (ph->p_type == PT_DYNAMIC)
            dyn = (const ElfW(Dyn) *)(info->dlpi_addr + ph->p_vaddr);
    }
    if (!dyn)
        return 1;
    uintptr_t rela[2] = {0}, strtab = 0, symtab = 0;
    size_t bytes[2] = {0};
    for (; dyn->d_tag != DT_NULL; dyn++) {
        uintptr_t p = dyn->d_un.d_ptr < info->dlpi_addr ? info->dlpi_addr + dyn->d_un.d_ptr : dyn->d_un.d_ptr;
        if (dyn->d_tag == DT_STRTAB)
            strtab = p;
        else if (dyn->d_tag == DT_SYMTAB)
            symtab = p;
        else if (dyn->d_tag == DT_JMPREL)
            rela[0] = p;
        else if (dyn->d_tag == DT_RELA)
            rela[1] = p;
        else if (dyn->d_tag == DT_PLTRELSZ)
            bytes[0] = dyn->d_un.d_val;
        else if (dyn->d_tag == DT_RELASZ)
            bytes[1] = dyn->d_un.d_val;
    }
    for (int t = 0; t < 2 && strtab && symtab; t++) {
        const ElfW(Rela) *r = (const ElfW(Rela) *)rela[t];
        for (size_t i = 0; r && i < bytes[t] / sizeof *r; i++) {
            const ElfW(Sym) *sym = (const ElfW(Sym) *)symtab + ELF64_R_SYM(r[i].r_info);
            if (IS_IMPORT(ELF64_R_TYPE(r[i].r_info)) && sym->st_shndx == SHN_UNDEF &&
                strcmp((const char *)strtab + sym->st_name, search->name) == 0)
                search->done |= write_import(info, (void **)(info->dlpi_addr + r[i].r_offset), search->to);
        }
    }
    return 1;
}

bool
library_redirect(const void *addr, const char *name, void *to)
{
    library_search search = {.addr = (uintptr_t)addr, .name = name, .to = to};
    dl_iterate_phdr(redirect_in_library, &search);
    return search.done;
}
