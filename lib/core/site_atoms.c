/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The site's memory of the difference rule and of the release ratio (docs/protocol.md, E2210 and
 * E2301): per outcome family the atom of every patient and what was released about every atom. They
 * belong to study and family, never to a charter version. Stored as "atoms/FAMILY"; patients appear
 * under the hex of their local key, in the site's own store only.
 */
#include <core/site_parts.h>

#include <string.h>

#include <base/document.h>
#include <core/census_analysis.h>

struct site_family *nof1_site_family(const struct nof1_site *site, const struct nof1_plan *plan)
{
    const char *name = site->config.charter->outcome[plan->outcome].family;
    for (size_t f = 0; f < site->families; f++) {
        if (strcmp(site->family[f].name, name) == 0) {
            return &site->family[f];
        }
    }
    return NULL;
}

/* ---- restoring ------------------------------------------------------------ */

/* Canonical maps are sorted by key: bisect. */
static const struct nof1_node *sorted_get(const struct nof1_node *map, const char *key)
{
    size_t low = 0, high = map->items;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(map->item[middle].key, key);
        if (order == 0) {
            return &map->item[middle];
        }
        low = order < 0 ? middle + 1 : low;
        high = order < 0 ? high : middle;
    }
    return NULL;
}

static const char *patient_hex(struct nof1_arena *arena, const struct nof1_epoch *epoch, size_t p)
{
    size_t length = strlen(epoch->patient_key[p]);
    char *hex = nof1_arena_alloc(arena, 2 * length + 1, 1);
    if (hex != NULL) {
        nof1_site_hex(hex, (const uint8_t *)epoch->patient_key[p], length);
    }
    return hex;
}

/* An unchanged series keeps its atom; what is new or changed since the stored epoch forms one. */
static nof1_rc key_of_patient(const char **key, struct nof1_site *site, struct nof1_arena *arena,
                              const struct nof1_node *patients, size_t p, const char *otherwise)
{
    const char *hex = patient_hex(arena, site->config.epoch, p);
    ENSURE(hex != NULL, NOF1_E_NO_MEMORY);
    const struct nof1_node *stored = patients == NULL ? NULL : sorted_get(patients, hex);
    uint8_t digest[NOF1_HASH_BYTES];
    *key = otherwise;
    if (stored == NULL) {
        return NOF1_OK;
    }
    ENSURE(stored->kind == NOF1_LIST && stored->items == 2, NOF1_E_STORE);
    if (nof1_site_unhex(digest, NOF1_HASH_BYTES, stored->item[0].text) &&
        memcmp(digest, site->config.epoch->digest[p], NOF1_HASH_BYTES) == 0) {
        *key = nof1_arena_text(site->arena, stored->item[1].text);
        ENSURE(*key != NULL, NOF1_E_NO_MEMORY);
    }
    return NOF1_OK;
}

bool nof1_site_atom_released(const char *key)
{
    return strlen(key) + 1 == NOF1_ATOM_TEXT; /* a hash; the roots "0" and "e2" are short */
}

/* Who was used by a release and is frozen no more stays on the list: a sum without that patient
 * would tell that patient's numbers by difference. */
static nof1_rc find_gone(struct site_family *family, struct nof1_site *site,
                         struct nof1_arena *arena, const struct nof1_node *patients)
{
    const struct nof1_epoch *epoch = site->config.epoch;
    bool *seen = nof1_arena_alloc(arena, patients->items + 1, sizeof *seen);
    family->left = nof1_arena_alloc(site->arena, patients->items + 1, sizeof *family->left);
    ENSURE(seen != NULL && family->left != NULL, NOF1_E_NO_MEMORY);
    for (size_t p = 0; p < epoch->patients; p++) {
        const char *hex = patient_hex(arena, epoch, p);
        ENSURE(hex != NULL, NOF1_E_NO_MEMORY);
        const struct nof1_node *stored = sorted_get(patients, hex);
        if (stored != NULL) {
            seen[stored - patients->item] = true;
        }
    }
    for (size_t i = 0; i < patients->items; i++) {
        const struct nof1_node *stored = &patients->item[i];
        ENSURE(stored->kind == NOF1_LIST && stored->items == 2, NOF1_E_STORE);
        if (!seen[i] && nof1_site_atom_released(stored->item[1].text)) {
            struct site_gone *gone = &family->left[family->gone++];
            *gone = (struct site_gone){nof1_arena_text(site->arena, stored->key),
                                       nof1_arena_text(site->arena, stored->item[0].text),
                                       nof1_arena_text(site->arena, stored->item[1].text)};
            ENSURE(gone->hex != NULL && gone->digest != NULL && gone->key != NULL,
                   NOF1_E_NO_MEMORY);
        }
    }
    return NOF1_OK;
}

