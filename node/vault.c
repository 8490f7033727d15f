/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The vault's loop: one thread, poll(2), no network (sys/confine.h). One connection of the edge at
 * a time is "the link is up"; what arrives on it is a frame for the session. Any error of the
 * session or the store ends the process: it restarts from what is durable.
 */
#include "vault_parts.h"

#include <errno.h>
#include <gsl/gsl_errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <base/log.h>
#include <crypto/mask.h>
#include <sys/confine.h>
#include <sys/daemon.h>
#include <sys/files.h>

#define LONGEST_WAIT 60000

/* ---- the edge -------------------------------------------------------------------------------- */

static nof1_rc_value send_to_edge(void *self, const char *peer, struct nof1_slice frame)
{
    struct nof1_vault *vault = self;
    (void)peer;
    if (vault->edge == NULL || vault->edge_broken) {
        return NOF1_OK; /* the coordinator asks again when the link is back */
    }
    nof1_rc_value rc = nof1_socket_send(vault->edge, frame);
    vault->edge_broken = rc != NOF1_OK;
    return rc == NOF1_E_NO_MEMORY ? rc : NOF1_OK;
}

static nof1_rc drop_edge(struct nof1_vault *vault)
{
    vault->edge_broken = false;
    if (vault->edge == NULL) {
        return NOF1_OK;
    }
    nof1_socket_close(vault->edge);
    vault->edge = NULL;
    nof1_log(NOF1_LOG_INFO, "edge.down", NOF1_LOG_NO_FIELDS);
    return nof1_vault_step(vault, (struct nof1_event){.kind = NOF1_EVENT_LINK_DOWN});
}

/* A newer connection replaces the older: there is one edge, and it was restarted. */
static nof1_rc accept_edge(struct nof1_vault *vault)
{
    struct nof1_socket *made = NULL;
    struct nof1_error error = {0};
    if (nof1_socket_accept(&made, vault->listener, NOF1_FRAMED, vault->edge_user, &error) !=
        NOF1_OK) {
        nof1_log_error(NOF1_LOG_WARNING, "edge.refused", &error);
        return NOF1_OK;
    }
    if (made == NULL) {
        return NOF1_OK;
    }
    TRY(drop_edge(vault));
    vault->edge = made;
    nof1_log(NOF1_LOG_INFO, "edge.up", NOF1_LOG_NO_FIELDS);
    return nof1_vault_step(vault, (struct nof1_event){.kind = NOF1_EVENT_LINK_UP});
}

static nof1_rc read_edge(struct nof1_vault *vault)
{
    while (vault->edge != NULL && !vault->edge_broken && !nof1_site_is_delaying(vault->site)) {
        struct nof1_slice frame;
        bool got = false;
        if (nof1_socket_receive(vault->edge, &frame, &got) != NOF1_OK) {
            vault->edge_broken = true;
        } else if (!got) {
            break;
        } else {
            struct nof1_event event = {.kind = NOF1_EVENT_FRAME, .bytes = frame};
            TRY(nof1_vault_step(vault, event));
        }
    }
    return NOF1_OK;
}

static nof1_rc serve_edge(struct nof1_vault *vault, short events)
{
    if (vault->edge != NULL && (events & POLLOUT) != 0 &&
        nof1_socket_flush(vault->edge) != NOF1_OK) {
        vault->edge_broken = true;
    }
    if (vault->edge != NULL && (events & (POLLIN | POLLHUP | POLLERR)) != 0) {
        TRY(read_edge(vault));
    }
    return NOF1_OK;
}

/* ---- the admin ------------------------------------------------------------------------------- */

static void accept_admin(struct nof1_vault *vault)
{
    struct nof1_socket *made = NULL;
    struct nof1_error error = {0};
    if (nof1_socket_accept(&made, vault->admin_listener, NOF1_LINES, (uid_t)-1, &error) !=
        NOF1_OK) {
        nof1_log_error(NOF1_LOG_WARNING, "admin.refused", &error);
    }
    for (size_t i = 0; i < NOF1_ADMINS && made != NULL; i++) {
        if (vault->admin[i] == NULL) {
            vault->admin[i] = made;
            made = NULL;
        }
    }
    nof1_socket_close(made);
}

static void close_admin(struct nof1_vault *vault, size_t index)
{
    nof1_socket_close(vault->admin[index]);
    vault->admin[index] = NULL;
}

