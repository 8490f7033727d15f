/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The canonical form of a charter (docs/protocol.md, "Documents"). Named things are lists, because
 * their order carries meaning (indices, reference levels) and canonical maps have none. Absent keys
 * are left out, so that filling one in changes the bytes.
 */
#include <core/charter.h>

#include <string.h>

#include <base/hex.h>
#include <base/json.h>
#include <base/time.h>
#include <core/policy.h>

/* Set a key; takes the reference; NULL means no memory. */
static nof1_rc put(json_t *object, const char *key, json_t *value)
{
    ENSURE(json_object_set_new(object, key, value) == 0, NOF1_E_NO_MEMORY);
    return NOF1_OK;
}

static nof1_rc add(json_t *list, json_t *value)
{
    ENSURE(json_array_append_new(list, value) == 0, NOF1_E_NO_MEMORY);
    return NOF1_OK;
}

/* A new list under `key`, borrowed. */
static nof1_rc put_list(json_t **list, json_t *object, const char *key)
{
    *list = json_array();
    return put(object, key, *list);
}

/* A new object at the end of `list`, borrowed. */
static nof1_rc add_object(json_t **object, json_t *list)
{
    *object = json_object();
    return add(list, *object);
}

static nof1_rc put_texts(json_t *object, const char *key, const char *const *text, size_t count)
{
    json_t *list = NULL;
    TRY(put_list(&list, object, key));
    for (size_t i = 0; i < count; i++) {
        TRY(add(list, json_string(text[i])));
    }
    return NOF1_OK;
}

static nof1_rc put_doubles(json_t *object, const char *key, const double *value, size_t count)
{
    json_t *list = NULL;
    TRY(put_list(&list, object, key));
    for (size_t i = 0; i < count; i++) {
        TRY(add(list, nof1_json_double(value[i])));
    }
    return NOF1_OK;
}

static nof1_rc put_hex(json_t *object, const char *key, struct nof1_slice bytes)
{
    if (bytes.length == 0) {
        return NOF1_OK;
    }
    return put(object, key, nof1_hex_json(bytes.data, bytes.length));
}

static nof1_rc put_text(json_t *object, const char *key, const char *text)
{
    return text == NULL || text[0] == '\0' ? NOF1_OK : put(object, key, json_string(text));
}

static nof1_rc put_outcomes(json_t *root, const struct nof1_charter *charter)
{
    static const char *const benefit[3] = {"lower", "none", "higher"};
    json_t *list = NULL;
    TRY(put_list(&list, root, "outcomes"));
    for (size_t i = 0; i < charter->outcomes; i++) {
        const struct nof1_outcome *o = &charter->outcome[i];
        json_t *object = NULL;
        TRY(add_object(&object, list));
        TRY(put(object, "name", json_string(o->name)));
        TRY(put(object, "kind", json_string(nof1_outcome_kind_text(o->kind))));
        TRY(put_text(object, "unit", o->unit));
        TRY(put(object, "family", json_string(o->family == NULL ? o->name : o->family)));
        TRY(put_doubles(object, "bounds", (const double[]){o->lower, o->upper}, 2));
        TRY(put(object, "quantum", nof1_json_double(o->quantum)));
        TRY(put(object, "centre", nof1_json_double(o->centre)));
        TRY(put(object, "sd_within", nof1_json_double(o->sd_within)));
        TRY(put(object, "sd_between", nof1_json_double(o->sd_between)));
        TRY(put(object, "benefit", json_string(benefit[o->benefit + 1])));
    }
    return NOF1_OK;
}

static nof1_rc put_covariates(json_t *root, const struct nof1_charter *charter)
{
    json_t *list = NULL;
    TRY(put_list(&list, root, "covariates"));
    for (size_t i = 0; i < charter->covariates; i++) {
        const struct nof1_covariate *c = &charter->covariate[i];
        json_t *object = NULL;
        TRY(add_object(&object, list));
        TRY(put(object, "name", json_string(c->name)));
        TRY(put(object, "within", json_boolean(c->varies_within)));
        TRY(put(object, "kind", json_string(c->kind == NOF1_FACTOR ? "factor" : "numeric")));
        if (c->kind == NOF1_FACTOR) {
            TRY(put_texts(object, "levels", c->level, c->levels));
        } else {
            TRY(put_doubles(object, "bounds", (const double[]){c->lower, c->upper}, 2));
            TRY(put(object, "centre", nof1_json_double(c->centre)));
            TRY(put(object, "quantum", nof1_json_double(c->quantum)));
        }
    }
    return NOF1_OK;
}

