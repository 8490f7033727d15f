/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The real programs: see programs.h.
 */
#include "programs.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUND_TIMEOUT "3" /* seconds */
#define WORDS 32

int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void sleep_ms(int ms)
{
    (void)poll(NULL, 0, ms);
}

void program_log(char out[600], const struct consortium *c, int which)
{
    static const char *const kind[] = {"coordinator", "vault", "edge", "client"};
    int k = which == COORDINATOR ? 0 : which < EDGE ? 1 : which < CLIENT ? 2 : 3;
    int site = k == 1 ? which - VAULT : k == 2 ? which - EDGE : 0;
    snprintf(out, 600, "%s/%s-%d.log", c->folder, kind[k], site);
}

/* ---- command lines -------------------------------------------------------------------------- */

struct command {
    char text[WORDS][640];
    char *argv[WORDS + 1];
    int count;
};

__attribute__((format(printf, 2, 3))) static void add(struct command *command, const char *format,
                                                      ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(command->text[command->count], sizeof command->text[0], format, arguments);
    va_end(arguments);
    command->argv[command->count] = command->text[command->count];
    command->argv[++command->count] = NULL;
}

static void add_tls(struct command *command, const struct consortium *c, const char *name)
{
    add(command, "--ca");
    add(command, "%s/ca.pem", c->folder);
    add(command, "--cert");
    add(command, "%s/%s.pem", c->folder, name);
    add(command, "--key");
    add(command, "%s/%s.key", c->folder, name);
}

static void coordinator_command(struct command *command, const struct consortium *c)
{
    add(command, "%s/nof1-coordinator", c->bin);
    add(command, "serve");
    add(command, "--dir=%s/coordinator", c->folder);
    add(command, "--listen=%s", c->target[0] == '\0' ? "127.0.0.1:0" : c->target);
    add(command, "--charter=%s/charter.json", c->folder);
    add(command, "--port-file=%s/port", c->folder);
    add(command, "--round-timeout=" ROUND_TIMEOUT);
    add_tls(command, c, "coordinator-coordinator");
}

static void vault_command(struct command *command, const struct consortium *c, int site)
{
    add(command, "%s/nof1-vault", c->bin);
    add(command, "--dir=%s/%d", c->folder, site);
    add(command, "--charter=%s/charter.json", c->folder);
    add(command, "--site=%s", site_name[site]);
    add(command, "--key=%s/%d/vault.key", c->folder, site);
    add(command, "--socket=%s/%d/edge.sock", c->folder, site);
}

static void edge_command(struct command *command, const struct consortium *c, int site)
{
    char name[40];
    snprintf(name, sizeof name, "site-%s", site_name[site]);
    add(command, "%s/nof1-edge", c->bin);
    add(command, "--socket=%s/%d/edge.sock", c->folder, site);
    add(command, "--target=%s", c->target);
    add_tls(command, c, name);
}

static void client_command(struct command *command, const struct consortium *c)
{
    add(command, "%s/nof1", c->bin);
    add(command, "run");
    add(command, "%s", c->plan);
    add(command, "--target");
    add(command, "%s", c->target);
    add_tls(command, c, "statistician-lab");
    add(command, "--signing-key");
    add(command, "%s/signing.key", c->folder);
    add(command, "--json");
}

/* ---- life ----------------------------------------------------------------------------------- */

static void redirect(int to, const char *path, int flags)
{
    int fd = open(path, flags | O_CREAT, 0600);
    if (fd < 0 || dup2(fd, to) < 0) {
        _exit(99);
    }
    (void)close(fd);
}

void program_start(struct consortium *c, int which, const char *fault, const char *trace)
{
    struct command *command = calloc(1, sizeof *command);
    char log[600];
    char out[600];
    program_log(log, c, which);
    snprintf(out, sizeof out, "%s/result.json", c->folder);
    if (which == COORDINATOR) {
        coordinator_command(command, c);
    } else if (which < EDGE) {
        vault_command(command, c, which - VAULT);
    } else if (which < CLIENT) {
        edge_command(command, c, which - EDGE);
    } else {
        client_command(command, c);
    }
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) {
            _exit(99);
        }
        redirect(0, "/dev/null", O_RDONLY);
        redirect(2, log, O_WRONLY | O_APPEND);
        redirect(1, which == CLIENT ? out : log, O_WRONLY | (which == CLIENT ? O_TRUNC : O_APPEND));
        if (fault != NULL || trace != NULL) {
            (void)setenv("LD_PRELOAD", c->preload, 1);
        }
        if (fault != NULL) {
            (void)setenv("NOF1_FAULT", fault, 1);
        }
        if (trace != NULL) {
            (void)setenv("NOF1_FAULT_TRACE", trace, 1);
        }
        execv(command->argv[0], command->argv);
        _exit(99);
    }
    free(command);
    c->program[which] = (struct program){.pid = pid, .starts = c->program[which].starts + 1};
}

