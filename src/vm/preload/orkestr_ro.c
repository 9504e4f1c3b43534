/* orkestr-ro.so: QEMU 7.2 opens the file behind guest memory for writing even where it maps it privately. Many
 * sandboxes map the same file, so none may hold a descriptor that can change it. Preloaded into QEMU, this opens that
 * one path read-only.
 *
 * QEMU since 8.2 has an option for it (readonly=on,rom=off) and runs without. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/types.h>

/* vm/qemu_args.hpp: kMemoryFd */
static const char kMemory[] = "/proc/self/fd/6";

static int as_allowed(const char* path, int flags) {
  if ((flags & O_ACCMODE) == O_RDWR && strcmp(path, kMemory) == 0) return (flags & ~O_ACCMODE) | O_RDONLY;
  return flags;
}

#define EXPORT __attribute__((visibility("default")))

static int open_with(const char* symbol, const char* path, int flags, mode_t mode) {
  int (*real)(const char*, int, ...) = (int (*)(const char*, int, ...))dlsym(RTLD_NEXT, symbol);
  return real(path, as_allowed(path, flags), mode);
}

#define OPEN(name)                                    \
  EXPORT int name(const char* path, int flags, ...) { \
    mode_t mode = 0;                                  \
    if (flags & (O_CREAT | __O_TMPFILE)) {            \
      va_list rest;                                   \
      va_start(rest, flags);                          \
      mode = va_arg(rest, mode_t);                    \
      va_end(rest);                                   \
    }                                                 \
    return open_with(#name, path, flags, mode);       \
  }

OPEN(open)
OPEN(open64)

/* What a fortified build calls without a mode. */
EXPORT int __open_2(const char* path, int flags) { return open_with("open", path, flags, 0); }
EXPORT int __open64_2(const char* path, int flags) { return open_with("open64", path, flags, 0); }
