/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Look for many byte patterns in files at once. Usage: scan PATTERNS FILE...
 * PATTERNS: a line each, "name hex". Prints "FILE name" for every pattern found in a file; a last
 * line tells how much was read. Exit 0: nothing found, 1: something, 2: cannot read.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TABLE 65536
#define LEAST 5 /* bytes: shorter patterns would be found by chance */

struct pattern {
    char name[96];
    uint8_t *bytes;
    size_t length, next; /* next: 1 + index of another one of this slot */
    const char *seen;    /* the file it was last found in */
};

static size_t slot_of(const uint8_t *bytes)
{
    uint32_t word;
    memcpy(&word, bytes, sizeof word);
    return word * 2654435761u >> 16;
}

static uint8_t *read_all(const char *path, size_t *length)
{
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = NULL;
    size_t capacity = 0, got = 1;
    *length = 0;
    while (file != NULL && got > 0) {
        if (*length == capacity) {
            capacity = capacity == 0 ? 65536 : 2 * capacity;
            bytes = realloc(bytes, capacity);
            if (bytes == NULL) {
                abort();
            }
        }
        got = fread(bytes + *length, 1, capacity - *length, file);
        *length += got;
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return bytes;
}

static size_t read_patterns(struct pattern **out, size_t head[TABLE], const char *path)
{
    char line[4096], hex[4000];
    size_t count = 0;
    FILE *file = fopen(path, "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        *out = realloc(*out, (count + 1) * sizeof **out);
        struct pattern *p = &(*out)[count];
        *p = (struct pattern){0};
        if (sscanf(line, "%95s %3999s", p->name, hex) != 2 || strlen(hex) < (size_t)2 * LEAST) {
            fprintf(stderr, "scan: %s: %s", path, line);
            exit(2);
        }
        p->length = strlen(hex) / 2;
        p->bytes = malloc(p->length);
        for (size_t i = 0; i < p->length; i++) {
            unsigned byte = 0;
            (void)sscanf(hex + 2 * i, "%2x", &byte);
            p->bytes[i] = (uint8_t)byte;
        }
        size_t slot = slot_of(p->bytes);
        p->next = head[slot];
        head[slot] = ++count;
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return count;
}

static size_t scan(struct pattern *pattern, const size_t head[TABLE], const char *path,
                   const uint8_t *bytes, size_t length)
{
    size_t hits = 0;
    for (size_t i = 0; i + LEAST <= length; i++) {
        for (size_t n = head[slot_of(bytes + i)]; n != 0; n = pattern[n - 1].next) {
            struct pattern *p = &pattern[n - 1];
            if (p->seen != path && p->length <= length - i &&
                memcmp(bytes + i, p->bytes, p->length) == 0) {
                p->seen = path;
                printf("%s %s\n", path, p->name);
                hits++;
            }
        }
    }
    return hits;
}

int main(int argc, char **argv)
{
    static size_t head[TABLE];
    struct pattern *pattern = NULL;
    size_t hits = 0, total = 0;
    size_t count = argc > 2 ? read_patterns(&pattern, head, argv[1]) : 0;
    if (count == 0) {
        fprintf(stderr, "usage: scan PATTERNS FILE...\n");
        return 2;
    }
    for (int i = 2; i < argc; i++) {
        size_t length = 0;
        uint8_t *bytes = read_all(argv[i], &length);
        hits += bytes == NULL ? 0 : scan(pattern, head, argv[i], bytes, length);
        total += length;
        free(bytes);
    }
    printf("read %zu bytes of %d files for %zu patterns: %zu found\n", total, argc - 2, count,
           hits);
    return hits == 0 ? 0 : 1;
}
