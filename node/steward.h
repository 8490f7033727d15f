/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the commands of the data steward share: who gives the command, the site's store, the running
 * vault, and answers as JSON. Each command reads argv from `at` on and returns the exit code.
 */
#ifndef NOF1_NODE_STEWARD_H
#define NOF1_NODE_STEWARD_H

#include <jansson.h>

#include <node/policy_store.h>
#include <sys/arguments.h>
#include <sys/daemon.h>

#define NOF1_NODE_PROGRAM "nof1-node"

struct nof1_steward {
    const char *folder;          /* --dir */
    const char *admin;           /* --admin; NULL: FOLDER/admin.sock */
    const char *by;              /* --by; NULL: the account */
    bool json;                   /* --json */
    struct nof1_arena *arena;
    struct nof1_store *store;
    struct nof1_person person;
    int64_t now;                 /* milliseconds UTC, not before the ledger's last entry */
    struct nof1_error error;
};

/* The rows --dir, --admin, --by, --json of an option table. */
#define NOF1_STEWARD_OPTIONS(steward)                                                              \
    {"dir", "DIR", &(steward)->folder, NULL, "the vault's folder", true},                          \
        {"admin",                                                                                  \
         "PATH",                                                                                   \
         &(steward)->admin,                                                                        \
         NULL,                                                                                     \
         "the vault's admin socket; default DIR/admin.sock",                                       \
         false},                                                                                   \
        {"by", "NAME", &(steward)->by, NULL, "your name, for the ledger; default: the account",    \
         false},                                                                                   \
    {                                                                                              \
        "json", NULL, NULL, &(steward)->json, "answer as JSON", false                              \
    }

/* Open the store (read_only: for looking) and find out who asks and what time it is. */
nof1_rc nof1_steward_open(struct nof1_steward *steward, bool read_only);
/* Who gives the command. Errors: NOF1_E_USAGE for a name that is no printable ASCII. */
nof1_rc nof1_steward_person(struct nof1_steward *steward);
/* Close everything; report a failure on stderr (and as JSON on stdout); the exit code. */
int nof1_steward_close(struct nof1_steward *steward, nof1_rc_value rc);
/* The running vault starts its session anew from what is stored; *running: is there one?
 * Errors: as nof1_node_ask, with what to do. */
nof1_rc nof1_steward_reload(struct nof1_steward *steward, bool *running);
/* Send one command to the vault, which must run. Takes over `request`. */
nof1_rc nof1_steward_ask(struct nof1_steward *steward, json_t **reply, json_t *request);
/* Print to stdout, indented. Takes over `value`. */
nof1_rc nof1_steward_print(json_t *value);
/* One transaction of `puts` keys (empty value: delete) and one ledger entry {kind, by, account,
 * time} with `fields`, which it takes over (NULL: none). */
struct nof1_steward_put {
    const char *key;
    struct nof1_slice value;
};
nof1_rc nof1_steward_write(struct nof1_steward *steward, size_t puts,
                           const struct nof1_steward_put *put, const char *kind, json_t *fields);
/* UTC text of milliseconds. In arena. */
const char *nof1_steward_time(struct nof1_arena *arena, int64_t milliseconds);
/* Say that something is missing; 2. */
int nof1_steward_missing(const char *what);

int nof1_command_policy(int argc, char **argv);   /* nof1-node policy ... */
int nof1_command_trial(int argc, char **argv);    /* nof1-node trial ... */
int nof1_command_egress(int argc, char **argv);   /* nof1-node egress */
int nof1_command_preview(int argc, char **argv);  /* nof1-node preview QUERY */
int nof1_command_ask(int argc, char **argv, const char *command, bool with_query);
int nof1_command_charter(int argc, char **argv);  /* nof1-node charter ... */

#endif
