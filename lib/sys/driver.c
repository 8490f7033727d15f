/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Performs actions in order: see driver.h. Holds no logic of the protocol.
 */
#include <sys/driver.h>

#include <stdlib.h>

static nof1_rc commit_if(struct nof1_store *store, bool *writing)
{
    if (*writing) {
        *writing = false;
        TRY(nof1_store_commit(store));
    }
    return NOF1_OK;
}

static nof1_rc write_action(struct nof1_store *store, const struct nof1_action *action, int64_t now,
                            bool *writing)
{
    if (!*writing) {
        TRY(nof1_store_begin(store));
        *writing = true;
    }
    if (action->kind == NOF1_ACTION_APPEND) {
        return nof1_store_append(store, now, action->key, action->bytes, NULL);
    }
    return nof1_store_put(store, action->key, action->bytes);
}

static nof1_rc add_timer(struct nof1_driver *driver, int64_t at)
{
    for (size_t i = 0; i < driver->timers; i++) {
        if (driver->timer[i] == at) {
            return NOF1_OK;
        }
    }
    if (driver->timers == driver->capacity) {
        size_t capacity = driver->capacity == 0 ? 16 : driver->capacity * 2;
        int64_t *timer = realloc(driver->timer, capacity * sizeof *timer);
        ENSURE(timer != NULL, NOF1_E_NO_MEMORY);
        driver->timer = timer;
        driver->capacity = capacity;
    }
    driver->timer[driver->timers++] = at;
    return NOF1_OK;
}

static nof1_rc perform_one(struct nof1_driver *driver, const struct nof1_action *action,
                           int64_t now, bool *writing)
{
    switch (action->kind) {
    case NOF1_ACTION_APPEND:
        if (driver->appended != NULL) {
            driver->appended(driver->self, action->key);
        }
        return write_action(driver->store, action, now, writing);
    case NOF1_ACTION_PUT:
        return write_action(driver->store, action, now, writing);
    case NOF1_ACTION_SEND:
        TRY(commit_if(driver->store, writing));
        return driver->send(driver->self, action->peer, action->bytes);
    case NOF1_ACTION_TIMER:
        return add_timer(driver, action->at);
    case NOF1_ACTION_FINISH:
        TRY(commit_if(driver->store, writing));
        if (driver->finish != NULL) {
            driver->finish(driver->self, action->bytes);
        }
        return NOF1_OK;
    }
    return NOF1_E_BUG;
}

nof1_rc nof1_driver_perform(struct nof1_driver *driver, const struct nof1_actions *actions,
                            int64_t now)
{
    bool writing = false;
    nof1_rc_value rc = NOF1_OK;
    for (size_t i = 0; rc == NOF1_OK && i < actions->count; i++) {
        rc = perform_one(driver, &actions->action[i], now, &writing);
    }
    if (rc == NOF1_OK) {
        rc = commit_if(driver->store, &writing);
    }
    if (rc != NOF1_OK) {
        nof1_store_rollback(driver->store);
    }
    return rc;
}

bool nof1_driver_next(const struct nof1_driver *driver, int64_t *at)
{
    for (size_t i = 0; i < driver->timers; i++) {
        if (i == 0 || driver->timer[i] < *at) {
            *at = driver->timer[i];
        }
    }
    return driver->timers > 0;
}

bool nof1_driver_due(struct nof1_driver *driver, int64_t now)
{
    size_t kept = 0;
    size_t before = driver->timers;
    for (size_t i = 0; i < before; i++) {
        if (driver->timer[i] > now) {
            driver->timer[kept++] = driver->timer[i];
        }
    }
    driver->timers = kept;
    return kept < before;
}

int nof1_driver_wait(const struct nof1_driver *driver, int64_t now, int longest)
{
    int64_t at = 0;
    if (!nof1_driver_next(driver, &at)) {
        return longest;
    }
    if (at <= now) {
        return 0;
    }
    return at - now < longest ? (int)(at - now) : longest;
}

void nof1_driver_fini(struct nof1_driver *driver)
{
    free(driver->timer);
    driver->timer = NULL;
    driver->timers = driver->capacity = 0;
}
