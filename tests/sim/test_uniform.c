/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A site's masked vector looks like random bytes whatever the site adds (docs/protocol.md, "Why a
 * malicious coordinator learns nothing more"): share of ones, counts of byte values, counts at each
 * place of an element, and serial correlation, over vectors of a site without trials, of a site
 * with trials, and of zeros under one pair of masks. The same statistics must find what the site
 * would send without masks.
 */
#include <criterion/criterion.h>

#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <crypto/mask.h>
#include <sim.h>

#define CONSORTIA 60
#define ROUNDS 400
#define ELEMENTS 64
#define BYTE_VALUES 256
#define LEAST_P 1e-4

/* ---- statistics ------------------------------------------------------------------------------ */

struct verdict {
    size_t bytes;
    double ones, values, places, serial; /* p-values */
};

static double two_sided(double z)
{
    return 2 * gsl_cdf_ugaussian_Q(fabs(z));
}

static double of_ones(struct nof1_slice bytes)
{
    double ones = 0;
    for (size_t i = 0; i < bytes.length; i++) {
        ones += __builtin_popcount(bytes.data[i]);
    }
    double bits = 8 * (double)bytes.length;
    return two_sided((2 * ones - bits) / sqrt(bits));
}

static double of_values(struct nof1_slice bytes)
{
    double count[BYTE_VALUES] = {0}, chi = 0;
    double expected = (double)bytes.length / BYTE_VALUES;
    for (size_t i = 0; i < bytes.length; i++) {
        count[bytes.data[i]] += 1;
    }
    for (size_t v = 0; v < BYTE_VALUES; v++) {
        chi += (count[v] - expected) * (count[v] - expected) / expected;
    }
    return gsl_cdf_chisq_Q(chi, BYTE_VALUES - 1);
}

/* Ones at each of the 256 bits of an element: top bits show the sign, low bits the fraction. */
static double of_places(struct nof1_slice bytes)
{
    double ones[8 * NOF1_RING_BYTES] = {0}, chi = 0;
    double elements = (double)(bytes.length / NOF1_RING_BYTES);
    for (size_t i = 0; i < bytes.length; i++) {
        for (size_t b = 0; b < 8; b++) {
            ones[8 * (i % NOF1_RING_BYTES) + b] += bytes.data[i] >> b & 1;
        }
    }
    for (size_t b = 0; b < 8 * NOF1_RING_BYTES; b++) {
        double z = (2 * ones[b] - elements) / sqrt(elements);
        chi += z * z;
    }
    return gsl_cdf_chisq_Q(chi, 8 * NOF1_RING_BYTES);
}

/* Correlation of a byte with the next one, and with the same place of the next element. */
static double of_serial(struct nof1_slice bytes)
{
    static const size_t lags[] = {1, NOF1_RING_BYTES};
    double chi = 0, variance = (BYTE_VALUES * BYTE_VALUES - 1.0) / 12;
    for (size_t l = 0; l < 2; l++) {
        double sum = 0;
        size_t pairs = bytes.length - lags[l];
        for (size_t i = 0; i < pairs; i++) {
            sum += (bytes.data[i] - 127.5) * (bytes.data[i + lags[l]] - 127.5);
        }
        double z = sum / (variance * sqrt((double)pairs));
        chi += z * z;
    }
    return gsl_cdf_chisq_Q(chi, 2);
}

static struct verdict judge(const char *what, struct nof1_slice bytes)
{
    struct verdict v = {bytes.length, of_ones(bytes), of_values(bytes), of_places(bytes),
                        of_serial(bytes)};
    printf("%-28s %8zu bytes; p of ones %.4f, values %.4f, places %.4f, serial %.4f\n", what,
           v.bytes, v.ones, v.values, v.places, v.serial);
    return v;
}

static void expect_uniform(const char *what, struct nof1_slice bytes, size_t least)
{
    struct verdict v = judge(what, bytes);
    cr_expect(v.bytes >= least, "only %zu bytes", v.bytes);
    cr_expect(v.ones > LEAST_P && v.values > LEAST_P && v.places > LEAST_P && v.serial > LEAST_P);
}

static void expect_found(const char *what, struct nof1_slice bytes)
{
    struct verdict v = judge(what, bytes);
    cr_expect(v.values < LEAST_P && v.places < LEAST_P, "%s passes for random", what);
}

/* ---- vectors of whole consortia -------------------------------------------------------------- */

struct capture {
    size_t site;
    struct nof1_buffer vectors;
};

static enum sim_fate take_vector(void *context, struct sim *sim, size_t from, size_t to,
                                 const Nof1__V1__Frame *frame)
{
    struct capture *capture = context;
    (void)sim, (void)to;
    if (from == capture->site && frame->body_case == NOF1__V1__FRAME__BODY_MASKED) {
        nof1_rc_value rc = nof1_buffer_append(&capture->vectors, frame->masked->vector.data,
                                              frame->masked->vector.len);
        cr_assert(rc == NOF1_OK);
    }
    return SIM_DELIVER;
}

