/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a later charter changes, in words: every rule of a charter as one line under a name, and the
 * lines of two charters compared. For the steward who decides: all that the hash covers but the
 * hash of the version before, numbers to 15 digits.
 */
#include <core/charter.h>

#include <stdio.h>
#include <string.h>

#include <base/hex.h>
#include <base/json.h>
#include <base/time.h>
#include <core/policy.h>
#include <crypto/hash.h>

struct line {
    const char *name, *text;
};

struct lines {
    struct nof1_arena *arena;
    struct line *line;
    size_t count, room;
};

static nof1_rc add(struct lines *l, const char *name, const char *text)
{
    ENSURE(name != NULL && text != NULL, NOF1_E_NO_MEMORY);
    ENSURE(l->count < l->room, NOF1_E_BUG);
    l->line[l->count++] = (struct line){name, text};
    return NOF1_OK;
}

#define ADD(l, name, ...) TRY(add(l, name, nof1_arena_printf((l)->arena, __VA_ARGS__)))
#define NAME(l, ...) nof1_arena_printf((l)->arena, __VA_ARGS__)

static const char *join(struct nof1_arena *arena, const char *before, const char *text)
{
    return before == NULL        ? NULL
           : before[0] == '\0' ? nof1_arena_printf(arena, "%s", text)
                               : nof1_arena_printf(arena, "%s, %s", before, text);
}

static const char *joined(struct nof1_arena *arena, const char *const *text, size_t count)
{
    const char *all = "";
    for (size_t i = 0; i < count; i++) {
        all = join(arena, all, text[i]);
    }
    return all;
}

/* Enough of a key to tell two apart, and to read aloud. */
static nof1_rc fingerprint(char out[17], struct nof1_slice spki)
{
    uint8_t digest[NOF1_HASH_BYTES];
    TRY(nof1_sha256(digest, spki));
    nof1_hex_text(out, digest, 8);
    return NOF1_OK;
}

static nof1_rc add_limits(struct lines *l, const struct nof1_charter *c)
{
    ADD(l, "limits.open", "%s", c->limits.open ? "yes" : "no");
    for (const struct nof1_limit *row = nof1_limit_rows(); row->key != NULL; ++row) {
        ADD(l, NAME(l, "limits.%s", row->key), "%.15g", nof1_limit_get(&c->limits, row));
    }
    for (size_t a = 0; a < c->analyses; a++) {
        ADD(l, NAME(l, "analyses.%s", c->analysis[a]), "may be asked");
    }
    return NOF1_OK;
}

static nof1_rc add_rules(struct lines *l, const struct nof1_charter *c)
{
    static const char *const missing[] = {"centre", "exclude", "rows"};
    char time[NOF1_TIME_TEXT];
    const char *lambdas = "";
    nof1_time_text(time, c->effective_at);
    ADD(l, "study", "%s", c->study);
    ADD(l, "version", "%u", c->version);
    ADD(l, "lab", "%s", c->lab ? "yes" : "no");
    ADD(l, "effective", "%s", time);
    TRY(add(l, "treatments", joined(l->arena, c->treatment, c->treatments)));
    ADD(l, "strata", "%s", c->stratum_covariate == NULL ? "none" : c->stratum_covariate);
    ADD(l, "max_periods", "%u", c->max_periods);
    ADD(l, "max_cycles", "%u", c->max_cycles);
    for (size_t i = 0; i < c->lambdas; i++) {
        const char *one = nof1_arena_printf(l->arena, "%.15g", c->lambda[i]);
        ENSURE(one != NULL, NOF1_E_NO_MEMORY);
        lambdas = join(l->arena, lambdas, one);
    }
    TRY(add(l, "lambdas", lambdas));
    ADD(l, "time_centre", "%.15g", c->time_centre);
    ADD(l, "beta_box", "%.15g", c->beta_box);
    ADD(l, "variance_ratio_box", "%.15g", c->variance_ratio_box);
    ADD(l, "analysis_set", "%s", c->any_arm ? "any" : "both_arms");
    ADD(l, "missing", "%s", missing[c->missing]);
    return add_limits(l, c);
}

static nof1_rc add_class(struct lines *l, const struct nof1_charter *c, const struct nof1_class *k)
{
    const char *text = "rows";
    for (size_t t = 0; t < c->treatments && text != NULL; t++) {
        text = nof1_arena_printf(l->arena, "%s %zu", text, k->n[t]);
    }
    for (size_t r = 0; r < k->schedule_rows && text != NULL; r++) {
        text = nof1_arena_printf(l->arena, "%s%s%d", text, r == 0 ? ", periods " : " ",
                                 (int)k->schedule_period[r]);
    }
    return add(l, NAME(l, "classes.%s", k->name), text);
}

