/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * nof1-node(8): the commands for a hospital's IT person, data steward and clinician.
 */
#include <stdio.h>
#include <string.h>

#include <base/json.h>
#include <node/admin.h>
#include <node/report.h>
#include <node/steward.h>
#include <node/vault.h>
#include <sys/daemon.h>
#include <sys/files.h>
#include <sys/memory.h>

#define PROGRAM "nof1-node"
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char usage[] =
    "usage: nof1-node COMMAND [options]\n\n"
    "  charter show [FILE] --dir DIR the charters in force, approved, offered and refused, and what an\n"
    "                                offered one changes; of a FILE the readable summary\n"
    "  charter approve [FILE] --dir DIR --hash HASH\n"
    "                                agree to it; HASH as told by the consortium\n"
    "  charter refuse [FILE] --dir DIR [--hash HASH]\n"
    "                                never agree to it\n"
    "  source check FILE --map FILE [--charter FILE] [--site ID]\n"
    "                                read a data file, change nothing\n"
    "  freeze FILE --dir DIR --map FILE --site ID [--charter FILE]\n"
    "                                make it the next epoch of the vault\n"
    "  status --dir DIR              queries, refusals with their reasons, budget, as JSON\n"
    "  pause --dir DIR, resume --dir DIR\n"
    "                                answer no new plan; answer again\n"
    "  preview QUERY --dir DIR       every number that a waiting plan would make this site add\n"
    "  approve QUERY --dir DIR, refuse QUERY --dir DIR\n"
    "                                decide about a plan, where every plan waits for it; a refusal "
    "is final\n"
    "  egress --dir DIR              everything that ever left this site\n"
    "  policy show --dir DIR         the limits in force, and where each comes from\n"
    "  policy check FILE --dir DIR   would this be a policy, and what would it change?\n"
    "  policy edit --dir DIR         write this site's own limits; another person approves them:\n"
    "  policy approve VERSION --dir DIR --by NAME\n"
    "  trial withdraw [TRIAL] [--patient PATIENT] --dir DIR\n"
    "                                answer no plan of this epoch, and freeze without it from now "
    "on\n"
    "  trial withdrawn --dir DIR     the days of totals that contained what was withdrawn, by date only\n"
    "  trial queries [TRIAL] [--patient PATIENT] --dir DIR\n"
    "                                which analyses included it\n"
    "  report PATIENT --dir DIR --result FILE [--out FILE]\n"
    "                                the patient's own result as a page for the clinician; never "
    "sent\n\n"
    "COMMAND --help explains the options of a command.\n";

static int report(nof1_rc_value rc, struct nof1_error *error)
{
    if (rc == NOF1_OK) {
        return 0;
    }
    if (error->rc == NOF1_OK) {
        (void)nof1_fail(error, rc, "%s", nof1_rc_sentence(rc));
    }
    return nof1_report_error(PROGRAM, error);
}

/* The word at argv[at], unless it is an option; then the command misses its file. */
static const char *word_at(int argc, char **argv, int at)
{
    return at < argc && strncmp(argv[at], "--", 2) != 0 ? argv[at] : NULL;
}

static int missing(const char *what)
{
    fprintf(stderr, PROGRAM ": %s is missing (see " PROGRAM " --help)\n", what);
    return 2;
}

static int source_check(int argc, char **argv, int at)
{
    struct nof1_node_source source = {.path = word_at(argc, argv, at)};
    const struct nof1_daemon_option options[] = {
        {"map", "FILE", "which column is what (YAML)", &source.map, NULL, true},
        {"charter", "FILE", "check values against this charter too", &source.charter, NULL, false},
        {"site", "ID", "this site's name on the charter", &source.site, NULL, false}};
    int code =
        nof1_options_read(argc, argv, source.path == NULL ? at : at + 1, PROGRAM,
                          "nof1-node source check [FILE] --map FILE [--charter FILE] [--site ID]",
                          COUNT(options), options);
    if (code >= 0) {
        return code;
    }
    struct nof1_error error = {.rc = NOF1_OK};
    return report(nof1_node_check_source(stdout, &source, &error), &error);
}

