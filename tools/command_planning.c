/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * `nof1 planning`: the size of a series, answered on this machine from the plan alone: no charter,
 * no site, no round (lib/stats/analyses/planning.c computes it).
 */
#include <tools/commands.h>

#include <stdio.h>
#include <string.h>

#include <base/json.h>
#include <core/plan_options.h>
#include <nof1/analysis.h>
#include <sys/arguments.h>
#include <sys/files.h>

#define MOST_TEXT ((size_t)1 << 20)

/* The plan's options; what a plan has besides is allowed: `nof1 plan new planning` prints it. */
static nof1_rc read_plan(const struct nof1_node **options, struct nof1_arena *arena,
                         const char *path, const struct nof1_analysis *analysis,
                         struct nof1_error *error)
{
    static const char *const common[] = {"plan", "title", "outcome", "treatment", "analysis",
                                         "gather_by", "deadline", NULL};
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer bytes = {0};
    const struct nof1_node *root = NULL;
    const struct reader reader = {arena, error};
    TRY(nof1_file_read(&bytes, path, MOST_TEXT, error));
    TRY(nof1_yaml_read(&root, arena, path, nof1_buffer_slice(&bytes), error));
    const char *name = NULL;
    TRY(nof1_node_text(&name, root, "analysis", error));
    if (strcmp(name, analysis->id) != 0) {
        return nof1_fail(error, NOF1_E_PLAN, "analysis: %.40s needs data: nof1 run, nof1 lab run",
                         name);
    }
    return plan_options_from_root(&reader, options, analysis, root, common);
}

static nof1_rc answer(json_t **out, const char *path, struct nof1_error *error)
{
    struct nof1_arena *arena NOF1_CLEANUP(nof1_arena_freep) = nof1_arena_new();
    const struct nof1_analysis *analysis = nof1_analysis_find("planning");
    ENSURE(arena != NULL && analysis != NULL, NOF1_E_NO_MEMORY);
    struct nof1_plan plan = {.analysis = analysis->id};
    const struct nof1_study study = {.plan = &plan};
    const struct nof1_history history = {0};
    struct nof1_model *model = NULL;
    TRY(read_plan(&plan.options, arena, path, analysis, error));
    TRY(analysis->prepare(&model, arena, &study, error));
    TRY(analysis->report(model, &history, arena, out, error));
    return json_object_set_new(*out, "schema_version", json_integer(1)) == 0 ? NOF1_OK
                                                                            : NOF1_E_NO_MEMORY;
}

int nof1_command_planning(int argc, char **argv)
{
    bool json = false, help = false;
    const char *path = NULL;
    struct nof1_error error = {.rc = NOF1_OK};
    const struct nof1_argument rows[] = {
        {"json", NULL, NULL, &json, "print one JSON object", false}, NOF1_ARGUMENTS_END};
    const struct nof1_usage_text usage = {
        "nof1 planning PLAN [--json]",
        "Print patients, cycles, power and precision of a series, from a plan with analysis: "
        "planning.\nNeeds no data and asks nobody. See: nof1 plan new planning\n",
        rows, 0};
    nof1_rc_value rc = nof1_arguments_read(&usage, 1, &path, argc, argv, &help, &error);
    if (help) {
        return 0;
    }
    NOF1_CLEANUP(nof1_json_freep) json_t *result = NULL;
    rc = rc == NOF1_OK ? answer(&result, path, &error) : rc;
    return rc == NOF1_OK ? nof1_command_result(result, json, NULL)
                         : nof1_command_failed("nof1 planning", rc, &error);
}
