/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Reading numbers: see number.h. W. D. Clinger, How to read floating point numbers accurately
 * (PLDI 1990): a product or quotient of two exactly represented numbers is rounded once.
 */
#include <node/sources/number.h>

#include <string.h>

#include <base/json.h>

#define LONGEST 400

static const double power_of_ten[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                      1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                      1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* Texts with more digits, an exponent or anything odd. */
static bool read_slowly(struct nof1_number *out, const char *text, size_t length)
{
    char copy[LONGEST + 2];
    if (length == 0 || length > LONGEST) {
        return false;
    }
    bool exponent = false;
    size_t decimals = 0;
    size_t written = 0;
    out->sign = 0;
    for (size_t i = 0; i < length; ++i) {
        char c = text[i];
        if (c == '.' || c == ',') {
            if (out->sign != 0) {
                return false;
            }
            out->sign = c;
            c = '.';
            if (i == 0 || text[i - 1] == '-' || text[i - 1] == '+') {
                copy[written++] = '0'; /* ".5" */
            }
        } else if (c == 'e' || c == 'E') {
            exponent = true;
        } else if (out->sign != 0 && !exponent) {
            ++decimals;
        }
        copy[written++] = c;
    }
    copy[written] = '\0';
    if (out->sign != 0 && decimals == 0) { /* "5.", "." */
        return false;
    }
    out->decimals = exponent || decimals > 254 ? 255 : (uint8_t)decimals;
    return strlen(copy) == written && nof1_double_read(&out->value, copy);
}

bool nof1_number_read(struct nof1_number *out, const char *text, size_t length)
{
    size_t i = length > 0 && (text[0] == '-' || text[0] == '+') ? 1 : 0;
    uint64_t mantissa = 0;
    size_t digits = 0;
    size_t decimals = 0;
    char sign = 0;
    if (length - i > 16) {
        return read_slowly(out, text, length);
    }
    for (; i < length; ++i) {
        unsigned digit = (unsigned char)text[i] - (unsigned)'0';
        if (digit <= 9) {
            mantissa = mantissa * 10 + digit;
            ++digits;
            decimals += sign != 0;
        } else if ((text[i] == '.' || text[i] == ',') && sign == 0) {
            sign = text[i];
        } else {
            return read_slowly(out, text, length);
        }
    }
    if (digits == 0 || digits > 15 || (sign != 0 && decimals == 0)) {
        return read_slowly(out, text, length);
    }
    double value = (double)mantissa / power_of_ten[decimals];
    out->value = text[0] == '-' ? -value : value;
    out->decimals = (uint8_t)decimals;
    out->sign = sign;
    return true;
}

bool nof1_ordinal_read(int32_t *out, const char *text, size_t length)
{
    struct nof1_number number;
    int32_t whole = 0;
    size_t i = 0;
    for (; i < length && i < 9 && (unsigned char)text[i] - (unsigned)'0' <= 9; ++i) {
        whole = whole * 10 + (text[i] - '0');
    }
    if (i == length && whole >= 1) {
        *out = whole;
        return true;
    }
    if (!nof1_number_read(&number, text, length) || !(number.value >= 1.0) ||
        number.value > 2147483647.0 || number.value != (double)(int32_t)number.value) {
        return false;
    }
    *out = (int32_t)number.value;
    return true;
}
