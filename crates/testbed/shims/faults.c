/* Injects faults beneath the trail: preloaded into `wardline serve`, driven by `testbed::faults`.
 *
 * Of all files only those count whose path contains the text in WARDLINE_FAULTS_BELOW. What is done to their writes
 * (reads, too) and syncs stands in the control file named by WARDLINE_FAULTS, which is mapped and may change at any time.
 *
 * A file's writes wait in memory until they are synced, as in a drive with a volatile cache, so that killing the
 * process is a power cut for them. A part of a write may reach the disk early, also in pieces and out of order. What
 * waits when a sync fails is dropped, as Linux drops it: the next sync then succeeds and the data is not there.
 *
 * Names (create, rename, unlink) take effect at once. Only what Rust's standard library calls is intercepted; what
 * bypasses libc (rustix's fallocate) sets sizes, not contents. Linux with glibc only.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { NOTHING, EIO_WRITE, TORN_WRITE, ENOSPC_WRITE, SHORT_WRITE, EIO_SYNC, ENOSPC_SYNC, LYING_SYNC, EIO_READ };
/* Any file, segments in use, the tree, all but segments in use. */
enum { ANY, SEGMENTS, TREE, NEW };

/* The control file. Written by the test, but for `struck`. */
struct control {
    volatile uint32_t fault;  /* one of the first enumeration */
    volatile uint32_t files;  /* one of the second */
    volatile uint32_t after;  /* so many matching calls pass first */
    volatile uint32_t times;  /* strikes left; 0xffffffff for ever */
    volatile uint32_t struck; /* strikes so far */
    volatile uint32_t cache;  /* whether writes wait for a sync */
};

#define FDS_MAX 65536
#define SECTOR 512

struct file {
    int tracked;
    int class;
    dev_t device;
    ino_t number;
};

struct waiting {
    struct waiting *next;
    dev_t device;
    ino_t number;
    off_t offset;
    size_t length;
    char data[];
};

static struct control none;
static struct control *control = &none;
static const char *below;
static struct file files[FDS_MAX];
static struct waiting *oldest, **newest = &oldest;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t random_state;

__attribute__((constructor)) static void start(void) {
    const char *path = getenv("WARDLINE_FAULTS");
    below = getenv("WARDLINE_FAULTS_BELOW");
    if (path == NULL || below == NULL) return;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0) _exit(97);
    void *map = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) _exit(98);
    control = map;
    syscall(SYS_close, fd);
    const char *seed = getenv("WARDLINE_FAULTS_SEED");
    random_state = (seed ? strtoull(seed, NULL, 10) : 1) * 0x9e3779b97f4a7c15u + 1;
}

static uint64_t random_number(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static int class_of(const char *path) {
    if (strstr(path, ".seg") != NULL) return SEGMENTS;
    if (strstr(path, "/tree/") != NULL) return TREE;
    return NEW;
}

/* Forgets what waits for a file: it was truncated, removed, or its sync failed. */
static void drop_waiting(dev_t device, ino_t number) {
    struct waiting **at = &oldest;
    while (*at != NULL) {
        struct waiting *one = *at;
        if (one->device == device && one->number == number) {
            *at = one->next;
            free(one);
        } else {
            at = &one->next;
        }
    }
    newest = at;
}

/* A segment is written under the name of a spare first: its class is that of its name at the time of the call. */
static int current_class(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return files[fd].class;
    path[length] = 0;
    return class_of(path);
}

/* Whether the fault of the moment strikes this call. */
static int strikes(uint32_t fault, int fd) {
    if (control->fault != fault) return 0;
    int class = control->files == ANY ? ANY : current_class(fd);
    if (control->files == NEW && class == SEGMENTS) return 0;
    if (control->files != NEW && (int)control->files != class) return 0;
    if (control->after > 0) {
        control->after--;
        return 0;
    }
    if (control->times == 0) return 0;
    if (control->times != UINT32_MAX) control->times--;
    control->struck++;
    return 1;
}

static ssize_t put(int fd, const char *data, size_t length, off_t offset) {
    size_t done = 0;
    while (done < length) {
        ssize_t wrote = syscall(SYS_pwrite64, fd, data + done, length - done, offset + (off_t)done);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote <= 0) return -1;
        done += (size_t)wrote;
    }
    return (ssize_t)length;
}

/* Keeps a write until a sync; a part of it may reach the disk at once. */
static ssize_t keep(int fd, const char *data, size_t length, off_t offset) {
    struct waiting *one = malloc(sizeof *one + length);
    if (one == NULL) {
        errno = ENOMEM;
        return -1;
    }
    *one = (struct waiting){NULL, files[fd].device, files[fd].number, offset, length};
    memcpy(one->data, data, length);
    *newest = one;
    newest = &one->next;
    switch (random_number() % 4) {
    case 0:
        put(fd, data, random_number() % (length + 1), offset);
        break;
    case 1:
        for (size_t at = 0; at < length; at += SECTOR) {
            size_t part = length - at < SECTOR ? length - at : SECTOR;
            if (random_number() % 2) put(fd, data + at, part, offset + (off_t)at);
        }
        break;
    default:
        break;
    }
    return (ssize_t)length;
}

/* Brings what waits for a file to disk. The descriptor may be one for reading only. */
static int flush_waiting(int fd) {
    int writing = -1, result = 0;
    struct waiting **at = &oldest;
    while (*at != NULL) {
        struct waiting *one = *at;
        if (one->device != files[fd].device || one->number != files[fd].number) {
            at = &one->next;
            continue;
        }
        if (writing < 0) {
            char path[64];
            snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
            writing = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
        }
        if (writing < 0 || put(writing, one->data, one->length, one->offset) < 0) result = -1;
        *at = one->next;
        free(one);
    }
    newest = at;
    if (writing >= 0) syscall(SYS_close, writing);
    return result;
}

