/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The fixed properties of every code, from the one table include/nof1/error.def, and the filling of
 * error objects. Messages name rules and remedies; they must never hold a value of a patient.
 */
#include <nof1/error.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct row {
    const char *code;
    int status;
    int exit_code;
    const char *sentence;
    const char *remedy;
};

static const struct row table[NOF1_RC_COUNT] = {
#define X(symbol, code, status, exit_code, sentence, remedy)                                       \
    [symbol] = {code, status, exit_code, sentence, remedy},
#include <nof1/error.def>
#undef X
};

/* An rc outside the table can only be our own bug, and reads as one. */
static const struct row *row_of(nof1_rc_value rc)
{
    return &table[(unsigned)rc < (unsigned)NOF1_RC_COUNT ? rc : NOF1_E_BUG];
}

const char *nof1_rc_code(nof1_rc_value rc)
{
    return row_of(rc)->code;
}

const char *nof1_rc_sentence(nof1_rc_value rc)
{
    return row_of(rc)->sentence;
}

const char *nof1_rc_remedy(nof1_rc_value rc)
{
    return row_of(rc)->remedy;
}

int nof1_rc_grpc_status(nof1_rc_value rc)
{
    return row_of(rc)->status;
}

int nof1_rc_exit_code(nof1_rc_value rc)
{
    return row_of(rc)->exit_code;
}

nof1_rc_value nof1_rc_from_code(const char *code)
{
    for (int rc = 0; code != NULL && rc < (int)NOF1_RC_COUNT; rc++) {
        if (strcmp(table[rc].code, code) == 0) {
            return (nof1_rc_value)rc;
        }
    }
    return NOF1_RC_COUNT;
}

/* Copy what fits; a cut text stays terminated. */
static void copy_text(char *out, size_t size, const char *text)
{
    size_t length = text == NULL ? 0 : strlen(text);
    if (length >= size) {
        length = size - 1;
    }
    if (length > 0) {
        memcpy(out, text, length);
    }
    out[length] = '\0';
}

__attribute__((format(printf, 6, 0))) static void fill(struct nof1_error *error, nof1_rc_value rc,
                                                       const char *file, uint32_t line,
                                                       uint32_t column, const char *format,
                                                       va_list arguments)
{
    if (error == NULL) {
        return;
    }
    /* The arguments may point into the object being overwritten. */
    struct nof1_error fresh = {.rc = rc, .line = line, .column = column};
    if (vsnprintf(fresh.message, sizeof fresh.message, format, arguments) < 0) {
        copy_text(fresh.message, sizeof fresh.message, nof1_rc_sentence(rc));
    }
    copy_text(fresh.file, sizeof fresh.file, file);
    *error = fresh;
}

nof1_rc_value nof1_fail(struct nof1_error *error, nof1_rc_value rc, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fill(error, rc, "", 0, 0, format, arguments);
    va_end(arguments);
    return rc;
}

nof1_rc_value nof1_fail_at(struct nof1_error *error, nof1_rc_value rc, const char *file,
                           uint32_t line, uint32_t column, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fill(error, rc, file, line, column, format, arguments);
    va_end(arguments);
    return rc;
}

void nof1_error_text(const struct nof1_error *error, char *buffer, size_t size)
{
    if (size == 0) {
        return;
    }
    char place[320] = "";
    const char *file = error->file[0] != '\0' ? error->file : "line";
    if (error->line > 0 && error->column > 0) {
        snprintf(place, sizeof place, "%s:%u:%u: ", file, error->line, error->column);
    } else if (error->line > 0) {
        snprintf(place, sizeof place, "%s:%u: ", file, error->line);
    } else if (error->file[0] != '\0') {
        snprintf(place, sizeof place, "%s: ", error->file);
    }
    const char *message = error->message[0] != '\0' ? error->message : nof1_rc_sentence(error->rc);
    const char *remedy = nof1_rc_remedy(error->rc);
    int written = snprintf(buffer, size, "%s%s (%s%s%s)", place, message, nof1_rc_code(error->rc),
                           remedy[0] != '\0' ? ": " : "", remedy);
    if (written < 0) {
        buffer[0] = '\0';
    }
}
