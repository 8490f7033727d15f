/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * This site's numbers, before they are masked (docs/protocol.md, "Limits on the totals" and
 * "Numbers"): which trials the plan uses, the counts of round 0, and per trial the terms of a later
 * round, each encoded and added in the ring. What leaves this file is masked by the caller or
 * thrown away.
 */
#include <core/site_parts.h>

#include <math.h>
#include <string.h>

#include <core/census_analysis.h>
#include <core/charter.h>

static size_t scratch_bytes(const struct nof1_model *model, const struct nof1_epoch *epoch)
{
    size_t rows = 0;
    for (const struct nof1_epoch *e = epoch; e != NULL; e = e->earlier) {
        for (size_t t = 0; t < e->trials; t++) { /* what a trial was is compared with what it is */
            rows = e->trial[t].rows > rows ? e->trial[t].rows : rows;
        }
    }
    return model->scratch + rows * model->scratch_row + 16;
}

/* Count a patient once per group and in all. */
static nof1_rc count_own(struct nof1_site *site, struct site_attempt *attempt)
{
    const struct nof1_epoch *epoch = attempt->epoch;
    size_t groups = attempt->query->model->groups;
    uint64_t *per_group = nof1_arena_alloc(attempt->arena, groups, sizeof *per_group);
    bool *seen = nof1_arena_alloc(site->scratch, epoch->patients + 1, groups * sizeof *seen);
    bool *seen_any = nof1_arena_alloc(site->scratch, epoch->patients + 1, sizeof *seen_any);
    ENSURE(per_group != NULL && seen != NULL && seen_any != NULL, NOF1_E_NO_MEMORY);
    attempt->own = (struct nof1_own){.group_patients = per_group,
                                     .atom_patients = attempt->atom_patients,
                                     .cell_patients = attempt->atom_patients +
                                                      2 * attempt->opening.atoms};
    for (size_t t = 0; t < epoch->trials; t++) {
        if (attempt->group[t] == NOF1_LEFT_OUT) {
            continue;
        }
        size_t p = epoch->patient[t], g = (size_t)attempt->group[t];
        attempt->own.trials += 1;
        per_group[g] += seen[p * groups + g] ? 0 : 1;
        attempt->own.patients += seen_any[p] ? 0 : 1;
        seen[p * groups + g] = seen_any[p] = true;
    }
    return NOF1_OK;
}

struct nof1_trial nof1_site_trial(const struct nof1_site *site, const struct site_attempt *attempt,
                                  size_t t)
{
    struct nof1_trial trial = attempt->epoch->trial[t];
    trial.site = site->self;
    trial.site_mean = attempt->site_mean;
    trial.site_trials = attempt->own.trials;
    trial.seed = NULL;
    return trial;
}

/* Means over this site's own trials, in the order of the epoch; the first value is taken off before
 * they are added, so that a large common offset costs no digit. */
static nof1_rc average_own(struct nof1_site *site, struct site_attempt *attempt)
{
    const struct nof1_model *model = attempt->query->model;
    size_t n = model->site_means, trials = 0;
    double *sum = nof1_arena_alloc(attempt->arena, 3 * n + 1, sizeof *sum);
    ENSURE(sum != NULL, NOF1_E_NO_MEMORY);
    double *first = sum + n, *value = first + n;
    for (size_t t = 0; n > 0 && t < attempt->epoch->trials; t++) {
        if (attempt->group[t] == NOF1_LEFT_OUT) {
            continue;
        }
        struct nof1_trial trial = nof1_site_trial(site, attempt, t);
        TRY(model->analysis->site_value(model, &trial, attempt->scratch, value));
        for (size_t k = 0; k < n; k++) {
            first[k] = trials == 0 ? value[k] : first[k];
            sum[k] += value[k] - first[k];
        }
        trials++;
    }
    for (size_t k = 0; k < n && trials > 0; k++) {
        sum[k] = first[k] + sum[k] / (double)trials;
    }
    attempt->site_mean = n > 0 ? sum : NULL;
    return NOF1_OK;
}

