/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Properties of the ring Z_2^256: exact encoding, nearest-even rounding both ways, sums that equal
 * an independent big-integer reference (OpenSSL's BIGNUM), and do not depend on order or partition.
 */
#include <criterion/criterion.h>
#include <crypto/ring.h>
#include <float.h>
#include <math.h>
#include <openssl/bn.h>
#include <string.h>

#include "support.h"

#define CASES 20000

/* A finite double with |x| <= 2^96 whose exponent is uniform in [low, high]. */
static double draw(struct test_random *random, int low, int high)
{
    int exponent = low + (int)(test_random_next(random) % (uint64_t)(high - low + 1));
    double fraction = 1.0 + test_random_uniform(random);
    double value = ldexp(fraction, exponent);
    return (test_random_next(random) & 1) != 0 ? -value : value;
}

static struct nof1_ring encoded(double x)
{
    struct nof1_ring out;
    cr_assert_eq(nof1_ring_encode(&out, x), NOF1_OK, "%a", x);
    return out;
}

static struct nof1_ring random_element(struct test_random *random, unsigned bits)
{
    struct nof1_ring out = {{0}};
    for (unsigned i = 0; i < bits; i++) {
        out.limb[i / 64] |= (test_random_next(random) >> 63) << (i % 64);
    }
    return out;
}

/* The element read as a signed integer. */
static BIGNUM *big(const struct nof1_ring *x)
{
    uint8_t bytes[NOF1_RING_BYTES];
    nof1_ring_write(bytes, x);
    BIGNUM *out = BN_lebin2bn(bytes, sizeof bytes, NULL);
    if ((bytes[31] & 0x80) != 0) {
        BIGNUM *modulus = BN_new();
        BN_set_bit(modulus, 256);
        BN_sub(out, out, modulus);
        BN_free(modulus);
    }
    return out;
}

/* |x| as mantissa * 2^exponent, by frexp: not the way the library takes a double apart. */
static BIGNUM *mantissa_of(double x, int *exponent)
{
    uint64_t mantissa = (uint64_t)ldexp(frexp(fabs(x), exponent), 53);
    *exponent -= 53;
    BIGNUM *out = BN_new();
    BN_set_word(out, mantissa);
    return out;
}

/* round-half-even(x * 2^128) with big integers. */
static BIGNUM *reference_encode(double x)
{
    int exponent = 0;
    BIGNUM *out = mantissa_of(x, &exponent);
    int shift = exponent + 128;
    if (shift >= 0) {
        BN_lshift(out, out, shift);
    } else {
        BIGNUM *quotient = BN_new();
        BIGNUM *twice = BN_new();
        BN_rshift(quotient, out, -shift);
        BN_lshift(twice, quotient, -shift);
        BN_sub(twice, out, twice); /* what was cut off */
        BN_lshift1(twice, twice);
        BIGNUM *unit = BN_new();
        BN_set_bit(unit, -shift);
        int order = BN_cmp(twice, unit);
        if (order > 0 || (order == 0 && BN_is_odd(quotient))) {
            BN_add_word(quotient, 1);
        }
        BN_free(out);
        BN_free(twice);
        BN_free(unit);
        out = quotient;
    }
    BN_set_negative(out, x < 0);
    return out;
}

static bool agrees(const struct nof1_ring *x, const BIGNUM *want)
{
    BIGNUM *got = big(x);
    bool equal = BN_cmp(got, want) == 0;
    BN_free(got);
    return equal;
}

Test(ring, representable_doubles_come_back)
{
    struct test_random random = {1};
    for (int i = 0; i < CASES; i++) {
        double x = draw(&random, -76, 95);
        struct nof1_ring e = encoded(x);
        cr_assert_eq(nof1_ring_decode(&e), x, "%a", x);
    }
    static const double exact[] = {0.0,     1.0,      -1.0,      0x1p96,
                                   -0x1p96, 0x1p-128, -0x1p-128, 0x1.8p-127};
    for (size_t i = 0; i < sizeof exact / sizeof *exact; i++) {
        struct nof1_ring e = encoded(exact[i]);
        cr_expect_eq(nof1_ring_decode(&e), exact[i], "%a", exact[i]);
    }
}

Test(ring, encoding_rounds_half_to_even)
{
    struct test_random random = {2};
    for (int i = 0; i < CASES; i++) {
        double x = draw(&random, i % 2 == 0 ? -185 : -1000, i % 2 == 0 ? -76 : 95);
        if (i % 4 == 0) { /* few bits: many exact ties */
            x = copysign(ldexp((double)(test_random_next(&random) % 64), -131), x);
        }
        BIGNUM *want = reference_encode(x);
        struct nof1_ring e = encoded(x);
        cr_assert(agrees(&e, want), "%a", x);
        BN_free(want);
    }
    static const struct { double x; int64_t unit; } tie[] = {
        {0x1p-129, 0}, {0x1.8p-128, 2}, {0x1.4p-127, 2}, {0x1.cp-127, 4}, {-0x1p-129, 0},
        {-0x1.8p-128, -2}, {0x1.0000000000001p-129, 1}, {0x1.fffffffffffffp-130, 0},
        {0x1p-130, 0}, {5e-324, 0}, {-5e-324, 0}, {DBL_MIN, 0}, {-0.0, 0}};
    for (size_t i = 0; i < sizeof tie / sizeof *tie; i++) {
        struct nof1_ring e = encoded(tie[i].x);
        uint64_t sign = tie[i].unit < 0 ? UINT64_MAX : 0;
        struct nof1_ring want = {{(uint64_t)tie[i].unit, sign, sign, sign}};
        cr_expect(nof1_ring_equal(&e, &want), "%a", tie[i].x);
    }
}

/* |decoded - x| is at most half the distance to either neighbour, even mantissa on a tie: checked
 * by comparing 2 x with the sums of neighbouring doubles, all as integers of scale 2^-128. */
static void check_nearest(const struct nof1_ring *x)
{
    double value = nof1_ring_decode(x);
    BIGNUM *twice = big(x);
    BN_lshift1(twice, twice);
    for (int side = -1; side <= 1; side += 2) {
        double next = nextafter(value, side < 0 ? -HUGE_VAL : HUGE_VAL);
        int shift_a = 0;
        int shift_b = 0;
        BIGNUM *a = mantissa_of(value, &shift_a);
        BIGNUM *b = mantissa_of(next, &shift_b);
        BN_set_negative(a, value < 0);
        BN_set_negative(b, next < 0);
        /* All three at scale 2^-(128+64), fine enough for every neighbour of a value >= 2^-128. */
        BN_lshift(a, a, shift_a + 192);
        BN_lshift(b, b, shift_b + 192);
        BN_add(a, a, b);
        BN_lshift(b, twice, 64);
        int order = BN_cmp(b, a) * side; /* > 0: x lies beyond the midpoint on that side */
        uint64_t bits;
        memcpy(&bits, &value, sizeof bits);
        cr_assert(order < 0 || (order == 0 && (bits & 1) == 0), "%a side %d", value, side);
        BN_free(a);
        BN_free(b);
    }
    BN_free(twice);
}

Test(ring, decoding_is_nearest_even)
{
    struct test_random random = {3};
    for (int i = 0; i < CASES; i++) {
        struct nof1_ring x =
            random_element(&random, 1 + (unsigned)(test_random_next(&random) % 256));
        if (i % 4 == 0) { /* a tie, or one unit beside it */
            unsigned top = 54 + (unsigned)(test_random_next(&random) % 200);
            uint64_t mantissa = test_random_next(&random) >> 11 | UINT64_C(1) << 52;
            x = (struct nof1_ring){{0}};
            for (unsigned k = 0; k < 53; k++) {
                unsigned bit = top - 52 + k;
                x.limb[bit / 64] |= (mantissa >> k & 1) << (bit % 64);
            }
            x.limb[(top - 53) / 64] |= UINT64_C(1) << ((top - 53) % 64);
            struct nof1_ring unit = {{(uint64_t)(i / 4) % 2, 0, 0, 0}};
            nof1_ring_add(&x, &unit);
        }
        struct nof1_ring zero = {{0}};
        if (!nof1_ring_equal(&x, &zero)) {
            check_nearest(&x);
        }
        double up = nof1_ring_decode(&x);
        nof1_ring_subtract(&zero, &x);
        if (x.limb[3] != UINT64_C(1) << 63 && up != 0) {
            cr_assert_eq(nof1_ring_decode(&zero), -up);
        }
    }
    struct nof1_ring lowest = {{0, 0, 0, UINT64_C(1) << 63}};
    struct nof1_ring highest = {{UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX >> 1}};
    cr_expect_eq(nof1_ring_decode(&lowest), -0x1p127);
    cr_expect_eq(nof1_ring_decode(&highest), 0x1p127);
}

Test(ring, arithmetic_equals_big_integers_modulo_2_256)
{
    struct test_random random = {4};
    BN_CTX *context = BN_CTX_new();
    BIGNUM *modulus = BN_new();
    BN_set_bit(modulus, 256);
    for (int i = 0; i < CASES; i++) {
        unsigned bits = i % 3 == 0 ? 256 : 1 + (unsigned)(test_random_next(&random) % 256);
        struct nof1_ring a = random_element(&random, bits);
        struct nof1_ring b = random_element(&random, 256);
        if (i % 5 == 0) { /* long carries */
            memset(&a, 0xff, sizeof a);
        }
        BIGNUM *x = big(&a);
        BIGNUM *y = big(&b);
        BIGNUM *sum = BN_new();
        BIGNUM *difference = BN_new();
        BN_mod_add(sum, x, y, modulus, context);
        BN_mod_sub(difference, x, y, modulus, context);
        struct nof1_ring s = a;
        struct nof1_ring d = a;
        nof1_ring_add(&s, &b);
        nof1_ring_subtract(&d, &b);
        uint8_t want[NOF1_RING_BYTES];
        uint8_t got[NOF1_RING_BYTES];
        BN_bn2lebinpad(sum, want, sizeof want);
        nof1_ring_write(got, &s);
        cr_assert_arr_eq(got, want, sizeof want);
        BN_bn2lebinpad(difference, want, sizeof want);
        nof1_ring_write(got, &d);
        cr_assert_arr_eq(got, want, sizeof want);
        nof1_ring_add(&d, &b);
        cr_assert(nof1_ring_equal(&d, &a));
        BN_free(x);
        BN_free(y);
        BN_free(sum);
        BN_free(difference);
    }
    BN_free(modulus);
    BN_CTX_free(context);
}

Test(ring, sums_are_exact_and_free_of_order_and_partition)
{
    struct test_random random = {5};
    enum { COUNT = 1000, REPEATS = 20 };
    static double x[COUNT];
    for (int repeat = 0; repeat < REPEATS; repeat++) {
        BIGNUM *want = BN_new();
        struct nof1_ring forward = {{0}};
        for (int i = 0; i < COUNT; i++) {
            x[i] = draw(&random, -140, 90);
            struct nof1_ring e = encoded(x[i]);
            nof1_ring_add(&forward, &e);
            BIGNUM *one = reference_encode(x[i]);
            BN_add(want, want, one);
            BN_free(one);
        }
        cr_assert(agrees(&forward, want));
        for (int i = COUNT - 1; i > 0; i--) { /* Fisher-Yates */
            size_t j = test_random_next(&random) % (uint64_t)(i + 1);
            double keep = x[i];
            x[i] = x[j];
            x[j] = keep;
        }
        struct nof1_ring parts[64] = {{{0}}};
        size_t sites = 1 + test_random_next(&random) % 64;
        for (int i = 0; i < COUNT; i++) {
            struct nof1_ring e = encoded(x[i]);
            nof1_ring_add(&parts[test_random_next(&random) % sites], &e);
        }
        struct nof1_ring split = {{0}};
        for (size_t i = 0; i < 64; i++) {
            nof1_ring_add(&split, &parts[i]);
        }
        cr_assert(nof1_ring_equal(&split, &forward));
        BN_free(want);
    }
}

Test(ring, refuses_what_it_cannot_hold)
{
    struct nof1_ring keep = {{1, 2, 3, 4}};
    static const double bad[] = {NAN,       -NAN,    INFINITY, -INFINITY,
                                 DBL_MAX,   -DBL_MAX, 0x1p97,  -0x1p97,
                                 0x1.0000000000001p96, -0x1.0000000000001p96};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct nof1_ring out = keep;
        cr_expect_eq(nof1_ring_encode(&out, bad[i]), NOF1_E2403, "%a", bad[i]);
        cr_expect(nof1_ring_equal(&out, &keep), "%a wrote a value", bad[i]);
    }
    struct test_random random = {6};
    for (int i = 0; i < CASES; i++) {
        struct nof1_ring out;
        cr_assert_eq(nof1_ring_encode(&out, draw(&random, 97, 1022)), NOF1_E2403);
    }
}

Test(ring, bytes_are_little_endian_limbs)
{
    uint8_t bytes[NOF1_RING_BYTES];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)i;
    }
    struct nof1_ring x;
    nof1_ring_read(&x, bytes);
    cr_expect_eq(x.limb[0], UINT64_C(0x0706050403020100));
    cr_expect_eq(x.limb[3], UINT64_C(0x1f1e1d1c1b1a1918));
    uint8_t back[NOF1_RING_BYTES];
    nof1_ring_write(back, &x);
    cr_expect_arr_eq(back, bytes, sizeof bytes);
    for (int bit = 0; bit < 256; bit++) {
        struct nof1_ring y = x;
        y.limb[bit / 64] ^= UINT64_C(1) << (bit % 64);
        cr_expect(!nof1_ring_equal(&x, &y));
    }
}
