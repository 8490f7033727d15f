/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * UNIX stream sockets: see local.h and unix(7). Knows nothing of what the messages mean.
 */
#include "local.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <sys/clock.h>

#define FRAME_LIMIT ((size_t)64 << 20)
#define LINE_LIMIT ((size_t)16 << 20) /* a preview of a large plan */
#define QUEUE_LIMIT ((size_t)256 << 20)
#define KEEP_CAPACITY ((size_t)1 << 16) /* a larger buffer is given back once it is empty */

struct nof1_socket {
    int fd;
    enum nof1_framing framing;
    struct nof1_buffer in;
    size_t taken;   /* bytes of `in` already handed out */
    size_t scanned; /* bytes after `taken` known to hold no line end */
    struct nof1_buffer out;
    size_t written; /* bytes of `out` already written */
};

/* ---- listening ------------------------------------------------------------------------------- */

static nof1_rc address_of(struct sockaddr_un *address, const char *path, struct nof1_error *error)
{
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof address->sun_path) {
        return nof1_fail(error, NOF1_E_CONFIG, "%s: a socket's path has at most %zu characters",
                         path, sizeof address->sun_path - 1);
    }
    memcpy(address->sun_path, path, length);
    return NOF1_OK;
}

/* A file left behind by a process that died refuses connections; a living one accepts them. */
static nof1_rc remove_stale(const char *path, const struct sockaddr_un *address,
                            struct nof1_error *error)
{
    struct stat info;
    if (lstat(path, &info) != 0) {
        return NOF1_OK;
    }
    if (!S_ISSOCK(info.st_mode)) {
        return nof1_fail(error, NOF1_E_CONFIG, "%s: exists and is not a socket", path);
    }
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool alive = probe >= 0 &&
                 connect(probe, (const struct sockaddr *)address, sizeof *address) == 0;
    if (probe >= 0) {
        (void)close(probe);
    }
    if (alive) {
        return nof1_fail(error, NOF1_E_CONFIG, "%s: another process listens there", path);
    }
    if (unlink(path) != 0) {
        return nof1_fail(error, NOF1_E_IO, "%s: %s", path, strerror(errno));
    }
    return NOF1_OK;
}

nof1_rc nof1_listener_open(int *fd, const char *path, bool shared, struct nof1_error *error)
{
    struct sockaddr_un address;
    *fd = -1;
    TRY(address_of(&address, path, error));
    TRY(remove_stale(path, &address, error));
    int made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (made < 0) {
        return nof1_fail(error, NOF1_E_IO, "%s: %s", path, strerror(errno));
    }
    /* The file appears with these bits: there is no moment at which others could connect. */
    mode_t before = umask(0177);
    int bound = bind(made, (const struct sockaddr *)&address, sizeof address);
    int why = errno;
    (void)umask(before);
    if (bound == 0 && shared && chmod(path, 0660) != 0) {
        bound = -1;
        why = errno;
    }
    if (bound != 0 || listen(made, 8) != 0) {
        why = bound != 0 ? why : errno;
        (void)close(made);
        return nof1_fail(error, NOF1_E_IO, "%s: %s", path, strerror(why));
    }
    *fd = made;
    return NOF1_OK;
}

void nof1_listener_close(int fd, const char *path)
{
    if (fd >= 0) {
        (void)close(fd);
        (void)unlink(path);
    }
}

/* ---- connections ----------------------------------------------------------------------------- */

nof1_rc nof1_socket_adopt(struct nof1_socket **out, int fd, enum nof1_framing framing)
{
    *out = NULL;
    int flags = fcntl(fd, F_GETFL);
    struct nof1_socket *made = calloc(1, sizeof *made);
    if (made == NULL || flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
        free(made);
        (void)close(fd);
        return made == NULL ? NOF1_E_NO_MEMORY : NOF1_E_IO;
    }
    made->fd = fd;
    made->framing = framing;
    *out = made;
    return NOF1_OK;
}

