/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Frozen epochs as bytes: see store.h. Keys: "epoch/head" (which epochs are kept, the last first),
 * "epoch/ID/head", "epoch/ID/trial/N", "epoch/ID/patient/N". A trial is a header of 16 bytes, then
 * whole columns: doubles (time, outcomes with their variances, covariates), 32-bit cycle and
 * period, 8-bit treatment; so a loaded value is used where it lies; its name follows. A patient is
 * a name. Names end with a zero byte.
 */
#include <node/store.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "store_index.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "stored columns are little-endian");

#define MAGIC "nof1ep03"
#define KEY_SIZE 64
#define MOST_OUTCOMES NOF1_EPOCH_OUTCOMES /* one bit each in a trial's header */

struct trial_header {
    uint32_t rows;
    uint32_t patient;
    uint64_t variances; /* bit o: outcome o has a variance column */
};

static void head_key(char out[KEY_SIZE], uint32_t id)
{
    snprintf(out, KEY_SIZE, "epoch/%010u/head", (unsigned)id);
}

static void trial_key(char out[KEY_SIZE], uint32_t id, const char *what, size_t number)
{
    snprintf(out, KEY_SIZE, "epoch/%010u/%s/%010zu", (unsigned)id, what, number);
}

/* ---- writing ------------------------------------------------------------------------------------
 */

static nof1_rc add_integer(struct nof1_buffer *out, uint64_t value)
{
    return nof1_buffer_append(out, &value, sizeof value);
}

static nof1_rc add_text(struct nof1_buffer *out, const char *text)
{
    TRY(add_integer(out, strlen(text)));
    return nof1_buffer_append(out, text, strlen(text));
}

static nof1_rc add_texts(struct nof1_buffer *out, const char *const *text, size_t count)
{
    TRY(add_integer(out, count));
    for (size_t i = 0; i < count; ++i) {
        TRY(add_text(out, text[i]));
    }
    return NOF1_OK;
}

static nof1_rc write_head(struct nof1_buffer *out, const struct nof1_epoch *epoch,
                          const struct nof1_charter *charter)
{
    TRY(nof1_buffer_append(out, MAGIC, strlen(MAGIC)));
    TRY(add_integer(out, epoch->id));
    TRY(add_integer(out, epoch->trials));
    TRY(add_integer(out, epoch->patients));
    TRY(add_texts(out, charter->treatment, charter->treatments));
    TRY(add_integer(out, charter->outcomes));
    for (size_t o = 0; o < charter->outcomes; ++o) {
        TRY(add_text(out, charter->outcome[o].name));
    }
    TRY(add_integer(out, charter->covariates));
    for (size_t c = 0; c < charter->covariates; ++c) {
        TRY(add_text(out, charter->covariate[c].name));
        TRY(add_texts(out, charter->covariate[c].level, charter->covariate[c].levels));
    }
    return NOF1_OK;
}

static nof1_rc write_trial(struct nof1_buffer *out, const struct nof1_trial *trial,
                           uint32_t patient, const char *name,
                           const struct nof1_charter *charter)
{
    size_t bytes = trial->rows * sizeof(double);
    struct trial_header header = {.rows = (uint32_t)trial->rows, .patient = patient};
    for (size_t o = 0; o < charter->outcomes; ++o) {
        header.variances |= trial->variance[o] != NULL ? (uint64_t)1 << o : 0;
    }
    TRY(nof1_buffer_append(out, &header, sizeof header));
    TRY(nof1_buffer_append(out, trial->time, bytes));
    for (size_t o = 0; o < charter->outcomes; ++o) {
        TRY(nof1_buffer_append(out, trial->outcome[o], bytes));
        if (trial->variance[o] != NULL) {
            TRY(nof1_buffer_append(out, trial->variance[o], bytes));
        }
    }
    for (size_t c = 0; c < charter->covariates; ++c) {
        TRY(nof1_buffer_append(out, trial->covariate[c], bytes));
    }
    TRY(nof1_buffer_append(out, trial->cycle, trial->rows * sizeof(int32_t)));
    TRY(nof1_buffer_append(out, trial->period, trial->rows * sizeof(int32_t)));
    TRY(nof1_buffer_append(out, trial->treatment, trial->rows));
    return nof1_buffer_append(out, name, strlen(name) + 1);
}

