/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Noise that this site adds for differential privacy, and what it has cost (docs/protocol.md,
 * "Differential privacy"). The noise follows from the site secret and the question, never from plan
 * or attempt, so that asking again averages nothing away. The budget is counted from the charged
 * plans, which are stored before their first answer leaves.
 */
#include <core/site_parts.h>

#include <math.h>
#include <string.h>

#include <stats/noise.h>

#define MILLISECONDS_A_DAY (INT64_C(86400) * 1000)
#define BUDGET_DAYS 365

/* Everything that the exact numbers of round 1 depend on, and how wide the noise is. */
static nof1_rc question_of(uint8_t out[NOF1_HASH_BYTES], struct nof1_arena *arena,
                           const struct nof1_query *query, uint32_t round)
{
    const struct nof1_model *model = query->model;
    const struct nof1_plan *plan = query->study.plan;
    struct nof1_layout layout = {0};
    TRY(query->analysis->layout(model, round, arena, &layout));
    struct nof1_hasher *hasher = nof1_hasher_new(NOF1_DOMAIN_NOISE);
    nof1_hasher_bytes(hasher, nof1_slice_of(query->study.charter->hash, NOF1_HASH_BYTES));
    nof1_hasher_integer(hasher, plan->epoch);
    for (size_t b = 0; plan->block_epoch != NULL && b < plan->blocks; b++) {
        /* other epochs of other blocks are another question: with the same noise, the difference of
         * two answers would bear that of the blocks that moved alone */
        nof1_hasher_integer(hasher, plan->block_epoch[b]);
    }
    nof1_hasher_bytes(hasher, nof1_slice_text(query->analysis->id));
    nof1_hasher_bytes(hasher, nof1_slice_text(model->question));
    for (size_t e = 0; e < layout.elements; e++) {
        nof1_hasher_bytes(hasher, nof1_slice_text(layout.element[e].name));
    }
    return nof1_hasher_end(hasher, out);
}

/* What the questions of the last 365 days cost together, this one included; each once. */
static double spent(const struct nof1_site *site, const uint8_t *question, double rho)
{
    int64_t since = site->now / MILLISECONDS_A_DAY - BUDGET_DAYS;
    for (const struct site_record *r = site->records; r != NULL; r = r->next) {
        bool counts = r->rho > 0 && r->day > since &&
                      memcmp(r->question, question, NOF1_HASH_BYTES) != 0;
        for (const struct site_record *s = site->records; counts && s != r; s = s->next) {
            counts = !(s->rho > 0 && s->day > since &&
                       memcmp(r->question, s->question, NOF1_HASH_BYTES) == 0);
        }
        rho += counts ? r->rho : 0.0;
    }
    return rho;
}

nof1_rc nof1_site_check_noise(struct nof1_site *site, const struct nof1_query *query)
{
    uint8_t question[NOF1_HASH_BYTES];
    const struct nof1_limits *limits = &site->config.policy;
    if (query->census || query->analysis->site_noise == NULL || limits->open) {
        return NOF1_OK;
    }
    TRY(question_of(question, site->scratch, query, 1));
    double epsilon =
        nof1_zcdp_epsilon(spent(site, question, query->model->rho), limits->dp_delta);
    if (epsilon > limits->dp_epsilon_year * (1 + 1e-9)) {
        return nof1_fail(&site->error, NOF1_E2312, "%s", "");
    }
    return NOF1_OK;
}

nof1_rc nof1_site_note_noise(struct site_record *record, struct nof1_site *site,
                             const struct nof1_query *query)
{
    if (query->census || query->analysis->site_noise == NULL) {
        return NOF1_OK;
    }
    record->rho = query->model->rho;
    return question_of(record->question, site->scratch, query, 1);
}

nof1_rc nof1_site_add_noise(struct nof1_site *site, const struct site_attempt *attempt,
                            uint32_t round, const struct nof1_layout *layout, struct nof1_ring *y)
{
    const struct nof1_query *query = attempt->query;
    uint8_t seed[NOF1_HASH_BYTES];
    if (query->analysis->site_noise == NULL) {
        return NOF1_OK;
    }
    ENSURE(site->config.secret.length == NOF1_HASH_BYTES, NOF1_E_BUG);
    TRY(question_of(seed, site->scratch, query, round));
    const struct nof1_slice asked[] = {nof1_slice_of(seed, NOF1_HASH_BYTES),
                                       nof1_slice_text(site->config.id)};
    TRY(nof1_hash(seed, NOF1_DOMAIN_NOISE, 2, asked));
    TRY(nof1_hmac(seed, site->config.secret, nof1_slice_of(seed, NOF1_HASH_BYTES)));
    double *noise = nof1_arena_alloc(site->scratch, layout->elements + 1, sizeof *noise);
    ENSURE(noise != NULL, NOF1_E_NO_MEMORY);
    TRY(query->analysis->site_noise(query->model, round, seed, noise));
    for (size_t e = 0; e < layout->elements; e++) {
        struct nof1_ring encoded;
        ENSURE(isfinite(noise[e]) && fabs(noise[e]) <= layout->element[e].bound, NOF1_E2403);
        TRY(nof1_ring_encode(&encoded, noise[e]));
        nof1_ring_add(&y[NOF1_CHECK_ELEMENTS + e], &encoded);
    }
    return NOF1_OK;
}