static bool is_welcome(int fd, uid_t other)
{
    struct ucred peer;
    socklen_t length = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) {
        return false;
    }
    return peer.uid == geteuid() || peer.uid == 0 || (other != (uid_t)-1 && peer.uid == other);
}

nof1_rc nof1_socket_accept(struct nof1_socket **out, int fd, enum nof1_framing framing, uid_t other,
                           struct nof1_error *error)
{
    *out = NULL;
    int taken = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (taken < 0) {
        bool nothing = errno == EAGAIN || errno == EINTR || errno == ECONNABORTED;
        return nothing ? NOF1_OK : nof1_fail(error, NOF1_E_IO, "accept: %s", strerror(errno));
    }
    if (!is_welcome(taken, other)) {
        (void)close(taken);
        return nof1_fail(error, NOF1_E_UNAUTHORISED, "a process of another user tried to connect");
    }
    return nof1_socket_adopt(out, taken, framing);
}

nof1_rc nof1_socket_connect(struct nof1_socket **out, const char *path, enum nof1_framing framing,
                            uid_t other, struct nof1_error *error)
{
    struct sockaddr_un address;
    *out = NULL;
    TRY(address_of(&address, path, error));
    int made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (made < 0 || connect(made, (const struct sockaddr *)&address, sizeof address) != 0) {
        int why = errno;
        if (made >= 0) {
            (void)close(made);
        }
        return nof1_fail(error, NOF1_E_UNREACHABLE, "%s: %s", path, strerror(why));
    }
    if (!is_welcome(made, other)) {
        (void)close(made);
        return nof1_fail(error, NOF1_E_UNAUTHORISED, "%s: a process of another user listens there",
                         path);
    }
    return nof1_socket_adopt(out, made, framing);
}

void nof1_socket_close(struct nof1_socket *socket)
{
    if (socket == NULL) {
        return;
    }
    (void)close(socket->fd);
    nof1_buffer_free(&socket->in);
    nof1_buffer_free(&socket->out);
    free(socket);
}

int nof1_socket_fd(const struct nof1_socket *socket)
{
    return socket->fd;
}

short nof1_socket_events(const struct nof1_socket *socket)
{
    return (short)(socket->written < socket->out.length ? POLLIN | POLLOUT : POLLIN);
}

/* ---- writing --------------------------------------------------------------------------------- */

static void shrink(struct nof1_buffer *buffer)
{
    buffer->length = 0;
    if (buffer->capacity > KEEP_CAPACITY) {
        nof1_buffer_free(buffer);
    }
}

nof1_rc nof1_socket_flush(struct nof1_socket *socket)
{
    while (socket->written < socket->out.length) {
        ssize_t put = send(socket->fd, socket->out.data + socket->written,
                           socket->out.length - socket->written, MSG_NOSIGNAL);
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put < 0 && errno == EAGAIN) {
            return NOF1_OK;
        }
        ENSURE(put > 0, NOF1_E_IO);
        socket->written += (size_t)put;
    }
    shrink(&socket->out);
    socket->written = 0;
    return NOF1_OK;
}

