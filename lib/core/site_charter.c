/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A later charter is offered to the site (docs/protocol.md, "Charter versions"): kept for the
 * steward, answered in the next Hello. The session itself never goes over to it: that is done by
 * the vault, after nof1-node charter approve. Kept are "charter-offer/HEX" (canonical bytes) and
 * "charter-offered" (the last one's hash); "charter-approved/HEX" and "charter-refused/HEX" are the
 * steward's.
 */
#include <core/site_parts.h>

#include <stdio.h>
#include <string.h>

#include <base/json.h>
#include <core/charter.h>

static nof1_rc_value read_last(void *context, const char *key, struct nof1_slice value)
{
    struct nof1_site *site = context;
    NOF1_CLEANUP(nof1_json_freep)
    json_t *last = json_loadb((const char *)value.data, value.length, 0, NULL);
    const char *hex = json_string_value(json_object_get(last, "charter"));
    (void)key;
    ENSURE(hex != NULL && nof1_hex_read(site->offered, sizeof site->offered, hex), NOF1_E_STORE);
    site->has_offer = true;
    return NOF1_OK;
}

static nof1_rc_value found(void *context, const char *key, struct nof1_slice value)
{
    bool *there = context;
    (void)key;
    *there = value.length > 0;
    return NOF1_OK;
}

static nof1_rc find(bool *out, const struct nof1_site *site, const char *what)
{
    const struct nof1_store_reader *store = &site->config.store;
    char hex[SITE_HEX], key[SITE_HEX + 32];
    nof1_hex_text(hex, site->offered, sizeof site->offered);
    snprintf(key, sizeof key, "%s/%s", what, hex);
    *out = false;
    return store->each == NULL ? NOF1_OK : store->each(store->self, key, found, out);
}

nof1_rc nof1_site_restore_offer(struct nof1_site *site)
{
    const struct nof1_store_reader *store = &site->config.store;
    return store->each == NULL ? NOF1_OK
                               : store->each(store->self, "charter-offered", read_last, site);
}

nof1_rc nof1_site_say_offer(struct nof1_site *site, Nof1__V1__Hello *hello)
{
    bool approved = false, refused = false;
    if (!site->has_offer) {
        return NOF1_OK;
    }
    TRY(find(&approved, site, "charter-approved"));
    TRY(find(&refused, site, "charter-refused"));
    hello->offered = (ProtobufCBinaryData){sizeof site->offered, site->offered};
    hello->answer = (char *)(uintptr_t)(refused ? "refused" : approved ? "approved" : "");
    return NOF1_OK;
}

/* One that the consortium signed, of the same study, later than the one in force. */
static nof1_rc check(const struct nof1_charter **out, struct nof1_site *site,
                     const Nof1__V1__CharterOffer *offer)
{
    const struct nof1_charter *own = site->config.charter;
    const struct nof1_charter *later = NULL;
    TRY(nof1_charter_read(&later, site->scratch,
                          nof1_slice_of(offer->charter.data, offer->charter.len), &site->error));
    TRY(nof1_verify(own->coordinator.spki, later->hash,
                    nof1_slice_of(offer->signature.data, offer->signature.len)));
    ENSURE(strcmp(own->study, later->study) == 0 && later->version > own->version &&
               later->lab == own->lab,
           NOF1_E2104);
    *out = later;
    return NOF1_OK;
}

static nof1_rc keep(struct nof1_site *site, const struct nof1_charter *later,
                    const Nof1__V1__CharterOffer *offer)
{
    char hex[SITE_HEX];
    nof1_hex_text(hex, later->hash, sizeof later->hash);
    const char *key = nof1_arena_printf(site->scratch, "charter-offer/%s", hex);
    ENSURE(key != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_actions_add(site->actions,
                         (struct nof1_action){.kind = NOF1_ACTION_PUT, .key = key, .peer = "",
                                              .bytes = nof1_slice_of(offer->charter.data,
                                                                     offer->charter.len)}));
    TRY(nof1_site_put(site, "charter-offered",
                      json_pack("{s:s, s:I}", "charter", hex, "time", (json_int_t)site->now)));
    memcpy(site->offered, later->hash, sizeof site->offered);
    site->has_offer = true;
    return nof1_site_append(site, "charter.offered", NULL,
                            json_pack("{s:s, s:I}", "charter", hex, "version",
                                      (json_int_t)later->version));
}

nof1_rc nof1_site_take_offer(bool *news, struct nof1_site *site,
                             const Nof1__V1__CharterOffer *offer)
{
    const struct nof1_charter *later = NULL;
    *news = false;
    nof1_rc_value rc = check(&later, site, offer);
    if (rc != NOF1_OK) {
        return site_fatal(rc) ? rc : NOF1_OK; /* not of the consortium, or old: nobody to answer */
    }
    *news = (!site->has_offer ||
             memcmp(site->offered, later->hash, sizeof site->offered) != 0) &&
            nof1_site_may_keep_charter(site);
    return *news ? keep(site, later, offer) : NOF1_OK;
}
