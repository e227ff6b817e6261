/* Preloaded: counts calls that change or open files of one folder, and at call number `at` ends the
   process, sends its group a Ctrl-C, or lets the call, or it and every later one that needs room, fail. The counter is shared by
   all processes of a run, children included. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum mode { COUNT, KILL_BEFORE, KILL_AFTER, FAIL, FULL, INTERRUPT };
struct state { int mode, at, error, seen, fired; };
static struct state *state;
static const char *folder;

__attribute__((constructor)) static void begin(void) {
  const char *name = getenv("FSCALLS_STATE");
  folder = getenv("FSCALLS_FOLDER");
  int (*real_open)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
  int file = name && folder ? real_open(name, O_RDWR | O_CLOEXEC) : -1;
  if (file < 0) return;
  void *found = mmap(NULL, sizeof *state, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (found != MAP_FAILED) state = found;
}

static int under(const char *path) { return !strncmp(path, folder, strlen(folder)); }

static int holds(int descriptor) {
  char link[64], path[PATH_MAX];
  if (!state || descriptor <= STDERR_FILENO) return 0; /* where a full disk must still be told */
  int before = errno;
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  ssize_t length = readlink(link, path, sizeof path - 1);
  errno = before;
  if (length <= 0) return 0;
  path[length] = 0;
  return under(path);
}

static int inside(int at, const char *path) {
  char here[2 * PATH_MAX];
  if (!state || !path) return 0;
  if (path[0] == '/') return under(path);
  if (at != AT_FDCWD) return holds(at);
  int before = errno, found = 0;
  if (getcwd(here, PATH_MAX) && strlen(path) < PATH_MAX) {
    strcat(strcat(here, "/"), path);
    found = under(here);
  }
  errno = before;
  return found;
}

/* Return 0 where the call is to be made, 1 where the process ends after it, -1 where it fails. */
static int reached(int ours, int takes_room) {
  if (!ours || !state) return 0;
  int number = __sync_add_and_fetch(&state->seen, 1);
  int now = state->at > 0 && number == state->at;
  int later = state->at > 0 && number >= state->at && state->mode == FULL && takes_room;
  if (!now && !later) return 0;
  if (state->mode == COUNT || (state->mode == FULL && !later)) return 0;
  state->fired = 1;
  if (state->mode == KILL_BEFORE) kill(getpid(), SIGKILL);
  if (state->mode == KILL_AFTER) return 1;
  if (state->mode == INTERRUPT) {
    kill(0, SIGINT); /* Python hears it after the call */
    return 0;
  }
  errno = state->mode == FULL ? ENOSPC : state->error;
  return -1;
}

#define AROUND(type, bad, name, parameters, arguments, ours, room)        \
  type name parameters {                                                  \
    static type(*real) parameters;                                        \
    if (!real) real = dlsym(RTLD_NEXT, #name);                            \
    int hit = reached(ours, room);                                        \
    if (hit < 0) return bad;                                              \
    type found = real arguments;                                          \
    if (hit) kill(getpid(), SIGKILL);                                     \
    return found;                                                         \
  }

#define OPENS(name)                                                       \
  int name(const char *path, int flags, ...) {                            \
    static int (*real)(const char *, int, ...);                           \
    if (!real) real = dlsym(RTLD_NEXT, #name);                            \
    va_list rest;                                                         \
    va_start(rest, flags);                                                \
    mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
    va_end(rest);                                                         \
    int hit = reached(inside(AT_FDCWD, path), flags & O_CREAT);           \
    if (hit < 0) return -1;                                               \
    int found = real(path, flags, mode);                                  \
    if (hit) kill(getpid(), SIGKILL);                                     \
    return found;                                                         \
  }

#define OPENS_AT(name)                                                    \
  int name(int at, const char *path, int flags, ...) {                    \
    static int (*real)(int, const char *, int, ...);                      \
    if (!real) real = dlsym(RTLD_NEXT, #name);                            \
    va_list rest;                                                         \
    va_start(rest, flags);                                                \
    mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
    va_end(rest);                                                         \
    int hit = reached(inside(at, path), flags & O_CREAT);                 \
    if (hit < 0) return -1;                                               \
    int found = real(at, path, flags, mode);                              \
    if (hit) kill(getpid(), SIGKILL);                                     \
    return found;                                                         \
  }

OPENS(open)
OPENS(open64)
OPENS_AT(openat)
OPENS_AT(openat64)
AROUND(FILE *, NULL, fopen, (const char *path, const char *how), (path, how), inside(AT_FDCWD, path), how[0] != 'r')
AROUND(FILE *, NULL, fopen64, (const char *path, const char *how), (path, how), inside(AT_FDCWD, path), how[0] != 'r')
AROUND(DIR *, NULL, opendir, (const char *path), (path), inside(AT_FDCWD, path), 0)
AROUND(ssize_t, -1, write, (int file, const void *data, size_t size), (file, data, size), holds(file), 1)
AROUND(ssize_t, -1, pwrite64, (int file, const void *data, size_t size, off64_t place), (file, data, size, place), holds(file), 1)
AROUND(int, -1, ftruncate64, (int file, off64_t size), (file, size), holds(file), 1)
AROUND(int, -1, fsync, (int file), (file), holds(file), 1)
AROUND(int, -1, fchmod, (int file, mode_t mode), (file, mode), holds(file), 0)
AROUND(int, -1, flock, (int file, int how), (file, how), holds(file), 0)
AROUND(int, -1, chmod, (const char *path, mode_t mode), (path, mode), inside(AT_FDCWD, path), 0)
AROUND(int, -1, fchmodat, (int at, const char *path, mode_t mode, int flags), (at, path, mode, flags), inside(at, path), 0)
AROUND(int, -1, mkdir, (const char *path, mode_t mode), (path, mode), inside(AT_FDCWD, path), 1)
AROUND(int, -1, mkdirat, (int at, const char *path, mode_t mode), (at, path, mode), inside(at, path), 1)
AROUND(int, -1, rmdir, (const char *path), (path), inside(AT_FDCWD, path), 0)
AROUND(int, -1, unlink, (const char *path), (path), inside(AT_FDCWD, path), 0)
AROUND(int, -1, unlinkat, (int at, const char *path, int flags), (at, path, flags), inside(at, path), 0)
AROUND(int, -1, rename, (const char *old, const char *new), (old, new), inside(AT_FDCWD, new), 1)
AROUND(int, -1, renameat, (int from, const char *old, int to, const char *new), (from, old, to, new), inside(to, new), 1)
AROUND(int, -1, link, (const char *old, const char *new), (old, new), inside(AT_FDCWD, new), 1)
AROUND(int, -1, linkat, (int from, const char *old, int to, const char *new, int flags), (from, old, to, new, flags), inside(to, new), 1)
AROUND(int, -1, symlink, (const char *old, const char *new), (old, new), inside(AT_FDCWD, new), 1)
