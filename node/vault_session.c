/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The session inside the vault: what it is made from, and how an event goes through it. The secret
 * is made once and never shown: whatever is random inside an analysis repeats only with it.
 */
#include "vault_parts.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <base/log.h>
#include <core/policy.h>
#include <core/succession.h>
#include <crypto/hash.h>
#include <node/charter_store.h>
#include <node/policy_store.h>
#include <node/store.h>
#include <sys/entropy.h>
#include <sys/files.h>

#define DOCUMENT_LIMIT ((size_t)8 << 20)
#define ANSWER_DELAY 10 /* milliseconds: a durable write and few trials fit in */
#define SECRET_DIGEST "vault/secret"
#define SECRET_KEPT "vault/secret/kept" /* its file was read back: it may have been used */
#define LAST_CHARTER "vault/charter" /* the last that the vault started with */
#define ANSWERS_AFTER "vault/answers-after" /* epoch number, decimal: later ones are answered */

static nof1_rc read_file(struct nof1_slice *out, struct nof1_arena *arena, const char *path,
                         struct nof1_error *error)
{
    struct nof1_buffer bytes = {0};
    nof1_rc_value rc = nof1_file_read(&bytes, path, DOCUMENT_LIMIT, error);
    if (rc == NOF1_OK) {
        *out = nof1_arena_copy(arena, nof1_buffer_slice(&bytes));
        rc = out->data == NULL && bytes.length > 0 ? NOF1_E_NO_MEMORY : NOF1_OK;
    }
    nof1_buffer_free(&bytes);
    return rc;
}

static nof1_rc read_charter(struct nof1_vault *vault, struct nof1_error *error)
{
    struct nof1_site_config *site = &vault->site_config;
    const char *path = vault->config->charter;
    struct nof1_error why = {0};
    vault->charter_due = 0;
    if (path == NULL) {
        TRY(nof1_charter_promote(&vault->charter_due, vault->config->folder,
                                 nof1_clock_now(&vault->clock), error));
        path = nof1_arena_printf(vault->arena, "%s/%s", vault->config->folder, NOF1_NODE_CHARTER);
        ENSURE(path != NULL, NOF1_E_NO_MEMORY);
    }
    TRY(read_file(&site->charter_bytes, vault->arena, path, error));
    nof1_rc_value rc = nof1_charter_read(&site->charter, vault->arena, site->charter_bytes, &why);
    if (rc != NOF1_OK) {
        return nof1_fail(error, NOF1_E_CONFIG, "%s: %s", path, why.message);
    }
    if (site->charter->lab && !vault->config->lab) {
        return nof1_fail(error, NOF1_E_CONFIG,
                         "%s: a lab charter; this program answers none", path);
    }
    return NOF1_OK;
}

/* A charter file may have been put in place without `nof1-node charter approve`: what was released
 * under the last one must stay true here, too. */
static nof1_rc check_succession(struct nof1_vault *vault, struct nof1_error *error)
{
    const struct nof1_site_config *site = &vault->site_config;
    const struct nof1_store_reader reader = nof1_store_reader(vault->store);
    const struct nof1_charter *before = NULL;
    struct nof1_slice last = {0};
    if (vault->config->lab) {
        return NOF1_OK; /* made anew again and again */
    }
    nof1_rc_value rc = nof1_store_get(&last, vault->arena, vault->store, LAST_CHARTER);
    if (rc != NOF1_OK && rc != NOF1_E_NOT_FOUND) {
        return rc;
    }
    if (rc == NOF1_OK && nof1_slice_equal(last, site->charter_bytes)) {
        return NOF1_OK;
    }
    if (rc == NOF1_OK) {
        TRY(nof1_charter_read(&before, vault->arena, last, error));
        TRY(nof1_charter_follows(before, site->charter, error));
    }
    TRY(nof1_charter_keeps_released(site->charter, &reader, error));
    TRY(nof1_store_begin(vault->store));
    TRY(nof1_store_put(vault->store, LAST_CHARTER, site->charter_bytes));
    return nof1_store_commit(vault->store);
}

/* The site may only refuse more than the charter: of charter, approved policy and file the stricter
 * in each key. */
