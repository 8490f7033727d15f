/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Sites, blocks and people of a charter that is being written: see charter_members.h. Names are
 * those of the files, SPIFFE ids follow from the study, keys are read from PEM.
 */
#include <coordinator/charter_members.h>

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include <coordinator/coordinator.h>
#include <crypto/key.h>
#include <sys/files.h>

#define PEM_LIMIT 65536
#define MOST_FILES 4096

struct named_key {
    const char *id;
    struct nof1_slice spki;
};

static int by_id(const void *a, const void *b)
{
    return strcmp(((const struct named_key *)a)->id, ((const struct named_key *)b)->id);
}

static nof1_rc read_key(struct nof1_slice *out, struct nof1_arena *arena, const char *path,
                        struct nof1_error *error)
{
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer pem = {0}, der = {0};
    struct nof1_error why = {0};
    TRY(nof1_file_read(&pem, path, PEM_LIMIT, error));
    nof1_rc_value rc = nof1_spki_read_pem(&der, nof1_buffer_slice(&pem), &why);
    if (rc != NOF1_OK) {
        return nof1_fail_at(error, rc, path, 0, 0, "%s", why.message);
    }
    *out = nof1_arena_copy(arena, nof1_buffer_slice(&der));
    ENSURE(out->data != NULL, NOF1_E_NO_MEMORY);
    return NOF1_OK;
}

/* Name of a file without ".pem"; NULL for another file. */
static const char *id_of(struct nof1_arena *arena, const char *file)
{
    size_t length = strlen(file);
    bool pem = length > 4 && strcmp(file + length - 4, ".pem") == 0 && file[0] != '.';
    return pem ? nof1_arena_printf(arena, "%.*s", (int)(length - 4), file) : NULL;
}

/* The keys of a folder in order of name. */
static nof1_rc read_folder(struct named_key **out, size_t *count, struct nof1_arena *arena,
                           const char *path, struct nof1_error *error)
{
    nof1_rc_value rc = NOF1_OK;
    struct named_key *key = nof1_arena_alloc(arena, MOST_FILES, sizeof *key);
    ENSURE(key != NULL, NOF1_E_NO_MEMORY);
    DIR *folder = opendir(path);
    if (folder == NULL) {
        return nof1_fail_at(error, NOF1_E_INPUT, path, 0, 0, "a folder of files ID.pem expected");
    }
    *count = 0;
    const struct dirent *entry = NULL;
    while (rc == NOF1_OK && *count < MOST_FILES && (entry = readdir(folder)) != NULL) {
        const char *id = id_of(arena, entry->d_name);
        if (id == NULL) {
            continue;
        }
        const char *file = nof1_arena_printf(arena, "%s/%s", path, entry->d_name);
        key[*count].id = id;
        rc = file == NULL ? NOF1_E_NO_MEMORY : read_key(&key[*count].spki, arena, file, error);
        ++*count;
    }
    (void)closedir(folder);
    TRY(rc);
    if (*count == 0) {
        return nof1_fail_at(error, NOF1_E_INPUT, path, 0, 0,
                            "no file ID.pem here: the public key of every vault, as openssl pkey "
                            "-pubout writes it, or of a person the certificate");
    }
    qsort(key, *count, sizeof *key, by_id);
    *out = key;
    return NOF1_OK;
}

static nof1_rc new_site(struct nof1_member *site, struct nof1_arena *arena, const char *study,
                        const struct named_key *key, uint32_t cap)
{
    const char *edge = nof1_arena_printf(arena, "spiffe://%s/site/%s", study, key->id);
    ENSURE(edge != NULL, NOF1_E_NO_MEMORY);
    *site = (struct nof1_member){
        .id = key->id, .edge_spiffe = edge, .vault_spki = key->spki, .patient_cap = cap};
    return NOF1_OK;
}

/* ---- the first version ----------------------------------------------------------------------- */

static nof1_rc cut_blocks(struct nof1_charter *c, struct nof1_arena *arena, size_t size)
{
    c->blocks = c->sites < 2 * size ? 1 : c->sites / size;
    struct nof1_block *block = nof1_arena_alloc(arena, c->blocks, sizeof *block);
    size_t *index = nof1_arena_alloc(arena, c->sites, sizeof *index);
    ENSURE(block != NULL && index != NULL, NOF1_E_NO_MEMORY);
    for (size_t s = 0; s < c->sites; s++) {
        index[s] = s;
    }
    for (size_t b = 0; b < c->blocks; b++) {
        size_t end = b + 1 == c->blocks ? c->sites : (b + 1) * size;
        block[b] = (struct nof1_block){.id = nof1_arena_printf(arena, "b%zu", b + 1),
                                       .sites = end - b * size, .site = index + b * size};
        ENSURE(block[b].id != NULL, NOF1_E_NO_MEMORY);
    }
    c->block = block;
    return NOF1_OK;
}

