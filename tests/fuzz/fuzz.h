/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the fuzz targets share. A target is one function over bytes; an invariant that does not hold
 * aborts. Linked with libFuzzer, or with replay_main.c over the files of corpus/.
 */
#ifndef NOF1_FUZZ_H
#define NOF1_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <core/charter.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HOLDS(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);         \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* A refusal fills the error object: code as returned, a message, a terminated file name. */
static inline void check_refusal(nof1_rc_value rc, const struct nof1_error *error)
{
    HOLDS(rc != NOF1_OK && rc != NOF1_E_BUG && rc < NOF1_RC_COUNT);
    if (rc != NOF1_E_NO_MEMORY) {
        HOLDS(error->rc == rc);
        HOLDS(error->message[0] != '\0');
        char text[1200];
        nof1_error_text(error, text, sizeof text);
        HOLDS(strlen(text) < sizeof text);
    }
}

/* A small charter for targets that need one. NULL only when memory runs out. */
static inline const struct nof1_charter *small_charter(struct nof1_arena *arena)
{
    static const char text[] =
        "study: s\nlab: true\npreset: ultra-rare\ntreatments: [A, B]\n"
        "outcomes: {y: {bounds: [0, 10], sd_within: 1, sd_between: 1}}\n"
        "covariates: {sex: {levels: [F, M]}}\nstrata: sex\n"
        "classes: {2x2: {n: [2, 2]}}\nmax_periods: 2\nmax_cycles: 2\n"
        "analyses: [random_effects, mixed_model]\n"
        "sites: {a: {patient_cap: 5}, b: {patient_cap: 5}, c: {patient_cap: 5}}\n"
        "blocks: {k: [a, b, c]}\n";
    const struct nof1_node *node = NULL;
    const struct nof1_charter *charter = NULL;
    if (nof1_yaml_read(&node, arena, "charter", nof1_slice_text(text), NULL) != NOF1_OK ||
        nof1_charter_from_node(&charter, arena, node, NULL) != NOF1_OK) {
        abort();
    }
    return charter;
}

#endif
