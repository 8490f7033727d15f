/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The charter in force and the next one, while the coordinator runs: see charters.h. It decides
 * nothing: every vault answers under the charter that its own steward has approved.
 */
#include <coordinator/charters.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <base/hex.h>
#include <base/json.h>
#include <base/log.h>
#include <base/time.h>

/* ---- the one in force ------------------------------------------------------------------------ */

static void use(struct coordinator *coordinator, const struct signed_charter *charter)
{
    coordinator->config.charter = charter->charter;
    coordinator->config.charter_bytes = charter->bytes;
    coordinator->charter_signature = charter->signature;
}

static bool same(const struct nof1_charter *a, const struct nof1_charter *b)
{
    return a != NULL && b != NULL && memcmp(a->hash, b->hash, sizeof a->hash) == 0;
}

nof1_rc nof1_charters_open(struct coordinator *coordinator, struct nof1_error *error)
{
    const struct nof1_coordinator_settings *settings = coordinator->settings;
    struct signed_charter given = {0}, kept = {0};
    TRY(charter_file_named(&kept, coordinator->arena, settings->folder, CHARTER_IN_FORCE, error));
    if (settings->charter != NULL) {
        TRY(charter_file_read(&given, coordinator->arena, settings->charter, error));
    }
    if (given.charter == NULL && kept.charter == NULL) {
        return nof1_fail(error, NOF1_E_CONFIG,
                         "charter is missing: give --charter, or charter in --config");
    }
    bool later = given.charter != NULL && kept.charter != NULL &&
                 strcmp(kept.charter->study, given.charter->study) == 0 &&
                 kept.charter->version > given.charter->version;
    if (given.charter == NULL || later) {
        use(coordinator, &kept);
        return NOF1_OK;
    }
    if (!same(given.charter, kept.charter)) {
        TRY(charter_file_keep(settings->folder, &given, error));
        TRY(charter_file_point(settings->folder, CHARTER_IN_FORCE, given.charter, error));
    }
    use(coordinator, &given);
    return NOF1_OK;
}

/* ---- what sites say -------------------------------------------------------------------------- */

static nof1_rc find_link(struct site_link **out, struct coordinator *coordinator, const char *site)
{
    struct site_link *link = coordinator->links;
    while (link != NULL && strcmp(link->site, site) != 0) {
        link = link->next;
    }
    if (link == NULL) {
        link = nof1_arena_alloc(coordinator->arena, 1, sizeof *link);
        ENSURE(link != NULL, NOF1_E_NO_MEMORY);
        link->site = nof1_arena_text(coordinator->arena, site);
        ENSURE(link->site != NULL, NOF1_E_NO_MEMORY);
        link->next = coordinator->links;
        coordinator->links = link;
    }
    *out = link;
    return NOF1_OK;
}

nof1_rc nof1_charters_link(struct coordinator *coordinator, const char *site, bool up)
{
    struct site_link *link = NULL;
    TRY(find_link(&link, coordinator, site));
    link->up = up;
    link->hello.length = 0;
    return NOF1_OK;
}

static nof1_rc keep_answer(struct coordinator *coordinator, struct site_link *link,
                           const char *answer)
{
    char hex[65];
    NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *arena = nof1_arena_new();
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    if (strcmp(link->answer, answer) == 0) {
        return NOF1_OK;
    }
    snprintf(link->answer, sizeof link->answer, "%s", answer);
    nof1_hex_text(hex, coordinator->offer.charter->hash, 32);
    const char *key = nof1_arena_printf(arena, "charter/%s/%s", hex, link->site);
    ENSURE(key != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_store_begin(coordinator->store));
    TRY(nof1_store_put(coordinator->store, key, nof1_slice_text(answer)));
    TRY(nof1_store_commit(coordinator->store));
    nof1_log(NOF1_LOG_NOTICE, "charter.answer",
             NOF1_LOG_FIELDS(nof1_log_text("site", link->site), nof1_log_text("answer", answer),
                             nof1_log_integer("version", coordinator->offer.charter->version)));
    return NOF1_OK;
}