static int tracked(int fd) {
    return fd >= 0 && fd < FDS_MAX && files[fd].tracked;
}

static ssize_t write_at(int fd, const char *data, size_t length, off_t offset) {
    if (strikes(EIO_WRITE, fd)) {
        errno = EIO;
        return -1;
    }
    if (strikes(TORN_WRITE, fd)) {
        put(fd, data, random_number() % (length + 1), offset);
        errno = EIO;
        return -1;
    }
    if (strikes(ENOSPC_WRITE, fd)) {
        errno = ENOSPC;
        return -1;
    }
    if (length > 1 && strikes(SHORT_WRITE, fd)) {
        if (random_number() % 4 == 0) {
            errno = EINTR;
            return -1;
        }
        length = 1 + random_number() % (length - 1);
    }
    if (control->cache) return keep(fd, data, length, offset);
    return syscall(SYS_pwrite64, fd, data, length, offset);
}

static int fails_to_read(int fd) {
    pthread_mutex_lock(&lock);
    int struck = strikes(EIO_READ, fd);
    pthread_mutex_unlock(&lock);
    if (struck) errno = EIO;
    return struck;
}

static int sync_file(int fd, long call) {
    if (strikes(EIO_SYNC, fd)) {
        drop_waiting(files[fd].device, files[fd].number);
        errno = EIO;
        return -1;
    }
    if (strikes(ENOSPC_SYNC, fd)) {
        drop_waiting(files[fd].device, files[fd].number);
        errno = ENOSPC;
        return -1;
    }
    if (strikes(LYING_SYNC, fd)) return 0;
    if (flush_waiting(fd) < 0) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(call, fd);
}

static int opened(const char *path, int flags, mode_t mode) {
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
    if (fd < 0 || fd >= FDS_MAX || below == NULL) return fd;
    struct stat what;
    int saved = errno;
    pthread_mutex_lock(&lock);
    files[fd].tracked = strstr(path, below) != NULL && fstat(fd, &what) == 0 && S_ISREG(what.st_mode);
    if (files[fd].tracked) {
        files[fd].class = class_of(path);
        files[fd].device = what.st_dev;
        files[fd].number = what.st_ino;
        if (flags & O_TRUNC) drop_waiting(what.st_dev, what.st_ino);
    }
    pthread_mutex_unlock(&lock);
    errno = saved;
    return fd;
}

int open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(more, mode_t) : 0;
    va_end(more);
    return opened(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(more, mode_t) : 0;
    va_end(more);
    return opened(path, flags, mode);
}

int close(int fd) {
    if (tracked(fd)) {
        pthread_mutex_lock(&lock);
        files[fd].tracked = 0;
        pthread_mutex_unlock(&lock);
    }
    return (int)syscall(SYS_close, fd);
}

ssize_t pwrite64(int fd, const void *data, size_t length, off_t offset) {
    if (!tracked(fd)) return syscall(SYS_pwrite64, fd, data, length, offset);
    pthread_mutex_lock(&lock);
    ssize_t result = write_at(fd, data, length, offset);
    pthread_mutex_unlock(&lock);
    return result;
}

ssize_t pread64(int fd, void *data, size_t length, off_t offset) {
    if (tracked(fd) && fails_to_read(fd)) return -1;
    return syscall(SYS_pread64, fd, data, length, offset);
}

ssize_t pread(int fd, void *data, size_t length, off_t offset) {
    return pread64(fd, data, length, offset);
}

ssize_t read(int fd, void *data, size_t length) {
    if (tracked(fd) && fails_to_read(fd)) return -1;
    return syscall(SYS_read, fd, data, length);
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) {
    return pwrite64(fd, data, length, offset);
}

ssize_t write(int fd, const void *data, size_t length) {
    if (!tracked(fd)) return syscall(SYS_write, fd, data, length);
    pthread_mutex_lock(&lock);
    off_t offset = (off_t)syscall(SYS_lseek, fd, (off_t)0, SEEK_CUR);
    ssize_t result = write_at(fd, data, length, offset);
    if (result > 0) syscall(SYS_lseek, fd, offset + result, SEEK_SET);
    pthread_mutex_unlock(&lock);
    return result;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    if (!tracked(fd) || count < 1) return syscall(SYS_writev, fd, parts, count);
    return write(fd, parts[0].iov_base, parts[0].iov_len);
}

int fdatasync(int fd) {
    if (!tracked(fd)) return (int)syscall(SYS_fdatasync, fd);
    pthread_mutex_lock(&lock);
    int result = sync_file(fd, SYS_fdatasync);
    pthread_mutex_unlock(&lock);
    return result;
}

int fsync(int fd) {
    if (!tracked(fd)) return (int)syscall(SYS_fsync, fd);
    pthread_mutex_lock(&lock);
    int result = sync_file(fd, SYS_fsync);
    pthread_mutex_unlock(&lock);
    return result;
}

int unlink(const char *path) {
    struct stat what;
    if (below != NULL && strstr(path, below) != NULL && stat(path, &what) == 0) {
        pthread_mutex_lock(&lock);
        drop_waiting(what.st_dev, what.st_ino);
        pthread_mutex_unlock(&lock);
    }
    return (int)syscall(SYS_unlink, path);
}
