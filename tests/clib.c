/* C code for the tests: what a C extension might do to a goroutine. Called through ctypes. */

#include <alloca.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int (*callback)(int);

/* Uses about `bytes` of C stack in frames of 16 KiB, touching each page; the sum keeps the frames alive. */
long burn_stack(long bytes) {
    volatile char *block = alloca(16384);
    for (int i = 0; i < 16384; i += 4096)
        block[i] = (char)bytes;
    return bytes > 16384 ? burn_stack(bytes - 16384) + block[4096] : block[0];
}

/* Recursion without end: only the stack's own limit stops it. */
long burn_all(long depth) {
    volatile char *block = alloca(4096);
    block[0] = (char)depth;
    return burn_all(depth + 1) + block[0];
}

int call(callback fn, int n) { return fn(n); }

/* Calls back after the caller slept without the interpreter. */
int call_after(callback fn, int n, unsigned microseconds) {
    usleep(microseconds);
    return fn(n);
}

struct task {
    callback fn;
    int n;
    int times;
    int sum;
};

static void *run_task(void *arg) {
    struct task *task = arg;
    for (int i = 0; i < task->times; i++)
        task->sum += task->fn(task->n + i);
    return NULL;
}

/* Calls fn(n) ... fn(n + times - 1) on a thread that Python has never seen; returns the sum. */
int call_on_thread(callback fn, int n, int times) {
    pthread_t thread;
    struct task task = {fn, n, times, 0};
    if (pthread_create(&thread, NULL, run_task, &task))
        return -1;
    pthread_join(thread, NULL);
    return task.sum;
}

/* Starts such a thread and does not wait for it. */
int start_thread(callback fn, int n, int times) {
    pthread_t thread;
    struct task *task = malloc(sizeof *task);
    *task = (struct task){fn, n, times, 0};
    if (pthread_create(&thread, NULL, run_task, task))
        return -1;
    return pthread_detach(thread);
}

void sleep_us(unsigned microseconds) { usleep(microseconds); }

/* C code that never comes back: through ctypes.PyDLL it keeps the interpreter to itself. */
void spin(void) {
    for (volatile int i = 0;; i++)
        ;
}

int divide(int a, int b) { return a / b; }
