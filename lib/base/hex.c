/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Hexadecimal text: see hex.h. No case but the lower one is read, so that text and bytes answer
 * each other one to one.
 */
#include <base/hex.h>

#include <stdlib.h>
#include <string.h>

void nof1_hex_text(char *out, const uint8_t *bytes, size_t length)
{
    static const char digit[] = "0123456789abcdef";
    for (size_t i = 0; i < length; i++) {
        out[2 * i] = digit[bytes[i] >> 4];
        out[2 * i + 1] = digit[bytes[i] & 15];
    }
    out[2 * length] = 0;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool nof1_hex_read(uint8_t *out, size_t length, const char *text)
{
    if (strlen(text) != 2 * length) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        int high = hex_digit(text[2 * i]);
        int low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        out[i] = (uint8_t)(high * 16 + low);
    }
    return true;
}

json_t *nof1_hex_json(const uint8_t *bytes, size_t length)
{
    char *text = malloc(2 * length + 1);
    if (text == NULL) {
        return NULL;
    }
    nof1_hex_text(text, bytes, length);
    json_t *value = json_string(text);
    free(text);
    return value;
}
