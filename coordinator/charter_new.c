/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * From answers to a charter, or from the version in force to the next one: see charter_new.h. The
 * text is read back before it is written, so that nobody gets a file that cannot be signed.
 */
#include <coordinator/charter_new.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <base/time.h>
#include <coordinator/charter_members.h>
#include <coordinator/coordinator.h>
#include <core/policy.h>
#include <core/succession.h>
#include <nof1/analysis.h>
#include <sys/arguments.h>
#include <sys/files.h>

#define CHARTER_LIMIT ((size_t)8 << 20)
#define DAY INT64_C(86400)
#define TIME_TO_APPROVE (14 * DAY)

static nof1_rc missing(struct nof1_error *error, const char *option)
{
    return nof1_fail(error, NOF1_E_USAGE, "--%s is missing (see charter new --help)", option);
}

/* An option's number, at least 1; *out stays where it is not given. */
static nof1_rc read_whole(uint32_t *out, const char *text, const char *option, uint32_t most,
                          struct nof1_error *error)
{
    uint64_t value = *out;
    TRY(text == NULL ? NOF1_OK : nof1_argument_number(&value, option, text, 1, most, error));
    *out = (uint32_t)value;
    return NOF1_OK;
}

/* ---- what is measured ------------------------------------------------------------------------ */

/* Split at a separator, in arena; empty words are kept. */
static nof1_rc split(const char *const **out, size_t *count, struct nof1_arena *arena,
                     const char *text, char separator)
{
    size_t most = 1;
    for (const char *c = text; *c != '\0'; c++) {
        most += *c == separator ? 1 : 0;
    }
    const char **word = nof1_arena_alloc(arena, most, sizeof *word);
    char *copy = nof1_arena_printf(arena, "%s", text);
    ENSURE(word != NULL && copy != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < most; i++) {
        char *end = strchr(copy, separator);
        if (end != NULL) {
            *end = '\0';
        }
        word[i] = copy;
        copy = end == NULL ? copy : end + 1;
    }
    *out = word;
    *count = most;
    return NOF1_OK;
}

static bool number(double *out, const char *text)
{
    char *end = NULL;
    *out = strtod(text, &end);
    return text[0] != '\0' && *end == '\0' && *out > -1e15 && *out < 1e15;
}

/* NAME:KIND:LOWEST:HIGHEST[:QUANTUM[:UNIT]]; binary without bounds. */
static nof1_rc read_outcome(struct nof1_outcome *o, struct nof1_arena *arena, const char *text,
                            struct nof1_error *error)
{
    const char *const *word = NULL;
    size_t words = 0;
    TRY(split(&word, &words, arena, text, ':'));
    *o = (struct nof1_outcome){.name = word[0], .family = word[0], .unit = "", .upper = 1};
    bool good = words >= 2 && words <= 6 && nof1_outcome_kind_read(&o->kind, word[1]);
    bool binary = good && o->kind == NOF1_BINARY && words == 2;
    good = good && (binary || (words >= 4 && number(&o->lower, word[2]) &&
                               number(&o->upper, word[3]) && o->lower < o->upper));
    o->quantum = !good || o->kind == NOF1_CONTINUOUS || o->kind == NOF1_EFFECT ? 0 : 1;
    good = good && (words < 5 || number(&o->quantum, word[4]));
    if (!good) {
        return nof1_fail(error, NOF1_E_USAGE,
                         "--outcomes: '%s' found, NAME:KIND:LOWEST:HIGHEST[:QUANTUM[:UNIT]] "
                         "expected, as in pain:continuous:0:10:0.1:points",
                         text);
    }
    o->unit = words == 6 ? word[5] : "";
    o->centre = o->kind == NOF1_BINARY ? 0 : o->lower + (o->upper - o->lower) / 2;
    o->sd_within = o->kind == NOF1_BINARY ? 0.5 : (o->upper - o->lower) / 8;
    o->sd_between = o->kind == NOF1_BINARY ? 0.25 : (o->upper - o->lower) / 8;
    return NOF1_OK;
}

static nof1_rc read_dictionary(struct nof1_charter *c, struct nof1_arena *arena,
                               const struct nof1_charter_wish *wish, struct nof1_error *error)
{
    const char *const *text = NULL;
    TRY(wish->treatments != NULL ? NOF1_OK : missing(error, "treatments"));
    TRY(wish->outcomes != NULL ? NOF1_OK : missing(error, "outcomes"));
    TRY(split(&c->treatment, &c->treatments, arena, wish->treatments, ','));
    TRY(split(&text, &c->outcomes, arena, wish->outcomes, ','));
    struct nof1_outcome *outcome = nof1_arena_alloc(arena, c->outcomes, sizeof *outcome);
    ENSURE(outcome != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < c->outcomes; i++) {
        TRY(read_outcome(&outcome[i], arena, text[i], error));
    }
    c->outcome = outcome;
    return NOF1_OK;
}

