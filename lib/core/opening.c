/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The layout of round 0 (docs/protocol.md, "Limits on the totals"): counts that belong to the
 * framework, the same for every analysis. Derived from plan, charter and prepared model only, so
 * that vaults, coordinator and auditors name the same elements. Must never look at data.
 */
#include <core/opening.h>

#include <math.h>
#include <string.h>

#include <core/atoms.h>

/* Largest count a total may show: 2^30 patients a site and far fewer than 2^20 sites. */
#define COUNT_MAX 0x1p50

static nof1_rc name_element(struct nof1_arena *arena, const char **name, size_t *at,
                            const char *first, const char *second)
{
    name[*at] = nof1_arena_printf(arena, "%s%s", first, second);
    ENSURE(name[*at] != NULL, NOF1_E_NO_MEMORY);
    *at += 1;
    return NOF1_OK;
}

static nof1_rc name_groups(struct nof1_arena *arena, const char **name, size_t *at,
                           const struct nof1_model *model, const char *what)
{
    for (size_t g = 0; g < model->groups; g++) {
        TRY(name_element(arena, name, at, what, model->group[g]));
    }
    return NOF1_OK;
}

/* Nothing where one group is everybody: the atoms' own counts say it. */
static nof1_rc name_cells(struct nof1_arena *arena, const char **name, size_t *at,
                          const struct nof1_model *model, size_t atoms)
{
    const struct nof1_plan *plan = model->study->plan;
    const struct nof1_charter *charter = model->study->charter;
    for (size_t i = 0; model->groups > 1 && i < atoms * model->groups * plan->blocks; i++) {
        size_t a = i / (model->groups * plan->blocks), g = i / plan->blocks % model->groups;
        const char *of =
            nof1_arena_printf(arena, "%s/%s/%s", plan->atoms > 0 ? plan->atom[a] : "all",
                              model->group[g], charter->block[plan->block[i % plan->blocks]].id);
        ENSURE(of != NULL, NOF1_E_NO_MEMORY);
        TRY(name_element(arena, name, at, "cell patients used/", of));
        TRY(name_element(arena, name, at, "cell sites used/", of));
    }
    return NOF1_OK;
}

static nof1_rc name_atoms(struct nof1_arena *arena, const char **name, size_t *at,
                          const struct nof1_model *model, size_t atoms)
{
    static const char *const part[NOF1_ATOM_PARTS] = {"atom patients used/", "atom sites used/",
                                                      "atom patients left/", "atom sites left/"};
    const struct nof1_plan *plan = model->study->plan;
    const struct nof1_charter *charter = model->study->charter;
    for (size_t a = 0; a < atoms; a++) {
        for (size_t b = 0; b < plan->blocks; b++) {
            const char *block = charter->block[plan->block[b]].id;
            const char *of = nof1_arena_printf(arena, "%s/%s",
                                               plan->atoms > 0 ? plan->atom[a] : "all", block);
            ENSURE(of != NULL, NOF1_E_NO_MEMORY);
            for (size_t p = 0; p < NOF1_ATOM_PARTS; p++) {
                TRY(name_element(arena, name, at, part[p], of));
            }
        }
    }
    TRY(name_element(arena, name, at, "atoms not listed", ""));
    TRY(name_element(arena, name, at, "changed in part", ""));
    TRY(name_element(arena, name, at, "changed in part/sum", ""));
    TRY(name_element(arena, name, at, "changed in part/squares", ""));
    return name_cells(arena, name, at, model, atoms);
}

static bool is_sparse(const struct nof1_element *element)
{
    return element->sparse && element->role == NOF1_OUTCOME;
}

bool nof1_support_same(const struct nof1_element *a, const struct nof1_element *b)
{
    return is_sparse(a) && is_sparse(b) && a->factor > 0 && a->factor == b->factor &&
           a->group == b->group;
}

/* Is this the first element of its factor in its group? */
static bool is_first(const struct nof1_layout *layout, size_t e)
{
    bool first = layout->element[e].factor > 0;
    for (size_t i = 0; i < e; i++) {
        first = first && !nof1_support_same(&layout->element[i], &layout->element[e]);
    }
    return first;
}

