/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The coordinator's loop: gRPC's finished operations, the admin socket, signals and the session's
 * timers, in one poll(2). Any error of the session or the store ends the process; at the next start
 * unfinished queries run again from the beginning.
 */
#include "coordinator_parts.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <base/log.h>
#include <coordinator/charters.h>
#include <sys/daemon.h>
#include <sys/entropy.h>
#include <sys/files.h>

#define REFRESH_EVERY 10000              /* allow list and revocation lists */
#define WARN_EVERY (3600 * 1000)
#define WARN_BEFORE (3 * 86400)          /* seconds before a revocation list ends */
#define LONGEST_WAIT 5000
#define GRACE 2000

/* ---- the driver's callbacks ------------------------------------------------------------------ */

static nof1_rc_value send_to_site(void *self, const char *peer, struct nof1_slice frame)
{
    struct coordinator *coordinator = self;
    return nof1_server_send(coordinator->server, peer, frame);
}

static void query_finished(void *self, struct nof1_slice query)
{
    (void)self;
    nof1_log(NOF1_LOG_INFO, "query.final",
             NOF1_LOG_FIELDS(nof1_log_hex("query", query.data, query.length)));
}

/* What happens when, for operators and for those who measure; no query's content. */
static void entry_appended(void *self, const char *kind)
{
    (void)self;
    nof1_log(NOF1_LOG_INFO, "ledger.append",
             NOF1_LOG_FIELDS(nof1_log_text("kind", kind),
                             nof1_log_integer("monotonic_us", nof1_clock_microseconds())));
}

/* ---- refresh --------------------------------------------------------------------------------- */

static void warn_about_lists(struct coordinator *coordinator)
{
    int64_t next = nof1_server_next_update(coordinator->server);
    int64_t left = next - (int64_t)time(NULL);
    if (next == 0 || left > WARN_BEFORE || nof1_clock_monotonic() < coordinator->next_warning) {
        return;
    }
    coordinator->next_warning = nof1_clock_monotonic() + WARN_EVERY;
    nof1_log(left > 0 ? NOF1_LOG_WARNING : NOF1_LOG_ERROR,
             left > 0 ? "crl.ends_soon" : "crl.ended_nobody_can_connect",
             NOF1_LOG_FIELDS(nof1_log_integer("seconds_left", left)));
}

static nof1_rc refresh(struct coordinator *coordinator)
{
    size_t count = 0;
    const struct nof1_allowed *allowed = NULL;
    struct nof1_error error = {0};
    NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *arena = nof1_arena_new();
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    coordinator->refresh = false;
    coordinator->next_refresh = nof1_clock_monotonic() + REFRESH_EVERY;
    nof1_rc_value rc = nof1_coordinator_allowed(&allowed, &count, arena, coordinator, &error);
    rc = rc == NOF1_OK ? nof1_server_allow(coordinator->server, count, allowed, &error) : rc;
    if (rc != NOF1_OK) {
        nof1_log_error(NOF1_LOG_ERROR, "refresh.failed", &error); /* the old lists stay in force */
    }
    warn_about_lists(coordinator);
    return NOF1_OK;
}

/* ---- admin connections ----------------------------------------------------------------------- */

static void accept_admin(struct coordinator *coordinator)
{
    struct nof1_socket *made = NULL;
    struct nof1_error error = {0};
    if (nof1_socket_accept(&made, coordinator->listener, NOF1_LINES, (uid_t)-1, &error) !=
        NOF1_OK) {
        nof1_log_error(NOF1_LOG_WARNING, "admin.refused", &error);
    }
    for (size_t i = 0; i < NOF1_ADMINS && made != NULL; i++) {
        if (coordinator->admin[i] == NULL) {
            coordinator->admin[i] = made;
            made = NULL;
        }
    }
    nof1_socket_close(made);
}

static nof1_rc serve_admin(struct coordinator *coordinator, size_t index)
{
    struct nof1_socket *socket = coordinator->admin[index];
    struct nof1_slice line;
    bool got = true;
    nof1_rc_value link = nof1_socket_flush(socket);
    while (link == NOF1_OK && got) {
        link = nof1_socket_receive(socket, &line, &got);
        if (link == NOF1_OK && got) {
            struct nof1_buffer reply = {0};
            nof1_rc_value rc = nof1_coordinator_admin(coordinator, line, &reply);
            link = rc == NOF1_OK ? nof1_socket_send(socket, nof1_buffer_slice(&reply)) : NOF1_OK;
            nof1_buffer_free(&reply);
            TRY(rc);
        }
    }
    if (link != NOF1_OK) {
        nof1_socket_close(socket);
        coordinator->admin[index] = NULL;
    }
    return NOF1_OK;
}

