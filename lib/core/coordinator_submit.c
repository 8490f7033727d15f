/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * How a run begins: a statistician submits a plan, the census of an epoch starts by itself, or a
 * stored run is taken up again after a restart. A plan nobody on the charter signed never becomes a
 * run; the census plan is derivable by everybody and needs no signature.
 */
#include <core/coordinator_parts.h>

#include <stdlib.h>
#include <string.h>

#include <base/json.h>
#include <core/charter.h>
#include <core/epochs.h>
#include <core/plan.h>
#include <crypto/key.h>
#include <crypto/transcript.h>

#define DAY (INT64_C(86400) * 1000)

void nof1_run_free(struct run *run)
{
    if (run == NULL) {
        return;
    }
    nof1_attempt_free(run->attempt);
    nof1_query_free(run->query);
    json_decref(run->result);
    nof1_arena_free(run->arena);
    free(run);
}

/* ---- a new run ------------------------------------------------------------------------------- */

/* What a plan asks: its bytes without the moment it ends and the atoms it was made against, in
 * which alone the same question asked again differs. */
static nof1_rc question_of(uint8_t out[NOF1_HASH_BYTES], struct nof1_slice plan)
{
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer bytes = {0};
    NOF1_CLEANUP(nof1_json_freep) json_t *asked =
        json_loadb((const char *)plan.data, plan.length, 0, NULL);
    (void)json_object_del(asked, "not_after");
    (void)json_object_del(asked, "atoms");
    if (asked != NULL) {
        TRY(nof1_canonical_write(&bytes, asked));
    }
    return nof1_sha256(out, asked == NULL ? plan : nof1_buffer_slice(&bytes));
}

const uint8_t *nof1_coordinator_answered(const struct nof1_coordinator *coordinator,
                                         struct nof1_slice plan, const char *statistician)
{
    uint8_t question[NOF1_HASH_BYTES];
    if (question_of(question, plan) != NOF1_OK) {
        return NULL;
    }
    for (const struct run *run = coordinator->runs; run != NULL; run = run->next) {
        if (run->state == RUN_RELEASED && !run->census && run->result != NULL &&
            strcmp(run->statistician, statistician) == 0 &&
            memcmp(run->question, question, sizeof question) == 0) {
            return run->h_q;
        }
    }
    return NULL;
}

static struct run *blank_run(const struct nof1_coordinator *coordinator, struct nof1_slice plan,
                             struct nof1_slice signature, const char *statistician)
{
    struct run *run = calloc(1, sizeof *run);
    if (run == NULL) {
        return NULL;
    }
    run->arena = nof1_arena_new();
    if (run->arena != NULL) {
        run->plan = nof1_arena_copy(run->arena, plan);
        run->signature = nof1_arena_copy(run->arena, signature);
        run->statistician = nof1_arena_text(run->arena, statistician);
        run->end_due =
            nof1_arena_alloc(run->arena, coordinator->config.charter->sites, sizeof(bool));
    }
    if (run->arena == NULL || run->plan.data == NULL || run->statistician == NULL ||
        run->end_due == NULL || nof1_plan_hash(run->h_q, run->plan) != NOF1_OK ||
        question_of(run->question, run->plan) != NOF1_OK) {
        nof1_run_free(run);
        return NULL;
    }
    nof1_hex_text(run->hex, run->h_q, sizeof run->h_q);
    return run;
}

static void link_run(struct nof1_coordinator *coordinator, struct run *run)
{
    struct run **at = &coordinator->runs;
    while (*at != NULL && (*at)->submitted <= run->submitted) {
        at = &(*at)->next;
    }
    run->next = *at;
    *at = run;
}

/* The census a plan needs is that of its own epoch. */
static nof1_rc prepare(const struct nof1_coordinator *coordinator, struct run *run,
                       struct nof1_error *error)
{
    const struct nof1_charter *charter = coordinator->config.charter;
    const struct nof1_plan *plan = NULL;
    NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *arena = nof1_arena_new();
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_plan_read(&plan, arena, charter, run->plan, error));
    const struct nof1_census *census = nof1_coordinator_censuses(coordinator), *joined = NULL;
    TRY(nof1_census_join(&joined, arena, census, plan));
    run->census = strcmp(plan->analysis, NOF1_CENSUS_ANALYSIS) == 0;
    if (joined == NULL && !run->census) {
        return nof1_fail(
            error, NOF1_E_PLAN,
            "epoch: the census of epoch %u has not been taken yet: it starts by itself "
            "when all sites are online with that epoch; submit again then",
            plan->epoch);
    }
    nof1_rc_value rc = nof1_query_new(&run->query, charter, census, run->plan, error);
    return rc == NOF1_E_DECODE || rc == NOF1_E_INPUT ? NOF1_E_PLAN : rc;
}