nof1_rc nof1_site_assign(struct nof1_site *site, struct site_attempt *attempt)
{
    const struct nof1_epoch *epoch = attempt->epoch;
    const struct nof1_query *query = attempt->query;
    attempt->group = nof1_arena_alloc(attempt->arena, epoch->trials + 1, sizeof *attempt->group);
    attempt->scratch =
        nof1_arena_alloc(attempt->arena, scratch_bytes(query->model, epoch), 1);
    ENSURE(attempt->group != NULL && attempt->scratch != NULL, NOF1_E_NO_MEMORY);
    for (size_t t = 0; t < epoch->trials; t++) {
        struct nof1_trial own = nof1_site_trial(site, attempt, t), *trial = &own;
        bool in_set = query->census ||
                      nof1_in_analysis_set(query->study.charter, query->study.plan->outcome, trial);
        attempt->group[t] =
            in_set ? query->analysis->group_of(query->model, trial, attempt->scratch)
                   : NOF1_LEFT_OUT;
        ENSURE(attempt->group[t] < (int)query->model->groups, NOF1_E_BUG);
        attempt->group[t] = attempt->group[t] < 0 ? NOF1_LEFT_OUT : attempt->group[t];
    }
    TRY(nof1_site_parts(site, attempt));
    TRY(count_own(site, attempt));
    return average_own(site, attempt);
}

/* ---- round 0 ------------------------------------------------------------ */

static void count_groups(const struct site_attempt *attempt, double *count)
{
    const struct nof1_opening *opening = &attempt->opening;
    for (size_t t = 0; t < attempt->epoch->trials; t++) {
        if (attempt->group[t] != NOF1_LEFT_OUT) {
            count[opening->group_trials + (size_t)attempt->group[t]] += 1;
        }
    }
    for (size_t g = 0; g < attempt->query->model->groups; g++) {
        count[opening->group_patients + g] = (double)attempt->own.group_patients[g];
        count[opening->group_sites + g] = attempt->own.group_patients[g] > 0 ? 1 : 0;
    }
}

/* The roster block that this site belongs to. */
static size_t own_block(const struct nof1_site *site, const struct site_attempt *attempt)
{
    const struct nof1_charter *charter = site->config.charter;
    const struct nof1_plan *plan = attempt->query->study.plan;
    for (size_t b = 0; b < plan->blocks; b++) {
        const struct nof1_block *block = &charter->block[plan->block[b]];
        for (size_t s = 0; s < block->sites; s++) {
            if (block->site[s] == site->self) {
                return b;
            }
        }
    }
    return NOF1_NONE;
}

/* Of each atom the patients used and those left out; a patient of whom one trial is used and one
 * left out is both. */
static nof1_rc count_atoms(const struct nof1_site *site, const struct site_attempt *attempt,
                           double *count)
{
    const struct nof1_opening *opening = &attempt->opening;
    size_t block = own_block(site, attempt);
    ENSURE(block != NOF1_NONE, NOF1_E_BUG); /* the roster was checked */
    count[opening->block_patients + block] = (double)attempt->own.patients;
    for (size_t a = 0; a < opening->atoms; a++) {
        uint64_t used = attempt->atom_patients[a];
        uint64_t left = attempt->atom_patients[opening->atoms + a];
        double *of = count + nof1_opening_atom_at(opening, a, block, NOF1_ATOM_USED);
        of[NOF1_ATOM_USED] = (double)used;
        of[NOF1_ATOM_USED_SITES] = used > 0 ? 1 : 0;
        of[NOF1_ATOM_LEFT] = (double)left;
        of[NOF1_ATOM_LEFT_SITES] = left > 0 ? 1 : 0;
        for (size_t g = 0; g < opening->groups; g++) {
            uint64_t cell = attempt->atom_patients[(2 + g) * opening->atoms + a];
            double *in = count + nof1_opening_cell_at(opening, a, g, block);
            in[NOF1_ATOM_USED] = (double)cell;
            in[NOF1_ATOM_USED_SITES] = cell > 0 ? 1 : 0;
        }
    }
    count[opening->unlisted] = (double)attempt->unlisted;
    for (size_t c = 0; c < SITE_CHANGED; c++) {
        count[opening->changed + c] = (double)attempt->changed[c];
    }
    return NOF1_OK;
}

