/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Private to the coordinator's files.
 */
#ifndef NOF1_COORDINATOR_PARTS_H
#define NOF1_COORDINATOR_PARTS_H

#include <coordinator/charter_files.h>
#include <coordinator/coordinator.h>
#include <core/charter.h>
#include <core/coordinator.h>
#include <rpc/server.h>
#include <sys/clock.h>
#include <sys/driver.h>
#include <sys/local.h>

#define NOF1_ADMINS 4

/* A site that is linked or was; also one of the next charter. */
struct site_link {
    struct site_link *next;
    const char *site;
    bool up;
    struct nof1_buffer hello; /* its last Hello on this stream; empty: none */
    char answer[16];          /* of the next charter: approved, refused, received or empty */
};

struct coordinator {
    const struct nof1_coordinator_settings *settings;
    struct nof1_arena *arena;
    struct nof1_clock clock;
    struct nof1_store *store;
    struct nof1_driver driver;
    struct nof1_coordinator_config config;
    struct nof1_coordinator *session;
    struct nof1_slice charter_signature;
    struct signed_charter offer;         /* the next charter, published; charter NULL: none */
    struct site_link *links;
    struct nof1_server *server;
    int lock, signals, listener;
    char admin_path[256];
    struct nof1_socket *admin[NOF1_ADMINS];
    int64_t next_refresh;                /* monotone milliseconds */
    int64_t next_warning;
    bool stop, refresh;
};

/* Give the session an event and perform what it answers. Errors are fatal; submit_error as in
 * core/coordinator.h. */
nof1_rc nof1_coordinator_event(struct coordinator *coordinator, struct nof1_event event,
                               struct nof1_error *submit_error);
/* The handlers of the server, for this coordinator. */
struct nof1_server_handlers nof1_coordinator_handlers(struct coordinator *coordinator);
/* Who may connect: everybody on the charter who is not in the folder's list. In arena. */
nof1_rc nof1_coordinator_allowed(const struct nof1_allowed **out, size_t *count,
                                 struct nof1_arena *arena, const struct coordinator *coordinator,
                                 struct nof1_error *error);
/* Answer one admin line. */
nof1_rc nof1_coordinator_admin(struct coordinator *coordinator, struct nof1_slice line,
                               struct nof1_buffer *reply);

#endif
