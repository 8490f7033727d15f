/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The link over real TLS on loopback: who is let in, who is refused with which reason in the
 * server's log, and that frames of every size arrive whole and in order.
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <base/log.h>
#include <rpc/client.h>
#include <rpc/link.h>
#include <rpc/server.h>
#include <sys/clock.h>
#include <sys/files.h>

#include "pki.h"

#define CLIENT "clientAuth"
#define SERVER "serverAuth"
#define NAME(role, id) "URI:spiffe://study-1/" role "/" id

static struct nof1_slice text(const char *value)
{
    return nof1_slice_of(value, strlen(value));
}

/* ---- a server that echoes, in a thread of its own -------------------------------------------- */

struct fixture {
    char folder[64], log[128], ca_path[128], crl_path[128], cert[128], key[128], target[32];
    struct test_ca ca;
    struct nof1_server *server;
    pthread_t thread;
    atomic_bool stop;
    _Atomic int command; /* 1: drop site-a from the list; 2: read the lists again; 0: done */
    atomic_int ups, downs, frames;
    struct nof1_allowed allowed[4];
    size_t allowed_count;
    uint8_t wrong_spki[32];
    bool lists;
    nof1_rc_value rc;
};

static nof1_rc_value on_link(void *self, const char *site, bool up)
{
    struct fixture *fixture = self;
    cr_expect(strcmp(site, "a") == 0 || strcmp(site, "b") == 0, "%s", site);
    atomic_fetch_add(up ? &fixture->ups : &fixture->downs, 1);
    return up ? nof1_server_send(fixture->server, site, text("welcome")) : NOF1_OK;
}

static nof1_rc_value on_frame(void *self, const char *site, struct nof1_slice frame)
{
    struct fixture *fixture = self;
    if (nof1_slice_equal(frame, text("I am somebody else"))) {
        return NOF1_E_UNAUTHORISED;
    }
    atomic_fetch_add(&fixture->frames, 1);
    return nof1_server_send(fixture->server, site, frame);
}

static nof1_rc_value on_call(void *self, enum nof1_method method,
                             const struct nof1_identity *caller, struct nof1_slice request,
                             struct nof1_buffer *reply, struct nof1_error *error, bool *fatal)
{
    (void)self;
    *fatal = false;
    cr_expect_eq(method == NOF1_METHOD_STATUS || method == NOF1_METHOD_SUBMIT, true);
    if (nof1_slice_equal(request, text("refuse"))) {
        return nof1_fail(error, NOF1_E2205, "needs at least 15");
    }
    TRY(nof1_buffer_append(reply, caller->id, strlen(caller->id)));
    return nof1_buffer_append(reply, request.data, request.length);
}

static struct nof1_tls_files files_of(struct fixture *fixture, const char *folder, const char *name)
{
    snprintf(fixture->cert, sizeof fixture->cert, "%s/%s.pem", folder, name);
    snprintf(fixture->key, sizeof fixture->key, "%s/%s.key", folder, name);
    return (struct nof1_tls_files){
        .ca = fixture->ca_path, .cert = fixture->cert, .key = fixture->key};
}

static void obey(struct fixture *fixture)
{
    int command = atomic_load(&fixture->command);
    struct nof1_error error = {0};
    if (command == 0) {
        return;
    }
    size_t skip = command == 1 ? 1 : 0;
    cr_expect_eq(nof1_server_allow(fixture->server, fixture->allowed_count - skip,
                                   fixture->allowed + skip, &error),
                 NOF1_OK, "%s", error.message);
    atomic_store(&fixture->command, 0);
}

static void *serve(void *argument)
{
    struct fixture *fixture = argument;
    while (!atomic_load(&fixture->stop)) {
        struct pollfd wait = {.fd = nof1_server_fd(fixture->server), .events = POLLIN};
        (void)poll(&wait, 1, 20);
        nof1_rc_value rc = nof1_server_run(fixture->server);
        fixture->rc = fixture->rc == NOF1_OK ? rc : fixture->rc;
        obey(fixture);
    }
    nof1_server_stop(fixture->server, 100);
    return NULL;
}

