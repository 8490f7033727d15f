/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the suites of documents share: the fixture charter, and texts with one passage changed.
 */
#ifndef NOF1_TEST_DOCUMENT_H
#define NOF1_TEST_DOCUMENT_H

#include <core/charter.h>

/* `text` with the first `from` replaced by `to`; aborts when there is none. *line (may be NULL):
 * the 1-based line of the change. */
const char *test_replace(struct nof1_arena *arena, const char *text, const char *from,
                         const char *to, unsigned *line);
/* A file as text. */
const char *test_text(struct nof1_arena *arena, const char *path);
/* A YAML tree; aborts when it does not parse. */
const struct nof1_node *test_yaml(struct nof1_arena *arena, const char *file, const char *text);
/* A charter from YAML text, through its canonical bytes; aborts on errors. */
const struct nof1_charter *test_charter_from(struct nof1_arena *arena, const char *text);

/* The fixture charter: its text, and the charter with its hash. */
#define test_charter_text(arena) test_text(arena, NOF1_SOURCE_DIR "/tests/fixtures/charter.yaml")
#define test_charter(arena) test_charter_from(arena, test_charter_text(arena))

#endif
