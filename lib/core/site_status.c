/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the steward of a site sees: queries, states, refusals with their true reason, the budget.
 * For the site's own eyes; nothing of it is ever sent.
 */
#include <core/site_parts.h>

#include <string.h>

#include <core/epochs.h>

static const char *phase_text(const struct site_attempt *attempt)
{
    switch (attempt->phase) {
    case SITE_WAITING:
        return "waiting for approval";
    case SITE_ADVERTISED:
        return "gathering";
    case SITE_ROUNDS:
        return attempt->objection == NOF1_OK ? "rounds" : "objecting";
    case SITE_ATTESTED:
    default:
        return "attested";
    }
}

static json_t *query_json(const uint8_t *h_q, const char *state, const char *analysis,
                          const char *title, nof1_rc_value code)
{
    char hex[SITE_HEX];
    nof1_hex_text(hex, h_q, NOF1_HASH_BYTES);
    json_t *query =
        json_pack("{s:s, s:s, s:s, s:s}", "query", hex, "state", state, "analysis",
                  analysis == NULL ? "" : analysis, "title", title == NULL ? "" : title);
    if (query != NULL && code != NOF1_OK) {
        json_object_set_new(query, "code", json_string(nof1_rc_code(code)));
        json_object_set_new(query, "reason", json_string(nof1_rc_sentence(code)));
        json_object_set_new(query, "remedy", json_string(nof1_rc_remedy(code)));
    }
    return query;
}

static json_t *queries_json(const struct nof1_site *site)
{
    json_t *queries = json_array();
    for (const struct site_attempt *a = site->attempts; a != NULL; a = a->next) {
        const struct nof1_plan *plan = a->query->study.plan;
        json_t *query =
            query_json(a->h_q, phase_text(a), plan->analysis, plan->title, a->objection);
        json_object_set_new(query, "round", json_integer(a->round));
        json_array_append_new(queries, query);
    }
    size_t oldest = site->past_count > SITE_HISTORY_MAX ? site->past_count - SITE_HISTORY_MAX : 0;
    for (size_t i = site->past_count; i-- > oldest;) {
        const struct site_past *p = &site->past[i % SITE_HISTORY_MAX];
        json_array_append_new(queries,
                              query_json(p->h_q, p->state, p->analysis, p->title, p->code));
    }
    return queries;
}

/* Which epoch the releases of each outcome family have used, and whether a later one waits until
 * the difference rule lets enough blocks move on together. */
static json_t *families_json(const struct nof1_site *site, uint32_t last)
{
    json_t *families = json_array();
    for (size_t f = 0; f < site->families; f++) {
        const struct site_family *family = &site->family[f];
        bool waits = family->epoch > 0 && family->epoch < last;
        json_array_append_new(families,
                              json_pack("{s:s, s:I, s:s}", "family", family->name, "epoch",
                                        (json_int_t)(family->epoch > 0 ? family->epoch : last),
                                        "next", waits ? "not yet" : ""));
    }
    return families;
}

json_t *nof1_site_status(const struct nof1_site *site)
{
    const struct nof1_limits *limits = &site->config.policy;
    uint32_t epoch = site->config.epoch == NULL ? 0 : site->config.epoch->id;
    json_int_t charged = 0;
    for (const struct site_record *r = site->records; r != NULL; r = r->next) {
        charged += r->epoch == epoch && !r->census ? 1 : 0;
    }
    json_t *budget = json_pack("{s:I, s:I}", "queries", charged, "max_queries_epoch",
                               (json_int_t)limits->max_queries_epoch);
    const struct nof1_census *census = site->census;
    size_t block = nof1_charter_block_of(site->config.charter, site->self);
    while (census != NULL && nof1_census_block_epoch(census, block) != epoch) {
        census = census->earlier;
    }
    return json_pack("{s:s, s:s, s:I, s:I, s:b, s:b, s:b, s:o, s:o, s:o}", "site",
                     site->config.id, "study", site->config.charter->study, "charter",
                     (json_int_t)site->config.charter->version, "epoch", (json_int_t)epoch,
                     "census", census != NULL ? 1 : 0, "paused", site->paused ? 1 : 0,
                     "stopped", epoch > 0 && epoch <= site->stopped ? 1 : 0, "families",
                     families_json(site, epoch), "budget", budget, "queries", queries_json(site));
}
