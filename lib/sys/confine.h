/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Take the network, other programs and core files away from this process, for good.
 */
#ifndef NOF1_SYS_CONFINE_H
#define NOF1_SYS_CONFINE_H

#include <nof1/error.h>

/* From now on this process and its threads can open UNIX sockets only, cannot start another program
 * and cannot undo it (seccomp(2)). Then tries to open sockets of IPv4, IPv6, netlink and packets:
 * where the kernel knows no filters, the service manager may have done the same.
 * Errors: NOF1_E_CONFIG when one of them can be opened: the caller must end. */
nof1_rc nof1_process_confine(struct nof1_error *error);

#endif
