/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Which epoch of every block the next plan of an outcome family is about (docs/protocol.md,
 * "Epochs"): the last one frozen, unless a refused round 0 has shown that too few patients of the
 * block changed; then that of the last release. Proposals only: a plan may name others, and the
 * vaults decide.
 */
#include <core/coordinator_parts.h>

#include <string.h>

#include <base/json.h>
#include <core/atoms.h>
#include <core/charter.h>
#include <core/checks.h>
#include <core/epochs.h>

/* ---- what blocks have ------------------------------------------------------------------------ */

static bool all_keep(const struct nof1_coordinator *coordinator, size_t block, uint32_t epoch)
{
    const struct nof1_block *b = &coordinator->config.charter->block[block];
    bool keep = b->sites > 0;
    for (size_t s = 0; keep && s < b->sites; s++) {
        keep = coordinator->peer[b->site[s]].up &&
               nof1_peer_keeps(coordinator, b->site[s], epoch);
    }
    return keep;
}

uint32_t nof1_block_pending(const struct nof1_coordinator *coordinator, size_t block)
{
    const struct nof1_block *b = &coordinator->config.charter->block[block];
    const struct peer *peer = b->sites == 0 ? NULL : &coordinator->peer[b->site[0]];
    uint32_t last = peer != NULL && all_keep(coordinator, block, peer->epoch) ? peer->epoch : 0;
    for (size_t i = 0; peer != NULL && last == 0 && i < peer->earlier; i++) {
        last = all_keep(coordinator, block, peer->kept[i]) ? peer->kept[i] : 0;
    }
    return last;
}

static bool is_counted(const struct nof1_coordinator *coordinator, size_t block, uint32_t epoch)
{
    const struct nof1_census *census = nof1_coordinator_censuses(coordinator);
    while (census != NULL && nof1_census_block_epoch(census, block) != epoch) {
        census = census->earlier;
    }
    return census != NULL;
}

static uint32_t last_counted(const struct nof1_coordinator *coordinator, size_t block)
{
    return nof1_census_last_epoch(nof1_coordinator_censuses(coordinator), block);
}

/* A site of the block is there and says that it keeps the epoch no more. */
static bool is_gone(const struct nof1_coordinator *coordinator, size_t block, uint32_t epoch)
{
    const struct nof1_block *b = &coordinator->config.charter->block[block];
    bool gone = false;
    for (size_t s = 0; s < b->sites; s++) {
        const struct peer *peer = &coordinator->peer[b->site[s]];
        gone = gone || (peer->hello && peer->same_charter &&
                        !nof1_peer_keeps(coordinator, b->site[s], epoch));
    }
    return gone;
}

/* What the next plan of the family should ask a block. */
static uint32_t next_epoch(const struct nof1_coordinator *coordinator,
                           const struct atom_list *list, size_t block)
{
    const struct advance *at = &list->advance[block];
    uint32_t pending = nof1_block_pending(coordinator, block);
    bool stays = at->used > 0 && is_counted(coordinator, block, at->used) &&
                 !is_gone(coordinator, block, at->used);
    if (pending == 0 || !is_counted(coordinator, block, pending)) {
        return stays ? at->used : last_counted(coordinator, block);
    }
    return stays && (pending == at->held || pending < at->used) ? at->used : pending;
}

/* ---- the census ------------------------------------------------------------------------------ */

static bool fill_wanted(uint32_t *epoch, const struct nof1_coordinator *coordinator,
                        const struct atom_list *list)
{
    const struct nof1_charter *charter = coordinator->config.charter;
    bool news = false;
    for (size_t b = 0; b < charter->blocks; b++) {
        if (!nof1_charter_block_open(charter, b)) {
            continue;
        }
        uint32_t used = list == NULL ? 0 : list->advance[b].used;
        epoch[b] = used > 0 && all_keep(coordinator, b, used)
                       ? used
                       : nof1_block_pending(coordinator, b);
        if (epoch[b] == 0) {
            return false;
        }
        news = news || !is_counted(coordinator, b, epoch[b]);
    }
    return news;
}

