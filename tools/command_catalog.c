/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * `nof1 catalog`: the analyses and their options, from the registry; `nof1 plan new`: a plan with
 * every default written out.
 */
#include <tools/commands.h>

#include <stdio.h>
#include <string.h>

#include <base/json.h>
#include <nof1/analysis.h>
#include <sys/arguments.h>

static json_t *option_json(const struct nof1_option *option)
{
    return json_pack("{s:s, s:s*, s:s*, s:s*}", "key", option->key, "choices", option->choices,
                     "default", option->default_text, "help", option->help);
}

static json_t *catalog_json(void)
{
    json_t *list = json_array();
    for (const struct nof1_analysis *const *a = nof1_analysis_all(); list != NULL && *a != NULL;
         ++a) {
        json_t *options = json_array();
        for (const struct nof1_option *o = (*a)->option; o->key != NULL; ++o) {
            json_array_append_new(options, option_json(o));
        }
        json_array_append_new(list, json_pack("{s:s, s:i, s:s, s:o}", "analysis", (*a)->id,
                                              "version", (int)(*a)->version, "summary",
                                              (*a)->summary, "options", options));
    }
    return list;
}

static void print_analysis(const struct nof1_analysis *analysis)
{
    printf("%s (version %u)\n  %s\n", analysis->id, (unsigned)analysis->version, analysis->summary);
    for (const struct nof1_option *o = analysis->option; o->key != NULL; ++o) {
        printf("  %-18s %s%s%s%s\n", o->key, o->help == NULL ? "" : o->help,
               o->default_text == NULL ? "" : " [", o->default_text == NULL ? "" : o->default_text,
               o->default_text == NULL ? "" : "]");
        if (o->choices != NULL) {
            printf("  %-18s   %s\n", "", o->choices);
        }
    }
    printf("\n");
}

int nof1_command_catalog(int argc, char **argv)
{
    bool json = false;
    bool help = false;
    struct nof1_error error = {.rc = NOF1_OK};
    const struct nof1_argument rows[] = {{"json", NULL, NULL, &json, "print one JSON array", false},
                                         NOF1_ARGUMENTS_END};
    const struct nof1_usage_text usage = {
        "nof1 catalog [--json]", "List the analyses of this version and the options of each.\n",
        rows, 0};
    nof1_rc_value rc = nof1_arguments_read(&usage, 0, NULL, argc, argv, &help, &error);
    if (rc != NOF1_OK) {
        return nof1_command_failed("nof1 catalog", rc, &error);
    }
    if (help) {
        return 0;
    }
    if (json) {
        NOF1_CLEANUP(nof1_json_freep) json_t *list = catalog_json();
        return nof1_command_result(list, true, NULL);
    }
    for (const struct nof1_analysis *const *a = nof1_analysis_all(); *a != NULL; ++a) {
        print_analysis(*a);
    }
    return 0;
}

static void print_plan(const struct nof1_analysis *analysis, const char *outcome)
{
    printf("plan: 1\n"
           "title: One sentence with the question\n"
           "outcome: %s\n"
           "treatment: {reference: A, active: [B]}   # effect = active minus reference\n"
           "analysis: %s\n",
           outcome, analysis->id);
    for (const struct nof1_option *o = analysis->option; o->key != NULL; ++o) {
        bool given = o->default_text != NULL && o->default_text[0] != '\0';
        printf("%s%s: %s%s%s\n", given ? "" : "# ", o->key, given ? o->default_text : "",
               o->choices == NULL ? "" : "   # ", o->choices == NULL ? "" : o->choices);
    }
    printf("gather_by: 14d\ndeadline: 10m\n");
}

int nof1_command_plan_new(int argc, char **argv)
{
    const char *outcome = "y";
    const char *id = NULL;
    bool help = false;
    struct nof1_error error = {.rc = NOF1_OK};
    const struct nof1_argument rows[] = {
        {"outcome", "NAME", &outcome, NULL, "name of the outcome (y)", false}, NOF1_ARGUMENTS_END};
    const struct nof1_usage_text usage = {
        "nof1 plan new ANALYSIS [--outcome NAME]",
        "Print a plan with every option of the analysis and its default. See: nof1 catalog\n", rows,
        0};
    nof1_rc_value rc = nof1_arguments_read(&usage, 1, &id, argc, argv, &help, &error);
    const struct nof1_analysis *analysis = help || rc != NOF1_OK ? NULL : nof1_analysis_find(id);
    if (rc == NOF1_OK && !help && analysis == NULL) {
        rc = nof1_fail(&error, NOF1_E_USAGE, "there is no analysis '%.40s'; see nof1 catalog", id);
    }
    if (rc != NOF1_OK) {
        return nof1_command_failed("nof1 plan new", rc, &error);
    }
    if (!help) {
        print_plan(analysis, outcome);
    }
    return 0;
}
