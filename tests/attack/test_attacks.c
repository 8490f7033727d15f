/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The attacks that the threat model names (docs/protocol.md), played against real vault sessions by
 * a coordinator that may send anything, alone or with one colluding site and a curious
 * statistician: each must end in its code, or in silence where a code would name a site.
 */
#include <core/atoms.h>
#include <sys/stat.h>
#include <sys/store.h>
#include <unistd.h>

#include "../unit/hand_violation.h"

/* ---- refusals by name ------------------------------------------------------------------------ */

/* A1: the plan's sites are fewer than this site demands. */
static const Nof1__V1__Frame *too_few_sites(struct hand *h)
{
    h->policy[0].min_sites = SITES + 1;
    hand_start(h, 0);
    return hand_offer(h, 0);
}

static void collect(struct hand *h)
{
    for (size_t s = 0; s < SITES; s++) {
        h->ad[s] = hand_offer(h, s)->key_ad;
    }
}

/* A2: everybody but one, for a difference to the roster of all. */
static const Nof1__V1__Frame *all_but_one(struct hand *h)
{
    collect(h);
    return hand_roster(h, 0, h->ad, SITES - 1);
}

/* An advertisement of `name` with a key of the attacker's, signed by `signer`. */
static const Nof1__V1__Frame *replaced_key(struct hand *h, const char *name, uint8_t key,
                                           size_t signer)
{
    Nof1__V1__KeyAd ad;
    uint8_t digest[32], signature[NOF1_SIGNATURE_MAX], x25519[32] = {key};
    size_t length = 0;
    collect(h);
    ad = *h->ad[3];
    ad.site = (char *)(uintptr_t)name;
    ad.x25519 = raw(x25519, sizeof x25519);
    const struct nof1_keyad fields = {ad.site, ad.charter.data, ad.plan.data, ad.attempt.data,
                                      ad.x25519.data, ad.nonce.data, {0}};
    MUST(nof1_keyad_digest(digest, &fields));
    MUST(nof1_sign(signature, &length, h->key[signer], digest));
    ad.signature = raw(signature, length);
    h->ad[3] = &ad;
    return hand_roster(h, 0, h->ad, SITES);
}

/* A3: a key of the coordinator's in the middle. */
static const Nof1__V1__Frame *key_in_the_middle(struct hand *h)
{
    return replaced_key(h, "s3", 9, 2);
}

/* A4: a site with a certificate, but not on the charter. */
static const Nof1__V1__Frame *sybil(struct hand *h)
{
    return replaced_key(h, "s9", 9, 3);
}

/* A19: a point that makes the shared secret zero. */
static const Nof1__V1__Frame *low_order(struct hand *h)
{
    return replaced_key(h, "s3", 0, 3);
}

/* A5: this site is shown other parameters than the others. */
static const Nof1__V1__Frame *split_view(struct hand *h)
{
    return shifted(h, 2);
}

/* A6 */
static const Nof1__V1__Frame *round_twice(struct hand *h)
{
    until(h, 1);
    hand_round(h, 1);
    Nof1__V1__RoundOpen open;
    Nof1__V1__Frame frame = hand_open_frame(h, 1, &open);
    open.n_previous = 0;
    return hand_send(h, 0, &frame);
}

/* A7: a masked vector of an earlier attempt. */
static const Nof1__V1__Frame *old_vector(struct hand *h)
{
    const Nof1__V1__Masked *old[SITES];
    until(h, 1);
    memcpy(old, h->masked, sizeof old);
    hand_attempt(h);
    until(h, 1);
    h->masked[3] = old[3];
    return hand_open(h, 0, 1);
}

/* A8: a site "drops out" after its first vector, the query goes on. */
static const Nof1__V1__Frame *dropout(struct hand *h)
{
    until(h, 1);
    Nof1__V1__RoundOpen open;
    Nof1__V1__Frame frame = hand_open_frame(h, 1, &open);
    open.n_previous = SITES - 1;
    return hand_send(h, 0, &frame);
}