/* ---- the loop -------------------------------------------------------------------------------- */

enum slot { SIGNALS, SERVER, LISTENER, FIRST_ADMIN, SLOTS = FIRST_ADMIN + NOF1_ADMINS };

static void fill_slots(const struct coordinator *coordinator, struct pollfd slot[SLOTS])
{
    slot[SIGNALS] = (struct pollfd){.fd = coordinator->signals, .events = POLLIN};
    slot[SERVER] = (struct pollfd){.fd = nof1_server_fd(coordinator->server), .events = POLLIN};
    slot[LISTENER] = (struct pollfd){.fd = coordinator->listener, .events = POLLIN};
    for (size_t i = 0; i < NOF1_ADMINS; i++) {
        struct nof1_socket *socket = coordinator->admin[i];
        slot[FIRST_ADMIN + i] = (struct pollfd){
            .fd = socket == NULL ? -1 : nof1_socket_fd(socket),
            .events = socket == NULL ? (short)0 : nof1_socket_events(socket)};
    }
}

static nof1_rc handle_slots(struct coordinator *coordinator, const struct pollfd slot[SLOTS])
{
    if (slot[SIGNALS].revents != 0) {
        int signal = nof1_signals_next(coordinator->signals);
        coordinator->refresh = coordinator->refresh || signal == SIGHUP;
        coordinator->stop = coordinator->stop || signal == SIGTERM || signal == SIGINT;
    }
    for (size_t i = 0; i < NOF1_ADMINS; i++) {
        if (slot[FIRST_ADMIN + i].revents != 0) {
            TRY(serve_admin(coordinator, i));
        }
    }
    if (slot[LISTENER].revents != 0) {
        accept_admin(coordinator);
    }
    return nof1_server_run(coordinator->server);
}

static nof1_rc open_session(struct coordinator *coordinator, struct nof1_error *error)
{
    struct nof1_coordinator_config *config = &coordinator->config;
    config->entropy = nof1_random_entropy();
    config->store = nof1_store_reader(coordinator->store);
    config->round_timeout = coordinator->settings->round_timeout;
    return nof1_coordinator_new(&coordinator->session, config, nof1_clock_now(&coordinator->clock),
                                error);
}

/* Every site has approved the next charter: a new session under it, with the links that are there.
 * Queries of the old one that have not ended are over; results stay. */
static nof1_rc go_over(struct coordinator *coordinator)
{
    struct nof1_error error = {0};
    nof1_rc_value rc = nof1_charters_advance(coordinator, &error);
    if (rc == NOF1_OK) {
        nof1_coordinator_free(coordinator->session);
        coordinator->session = NULL;
        rc = open_session(coordinator, &error);
    }
    if (rc != NOF1_OK) {
        nof1_log_error(NOF1_LOG_ERROR, "charter.failed", &error);
        return rc;
    }
    TRY(nof1_charters_replay(coordinator));
    return refresh(coordinator); /* sites that have left are cut */
}

static nof1_rc loop(struct coordinator *coordinator)
{
    while (!coordinator->stop) {
        struct pollfd slot[SLOTS];
        fill_slots(coordinator, slot);
        int64_t now = nof1_clock_now(&coordinator->clock);
        if (poll(slot, SLOTS, nof1_driver_wait(&coordinator->driver, now, LONGEST_WAIT)) < 0) {
            ENSURE(errno == EINTR, NOF1_E_IO);
            continue;
        }
        TRY(handle_slots(coordinator, slot));
        if (nof1_driver_due(&coordinator->driver, nof1_clock_now(&coordinator->clock))) {
            TRY(nof1_coordinator_event(coordinator, (struct nof1_event){.kind = NOF1_EVENT_TIMER},
                                       NULL));
        }
        if (nof1_charters_ready(coordinator)) {
            TRY(go_over(coordinator));
        }
        if (coordinator->refresh || nof1_clock_monotonic() >= coordinator->next_refresh) {
            TRY(refresh(coordinator));
        }
    }
    return NOF1_OK;
}

/* ---- start and end --------------------------------------------------------------------------- */

