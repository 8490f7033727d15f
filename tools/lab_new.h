/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * `nof1 lab new`: a realistic synthetic consortium, byte-identical on every machine: SplitMix64 and
 * only + - * / on integers and doubles, no function of libm, numbers printed from integers.
 */
#ifndef NOF1_TOOLS_LAB_NEW_H
#define NOF1_TOOLS_LAB_NEW_H

#include <nof1/slice.h>

struct nof1_lab_new {
    const char *folder; /* made; refused when it exists and is not empty */
    uint32_t sites;     /* 1 ... 999 */
    uint32_t trials;    /* sites ... 1,000,000 */
    uint64_t seed;
    const char *design; /* letters, e.g. "ABAB": every cycle holds each letter once */
};

/* Write sites/ *.csv, map.yaml, plan.yaml, plan-slope.yaml, charter.yaml. Errors: NOF1_E_USAGE for
 * options out of range or a folder that is not empty, NOF1_E_IO. */
nof1_rc nof1_lab_new(const struct nof1_lab_new *options, struct nof1_error *error);
/* The CSV of one site (0-based), as written. Errors: NOF1_E_NO_MEMORY. */
nof1_rc nof1_lab_site_csv(struct nof1_buffer *out, const struct nof1_lab_new *options,
                          uint32_t site);
/* Trials of each site, [options->sites]. */
void nof1_lab_allocate(uint32_t *trials, const struct nof1_lab_new *options);

#endif
