/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Keys of atoms and the public list of them, as atoms.h says. Public documents and totals only.
 */
#include <core/atoms.h>

#include <stdio.h>
#include <string.h>

#include <base/hex.h>
#include <crypto/hash.h>

#define RELEASED_TEXT 32
#define GROUP_TEXT 24 /* two slashes, a number and the end */

nof1_rc nof1_atom_used(char out[NOF1_ATOM_TEXT], const char *key, const uint8_t h_q[32],
                       size_t group)
{
    char text[NOF1_ATOM_TEXT + 2 * NOF1_HASH_BYTES + GROUP_TEXT], plan[2 * NOF1_HASH_BYTES + 1];
    uint8_t digest[NOF1_HASH_BYTES];
    ENSURE(strlen(key) < NOF1_ATOM_TEXT, NOF1_E_BUG);
    nof1_hex_text(plan, h_q, NOF1_HASH_BYTES);
    if (group == 0) {
        (void)snprintf(text, sizeof text, "%s/%s", key, plan);
    } else {
        (void)snprintf(text, sizeof text, "%s/%s/%zu", key, plan, group);
    }
    TRY(nof1_sha256(digest, nof1_slice_text(text)));
    nof1_hex_text(out, digest, 16);
    return NOF1_OK;
}

bool nof1_atom_released(const char *key)
{
    return strlen(key) == RELEASED_TEXT;
}

bool nof1_atom_has_changed(const char *key)
{
    return strchr(key, '+') != NULL;
}

void nof1_atom_changed(char out[NOF1_ATOM_TEXT], const char *key, const char *change)
{
    (void)snprintf(out, NOF1_ATOM_TEXT, "%.32s%s", key, change);
}

void nof1_atom_base(char out[NOF1_ATOM_TEXT], const char *key)
{
    (void)snprintf(out, NOF1_ATOM_TEXT, "%.32s", key);
}

static nof1_rc add_used(const char **list, size_t *count, struct nof1_arena *arena,
                        const char *key, const uint8_t h_q[32], size_t group)
{
    char used[NOF1_ATOM_TEXT];
    TRY(nof1_atom_used(used, key, h_q, group));
    list[*count] = nof1_arena_text(arena, used);
    ENSURE(list[*count] != NULL, NOF1_E_NO_MEMORY);
    *count += 1;
    return NOF1_OK;
}

nof1_rc nof1_atoms_after(const char *const **out, size_t *atoms, struct nof1_arena *arena,
                         const struct nof1_plan *plan, size_t groups, const uint64_t *used,
                         const uint64_t *not_used, bool complete)
{
    static const char *const fresh[] = {NOF1_ATOM_FRESH};
    const char *const *key = plan->atoms == 0 ? fresh : plan->atom;
    size_t before = plan->atoms == 0 ? 1 : plan->atoms, count = 0;
    const char **list = nof1_arena_alloc(arena, (1 + groups) * before, sizeof *list);
    ENSURE(list != NULL, NOF1_E_NO_MEMORY);
    for (size_t a = 0; a < before; a++) {
        if (!complete || not_used[a] > 0) {
            list[count++] = key[a];
        }
        for (size_t g = 0; g < groups; g++) {
            if (used[a * groups + g] > 0) {
                TRY(add_used(list, &count, arena, key[a], plan->hash, g));
            }
        }
    }
    *out = list;
    *atoms = count;
    return NOF1_OK;
}
