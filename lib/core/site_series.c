/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a trial's numbers were in earlier releases and what they are now (docs/protocol.md,
 * "Difference rule"). Per outcome family a trial has parts: each outcome of the family with its
 * schedule (rows, cycles, periods, times, treatments, variances), and each covariate of the
 * charter, because a plan on the family may use any of them. Columns outside the family are no
 * part: a change there changes nothing here. Digests stay in the site's own store.
 */
#include <core/site_parts.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <core/charter.h>
#include <crypto/hash.h>

#define DIGEST SITE_PART_DIGEST
#define OUTCOME "outcome/"
#define COVARIATE "covariate/"

/* ---- parts ------------------------------------------------------------ */

static bool has_part(const struct site_family *family, const char *name)
{
    for (size_t p = 0; p < family->parts; p++) {
        if (strcmp(family->part[p], name) == 0) {
            return true;
        }
    }
    return false;
}

static nof1_rc add_part(struct nof1_site *site, struct site_family *family, const char *kind,
                        const char *name)
{
    const char *part = nof1_arena_printf(site->arena, "%s%s", kind, name);
    ENSURE(part != NULL, NOF1_E_NO_MEMORY);
    if (!has_part(family, part)) {
        family->part[family->parts++] = part;
    }
    return NOF1_OK;
}

nof1_rc nof1_site_name_parts(struct nof1_site *site, struct site_family *family, size_t stored,
                             const char *const *name)
{
    const struct nof1_charter *charter = site->config.charter;
    family->part = nof1_arena_alloc(site->arena, stored + charter->outcomes + charter->covariates,
                                    sizeof *family->part);
    ENSURE(family->part != NULL, NOF1_E_NO_MEMORY);
    for (size_t p = 0; p < stored; p++) { /* their order is that of the stored digests */
        TRY(add_part(site, family, "", name[p]));
    }
    for (size_t o = 0; o < charter->outcomes; o++) {
        if (strcmp(charter->outcome[o].family, family->name) == 0) {
            TRY(add_part(site, family, OUTCOME, charter->outcome[o].name));
        }
    }
    for (size_t c = 0; c < charter->covariates; c++) {
        TRY(add_part(site, family, COVARIATE, charter->covariate[c].name));
    }
    return NOF1_OK;
}

/* ---- digests ------------------------------------------------------------ */

static nof1_rc add_column(struct nof1_buffer *out, const double *column, size_t rows)
{
    for (size_t r = 0; column != NULL && r < rows; r++) {
        uint64_t bits = 0x7ff8000000000000u; /* one NAN for all */
        if (!isnan(column[r])) {
            double value = column[r] == 0 ? 0 : column[r]; /* and one zero */
            memcpy(&bits, &value, sizeof bits);
        }
        TRY(nof1_buffer_append(out, &bits, sizeof bits));
    }
    return nof1_buffer_append(out, "", 1);
}

static nof1_rc add_outcome(struct nof1_buffer *out, const struct nof1_charter *charter, size_t o,
                           const struct nof1_trial *trial)
{
    TRY(nof1_buffer_append(out, trial->cycle, trial->rows * sizeof *trial->cycle));
    TRY(nof1_buffer_append(out, trial->period, trial->rows * sizeof *trial->period));
    for (size_t r = 0; r < trial->rows; r++) {
        bool arm = trial->treatment[r] < charter->treatments;
        const char *name = arm ? charter->treatment[trial->treatment[r]] : "";
        TRY(nof1_buffer_append(out, name, strlen(name) + 1));
    }
    TRY(add_column(out, trial->time, trial->rows));
    TRY(add_column(out, trial->outcome[o], trial->rows));
    return add_column(out, trial->variance == NULL ? NULL : trial->variance[o], trial->rows);
}

/* Levels by name: another charter version may count them otherwise. */
static nof1_rc add_covariate(struct nof1_buffer *out, const struct nof1_covariate *covariate,
                             const double *column, size_t rows)
{
    if (covariate->kind != NOF1_FACTOR) {
        return add_column(out, column, rows);
    }
    for (size_t r = 0; r < rows; r++) {
        bool known = column[r] >= 0 && column[r] < (double)covariate->levels;
        const char *level = known ? covariate->level[(size_t)column[r]] : "";
        TRY(nof1_buffer_append(out, level, strlen(level) + 1));
    }
    return NOF1_OK;
}

/* The bytes of a part; *known false: the charter does not have it. */
static nof1_rc add_bytes(struct nof1_buffer *out, bool *known, const struct nof1_charter *charter,
                         const char *part, const struct nof1_trial *trial)
{
    uint64_t rows = trial->rows;
    bool outcome = strncmp(part, OUTCOME, strlen(OUTCOME)) == 0;
    const char *name = part + strlen(outcome ? OUTCOME : COVARIATE);
    size_t index = outcome ? nof1_charter_outcome(charter, name)
                           : nof1_charter_covariate(charter, name);
    *known = index != NOF1_NONE;
    if (!*known) {
        return NOF1_OK;
    }
    TRY(nof1_buffer_append(out, &rows, sizeof rows));
    return outcome ? add_outcome(out, charter, index, trial)
                   : add_covariate(out, &charter->covariate[index], trial->covariate[index],
                                   trial->rows);
}