/* Letters as in ABAB: A the first treatment. One row a period; whoever plans more changes n. */
static nof1_rc read_schedule(struct nof1_charter *c, struct nof1_arena *arena, const char *text,
                             struct nof1_error *error)
{
    c->max_periods = c->max_cycles = 3;
    if (text == NULL) {
        return NOF1_OK;
    }
    size_t length = strlen(text);
    struct nof1_class *class_ = nof1_arena_alloc(arena, 1, sizeof *class_);
    int32_t *period = nof1_arena_alloc(arena, length + 1, sizeof *period);
    ENSURE(class_ != NULL && period != NULL, NOF1_E_NO_MEMORY);
    c->max_periods = 0;
    for (size_t i = 0; i < length; i++) {
        size_t t = (size_t)(text[i] - 'A');
        if (text[i] < 'A' || t >= c->treatments || length > 64) {
            return nof1_fail(error, NOF1_E_USAGE,
                             "--schedule: letters such as ABAB expected, A for the first "
                             "treatment, at most 64");
        }
        period[i] = (int32_t)i + 1;
        class_->n[t]++;
        c->max_periods = class_->n[t] > c->max_periods ? (uint32_t)class_->n[t] : c->max_periods;
    }
    if (length < 2) {
        return nof1_fail(error, NOF1_E_USAGE, "--schedule: at least two periods expected");
    }
    class_->name = text;
    class_->schedule_rows = length;
    class_->schedule_period = period;
    c->class_ = class_;
    c->classes = 1;
    c->max_cycles = c->max_periods;
    return NOF1_OK;
}

static nof1_rc all_analyses(struct nof1_charter *c, struct nof1_arena *arena)
{
    const struct nof1_analysis *const *all = nof1_analysis_all();
    size_t count = 0;
    while (all[count] != NULL) {
        count++;
    }
    const char **id = nof1_arena_alloc(arena, count + 1, sizeof *id);
    ENSURE(id != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < count; i++) {
        id[i] = all[i]->id;
    }
    c->analysis = id;
    c->analyses = count;
    return NOF1_OK;
}

static nof1_rc first_version(struct nof1_charter *c, struct nof1_arena *arena,
                             const struct nof1_charter_wish *wish, struct nof1_error *error)
{
    static const double lambda[2] = {0.1, 1.5};
    uint32_t cap = 20;
    *c = (struct nof1_charter){.version = 1, .lambdas = 2, .lambda = lambda, .beta_box = 1,
                               .variance_ratio_box = 1e6, .study = wish->study};
    TRY(wish->study != NULL ? NOF1_OK : missing(error, "study"));
    TRY(wish->sites != NULL ? NOF1_OK : missing(error, "sites"));
    TRY(wish->folder != NULL ? NOF1_OK : missing(error, "dir"));
    if (!nof1_is_name(wish->study)) {
        return nof1_fail(error, NOF1_E_USAGE, "--study: 1 to 64 letters, digits, _ . - expected");
    }
    const char *preset = wish->preset == NULL ? "standard" : wish->preset;
    if (strcmp(preset, "open") == 0 || nof1_policy_preset(&c->limits, preset) != NOF1_OK) {
        return nof1_fail(error, NOF1_E_USAGE, "--preset: standard or ultra-rare expected");
    }
    uint32_t size = c->limits.min_block_sites;
    TRY(read_whole(&cap, wish->cap, "patient-cap", 1u << 30, error));
    TRY(read_whole(&size, wish->block_size, "block-size", 4096, error));
    TRY(read_dictionary(c, arena, wish, error));
    TRY(read_schedule(c, arena, wish->schedule, error));
    TRY(all_analyses(c, arena));
    TRY(charter_members_sites(c, arena, wish->sites, cap, size, error));
    TRY(charter_members_statisticians(c, arena, wish->statisticians, error));
    return charter_members_coordinator(c, arena, wish->name, wish->folder, error);
}

/* ---- the next version ------------------------------------------------------------------------ */

static nof1_rc read_before(const struct nof1_charter **out, struct nof1_arena *arena,
                           const char *path, struct nof1_error *error)
{
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer text = {0}, bytes = {0};
    const struct nof1_node *node = NULL;
    const struct nof1_charter *draft = NULL;
    TRY(nof1_file_read(&text, path, CHARTER_LIMIT, error));
    if (text.length > 0 && text.data[0] == '{') {
        return nof1_charter_read(out, arena, nof1_buffer_slice(&text), error);
    }
    TRY(nof1_yaml_read(&node, arena, path, nof1_buffer_slice(&text), error));
    TRY(nof1_charter_from_node(&draft, arena, node, error));
    TRY(nof1_charter_canonical(&bytes, draft));
    return nof1_charter_read(out, arena, nof1_buffer_slice(&bytes), error);
}

