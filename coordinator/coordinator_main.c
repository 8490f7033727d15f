/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * nof1-coordinator(8): adds the masked sums of the sites up and releases totals. Commands: init,
 * charter new, sign and publish, serve, status, revoke.
 */
#include <gsl/gsl_errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <base/document.h>
#include <base/hex.h>
#include <coordinator/charter_new.h>
#include <coordinator/charters.h>
#include <coordinator/coordinator.h>
#include <sys/arguments.h>
#include <sys/daemon.h>
#include <sys/files.h>
#include <sys/memory.h>

#define PROGRAM "nof1-coordinator"
#define ROUND_TIMEOUT "30" /* seconds */
#define ROUND_TIMEOUT_MOST 3600

static const char usage[] =
    "usage: nof1-coordinator COMMAND [options]\n\n"
    "  init --dir DIR                make the folder and the key that signs charters\n"
    "  charter new --out FILE.yaml --dir DIR --study NAME --treatments A,B --outcomes LIST --sites "
    "DIR\n"
    "  charter new --out FILE.yaml --from FILE [--sites DIR --add-site IDS] [--remove-site IDS]\n"
    "                                write a charter with a comment at every key; the next "
    "version\n"
    "  charter sign --dir DIR --charter FILE.yaml --out FILE\n"
    "                                write the canonical charter and its signature\n"
    "  charter publish --dir DIR --charter FILE\n"
    "                                offer a signed later version to the sites\n"
    "  serve --config FILE | --dir DIR --listen HOST:PORT --ca FILE --cert FILE --key FILE\n"
    "        [--charter FILE] [--crl DIR] [--port-file FILE] [--round-timeout SECONDS]\n"
    "                                run the coordinator\n"
    "  status --dir DIR              what a running coordinator does, as JSON\n"
    "  revoke --dir DIR --name SPIFFE-ID\n"
    "                                let an identity in no more; cuts its stream\n\n"
    "COMMAND --help explains the options of a command. More: man nof1-coordinator\n";

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

static int run_init(int argc, char **argv, int first)
{
    const char *folder = NULL;
    const struct nof1_argument options[] = {
        {"dir", "DIR", &folder, NULL, "the coordinator's folder", true}, NOF1_ARGUMENTS_END};
    int code = nof1_command_line(
        &(struct nof1_usage_text){"nof1-coordinator init --dir DIR", "", options, 0}, 0, NULL, argc,
        argv, first);
    if (code >= 0) {
        return code;
    }
    struct nof1_buffer spki = {0};
    struct nof1_error error = {0};
    nof1_rc_value rc = nof1_coordinator_init(&spki, folder, &error);
    if (rc == NOF1_OK) {
        printf("%.*s\n", (int)spki.length, (const char *)spki.data);
        fprintf(stderr,
                "%s is ready. Its key stands in a charter under coordinator: {key: ...}.\n"
                "Next: nof1-coordinator charter new --dir %s --out FILE ..., then charter sign\n",
                folder, folder);
    }
    nof1_buffer_free(&spki);
    return report(rc, &error);
}

static int run_sign(int argc, char **argv, int first)
{
    const char *folder = NULL;
    const char *charter = NULL;
    const char *out = NULL;
    const struct nof1_argument options[] = {
        {"dir", "DIR", &folder, NULL, "the coordinator's folder, with its key", true},
        {"charter", "FILE", &charter, NULL, "the charter as people wrote it (YAML)", true},
        {"out", "FILE", &out, NULL, "where the canonical charter goes; FILE.sig is its signature",
         true},
        NOF1_ARGUMENTS_END};
    int code = nof1_command_line(
        &(struct nof1_usage_text){
            "nof1-coordinator charter sign --dir DIR --charter FILE.yaml --out FILE", "", options,
            0},
        0, NULL, argc, argv, first);
    if (code >= 0) {
        return code;
    }
    uint8_t hash[32];
    struct nof1_error error = {0};
    nof1_rc_value rc = nof1_coordinator_sign(hash, folder, charter, out, &error);
    if (rc == NOF1_OK) {
        char text[2 * sizeof hash + 1];
        nof1_hex_text(text, hash, sizeof hash);
        printf("%s\n", text);
    }
    return report(rc, &error);
}

