/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Atoms of the difference rule (docs/protocol.md, E2210): patients that every earlier release of an
 * outcome family treated alike. An atom's key names the releases that used its patients, as a hash
 * chain, so that the keys are public while nobody outside a site knows whose they are.
 *
 * "0": no release has used them. 32 hex digits: SHA-256 of (the key before, "/", hex of H_q, and
 * for every group of the plan but its first "/" and the group's number), first 16 bytes: a release
 * of sums by group tells its groups apart. Those digits and "+s": patients of that atom whose
 * series have changed since, in every outcome of the family that was frozen then. Those digits and
 * "+x": patients of that atom whose series have changed otherwise, in covariates only or back to
 * what they were.
 */
#ifndef NOF1_CORE_ATOMS_H
#define NOF1_CORE_ATOMS_H

#include <nof1/study.h>

#define NOF1_ATOM_TEXT 35
#define NOF1_ATOM_FRESH "0"
#define NOF1_ATOM_ANEW "+s"
#define NOF1_ATOM_IN_PART "+x"

/* The key of those patients of atom `key` that the plan h_q uses in a group. A vault changes it
 * before its first answer to round 1 leaves: from then on their numbers may be known, released or
 * not. */
nof1_rc nof1_atom_used(char out[NOF1_ATOM_TEXT], const char *key, const uint8_t h_q[32],
                       size_t group);
/* Has a release used the patients as they are, and nothing changed since? */
bool nof1_atom_released(const char *key);
/* Is it the key of patients of a released atom whose series have changed since? */
bool nof1_atom_has_changed(const char *key);
/* The key of those patients of a released atom whose series changed: NOF1_ATOM_ANEW or _IN_PART. */
void nof1_atom_changed(char out[NOF1_ATOM_TEXT], const char *key, const char *change);
/* The released atom that a key belongs to, changed or not. */
void nof1_atom_base(char out[NOF1_ATOM_TEXT], const char *key);

/* The public list for the next plan of the family, once round 1 of `plan` was opened: of every atom
 * the parts used, one a group, and the part not used. used[atom * groups + group] and
 * not_used[atom] are patients from round 0; with `complete` (every site attested) parts without
 * patients and, where everybody was used, the old key are dropped, otherwise both stay because some
 * sites may not have answered. A list may name atoms without patients; a plan whose list lacks an
 * atom is refused by the sites that hold it. */
nof1_rc nof1_atoms_after(const char *const **out, size_t *atoms, struct nof1_arena *arena,
                         const struct nof1_plan *plan, size_t groups, const uint64_t *used,
                         const uint64_t *not_used, bool complete);

#endif
