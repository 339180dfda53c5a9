/* throw.c: the end of a process whose invariants do not hold.
 *
 * Any thread, whatever locks it holds: it writes one line and aborts. No dump is written here, since what a
 * dump would walk may be what is broken. The handler of SIGABRT writes what it can (stacks/signal.c).
 *
 * Differs from Go, whose throw writes the stacks itself.
 */
#include "os/throw.h"

#include "os/os.h"

#include <stdlib.h>

_Noreturn void throw(const char *text)
{
    fatal_printf("fatal error: %s\n", text);
    abort();
}
