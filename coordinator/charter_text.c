/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A charter as YAML with a comment at every key (nof1-charter(5)): what people change before they
 * sign. Reading it back gives the same charter; nothing is left out that the reader has a default
 * for.
 */
#include <coordinator/charter_new.h>

#include <math.h>
#include <string.h>

#include <base/json.h>
#include <base/time.h>
#include <core/policy.h>

#define PRINT(out, ...) TRY(nof1_buffer_printf(out, __VA_ARGS__))

static nof1_rc put_number(struct nof1_buffer *out, const char *before, double value)
{
    char text[NOF1_DOUBLE_TEXT];
    if (value == trunc(value) && fabs(value) < 1e9) {
        return nof1_buffer_printf(out, "%s%.0f", before, value);
    }
    nof1_double_short(text, value);
    return nof1_buffer_printf(out, "%s%s", before, text);
}

/* Labels hold printable ASCII only. */
static nof1_rc put_label(struct nof1_buffer *out, const char *before, const char *text)
{
    PRINT(out, "%s\"", before);
    for (const char *c = text; *c != '\0'; c++) {
        PRINT(out, "%s%c", *c == '"' || *c == '\\' ? "\\" : "", *c);
    }
    return nof1_buffer_printf(out, "\"");
}

static nof1_rc put_labels(struct nof1_buffer *out, const char *const *text, size_t count)
{
    PRINT(out, "[");
    for (size_t i = 0; i < count; i++) {
        TRY(put_label(out, i == 0 ? "" : ", ", text[i]));
    }
    return nof1_buffer_printf(out, "]\n");
}

static nof1_rc put_hex(struct nof1_buffer *out, const char *key, struct nof1_slice bytes)
{
    PRINT(out, "%s", bytes.length == 0 ? "" : key);
    for (size_t i = 0; i < bytes.length; i++) {
        PRINT(out, "%02x", bytes.data[i]);
    }
    return NOF1_OK;
}

static nof1_rc put_head(struct nof1_buffer *out, const struct nof1_charter *c)
{
    char effective[NOF1_TIME_TEXT];
    nof1_time_text(effective, c->effective_at);
    PRINT(out, "# Charter of the study %s: what every hospital agrees to, see nof1-charter(5).\n",
          c->study);
    PRINT(out, "# Change what is to be changed, then: nof1-coordinator charter sign\n\n");
    PRINT(out, "study: %s  # the name in every certificate, spiffe://%s/...\n", c->study, c->study);
    PRINT(out, "version: %u\n", c->version);
    if (c->follows.length > 0) {
        PRINT(out, "# hash of the version that this one replaces\n");
        TRY(put_hex(out, "follows: ", c->follows));
        PRINT(out, "\n");
    }
    PRINT(out, "%s", c->lab ? "lab: true  # deployed vaults refuse it\n" : "");
    return nof1_buffer_printf(
        out, "effective: %s  # UTC; sites that approved it before go over to it then\n\n",
        effective);
}

static size_t differences(const struct nof1_limits *limits, const char *name)
{
    struct nof1_limits preset;
    size_t count = 0;
    if (nof1_policy_preset(&preset, name) != NOF1_OK) {
        return SIZE_MAX;
    }
    for (const struct nof1_limit *row = nof1_limit_rows(); row->key != NULL; ++row) {
        count += nof1_limit_get(&preset, row) != nof1_limit_get(limits, row) ? 1 : 0;
    }
    return count;
}

/* Every limit with its value; the preset is the nearest one. */
static nof1_rc put_limits(struct nof1_buffer *out, const struct nof1_charter *c)
{
    const char *name = c->limits.open ? "open"
                       : differences(&c->limits, "ultra-rare") < differences(&c->limits, "standard")
                           ? "ultra-rare"
                           : "standard";
    PRINT(out, "# The limits of every answer; a site may be stricter, never looser. The keys below "
               "go before the\n# preset; without them its values hold.\n"
               "preset: %s  # standard | ultra-rare\nlimits:\n",
          name);
    for (const struct nof1_limit *row = nof1_limit_rows(); row->key != NULL; ++row) {
        PRINT(out, "  %s", row->key);
        TRY(put_number(out, ": ", nof1_limit_get(&c->limits, row)));
        PRINT(out, "  # %s\n", row->help);
    }
    return nof1_buffer_printf(out, "\n");
}

