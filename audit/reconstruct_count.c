/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The counting attack on whole numbers: every multiset of patients' numbers that gives the released
 * sums, and which values occur in all of them. One number a patient: a table over (patients, sum,
 * sum of squares). Two: halves of the patients, met in the middle.
 */
#include "reconstruct.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CELLS_MAX 20000000u
#define HALVES_MAX 3000000u
#define SUMS 5
#define SUM_BITS 12

/* ---- one number a patient -------------------------------------------------------------------- */

struct table {
    size_t n, sums, squares; /* sum + sums / 2 is the index */
    long top;                /* |d| <= top */
    double *cell;
};

static double *cell_at(const struct table *t, size_t m, long sum, size_t square)
{
    size_t s = (size_t)(sum + (long)(t->sums / 2));
    return &t->cell[(m * t->sums + s) * (t->squares + 1) + square];
}

/* Fill the table with all values but `without` (top + 1: none left out). */
static void fill(struct table *t, long without)
{
    long half = (long)(t->sums / 2);
    memset(t->cell, 0, (t->n + 1) * t->sums * (t->squares + 1) * sizeof *t->cell);
    *cell_at(t, 0, 0, 0) = 1;
    for (long v = -t->top; v <= t->top; v++) {
        size_t square = (size_t)(v * v);
        for (size_t m = 1; v != without && m <= t->n; m++) {
            for (long s = -half; s <= half; s++) {
                if (s - v < -half || s - v > half) {
                    continue;
                }
                for (size_t q = square; q <= t->squares; q++) {
                    *cell_at(t, m, s, q) += *cell_at(t, m - 1, s - v, q - square);
                }
            }
        }
    }
}

/* Multisets whose sums are rounded to the released ones. */
static double matching(const struct table *t, const struct reconstruct_case *c)
{
    double linear = c->asked->quantum / 2, square = c->asked->quantum, count = 0;
    long half = (long)(t->sums / 2);
    for (long s = -half; s <= half; s++) {
        for (size_t q = 0; q <= t->squares; q++) {
            bool same = fabs((double)s - c->sum[0]) <= linear + 1e-9 &&
                        fabs((double)q - c->sum[1]) <= square + 1e-9;
            count += same ? *cell_at(t, t->n, s, q) : 0;
        }
    }
    return count;
}

static void count_single(struct reconstruct_counted *out, const struct reconstruct_case *c)
{
    double most = c->sum[1] + c->asked->quantum;
    struct table t = {.n = c->asked->n, .top = (long)c->asked->levels - 1};
    t.squares = (size_t)fmax(most, 1);
    t.sums = 2 * (size_t)ceil(sqrt((double)t.n * most) + 1) + 1;
    size_t cells = (t.n + 1) * t.sums * (t.squares + 1);
    if (cells > CELLS_MAX || (t.cell = malloc(cells * sizeof *t.cell)) == NULL) {
        return;
    }
    fill(&t, t.top + 1);
    out->done = true;
    out->multisets = matching(&t, c);
    for (long v = -t.top; v <= t.top; v++) {
        size_t here = 0;
        for (size_t i = 0; i < t.n; i++) {
            here += c->x[i] == (double)v ? 1 : 0;
        }
        if (here > 0) {
            fill(&t, v);
            out->certain += matching(&t, c) == 0 ? (double)here / (double)t.n : 0;
        }
    }
    free(t.cell);
}

/* ---- two numbers a patient ------------------------------------------------------------------- */

struct half {
    uint64_t key;  /* the five sums */
    uint64_t mask; /* values of b - a that occur */
    uint32_t end;  /* largest point of the first half, smallest of the second */
};

struct halves {
    size_t levels, size, count;
    struct half *half;
};

static uint64_t key_of(const uint64_t sum[SUMS])
{
    uint64_t key = 0;
    for (size_t k = 0; k < SUMS; k++) {
        key = key << SUM_BITS | sum[k];
    }
    return key;
}