nof1_rc nof1_site_count(struct nof1_site *site, struct site_attempt *attempt, struct nof1_ring *y)
{
    size_t elements = attempt->opening.elements;
    double *count = nof1_arena_alloc(site->scratch, elements, sizeof *count);
    ENSURE(count != NULL, NOF1_E_NO_MEMORY);
    count[0] = 1;
    count[1] = (double)attempt->own.trials;
    count[2] = (double)attempt->own.patients;
    count[3] = (double)(attempt->epoch->trials - attempt->own.trials);
    count_groups(attempt, count);
    TRY(count_atoms(site, attempt, count));
    TRY(nof1_site_count_feeding(site, attempt, count));
    TRY(nof1_site_count_moved(site, attempt, count));
    for (size_t e = 0; e < elements; e++) {
        TRY(nof1_ring_encode(&y[e], count[e]));
    }
    return NOF1_OK;
}

/* ---- later rounds ------------------------------------------------------------ */

static nof1_rc add_terms(struct nof1_ring *y, const struct nof1_layout *layout, const double *term)
{
    for (size_t e = 0; e < layout->elements; e++) {
        const struct nof1_element *element = &layout->element[e];
        double value = term[e];
        ENSURE(isfinite(value) && fabs(value) <= element->bound, NOF1_E2403);
        if (element->quantum > 0) { /* a power of two: both steps are exact */
            value = nearbyint(value / element->quantum) * element->quantum;
        }
        struct nof1_ring encoded;
        TRY(nof1_ring_encode(&encoded, value));
        nof1_ring_add(&y[NOF1_CHECK_ELEMENTS + e], &encoded);
    }
    return NOF1_OK;
}

/* The trial's private randomness: HMAC(site secret; study, epoch, analysis, patient, trial). No
 * plan and no attempt is in it, so that asking again averages nothing away. A site without a secret
 * has none to draw from. */
static nof1_rc seed_of(uint8_t seed[NOF1_HASH_BYTES], const struct nof1_site *site,
                       const struct site_attempt *attempt, size_t t, uint64_t nth)
{
    const struct nof1_epoch *epoch = attempt->epoch;
    ENSURE(site->config.secret.length == NOF1_HASH_BYTES, NOF1_E_BUG);
    struct nof1_hasher *hasher = nof1_hasher_new(NOF1_DOMAIN_SEED);
    nof1_hasher_bytes(hasher, nof1_slice_text(site->config.charter->study));
    nof1_hasher_integer(hasher, epoch->id);
    nof1_hasher_bytes(hasher, nof1_slice_text(attempt->query->analysis->id));
    nof1_hasher_bytes(hasher, nof1_slice_text(epoch->patient_key[epoch->patient[t]]));
    nof1_hasher_integer(hasher, nth);
    TRY(nof1_hasher_end(hasher, seed));
    return nof1_hmac(seed, site->config.secret, nof1_slice_of(seed, NOF1_HASH_BYTES));
}

/* One trial's terms; nth counts the trials of its patient, counted says that it is the first used.
 */
static nof1_rc contribute_trial(struct nof1_site *site, const struct site_attempt *attempt,
                                uint32_t round, const double *theta, size_t t, uint64_t nth,
                                bool counted, double *term)
{
    const struct nof1_model *model = attempt->query->model;
    uint8_t seed[NOF1_HASH_BYTES];
    struct nof1_trial trial = nof1_site_trial(site, attempt, t);
    trial.counted = counted;
    if (model->random) {
        TRY(seed_of(seed, site, attempt, t, nth));
        trial.seed = seed;
    }
    return model->analysis->contribute(model, round, theta, &trial, attempt->scratch, term);
}

static nof1_rc contribute_census(struct nof1_site *site, struct site_attempt *attempt,
                                 const struct nof1_layout *layout, struct nof1_ring *y)
{
    double *count = nof1_arena_alloc(site->scratch, layout->elements, sizeof *count);
    ENSURE(count != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_census_site_counts(count, site->scratch, site->config.charter, site->self,
                                attempt->epoch, attempt->counts.patients,
                                site->config.policy.max_site_share));
    return add_terms(y, layout, count);
}

