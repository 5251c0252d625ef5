/* Sees every change that a process makes to the files of one folder, also changes by libraries that are not written in
 * Python, and kills the process just before a chosen one. Preloaded (LD_PRELOAD) into the server of commands; inactive
 * until `watch_writes` is called. Each change is a line "operation path" in a log. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char root[PATH_MAX];
static size_t root_length;
static int log_file = -1;
static long number, kill_at;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void watch_writes(const char *folder, int log, long kill_before) {
    strncpy(root, folder, sizeof root - 1);
    root_length = strlen(root);
    log_file = log;
    kill_at = kill_before;
}

static void change(const char *operation, const char *path) {
    char line[PATH_MAX + 32];
    if (strncmp(path, root, root_length) || (path[root_length] && path[root_length] != '/')) return;
    pthread_mutex_lock(&lock);
    number++;
    if (kill_at && number >= kill_at) {
        syscall(SYS_kill, getpid(), SIGKILL);
        for (;;) pause();
    }
    int length = snprintf(line, sizeof line, "%s %s\n", operation, path + root_length);
    if (log_file >= 0 && syscall(SYS_write, log_file, line, length) < 0) abort();
    pthread_mutex_unlock(&lock);
}

static void change_at(const char *operation, int folder, const char *path) {
    char name[64], whole[2 * PATH_MAX], base[PATH_MAX];
    if (!root_length || !path) return;
    if (path[0] == '/') { change(operation, path); return; }
    if (folder == AT_FDCWD) {
        if (!getcwd(base, sizeof base)) return;
    } else {
        snprintf(name, sizeof name, "/proc/self/fd/%d", folder);
        ssize_t length = readlink(name, base, sizeof base - 1);
        if (length < 0) return;
        base[length] = 0;
    }
    snprintf(whole, sizeof whole, path[0] ? "%s/%s" : "%s%s", base, path);
    change(operation, whole);
}

static void change_of(const char *operation, int file) {
    if (root_length) change_at(operation, file, "");
}

#define REAL(name) static __typeof__(name) *real; if (!real) real = dlsym(RTLD_NEXT, #name)
#define CHANGES(flags) ((flags) & (O_CREAT | O_TRUNC))
#define MODE mode_t mode = 0; if (flags & O_CREAT) { va_list a; va_start(a, flags); mode = va_arg(a, int); va_end(a); }

int open(const char *path, int flags, ...) { MODE REAL(open); if (CHANGES(flags)) change_at("open", AT_FDCWD, path); return real(path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE REAL(open64); if (CHANGES(flags)) change_at("open", AT_FDCWD, path); return real(path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { MODE REAL(openat); if (CHANGES(flags)) change_at("open", at, path); return real(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE REAL(openat64); if (CHANGES(flags)) change_at("open", at, path); return real(at, path, flags, mode); }
int creat(const char *path, mode_t mode) { REAL(creat); change_at("open", AT_FDCWD, path); return real(path, mode); }
FILE *fopen(const char *path, const char *how) { REAL(fopen); if (strpbrk(how, "wa+")) change_at("open", AT_FDCWD, path); return real(path, how); }
FILE *fopen64(const char *path, const char *how) { REAL(fopen64); if (strpbrk(how, "wa+")) change_at("open", AT_FDCWD, path); return real(path, how); }
ssize_t write(int file, const void *data, size_t size) { REAL(write); change_of("write", file); return real(file, data, size); }
ssize_t pwrite(int file, const void *data, size_t size, off_t at) { REAL(pwrite); change_of("write", file); return real(file, data, size, at); }
ssize_t pwrite64(int file, const void *data, size_t size, off64_t at) { REAL(pwrite64); change_of("write", file); return real(file, data, size, at); }
ssize_t writev(int file, const struct iovec *parts, int count) { REAL(writev); change_of("write", file); return real(file, parts, count); }
ssize_t pwritev(int file, const struct iovec *parts, int count, off_t at) { REAL(pwritev); change_of("write", file); return real(file, parts, count, at); }
ssize_t copy_file_range(int from, off64_t *a, int to, off64_t *b, size_t size, unsigned flags) { REAL(copy_file_range); change_of("write", to); return real(from, a, to, b, size, flags); }
ssize_t sendfile(int to, int from, off_t *at, size_t size);
ssize_t sendfile(int to, int from, off_t *at, size_t size) { REAL(sendfile); change_of("write", to); return real(to, from, at, size); }
ssize_t sendfile64(int to, int from, off64_t *at, size_t size);
ssize_t sendfile64(int to, int from, off64_t *at, size_t size) { REAL(sendfile64); change_of("write", to); return real(to, from, at, size); }
int ftruncate(int file, off_t size) { REAL(ftruncate); change_of("truncate", file); return real(file, size); }
int ftruncate64(int file, off64_t size) { REAL(ftruncate64); change_of("truncate", file); return real(file, size); }
int truncate(const char *path, off_t size) { REAL(truncate); change_at("truncate", AT_FDCWD, path); return real(path, size); }
int rename(const char *from, const char *to) { REAL(rename); change_at("rename", AT_FDCWD, to); return real(from, to); }
int renameat(int a, const char *from, int b, const char *to) { REAL(renameat); change_at("rename", b, to); return real(a, from, b, to); }
int link(const char *from, const char *to) { REAL(link); change_at("link", AT_FDCWD, to); return real(from, to); }
int linkat(int a, const char *from, int b, const char *to, int flags) { REAL(linkat); change_at("link", b, to); return real(a, from, b, to, flags); }
int symlink(const char *from, const char *to) { REAL(symlink); change_at("link", AT_FDCWD, to); return real(from, to); }
int unlink(const char *path) { REAL(unlink); change_at("unlink", AT_FDCWD, path); return real(path); }
int unlinkat(int at, const char *path, int flags) { REAL(unlinkat); change_at("unlink", at, path); return real(at, path, flags); }
int remove(const char *path) { REAL(remove); change_at("unlink", AT_FDCWD, path); return real(path); }
int rmdir(const char *path) { REAL(rmdir); change_at("unlink", AT_FDCWD, path); return real(path); }
int mkdir(const char *path, mode_t mode) { REAL(mkdir); change_at("mkdir", AT_FDCWD, path); return real(path, mode); }
int mkdirat(int at, const char *path, mode_t mode) { REAL(mkdirat); change_at("mkdir", at, path); return real(at, path, mode); }
int chmod(const char *path, mode_t mode) { REAL(chmod); change_at("chmod", AT_FDCWD, path); return real(path, mode); }
int fchmod(int file, mode_t mode) { REAL(fchmod); change_of("chmod", file); return real(file, mode); }
