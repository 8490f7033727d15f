/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The public side of the difference rule (docs/protocol.md, "Difference rule"; core/atoms.h): per
 * outcome family, the atom keys that the next plan must name. The lists hold hashes of plans only,
 * never a count; vaults keep their own and refuse a plan that lacks an atom they hold.
 */
#include <core/coordinator_parts.h>

#include <string.h>

#include <base/json.h>
#include <core/atoms.h>

static struct atom_list *list_of(const struct nof1_coordinator *coordinator, const char *family)
{
    struct atom_list *list = coordinator->atoms;
    while (list != NULL && strcmp(list->family, family) != 0) {
        list = list->next;
    }
    return list;
}

static const char *family_of(const struct nof1_charter *charter, size_t outcome)
{
    const struct nof1_outcome *o = &charter->outcome[outcome];
    return o->family != NULL && o->family[0] != 0 ? o->family : o->name;
}

struct atom_list *nof1_atom_list(const struct nof1_coordinator *coordinator, size_t outcome)
{
    return list_of(coordinator, family_of(coordinator->config.charter, outcome));
}

nof1_rc nof1_atom_lists_new(struct nof1_coordinator *coordinator)
{
    static const char *const fresh[] = {NOF1_ATOM_FRESH};
    const struct nof1_charter *charter = coordinator->config.charter;
    for (size_t o = 0; o < charter->outcomes; o++) {
        if (list_of(coordinator, family_of(charter, o)) != NULL) {
            continue;
        }
        struct atom_list *list = nof1_arena_alloc(coordinator->arena, 1, sizeof *list);
        ENSURE(list != NULL, NOF1_E_NO_MEMORY);
        list->family = family_of(charter, o);
        list->atoms = 1;
        list->atom = fresh;
        list->advance =
            nof1_arena_alloc(coordinator->arena, charter->blocks + 1, sizeof *list->advance);
        ENSURE(list->advance != NULL, NOF1_E_NO_MEMORY);
        list->next = coordinator->atoms;
        coordinator->atoms = list;
    }
    return NOF1_OK;
}

void nof1_atom_lists_free(struct nof1_coordinator *coordinator)
{
    for (struct atom_list *list = coordinator->atoms; list != NULL; list = list->next) {
        nof1_arena_free(list->arena);
        list->arena = NULL;
    }
}

/* ---- changing a list ------------------------------------------------------------------------- */

static bool names(size_t atoms, const char *const *atom, const char *key)
{
    for (size_t i = 0; i < atoms; i++) {
        if (strcmp(atom[i], key) == 0) {
            return true;
        }
    }
    return false;
}

/* A list under construction; a key that found no memory is remembered. */
struct replacement {
    struct nof1_arena *arena;
    const char **atom;
    size_t atoms;
    bool failed;
};

static void add_key(struct replacement *to, const char *key)
{
    if (!to->failed && !names(to->atoms, to->atom, key)) {
        const char *copy = nof1_arena_text(to->arena, key);
        to->failed = copy == NULL;
        to->atom[to->atoms] = copy;
        to->atoms += copy == NULL ? 0 : 1;
    }
}

/* The new keys, then those of the list that the plan did not know. */
static nof1_rc replace(struct atom_list *list, size_t known, const char *const *known_key,
                       size_t fresh, const char *const *fresh_key)
{
    struct replacement to = {.arena = nof1_arena_new()};
    ENSURE(to.arena != NULL, NOF1_E_NO_MEMORY);
    to.atom = nof1_arena_alloc(to.arena, fresh + list->atoms, sizeof *to.atom);
    to.failed = to.atom == NULL;
    for (size_t i = 0; i < fresh; i++) {
        add_key(&to, fresh_key[i]);
    }
    for (size_t i = 0; i < list->atoms; i++) {
        if (!names(known, known_key, list->atom[i])) {
            add_key(&to, list->atom[i]);
        }
    }
    if (to.failed) {
        nof1_arena_free(to.arena);
        return NOF1_E_NO_MEMORY;
    }
    nof1_arena_free(list->arena);
    list->arena = to.arena;
    list->atoms = to.atoms;
    list->atom = to.atom;
    return NOF1_OK;
}

static json_t *keys_json(const struct atom_list *list)
{
    json_t *keys = json_array();
    for (size_t i = 0; keys != NULL && i < list->atoms; i++) {
        keys = nof1_json_row(keys, json_string(list->atom[i]));
    }
    return keys;
}

static nof1_rc keep(struct nof1_coordinator *coordinator, const struct atom_list *list)
{
    NOF1_CLEANUP(nof1_json_freep) json_t *keys = keys_json(list);
    return nof1_record_put(coordinator, "atoms", list->family, keys, true);
}

/* There may be new patients, and of every atom that a release used some series may have changed. */
static nof1_rc add_changed(struct atom_list *list)
{
    NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *arena = nof1_arena_new();
    const char **key =
        arena == NULL ? NULL : nof1_arena_alloc(arena, 3 * list->atoms + 1, sizeof *key);
    char text[NOF1_ATOM_TEXT];
    size_t keys = 0;
    ENSURE(key != NULL, NOF1_E_NO_MEMORY);
    key[keys++] = NOF1_ATOM_FRESH;
    for (size_t i = 0; i < list->atoms; i++) {
        key[keys++] = list->atom[i];
        for (size_t c = 0; c < 2 && nof1_atom_released(list->atom[i]); c++) {
            nof1_atom_changed(text, list->atom[i], c == 0 ? NOF1_ATOM_ANEW : NOF1_ATOM_IN_PART);
            key[keys] = nof1_arena_text(arena, text);
            ENSURE(key[keys++] != NULL, NOF1_E_NO_MEMORY);
        }
    }
    return replace(list, list->atoms, list->atom, keys, key);
}