static bool is_known(const struct nof1_opening *opening, const char *name, bool reference)
{
    bool known = false;
    for (size_t i = 0; i < opening->sparse; i++) {
        known = known || (opening->support[i].reference == reference &&
                          strcmp(opening->support[i].name, name) == 0);
    }
    return known;
}

/* The round's sparse elements in their order, then the references; each name once. */
static nof1_rc add_support(struct nof1_opening *out, struct nof1_support *support,
                           const struct nof1_layout *layout, uint32_t round)
{
    out->support = support;
    for (size_t i = 0; i < 2 * layout->elements; i++) {
        size_t e = i % layout->elements;
        bool reference = i >= layout->elements;
        const struct nof1_element *element = &layout->element[e];
        if (is_sparse(element) && (!reference || is_first(layout, e)) &&
            !is_known(out, element->name, reference)) {
            support[out->sparse++] =
                (struct nof1_support){round, e, reference, element->name};
        }
    }
    return NOF1_OK;
}

/* The arms; then all outcome elements, each name once. */
static nof1_rc add_moving(struct nof1_opening *out, struct nof1_moving *move,
                          struct nof1_arena *arena, const struct nof1_layout *layout,
                          const struct nof1_charter *charter, uint32_t round)
{
    for (size_t k = 0; round == 1 && k < charter->treatments; k++) {
        const char *name = nof1_arena_printf(arena, "arm %s", charter->treatment[k]);
        ENSURE(name != NULL, NOF1_E_NO_MEMORY);
        move[out->moving++] = (struct nof1_moving){round, k, true, name};
    }
    for (size_t e = 0; e < layout->elements; e++) {
        bool known = layout->element[e].role != NOF1_OUTCOME;
        for (size_t i = 0; i < out->moving; i++) {
            known = known || strcmp(move[i].name, layout->element[e].name) == 0;
        }
        if (!known) {
            move[out->moving++] =
                (struct nof1_moving){round, e, false, layout->element[e].name};
        }
    }
    out->move = move;
    return NOF1_OK;
}

/* The list's changed atoms, and whether it knows any release. */
static nof1_rc find_changed(struct nof1_opening *out, struct nof1_arena *arena,
                            const struct nof1_plan *plan)
{
    size_t *atom = nof1_arena_alloc(arena, plan->atoms + 1, sizeof *atom);
    ENSURE(atom != NULL, NOF1_E_NO_MEMORY);
    for (size_t a = 0; a < plan->atoms; a++) {
        if (nof1_atom_has_changed(plan->atom[a])) {
            atom[out->moved_atoms++] = a;
        }
        out->later = out->later || strcmp(plan->atom[a], NOF1_ATOM_FRESH) != 0;
    }
    out->moved_atom = atom;
    return NOF1_OK;
}

static nof1_rc find_support(struct nof1_opening *out, struct nof1_arena *arena,
                            const struct nof1_model *model)
{
    struct nof1_layout layout[NOF1_SUPPORT_ROUNDS] = {{0}};
    size_t most = 1;
    uint32_t rounds = model->max_rounds < NOF1_SUPPORT_ROUNDS ? model->max_rounds
                                                              : NOF1_SUPPORT_ROUNDS;
    for (uint32_t r = 0; r < rounds; r++) {
        TRY(model->analysis->layout(model, r + 1, arena, &layout[r]));
        most += 2 * layout[r].elements;
    }
    struct nof1_support *support = nof1_arena_alloc(arena, most, sizeof *support);
    const struct nof1_charter *charter = model->study->charter;
    struct nof1_moving *move = nof1_arena_alloc(arena, most + charter->treatments, sizeof *move);
    ENSURE(support != NULL && move != NULL, NOF1_E_NO_MEMORY);
    for (uint32_t r = 0; r < rounds; r++) {
        TRY(add_support(out, support, &layout[r], r + 1));
        if (out->moved_atoms > 0) {
            TRY(add_moving(out, move, arena, &layout[r], charter, r + 1));
        }
    }
    return NOF1_OK;
}

static nof1_rc name_support(struct nof1_arena *arena, const char **name, size_t *at,
                            const struct nof1_opening *opening, const char *what)
{
    for (size_t i = 0; i < opening->sparse; i++) {
        const char *of = nof1_arena_printf(
            arena, "%s%s", opening->support[i].reference ? "no level of " : "",
            opening->support[i].name);
        ENSURE(of != NULL, NOF1_E_NO_MEMORY);
        TRY(name_element(arena, name, at, what, of));
    }
    return NOF1_OK;
}

