/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Open addressing with FNV-1a, at most half full: see words.h.
 */
#include <node/sources/words.h>

#include <stdlib.h>
#include <string.h>

static uint64_t hash_of(const char *text, size_t length)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < length; ++i) {
        hash = (hash ^ (unsigned char)text[i]) * 0x100000001b3u;
    }
    return hash ^ (hash >> 32);
}

static bool same(const struct nof1_words *words, uint32_t number, const char *text, size_t length)
{
    return words->length[number] == length && memcmp(words->text[number], text, length) == 0;
}

/* Double the slots, and the arrays that hold half as many texts. */
static nof1_rc grow(struct nof1_words *words)
{
    size_t slots = words->slots == 0 ? 64 : words->slots * 2;
    ENSURE(slots <= (size_t)1 << 31, NOF1_E_NO_MEMORY);
    uint32_t *slot = calloc(slots, sizeof *slot);
    const char **text = realloc(words->text, slots / 2 * sizeof *text);
    words->text = text != NULL ? text : words->text;
    uint32_t *length = realloc(words->length, slots / 2 * sizeof *length);
    words->length = length != NULL ? length : words->length;
    if (slot == NULL || text == NULL || length == NULL) {
        free(slot);
        return NOF1_E_NO_MEMORY;
    }
    for (uint32_t number = 0; number < words->count; ++number) {
        size_t at = hash_of(text[number], length[number]) & (slots - 1);
        while (slot[at] != 0) {
            at = (at + 1) & (slots - 1);
        }
        slot[at] = number + 1;
    }
    free(words->slot);
    words->slot = slot;
    words->slots = slots;
    return NOF1_OK;
}

static nof1_rc add(struct nof1_words *words, size_t at, const char *text, size_t length)
{
    char *copy = nof1_arena_alloc(words->arena, length + 1, 1);
    ENSURE(copy != NULL, NOF1_E_NO_MEMORY);
    if (length > 0) {
        memcpy(copy, text, length);
    }
    words->text[words->count] = copy;
    words->length[words->count] = (uint32_t)length;
    words->slot[at] = (uint32_t)++words->count;
    return NOF1_OK;
}

nof1_rc_value nof1_words_number(struct nof1_words *words, uint32_t *out, const char *text,
                                size_t length)
{
    if (words->count > 0 && same(words, words->last, text, length)) {
        *out = words->last;
        return NOF1_OK;
    }
    if (words->count >= words->slots / 2) {
        TRY(grow(words));
    }
    size_t at = hash_of(text, length) & (words->slots - 1);
    while (words->slot[at] != 0 && !same(words, words->slot[at] - 1, text, length)) {
        at = (at + 1) & (words->slots - 1);
    }
    if (words->slot[at] == 0) {
        TRY(add(words, at, text, length));
    }
    *out = words->last = words->slot[at] - 1;
    return NOF1_OK;
}

void nof1_words_free(struct nof1_words *words)
{
    free(words->text);
    free(words->length);
    free(words->slot);
    *words = (struct nof1_words){.arena = words->arena};
}
