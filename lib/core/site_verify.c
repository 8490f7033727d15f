/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Totals are not believed but re-added (docs/protocol.md, "Messages"): every
 * signed vector of the round, then the check elements, the bounds, and the sums of earlier runs of
 * the same plan. A total that passes becomes part of the history that advance() is replayed on.
 */
#include <core/site_parts.h>

#include <math.h>
#include <string.h>

#include <core/charter.h>

static nof1_rc false_total(struct nof1_site *site, const char *why)
{
    return nof1_fail(&site->error, NOF1_E2504, "%s", why);
}

/* One signed vector of the last answered round. */
static nof1_rc check_vector(struct nof1_site *site, const struct site_attempt *attempt,
                            size_t who, const Nof1__V1__Masked *masked)
{
    struct nof1_slice vector = nof1_slice_of(masked->vector.data, masked->vector.len);
    const struct nof1_statement statement = {.site = masked->site, .h_q = attempt->h_q,
                                             .h_r = attempt->h_roster,
                                             .round = (uint64_t)attempt->round,
                                             .transcript = attempt->transcript};
    uint8_t digest[NOF1_HASH_BYTES];
    ENSURE(masked->round == (uint64_t)attempt->round &&
               memcmp(masked->transcript.data, attempt->transcript, NOF1_HASH_BYTES) == 0,
           NOF1_E2503);
    if (vector.length != attempt->elements * NOF1_RING_BYTES) {
        return false_total(site, "a vector has another length");
    }
    if (who == site->self && !nof1_slice_equal(vector, attempt->own_vector)) {
        return false_total(site, "this site's vector was changed");
    }
    struct nof1_slice signature = nof1_slice_of(masked->signature.data, masked->signature.len);
    if (who == site->self && nof1_slice_equal(signature, attempt->own_signature)) {
        return NOF1_OK; /* every byte is what this site signed */
    }
    TRY(nof1_masked_digest(digest, &statement, vector));
    nof1_rc_value rc = nof1_verifier_check(
        site->verifier, who, site->config.charter->site[who].vault_spki, digest, signature);
    return rc != NOF1_OK && !site_fatal(rc) ? false_total(site, "a vector is not signed by its "
                                                                "site")
                                            : rc;
}

static void add_vector(struct nof1_ring *sum, size_t elements, const uint8_t *vector)
{
    for (size_t e = 0; e < elements; e++) {
        struct nof1_ring value;
        nof1_ring_read(&value, vector + e * NOF1_RING_BYTES);
        nof1_ring_add(&sum[e], &value);
    }
}

/* Charter index of a site of the roster, else NOF1_NONE. Vectors mostly come in the roster's order,
 * which spares the search. */
static size_t roster_site(const struct nof1_site *site, const struct site_attempt *attempt,
                          size_t place, const char *id)
{
    const struct nof1_charter *charter = site->config.charter;
    const struct nof1_query *query = attempt->query;
    if (place < query->sites && strcmp(charter->site[query->site[place]].id, id) == 0) {
        return query->site[place];
    }
    size_t who = nof1_charter_site(charter, id);
    for (size_t s = 0; who != NOF1_NONE && s < query->sites; s++) {
        if (query->site[s] == who) {
            return who;
        }
    }
    return NOF1_NONE;
}

nof1_rc nof1_site_verify(struct nof1_site *site, struct site_attempt *attempt, size_t count,
                         Nof1__V1__Masked *const *masked, struct nof1_slice total)
{
    const struct nof1_charter *charter = site->config.charter;
    bool *seen = nof1_arena_alloc(site->scratch, charter->sites, sizeof *seen);
    struct nof1_ring *sum = nof1_arena_alloc(site->scratch, attempt->elements, sizeof *sum);
    ENSURE(seen != NULL && sum != NULL, NOF1_E_NO_MEMORY);
    if (count != attempt->query->sites ||
        total.length != attempt->elements * NOF1_RING_BYTES) {
        return false_total(site, "not all vectors were shown");
    }
    for (size_t i = 0; i < count; i++) {
        size_t who = roster_site(site, attempt, i, masked[i]->site);
        if (who == NOF1_NONE || seen[who]) {
            return false_total(site, "a vector is of no site of the roster, or of one twice");
        }
        seen[who] = true;
        TRY(check_vector(site, attempt, who, masked[i]));
        add_vector(sum, attempt->elements, masked[i]->vector.data);
    }
    for (size_t e = 0; e < attempt->elements; e++) {
        uint8_t bytes[NOF1_RING_BYTES];
        nof1_ring_write(bytes, &sum[e]);
        if (memcmp(bytes, total.data + e * NOF1_RING_BYTES, sizeof bytes) != 0) {
            return false_total(site, "the vectors add up to something else");
        }
    }
    return NOF1_OK;
}