/* The first round with parameters, all of them replaced by `value`. */
static const Nof1__V1__Frame *chosen_parameters(struct hand *h, double value)
{
    until(h, 1);
    while (h->parameters == 0) {
        hand_round(h, (uint32_t)h->history.rounds + 1);
        cr_assert(hand_advance(h, 1));
    }
    double *parameter = nof1_arena_alloc(h->arena, h->parameters, sizeof *parameter);
    for (size_t p = 0; p < h->parameters; p++) {
        parameter[p] = value;
    }
    h->parameter = parameter;
    return hand_open(h, 0, (uint32_t)h->history.rounds + 1);
}

/* A9: towards the pole of one trial. */
static const Nof1__V1__Frame *pole_scan(struct hand *h)
{
    return chosen_parameters(h, -0x1p-20);
}

/* A10: inside the domain, but not where the totals lead. */
static const Nof1__V1__Frame *steered(struct hand *h)
{
    return chosen_parameters(h, 0.5);
}

/* A11: more numbers than a third of what few patients have. */
static const Nof1__V1__Frame *too_many_numbers(struct hand *h)
{
    until(h, 1);
    return hand_open(h, 0, 1);
}

/* A15: a false total, vectors untouched. */
static const Nof1__V1__Frame *false_total(struct hand *h)
{
    until(h, 1);
    uint8_t *bytes = nof1_arena_alloc(h->arena, h->total.length, 1);
    memcpy(bytes, h->total.data, h->total.length);
    bytes[NOF1_RING_BYTES + 16] ^= 1;
    h->total.data = bytes;
    return hand_open(h, 0, 1);
}

/* A plan that lets the coordinator announce totals unseen. */
static const Nof1__V1__Frame *wants_replay(struct hand *h)
{
    char *text = nof1_arena_alloc(h->arena, h->plan.length + 3, 1);
    uint8_t digest[32], signature[NOF1_SIGNATURE_MAX];
    size_t length = 0;
    memcpy(text, h->plan.data, h->plan.length);
    char *at = strstr(text, "\"verify\":\"full\"");
    cr_assert_not_null(at);
    memmove(at + 17, at + 15, strlen(at + 15) + 1);
    memcpy(at, "\"verify\":\"replay\"", 17);
    h->plan = nof1_slice_text(text);
    MUST(nof1_plan_hash(h->h_q, h->plan));
    MUST(nof1_submit_digest(digest, h->h_q));
    MUST(nof1_sign(signature, &length, h->key[SITES], digest));
    h->plan_signature = nof1_arena_copy(h->arena, nof1_slice_of(signature, length));
    return hand_offer(h, 0);
}

static const struct hand_options tight = {.limits = "{max_release_ratio: 0.09}"};

static const struct violation_row attacks[] = {
    {"A1 too few sites", too_few_sites, "E2201", &plain},
    {"A2 all but one", all_but_one, "E2204", &plain},
    {"A3 key in the middle", key_in_the_middle, "E2105", &plain},
    {"A4 sybil", sybil, "E2104", &plain},
    {"A5 split view", split_view, "E2305", &rounds},
    {"A6 second request of a round", round_twice, "E2310", &plain},
    {"A7 replayed vector", old_vector, "E2503", &plain},
    {"A8 forced dropout", dropout, "E2504", &plain},
    {"A9 pole scan", pole_scan, "E2306", &rounds},
    {"A10 steered parameters", steered, "E2305", &rounds},
    {"A11 reconstruction", too_many_numbers, "E2301", &tight},
    {"A15 false total", false_total, "E2504", &plain},
    {"A19 low-order key", low_order, "E2105", &plain},
    {"totals unseen", wants_replay, "E1016", &plain},
};

Test(attacks, named_attacks_end_in_their_code, .timeout = 300)
{
    expect_refusals(attacks, sizeof attacks / sizeof attacks[0]);
}

