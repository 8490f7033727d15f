/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Frozen epochs: what freezing checks, and that the store gives back the same bits, also after a
 * freeze that was killed.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <node/freeze.h>
#include <node/sources/csv.h>
#include <node/store.h>
#include <support.h>
#include <tools/children.h>
#include <tools/lab_new.h>

static const char charter_text[] = "study: s\nlab: true\npreset: ultra-rare\ntreatments: [A, B]\n"
                                   "outcomes:\n"
                                   "  y: {bounds: [0, 10], sd_within: 1, sd_between: 1}\n"
                                   "  z: {bounds: [-5, 5], sd_within: 1, sd_between: 1}\n"
                                   "covariates:\n"
                                   "  sex: {levels: [F, M]}\n"
                                   "  dose: {bounds: [0, 100], within: true}\n"
                                   "max_periods: 2\nmax_cycles: 2\nanalyses: [random_effects]\n"
                                   "sites: {a: {patient_cap: 3}, b: {patient_cap: 3}, c: "
                                   "{patient_cap: 3}}\nblocks: {k: [a, b, c]}\n";
static const char map_text[] =
    "outcomes: {y: {column: y, kind: continuous}, z: {column: z, kind: continuous}}\n"
    "covariates: [sex, dose]\n";
#define HEAD "trial,patient,cycle,period,time,treatment,y,z,sex,dose\n"
static const char good[] = HEAD "t1,p1,1,1,0,A,1,-1,F,5\nt1,p1,1,2,7,B,2.5,,,6\n"
                                "t2,p0,1,1,0,B,10,5,M,\nt3,p1,1,1,1,A,0,0,F,1\n";

struct fixture {
    struct nof1_arena *arena;
    const struct nof1_charter *charter;
    struct nof1_error error;
    struct nof1_freeze_report report;
};

static const struct nof1_node *yaml(struct nof1_arena *arena, const char *text)
{
    const struct nof1_node *node = NULL;
    struct nof1_error error = {0};
    nof1_rc_value rc = nof1_yaml_read(&node, arena, "text", nof1_slice_text(text), &error);
    cr_assert_eq(rc, NOF1_OK, "%s", error.message);
    return node;
}

static void start(struct fixture *f, const char *text)
{
    f->arena = nof1_arena_new();
    nof1_rc_value rc =
        nof1_charter_from_node(&f->charter, f->arena, yaml(f->arena, text), &f->error);
    cr_assert_eq(rc, NOF1_OK, "%s", f->error.message);
}

static nof1_rc_value freeze(struct nof1_epoch *epoch, struct fixture *f, const char *csv,
                            uint32_t id)
{
    const struct nof1_map *map = NULL;
    struct nof1_table *table = NULL;
    cr_assert_eq(nof1_map_read(&map, f->arena, yaml(f->arena, map_text), &f->error), NOF1_OK);
    nof1_rc_value rc = nof1_csv_read(&table, map, "a.csv", nof1_slice_text(csv), &f->error);
    cr_assert_eq(rc, NOF1_OK, "%s", f->error.message);
    rc = nof1_table_freeze(epoch, f->arena, table, f->charter, 0, id, &f->report, &f->error);
    nof1_table_free(table);
    return rc;
}

static bool same_bits(const double *a, const double *b, size_t rows)
{
    if (a == NULL || b == NULL) {
        return a == b;
    }
    for (size_t r = 0; r < rows; r++) {
        if (!(isnan(a[r]) && isnan(b[r])) && memcmp(&a[r], &b[r], sizeof *a) != 0) {
            return false;
        }
    }
    return true;
}

static void expect_same(const struct nof1_charter *charter, const struct nof1_epoch *a,
                        const struct nof1_epoch *b)
{
    cr_assert_eq(a->id, b->id);
    cr_assert_eq(a->trials, b->trials);
    cr_assert_eq(a->patients, b->patients);
    for (size_t p = 0; p < a->patients; p++) {
        cr_expect_str_eq(a->patient_key[p], b->patient_key[p]);
    }
    for (size_t t = 0; t < a->trials; t++) {
        const struct nof1_trial *x = &a->trial[t];
        const struct nof1_trial *y = &b->trial[t];
        cr_assert_eq(x->rows, y->rows);
        cr_expect_eq(a->patient[t], b->patient[t]);
        cr_expect_str_eq(a->trial_key[t], b->trial_key[t]);
        cr_expect_eq(memcmp(x->cycle, y->cycle, x->rows * sizeof *x->cycle), 0);
        cr_expect_eq(memcmp(x->period, y->period, x->rows * sizeof *x->period), 0);
        cr_expect_eq(memcmp(x->treatment, y->treatment, x->rows), 0);
        cr_expect(same_bits(x->time, y->time, x->rows));
        for (size_t o = 0; o < charter->outcomes; o++) {
            cr_expect(same_bits(x->outcome[o], y->outcome[o], x->rows), "trial %zu outcome %zu", t,
                      o);
            cr_expect(same_bits(x->variance[o], y->variance[o], x->rows));
        }
        for (size_t c = 0; c < charter->covariates; c++) {
            cr_expect(same_bits(x->covariate[c], y->covariate[c], x->rows), "covariate %zu", c);
        }
    }
}

