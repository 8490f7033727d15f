/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Spans of public vectors, and the matrices of which the inverse correlation of public occasions is
 * a combination: see ar1_form.h. Never sees an outcome.
 */
#include <math.h>
#include <stats/ar1_form.h>
#include <stats/matrix.h>
#include <string.h>

#define SAME 1e-9 /* of a vector's length: below it is a combination of others */

nof1_rc_value nof1_span_new(struct nof1_span *out, size_t most, size_t size,
                            struct nof1_arena *arena)
{
    *out = (struct nof1_span){.size = size};
    out->raw = nof1_arena_alloc(arena, most * size + 1, sizeof *out->raw);
    out->unit = nof1_arena_alloc(arena, most * size + 1, sizeof *out->unit);
    return out->raw == NULL || out->unit == NULL ? NOF1_E_NO_MEMORY : NOF1_OK;
}

bool nof1_span_add(struct nof1_span *s, const double *vector, double *work)
{
    memcpy(work, vector, s->size * sizeof *work);
    for (size_t twice = 0; twice < 2; twice++) {
        for (size_t k = 0; k < s->count; k++) {
            const double *unit = s->unit + k * s->size;
            double along = nof1_dot(unit, work, s->size);
            for (size_t i = 0; i < s->size; i++) {
                work[i] -= along * unit[i];
            }
        }
    }
    double rest = nof1_dot(work, work, s->size);
    if (!(rest > SAME * SAME * nof1_dot(vector, vector, s->size))) {
        return false;
    }
    for (size_t i = 0; i < s->size; i++) {
        s->raw[s->count * s->size + i] = vector[i];
        s->unit[s->count * s->size + i] = work[i] / sqrt(rest);
    }
    s->count++;
    return true;
}

void nof1_span_solve(double *out, const struct nof1_span *s, size_t count, double *vector)
{
    for (size_t k = count; k-- > 0;) { /* raw_k = sum over l <= k: solve from the last */
        const double *unit = s->unit + k * s->size, *raw = s->raw + k * s->size;
        out[k] = nof1_dot(unit, vector, s->size) / nof1_dot(unit, raw, s->size);
        for (size_t i = 0; i < s->size; i++) {
            vector[i] -= out[k] * raw[i];
        }
    }
}

nof1_rc_value nof1_span_shortest(double *out, const double *raw, const double *t, size_t count,
                                 size_t size, struct nof1_arena *arena)
{
    double *gram = nof1_arena_alloc(arena, count * count + 2 * count + 1, sizeof *gram);
    ENSURE(gram != NULL, NOF1_E_NO_MEMORY);
    double *x = gram + count * count, *scale = x + count;
    for (size_t i = 0; i < count; i++) {
        scale[i] = 1 / sqrt(nof1_dot(raw + i * size, raw + i * size, size));
        x[i] = t[i] * scale[i];
    }
    for (size_t i = 0; i < count * count; i++) {
        gram[i] = nof1_dot(raw + (i / count) * size, raw + (i % count) * size, size) *
                  scale[i / count] * scale[i % count];
    }
    ENSURE(nof1_cholesky(gram, count), NOF1_E_MODEL);
    nof1_cholesky_solve(x, gram, count);
    for (size_t k = 0; k < size; k++) {
        out[k] = 0;
        for (size_t i = 0; i < count; i++) {
            out[k] += raw[i * size + k] * x[i] * scale[i];
        }
    }
    return NOF1_OK;
}

/* ---- the matrices -------------------------------------------------------------------------- */

static nof1_rc find_gaps(struct nof1_ar1_form *f, struct nof1_arena *arena)
{
    double *gap = nof1_arena_alloc(arena, f->rows + 1, sizeof *gap);
    ENSURE(gap != NULL, NOF1_E_NO_MEMORY);
    for (size_t c = 0; c < f->cells; c++) {
        for (size_t i = 0; i + 1 < f->cell[c].rows; i++) {
            double step = f->cell[c].time[i + 1] - f->cell[c].time[i];
            size_t at = 0;
            while (at < f->gaps && gap[at] != step) {
                at++;
            }
            gap[at] = step;
            f->gaps = at == f->gaps ? at + 1 : f->gaps;
        }
    }
    f->gap = gap;
    return NOF1_OK;
}

