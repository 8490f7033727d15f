/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * How attempts and runs end (docs/architecture.md, "Durability"). A fault ends the attempt and the
 * next one starts by itself; a policy, an objection or the deadline ends the run. What a run ends
 * with is stored and logged before anybody is told.
 */
#include <core/coordinator_parts.h>

#include <stdio.h>
#include <string.h>

#include <base/json.h>
#include <base/time.h>
#include <crypto/transcript.h>

#define BACK_OFF 100            /* milliseconds before the second attempt; doubles */
#define BACK_OFF_MAX 10000
#define DAY (INT64_C(86400) * 1000)

/* ---- attempts -------------------------------------------------------------------------------- */

static nof1_rc write_end(struct nof1_coordinator *coordinator, const struct run *run,
                         struct nof1_slice *out, bool released, nof1_rc_value code)
{
    Nof1__V1__End end = NOF1__V1__END__INIT;
    end.released = released;
    end.code = (char *)(uintptr_t)(code == NOF1_OK ? "" : nof1_rc_code(code));
    Nof1__V1__Frame frame = NOF1__V1__FRAME__INIT;
    frame.query = (ProtobufCBinaryData){NOF1_HASH_BYTES, (uint8_t *)(uintptr_t)run->h_q};
    frame.attempt =
        (ProtobufCBinaryData){NOF1_HASH_BYTES, (uint8_t *)(uintptr_t)run->attempt->nonce};
    frame.body_case = NOF1__V1__FRAME__BODY_END;
    frame.end = &end;
    return nof1_frame_write(out, coordinator->actions->arena, &frame);
}

static int64_t back_off(uint32_t attempts)
{
    int64_t wait = BACK_OFF;
    for (uint32_t i = 1; i < attempts && wait < BACK_OFF_MAX; i++) {
        wait *= 2;
    }
    return wait < BACK_OFF_MAX ? wait : BACK_OFF_MAX;
}

/* Sums that fail, and totals that do not add up, are worth an entry: somebody is broken or lies. */
static nof1_rc log_incident(struct nof1_coordinator *coordinator, const struct run *run,
                            nof1_rc_value code)
{
    if (code != NOF1_E2501) {
        return NOF1_OK;
    }
    return nof1_record_entry(coordinator, run, "incident",
                             json_pack("{s:s}", "code", nof1_rc_code(code)));
}

nof1_rc nof1_run_abort(struct nof1_coordinator *coordinator, struct run *run, nof1_rc_value code)
{
    TRY(log_incident(coordinator, run, code));
    if (code == NOF1_E2501 && ++run->faults >= NOF1_FAULTS_MAX) {
        return nof1_run_refuse(coordinator, run, code, "");
    }
    struct nof1_slice end;
    TRY(write_end(coordinator, run, &end, false, code));
    TRY(nof1_run_broadcast(coordinator, run, end));
    nof1_attempt_free(run->attempt);
    run->attempt = NULL;
    run->state = RUN_GATHERING;
    run->since = coordinator->now;
    run->not_before = coordinator->now + back_off(run->attempt_number);
    return nof1_record_run(coordinator, run);
}

/* ---- final states ---------------------------------------------------------------------------- */

json_t *nof1_refusal_json(nof1_rc_value code, const char *text, int64_t retry_after)
{
    char time[NOF1_TIME_TEXT];
    nof1_time_text(time, retry_after / 1000);
    return json_pack("{s:{s:s, s:s, s:s, s:s, s:o}}", "refusal", "code", nof1_rc_code(code), "rule",
                     nof1_rc_sentence(code), "text",
                     text[0] == 0 ? nof1_rc_sentence(code) : text, "remedy",
                     nof1_rc_remedy(code), "retry_after",
                     retry_after > 0 ? json_string(time) : json_null());
}

/* Tell everybody who has heard of the last attempt; those who are away hear it when they return. */
static nof1_rc tell_end(struct nof1_coordinator *coordinator, struct run *run, bool released,
                        nof1_rc_value code)
{
    struct nof1_slice end;
    TRY(write_end(coordinator, run, &end, released, code));
    run->end_frame = nof1_arena_copy(run->arena, end);
    ENSURE(run->end_frame.data != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < run->query->sites; i++) {
        run->end_due[run->query->site[i]] = !nof1_run_ready(coordinator, run, i);
    }
    return nof1_run_broadcast(coordinator, run, end);
}

static nof1_rc finish(struct nof1_coordinator *coordinator, struct run *run, enum run_state state,
                      nof1_rc_value code, json_t *result)
{
    ENSURE(result != NULL, NOF1_E_NO_MEMORY);
    json_decref(run->result);
    run->result = result;
    run->state = state;
    run->since = coordinator->now;
    TRY(nof1_record_put(coordinator, "result", run->hex, result, false));
    TRY(nof1_record_run(coordinator, run));
    if (run->attempt != NULL) {
        TRY(tell_end(coordinator, run, state == RUN_RELEASED, code));
    }
    nof1_attempt_free(run->attempt);
    run->attempt = NULL;
    if (run->census && state != RUN_RELEASED) {
        TRY(nof1_actions_add(coordinator->actions,
                             (struct nof1_action){.kind = NOF1_ACTION_TIMER,
                                                  .at = coordinator->now + NOF1_CENSUS_PAUSE}));
    }
    return nof1_actions_add(coordinator->actions,
                            (struct nof1_action){.kind = NOF1_ACTION_FINISH,
                                                 .bytes = nof1_slice_of(run->h_q, 32)});
}

