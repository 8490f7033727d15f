/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Distinct texts of one column, numbered in order of first appearance.
 */
#ifndef NOF1_SOURCES_WORDS_H
#define NOF1_SOURCES_WORDS_H

#include <nof1/slice.h>

/* Zero-initialise, set `arena`; texts live in the arena. Free with nof1_words_free. */
struct nof1_words {
    struct nof1_arena *arena;
    size_t count;
    const char **text; /* [count] with a final NUL */
    uint32_t *length;  /* [count] */
    uint32_t last;     /* the number given last: equal texts come in runs */
    size_t slots;      /* power of two */
    uint32_t *slot;    /* number + 1, 0: empty */
};

/* The number of a text, new or known. Errors: NOF1_E_NO_MEMORY; more than 2^31 texts. */
nof1_rc nof1_words_number(struct nof1_words *words, uint32_t *out, const char *text, size_t length);
void nof1_words_free(struct nof1_words *words);

#endif