static nof1_rc add_dictionary(struct lines *l, const struct nof1_charter *c)
{
    for (size_t i = 0; i < c->outcomes; i++) {
        const struct nof1_outcome *o = &c->outcome[i];
        ADD(l, NAME(l, "outcomes.%s", o->name),
            "%s, %.15g to %.15g %s, quantum %.15g, centre %.15g, sd %.15g and %.15g, family %s, "
            "better %s",
            nof1_outcome_kind_text(o->kind), o->lower, o->upper, o->unit, o->quantum, o->centre,
            o->sd_within, o->sd_between, o->family,
            o->benefit < 0 ? "lower" : o->benefit > 0 ? "higher" : "not stated");
    }
    for (size_t i = 0; i < c->covariates; i++) {
        const struct nof1_covariate *v = &c->covariate[i];
        const char *within = v->varies_within ? ", may change within a trial" : "";
        if (v->kind == NOF1_FACTOR) {
            const char *levels = joined(l->arena, v->level, v->levels);
            ENSURE(levels != NULL, NOF1_E_NO_MEMORY);
            ADD(l, NAME(l, "covariates.%s", v->name), "%s%s", levels, within);
        } else {
            ADD(l, NAME(l, "covariates.%s", v->name),
                "%.15g to %.15g, centre %.15g, steps of %.15g%s", v->lower, v->upper, v->centre,
                v->quantum, within);
        }
    }
    for (size_t i = 0; i < c->classes; i++) {
        TRY(add_class(l, c, &c->class_[i]));
    }
    return NOF1_OK;
}

static nof1_rc add_principal(struct lines *l, const char *name, const struct nof1_principal *p)
{
    char key[17];
    TRY(fingerprint(key, p->spki));
    return add(l, name, nof1_arena_printf(l->arena, "%s, key %s", p->spiffe, key));
}

static nof1_rc add_members(struct lines *l, const struct nof1_charter *c)
{
    char key[17];
    for (size_t s = 0; s < c->sites; s++) {
        const struct nof1_member *m = &c->site[s];
        TRY(fingerprint(key, m->vault_spki));
        ADD(l, NAME(l, "sites.%s", m->id), "%sat most %u patients, %s, key %s",
            m->left ? "has left, " : "", m->patient_cap, m->edge_spiffe, key);
    }
    for (size_t b = 0; b < c->blocks; b++) {
        const char *text = "";
        for (size_t s = 0; s < c->block[b].sites; s++) {
            text = join(l->arena, text, c->site[c->block[b].site[s]].id);
        }
        TRY(add(l, NAME(l, "blocks.%s", c->block[b].id), text));
    }
    for (size_t p = 0; p < c->statisticians; p++) {
        TRY(add_principal(l, NAME(l, "statisticians.%s", c->statistician[p].id),
                          &c->statistician[p]));
    }
    return add_principal(l, NAME(l, "coordinator.%s", c->coordinator.id), &c->coordinator);
}

static nof1_rc lines_of(struct lines *l, struct nof1_arena *arena, const struct nof1_charter *c)
{
    size_t limits = 0;
    for (const struct nof1_limit *row = nof1_limit_rows(); row->key != NULL; ++row) {
        limits++;
    }
    *l = (struct lines){.arena = arena};
    l->room = 32 + limits + c->analyses + c->outcomes + c->covariates + c->classes + c->sites +
              c->blocks + c->statisticians;
    l->line = nof1_arena_alloc(arena, l->room, sizeof *l->line);
    ENSURE(l->line != NULL, NOF1_E_NO_MEMORY);
    TRY(add_rules(l, c));
    TRY(add_dictionary(l, c));
    return add_members(l, c);
}

static const char *find(const struct lines *l, const char *name)
{
    for (size_t i = 0; i < l->count; i++) {
        if (strcmp(l->line[i].name, name) == 0) {
            return l->line[i].text;
        }
    }
    return NULL;
}

static nof1_rc note(json_t *list, const char *name, const char *old, const char *now)
{
    json_t *one = json_pack("{s:s, s:s*, s:s*}", "what", name, "old", old, "new", now);
    ENSURE(one != NULL && json_array_append_new(list, one) == 0, NOF1_E_NO_MEMORY);
    return NOF1_OK;
}

nof1_rc nof1_charter_changes(json_t **out, const struct nof1_charter *before,
                             const struct nof1_charter *after)
{
    NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *arena = nof1_arena_new();
    NOF1_CLEANUP(nof1_json_freep) json_t *list = json_array();
    struct lines a, b;
    ENSURE(arena != NULL && list != NULL, NOF1_E_NO_MEMORY);
    TRY(lines_of(&a, arena, before));
    TRY(lines_of(&b, arena, after));
    for (size_t i = 0; i < a.count; i++) {
        const char *now = find(&b, a.line[i].name);
        if (now == NULL || strcmp(now, a.line[i].text) != 0) {
            TRY(note(list, a.line[i].name, a.line[i].text, now));
        }
    }
    for (size_t i = 0; i < b.count; i++) {
        if (find(&a, b.line[i].name) == NULL) {
            TRY(note(list, b.line[i].name, NULL, b.line[i].text));
        }
    }
    *out = json_incref(list);
    return NOF1_OK;
}
