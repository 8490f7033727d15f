/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Shared by the suites of documents: see document.h.
 */
#include "document.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

const char *test_replace(struct nof1_arena *arena, const char *text, const char *from,
                         const char *to, unsigned *line)
{
    const char *at = strstr(text, from);
    if (at == NULL) {
        fprintf(stderr, "the fixture has no passage \"%s\"\n", from);
        abort();
    }
    if (line != NULL) {
        *line = 1;
        for (const char *c = text; c < at; c++) {
            *line += *c == '\n';
        }
    }
    return nof1_arena_printf(arena, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
}

const char *test_text(struct nof1_arena *arena, const char *path)
{
    struct nof1_slice bytes = test_file(arena, path);
    return (const char *)bytes.data; /* test_file terminates what it reads */
}

static void check(nof1_rc_value rc, const struct nof1_error *error)
{
    if (rc != NOF1_OK) {
        char text[1200];
        nof1_error_text(error, text, sizeof text);
        fprintf(stderr, "%s\n", text);
        abort();
    }
}

const struct nof1_node *test_yaml(struct nof1_arena *arena, const char *file, const char *text)
{
    const struct nof1_node *node = NULL;
    struct nof1_error error = {0};
    check(nof1_yaml_read(&node, arena, file, nof1_slice_text(text), &error), &error);
    return node;
}

const struct nof1_charter *test_charter_from(struct nof1_arena *arena, const char *text)
{
    const struct nof1_charter *charter = NULL;
    struct nof1_buffer bytes = {0};
    struct nof1_error error = {0};
    const struct nof1_node *node = test_yaml(arena, "charter.yaml", text);
    check(nof1_charter_from_node(&charter, arena, node, &error), &error);
    check(nof1_charter_canonical(&bytes, charter), &error);
    check(nof1_charter_read(&charter, arena, nof1_buffer_slice(&bytes), &error), &error);
    nof1_buffer_free(&bytes);
    return charter;
}