static nof1_rc add_charge(struct nof1_site *site, struct site_family *family, const char *key,
                          uint64_t ratio, uint64_t net)
{
    struct site_charge *charge =
        nof1_arena_alloc(site->arena, family->charges + 1, sizeof *charge);
    ENSURE(charge != NULL, NOF1_E_NO_MEMORY);
    if (family->charges > 0) {
        memcpy(charge, family->charge, family->charges * sizeof *charge);
    }
    charge[family->charges] = (struct site_charge){nof1_arena_text(site->arena, key), ratio, net};
    ENSURE(charge[family->charges].key != NULL, NOF1_E_NO_MEMORY);
    family->charge = charge;
    family->charges += 1;
    return NOF1_OK;
}

static nof1_rc read_charges(struct nof1_site *site, struct site_family *family,
                            const struct nof1_node *charges, struct nof1_error *error)
{
    for (size_t c = 0; c < charges->items; c++) {
        int64_t ratio = 0, net = 0;
        TRY(nof1_node_integer(&ratio, &charges->item[c], "ratio", 0, INT64_C(1) << 53, error));
        TRY(nof1_node_integer(&net, &charges->item[c], "net", 0, INT64_C(1) << 53, error));
        TRY(add_charge(site, family, charges->item[c].key, (uint64_t)ratio, (uint64_t)net));
    }
    return NOF1_OK;
}

struct stored_family {
    struct nof1_arena *arena;
    const char *name;
    const struct nof1_node *node; /* NULL: nothing stored */
    struct nof1_error *error;
};

static nof1_rc_value visit_family(void *context, const char *key, struct nof1_slice value)
{
    struct stored_family *stored = context;
    if (strcmp(key + strlen("atoms/"), stored->name) != 0 || value.length == 0) {
        return NOF1_OK;
    }
    return nof1_canonical_read(&stored->node, stored->arena, value, stored->error);
}

static nof1_rc restore_family(struct nof1_site *site, struct site_family *family,
                              struct nof1_error *error)
{
    struct nof1_arena *arena NOF1_CLEANUP(nof1_arena_freep) = nof1_arena_new();
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    const struct nof1_epoch *epoch = site->config.epoch;
    const struct nof1_store_reader *store = &site->config.store;
    struct stored_family stored = {arena, family->name, NULL, error};
    const char *prefix = nof1_arena_printf(arena, "atoms/%s", family->name);
    ENSURE(prefix != NULL, NOF1_E_NO_MEMORY);
    if (store->each != NULL) {
        TRY(store->each(store->self, prefix, visit_family, &stored));
    }
    const struct nof1_node *patients =
        stored.node == NULL ? NULL : nof1_node_get(stored.node, "patients");
    char otherwise[NOF1_ATOM_TEXT] = NOF1_ATOM_FRESH;
    if (epoch != NULL && epoch->id > 1) { /* in the first epoch nobody can have been used before */
        nof1_atom_of_epoch(otherwise, epoch->id);
    }
    const char *fallback = nof1_arena_text(site->arena, otherwise);
    size_t count = epoch == NULL ? 0 : epoch->patients;
    family->key = nof1_arena_alloc(site->arena, count + 1, sizeof *family->key);
    ENSURE(fallback != NULL && family->key != NULL, NOF1_E_NO_MEMORY);
    for (size_t p = 0; p < count; p++) {
        TRY(key_of_patient(&family->key[p], site, arena, patients, p, fallback));
    }
    if (epoch != NULL && patients != NULL) {
        TRY(find_gone(family, site, arena, patients));
    }
    const struct nof1_node *charges =
        stored.node == NULL ? NULL : nof1_node_get(stored.node, "charges");
    return charges == NULL ? NOF1_OK : read_charges(site, family, charges, error);
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
            TRY(restore_family(site, family, error));
        }
    }
    return NOF1_OK;
}

/* ---- storing ------------------------------------------------------------ */