static nof1_rc put_classes(json_t *root, const struct nof1_charter *charter)
{
    json_t *list = NULL;
    TRY(put_list(&list, root, "classes"));
    for (size_t i = 0; i < charter->classes; i++) {
        const struct nof1_class *c = &charter->class_[i];
        json_t *object = NULL;
        json_t *n = NULL;
        TRY(add_object(&object, list));
        TRY(put(object, "name", json_string(c->name)));
        TRY(put_list(&n, object, "n"));
        for (size_t t = 0; t < charter->treatments; t++) {
            TRY(add(n, json_integer((json_int_t)c->n[t])));
        }
        if (c->schedule_rows == 0) {
            continue;
        }
        json_t *periods = NULL;
        TRY(put_list(&periods, object, "periods"));
        for (size_t r = 0; r < c->schedule_rows; r++) {
            TRY(add(periods, json_integer(c->schedule_period[r])));
        }
    }
    return NOF1_OK;
}

static nof1_rc put_sites(json_t *root, const struct nof1_charter *charter)
{
    json_t *list = NULL;
    TRY(put_list(&list, root, "sites"));
    for (size_t i = 0; i < charter->sites; i++) {
        const struct nof1_member *s = &charter->site[i];
        json_t *object = NULL;
        TRY(add_object(&object, list));
        TRY(put(object, "id", json_string(s->id)));
        TRY(put_text(object, "edge", s->edge_spiffe));
        TRY(put_hex(object, "vault_key", s->vault_spki));
        TRY(put(object, "patient_cap", json_integer(s->patient_cap)));
        TRY(s->left ? put(object, "left", json_true()) : NOF1_OK);
    }
    return NOF1_OK;
}

static nof1_rc put_blocks(json_t *root, const struct nof1_charter *charter)
{
    json_t *list = NULL;
    TRY(put_list(&list, root, "blocks"));
    for (size_t i = 0; i < charter->blocks; i++) {
        const struct nof1_block *b = &charter->block[i];
        json_t *object = NULL;
        json_t *sites = NULL;
        TRY(add_object(&object, list));
        TRY(put(object, "id", json_string(b->id)));
        TRY(put_list(&sites, object, "sites"));
        for (size_t s = 0; s < b->sites; s++) {
            TRY(add(sites, json_string(charter->site[b->site[s]].id)));
        }
    }
    return NOF1_OK;
}

static nof1_rc put_principal(json_t *object, const struct nof1_principal *principal)
{
    TRY(put(object, "id", json_string(principal->id == NULL ? "coordinator" : principal->id)));
    TRY(put_text(object, "spiffe", principal->spiffe));
    return put_hex(object, "key", principal->spki);
}

static nof1_rc put_people(json_t *root, const struct nof1_charter *charter)
{
    json_t *list = NULL;
    json_t *object = NULL;
    TRY(put_list(&list, root, "statisticians"));
    for (size_t i = 0; i < charter->statisticians; i++) {
        TRY(add_object(&object, list));
        TRY(put_principal(object, &charter->statistician[i]));
    }
    object = json_object();
    TRY(put(root, "coordinator", object));
    return put_principal(object, &charter->coordinator);
}

static nof1_rc put_rules(json_t *root, const struct nof1_charter *charter)
{
    static const char *const missing[] = {"centre", "exclude", "rows"};
    TRY(put_texts(root, "treatments", charter->treatment, charter->treatments));
    if (charter->stratum_covariate != NULL) {
        TRY(put(root, "strata", json_string(charter->stratum_covariate)));
    }
    TRY(put(root, "max_periods", json_integer(charter->max_periods)));
    TRY(put(root, "max_cycles", json_integer(charter->max_cycles)));
    TRY(put_doubles(root, "lambdas", charter->lambda, charter->lambdas));
    if (charter->time_centre != 0) {
        TRY(put(root, "time_centre", nof1_json_double(charter->time_centre)));
    }
    TRY(put(root, "beta_box", nof1_json_double(charter->beta_box)));
    TRY(put(root, "variance_ratio_box", nof1_json_double(charter->variance_ratio_box)));
    TRY(put(root, "analysis_set", json_string(charter->any_arm ? "any" : "both_arms")));
    TRY(put(root, "missing", json_string(missing[charter->missing])));
    TRY(put_texts(root, "analyses", charter->analysis, charter->analyses));
    return put(root, "limits", nof1_policy_canonical(&charter->limits));
}

nof1_rc nof1_charter_canonical(struct nof1_buffer *out, const struct nof1_charter *charter)
{
    char effective[NOF1_TIME_TEXT];
    nof1_time_text(effective, charter->effective_at);
    NOF1_CLEANUP(nof1_json_freep) json_t *root = json_object();
    ENSURE(root != NULL, NOF1_E_NO_MEMORY);
    TRY(put(root, "charter", json_integer(1)));
    TRY(put(root, "study", json_string(charter->study)));
    TRY(put(root, "version", json_integer(charter->version)));
    TRY(put_hex(root, "follows", charter->follows));
    TRY(put(root, "lab", json_boolean(charter->lab)));
    TRY(put(root, "effective", json_string(effective)));
    TRY(put_rules(root, charter));
    TRY(put_outcomes(root, charter));
    TRY(put_covariates(root, charter));
    TRY(put_classes(root, charter));
    TRY(put_sites(root, charter));
    TRY(put_blocks(root, charter));
    TRY(put_people(root, charter));
    return nof1_canonical_write(out, root);
}
