/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The release ratio, as ratio.h says. Sums of one block over disjoint groups are compared both
 * group by group and, added up, with everybody: a block that also has a sum over all groups can
 * hide in neither. Design sums are no outcome numbers and count nothing.
 */
#include <core/ratio.h>

static struct nof1_load *find_load(struct nof1_load *load, size_t count,
                                   const struct nof1_element *element)
{
    for (size_t i = 0; i < count; i++) {
        if (load[i].block == element->block && load[i].group == element->group) {
            return &load[i];
        }
    }
    return NULL;
}

static void add_element(struct nof1_load *load, size_t *count, const struct nof1_element *element)
{
    uint16_t size = element->block_size == 0 ? 1 : element->block_size;
    struct nof1_load *found = find_load(load, *count, element);
    if (found == NULL) {
        load[*count] = (struct nof1_load){element->block, size, element->group, 1};
        *count += 1;
        return;
    }
    found->scalars += 1;
    found->block_size = size < found->block_size ? size : found->block_size;
}

nof1_rc nof1_loads_of(struct nof1_loads *out, struct nof1_arena *arena,
                      const struct nof1_model *model)
{
    /* every load comes from an element: there are no more loads than elements of all rounds */
    size_t capacity = model->max_elements * (model->max_rounds == 0 ? 1 : model->max_rounds);
    struct nof1_load *load = nof1_arena_alloc(arena, capacity, sizeof *load);
    ENSURE(load != NULL, NOF1_E_NO_MEMORY);
    size_t count = 0;
    for (uint32_t r = 1; r <= model->max_rounds; r++) {
        struct nof1_layout layout = {0};
        TRY(model->analysis->layout(model, r, arena, &layout));
        ENSURE(layout.elements <= model->max_elements, NOF1_E_BUG);
        for (size_t e = 0; e < layout.elements; e++) {
            if (layout.element[e].role == NOF1_OUTCOME) {
                ENSURE(layout.element[e].group < (int)model->groups, NOF1_E_BUG);
                add_element(load, &count, &layout.element[e]);
            }
        }
    }
    *out = (struct nof1_loads){count, load};
    return NOF1_OK;
}

uint64_t nof1_ratio(uint64_t scalars, uint64_t block_size, uint64_t patients)
{
    if (scalars == 0) {
        return 0;
    }
    if (patients == 0 || scalars > NOF1_RATIO_NONE / NOF1_RATIO_UNIT) {
        return NOF1_RATIO_NONE;
    }
    if (patients > UINT64_MAX / UINT16_MAX) {
        return 1;
    }
    uint64_t numbers = block_size * patients;
    uint64_t unit = scalars * NOF1_RATIO_UNIT;
    return unit / numbers + (unit % numbers != 0 ? 1 : 0);
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* A forged total may be smaller than what one site has: then nobody else is left. */
static uint64_t without(uint64_t all, uint64_t own)
{
    return own < all ? all - own : 0;
}

/* Every number of the load's block, whatever its group. */
static uint64_t block_scalars(const struct nof1_loads *loads, uint16_t block, uint16_t *size)
{
    uint64_t scalars = 0;
    for (size_t i = 0; i < loads->count; i++) {
        if (loads->load[i].block == block) {
            scalars += loads->load[i].scalars;
            *size = loads->load[i].block_size < *size ? loads->load[i].block_size : *size;
        }
    }
    return scalars;
}

uint64_t nof1_ratio_groups(const struct nof1_loads *loads, size_t groups, uint64_t all,
                           const uint64_t *patients, uint64_t own_all, const uint64_t *own)
{
    uint64_t worst = 0;
    for (size_t i = 0; i < loads->count; i++) {
        const struct nof1_load *load = &loads->load[i];
        uint16_t size = load->block_size;
        uint64_t scalars = block_scalars(loads, load->block, &size);
        if (all > 0) {
            worst = larger(worst, nof1_ratio(scalars, size, without(all, own_all)));
        }
        if (load->group >= 0 && (size_t)load->group < groups && patients[load->group] > 0) {
            uint64_t mine = own == NULL ? 0 : own[load->group];
            worst = larger(worst, nof1_ratio(load->scalars, load->block_size,
                                             without(patients[load->group], mine)));
        }
    }
    return worst;
}

/* Numbers of the block of load i that the atom feeds. */
static uint64_t atom_scalars(const struct nof1_loads *loads, const struct nof1_opening *opening,
                             const double *total, size_t atom, uint16_t block, uint16_t *size)
{
    uint64_t scalars = 0;
    for (size_t i = 0; i < loads->count; i++) {
        const struct nof1_load *load = &loads->load[i];
        bool fed = load->group < 0 || opening->groups <= 1 ||
                   nof1_opening_cell(opening, total, atom, (size_t)load->group,
                                     NOF1_ATOM_USED) > 0;
        if (load->block == block && fed) {
            scalars += load->scalars;
            *size = load->block_size < *size ? load->block_size : *size;
        }
    }
    return scalars;
}

uint64_t nof1_ratio_atom(const struct nof1_loads *loads, const struct nof1_opening *opening,
                         const double *total, size_t atom, uint64_t patients)
{
    uint64_t worst = 0;
    for (size_t i = 0; i < loads->count; i++) {
        uint16_t size = loads->load[i].block_size;
        uint64_t scalars =
            atom_scalars(loads, opening, total, atom, loads->load[i].block, &size);
        worst = larger(worst, nof1_ratio(scalars, size, patients));
    }
    return worst;
}

uint64_t nof1_ratio_limit(double limit)
{
    if (!(limit > 0)) {
        return 0;
    }
    return limit > 1000 ? NOF1_RATIO_NONE
                        : (uint64_t)(limit * (double)NOF1_RATIO_UNIT + 0.5);
}
