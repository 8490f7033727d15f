/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Reading and agreeing in the lab: see lab.h.
 */
#include <tools/lab.h>

#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <core/policy.h>
#include <node/sources/csv.h>
#include <sys/files.h>

#define MOST_SITES 10000u
#define MOST_TEXT ((size_t)1 << 20)

void nof1_lab_say(const struct nof1_lab *lab, const char *format, ...)
{
    if (lab->options->quiet) {
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    (void)fputc('\n', stderr);
    va_end(arguments);
}

/* A document of people's. */
static nof1_rc read_yaml(const struct nof1_node **out, struct nof1_arena *arena, const char *path,
                         struct nof1_error *error)
{
    struct nof1_buffer NOF1_CLEANUP(nof1_buffer_free) bytes = {0};
    TRY(nof1_file_read(&bytes, path, MOST_TEXT, error));
    struct nof1_slice copy = nof1_arena_copy(arena, nof1_buffer_slice(&bytes));
    ENSURE(copy.data != NULL || copy.length == 0, NOF1_E_NO_MEMORY);
    return nof1_yaml_read(out, arena, path, copy, error);
}

static int compare_sites(const void *left, const void *right)
{
    return strcmp(((const struct nof1_lab_site *)left)->id,
                  ((const struct nof1_lab_site *)right)->id);
}

static nof1_rc add_site(struct nof1_lab *lab, const char *name, struct nof1_error *error)
{
    struct nof1_lab_site *site = &lab->site[lab->sites];
    size_t stem = strlen(name) - 4;
    char *id = nof1_arena_text(lab->arena, name);
    ENSURE(id != NULL, NOF1_E_NO_MEMORY);
    id[stem] = '\0';
    site->id = id;
    site->path = nof1_arena_printf(lab->arena, "%s/%s", lab->options->sites, name);
    ENSURE(site->path != NULL, NOF1_E_NO_MEMORY);
    if (!nof1_is_name(id)) {
        return nof1_fail_at(error, NOF1_E_INPUT, site->path, 0, 0,
                            "the file's stem is the site's name: letters, digits, _ . - expected");
    }
    ++lab->sites;
    return NOF1_OK;
}

/* One CSV a site, in order of name. */
static nof1_rc list_sites(struct nof1_lab *lab, struct nof1_error *error)
{
    const char *path = lab->options->sites;
    DIR *folder = opendir(path);
    if (folder == NULL) {
        return nof1_fail_at(error, NOF1_E_INPUT, path, 0, 0,
                            "the folder of the sites' CSV files cannot be opened");
    }
    lab->site = nof1_arena_alloc(lab->arena, MOST_SITES, sizeof *lab->site);
    nof1_rc_value rc = lab->site == NULL ? NOF1_E_NO_MEMORY : NOF1_OK;
    const struct dirent *entry;
    while (rc == NOF1_OK && (entry = readdir(folder)) != NULL) {
        size_t length = strlen(entry->d_name);
        bool csv = length > 4 && strcmp(entry->d_name + length - 4, ".csv") == 0;
        if (csv && lab->sites == MOST_SITES) {
            rc = nof1_fail_at(error, NOF1_E_INPUT, path, 0, 0, "more than %u sites", MOST_SITES);
        } else if (csv && entry->d_name[0] != '.') {
            rc = add_site(lab, entry->d_name, error);
        }
    }
    (void)closedir(folder);
    TRY(rc);
    if (lab->sites == 0) {
        return nof1_fail_at(error, NOF1_E_INPUT, path, 0, 0,
                            "no .csv file is in the folder; one for each site expected");
    }
    qsort(lab->site, lab->sites, sizeof *lab->site, compare_sites);
    return NOF1_OK;
}

static const char *plan_text(const struct nof1_node *plan, const char *outer, const char *inner)
{
    const struct nof1_node *node = plan->kind == NOF1_MAP ? nof1_node_get(plan, outer) : NULL;
    if (node != NULL && inner != NULL) {
        node = node->kind == NOF1_MAP ? nof1_node_get(node, inner) : NULL;
    }
    if (node != NULL && node->kind == NOF1_LIST && node->items > 0) {
        node = &node->item[0];
    }
    return node != NULL && node->kind == NOF1_SCALAR ? node->text : NULL;
}

/* The mapping of --map, or the default one over the first file's header. */
static nof1_rc read_map(struct nof1_lab *lab, struct nof1_error *error)
{
    if (lab->options->map != NULL) {
        const struct nof1_node *node = NULL;
        TRY(read_yaml(&node, lab->arena, lab->options->map, error));
        return nof1_map_read(&lab->map, lab->arena, node, error);
    }
    struct nof1_buffer NOF1_CLEANUP(nof1_buffer_free) bytes = {0};
    const char *const *header = NULL;
    size_t columns = 0;
    const char *outcome = plan_text(lab->plan[0], "outcome", NULL);
    TRY(nof1_file_read(&bytes, lab->site[0].path, NOF1_CSV_MOST_BYTES, error));
    TRY(nof1_csv_header(&header, &columns, lab->arena, lab->site[0].path, nof1_buffer_slice(&bytes),
                        error));
    return nof1_map_default(&lab->map, lab->arena, lab->site[0].path, columns, header,
                            outcome == NULL ? 0 : 1, &outcome, error);
}

static nof1_rc derive(struct nof1_lab *lab, struct nof1_error *error)
{
    struct nof1_lab_source *source = nof1_arena_alloc(lab->arena, lab->sites, sizeof *source);
    struct nof1_charter *charter = NULL;
    ENSURE(source != NULL, NOF1_E_NO_MEMORY);
    for (size_t s = 0; s < lab->sites; ++s) {
        source[s] = (struct nof1_lab_source){lab->site[s].id, lab->site[s].table};
    }
    const char *policy = lab->options->policy == NULL ? "standard" : lab->options->policy;
    struct nof1_lab_derive from = {.sources = lab->sites,
                                   .source = source,
                                   .policy = policy,
                                   .outcome = plan_text(lab->plan[0], "outcome", NULL),
                                   .reference = plan_text(lab->plan[0], "treatment", "reference"),
                                   .active = plan_text(lab->plan[0], "treatment", "active")};
    TRY(nof1_charter_derive(&charter, lab->arena, &from, error));
    lab->draft = *charter;
    lab->policy = charter->limits;
    lab->derived = true;
    return NOF1_OK;
}

/* The charter of --charter; --policy is then the sites' own, except that `open` is the lab's. */
static nof1_rc read_charter(struct nof1_lab *lab, struct nof1_error *error)
{
    const struct nof1_node *node = NULL;
    const struct nof1_charter *charter = NULL;
    const char *file = lab->options->charter;
    TRY(read_yaml(&node, lab->arena, file, error));
    TRY(nof1_charter_from_node(&charter, lab->arena, node, error));
    lab->draft = *charter;
    lab->policy = charter->limits;
    if (lab->options->policy != NULL) {
        if (nof1_policy_preset(&lab->policy, lab->options->policy) != NOF1_OK) {
            return nof1_fail(error, NOF1_E_USAGE,
                             "--policy: standard, ultra-rare or open expected");
        }
        if (lab->policy.open) {
            lab->draft.limits = lab->policy;
            lab->draft.lab = true;
        }
        nof1_policy_stricter(&lab->policy, &lab->policy, &lab->draft.limits);
        lab->site_policy = lab->options->policy;
    }
    if (charter->sites != lab->sites) {
        return nof1_fail_at(error, NOF1_E_INPUT, file, 0, 0,
                            "the charter has %zu sites, the folder %zu CSV files; one a site "
                            "expected",
                            charter->sites, lab->sites);
    }
    for (size_t s = 0; s < lab->sites; ++s) {
        if (strcmp(charter->site[s].id, lab->site[s].id) != 0) {
            return nof1_fail_at(error, NOF1_E_INPUT, file, 0, 0,
                                "the charter's site '%s' has no CSV file; found '%s'",
                                charter->site[s].id, lab->site[s].id);
        }
    }
    return NOF1_OK;
}

/* The files of --plan, in the order given. */
static nof1_rc read_plans(struct nof1_lab *lab, struct nof1_error *error)
{
    char *rest = nof1_arena_text(lab->arena, lab->options->plan), *save = NULL;
    size_t most = 1;
    ENSURE(rest != NULL, NOF1_E_NO_MEMORY);
    for (const char *c = rest; *c != '\0'; ++c) {
        most += *c == ',' ? 1 : 0;
    }
    const struct nof1_node **plan = nof1_arena_alloc(lab->arena, most, sizeof *plan);
    ENSURE(plan != NULL, NOF1_E_NO_MEMORY);
    for (char *file = strtok_r(rest, ",", &save); file != NULL; file = strtok_r(NULL, ",", &save)) {
        TRY(read_yaml(&plan[lab->plans++], lab->arena, file, error));
    }
    lab->plan = plan;
    return lab->plans > 0 ? NOF1_OK : nof1_fail(error, NOF1_E_USAGE, "--plan names no file");
}

nof1_rc_value nof1_lab_read(struct nof1_lab *lab, const struct nof1_lab_options *options,
                            struct nof1_error *error)
{
    *lab = (struct nof1_lab){.options = options, .arena = nof1_arena_new()};
    ENSURE(lab->arena != NULL, NOF1_E_NO_MEMORY);
    TRY(read_plans(lab, error));
    TRY(list_sites(lab, error));
    TRY(read_map(lab, error));
    for (size_t s = 0; s < lab->sites; ++s) {
        TRY(nof1_csv_load(&lab->site[s].table, lab->map, lab->site[s].path, error));
    }
    return options->charter == NULL ? derive(lab, error) : read_charter(lab, error);
}

/* A new key, and its public half in the arena. */
static nof1_rc make_key(struct nof1_lab *lab, struct nof1_key **key, struct nof1_slice *spki)
{
    struct nof1_buffer NOF1_CLEANUP(nof1_buffer_free) bytes = {0};
    TRY(nof1_key_generate(key));
    TRY(nof1_key_spki(&bytes, *key));
    *spki = nof1_arena_copy(lab->arena, nof1_buffer_slice(&bytes));
    ENSURE(spki->data != NULL, NOF1_E_NO_MEMORY);
    return NOF1_OK;
}

static nof1_rc make_keys(struct nof1_lab *lab)
{
    struct nof1_member *site = nof1_arena_alloc(lab->arena, lab->sites, sizeof *site);
    struct nof1_principal *person = nof1_arena_alloc(lab->arena, 1, sizeof *person);
    const char *study = lab->draft.study;
    ENSURE(site != NULL && person != NULL, NOF1_E_NO_MEMORY);
    for (size_t s = 0; s < lab->sites; ++s) {
        site[s] = lab->draft.site[s];
        site[s].edge_spiffe =
            nof1_arena_printf(lab->arena, "spiffe://%s/site/%s", study, site[s].id);
        ENSURE(site[s].edge_spiffe != NULL, NOF1_E_NO_MEMORY);
        TRY(make_key(lab, &lab->site[s].key, &site[s].vault_spki));
    }
    person->id = NOF1_LAB_STATISTICIAN;
    person->spiffe =
        nof1_arena_printf(lab->arena, "spiffe://%s/statistician/%s", study, person->id);
    TRY(make_key(lab, &lab->statistician, &person->spki));
    struct nof1_principal *coordinator = &lab->draft.coordinator;
    coordinator->id = "coordinator";
    coordinator->spiffe =
        nof1_arena_printf(lab->arena, "spiffe://%s/coordinator/%s", study, coordinator->id);
    TRY(make_key(lab, &lab->coordinator, &coordinator->spki));
    ENSURE(person->spiffe != NULL && coordinator->spiffe != NULL, NOF1_E_NO_MEMORY);
    lab->draft.site = site;
    lab->draft.statistician = person;
    lab->draft.statisticians = 1;
    return NOF1_OK;
}

nof1_rc_value nof1_lab_agree(struct nof1_lab *lab, struct nof1_error *error)
{
    TRY(make_keys(lab));
    if (lab->derived && !lab->options->in_process && !lab->draft.limits.open) {
        lab->draft.lab =
            false; /* for the real nof1-vault; the keys that it pins die with the run */
    }
    TRY(nof1_charter_canonical(&lab->charter_bytes, &lab->draft));
    TRY(nof1_charter_read(&lab->charter, lab->arena, nof1_buffer_slice(&lab->charter_bytes),
                          error));
    for (size_t s = 0; s < lab->sites; ++s) {
        struct nof1_lab_site *site = &lab->site[s];
        TRY(nof1_table_freeze(&site->epoch, lab->arena, site->table, lab->charter, s, 1,
                              &site->report, error));
    }
    if (lab->derived) {
        nof1_lab_say(lab,
                     "charter: lab only, derived from the CSV files (%zu sites, %zu block%s, "
                     "policy %s)",
                     lab->sites, lab->charter->blocks, lab->charter->blocks == 1 ? "" : "s",
                     lab->options->policy == NULL ? "standard" : lab->options->policy);
    }
    return NOF1_OK;
}

void nof1_lab_free(struct nof1_lab *lab)
{
    for (size_t s = 0; s < lab->sites; ++s) {
        nof1_table_free(lab->site[s].table);
        nof1_key_free(lab->site[s].key);
    }
    nof1_key_free(lab->statistician);
    nof1_key_free(lab->coordinator);
    nof1_buffer_free(&lab->charter_bytes);
    nof1_buffer_free(&lab->census);
    if (lab->arena != NULL) {
        nof1_arena_free(lab->arena);
    }
}
