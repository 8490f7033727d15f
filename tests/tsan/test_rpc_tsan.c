/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The threads of lib/rpc under ThreadSanitizer: a server and two sites, frames both ways, the allow
 * list replaced while handshakes run, streams cut and dialled again, stop in the middle. Plain
 * main: Criterion and ThreadSanitizer do not go together. gRPC is not instrumented: run with
 * TSAN_OPTIONS=ignore_noninstrumented_modules=1.
 */
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include <base/log.h>
#include <rpc/link.h>
#include <rpc/server.h>
#include <sys/clock.h>

#include "pki.h"

#define SITES 2
#define FRAMES 1000

struct hub {
    struct nof1_server *server;
    struct nof1_allowed allowed[SITES];
    atomic_bool stop;
    atomic_int echoed, cuts;
};

struct site {
    struct nof1_link *link;
    struct nof1_tls_files files;
    char target[32];
    char ca[128], cert[128], key[128];
    atomic_int *echoed;
    int received, ups;
    bool failed;
};

static nof1_rc_value on_link(void *self, const char *site, bool up)
{
    (void)self;
    (void)site;
    (void)up;
    return NOF1_OK;
}

static nof1_rc_value on_frame(void *self, const char *site, struct nof1_slice frame)
{
    struct hub *hub = self;
    atomic_fetch_add(&hub->echoed, 1);
    return nof1_server_send(hub->server, site, frame);
}

static nof1_rc_value on_call(void *self, enum nof1_method method,
                             const struct nof1_identity *caller, struct nof1_slice request,
                             struct nof1_buffer *reply, struct nof1_error *error, bool *fatal)
{
    (void)self;
    (void)method;
    (void)caller;
    (void)request;
    (void)reply;
    *fatal = false;
    return nof1_fail(error, NOF1_E_NOT_FOUND, "nothing here");
}

/* Serve; every 150 ms replace the allow list, now and then without the second site. */
static void *serve(void *argument)
{
    struct hub *hub = argument;
    int64_t next = nof1_clock_monotonic() + 150;
    for (int turn = 0; !atomic_load(&hub->stop);) {
        struct pollfd wait = {.fd = nof1_server_fd(hub->server), .events = POLLIN};
        (void)poll(&wait, 1, 10);
        pki_must(nof1_server_run(hub->server) == NOF1_OK, "server");
        if (nof1_clock_monotonic() >= next) {
            next = nof1_clock_monotonic() + 150;
            size_t count = ++turn % 4 == 2 && turn < 12 ? 1 : SITES;
            atomic_fetch_add(&hub->cuts, count == 1 ? 1 : 0);
            pki_must(nof1_server_allow(hub->server, count, hub->allowed, NULL) == NOF1_OK, "allow");
        }
    }
    nof1_server_stop(hub->server, 50);
    return NULL;
}

static bool ready(void *self)
{
    (void)self;
    return true;
}

static bool up(void *self)
{
    struct site *site = self;
    site->ups++;
    return nof1_link_send(site->link, nof1_slice_text("first")) == NOF1_OK;
}

static void down(void *self)
{
    (void)self;
}

static nof1_rc_value frame(void *self, struct nof1_slice bytes)
{
    struct site *site = self;
    site->received++;
    return nof1_link_send(site->link, bytes);
}

static void *attend(void *argument)
{
    struct site *site = argument;
    struct nof1_link_config config = {
        .target = site->target,
        .files = site->files,
        .handlers = {.self = site, .ready = ready, .up = up, .down = down, .frame = frame}};
    pki_must(nof1_link_start(&site->link, &config, NULL) == NOF1_OK, "link");
    int64_t limit = nof1_clock_monotonic() + 60000;
    while ((site->received < FRAMES || site->ups < 1) && nof1_clock_monotonic() < limit) {
        struct pollfd wait = {.fd = nof1_link_fd(site->link), .events = POLLIN};
        (void)poll(&wait, 1, nof1_link_wait(site->link, 50));
        pki_must(nof1_link_run(site->link) == NOF1_OK, "run");
    }
    site->failed = site->received < FRAMES;
    nof1_link_stop(site->link);
    return NULL;
}

static void prepare(struct hub *hub, struct site site[SITES], struct test_ca *ca)
{
    static const char *const spiffe[SITES] = {"spiffe://s/site/a", "spiffe://s/site/b"};
    static const char *const id[SITES] = {"a", "b"};
    char cert[128], key[128], path[128], name[64];
    test_ca_issue(ca, "server", "URI:spiffe://s/coordinator/hub,IP:127.0.0.1", "serverAuth", -60,
                  1);
    pki_path(path, ca, "ca.pem");
    for (size_t i = 0; i < SITES; i++) {
        snprintf(name, sizeof name, "URI:%s", spiffe[i]);
        test_ca_issue(ca, id[i], name, "clientAuth", -60, 1);
        memcpy(site[i].ca, path, sizeof path);
        snprintf(site[i].cert, sizeof site[i].cert, "%s/%s.pem", ca->folder, id[i]);
        snprintf(site[i].key, sizeof site[i].key, "%s/%s.key", ca->folder, id[i]);
        site[i].files = (struct nof1_tls_files){
            .ca = site[i].ca, .cert = site[i].cert, .key = site[i].key};
        hub->allowed[i] = (struct nof1_allowed){spiffe[i], id[i], NOF1_ROLE_SITE, NULL};
    }
    struct nof1_server_config config = {
        .listen = "127.0.0.1:0",
        .files = {.ca = path,
                  .cert = pki_path(cert, ca, "server.pem"),
                  .key = pki_path(key, ca, "server.key")},
        .allowed_count = SITES,
        .allowed = hub->allowed,
        .handlers = {.self = hub, .link = on_link, .frame = on_frame, .call = on_call}};
    pki_must(nof1_server_start(&hub->server, &config, NULL) == NOF1_OK, "server start");
    for (size_t i = 0; i < SITES; i++) {
        snprintf(site[i].target, sizeof site[i].target, "127.0.0.1:%d",
                 nof1_server_port(hub->server));
    }
}

int main(void)
{
    char folder[] = "/tmp/nof1-tsan-XXXXXX";
    char command[64];
    struct hub hub = {0};
    struct site site[SITES] = {0};
    struct test_ca ca;
    pthread_t server, thread[SITES];
    nof1_log_setup(2, NOF1_LOG_ERROR, false);
    pki_must(mkdtemp(folder) != NULL, "folder");
    pki_must(nof1_rpc_start(NULL) == NOF1_OK, "start");
    test_ca_new(&ca, folder);
    prepare(&hub, site, &ca);
    pthread_create(&server, NULL, serve, &hub);
    for (size_t i = 0; i < SITES; i++) {
        pthread_create(&thread[i], NULL, attend, &site[i]);
    }
    bool failed = false;
    for (size_t i = 0; i < SITES; i++) {
        pthread_join(thread[i], NULL);
        failed = failed || site[i].failed;
    }
    atomic_store(&hub.stop, true);
    pthread_join(server, NULL);
    nof1_rpc_stop();
    test_ca_free(&ca);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    failed = system(command) != 0 || failed;
    printf("%d frames echoed, list cut %d times, streams up %d and %d times\n",
           atomic_load(&hub.echoed), atomic_load(&hub.cuts), site[0].ups, site[1].ups);
    return failed ? 1 : 0;
}
