/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * nof1-node trial withdraw | withdrawn | queries: what a patient's no does, and which analyses a
 * trial was part of. For the hospital's own eyes.
 */
#include <node/steward.h>

#include <stdio.h>
#include <string.h>

#include <base/json.h>
#include <core/site.h>
#include <node/admin.h>
#include <node/store.h>
#include <node/vault.h>
#include <node/withdraw.h>
#include <sys/clock.h>

struct choice {
    const char *trial, *patient; /* as given; NULL: not given */
    struct nof1_epoch epoch;     /* the last, with those kept before it */
    uint32_t last;               /* the last of them that holds such trials */
    size_t trials;
    const char **id;             /* [trials] as the store names them */
    const char *owner;           /* whose they are */
};

static nof1_rc add_trial(struct choice *choice, struct nof1_steward *steward,
                         const struct nof1_epoch *epoch, size_t t)
{
    const char *owner = epoch->patient_key[epoch->patient[t]];
    if ((choice->patient != NULL && strcmp(choice->patient, owner) != 0) ||
        (choice->trial != NULL && strcmp(choice->trial, epoch->trial_key[t]) != 0)) {
        return NOF1_OK;
    }
    if (choice->owner != NULL && strcmp(choice->owner, owner) != 0) {
        return nof1_fail(&steward->error, NOF1_E_USAGE,
                         "several patients have a trial of this name: add --patient PATIENT");
    }
    const char *id = nof1_site_trial_id(steward->arena, owner, epoch->trial_key[t]);
    ENSURE(id != NULL, NOF1_E_NO_MEMORY);
    choice->owner = owner;
    choice->last = epoch->id > choice->last ? epoch->id : choice->last;
    for (size_t k = 0; k < choice->trials; ++k) {
        if (strcmp(choice->id[k], id) == 0) {
            return NOF1_OK; /* in a later epoch, too */
        }
    }
    choice->id[choice->trials++] = id;
    return NOF1_OK;
}

/* The frozen trials that are meant: one, or all of a patient, in every epoch that is kept. */
static nof1_rc choose(struct choice *choice, struct nof1_steward *steward)
{
    const struct nof1_charter *charter = NULL;
    struct nof1_slice bytes;
    const char *path =
        nof1_arena_printf(steward->arena, "%s/%s", steward->folder, NOF1_NODE_CHARTER);
    size_t most = 0;
    ENSURE(path != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_node_charter(&charter, &bytes, steward->arena, path, &steward->error));
    TRY(nof1_epoch_load(&choice->epoch, steward->arena, steward->store, charter,
                        &steward->error));
    for (const struct nof1_epoch *e = &choice->epoch; e != NULL; e = e->earlier) {
        most += e->trials;
    }
    choice->id = nof1_arena_alloc(steward->arena, most + 1, sizeof *choice->id);
    ENSURE(choice->id != NULL, NOF1_E_NO_MEMORY);
    for (const struct nof1_epoch *e = &choice->epoch; e != NULL; e = e->earlier) {
        for (size_t t = 0; t < e->trials; ++t) {
            TRY(add_trial(choice, steward, e, t));
        }
    }
    if (choice->trials == 0) {
        return nof1_fail(
            &steward->error, NOF1_E_NOT_FOUND,
            "the frozen epoch %u has no such %s; what is not frozen yet is left out of "
            "the source",
            choice->epoch.id, choice->trial == NULL ? "patient" : "trial");
    }
    return NOF1_OK;
}

/* ---- which totals contained it ------------------------------------------------------------ */

struct search {
    struct nof1_steward *steward;
    const struct choice *choice;
    json_t *found;   /* [{query, time, analysis, title, state}] */
    size_t unknown;  /* plans answered before the list of trials was kept */
};

static const char *state_of(struct nof1_steward *steward, const char *query)
{
    struct nof1_slice value;
    const char *key = nof1_arena_printf(steward->arena, "plan/%s", query);
    if (key == NULL ||
        nof1_store_get(&value, steward->arena, steward->store, key) != NOF1_OK) {
        return "unknown";
    }
    NOF1_CLEANUP(nof1_json_freep)
    json_t *record = json_loadb((const char *)value.data, value.length, 0, NULL);
    return json_is_true(json_object_get(record, "closed"))   ? "completed"
           : json_is_true(json_object_get(record, "opened")) ? "sums sent, not completed"
                                                             : "counts only";
}

