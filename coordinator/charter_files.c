/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Charters in the coordinator's folder: see charter_files.h. Documents are written before the
 * pointer that names them, so that a crash leaves the old state or the new one.
 */
#include <coordinator/charter_files.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <base/hex.h>
#include <crypto/key.h>
#include <sys/files.h>

#define CHARTER_LIMIT ((size_t)8 << 20)

static nof1_rc load(struct nof1_slice *out, struct nof1_arena *arena, const char *path,
                    struct nof1_error *error)
{
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer bytes = {0};
    *out = (struct nof1_slice){0};
    TRY(nof1_file_read(&bytes, path, CHARTER_LIMIT, error));
    *out = nof1_arena_copy(arena, nof1_buffer_slice(&bytes));
    ENSURE(out->data != NULL || bytes.length == 0, NOF1_E_NO_MEMORY);
    return NOF1_OK;
}

nof1_rc charter_file_read(struct signed_charter *out, struct nof1_arena *arena, const char *path,
                          struct nof1_error *error)
{
    struct nof1_error why = {0};
    const char *beside = nof1_arena_printf(arena, "%s.sig", path);
    ENSURE(beside != NULL, NOF1_E_NO_MEMORY);
    TRY(load(&out->bytes, arena, path, error));
    nof1_rc_value rc = nof1_charter_read(&out->charter, arena, out->bytes, &why);
    if (rc != NOF1_OK) {
        return nof1_fail(error, NOF1_E_CONFIG, "%s: %s", path, why.message);
    }
    rc = load(&out->signature, arena, beside, &why);
    bool good = rc == NOF1_OK && nof1_verify(out->charter->coordinator.spki, out->charter->hash,
                                             out->signature) == NOF1_OK;
    if (!good && (!out->charter->lab || rc == NOF1_OK)) {
        return nof1_fail(error, NOF1_E_CONFIG,
                         "%s is missing or no signature of this charter by its coordinator's key: "
                         "run nof1-coordinator charter sign",
                         beside);
    }
    return NOF1_OK;
}

static const char *place_of(struct nof1_arena *arena, const char *folder, const char *hex)
{
    return nof1_arena_printf(arena, "%s/charters/%s.json", folder, hex);
}

nof1_rc charter_file_keep(const char *folder, const struct signed_charter *charter,
                          struct nof1_error *error)
{
    NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *arena = nof1_arena_new();
    char hex[65];
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    nof1_hex_text(hex, charter->charter->hash, sizeof charter->charter->hash);
    const char *path = place_of(arena, folder, hex);
    const char *parent = nof1_arena_printf(arena, "%s/charters", folder);
    const char *beside = path == NULL ? NULL : nof1_arena_printf(arena, "%s.sig", path);
    ENSURE(parent != NULL && beside != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_file_folder(parent, error));
    if (charter->signature.length > 0) {
        TRY(nof1_file_write(beside, charter->signature, 0644, error));
    }
    return nof1_file_write(path, charter->bytes, 0644, error);
}

nof1_rc charter_file_named(struct signed_charter *out, struct nof1_arena *arena,
                           const char *folder, const char *pointer, struct nof1_error *error)
{
    struct nof1_slice text;
    const char *path = nof1_arena_printf(arena, "%s/%s", folder, pointer);
    ENSURE(path != NULL, NOF1_E_NO_MEMORY);
    *out = (struct signed_charter){0};
    if (access(path, F_OK) != 0) {
        return NOF1_OK;
    }
    TRY(load(&text, arena, path, error));
    if (text.length != 65) {
        return nof1_fail_at(error, NOF1_E_CONFIG, path, 0, 0, "a charter's hash expected");
    }
    const char *hex = nof1_arena_printf(arena, "%.64s", (const char *)text.data);
    ENSURE(hex != NULL, NOF1_E_NO_MEMORY);
    if (strspn(hex, "0123456789abcdef") != 64) {
        return nof1_fail_at(error, NOF1_E_CONFIG, path, 0, 0, "a charter's hash expected");
    }
    return charter_file_read(out, arena, place_of(arena, folder, hex), error);
}

nof1_rc charter_file_point(const char *folder, const char *pointer,
                           const struct nof1_charter *charter, struct nof1_error *error)
{
    NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *arena = nof1_arena_new();
    char hex[66];
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    const char *path = nof1_arena_printf(arena, "%s/%s", folder, pointer);
    ENSURE(path != NULL, NOF1_E_NO_MEMORY);
    if (charter == NULL) {
        bool gone = unlink(path) == 0 || access(path, F_OK) != 0;
        return gone ? NOF1_OK : nof1_fail_at(error, NOF1_E_IO, path, 0, 0, "cannot be removed");
    }
    nof1_hex_text(hex, charter->hash, sizeof charter->hash);
    hex[64] = '\n';
    return nof1_file_write(path, nof1_slice_of(hex, 65), 0644, error);
}