/* Some block has a later epoch than the last release used: its patients may have changed. */
static bool epoch_waits(const struct nof1_coordinator *coordinator, const struct atom_list *list)
{
    bool waits = false;
    for (size_t b = 0; b < coordinator->config.charter->blocks; b++) {
        waits = waits || nof1_block_pending(coordinator, b) > list->advance[b].used;
    }
    return waits;
}

static void count_patients(uint64_t *used, uint64_t *not_used, const struct run *run)
{
    const struct nof1_opening *opening = &run->attempt->opening;
    const double *total = run->attempt->closed[0].value;
    for (size_t a = 0; a < opening->atoms; a++) {
        not_used[a] = (uint64_t)nof1_opening_atom(opening, total, a, NOF1_ATOM_LEFT);
        for (size_t g = 0; g < opening->groups; g++) {
            used[a * opening->groups + g] =
                (uint64_t)nof1_opening_cell(opening, total, a, g, NOF1_ATOM_USED);
        }
    }
}

nof1_rc nof1_run_atoms(struct nof1_coordinator *coordinator, const struct run *run, bool complete)
{
    const struct nof1_plan *plan = run->query->study.plan;
    if (run->census || plan->atoms == 0) {
        return NOF1_OK;
    }
    struct attempt *attempt = run->attempt;
    struct atom_list *list =
        list_of(coordinator, family_of(coordinator->config.charter, plan->outcome));
    size_t groups = attempt->opening.groups;
    uint64_t *used =
        nof1_arena_alloc(attempt->arena, attempt->opening.atoms * groups, sizeof *used);
    uint64_t *not_used = nof1_arena_alloc(attempt->arena, attempt->opening.atoms, sizeof *used);
    const char *const *after = NULL;
    size_t atoms = 0;
    ENSURE(list != NULL && used != NULL && not_used != NULL, NOF1_E_NO_MEMORY);
    count_patients(used, not_used, run);
    complete = complete && plan->blocks == coordinator->config.charter->blocks;
    TRY(nof1_atoms_after(&after, &atoms, attempt->arena, plan, groups, used, not_used, complete));
    if (!complete) {
        /* sites that did not answer, or outside the roster, still hold the old keys */
        TRY(replace(list, plan->atoms, plan->atom, atoms, after));
        return keep(coordinator, list);
    }
    /* what the incomplete list of the same plan added goes with what the plan named */
    const char *const *before = NULL;
    size_t replaced = 0;
    TRY(nof1_atoms_after(&before, &replaced, attempt->arena, plan, groups, used, not_used, false));
    TRY(replace(list, replaced, before, atoms, after));
    TRY(epoch_waits(coordinator, list) ? add_changed(list) : NOF1_OK);
    return keep(coordinator, list);
}

nof1_rc nof1_atom_lists_epoch(struct nof1_coordinator *coordinator)
{
    for (struct atom_list *list = coordinator->atoms; list != NULL; list = list->next) {
        TRY(add_changed(list));
        TRY(keep(coordinator, list));
    }
    return NOF1_OK;
}

/* ---- order and restart ----------------------------------------------------------------------- */

bool nof1_family_busy(const struct nof1_coordinator *coordinator, const struct run *run)
{
    const struct nof1_charter *charter = coordinator->config.charter;
    if (run->census) {
        return false;
    }
    const char *family = family_of(charter, run->query->study.plan->outcome);
    for (const struct run *other = coordinator->runs; other != NULL; other = other->next) {
        if (other != run && !other->census &&
            (other->state == RUN_ROUNDS || other->state == RUN_CLOSING) &&
            strcmp(family_of(charter, other->query->study.plan->outcome), family) == 0) {
            return true;
        }
    }
    return false;
}

static nof1_rc_value restore_list(void *context, const char *key, struct nof1_slice value)
{
    struct nof1_coordinator *coordinator = context;
    const char *family = strchr(key, '/');
    ENSURE(family != NULL, NOF1_E_STORE);
    struct atom_list *list = list_of(coordinator, family + 1);
    NOF1_CLEANUP(nof1_json_freep) json_t *keys =
        json_loadb((const char *)value.data, value.length, 0, NULL);
    ENSURE(json_is_array(keys), NOF1_E_STORE);
    if (list == NULL) {
        return NOF1_OK; /* the charter no longer has the family */
    }
    NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *arena = nof1_arena_new();
    const char **atom =
        arena == NULL ? NULL : nof1_arena_alloc(arena, json_array_size(keys), sizeof *atom);
    ENSURE(atom != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < json_array_size(keys); i++) {
        atom[i] = json_string_value(json_array_get(keys, i));
        ENSURE(atom[i] != NULL, NOF1_E_STORE);
    }
    return replace(list, list->atoms, list->atom, json_array_size(keys), atom);
}

nof1_rc nof1_atom_lists_restore(struct nof1_coordinator *coordinator)
{
    const struct nof1_store_reader *store = &coordinator->config.store;
    return store->each(store->self, "atoms/", restore_list, coordinator);
}

json_t *nof1_coordinator_atoms(const struct nof1_coordinator *coordinator)
{
    json_t *families = json_object();
    for (const struct atom_list *list = coordinator->atoms; list != NULL; list = list->next) {
        json_object_set_new(families, list->family,
                            json_pack("{s:o, s:o}", "atoms", keys_json(list), "epochs",
                                      nof1_epochs_next_json(coordinator, list)));
    }
    return families;
}