nof1_rc charter_members_sites(struct nof1_charter *c, struct nof1_arena *arena, const char *folder,
                              uint32_t cap, size_t size, struct nof1_error *error)
{
    struct named_key *key = NULL;
    TRY(read_folder(&key, &c->sites, arena, folder, error));
    struct nof1_member *site = nof1_arena_alloc(arena, c->sites, sizeof *site);
    ENSURE(site != NULL, NOF1_E_NO_MEMORY);
    for (size_t s = 0; s < c->sites; s++) {
        TRY(new_site(&site[s], arena, c->study, &key[s], cap));
    }
    c->site = site;
    return cut_blocks(c, arena, size);
}

nof1_rc charter_members_statisticians(struct nof1_charter *c, struct nof1_arena *arena,
                                      const char *folder, struct nof1_error *error)
{
    struct named_key *key = NULL;
    size_t keys = 0;
    if (folder == NULL) {
        return NOF1_OK;
    }
    TRY(read_folder(&key, &keys, arena, folder, error));
    struct nof1_principal *person =
        nof1_arena_alloc(arena, c->statisticians + keys, sizeof *person);
    ENSURE(person != NULL, NOF1_E_NO_MEMORY);
    size_t count = c->statisticians;
    for (size_t i = 0; i < count; i++) {
        person[i] = c->statistician[i];
    }
    for (size_t i = 0; i < keys; i++) {
        if (nof1_charter_statistician(c, key[i].id) != NOF1_NONE) {
            continue;
        }
        const char *spiffe =
            nof1_arena_printf(arena, "spiffe://%s/statistician/%s", c->study, key[i].id);
        ENSURE(spiffe != NULL, NOF1_E_NO_MEMORY);
        person[count++] = (struct nof1_principal){key[i].id, spiffe, key[i].spki};
    }
    c->statistician = person;
    c->statisticians = count;
    return NOF1_OK;
}

nof1_rc charter_members_coordinator(struct nof1_charter *c, struct nof1_arena *arena,
                                    const char *id, const char *folder, struct nof1_error *error)
{
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer spki = {0};
    TRY(nof1_coordinator_spki(&spki, folder, error));
    c->coordinator.id = id == NULL ? "coordinator" : id;
    c->coordinator.spiffe =
        nof1_arena_printf(arena, "spiffe://%s/coordinator/%s", c->study, c->coordinator.id);
    c->coordinator.spki = nof1_arena_copy(arena, nof1_buffer_slice(&spki));
    ENSURE(c->coordinator.spiffe != NULL && c->coordinator.spki.data != NULL, NOF1_E_NO_MEMORY);
    return NOF1_OK;
}

/* ---- later versions -------------------------------------------------------------------------- */

/* A copy of the sites, with room for `more`. */
static nof1_rc copy_sites(struct nof1_member **out, struct nof1_charter *c,
                          struct nof1_arena *arena, size_t more)
{
    struct nof1_member *site = nof1_arena_alloc(arena, c->sites + more, sizeof *site);
    ENSURE(site != NULL, NOF1_E_NO_MEMORY);
    for (size_t s = 0; s < c->sites; s++) {
        site[s] = c->site[s];
    }
    *out = site;
    c->site = site;
    return NOF1_OK;
}

static int by_site(const void *a, const void *b)
{
    return strcmp(((const struct nof1_member *)a)->id, ((const struct nof1_member *)b)->id);
}

/* Blocks name sites by index, which a new site in between shifts: old[] says what they were. */
static nof1_rc rebuild_blocks(struct nof1_charter *c, struct nof1_arena *arena,
                              const struct nof1_charter *before, const char *joined,
                              const char *const *id, size_t ids)
{
    size_t at = nof1_charter_block(before, joined);
    c->blocks = before->blocks + (at == NOF1_NONE ? 1 : 0);
    at = at == NOF1_NONE ? before->blocks : at;
    struct nof1_block *block = nof1_arena_alloc(arena, c->blocks, sizeof *block);
    ENSURE(block != NULL, NOF1_E_NO_MEMORY);
    for (size_t b = 0; b < c->blocks; b++) {
        size_t old = b < before->blocks ? before->block[b].sites : 0, count = 0;
        size_t *site = nof1_arena_alloc(arena, old + ids, sizeof *site);
        ENSURE(site != NULL, NOF1_E_NO_MEMORY);
        for (size_t s = 0; s < c->sites; s++) { /* ascending, as the reader wants them */
            size_t was = nof1_charter_site(before, c->site[s].id);
            bool here = was != NOF1_NONE && nof1_charter_block_of(before, was) == b;
            for (size_t i = 0; i < ids; i++) {
                here = here || (was == NOF1_NONE && b == at && strcmp(id[i], c->site[s].id) == 0);
            }
            if (here) {
                site[count++] = s;
            }
        }
        block[b] = (struct nof1_block){.id = b < before->blocks ? before->block[b].id : joined,
                                       .sites = count, .site = site};
    }
    c->block = block;
    return NOF1_OK;
}

