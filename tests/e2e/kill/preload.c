/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A library that the kill test preloads into one of our programs to break it at one exact step:
 * before or after one of the calls by which a frame crosses the site's socket or a commit becomes
 * durable. It reads the frame's kind from the tag of its body (proto/nof1.proto) and nothing else.
 *
 *   NOF1_FAULT=KIND:N:WHEN   KIND: send-TAG, recv-TAG (UNIX socket frames), sync (of the store),
 *                            write (to the store), N: the N-th of them, from 1
 *                            WHEN: before | after (SIGKILL), stop (SIGSTOP before), full (from then
 *                            on every write to the store fails with ENOSPC)
 *   NOF1_FAULT_TRACE=FILE    append every step as "KIND N"
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TAGS 32

enum { SYNC = 2 * TAGS, WRITE, KINDS };

static struct {
    bool ready, full;
    int kind; /* -1: none */
    long number;
    char when[8];
    long seen[KINDS];
} fault;

static void name_of(char out[32], int kind)
{
    if (kind >= 2 * TAGS) {
        snprintf(out, 32, "%s", kind == SYNC ? "sync" : "write");
    } else {
        snprintf(out, 32, "%s-%d", kind < TAGS ? "send" : "recv", kind % TAGS);
    }
}

static void prepare(void)
{
    if (fault.ready) {
        return;
    }
    fault.ready = true;
    fault.kind = -1;
    const char *text = getenv("NOF1_FAULT");
    char word[32] = "";
    if (text != NULL && sscanf(text, "%31[^:]:%ld:%7s", word, &fault.number, fault.when) == 3) {
        for (int kind = 0; kind < KINDS; kind++) {
            char name[32];
            name_of(name, kind);
            fault.kind = strcmp(name, word) == 0 ? kind : fault.kind;
        }
    }
}

static void trace(int kind)
{
    const char *path = getenv("NOF1_FAULT_TRACE");
    if (path == NULL) {
        return;
    }
    char name[32];
    char line[64];
    name_of(name, kind);
    int length = snprintf(line, sizeof line, "%s %ld\n", name, fault.seen[kind]);
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0) {
        ssize_t put = write(fd, line, (size_t)length);
        (void)put;
        (void)close(fd);
    }
}

/* Count one step; true when the process is to be killed after it. */
static bool step(int kind)
{
    prepare();
    fault.seen[kind]++;
    trace(kind);
    if (kind != fault.kind || fault.seen[kind] != fault.number) {
        return false;
    }
    if (strcmp(fault.when, "before") == 0) {
        (void)kill(getpid(), SIGKILL);
    }
    if (strcmp(fault.when, "stop") == 0) {
        (void)kill(getpid(), SIGSTOP);
    }
    fault.full = fault.full || strcmp(fault.when, "full") == 0;
    return strcmp(fault.when, "after") == 0;
}

/* ---- frames on the UNIX socket: 4 bytes of length, then a Frame ----------------------------- */

/* The number of the first field that is neither query (1) nor attempt (2); 0: no frame begins here.
 */
static int frame_tag(const uint8_t *data, size_t length)
{
    size_t at = 4;
    if (length < 4 || data[0] != 0) {
        return 0; /* a line of the admin's */
    }
    while (at < length) {
        uint32_t tag = data[at++];
        tag = (tag & 128) != 0 && at < length ? (tag & 127) | (uint32_t)data[at++] << 7 : tag;
        if (tag >> 3 > 2) {
            return tag >> 3 < TAGS ? (int)(tag >> 3) : 0;
        }
        if (at >= length) {
            return 0;
        }
        at += (size_t)data[at] + 1;
    }
    return 0;
}

static bool is_unix(int fd)
{
    int domain = 0;
    socklen_t size = sizeof domain;
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX;
}

ssize_t send(int fd, const void *data, size_t length, int flags)
{
    ssize_t (*real)(int, const void *, size_t, int) =
        (ssize_t(*)(int, const void *, size_t, int))dlsym(RTLD_NEXT, "send");
    int tag = is_unix(fd) ? frame_tag(data, length) : 0;
    bool after = tag > 0 && step(tag);
    ssize_t put = real(fd, data, length, flags);
    if (after) {
        (void)kill(getpid(), SIGKILL);
    }
    return put;
}

ssize_t recv(int fd, void *data, size_t length, int flags)
{
    ssize_t (*real)(int, void *, size_t, int) =
        (ssize_t(*)(int, void *, size_t, int))dlsym(RTLD_NEXT, "recv");
    ssize_t got = real(fd, data, length, flags);
    size_t end = got > 4 && is_unix(fd) ? (size_t)got : 0;
    const uint8_t *at = data;
    bool hit = false;
    while (end > 4) { /* several frames may have come together */
        size_t frame = 4 + ((size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3]);
        int tag = frame_tag(at, end);
        hit = (tag > 0 && step(TAGS + tag)) || hit;
        frame = tag > 0 && frame < end ? frame : end;
        at += frame;
        end -= frame;
    }
    if (hit) {
        (void)kill(getpid(), SIGKILL);
    }
    return got;
}

/* ---- the store ------------------------------------------------------------------------------ */

static bool is_store(int fd)
{
    char link[64];
    char path[512];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = '\0';
    return strstr(path, ".sqlite") != NULL;
}

static int sync_store(int fd, const char *name)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    bool store = is_store(fd);
    bool after = store && step(SYNC);
    if (store && fault.full) {
        errno = ENOSPC;
        return -1;
    }
    int result = real(fd);
    if (after) {
        (void)kill(getpid(), SIGKILL);
    }
    return result;
}

int fsync(int fd)
{
    return sync_store(fd, "fsync");
}

int fdatasync(int fd)
{
    return sync_store(fd, "fdatasync");
}

static ssize_t write_store(int fd, const void *data, size_t length, off_t at, const char *name)
{
    ssize_t (*real)(int, const void *, size_t, off_t) =
        (ssize_t(*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, name);
    bool store = is_store(fd);
    bool after = store && step(WRITE);
    if (store && fault.full) {
        errno = ENOSPC;
        return -1;
    }
    ssize_t put = real(fd, data, length, at);
    if (after) {
        (void)kill(getpid(), SIGKILL);
    }
    return put;
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t at)
{
    return write_store(fd, data, length, at, "pwrite");
}

ssize_t pwrite64(int fd, const void *data, size_t length, off_t at)
{
    return write_store(fd, data, length, at, "pwrite64");
}