static nof1_rc open_store(struct coordinator *coordinator, struct nof1_error *error)
{
    char path[512];
    const char *folder = coordinator->settings->folder;
    TRY(nof1_file_folder(folder, error));
    TRY(nof1_file_lock(&coordinator->lock, folder, "coordinator.lock", error));
    snprintf(path, sizeof path, "%s/%s", folder, NOF1_COORDINATOR_STORE);
    TRY(nof1_store_open(&coordinator->store, path, error));
    TRY(nof1_store_last_time(&coordinator->clock.last, coordinator->store));
    coordinator->driver = (struct nof1_driver){.store = coordinator->store,
                                               .send = send_to_site,
                                               .finish = query_finished,
                                               .appended = entry_appended,
                                               .self = coordinator};
    return NOF1_OK;
}

static nof1_rc open_server(struct coordinator *coordinator, struct nof1_error *error)
{
    const struct nof1_coordinator_settings *settings = coordinator->settings;
    struct nof1_server_config config = {.listen = settings->listen,
                                        .files = settings->files,
                                        .handlers = nof1_coordinator_handlers(coordinator)};
    TRY(nof1_coordinator_allowed(&config.allowed, &config.allowed_count, coordinator->arena,
                                 coordinator, error));
    TRY(nof1_server_start(&coordinator->server, &config, error));
    int port = nof1_server_port(coordinator->server);
    if (settings->files.crl_folder == NULL) {
        nof1_log(NOF1_LOG_WARNING, "crl.none", NOF1_LOG_NO_FIELDS);
    }
    nof1_log(NOF1_LOG_INFO, "coordinator.listening",
             NOF1_LOG_FIELDS(nof1_log_text("listen", settings->listen),
                             nof1_log_integer("port", port),
                             nof1_log_text("study", coordinator->config.charter->study),
                             nof1_log_hex("charter", coordinator->config.charter->hash, 32)));
    if (settings->port_file != NULL) {
        char text[16];
        snprintf(text, sizeof text, "%d\n", port);
        TRY(nof1_file_write(settings->port_file, nof1_slice_text(text), 0644, error));
    }
    return NOF1_OK;
}

static nof1_rc open_all(struct coordinator *coordinator, struct nof1_error *error)
{
    coordinator->arena = nof1_arena_new();
    ENSURE(coordinator->arena != NULL, NOF1_E_NO_MEMORY);
    TRY(open_store(coordinator, error)); /* and its lock: nobody else changes the folder */
    TRY(nof1_charters_open(coordinator, error));
    TRY(nof1_charters_load_offer(coordinator, error));
    TRY(open_session(coordinator, error));
    snprintf(coordinator->admin_path, sizeof coordinator->admin_path, "%s/%s",
             coordinator->settings->folder, NOF1_COORDINATOR_ADMIN);
    TRY(nof1_listener_open(&coordinator->listener, coordinator->admin_path, false, error));
    TRY(open_server(coordinator, error));
    coordinator->next_refresh = nof1_clock_monotonic() + REFRESH_EVERY;
    warn_about_lists(coordinator);
    /* Queries that were under way when the process ended go on. */
    return nof1_coordinator_event(coordinator, (struct nof1_event){.kind = NOF1_EVENT_TIMER}, NULL);
}

static void close_all(struct coordinator *coordinator)
{
    nof1_server_stop(coordinator->server, GRACE);
    for (size_t i = 0; i < NOF1_ADMINS; i++) {
        nof1_socket_close(coordinator->admin[i]);
    }
    for (struct site_link *link = coordinator->links; link != NULL; link = link->next) {
        nof1_buffer_free(&link->hello);
    }
    nof1_listener_close(coordinator->listener, coordinator->admin_path);
    nof1_coordinator_free(coordinator->session);
    nof1_driver_fini(&coordinator->driver);
    nof1_store_close(coordinator->store);
    nof1_arena_free(coordinator->arena);
    if (coordinator->signals >= 0) {
        (void)close(coordinator->signals);
    }
    if (coordinator->lock >= 0) {
        (void)close(coordinator->lock);
    }
}

nof1_rc nof1_coordinator_serve(const struct nof1_coordinator_settings *settings,
                               struct nof1_error *error)
{
    struct coordinator coordinator = {
        .settings = settings, .lock = -1, .signals = -1, .listener = -1};
    bool locked = false;
    TRY(nof1_signals_open(&coordinator.signals));
    nof1_process_harden(&locked);
    TRY(nof1_rpc_start(error));
    nof1_rc_value rc = open_all(&coordinator, error);
    if (rc == NOF1_OK) {
        rc = loop(&coordinator);
        nof1_log(rc == NOF1_OK ? NOF1_LOG_INFO : NOF1_LOG_ERROR, "coordinator.stopped",
                 NOF1_LOG_FIELDS(nof1_log_text("code", nof1_rc_code(rc))));
    }
    close_all(&coordinator);
    nof1_rpc_stop();
    return rc;
}
