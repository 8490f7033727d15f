/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Small files: see files.h. Never follows a name that is not a regular file when reading keys, and
 * never leaves half a file behind.
 */
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
    }
}

nof1_rc nof1_file_read(struct nof1_buffer *out, const char *path, size_t limit,
                       struct nof1_error *error)
{
    NOF1_CLEANUP(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) != 0) {
        return nof1_fail(error, NOF1_E_INPUT, "%s: %s", path, strerror(errno));
    }
    if (!S_ISREG(info.st_mode)) {
        return nof1_fail(error, NOF1_E_INPUT, "%s: not a regular file", path);
    }
    uint8_t chunk[16384];
    size_t total = 0;
    for (;;) {
        ssize_t got = read(fd, chunk, sizeof chunk);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return nof1_fail(error, NOF1_E_INPUT, "%s: %s", path, strerror(errno));
        }
        if (got == 0) {
            return NOF1_OK;
        }
        total += (size_t)got;
        if (total > limit) {
            return nof1_fail(error, NOF1_E_INPUT, "%s: larger than %zu bytes", path, limit);
        }
        TRY(nof1_buffer_append(out, chunk, (size_t)got));
    }
}

static nof1_rc write_all(int fd, struct nof1_slice bytes)
{
    while (bytes.length > 0) {
        ssize_t put = write(fd, bytes.data, bytes.length);
        if (put < 0 && errno == EINTR) {
            continue;
        }
        ENSURE(put > 0, NOF1_E_IO);
        bytes.data += put;
        bytes.length -= (size_t)put;
    }
    return NOF1_OK;
}

/* A rename is durable only when the folder is: fsync(2), notes. */
static nof1_rc sync_folder_of(const char *path)
{
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash == NULL) {
        snprintf(folder, sizeof folder, ".");
    } else if (slash == folder) {
        slash[1] = '\0';
    } else {
        *slash = '\0';
    }
    NOF1_CLEANUP(close_fd) int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ENSURE(fd >= 0 && fsync(fd) == 0, NOF1_E_IO);
    return NOF1_OK;
}

static nof1_rc write_temporary(const char *path, struct nof1_slice bytes, mode_t mode)
{
    NOF1_CLEANUP(close_fd) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    ENSURE(fd >= 0, NOF1_E_IO);
    TRY(write_all(fd, bytes));
    ENSURE(fchmod(fd, mode) == 0 && fsync(fd) == 0, NOF1_E_IO);
    return NOF1_OK;
}

nof1_rc nof1_file_write(const char *path, struct nof1_slice bytes, mode_t mode,
                        struct nof1_error *error)
{
    char temporary[PATH_MAX];
    int length = snprintf(temporary, sizeof temporary, "%s.%ld.new", path, (long)getpid());
    if (length < 0 || (size_t)length >= sizeof temporary) {
        return nof1_fail(error, NOF1_E_IO, "%s: name too long", path);
    }
    (void)unlink(temporary);
    if (write_temporary(temporary, bytes, mode) != NOF1_OK || rename(temporary, path) != 0 ||
        sync_folder_of(path) != NOF1_OK) {
        int why = errno;
        (void)unlink(temporary);
        return nof1_fail(error, NOF1_E_IO, "%s: %s", path, strerror(why));
    }
    return NOF1_OK;
}

nof1_rc nof1_file_private(const char *path, struct nof1_error *error)
{
    struct stat info;
    if (stat(path, &info) != 0) {
        return nof1_fail(error, NOF1_E_INPUT, "%s: %s", path, strerror(errno));
    }
    if (!S_ISREG(info.st_mode)) {
        return nof1_fail(error, NOF1_E_CONFIG, "%s: not a regular file", path);
    }
    if (info.st_uid != geteuid() && info.st_uid != 0) {
        return nof1_fail(error, NOF1_E_CONFIG,
                         "%s: a private key must belong to the user of this program", path);
    }
    if ((info.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        return nof1_fail(error, NOF1_E_CONFIG,
                         "%s: others can read this private key; run: chmod 600 %s", path, path);
    }
    return NOF1_OK;
}

nof1_rc nof1_file_folder(const char *path, struct nof1_error *error)
{
    struct stat info;
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        return nof1_fail(error, NOF1_E_IO, "%s: %s", path, strerror(errno));
    }
    if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode)) {
        return nof1_fail(error, NOF1_E_IO, "%s: not a folder", path);
    }
    return NOF1_OK;
}

nof1_rc nof1_file_lock(int *fd, const char *folder, const char *name, struct nof1_error *error)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (*fd < 0) {
        return nof1_fail(error, NOF1_E_IO, "%s: %s", path, strerror(errno));
    }
    if (flock(*fd, LOCK_EX | LOCK_NB) != 0) {
        (void)close(*fd);
        *fd = -1;
        return nof1_fail(error, NOF1_E_CONFIG, "%s: another process uses this folder", folder);
    }
    return NOF1_OK;
}