static void open_log(struct fixture *fixture)
{
    snprintf(fixture->log, sizeof fixture->log, "%s/log", fixture->folder);
    int fd = open(fixture->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    nof1_log_setup(fd, NOF1_LOG_INFO, false);
}

static void issue_all(struct fixture *fixture)
{
    struct test_ca *ca = &fixture->ca;
    test_ca_issue(ca, "server", NAME("coordinator", "hub") ",IP:127.0.0.1", SERVER, -60, 1);
    test_ca_issue(ca, "a", NAME("site", "edge-a"), CLIENT, -60, 1);
    test_ca_issue(ca, "b", NAME("site", "edge-b"), CLIENT, -60, 1);
    test_ca_issue(ca, "ada", NAME("statistician", "ada"), CLIENT, -60, 1);
    test_ca_issue(ca, "expired", NAME("site", "edge-a"), CLIENT, -7200, 0);
    test_ca_issue(ca, "server-use", NAME("site", "edge-a"), SERVER, -60, 1);
    test_ca_issue(ca, "stranger", NAME("site", "edge-x"), CLIENT, -60, 1);
    test_ca_issue(ca, "nameless", "DNS:edge-a", CLIENT, -60, 1);
    test_ca_issue(ca, "promoted", NAME("statistician", "edge-a"), CLIENT, -60, 1);
}

static void set_up(struct fixture *fixture, bool lists, bool pin_wrong_key)
{
    struct nof1_error error = {0};
    memset(fixture, 0, sizeof *fixture);
    snprintf(fixture->folder, sizeof fixture->folder, "/tmp/nof1-rpc-XXXXXX");
    cr_assert_not_null(mkdtemp(fixture->folder));
    open_log(fixture);
    cr_assert_eq(nof1_rpc_start(&error), NOF1_OK, "%s", error.message);
    test_ca_new(&fixture->ca, fixture->folder);
    issue_all(fixture);
    if (lists) {
        test_ca_revoke(&fixture->ca, 0, 5);
    }
    pki_path(fixture->ca_path, &fixture->ca, "ca.pem");
    pki_path(fixture->crl_path, &fixture->ca, "crl");
    struct nof1_server_config config = {
        .listen = "127.0.0.1:0",
        .files = files_of(fixture, fixture->folder, "server"),
        .handlers = {.self = fixture, .link = on_link, .frame = on_frame, .call = on_call},
    };
    config.files.crl_folder = lists ? fixture->crl_path : NULL;
    fixture->allowed[0] = (struct nof1_allowed){"spiffe://study-1/site/edge-a", "a",
                                                NOF1_ROLE_SITE,
                                                pin_wrong_key ? fixture->wrong_spki : NULL};
    fixture->allowed[1] =
        (struct nof1_allowed){"spiffe://study-1/site/edge-b", "b", NOF1_ROLE_SITE, NULL};
    fixture->allowed[2] = (struct nof1_allowed){"spiffe://study-1/statistician/ada", "ada",
                                                NOF1_ROLE_STATISTICIAN, NULL};
    fixture->allowed_count = 3;
    config.allowed = fixture->allowed;
    config.allowed_count = 3;
    cr_assert_eq(nof1_server_start(&fixture->server, &config, &error), NOF1_OK, "%s",
                 error.message);
    snprintf(fixture->target, sizeof fixture->target, "127.0.0.1:%d",
             nof1_server_port(fixture->server));
    cr_assert_eq(pthread_create(&fixture->thread, NULL, serve, fixture), 0);
}

static void tear_down(struct fixture *fixture)
{
    char command[128];
    atomic_store(&fixture->stop, true);
    pthread_join(fixture->thread, NULL);
    cr_expect_eq(fixture->rc, NOF1_OK);
    nof1_rpc_stop();
    test_ca_free(&fixture->ca);
    snprintf(command, sizeof command, "rm -rf %s", fixture->folder);
    cr_assert_eq(system(command), 0);
}

/* Does the log hold all of these words in one line, within five seconds? */
static bool logged(const struct fixture *fixture, const char *first, const char *second)
{
    for (int turn = 0; turn < 100; turn++) {
        char line[5000];
        FILE *file = fopen(fixture->log, "r");
        while (file != NULL && fgets(line, sizeof line, file) != NULL) {
            if (strstr(line, first) != NULL && strstr(line, second) != NULL) {
                fclose(file);
                return true;
            }
        }
        if (file != NULL) {
            fclose(file);
        }
        usleep(50000);
    }
    return false;
}

static void show_log(const struct fixture *fixture)
{
    char line[5000];
    FILE *file = fopen(fixture->log, "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        fprintf(stderr, "%s", line);
    }
    if (file != NULL) {
        fclose(file);
    }
}

/* ---- a site's end of the link ---------------------------------------------------------------- */

struct site_end {
    struct nof1_link *link;
    bool up;
    size_t downs, frames;
    struct nof1_buffer last;
};

static bool site_ready(void *self)
{
    (void)self;
    return true;
}

static bool site_up(void *self)
{
    ((struct site_end *)self)->up = true;
    return true;
}

static void site_down(void *self)
{
    struct site_end *end = self;
    end->up = false;
    end->downs++;
}

static nof1_rc_value site_frame(void *self, struct nof1_slice frame)
{
    struct site_end *end = self;
    end->frames++;
    end->last.length = 0;
    return nof1_buffer_append(&end->last, frame.data, frame.length);
}

static nof1_rc_value open_end(struct site_end *end, const struct fixture *fixture,
                              const struct nof1_tls_files *files, struct nof1_error *error)
{
    memset(end, 0, sizeof *end);
    struct nof1_link_config config = {.target = fixture->target,
                                      .files = *files,
                                      .handlers = {.self = end,
                                                   .ready = site_ready,
                                                   .up = site_up,
                                                   .down = site_down,
                                                   .frame = site_frame}};
    return nof1_link_start(&end->link, &config, error);
}

/* Run the link until *count reaches `least`, or ten seconds have passed. */
static bool run_until(struct site_end *end, const size_t *count, size_t least)
{
    int64_t limit = nof1_clock_monotonic() + 10000;
    while (*count < least && nof1_clock_monotonic() < limit) {
        struct pollfd wait = {.fd = nof1_link_fd(end->link), .events = POLLIN};
        (void)poll(&wait, 1, nof1_link_wait(end->link, 50));
        cr_assert_eq(nof1_link_run(end->link), NOF1_OK);
    }
    return *count >= least;
}

static void run_for(struct site_end *end, int milliseconds)
{
    int64_t limit = nof1_clock_monotonic() + milliseconds;
    while (nof1_clock_monotonic() < limit) {
        struct pollfd wait = {.fd = nof1_link_fd(end->link), .events = POLLIN};
        (void)poll(&wait, 1, nof1_link_wait(end->link, 20));
        cr_assert_eq(nof1_link_run(end->link), NOF1_OK);
    }
}

static void close_end(struct site_end *end)
{
    nof1_link_stop(end->link);
    nof1_buffer_free(&end->last);
}

Test(rpc, frames_of_every_size_arrive_whole_and_in_order)
{
    struct fixture fixture;
    struct site_end end;
    struct nof1_error error = {0};
    set_up(&fixture, true, false);
    struct nof1_tls_files files = files_of(&fixture, fixture.folder, "a");
    cr_assert_eq(open_end(&end, &fixture, &files, &error), NOF1_OK, "%s", error.message);
    cr_assert(run_until(&end, &end.frames, 1));
    cr_expect(end.up);
    cr_expect(nof1_slice_equal(nof1_buffer_slice(&end.last), text("welcome")));
    static const size_t sizes[] = {0, 1, 1000, 65536, 5u << 20, 64u << 20, 7};
    size_t count = sizeof sizes / sizeof sizes[0];
    for (size_t i = 0; i < count; i++) {
        uint8_t *bytes = malloc(sizes[i] + 1);
        memset(bytes, (int)(i + 1), sizes[i] + 1);
        cr_assert_eq(nof1_link_send(end.link, nof1_slice_of(bytes, sizes[i])), NOF1_OK);
        free(bytes);
        cr_assert(run_until(&end, &end.frames, i + 2), "frame %zu", i);
        cr_expect_eq(end.last.length, sizes[i]);
        cr_expect(sizes[i] == 0 || end.last.data[sizes[i] - 1] == (uint8_t)(i + 1));
    }
    for (size_t i = 0; i < 200; i++) { /* more than one waits */
        cr_assert_eq(nof1_link_send(end.link, nof1_slice_of(&i, sizeof i)), NOF1_OK);
    }
    cr_assert(run_until(&end, &end.frames, count + 1 + 200));
    size_t last = 0;
    memcpy(&last, end.last.data, sizeof last);
    cr_expect_eq(last, 199u);
    close_end(&end);
    tear_down(&fixture);
}

Test(rpc, a_stream_is_cut_when_its_identity_is_no_longer_admitted)
{
    struct fixture fixture;
    struct site_end a, b;
    struct nof1_error error = {0};
    set_up(&fixture, true, false);
    struct nof1_tls_files files = files_of(&fixture, fixture.folder, "a");
    char cert_a[128], key_a[128];
    memcpy(cert_a, fixture.cert, sizeof cert_a);
    memcpy(key_a, fixture.key, sizeof key_a);
    files.cert = cert_a;
    files.key = key_a;
    cr_assert_eq(open_end(&a, &fixture, &files, &error), NOF1_OK, "%s", error.message);
    cr_assert(run_until(&a, &a.frames, 1));
    /* Off the list. */
    atomic_store(&fixture.command, 1);
    cr_assert(run_until(&a, &a.downs, 1));
    cr_expect(logged(&fixture, "link.cut", "not on the charter"));
    run_for(&a, 600);
    cr_expect(!a.up);
    cr_expect(logged(&fixture, "tls.refused", "not on the charter"));
    /* On it again: the link comes back by itself. */
    atomic_store(&fixture.command, 2);
    cr_assert(run_until(&a, &a.frames, 2));
    /* Revoked while the stream is up, and the list replaced in place. */
    test_ca_revoke(&fixture.ca, 3, 5);
    atomic_store(&fixture.command, 2);
    cr_assert(run_until(&a, &a.downs, 2));
    cr_expect(logged(&fixture, "link.cut", "certificate revoked"));
    run_for(&a, 300);
    cr_expect(!a.up);
    cr_expect(logged(&fixture, "tls.refused", "certificate revoked"));

    struct nof1_tls_files files_b = files_of(&fixture, fixture.folder, "b");
    cr_assert_eq(open_end(&b, &fixture, &files_b, &error), NOF1_OK, "%s", error.message);
    cr_assert(run_until(&b, &b.frames, 1), "another site is not touched");
    /* A vault that is not the certificate's site. */
    cr_assert_eq(nof1_link_send(b.link, text("I am somebody else")), NOF1_OK);
    cr_assert(run_until(&b, &b.downs, 1));
    cr_expect(logged(&fixture, "link.lost", "not the site of its certificate"));
    close_end(&b);
    close_end(&a);
    tear_down(&fixture);
}

Test(rpc, a_newer_stream_of_a_site_replaces_the_older)
{
    struct fixture fixture;
    struct site_end first, second;
    struct nof1_error error = {0};
    set_up(&fixture, false, false);
    struct nof1_tls_files files = files_of(&fixture, fixture.folder, "a");
    cr_assert_eq(open_end(&first, &fixture, &files, &error), NOF1_OK, "%s", error.message);
    cr_assert(run_until(&first, &first.frames, 1));
    cr_assert_eq(open_end(&second, &fixture, &files, &error), NOF1_OK, "%s", error.message);
    cr_assert(run_until(&second, &second.frames, 1));
    cr_assert(run_until(&first, &first.downs, 1));
    cr_expect(logged(&fixture, "link.replaced", "site=a"));
    cr_expect_eq(atomic_load(&fixture.ups) - atomic_load(&fixture.downs), 1);
    close_end(&first);
    close_end(&second);
    tear_down(&fixture);
}

Test(rpc, unary_calls_answer_or_carry_the_code)
{
    struct fixture fixture;
    struct nof1_client *client = NULL;
    struct nof1_buffer reply = {0};
    struct nof1_error error = {0};
    set_up(&fixture, true, false);
    struct nof1_tls_files files = files_of(&fixture, fixture.folder, "ada");
    files.crl_folder = fixture.crl_path;
    cr_assert_eq(nof1_client_new(&client, fixture.target, NULL, &files, &error), NOF1_OK, "%s",
                 error.message);
    for (int i = 0; i < 20; i++) {
        reply.length = 0;
        cr_assert_eq(nof1_client_call(client, NOF1_METHOD_STATUS, text("?"), &reply, 5000, &error),
                     NOF1_OK, "%s", error.message);
        cr_expect(nof1_slice_equal(nof1_buffer_slice(&reply), text("ada?")));
    }
    reply.length = 0;
    cr_expect_eq(nof1_client_call(client, NOF1_METHOD_SUBMIT, text("refuse"), &reply, 5000, &error),
                 NOF1_E2205);
    cr_expect_not_null(strstr(error.message, "needs at least 15"), "%s", error.message);
    cr_expect_eq(
        nof1_client_call(client, NOF1_METHOD_ATTACH, text("x"), &reply, 5000, &error),
        NOF1_E_UNAUTHORISED);
    cr_expect(logged(&fixture, "call.refused", "wrong role"));
    nof1_client_free(client);
    /* The server's name is checked. */
    cr_assert_eq(nof1_client_new(&client, fixture.target, "elsewhere.example", &files, &error),
                 NOF1_OK);
    cr_expect_eq(nof1_client_call(client, NOF1_METHOD_STATUS, text("?"), &reply, 5000, &error),
                 NOF1_E_TLS, "%s", error.message);
    nof1_client_free(client);
    cr_assert_eq(nof1_client_new(&client, "127.0.0.1:1", NULL, &files, &error), NOF1_OK);
    cr_expect_eq(nof1_client_call(client, NOF1_METHOD_STATUS, text("?"), &reply, 5000, &error),
                 NOF1_E_UNREACHABLE, "%s", error.message);
    nof1_client_free(client);
    nof1_buffer_free(&reply);
    tear_down(&fixture);
}

/* Dial with a certificate the server must refuse; the client's own check may find the fault first,
 * and is then left out by asking openssl to dial. */
static void expect_refused(struct fixture *fixture, const char *folder, const char *name,
                           const char *reason)
{
    char command[600];
    snprintf(command, sizeof command,
             "sleep 0.3 | openssl s_client -connect %s -CAfile %s -cert %s/%s.pem -key %s/%s.key "
             "-alpn h2 >/dev/null 2>&1",
             fixture->target, fixture->ca_path, folder, name, folder, name);
    int ignored = system(command);
    (void)ignored; /* in TLS 1.3 the client may have ended before the refusal arrives */
    bool found = logged(fixture, "tls.refused", reason);
    cr_expect(found, "%s: no '%s' in the log", name, reason);
    if (!found) {
        show_log(fixture);
    }
    cr_assert_eq(truncate(fixture->log, 0), 0);
}

Test(rpc, every_wrong_certificate_is_refused_with_its_reason)
{
    struct fixture fixture;
    set_up(&fixture, true, false);
    char other[96];
    struct test_ca other_ca;
    snprintf(other, sizeof other, "%s/other", fixture.folder);
    test_ca_new(&other_ca, other);
    test_ca_issue(&other_ca, "a", NAME("site", "edge-a"), CLIENT, -60, 1);
    expect_refused(&fixture, fixture.folder, "expired", "certificate has expired");
    expect_refused(&fixture, fixture.folder, "server-use", "purpose");
    expect_refused(&fixture, other, "a", "issuer certificate");
    expect_refused(&fixture, fixture.folder, "stranger", "not on the charter");
    expect_refused(&fixture, fixture.folder, "nameless", "URI names");
    expect_refused(&fixture, fixture.folder, "promoted", "not on the charter");
    test_ca_revoke(&fixture.ca, 3, 5); /* serial 3: site a */
    atomic_store(&fixture.command, 2);
    while (atomic_load(&fixture.command) != 0) {
        usleep(1000);
    }
    expect_refused(&fixture, fixture.folder, "a", "certificate revoked");
    test_ca_revoke(&fixture.ca, 0, 0); /* a list that ended an hour ago lets nobody in */
    atomic_store(&fixture.command, 2);
    while (atomic_load(&fixture.command) != 0) {
        usleep(1000);
    }
    expect_refused(&fixture, fixture.folder, "b", "CRL has expired");
    test_ca_free(&other_ca);
    tear_down(&fixture);
}

Test(rpc, a_pinned_key_must_match)
{
    struct fixture fixture;
    set_up(&fixture, false, true);
    expect_refused(&fixture, fixture.folder, "a", "pins another key");
    tear_down(&fixture);
}

static int openssl(const struct fixture *fixture, const char *options)
{
    char command[500];
    snprintf(command, sizeof command,
             "sleep 0.5 | openssl s_client -connect %s -CAfile %s %s -alpn h2 > %s/out 2>&1",
             fixture->target, fixture->ca_path, options, fixture->folder);
    return system(command);
}

Test(rpc, no_certificate_old_tls_plaintext_and_resumption_are_refused)
{
    struct fixture fixture;
    char options[300];
    set_up(&fixture, false, false);
    (void)openssl(&fixture, "");
    cr_expect(logged(&fixture, "tls.refused", "peer did not return a certificate"));
    cr_assert_eq(truncate(fixture.log, 0), 0);

    snprintf(options, sizeof options, "-tls1_2 -cert %s/a.pem -key %s/a.key", fixture.folder,
             fixture.folder);
    cr_expect_neq(openssl(&fixture, options), 0, "TLS 1.2 must not work");
    cr_expect(logged(&fixture, "tls.refused", "unsupported protocol"));
    cr_assert_eq(truncate(fixture.log, 0), 0);

    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)atoi(fixture.target + 10)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int plain = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(plain, (struct sockaddr *)&address, sizeof address), 0);
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    cr_assert_gt(write(plain, preface, sizeof preface - 1), 0);
    char answer[64];
    while (read(plain, answer, sizeof answer) > 0) {
        /* the server closes */
    }
    close(plain);
    bool found = logged(&fixture, "tls.refused", "");
    cr_expect(found);
    if (!found) {
        show_log(&fixture);
    }

    /* A session that is offered again is not resumed: its certificate is judged anew. */
    char session[128], out[128];
    snprintf(session, sizeof session, "%s/session", fixture.folder);
    snprintf(out, sizeof out, "%s/out", fixture.folder);
    for (int turn = 0; turn < 2; turn++) {
        snprintf(options, sizeof options, "-tls1_3 -cert %s/a.pem -key %s/a.key -sess_%s %s",
                 fixture.folder, fixture.folder, turn == 0 ? "out" : "in", session);
        if (turn == 1 && access(session, F_OK) != 0) {
            break; /* no ticket was given at all */
        }
        cr_expect_eq(openssl(&fixture, options), 0, "TLS 1.3 works");
        struct nof1_buffer text_of = {0};
        cr_assert_eq(nof1_file_read(&text_of, out, 1 << 20, NULL), NOF1_OK);
        cr_assert_eq(nof1_buffer_append(&text_of, "", 1), NOF1_OK);
        cr_expect_not_null(strstr((char *)text_of.data, "New, TLSv1.3"));
        cr_expect_null(strstr((char *)text_of.data, "Reused"));
        nof1_buffer_free(&text_of);
    }
    tear_down(&fixture);
}