Test(store_epoch, freeze_maps_names_and_spreads_constants)
{
    struct fixture f = {0};
    struct nof1_epoch epoch = {0};
    start(&f, charter_text);
    cr_assert_eq(freeze(&epoch, &f, good, 1), NOF1_OK, "%s", f.error.message);
    cr_expect_eq(epoch.trials, 3u);
    cr_assert_eq(epoch.patients, 2u);
    cr_expect_str_eq(epoch.patient_key[0], "p0"); /* by name, not by place in the file */
    cr_expect_eq(epoch.patient[0], 1u);
    cr_expect_eq(epoch.patient[1], 0u);
    cr_expect_eq(epoch.trial[0].treatment[1], 1);
    cr_expect_eq(epoch.trial[0].covariate[0][1], 0.0); /* F is constant, given once */
    cr_expect_eq(epoch.trial[1].covariate[0][0], 1.0);
    cr_expect(isnan(epoch.trial[0].outcome[1][1]));
    cr_expect(isnan(epoch.trial[1].covariate[1][0]));
    cr_expect_eq(epoch.trial[0].covariate[1][0], 5.0);
    cr_expect_eq(epoch.trial[0].covariate[1][1], 5.0); /* 6, in steps of 5 */
    cr_expect_eq(epoch.trial[2].covariate[1][0], 0.0); /* 1 */
    nof1_arena_free(f.arena);
}

/* A charter of an open lab codes nothing; what it froze is coded when another one loads it. */
Test(store_epoch, covariates_are_coded_by_the_charter_that_loads_them)
{
    struct fixture f = {0}, later = {0};
    struct nof1_epoch epoch = {0}, loaded = {0};
    struct nof1_store *store = NULL;
    char open[sizeof charter_text + 32];
    const char *preset = strstr(charter_text, "preset: ultra-rare");
    snprintf(open, sizeof open, "%.*spreset: open%s", (int)(preset - charter_text), charter_text,
             preset + strlen("preset: ultra-rare"));
    start(&f, open);
    start(&later, charter_text);
    cr_assert_eq(nof1_store_open(&store, ":memory:", &f.error), NOF1_OK);
    cr_assert_eq(freeze(&epoch, &f, good, 1), NOF1_OK, "%s", f.error.message);
    cr_expect_eq(epoch.trial[0].covariate[1][1], 6.0);
    cr_assert_eq(nof1_epoch_save(store, &epoch, f.charter, 1000, &f.error), NOF1_OK);
    cr_assert_eq(nof1_epoch_load(&loaded, later.arena, store, later.charter, &later.error), NOF1_OK,
                 "%s", later.error.message);
    cr_expect_eq(loaded.trial[0].covariate[1][1], 5.0);
    cr_expect_eq(loaded.trial[0].covariate[0][0], 0.0); /* a level is none */
    nof1_store_close(store);
    nof1_arena_free(later.arena);
    nof1_arena_free(f.arena);
}

