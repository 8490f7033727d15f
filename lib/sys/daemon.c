/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Signals and hardening of a process: see daemon.h.
 */
#include "daemon.h"

#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <base/log.h>

int nof1_report_error(const char *program, const struct nof1_error *error)
{
    char text[1200];
    nof1_error_text(error, text, sizeof text);
    fprintf(stderr, "%s: %s\n", program, text);
    return nof1_rc_exit_code(error->rc);
}

void nof1_log_start(void)
{
    /* systemd.exec(5): set when stdout or stderr is connected to the journal. */
    nof1_log_setup(STDERR_FILENO, NOF1_LOG_INFO, getenv("JOURNAL_STREAM") != NULL);
}

/* ---- signals --------------------------------------------------------------------------------- */

nof1_rc nof1_signals_open(int *fd)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    ENSURE(sigprocmask(SIG_BLOCK, &set, NULL) == 0, NOF1_E_IO);
    ENSURE(sigaction(SIGPIPE, &ignore, NULL) == 0, NOF1_E_IO);
    *fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    ENSURE(*fd >= 0, NOF1_E_IO);
    return NOF1_OK;
}

int nof1_signals_next(int fd)
{
    struct signalfd_siginfo info;
    ssize_t got = read(fd, &info, sizeof info);
    return got == (ssize_t)sizeof info ? (int)info.ssi_signo : 0;
}

/* ---- hardening ------------------------------------------------------------------------------- */

void nof1_process_harden(bool *locked)
{
    struct rlimit none = {0, 0};
    struct rlimit memory = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &none);
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    /* With a finite limit a later allocation would fail, which is worse than a page in swap. */
    *locked = getrlimit(RLIMIT_MEMLOCK, &memory) == 0 &&
              (memory.rlim_cur == RLIM_INFINITY || geteuid() == 0) &&
              mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0;
}

nof1_rc nof1_user_find(uid_t *out, const char *name, struct nof1_error *error)
{
    char *end = NULL;
    unsigned long number = strtoul(name, &end, 10);
    if (*name >= '0' && *name <= '9' && *end == '\0' && number < (unsigned long)(uid_t)-1) {
        *out = (uid_t)number;
        return NOF1_OK;
    }
    const struct passwd *entry = getpwnam(name);
    if (entry == NULL) {
        return nof1_fail(error, NOF1_E_CONFIG, "there is no user %s on this machine", name);
    }
    *out = entry->pw_uid;
    return NOF1_OK;
}