/* A19: lengths that no frame has are not even answered, and cost no memory. */
Test(attacks, oversized_lengths_are_not_frames)
{
    struct hand *h = hand_new(&plain);
    static const uint8_t huge[][12] = {
        {0x0a, 0xff, 0xff, 0xff, 0xff, 0x07}, /* query of 2^31 - 1 bytes */
        {0x0a, 0x20, 0x00},                   /* cut short */
        {0x22, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01},
    };
    for (size_t i = 0; i < sizeof huge / sizeof huge[0]; i++) {
        cr_expect_null(hand_event(h, 0,
                                  (struct nof1_event){.kind = NOF1_EVENT_FRAME,
                                                      .bytes = nof1_slice_of(huge[i], 12)},
                                  NULL));
    }
    hand_run(h);
    hand_free(h);
}

/* ---- plans side by side ---------------------------------------------------------------------- */

static const char *plan_named(struct hand *h, const char *title)
{
    return nof1_arena_printf(h->arena,
                             "plan: 1\ntitle: %s\noutcome: y\ntreatment: {reference: \"A\", "
                             "active: [\"B\"]}\nanalysis: random_effects\ngather_by: 2h\n"
                             "deadline: 10m\n",
                             title);
}

static const char *refusal_of(const Nof1__V1__Frame *frame)
{
    cr_assert_not_null(frame);
    return frame->body_case == NOF1__V1__FRAME__BODY_REFUSAL ? frame->refusal->code : "";
}

/* What the coordinator must keep of a query while it drives another. */
struct aside {
    struct nof1_slice plan, signature;
    struct nof1_query *query;
    uint8_t h_q[32], nonce[32], h_roster[32], transcript[32];
};

static struct aside put_aside(struct hand *h)
{
    struct aside aside = {.plan = h->plan, .signature = h->plan_signature, .query = h->query};
    memcpy(aside.h_q, h->h_q, 32);
    memcpy(aside.nonce, h->nonce, 32);
    memcpy(aside.h_roster, h->h_roster, 32);
    memcpy(aside.transcript, h->transcript, 32);
    h->query = NULL;
    return aside;
}

static void take_back(struct hand *h, const struct aside *aside)
{
    nof1_query_free(h->query);
    h->query = aside->query;
    h->plan = aside->plan;
    h->plan_signature = aside->signature;
    memcpy(h->h_q, aside->h_q, 32);
    memcpy(h->nonce, aside->nonce, 32);
    memcpy(h->h_roster, aside->h_roster, 32);
    memcpy(h->transcript, aside->transcript, 32);
    h->history = (struct nof1_history){.round = h->rounds};
    h->parameters = 0;
}

/* Both plans name the atoms of before; the second starts when the first is released. Counted as if
 * nothing had been released, it would cost no ratio and could differ by one patient. */
Test(attacks, a_plan_gathered_before_a_release_does_not_start_after_it)
{
    struct hand *h = hand_new(&plain);
    hand_query(h, hand_complete(h, plan_named(h, "second"), 0, NULL));
    hand_gather(h);
    struct aside second = put_aside(h);
    hand_query(h, hand_complete(h, plan_named(h, "first"), 0, NULL));
    hand_run(h);
    hand_end(h, true);
    take_back(h, &second);
    for (size_t s = 0; s < SITES; s++) {
        cr_expect_str_eq(refusal_of(hand_open(h, s, 0)), "E2210");
    }
    hand_free(h);
}

/* A18: as many plans as the site takes are offered before the first is charged. */
Test(attacks, plans_offered_at_once_do_not_exceed_the_budget)
{
    struct hand_options options = plain;
    options.limits = "{max_queries_day: 2}";
    struct hand *h = hand_new(&options);
    struct aside plan[3];
    for (size_t i = 0; i < 3; i++) {
        hand_query(h, hand_complete(h, plan_named(h, i == 0 ? "a" : i == 1 ? "b" : "c"), 0, NULL));
        hand_gather(h);
        plan[i] = put_aside(h);
    }
    for (size_t i = 0; i < 3; i++) {
        take_back(h, &plan[i]);
        cr_expect_str_eq(refusal_of(hand_open(h, 0, 0)), i < 2 ? "" : "E2304");
    }
    hand_free(h);
}