static nof1_rc write_epoch(struct nof1_store *store, const struct nof1_epoch *epoch,
                           const struct nof1_charter *charter)
{
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer bytes = {0};
    char key[KEY_SIZE];
    for (size_t t = 0; t < epoch->trials; ++t) {
        bytes.length = 0;
        TRY(write_trial(&bytes, &epoch->trial[t], epoch->patient[t], epoch->trial_key[t], charter));
        trial_key(key, epoch->id, "trial", t);
        TRY(nof1_store_put(store, key, nof1_buffer_slice(&bytes)));
    }
    for (size_t p = 0; p < epoch->patients; ++p) {
        bytes.length = 0;
        TRY(nof1_buffer_append(&bytes, epoch->patient_key[p], strlen(epoch->patient_key[p]) + 1));
        trial_key(key, epoch->id, "patient", p);
        TRY(nof1_store_put(store, key, nof1_buffer_slice(&bytes)));
    }
    bytes.length = 0;
    TRY(write_head(&bytes, epoch, charter));
    head_key(key, epoch->id);
    return nof1_store_put(store, key, nof1_buffer_slice(&bytes));
}

/* ---- reading ------------------------------------------------------------------------------------
 */

/* Bytes still to be read; any attempt to read past the end marks it bad. */
struct cursor {
    struct nof1_arena *arena;
    struct nof1_slice left;
    bool bad;
};

static struct nof1_slice take(struct cursor *cursor, size_t length)
{
    if (cursor->bad || length > cursor->left.length) {
        cursor->bad = true;
        return nof1_slice_of(NULL, 0);
    }
    struct nof1_slice out = nof1_slice_of(cursor->left.data, length);
    cursor->left.data += length;
    cursor->left.length -= length;
    return out;
}

static uint64_t take_integer(struct cursor *cursor)
{
    uint64_t value = 0;
    struct nof1_slice bytes = take(cursor, sizeof value);
    if (!cursor->bad) {
        memcpy(&value, bytes.data, sizeof value);
    }
    return value;
}

static const char *take_text(struct cursor *cursor)
{
    struct nof1_slice bytes = take(cursor, (size_t)take_integer(cursor));
    char *text = cursor->bad ? NULL : nof1_arena_alloc(cursor->arena, bytes.length + 1, 1);
    if (text == NULL) {
        cursor->bad = true;
        return "";
    }
    if (bytes.length > 0) {
        memcpy(text, bytes.data, bytes.length);
    }
    return text;
}

/* How indices of the frozen columns become those of the charter; NOF1_NONE: unknown there. */
struct translation {
    size_t treatments, outcomes, covariates;
    size_t *treatment, *outcome, *covariate;
    size_t *levels; /* [covariates] */
    size_t **level; /* [covariates][levels] */
};

static size_t *take_indices(struct cursor *cursor, size_t *count)
{
    *count = (size_t)take_integer(cursor);
    if (*count > cursor->left.length) { /* every entry has bytes */
        cursor->bad = true;
        *count = 0;
    }
    size_t *index = nof1_arena_alloc(cursor->arena, *count + 1, sizeof *index);
    cursor->bad = cursor->bad || index == NULL;
    return index;
}

static void read_covariates(struct cursor *cursor, struct translation *to,
                            const struct nof1_charter *charter)
{
    to->covariate = take_indices(cursor, &to->covariates);
    to->levels = nof1_arena_alloc(cursor->arena, to->covariates + 1, sizeof *to->levels);
    to->level = nof1_arena_alloc(cursor->arena, to->covariates + 1, sizeof *to->level);
    cursor->bad = cursor->bad || to->levels == NULL || to->level == NULL;
    for (size_t c = 0; !cursor->bad && c < to->covariates; ++c) {
        size_t index = nof1_charter_covariate(charter, take_text(cursor));
        to->covariate[c] = index;
        to->level[c] = take_indices(cursor, &to->levels[c]);
        for (size_t l = 0; !cursor->bad && l < to->levels[c]; ++l) {
            const char *level = take_text(cursor);
            to->level[c][l] = index == NOF1_NONE
                                  ? NOF1_NONE
                                  : nof1_covariate_level(&charter->covariate[index], level);
        }
    }
}

static nof1_rc read_head(struct translation *to, struct nof1_epoch *epoch, struct cursor *cursor,
                         const struct nof1_charter *charter)
{
    struct nof1_slice magic = take(cursor, strlen(MAGIC));
    ENSURE(!cursor->bad && memcmp(magic.data, MAGIC, magic.length) == 0, NOF1_E_STORE);
    epoch->id = (uint32_t)take_integer(cursor);
    epoch->trials = (size_t)take_integer(cursor);
    epoch->patients = (size_t)take_integer(cursor);
    to->treatment = take_indices(cursor, &to->treatments);
    for (size_t t = 0; !cursor->bad && t < to->treatments; ++t) {
        to->treatment[t] = nof1_charter_treatment(charter, take_text(cursor));
    }
    to->outcome = take_indices(cursor, &to->outcomes);
    for (size_t o = 0; !cursor->bad && o < to->outcomes; ++o) {
        to->outcome[o] = nof1_charter_outcome(charter, take_text(cursor));
    }
    read_covariates(cursor, to, charter);
    ENSURE(!cursor->bad && epoch->patients <= epoch->trials, NOF1_E_STORE);
    return NOF1_OK;
}

