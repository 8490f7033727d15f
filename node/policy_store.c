/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Versions of a site's policy: see policy_store.h. Keys "policy-text/N" (the bytes) and
 * "policy-note/N" (canonical JSON), N in ten digits; nothing is ever overwritten but by an
 * approval.
 */
#include <node/policy_store.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <base/hex.h>
#include <base/json.h>
#include <crypto/hash.h>

#define NOTE "policy-note/"
#define KEY_SIZE 32

static void key_of(char out[KEY_SIZE], const char *kind, uint32_t version)
{
    snprintf(out, KEY_SIZE, "policy-%s/%010u", kind, version);
}

/* ---- reading ------------------------------------------------------------ */

struct listing {
    struct nof1_arena *arena;
    struct nof1_policy_version *version;
    size_t count, room;
};

static nof1_rc keep_text(const char **out, struct nof1_arena *arena, const struct nof1_node *node,
                         const char *key)
{
    const char *text = NULL;
    *out = NULL;
    if (nof1_node_get(node, key) == NULL) {
        return NOF1_OK;
    }
    TRY(nof1_node_text(&text, node, key, NULL));
    *out = nof1_arena_text(arena, text);
    return *out == NULL ? NOF1_E_NO_MEMORY : NOF1_OK;
}

static nof1_rc read_note(struct nof1_policy_version *out, struct nof1_arena *arena,
                         const struct nof1_node *node)
{
    TRY(keep_text(&out->digest, arena, node, "digest"));
    TRY(keep_text(&out->edited_by, arena, node, "edited_by"));
    TRY(keep_text(&out->edited_account, arena, node, "edited_account"));
    TRY(keep_text(&out->approved_by, arena, node, "approved_by"));
    TRY(keep_text(&out->approved_account, arena, node, "approved_account"));
    TRY(nof1_node_integer(&out->edited_at, node, "edited_at", 0, INT64_C(1) << 53, NULL));
    return out->approved_by == NULL
               ? NOF1_OK
               : nof1_node_integer(&out->approved_at, node, "approved_at", 0, INT64_C(1) << 53,
                                   NULL);
}

static nof1_rc_value visit_note(void *context, const char *key, struct nof1_slice value)
{
    struct listing *listing = context;
    const struct nof1_node *node = NULL;
    if (value.length == 0) {
        return NOF1_OK;
    }
    if (listing->count == listing->room) {
        size_t room = listing->room * 2 + 8;
        struct nof1_policy_version *more =
            nof1_arena_alloc(listing->arena, room, sizeof *more);
        ENSURE(more != NULL, NOF1_E_NO_MEMORY);
        if (listing->count > 0) {
            memcpy(more, listing->version, listing->count * sizeof *more);
        }
        listing->version = more;
        listing->room = room;
    }
    struct nof1_policy_version *version = &listing->version[listing->count++];
    *version = (struct nof1_policy_version){
        .version = (uint32_t)strtoul(key + strlen(NOTE), NULL, 10)};
    TRY(nof1_canonical_read(&node, listing->arena, value, NULL));
    return read_note(version, listing->arena, node);
}

nof1_rc_value nof1_policy_versions(const struct nof1_policy_version **out, size_t *count,
                                   struct nof1_arena *arena, struct nof1_store *store)
{
    struct listing listing = {.arena = arena};
    const struct nof1_store_reader reader = nof1_store_reader(store);
    nof1_rc_value rc = reader.each(reader.self, NOTE, visit_note, &listing);
    ENSURE(rc != NOF1_E_DECODE && rc != NOF1_E_INPUT, NOF1_E_STORE);
    TRY(rc);
    for (size_t i = 0; i < listing.count; ++i) {
        char key[KEY_SIZE];
        key_of(key, "text", listing.version[i].version);
        rc = nof1_store_get(&listing.version[i].text, arena, store, key);
        ENSURE(rc != NOF1_E_NOT_FOUND, NOF1_E_STORE);
        TRY(rc);
    }
    *out = listing.version;
    *count = listing.count;
    return NOF1_OK;
}

const struct nof1_policy_version *nof1_policy_active(const struct nof1_policy_version *version,
                                                     size_t count)
{
    for (size_t i = count; i > 0; --i) {
        if (version[i - 1].approved_by != NULL) {
            return &version[i - 1];
        }
    }
    return NULL;
}

static nof1_rc read_version(const struct nof1_node **out, struct nof1_arena *arena,
                            const struct nof1_policy_version *version, struct nof1_error *error)
{
    const char *name = nof1_arena_printf(arena, "policy version %u", version->version);
    ENSURE(name != NULL, NOF1_E_NO_MEMORY);
    return nof1_yaml_read(out, arena, name, version->text, error);
}