static bool contains(const json_t *used, const struct choice *choice)
{
    size_t at;
    const json_t *id;
    json_array_foreach(json_object_get(used, "trials"), at, id) {
        for (size_t t = 0; t < choice->trials; ++t) {
            if (strcmp(json_string_value(id), choice->id[t]) == 0) {
                return true;
            }
        }
    }
    return false;
}

static nof1_rc_value visit_used(void *context, const char *key, struct nof1_slice value)
{
    struct search *search = context;
    const char *query = key + strlen("used/");
    NOF1_CLEANUP(nof1_json_freep)
    json_t *used = json_loadb((const char *)value.data, value.length, 0, NULL);
    ENSURE(used != NULL, NOF1_E_STORE);
    if (!contains(used, search->choice)) {
        return NOF1_OK;
    }
    int64_t time = json_integer_value(json_object_get(used, "time"));
    json_t *one = json_pack("{s:s, s:s, s:O, s:O, s:O, s:s}", "query", query, "time",
                            nof1_steward_time(search->steward->arena, time), "analysis",
                            json_object_get(used, "analysis"), "outcome",
                            json_object_get(used, "outcome"), "title",
                            json_object_get(used, "title"), "state",
                            state_of(search->steward, query));
    return one != NULL && json_array_append_new(search->found, one) == 0 ? NOF1_OK
                                                                        : NOF1_E_NO_MEMORY;
}

static nof1_rc_value visit_plan(void *context, const char *key, struct nof1_slice value)
{
    struct search *search = context;
    struct nof1_slice used;
    const char *beside =
        nof1_arena_printf(search->steward->arena, "used/%s", key + strlen("plan/"));
    ENSURE(beside != NULL, NOF1_E_NO_MEMORY);
    NOF1_CLEANUP(nof1_json_freep)
    json_t *record = json_loadb((const char *)value.data, value.length, 0, NULL);
    bool census = json_is_true(json_object_get(record, "census"));
    if (record != NULL && !census &&
        nof1_store_get(&used, search->steward->arena, search->steward->store, beside) ==
            NOF1_E_NOT_FOUND) {
        search->unknown++;
    }
    return NOF1_OK;
}

static nof1_rc find_totals(struct search *search)
{
    const struct nof1_store_reader reader = nof1_store_reader(search->steward->store);
    search->found = json_array();
    ENSURE(search->found != NULL, NOF1_E_NO_MEMORY);
    TRY(reader.each(reader.self, "used/", visit_used, search));
    return reader.each(reader.self, "plan/", visit_plan, search);
}

static nof1_rc queries(struct nof1_steward *steward, struct choice *choice)
{
    struct search search = {steward, choice, NULL, 0};
    TRY(nof1_steward_open(steward, true));
    TRY(choose(choice, steward));
    nof1_rc_value rc = find_totals(&search);
    NOF1_CLEANUP(nof1_json_freep) json_t *found = search.found;
    TRY(rc);
    if (steward->json) {
        return nof1_steward_print(json_pack("{s:b, s:O, s:I}", "ok", 1, "queries", found,
                                            "plans_before_the_list", (json_int_t)search.unknown));
    }
    size_t at;
    const json_t *one;
    json_array_foreach(found, at, one) {
        printf("%s  %s  %s of %s: %s (%s)\n", json_string_value(json_object_get(one, "query")),
               json_string_value(json_object_get(one, "time")),
               json_string_value(json_object_get(one, "analysis")),
               json_string_value(json_object_get(one, "outcome")),
               json_string_value(json_object_get(one, "title")),
               json_string_value(json_object_get(one, "state")));
    }
    printf("analyses: %zu\n", json_array_size(found));
    if (search.unknown > 0) {
        printf("%zu more were answered by an earlier version, which did not keep the list\n",
               search.unknown);
    }
    return NOF1_OK;
}

/* ---- withdraw ------------------------------------------------------------ */

/* Up to which epoch nothing is answered: an earlier withdrawal may have stopped later ones. */
static nof1_rc stop_at(uint32_t *out, struct nof1_steward *steward, uint32_t last)
{
    struct nof1_slice value;
    *out = last;
    nof1_rc_value rc = nof1_store_get(&value, steward->arena, steward->store, "stopped");
    if (rc == NOF1_E_NOT_FOUND) {
        return NOF1_OK;
    }
    TRY(rc);
    NOF1_CLEANUP(nof1_json_freep)
    json_t *before = json_loadb((const char *)value.data, value.length, 0, NULL);
    json_int_t epoch = json_integer_value(json_object_get(before, "epoch"));
    *out = epoch > last ? (uint32_t)epoch : last;
    return NOF1_OK;
}

