/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The vault's promise "no network" as a filter of system calls (seccomp(2)), whoever starts the
 * program and however: see confine.h. Not a sandbox: files are the business of users and modes.
 */
#include "confine.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

#ifdef ARCHITECTURE
#define LOAD(member) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, member))
#define RETURN(value) BPF_STMT(BPF_RET | BPF_K, (value))
#define DENY(number) SECCOMP_RET_ERRNO | (number)
/* The next statement runs when the loaded word is this one, else the one after it. */
#define IF(word) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (word), 0, 1)
#define X32_CALLS 0x40000000u /* a second table of calls on x86-64; no such number elsewhere */

/* A denied call answers as on a machine without it; a call of another architecture ends the
 * process. io_uring would open sockets past the filter. */
static bool install_filter(void)
{
    struct sock_filter filter[] = {
        LOAD(arch),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0),
        RETURN(SECCOMP_RET_KILL_PROCESS),
        LOAD(nr),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_CALLS, 0, 1),
        RETURN(DENY(ENOSYS)),
        IF(SYS_execve),
        RETURN(DENY(EPERM)),
        IF(SYS_execveat),
        RETURN(DENY(EPERM)),
        IF(SYS_io_uring_setup),
        RETURN(DENY(ENOSYS)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socketpair, 1, 0),
        RETURN(SECCOMP_RET_ALLOW),
        LOAD(args[0]),
        IF(AF_UNIX),
        RETURN(SECCOMP_RET_ALLOW),
        RETURN(DENY(EAFNOSUPPORT)),
    };
    const struct sock_fprog program = {.len = sizeof filter / sizeof filter[0], .filter = filter};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0;
}
#else
static bool install_filter(void)
{
    return false;
}
#endif

nof1_rc nof1_process_confine(struct nof1_error *error)
{
    static const int family[] = {AF_INET, AF_INET6, AF_NETLINK, AF_PACKET};
    bool filtered = install_filter();
    for (size_t i = 0; i < sizeof family / sizeof family[0]; i++) {
        int made = socket(family[i], SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (made >= 0) {
            (void)close(made);
            return nof1_fail(error, NOF1_E_CONFIG,
                             "this process could open network sockets%s: run it under "
                             "nof1-vault.service, or on a kernel with seccomp filters",
                             filtered ? " in spite of its filter" : "");
        }
    }
    return NOF1_OK;
}
