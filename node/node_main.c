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
#include <sys/arguments.h>
#include <sys/daemon.h>
#include <sys/files.h>
#include <sys/memory.h>

#define PROGRAM "nof1-node"

static const char usage[] =
    "usage: nof1-node COMMAND [options]\n\n"
    "  charter show [FILE] --dir DIR the charters in force, approved, offered and refused, and "
    "what an\n"
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
    "                                answer no plan, and end what runs; answer again\n"
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
    "                                answer no plan about what is frozen by now, freeze without it "
    "from\n"
    "                                now on; it cannot be taken back\n"
    "  trial withdrawn --dir DIR     the days of totals that contained what was withdrawn, by date "
    "only\n"
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

static int source_check(int argc, char **argv, int at)
{
    struct nof1_node_source source = {0};
    const struct nof1_argument options[] = {
        {"map", "FILE", &source.map, NULL, "which column is what (YAML)", true},
        {"charter", "FILE", &source.charter, NULL, "check values against this charter too", false},
        {"site", "ID", &source.site, NULL, "this site's name on the charter", false},
        NOF1_ARGUMENTS_END};
    const struct nof1_usage_text text = {
        "nof1-node source check [FILE] --map FILE [--charter FILE] [--site ID]", "", options, 1};
    int code = nof1_command_line(&text, 1, &source.path, argc, argv, at);
    if (code >= 0) {
        return code;
    }
    struct nof1_error error = {.rc = NOF1_OK};
    return report(nof1_node_check_source(stdout, &source, &error), &error);
}

static int freeze(int argc, char **argv, int at)
{
    struct nof1_node_source source = {0};
    const char *folder = NULL;
    const struct nof1_argument options[] = {
        {"dir", "DIR", &folder, NULL, "the vault's folder", true},
        {"map", "FILE", &source.map, NULL, "which column is what (YAML)", true},
        {"site", "ID", &source.site, NULL, "this site's name on the charter", true},
        {"charter", "FILE", &source.charter, NULL,
         "the approved charter; default DIR/" NOF1_NODE_CHARTER, false},
        NOF1_ARGUMENTS_END};
    const struct nof1_usage_text text = {
        "nof1-node freeze [FILE] --dir DIR --map FILE --site ID [--charter FILE]", "", options, 1};
    int code = nof1_command_line(&text, 1, &source.path, argc, argv, at);
    if (code >= 0) {
        return code;
    }
    struct nof1_error error = {.rc = NOF1_OK};
    uint32_t id = 0;
    return report(nof1_node_freeze(&id, folder, &source, stdout, &error), &error);
}

static int patient_report(int argc, char **argv, int at)
{
    struct nof1_report_options wish = {0};
    const char *file = NULL;
    const struct nof1_argument options[] = {
        {"dir", "DIR", &wish.folder, NULL, "the vault's folder", true},
        {"result", "FILE", &wish.result, NULL,
         "the published result as JSON (bayes, random_effects, mixed_model)", true},
        {"out", "FILE", &file, NULL, "write there, readable by this user only; default: print",
         false},
        {"outcome", "NAME", &wish.outcome, NULL, "when the result does not name it", false},
        {"reference", "NAME", &wish.reference, NULL,
         "treatment compared with; when the result does not name it", false},
        {"active", "NAME", &wish.active, NULL, "treatment tried; when the result does not name it",
         false},
        {"mcid", "NUMBER", &wish.mcid, NULL,
         "smallest difference that matters to this patient; default the result's", false},
        {"json", NULL, NULL, &wish.json, "numbers instead of a page", false},
        NOF1_ARGUMENTS_END};
    const struct nof1_usage_text text = {
        "nof1-node report PATIENT --dir DIR --result FILE [--out FILE]", "", options, 0};
    int code = nof1_command_line(&text, 1, &wish.patient, argc, argv, at);
    if (code >= 0) {
        return code;
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