/* A plan may list keys that nobody holds: they must not stay in the site's memory. */
Test(attacks, invented_atoms_are_not_kept)
{
    struct hand *h = hand_new(&plain);
    const char *atom[1001] = {"0"};
    for (size_t a = 1; a < 1001; a++) {
        atom[a] = nof1_arena_printf(h->arena, "invented%zu", a);
    }
    hand_query(h, hand_complete(h, plan_named(h, "many"), 1001, atom));
    hand_run(h);
    bool found = false;
    for (size_t i = 0; i < h->stores[0]; i++) {
        if (strncmp(h->store[0][i].key, "atoms/", 6) == 0) {
            found = true;
            cr_expect_lt(h->store[0][i].value.length, 2000u);
        }
    }
    cr_expect(found);
    hand_free(h);
}

/* A coordinator offers one plan with ever other nonces: the ledger must not grow with them. */
Test(attacks, an_offer_repeated_is_accepted_once_in_the_ledger)
{
    struct hand *h = hand_new(&plain);
    for (size_t i = 0; i < 20; i++) {
        hand_attempt(h);
        cr_assert_str_eq(refusal_of(hand_offer(h, 0)), "");
        cr_expect_eq(strstr(h->last_entry[0], "query.accepted") != NULL, i == 0, "offer %zu", i);
    }
    hand_free(h);
}

/* ---- one site colludes with the coordinator -------------------------------------------------- */

/* The colluding site lowers a total of round 0 to just below what site 0 may have itself: a refusal
 * by name would compare it with the counts of every site, as often as the coordinator asks. */
Test(attacks, a_forged_total_does_not_make_a_site_name_itself)
{
    static const struct hand_options uneven = {.patients = {7, 4, 4, 4, 4}, .patient_cap = 7,
                                               .preset = "ultra-rare"};
    struct hand *h = hand_new(&uneven);
    until(h, 1);
    const size_t group = h->opening.group_patients;
    cr_assert_eq(h->value[group], 23);
    tamper(h, 4, group, 6 - 23, 4); /* as many as a class needs, and fewer than site 0 has */
    hand_add(h);
    hand_advance(h, 0);
    for (size_t s = 0; s < 4; s++) {
        cr_expect_str_eq(refusal_of(hand_open(h, s, 1)), "", "site %zu", s);
        cr_expect_eq(strstr(h->last_entry[s], "E2501") != NULL, s == 0, "site %zu: %s", s,
                     h->last_entry[s]);
    }
    /* and the next attempt cannot ask with another total */
    hand_end(h, false);
    hand_attempt(h);
    until(h, 1);
    cr_expect_str_eq(refusal_of(hand_open(h, 0, 1)), "E2502");
    hand_free(h);
}

/* ---- objections ------------------------------------------------------------------------------ */

/* The list that a plan of everybody leaves. */
static size_t atoms_after(struct hand *h, const char *const **atom)
{
    size_t atoms = 0;
    uint64_t used[8] = {20}, left[8] = {0};
    MUST(nof1_atoms_after(atom, &atoms, h->arena, h->query->study.plan, h->query->model->groups,
                          used, left, true));
    return atoms;
}

/* What earlier plans have released silences a site; the same plan again must not find it talking,
 * though a re-run is charged nothing, before and after a restart. */
Test(attacks, asking_again_does_not_wear_out_an_objection)
{
    struct hand *h = hand_new(&plain);
    const char *const *atom = NULL;
    h->policy[0].max_net_ratio = 0.2; /* 2 numbers of 16 other patients: once, not twice */
    hand_start(h, 0);
    hand_run(h);
    hand_end(h, true);
    size_t atoms = atoms_after(h, &atom);
    struct nof1_slice second = hand_complete(h, plan_named(h, "second"), atoms, atom);
    for (size_t run = 0; run < 3; run++) {
        hand_query(h, second);
        until(h, 1);
        hand_round(h, 1);
        cr_expect_not_null(strstr(h->last_entry[0], "E2212"), "run %zu: %s", run,
                           h->last_entry[0]);
        cr_expect_eq(h->value[0], SITES);
        cr_expect_neq(h->value[1], (double)h->history.counts.trials, "run %zu", run);
        hand_end(h, false);
        if (run == 1) {
            hand_start(h, 0);
        }
    }
    hand_free(h);
}

