/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Return codes and error objects. The rc says what happened; the error object says why and where.
 * Style: straight-line code with TRY and ENSURE, no goto (after s2n-tls' GUARD/ENSURE).
 */
#ifndef NOF1_ERROR_H
#define NOF1_ERROR_H

#include <stddef.h>
#include <stdint.h>

typedef enum {
#define X(symbol, code, status, exit_code, sentence, remedy) symbol,
#include <nof1/error.def>
#undef X
    NOF1_RC_COUNT
} nof1_rc_value;

/* A must-use result: wrap functions' return type with it. */
#define nof1_rc __attribute__((warn_unused_result)) nof1_rc_value

/* Where and why something failed. Plain value; owns nothing. line and column are 1-based, 0 when
 * they do not apply; file and field are "" when they do not apply. */
struct nof1_error {
    nof1_rc_value rc;
    char message[512];
    char file[256];
    uint32_t line;
    uint32_t column;
};

/* Fixed properties of a code. Never NULL. */
const char *nof1_rc_code(nof1_rc_value rc);     /* "E2205" */
const char *nof1_rc_sentence(nof1_rc_value rc);
const char *nof1_rc_remedy(nof1_rc_value rc);
int nof1_rc_grpc_status(nof1_rc_value rc);
int nof1_rc_exit_code(nof1_rc_value rc);
/* The rc whose code text is `code` ("E2205"), or NOF1_RC_COUNT. */
nof1_rc_value nof1_rc_from_code(const char *code);

/* Set `error` (which may be NULL) and return rc. The format is printf's. */
nof1_rc_value nof1_fail(struct nof1_error *error, nof1_rc_value rc, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same, with a place in a file. */
nof1_rc_value nof1_fail_at(struct nof1_error *error, nof1_rc_value rc, const char *file,
                           uint32_t line, uint32_t column, const char *format, ...)
    __attribute__((format(printf, 6, 7)));
/* Write "file:line:column: message (E1002: remedy)" into buffer, always terminated. */
void nof1_error_text(const struct nof1_error *error, char *buffer, size_t size);

#define TRY(call)                                                                                  \
    do {                                                                                           \
        nof1_rc_value try_rc_ = (call);                                                            \
        if (try_rc_ != NOF1_OK) {                                                                  \
            return try_rc_;                                                                        \
        }                                                                                          \
    } while (0)

#define ENSURE(condition, rc)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            return (rc);                                                                           \
        }                                                                                          \
    } while (0)

/* Run a cleanup function when the variable leaves its scope. `free_fn` takes a pointer to it. */
#define NOF1_CLEANUP(free_fn) __attribute__((cleanup(free_fn)))

#endif
