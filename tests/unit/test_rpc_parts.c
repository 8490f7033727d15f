/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The parts of the link that need no connection: names and certificates, the gate, the table of
 * methods, unary messages.
 */
#include <criterion/criterion.h>
#include <unistd.h>

#include <rpc/identity.h>
#include <rpc/methods.h>
#include <rpc/tls.h>
#include <rpc/unary.h>
#include <sys/files.h>

#include "pki.h"

#define NAME(role, id) "URI:spiffe://study-1/" role "/" id

struct place {
    char folder[64], ca_path[128], crl_path[128], cert[160], key[160];
    struct test_ca ca;
};

static void set_up(struct place *place)
{
    memset(place, 0, sizeof *place);
    snprintf(place->folder, sizeof place->folder, "/tmp/nof1-parts-XXXXXX");
    cr_assert_not_null(mkdtemp(place->folder));
    test_ca_new(&place->ca, place->folder);
    pki_path(place->ca_path, &place->ca, "ca.pem");
    pki_path(place->crl_path, &place->ca, "crl");
}

static void tear_down(struct place *place)
{
    char command[128];
    test_ca_free(&place->ca);
    snprintf(command, sizeof command, "rm -rf %s", place->folder);
    cr_assert_eq(system(command), 0);
}

static struct nof1_tls_files files_of(struct place *place, const char *name)
{
    snprintf(place->cert, sizeof place->cert, "%s/%s.pem", place->folder, name);
    snprintf(place->key, sizeof place->key, "%s/%s.key", place->folder, name);
    return (struct nof1_tls_files){.ca = place->ca_path, .cert = place->cert, .key = place->key};
}

