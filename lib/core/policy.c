/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Presets, reading, combining and writing of the limits in policy.def (docs/disclosure.md, "Every
 * key"). Must never make a limit looser than its floor outside the lab's preset.
 */
#include <core/policy.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <base/json.h>

#define COUNT NOF1_LIMIT_COUNT
#define SHARE NOF1_LIMIT_SHARE
#define LARGER true
#define SMALLER false
#define LARGEST_COUNT 1000000

static const struct nof1_limit rows[] = {
#define X(key, type, standard, ultra_rare, floor, open, stricter, code, help)                      \
    {#key, type, offsetof(struct nof1_limits, key), standard, ultra_rare, floor, open, stricter,   \
     code, help},
#include <core/policy.def>
#undef X
    {NULL, COUNT, 0, 0, 0, 0, 0, false, NOF1_OK, NULL},
};

#define ROWS (sizeof rows / sizeof rows[0] - 1)

const struct nof1_limit *nof1_limit_rows(void)
{
    return rows;
}

double nof1_limit_get(const struct nof1_limits *limits, const struct nof1_limit *row)
{
    const uint8_t *field = (const uint8_t *)limits + row->offset;
    if (row->type == NOF1_LIMIT_SHARE) {
        double share;
        memcpy(&share, field, sizeof share);
        return share;
    }
    uint32_t count;
    memcpy(&count, field, sizeof count);
    return count;
}

static void set(struct nof1_limits *limits, const struct nof1_limit *row, double value)
{
    uint8_t *field = (uint8_t *)limits + row->offset;
    if (row->type == NOF1_LIMIT_SHARE) {
        memcpy(field, &value, sizeof value);
        return;
    }
    uint32_t count = (uint32_t)value;
    memcpy(field, &count, sizeof count);
}

nof1_rc nof1_policy_preset(struct nof1_limits *out, const char *name)
{
    bool standard = strcmp(name, "standard") == 0;
    bool open = strcmp(name, "open") == 0;
    ENSURE(standard || open || strcmp(name, "ultra-rare") == 0, NOF1_E_NOT_FOUND);
    *out = (struct nof1_limits){.open = open};
    for (size_t i = 0; i < ROWS; i++) {
        set(out, &rows[i], standard ? rows[i].standard : open ? rows[i].open : rows[i].ultra_rare);
    }
    return NOF1_OK;
}

static bool below_floor(const struct nof1_limit *row, double value)
{
    return row->larger_is_stricter ? value < row->floor : value > row->floor;
}

static nof1_rc read_row(struct nof1_limits *out, const struct nof1_limit *row,
                        const struct nof1_node *map, struct nof1_error *error)
{
    const struct nof1_node *node = nof1_node_get(map, row->key);
    if (node == NULL) {
        return NOF1_OK;
    }
    double value = 0;
    if (row->type == NOF1_LIMIT_COUNT) {
        int64_t count = 0;
        TRY(nof1_node_integer(&count, map, row->key, 0, LARGEST_COUNT, error));
        value = (double)count;
    } else {
        TRY(nof1_node_double(&value, map, row->key, error));
        if (!(value > 0)) {
            return nof1_fail_at(error, NOF1_E_INPUT, node->file, node->line, node->column,
                                "%s: expected a number above 0", row->key);
        }
    }
    if (!out->open && below_floor(row, value)) {
        char floor[NOF1_DOUBLE_TEXT];
        nof1_double_short(floor, row->floor);
        return nof1_fail_at(error, NOF1_E_INPUT, node->file, node->line, node->column,
                            "%s: no policy may go %s %s (%s)", row->key,
                            row->larger_is_stricter ? "below" : "above", floor, row->help);
    }
    set(out, row, value);
    return NOF1_OK;
}

/* Refuse anything but the rows' keys, preset and open. */
static nof1_rc only_known(const struct nof1_node *node, struct nof1_error *error)
{
    const char *known[ROWS + 3];
    for (size_t i = 0; i < ROWS; i++) {
        known[i] = rows[i].key;
    }
    known[ROWS] = "preset";
    known[ROWS + 1] = "open";
    known[ROWS + 2] = NULL;
    return nof1_node_only(node, known, error);
}

static nof1_rc read_preset(struct nof1_limits *out, const struct nof1_node *node,
                           struct nof1_error *error)
{
    const char *name = "standard";
    bool open = false;
    if (nof1_node_get(node, "open") != NULL) {
        TRY(nof1_node_flag(&open, node, "open", error));
        name = open ? "open" : name;
    }
    const struct nof1_node *preset = nof1_node_get(node, "preset");
    if (preset != NULL) {
        TRY(nof1_node_text(&name, node, "preset", error));
    }
    if (nof1_policy_preset(out, name) != NOF1_OK || (open && !out->open)) {
        const struct nof1_node *place = preset == NULL ? node : preset;
        return nof1_fail_at(error, NOF1_E_INPUT, place->file, place->line, place->column,
                            "preset: expected standard, ultra-rare or open, found %.60s", name);
    }
    return NOF1_OK;
}

/* Two colluding views must still leave a sum of three sites, of two at the floor. */
static nof1_rc check_colluders(const struct nof1_limits *limits, const struct nof1_node *node,
                               struct nof1_error *error)
{
    uint32_t others = limits->min_sites <= 3 ? 2 : 3;
    if (limits->open || limits->min_sites >= limits->assumed_colluders + others) {
        return NOF1_OK;
    }
    return nof1_fail_at(error, NOF1_E_CONFIG, node->file, node->line, node->column,
                        "min_sites must be at least assumed_colluders + %u: raise min_sites or "
                        "lower assumed_colluders",
                        others);
}

nof1_rc nof1_policy_read(struct nof1_limits *out, const struct nof1_node *node,
                         struct nof1_error *error)
{
    if (node == NULL) {
        return nof1_policy_preset(out, "standard");
    }
    struct nof1_limits limits;
    TRY(only_known(node, error));
    TRY(read_preset(&limits, node, error));
    for (size_t i = 0; i < ROWS; i++) {
        TRY(read_row(&limits, &rows[i], node, error));
    }
    TRY(check_colluders(&limits, node, error));
    *out = limits;
    return NOF1_OK;
}

void nof1_policy_stricter(struct nof1_limits *out, const struct nof1_limits *a,
                          const struct nof1_limits *b)
{
    struct nof1_limits limits = {.open = a->open && b->open};
    for (size_t i = 0; i < ROWS; i++) {
        double x = nof1_limit_get(a, &rows[i]);
        double y = nof1_limit_get(b, &rows[i]);
        set(&limits, &rows[i], rows[i].larger_is_stricter ? fmax(x, y) : fmin(x, y));
    }
    *out = limits;
}

static bool looser(const struct nof1_limit *row, double value, double than)
{
    return row->larger_is_stricter ? value < than : value > than;
}

/* A key that a person wrote must not be looser than the charter's. */
static nof1_rc check_charter(const struct nof1_limit *row, const struct nof1_limits *charter,
                             const struct nof1_limits *own, const struct nof1_node *node,
                             struct nof1_error *error)
{
    char found[NOF1_DOUBLE_TEXT], limit[NOF1_DOUBLE_TEXT];
    const struct nof1_node *place = nof1_node_get(node, row->key);
    double value = nof1_limit_get(own, row), most = nof1_limit_get(charter, row);
    if (place == NULL || !looser(row, value, most)) {
        return NOF1_OK;
    }
    nof1_double_short(found, value);
    nof1_double_short(limit, most);
    return nof1_fail_at(
        error, NOF1_E_INPUT, place->file, place->line, place->column,
        "%s: %s is looser than the charter's %s; a site may only be stricter: write "
        "%s or %s, or leave the key out",
        row->key, found, limit, limit, row->larger_is_stricter ? "more" : "less");
}

nof1_rc nof1_policy_site(struct nof1_limits *out, const struct nof1_limits *charter,
                         const struct nof1_node *node, bool strict, struct nof1_error *error)
{
    struct nof1_limits preset, own;
    if (node == NULL) {
        *out = *charter;
        return NOF1_OK;
    }
    TRY(only_known(node, error));
    bool named = nof1_node_get(node, "preset") != NULL || nof1_node_get(node, "open") != NULL;
    preset = *charter;
    if (named) {
        TRY(read_preset(&preset, node, error));
    }
    if (preset.open && !charter->open) {
        return nof1_fail_at(error, NOF1_E_INPUT, node->file, node->line, node->column,
                            "preset: open is for the lab only; leave it out");
    }
    own = preset;
    for (size_t i = 0; i < ROWS; i++) {
        struct nof1_limits read = preset;
        read.open = true; /* the charter's limit, never looser than the floor, is told instead */
        TRY(read_row(&read, &rows[i], node, error));
        TRY(strict ? check_charter(&rows[i], charter, &read, node, error) : NOF1_OK);
        set(&own, &rows[i], nof1_limit_get(&read, &rows[i]));
    }
    nof1_policy_stricter(&own, charter, &own);
    TRY(check_colluders(&own, node, error));
    *out = own;
    return NOF1_OK;
}

static json_t *to_json(const struct nof1_limits *limits, bool canonical)
{
    json_t *object = json_pack("{s:b}", "open", limits->open);
    for (size_t i = 0; object != NULL && i < ROWS; i++) {
        double value = nof1_limit_get(limits, &rows[i]);
        json_t *number = rows[i].type == NOF1_LIMIT_COUNT ? json_integer((json_int_t)value)
                         : canonical                      ? nof1_json_double(value)
                                                          : json_real(value);
        if (json_object_set_new(object, rows[i].key, number) != 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

json_t *nof1_policy_json(const struct nof1_limits *limits)
{
    return to_json(limits, false);
}

json_t *nof1_policy_canonical(const struct nof1_limits *limits)
{
    return to_json(limits, true);
}
