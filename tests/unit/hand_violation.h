/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Violations of the protocol as a table: what is done to site 0, and the code it must refuse with.
 * Every row runs on two data sets: a refusal may not depend on a number of the site.
 */
#ifndef NOF1_TEST_HAND_VIOLATION_H
#define NOF1_TEST_HAND_VIOLATION_H

#include "hand_query.h"

/* Each brings site 0 to the point, lies once, and returns site 0's reply. */
typedef const Nof1__V1__Frame *(*violation)(struct hand *h);

struct violation_row {
    const char *name;
    violation run;
    const char *code;
    const struct hand_options *options;
};

static inline void expect_signed(struct hand *h, const char *name, const Nof1__V1__Frame *frame)
{
    uint8_t digest[32];
    const Nof1__V1__Refusal *refusal = frame->refusal;
    MUST(nof1_refusal_digest(digest, refusal->site, frame->query.data, frame->attempt.data,
                             refusal->code));
    cr_expect_eq(nof1_verify(h->charter->site[0].vault_spki, digest,
                             nof1_slice_of(refusal->signature.data, refusal->signature.len)),
                 NOF1_OK, "%s: signature", name);
}

/* The refusal of a scenario as bytes with the signature blanked (ECDSA is not deterministic). */
static inline struct nof1_slice refusal_bytes(struct hand *h, const Nof1__V1__Frame *frame)
{
    Nof1__V1__Frame copy = *frame;
    Nof1__V1__Refusal refusal = *frame->refusal;
    refusal.signature = raw("x", 1);
    copy.refusal = &refusal;
    return hand_bytes(h, &copy);
}

/* Run every row on two data sets: its code, signed, one frame, the same bytes, and no key left. */
static inline void expect_refusals(const struct violation_row *violations, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct violation_row *row = &violations[i];
        struct hand_options other = *row->options;
        other.data_seed = 77;
        struct hand *a = hand_new(row->options), *b = hand_new(&other);
        const Nof1__V1__Frame *reply[2] = {row->run(a), row->run(b)};
        cr_assert_not_null(reply[0], "%s", row->name);
        cr_assert_eq(reply[0]->body_case, NOF1__V1__FRAME__BODY_REFUSAL, "%s", row->name);
        cr_expect_str_eq(reply[0]->refusal->code, row->code, "%s: %s (%s)", row->name,
                         reply[0]->refusal->code, reply[0]->refusal->text);
        cr_expect_eq(a->sends, 1, "%s", row->name);
        expect_signed(a, row->name, reply[0]);
        cr_expect(nof1_slice_equal(refusal_bytes(a, reply[0]), refusal_bytes(b, reply[1])),
                  "%s: the refusal depends on data", row->name);
        /* the keys are gone: whatever comes next is of no transcript */
        const Nof1__V1__Frame *after = hand_open(a, 0, 0);
        cr_expect(after->body_case == NOF1__V1__FRAME__BODY_REFUSAL &&
                      strcmp(after->refusal->code, "E2503") == 0,
                  "%s: answered after refusing", row->name);
        hand_free(a);
        hand_free(b);
    }
}

#endif
