/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * UNIX stream sockets between the programs of one site: frames behind a 4-byte big-endian length
 * (vault and edge), or lines of JSON (vault and admin commands). Never blocks; the caller polls.
 * Both ends check by SO_PEERCRED who the other is. (No header of this folder may have the name of
 * one of the system's <sys/...>: both are found by the same path.)
 */
#ifndef NOF1_SYS_LOCAL_H
#define NOF1_SYS_LOCAL_H

#include <sys/types.h>

#include <nof1/slice.h>

enum nof1_framing {
    NOF1_FRAMED, /* length + bytes, at most 64 MiB */
    NOF1_LINES   /* bytes up to '\n', which is not part of the message; at most 16 MiB */
};

/* Listen at `path` with mode 0600 (0660 when a second user may connect: give the socket's folder
 * the group that both share). A socket file without a listener behind it is replaced.
 * Errors: NOF1_E_CONFIG when somebody listens there or the file is no socket; NOF1_E_IO. */
nof1_rc nof1_listener_open(int *fd, const char *path, bool shared, struct nof1_error *error);
/* Close and remove the file. */
void nof1_listener_close(int fd, const char *path);

/* One connection. */
struct nof1_socket;
/* Take one waiting connection; *out is NULL when there is none. The other side must run as this
 * user, root, or `other` ((uid_t)-1: nobody else): otherwise NOF1_E_UNAUTHORISED and it is
 * closed. */
nof1_rc nof1_socket_accept(struct nof1_socket **out, int fd, enum nof1_framing framing, uid_t other,
                           struct nof1_error *error);
/* Connect. Errors: NOF1_E_UNREACHABLE, NOF1_E_UNAUTHORISED when a stranger listens there. */
nof1_rc nof1_socket_connect(struct nof1_socket **out, const char *path, enum nof1_framing framing,
                            uid_t other, struct nof1_error *error);
/* A connection over a descriptor that is already there (socketpair); takes it over. */
nof1_rc nof1_socket_adopt(struct nof1_socket **out, int fd, enum nof1_framing framing);
void nof1_socket_close(struct nof1_socket *socket); /* NULL is fine */

int nof1_socket_fd(const struct nof1_socket *socket);
/* The events to poll for: POLLIN, and POLLOUT while something waits to be written. */
short nof1_socket_events(const struct nof1_socket *socket);
/* Queue one message and write what fits. Errors: NOF1_E_IO when the other side is gone or 256 MiB
 * wait already: close the connection. NOF1_E_DECODE: longer than the framing allows. */
nof1_rc nof1_socket_send(struct nof1_socket *socket, struct nof1_slice message);
/* Write what fits. Errors: NOF1_E_IO. */
nof1_rc nof1_socket_flush(struct nof1_socket *socket);
/* Read what is there. NOF1_OK with *got: one message, borrowed until the next call. NOF1_OK
 * without: nothing complete yet. Errors: NOF1_E_UNREACHABLE: the other side closed; NOF1_E_IO;
 * NOF1_E_DECODE: too long. */
nof1_rc nof1_socket_receive(struct nof1_socket *socket, struct nof1_slice *message, bool *got);
/* For admin commands: connect to a socket of lines, send one line, append the answer to reply.
 * Blocks up to `milliseconds`. Errors: NOF1_E_UNREACHABLE when nobody listens or answers. */
nof1_rc nof1_socket_ask(struct nof1_buffer *reply, const char *path, struct nof1_slice line,
                        int milliseconds, struct nof1_error *error);

#endif
