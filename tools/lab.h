/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * `nof1 lab run`: a whole consortium on one machine (docs/interfaces.md). Reading and agreeing are
 * here; lab_local.c runs the sessions over in-memory links, lab_processes.c the real programs.
 */
#ifndef NOF1_TOOLS_LAB_H
#define NOF1_TOOLS_LAB_H

#include <jansson.h>

#include <core/epoch.h>
#include <core/map.h>
#include <crypto/key.h>
#include <node/freeze.h>
#include <tools/lab_charter.h>

struct nof1_lab_options {
    const char *sites;   /* folder with one CSV a site */
    const char *plan;    /* file, or several separated by commas: run one after another */
    const char *map;     /* file, NULL: default columns */
    const char *charter; /* file, NULL: derived */
    const char *policy;  /* preset, NULL: the charter's, standard when derived */
    const char *out;     /* folder for kept.csv and result.json, NULL: none; with several plans
                          * one folder below it for each, and the coordinator's log */
    bool json, in_process, quiet;
};

struct nof1_lab_site {
    const char *id;
    const char *path;
    struct nof1_table *table;
    struct nof1_epoch epoch;
    struct nof1_freeze_report report;
    struct nof1_key *key;
};

struct nof1_lab {
    struct nof1_arena *arena;
    const struct nof1_lab_options *options;
    size_t plans;
    const struct nof1_node *const
        *plan; /* [plans]; the first decides what a derived charter is for */
    const struct nof1_map *map;
    size_t sites;
    struct nof1_lab_site *site; /* ascending by id */
    struct nof1_key *statistician, *coordinator;
    bool derived;                     /* the charter is the lab's own */
    struct nof1_charter draft;        /* keys filled in, not hashed */
    struct nof1_buffer charter_bytes; /* canonical */
    const struct nof1_charter *charter;
    struct nof1_buffer census; /* canonical, once taken (in-process) */
    struct nof1_limits policy; /* of every site */
    const char *site_policy;   /* preset of the sites' own policy file, NULL: none */
    const char *said;          /* the state that stderr told last */
};

#define NOF1_LAB_STATISTICIAN "lab"

/* Read plan, mapping and CSVs; derive or read the charter. lab->arena is made here.
 * Errors: NOF1_E_INPUT and others with file and line; NOF1_E_USAGE. */
nof1_rc nof1_lab_read(struct nof1_lab *lab, const struct nof1_lab_options *options,
                      struct nof1_error *error);
/* Make keys, publish the charter, freeze every site. */
nof1_rc nof1_lab_agree(struct nof1_lab *lab, struct nof1_error *error);
/* Run the plans over in-memory links. *result: an array of what nof1_coordinator_result answers;
 * new reference. Errors: those of making the plan; NOF1_E_EXPIRED when the sessions come to a halt.
 */
nof1_rc nof1_lab_local(json_t **result, struct nof1_lab *lab, struct nof1_error *error);
/* Write kept.csv, result.json, charter.json of every plan to the --out folder. */
nof1_rc nof1_lab_write(const struct nof1_lab *lab, const json_t *results, struct nof1_error *error);
void nof1_lab_free(struct nof1_lab *lab);

/* One line on stderr, unless --quiet. Never a count of patients. */
void nof1_lab_say(const struct nof1_lab *lab, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