static int freeze(int argc, char **argv, int at)
{
    struct nof1_node_source source = {.path = word_at(argc, argv, at)};
    const char *folder = NULL;
    const struct nof1_daemon_option options[] = {
        {"dir", "DIR", "the vault's folder", &folder, NULL, true},
        {"map", "FILE", "which column is what (YAML)", &source.map, NULL, true},
        {"site", "ID", "this site's name on the charter", &source.site, NULL, true},
        {"charter", "FILE", "the approved charter; default DIR/" NOF1_NODE_CHARTER, &source.charter,
         NULL, false}};
    int code =
        nof1_options_read(argc, argv, source.path == NULL ? at : at + 1, PROGRAM,
                          "nof1-node freeze [FILE] --dir DIR --map FILE --site ID [--charter FILE]",
                          COUNT(options), options);
    if (code >= 0) {
        return code;
    }
    struct nof1_error error = {.rc = NOF1_OK};
    uint32_t id = 0;
    return report(nof1_node_freeze(&id, folder, &source, stdout, &error), &error);
}

static int patient_report(int argc, char **argv, int at)
{
    struct nof1_report_options wish = {.patient = word_at(argc, argv, at)};
    const char *file = NULL;
    const struct nof1_daemon_option options[] = {
        {"dir", "DIR", "the vault's folder", &wish.folder, NULL, true},
        {"result", "FILE", "the published result as JSON (bayes, random_effects, mixed_model)",
         &wish.result, NULL, true},
        {"out", "FILE", "write there, readable by this user only; default: print", &file, NULL,
         false},
        {"outcome", "NAME", "when the result does not name it", &wish.outcome, NULL, false},
        {"reference", "NAME", "treatment compared with; when the result does not name it",
         &wish.reference, NULL, false},
        {"active", "NAME", "treatment tried; when the result does not name it", &wish.active, NULL,
         false},
        {"mcid", "NUMBER", "smallest difference that matters to this patient; default the result's",
         &wish.mcid, NULL, false},
        {"json", NULL, "numbers instead of a page", NULL, &wish.json, false}};
    int code = nof1_options_read(argc, argv, wish.patient == NULL ? at : at + 1, PROGRAM,
                                 "nof1-node report PATIENT --dir DIR --result FILE [--out FILE]",
                                 COUNT(options), options);
    if (code >= 0 || wish.patient == NULL) {
        return code >= 0 ? code : missing("PATIENT");
    }
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer page = {0};
    struct nof1_error error = {.rc = NOF1_OK};
    nof1_rc_value rc = nof1_node_report(&page, &wish, &error);
    if (rc == NOF1_OK && file != NULL) {
        rc = nof1_file_write(file, nof1_buffer_slice(&page), 0600, &error);
    } else if (rc == NOF1_OK && fwrite(page.data, 1, page.length, stdout) != page.length) {
        rc = nof1_fail(&error, NOF1_E_IO, "the page could not be written");
    }
    return report(rc, &error);
}

int main(int argc, char **argv)
{
    const char *first = argc > 1 ? argv[1] : "";
    const char *second = argc > 2 ? argv[2] : "";
    nof1_json_memory();
    if (strcmp(first, "charter") == 0) {
        return nof1_command_charter(argc, argv);
    }
    if (strcmp(first, "source") == 0 && strcmp(second, "check") == 0) {
        return source_check(argc, argv, 3);
    }
    if (strcmp(first, "freeze") == 0) {
        return freeze(argc, argv, 2);
    }
    if (strcmp(first, "status") == 0 || strcmp(first, "pause") == 0 ||
        strcmp(first, "resume") == 0) {
        return nof1_command_ask(argc, argv, first, false);
    }
    if (strcmp(first, "approve") == 0 || strcmp(first, "refuse") == 0) {
        return nof1_command_ask(argc, argv, first, true);
    }
    if (strcmp(first, "policy") == 0) {
        return nof1_command_policy(argc, argv);
    }
    if (strcmp(first, "trial") == 0) {
        return nof1_command_trial(argc, argv);
    }
    if (strcmp(first, "preview") == 0) {
        return nof1_command_preview(argc, argv);
    }
    if (strcmp(first, "egress") == 0) {
        return nof1_command_egress(argc, argv);
    }
    if (strcmp(first, "report") == 0) {
        return patient_report(argc, argv, 2);
    }
    if (strcmp(first, "--version") == 0) {
        printf("%s %s\n", PROGRAM, NOF1_VERSION);
        return 0;
    }
    bool help = strcmp(first, "--help") == 0 || strcmp(first, "help") == 0;
    fputs(usage, help ? stdout : stderr);
    return help ? 0 : 2;
}