nof1_rc_value nof1_policy_effective(struct nof1_limits *out, struct nof1_arena *arena,
                                    struct nof1_store *store, const struct nof1_limits *charter,
                                    struct nof1_error *error)
{
    const struct nof1_policy_version *version = NULL;
    const struct nof1_node *node = NULL;
    size_t count = 0;
    TRY(nof1_policy_versions(&version, &count, arena, store));
    const struct nof1_policy_version *active = nof1_policy_active(version, count);
    if (active != NULL) {
        TRY(read_version(&node, arena, active, error));
    }
    return nof1_policy_site(out, charter, node, false, error);
}

/* ---- writing ------------------------------------------------------------ */

static nof1_rc put_note(struct nof1_store *store, const struct nof1_policy_version *version,
                        const char *kind, const struct nof1_person *by, int64_t now)
{
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer note = {0}, entry = {0};
    NOF1_CLEANUP(nof1_json_freep)
    json_t *value = json_pack("{s:s, s:s, s:s, s:I}", "digest", version->digest, "edited_by",
                              version->edited_by, "edited_account", version->edited_account,
                              "edited_at", (json_int_t)version->edited_at);
    NOF1_CLEANUP(nof1_json_freep)
    json_t *logged = json_pack("{s:s, s:I, s:s, s:s, s:s, s:I}", "kind", kind, "version",
                               (json_int_t)version->version, "digest", version->digest, "by",
                               by->name, "account", by->account, "time", (json_int_t)now);
    char key[KEY_SIZE];
    ENSURE(value != NULL && logged != NULL, NOF1_E_NO_MEMORY);
    if (version->approved_by != NULL) {
        json_object_set_new(value, "approved_by", json_string(version->approved_by));
        json_object_set_new(value, "approved_account", json_string(version->approved_account));
        json_object_set_new(value, "approved_at", json_integer(version->approved_at));
    }
    key_of(key, "note", version->version);
    TRY(nof1_canonical_write(&note, value));
    TRY(nof1_canonical_write(&entry, logged));
    TRY(nof1_store_put(store, key, nof1_buffer_slice(&note)));
    return nof1_store_append(store, now, kind, nof1_buffer_slice(&entry), NULL);
}

static nof1_rc write_version(struct nof1_store *store, const struct nof1_policy_version *version,
                             const char *kind, const struct nof1_person *by, int64_t now)
{
    char key[KEY_SIZE];
    key_of(key, "text", version->version);
    TRY(nof1_store_begin(store));
    nof1_rc_value rc =
        version->approved_by == NULL ? nof1_store_put(store, key, version->text) : NOF1_OK;
    rc = rc == NOF1_OK ? put_note(store, version, kind, by, now) : rc;
    rc = rc == NOF1_OK ? nof1_store_commit(store) : rc;
    if (rc != NOF1_OK) {
        nof1_store_rollback(store);
    }
    return rc;
}

nof1_rc_value nof1_policy_propose(uint32_t *out, struct nof1_store *store, struct nof1_slice text,
                                  const struct nof1_person *by, int64_t now,
                                  struct nof1_error *error)
{
    NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *arena = nof1_arena_new();
    const struct nof1_policy_version *version = NULL;
    size_t count = 0;
    uint8_t digest[NOF1_HASH_BYTES];
    char hex[2 * NOF1_HASH_BYTES + 1];
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_policy_versions(&version, &count, arena, store));
    if (count > 0 && nof1_slice_equal(version[count - 1].text, text)) {
        return nof1_fail(error, NOF1_E_USAGE, "nothing changed: this is the text of version %u",
                         version[count - 1].version);
    }
    TRY(nof1_sha256(digest, text));
    nof1_hex_text(hex, digest, sizeof digest);
    const struct nof1_policy_version made = {
        .version = count == 0 ? 1 : version[count - 1].version + 1, .text = text, .digest = hex,
        .edited_by = by->name, .edited_account = by->account, .edited_at = now};
    *out = made.version;
    return write_version(store, &made, "policy.proposed", by, now);
}

nof1_rc_value nof1_policy_accept(struct nof1_store *store, uint32_t number,
                                 const struct nof1_person *by, int64_t now,
                                 struct nof1_error *error)
{
    NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *arena = nof1_arena_new();
    const struct nof1_policy_version *version = NULL;
    size_t count = 0;
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_policy_versions(&version, &count, arena, store));
    if (count == 0 || version[count - 1].version != number) {
        return nof1_fail(error, NOF1_E_USAGE,
                         "version %u is not the latest proposal (%u is); see policy show", number,
                         count == 0 ? 0 : version[count - 1].version);
    }
    struct nof1_policy_version last = version[count - 1];
    if (last.approved_by != NULL) {
        return nof1_fail(error, NOF1_E_USAGE, "version %u is in force already", number);
    }
    if (strcasecmp(last.edited_by, by->name) == 0) {
        return nof1_fail(error, NOF1_E_USAGE,
                         "%s proposed version %u: another person approves it (--by NAME)",
                         by->name, number);
    }
    last.approved_by = by->name;
    last.approved_account = by->account;
    last.approved_at = now;
    return write_version(store, &last, "policy.approved", by, now);
}