static nof1_rc put_outcomes(struct nof1_buffer *out, const struct nof1_charter *c)
{
    static const char *const benefit[3] = {"lower", "none", "higher"};
    PRINT(out, "# Names as in the data, 2 to 8.\ntreatments: ");
    TRY(put_labels(out, c->treatment, c->treatments));
    PRINT(
        out,
        "\n# What is measured. kind: continuous | binary | count | ordinal | effect. In the unit "
        "of "
        "the\n# outcome: bounds [lowest, highest] (a value outside is an error when data are "
        "frozen), quantum\n# (smallest step, 0: none), centre (subtracted from every value), "
        "sd_within and sd_between\n# (planning values from the literature, never from these "
        "data, at most half of\n# highest less lowest). benefit: lower | none | higher.\n"
        "# Outcomes of one family share their budget of numbers. What was released keeps family,\n"
        "# bounds and quantum in later versions.\n"
        "outcomes:\n");
    for (size_t i = 0; i < c->outcomes; i++) {
        const struct nof1_outcome *o = &c->outcome[i];
        PRINT(out, "  %s:\n    kind: %s\n", o->name, nof1_outcome_kind_text(o->kind));
        if (o->unit != NULL && o->unit[0] != '\0') {
            TRY(put_label(out, "    unit: ", o->unit));
            PRINT(out, "\n");
        }
        TRY(put_number(out, "    bounds: [", o->lower));
        TRY(put_number(out, ", ", o->upper));
        TRY(put_number(out, "]\n    quantum: ", o->quantum));
        TRY(put_number(out, "\n    centre: ", o->centre));
        TRY(put_number(out, "\n    sd_within: ", o->sd_within));
        TRY(put_number(out, "\n    sd_between: ", o->sd_between));
        PRINT(out, "\n    benefit: %s\n    family: %s\n", benefit[o->benefit + 1], o->family);
    }
    return nof1_buffer_printf(out, "\n");
}

static nof1_rc put_covariates(struct nof1_buffer *out, const struct nof1_charter *c)
{
    PRINT(out,
          "# What describes a trial. numeric: bounds and centre in its unit; quantum: the "
          "step in\n# which values are coded at the sites, at most 32 between the bounds (0: open "
          "lab). "
          "factor: levels, the first is\n# the reference. within: true when it may change within a "
          "trial.\n"
          "%s",
          c->covariates == 0
              ? "# covariates:\n"
                "#   age: {kind: numeric, bounds: [0, 110], centre: 50, quantum: 5}  # years\n"
                "#   sex: {kind: factor, levels: [F, M]}\n"
              : "covariates:\n");
    for (size_t i = 0; i < c->covariates; i++) {
        const struct nof1_covariate *v = &c->covariate[i];
        PRINT(out, "  %s:\n    kind: %s\n    within: %s\n", v->name,
              v->kind == NOF1_FACTOR ? "factor" : "numeric", v->varies_within ? "true" : "false");
        if (v->kind == NOF1_FACTOR) {
            PRINT(out, "    levels: ");
            TRY(put_labels(out, v->level, v->levels));
        } else {
            TRY(put_number(out, "    bounds: [", v->lower));
            TRY(put_number(out, ", ", v->upper));
            TRY(put_number(out, "]\n    centre: ", v->centre));
            TRY(put_number(out, "\n    quantum: ", v->quantum));
            PRINT(out, "\n");
        }
    }
    PRINT(out, "# The factor whose levels plans may be limited to.\n%s%s\n\n",
          c->stratum_covariate == NULL ? "# strata: sex" : "strata: ",
          c->stratum_covariate == NULL ? "" : c->stratum_covariate);
    return NOF1_OK;
}

static nof1_rc put_classes(struct nof1_buffer *out, const struct nof1_charter *c)
{
    PRINT(out,
          "# Planned schedules: n, the rows on each treatment in the order above; periods, the "
          "period of every\n# row, ascending. A schedule that many trials keep makes sums "
          "smaller.\n%s",
          c->classes == 0 ? "# classes:\n#   \"2x2\": {n: [2, 2], periods: [1, 2, 3, 4]}\n"
                          : "classes:\n");
    for (size_t i = 0; i < c->classes; i++) {
        const struct nof1_class *k = &c->class_[i];
        TRY(put_label(out, "  ", k->name));
        PRINT(out, ": {n: [");
        for (size_t t = 0; t < c->treatments; t++) {
            PRINT(out, "%s%zu", t == 0 ? "" : ", ", k->n[t]);
        }
        PRINT(out, "]%s", k->schedule_rows > 0 ? ", periods: [" : "");
        for (size_t r = 0; r < k->schedule_rows; r++) {
            PRINT(out, "%s%d", r == 0 ? "" : ", ", (int)k->schedule_period[r]);
        }
        PRINT(out, "%s}\n", k->schedule_rows > 0 ? "]" : "");
    }
    return nof1_buffer_printf(out, "\n");
}

