/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Documents that people write (YAML, read with libyaml) and that programs sign (restricted
 * canonical JSON) as one immutable tree with positions, so that one parser serves both and every
 * error names file, line and column.
 *
 * Canonical JSON: RFC 8785 ordering, ASCII only, sorted keys, no insignificant space, integers
 * below 2^53, no floats (doubles are strings of 16 hex digits: IEEE 754 binary64, big-endian). The
 * reader refuses every byte string that is not the canonical form of its own value.
 */
#ifndef NOF1_BASE_DOCUMENT_H
#define NOF1_BASE_DOCUMENT_H

#include <jansson.h>
#include <nof1/slice.h>

#define NOF1_DOCUMENT_DEPTH 16u /* containers inside each other, the outermost included */
#define NOF1_DOCUMENT_NODES 65536u
#define NOF1_DOCUMENT_BYTES (1u << 20)   /* of YAML */
#define NOF1_CANONICAL_BYTES (16u << 20) /* of canonical JSON */

enum nof1_node_kind { NOF1_SCALAR, NOF1_LIST, NOF1_MAP };

struct nof1_node {
    enum nof1_node_kind kind;
    bool quoted;           /* a quoted scalar: text, never a number */
    bool hex_doubles;      /* from canonical JSON: doubles are 16 hex digits */
    const char *file;      /* for messages */
    uint32_t line, column; /* 1-based; 0 from JSON */
    const char *text;      /* SCALAR: UTF-8 without NUL; "" for null */
    const char *key;       /* when the parent is a map; else NULL */
    size_t items;
    const struct nof1_node *item; /* LIST, MAP */
};

/* Read one YAML document. No anchors, aliases, tags, duplicate keys, multiple documents; depth at
 * most 16, at most 1 MiB, 65,536 nodes. Errors: NOF1_E_INPUT with line and column. */
nof1_rc nof1_yaml_read(const struct nof1_node **out, struct nof1_arena *arena, const char *file,
                       struct nof1_slice bytes, struct nof1_error *error);
/* Read canonical JSON, strictly. Errors: NOF1_E_DECODE. */
nof1_rc nof1_canonical_read(const struct nof1_node **out, struct nof1_arena *arena,
                            struct nof1_slice bytes, struct nof1_error *error);
/* Write the canonical form of `value` (no reals allowed in it: use nof1_json_double).
 * Errors: NOF1_E_BUG when it holds a real, a non-ASCII string or too large an integer. */
nof1_rc nof1_canonical_write(struct nof1_buffer *out, const json_t *value);
/* A new string of 16 hex digits. */
json_t *nof1_json_double(double value);
/* The same tree as a new json_t; scalars become strings unless they are unquoted integers, true,
 * false or null. Doubles stay text. NULL: no memory. */
json_t *nof1_node_json(const struct nof1_node *node);

/* Children. NULL when absent. */
const struct nof1_node *nof1_node_get(const struct nof1_node *map, const char *key);

/* Typed reads; `node` NULL means "the key is missing": error names the key and its parent's place.
 * Errors: NOF1_E_PLAN is never used here, always NOF1_E_INPUT with file, line, column, key, what
 * was expected. */
nof1_rc nof1_node_text(const char **out, const struct nof1_node *parent, const char *key,
                       struct nof1_error *error);
nof1_rc nof1_node_double(double *out, const struct nof1_node *parent, const char *key,
                         struct nof1_error *error); /* finite decimal, or hex when hex_doubles */
nof1_rc nof1_node_integer(int64_t *out, const struct nof1_node *parent, const char *key,
                          int64_t lower, int64_t upper, struct nof1_error *error);
nof1_rc nof1_node_flag(bool *out, const struct nof1_node *parent, const char *key,
                       struct nof1_error *error);
nof1_rc nof1_node_hex(struct nof1_slice *out, struct nof1_arena *arena,
                      const struct nof1_node *parent, const char *key, struct nof1_error *error);
/* The value of a scalar itself. */
nof1_rc nof1_scalar_double(double *out, const struct nof1_node *scalar, struct nof1_error *error);
/* The known word nearest to `word` by edit distance, or NULL when none is near. */
const char *nof1_nearest(const char *word, const char *const *known);
/* Refuse keys that are not in the NULL-terminated list; names the nearest known key. */
nof1_rc nof1_node_only(const struct nof1_node *map, const char *const *known,
                       struct nof1_error *error);
/* Duration text: 90s, 10m, 12h, 14d -> seconds. */
nof1_rc nof1_node_duration(uint32_t *out, const struct nof1_node *parent, const char *key,
                           struct nof1_error *error);

#endif