Test(rpc_parts, one_checks_the_own_certificate_and_says_what_to_do)
{
    struct place place;
    struct nof1_identity own;
    struct nof1_error error = {0};
    char other[96], key[128];
    struct test_ca other_ca;
    set_up(&place);
    test_ca_issue(&place.ca, "a", NAME("site", "edge-a"), "clientAuth", -60, 1);
    test_ca_issue(&place.ca, "b", NAME("site", "edge-b"), "clientAuth", -60, 1);
    test_ca_issue(&place.ca, "expired", NAME("site", "edge-a"), "clientAuth", -7200, 0);
    test_ca_issue(&place.ca, "early", NAME("site", "edge-a"), "clientAuth", 7200, 1);
    test_ca_issue(&place.ca, "server-use", NAME("site", "edge-a"), "serverAuth", -60, 1);
    test_ca_issue(&place.ca, "nameless", "DNS:edge-a", "clientAuth", -60, 1);
    test_ca_issue(&place.ca, "two", NAME("site", "a") "," NAME("site", "b"), "clientAuth", -60, 1);
    test_ca_issue(&place.ca, "ada", NAME("statistician", "ada"), "clientAuth", -60, 1);
    snprintf(other, sizeof other, "%s/other", place.folder);
    test_ca_new(&other_ca, other);
    test_ca_issue(&other_ca, "a", NAME("site", "edge-a"), "clientAuth", -60, 1);
    static const struct {
        const char *name;
        nof1_rc_value rc;
        const char *words;
    } cases[] = {
        {"a", NOF1_OK, ""},
        {"expired", NOF1_E_TLS, "ask the consortium's authority for a new certificate"},
        {"early", NOF1_E_TLS, "check this machine's clock"},
        {"server-use", NOF1_E_TLS, "client certificate"},
        {"nameless", NOF1_E_TLS, "has 0 URI names"},
        {"two", NOF1_E_TLS, "has 2 URI names"},
        {"ada", NOF1_E_TLS, "role statistician"},
        {"other/a", NOF1_E_TLS, "check that the CA file is the consortium's"},
        {"missing", NOF1_E_INPUT, "missing.pem"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct nof1_tls_files files = files_of(&place, cases[i].name);
        error = (struct nof1_error){0};
        cr_expect_eq(nof1_identity_check(&own, &files, false, NOF1_ROLE_SITE, &error), cases[i].rc,
                     "%s: %s", cases[i].name, error.message);
        cr_expect_not_null(strstr(error.message, cases[i].words), "%s: %s", cases[i].name,
                           error.message);
    }
    struct nof1_tls_files files = files_of(&place, "a");
    snprintf(key, sizeof key, "%s/b.key", place.folder);
    files.key = key;
    cr_expect_eq(nof1_identity_check(&own, &files, false, NOF1_ROLE_SITE, &error), NOF1_E_CONFIG);
    cr_expect_not_null(strstr(error.message, "is not the key of"));
    cr_assert_eq(chmod(key, 0644), 0);
    cr_expect_eq(nof1_identity_check(&own, &files, false, NOF1_ROLE_SITE, &error), NOF1_E_CONFIG);
    cr_expect_not_null(strstr(error.message, "chmod 600"));
    files = files_of(&place, "a");
    files.crl_folder = other; /* a folder without lists */
    cr_expect_eq(nof1_identity_check(&own, &files, false, NOF1_ROLE_SITE, &error), NOF1_E_CONFIG);
    test_ca_free(&other_ca);
    tear_down(&place);
}

static nof1_rc_value gate_says(struct nof1_gate *gate, struct place *place, const char *name,
                               struct nof1_identity *identity, struct nof1_error *error)
{
    struct nof1_buffer pem = {0};
    (void)files_of(place, name);
    cr_assert_eq(nof1_file_read(&pem, place->cert, 1 << 20, NULL), NOF1_OK);
    *error = (struct nof1_error){0};
    nof1_rc_value rc = nof1_gate_check(gate, nof1_buffer_slice(&pem), identity, error);
    nof1_buffer_free(&pem);
    return rc;
}

Test(rpc_parts, the_gate_judges_list_role_key_and_revocation)
{
    struct place place;
    struct nof1_gate *gate = NULL;
    struct nof1_identity identity;
    struct nof1_error error = {0};
    set_up(&place);
    long serial = test_ca_issue(&place.ca, "a", NAME("site", "edge-a"), "clientAuth", -60, 1);
    test_ca_issue(&place.ca, "b", NAME("site", "edge-b"), "clientAuth", -60, 1);
    struct nof1_tls_files files = files_of(&place, "a");
    files.crl_folder = place.crl_path;
    cr_expect_eq(nof1_gate_new(&gate, &files, &error), NOF1_E_CONFIG, "a folder must be there");
    test_ca_revoke(&place.ca, 0, 5);
    cr_assert_eq(nof1_gate_new(&gate, &files, &error), NOF1_OK, "%s", error.message);
    cr_expect_gt(nof1_gate_next_update(gate), (int64_t)time(NULL));
    cr_expect_eq(gate_says(gate, &place, "a", &identity, &error), NOF1_E_TLS, "an empty list");
    struct nof1_allowed allowed[2] = {
        {"spiffe://study-1/site/edge-a", "umc", NOF1_ROLE_SITE, NULL},
        {"spiffe://study-1/site/edge-b", "b", NOF1_ROLE_STATISTICIAN, NULL}};
    cr_assert_eq(nof1_gate_set(gate, 2, allowed, &error), NOF1_OK);
    cr_expect_eq(gate_says(gate, &place, "a", &identity, &error), NOF1_OK, "%s", error.message);
    cr_expect_str_eq(identity.id, "umc");
    cr_expect_eq(gate_says(gate, &place, "b", &identity, &error), NOF1_E_TLS);
    cr_expect_not_null(strstr(error.message, "another role"));
    /* The right key pinned, then another. */
    uint8_t spki[32];
    cr_expect_eq(gate_says(gate, &place, "a", &identity, &error), NOF1_OK);
    memcpy(spki, identity.spki, sizeof spki);
    allowed[0].spki = spki;
    cr_assert_eq(nof1_gate_set(gate, 2, allowed, &error), NOF1_OK);
    cr_expect_eq(gate_says(gate, &place, "a", &identity, &error), NOF1_OK, "%s", error.message);
    spki[31] ^= 1;
    cr_expect_eq(gate_says(gate, &place, "a", &identity, &error), NOF1_OK, "the list was copied");
    cr_assert_eq(nof1_gate_set(gate, 2, allowed, &error), NOF1_OK);
    cr_expect_eq(gate_says(gate, &place, "a", &identity, &error), NOF1_E_TLS);
    allowed[0].spki = NULL;
    test_ca_revoke(&place.ca, serial, 5);
    cr_assert_eq(nof1_gate_set(gate, 2, allowed, &error), NOF1_OK);
    cr_expect_eq(gate_says(gate, &place, "a", &identity, &error), NOF1_E_TLS);
    cr_expect_str_eq(error.message, "certificate revoked");
    /* Lists that vanish: the change is refused and the old state stays. */
    char list[160];
    snprintf(list, sizeof list, "%s/list.pem", place.crl_path);
    cr_assert_eq(unlink(list), 0);
    cr_expect_eq(nof1_gate_set(gate, 2, allowed, &error), NOF1_E_CONFIG);
    cr_expect_eq(gate_says(gate, &place, "a", &identity, &error), NOF1_E_TLS);
    nof1_gate_release(gate);
    tear_down(&place);
}

Test(rpc_parts, spiffe_names_are_read_strictly)
{
    struct nof1_identity identity;
    cr_expect_eq(nof1_spiffe_read(&identity, "spiffe://pain-bt/site/umc_utrecht.1", NULL), NOF1_OK);
    cr_expect_str_eq(identity.study, "pain-bt");
    cr_expect_str_eq(identity.id, "umc_utrecht.1");
    cr_expect_eq(identity.role, NOF1_ROLE_SITE);
    static const char *const bad[] = {
        "",          "spiffe://",          "spiffe://s/site",      "spiffe://s/site/",
        "spiffe://s/king/a", "http://s/site/a", "spiffe://s/site/a/b", "spiffe:///site/a",
        "spiffe://s/site/a b", "spiffe://s//a", "spiffe://s/site/a?", "spiffe://s:1/site/a",
        "spiffe:", "spiffe://s/site/\xc3\xa9",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_expect_neq(nof1_spiffe_read(&identity, bad[i], NULL), NOF1_OK, "%s", bad[i]);
    }
    char longer[400];
    memset(longer, 'a', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    memcpy(longer, "spiffe://s/site/", 16);
    cr_expect_neq(nof1_spiffe_read(&identity, longer, NULL), NOF1_OK);
}

Test(rpc_parts, every_method_has_its_roles)
{
    static const struct {
        const char *name;
        unsigned roles;
    } rows[] = {
        {"/nof1.v1.Link/Attach", NOF1_ROLE_SITE},
        {"/nof1.v1.Statistician/Submit", NOF1_ROLE_STATISTICIAN},
        {"/nof1.v1.Statistician/Status", NOF1_ROLE_STATISTICIAN | NOF1_ROLE_AUDITOR},
        {"/nof1.v1.Statistician/Result", NOF1_ROLE_STATISTICIAN},
        {"/nof1.v1.Statistician/Charter", NOF1_ROLE_STATISTICIAN},
    };
    cr_expect_eq(sizeof rows / sizeof rows[0], NOF1_METHODS);
    for (size_t i = 0; i < NOF1_METHODS; i++) {
        enum nof1_method method = nof1_method_find(nof1_slice_text(rows[i].name));
        cr_assert_neq(method, NOF1_METHODS, "%s", rows[i].name);
        cr_expect_eq(nof1_method_row(method)->roles, rows[i].roles, "%s", rows[i].name);
        cr_expect_eq(nof1_method_row(method)->stream, method == NOF1_METHOD_ATTACH);
    }
    cr_expect_eq(nof1_method_find(nof1_slice_text("/nof1.v1.Link/Attac")), NOF1_METHODS);
    cr_expect_eq(nof1_method_find(nof1_slice_text("/nof1.v1.Link/Attach/")), NOF1_METHODS);
    cr_expect_eq(nof1_method_find(nof1_slice_text("")), NOF1_METHODS);
}

Test(rpc_parts, unary_messages_keep_their_content_and_refuse_anything_else)
{
    struct nof1_arena *arena = nof1_arena_new();
    struct nof1_buffer bytes = {0};
    struct nof1_submit_request request = {.plan = nof1_slice_text("{\"plan\":1}"),
                                          .signature = nof1_slice_of("\0\1\2", 3),
                                          .statistician = "ada"};
    struct nof1_submit_request read;
    cr_assert_eq(nof1_submit_write(&bytes, &request), NOF1_OK);
    cr_assert_eq(nof1_submit_read(&read, arena, nof1_buffer_slice(&bytes), NULL), NOF1_OK);
    cr_expect(nof1_slice_equal(read.plan, request.plan));
    cr_expect(nof1_slice_equal(read.signature, request.signature));
    cr_expect_str_eq(read.statistician, "ada");
    /* Every shorter message is another message or none, and never read beyond its end. */
    for (size_t length = 0; length < bytes.length; length++) {
        uint8_t *copy = malloc(length + 1);
        memcpy(copy, bytes.data, length);
        nof1_rc_value rc = nof1_submit_read(&read, arena, nof1_slice_of(copy, length), NULL);
        cr_expect(rc == NOF1_OK || rc == NOF1_E_DECODE);
        free(copy);
    }
    cr_assert_eq(nof1_buffer_append(&bytes, "\x78\x01", 2), NOF1_OK); /* field 15, unknown */
    cr_expect_eq(nof1_submit_read(&read, arena, nof1_buffer_slice(&bytes), NULL), NOF1_E_DECODE);

    struct nof1_charter_reply reply = {.charter = nof1_slice_text("c"),
                                       .signature = nof1_slice_text("s"),
                                       .census = {0},
                                       .atoms = nof1_slice_text("{}")};
    struct nof1_charter_reply back;
    bytes.length = 0;
    cr_assert_eq(nof1_charter_reply_write(&bytes, &reply), NOF1_OK);
    cr_assert_eq(nof1_charter_reply_read(&back, arena, nof1_buffer_slice(&bytes), NULL), NOF1_OK);
    cr_expect(nof1_slice_equal(back.charter, reply.charter));
    cr_expect_eq(back.census.length, 0u);
    cr_expect(nof1_slice_equal(back.atoms, reply.atoms));

    struct nof1_slice value;
    bytes.length = 0;
    cr_assert_eq(nof1_bytes_write(&bytes, (struct nof1_slice){0}), NOF1_OK);
    cr_assert_eq(nof1_bytes_read(&value, arena, nof1_buffer_slice(&bytes), NULL), NOF1_OK);
    cr_expect_eq(value.length, 0u);
    nof1_buffer_free(&bytes);
    nof1_arena_free(arena);
}