/* ---- taking a total into the history --------------------------------------------------------- */

static nof1_rc decode(const double **out, struct nof1_arena *arena, struct nof1_slice total,
                      size_t elements)
{
    double *value = nof1_arena_alloc(arena, elements, sizeof *value);
    ENSURE(value != NULL, NOF1_E_NO_MEMORY);
    for (size_t e = 0; e < elements; e++) {
        struct nof1_ring ring;
        nof1_ring_read(&ring, total.data + e * NOF1_RING_BYTES);
        value[e] = nof1_ring_decode(&ring);
    }
    *out = value;
    return NOF1_OK;
}

/* [0] wrong: a mask did not cancel or somebody lied. [0] right and [1] wrong: a site objects. */
static nof1_rc check_elements(struct nof1_site *site, const struct site_attempt *attempt,
                              const double *value)
{
    if (value[0] != (double)attempt->query->sites) {
        return nof1_fail(&site->error, NOF1_E2501, "not every site is in the sum");
    }
    if (attempt->round > 0 && value[1] != (double)attempt->counts.trials) {
        return nof1_fail(&site->error, NOF1_E2505, "%s", "");
    }
    return NOF1_OK;
}

/* No honest sum exceeds the trials times the bound of one trial's term. Noise needs no trials. */
static nof1_rc check_bounds(struct nof1_site *site, const struct site_attempt *attempt,
                            const double *value)
{
    struct nof1_layout layout = {0};
    const struct nof1_query *query = attempt->query;
    double terms = (double)attempt->counts.trials;
    if (!query->census && query->analysis->site_noise != NULL) {
        terms = fmax(terms, 1.0);
    }
    TRY(query->analysis->layout(query->model, (uint32_t)attempt->round, site->scratch, &layout));
    ENSURE(layout.elements + NOF1_CHECK_ELEMENTS == attempt->elements, NOF1_E_BUG);
    for (size_t e = 0; e < layout.elements; e++) {
        double bound = layout.element[e].bound * terms;
        if (fabs(value[NOF1_CHECK_ELEMENTS + e]) > bound * (1 + 0x1p-40)) {
            return nof1_fail(&site->error, NOF1_E2501, "a sum is outside its bound");
        }
    }
    return NOF1_OK;
}

static nof1_rc check_earlier(struct nof1_site *site, const struct site_attempt *attempt,
                             const uint8_t total_hash[NOF1_HASH_BYTES])
{
    const struct site_record_round *round = &attempt->record->round[attempt->round];
    if (round->known && memcmp(round->total, total_hash, NOF1_HASH_BYTES) != 0) {
        return nof1_fail(&site->error, NOF1_E2502, "%s", "");
    }
    return NOF1_OK;
}

static void keep_round(struct site_attempt *attempt, const double *value)
{
    struct nof1_round_total *total = &attempt->total[attempt->history.rounds];
    *total = (struct nof1_round_total){.parameters = attempt->parameters,
                                       .elements = attempt->elements - NOF1_CHECK_ELEMENTS,
                                       .parameter = attempt->parameter,
                                       .total = value + NOF1_CHECK_ELEMENTS};
    attempt->history.rounds += 1;
}

nof1_rc nof1_site_take_total(struct nof1_site *site, struct site_attempt *attempt,
                             struct nof1_slice total, uint8_t total_hash[NOF1_HASH_BYTES])
{
    const double *value = NULL;
    ENSURE(total.length == attempt->elements * NOF1_RING_BYTES, NOF1_E2504);
    TRY(nof1_total_hash(total_hash, total));
    TRY(decode(&value, attempt->arena, total, attempt->elements));
    TRY(check_elements(site, attempt, value));
    TRY(check_earlier(site, attempt, total_hash));
    if (attempt->round == 0) { /* kept in the record once the plan is opened */
        TRY(nof1_opening_counts(&attempt->counts, attempt->arena, attempt->query->model,
                                &attempt->opening, value));
        attempt->history.counts = attempt->counts;
        attempt->opening_total = value;
        return NOF1_OK;
    }
    TRY(check_bounds(site, attempt, value));
    keep_round(attempt, value);
    struct site_record_round *round = &attempt->record->round[attempt->round];
    round->known = true;
    memcpy(round->total, total_hash, NOF1_HASH_BYTES);
    return NOF1_OK;
}