static json_t *patients_json(struct nof1_site *site, const struct site_family *family)
{
    const struct nof1_epoch *epoch = site->config.epoch;
    json_t *patients = json_object();
    bool ok = patients != NULL;
    for (size_t p = 0; ok && epoch != NULL && p < epoch->patients; p++) {
        char digest[SITE_HEX];
        nof1_site_hex(digest, epoch->digest[p], NOF1_HASH_BYTES);
        const char *hex = patient_hex(site->scratch, epoch, p);
        ok = hex != NULL &&
             json_object_set_new(patients, hex,
                                 json_pack("[s, s]", digest, family->key[p])) == 0;
    }
    for (size_t g = 0; ok && g < family->gone; g++) {
        const struct site_gone *gone = &family->left[g];
        ok = json_object_set_new(patients, gone->hex,
                                 json_pack("[s, s]", gone->digest, gone->key)) == 0;
    }
    if (!ok) {
        json_decref(patients);
        return NULL;
    }
    return patients;
}

static json_t *charges_json(const struct site_family *family)
{
    json_t *charges = json_object();
    bool ok = charges != NULL;
    for (size_t c = 0; ok && c < family->charges; c++) {
        const struct site_charge *charge = &family->charge[c];
        ok = json_object_set_new(charges, charge->key,
                                 json_pack("{s:I, s:I}", "ratio", (json_int_t)charge->ratio,
                                           "net", (json_int_t)charge->net)) == 0;
    }
    if (!ok) {
        json_decref(charges);
        return NULL;
    }
    return charges;
}

static nof1_rc put_family(struct nof1_site *site, const struct site_family *family)
{
    const char *key = nof1_arena_printf(site->scratch, "atoms/%s", family->name);
    json_t *patients = patients_json(site, family), *charges = charges_json(family);
    if (key == NULL || patients == NULL || charges == NULL) {
        json_decref(patients);
        json_decref(charges);
        return NOF1_E_NO_MEMORY;
    }
    return nof1_site_put(site, key, json_pack("{s:o, s:o}", "patients", patients, "charges",
                                              charges));
}

nof1_rc nof1_site_put_atoms(struct nof1_site *site)
{
    for (size_t f = 0; site->config.epoch != NULL && f < site->families; f++) {
        TRY(put_family(site, &site->family[f]));
    }
    return NOF1_OK;
}

/* ---- one plan ------------------------------------------------------------ */

static const char *listed(const struct nof1_plan *plan, size_t atom)
{
    return plan->atoms == 0 ? NOF1_ATOM_FRESH : plan->atom[atom];
}

size_t nof1_site_atom_index(const struct nof1_plan *plan, const char *key)
{
    size_t atoms = plan->atoms == 0 ? 1 : plan->atoms;
    for (size_t a = 0; a < atoms; a++) {
        if (strcmp(listed(plan, a), key) == 0) {
            return a;
        }
    }
    return atoms;
}

nof1_rc nof1_site_check_listed(const struct nof1_site *site, const struct nof1_query *query,
                               struct nof1_error *error)
{
    const struct nof1_plan *plan = query->study.plan;
    const struct nof1_epoch *epoch = site->config.epoch;
    const struct site_record *record = nof1_site_record(site, plan->hash);
    const struct site_family *family = nof1_site_family(site, plan);
    if (query->census || site->config.policy.open || (record != NULL && record->opened)) {
        return NOF1_OK;
    }
    size_t atoms = plan->atoms == 0 ? 1 : plan->atoms;
    for (size_t t = 0; t < epoch->trials; t++) {
        if (nof1_in_analysis_set(query->study.charter, plan->outcome, &epoch->trial[t]) &&
            nof1_site_atom_index(plan, family->key[epoch->patient[t]]) == atoms) {
            return nof1_fail(error, NOF1_E2210, "the plan was made against another list of "
                                                "earlier releases");
        }
    }
    return NOF1_OK;
}