/* The daily budget is the only limit that time alone lifts. */
static int64_t retry_after(const struct nof1_coordinator *coordinator, nof1_rc_value code)
{
    return code == NOF1_E2304 ? (coordinator->now / DAY + 1) * DAY : 0;
}

nof1_rc nof1_run_refuse(struct nof1_coordinator *coordinator, struct run *run, nof1_rc_value code,
                        const char *text)
{
    TRY(nof1_record_entry(coordinator, run, "query.refused",
                          json_pack("{s:s}", "code", nof1_rc_code(code))));
    return finish(coordinator, run, RUN_REFUSED, code,
                  nof1_refusal_json(code, text, retry_after(coordinator, code)));
}

nof1_rc nof1_run_expire(struct nof1_coordinator *coordinator, struct run *run)
{
    TRY(nof1_record_entry(coordinator, run, "query.expired",
                          json_pack("{s:s}", "code", nof1_rc_code(NOF1_E_EXPIRED))));
    const char *text = run->started == 0 ? "not all sites of the roster came together before "
                                           "gather_by"
                                         : "the rounds could not be completed before the deadline";
    return finish(coordinator, run, RUN_EXPIRED, NOF1_E_EXPIRED,
                  nof1_refusal_json(NOF1_E_EXPIRED, text, 0));
}

nof1_rc nof1_run_object(struct nof1_coordinator *coordinator, struct run *run)
{
    TRY(nof1_record_entry(coordinator, run, "query.objected",
                          json_pack("{s:s}", "code", nof1_rc_code(NOF1_E2505))));
    return finish(coordinator, run, RUN_OBJECTED, NOF1_E2505,
                  nof1_refusal_json(NOF1_E2505, "", 0));
}

/* Takes over both. Stored and logged in the same list, before End is sent. */
nof1_rc nof1_run_release(struct nof1_coordinator *coordinator, struct run *run, json_t *result,
                         json_t *evidence)
{
    NOF1_CLEANUP(nof1_json_freep) json_t *proof = evidence;
    NOF1_CLEANUP(nof1_json_freep) json_t *held = result;
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer text = {0};
    uint8_t digest[NOF1_HASH_BYTES];
    ENSURE(held != NULL && proof != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_record_put(coordinator, "evidence", run->hex, proof, true));
    TRY(nof1_json_write(&text, held, false));
    TRY(nof1_sha256(digest, nof1_buffer_slice(&text)));
    const struct attempt *attempt = run->attempt; /* NULL: derived, no site took part */
    json_t *entry = json_pack("{s:o}", "result", nof1_hex_json(digest, sizeof digest));
    if (attempt != NULL && entry != NULL &&
        json_object_update_new(entry, json_pack("{s:o, s:o}", "roster",
                                                nof1_hex_json(attempt->h_roster, NOF1_HASH_BYTES),
                                                "transcript",
                                                nof1_hex_json(attempt->transcript,
                                                              NOF1_HASH_BYTES))) != 0) {
        json_decref(entry);
        return NOF1_E_NO_MEMORY;
    }
    TRY(nof1_record_entry(coordinator, run, attempt == NULL ? "result.derived" : "result.released",
                          entry));
    return finish(coordinator, run, RUN_RELEASED, NOF1_OK, json_incref(held));
}

/* ---- refusals of sites ----------------------------------------------------------------------- */

static bool retryable(nof1_rc_value code)
{
    return code == NOF1_E2503 || code == NOF1_E2501 || code == NOF1_E2310;
}

static bool refusal_belongs(const struct nof1_coordinator *coordinator, const struct run *run,
                            size_t index, const Nof1__V1__Refusal *refusal)
{
    const struct nof1_member *member = &coordinator->config.charter->site[run->query->site[index]];
    uint8_t digest[NOF1_HASH_BYTES];
    return strcmp(refusal->site, member->id) == 0 &&
           nof1_refusal_digest(digest, member->id, run->h_q, run->attempt->nonce, refusal->code) ==
               NOF1_OK &&
           nof1_run_signed(coordinator, run, index, digest, refusal->signature);
}

nof1_rc nof1_run_refusal(struct nof1_coordinator *coordinator, struct run *run, size_t index,
                         const Nof1__V1__Frame *frame)
{
    const Nof1__V1__Refusal *refusal = frame->refusal;
    if (!refusal_belongs(coordinator, run, index, refusal)) {
        return NOF1_OK;
    }
    nof1_rc_value code = nof1_rc_from_code(refusal->code);
    if (retryable(code)) {
        return nof1_run_abort(coordinator, run, code);
    }
    TRY(nof1_epochs_refused(coordinator, run, run->query->site[index], code));
    run->refused_by = coordinator->config.charter->site[run->query->site[index]].id;
    return nof1_run_refuse(coordinator, run, code, refusal->text);
}