static nof1_rc put_rules(struct nof1_buffer *out, const struct nof1_charter *c)
{
    static const char *const missing[] = {"centre", "exclude", "rows"};
    PRINT(out, "max_periods: %u  # most periods of one treatment in one trial\n", c->max_periods);
    PRINT(out, "max_cycles: %u  # most cycles in one trial\n", c->max_cycles);
    PRINT(out, "# Between-trial over within-trial variance: 1 to 8 ascending ratios that span what "
               "is usual.\nlambdas: [");
    for (size_t i = 0; i < c->lambdas; i++) {
        TRY(put_number(out, i == 0 ? "" : ", ", c->lambda[i]));
    }
    TRY(put_number(out, "]\ntime_centre: ", c->time_centre));
    PRINT(out, "  # subtracted from times, in the unit of the data's time; 0 unless they are far "
               "from it\n");
    TRY(put_number(out, "beta_box: ", c->beta_box));
    PRINT(out,
          "  # bound of fixed effects in rounds, in ranges of the outcome (highest - lowest)\n");
    TRY(put_number(out, "variance_ratio_box: ", c->variance_ratio_box));
    PRINT(out, "  # bound of variance ratios in rounds\n");
    PRINT(out, "analysis_set: %s  # both_arms: trials with outcomes under both treatments\n",
          c->any_arm ? "any" : "both_arms");
    PRINT(out, "missing: %s  # a trial without a covariate: centre (its centre stands in) | "
               "exclude\n",
          missing[c->missing]);
    PRINT(out, "# What may be asked, see nof1-plan(5).\nanalyses:\n");
    for (size_t i = 0; i < c->analyses; i++) {
        PRINT(out, "  - %s\n", c->analysis[i]);
    }
    return nof1_buffer_printf(out, "\n");
}

static nof1_rc put_sites(struct nof1_buffer *out, const struct nof1_charter *c)
{
    PRINT(out, "# Who takes part. patient_cap: most patients in one epoch; edge: the name in the "
               "edge's certificate;\n# vault_key: the public key with which the vault signs. left: "
               "true for a site that takes part no\n# more: it stays on the list and in its block, "
               "and the block is in no plan.\nsites:\n");
    for (size_t i = 0; i < c->sites; i++) {
        const struct nof1_member *s = &c->site[i];
        PRINT(out, "  %s:\n    patient_cap: %u\n", s->id, s->patient_cap);
        PRINT(out, "%s", s->left ? "    left: true\n" : "");
        if (s->edge_spiffe != NULL && s->edge_spiffe[0] != '\0') {
            TRY(put_label(out, "    edge: ", s->edge_spiffe));
            PRINT(out, "\n");
        }
        TRY(put_hex(out, "    vault_key: ", s->vault_spki));
        PRINT(out, "%s", s->vault_spki.length > 0 ? "\n" : "");
    }
    PRINT(out, "\n# Groups of sites, the smallest of which a total is ever made. Every site is in "
               "one. In later\n# versions a block only grows, and no site moves.\nblocks:\n");
    for (size_t b = 0; b < c->blocks; b++) {
        PRINT(out, "  %s: [", c->block[b].id);
        for (size_t i = 0; i < c->block[b].sites; i++) {
            PRINT(out, "%s%s", i == 0 ? "" : ", ", c->site[c->block[b].site[i]].id);
        }
        PRINT(out, "]\n");
    }
    return nof1_buffer_printf(out, "\n");
}

static nof1_rc put_principal(struct nof1_buffer *out, const struct nof1_principal *p)
{
    bool named = p->spiffe != NULL && p->spiffe[0] != '\0';
    if (named) {
        TRY(put_label(out, "spiffe: ", p->spiffe));
    }
    TRY(put_hex(out, named ? ", key: " : "key: ", p->spki));
    return nof1_buffer_printf(out, "}\n");
}

nof1_rc nof1_charter_text(struct nof1_buffer *out, const struct nof1_charter *charter)
{
    TRY(put_head(out, charter));
    TRY(put_limits(out, charter));
    TRY(put_outcomes(out, charter));
    TRY(put_covariates(out, charter));
    TRY(put_classes(out, charter));
    TRY(put_rules(out, charter));
    TRY(put_sites(out, charter));
    PRINT(out, "# Who may ask: the name in the certificate, and the public key that signs plans.\n"
               "%s",
          charter->statisticians == 0 ? "" : "statisticians:\n");
    for (size_t i = 0; i < charter->statisticians; i++) {
        PRINT(out, "  %s: {", charter->statistician[i].id);
        TRY(put_principal(out, &charter->statistician[i]));
    }
    PRINT(out, "\n# The coordinator: its key, from nof1-coordinator init, signs this charter.\n"
               "coordinator: {id: %s, ",
          charter->coordinator.id);
    return put_principal(out, &charter->coordinator);
}
