/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A consortium's files: see lay_out.h. Uses the lab's own authority and freezer.
 */
#include "lay_out.h"

#include <stdio.h>
#include <string.h>

#include <node/store.h>
#include <node/vault.h>
#include <sys/clock.h>
#include <sys/files.h>
#include <tools/lab.h>
#include <tools/lab_ca.h>

const char *const site_name[SITES] = {"site-01", "site-02", "site-03", "site-04"};

struct place {
    char path[512];
};

static const char *in(struct place *place, const char *folder, const char *name)
{
    snprintf(place->path, sizeof place->path, "%s/%s", folder, name);
    return place->path;
}

static nof1_rc put(const char *folder, const char *name, struct nof1_slice bytes, mode_t mode,
                   struct nof1_error *error)
{
    struct place place;
    return nof1_file_write(in(&place, folder, name), bytes, mode, error);
}

static nof1_rc put_key(const char *folder, const char *name, const struct nof1_key *key,
                       struct nof1_error *error)
{
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer pem = {0};
    TRY(nof1_key_write_pem(&pem, key));
    return put(folder, name, nof1_buffer_slice(&pem), 0600, error);
}

static nof1_rc issue(struct nof1_lab_ca *ca, const char *folder, const char *role, const char *id,
                     const char *ip, struct nof1_error *error)
{
    char cert[600];
    char key[600];
    snprintf(cert, sizeof cert, "%s/%s-%s.pem", folder, role, id);
    snprintf(key, sizeof key, "%s/%s-%s.key", folder, role, id);
    return nof1_lab_ca_issue(ca, role, id, ip, cert, key, error);
}

static nof1_rc certificates(struct nof1_lab *lab, const char *folder, struct nof1_error *error)
{
    struct place place;
    struct nof1_lab_ca *ca = NULL;
    TRY(nof1_lab_ca_new(&ca, lab->charter->study));
    nof1_rc_value rc = nof1_lab_ca_write(ca, in(&place, folder, "ca.pem"), error);
    rc = rc == NOF1_OK ? issue(ca, folder, "coordinator", "coordinator", "127.0.0.1", error) : rc;
    rc = rc == NOF1_OK ? issue(ca, folder, "statistician", NOF1_LAB_STATISTICIAN, NULL, error) : rc;
    for (size_t s = 0; rc == NOF1_OK && s < SITES; s++) {
        rc = issue(ca, folder, "site", site_name[s], NULL, error);
    }
    nof1_lab_ca_free(ca);
    return rc;
}

static nof1_rc documents(struct nof1_lab *lab, const char *folder, struct nof1_error *error)
{
    struct place place;
    uint8_t signature[NOF1_SIGNATURE_MAX];
    size_t length = 0;
    TRY(put(folder, "charter.json", nof1_buffer_slice(&lab->charter_bytes), 0644, error));
    TRY(nof1_sign(signature, &length, lab->coordinator, lab->charter->hash));
    TRY(put(folder, "charter.json.sig", nof1_slice_of(signature, length), 0644, error));
    TRY(nof1_file_folder(in(&place, folder, "coordinator"), error));
    TRY(put_key(folder, "coordinator/coordinator.key", lab->coordinator, error));
    return put_key(folder, "signing.key", lab->statistician, error);
}

static nof1_rc site_folder(struct nof1_lab *lab, const char *folder, size_t number,
                           struct nof1_error *error)
{
    struct place place;
    char own[300];
    struct nof1_clock clock = {0};
    struct nof1_store *store NOF1_CLEANUP(nof1_store_closep) = NULL;
    snprintf(own, sizeof own, "%s/%zu", folder, number);
    TRY(nof1_file_folder(own, error));
    TRY(put_key(own, "vault.key", lab->site[number].key, error));
    TRY(nof1_store_open(&store, in(&place, own, NOF1_SITE_STORE), error));
    return nof1_epoch_save(store, &lab->site[number].epoch, lab->charter, nof1_clock_now(&clock),
                           error);
}

/* The synthetic charter is for five sites and more; four need the other preset. */
static nof1_rc copy_charter(const char *from, const char *to, struct nof1_error *error)
{
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer text = {0};
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer changed = {0};
    static const char before[] = "preset: standard";
    TRY(nof1_file_read(&text, from, 1 << 20, error));
    const uint8_t *at = memmem(text.data, text.length, before, strlen(before));
    ENSURE(at != NULL, NOF1_E_INPUT);
    size_t head = (size_t)(at - text.data);
    TRY(nof1_buffer_append(&changed, text.data, head));
    TRY(nof1_buffer_append(&changed, "preset: ultra-rare", strlen("preset: ultra-rare")));
    TRY(nof1_buffer_append(&changed, at + strlen(before), text.length - head - strlen(before)));
    return nof1_file_write(to, nof1_buffer_slice(&changed), 0644, error);
}

nof1_rc_value lay_out(const char *folder, const char *sources, const char *plan,
                      struct nof1_error *error)
{
    struct place sites;
    struct place map;
    struct place from;
    struct place charter;
    struct nof1_lab lab = {0};
    TRY(nof1_file_folder(folder, error));
    TRY(copy_charter(in(&from, sources, "charter.yaml"), in(&charter, folder, "charter.yaml"),
                     error));
    const struct nof1_lab_options options = {.sites = in(&sites, sources, "sites"),
                                             .map = in(&map, sources, "map.yaml"),
                                             .charter = charter.path,
                                             .plan = plan,
                                             .quiet = true};
    nof1_rc_value rc = nof1_lab_read(&lab, &options, error);
    rc = rc == NOF1_OK ? nof1_lab_agree(&lab, error) : rc;
    rc = rc == NOF1_OK ? documents(&lab, folder, error) : rc;
    rc = rc == NOF1_OK ? certificates(&lab, folder, error) : rc;
    for (size_t s = 0; rc == NOF1_OK && s < SITES; s++) {
        rc = site_folder(&lab, folder, s, error);
    }
    nof1_lab_free(&lab);
    return rc;
}
