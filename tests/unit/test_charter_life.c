/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A later charter: what a site keeps of an offer and answers to it, what it ignores; every rule
 * that the hash covers shows among the changes; an approved one comes into force at its time.
 */
#include "hand_query.h"

#include <unistd.h>

#include <base/hex.h>
#include <base/json.h>
#include <node/charter_store.h>

#include "document.h"

/* ---- an offer ------------------------------------------------------------ */

struct later {
    struct nof1_slice bytes, signature;
    uint8_t hash[32];
};

/* The charter of `h` as another version of a study, signed with key[by]. */
static struct later later_charter(struct hand *h, const char *study, uint32_t version, size_t by)
{
    struct later later;
    struct nof1_buffer bytes = {0};
    struct nof1_charter charter = *h->charter;
    const struct nof1_charter *read = NULL;
    uint8_t signature[NOF1_SIGNATURE_MAX];
    size_t length = 0;
    charter.study = study;
    charter.version = version;
    MUST(nof1_charter_canonical(&bytes, &charter));
    later.bytes = nof1_arena_copy(h->arena, nof1_buffer_slice(&bytes));
    MUST(nof1_charter_read(&read, h->arena, later.bytes, NULL));
    MUST(nof1_sign(signature, &length, h->key[by], read->hash));
    later.signature = nof1_arena_copy(h->arena, nof1_slice_of(signature, length));
    memcpy(later.hash, read->hash, sizeof later.hash);
    nof1_buffer_free(&bytes);
    return later;
}

static const Nof1__V1__Frame *offer(struct hand *h, const struct later *later)
{
    Nof1__V1__CharterOffer body = NOF1__V1__CHARTER_OFFER__INIT;
    Nof1__V1__Frame frame = NOF1__V1__FRAME__INIT;
    body.charter = raw(later->bytes.data, later->bytes.length);
    body.signature = raw(later->signature.data, later->signature.length);
    frame.body_case = NOF1__V1__FRAME__BODY_CHARTER_OFFER;
    frame.charter_offer = &body;
    return hand_send(h, 0, &frame);
}

static const Nof1__V1__Hello *hello(struct hand *h)
{
    const Nof1__V1__Frame *frame =
        hand_event(h, 0, (struct nof1_event){.kind = NOF1_EVENT_LINK_UP}, NULL);
    cr_assert_eq(frame->body_case, NOF1__V1__FRAME__BODY_HELLO);
    return frame->hello;
}

static void decide(struct hand *h, const struct later *later, const char *what)
{
    char hex[65], key[96];
    nof1_hex_text(hex, later->hash, 32);
    snprintf(key, sizeof key, "charter-%s/%s", what, hex);
    hand_put(h, 0, key, nof1_slice_text("{\"by\":\"ann\",\"time\":1}"));
}

Test(charter_life, what_the_consortium_did_not_sign_is_ignored)
{
    struct hand *h = hand_new(&(struct hand_options){0});
    const struct later other_key = later_charter(h, "hand", 2, SITES);
    const struct later same_version = later_charter(h, "hand", 1, SITES + 1);
    const struct later other_study = later_charter(h, "foot", 2, SITES + 1);
    struct later broken = later_charter(h, "hand", 2, SITES + 1);
    broken.bytes.length -= 1;
    const struct later *bad[] = {&other_key, &same_version, &other_study, &broken};
    for (size_t i = 0; i < 4; i++) {
        cr_expect_null(offer(h, bad[i]), "%zu", i);
        cr_expect_eq(h->puts, 0, "%zu", i);
    }
    cr_expect_eq(hello(h)->offered.len, 0);
    hand_free(h);
}

Test(charter_life, no_more_than_five_are_kept_in_a_day)
{
    struct hand *h = hand_new(&(struct hand_options){0});
    h->now = (h->now / 86400000 + 1) * 86400000;
    size_t kept = 0;
    for (uint32_t version = 2; version < 22; version++) {
        const struct later later = later_charter(h, "hand", version, SITES + 1);
        const Nof1__V1__Frame *reply = offer(h, &later);
        kept += reply != NULL ? 1 : 0;
        cr_expect_eq(reply == NULL, h->puts == 0, "%u", version);
    }
    cr_expect_eq(kept, 5);
    h->now += 86400000;
    const struct later later = later_charter(h, "hand", 30, SITES + 1);
    cr_expect_not_null(offer(h, &later), "the next day's is kept");
    hand_free(h);
}

