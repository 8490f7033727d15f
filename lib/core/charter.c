/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Look-ups in a charter, and its signed form (docs/protocol.md, "Documents"): canonical bytes, H_c.
 * Reading of the tree is in charter_read.c, writing in charter_write.c.
 */
#include <core/charter.h>

#include <math.h>
#include <string.h>

#include <crypto/hash.h>

size_t nof1_charter_site(const struct nof1_charter *charter, const char *id)
{
    size_t low = 0;
    size_t high = charter->sites; /* ascending by id */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(charter->site[middle].id, id);
        if (order == 0) {
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NOF1_NONE;
}

size_t nof1_charter_block(const struct nof1_charter *charter, const char *id)
{
    for (size_t i = 0; i < charter->blocks; i++) {
        if (strcmp(charter->block[i].id, id) == 0) {
            return i;
        }
    }
    return NOF1_NONE;
}

size_t nof1_charter_statistician(const struct nof1_charter *charter, const char *id)
{
    for (size_t i = 0; i < charter->statisticians; i++) {
        if (strcmp(charter->statistician[i].id, id) == 0) {
            return i;
        }
    }
    return NOF1_NONE;
}

size_t nof1_charter_treatment(const struct nof1_charter *charter, const char *name)
{
    for (size_t i = 0; i < charter->treatments; i++) {
        if (strcmp(charter->treatment[i], name) == 0) {
            return i;
        }
    }
    return NOF1_NONE;
}

size_t nof1_charter_outcome(const struct nof1_charter *charter, const char *name)
{
    for (size_t i = 0; i < charter->outcomes; i++) {
        if (strcmp(charter->outcome[i].name, name) == 0) {
            return i;
        }
    }
    return NOF1_NONE;
}

size_t nof1_charter_covariate(const struct nof1_charter *charter, const char *name)
{
    for (size_t i = 0; i < charter->covariates; i++) {
        if (strcmp(charter->covariate[i].name, name) == 0) {
            return i;
        }
    }
    return NOF1_NONE;
}

bool nof1_charter_allows(const struct nof1_charter *charter, const char *analysis)
{
    for (size_t i = 0; i < charter->analyses; i++) {
        if (strcmp(charter->analysis[i], analysis) == 0) {
            return true;
        }
    }
    return false;
}

double nof1_covariate_coded(const struct nof1_covariate *covariate, double value)
{
    if (!(covariate->quantum > 0) || isnan(value)) {
        return value;
    }
    double coded = floor(value / covariate->quantum + 0.5) * covariate->quantum;
    return fmin(fmax(coded, covariate->lower), covariate->upper);
}

double nof1_covariate_step(double lower, double upper)
{
    static const double nice[] = {1, 2, 5, 10};
    double least = (upper - lower) / NOF1_COVARIATE_STEPS;
    int tens = (int)floor(log10(least));
    double step = 0;
    for (size_t i = 0; i < sizeof nice / sizeof *nice && !(step >= least); i++) {
        step = tens < 0 ? nice[i] / pow(10, -tens) : nice[i] * pow(10, tens);
    }
    return fmax(step, least);
}

size_t nof1_covariate_level(const struct nof1_covariate *covariate, const char *level)
{
    for (size_t i = 0; i < covariate->levels; i++) {
        if (strcmp(covariate->level[i], level) == 0) {
            return i;
        }
    }
    return NOF1_NONE;
}

const struct nof1_covariate *nof1_charter_strata(const struct nof1_charter *charter)
{
    if (charter->stratum_covariate == NULL) {
        return NULL;
    }
    size_t i = nof1_charter_covariate(charter, charter->stratum_covariate);
    return i == NOF1_NONE ? NULL : &charter->covariate[i];
}

size_t nof1_charter_block_of(const struct nof1_charter *charter, size_t site)
{
    for (size_t b = 0; b < charter->blocks; b++) {
        for (size_t i = 0; i < charter->block[b].sites; i++) {
            if (charter->block[b].site[i] == site) {
                return b;
            }
        }
    }
    return NOF1_NONE;
}

bool nof1_charter_block_open(const struct nof1_charter *charter, size_t block)
{
    const struct nof1_block *b = &charter->block[block];
    bool open = true;
    for (size_t i = 0; i < b->sites; i++) {
        open = open && !charter->site[b->site[i]].left;
    }
    return open;
}

static const char *const kind_text[] = {[NOF1_CONTINUOUS] = "continuous",
                                        [NOF1_BINARY] = "binary",
                                        [NOF1_COUNT] = "count",
                                        [NOF1_ORDINAL] = "ordinal",
                                        [NOF1_EFFECT] = "effect"};

const char *nof1_outcome_kind_text(enum nof1_outcome_kind kind)
{
    return kind_text[kind];
}

bool nof1_outcome_kind_read(enum nof1_outcome_kind *out, const char *text)
{
    for (size_t i = 0; i < sizeof kind_text / sizeof kind_text[0]; i++) {
        if (strcmp(kind_text[i], text) == 0) {
            *out = (enum nof1_outcome_kind)i;
            return true;
        }
    }
    return false;
}

/* ---- the signed form ---- */

static nof1_rc require_principal(const char *what, const char *id, const char *spiffe,
                                 struct nof1_slice key, struct nof1_error *error)
{
    if (spiffe[0] == '\0' || key.length == 0) {
        return nof1_fail(error, NOF1_E_INPUT,
                         "%s %s: a signed charter needs both the SPIFFE id and the key", what, id);
    }
    return NOF1_OK;
}

/* A charter that hospitals approve pins every key. */
static nof1_rc require_keys(const struct nof1_charter *charter, struct nof1_error *error)
{
    for (size_t i = 0; i < charter->sites; i++) {
        const struct nof1_member *site = &charter->site[i];
        TRY(require_principal("site", site->id, site->edge_spiffe, site->vault_spki, error));
    }
    for (size_t i = 0; i < charter->statisticians; i++) {
        const struct nof1_principal *p = &charter->statistician[i];
        TRY(require_principal("statistician", p->id, p->spiffe, p->spki, error));
    }
    const struct nof1_principal *p = &charter->coordinator;
    return require_principal("coordinator", p->id, p->spiffe, p->spki, error);
}

static nof1_rc compare(const struct nof1_charter *charter, struct nof1_slice bytes,
                       struct nof1_error *error)
{
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer written = {0};
    TRY(nof1_charter_canonical(&written, charter));
    if (!nof1_slice_equal(nof1_buffer_slice(&written), bytes)) {
        return nof1_fail(error, NOF1_E_DECODE,
                         "the bytes are not the canonical form of this charter");
    }
    return NOF1_OK;
}

nof1_rc nof1_charter_read(const struct nof1_charter **out, struct nof1_arena *arena,
                          struct nof1_slice bytes, struct nof1_error *error)
{
    const struct nof1_node *node = NULL;
    TRY(nof1_canonical_read(&node, arena, bytes, error));
    const struct nof1_charter *charter = NULL;
    TRY(nof1_charter_from_node(&charter, arena, node, error));
    TRY(compare(charter, bytes, error));
    if (!charter->lab) {
        TRY(require_keys(charter, error));
    }
    struct nof1_charter *hashed = nof1_arena_alloc(arena, 1, sizeof *hashed);
    ENSURE(hashed != NULL, NOF1_E_NO_MEMORY);
    *hashed = *charter;
    TRY(nof1_hash(hashed->hash, NOF1_DOMAIN_CHARTER, 1, &bytes));
    *out = hashed;
    return NOF1_OK;
}
