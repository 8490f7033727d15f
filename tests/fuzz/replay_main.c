/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Runs one fuzz target over the files named on the command line, and over every prefix and every
 * single flipped bit of small ones, so that the corpora are tests without libFuzzer.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LARGEST (1u << 20)
#define VARIED 2048u

static void replay(uint8_t *data, size_t size)
{
    LLVMFuzzerTestOneInput(data, size);
    if (size > VARIED) {
        return;
    }
    for (size_t length = 0; length < size; length++) {
        LLVMFuzzerTestOneInput(data, length);
    }
    for (size_t bit = 0; bit < size * 8; bit += 3) {
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        LLVMFuzzerTestOneInput(data, size);
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: %s FILE...\n", argv[0]);
        return 2;
    }
    for (int i = 1; i < argc; i++) {
        FILE *file = fopen(argv[i], "rb");
        uint8_t *data = malloc(LARGEST);
        if (file == NULL || data == NULL) {
            fprintf(stderr, "cannot read %s\n", argv[i]);
            return 66;
        }
        size_t size = fread(data, 1, LARGEST, file);
        fclose(file);
        /* a block of the exact size, so that reading past its end is seen */
        uint8_t *exact = realloc(data, size > 0 ? size : 1);
        if (exact == NULL) {
            return 75;
        }
        replay(exact, size);
        free(exact);
    }
    printf("%d files\n", argc - 1);
    return 0;
}