struct loader {
    struct nof1_arena *arena;
    struct nof1_store *store;
    const struct nof1_charter *charter;
    struct nof1_error *error;
    struct translation to;
};

static nof1_rc fail_unknown(const struct loader *loader)
{
    return nof1_fail(loader->error, NOF1_E_CONFIG,
                     "the frozen epoch holds a treatment or level that the charter lacks; freeze "
                     "again under this charter");
}

/* Columns that the charter has and the epoch lacks. */
static nof1_rc fill_missing(const struct loader *loader, const double **column, size_t columns,
                            size_t rows)
{
    double *missing = NULL;
    for (size_t k = 0; k < columns; ++k) {
        if (column[k] != NULL) {
            continue;
        }
        if (missing == NULL) {
            missing = nof1_arena_alloc(loader->arena, rows + 1, sizeof *missing);
            ENSURE(missing != NULL, NOF1_E_NO_MEMORY);
            for (size_t r = 0; r < rows; ++r) {
                missing[r] = (double)NAN;
            }
        }
        column[k] = missing;
    }
    return NOF1_OK;
}

static nof1_rc translate_levels(const struct loader *loader, size_t covariate, double *column,
                                size_t rows)
{
    const struct translation *to = &loader->to;
    const struct nof1_covariate *own = &loader->charter->covariate[to->covariate[covariate]];
    for (size_t r = 0; to->levels[covariate] == 0 && r < rows; ++r) {
        column[r] = nof1_covariate_coded(own, column[r]); /* of a later charter */
    }
    for (size_t r = 0; to->levels[covariate] > 0 && r < rows; ++r) {
        if (isnan(column[r])) {
            continue;
        }
        bool known = column[r] >= 0 && column[r] < (double)to->levels[covariate];
        ENSURE(known, NOF1_E_STORE);
        size_t level = to->level[covariate][(size_t)column[r]];
        if (level == NOF1_NONE) {
            return fail_unknown(loader);
        }
        column[r] = (double)level;
    }
    return NOF1_OK;
}

static nof1_rc translate_treatments(const struct loader *loader, uint8_t *treatment, size_t rows)
{
    for (size_t r = 0; r < rows; ++r) {
        if (treatment[r] == NOF1_NO_ARM) {
            continue;
        }
        ENSURE(treatment[r] < loader->to.treatments, NOF1_E_STORE);
        size_t index = loader->to.treatment[treatment[r]];
        if (index == NOF1_NONE) {
            return fail_unknown(loader);
        }
        treatment[r] = (uint8_t)index;
    }
    return NOF1_OK;
}

/* The doubles of a trial, at their places in the charter. */
static nof1_rc read_columns(const struct loader *loader, struct cursor *cursor,
                            const struct trial_header *header, const double **outcome,
                            const double **variance, const double **covariate)
{
    const struct translation *to = &loader->to;
    size_t bytes = header->rows * sizeof(double);
    for (size_t o = 0; o < to->outcomes; ++o) {
        const void *value = take(cursor, bytes).data;
        const void *spread = header->variances >> o & 1 ? take(cursor, bytes).data : NULL;
        if (to->outcome[o] != NOF1_NONE) {
            outcome[to->outcome[o]] = value;
            variance[to->outcome[o]] = spread;
        }
    }
    for (size_t c = 0; c < to->covariates; ++c) {
        const uint8_t *column = take(cursor, bytes).data;
        ENSURE(!cursor->bad, NOF1_E_STORE);
        if (to->covariate[c] != NOF1_NONE) {
            TRY(translate_levels(loader, c, (double *)(uintptr_t)column, header->rows));
            covariate[to->covariate[c]] = (const double *)(uintptr_t)column;
        }
    }
    return cursor->bad ? NOF1_E_STORE : NOF1_OK;
}

