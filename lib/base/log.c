/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The logger: the one place with file-scope state (where to write and how much). A line is made on
 * the stack and leaves with one write(2), so that threads do not mix lines and a log call cannot
 * run out of memory.
 */
#include "log.h"

#include <base/hex.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_SIZE 4096
#define LINE_LIMIT 4000

static struct {
    int descriptor;
    enum nof1_log_level least;
    bool journal;
} sink = {.descriptor = STDERR_FILENO, .least = NOF1_LOG_INFO, .journal = false};

struct line {
    char text[LINE_SIZE];
    size_t length;
    bool full;
};

void nof1_log_setup(int descriptor, enum nof1_log_level least, bool journal)
{
    sink.descriptor = descriptor;
    sink.least = least;
    sink.journal = journal;
}

static const char *level_name(enum nof1_log_level level)
{
    switch (level) {
    case NOF1_LOG_ERROR:
        return "error";
    case NOF1_LOG_WARNING:
        return "warning";
    case NOF1_LOG_NOTICE:
        return "notice";
    case NOF1_LOG_INFO:
        return "info";
    case NOF1_LOG_DEBUG:
        return "debug";
    }
    return "error";
}

static void put(struct line *line, const char *bytes, size_t length)
{
    if (line->full || length > LINE_LIMIT - line->length) {
        line->full = true;
        return;
    }
    memcpy(line->text + line->length, bytes, length);
    line->length += length;
}

static void put_text(struct line *line, const char *text)
{
    put(line, text, strlen(text));
}

/* A word needs no quotes: no space, quote, equals sign, backslash or anything outside ASCII. */
static bool is_word(const char *text)
{
    if (*text == '\0') {
        return false;
    }
    for (const char *c = text; *c != '\0'; c++) {
        if (*c <= ' ' || *c >= 0x7f || *c == '"' || *c == '=' || *c == '\\') {
            return false;
        }
    }
    return true;
}

static void put_quoted(struct line *line, const char *text)
{
    put(line, "\"", 1);
    for (const char *c = text; *c != '\0'; c++) {
        unsigned char byte = (unsigned char)*c;
        char escape[8];
        if (byte == '"' || byte == '\\') {
            put(line, (const char[]){'\\', *c}, 2);
        } else if (byte < 0x20 || byte >= 0x7f) {
            snprintf(escape, sizeof escape, "\\u%04x", byte);
            put(line, escape, 6);
        } else {
            put(line, c, 1);
        }
    }
    put(line, "\"", 1);
}

static void put_hex(struct line *line, struct nof1_slice bytes)
{
    for (size_t i = 0; i < bytes.length; i++) {
        char pair[3];
        nof1_hex_text(pair, &bytes.data[i], 1);
        put(line, pair, 2);
    }
}

/* A field that does not fit is left out whole, and so is everything after it. */
static void put_field(struct line *line, const struct nof1_log_field *field)
{
    size_t before = line->length;
    char number[24];
    put(line, " ", 1);
    put_text(line, field->key);
    put(line, "=", 1);
    switch (field->kind) {
    case NOF1_LOG_KIND_TEXT: {
        const char *text = field->text == NULL ? "" : field->text;
        if (is_word(text)) {
            put_text(line, text);
        } else {
            put_quoted(line, text);
        }
        break;
    }
    case NOF1_LOG_KIND_INTEGER:
        snprintf(number, sizeof number, "%lld", (long long)field->integer);
        put_text(line, number);
        break;
    case NOF1_LOG_KIND_FLAG:
        put_text(line, field->integer != 0 ? "true" : "false");
        break;
    case NOF1_LOG_KIND_HEX:
        put_hex(line, field->bytes);
        break;
    }
    if (line->full) {
        line->length = before;
    }
}

void nof1_log(enum nof1_log_level level, const char *event, size_t fields,
              const struct nof1_log_field *field)
{
    if (level > sink.least) {
        return;
    }
    struct line line = {.length = 0};
    if (sink.journal) {
        put(&line, (const char[]){'<', (char)('0' + (int)level), '>'}, 3);
    }
    put_text(&line, "level=");
    put_text(&line, level_name(level));
    put_field(&line, &(struct nof1_log_field){.key = "event", .text = event});
    for (size_t i = 0; i < fields && !line.full; i++) {
        put_field(&line, &field[i]);
    }
    line.text[line.length++] = '\n'; /* LINE_LIMIT leaves room */
    ssize_t written = write(sink.descriptor, line.text, line.length);
    (void)written; /* a log that cannot be written must not stop a vault */
}

void nof1_log_error(enum nof1_log_level level, const char *event, const struct nof1_error *error)
{
    struct nof1_log_field field[5];
    size_t fields = 0;
    field[fields++] = nof1_log_text("code", nof1_rc_code(error->rc));
    field[fields++] = nof1_log_text("message", error->message);
    if (error->file[0] != '\0') {
        field[fields++] = nof1_log_text("file", error->file);
    }
    if (error->line > 0) {
        field[fields++] = nof1_log_integer("line", error->line);
        field[fields++] = nof1_log_integer("column", error->column);
    }
    nof1_log(level, event, fields, field);
}