static int run_new(int argc, char **argv, int first)
{
    struct nof1_charter_wish wish = {0};
    const struct nof1_argument options[] = {
        {"out", "FILE", &wish.out, NULL, "write there; never replaces a file", true},
        {"dir", "DIR", &wish.folder, NULL, "the coordinator's folder, with its key", false},
        {"study", "NAME", &wish.study, NULL, "letters, digits, _ . -", false},
        {"treatments", "A,B", &wish.treatments, NULL, "names as in the data", false},
        {"outcomes", "LIST", &wish.outcomes, NULL,
         "NAME:KIND:LOWEST:HIGHEST[:QUANTUM[:UNIT]], separated by commas", false},
        {"schedule", "ABAB", &wish.schedule, NULL,
         "the planned order, A for the first treatment; default: none", false},
        {"preset", "NAME", &wish.preset, NULL, "standard (default) or ultra-rare", false},
        {"sites", "DIR", &wish.sites, NULL, "one ID.pem a site: the public key of its vault",
         false},
        {"patient-cap", "N", &wish.cap, NULL, "most patients of a site in an epoch; default 20",
         false},
        {"block-size", "N", &wish.block_size, NULL,
         "sites of a block, in order of name; default the preset's least", false},
        {"statisticians", "DIR", &wish.statisticians, NULL, "one ID.pem a person: the certificate",
         false},
        {"coordinator", "ID", &wish.name, NULL, "its name in its certificate; default coordinator",
         false},
        {"effective", "TIME", &wish.effective, NULL,
         "UTC; default today, of a later version in 14 days", false},
        {"from", "FILE", &wish.from, NULL, "the version in force: write the next one", false},
        {"add-site", "IDS", &wish.add, NULL,
         "sites that join or come back, with their ID.pem in --sites", false},
        {"block", "ID", &wish.block, NULL, "the block that they join; default a new one", false},
        {"remove-site", "IDS", &wish.remove, NULL, "sites that leave", false},
        NOF1_ARGUMENTS_END};
    int code = nof1_command_line(
        &(struct nof1_usage_text){"nof1-coordinator charter new --out FILE.yaml ...", "", options,
                                  0},
        0, NULL, argc, argv, first);
    if (code >= 0) {
        return code;
    }
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer notes = {0};
    struct nof1_error error = {0};
    nof1_rc_value rc = nof1_charter_new(&notes, &wish, (int64_t)time(NULL), &error);
    if (rc == NOF1_OK) {
        fprintf(stderr, "%.*s%s is written; look through it, then: " PROGRAM " charter sign\n",
                (int)notes.length, notes.length == 0 ? "" : (const char *)notes.data, wish.out);
    }
    return report(rc, &error);
}

static int run_publish(int argc, char **argv, int first)
{
    const char *folder = NULL;
    const char *charter = NULL;
    const struct nof1_argument options[] = {
        {"dir", "DIR", &folder, NULL, "the coordinator's folder", true},
        {"charter", "FILE", &charter, NULL, "the canonical charter; its signature is FILE.sig",
         true},
        NOF1_ARGUMENTS_END};
    int code = nof1_command_line(
        &(struct nof1_usage_text){"nof1-coordinator charter publish --dir DIR --charter FILE", "",
                                  options, 0},
        0, NULL, argc, argv, first);
    if (code >= 0) {
        return code;
    }
    uint8_t hash[32];
    char text[2 * sizeof hash + 1];
    bool running = false;
    struct nof1_error error = {0};
    nof1_rc_value rc = nof1_coordinator_publish(hash, &running, folder, charter, &error);
    if (rc == NOF1_OK) {
        nof1_hex_text(text, hash, sizeof hash);
        printf("%s\n", text);
        fprintf(stderr,
                "offered to every site%s; tell them the hash above by another way. It comes into "
                "force when all have approved it: " PROGRAM " status --dir %s\n",
                running ? "" : " as soon as a coordinator runs", folder);
    }
    return report(rc, &error);
}

