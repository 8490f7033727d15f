/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The ring Z_2^256 with scale 2^-128 (docs/protocol.md, number encoding). Encoding and decoding
 * work on the bits of an IEEE 754 binary64 with integer shifts only: no rounding mode, no long
 * double, no library function can change a total. Addition and subtraction never branch on a value.
 */
#include <crypto/ring.h>

#include <endian.h>
#include <string.h>

#define FRACTION_BITS 52
#define HIDDEN_BIT (UINT64_C(1) << FRACTION_BITS)
#define EXPONENT_MASK 0x7ffu
#define SCALE_BITS 128
/* A finite double is mantissa * 2^(field - 1075). */
#define EXPONENT_BIAS 1075
#define ENCODED_MAX 0x1p96

typedef unsigned __int128 wide;

/* |x| = mantissa * 2^exponent, exactly. */
struct parts {
    uint64_t mantissa;
    int exponent;
    bool negative;
};

/* False for NaN and infinities. */
static bool split(struct parts *out, double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    unsigned field = (unsigned)(bits >> FRACTION_BITS) & EXPONENT_MASK;
    out->negative = (bits >> 63) != 0;
    out->mantissa = bits & (HIDDEN_BIT - 1);
    if (field == 0) { /* zero and subnormals */
        out->exponent = 1 - EXPONENT_BIAS;
        return true;
    }
    out->mantissa |= HIDDEN_BIT;
    out->exponent = (int)field - EXPONENT_BIAS;
    return field != EXPONENT_MASK;
}

/* mantissa * 2^shift for 0 <= shift < 203, which fits 256 bits. */
static void place(struct nof1_ring *out, uint64_t mantissa, unsigned shift)
{
    wide shifted = (wide)mantissa << (shift % 64);
    unsigned first = shift / 64;
    memset(out, 0, sizeof *out);
    out->limb[first] = (uint64_t)shifted;
    if (first < 3) {
        out->limb[first + 1] = (uint64_t)(shifted >> 64);
    }
}

/* mantissa / 2^shift for shift >= 1, to the nearest integer, ties to even. */
static uint64_t shift_right(uint64_t mantissa, unsigned shift)
{
    if (shift > FRACTION_BITS + 1) { /* below one half: the mantissa has 53 bits */
        return 0;
    }
    uint64_t quotient = mantissa >> shift;
    uint64_t rest = mantissa & ((UINT64_C(1) << shift) - 1);
    uint64_t half = UINT64_C(1) << (shift - 1);
    bool up = rest > half || (rest == half && (quotient & 1) != 0);
    return quotient + (uint64_t)up;
}

/* |x| * 2^128 to the nearest integer, ties to even; |x| < 2^127. */
static void scale(struct nof1_ring *out, const struct parts *parts)
{
    int shift = parts->exponent + SCALE_BITS;
    if (shift >= 0) {
        place(out, parts->mantissa, (unsigned)shift);
    } else {
        place(out, shift_right(parts->mantissa, (unsigned)-shift), 0);
    }
}

/* Two's complement when `negative`, without a branch. */
static void negate_if(struct nof1_ring *x, bool negative)
{
    uint64_t mask = (uint64_t)0 - (uint64_t)negative;
    uint64_t carry = (uint64_t)negative;
    for (int i = 0; i < 4; i++) {
        wide sum = (wide)(x->limb[i] ^ mask) + carry;
        x->limb[i] = (uint64_t)sum;
        carry = (uint64_t)(sum >> 64);
    }
}

nof1_rc nof1_ring_encode(struct nof1_ring *out, double x)
{
    struct parts parts;
    ENSURE(split(&parts, x), NOF1_E2403);
    ENSURE(x <= ENCODED_MAX && x >= -ENCODED_MAX, NOF1_E2403);
    scale(out, &parts);
    negate_if(out, parts.negative);
    return NOF1_OK;
}

/* The 64 bits of x from bit `low` up; bits outside the element are 0. */
static uint64_t window(const struct nof1_ring *x, unsigned low)
{
    unsigned limb = low / 64;
    unsigned bit = low % 64;
    uint64_t bits = x->limb[limb] >> bit;
    if (bit != 0 && limb < 3) {
        bits |= x->limb[limb + 1] << (64 - bit);
    }
    return bits;
}

static bool any_below(const struct nof1_ring *x, unsigned bit)
{
    uint64_t any = 0;
    for (unsigned i = 0; i < bit / 64; i++) {
        any |= x->limb[i];
    }
    return (any | (x->limb[bit / 64] & ((UINT64_C(1) << (bit % 64)) - 1))) != 0;
}

/* Index of the highest set bit, or -1. */
static int top_bit(const struct nof1_ring *x)
{
    for (int i = 3; i >= 0; i--) {
        if (x->limb[i] != 0) {
            return 64 * i + 63 - __builtin_clzll(x->limb[i]);
        }
    }
    return -1;
}

double nof1_ring_decode(const struct nof1_ring *x)
{
    struct nof1_ring magnitude = *x;
    bool negative = (x->limb[3] >> 63) != 0;
    negate_if(&magnitude, negative);
    int top = top_bit(&magnitude);
    if (top < 0) {
        return 0.0;
    }
    uint64_t mantissa; /* 53 bits, the highest set */
    if (top <= FRACTION_BITS) {
        mantissa = magnitude.limb[0] << (FRACTION_BITS - top);
    } else {
        unsigned low = (unsigned)(top - FRACTION_BITS);
        mantissa = window(&magnitude, low) & (2 * HIDDEN_BIT - 1);
        bool half = (window(&magnitude, low - 1) & 1) != 0;
        mantissa += (uint64_t)(half && ((mantissa & 1) != 0 || any_below(&magnitude, low - 1)));
    }
    /* The hidden bit, and a carry out of the rounding, both add one to the exponent field. */
    uint64_t field = (uint64_t)(top - FRACTION_BITS - SCALE_BITS + EXPONENT_BIAS - 1);
    uint64_t bits = ((uint64_t)negative << 63) | ((field << FRACTION_BITS) + mantissa);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

void nof1_ring_add(struct nof1_ring *sum, const struct nof1_ring *x)
{
    uint64_t carry = 0;
    for (int i = 0; i < 4; i++) {
        wide limb = (wide)sum->limb[i] + x->limb[i] + carry;
        sum->limb[i] = (uint64_t)limb;
        carry = (uint64_t)(limb >> 64);
    }
}

void nof1_ring_subtract(struct nof1_ring *sum, const struct nof1_ring *x)
{
    uint64_t borrow = 0;
    for (int i = 0; i < 4; i++) {
        wide limb = (wide)sum->limb[i] - x->limb[i] - borrow;
        sum->limb[i] = (uint64_t)limb;
        borrow = (uint64_t)(limb >> 64) & 1;
    }
}

bool nof1_ring_equal(const struct nof1_ring *a, const struct nof1_ring *b)
{
    return memcmp(a->limb, b->limb, sizeof a->limb) == 0;
}

void nof1_ring_write(uint8_t out[NOF1_RING_BYTES], const struct nof1_ring *x)
{
    for (size_t i = 0; i < 4; i++) {
        uint64_t limb = htole64(x->limb[i]);
        memcpy(out + 8 * i, &limb, sizeof limb);
    }
}

void nof1_ring_read(struct nof1_ring *out, const uint8_t in[NOF1_RING_BYTES])
{
    for (size_t i = 0; i < 4; i++) {
        uint64_t limb;
        memcpy(&limb, in + 8 * i, sizeof limb);
        out->limb[i] = le64toh(limb);
    }
}
