/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The points of a trapezoidal rule on a lattice: lines along the last axis, flooded from the modes
 * as far as the integrand, or what it adds to a moment, exceeds e^-cut of the largest value. The
 * shape of the region does not matter, and no point outside it but its border is evaluated.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bayes_lattice.h"

#define IMPROPER 8.0 /* the slowest proper integrand falls by more to the ends */

static const struct entry *entry_of(struct lattice *lattice, size_t a, long index)
{
    const struct nof1_bayes_axis *axis = &lattice->problem->axis[a];
    struct entry *entry = &lattice->table[a][index + HALF_WINDOW];
    double unused;
    if (entry->made) {
        return entry;
    }
    *entry = (struct entry){.value = axis->prior.scale, .fold = 1.0, .made = true};
    if (!nof1_bayes_fixed(axis)) {
        long i = lattice->base[a] + index;
        entry->value =
            nof1_bayes_axis_value(axis, lattice->step[a] * (double)i, &entry->log_weight);
        entry->log_weight += log(lattice->step[a]) +
                             nof1_bayes_log_prior(&axis->prior, entry->value) -
                             (axis->even && i == 0 ? M_LN2 : 0.0);
        double square = entry->value * entry->value, unit = axis->scale * axis->scale;
        entry->fold = nof1_bayes_fold(axis, i);
        entry->test = axis->moments < 2 ? square / (unit + square) : square;
        bool heavy = axis->prior.family == NOF1_BAYES_HALF_CAUCHY ||
                     axis->prior.family == NOF1_BAYES_HALF_T ||
                     axis->prior.family == NOF1_BAYES_JEFFREYS;
        double centre = lattice->step[a] * (double)lattice->base[a];
        double mode = nof1_bayes_axis_value(axis, centre, &unused);
        entry->tail =
            heavy ? axis->moments * fmax(0.0, log(entry->value / fmax(mode, axis->scale))) : 0.0;
    }
    return entry;
}

/* The slot of a hash table that holds `key`, or the empty one for it. */
static struct slot *slot_of(struct lattice *lattice, uint64_t key)
{
    uint64_t mixed = key * 0x9e3779b97f4a7c15u;
    size_t at = (mixed ^ mixed >> 29) & (lattice->slots - 1);
    while (lattice->slot[at].used && lattice->slot[at].key != key) {
        at = (at + 1) & (lattice->slots - 1);
    }
    return &lattice->slot[at];
}

/* Has the line been seen? It has from now on. */
static nof1_rc seen(bool *out, struct lattice *lattice, const int16_t *index)
{
    uint64_t key = 0;
    for (size_t a = 0; a < AXES; a++) {
        key = key << 16 | (a == lattice->inner ? 0 : (uint16_t)index[a]);
    }
    if (2 * lattice->used >= lattice->slots) {
        size_t before = lattice->slots;
        struct slot *old = lattice->slot;
        lattice->slots = before == 0 ? 1024 : 4 * before;
        lattice->slot = nof1_arena_alloc(lattice->arena, lattice->slots, sizeof *lattice->slot);
        ENSURE(lattice->slot != NULL, NOF1_E_NO_MEMORY);
        for (size_t i = 0; i < before; i++) {
            if (old[i].used) {
                *slot_of(lattice, old[i].key) = old[i];
            }
        }
    }
    struct slot *slot = slot_of(lattice, key);
    *out = slot->used;
    lattice->used += slot->used ? 0 : 1;
    *slot = (struct slot){key, true};
    return NOF1_OK;
}

static bool exists(const struct lattice *lattice, size_t a, long index)
{
    double x = lattice->step[a] * (double)(lattice->base[a] + index);
    if (nof1_bayes_fixed(&lattice->problem->axis[a])) {
        return index == 0;
    }
    return labs(index) < HALF_WINDOW && nof1_bayes_inside(&lattice->problem->axis[a], x);
}

/* The point of a line at `index` of the inner axis; those of the outer ones are in at, and add
 * f. */
static double evaluate(struct lattice *lattice, double *at, const double outer[2], long index)
{
    const struct nof1_bayes_problem *problem = lattice->problem;
    const struct entry *entry = entry_of(lattice, lattice->inner, index);
    struct point *point = &lattice->window[index + HALF_WINDOW];
    struct nof1_bayes_normal unused;
    at[lattice->inner] = entry->value;
    point->f = outer[0] + entry->log_weight + problem->density(problem->self, at, &unused);
    point->f = isnan(point->f) ? -INFINITY : point->f;
    point->top = point->f + outer[1] + entry->tail;
    lattice->top = fmax(lattice->top, point->f);
    return point->top;
}

static nof1_rc keep(struct lattice *lattice, const struct line *line)
{
    if (lattice->points + (size_t)line->points > lattice->room) {
        size_t room = lattice->room == 0 ? 2 * NOF1_BAYES_WINDOW : 2 * lattice->room;
        double *f = nof1_arena_alloc(lattice->arena, room, sizeof *f);
        ENSURE(f != NULL, NOF1_E_NO_MEMORY);
        if (lattice->points > 0) {
            memcpy(f, lattice->f, lattice->points * sizeof *f);
        }
        lattice->f = f;
        lattice->room = room;
    }
    if (lattice->lines == lattice->line_room) {
        lattice->line_room = lattice->lines == 0 ? 512 : 2 * lattice->lines;
        struct line *all = nof1_arena_alloc(lattice->arena, lattice->line_room, sizeof *all);
        ENSURE(all != NULL, NOF1_E_NO_MEMORY);
        if (lattice->lines > 0) {
            memcpy(all, lattice->line, lattice->lines * sizeof *all);
        }
        lattice->line = all;
    }
    lattice->line[lattice->lines] = *line;
    lattice->line[lattice->lines++].start = lattice->points;
    for (int16_t i = 0; i < line->points; i++) {
        lattice->f[lattice->points++] = lattice->window[line->first + i + HALF_WINDOW].f;
    }
    return NOF1_OK;
}

