/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Reading of documents in lib/core: optional keys, names, labels, named entries. Internal to the
 * document readers (charter, plan, map, census).
 */
#ifndef NOF1_CORE_READER_H
#define NOF1_CORE_READER_H

#include <base/document.h>

/* What every reading function needs. */
struct reader {
    struct nof1_arena *arena;
    struct nof1_error *error;
};

/* Fail at the place of a node. */
#define FAIL_AT(reader, node, rc, ...)                                                             \
    nof1_fail_at((reader)->error, rc, (node)->file, (node)->line, (node)->column, __VA_ARGS__)

/* A thing with a name: an item of a map (its key) or of a list of maps (its `name_key`). */
struct entry {
    const char *name;
    const struct nof1_node *node;
    size_t order; /* as written */
};

/* The scalar's text as a name ([A-Za-z0-9][A-Za-z0-9_.-]{0,63}). Errors: NOF1_E_INPUT, NOF1_E2405.
 */
nof1_rc reader_name(const struct reader *reader, const char **out, const struct nof1_node *node);
/* As a label: printable ASCII without blanks at its ends, 1 to `most` characters. */
nof1_rc reader_label(const struct reader *reader, const char **out, const struct nof1_node *node,
                     size_t most);
/* Optional keys: leave *out as it is when the key is absent. */
nof1_rc reader_opt_label(const struct reader *reader, const char **out, const struct nof1_node *map,
                         const char *key, size_t most);
nof1_rc reader_opt_double(const struct reader *reader, double *out, const struct nof1_node *map,
                          const char *key);
nof1_rc reader_opt_count(const struct reader *reader, uint32_t *out, const struct nof1_node *map,
                         const char *key, int64_t lower, int64_t upper);
nof1_rc reader_opt_flag(const struct reader *reader, bool *out, const struct nof1_node *map,
                        const char *key);
/* One of the words of a NULL-terminated list: its index. Absent: *out stays. */
nof1_rc reader_opt_choice(const struct reader *reader, size_t *out, const struct nof1_node *map,
                          const char *key, const char *const *words);
/* The list under `key` (NULL when absent and not required). */
nof1_rc reader_list(const struct reader *reader, const struct nof1_node **out,
                    const struct nof1_node *map, const char *key, bool required);
/* A list of labels, all different. Absent: empty. */
nof1_rc reader_labels(const struct reader *reader, const char *const **out, size_t *count,
                      const struct nof1_node *map, const char *key);
/* [lower, upper] with lower < upper. */
nof1_rc reader_bounds(const struct reader *reader, double *lower, double *upper,
                      const struct nof1_node *map, const char *key);
/* The entries under `key`, in the order written; names checked and all different. Absent: none. */
nof1_rc reader_entries(const struct reader *reader, struct entry **out, size_t *count,
                       const struct nof1_node *map, const char *key, const char *name_key);
/* Index of text among texts; SIZE_MAX when absent. */
size_t reader_find(const char *text, const char *const *texts, size_t count);

#endif