static nof1_rc serve_admin(struct nof1_vault *vault, size_t index)
{
    struct nof1_socket *socket = vault->admin[index];
    struct nof1_slice line;
    bool got = true;
    if (nof1_socket_flush(socket) != NOF1_OK) {
        close_admin(vault, index);
        return NOF1_OK;
    }
    while (got) {
        if (nof1_socket_receive(socket, &line, &got) != NOF1_OK) {
            close_admin(vault, index);
            return NOF1_OK;
        }
        if (got) {
            struct nof1_buffer reply = {0};
            nof1_rc_value rc = nof1_vault_admin(vault, line, &reply);
            nof1_rc_value sent =
                rc == NOF1_OK ? nof1_socket_send(socket, nof1_buffer_slice(&reply)) : rc;
            nof1_buffer_free(&reply);
            TRY(rc);
            if (sent != NOF1_OK) {
                close_admin(vault, index);
                return NOF1_OK;
            }
        }
    }
    return NOF1_OK;
}

/* ---- the loop -------------------------------------------------------------------------------- */

enum slot {
    SIGNALS, LISTENER, ADMIN_LISTENER, EDGE, FIRST_ADMIN, SLOTS = FIRST_ADMIN + NOF1_ADMINS
};

static void fill_slots(const struct nof1_vault *vault, struct pollfd slot[SLOTS])
{
    for (size_t i = 0; i < SLOTS; i++) {
        slot[i] = (struct pollfd){.fd = -1, .events = POLLIN};
    }
    slot[SIGNALS].fd = vault->signals;
    slot[LISTENER].fd = vault->listener;
    slot[ADMIN_LISTENER].fd = vault->admin_listener;
    if (vault->edge != NULL) {
        short unread = nof1_site_is_delaying(vault->site) ? POLLIN : 0;
        slot[EDGE].events = (short)(nof1_socket_events(vault->edge) & ~unread);
        slot[EDGE].fd = slot[EDGE].events == 0 ? -1 : nof1_socket_fd(vault->edge);
    }
    for (size_t i = 0; i < NOF1_ADMINS; i++) {
        if (vault->admin[i] != NULL) {
            slot[FIRST_ADMIN + i].fd = nof1_socket_fd(vault->admin[i]);
            slot[FIRST_ADMIN + i].events = nof1_socket_events(vault->admin[i]);
        }
    }
}

nof1_rc_value nof1_vault_hold(struct nof1_vault *vault)
{
    bool waits = vault->edge != NULL && (nof1_socket_events(vault->edge) & POLLOUT) != 0;
    return waits ? drop_edge(vault) : NOF1_OK;
}

nof1_rc_value nof1_vault_reload(struct nof1_vault *vault)
{
    struct nof1_error error = {0};
    vault->reload = false;
    TRY(drop_edge(vault)); /* the edge connects again and the new session says hello */
    nof1_vault_unload(vault);
    nof1_driver_fini(&vault->driver);
    int64_t last = 0; /* other programs of this site have written to the ledger, too */
    TRY(nof1_store_last_time(&last, vault->store));
    vault->clock.last = last > vault->clock.last ? last : vault->clock.last;
    nof1_rc_value rc = nof1_vault_load(vault, &error);
    if (rc != NOF1_OK) {
        nof1_log_error(NOF1_LOG_ERROR, "vault.reload_failed", &error);
    }
    return rc;
}

static nof1_rc handle_slots(struct nof1_vault *vault, const struct pollfd slot[SLOTS])
{
    if (slot[SIGNALS].revents != 0) {
        int signal = nof1_signals_next(vault->signals);
        vault->reload = vault->reload || signal == SIGHUP;
        vault->stop = vault->stop || signal == SIGTERM || signal == SIGINT;
    }
    for (size_t i = 0; i < NOF1_ADMINS; i++) {
        if (slot[FIRST_ADMIN + i].revents != 0 && vault->admin[i] != NULL) {
            TRY(serve_admin(vault, i));
        }
    }
    TRY(serve_edge(vault, slot[EDGE].revents));
    if (vault->edge_broken) {
        TRY(drop_edge(vault));
    }
    if (slot[LISTENER].revents != 0) {
        TRY(accept_edge(vault));
    }
    if (slot[ADMIN_LISTENER].revents != 0) {
        accept_admin(vault);
    }
    return NOF1_OK;
}

static nof1_rc loop(struct nof1_vault *vault)
{
    while (!vault->stop) {
        struct pollfd slot[SLOTS];
        fill_slots(vault, slot);
        int64_t now = nof1_clock_now(&vault->clock), at = now + LONGEST_WAIT;
        (void)nof1_driver_next(&vault->driver, &at);
        at = vault->charter_due != 0 && vault->charter_due < at ? vault->charter_due : at;
        struct timespec wait = nof1_clock_until(&vault->clock, at, LONGEST_WAIT);
        if (ppoll(slot, SLOTS, &wait, NULL) < 0) {
            ENSURE(errno == EINTR, NOF1_E_IO);
            continue;
        }
        /* a steward's command has written here: what it decided holds before anything else is read
         * or sent, even when the command died before it could say so */
        bool changed = false;
        TRY(nof1_store_changed(&changed, vault->store));
        if (changed) {
            TRY(nof1_vault_reload(vault));
            continue;
        }
        TRY(handle_slots(vault, slot));
        if (nof1_driver_due(&vault->driver, nof1_clock_now(&vault->clock))) {
            TRY(nof1_vault_step(vault, (struct nof1_event){.kind = NOF1_EVENT_TIMER}));
            TRY(read_edge(vault)); /* what was kept waiting by an answer's delay */
        }
        now = nof1_clock_now(&vault->clock);
        if (vault->reload || (vault->charter_due != 0 && now >= vault->charter_due)) {
            TRY(nof1_vault_reload(vault));
        }
    }
    return NOF1_OK;
}

