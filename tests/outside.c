/* Preloaded: notes what would reach a network, and what is made or changed outside some folders, in the
   file OUTSIDE_LOG. Sockets of the internet are refused. OUTSIDE_FOLDERS holds prefixes, each ended by a colon. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static void note(const char *what, const char *name) {
  static int (*real)(const char *, int, ...);
  if (!real) real = dlsym(RTLD_NEXT, "open");
  const char *log = getenv("OUTSIDE_LOG");
  int before = errno, file = log ? real(log, O_WRONLY | O_APPEND | O_CREAT, 0600) : -1;
  if (file >= 0) {
    dprintf(file, "%s %s\n", what, name ? name : "");
    close(file);
  }
  errno = before;
}

static void changed(const char *what, int at, const char *path) {
  char whole[2 * PATH_MAX] = "", link[64];
  const char *folders = getenv("OUTSIDE_FOLDERS");
  int before = errno;
  if (!path || !folders) return;
  if (path[0] != '/') {
    if (at == AT_FDCWD) {
      if (!getcwd(whole, PATH_MAX)) whole[0] = 0;
    } else {
      snprintf(link, sizeof link, "/proc/self/fd/%d", at);
      ssize_t size = readlink(link, whole, PATH_MAX);
      whole[size > 0 ? size : 0] = 0;
    }
    strcat(whole, "/");
  }
  strncat(whole, path, PATH_MAX);
  errno = before;
  for (const char *end; (end = strchr(folders, ':')); folders = end + 1)
    if (!strncmp(whole, folders, end - folders)) return;
  note(what, whole);
}

#define OPENS(name, parameters, arguments, place)                                              \
  int name parameters {                                                                       \
    static int(*real) parameters;                                                             \
    if (!real) real = dlsym(RTLD_NEXT, #name);                                                \
    va_list rest;                                                                             \
    va_start(rest, flags);                                                                    \
    mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0;                 \
    va_end(rest);                                                                             \
    if ((flags & O_ACCMODE) != O_RDONLY || flags & (O_CREAT | O_TRUNC)) changed("open", place, path); \
    return real arguments;                                                                    \
  }

#define AROUND(type, name, parameters, arguments, first)   \
  type name parameters {                                  \
    static type(*real) parameters;                        \
    if (!real) real = dlsym(RTLD_NEXT, #name);            \
    first;                                                \
    return real arguments;                                \
  }

OPENS(open, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD)
OPENS(open64, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD)
OPENS(openat, (int at, const char *path, int flags, ...), (at, path, flags, mode), at)
OPENS(openat64, (int at, const char *path, int flags, ...), (at, path, flags, mode), at)
AROUND(FILE *, fopen, (const char *path, const char *how), (path, how), if (how[0] != 'r' || strchr(how, '+')) changed("fopen", AT_FDCWD, path))
AROUND(FILE *, fopen64, (const char *path, const char *how), (path, how), if (how[0] != 'r' || strchr(how, '+')) changed("fopen", AT_FDCWD, path))
AROUND(int, mkdir, (const char *path, mode_t mode), (path, mode), changed("mkdir", AT_FDCWD, path))
AROUND(int, mkdirat, (int at, const char *path, mode_t mode), (at, path, mode), changed("mkdir", at, path))
AROUND(int, rename, (const char *old, const char *new), (old, new), changed("rename", AT_FDCWD, new))
AROUND(int, renameat, (int from, const char *old, int to, const char *new), (from, old, to, new), changed("rename", to, new))
AROUND(int, link, (const char *old, const char *new), (old, new), changed("link", AT_FDCWD, new))
AROUND(int, symlink, (const char *old, const char *new), (old, new), changed("symlink", AT_FDCWD, new))
AROUND(int, unlink, (const char *path), (path), changed("unlink", AT_FDCWD, path))
AROUND(int, getaddrinfo, (const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found), (name, service, hints, found), note("getaddrinfo", name))

int socket(int domain, int type, int protocol) {
  static int (*real)(int, int, int);
  if (!real) real = dlsym(RTLD_NEXT, "socket");
  if (domain != AF_INET && domain != AF_INET6) return real(domain, type, protocol);
  note("socket", domain == AF_INET ? "internet" : "internet 6");
  errno = EACCES;
  return -1;
}