nof1_rc nof1_epochs_uncounted(const uint32_t **out, const struct nof1_coordinator *coordinator,
                              struct nof1_arena *arena)
{
    uint32_t *epoch =
        nof1_arena_alloc(arena, coordinator->config.charter->blocks + 1, sizeof *epoch);
    ENSURE(epoch != NULL, NOF1_E_NO_MEMORY);
    bool wanted = fill_wanted(epoch, coordinator, NULL);
    for (const struct atom_list *l = coordinator->atoms; l != NULL && !wanted; l = l->next) {
        wanted = fill_wanted(epoch, coordinator,
                             l); /* under a new charter, what stays is counted, too */
    }
    *out = wanted ? epoch : NULL;
    return NOF1_OK;
}

/* Is this census the first to count a block at an epoch that a plan may ask for? */
static bool is_needed(const struct nof1_coordinator *coordinator,
                      const struct census_record *record)
{
    const struct nof1_charter *charter = coordinator->config.charter;
    for (size_t b = 0; b < charter->blocks; b++) {
        uint32_t epoch = nof1_census_block_epoch(record->census, b);
        bool first = nof1_charter_block_open(charter, b);
        for (const struct census_record *r = coordinator->census; first && r != record;
             r = r->next) {
            first = nof1_census_block_epoch(r->census, b) != epoch;
        }
        bool asked = epoch == last_counted(coordinator, b);
        for (const struct atom_list *l = coordinator->atoms; l != NULL && !asked; l = l->next) {
            asked = l->advance[b].used == epoch || l->advance[b].before == epoch;
        }
        if (first && asked) {
            return true;
        }
    }
    return false;
}

nof1_rc nof1_epochs_publish(struct nof1_coordinator *coordinator)
{
    coordinator->census_bytes.length = 0;
    for (const struct census_record *r = coordinator->census; r != NULL; r = r->next) {
        if (is_needed(coordinator, r)) {
            TRY(coordinator->census_bytes.length == 0
                    ? NOF1_OK
                    : nof1_buffer_append(&coordinator->census_bytes, "\n", 1));
            TRY(nof1_buffer_append(&coordinator->census_bytes, r->bytes.data, r->bytes.length));
        }
    }
    return NOF1_OK;
}

/* ---- how far a family has come --------------------------------------------------------------- */

static nof1_rc keep(struct nof1_coordinator *coordinator, const struct atom_list *list)
{
    const struct nof1_charter *charter = coordinator->config.charter;
    NOF1_CLEANUP(nof1_json_freep) json_t *blocks = json_object();
    for (size_t b = 0; b < charter->blocks; b++) {
        const struct advance *at = &list->advance[b];
        ENSURE(json_object_set_new(blocks, charter->block[b].id,
                                   json_pack("[I, I, I]", (json_int_t)at->used,
                                             (json_int_t)at->before, (json_int_t)at->held)) == 0,
               NOF1_E_NO_MEMORY);
    }
    TRY(nof1_record_put(coordinator, "epochs", list->family, blocks, true));
    return nof1_epochs_publish(coordinator);
}

/* The list of a plan that atoms belong to; NULL: of none. */
static struct atom_list *list_of_run(const struct nof1_coordinator *coordinator,
                                     const struct run *run)
{
    return run->census || run->query == NULL
               ? NULL
               : nof1_atom_list(coordinator, run->query->study.plan->outcome);
}

nof1_rc nof1_epochs_use(struct nof1_coordinator *coordinator, const struct run *run)
{
    struct atom_list *list = list_of_run(coordinator, run);
    const struct nof1_plan *plan = run->query->study.plan;
    bool moved = false;
    for (size_t i = 0; list != NULL && i < plan->blocks; i++) {
        struct advance *at = &list->advance[plan->block[i]];
        uint32_t epoch = nof1_plan_block_epoch(plan, i);
        if (at->used != epoch) {
            *at = (struct advance){epoch, at->used, at->held};
            moved = true;
        }
    }
    return moved ? keep(coordinator, list) : NOF1_OK;
}

