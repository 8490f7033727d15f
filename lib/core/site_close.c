/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The end of a query (docs/protocol.md, "Messages", 4 and 5): every site re-adds the last vectors
 * and signs the transcript after them; without every attestation nothing is released. The census is
 * taken from the closed totals, not from what anybody says about them.
 */
#include <core/site_parts.h>

#include <string.h>

#include <core/census_analysis.h>
#include <core/epochs.h>

/* The plan's update rule says that there is no further round. */
static nof1_rc check_done(struct nof1_site *site, struct site_attempt *attempt)
{
    const struct nof1_query *query = attempt->query;
    struct nof1_next next = {0};
    TRY(query->analysis->advance(query->model, &attempt->history, attempt->arena, &next,
                                 &site->error));
    if (!next.done) {
        return nof1_fail(&site->error, NOF1_E2305, "the plan goes on");
    }
    return NOF1_OK;
}

static nof1_rc keep_census(struct nof1_site *site, const struct site_attempt *attempt)
{
    const struct nof1_charter *charter = site->config.charter;
    const struct nof1_plan *plan = attempt->query->study.plan;
    const struct nof1_census *census = NULL;
    struct nof1_buffer bytes NOF1_CLEANUP(nof1_buffer_free) = {0};
    TRY(nof1_census_from_totals(&census, site->arena, charter, plan,
                                attempt->history.round[0].total));
    TRY(nof1_census_canonical(&bytes, census, charter));
    const char *text =
        nof1_epochs_text(site->scratch, plan->epoch, plan->block_epoch, plan->blocks);
    const char *key = text == NULL ? NULL : nof1_arena_printf(site->scratch, "census/%s", text);
    ENSURE(key != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_site_add_census(site, census));
    return nof1_actions_add(site->actions,
                            (struct nof1_action){.kind = NOF1_ACTION_PUT, .peer = "", .key = key,
                                                 .bytes = nof1_buffer_slice(&bytes)});
}

static nof1_rc send_attest(struct nof1_site *site, struct site_attempt *attempt)
{
    uint8_t digest[NOF1_HASH_BYTES], signature[NOF1_SIGNATURE_MAX];
    size_t length = 0;
    const struct nof1_statement statement = {.site = site->config.id, .h_q = attempt->h_q,
                                             .h_r = attempt->h_roster,
                                             .round = (uint64_t)attempt->round,
                                             .transcript = attempt->transcript};
    TRY(nof1_attest_digest(digest, &statement));
    TRY(nof1_sign(signature, &length, site->config.key, digest));
    Nof1__V1__Attest attest = NOF1__V1__ATTEST__INIT;
    attest.site = (char *)(uintptr_t)site->config.id;
    attest.roster = (ProtobufCBinaryData){NOF1_HASH_BYTES, attempt->h_roster};
    attest.round = (uint32_t)attempt->round;
    attest.transcript = (ProtobufCBinaryData){NOF1_HASH_BYTES, attempt->transcript};
    attest.signature = (ProtobufCBinaryData){length, signature};
    Nof1__V1__Frame frame = NOF1__V1__FRAME__INIT;
    frame.query = (ProtobufCBinaryData){NOF1_HASH_BYTES, attempt->h_q};
    frame.attempt = (ProtobufCBinaryData){NOF1_HASH_BYTES, attempt->nonce};
    frame.body_case = NOF1__V1__FRAME__BODY_ATTEST;
    frame.attest = &attest;
    TRY(nof1_site_write(site, &frame, attempt->arena, &attempt->reply));
    return nof1_site_answer(site, attempt, attempt->delay, attempt->reply);
}

static nof1_rc attest_totals(struct nof1_site *site, struct site_attempt *attempt,
                             const uint8_t total_hash[NOF1_HASH_BYTES])
{
    char hex[SITE_HEX];
    TRY(nof1_transcript_next(attempt->transcript, attempt->transcript,
                             (uint64_t)attempt->round + 1, 0, NULL, total_hash));
    nof1_masker_free(attempt->masker); /* no further mask: erase now */
    attempt->masker = NULL;
    attempt->phase = SITE_ATTESTED;
    attempt->record->closed = true;
    nof1_hex_text(hex, attempt->transcript, NOF1_HASH_BYTES);
    TRY(nof1_site_put_record(site, attempt->record));
    if (attempt->query->census) {
        TRY(keep_census(site, attempt));
    }
    TRY(nof1_site_append(site, "query.attested", attempt->h_q,
                         json_pack("{s:I, s:s}", "round", (json_int_t)attempt->round,
                                   "transcript", hex)));
    return send_attest(site, attempt);
}

nof1_rc nof1_site_close(struct nof1_site *site, struct site_attempt *attempt,
                        const Nof1__V1__Frame *frame, struct nof1_slice bytes)
{
    const Nof1__V1__Close *close = frame->close;
    uint8_t total_hash[NOF1_HASH_BYTES];
    if (attempt->phase == SITE_ATTESTED) {
        ENSURE(nof1_slice_equal(bytes, attempt->request), NOF1_E2310);
        return nof1_site_is_answering(site, attempt) ? NOF1_OK
                                                     : nof1_site_resend(site, attempt->reply);
    }
    ENSURE(attempt->phase == SITE_ROUNDS && !nof1_site_is_answering(site, attempt) &&
               attempt->round >= 1 && (int64_t)close->round == attempt->round,
           NOF1_E2503);
    struct nof1_slice total = nof1_slice_of(close->total.data, close->total.len);
    TRY(nof1_site_verify(site, attempt, close->n_masked, close->masked, total));
    TRY(nof1_site_take_total(site, attempt, total, total_hash));
    TRY(check_done(site, attempt));
    attempt->request = nof1_arena_copy(attempt->arena, bytes);
    ENSURE(attempt->request.data != NULL, NOF1_E_NO_MEMORY);
    return attest_totals(site, attempt, total_hash);
}

nof1_rc nof1_site_end(struct nof1_site *site, struct site_attempt *attempt,
                      const Nof1__V1__End *end)
{
    bool released = end->released && attempt->phase == SITE_ATTESTED;
    const char *code = nof1_rc_from_code(end->code) == NOF1_RC_COUNT ? "" : end->code;
    TRY(nof1_site_append(site, "query.ended", attempt->h_q,
                         json_pack("{s:b, s:s}", "released", released ? 1 : 0, "code", code)));
    nof1_rc_value rc = nof1_rc_from_code(code);
    nof1_site_drop(site, attempt, released ? "released" : "ended",
                   rc == NOF1_RC_COUNT ? NOF1_OK : rc);
    return NOF1_OK;
}
