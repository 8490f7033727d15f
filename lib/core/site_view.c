/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Which atom every trial of a frozen epoch is in (docs/protocol.md, "Difference rule" and
 * "Epochs"): the epoch held against what releases of the outcome family have used. A site keeps the
 * epoch that they used and the one that is to follow, and a plan is about one of them. Nothing here
 * is sent.
 */
#include <core/site_parts.h>

#include <stdlib.h>
#include <string.h>

const char *nof1_site_id_of(struct nof1_arena *arena, const struct nof1_epoch *epoch,
                            size_t trial)
{
    return nof1_site_trial_id(arena, epoch->patient_key[epoch->patient[trial]],
                              epoch->trial_key[trial]);
}

static int by_id(const void *left, const void *right)
{
    const struct site_unit *const *a = left;
    const struct site_unit *const *b = right;
    return strcmp((*a)->id, (*b)->id);
}

static nof1_rc sort_units(struct site_unit ***out, size_t *units, struct nof1_arena *arena,
                          const struct site_family *family)
{
    size_t count = 0;
    for (const struct site_unit *u = family->units; u != NULL; u = u->next) {
        count++;
    }
    *out = nof1_arena_alloc(arena, count + 1, sizeof **out);
    ENSURE(*out != NULL, NOF1_E_NO_MEMORY);
    *units = 0;
    for (struct site_unit *u = family->units; u != NULL; u = u->next) {
        (*out)[(*units)++] = u;
    }
    qsort(*out, *units, sizeof **out, by_id);
    return NOF1_OK;
}

/* The atom of a trial that a release has used: of the same content the same, else one of those that
 * changed alike. A change that is part of a larger one must not hide a smaller. */
static nof1_rc place_unit(struct nof1_site *site, struct nof1_arena *arena,
                          const struct site_family *family, struct site_view *view, size_t t)
{
    const char *change = "";
    char key[NOF1_ATOM_TEXT];
    view->unit[t]->frozen = true;
    TRY(nof1_site_change(&change, &view->number[t], arena, family, view->unit[t],
                         view->series[t]));
    if (change[0] == 0) {
        view->key[t] = view->unit[t]->key;
        return NOF1_OK;
    }
    nof1_atom_changed(key, view->unit[t]->key, change);
    view->key[t] = nof1_arena_text(site->arena, key);
    ENSURE(view->key[t] != NULL, NOF1_E_NO_MEMORY);
    return NOF1_OK;
}

static const char *last_series(const struct site_unit *unit)
{
    return unit->version[unit->versions - 1];
}

static int by_series(const void *left, const void *right)
{
    const struct site_unit *const *a = left;
    const struct site_unit *const *b = right;
    return strcmp(last_series(*a), last_series(*b));
}

/* Patients or trials may have other names than at the last freeze. A trial of a new name that is to
 * the last bit one that is gone is that one: a sum takes no notice of names. */
static nof1_rc find_renamed(struct nof1_site *site, struct nof1_arena *arena,
                            const struct site_family *family, struct site_view *view,
                            struct site_unit **gone, size_t units)
{
    size_t count = 0;
    for (size_t u = 0; u < units; u++) {
        if (!gone[u]->frozen) {
            gone[count++] = gone[u];
        }
    }
    qsort(gone, count, sizeof *gone, by_series);
    for (size_t t = 0; count > 0 && t < view->epoch->trials; t++) {
        struct site_unit wanted = {.versions = 1, .version = &view->series[t]}, *key = &wanted;
        struct site_unit **found = view->unit[t] != NULL
                                       ? NULL
                                       : bsearch(&key, gone, count, sizeof *gone, by_series);
        while (found != NULL && found > gone && by_series(found - 1, &key) == 0) {
            found--;
        }
        while (found != NULL && found < gone + count && by_series(found, &key) == 0 &&
               (*found)->frozen) {
            found++; /* taken by another trial of the same numbers */
        }
        if (found != NULL && found < gone + count && by_series(found, &key) == 0) {
            view->unit[t] = *found;
            TRY(place_unit(site, arena, family, view, t));
        }
    }
    return NOF1_OK;
}