nof1_rc nof1_epochs_used(struct nof1_coordinator *coordinator, const struct run *run)
{
    struct atom_list *list = list_of_run(coordinator, run);
    const struct nof1_plan *plan = run->query->study.plan;
    bool moved = false;
    for (size_t i = 0; list != NULL && i < plan->blocks; i++) {
        struct advance *at = &list->advance[plan->block[i]];
        moved = moved || at->before != at->used;
        at->before = at->used;
    }
    return moved ? keep(coordinator, list) : NOF1_OK;
}

/* ---- what a refused round 0 tells ------------------------------------------------------------ */

/* Round 0 of a run that moved blocks on; stays[i]: the roster's block i has not moved, or must
 * stay. */
struct verdict {
    const struct nof1_coordinator *coordinator;
    const struct run *run;
    const struct nof1_opening *opening;
    const double *total;
    bool *moves, *stays;
};

/* Of an atom in a block: what a group uses, or (group == groups) what is left out. */
static void count_of(double out[2], const struct verdict *v, size_t atom, size_t group,
                     size_t block)
{
    bool left = group == v->opening->groups;
    const double *at =
        v->total + (left ? nof1_opening_atom_at(v->opening, atom, block, NOF1_ATOM_USED)
                         : nof1_opening_cell_at(v->opening, atom, group, block));
    out[0] = at[left ? NOF1_ATOM_LEFT : NOF1_ATOM_USED];
    out[1] = at[left ? NOF1_ATOM_LEFT_SITES : NOF1_ATOM_USED_SITES];
}

/* Too few: then no block that holds some of them can move; those that hold what else became of the
 * same atom stay, too, because the rest of it grows when they do. */
static bool hold_few(struct verdict *v, size_t atom, size_t group)
{
    const struct nof1_plan *plan = v->run->query->study.plan;
    const struct nof1_limits *limits = &v->coordinator->config.charter->limits;
    double patients = 0, sites = 0, count[2];
    bool found = false;
    for (size_t b = 0; b < plan->blocks; b++) {
        count_of(count, v, atom, group, b);
        patients += v->stays[b] && v->moves[b] ? 0 : count[0];
        sites += v->stays[b] && v->moves[b] ? 0 : count[1];
    }
    if (nof1_atom_allowed(limits, (uint64_t)patients, (uint64_t)sites)) {
        return false;
    }
    for (size_t b = 0; b < plan->blocks; b++) {
        count_of(count, v, atom, group, b);
        if (v->moves[b] && !v->stays[b] && count[0] > 0) {
            v->stays[b] = found = true;
        }
    }
    return found;
}

/* The largest union of blocks that may move: those that remain. */
static void hold_blocks(struct verdict *v)
{
    size_t blocks = v->run->query->study.plan->blocks;
    bool found = true, any = false;
    while (found) {
        found = false;
        for (size_t a = 0; a < v->opening->atoms; a++) {
            for (size_t g = 0; g <= v->opening->groups; g++) {
                found = hold_few(v, a, g) || found;
            }
        }
        any = any || found;
    }
    for (size_t b = 0; b < blocks && !any; b++) { /* another reason, which no union heals */
        v->stays[b] = true;
    }
}

static nof1_rc hold_back(struct nof1_coordinator *coordinator, const struct run *run,
                         struct atom_list *list)
{
    struct attempt *attempt = run->attempt;
    const struct nof1_plan *plan = run->query->study.plan;
    struct verdict v = {.coordinator = coordinator, .run = run, .opening = &attempt->opening,
                        .total = attempt->closed[0].value,
                        .moves = nof1_arena_alloc(attempt->arena, plan->blocks + 1, sizeof(bool)),
                        .stays = nof1_arena_alloc(attempt->arena, plan->blocks + 1, sizeof(bool))};
    bool any = false;
    ENSURE(v.moves != NULL && v.stays != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < plan->blocks; i++) {
        const struct advance *at = &list->advance[plan->block[i]];
        v.moves[i] = at->used == nof1_plan_block_epoch(plan, i) && at->before > 0 &&
                     at->before != at->used;
        any = any || v.moves[i];
    }
    if (any && v.total[attempt->opening.unlisted] == 0) { /* else the list was at fault */
        hold_blocks(&v);
    }
    for (size_t i = 0; i < plan->blocks; i++) {
        struct advance *at = &list->advance[plan->block[i]];
        at->held = v.moves[i] && v.stays[i] ? at->used : at->held;
        at->used = at->used == nof1_plan_block_epoch(plan, i) ? at->before : at->used;
    }
    return keep(coordinator, list);
}