static nof1_rc hand_over(struct coordinator *coordinator, const char *site)
{
    NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *arena = nof1_arena_new();
    const struct signed_charter *next = &coordinator->offer;
    Nof1__V1__CharterOffer offer = NOF1__V1__CHARTER_OFFER__INIT;
    Nof1__V1__Frame frame = NOF1__V1__FRAME__INIT;
    struct nof1_slice bytes;
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    offer.charter = (ProtobufCBinaryData){next->bytes.length,
                                          (uint8_t *)(uintptr_t)next->bytes.data};
    offer.signature = (ProtobufCBinaryData){next->signature.length,
                                            (uint8_t *)(uintptr_t)next->signature.data};
    frame.body_case = NOF1__V1__FRAME__BODY_CHARTER_OFFER;
    frame.charter_offer = &offer;
    TRY(nof1_frame_write(&bytes, arena, &frame));
    return nof1_server_send(coordinator->server, site, bytes);
}

/* What a Hello says of the next charter. */
static nof1_rc note_hello(struct coordinator *coordinator, struct site_link *link,
                          const Nof1__V1__Hello *hello)
{
    const struct nof1_charter *next = coordinator->offer.charter;
    bool has = hello->offered.len == 32 && memcmp(hello->offered.data, next->hash, 32) == 0;
    bool runs = memcmp(hello->charter.data, next->hash, 32) == 0;
    if (runs || (has && strcmp(hello->answer, "approved") == 0)) {
        return keep_answer(coordinator, link, "approved");
    }
    if (has) {
        return keep_answer(coordinator, link,
                           strcmp(hello->answer, "refused") == 0 ? "refused" : "received");
    }
    return hand_over(coordinator, link->site);
}

nof1_rc nof1_charters_hello(struct coordinator *coordinator, const char *site,
                            const Nof1__V1__Hello *hello, struct nof1_slice frame)
{
    struct site_link *link = NULL;
    TRY(find_link(&link, coordinator, site));
    link->hello.length = 0;
    TRY(nof1_buffer_append(&link->hello, frame.data, frame.length));
    return coordinator->offer.charter == NULL ? NOF1_OK : note_hello(coordinator, link, hello);
}

/* ---- the next one ---------------------------------------------------------------------------- */

static nof1_rc_value restore_answer(void *context, const char *key, struct nof1_slice value)
{
    struct coordinator *coordinator = context;
    struct site_link *link = NULL;
    TRY(find_link(&link, coordinator, strrchr(key, '/') + 1));
    snprintf(link->answer, sizeof link->answer, "%.*s", (int)value.length,
             (const char *)value.data);
    return NOF1_OK;
}

nof1_rc nof1_charters_load_offer(struct coordinator *coordinator, struct nof1_error *error)
{
    char hex[65], prefix[80];
    struct signed_charter *offer = &coordinator->offer;
    TRY(charter_file_named(offer, coordinator->arena, coordinator->settings->folder,
                           CHARTER_OFFERED, error));
    for (struct site_link *link = coordinator->links; link != NULL; link = link->next) {
        link->answer[0] = '\0';
    }
    if (offer->charter == NULL || same(offer->charter, coordinator->config.charter)) {
        *offer = (struct signed_charter){0};
        return NOF1_OK;
    }
    nof1_hex_text(hex, offer->charter->hash, 32);
    snprintf(prefix, sizeof prefix, "charter/%s/", hex);
    const struct nof1_store_reader reader = nof1_store_reader(coordinator->store);
    return reader.each(reader.self, prefix, restore_answer, coordinator);
}

nof1_rc nof1_charters_publish(struct coordinator *coordinator, struct nof1_error *error)
{
    TRY(nof1_charters_load_offer(coordinator, error));
    if (coordinator->offer.charter == NULL) {
        return nof1_fail(error, NOF1_E_CONFIG, "no charter is published");
    }
    nof1_log(NOF1_LOG_NOTICE, "charter.published",
             NOF1_LOG_FIELDS(nof1_log_integer("version", coordinator->offer.charter->version),
                             nof1_log_hex("charter", coordinator->offer.charter->hash, 32)));
    coordinator->refresh = true; /* sites that join are let in */
    for (struct site_link *link = coordinator->links; link != NULL; link = link->next) {
        if (link->up && link->hello.length > 0) {
            TRY(hand_over(coordinator, link->site));
        }
    }
    return NOF1_OK;
}

