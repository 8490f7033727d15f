/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * nof1-edge(8): relays opaque frames between the coordinator's stream and the vault's socket. Holds
 * the TLS identity and no data; cannot read what it carries, and whatever it does to it the vaults
 * notice. The vault knows the link as up while, and only while, the coordinator's stream is.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/log.h>
#include <rpc/link.h>
#include <sys/arguments.h>
#include <sys/daemon.h>
#include <sys/local.h>

#define LONGEST_WAIT 60000

struct edge {
    const char *socket_path;
    uid_t vault_user;
    struct nof1_link *link;
    struct nof1_socket *vault; /* connected while the stream is up */
};

/* ---- the stream ------------------------------------------------------------------------------ */

/* No vault, no stream: the coordinator would wait for answers of a site that cannot give any. */
static bool vault_is_there(void *self)
{
    const struct edge *edge = self;
    struct stat info;
    bool there = stat(edge->socket_path, &info) == 0 && S_ISSOCK(info.st_mode);
    if (!there) {
        nof1_log(NOF1_LOG_WARNING, "vault.absent",
                 NOF1_LOG_FIELDS(nof1_log_text("socket", edge->socket_path)));
    }
    return there;
}

static bool stream_up(void *self)
{
    struct edge *edge = self;
    struct nof1_error error = {0};
    if (nof1_socket_connect(&edge->vault, edge->socket_path, NOF1_FRAMED, edge->vault_user,
                            &error) != NOF1_OK) {
        nof1_log_error(NOF1_LOG_ERROR, "vault.unreachable", &error);
        return false;
    }
    return true;
}

static void stream_down(void *self)
{
    struct edge *edge = self;
    nof1_socket_close(edge->vault);
    edge->vault = NULL;
}

static nof1_rc_value frame_from_coordinator(void *self, struct nof1_slice frame)
{
    struct edge *edge = self;
    ENSURE(edge->vault != NULL, NOF1_E_UNREACHABLE);
    return nof1_socket_send(edge->vault, frame);
}

/* ---- the vault ------------------------------------------------------------------------------- */

static void lose_vault(struct edge *edge, nof1_rc_value rc)
{
    nof1_log(NOF1_LOG_WARNING, "vault.lost",
             NOF1_LOG_FIELDS(nof1_log_text("code", nof1_rc_code(rc))));
    stream_down(edge);
    nof1_link_drop(edge->link);
}

static nof1_rc serve_vault(struct edge *edge, short events)
{
    if ((events & POLLOUT) != 0) {
        nof1_rc_value rc = nof1_socket_flush(edge->vault);
        if (rc != NOF1_OK) {
            lose_vault(edge, rc);
            return NOF1_OK;
        }
    }
    bool got = (events & (POLLIN | POLLHUP | POLLERR)) != 0;
    while (got && edge->vault != NULL) {
        struct nof1_slice frame;
        nof1_rc_value rc = nof1_socket_receive(edge->vault, &frame, &got);
        if (rc != NOF1_OK) {
            lose_vault(edge, rc);
        } else if (got) {
            TRY(nof1_link_send(edge->link, frame));
        }
    }
    return NOF1_OK;
}

/* ---- the loop -------------------------------------------------------------------------------- */

static nof1_rc loop(struct edge *edge, int signals)
{
    for (;;) {
        struct pollfd slot[3] = {{.fd = signals, .events = POLLIN},
                                 {.fd = nof1_link_fd(edge->link), .events = POLLIN},
                                 {.fd = -1}};
        if (edge->vault != NULL) {
            slot[2].fd = nof1_socket_fd(edge->vault);
            slot[2].events = nof1_socket_events(edge->vault);
        }
        if (poll(slot, 3, nof1_link_wait(edge->link, LONGEST_WAIT)) < 0) {
            ENSURE(errno == EINTR, NOF1_E_IO);
            continue;
        }
        if (slot[0].revents != 0) {
            int signal = nof1_signals_next(signals);
            if (signal == SIGTERM || signal == SIGINT) {
                return NOF1_OK;
            }
        }
        /* Frames of the vault go out before the stream may be found down. */
        if (slot[2].revents != 0 && edge->vault != NULL) {
            TRY(serve_vault(edge, slot[2].revents));
        }
        TRY(nof1_link_run(edge->link));
    }
}

struct settings {
    const char *socket, *target, *server_name, *vault_user;
    struct nof1_tls_files files;
};

static nof1_rc run(const struct settings *settings, struct nof1_error *error)
{
    struct edge edge = {.socket_path = settings->socket, .vault_user = (uid_t)-1};
    struct nof1_link_config config = {.target = settings->target,
                                      .server_name = settings->server_name,
                                      .files = settings->files,
                                      .handlers = {.self = &edge,
                                                   .ready = vault_is_there,
                                                   .up = stream_up,
                                                   .down = stream_down,
                                                   .frame = frame_from_coordinator}};
    int signals = -1;
    bool locked = false;
    nof1_process_harden(&locked); /* before the TLS key is read */
    if (settings->vault_user != NULL) {
        TRY(nof1_user_find(&edge.vault_user, settings->vault_user, error));
    }
    TRY(nof1_signals_open(&signals));
    TRY(nof1_rpc_start(error));
    nof1_rc_value rc = nof1_link_start(&edge.link, &config, error);
    if (rc == NOF1_OK) {
        rc = loop(&edge, signals);
        nof1_link_stop(edge.link);
    }
    nof1_rpc_stop();
    (void)close(signals);
    return rc;
}

int main(int argc, char **argv)
{
    struct settings settings = {0};
    const struct nof1_argument options[] = {
        {"socket", "PATH", &settings.socket, NULL, "the vault's socket", true},
        {"target", "HOST:PORT", &settings.target, NULL, "the coordinator", true},
        {"ca", "FILE", &settings.files.ca, NULL, "the consortium's authority (PEM)", true},
        {"cert", "FILE", &settings.files.cert, NULL, "this edge's certificate (PEM)", true},
        {"key", "FILE", &settings.files.key, NULL, "its private key (PEM, mode 0600)", true},
        {"server-name", "NAME", &settings.server_name, NULL,
         "name in the coordinator's certificate; default HOST", false},
        {"crl", "DIR", &settings.files.crl_folder, NULL,
         "folder of revocation lists, to check the coordinator", false},
        {"vault-user", "USER", &settings.vault_user, NULL,
         "the user nof1-vault runs as, when it is another", false},
        NOF1_ARGUMENTS_END};
    int code = nof1_command_line(
        &(struct nof1_usage_text){
            "nof1-edge --socket PATH --target HOST:PORT --ca FILE --cert FILE --key FILE [options]",
            "", options, 0},
        0, NULL, argc, argv, 1);
    if (code >= 0) {
        return code;
    }
    struct nof1_error error = {0};
    nof1_log_start();
    nof1_rc_value rc = run(&settings, &error);
    if (rc == NOF1_OK) {
        return 0;
    }
    if (error.rc == NOF1_OK) {
        (void)nof1_fail(&error, rc, "%s", nof1_rc_sentence(rc));
    }
    return nof1_report_error("nof1-edge", &error);
}