Test(charter_life, an_offer_is_kept_and_answered_and_changes_nothing)
{
    struct hand *h = hand_new(&(struct hand_options){0});
    const struct later later = later_charter(h, "hand", 2, SITES + 1);
    const Nof1__V1__Frame *reply = offer(h, &later);
    cr_assert_not_null(reply);
    cr_assert_eq(reply->body_case, NOF1__V1__FRAME__BODY_HELLO);
    cr_expect_eq(memcmp(reply->hello->offered.data, later.hash, 32), 0);
    cr_expect_eq(memcmp(reply->hello->charter.data, h->charter->hash, 32), 0);
    cr_expect_str_eq(reply->hello->answer, "");
    cr_expect_not_null(strstr(h->last_entry[0], "charter.offered"));
    cr_expect_null(offer(h, &later), "the same again is no news");
    cr_expect_eq(h->puts, 0);
    hand_run(h); /* plans under the charter in force are answered as ever */
    decide(h, &later, "approved");
    hand_start(h, 0);
    cr_expect_str_eq(hello(h)->answer, "approved");
    decide(h, &later, "refused");
    hand_start(h, 0);
    cr_expect_str_eq(hello(h)->answer, "refused");
    const struct later third = later_charter(h, "hand", 3, SITES + 1);
    cr_assert_not_null(offer(h, &third));
    cr_expect_str_eq(hello(h)->answer, "", "an answer is of one charter");
    hand_free(h);
}

/* ---- what changes ------------------------------------------------------------ */

Test(charter_life, every_change_is_shown)
{
    static const struct {
        const char *from, *to, *what;
    } change[] = {
        {"version: 2", "version: 3", "version"},
        {"2026-05-01", "2026-06-01", "effective"},
        {"min_sites: 6", "min_sites: 7", "limits.min_sites"},
        {"max_cycles: 3", "max_cycles: 4", "max_cycles"},
        {"bounds: [0, 50]", "bounds: [0, 51]", NULL},
        {"south: {patient_cap: 20}", "south: {patient_cap: 21}", "sites.south"},
        {"south: {patient_cap: 20}", "south: {patient_cap: 20, left: true}", "sites.south"},
    };
    struct nof1_arena *arena = nof1_arena_new();
    const struct nof1_charter *before = test_charter(arena);
    json_t *changes = NULL;
    MUST(nof1_charter_changes(&changes, before, before));
    cr_expect_eq(json_array_size(changes), 0u);
    json_decref(changes);
    for (size_t i = 0; i < sizeof change / sizeof change[0]; i++) {
        const char *text =
            test_replace(arena, test_charter_text(arena), change[i].from, change[i].to, NULL);
        MUST(nof1_charter_changes(&changes, before, test_charter_from(arena, text)));
        cr_assert_eq(json_array_size(changes), 1u, "%s", change[i].to);
        const json_t *one = json_array_get(changes, 0);
        cr_expect(change[i].what == NULL ||
                  strcmp(json_string_value(json_object_get(one, "what")), change[i].what) == 0);
        cr_expect_str_neq(json_string_value(json_object_get(one, "old")),
                          json_string_value(json_object_get(one, "new")));
        json_decref(changes);
    }
    nof1_arena_free(arena);
}

/* ---- coming into force ------------------------------------------------------------ */

Test(charter_life, the_next_one_is_put_in_force_at_its_time)
{
    char folder[] = "/tmp/nof1-life-XXXXXX", from[64], to[64];
    struct nof1_arena *arena = nof1_arena_new();
    const struct nof1_charter *charter = test_charter(arena), *read = NULL;
    const int64_t at = charter->effective_at * 1000;
    struct nof1_buffer bytes = {0};
    struct nof1_error error = {0};
    int64_t due = -1;
    cr_assert_not_null(mkdtemp(folder));
    snprintf(from, sizeof from, "%s/" NOF1_NODE_CHARTER_NEXT, folder);
    snprintf(to, sizeof to, "%s/" NOF1_NODE_CHARTER, folder);
    MUST(nof1_charter_promote(&due, folder, at, &error));
    cr_expect_eq(due, 0, "there is none");
    MUST(nof1_charter_canonical(&bytes, charter));
    FILE *file = fopen(from, "wb");
    cr_assert(file != NULL && fwrite(bytes.data, 1, bytes.length, file) == bytes.length &&
              fclose(file) == 0);
    MUST(nof1_charter_promote(&due, folder, at - 1, &error));
    cr_expect_eq(due, at);
    cr_expect(access(from, F_OK) == 0 && access(to, F_OK) != 0);
    MUST(nof1_charter_promote(&due, folder, at, &error));
    cr_expect_eq(due, 0);
    cr_expect(access(from, F_OK) != 0 && access(to, F_OK) == 0);
    MUST(nof1_charter_in_folder(&read, arena, folder, NOF1_NODE_CHARTER, &error));
    cr_expect_eq(memcmp(read->hash, charter->hash, 32), 0);
    (void)unlink(to);
    (void)rmdir(folder);
    nof1_buffer_free(&bytes);
    nof1_arena_free(arena);
}
