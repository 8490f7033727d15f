/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The table of limits (policy.def) as presets, as YAML of a site, and as what a charter and a site
 * ask together. A site's policy may only refuse more than the charter; nothing here changes a
 * layout.
 */
#ifndef NOF1_CORE_POLICY_H
#define NOF1_CORE_POLICY_H

#include <base/document.h>
#include <nof1/study.h>

enum nof1_limit_type { NOF1_LIMIT_COUNT, NOF1_LIMIT_SHARE };

/* One row of the table. */
struct nof1_limit {
    const char *key;
    enum nof1_limit_type type;
    size_t offset; /* of the uint32_t or double in struct nof1_limits */
    double standard, ultra_rare, floor, open;
    bool larger_is_stricter;
    nof1_rc_value code; /* the refusal it causes */
    const char *help;   /* one line */
};

/* All rows, in the order of policy.def, terminated by key == NULL. */
const struct nof1_limit *nof1_limit_rows(void);
double nof1_limit_get(const struct nof1_limits *limits, const struct nof1_limit *row);

/* Fill with the preset "standard", "ultra-rare" or "open". Errors: NOF1_E_NOT_FOUND. */
nof1_rc nof1_policy_preset(struct nof1_limits *out, const char *name);
/* Read a map `preset: NAME` (default standard) plus keys of the table that override it. NULL: the
 * preset standard. Unknown keys, values below the floor, and min_sites - assumed_colluders < 3 (2
 * when min_sites is at its floor) are refused; preset open has no floors.
 * Errors: NOF1_E_INPUT with file, line, column, key and the floor; NOF1_E_CONFIG for the sum rule.
 */
nof1_rc nof1_policy_read(struct nof1_limits *out, const struct nof1_node *node,
                         struct nof1_error *error);
/* What a site's own policy and its charter ask together. `node`: a map of keys that the site wants
 * stricter than the charter, with `preset: NAME` for a whole preset; a key that is neither named
 * nor in a preset is the charter's. NULL: the charter's limits. `strict`: refuse a key that is
 * looser than the charter's, as when a person writes it; else the stricter applies, as when a later
 * charter has overtaken an approved policy. Errors: NOF1_E_INPUT with file, line, column, key,
 * value, limit and what would do. */
nof1_rc nof1_policy_site(struct nof1_limits *out, const struct nof1_limits *charter,
                         const struct nof1_node *node, bool strict, struct nof1_error *error);
/* The stricter of the two in every key; open only when both are. out may be a or b. */
void nof1_policy_stricter(struct nof1_limits *out, const struct nof1_limits *a,
                          const struct nof1_limits *b);
/* Every key with its value, and "open": for people and for result files. New reference. */
json_t *nof1_policy_json(const struct nof1_limits *limits);
/* The same for canonical documents: doubles as hex. nof1_policy_read reads it back. */
json_t *nof1_policy_canonical(const struct nof1_limits *limits);

#endif