nof1_rc nof1_site_contribute(struct nof1_site *site, struct site_attempt *attempt, uint32_t round,
                             const double *theta, const struct nof1_layout *layout,
                             struct nof1_ring *y)
{
    const struct nof1_epoch *epoch = attempt->epoch;
    double *term = nof1_arena_alloc(site->scratch, layout->elements + 1, sizeof *term);
    uint64_t *nth = nof1_arena_alloc(site->scratch, epoch->patients + 1, sizeof *nth);
    bool *used = nof1_arena_alloc(site->scratch, epoch->patients + 1, sizeof *used);
    ENSURE(term != NULL && nth != NULL && used != NULL, NOF1_E_NO_MEMORY);
    memset(y, 0, (layout->elements + NOF1_CHECK_ELEMENTS) * sizeof *y);
    TRY(nof1_ring_encode(&y[0], 1));
    TRY(nof1_ring_encode(&y[1], (double)attempt->own.trials));
    if (attempt->query->census) {
        return contribute_census(site, attempt, layout, y);
    }
    for (size_t t = 0; t < epoch->trials; t++) {
        uint64_t of_patient = nth[epoch->patient[t]]++;
        if (attempt->group[t] != NOF1_LEFT_OUT) {
            bool *seen = &used[epoch->patient[t]];
            TRY(contribute_trial(site, attempt, round, theta, t, of_patient, !*seen, term));
            TRY(add_terms(y, layout, term));
            *seen = true;
        }
    }
    return nof1_site_add_noise(site, attempt, round, layout, y);
}

nof1_rc nof1_site_object(struct nof1_site *site, size_t elements, struct nof1_ring *y)
{
    const struct nof1_entropy *entropy = &site->config.entropy;
    uint8_t *bytes = nof1_arena_alloc(site->scratch, elements, NOF1_RING_BYTES);
    ENSURE(bytes != NULL, NOF1_E_NO_MEMORY);
    TRY(entropy->fill(entropy->self, bytes, elements * NOF1_RING_BYTES));
    TRY(nof1_ring_encode(&y[0], 1));
    for (size_t e = 1; e < elements; e++) {
        nof1_ring_read(&y[e], bytes + e * NOF1_RING_BYTES);
    }
    return NOF1_OK;
}

/* This site's share of the roster's weight, as the last round with parameters has shown it. */
static double own_share(const struct site_attempt *attempt)
{
    const struct nof1_analysis *analysis = attempt->query->analysis;
    const struct nof1_history *history = &attempt->history;
    const struct nof1_round_total *last =
        history->rounds == 0 ? NULL : &history->round[history->rounds - 1];
    if (analysis->weight_element != NULL && last != NULL && last->parameters > 0) {
        if (attempt->own_element > 0) { /* 0: the form has no such element */
            double total = last->total[analysis->weight_element(attempt->query->model)];
            return total > attempt->own_element ? attempt->own_element / total : 1;
        }
    }
    return (double)attempt->own.trials / (double)attempt->counts.trials;
}

nof1_rc nof1_site_weights(struct nof1_site *site, struct site_attempt *attempt,
                          const double *theta)
{
    const struct nof1_epoch *epoch = attempt->epoch;
    const struct nof1_model *model = attempt->query->model;
    double *weight = nof1_arena_alloc(site->scratch, epoch->trials + 1, sizeof *weight);
    size_t trials = 0;
    ENSURE(weight != NULL, NOF1_E_NO_MEMORY);
    for (size_t t = 0; t < epoch->trials; t++) {
        if (attempt->group[t] != NOF1_LEFT_OUT) {
            struct nof1_trial trial = nof1_site_trial(site, attempt, t);
            weight[trials++] = model->analysis->weight(model, theta, &trial, attempt->scratch);
        }
    }
    return nof1_check_weights(&site->config.policy, trials, weight, own_share(attempt),
                              &site->error);
}