static const char *answer_of(const struct coordinator *coordinator, const char *site)
{
    for (const struct site_link *link = coordinator->links; link != NULL; link = link->next) {
        if (strcmp(link->site, site) == 0) {
            return link->answer;
        }
    }
    return "";
}

bool nof1_charters_ready(const struct coordinator *coordinator)
{
    const struct nof1_charter *next = coordinator->offer.charter;
    bool ready = next != NULL && coordinator->clock.last >= next->effective_at * 1000;
    for (size_t s = 0; ready && s < next->sites; s++) {
        ready = next->site[s].left ||
                strcmp(answer_of(coordinator, next->site[s].id), "approved") == 0;
    }
    return ready;
}

nof1_rc nof1_charters_advance(struct coordinator *coordinator, struct nof1_error *error)
{
    const char *folder = coordinator->settings->folder;
    TRY(charter_file_point(folder, CHARTER_IN_FORCE, coordinator->offer.charter, error));
    TRY(charter_file_point(folder, CHARTER_OFFERED, NULL, error));
    use(coordinator, &coordinator->offer);
    coordinator->offer = (struct signed_charter){0};
    nof1_log(NOF1_LOG_NOTICE, "charter.in_force",
             NOF1_LOG_FIELDS(nof1_log_integer("version", coordinator->config.charter->version),
                             nof1_log_hex("charter", coordinator->config.charter->hash, 32)));
    return NOF1_OK;
}

nof1_rc nof1_charters_replay(struct coordinator *coordinator)
{
    for (struct site_link *link = coordinator->links; link != NULL; link = link->next) {
        struct nof1_event up = {.kind = NOF1_EVENT_LINK_UP, .peer = link->site};
        struct nof1_event hello = {.kind = NOF1_EVENT_FRAME, .peer = link->site,
                                   .bytes = nof1_buffer_slice(&link->hello)};
        if (link->up) {
            TRY(nof1_coordinator_event(coordinator, up, NULL));
        }
        if (link->up && link->hello.length > 0) {
            TRY(nof1_coordinator_event(coordinator, hello, NULL));
        }
    }
    return NOF1_OK;
}

/* ---- what people see ------------------------------------------------------------------------- */

static json_t *describe(const struct nof1_charter *charter)
{
    char hex[65], effective[NOF1_TIME_TEXT];
    nof1_hex_text(hex, charter->hash, sizeof charter->hash);
    nof1_time_text(effective, charter->effective_at);
    return json_pack("{s:I, s:s, s:s}", "version", (json_int_t)charter->version, "hash", hex,
                     "effective", effective);
}

static json_t *sites_that(const struct coordinator *coordinator, const char *answer)
{
    const struct nof1_charter *next = coordinator->offer.charter;
    json_t *list = json_array();
    for (size_t s = 0; s < next->sites; s++) {
        if (!next->site[s].left &&
            strcmp(answer_of(coordinator, next->site[s].id), answer) == 0) {
            json_array_append_new(list, json_string(next->site[s].id));
        }
    }
    return list;
}

json_t *nof1_charters_status(const struct coordinator *coordinator)
{
    json_t *in_force = describe(coordinator->config.charter);
    if (coordinator->offer.charter == NULL) {
        return json_pack("{s:o}", "in_force", in_force);
    }
    json_t *next = describe(coordinator->offer.charter);
    json_object_set_new(next, "approved", sites_that(coordinator, "approved"));
    json_object_set_new(next, "refused", sites_that(coordinator, "refused"));
    json_object_set_new(next, "received", sites_that(coordinator, "received"));
    json_object_set_new(next, "not_received", sites_that(coordinator, ""));
    return json_pack("{s:o, s:o}", "in_force", in_force, "published", next);
}