/* A name ends with its zero byte, which a cut value has lost. */
static nof1_rc read_name(const char **out, struct nof1_arena *arena, struct nof1_slice bytes)
{
    const void *end = bytes.length == 0 ? NULL : memchr(bytes.data, 0, bytes.length);
    ENSURE(end == bytes.data + bytes.length - 1 && end != NULL, NOF1_E_STORE);
    *out = nof1_arena_text(arena, (const char *)bytes.data);
    ENSURE(*out != NULL, NOF1_E_NO_MEMORY);
    return NOF1_OK;
}

static nof1_rc read_trial(const struct loader *loader, struct nof1_trial *trial, uint32_t *patient,
                          const char **name, struct nof1_slice bytes)
{
    const struct nof1_charter *charter = loader->charter;
    struct cursor cursor = {.arena = loader->arena, .left = bytes};
    struct trial_header header = {0};
    struct nof1_slice head = take(&cursor, sizeof header);
    ENSURE(!cursor.bad, NOF1_E_STORE);
    memcpy(&header, head.data, sizeof header);
    const double **outcome =
        nof1_arena_alloc(loader->arena, charter->outcomes + 1, sizeof *outcome);
    const double **variance =
        nof1_arena_alloc(loader->arena, charter->outcomes + 1, sizeof *variance);
    const double **covariate =
        nof1_arena_alloc(loader->arena, charter->covariates + 1, sizeof *covariate);
    ENSURE(outcome != NULL && variance != NULL && covariate != NULL, NOF1_E_NO_MEMORY);
    const void *time = take(&cursor, header.rows * sizeof(double)).data;
    TRY(read_columns(loader, &cursor, &header, outcome, variance, covariate));
    const void *cycle = take(&cursor, header.rows * sizeof(int32_t)).data;
    const void *period = take(&cursor, header.rows * sizeof(int32_t)).data;
    const uint8_t *treatment = take(&cursor, header.rows).data;
    ENSURE(!cursor.bad, NOF1_E_STORE);
    TRY(read_name(name, loader->arena, cursor.left));
    TRY(translate_treatments(loader, (uint8_t *)(uintptr_t)treatment, header.rows));
    TRY(fill_missing(loader, outcome, charter->outcomes, header.rows));
    TRY(fill_missing(loader, covariate, charter->covariates, header.rows));
    *patient = header.patient;
    *trial = (struct nof1_trial){.rows = header.rows,
                                 .cycle = cycle,
                                 .period = period,
                                 .time = time,
                                 .treatment = treatment,
                                 .outcome = outcome,
                                 .variance = variance,
                                 .covariate = covariate};
    return NOF1_OK;
}

static nof1_rc read_trials(const struct loader *loader, struct nof1_epoch *epoch)
{
    char key[KEY_SIZE];
    struct nof1_slice bytes = {0};
    struct nof1_trial *trial = nof1_arena_alloc(loader->arena, epoch->trials + 1, sizeof *trial);
    uint32_t *patient = nof1_arena_alloc(loader->arena, epoch->trials + 1, sizeof *patient);
    const char **name = nof1_arena_alloc(loader->arena, epoch->trials + 1, sizeof *name);
    ENSURE(trial != NULL && patient != NULL && name != NULL, NOF1_E_NO_MEMORY);
    for (size_t t = 0; t < epoch->trials; ++t) {
        trial_key(key, epoch->id, "trial", t);
        TRY(nof1_store_get(&bytes, loader->arena, loader->store, key));
        TRY(read_trial(loader, &trial[t], &patient[t], &name[t], bytes));
        ENSURE(patient[t] < epoch->patients, NOF1_E_STORE);
    }
    epoch->trial = trial;
    epoch->patient = patient;
    epoch->trial_key = name;
    return NOF1_OK;
}

static nof1_rc read_patients(const struct loader *loader, struct nof1_epoch *epoch)
{
    char key[KEY_SIZE];
    struct nof1_slice bytes = {0};
    const char **name = nof1_arena_alloc(loader->arena, epoch->patients + 1, sizeof *name);
    ENSURE(name != NULL, NOF1_E_NO_MEMORY);
    for (size_t p = 0; p < epoch->patients; ++p) {
        trial_key(key, epoch->id, "patient", p);
        TRY(nof1_store_get(&bytes, loader->arena, loader->store, key));
        TRY(read_name(&name[p], loader->arena, bytes));
    }
    epoch->patient_key = name;
    return NOF1_OK;
}

static nof1_rc load_one(struct nof1_epoch *epoch, struct loader *loader, uint32_t id)
{
    struct nof1_slice head = {0};
    char key[KEY_SIZE];
    head_key(key, id);
    TRY(nof1_store_get(&head, loader->arena, loader->store, key));
    struct cursor cursor = {.arena = loader->arena, .left = head};
    TRY(read_head(&loader->to, epoch, &cursor, loader->charter));
    ENSURE(epoch->id == id, NOF1_E_STORE);
    TRY(read_trials(loader, epoch));
    return read_patients(loader, epoch);
}