static nof1_rc keep_gone(struct nof1_site *site, struct site_view *view,
                         struct site_unit *const *unit, size_t units)
{
    view->left = nof1_arena_alloc(site->arena, units + 1, sizeof(struct site_unit *));
    ENSURE(view->left != NULL, NOF1_E_NO_MEMORY);
    view->gone = 0;
    for (size_t u = 0; u < units; u++) {
        if (!unit[u]->frozen) {
            view->left[view->gone++] = unit[u];
        }
    }
    return NOF1_OK;
}

nof1_rc nof1_site_place(struct nof1_site *site, struct site_family *family, struct site_view *view)
{
    struct nof1_arena *arena NOF1_CLEANUP(nof1_arena_freep) = nof1_arena_new();
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    const struct nof1_epoch *epoch = view->epoch;
    size_t units = 0;
    struct site_unit **sorted = NULL;
    TRY(sort_units(&sorted, &units, arena, family));
    for (size_t u = 0; u < units; u++) {
        sorted[u]->frozen = false;
    }
    for (size_t t = 0; t < epoch->trials; t++) {
        struct site_unit wanted = {.id = nof1_site_id_of(arena, epoch, t)}, *key = &wanted;
        ENSURE(wanted.id != NULL, NOF1_E_NO_MEMORY);
        struct site_unit **found = bsearch(&key, sorted, units, sizeof *sorted, by_id);
        view->unit[t] = found == NULL ? NULL : *found;
        view->key[t] = NOF1_ATOM_FRESH;
        view->number[t] = 0;
        if (found != NULL) {
            TRY(place_unit(site, arena, family, view, t));
        }
    }
    TRY(find_renamed(site, arena, family, view, sorted, units));
    TRY(sort_units(&sorted, &units, arena, family));
    return keep_gone(site, view, sorted, units);
}

static nof1_rc add_view(struct nof1_site *site, struct site_family *family,
                        const struct nof1_epoch *epoch)
{
    struct site_view *view = nof1_arena_alloc(site->arena, 1, sizeof *view);
    ENSURE(view != NULL, NOF1_E_NO_MEMORY);
    view->epoch = epoch;
    view->unit = nof1_arena_alloc(site->arena, epoch->trials + 1, sizeof *view->unit);
    view->series = nof1_arena_alloc(site->arena, epoch->trials + 1, sizeof *view->series);
    view->key = nof1_arena_alloc(site->arena, epoch->trials + 1, sizeof *view->key);
    view->number = nof1_arena_alloc(site->arena, epoch->trials + 1, sizeof *view->number);
    ENSURE(view->unit != NULL && view->series != NULL && view->key != NULL &&
               view->number != NULL,
           NOF1_E_NO_MEMORY);
    for (size_t t = 0; t < epoch->trials; t++) {
        TRY(nof1_site_series(&view->series[t], site, family, &epoch->trial[t]));
    }
    view->next = family->views;
    family->views = view;
    return nof1_site_place(site, family, view);
}

struct site_view *nof1_site_view(const struct site_family *family, const struct nof1_epoch *epoch)
{
    struct site_view *view = family->views;
    while (view != NULL && view->epoch != epoch) {
        view = view->next;
    }
    return view;
}

nof1_rc nof1_site_restore_atoms(struct nof1_site *site, struct nof1_error *error)
{
    const struct nof1_charter *charter = site->config.charter;
    site->family = nof1_arena_alloc(site->arena, charter->outcomes + 1, sizeof *site->family);
    ENSURE(site->family != NULL, NOF1_E_NO_MEMORY);
    for (size_t o = 0; o < charter->outcomes; o++) {
        bool seen = false;
        for (size_t f = 0; f < site->families; f++) {
            seen = seen || strcmp(site->family[f].name, charter->outcome[o].family) == 0;
        }
        if (!seen) {
            struct site_family *family = &site->family[site->families++];
            family->name = charter->outcome[o].family;
            TRY(nof1_site_restore_family(site, family, error));
            for (const struct nof1_epoch *e = site->config.epoch; e != NULL; e = e->earlier) {
                TRY(add_view(site, family, e));
            }
        }
    }
    return NOF1_OK;
}
