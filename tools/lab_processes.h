/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The consortium as real programs on loopback, with mutual TLS: see lab.h.
 */
#ifndef NOF1_TOOLS_LAB_PROCESSES_H
#define NOF1_TOOLS_LAB_PROCESSES_H

#include <tools/lab.h>

/* Start a coordinator, and a vault and an edge for each site, in a throw-away folder; run the plans
 * through the client of `nof1 run`; stop and remove everything, also on failure and on SIGINT.
 * *result is an array, one object a plan.
 * Deployed vaults (nof1-vault) for a charter that is not the lab's, else nof1-lab-site.
 * Errors: NOF1_E_CONFIG for a missing program, those of nof1_remote_run. */
nof1_rc nof1_lab_processes(json_t **result, struct nof1_lab *lab, struct nof1_error *error);

#endif