static nof1_rc load(struct nof1_epoch *out, struct loader *loader)
{
    uint32_t *id = NULL;
    size_t ids = 0;
    TRY(nof1_epoch_kept(&id, &ids, loader->arena, loader->store));
    const struct nof1_epoch **link = &out->earlier;
    for (size_t i = 0; i < ids; ++i) {
        struct nof1_epoch *epoch =
            i == 0 ? out : nof1_arena_alloc(loader->arena, 1, sizeof *epoch);
        ENSURE(epoch != NULL, NOF1_E_NO_MEMORY);
        nof1_rc_value rc = load_one(epoch, loader, id[i]);
        if (i > 0 && rc == NOF1_E_CONFIG) {
            continue; /* under this charter plans can be about the last one only */
        }
        TRY(rc);
        if (i > 0) {
            *link = epoch;
            link = &epoch->earlier;
        }
    }
    return NOF1_OK;
}

nof1_rc_value nof1_epoch_load(struct nof1_epoch *out, struct nof1_arena *arena,
                              struct nof1_store *store, const struct nof1_charter *charter,
                              struct nof1_error *error)
{
    struct loader loader = {.arena = arena, .store = store, .charter = charter, .error = error};
    struct nof1_epoch epoch = {0};
    nof1_rc_value rc = load(&epoch, &loader);
    if (rc == NOF1_E_STORE || rc == NOF1_E_NOT_FOUND) {
        return nof1_fail(error, NOF1_E_STORE, "the frozen epoch in the site store is damaged");
    }
    TRY(rc);
    *out = epoch;
    return NOF1_OK;
}

/* ---- replacing ----------------------------------------------------------------------------------
 */

nof1_rc_value nof1_epoch_forget(struct nof1_store *store, uint32_t id)
{
    NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *arena = nof1_arena_new();
    struct nof1_slice head = {0};
    char key[KEY_SIZE];
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    head_key(key, id);
    TRY(nof1_store_get(&head, arena, store, key));
    TRY(nof1_store_put(store, key, nof1_slice_of(NULL, 0)));
    struct cursor cursor = {.arena = arena, .left = head};
    (void)take(&cursor, strlen(MAGIC));
    (void)take_integer(&cursor);
    uint64_t trials = take_integer(&cursor);
    uint64_t patients = take_integer(&cursor);
    ENSURE(!cursor.bad, NOF1_E_STORE);
    for (uint64_t t = 0; t < trials; ++t) {
        trial_key(key, id, "trial", (size_t)t);
        TRY(nof1_store_put(store, key, nof1_slice_of(NULL, 0)));
    }
    for (uint64_t p = 0; p < patients; ++p) {
        trial_key(key, id, "patient", (size_t)p);
        TRY(nof1_store_put(store, key, nof1_slice_of(NULL, 0)));
    }
    return NOF1_OK;
}

nof1_rc_value nof1_epoch_save(struct nof1_store *store, const struct nof1_epoch *epoch,
                              const struct nof1_charter *charter, int64_t now,
                              struct nof1_error *error)
{
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer entry = {0};
    uint32_t current = 0;
    TRY(nof1_epoch_current(&current, store));
    if (charter->outcomes > MOST_OUTCOMES) {
        return nof1_fail(error, NOF1_E_CONFIG,
                         "a charter of more than %d outcomes cannot be frozen", MOST_OUTCOMES);
    }
    if (epoch->id <= current) {
        return nof1_fail(error, NOF1_E_CONFIG, "epoch %u does not follow epoch %u",
                         (unsigned)epoch->id, (unsigned)current);
    }
    TRY(nof1_buffer_printf(&entry, "{\"epoch\":%u,\"kind\":\"epoch.frozen\"}",
                           (unsigned)epoch->id));
    TRY(nof1_store_begin(store));
    nof1_rc_value rc = nof1_epoch_retain(store, epoch->id);
    rc = rc == NOF1_OK ? write_epoch(store, epoch, charter) : rc;
    rc = rc == NOF1_OK
             ? nof1_store_append(store, now, "epoch.frozen", nof1_buffer_slice(&entry), NULL)
             : rc;
    rc = rc == NOF1_OK ? nof1_store_commit(store) : rc;
    if (rc != NOF1_OK) {
        nof1_store_rollback(store);
        return nof1_fail(error, rc, "the epoch could not be written; those before it stay");
    }
    return NOF1_OK;
}