Test(store_epoch, freeze_refuses)
{
    static const struct {
        const char *csv;
        nof1_rc_value rc;
        uint32_t line;
        const char *message;
    } cases[] = {
        {HEAD "t,p,1,1,0,A,1,0,F,\nt,p,1,2,0,B,10.5,0,F,\n", NOF1_E2403, 3,
         "y: 10.5 found, a number from 0 to 10 expected (the charter's bounds)"},
        {HEAD "t,p,1,1,0,A,1,-5.1,F,\n", NOF1_E2403, 2, "z: -5.1 found"},
        {HEAD "t,p,1,1,0,C,1,0,F,\n", NOF1_E_INPUT, 2,
         "treatment: 'C' found, a treatment of the charter expected"},
        {HEAD "t,p,1,1,0,A,1,0,X,\n", NOF1_E_INPUT, 2, "sex: 'X' found, a level of the charter"},
        {HEAD "t,p,1,1,0,A,1,0,F,five\n", NOF1_E_INPUT, 2, "dose: 'five' found, a number expected"},
        {HEAD "t,p,1,1,0,A,1,0,F,101\n", NOF1_E2403, 2, "dose: 101 found"},
        {HEAD "t,p,1,1,0,A,1,0,F,\nt,p,1,2,1,B,1,0,M,\n", NOF1_E_INPUT, 3,
         "sex changes within trial 't'"},
        {HEAD "a,,1,1,0,A,1,0,F,\nb,,1,1,0,A,1,0,F,\nc,,1,1,0,A,1,0,F,\nd,,1,1,0,A,1,0,F,\n",
         NOF1_E_INPUT, 0, "4 patients found, at most 3 expected"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture f = {0};
        struct nof1_epoch epoch = {0};
        start(&f, charter_text);
        cr_expect_eq(freeze(&epoch, &f, cases[i].csv, 1), cases[i].rc, "case %zu", i);
        cr_expect_eq(f.error.line, cases[i].line, "case %zu: %u", i, f.error.line);
        cr_expect(strstr(f.error.message, cases[i].message) != NULL, "case %zu: %s", i,
                  f.error.message);
        cr_expect_eq(epoch.trials, 0u);
        nof1_arena_free(f.arena);
    }
}

Test(store_epoch, round_trip_and_replacement)
{
    struct fixture f = {0};
    struct nof1_epoch epoch = {0};
    struct nof1_epoch loaded = {0};
    struct nof1_store *store = NULL;
    uint32_t id = 9;
    start(&f, charter_text);
    cr_assert_eq(nof1_store_open(&store, ":memory:", &f.error), NOF1_OK);
    cr_expect_eq(nof1_epoch_current(&id, store), NOF1_OK);
    cr_expect_eq(id, 0u);
    cr_expect_eq(nof1_epoch_load(&loaded, f.arena, store, f.charter, &f.error), NOF1_OK);
    cr_expect_eq(loaded.id, 0u);
    cr_assert_eq(freeze(&epoch, &f, good, 1), NOF1_OK);
    cr_assert_eq(nof1_epoch_save(store, &epoch, f.charter, 1000, &f.error), NOF1_OK);
    cr_assert_eq(nof1_epoch_load(&loaded, f.arena, store, f.charter, &f.error), NOF1_OK);
    expect_same(f.charter, &epoch, &loaded);
    cr_expect_eq(nof1_epoch_save(store, &epoch, f.charter, 1001, &f.error), NOF1_E_CONFIG);
    cr_assert_eq(freeze(&epoch, &f, HEAD "t9,p9,1,1,0,A,1,0,F,\n", 2), NOF1_OK);
    cr_assert_eq(nof1_epoch_save(store, &epoch, f.charter, 1002, &f.error), NOF1_OK);
    cr_assert_eq(nof1_epoch_load(&loaded, f.arena, store, f.charter, &f.error), NOF1_OK);
    expect_same(f.charter, &epoch, &loaded);
    nof1_store_close(store);
    nof1_arena_free(f.arena);
}

/* A later charter: other order, one more outcome, one level less. */
Test(store_epoch, another_charter)
{
    struct fixture f = {0};
    struct fixture later = {0};
    struct nof1_epoch epoch = {0};
    struct nof1_epoch loaded = {0};
    struct nof1_store *store = NULL;
    start(&f, charter_text);
    start(&later, "study: s\nversion: 2\nlab: true\npreset: ultra-rare\ntreatments: [B, A]\n"
                  "outcomes:\n  w: {bounds: [0, 1], sd_within: 0.2, sd_between: 0.2}\n"
                  "  y: {bounds: [0, 10], sd_within: 1, sd_between: 1}\n"
                  "covariates: {sex: {levels: [X, M, F]}}\n"
                  "max_periods: 2\nmax_cycles: 2\nanalyses: [random_effects]\n"
                  "sites: {a: {patient_cap: 3}, b: {patient_cap: 3}, c: {patient_cap: 3}}\n"
                  "blocks: {k: [a, b, c]}\n");
    cr_assert_eq(nof1_store_open(&store, ":memory:", &f.error), NOF1_OK);
    cr_assert_eq(freeze(&epoch, &f, good, 1), NOF1_OK);
    cr_assert_eq(nof1_epoch_save(store, &epoch, f.charter, 1000, &f.error), NOF1_OK);
    cr_assert_eq(nof1_epoch_load(&loaded, later.arena, store, later.charter, &later.error), NOF1_OK,
                 "%s", later.error.message);
    cr_expect_eq(loaded.trial[0].treatment[0], 1);
    cr_expect(isnan(loaded.trial[0].outcome[0][0]));
    cr_expect_eq(loaded.trial[0].outcome[1][1], 2.5);
    cr_expect_eq(loaded.trial[0].covariate[0][0], 2.0);
    cr_expect_eq(loaded.trial[1].covariate[0][0], 1.0);
    nof1_arena_free(later.arena);
    start(&later, "study: s\nversion: 3\nlab: true\npreset: ultra-rare\ntreatments: [A, C]\n"
                  "outcomes: {y: {bounds: [0, 10], sd_within: 1, sd_between: 1}}\n"
                  "max_periods: 2\nmax_cycles: 2\nanalyses: [random_effects]\n"
                  "sites: {a: {patient_cap: 3}, b: {patient_cap: 3}, c: {patient_cap: 3}}\n"
                  "blocks: {k: [a, b, c]}\n");
    cr_expect_eq(nof1_epoch_load(&loaded, later.arena, store, later.charter, &later.error),
                 NOF1_E_CONFIG);
    nof1_store_close(store);
    nof1_arena_free(later.arena);
    nof1_arena_free(f.arena);
}

/* Every damage of a stored value is an error, never a wrong epoch or a crash. */
Test(store_epoch, damage_is_noticed)
{
    static const char *const keys[] = {"epoch/head", "epoch/0000000001/head",
                                       "epoch/0000000001/trial/0000000000",
                                       "epoch/0000000001/patient/0000000001"};
    for (size_t k = 0; k < 4; k++) {
        for (size_t cut = 0; cut < 400; cut += k < 2 ? 1 : 7) {
            struct fixture f = {0};
            struct nof1_epoch epoch = {0};
            struct nof1_epoch loaded = {0};
            struct nof1_store *store = NULL;
            struct nof1_slice value;
            start(&f, charter_text);
            cr_assert_eq(nof1_store_open(&store, ":memory:", &f.error), NOF1_OK);
            cr_assert_eq(freeze(&epoch, &f, good, 1), NOF1_OK);
            cr_assert_eq(nof1_epoch_save(store, &epoch, f.charter, 1000, &f.error), NOF1_OK);
            cr_assert_eq(nof1_store_get(&value, f.arena, store, keys[k]), NOF1_OK);
            size_t least = value.length;
            if (cut < least) {
                cr_assert_eq(nof1_store_begin(store), NOF1_OK);
                value.length = cut;
                cr_assert_eq(nof1_store_put(store, keys[k], value), NOF1_OK);
                cr_assert_eq(nof1_store_commit(store), NOF1_OK);
                nof1_rc_value rc = nof1_epoch_load(&loaded, f.arena, store, f.charter, &f.error);
                cr_expect(rc == NOF1_E_STORE || (k == 0 && cut == 0), "key %zu cut %zu rc %d", k,
                          cut, (int)rc);
                cr_expect_eq(loaded.trials, 0u);
            }
            nof1_store_close(store);
            nof1_arena_free(f.arena);
        }
    }
}

static void put(struct nof1_store *store, const char *key, const char *value)
{
    cr_assert_eq(nof1_store_begin(store), NOF1_OK);
    cr_assert_eq(nof1_store_put(store, key, nof1_slice_text(value)), NOF1_OK);
    cr_assert_eq(nof1_store_commit(store), NOF1_OK);
}

/* The numbers kept, as "4 1"; every other one has left nothing behind. */
static void expect_kept(struct fixture *f, struct nof1_store *store, const char *wanted)
{
    char found[64] = "";
    struct nof1_epoch loaded = {0};
    struct nof1_slice value;
    cr_assert_eq(nof1_epoch_load(&loaded, f->arena, store, f->charter, &f->error), NOF1_OK);
    for (const struct nof1_epoch *e = &loaded; e != NULL; e = e->earlier) {
        snprintf(found + strlen(found), sizeof found - strlen(found), "%s%u", found[0] ? " " : "",
                 e->id);
        cr_expect_eq(e->trials, 3u);
    }
    cr_expect_str_eq(found, wanted);
    for (unsigned id = 1; id < 10; id++) {
        char key[64], word[16];
        snprintf(word, sizeof word, "%u", id);
        snprintf(key, sizeof key, "epoch/%010u/trial/%010u", id, 0u);
        nof1_rc_value rc = nof1_store_get(&value, f->arena, store, key);
        cr_expect_eq(rc, strstr(wanted, word) != NULL ? NOF1_OK : NOF1_E_NOT_FOUND, "%s: %s",
                     wanted, key);
    }
}

/* Beside the last epoch stay those that releases of a family used last, unless a withdrawal stopped
 * them; nothing grows. */
Test(store_epoch, keeps_what_releases_used)
{
    struct fixture f = {0};
    struct nof1_epoch epoch = {0};
    struct nof1_store *store = NULL;
    start(&f, charter_text);
    cr_assert_eq(nof1_store_open(&store, ":memory:", &f.error), NOF1_OK);
    static const struct { uint32_t next; const char *key, *value, *kept; } steps[] = {
        {1, NULL, NULL, "1"},
        {2, NULL, NULL, "2 1"}, /* nothing was released: what runs goes on */
        {3, NULL, NULL, "3 2"},
        {0, "atoms/y", "{\"epoch\":2}", "3 2"},
        {4, NULL, NULL, "4 2"}, /* a further freeze replaces what no release used */
        {5, NULL, NULL, "5 2"},
        {0, "atoms/z", "{\"epoch\":5}", "5 2"},
        {6, NULL, NULL, "6 5 2"},
        {0, "atoms/y", "{\"epoch\":6}", "6 5"},
        {0, "atoms/z", "{\"epoch\":6}", "6"},
        {7, NULL, NULL, "7 6"},
        {0, "stopped", "{\"epoch\":6}", "7"},
    };
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        if (steps[i].next > 0) {
            cr_assert_eq(freeze(&epoch, &f, good, steps[i].next), NOF1_OK);
            cr_assert_eq(nof1_epoch_save(store, &epoch, f.charter, 1000 + (int64_t)i, &f.error),
                         NOF1_OK, "%s", f.error.message);
        } else {
            put(store, steps[i].key, steps[i].value);
            cr_assert_eq(nof1_epoch_prune(store), NOF1_OK);
        }
        expect_kept(&f, store, steps[i].kept);
    }
    nof1_store_close(store);
    nof1_arena_free(f.arena);
}