/* ---- leaving --------------------------------------------------------------------------------- */

/* A patient whose numbers were released withdraws: the next freeze lacks that patient, and the sum
 * of all others, taken from the released one, would be that patient's numbers. Charges and keys of
 * the others do not show it; neither does another restart forget it. */
Test(attacks, a_withdrawn_patient_is_not_the_difference_of_two_releases)
{
    struct hand *h = hand_new(&plain);
    const char *const *atom = NULL;
    hand_run(h);
    hand_end(h, true);
    cr_assert_eq(atoms_after(h, &atom), 1);
    const char *const both[] = {atom[0], "0"};
    for (size_t s = 0; s < SITES; s++) {
        h->epoch[s].id = 2;
        if (s == 2) { /* the last one of four */
            h->epoch[s].trials = h->epoch[s].patients = 3;
        }
        hand_start(h, s);
    }
    hand_start(h, 2);
    hand_census(h);
    hand_query(h, hand_complete(h, plan_named(h, "without one"), 2, both));
    until(h, 1);
    cr_expect_eq(h->value[h->opening.atom_first], 19);
    cr_expect_eq(h->value[h->opening.atom_first + 2], 1);
    for (size_t s = 0; s < SITES; s++) {
        cr_expect_str_eq(refusal_of(hand_open(h, s, 1)), "E2210", "site %zu", s);
    }
    hand_free(h);
}

/* Two trials of one patient, one of which a plan leaves out: a difference to a plan that uses both
 * would be that trial. */
Test(attacks, a_trial_left_out_of_a_patient_counts_as_left_out)
{
    struct hand *h = hand_new(&plain);
    uint32_t *patient = (uint32_t *)(uintptr_t)h->epoch[1].patient;
    double *sex = (double *)(uintptr_t)h->epoch[1].trial[3].covariate[0];
    const double other = h->epoch[1].trial[2].covariate[0][0] > 0 ? 0 : 1;
    patient[3] = 2;
    h->epoch[1].patients = 3;
    for (size_t r = 0; r < ROWS; r++) {
        sex[r] = other;
    }
    for (size_t s = 0; s < SITES; s++) { /* a stratum of few, and looked at all the same */
        h->policy[s].assumed_colluders = h->policy[s].min_patients_honest = 0;
        hand_start(h, s);
    }
    hand_query(h, hand_complete(h, nof1_arena_printf(h->arena, "%sstrata: [%s]\n",
                                                     plan_named(h, "one stratum"),
                                                     other > 0 ? "F" : "M"), 0, NULL));
    until(h, 1);
    const double *atom = h->value + h->opening.atom_first;
    cr_expect_eq(atom[0] + atom[2], 20, "19 patients, one of them on both sides: %g and %g",
                 atom[0], atom[2]);
    hand_free(h);
}

/* The store holds patients' numbers: nobody else of the machine may read it, whatever the umask. */
Test(attacks, a_store_is_for_its_user_only)
{
    char folder[] = "/tmp/nof1-attack-XXXXXX";
    char path[64];
    struct stat info;
    struct nof1_store *store = NULL;
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/site.db", folder);
    mode_t before = umask(0);
    cr_assert_eq(nof1_store_open(&store, path, NULL), NOF1_OK);
    umask(before);
    cr_assert_eq(nof1_store_begin(store), NOF1_OK);
    cr_assert_eq(nof1_store_put(store, "a", nof1_slice_text("1")), NOF1_OK);
    cr_assert_eq(nof1_store_commit(store), NOF1_OK);
    static const char *const names[] = {"site.db", "site.db-wal", "site.db-shm"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        cr_assert_eq(stat(path, &info), 0, "%s", names[i]);
        cr_expect_eq(info.st_mode & 0777, 0600, "%s: %o", names[i], (unsigned)info.st_mode);
    }
    nof1_store_close(store);
    snprintf(path, sizeof path, "%s/site.db", folder);
    unlink(path);
    rmdir(folder);
}
