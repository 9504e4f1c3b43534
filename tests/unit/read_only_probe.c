/* Tries in every way to change the files that its descriptors 3 … are open on, and says on stderr how each was refused:
 * "3 pwrite: Bad file descriptor". A way that worked is said as "WORKED". */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static int fd;
static char self[64], path[PATH_MAX], beside[PATH_MAX];

static void say(const char* way, int worked) {
  dprintf(2, "%d %s: %s\n", fd, way, worked ? "WORKED" : strerror(errno));
}

/* Of a descriptor that could be had: does it write? */
static void write_through(const char* way, int other) {
  say(way, other >= 0 && pwrite(other, "X", 1, 0) == 1);
  if (other >= 0) close(other);
}

static void map(const char* way, int file, int protection, int flags, int later) {
  char* m = mmap(0, 4096, protection, flags, file, 0);
  if (m == MAP_FAILED) return say(way, 0);
  if (later && mprotect(m, 4096, later) != 0) return say(way, 0);
  if ((protection | later) & PROT_WRITE) m[0] = 'X';
  say(way, msync(m, 4096, MS_SYNC) == 0 && (protection | later) & PROT_WRITE);
}

static void try_all(void) {
  struct iovec part = {"X", 1};
  struct timespec times[2] = {{1, 0}, {1, 0}};
  int flags = 0, both[2];
  say("write", write(fd, "X", 1) == 1);
  say("pwrite", pwrite(fd, "X", 1, 0) == 1);
  say("pwritev", pwritev(fd, &part, 1, 0) == 1);
  map("map shared for writing", fd, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
  map("map shared, then mprotect", fd, PROT_READ, MAP_SHARED, PROT_READ | PROT_WRITE);
  char* shared = mmap(0, 4096, PROT_READ, MAP_SHARED, fd, 0);
  say("madvise remove", shared != MAP_FAILED && madvise(shared, 4096, MADV_REMOVE) == 0);
  say("punch a hole", fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0);
  say("zero a range", fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, 4096) == 0);
  say("grow", fallocate(fd, 0, 0, 1 << 20) == 0);
  say("ftruncate", ftruncate(fd, 0) == 0);
  say("truncate", truncate(self, 0) == 0);
  say("truncate by name", truncate(path, 0) == 0);
  say("copy_file_range", copy_file_range(fd, &(loff_t){4096}, fd, &(loff_t){0}, 1, 0) == 1);
  say("sendfile", sendfile(fd, fd, &(off_t){4096}, 1) == 1);
  say("clone a range", ioctl(fd, FICLONE, fd) == 0);
  say("flags",
      ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0 && (flags |= FS_APPEND_FL, ioctl(fd, FS_IOC_SETFLAGS, &flags)) == 0);
  say("splice", pipe(both) == 0 && write(both[1], "X", 1) == 1 && splice(both[0], 0, fd, &(loff_t){0}, 1, 0) == 1);
  say("fcntl O_RDWR", fcntl(fd, F_SETFL, O_RDWR) == 0 && pwrite(fd, "X", 1, 0) == 1);
  write_through("open again", open(self, O_RDWR));
  write_through("open again to write", open(self, O_WRONLY));
  write_through("open again and truncate", open(self, O_WRONLY | O_TRUNC));
  write_through("open by name", open(path, O_RDWR));
  say("fchmod", fchmod(fd, 0666) == 0);
  say("chmod", chmod(self, 0666) == 0);
  say("chmod by name", chmod(path, 0666) == 0);
  write_through("open again after chmod", open(self, O_RDWR));
  say("chown", fchown(fd, getuid(), getgid()) == 0 && getuid() != 0);
  say("times", futimens(fd, times) == 0);
  say("rename", rename(path, beside) == 0);
  say("rename over it", rename("/proc/self/exe", path) == 0);
  say("unlink", unlink(path) == 0);
  say("link", linkat(AT_FDCWD, self, AT_FDCWD, beside, AT_SYMLINK_FOLLOW) == 0);
  say("make a file beside it", close(open(beside, O_CREAT | O_WRONLY, 0600)) == 0);
  map("map privately (which changes nothing)", fd, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
}

int main(int argc, char** argv) {
  /* The names, in the order of the descriptors: /proc/self/fd may not be readable. */
  for (int i = 1; i < argc; ++i) {
    fd = 2 + i;
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    snprintf(path, sizeof path, "%s", argv[i]);
    snprintf(beside, sizeof beside, "%.*s.beside", (int)sizeof path - 10, argv[i]);
    try_all();
  }
  dprintf(2, "done\n");
  return 0;
}
