/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Stored state that something damaged: a site and a coordinator start from it. Either they start,
 * or they say which record is wrong; never a crash. Input: KEY NUL VALUE, repeated, separated by
 * 0xff.
 */
#include <sim.h>

#include <stdio.h>
#include <string.h>

#include <core/coordinator.h>
#include <core/site.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct bytes {
    const uint8_t *data;
    size_t size;
};

static nof1_rc_value visit_all(void *self, const char *prefix,
                               nof1_rc_value (*visit)(void *context, const char *key,
                                                      struct nof1_slice value),
                               void *context)
{
    const struct bytes *all = self;
    for (size_t at = 0; at < all->size;) {
        const uint8_t *start = all->data + at;
        const uint8_t *stop = memchr(start, 0xff, all->size - at);
        size_t length = stop == NULL ? all->size - at : (size_t)(stop - start);
        const uint8_t *nul = memchr(start, 0, length);
        char key[256];
        if (nul != NULL && (size_t)(nul - start) < sizeof key) {
            memcpy(key, start, (size_t)(nul - start) + 1);
            struct nof1_slice value = {nul + 1, length - (size_t)(nul + 1 - start)};
            nof1_rc_value rc =
                strncmp(key, prefix, strlen(prefix)) == 0 ? visit(context, key, value) : NOF1_OK;
            if (rc != NOF1_OK) {
                return rc;
            }
        }
        at += length + 1;
    }
    return NOF1_OK;
}

static nof1_rc_value no_entropy(void *self, uint8_t *out, size_t length)
{
    (void)self;
    memset(out, 7, length);
    return NOF1_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct sim *sim; /* keys are slow to make; the sessions below are new each time */
    if (sim == NULL) {
        sim = sim_new(&(struct sim_options){.sites = 3, .patients = 2, .seed = 1, .quiet = true});
    }
    struct bytes all = {data, size};
    const uint8_t secret[32] = {1};
    struct nof1_error error = {.rc = NOF1_OK};
    struct nof1_site *site = NULL;
    struct nof1_coordinator *coordinator = NULL;
    const struct nof1_site_config site_config = {
        .id = sim_charter(sim)->site[0].id, .charter = sim_charter(sim),
        .charter_bytes = sim_charter_bytes(sim), .policy = sim_charter(sim)->limits,
        .key = sim_site_key(sim, 0), .epoch = sim_epoch(sim, 0),
        .secret = nof1_slice_of(secret, sizeof secret), .lab = true,
        .entropy = {no_entropy, NULL}, .store = {visit_all, &all}};
    if (nof1_site_new(&site, &site_config, &error) == NOF1_OK) {
        json_decref(nof1_site_status(site));
        nof1_site_free(site);
    }
    const struct nof1_coordinator_config config = {
        .charter = sim_charter(sim), .charter_bytes = sim_charter_bytes(sim),
        .entropy = {no_entropy, NULL}, .store = {visit_all, &all}, .round_timeout = 1000};
    if (nof1_coordinator_new(&coordinator, &config, 1, &error) == NOF1_OK) {
        json_decref(nof1_coordinator_status(coordinator, NULL));
        nof1_coordinator_free(coordinator);
    }
    return 0;
}