static uint64_t key_of_point(size_t levels, size_t point)
{
    uint64_t a = point / levels, b = point % levels;
    const uint64_t sum[SUMS] = {a, a * a, b, b * b, a * b};
    return key_of(sum);
}

static uint64_t mask_of_point(size_t levels, size_t point)
{
    return UINT64_C(1) << (point % levels + levels - 1 - point / levels);
}

/* All multisets of `size` points, as ascending sequences; keys add up because no sum overflows. */
static bool list(struct halves *h, bool first)
{
    size_t points = h->levels * h->levels, at[16] = {0};
    double total = 1;
    for (size_t i = 0; i < h->size; i++) {
        total *= (double)(points + i) / (double)(i + 1);
    }
    if (total > HALVES_MAX || h->size > 16 ||
        (h->half = malloc(((size_t)total + 1) * sizeof *h->half)) == NULL) {
        return false;
    }
    for (bool more = true; more;) {
        struct half *half = &h->half[h->count++];
        *half = (struct half){.end = (uint32_t)(first ? at[h->size - 1] : at[0])};
        for (size_t i = 0; i < h->size; i++) {
            half->key += key_of_point(h->levels, at[i]);
            half->mask |= mask_of_point(h->levels, at[i]);
        }
        size_t i = h->size;
        while (i > 0 && at[i - 1] == points - 1) {
            i--;
        }
        more = i > 0;
        for (size_t j = i; more && j <= h->size; j++) {
            at[j - 1] = j == i ? at[i - 1] + 1 : at[i - 1];
        }
    }
    return true;
}

static int by_key(const void *a, const void *b)
{
    uint64_t x = ((const struct half *)a)->key, y = ((const struct half *)b)->key;
    return x < y ? -1 : x > y ? 1 : 0;
}

static void meet(struct reconstruct_counted *out, uint64_t *everywhere, const struct halves *first,
                 const struct halves *second, uint64_t total)
{
    for (size_t i = 0; i < first->count; i++) {
        const struct half *one = &first->half[i];
        struct half wanted = {.key = total - one->key};
        const struct half *other = bsearch(&wanted, second->half, second->count, sizeof wanted,
                                           by_key);
        while (other != NULL && other > second->half && (other - 1)->key == wanted.key) {
            other--;
        }
        for (; other != NULL && other < second->half + second->count && other->key == wanted.key;
             other++) {
            if (one->end <= other->end) {
                out->multisets += 1;
                *everywhere &= one->mask | other->mask;
            }
        }
    }
}

static void count_pairs(struct reconstruct_counted *out, const struct reconstruct_case *c)
{
    size_t n = c->asked->n, levels = c->asked->levels;
    uint64_t everywhere = UINT64_MAX, sum[SUMS];
    struct halves first = {.levels = levels, .size = n - n / 2},
                  second = {.levels = levels, .size = n / 2};
    bool fits = levels <= 31 && n >= 2 && c->asked->quantum == 0 &&
                n * (levels - 1) * (levels - 1) < (1u << SUM_BITS);
    if (fits && list(&first, true) && list(&second, false)) {
        for (size_t k = 0; k < SUMS; k++) {
            sum[k] = (uint64_t)c->sum[k];
        }
        qsort(second.half, second.count, sizeof *second.half, by_key);
        meet(out, &everywhere, &first, &second, key_of(sum));
        out->done = true;
        for (size_t i = 0; i < n; i++) {
            size_t point = (size_t)c->x[2 * i] * levels + (size_t)c->x[2 * i + 1];
            bool certain = (everywhere & mask_of_point(levels, point)) != 0;
            out->certain += certain ? 1 / (double)n : 0;
        }
    }
    free(first.half);
    free(second.half);
}

void reconstruct_count(struct reconstruct_counted *out, const struct reconstruct_case *c)
{
    *out = (struct reconstruct_counted){.done = false};
    if (c->asked->levels > 0 && c->asked->form == RECONSTRUCT_DIFFERENCE) {
        count_single(out, c);
    } else if (c->asked->levels > 0 && c->asked->form == RECONSTRUCT_SLOPE) {
        count_pairs(out, c);
    }
}