nof1_rc nof1_socket_send(struct nof1_socket *socket, struct nof1_slice message)
{
    bool framed = socket->framing == NOF1_FRAMED;
    ENSURE(message.length <= (framed ? FRAME_LIMIT : LINE_LIMIT), NOF1_E_DECODE);
    ENSURE(socket->out.length - socket->written + message.length <= QUEUE_LIMIT, NOF1_E_IO);
    if (framed) {
        uint32_t length = (uint32_t)message.length;
        uint8_t head[4] = {(uint8_t)(length >> 24), (uint8_t)(length >> 16), (uint8_t)(length >> 8),
                           (uint8_t)length};
        TRY(nof1_buffer_append(&socket->out, head, sizeof head));
    } else {
        ENSURE(message.length == 0 || memchr(message.data, '\n', message.length) == NULL,
               NOF1_E_BUG);
    }
    TRY(nof1_buffer_append(&socket->out, message.data, message.length));
    if (!framed) {
        TRY(nof1_buffer_append(&socket->out, "\n", 1));
    }
    return nof1_socket_flush(socket);
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Find one whole message after `taken`. */
static nof1_rc find_message(struct nof1_socket *socket, struct nof1_slice *message, bool *got)
{
    const uint8_t *start = socket->in.data == NULL ? NULL : socket->in.data + socket->taken;
    size_t there = socket->in.length - socket->taken;
    *got = false;
    if (socket->framing == NOF1_FRAMED) {
        if (there < 4) {
            return NOF1_OK;
        }
        size_t length = (size_t)start[0] << 24 | (size_t)start[1] << 16 | (size_t)start[2] << 8 |
                        (size_t)start[3];
        ENSURE(length <= FRAME_LIMIT, NOF1_E_DECODE);
        if (there - 4 >= length) {
            *message = nof1_slice_of(start + 4, length);
            *got = true;
            socket->taken += 4 + length;
        }
        return NOF1_OK;
    }
    const uint8_t *end = there > socket->scanned
                             ? memchr(start + socket->scanned, '\n', there - socket->scanned)
                             : NULL;
    if (end == NULL) {
        socket->scanned = there;
        ENSURE(there <= LINE_LIMIT, NOF1_E_DECODE);
        return NOF1_OK;
    }
    *message = nof1_slice_of(start, (size_t)(end - start));
    *got = true;
    socket->taken += message->length + 1;
    socket->scanned = 0;
    return NOF1_OK;
}

/* Drop what was handed out, so that the buffer holds the beginning of one message only. */
static void compact(struct nof1_socket *socket)
{
    if (socket->taken == 0) {
        return;
    }
    size_t rest = socket->in.length - socket->taken;
    memmove(socket->in.data, socket->in.data + socket->taken, rest);
    socket->in.length = rest;
    socket->taken = 0;
    if (rest == 0) {
        shrink(&socket->in);
    }
}

nof1_rc nof1_socket_receive(struct nof1_socket *socket, struct nof1_slice *message, bool *got)
{
    TRY(find_message(socket, message, got));
    if (*got) {
        return NOF1_OK;
    }
    compact(socket);
    for (;;) {
        uint8_t chunk[65536];
        ssize_t length = recv(socket->fd, chunk, sizeof chunk, 0);
        if (length < 0 && errno == EINTR) {
            continue;
        }
        if (length < 0 && errno == EAGAIN) {
            return NOF1_OK;
        }
        ENSURE(length >= 0, errno == ECONNRESET ? NOF1_E_UNREACHABLE : NOF1_E_IO);
        ENSURE(length > 0, NOF1_E_UNREACHABLE);
        TRY(nof1_buffer_append(&socket->in, chunk, (size_t)length));
        TRY(find_message(socket, message, got));
        if (*got) {
            return NOF1_OK;
        }
    }
}

/* ---- one question ---------------------------------------------------------------------------- */

nof1_rc nof1_socket_ask(struct nof1_buffer *reply, const char *path, struct nof1_slice line,
                        int milliseconds, struct nof1_error *error)
{
    struct nof1_socket *socket = NULL;
    struct nof1_slice answer = {0};
    bool got = false;
    int64_t end = nof1_clock_monotonic() + milliseconds;
    TRY(nof1_socket_connect(&socket, path, NOF1_LINES, (uid_t)-1, error));
    nof1_rc_value rc = nof1_socket_send(socket, line);
    while (rc == NOF1_OK && !got && nof1_clock_monotonic() < end) {
        struct pollfd wait = {.fd = socket->fd, .events = nof1_socket_events(socket)};
        (void)poll(&wait, 1, 100);
        rc = nof1_socket_flush(socket);
        rc = rc == NOF1_OK ? nof1_socket_receive(socket, &answer, &got) : rc;
    }
    if (rc == NOF1_OK && got) {
        rc = nof1_buffer_append(reply, answer.data, answer.length);
    } else {
        rc = nof1_fail(error, NOF1_E_UNREACHABLE, "%s: no answer", path);
    }
    nof1_socket_close(socket);
    return rc;
}