/* ---- start and end --------------------------------------------------------------------------- */

/* Before anything of a patient is read. */
static nof1_rc close_in(const struct nof1_vault_config *config, struct nof1_error *error)
{
    bool locked = false;
    nof1_process_harden(&locked);
    TRY(nof1_process_confine(error));
    nof1_rc_value rc = nof1_secrets_init();
    if (rc != NOF1_OK && rc != NOF1_E_CONFIG) {
        return nof1_fail(error, rc, "no memory for keys");
    }
    if (!locked && config->service) {
        return nof1_fail(error, NOF1_E_CONFIG,
                         "memory cannot be locked: the service needs LimitMEMLOCK=infinity");
    }
    if (!locked) {
        nof1_log(NOF1_LOG_NOTICE, "memory.not_locked",
                 NOF1_LOG_FIELDS(nof1_log_flag("masks_locked", rc == NOF1_OK)));
    }
    return NOF1_OK;
}

static nof1_rc open_all(struct nof1_vault *vault, struct nof1_error *error)
{
    char path[512];
    const struct nof1_vault_config *config = vault->config;
    TRY(close_in(config, error));
    TRY(nof1_file_folder(config->folder, error));
    TRY(nof1_file_lock(&vault->lock, config->folder, "vault.lock", error));
    TRY(nof1_signals_open(&vault->signals));
    if (config->edge_user != NULL) {
        TRY(nof1_user_find(&vault->edge_user, config->edge_user, error));
    }
    snprintf(path, sizeof path, "%s/%s", config->folder, NOF1_SITE_STORE);
    TRY(nof1_store_open(&vault->store, path, error));
    bool changed = false; /* counted from here on */
    TRY(nof1_store_changed(&changed, vault->store));
    TRY(nof1_store_last_time(&vault->clock.last, vault->store));
    vault->driver =
        (struct nof1_driver){.store = vault->store, .send = send_to_edge, .self = vault};
    TRY(nof1_vault_load(vault, error));
    TRY(nof1_listener_open(&vault->listener, config->socket, config->edge_user != NULL, error));
    if (config->admin != NULL) {
        snprintf(vault->admin_path, sizeof vault->admin_path, "%s", config->admin);
    } else {
        snprintf(vault->admin_path, sizeof vault->admin_path, "%s/%s", config->folder,
                 NOF1_SITE_ADMIN);
    }
    return nof1_listener_open(&vault->admin_listener, vault->admin_path, false, error);
}

static void close_fd(int fd)
{
    if (fd >= 0) {
        (void)close(fd);
    }
}

static void close_all(struct nof1_vault *vault)
{
    nof1_socket_close(vault->edge);
    for (size_t i = 0; i < NOF1_ADMINS; i++) {
        nof1_socket_close(vault->admin[i]);
    }
    nof1_listener_close(vault->listener, vault->config->socket);
    nof1_listener_close(vault->admin_listener, vault->admin_path);
    nof1_vault_unload(vault);
    nof1_driver_fini(&vault->driver);
    nof1_store_close(vault->store);
    close_fd(vault->signals);
    close_fd(vault->lock);
}

int nof1_vault_run(const struct nof1_vault_config *config)
{
    struct nof1_vault vault = {.config = config,
                               .lock = -1,
                               .signals = -1,
                               .listener = -1,
                               .admin_listener = -1,
                               .edge_user = (uid_t)-1};
    struct nof1_error error = {0};
    gsl_set_error_handler_off();
    nof1_rc_value rc = open_all(&vault, &error);
    if (rc != NOF1_OK && error.rc == NOF1_OK) {
        (void)nof1_fail(&error, rc, "%s", nof1_rc_sentence(rc));
    }
    int code = rc == NOF1_OK ? 0 : nof1_report_error(config->program, &error);
    if (rc == NOF1_OK) {
        rc = loop(&vault);
        code = nof1_rc_exit_code(rc);
        nof1_log(rc == NOF1_OK ? NOF1_LOG_INFO : NOF1_LOG_ERROR, "vault.stopped",
                 NOF1_LOG_FIELDS(nof1_log_text("code", nof1_rc_code(rc))));
    }
    close_all(&vault);
    return code;
}