static nof1_rc write_withdrawal(struct nof1_steward *steward, const struct choice *choice)
{
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer note = {0}, stop = {0};
    bool whole = choice->trial == NULL;
    struct nof1_steward_put put[2] = {
        {whole ? nof1_withdrawn_key(steward->arena, choice->owner, "")
               : nof1_withdrawn_key(steward->arena, choice->owner, choice->trial),
         {0}},
        {"stopped", {0}}};
    ENSURE(put[0].key != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_buffer_printf(&note, "{\"time\":%lld}", (long long)steward->now));
    uint32_t stopped = 0;
    TRY(stop_at(&stopped, steward, choice->last));
    TRY(nof1_buffer_printf(&stop, "{\"epoch\":%u}", (unsigned)stopped));
    put[0].value = nof1_buffer_slice(&note);
    put[1].value = nof1_buffer_slice(&stop);
    /* no key of a patient enters the ledger */
    return nof1_steward_write(steward, 2, put, "trial.withdrawn",
                              json_pack("{s:s, s:I}", "what", whole ? "patient" : "trial", "epoch",
                                        (json_int_t)choice->last));
}

/* Days only, each once: queries by name would tell who asked about whom. */
static json_t *days_of(const json_t *found)
{
    json_t *days = json_array();
    size_t at;
    const json_t *one;
    json_array_foreach((json_t *)(uintptr_t)found, at, one) {
        char day[16];
        snprintf(day, sizeof day, "%.10s", json_string_value(json_object_get(one, "time")));
        bool seen = false;
        for (size_t d = 0; d < json_array_size(days); ++d) {
            seen = seen || strcmp(json_string_value(json_array_get(days, d)), day) == 0;
        }
        if (!seen) {
            json_array_append_new(days, json_string(day));
        }
    }
    return days;
}

/* The days stay in the ledger: the next freeze forgets whose totals they were. */
static nof1_rc note_days(struct nof1_steward *steward, const struct choice *choice, json_t *days)
{
    struct nof1_clock clock = {0};
    TRY(nof1_store_last_time(&clock.last, steward->store)); /* the vault has written since */
    steward->now = nof1_clock_now(&clock);
    return nof1_steward_write(steward, 0, NULL, "trial.totals",
                              json_pack("{s:s, s:I, s:O}", "what",
                                        choice->trial == NULL ? "patient" : "trial", "epoch",
                                        (json_int_t)choice->last, "days", days));
}

static nof1_rc tell_withdrawal(struct nof1_steward *steward, const struct choice *choice,
                               json_t *days, bool running)
{
    if (steward->json) {
        return nof1_steward_print(json_pack("{s:b, s:I, s:I, s:b, s:o}", "ok", 1, "trials",
                                            (json_int_t)choice->trials, "epoch",
                                            (json_int_t)choice->last, "vault_runs",
                                            running ? 1 : 0, "totals_of", json_incref(days)));
    }
    printf("trials withdrawn: %zu; no plan about epoch %u or before is answered any more%s\n"
           "freeze again to go on without them: nof1-node freeze\n",
           choice->trials, choice->last, running ? "" : " (no vault runs now)");
    printf("totals that contained them and cannot be undone:%s\n",
           json_array_size(days) == 0 ? " none" : "");
    for (size_t d = 0; d < json_array_size(days); ++d) {
        printf("  %s\n", json_string_value(json_array_get(days, d)));
    }
    return NOF1_OK;
}

static nof1_rc withdraw(struct nof1_steward *steward, struct choice *choice)
{
    struct search search = {steward, choice, NULL, 0};
    bool running = false;
    TRY(nof1_steward_open(steward, false));
    TRY(choose(choice, steward));
    TRY(write_withdrawal(steward, choice));
    TRY(nof1_steward_reload(steward, &running)); /* before anything else: nothing more leaves */
    nof1_rc_value rc = find_totals(&search);
    NOF1_CLEANUP(nof1_json_freep) json_t *found = search.found;
    TRY(rc);
    NOF1_CLEANUP(nof1_json_freep) json_t *days = days_of(found);
    ENSURE(days != NULL, NOF1_E_NO_MEMORY);
    TRY(note_days(steward, choice, days));
    return tell_withdrawal(steward, choice, days, running);
}