static nof1_rc read_policy(struct nof1_vault *vault, struct nof1_error *error)
{
    struct nof1_site_config *site = &vault->site_config;
    struct nof1_slice bytes;
    const struct nof1_node *node = NULL;
    TRY(nof1_policy_effective(&site->policy, vault->arena, vault->store, &site->charter->limits,
                              error));
    if (vault->config->policy == NULL) {
        return NOF1_OK;
    }
    struct nof1_limits own;
    TRY(read_file(&bytes, vault->arena, vault->config->policy, error));
    TRY(nof1_yaml_read(&node, vault->arena, vault->config->policy, bytes, error));
    TRY(nof1_policy_site(&own, &site->charter->limits, node, false, error));
    nof1_policy_stricter(&site->policy, &site->policy, &own);
    return NOF1_OK;
}

static nof1_rc read_key(struct nof1_vault *vault, struct nof1_error *error)
{
    struct nof1_buffer pem = {0};
    TRY(nof1_file_private(vault->config->key, error));
    nof1_rc_value rc = nof1_file_read(&pem, vault->config->key, 65536, error);
    if (rc == NOF1_OK) {
        rc = nof1_key_read_pem(&vault->key, nof1_buffer_slice(&pem), error);
        OPENSSL_cleanse(pem.data, pem.length);
    }
    nof1_buffer_free(&pem);
    vault->site_config.key = vault->key;
    return rc;
}

/* A site whose secret was lost or replaced must not answer about the same frozen data again: what
 * is random inside an analysis would be drawn anew. It waits for the next freeze. The store knows
 * the secret by its digest. */
static nof1_rc note_secret(struct nof1_vault *vault, bool made, struct nof1_error *error)
{
    uint8_t digest[NOF1_HASH_BYTES];
    struct nof1_slice known;
    uint32_t epoch = 0;
    char text[16];
    TRY(nof1_sha256(digest, nof1_slice_of(vault->secret, sizeof vault->secret)));
    struct nof1_slice own = nof1_slice_of(digest, sizeof digest);
    nof1_rc_value rc = nof1_store_get(&known, vault->arena, vault->store, SECRET_DIGEST);
    bool first = rc == NOF1_E_NOT_FOUND;
    ENSURE(rc == NOF1_OK || first, rc);
    if (first &&
        !made) { /* its budgets and atoms are gone with it: a start anew would forget them */
        return nof1_fail(
            error, NOF1_E_CONFIG,
            "%s holds a secret but its store is lost or empty: restore the store from a "
            "backup",
            vault->config->folder);
    }
    struct nof1_slice mark;
    rc = nof1_store_get(&mark, vault->arena, vault->store, SECRET_KEPT);
    bool kept = rc == NOF1_OK;
    ENSURE(kept || rc == NOF1_E_NOT_FOUND, rc);
    bool same = !first && nof1_slice_equal(known, own);
    if (same && kept) {
        return NOF1_OK;
    }
    TRY(nof1_epoch_current(&epoch, vault->store));
    snprintf(text, sizeof text, "%u", epoch);
    TRY(nof1_store_begin(vault->store));
    if (same) {
        TRY(nof1_store_put(vault->store, SECRET_KEPT, nof1_slice_text("1")));
        return nof1_store_commit(vault->store);
    }
    TRY(nof1_store_put(vault->store, SECRET_DIGEST, own));
    if (!first && kept) {
        TRY(nof1_store_put(vault->store, ANSWERS_AFTER, nof1_slice_text(text)));
    }
    return nof1_store_commit(vault->store);
}

/* The store knows of it first: a secret without its digest means a lost store. Killed in between,
 * the vault makes another at its next start: nothing was drawn from one that was never read back.
 */
static nof1_rc make_secret(struct nof1_vault *vault, const char *path, struct nof1_error *error)
{
    TRY(nof1_random_fill(vault->secret, sizeof vault->secret));
    TRY(note_secret(vault, true, error));
    return nof1_file_write(path, nof1_slice_of(vault->secret, sizeof vault->secret), 0600, error);
}

