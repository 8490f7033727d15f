/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Owned, growable bytes: capacity doubles, so that n appends cost O(n) copies. After a failed
 * append the buffer still holds what it held before.
 */
#include <nof1/slice.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAPACITY 64u

static nof1_rc reserve(struct nof1_buffer *buffer, size_t more)
{
    ENSURE(more <= SIZE_MAX / 2 - buffer->length, NOF1_E_NO_MEMORY);
    size_t needed = buffer->length + more;
    if (needed <= buffer->capacity) {
        return NOF1_OK;
    }
    size_t capacity = buffer->capacity == 0 ? FIRST_CAPACITY : buffer->capacity;
    while (capacity < needed) {
        capacity *= 2;
    }
    uint8_t *data = realloc(buffer->data, capacity);
    ENSURE(data != NULL, NOF1_E_NO_MEMORY);
    buffer->data = data;
    buffer->capacity = capacity;
    return NOF1_OK;
}

nof1_rc nof1_buffer_append(struct nof1_buffer *buffer, const void *data, size_t length)
{
    if (length == 0) {
        return NOF1_OK;
    }
    TRY(reserve(buffer, length));
    memcpy(buffer->data + buffer->length, data, length);
    buffer->length += length;
    return NOF1_OK;
}

nof1_rc nof1_buffer_printf(struct nof1_buffer *buffer, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    ENSURE(length >= 0, NOF1_E_BUG);
    /* vsnprintf also writes a final NUL, which stays outside the length. */
    TRY(reserve(buffer, (size_t)length + 1));
    va_start(arguments, format);
    vsnprintf((char *)buffer->data + buffer->length, (size_t)length + 1, format, arguments);
    va_end(arguments);
    buffer->length += (size_t)length;
    return NOF1_OK;
}

void nof1_buffer_free(struct nof1_buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct nof1_buffer){0};
}
