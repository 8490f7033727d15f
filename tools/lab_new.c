/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The synthetic consortium: see lab_new.h. Each trial starts with a run-in day; each cycle holds
 * every treatment once in random order; a period lasts seven days and is measured on its days 4 and
 * 7, the former with carryover from the period before. Measurements and whole periods go missing,
 * some patients drop out. The last of several sites has one patient.
 */
#include <tools/lab_new.h>

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <nof1/analysis.h>
#include <sys/files.h>

#define MOST_PERIODS 40
#define PERIOD_DAYS 7

struct generator {
    uint64_t state;
};

/* Steele, Lea, Flood: Fast splittable pseudorandom number generators (OOPSLA 2014). */
static uint64_t next(struct generator *generator)
{
    generator->state += 0x9e3779b97f4a7c15u;
    uint64_t z = generator->state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint32_t below(struct generator *generator, uint32_t limit)
{
    return (uint32_t)(((next(generator) >> 32) * limit) >> 32);
}

static bool chance(struct generator *generator, uint32_t thousandths)
{
    return below(generator, 1000) < thousandths;
}

/* Irwin-Hall: twelve uniforms less six have mean 0 and variance 1; exact in integers. */
static double normal(struct generator *generator)
{
    uint64_t sum = 0;
    for (int i = 0; i < 12; ++i) {
        sum += next(generator) >> 32;
    }
    return (double)((int64_t)sum - 6 * ((int64_t)1 << 32)) / 4294967296.0;
}

/* Nearest integer between two limits. */
static int32_t rounded(double value, int32_t least, int32_t most)
{
    if (value <= (double)least) {
        return least;
    }
    if (value >= (double)most) {
        return most;
    }
    return (int32_t)(value + 0.5 + 1000.0) - 1000; /* truncation of a positive number */
}

struct design {
    uint32_t periods, arms, cycles;
    char letter[8]; /* ascending */
};

/* Letters of a design; false when a cycle does not hold each letter once. */
static bool read_design(struct design *design, const char *text)
{
    uint32_t count[26] = {0};
    size_t length = strlen(text);
    if (length < 2 || length > MOST_PERIODS) {
        return false;
    }
    for (size_t i = 0; i < length; ++i) {
        if (text[i] < 'A' || text[i] > 'Z') {
            return false;
        }
        ++count[text[i] - 'A'];
    }
    *design = (struct design){.periods = (uint32_t)length};
    for (uint32_t k = 0; k < 26; ++k) {
        if (count[k] > 0 && design->arms < 8) {
            design->letter[design->arms++] = (char)('A' + (int)k);
        }
    }
    design->cycles = design->periods / design->arms;
    for (uint32_t k = 0; k < 26; ++k) {
        if (count[k] != 0 && count[k] != design->cycles) {
            return false;
        }
    }
    return design->arms >= 2 && design->arms * design->cycles == design->periods;
}

/* One patient. */
struct person {
    double level, effect, trend, carryover;
    uint32_t age;
    bool female, severe;
    uint32_t drop_out; /* first period without data; periods when nobody drops out */
};

static struct person draw_person(struct generator *generator, const struct design *design)
{
    struct person person;
    person.female = chance(generator, 550);
    person.severe = chance(generator, 450);
    person.age = (uint32_t)rounded(52.0 + 14.0 * normal(generator), 18, 90);
    person.level = (person.severe ? 6.4 : 5.0) + 0.9 * normal(generator);
    person.effect = -1.1 + 0.6 * normal(generator);
    person.trend = -0.01 + 0.005 * normal(generator);
    person.carryover = 0.25;
    person.drop_out = design->periods;
    if (chance(generator, 80) && design->periods > 2) {
        person.drop_out = 2 + below(generator, design->periods - 2);
    }
    return person;
}

/* Treatment of every period: each cycle is a random permutation (Fisher and Yates). */
static void draw_schedule(struct generator *generator, const struct design *design,
                          uint8_t schedule[MOST_PERIODS])
{
    for (uint32_t cycle = 0; cycle < design->cycles; ++cycle) {
        uint8_t *here = schedule + (size_t)cycle * design->arms;
        for (uint32_t k = 0; k < design->arms; ++k) {
            here[k] = (uint8_t)k;
        }
        for (uint32_t k = design->arms - 1; k > 0; --k) {
            uint32_t other = below(generator, k + 1);
            uint8_t kept = here[k];
            here[k] = here[other];
            here[other] = kept;
        }
    }
}

/* Write the three outcomes of one measurement; draws the same numbers whether missing or not. */
static nof1_rc write_outcomes(struct nof1_buffer *out, struct generator *generator,
                              const struct person *person, double benefit, uint32_t day)
{
    double expected = person->level + person->effect * benefit + person->trend * (double)day;
    int32_t pain = rounded(10.0 * (expected + 0.8 * normal(generator)), 0, 100);
    bool relief = normal(generator) < 0.6 * benefit + 0.25 * (5.5 - person->level);
    uint32_t attacks = 0;
    double share = 0.22 + 0.03 * (person->level - 5.0) - 0.09 * benefit;
    for (int i = 0; i < 14; ++i) {
        attacks += (double)below(generator, 1000000) < 1e6 * share ? 1 : 0;
    }
    bool missing = chance(generator, 30);
    if (missing) {
        return nof1_buffer_printf(out, ",,,");
    }
    return nof1_buffer_printf(out, ",%d.%d,%d,%u", (int)(pain / 10), (int)(pain % 10),
                              relief ? 1 : 0, (unsigned)attacks);
}

static nof1_rc write_row(struct nof1_buffer *out, struct generator *generator,
                         const struct person *person, double benefit, uint32_t day)
{
    TRY(write_outcomes(out, generator, person, benefit, day));
    return nof1_buffer_printf(out, ",%u,%c,%s\n", (unsigned)person->age, person->female ? 'F' : 'M',
                              person->severe ? "severe" : "mild");
}

static nof1_rc write_trial(struct nof1_buffer *out, struct generator *generator,
                           const struct design *design, const char *id)
{
    static const uint32_t measured[2] = {4, 7};
    uint8_t schedule[MOST_PERIODS] = {0};
    struct person person = draw_person(generator, design);
    draw_schedule(generator, design, schedule);
    TRY(nof1_buffer_printf(out, "%s,,,0,,run-in", id));
    TRY(write_row(out, generator, &person, 0.0, 0));
    for (uint32_t p = 0; p < design->periods; ++p) {
        double benefit = (double)schedule[p] / (double)(design->arms - 1);
        double before = p == 0 ? 0.0 : (double)schedule[p - 1] / (double)(design->arms - 1);
        bool absent = chance(generator, 40) || p >= person.drop_out;
        for (uint32_t m = 0; m < 2; ++m) {
            uint32_t day = p * PERIOD_DAYS + measured[m];
            double now = m == 0 ? benefit + person.carryover * (before - benefit) : benefit;
            size_t length = out->length;
            TRY(nof1_buffer_printf(out, "%s,%u,%u,%u,%c,treatment", id,
                                   (unsigned)(p / design->arms + 1), (unsigned)(p + 1),
                                   (unsigned)day, design->letter[schedule[p]]));
            TRY(write_row(out, generator, &person, now, day));
            out->length = absent ? length : out->length;
        }
    }
    return NOF1_OK;
}

void nof1_lab_allocate(uint32_t *trials, const struct nof1_lab_new *options)
{
    struct generator generator = {options->seed ^ 0x6e6f66316c616221u};
    for (uint32_t s = 0; s < options->sites; ++s) {
        trials[s] = 1;
    }
    /* the last site keeps one patient; the others draw from two urns, so sizes differ */
    uint32_t larger = options->sites > 1 ? options->sites - 1 : 1;
    uint32_t largest = (options->trials - options->sites) / 3 + 2;
    for (uint32_t t = options->sites; t < options->trials; ++t) {
        uint32_t a = below(&generator, larger);
        uint32_t b = t % larger;
        uint32_t site = chance(&generator, 350) && trials[a] < largest ? a : b;
        ++trials[site];
    }
}

nof1_rc_value nof1_lab_site_csv(struct nof1_buffer *out, const struct nof1_lab_new *options,
                                uint32_t site)
{
    struct design design;
    ENSURE(read_design(&design, options->design), NOF1_E_USAGE);
    uint32_t *trials = calloc(options->sites, sizeof *trials);
    ENSURE(trials != NULL, NOF1_E_NO_MEMORY);
    nof1_lab_allocate(trials, options);
    uint32_t count = trials[site];
    free(trials);
    struct generator generator = {options->seed * 1000003u + site};
    (void)next(&generator);
    TRY(nof1_buffer_printf(out,
                           "id,cycle,period,day,trt,phase,pain,relief,attacks,age,sex,severity\n"));
    for (uint32_t t = 0; t < count; ++t) {
        char id[32];
        snprintf(id, sizeof id, "S%02u-%02u", (unsigned)(site + 1), (unsigned)(t + 1));
        TRY(write_trial(out, &generator, &design, id));
    }
    return NOF1_OK;
}

static nof1_rc write_text(const struct nof1_lab_new *options, const char *name,
                          struct nof1_slice text, struct nof1_error *error)
{
    char path[4096];
    int length = snprintf(path, sizeof path, "%s/%s", options->folder, name);
    if (length < 0 || (size_t)length >= sizeof path) {
        return nof1_fail(error, NOF1_E_USAGE, "the folder's name is too long");
    }
    return nof1_file_write(path, text, 0644, error);
}

static nof1_rc write_map(const struct nof1_lab_new *options, struct nof1_error *error)
{
    return write_text(options, "map.yaml",
                      nof1_slice_text("source: {driver: csv}\n"
                                      "columns: {trial: id, cycle: cycle, period: period, time: "
                                      "day, treatment: trt, phase: phase}\n"
                                      "outcomes:\n"
                                      "  pain: {column: pain, kind: continuous}\n"
                                      "  relief: {column: relief, kind: binary}\n"
                                      "  attacks: {column: attacks, kind: count}\n"
                                      "covariates: [age, sex, severity]\n"),
                      error);
}

static nof1_rc write_plan(const struct nof1_lab_new *options, const struct design *design,
                          const char *name, const char *analysis, struct nof1_error *error)
{
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer plan = {0};
    char reference = design->letter[0];
    char active = design->letter[design->arms - 1];
    TRY(nof1_buffer_printf(&plan,
                           "plan: 1\n"
                           "title: Does %c relieve pain more than %c?\n"
                           "outcome: pain\n"
                           "treatment: {reference: %c, active: [%c]}   # effect = active minus "
                           "reference\n%s",
                           active, reference, reference, active, analysis));
    return write_text(options, name, nof1_buffer_slice(&plan), error);
}

static nof1_rc write_plans(const struct nof1_lab_new *options, const struct design *design,
                           struct nof1_error *error)
{
    TRY(write_plan(options, design, "plan.yaml",
                   "analysis: random_effects\nmethod: REML\ntest: knha\n", error));
    return write_plan(options, design, "plan-slope.yaml",
                      "analysis: mixed_model\nfixed: [treatment]\n"
                      "random: {trial: [intercept, treatment]}\nmethod: REML\n",
                      error);
}

/* The complete class: both measurements of every period. */
static nof1_rc write_class(struct nof1_buffer *out, const struct design *design)
{
    unsigned each = 2 * design->cycles;
    TRY(nof1_buffer_printf(out, "classes:\n  \"%u", each));
    for (uint32_t k = 1; k < design->arms; ++k) {
        TRY(nof1_buffer_printf(out, "x%u", each));
    }
    TRY(nof1_buffer_printf(out, "\": {n: [%u", each));
    for (uint32_t k = 1; k < design->arms; ++k) {
        TRY(nof1_buffer_printf(out, ", %u", each));
    }
    TRY(nof1_buffer_printf(out, "], periods: [1, 1"));
    for (unsigned p = 2; p <= design->periods; ++p) {
        TRY(nof1_buffer_printf(out, ", %u, %u", p, p));
    }
    return nof1_buffer_printf(out, "]}\n");
}

static nof1_rc write_dictionary(struct nof1_buffer *out, const struct design *design)
{
    TRY(nof1_buffer_printf(out,
                           "study: lab-pain\nversion: 1\nlab: false\n"
                           "effective: 2026-01-01T00:00:00Z\npreset: standard\n"
                           "treatments: [%c",
                           design->letter[0]));
    for (uint32_t k = 1; k < design->arms; ++k) {
        TRY(nof1_buffer_printf(out, ", %c", design->letter[k]));
    }
    TRY(nof1_buffer_printf(
        out, "]\noutcomes:\n"
             "  pain: {kind: continuous, unit: points, bounds: [0, 10], quantum: 0.1, centre: 5,\n"
             "         sd_within: 0.8, sd_between: 1, benefit: lower}\n"
             "  relief: {kind: binary, bounds: [0, 1], quantum: 1, centre: 0, sd_within: 0.5,\n"
             "           sd_between: 0.3, benefit: higher}\n"
             "  attacks: {kind: count, bounds: [0, 14], quantum: 1, centre: 3, sd_within: 1.5,\n"
             "            sd_between: 1, benefit: lower}\n"
             "covariates:\n"
             "  age: {kind: numeric, bounds: [18, 90], centre: 52, quantum: 3}\n"
             "  sex: {kind: factor, levels: [F, M]}\n"
             "  severity: {kind: factor, levels: [mild, severe]}\n"
             "strata: severity\n"));
    TRY(write_class(out, design));
    TRY(nof1_buffer_printf(
        out,
        "max_periods: %u\nmax_cycles: %u\nlambdas: [0.1, 1]\nbeta_box: 1\n"
        "variance_ratio_box: 1000000\nanalysis_set: both_arms\nmissing: exclude\nanalyses:\n",
        (unsigned)design->cycles, (unsigned)design->cycles));
    for (const struct nof1_analysis *const *a = nof1_analysis_all(); *a != NULL; ++a) {
        TRY(nof1_buffer_printf(out, "  - %s\n", (*a)->id));
    }
    return NOF1_OK;
}

/* Blocks of four in order; the remainder joins the last. */
static nof1_rc write_blocks(struct nof1_buffer *out, uint32_t sites)
{
    uint32_t blocks = sites < 8 ? 1 : sites / 4;
    TRY(nof1_buffer_printf(out, "blocks:\n"));
    for (uint32_t b = 0; b < blocks; ++b) {
        uint32_t last = b + 1 == blocks ? sites : 4 * (b + 1);
        TRY(nof1_buffer_printf(out, "  b%u: [", (unsigned)(b + 1)));
        for (uint32_t s = 4 * b; s < last; ++s) {
            TRY(nof1_buffer_printf(out, "%ssite-%02u", s == 4 * b ? "" : ", ", (unsigned)(s + 1)));
        }
        TRY(nof1_buffer_printf(out, "]\n"));
    }
    return NOF1_OK;
}

static nof1_rc write_charter(const struct nof1_lab_new *options, const struct design *design,
                             struct nof1_error *error)
{
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer out = {0};
    TRY(write_dictionary(&out, design));
    uint32_t *trials = calloc(options->sites, sizeof *trials);
    ENSURE(trials != NULL, NOF1_E_NO_MEMORY);
    nof1_lab_allocate(trials, options);
    uint32_t cap = 1;
    for (uint32_t s = 0; s < options->sites; ++s) {
        cap = trials[s] > cap ? trials[s] : cap;
    }
    free(trials);
    TRY(nof1_buffer_printf(&out, "sites:\n"));
    for (uint32_t s = 0; s < options->sites; ++s) {
        TRY(nof1_buffer_printf(&out, "  site-%02u: {patient_cap: %u}\n", (unsigned)(s + 1),
                               (unsigned)cap));
    }
    TRY(write_blocks(&out, options->sites));
    return write_text(options, "charter.yaml", nof1_buffer_slice(&out), error);
}

/* A new folder, or one that is empty. */
static nof1_rc make_folder(const char *path, struct nof1_error *error)
{
    if (mkdir(path, 0777) == 0) {
        return NOF1_OK;
    }
    if (errno != EEXIST) {
        return nof1_fail_at(error, NOF1_E_IO, path, 0, 0, "the folder cannot be made");
    }
    DIR *folder = opendir(path);
    size_t entries = 0;
    while (folder != NULL && readdir(folder) != NULL) {
        ++entries;
    }
    if (folder == NULL || entries > 2) {
        nof1_rc_value rc = nof1_fail_at(error, NOF1_E_USAGE, path, 0, 0,
                                        "the folder exists and is not empty; name a new one");
        if (folder != NULL) {
            (void)closedir(folder);
        }
        return rc;
    }
    (void)closedir(folder);
    return NOF1_OK;
}

static nof1_rc check_options(const struct nof1_lab_new *options, struct design *design,
                             struct nof1_error *error)
{
    if (options->sites < 1 || options->sites > 999) {
        return nof1_fail(error, NOF1_E_USAGE, "--sites: 1 to 999 expected");
    }
    if (options->trials < options->sites || options->trials > 1000000) {
        return nof1_fail(error, NOF1_E_USAGE,
                         "--trials: at least one a site and at most 1,000,000 expected");
    }
    if (!read_design(design, options->design)) {
        return nof1_fail(error, NOF1_E_USAGE,
                         "--design: letters such as ABAB or ABCABC expected, each as often as the "
                         "others, at most %d periods",
                         MOST_PERIODS);
    }
    return NOF1_OK;
}

nof1_rc_value nof1_lab_new(const struct nof1_lab_new *options, struct nof1_error *error)
{
    struct design design;
    char name[64];
    TRY(check_options(options, &design, error));
    TRY(make_folder(options->folder, error));
    char sites[4096];
    snprintf(sites, sizeof sites, "%s/sites", options->folder);
    TRY(make_folder(sites, error));
    for (uint32_t s = 0; s < options->sites; ++s) {
        NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer csv = {0};
        TRY(nof1_lab_site_csv(&csv, options, s));
        snprintf(name, sizeof name, "sites/site-%02u.csv", (unsigned)(s + 1));
        TRY(write_text(options, name, nof1_buffer_slice(&csv), error));
    }
    TRY(write_map(options, error));
    TRY(write_plans(options, &design, error));
    return write_charter(options, &design, error);
}