nof1_rc nof1_epochs_refused(struct nof1_coordinator *coordinator, const struct run *run,
                            size_t site, nof1_rc_value code)
{
    struct atom_list *list = list_of_run(coordinator, run);
    const struct attempt *attempt = run->attempt;
    if (list == NULL || attempt == NULL) {
        return NOF1_OK;
    }
    if (code == NOF1_E2210 && attempt->closed_count == 1) {
        return hold_back(coordinator, run, list);
    }
    size_t block = nof1_charter_block_of(coordinator->config.charter, site);
    uint32_t pending = nof1_block_pending(coordinator, block);
    if (code != NOF1_E_PLAN || run->state != RUN_OPENING || list->advance[block].used >= pending) {
        return NOF1_OK;
    }
    /* a release has moved this block on, and its last answer was lost */
    list->advance[block] = (struct advance){.used = pending, .before = pending};
    return keep(coordinator, list);
}

/* ---- restart, and what people see ------------------------------------------------------------ */

static nof1_rc_value restore_list(void *context, const char *key, struct nof1_slice value)
{
    struct nof1_coordinator *coordinator = context;
    const struct nof1_charter *charter = coordinator->config.charter;
    const char *family = strchr(key, '/');
    ENSURE(family != NULL, NOF1_E_STORE);
    struct atom_list *list = coordinator->atoms;
    while (list != NULL && strcmp(list->family, family + 1) != 0) {
        list = list->next;
    }
    NOF1_CLEANUP(nof1_json_freep) json_t *blocks =
        json_loadb((const char *)value.data, value.length, 0, NULL);
    ENSURE(json_is_object(blocks), NOF1_E_STORE);
    for (size_t b = 0; list != NULL && b < charter->blocks; b++) {
        json_int_t used = 0, before = 0, held = 0;
        json_t *at = json_object_get(blocks, charter->block[b].id);
        ENSURE(at == NULL || json_unpack(at, "[I, I, I]", &used, &before, &held) == 0,
               NOF1_E_STORE);
        list->advance[b] = (struct advance){(uint32_t)used, (uint32_t)before, (uint32_t)held};
    }
    return NOF1_OK;
}

nof1_rc nof1_epochs_restore(struct nof1_coordinator *coordinator)
{
    const struct nof1_store_reader *store = &coordinator->config.store;
    TRY(store->each(store->self, "epochs/", restore_list, coordinator));
    return nof1_epochs_publish(coordinator);
}

json_t *nof1_epochs_next_json(const struct nof1_coordinator *coordinator,
                              const struct atom_list *list)
{
    const struct nof1_charter *charter = coordinator->config.charter;
    json_t *blocks = json_object();
    for (size_t b = 0; b < charter->blocks; b++) {
        uint32_t epoch = next_epoch(coordinator, list, b);
        if (nof1_charter_block_open(charter, b) && epoch > 0) {
            json_object_set_new(blocks, charter->block[b].id, json_integer((json_int_t)epoch));
        }
    }
    return blocks;
}

json_t *nof1_coordinator_epochs(const struct nof1_coordinator *coordinator)
{
    const struct nof1_charter *charter = coordinator->config.charter;
    json_t *rows = json_array();
    for (const struct atom_list *l = coordinator->atoms; rows != NULL && l != NULL; l = l->next) {
        for (size_t b = 0; rows != NULL && b < charter->blocks; b++) {
            uint32_t next = next_epoch(coordinator, l, b);
            const struct advance *at = &l->advance[b];
            bool waits = at->held > at->used && at->held == nof1_block_pending(coordinator, b);
            rows = nof1_json_row(rows, json_pack("{s:s, s:s, s:I, s:s}", "family", l->family,
                                                 "block", charter->block[b].id, "epoch",
                                                 (json_int_t)next, "next", waits ? "not yet" : ""));
        }
    }
    return rows;
}