/* Entries (i, i) and (i, i + 1) of matrix a, over all cells: what identifies a tridiagonal one. */
static void matrix_vector(double *out, const struct nof1_ar1_form *f, size_t a)
{
    for (size_t c = 0; c < f->cells; c++) {
        const struct nof1_occasions *cell = &f->cell[c];
        double *diagonal = out + cell->offset, *off = out + f->rows + cell->offset;
        double gap = a == 0 ? 0 : f->gap[(a - 1) / 2];
        for (size_t i = 0; i < cell->rows; i++) {
            diagonal[i] = a == 0;
            off[i] = 0;
        }
        for (size_t i = 0; a > 0 && i + 1 < cell->rows; i++) {
            if (cell->time[i + 1] - cell->time[i] != gap) {
                continue;
            }
            diagonal[i] += a % 2 == 1;
            diagonal[i + 1] += a % 2 == 1;
            off[i] = a % 2 == 0;
        }
    }
}

static nof1_rc find_squares(struct nof1_ar1_form *f, struct nof1_arena *arena)
{
    size_t count = f->matrices, size = 2 * f->rows;
    struct nof1_span span;
    TRY(nof1_span_new(&span, count, size, arena));
    size_t *square = nof1_arena_alloc(arena, count, sizeof *square);
    double *of = nof1_arena_alloc(arena, count * count, sizeof *of);
    double *vector = nof1_arena_alloc(arena, 2 * size + 1, sizeof *vector);
    ENSURE(square != NULL && of != NULL && vector != NULL, NOF1_E_NO_MEMORY);
    for (size_t a = 0; a < count; a++) {
        matrix_vector(vector, f, a);
        if (nof1_span_add(&span, vector, vector + size)) {
            square[f->squares++] = a;
        }
    }
    for (size_t a = 0; a < count; a++) {
        matrix_vector(vector, f, a);
        nof1_span_solve(of + a * f->squares, &span, f->squares, vector);
    }
    f->square = square;
    f->square_of = of;
    return NOF1_OK;
}

nof1_rc_value nof1_ar1_form(struct nof1_ar1_form *out, const struct nof1_occasions *cell,
                            size_t cells, bool correlated, struct nof1_arena *arena)
{
    *out = (struct nof1_ar1_form){.cells = cells, .cell = cell};
    for (size_t c = 0; c < cells; c++) {
        out->rows += cell[c].rows;
    }
    TRY(find_gaps(out, arena));
    out->matrices = correlated ? 1 + 2 * out->gaps : 1;
    return find_squares(out, arena);
}

void nof1_ar1_apply(double *out, const struct nof1_ar1_form *f, const struct nof1_occasions *cell,
                    size_t a, const double *v)
{
    for (size_t i = 0; i < cell->rows; i++) {
        out[i] = a == 0 ? v[i] : 0;
    }
    double gap = a == 0 ? 0 : f->gap[(a - 1) / 2];
    for (size_t i = 0; a > 0 && i + 1 < cell->rows; i++) {
        bool mine = cell->time[i + 1] - cell->time[i] == gap, even = a % 2 == 1;
        out[i] += mine ? v[even ? i : i + 1] : 0;
        out[i + 1] += mine ? v[even ? i + 1 : i] : 0;
    }
}

bool nof1_ar1_weights(double *value, double *slope, const struct nof1_ar1_form *f, double rho)
{
    value[0] = 1;
    slope[0] = 0;
    for (size_t g = 0; g < f->gaps && f->matrices > 1; g++) {
        struct nof1_ar1_gap gap;
        if (!nof1_ar1_gap(&gap, rho, f->gap[g])) {
            return false;
        }
        value[1 + 2 * g] = gap.even;
        slope[1 + 2 * g] = gap.d_even;
        value[2 + 2 * g] = -gap.odd;
        slope[2 + 2 * g] = -gap.d_odd;
    }
    return true;
}