static const char *new_block_name(struct nof1_arena *arena, const struct nof1_charter *c)
{
    for (size_t n = c->blocks + 1;; n++) {
        const char *name = nof1_arena_printf(arena, "b%zu", n);
        if (name == NULL || nof1_charter_block(c, name) == NOF1_NONE) {
            return name;
        }
    }
}

static const struct named_key *key_of(const struct named_key *key, size_t keys, const char *id)
{
    for (size_t i = 0; i < keys; i++) {
        if (strcmp(key[i].id, id) == 0) {
            return &key[i];
        }
    }
    return NULL;
}

/* Take one site in, or back. */
static nof1_rc join_one(struct nof1_charter *c, struct nof1_member *site,
                        const struct nof1_charter *before, struct nof1_arena *arena,
                        const struct named_key *key, uint32_t cap, struct nof1_error *error)
{
    size_t was = nof1_charter_site(before, key->id);
    if (was != NOF1_NONE && !before->site[was].left) {
        return nof1_fail(error, NOF1_E_USAGE, "--add-site: %s takes part already", key->id);
    }
    if (was != NOF1_NONE) {
        site[was].left = false;
        site[was].vault_spki = key->spki;
        return NOF1_OK;
    }
    return new_site(&site[c->sites++], arena, c->study, key, cap);
}

nof1_rc charter_members_join(struct nof1_charter *c, struct nof1_buffer *notes,
                             struct nof1_arena *arena, const struct charter_joining *joining,
                             struct nof1_error *error)
{
    const struct nof1_charter before = *c;
    struct nof1_member *site = NULL;
    struct named_key *key = NULL;
    size_t keys = 0;
    TRY(read_folder(&key, &keys, arena, joining->folder, error));
    TRY(copy_sites(&site, c, arena, joining->ids));
    for (size_t i = 0; i < joining->ids; i++) {
        const struct named_key *own = key_of(key, keys, joining->id[i]);
        if (own == NULL) {
            return nof1_fail(error, NOF1_E_USAGE, "--add-site: there is no file %s/%s.pem",
                             joining->folder, joining->id[i]);
        }
        TRY(join_one(c, site, &before, arena, own, joining->cap, error));
    }
    if (c->sites == before.sites) { /* all of them came back */
        return NOF1_OK;
    }
    const char *block =
        joining->block != NULL ? joining->block : new_block_name(arena, &before);
    ENSURE(block != NULL, NOF1_E_NO_MEMORY);
    size_t at = nof1_charter_block(&before, block);
    size_t size = (at == NOF1_NONE ? 0 : before.block[at].sites) + c->sites - before.sites;
    if (size < c->limits.min_block_sites) {
        return nof1_fail(error, NOF1_E_USAGE,
                         "a new block needs %u sites and %zu join: name the block that they join "
                         "with --block",
                         c->limits.min_block_sites, size);
    }
    qsort(site, c->sites, sizeof *site, by_site);
    TRY(nof1_buffer_printf(notes,
                           "sites that join: %zu, in block %s%s; its totals wait until enough new "
                           "patients of at least %u sites come together\n",
                           c->sites - before.sites, block, at == NOF1_NONE ? ", which is new" : "",
                           c->limits.min_element_sites));
    return rebuild_blocks(c, arena, &before, block, joining->id, joining->ids);
}

nof1_rc charter_members_leave(struct nof1_charter *c, struct nof1_buffer *notes,
                              struct nof1_arena *arena, size_t ids, const char *const *id,
                              struct nof1_error *error)
{
    struct nof1_member *site = NULL;
    TRY(copy_sites(&site, c, arena, 0));
    for (size_t i = 0; i < ids; i++) {
        size_t at = nof1_charter_site(c, id[i]);
        if (at == NOF1_NONE || site[at].left) {
            return nof1_fail(error, NOF1_E_USAGE, "--remove-site: %s does not take part", id[i]);
        }
        site[at].left = true;
    }
    size_t open = 0;
    for (size_t b = 0; b < c->blocks; b++) {
        open += nof1_charter_block_open(c, b) ? 1 : 0;
    }
    if (open == 0) {
        return nof1_fail(error, NOF1_E_CONFIG,
                         "--remove-site: no block would be left to ask: what remains of a block "
                         "after a site has left is never asked, because it would show that site's "
                         "share of earlier totals; let other sites join first");
    }
    for (size_t i = 0; i < ids; i++) {
        size_t block = nof1_charter_block_of(c, nof1_charter_site(c, id[i]));
        TRY(nof1_buffer_printf(notes,
                               "%s leaves; block %s is in no plan any more, since the rest of it "
                               "alone would show the share of %s\n",
                               id[i], c->block[block].id, id[i]));
    }
    return NOF1_OK;
}