nof1_rc nof1_site_series(const char **out, struct nof1_site *site,
                         const struct site_family *family, const struct nof1_trial *trial)
{
    struct nof1_buffer bytes NOF1_CLEANUP(nof1_buffer_free) = {0};
    char *text = nof1_arena_alloc(site->arena, DIGEST * family->parts + 1, 1);
    ENSURE(text != NULL, NOF1_E_NO_MEMORY);
    for (size_t p = 0; p < family->parts; p++) {
        uint8_t digest[NOF1_HASH_BYTES];
        char hex[DIGEST + 1];
        bool known = false;
        bytes.length = 0;
        TRY(add_bytes(&bytes, &known, site->config.charter, family->part[p], trial));
        memset(text + DIGEST * p, '-', DIGEST);
        if (known) {
            struct nof1_slice all = nof1_buffer_slice(&bytes);
            TRY(nof1_hash(digest, NOF1_DOMAIN_SERIES, 1, &all));
            nof1_hex_text(hex, digest, DIGEST / 2);
            memcpy(text + DIGEST * p, hex, DIGEST);
        }
    }
    *out = text;
    return NOF1_OK;
}

/* ---- comparing ------------------------------------------------------------ */

const char *nof1_site_part(const char *series, size_t part)
{
    return strlen(series) < DIGEST * (part + 1) || series[DIGEST * part] == '-'
               ? NULL
               : series + DIGEST * part;
}

bool nof1_site_is_outcome(const struct site_family *family, size_t part)
{
    return strncmp(family->part[part], OUTCOME, strlen(OUTCOME)) == 0;
}

/* How many releases back the part was as it is now: 0 as in the last one, `versions`: never. What
 * no release could use is as it was. */
static size_t age_of(const struct site_unit *unit, const char *now, size_t part)
{
    const char *is = nof1_site_part(now, part);
    if (is == NULL || nof1_site_part(unit->version[unit->versions - 1], part) == NULL) {
        return 0;
    }
    for (size_t age = 0; age < unit->versions; age++) {
        const char *was = nof1_site_part(unit->version[unit->versions - 1 - age], part);
        if (was != NULL && memcmp(was, is, DIGEST) == 0) {
            return age;
        }
    }
    return unit->versions;
}

/* 15 bits that tell which parts are as how long ago; never 0. */
static nof1_rc number_of(uint32_t *out, const struct site_family *family, size_t versions,
                         const size_t *age)
{
    struct nof1_buffer text NOF1_CLEANUP(nof1_buffer_free) = {0};
    uint8_t digest[NOF1_HASH_BYTES];
    for (size_t p = 0; p < family->parts; p++) {
        if (age[p] == versions) {
            TRY(nof1_buffer_printf(&text, "%s new\n", family->part[p]));
        } else if (age[p] > 0) {
            TRY(nof1_buffer_printf(&text, "%s %zu\n", family->part[p], age[p]));
        }
    }
    TRY(nof1_sha256(digest, nof1_buffer_slice(&text)));
    *out = (uint32_t)(digest[0] & 0x7f) << 8 | digest[1];
    *out = *out == 0 ? 1 : *out;
    return NOF1_OK;
}

nof1_rc nof1_site_change(const char **change, uint32_t *number, struct nof1_arena *arena,
                         const struct site_family *family, const struct site_unit *unit,
                         const char *now)
{
    size_t *age = nof1_arena_alloc(arena, family->parts, sizeof *age);
    size_t outcomes = 0, renewed = 0, changed = 0;
    ENSURE(age != NULL, NOF1_E_NO_MEMORY);
    for (size_t p = 0; p < family->parts; p++) {
        const char *last = nof1_site_part(unit->version[unit->versions - 1], p);
        bool outcome = nof1_site_is_outcome(family, p);
        age[p] = age_of(unit, now, p);
        changed += age[p] > 0 ? 1 : 0;
        outcomes += outcome && last != NULL && nof1_site_part(now, p) != NULL ? 1 : 0;
        renewed += outcome && age[p] == unit->versions ? 1 : 0;
    }
    *number = 0;
    *change = changed == 0 ? "" : NOF1_ATOM_ANEW;
    if (changed > 0 && (outcomes == 0 || renewed < outcomes)) {
        *change = NOF1_ATOM_IN_PART;
        return number_of(number, family, unit->versions, age);
    }
    return NOF1_OK;
}

nof1_rc nof1_site_remember(struct nof1_site *site, struct site_family *family,
                           struct site_unit *unit, const char *now, bool changed)
{
    char *text = nof1_arena_text(site->arena, now);
    ENSURE(text != NULL, NOF1_E_NO_MEMORY);
    for (size_t p = 0; unit->versions > 0 && p < family->parts; p++) {
        const char *last = nof1_site_part(unit->version[unit->versions - 1], p);
        if (nof1_site_part(now, p) == NULL && last != NULL) {
            /* not on this charter, maybe on the next */
            memcpy(text + DIGEST * p, last, DIGEST);
        }
    }
    if (!changed && unit->versions > 0) {
        unit->version[unit->versions - 1] = text;
        return NOF1_OK;
    }
    const char **version = nof1_arena_alloc(site->arena, unit->versions + 1, sizeof *version);
    ENSURE(version != NULL, NOF1_E_NO_MEMORY);
    if (unit->versions > 0) {
        memcpy(version, unit->version, unit->versions * sizeof *version);
    }
    version[unit->versions] = text;
    unit->version = version;
    unit->versions += 1;
    return NOF1_OK;
}