static nof1_rc refuse_answers(const struct nof1_charter_wish *wish, struct nof1_error *error)
{
    const char *given = wish->study != NULL        ? "study"
                        : wish->treatments != NULL ? "treatments"
                        : wish->outcomes != NULL   ? "outcomes"
                        : wish->schedule != NULL   ? "schedule"
                        : wish->preset != NULL     ? "preset"
                        : wish->name != NULL       ? "coordinator"
                        : wish->block_size != NULL ? "block-size"
                                                   : NULL;
    if (given != NULL) {
        return nof1_fail(error, NOF1_E_USAGE,
                         "--%s is taken from the version in force: change it in the file that is "
                         "written",
                         given);
    }
    return NOF1_OK;
}

static nof1_rc next_version(struct nof1_charter *c, struct nof1_buffer *notes,
                            struct nof1_arena *arena, const struct nof1_charter_wish *wish,
                            struct nof1_error *error)
{
    const struct nof1_charter *before = NULL;
    uint32_t cap = 0;
    TRY(refuse_answers(wish, error));
    TRY(read_before(&before, arena, wish->from, error));
    *c = *before;
    c->version = before->version + 1;
    c->follows = nof1_slice_of(before->hash, sizeof before->hash);
    for (size_t s = 0; s < before->sites; s++) {
        cap = before->site[s].patient_cap > cap ? before->site[s].patient_cap : cap;
    }
    TRY(read_whole(&cap, wish->cap, "patient-cap", 1u << 30, error));
    if (wish->add != NULL) {
        TRY(wish->sites != NULL ? NOF1_OK : missing(error, "sites"));
        const char *const *id = NULL;
        size_t ids = 0;
        TRY(split(&id, &ids, arena, wish->add, ','));
        TRY(charter_members_join(c, notes, arena,
                                 &(struct charter_joining){wish->sites, wish->block, ids, id, cap},
                                 error));
    }
    if (wish->remove != NULL) {
        const char *const *id = NULL;
        size_t ids = 0;
        TRY(split(&id, &ids, arena, wish->remove, ','));
        TRY(charter_members_leave(c, notes, arena, ids, id, error));
    }
    TRY(charter_members_statisticians(c, arena, wish->statisticians, error));
    return nof1_charter_follows(before, c, error);
}

/* ---- the file -------------------------------------------------------------------------------- */

static nof1_rc set_effective(struct nof1_charter *c, const struct nof1_charter_wish *wish,
                             int64_t now, struct nof1_error *error)
{
    c->effective_at = now - now % DAY + (wish->from == NULL ? 0 : TIME_TO_APPROVE);
    if (wish->effective != NULL && !nof1_time_read(&c->effective_at, wish->effective)) {
        return nof1_fail(error, NOF1_E_USAGE,
                         "--effective: a UTC time such as 2026-05-01T00:00:00Z expected");
    }
    return NOF1_OK;
}

/* What was written must be what was meant. */
static nof1_rc check_text(struct nof1_arena *arena, const struct nof1_charter *meant,
                          struct nof1_slice text, const char *path, struct nof1_error *error)
{
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer before = {0}, after = {0};
    const struct nof1_node *node = NULL;
    const struct nof1_charter *read = NULL;
    TRY(nof1_yaml_read(&node, arena, path, text, error));
    TRY(nof1_charter_from_node(&read, arena, node, error));
    TRY(nof1_charter_canonical(&before, meant));
    TRY(nof1_charter_canonical(&after, read));
    ENSURE(nof1_slice_equal(nof1_buffer_slice(&before), nof1_buffer_slice(&after)), NOF1_E_BUG);
    return NOF1_OK;
}

/* Made by this call or not at all. */
static nof1_rc write_new(const char *path, struct nof1_slice text, struct nof1_error *error)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0) {
        return nof1_fail_at(error, NOF1_E_USAGE, path, 0, 0, "%s",
                            access(path, F_OK) == 0 ? "there is such a file; name a new one"
                                                    : "cannot be made");
    }
    (void)close(fd);
    return nof1_file_write(path, text, 0644, error);
}

nof1_rc nof1_charter_new(struct nof1_buffer *notes, const struct nof1_charter_wish *wish,
                         int64_t now, struct nof1_error *error)
{
    NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *arena = nof1_arena_new();
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer text = {0};
    struct nof1_charter charter;
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    if (wish->from == NULL && (wish->add != NULL || wish->remove != NULL || wish->block != NULL)) {
        return missing(error, "from");
    }
    TRY(wish->from == NULL ? first_version(&charter, arena, wish, error)
                           : next_version(&charter, notes, arena, wish, error));
    TRY(set_effective(&charter, wish, now, error));
    TRY(nof1_charter_text(&text, &charter));
    TRY(check_text(arena, &charter, nof1_buffer_slice(&text), wish->out, error));
    return write_new(wish->out, nof1_buffer_slice(&text), error);
}