static nof1_rc name_fed(struct nof1_arena *arena, const char **name, size_t *at,
                        const struct nof1_opening *opening, const struct nof1_plan *plan)
{
    static const char *const part[NOF1_FED_PARTS] = {"patients feeding", "sites feeding",
                                                     "patients left feeding",
                                                     "sites left feeding"};
    for (size_t i = 0; opening->later && i < opening->atoms * opening->sparse; i++) {
        const struct nof1_support *support = &opening->support[i % opening->sparse];
        const char *of = nof1_arena_printf(arena, "/%s/%s%s", plan->atom[i / opening->sparse],
                                           support->reference ? "no level of " : "", support->name);
        ENSURE(of != NULL, NOF1_E_NO_MEMORY);
        for (size_t p = 0; p < NOF1_FED_PARTS; p++) {
            TRY(name_element(arena, name, at, part[p], of));
        }
    }
    for (size_t a = 0; opening->later && a < opening->atoms; a++) {
        TRY(name_element(arena, name, at, "patients left unknown/", plan->atom[a]));
    }
    return NOF1_OK;
}

static nof1_rc name_moved(struct nof1_arena *arena, const char **name, size_t *at,
                          const struct nof1_opening *opening, const struct nof1_plan *plan)
{
    for (size_t i = 0; i < opening->moved_atoms * opening->moving; i++) {
        const char *of =
            nof1_arena_printf(arena, "%s/%s", plan->atom[opening->moved_atom[i / opening->moving]],
                              opening->move[i % opening->moving].name);
        ENSURE(of != NULL, NOF1_E_NO_MEMORY);
        TRY(name_element(arena, name, at, "sites changed/", of));
        TRY(name_element(arena, name, at, "patients changed enough/", of));
        TRY(name_element(arena, name, at, "sites changed enough/", of));
    }
    return NOF1_OK;
}

static nof1_rc name_all(const struct nof1_opening *opening, struct nof1_arena *arena,
                        const char **name, const struct nof1_model *model)
{
    const struct nof1_plan *plan = model->study->plan;
    const struct nof1_charter *charter = model->study->charter;
    size_t at = 0;
    TRY(name_element(arena, name, &at, "sites", ""));
    TRY(name_element(arena, name, &at, "trials", ""));
    TRY(name_element(arena, name, &at, "patients", ""));
    TRY(name_element(arena, name, &at, "left out", ""));
    TRY(name_groups(arena, name, &at, model, "group patients/"));
    TRY(name_groups(arena, name, &at, model, "group trials/"));
    TRY(name_groups(arena, name, &at, model, "group sites/"));
    for (size_t b = 0; b < plan->blocks; b++) {
        TRY(name_element(arena, name, &at, "block patients/", charter->block[plan->block[b]].id));
    }
    TRY(name_support(arena, name, &at, opening, "sites feeding/"));
    TRY(name_support(arena, name, &at, opening, "patients feeding/"));
    TRY(name_atoms(arena, name, &at, model, opening->atoms));
    TRY(name_fed(arena, name, &at, opening, plan));
    TRY(name_moved(arena, name, &at, opening, plan));
    ENSURE(at == opening->elements, NOF1_E_BUG);
    return NOF1_OK;
}

