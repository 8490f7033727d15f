/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Encoding, separator, places: see csv_text.h. UTF-8 as in RFC 3629 (no surrogates, no overlong
 * forms).
 */
#include <node/sources/csv_text.h>

#include <string.h>

#define PLAIN_MOST ((size_t)4096)

/* Length of the well-formed sequence at p, or 0. */
static size_t sequence(const uint8_t *p, size_t left)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = p[0] < 0x80       ? 1
                    : p[0] >> 5 == 6  ? 2
                    : p[0] >> 4 == 14 ? 3
                    : p[0] >> 3 == 30 ? 4
                                      : 0;
    if (length <= 1 || length > left) {
        return length == 1 ? 1 : 0;
    }
    uint32_t code = p[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; ++i) {
        if (p[i] >> 6 != 2) {
            return 0;
        }
        code = code << 6 | (p[i] & 0x3fu);
    }
    bool surrogate = code >= 0xd800 && code <= 0xdfff;
    return code < least[length] || code > 0x10ffff || surrogate ? 0 : length;
}

/* First byte that is NUL or starts no well-formed sequence; length when there is none. */
static size_t first_bad(const uint8_t *data, size_t length)
{
    size_t i = 0;
    while (i < length) {
        uint64_t word;
        if (length - i >= 8) {
            memcpy(&word, data + i, 8);
            uint64_t zero = (word - 0x0101010101010101u) & ~word;
            if (((word | zero) & 0x8080808080808080u) == 0) {
                i += 8;
                continue;
            }
        }
        size_t step = data[i] == 0 ? 0 : sequence(data + i, length - i);
        if (step == 0) {
            return i;
        }
        i += step;
    }
    return length;
}

static void place_of(struct nof1_slice text, size_t at, uint32_t *line, uint32_t *column)
{
    size_t start = 0;
    *line = 1;
    for (size_t i = 0; i < at; ++i) {
        bool cr_alone = text.data[i] == '\r' && !(i + 1 < text.length && text.data[i + 1] == '\n');
        if (text.data[i] == '\n' || cr_alone) {
            ++*line;
            start = i + 1;
        }
    }
    *column = (uint32_t)(at - start + 1);
}

nof1_rc_value nof1_csv_check(struct nof1_slice *out, const char *file, struct nof1_slice bytes,
                             struct nof1_error *error)
{
    const uint8_t *data = bytes.data;
    if (bytes.length >= 2 &&
        ((data[0] == 0xff && data[1] == 0xfe) || (data[0] == 0xfe && data[1] == 0xff))) {
        return nof1_fail_at(error, NOF1_E_INPUT, file, 1, 1,
                            "the file is UTF-16, UTF-8 expected; save it as \"CSV UTF-8\"");
    }
    bool mark = bytes.length >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0;
    *out = mark ? nof1_slice_of(data + 3, bytes.length - 3) : bytes;
    size_t bad = out->length == 0 ? 0 : first_bad(out->data, out->length);
    if (bad < out->length) {
        uint32_t line;
        uint32_t column;
        place_of(*out, bad, &line, &column);
        return nof1_fail_at(error, NOF1_E_INPUT, file, line, column,
                            out->data[bad] == 0
                                ? "a NUL byte found, text expected; is this a CSV file?"
                                : "invalid UTF-8 found; save the file as \"CSV UTF-8\"");
    }
    return NOF1_OK;
}

char nof1_csv_separator(struct nof1_slice text)
{
    size_t commas = 0;
    size_t semicolons = 0;
    bool quoted = false;
    for (size_t i = 0; i < text.length; ++i) {
        char c = (char)text.data[i];
        if (c == '"') {
            quoted = !quoted;
        } else if (!quoted) {
            commas += c == ',';
            semicolons += c == ';';
            if ((c == '\n' || c == '\r') && commas + semicolons > 0) {
                break;
            }
        }
    }
    return semicolons > commas ? ';' : ',';
}

/* Count a line end at i; CR LF counts once, at its LF. */
static bool ends_line(struct nof1_slice text, size_t i)
{
    uint8_t c = text.data[i];
    return c == '\n' || (c == '\r' && !(i + 1 < text.length && text.data[i + 1] == '\n'));
}

/* The end of a record without quotes, which most are; false when it has one or is long. The search
 * is bounded: a file whose line ends are CR alone must not be read to its end for every record. */
static bool plain_end(struct nof1_slice text, size_t start, size_t *end)
{
    const uint8_t *data = text.data + start;
    size_t left = text.length - start;
    size_t window = left < PLAIN_MOST ? left : PLAIN_MOST;
    const uint8_t *newline = window == 0 ? NULL : memchr(data, '\n', window);
    size_t length = newline != NULL ? (size_t)(newline - data) : window;
    if ((newline == NULL && window < left) ||
        (length > 0 && memchr(data, '"', length) != NULL)) {
        return false;
    }
    const uint8_t *cr = length == 0 ? NULL : memchr(data, '\r', length);
    *end = start + (cr != NULL ? (size_t)(cr - data) : length);
    return true;
}

bool nof1_csv_next(struct nof1_csv_cursor *cursor)
{
    const uint8_t *data = cursor->text.data;
    size_t length = cursor->text.length;
    size_t i = cursor->next;
    uint32_t lines = cursor->lines;
    while (i < length &&
           (data[i] == '\n' || data[i] == '\r' || data[i] == ' ' || data[i] == '\t')) {
        lines += ends_line(cursor->text, i);
        ++i;
    }
    cursor->start = i;
    cursor->line = lines + 1;
    if (plain_end(cursor->text, i, &cursor->next)) {
        cursor->lines = lines;
        return cursor->start < length;
    }
    bool quoted = false;
    for (; i < length; ++i) {
        uint8_t c = data[i];
        if (c > '"') {
            continue;
        }
        if (c == '"') {
            quoted = !quoted;
        } else if (c == '\n' || c == '\r') {
            if (!quoted) {
                break;
            }
            lines += ends_line(cursor->text, i);
        }
    }
    cursor->next = i;
    cursor->lines = lines;
    return cursor->start < length;
}

void nof1_csv_place(const struct nof1_csv_cursor *cursor, char separator, size_t field,
                    uint32_t *line, uint32_t *column)
{
    const uint8_t *data = cursor->text.data;
    size_t start = cursor->start;
    while (start > 0 && data[start - 1] != '\n' && data[start - 1] != '\r') {
        --start; /* blanks before the first field belong to its line */
    }
    size_t i = cursor->start;
    bool quoted = false;
    *line = cursor->line;
    for (size_t seen = 0; i < cursor->next && seen < field; ++i) {
        if (data[i] == '"') {
            quoted = !quoted;
        } else if (quoted && ends_line(cursor->text, i)) {
            ++*line;
            start = i + 1;
        } else if (!quoted && data[i] == (uint8_t)separator) {
            ++seen;
        }
    }
    *column = (uint32_t)(i - start + 1);
}
