/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What several suites share: reading fixture files, comparing numbers, a seeded generator.
 */
#ifndef NOF1_TEST_SUPPORT_H
#define NOF1_TEST_SUPPORT_H

#include <jansson.h>
#include <nof1/slice.h>

/* Read a whole file below the source tree into an arena; aborts the test when it is missing. */
struct nof1_slice test_file(struct nof1_arena *arena, const char *path);
/* Read a JSON file; aborts when it is missing or malformed. New reference. */
json_t *test_json(const char *path);
/* |a - b| <= tolerance * max(|b|, floor). */
bool test_close(double a, double b, double tolerance, double floor);

/* SplitMix64: a small, portable generator for tests, never for secrets. */
struct test_random { uint64_t state; };
uint64_t test_random_next(struct test_random *random);
double test_random_uniform(struct test_random *random); /* [0, 1) */
double test_random_normal(struct test_random *random);

#endif