/* From nothing, or once more after it expired or was refused: a re-run reveals nothing new. */
static nof1_rc begin(struct nof1_coordinator *coordinator, struct run *run, const char *kind)
{
    json_decref(run->result);
    run->result = NULL;
    run->refused_by = NULL;
    run->state = RUN_GATHERING;
    run->submitted = coordinator->now;
    run->since = coordinator->now;
    run->started = 0;
    run->not_before = 0;
    run->asked = 0;
    run->faults = 0;
    run->attempt_number = 0;
    memset(run->end_due, 0, coordinator->config.charter->sites * sizeof(bool));
    const struct nof1_plan *plan = run->query->study.plan;
    TRY(nof1_record_entry(coordinator, run, kind,
                          json_pack("{s:s, s:o, s:b}", "analysis", plan->analysis, "epoch",
                                    nof1_epochs_json(plan->epoch, plan->block_epoch, plan->blocks),
                                    "census", (int)run->census)));
    return nof1_record_run(coordinator, run);
}

/* ---- submit ---------------------------------------------------------------------------------- */

static const struct nof1_principal *statistician_of(const struct nof1_charter *charter,
                                                    const char *peer)
{
    for (size_t i = 0; peer != NULL && i < charter->statisticians; i++) {
        const struct nof1_principal *person = &charter->statistician[i];
        if (strcmp(person->id, peer) == 0 ||
            (person->spiffe != NULL && strcmp(person->spiffe, peer) == 0)) {
            return person;
        }
    }
    return NULL;
}

static nof1_rc check_signature(const struct nof1_principal *person, const struct nof1_event *event,
                               struct nof1_error *error)
{
    uint8_t h_q[NOF1_HASH_BYTES];
    uint8_t digest[NOF1_HASH_BYTES];
    TRY(nof1_plan_hash(h_q, event->bytes));
    TRY(nof1_submit_digest(digest, h_q));
    if (nof1_verify(person->spki, digest, event->signature) != NOF1_OK) {
        return nof1_fail(error, NOF1_E_UNAUTHORISED,
                         "the plan is not signed with the key that the charter pins for %s",
                         person->id);
    }
    return NOF1_OK;
}

/* Every run that begins is stored for ever: one account must not fill the disk. */
static nof1_rc check_rate(struct nof1_coordinator *coordinator, const struct nof1_principal *person,
                          struct nof1_error *error)
{
    const struct nof1_charter *charter = coordinator->config.charter;
    uint64_t *begun = &coordinator->submitted[person - charter->statistician];
    int64_t day = coordinator->now / DAY;
    if (coordinator->submit_day != day) {
        memset(coordinator->submitted, 0, charter->statisticians * sizeof *begun);
        coordinator->submit_day = day;
    }
    if (*begun >= NOF1_SUBMISSIONS + 2 * (uint64_t)charter->limits.max_queries_day) {
        return nof1_fail(error, NOF1_E2304, "%s has submitted too many plans today", person->id);
    }
    *begun += 1;
    return NOF1_OK;
}

/* Released: answered from the store, free. Objected: final for this plan. Running: the same run. */
static nof1_rc submit_again(struct nof1_coordinator *coordinator, struct run *run,
                            const struct nof1_principal *person, struct nof1_error *error)
{
    if (run->state == RUN_RELEASED || run->state == RUN_OBJECTED) {
        return nof1_actions_add(coordinator->actions,
                                (struct nof1_action){.kind = NOF1_ACTION_FINISH,
                                                     .bytes = nof1_slice_of(run->h_q, 32)});
    }
    if (!run_final(run)) {
        return NOF1_OK;
    }
    TRY(check_rate(coordinator, person, error));
    if (run->query == NULL) {
        TRY(prepare(coordinator, run, error));
    }
    return begin(coordinator, run, "query.submitted");
}

