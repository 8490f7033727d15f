/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * `nof1 lab new` and `nof1 lab run`: command lines and their defaults.
 */
#include <tools/commands.h>

#include <stdio.h>
#include <string.h>

#include <base/json.h>
#include <sys/arguments.h>
#include <tools/lab.h>
#include <tools/lab_new.h>
#include <tools/lab_processes.h>

static nof1_rc run_new(int argc, char **argv, struct nof1_error *error)
{
    const char *sites = "8";
    const char *trials = "60";
    const char *seed = "1";
    struct nof1_lab_new options = {.design = "ABABAB"};
    const struct nof1_argument rows[] = {
        {"sites", "N", &sites, NULL, "number of sites, 1 to 999 (8)", false},
        {"trials", "N", &trials, NULL, "number of trials in all (60)", false},
        {"seed", "N", &seed, NULL, "another number, other data (1)", false},
        {"design", "TEXT", &options.design, NULL,
         "treatments of the periods; each cycle is shuffled (ABABAB)", false},
        {"out", "DIR", &options.folder, NULL, "folder to make", true},
        NOF1_ARGUMENTS_END};
    const struct nof1_usage_text usage = {
        "nof1 lab new --out DIR [--sites N] [--trials N] [--seed N] [--design TEXT]",
        "Write a synthetic consortium: DIR/sites/*.csv, map.yaml, plan.yaml, plan-slope.yaml,\n"
        "charter.yaml. The same options give the same bytes on every machine.\n",
        rows, 0};
    bool help = false;
    uint64_t number = 0;
    TRY(nof1_arguments_read(&usage, 0, NULL, argc, argv, &help, error));
    if (help) {
        return NOF1_OK;
    }
    TRY(nof1_argument_number(&number, "sites", sites, 1, 999, error));
    options.sites = (uint32_t)number;
    TRY(nof1_argument_number(&number, "trials", trials, 1, 1000000, error));
    options.trials = (uint32_t)number;
    TRY(nof1_argument_number(&options.seed, "seed", seed, 0, INT64_MAX, error));
    TRY(nof1_lab_new(&options, error));
    printf("%s: %u sites, %u trials\n"
           "next: nof1 lab run --sites %s/sites --plan %s/plan.yaml --map %s/map.yaml "
           "--charter %s/charter.yaml\n",
           options.folder, (unsigned)options.sites, (unsigned)options.trials, options.folder,
           options.folder, options.folder, options.folder);
    return NOF1_OK;
}

int nof1_command_lab_new(int argc, char **argv)
{
    struct nof1_error error = {.rc = NOF1_OK};
    nof1_rc_value rc = run_new(argc, argv, &error);
    return rc == NOF1_OK ? 0 : nof1_command_failed("nof1 lab new", rc, &error);
}

static nof1_rc read_run(struct nof1_lab_options *options, int argc, char **argv, bool *help,
                        struct nof1_error *error)
{
    const struct nof1_argument rows[] = {
        {"sites", "DIR", &options->sites, NULL, "folder with one CSV file a site", false},
        {"plan", "FILE[,FILE...]", &options->plan, NULL, "the plan; several run one after another",
         false},
        {"map", "FILE", &options->map, NULL, "which column is what (default names)", false},
        {"charter", "FILE", &options->charter, NULL, "the charter (derived from the CSV files)",
         false},
        {"policy", "NAME", &options->policy, NULL, "standard, ultra-rare or open (the charter's)",
         false},
        {"out", "DIR", &options->out, NULL, "write kept.csv, result.json and charter.json there",
         false},
        {"json", NULL, NULL, &options->json, "print one JSON object", false},
        {"in-process", NULL, NULL, &options->in_process, "in-memory links, one process", false},
        {"quiet", NULL, NULL, &options->quiet, "no progress on stderr", false},
        NOF1_ARGUMENTS_END};
    const struct nof1_usage_text usage = {
        "nof1 lab run --sites DIR --plan FILE[,FILE...] [--map FILE] [--charter FILE] [--policy "
        "NAME] "
        "[--out DIR] [--json] [--in-process]",
        "Run a whole consortium on this machine: a throw-away certificate authority, a "
        "coordinator\n"
        "and a vault and an edge for each CSV file, over loopback with mutual TLS; with\n"
        "--in-process the same sessions over in-memory links. Everything made is removed again.\n"
        "Policy open switches disclosure control off: for data that you may see.\n",
        rows, 0};
    TRY(nof1_arguments_read(&usage, 0, NULL, argc, argv, help, error));
    if (!*help && (options->sites == NULL || options->plan == NULL)) {
        return nof1_fail(error, NOF1_E_USAGE, "--sites and --plan are needed; usage: %s",
                         usage.synopsis);
    }
    return NOF1_OK;
}

static nof1_rc run_lab(json_t **result, struct nof1_lab *lab,
                       const struct nof1_lab_options *options, struct nof1_error *error)
{
    TRY(nof1_lab_read(lab, options, error));
    TRY(nof1_lab_agree(lab, error));
    if (options->in_process) {
        TRY(nof1_lab_local(result, lab, error));
    } else {
        TRY(nof1_lab_processes(result, lab, error));
    }
    return options->out == NULL ? NOF1_OK : nof1_lab_write(lab, *result, error);
}

int nof1_command_lab_run(int argc, char **argv)
{
    struct nof1_lab_options options = {0};
    struct nof1_error error = {.rc = NOF1_OK};
    struct nof1_lab lab = {0};
    NOF1_CLEANUP(nof1_json_freep) json_t *result = NULL;
    bool help = false;
    nof1_rc_value rc = read_run(&options, argc, argv, &help, &error);
    if (help) {
        return 0;
    }
    if (rc == NOF1_OK) {
        rc = run_lab(&result, &lab, &options, &error);
        nof1_lab_free(&lab);
    }
    if (rc != NOF1_OK) {
        return nof1_command_refused("nof1 lab run", rc, &error, options.json);
    }
    int worst = 0;
    for (size_t p = 0; p < json_array_size(result); ++p) {
        int code = nof1_command_result(json_array_get(result, p), options.json, NULL);
        worst = worst == 0 ? code : worst;
    }
    return worst;
}