nof1_rc nof1_site_parts(struct nof1_site *site, struct site_attempt *attempt)
{
    const struct nof1_plan *plan = attempt->query->study.plan;
    size_t patients = site->config.epoch->patients;
    attempt->part = nof1_arena_alloc(attempt->arena, patients + 1, sizeof *attempt->part);
    ENSURE(attempt->part != NULL, NOF1_E_NO_MEMORY);
    if (attempt->query->census) {
        return NOF1_OK; /* one atom of everybody */
    }
    const struct site_family *family = nof1_site_family(site, plan);
    if (attempt->record != NULL && attempt->record->opened) {
        ENSURE(attempt->record->parts == patients, NOF1_E2502); /* another freeze, same number */
        memcpy(attempt->part, attempt->record->part, patients * sizeof *attempt->part);
        return NOF1_OK; /* a re-run counts what the first run counted */
    }
    /* the list was compared when the plan was offered; said by every site alike, whoever was used */
    if (!site->config.policy.open && attempt->family_version != family->version) {
        return nof1_fail(&site->error, NOF1_E2210, "another plan of the family was opened since "
                                                   "this one was offered");
    }
    attempt->family_version = family->version;
    for (size_t p = 0; p < patients; p++) {
        size_t index = nof1_site_atom_index(plan, family->key[p]);
        attempt->part[p] = index < attempt->opening.atoms ? (uint32_t)index : 0;
    }
    return NOF1_OK;
}

static const struct site_charge *find_charge(const struct site_family *family, const char *key)
{
    for (size_t c = family->charges; c-- > 0;) {
        if (strcmp(family->charge[c].key, key) == 0) {
            return &family->charge[c];
        }
    }
    return NULL;
}

nof1_rc nof1_site_charged(const struct nof1_site *site, const struct site_attempt *attempt,
                          uint64_t *charged[2])
{
    const struct nof1_plan *plan = attempt->query->study.plan;
    const struct site_family *family =
        attempt->query->census ? NULL : nof1_site_family(site, plan);
    for (size_t k = 0; k < 2; k++) {
        charged[k] = nof1_arena_alloc(attempt->arena, attempt->opening.atoms, sizeof **charged);
        ENSURE(charged[k] != NULL, NOF1_E_NO_MEMORY);
    }
    for (size_t a = 0; family != NULL && a < attempt->opening.atoms; a++) {
        const struct site_charge *charge = find_charge(family, listed(plan, a));
        charged[0][a] = charge == NULL ? 0 : charge->ratio;
        charged[1][a] = charge == NULL ? 0 : charge->net;
    }
    return NOF1_OK;
}

/* The new atom of each listed one, with what is now released about it. */
static nof1_rc split_atom(struct nof1_site *site, struct site_attempt *attempt,
                          const struct nof1_opened *opened, size_t atom, const char **used)
{
    const struct nof1_plan *plan = attempt->query->study.plan;
    struct site_family *family = nof1_site_family(site, plan);
    char key[NOF1_ATOM_TEXT];
    TRY(nof1_atom_used(key, listed(plan, atom), plan->hash));
    const struct site_charge *charge = find_charge(family, listed(plan, atom));
    uint64_t ratio = nof1_plan_ratio(opened, atom);
    uint64_t net = nof1_plan_net_ratio(opened, &attempt->own, atom);
    ratio += charge == NULL ? 0 : charge->ratio;
    net += charge == NULL ? 0 : charge->net;
    TRY(add_charge(site, family, key, ratio < NOF1_RATIO_NONE ? ratio : NOF1_RATIO_NONE,
                   net < NOF1_RATIO_NONE ? net : NOF1_RATIO_NONE));
    *used = family->charge[family->charges - 1].key;
    return NOF1_OK;
}

nof1_rc nof1_site_split(struct nof1_site *site, struct site_attempt *attempt,
                        const struct nof1_opened *opened)
{
    const struct nof1_epoch *epoch = site->config.epoch;
    struct site_family *family = nof1_site_family(site, attempt->query->study.plan);
    const char **used = nof1_arena_alloc(site->scratch, attempt->opening.atoms, sizeof *used);
    ENSURE(used != NULL && family != NULL, NOF1_E_NO_MEMORY);
    for (size_t a = 0; a < attempt->opening.atoms; a++) {
        /* a plan may list keys that nobody holds: they must not fill the memory */
        if (opened->total[attempt->opening.atom_first + 4 * a] > 0 ||
            attempt->own.atom_patients[a] > 0) {
            TRY(split_atom(site, attempt, opened, a, &used[a]));
        }
    }
    for (size_t t = 0; t < epoch->trials; t++) {
        if (attempt->group[t] != NOF1_LEFT_OUT) {
            family->key[epoch->patient[t]] = used[attempt->part[epoch->patient[t]]];
        }
    }
    family->version += 1;
    return put_family(site, family);
}