static int run_status(int argc, char **argv, int first)
{
    const char *folder = NULL;
    const struct nof1_argument options[] = {
        {"dir", "DIR", &folder, NULL, "the coordinator's folder", true}, NOF1_ARGUMENTS_END};
    int code = nof1_command_line(
        &(struct nof1_usage_text){"nof1-coordinator status --dir DIR", "", options, 0}, 0, NULL,
        argc, argv, first);
    if (code >= 0) {
        return code;
    }
    struct nof1_buffer reply = {0};
    struct nof1_error error = {0};
    nof1_rc_value rc = nof1_coordinator_ask(&reply, folder, "status", &error);
    if (rc == NOF1_OK) {
        printf("%.*s\n", (int)reply.length, (const char *)reply.data);
    }
    nof1_buffer_free(&reply);
    return report(rc, &error);
}

static int run_revoke(int argc, char **argv, int first)
{
    const char *folder = NULL;
    const char *name = NULL;
    const struct nof1_argument options[] = {
        {"dir", "DIR", &folder, NULL, "the coordinator's folder", true},
        {"name", "SPIFFE-ID", &name, NULL, "spiffe://STUDY/ROLE/ID", true},
        NOF1_ARGUMENTS_END};
    int code = nof1_command_line(
        &(struct nof1_usage_text){"nof1-coordinator revoke --dir DIR --name SPIFFE-ID", "", options,
                                  0},
        0, NULL, argc, argv, first);
    if (code >= 0) {
        return code;
    }
    struct nof1_error error = {0};
    return report(nof1_coordinator_revoke(folder, name, &error), &error);
}

/* ---- serve ----------------------------------------------------------------------------------- */

struct serve_option {
    const char *name;
    const char **value;
    bool required;
};

/* Fill what the command line left open from the configuration file. */
static nof1_rc read_config(struct nof1_arena *arena, const char *path,
                           const struct serve_option *option, size_t count,
                           struct nof1_error *error)
{
    const char *known[16] = {NULL};
    const struct nof1_node *node = NULL;
    struct nof1_buffer bytes = {0};
    nof1_rc_value rc = nof1_file_read(&bytes, path, (size_t)1 << 20, error);
    rc = rc == NOF1_OK ? nof1_yaml_read(&node, arena, path, nof1_buffer_slice(&bytes), error) : rc;
    nof1_buffer_free(&bytes);
    TRY(rc);
    for (size_t i = 0; i < count; i++) {
        known[i] = option[i].name;
    }
    TRY(nof1_node_only(node, known, error));
    for (size_t i = 0; i < count; i++) {
        if (*option[i].value == NULL && nof1_node_get(node, option[i].name) != NULL) {
            TRY(nof1_node_text(option[i].value, node, option[i].name, error));
        }
    }
    return NOF1_OK;
}

static nof1_rc complete(struct nof1_arena *arena, const char *config,
                        const struct serve_option *option, size_t count, struct nof1_error *error)
{
    if (config != NULL) {
        nof1_rc_value rc = read_config(arena, config, option, count, error);
        if (rc != NOF1_OK) {
            error->rc = rc == NOF1_E_INPUT ? NOF1_E_CONFIG : rc;
            return error->rc;
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (option[i].required && *option[i].value == NULL) {
            return nof1_fail(error, NOF1_E_CONFIG, "%s is missing: give --%s, or %s in --config",
                             option[i].name, option[i].name, option[i].name);
        }
    }
    return NOF1_OK;
}

static nof1_rc read_timeout(uint32_t *out, const char *text, struct nof1_error *error)
{
    char *end = NULL;
    unsigned long seconds = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || seconds < 1 || seconds > ROUND_TIMEOUT_MOST) {
        return nof1_fail(error, NOF1_E_CONFIG, "round-timeout: seconds, 1 to %d, expected",
                         ROUND_TIMEOUT_MOST);
    }
    *out = (uint32_t)seconds * 1000;
    return NOF1_OK;
}

