/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The synthetic consortium: the same bytes on every machine, and what is promised about them.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <core/charter.h>
#include <crypto/hash.h>
#include <node/freeze.h>
#include <node/sources/csv.h>
#include <support.h>
#include <tools/children.h>
#include <tools/lab_new.h>

static void hex_of_csv(char out[65], const struct nof1_lab_new *options, uint32_t site)
{
    struct nof1_buffer csv = {0};
    uint8_t digest[32];
    cr_assert_eq(nof1_lab_site_csv(&csv, options, site), NOF1_OK);
    cr_assert_eq(nof1_sha256(digest, nof1_buffer_slice(&csv)), NOF1_OK);
    for (size_t i = 0; i < sizeof digest; i++) {
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
    }
    nof1_buffer_free(&csv);
}

/* Pinned: whoever changes the generator changes everybody's examples, and says so here. */
Test(lab_new, bytes_are_the_same_on_every_machine)
{
    static const struct {
        struct nof1_lab_new options;
        uint32_t site;
        const char *sha256;
    } pinned[] = {
        {{"", 8, 60, 7, "ABABAB"},
         0,
         "6071818b8c3c8318c03372b4d8fbe999c9e2ab7baefb56da3d38c3427bf69892"},
        {{"", 8, 60, 7, "ABABAB"},
         7,
         "a517be67e10e23f2dc87fe3c361dd0cd0a71c68d461b1df928e7f0a3d7d1ad27"},
        {{"", 12, 400, 20260501, "ABCABC"},
         3,
         "2efca133f22a924316edac75eadb4e57046fbd10b813c08cbf56dec812d6c9fb"},
        {{"", 1, 5, 0, "AB"},
         0,
         "723b8d732ca895c380b39025bcda64e40833cb9f90c73a03394b9c6d71daefce"},
    };
    for (size_t i = 0; i < sizeof pinned / sizeof pinned[0]; i++) {
        char hex[65];
        hex_of_csv(hex, &pinned[i].options, pinned[i].site);
        cr_expect_str_eq(hex, pinned[i].sha256, "case %zu: %s", i, hex);
    }
}

Test(lab_new, trials_are_allocated)
{
    uint32_t trials[999];
    static const uint32_t sizes[][2] = {{1, 1}, {8, 60}, {8, 8}, {999, 1000}, {12, 100000}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const struct nof1_lab_new options = {"", sizes[i][0], sizes[i][1], i, "AB"};
        uint64_t sum = 0;
        nof1_lab_allocate(trials, &options);
        for (uint32_t s = 0; s < options.sites; s++) {
            cr_expect_gt(trials[s], 0u);
            sum += trials[s];
        }
        cr_expect_eq(sum, options.trials);
        cr_expect(options.sites == 1 || trials[options.sites - 1] == 1, "one-patient site");
    }
}

static const struct nof1_charter *charter_of(struct nof1_arena *arena, const char *folder)
{
    char path[256];
    const struct nof1_node *node = NULL;
    const struct nof1_charter *charter = NULL;
    struct nof1_error error = {0};
    snprintf(path, sizeof path, "%s/charter.yaml", folder);
    nof1_rc_value rc = nof1_yaml_read(&node, arena, path, test_file(arena, path), &error);
    rc = rc == NOF1_OK ? nof1_charter_from_node(&charter, arena, node, &error) : rc;
    cr_assert_eq(rc, NOF1_OK, "%u:%u %s", error.line, error.column, error.message);
    return charter;
}

static const struct nof1_map *map_in(struct nof1_arena *arena, const char *folder)
{
    char path[256];
    const struct nof1_node *node = NULL;
    const struct nof1_map *map = NULL;
    snprintf(path, sizeof path, "%s/map.yaml", folder);
    cr_assert_eq(nof1_yaml_read(&node, arena, path, test_file(arena, path), NULL), NOF1_OK);
    cr_assert_eq(nof1_map_read(&map, arena, node, NULL), NOF1_OK);
    return map;
}

/* What is written is read back by our own readers, and lies within its own charter. */
Test(lab_new, files_fit_together)
{
    char folder[] = "/tmp/nof1-test-lab-XXXXXX";
    struct nof1_arena *arena = nof1_arena_new();
    struct nof1_error error = {0};
    cr_assert_not_null(mkdtemp(folder));
    const struct nof1_lab_new options = {folder, 9, 80, 3, "ABAB"};
    cr_assert_eq(nof1_lab_new(&options, &error), NOF1_OK, "%s", error.message);
    const struct nof1_charter *charter = charter_of(arena, folder);
    const struct nof1_map *map = map_in(arena, folder);
    cr_expect_eq(charter->sites, 9u);
    cr_expect_eq(charter->blocks, 2u);
    cr_expect_eq(charter->block[1].sites, 5u);
    size_t trials = 0;
    size_t missing = 0;
    for (size_t s = 0; s < charter->sites; s++) {
        char path[256];
        struct nof1_table *table = NULL;
        struct nof1_epoch epoch = {0};
        struct nof1_freeze_report report;
        snprintf(path, sizeof path, "%s/sites/%s.csv", folder, charter->site[s].id);
        cr_assert_eq(nof1_csv_load(&table, map, path, &error), NOF1_OK, "%s", error.message);
        cr_assert_eq(nof1_table_freeze(&epoch, arena, table, charter, s, 1, &report, &error),
                     NOF1_OK, "%s", error.message);
        cr_expect_eq(report.missing_outcomes + report.missing_covariates, 0u);
        trials += epoch.trials;
        missing += table->outcome[0].missing;
        nof1_table_free(table);
    }
    cr_expect_eq(trials, 80u);
    cr_expect_gt(missing, 0u);
    cr_expect_eq(nof1_lab_new(&options, &error), NOF1_E_USAGE);
    cr_expect(strstr(error.message, "exists and is not empty") != NULL, "%s", error.message);
    nof1_remove_tree(folder);
    cr_expect_neq(access(folder, F_OK), 0);
    nof1_arena_free(arena);
}

Test(lab_new, wrong_options_are_refused)
{
    static const struct nof1_lab_new bad[] = {
        {"/tmp/never", 0, 5, 0, "AB"},    {"/tmp/never", 1000, 5000, 0, "AB"},
        {"/tmp/never", 3, 2, 0, "AB"},    {"/tmp/never", 3, 9, 0, "ABA"},
        {"/tmp/never", 3, 9, 0, "A"},     {"/tmp/never", 3, 9, 0, ""},
        {"/tmp/never", 3, 9, 0, "ab"},    {"/tmp/never", 3, 9, 0, "AAAA"},
        {"/tmp/never", 3, 9, 0, "ABCDEFGHI"}, {"/proc/never", 3, 9, 0, "AB"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct nof1_error error = {0};
        nof1_rc_value rc = nof1_lab_new(&bad[i], &error);
        cr_expect(rc == NOF1_E_USAGE || rc == NOF1_E_IO, "case %zu: %d", i, (int)rc);
        cr_expect_neq(error.message[0], '\0', "case %zu", i);
    }
}
