/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Shared by the suites: see support.h.
 */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct nof1_slice test_file(struct nof1_arena *arena, const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fprintf(stderr, "missing fixture %s\n", path);
        abort();
    }
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    uint8_t *data = nof1_arena_alloc(arena, (size_t)size + 1, 1);
    if (data == NULL || fread(data, 1, (size_t)size, file) != (size_t)size) {
        abort();
    }
    fclose(file);
    return nof1_slice_of(data, (size_t)size);
}

json_t *test_json(const char *path)
{
    json_error_t error;
    json_t *value = json_load_file(path, 0, &error);
    if (value == NULL) {
        fprintf(stderr, "%s:%d: %s\n", path, error.line, error.text);
        abort();
    }
    return value;
}

bool test_close(double a, double b, double tolerance, double floor)
{
    return fabs(a - b) <= tolerance * fmax(fabs(b), floor);
}

uint64_t test_random_next(struct test_random *random)
{
    random->state += 0x9e3779b97f4a7c15u;
    uint64_t z = random->state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

double test_random_uniform(struct test_random *random)
{
    return (double)(test_random_next(random) >> 11) * 0x1p-53;
}

double test_random_normal(struct test_random *random)
{
    double u = 1.0 - test_random_uniform(random);
    double v = test_random_uniform(random);
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}
