/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Certificate names and certificates from the other side: read, or refused with a reason.
 */
#include <string.h>

#include <rpc/identity.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct nof1_identity identity;
    struct nof1_error error = {.rc = NOF1_OK};
    char text[512];
    if (size < sizeof text) {
        memcpy(text, data, size);
        text[size] = '\0';
        if (nof1_spiffe_read(&identity, text, &error) == NOF1_OK &&
            (strlen(identity.study) == 0 || strlen(identity.id) == 0 ||
             identity.role == NOF1_ROLE_NONE || strcmp(identity.spiffe, text) != 0)) {
            __builtin_trap();
        }
    }
    if (nof1_identity_read(&identity, nof1_slice_of(data, size), &error) == NOF1_OK &&
        identity.role == NOF1_ROLE_NONE) {
        __builtin_trap();
    }
    return 0;
}
