/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a confined process can no longer do, and what it still can (lib/sys/confine.h). In a child:
 * there is no way back.
 */
#include <criterion/criterion.h>

#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sys/confine.h>

static bool is_denied(int family)
{
    int pair[2];
    errno = 0;
    bool denied = socket(family, SOCK_STREAM, 0) < 0 && errno == EAFNOSUPPORT;
    return denied && socketpair(family, SOCK_STREAM, 0, pair) < 0;
}

/* The number of the first thing that is not as it should be. */
static int confined(void)
{
    struct nof1_error error = {0};
    int pair[2];
    char *const none[] = {NULL};
    if (socket(AF_INET, SOCK_STREAM, 0) < 0) {
        return 1; /* the test would show nothing */
    }
    if (nof1_process_confine(&error) != NOF1_OK) {
        return 2;
    }
    if (!is_denied(AF_INET) || !is_denied(AF_INET6) || !is_denied(AF_NETLINK)) {
        return 3;
    }
    if (execve("/bin/true", none, none) == 0 || errno != EPERM) {
        return 4;
    }
    if (syscall(SYS_io_uring_setup, 1, NULL) != -1 || errno != ENOSYS) {
        return 5;
    }
    if (socket(AF_UNIX, SOCK_STREAM, 0) < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) {
        return 6;
    }
    return nof1_process_confine(&error) == NOF1_OK ? 0 : 7;
}

Test(confine, unix_sockets_only_and_no_other_program)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        _exit(confined());
    }
    cr_assert(child > 0 && waitpid(child, &status, 0) == child);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "step %d", WEXITSTATUS(status));
}