/* Every masked vector of one site of many consortia; with `missing`, site 1 has no patients. */
static void gather(struct capture *capture)
{
    for (uint64_t seed = 1; seed <= CONSORTIA; seed++) {
        uint8_t h_q[32];
        struct sim *sim = sim_new(&(struct sim_options){
            .seed = seed, .sites = 3, .patients = 4, .missing = true, .quiet = true});
        const struct sim_faults faults = {.context = capture, .frame = take_vector};
        sim_set_faults(sim, &faults);
        sim_start(sim);
        cr_assert(sim_submit(sim, sim_plan(sim, NULL), h_q) == NOF1_OK);
        cr_assert(sim_until_final(sim, h_q));
        cr_assert_str_eq(sim_state(sim, h_q), "released");
        sim_free(sim);
    }
}

Test(uniform, site_without_trials)
{
    struct capture capture = {.site = 1};
    gather(&capture);
    expect_uniform("a site without trials", nof1_buffer_slice(&capture.vectors), 100000);
    nof1_buffer_free(&capture.vectors);
}

Test(uniform, site_with_trials)
{
    struct capture capture = {.site = 0};
    gather(&capture);
    expect_uniform("a site with trials", nof1_buffer_slice(&capture.vectors), 100000);
    nof1_buffer_free(&capture.vectors);
}

/* ---- masks alone ----------------------------------------------------------------------------- */

static struct nof1_masker *make_masker(void)
{
    uint8_t own[NOF1_X25519_BYTES], other[NOF1_X25519_BYTES], public[NOF1_X25519_BYTES];
    uint8_t hash[NOF1_HASH_BYTES] = {7};
    struct test_random random = {20260501};
    struct nof1_masker *masker = NULL;
    for (size_t i = 0; i < sizeof own; i++) {
        own[i] = (uint8_t)(test_random_next(&random) >> 32);
        other[i] = (uint8_t)(test_random_next(&random) >> 32);
    }
    cr_assert(nof1_x25519_public(public, other) == NOF1_OK);
    const struct nof1_peer peer = {.id = "b", .x25519 = public};
    cr_assert(nof1_masker_new(&masker, own, "a", 1, &peer, hash, hash) == NOF1_OK);
    return masker;
}

/* Rounds of small numbers, as a site's sums are, with and without masks. */
static void fill(struct nof1_buffer *out, struct nof1_masker *masker, bool zero)
{
    struct test_random random = {42};
    for (size_t r = 0; r < ROUNDS; r++) {
        struct nof1_ring y[ELEMENTS];
        uint8_t bytes[ELEMENTS * NOF1_RING_BYTES], h_round[NOF1_HASH_BYTES] = {0};
        memcpy(h_round, &r, sizeof r);
        for (size_t e = 0; e < ELEMENTS; e++) {
            double x = zero ? 0 : 20 * test_random_normal(&random);
            cr_assert(nof1_ring_encode(&y[e], x) == NOF1_OK);
        }
        if (masker != NULL) {
            cr_assert(nof1_masker_apply(masker, h_round, ELEMENTS, y) == NOF1_OK);
        }
        for (size_t e = 0; e < ELEMENTS; e++) {
            nof1_ring_write(bytes + e * NOF1_RING_BYTES, &y[e]);
        }
        cr_assert(nof1_buffer_append(out, bytes, sizeof bytes) == NOF1_OK);
    }
}

Test(uniform, masks)
{
    for (int zero = 0; zero < 2; zero++) {
        struct nof1_buffer masked = {0}, plain = {0};
        struct nof1_masker *masker = make_masker();
        fill(&masked, masker, zero == 1);
        fill(&plain, NULL, zero == 1);
        expect_uniform(zero ? "masked zeros" : "masked sums", nof1_buffer_slice(&masked), 800000);
        expect_found(zero ? "zeros without a mask" : "sums without a mask",
                     nof1_buffer_slice(&plain));
        nof1_masker_free(masker);
        nof1_buffer_free(&masked);
        nof1_buffer_free(&plain);
    }
}

/* The statistics see one bit in a hundred bytes that leans to one side. */
Test(uniform, power)
{
    struct nof1_buffer masked = {0};
    struct nof1_masker *masker = make_masker();
    fill(&masked, masker, true);
    for (size_t i = 0; i < masked.length; i += NOF1_RING_BYTES) {
        masked.data[i + 31] = (uint8_t)(masked.data[i + 31] & ((i / NOF1_RING_BYTES) % 16 == 0
                                                                   ? 0x7F
                                                                   : 0xFF));
    }
    struct verdict v = judge("a sign bit cleared in 1 of 16", nof1_buffer_slice(&masked));
    cr_expect(v.places < LEAST_P);
    nof1_masker_free(masker);
    nof1_buffer_free(&masked);
}
