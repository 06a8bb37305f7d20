/* Lets both clocks of one program go ahead together: the file that SOAK_CLOCK names holds by how many nanoseconds. A leap then
 * looks to the program like time that has passed. Behind it the file tells, where SOAK_WEIGHED is set, how many bytes of the program's
 * memory are in use: from outside that is hidden by what the allocator keeps for later. Loaded by LD_PRELOAD; Linux with glibc, 64 bits. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL

static _Atomic int64_t nothing;
static _Atomic int64_t *ahead = &nothing;
static int (*real_clock)(clockid_t, struct timespec *);
static long (*real_syscall)(long, ...);

static void find(void) {
    real_clock = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    real_syscall = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
}

static void *weigh(void *page) {
    for (;;) {
        struct mallinfo2 all = mallinfo2();
        atomic_store((_Atomic int64_t *)page + 1, (int64_t)(all.uordblks + all.hblkhd));
        sleep(5);
    }
    return NULL;
}

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("SOAK_CLOCK");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    pthread_t thread;
    if (!real_clock) find();
    if (file < 0) return;
    void *page = mmap(NULL, 2 * sizeof(int64_t), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (page == MAP_FAILED) return;
    ahead = page;
    if (getenv("SOAK_WEIGHED")) pthread_create(&thread, NULL, weigh, page);
}

static void move(struct timespec *at, int64_t by) {
    int64_t all = at->tv_nsec + by % SECOND;
    at->tv_sec += by / SECOND + (all >= SECOND) - (all < 0);
    at->tv_nsec = all >= SECOND ? all - SECOND : all < 0 ? all + SECOND : all;
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    if (!real_clock) find();
    int failed = real_clock(clock, at);
    /* What a thread has worked is not told by it. */
    if (!failed && clock != CLOCK_PROCESS_CPUTIME_ID && clock != CLOCK_THREAD_CPUTIME_ID && clock >= 0) move(at, *ahead);
    return failed;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *at, void *zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

/* Rust's standard library waits until an instant by its clock, which the kernel must be told in its own. */
long syscall(long number, ...) {
    long with[6];
    va_list rest;
    va_start(rest, number);
    for (int i = 0; i < 6; i++) with[i] = va_arg(rest, long);
    va_end(rest);
    if (!real_syscall) find();
    struct timespec until;
    if (number == SYS_futex && (with[1] & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET && with[3]) {
        until = *(const struct timespec *)with[3];
        move(&until, -*ahead);
        if (until.tv_sec < 0) until.tv_sec = until.tv_nsec = 0;
        with[3] = (long)&until;
    }
    return real_syscall(number, with[0], with[1], with[2], with[3], with[4], with[5]);
}