/* A line, from a neighbour's largest point uphill and then as far as the cut. */
static nof1_rc add(struct lattice *lattice, const int16_t *index)
{
    struct line line = {.points = 0};
    double at[AXES] = {0}, outer[2] = {0.0, 0.0};
    const size_t inner = lattice->inner;
    const struct nof1_bayes_axis *axis = &lattice->problem->axis[inner];
    bool known;
    TRY(seen(&known, lattice, index));
    if (known) {
        return NOF1_OK;
    }
    for (size_t a = 0; a < lattice->problem->axes; a++) {
        if (a != inner) {
            const struct entry *entry = entry_of(lattice, a, index[a]);
            at[a] = entry->value;
            outer[0] += entry->log_weight;
            outer[1] += entry->tail;
        }
    }
    long low = index[inner], high = low, best = low;
    double top = evaluate(lattice, at, outer, low);
    for (int side = -1; side <= 1; side += 2) {
        long *end = side < 0 ? &low : &high;
        double last = *end == best ? top : lattice->window[*end + HALF_WINDOW].top;
        while (exists(lattice, inner, *end + side) &&
               (last > lattice->top - lattice->rules->cut || *end == best)) {
            *end += side;
            last = evaluate(lattice, at, outer, *end);
            best = last > top ? *end : best;
            top = fmax(top, last);
        }
        bool wall = nof1_bayes_fixed(axis) || (axis->even && side < 0) ||
                    exists(lattice, inner, *end + side);
        lattice->open = lattice->open ||
                        (!wall && lattice->window[*end + HALF_WINDOW].f > lattice->top - IMPROPER);
    }
    if (!(top >= lattice->top - lattice->rules->cut)) {
        return NOF1_OK;
    }
    memcpy(line.index, index, sizeof line.index);
    line.index[inner] = (int16_t)best;
    line.first = (int16_t)low;
    line.points = (int16_t)(high - low + 1);
    return keep(lattice, &line);
}

/* From every line above the cut to its neighbours along the outer axes. */
static nof1_rc flood(struct lattice *lattice)
{
    for (size_t i = 0; i < lattice->lines && lattice->points < MOST_NODES; i++) {
        const struct line line = lattice->line[i];
        double top = lattice->f[line.start + (size_t)(line.index[lattice->inner] - line.first)];
        for (size_t a = 0; a < lattice->inner; a++) {
            const struct nof1_bayes_axis *axis = &lattice->problem->axis[a];
            for (int side = -1; side <= 1 && !nof1_bayes_fixed(axis); side += 2) {
                int16_t next[AXES];
                memcpy(next, line.index, sizeof next);
                next[a] = (int16_t)(next[a] + side);
                if (exists(lattice, a, next[a])) {
                    TRY(add(lattice, next));
                } else if (!(axis->even && lattice->base[a] + next[a] < 0)) {
                    lattice->open = lattice->open || top > lattice->top - IMPROPER;
                }
            }
        }
    }
    return NOF1_OK;
}

nof1_rc_value nof1_bayes_fill(struct lattice *lattice, const struct mode *mode, size_t modes)
{
    const struct nof1_bayes_problem *problem = lattice->problem;
    lattice->points = lattice->room = lattice->lines = lattice->line_room = 0;
    lattice->slots = lattice->used = 0;
    lattice->top = -INFINITY;
    lattice->open = false;
    lattice->window = nof1_arena_alloc(lattice->arena, NOF1_BAYES_WINDOW, sizeof *lattice->window);
    ENSURE(lattice->window != NULL, NOF1_E_NO_MEMORY);
    for (size_t a = 0; a < problem->axes; a++) {
        lattice->table[a] =
            nof1_arena_alloc(lattice->arena, NOF1_BAYES_WINDOW, sizeof **lattice->table);
        ENSURE(lattice->table[a] != NULL, NOF1_E_NO_MEMORY);
        lattice->base[a] = nof1_bayes_fixed(&problem->axis[a])
                               ? 0
                               : lround(mode[0].x[a] / lattice->step[a]);
    }
    for (size_t m = 0; m < modes; m++) {
        int16_t index[AXES] = {0};
        bool near = mode[m].f >= mode[0].f - lattice->rules->cut;
        for (size_t a = 0; a < problem->axes && near; a++) {
            double offset = nof1_bayes_fixed(&problem->axis[a])
                                ? 0.0
                                : rint(mode[m].x[a] / lattice->step[a] - (double)lattice->base[a]);
            near = fabs(offset) < HALF_WINDOW;
            if (near) {
                index[a] = (int16_t)offset;
            }
        }
        if (near) {
            TRY(add(lattice, index));
        }
    }
    return flood(lattice);
}
