/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The versions of a site's own policy in the site's store: every text byte for byte as the steward
 * wrote it, who proposed it, who approved it, and when. One person proposes, another approves; the
 * highest approved version is in force. Names are what people say of themselves: the account the
 * command ran under is kept beside them.
 */
#ifndef NOF1_NODE_POLICY_STORE_H
#define NOF1_NODE_POLICY_STORE_H

#include <base/document.h>
#include <core/policy.h>
#include <sys/store.h>

/* Who gives a command: a name of printable ASCII, at most 60, and the account. */
struct nof1_person {
    const char *name, *account;
};

struct nof1_policy_version {
    uint32_t version;
    struct nof1_slice text;           /* as written */
    const char *digest;               /* SHA-256 of the text, hex */
    const char *edited_by, *edited_account;
    int64_t edited_at;                /* milliseconds UTC */
    const char *approved_by, *approved_account; /* NULL: not approved */
    int64_t approved_at;
};

/* All versions, ascending, in arena. */
nof1_rc nof1_policy_versions(const struct nof1_policy_version **out, size_t *count,
                             struct nof1_arena *arena, struct nof1_store *store);
/* The highest approved version among them; NULL: none. */
const struct nof1_policy_version *nof1_policy_active(const struct nof1_policy_version *version,
                                                     size_t count);
/* The stricter of charter and approved version. Errors: NOF1_E_STORE, NOF1_E_CONFIG. */
nof1_rc nof1_policy_effective(struct nof1_limits *out, struct nof1_arena *arena,
                              struct nof1_store *store, const struct nof1_limits *charter,
                              struct nof1_error *error);
/* Keep a text as the next version, proposed. The text must have been checked. */
nof1_rc nof1_policy_propose(uint32_t *version, struct nof1_store *store, struct nof1_slice text,
                            const struct nof1_person *by, int64_t now, struct nof1_error *error);
/* Put the latest version in force. Errors: NOF1_E_USAGE when it is not the latest, is approved
 * already, or the same person proposed it. */
nof1_rc nof1_policy_accept(struct nof1_store *store, uint32_t version,
                           const struct nof1_person *by, int64_t now, struct nof1_error *error);

#endif