static int run_serve(int argc, char **argv, int first)
{
    struct nof1_coordinator_settings settings = {0};
    const char *config = NULL;
    const char *timeout = NULL;
    const struct nof1_argument options[] = {
        {"config", "FILE", &config, NULL, "YAML with the keys below, without the dashes", false},
        {"dir", "DIR", &settings.folder, NULL, "the coordinator's folder", false},
        {"listen", "HOST:PORT", &settings.listen, NULL, "where sites connect; port 0: any", false},
        {"ca", "FILE", &settings.files.ca, NULL, "the consortium's authority (PEM)", false},
        {"cert", "FILE", &settings.files.cert, NULL, "the coordinator's certificate (PEM)", false},
        {"key", "FILE", &settings.files.key, NULL, "its private key (PEM, mode 0600)", false},
        {"charter", "FILE", &settings.charter, NULL,
         "the canonical charter, its signature is FILE.sig; later versions are published", false},
        {"crl", "DIR", &settings.files.crl_folder, NULL, "folder of revocation lists (PEM)", false},
        {"port-file", "FILE", &settings.port_file, NULL, "write the chosen port there", false},
        {"round-timeout", "SECONDS", &timeout, NULL,
         "what a site may take for one answer; default " ROUND_TIMEOUT ", raise it for slow sites",
         false},
        NOF1_ARGUMENTS_END};
    const struct serve_option serve[] = {
        {"dir", &settings.folder, true},        {"listen", &settings.listen, true},
        {"ca", &settings.files.ca, true},       {"cert", &settings.files.cert, true},
        {"key", &settings.files.key, true},     {"charter", &settings.charter, false},
        {"crl", &settings.files.crl_folder, false}, {"port-file", &settings.port_file, false},
        {"round-timeout", &timeout, false},
    };
    int code = nof1_command_line(
        &(struct nof1_usage_text){"nof1-coordinator serve --config FILE | --dir DIR --listen ...",
                                  "", options, 0},
        0, NULL, argc, argv, first);
    if (code >= 0) {
        return code;
    }
    struct nof1_error error = {0};
    NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *arena = nof1_arena_new();
    nof1_log_start();
    nof1_rc_value rc = arena == NULL ? NOF1_E_NO_MEMORY
                                     : complete(arena, config, serve,
                                                sizeof serve / sizeof serve[0], &error);
    rc = rc == NOF1_OK ? read_timeout(&settings.round_timeout,
                                      timeout == NULL ? ROUND_TIMEOUT : timeout, &error)
                       : rc;
    rc = rc == NOF1_OK ? nof1_coordinator_serve(&settings, &error) : rc;
    return report(rc, &error);
}

int main(int argc, char **argv)
{
    gsl_set_error_handler_off();
    nof1_json_memory();
    const char *command = argc > 1 ? argv[1] : "";
    if (strcmp(command, "--help") == 0 || strcmp(command, "help") == 0) {
        fputs(usage, stdout);
        return 0;
    }
    if (strcmp(command, "--version") == 0) {
        printf("%s %s\n", PROGRAM, NOF1_VERSION);
        return 0;
    }
    if (strcmp(command, "init") == 0) {
        return run_init(argc, argv, 2);
    }
    if (strcmp(command, "charter") == 0 && argc > 2 && strcmp(argv[2], "sign") == 0) {
        return run_sign(argc, argv, 3);
    }
    if (strcmp(command, "charter") == 0 && argc > 2 && strcmp(argv[2], "new") == 0) {
        return run_new(argc, argv, 3);
    }
    if (strcmp(command, "charter") == 0 && argc > 2 && strcmp(argv[2], "publish") == 0) {
        return run_publish(argc, argv, 3);
    }
    if (strcmp(command, "serve") == 0) {
        return run_serve(argc, argv, 2);
    }
    if (strcmp(command, "status") == 0) {
        return run_status(argc, argv, 2);
    }
    if (strcmp(command, "revoke") == 0) {
        return run_revoke(argc, argv, 2);
    }
    fputs(usage, stderr);
    return 2;
}