nof1_rc nof1_opening_layout(struct nof1_opening *out, struct nof1_arena *arena,
                            const struct nof1_model *model, size_t atoms)
{
    const struct nof1_plan *plan = model->study->plan;
    ENSURE(plan->atoms == 0 || plan->atoms == atoms, NOF1_E_BUG);
    *out = (struct nof1_opening){.atoms = atoms == 0 ? 1 : atoms, .atom_blocks = plan->blocks};
    TRY(find_changed(out, arena, plan));
    TRY(find_support(out, arena, model));
    out->group_patients = 4;
    out->group_trials = out->group_patients + model->groups;
    out->group_sites = out->group_trials + model->groups;
    out->block_patients = out->group_sites + model->groups;
    out->sparse_sites = out->block_patients + plan->blocks;
    out->sparse_patients = out->sparse_sites + out->sparse;
    out->atom_first = out->sparse_patients + out->sparse;
    out->unlisted = out->atom_first + NOF1_ATOM_PARTS * out->atoms * out->atom_blocks;
    out->changed = out->unlisted + 1;
    out->groups = model->groups;
    out->cell_first = out->changed + 3;
    out->fed_first = out->cell_first + (model->groups > 1 ? 2 * out->atoms * model->groups *
                                                                out->atom_blocks : 0);
    out->unknown_first =
        out->fed_first + (out->later ? NOF1_FED_PARTS * out->atoms * out->sparse : 0);
    out->moved_first = out->unknown_first + (out->later ? out->atoms : 0);
    out->elements = nof1_opening_moved_at(out, out->moved_atoms, 0);
    const char **name = nof1_arena_alloc(arena, out->elements, sizeof *name);
    ENSURE(name != NULL, NOF1_E_NO_MEMORY);
    out->name = name;
    return name_all(out, arena, name, model);
}

size_t nof1_opening_atom_at(const struct nof1_opening *opening, size_t atom, size_t block,
                            enum nof1_atom_part part)
{
    return opening->atom_first + NOF1_ATOM_PARTS * (atom * opening->atom_blocks + block) +
           (size_t)part;
}

double nof1_opening_atom(const struct nof1_opening *opening, const double *total, size_t atom,
                         enum nof1_atom_part part)
{
    double sum = 0;
    for (size_t b = 0; b < opening->atom_blocks; b++) {
        sum += total[nof1_opening_atom_at(opening, atom, b, part)];
    }
    return sum;
}

size_t nof1_opening_cell_at(const struct nof1_opening *opening, size_t atom, size_t group,
                            size_t block)
{
    return opening->groups <= 1
               ? nof1_opening_atom_at(opening, atom, block, NOF1_ATOM_USED)
               : opening->cell_first +
                     2 * ((atom * opening->groups + group) * opening->atom_blocks + block);
}

size_t nof1_opening_fed_at(const struct nof1_opening *opening, size_t atom, size_t sparse,
                           enum nof1_fed_part part)
{
    return opening->fed_first + NOF1_FED_PARTS * (atom * opening->sparse + sparse) + (size_t)part;
}

size_t nof1_opening_moved_at(const struct nof1_opening *opening, size_t nth, size_t moving)
{
    return opening->moved_first + NOF1_MOVED_PARTS * (nth * opening->moving + moving);
}

double nof1_opening_cell(const struct nof1_opening *opening, const double *total, size_t atom,
                         size_t group, enum nof1_atom_part part)
{
    double sum = 0;
    for (size_t b = 0; b < opening->atom_blocks; b++) {
        sum += total[nof1_opening_cell_at(opening, atom, group, b) + (size_t)part];
    }
    return sum;
}

static nof1_rc read_count(uint64_t *out, double total)
{
    ENSURE(total >= 0 && total <= COUNT_MAX && floor(total) == total, NOF1_E2501);
    *out = (uint64_t)total;
    return NOF1_OK;
}

static nof1_rc read_run(const uint64_t **out, struct nof1_arena *arena, const double *total,
                        size_t count)
{
    uint64_t *run = nof1_arena_alloc(arena, count, sizeof *run);
    ENSURE(run != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < count; i++) {
        TRY(read_count(&run[i], total[i]));
    }
    *out = run;
    return NOF1_OK;
}

nof1_rc nof1_opening_counts(struct nof1_counts *out, struct nof1_arena *arena,
                            const struct nof1_model *model, const struct nof1_opening *opening,
                            const double *total)
{
    for (size_t i = 0; i < opening->elements; i++) {
        uint64_t ignored = 0;
        TRY(read_count(&ignored, total[i]));
    }
    TRY(read_count(&out->sites, total[0]));
    TRY(read_count(&out->trials, total[1]));
    TRY(read_count(&out->patients, total[2]));
    TRY(read_count(&out->left_out, total[3]));
    TRY(read_run(&out->group_patients, arena, total + opening->group_patients, model->groups));
    TRY(read_run(&out->group_trials, arena, total + opening->group_trials, model->groups));
    return read_run(&out->group_sites, arena, total + opening->group_sites, model->groups);
}
