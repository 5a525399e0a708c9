/* Fails writes of a process and of its children, as a disk does that is full from one write on.

   cc -shared -fPIC -O2 shim.c -o shim.so -ldl
   LD_PRELOAD=shim.so FAULT_UNDER=/folder FAULT_STATE=/file FAULT_AT=3 COMMAND

   Counted are write, writev, pwrite and fwrite to regular files below FAULT_UNDER, and calls that
   make a file, a folder or a link there. Number FAULT_AT and all later ones fail with ENOSPC; with
   FAULT_AT=0 none fails. With FAULT_KILL=1 the process dies in place of the failure, half of the
   bytes written. FAULT_STATE is a file of 8 bytes that the processes share: the count. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static volatile uint64_t *count;
static uint64_t at;
static int deadly;
static const char *under;
static size_t under_length;

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

__attribute__((constructor)) static void begin(void) {
    const char *state = getenv("FAULT_STATE"), *number = getenv("FAULT_AT");
    under = getenv("FAULT_UNDER");
    if (!state || !under) return;
    under_length = strlen(under);
    at = number ? strtoull(number, NULL, 10) : 0;
    deadly = getenv("FAULT_KILL") != NULL;
    int descriptor = REAL(open)(state, O_RDWR | O_CREAT, 0600);
    if (descriptor < 0) return;
    if (ftruncate(descriptor, 8) == 0) {
        void *shared = mmap(NULL, 8, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
        if (shared != MAP_FAILED) count = shared;
    }
    close(descriptor);
}

static int is_under(const char *path) {
    return !strncmp(path, under, under_length) && (path[under_length] == '/' || !path[under_length]);
}

/* Returns 1 if this call is to fail. */
static int fails(void) {
    uint64_t number = __sync_add_and_fetch(count, 1);
    return at && number >= at;
}

static int full(int descriptor) {
    struct stat about;
    char link[64], path[PATH_MAX];
    int before = errno;
    if (!count || fstat(descriptor, &about) || !S_ISREG(about.st_mode)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = before;
    if (length < 0) return 0;
    path[length] = 0;
    return is_under(path) && fails();
}

static int full_at(int folder, const char *path) {
    char whole[PATH_MAX * 2], link[64];
    int before = errno;
    if (!count || !path) return 0;
    if (path[0] == '/') {
        snprintf(whole, sizeof whole, "%s", path);
    } else {
        char base[PATH_MAX];
        ssize_t length;
        snprintf(link, sizeof link, folder == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", folder);
        length = readlink(link, base, sizeof base - 1);
        errno = before;
        if (length < 0) return 0;
        base[length] = 0;
        snprintf(whole, sizeof whole, "%s/%s", base, path);
    }
    return is_under(whole) && fails();
}

static int no_space(void) {
    if (deadly) raise(SIGKILL);
    errno = ENOSPC;
    return -1;
}

ssize_t write(int descriptor, const void *data, size_t size) {
    if (full(descriptor)) {
        if (deadly) REAL(write)(descriptor, data, size / 2);
        return no_space();
    }
    return REAL(write)(descriptor, data, size);
}

ssize_t writev(int descriptor, const struct iovec *parts, int number) {
    if (full(descriptor)) {
        if (deadly && number) REAL(write)(descriptor, parts[0].iov_base, parts[0].iov_len / 2);
        return no_space();
    }
    return REAL(writev)(descriptor, parts, number);
}

ssize_t pwrite(int descriptor, const void *data, size_t size, off_t place) {
    if (full(descriptor)) {
        if (deadly) REAL(pwrite)(descriptor, data, size / 2, place);
        return no_space();
    }
    return REAL(pwrite)(descriptor, data, size, place);
}

ssize_t pwrite64(int descriptor, const void *data, size_t size, off64_t place) {
    if (full(descriptor)) {
        if (deadly) REAL(pwrite64)(descriptor, data, size / 2, place);
        return no_space();
    }
    return REAL(pwrite64)(descriptor, data, size, place);
}

size_t fwrite(const void *data, size_t size, size_t number, FILE *stream) {
    int descriptor = fileno(stream);
    if (descriptor >= 0 && full(descriptor)) {
        no_space();
        return 0;
    }
    return REAL(fwrite)(data, size, number, stream);
}

ssize_t copy_file_range(int from, off64_t *a, int to, off64_t *b, size_t size, unsigned int flags) {
    return full(to) ? no_space() : REAL(copy_file_range)(from, a, to, b, size, flags);
}

ssize_t sendfile(int to, int from, off_t *place, size_t size);
ssize_t sendfile(int to, int from, off_t *place, size_t size) {
    return full(to) ? no_space() : REAL(sendfile)(to, from, place, size);
}

static int makes(int flags) { return flags & (O_CREAT | O_TRUNC) || (flags & O_TMPFILE) == O_TMPFILE; }

#define OPEN(name)                                                                     \
    int name(const char *path, int flags, ...) {                                       \
        va_list rest;                                                                  \
        va_start(rest, flags);                                                         \
        mode_t mode = va_arg(rest, mode_t);                                            \
        va_end(rest);                                                                  \
        if (makes(flags) && full_at(AT_FDCWD, path)) return no_space();                \
        return REAL(name)(path, flags, mode);                                          \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                   \
    int name(int folder, const char *path, int flags, ...) {                           \
        va_list rest;                                                                  \
        va_start(rest, flags);                                                         \
        mode_t mode = va_arg(rest, mode_t);                                            \
        va_end(rest);                                                                  \
        if (makes(flags) && full_at(folder, path)) return no_space();                  \
        return REAL(name)(folder, path, flags, mode);                                  \
    }
OPENAT(openat)
OPENAT(openat64)

int mkdir(const char *path, mode_t mode) {
    return full_at(AT_FDCWD, path) ? no_space() : REAL(mkdir)(path, mode);
}

int link(const char *from, const char *to) {
    return full_at(AT_FDCWD, to) ? no_space() : REAL(link)(from, to);
}

int linkat(int a, const char *from, int b, const char *to, int flags) {
    return full_at(b, to) ? no_space() : REAL(linkat)(a, from, b, to, flags);
}

int rename(const char *from, const char *to) {
    if (full_at(AT_FDCWD, to)) return no_space();
    return REAL(rename)(from, to);
}
