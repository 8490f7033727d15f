/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Numbers as text and back. Conversions run in the C locale whatever the process' locale is,
 * because a decimal comma in a signed document or a result would be another number.
 */
#include "json.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* newlocale("C") allocates nothing in glibc and musl; it cannot fail there. */
static void print_digits(char out[NOF1_DOUBLE_TEXT], int digits, double value)
{
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    locale_t old = uselocale(c);
    snprintf(out, NOF1_DOUBLE_TEXT, "%.*g", digits, value);
    uselocale(old);
    freelocale(c);
}

static double read_digits(const char *text, char **end)
{
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    double value = strtod_l(text, end, c);
    freelocale(c);
    return value;
}

void nof1_double_short(char out[NOF1_DOUBLE_TEXT], double value)
{
    if (!isfinite(value)) {
        memcpy(out, "null", 5);
        return;
    }
    for (int digits = 1; digits <= 17; digits++) {
        print_digits(out, digits, value);
        if (read_digits(out, NULL) == value) {
            return;
        }
    }
}

static const char *skip_digits(const char *text)
{
    while (*text >= '0' && *text <= '9') {
        text++;
    }
    return text;
}

/* True when the whole text is [+-] digits [. digits] [e [+-] digits]. */
static bool is_decimal(const char *text)
{
    if (*text == '+' || *text == '-') {
        text++;
    }
    const char *whole = skip_digits(text);
    bool any = whole > text;
    if (*whole == '.') {
        const char *fraction = skip_digits(whole + 1);
        any = any || fraction > whole + 1;
        whole = fraction;
    }
    if (!any) {
        return false;
    }
    if (*whole == 'e' || *whole == 'E') {
        whole++;
        if (*whole == '+' || *whole == '-') {
            whole++;
        }
        const char *exponent = skip_digits(whole);
        return exponent > whole && *exponent == '\0';
    }
    return *whole == '\0';
}

bool nof1_double_read(double *out, const char *text)
{
    if (!is_decimal(text)) {
        return false;
    }
    char *end = NULL;
    double value = read_digits(text, &end);
    if (end == NULL || *end != '\0' || !isfinite(value)) {
        return false;
    }
    *out = value;
    return true;
}

void nof1_double_hex(char out[17], double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    snprintf(out, 17, "%016llx", (unsigned long long)bits);
}

bool nof1_double_unhex(double *out, const char *text)
{
    uint64_t bits = 0;
    for (int i = 0; i < 16; i++) {
        char c = text[i];
        unsigned digit;
        if (c >= '0' && c <= '9') {
            digit = (unsigned)(c - '0');
        } else if (c >= 'a' && c <= 'f') {
            digit = (unsigned)(c - 'a') + 10u;
        } else {
            return false;
        }
        bits = bits << 4 | digit;
    }
    if (text[16] != '\0') {
        return false;
    }
    memcpy(out, &bits, sizeof bits);
    return true;
}

json_t *nof1_json_number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

/* jansson forgets a failure while it writes a key, so that it is remembered here. */
struct dump {
    struct nof1_buffer *out;
    bool failed;
};

static int append_dump(const char *bytes, size_t size, void *context)
{
    struct dump *dump = context;
    dump->failed = dump->failed || nof1_buffer_append(dump->out, bytes, size) != NOF1_OK;
    return dump->failed ? -1 : 0;
}

nof1_rc nof1_json_write(struct nof1_buffer *out, const json_t *value, bool pretty)
{
    size_t before = out->length;
    size_t layout = pretty ? JSON_INDENT(2) : JSON_COMPACT;
    size_t flags = JSON_REAL_PRECISION(17) | JSON_ENCODE_ANY | layout;
    struct dump dump = {.out = out};
    if (json_dump_callback(value, append_dump, &dump, flags) != 0 || dump.failed) {
        out->length = before;
        return NOF1_E_NO_MEMORY;
    }
    return NOF1_OK;
}

void nof1_json_freep(json_t **value)
{
    json_decref(*value);
    *value = NULL;
}