static nof1_rc submit_new(struct nof1_coordinator *coordinator, const struct nof1_event *event,
                          const struct nof1_principal *person, struct nof1_error *error)
{
    TRY(check_rate(coordinator, person, error));
    struct run *run = blank_run(coordinator, event->bytes, event->signature, person->id);
    ENSURE(run != NULL, NOF1_E_NO_MEMORY);
    run->submitted = coordinator->now;
    nof1_rc_value rc = prepare(coordinator, run, error);
    if (rc == NOF1_OK && run->census) {
        rc = nof1_fail(error, NOF1_E_PLAN, "analysis: the census is taken by itself");
    }
    if (rc == NOF1_OK && run->query->study.plan->not_after > 0 &&
        coordinator->now >= 1000 * run->query->study.plan->not_after) {
        rc = nof1_fail(error, NOF1_E_EXPIRED, "not_after: the plan's last moment is over");
    }
    if (rc != NOF1_OK) {
        nof1_run_free(run);
        return rc;
    }
    link_run(coordinator, run);
    TRY(begin(coordinator, run, "query.submitted"));
    return nof1_run_derive(coordinator, run);
}

nof1_rc nof1_run_submit(struct nof1_coordinator *coordinator, const struct nof1_event *event,
                        struct nof1_error *submit_error)
{
    struct nof1_error ignored = {0};
    struct nof1_error *error = submit_error == NULL ? &ignored : submit_error;
    *error = (struct nof1_error){0};
    const struct nof1_principal *person = statistician_of(coordinator->config.charter, event->peer);
    uint8_t h_q[NOF1_HASH_BYTES];
    nof1_rc_value rc = NOF1_OK;
    if (person == NULL) {
        rc = nof1_fail(error, NOF1_E_UNAUTHORISED, "the charter names no such statistician");
    } else {
        rc = check_signature(person, event, error);
    }
    if (rc == NOF1_OK) {
        TRY(nof1_plan_hash(h_q, event->bytes));
        struct run *run = nof1_run_find(coordinator, h_q);
        rc = run != NULL ? submit_again(coordinator, run, person, error)
                         : submit_new(coordinator, event, person, error);
    }
    if (rc == NOF1_E_NO_MEMORY || rc == NOF1_E_CRYPTO || rc == NOF1_E_BUG) {
        return rc;
    }
    error->rc = rc;
    return NOF1_OK;
}

/* ---- the census ------------------------------------------------------------------------------ */

nof1_rc nof1_run_census_check(const struct nof1_coordinator *coordinator, struct nof1_error *error)
{
    const struct nof1_charter *charter = coordinator->config.charter;
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer plan = {0};
    struct nof1_query *query = NULL;
    TRY(nof1_census_plan(&plan, charter, 1));
    TRY(nof1_query_new(&query, charter, NULL, nof1_buffer_slice(&plan), error));
    nof1_query_free(query);
    return NOF1_OK;
}

nof1_rc nof1_run_census(struct nof1_coordinator *coordinator)
{
    NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *arena = nof1_arena_new();
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer plan = {0};
    const uint32_t *epoch = NULL;
    uint8_t h_q[NOF1_HASH_BYTES];
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_epochs_uncounted(&epoch, coordinator, arena));
    if (epoch == NULL) {
        return NOF1_OK;
    }
    TRY(nof1_census_plan_at(&plan, coordinator->config.charter, epoch));
    TRY(nof1_plan_hash(h_q, nof1_buffer_slice(&plan)));
    struct run *run = nof1_run_find(coordinator, h_q); /* an earlier charter's has another hash */
    if (run != NULL) {
        bool again = (run->state == RUN_EXPIRED || run->state == RUN_REFUSED) &&
                     coordinator->now >= run->since + NOF1_CENSUS_PAUSE && run->query != NULL;
        return again ? begin(coordinator, run, "query.submitted") : NOF1_OK;
    }
    run = blank_run(coordinator, nof1_buffer_slice(&plan), (struct nof1_slice){0}, "");
    ENSURE(run != NULL, NOF1_E_NO_MEMORY);
    run->submitted = coordinator->now;
    nof1_rc_value rc = prepare(coordinator, run, NULL);
    if (rc != NOF1_OK) {
        nof1_run_free(run);
        return rc == NOF1_E_NO_MEMORY ? rc : NOF1_E_BUG; /* checked at the start */
    }
    link_run(coordinator, run);
    return begin(coordinator, run, "query.submitted");
}