/* ---- withdrawn ------------------------------------------------------------ */

static nof1_rc_value visit_totals(void *context, const struct nof1_entry *entry)
{
    struct search *search = context;
    if (strcmp(entry->kind, "trial.totals") != 0) {
        return NOF1_OK;
    }
    NOF1_CLEANUP(nof1_json_freep)
    json_t *body = json_loadb((const char *)entry->body.data, entry->body.length, 0, NULL);
    json_t *one = json_pack("{s:s, s:O, s:O, s:O}", "withdrawn",
                            nof1_steward_time(search->steward->arena, entry->at), "what",
                            json_object_get(body, "what"), "epoch",
                            json_object_get(body, "epoch"), "totals_of",
                            json_object_get(body, "days"));
    return one != NULL && json_array_append_new(search->found, one) == 0 ? NOF1_OK
                                                                        : NOF1_E_NO_MEMORY;
}

/* Every withdrawal with the days of the totals that contained it, whoever it was. */
static nof1_rc withdrawn(struct nof1_steward *steward)
{
    NOF1_CLEANUP(nof1_json_freep) json_t *list = json_array();
    struct search search = {steward, NULL, list, 0};
    ENSURE(list != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_steward_open(steward, true));
    TRY(nof1_store_entries(steward->store, 1, visit_totals, &search));
    if (steward->json) {
        return nof1_steward_print(json_pack("{s:b, s:O}", "ok", 1, "withdrawals", list));
    }
    size_t at, d;
    const json_t *one, *day;
    json_array_foreach(list, at, one) {
        const json_t *days = json_object_get(one, "totals_of");
        printf("%s  one %s of epoch %d; in totals of:%s",
               json_string_value(json_object_get(one, "withdrawn")),
               json_string_value(json_object_get(one, "what")),
               (int)json_integer_value(json_object_get(one, "epoch")),
               json_array_size(days) == 0 ? " none" : "");
        json_array_foreach((json_t *)(uintptr_t)days, d, day) {
            printf(" %s", json_string_value(day));
        }
        printf("\n");
    }
    printf("withdrawals: %zu\n", json_array_size(list));
    return NOF1_OK;
}

int nof1_command_trial(int argc, char **argv)
{
    const char *verb = argc > 2 ? argv[2] : "";
    bool removing = strcmp(verb, "withdraw") == 0;
    bool listing = strcmp(verb, "withdrawn") == 0;
    struct choice choice = {0};
    struct nof1_steward steward = {0};
    const struct nof1_argument options[] = {NOF1_STEWARD_OPTIONS(&steward),
                                            {listing ? NULL : "patient", "PATIENT", &choice.patient,
                                             NULL, "of this patient; without TRIAL: all of them",
                                             false},
                                            NOF1_ARGUMENTS_END};
    if (listing) {
        const struct nof1_usage_text text = {"nof1-node trial withdrawn --dir DIR", "", options, 0};
        int read = nof1_command_line(&text, 0, NULL, argc, argv, 3);
        return read >= 0 ? read : nof1_steward_close(&steward, withdrawn(&steward));
    }
    if (!removing && strcmp(verb, "queries") != 0) {
        return nof1_steward_missing("trial withdraw, withdrawn or queries");
    }
    const struct nof1_usage_text text = {
        removing ? "nof1-node trial withdraw [TRIAL] [--patient PATIENT] --dir DIR"
                 : "nof1-node trial queries [TRIAL] [--patient PATIENT] --dir DIR",
        removing ? "Answer no plan about what is frozen by now, and freeze without it from now\n"
                   "on. It cannot be taken back.\n"
                 : "",
        options, 1};
    int code = nof1_command_line(&text, 1, &choice.trial, argc, argv, 3);
    if (code >= 0) {
        return code;
    }
    if (choice.trial == NULL && choice.patient == NULL) {
        return nof1_steward_missing("TRIAL or --patient PATIENT");
    }
    return nof1_steward_close(&steward, removing ? withdraw(&steward, &choice)
                                                 : queries(&steward, &choice));
}
