/* Loaded before libc: new threads begin 50 ms late. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

struct job {
    void *(*fn)(void *);
    void *arg;
};

static void *late(void *arg) {
    struct job job = *(struct job *)arg;
    free(arg);
    usleep(50000);
    return job.fn(job.arg);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg) {
    int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) =
        dlsym(RTLD_NEXT, "pthread_create");
    struct job *job = malloc(sizeof *job);
    *job = (struct job){fn, arg};
    return create(thread, attr, late, job);
}