/* Kill a process in the middle of freezing, many times: epoch 1 or epoch 2 is there, whole. */
Test(store_epoch, killed_freeze_leaves_a_whole_epoch)
{
    char folder[] = "/tmp/nof1-test-store-XXXXXX";
    char path[64];
    struct fixture f = {0};
    struct nof1_epoch first = {0};
    struct nof1_epoch second = {0};
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/s.sqlite", folder);
    start(&f, charter_text);
    cr_assert_eq(freeze(&first, &f, good, 1), NOF1_OK);
    cr_assert_eq(freeze(&second, &f, HEAD "t9,p9,1,1,0,A,1,0,F,\n", 2), NOF1_OK);
    struct nof1_store *store = NULL;
    cr_assert_eq(nof1_store_open(&store, path, &f.error), NOF1_OK);
    cr_assert_eq(nof1_epoch_save(store, &first, f.charter, 1000, &f.error), NOF1_OK);
    nof1_store_close(store);
    for (useconds_t wait = 0; wait < 20; wait++) {
        pid_t child = fork();
        if (child == 0) {
            for (uint32_t id = 0;; id++) { /* over and over: always in the middle of one */
                uint32_t current = 0;
                if (nof1_store_open(&store, path, NULL) == NOF1_OK &&
                    nof1_epoch_current(&current, store) == NOF1_OK) {
                    struct nof1_epoch *next = current % 2 == 1 ? &second : &first;
                    next->id = current + 1;
                    if (nof1_epoch_save(store, next, f.charter, 2000, NULL) != NOF1_OK) {
                        _exit(1);
                    }
                }
                nof1_store_close(store);
            }
        }
        usleep(2000 + wait * 700);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        struct nof1_epoch loaded = {0};
        cr_assert_eq(nof1_store_open(&store, path, &f.error), NOF1_OK, "%s", f.error.message);
        cr_assert_eq(nof1_epoch_load(&loaded, f.arena, store, f.charter, &f.error), NOF1_OK, "%s",
                     f.error.message);
        const struct nof1_epoch *wanted = loaded.id % 2 == 1 ? &first : &second;
        struct nof1_epoch expected = *wanted;
        expected.id = loaded.id;
        expect_same(f.charter, &expected, &loaded);
        nof1_store_close(store);
    }
    nof1_remove_tree(folder);
    nof1_arena_free(f.arena);
}