static nof1_rc read_secret(struct nof1_vault *vault, struct nof1_error *error)
{
    char path[512];
    struct nof1_buffer bytes = {0};
    snprintf(path, sizeof path, "%s/%s", vault->config->folder, NOF1_SITE_SECRET);
    if (access(path, F_OK) != 0) {
        TRY(make_secret(vault, path, error));
    }
    TRY(nof1_file_private(path, error));
    nof1_rc_value rc = nof1_file_read(&bytes, path, 4096, error);
    if (rc == NOF1_OK && bytes.length != sizeof vault->secret) {
        rc = nof1_fail(error, NOF1_E_CONFIG, "%s: must be 32 bytes: restore it from a backup",
                       path);
    }
    if (rc == NOF1_OK) {
        memcpy(vault->secret, bytes.data, sizeof vault->secret);
        OPENSSL_cleanse(bytes.data, bytes.length);
    }
    nof1_buffer_free(&bytes);
    vault->site_config.secret = nof1_slice_of(vault->secret, sizeof vault->secret);
    return rc == NOF1_OK ? note_secret(vault, false, error) : rc;
}

/* May this epoch be answered about? Not when the secret was lost since it was frozen. */
static nof1_rc check_epoch(struct nof1_vault *vault, bool *usable)
{
    struct nof1_slice value;
    struct nof1_epoch *at = &vault->epoch;
    *usable = vault->epoch.id != 0;
    nof1_rc_value rc = nof1_store_get(&value, vault->arena, vault->store, ANSWERS_AFTER);
    if (rc == NOF1_E_NOT_FOUND) {
        return NOF1_OK;
    }
    TRY(rc);
    char text[16] = "";
    memcpy(text, value.data, value.length < sizeof text ? value.length : sizeof text - 1);
    uint64_t after = strtoul(text, NULL, 10);
    while (at->earlier != NULL && at->earlier->id > after) {
        at = (struct nof1_epoch *)(uintptr_t)at->earlier; /* made for this session */
    }
    at->earlier = NULL;
    if (vault->epoch.id <= after) {
        *usable = false;
        nof1_log(NOF1_LOG_ERROR, "vault.secret_lost_freeze_again",
                 NOF1_LOG_FIELDS(nof1_log_integer("epoch", vault->epoch.id)));
    }
    return NOF1_OK;
}

nof1_rc nof1_vault_load(struct nof1_vault *vault, struct nof1_error *error)
{
    struct nof1_site_config *site = &vault->site_config;
    memset(site, 0, sizeof *site);
    vault->arena = nof1_arena_new();
    ENSURE(vault->arena != NULL, NOF1_E_NO_MEMORY);
    TRY(read_charter(vault, error));
    TRY(check_succession(vault, error));
    TRY(read_policy(vault, error));
    TRY(read_key(vault, error));
    TRY(read_secret(vault, error));
    TRY(nof1_epoch_prune(vault->store));
    TRY(nof1_epoch_load(&vault->epoch, vault->arena, vault->store, site->charter, error));
    site->id = vault->config->site;
    bool usable = false;
    TRY(check_epoch(vault, &usable));
    site->epoch = usable ? &vault->epoch : NULL;
    site->manual_approval = vault->config->manual_approval;
    site->lab = vault->config->lab;
    site->delay = vault->config->lab ? 0 : ANSWER_DELAY;
    site->entropy = nof1_random_entropy();
    site->store = nof1_store_reader(vault->store);
    TRY(nof1_site_new(&vault->site, site, error));
    nof1_log(NOF1_LOG_INFO, "vault.ready",
             NOF1_LOG_FIELDS(nof1_log_text("site", site->id),
                             nof1_log_text("study", site->charter->study),
                             nof1_log_hex("charter", site->charter->hash, 32),
                             nof1_log_integer("epoch", vault->epoch.id)));
    return NOF1_OK;
}

void nof1_vault_unload(struct nof1_vault *vault)
{
    nof1_site_free(vault->site);
    nof1_key_free(vault->key);
    nof1_arena_free(vault->arena);
    OPENSSL_cleanse(vault->secret, sizeof vault->secret);
    memset(&vault->epoch, 0, sizeof vault->epoch);
    vault->site = NULL;
    vault->key = NULL;
    vault->arena = NULL;
}

nof1_rc nof1_vault_step(struct nof1_vault *vault, struct nof1_event event)
{
    struct nof1_actions actions;
    event.now = nof1_clock_now(&vault->clock);
    event.peer = event.peer == NULL ? "" : event.peer;
    TRY(nof1_actions_init(&actions));
    nof1_rc_value rc = nof1_site_step(vault->site, &event, &actions);
    if (rc == NOF1_OK) {
        rc = nof1_driver_perform(&vault->driver, &actions, event.now);
    }
    nof1_actions_free(&actions);
    return rc;
}