int program_event(struct consortium *c)
{
    for (int p = 0; p < PROGRAMS; p++) {
        struct program *program = &c->program[p];
        int status = 0;
        if (program->pid <= 0 ||
            waitpid(program->pid, &status, WNOHANG | WUNTRACED) != program->pid) {
            continue;
        }
        if (WIFSTOPPED(status)) {
            program->stopped = true;
        } else {
            program->pid = 0;
            program->status = status;
        }
        return p;
    }
    return -1;
}

bool await_port(struct consortium *c, int limit_ms)
{
    char path[600];
    int64_t since = now_ms();
    snprintf(path, sizeof path, "%s/port", c->folder);
    while (now_ms() - since < limit_ms) {
        FILE *file = fopen(path, "r");
        int port = 0;
        int got = file == NULL ? 0 : fscanf(file, "%d", &port);
        if (file != NULL) {
            (void)fclose(file);
        }
        if (got == 1) {
            snprintf(c->target, sizeof c->target, "127.0.0.1:%d", port);
            return true;
        }
        int status = 0;
        if (waitpid(c->program[COORDINATOR].pid, &status, WNOHANG) > 0) {
            c->program[COORDINATOR].pid = 0;
            c->program[COORDINATOR].status = status;
            return false;
        }
        sleep_ms(5);
    }
    return false;
}

static bool any_left(struct consortium *c, bool *clean)
{
    bool left = false;
    for (int p = 0; p < PROGRAMS; p++) {
        struct program *program = &c->program[p];
        int status = 0;
        if (program->pid > 0 && waitpid(program->pid, &status, WNOHANG) == program->pid) {
            program->pid = 0;
            program->status = status;
            /* one that was started this very moment has no handler yet */
            bool early = program->starts > 1 && WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM;
            *clean = *clean && (early || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
        }
        left = left || program->pid > 0;
    }
    return left;
}

bool stop_all(struct consortium *c, int limit_ms)
{
    bool clean = true;
    int64_t since = now_ms();
    for (int p = 0; p < PROGRAMS; p++) {
        if (c->program[p].pid > 0) {
            (void)kill(c->program[p].pid, SIGTERM);
        }
    }
    while (any_left(c, &clean)) {
        if (now_ms() - since > limit_ms) {
            kill_all(c);
            return false;
        }
        sleep_ms(2);
    }
    return clean;
}

void kill_all(struct consortium *c)
{
    for (int p = 0; p < PROGRAMS; p++) {
        if (c->program[p].pid > 0) {
            (void)kill(c->program[p].pid, SIGKILL);
            (void)waitpid(c->program[p].pid, NULL, 0);
            c->program[p].pid = 0;
        }
    }
}

bool ask_vault(const struct consortium *c, int site, const char *line, char *out, size_t size)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const struct timeval limit = {.tv_sec = 5};
    snprintf(address.sun_path, sizeof address.sun_path, "%.80s/%d/admin.sock", c->folder, site);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    size_t length = 0;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        send(fd, line, strlen(line), MSG_NOSIGNAL) != (ssize_t)strlen(line)) {
        (void)close(fd);
        return false;
    }
    while (length + 1 < size) {
        ssize_t got = recv(fd, out + length, size - 1 - length, 0);
        if (got <= 0) {
            break;
        }
        length += (size_t)got;
        if (out[length - 1] == '\n') {
            break;
        }
    }
    (void)close(fd);
    out[length > 0 ? length - 1 : 0] = '\0';
    return length > 0;
}

bool file_has(const char *path, const char *text)
{
    FILE *file = fopen(path, "r");
    char line[2000];
    bool found = false;
    while (file != NULL && !found && fgets(line, sizeof line, file) != NULL) {
        found = strstr(line, text) != NULL;
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return found;
}
