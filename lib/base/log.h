/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Typed key=value events, one line each, for journald or a file. An event has a name from the
 * program text and fields of known types; there is no free text and no format string, so that no
 * sentence can smuggle a value out. Never log a value derived from a patient.
 *
 *   nof1_log(NOF1_LOG_INFO, "query.accepted", NOF1_LOG_FIELDS(nof1_log_hex("query", hash, 32),
 *                                                          nof1_log_text("analysis", id)));
 */
#ifndef NOF1_BASE_LOG_H
#define NOF1_BASE_LOG_H

#include <nof1/slice.h>

/* The numbers are those of syslog(3). */
enum nof1_log_level {
    NOF1_LOG_ERROR = 3,
    NOF1_LOG_WARNING = 4,
    NOF1_LOG_NOTICE = 5,
    NOF1_LOG_INFO = 6,
    NOF1_LOG_DEBUG = 7
};

enum nof1_log_kind {
    NOF1_LOG_KIND_TEXT,
    NOF1_LOG_KIND_INTEGER,
    NOF1_LOG_KIND_FLAG,
    NOF1_LOG_KIND_HEX
};

struct nof1_log_field {
    const char *key; /* [a-z0-9_]+ */
    enum nof1_log_kind kind;
    const char *text;
    int64_t integer;
    struct nof1_slice bytes;
};

static inline struct nof1_log_field nof1_log_text(const char *key, const char *text)
{
    return (struct nof1_log_field){.key = key, .kind = NOF1_LOG_KIND_TEXT, .text = text};
}

static inline struct nof1_log_field nof1_log_integer(const char *key, int64_t value)
{
    return (struct nof1_log_field){.key = key, .kind = NOF1_LOG_KIND_INTEGER, .integer = value};
}

static inline struct nof1_log_field nof1_log_flag(const char *key, bool value)
{
    return (struct nof1_log_field){.key = key, .kind = NOF1_LOG_KIND_FLAG, .integer = value};
}

static inline struct nof1_log_field nof1_log_hex(const char *key, const void *data, size_t length)
{
    return (struct nof1_log_field){
        .key = key, .kind = NOF1_LOG_KIND_HEX, .bytes = nof1_slice_of(data, length)};
}

#define NOF1_LOG_FIELDS(...)                                                                       \
    (sizeof((struct nof1_log_field[]){__VA_ARGS__}) / sizeof(struct nof1_log_field)),              \
        (struct nof1_log_field[])                                                                  \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
#define NOF1_LOG_NO_FIELDS 0, NULL

/* Where and how much; call once, before any thread starts. journal: prefix each line with "<level>"
 * as sd-daemon(3) describes. Defaults: file descriptor 2, NOF1_LOG_INFO, no prefix. */
void nof1_log_setup(int descriptor, enum nof1_log_level least, bool journal);
/* Write one line `level=info event=query.accepted key=value ...` with a single write(2). Values
 * that are not plain words are quoted as JSON strings (control, non-ASCII and invalid bytes as
 * \u00xx). A line longer than 4,000 bytes is cut at a field. Never fails. */
void nof1_log(enum nof1_log_level level, const char *event, size_t fields,
              const struct nof1_log_field *field);
/* An event with the properties of an error: code, message, file, line, column. */
void nof1_log_error(enum nof1_log_level level, const char *event, const struct nof1_error *error);

#endif