/* ---- restart --------------------------------------------------------------------------------- */

struct restoring {
    struct nof1_coordinator *coordinator;
    struct nof1_error *error;
};

static nof1_rc_value restore_census(void *context, const char *key, struct nof1_slice value)
{
    struct restoring *restoring = context;
    (void)key;
    nof1_rc_value rc =
        nof1_coordinator_keep_census(restoring->coordinator, value, restoring->error);
    if (rc != NOF1_E_DECODE) {
        return rc;
    }
    if (restoring->error != NULL) {
        *restoring->error = (struct nof1_error){0};
    }
    return NOF1_OK; /* counted under an earlier charter: this one takes its own */
}

static nof1_rc_value restore_run(void *context, const char *key, struct nof1_slice value)
{
    struct restoring *restoring = context;
    struct nof1_coordinator *coordinator = restoring->coordinator;
    (void)key;
    struct stored_run stored;
    NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *arena = nof1_arena_new();
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_record_read(&stored, arena, value));
    struct run *run = blank_run(coordinator, stored.plan, stored.signature, stored.statistician);
    ENSURE(run != NULL, NOF1_E_NO_MEMORY);
    run->census = stored.census;
    run->submitted = stored.submitted;
    run->since = coordinator->now;
    run->started = stored.started;
    run->attempt_number = stored.attempt_number;
    run->faults = stored.faults;
    run->state = stored.state >= RUN_RELEASED ? stored.state : RUN_GATHERING;
    nof1_rc_value rc = run_final(run) ? NOF1_OK : prepare(coordinator, run, NULL);
    if (rc == NOF1_E_NO_MEMORY) {
        nof1_run_free(run);
        return rc;
    }
    if (rc != NOF1_OK) {
        /* planned under another charter: no site answers it any more */
        run->state = RUN_EXPIRED;
        run->result =
            nof1_refusal_json(NOF1_E_EXPIRED, "the plan belongs to an earlier charter", 0);
    }
    link_run(coordinator, run);
    return NOF1_OK;
}

static nof1_rc_value restore_result(void *context, const char *key, struct nof1_slice value)
{
    struct restoring *restoring = context;
    const char *hex = strchr(key, '/');
    uint8_t h_q[NOF1_HASH_BYTES];
    ENSURE(hex != NULL && nof1_hex_read(h_q, sizeof h_q, hex + 1), NOF1_E_STORE);
    struct run *run = nof1_run_find(restoring->coordinator, h_q);
    if (run != NULL && run_final(run)) {
        run->result = json_loadb((const char *)value.data, value.length, 0, NULL);
        ENSURE(run->result != NULL, NOF1_E_STORE);
    }
    return NOF1_OK;
}

static nof1_rc_value restore_entries(void *context, const char *key, struct nof1_slice value)
{
    struct restoring *restoring = context;
    (void)key;
    json_int_t entries = 0;
    NOF1_CLEANUP(nof1_json_freep) json_t *count =
        json_loadb((const char *)value.data, value.length, 0, NULL);
    ENSURE(count != NULL && json_unpack(count, "{s:I}", "entries", &entries) == 0, NOF1_E_STORE);
    restoring->coordinator->entries = (uint64_t)entries;
    return NOF1_OK;
}

nof1_rc nof1_run_restore(struct nof1_coordinator *coordinator, struct nof1_error *error)
{
    const struct nof1_store_reader *store = &coordinator->config.store;
    if (store->each == NULL) {
        return NOF1_OK;
    }
    struct restoring restoring = {coordinator, error};
    TRY(store->each(store->self, "census/", restore_census, &restoring));
    TRY(store->each(store->self, "query/", restore_run, &restoring));
    TRY(nof1_atom_lists_restore(coordinator));
    TRY(nof1_epochs_restore(coordinator));
    TRY(store->each(store->self, "result/", restore_result, &restoring));
    return store->each(store->self, "ledger/entries", restore_entries, &restoring);
}
