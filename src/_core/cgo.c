#include "traceback.h"
PyCodeObject *cgo_callback_code;
void
cgo_print_context(out *o, g *gp, int nth)
{
    (void)o, (void)gp, (void)nth;
}
void
cgo_print_signal(out *o, void *ucontext)
{
    (void)o, (void)ucontext;
}
