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

/* The trials of an epoch and the units that releases have used, while each finds the other. */
struct placing {
    struct nof1_site *site;
    struct nof1_arena *arena;
    const struct site_family *family;
    struct site_view *view;
    size_t units;
    struct site_unit **unit; /* by id */
    size_t *named;           /* [trials] the unit of its name; NOF1_NONE: the name is new */
    size_t *taker;           /* [units] the trial that it is; NOF1_NONE: none yet */
};

static nof1_rc take(struct placing *p, size_t t, size_t u)
{
    p->view->unit[t] = p->unit[u];
    p->taker[u] = t;
    return place_unit(p->site, p->arena, p->family, p->view, t);
}

/* What is compared: one part, or all of them (NOF1_NONE). NULL: the charter did not have it. */
static const char *content_of(const char *series, size_t part)
{
    return part == NOF1_NONE ? series : nof1_site_part(series, part);
}

static const char *used_content(const struct site_unit *unit, size_t part)
{
    return content_of(unit->version[unit->versions - 1], part);
}

struct content {
    const char *text;
    size_t length, unit;
};

static int by_content(const void *left, const void *right)
{
    const struct content *a = left;
    const struct content *b = right;
    return strncmp(a->text, b->text, a->length);
}

/* The first of those that are not below. */
static size_t first_content(const struct content *content, size_t count,
                            const struct content *wanted)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        bool below = by_content(&content[middle], wanted) < 0;
        low = below ? middle + 1 : low;
        high = below ? high : middle;
    }
    return low;
}

static nof1_rc match_names(struct placing *p, size_t part, size_t length)
{
    for (size_t t = 0; t < p->view->epoch->trials; t++) {
        size_t u = p->named[t];
        const char *is = content_of(p->view->series[t], part);
        const char *was = u == NOF1_NONE ? NULL : used_content(p->unit[u], part);
        if (p->view->unit[t] == NULL && is != NULL && was != NULL && p->taker[u] == NOF1_NONE &&
            strncmp(is, was, length) == 0) {
            TRY(take(p, t, u));
        }
    }
    return NOF1_OK;
}

/* A trial is the unit that was to the last bit what it is now, first that of its own name: a sum
 * takes no notice of names. Names that all move on by one would else hide the one who changed. */
static nof1_rc match(struct placing *p, size_t part)
{
    size_t count = 0;
    size_t length = part == NOF1_NONE ? SITE_PART_DIGEST * p->family->parts + 1 : SITE_PART_DIGEST;
    struct content *content = nof1_arena_alloc(p->arena, p->units + 1, sizeof *content);
    ENSURE(content != NULL, NOF1_E_NO_MEMORY);
    TRY(match_names(p, part, length));
    for (size_t u = 0; u < p->units; u++) {
        const char *text = used_content(p->unit[u], part);
        if (text != NULL && p->taker[u] == NOF1_NONE) {
            content[count++] = (struct content){text, length, u};
        }
    }
    qsort(content, count, sizeof *content, by_content);
    for (size_t t = 0; count > 0 && t < p->view->epoch->trials; t++) {
        struct content wanted = {content_of(p->view->series[t], part), length, NOF1_NONE};
        if (p->view->unit[t] != NULL || wanted.text == NULL) {
            continue;
        }
        size_t c = first_content(content, count, &wanted);
        while (c < count && p->taker[content[c].unit] != NOF1_NONE) {
            c++; /* taken by another trial of the same numbers */
        }
        if (c < count && by_content(&content[c], &wanted) == 0) {
            TRY(take(p, t, content[c].unit));
        }
    }
    return NOF1_OK;
}

/* Who is like nobody before has changed, and is known by the name. Where another one has turned out
 * to be the unit of that name, it is the unit of the other's name, and so on. */
static nof1_rc match_changed(struct placing *p)
{
    for (size_t t = 0; t < p->view->epoch->trials; t++) {
        size_t u = p->view->unit[t] == NULL ? p->named[t] : NOF1_NONE;
        while (u != NOF1_NONE && p->taker[u] != NOF1_NONE) {
            u = p->named[p->taker[u]];
        }
        if (u != NOF1_NONE) {
            TRY(take(p, t, u));
        }
    }
    return NOF1_OK;
}

static nof1_rc keep_gone(const struct placing *p)
{
    struct site_view *view = p->view;
    view->left = nof1_arena_alloc(p->site->arena, p->units + 1, sizeof(struct site_unit *));
    ENSURE(view->left != NULL, NOF1_E_NO_MEMORY);
    view->gone = 0;
    for (size_t u = 0; u < p->units; u++) {
        if (p->taker[u] == NOF1_NONE) {
            view->left[view->gone++] = p->unit[u];
        }
    }
    return NOF1_OK;
}

static nof1_rc begin_placing(struct placing *p)
{
    const struct nof1_epoch *epoch = p->view->epoch;
    TRY(sort_units(&p->unit, &p->units, p->arena, p->family));
    p->named = nof1_arena_alloc(p->arena, epoch->trials + 1, sizeof *p->named);
    p->taker = nof1_arena_alloc(p->arena, p->units + 1, sizeof *p->taker);
    ENSURE(p->named != NULL && p->taker != NULL, NOF1_E_NO_MEMORY);
    for (size_t u = 0; u < p->units; u++) {
        p->taker[u] = NOF1_NONE;
    }
    for (size_t t = 0; t < epoch->trials; t++) {
        struct site_unit wanted = {.id = nof1_site_id_of(p->arena, epoch, t)}, *key = &wanted;
        ENSURE(wanted.id != NULL, NOF1_E_NO_MEMORY);
        struct site_unit **found = bsearch(&key, p->unit, p->units, sizeof *p->unit, by_id);
        p->named[t] = found == NULL ? NOF1_NONE : (size_t)(found - p->unit);
        p->view->unit[t] = NULL;
        p->view->key[t] = NOF1_ATOM_FRESH;
        p->view->number[t] = 0;
    }
    return NOF1_OK;
}

nof1_rc nof1_site_place(struct nof1_site *site, struct site_family *family, struct site_view *view)
{
    struct nof1_arena *arena NOF1_CLEANUP(nof1_arena_freep) = nof1_arena_new();
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    struct placing placing = {.site = site, .arena = arena, .family = family, .view = view};
    TRY(begin_placing(&placing));
    TRY(match(&placing, NOF1_NONE));
    for (size_t part = 0; part < family->parts; part++) {
        if (nof1_site_is_outcome(family, part)) {
            TRY(match(&placing, part));
        }
    }
    TRY(match_changed(&placing));
    return keep_gone(&placing);
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
