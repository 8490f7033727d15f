/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Options, signals and hardening of a process: see daemon.h.
 */
#include "daemon.h"

#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <base/log.h>

/* ---- options --------------------------------------------------------------------------------- */

static void print_help(const char *program, const char *synopsis, size_t count,
                       const struct nof1_daemon_option *option)
{
    printf("usage: %s\n\n", synopsis);
    for (size_t i = 0; i < count; i++) {
        char left[64];
        snprintf(left, sizeof left, "--%s %s", option[i].name,
                 option[i].argument == NULL ? "" : option[i].argument);
        printf("  %-26s %s%s\n", left, option[i].help, option[i].required ? " (required)" : "");
    }
    printf("  %-26s %s\n  %-26s %s\n", "--help", "this text", "--version", "the version");
    printf("\nMore: man %s\n", program);
}

static const struct nof1_daemon_option *find_option(const char *word, size_t length, size_t count,
                                             const struct nof1_daemon_option *option)
{
    for (size_t i = 0; i < count; i++) {
        if (strlen(option[i].name) == length && strncmp(option[i].name, word, length) == 0) {
            return &option[i];
        }
    }
    return NULL;
}

static int usage_error(const char *program, const char *what, const char *word)
{
    fprintf(stderr, "%s: %s %s (see --help)\n", program, what, word);
    return 2;
}

/* Take one option at argv[*at]; *at moves to its last word. */
static int take_option(int argc, char **argv, int *at, const char *program, size_t count,
                       const struct nof1_daemon_option *option)
{
    const char *word = argv[*at];
    if (strncmp(word, "--", 2) != 0 || word[2] == '\0') {
        return usage_error(program, "unexpected", word);
    }
    size_t length = strcspn(word + 2, "=");
    const char *value = word[2 + length] == '=' ? word + 2 + length + 1 : NULL;
    const struct nof1_daemon_option *found = find_option(word + 2, length, count, option);
    if (found == NULL) {
        return usage_error(program, "unknown option", word);
    }
    if (found->argument == NULL) {
        if (value != NULL) {
            return usage_error(program, "no value belongs to", word);
        }
        *found->flag = true;
        return -1;
    }
    if (value == NULL && *at + 1 < argc) {
        value = argv[++*at];
    }
    if (value == NULL || *value == '\0') {
        return usage_error(program, "a value is missing after", word);
    }
    *found->text = value;
    return -1;
}

int nof1_options_read(int argc, char **argv, int first, const char *program, const char *synopsis,
                      size_t count, const struct nof1_daemon_option *option)
{
    for (int i = first; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            print_help(program, synopsis, count, option);
            return 0;
        }
        if (strcmp(argv[i], "--version") == 0) {
            printf("%s %s\n", program, NOF1_VERSION);
            return 0;
        }
        int code = take_option(argc, argv, &i, program, count, option);
        if (code >= 0) {
            return code;
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (option[i].required && *option[i].text == NULL) {
            char name[64];
            snprintf(name, sizeof name, "--%s", option[i].name);
            return usage_error(program, "missing option", name);
        }
    }
    return -1;
}

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
