/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The adapters: the store keeps what was committed and nothing else, the driver makes writes
 * durable before it sends, local sockets keep messages apart and strangers out, files are replaced
 * whole.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sqlite3.h>

#include <sys/clock.h>
#include <sys/daemon.h>
#include <sys/driver.h>
#include <sys/entropy.h>
#include <sys/files.h>
#include <sys/local.h>
#include <sys/store.h>

static struct nof1_slice text(const char *value)
{
    return nof1_slice_of(value, strlen(value));
}

static char *folder(char out[64])
{
    snprintf(out, 64, "/tmp/nof1-sys-XXXXXX");
    cr_assert_not_null(mkdtemp(out));
    return out;
}

static const char *inside(char out[128], const char *where, const char *name)
{
    snprintf(out, 128, "%s/%s", where, name);
    return out;
}

static void remove_folder(const char *path)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", path);
    cr_assert_eq(system(command), 0);
}

struct seen {
    size_t count;
    char text[512];
};

static nof1_rc_value see_key(void *context, const char *key, struct nof1_slice value)
{
    struct seen *seen = context;
    size_t used = strlen(seen->text);
    snprintf(seen->text + used, sizeof seen->text - used, "%s=%.*s ", key, (int)value.length,
             (const char *)value.data);
    seen->count++;
    return NOF1_OK;
}

static nof1_rc_value see_entry(void *context, const struct nof1_entry *entry)
{
    struct seen *seen = context;
    size_t used = strlen(seen->text);
    snprintf(seen->text + used, sizeof seen->text - used, "%llu@%lld %s:%.*s ",
             (unsigned long long)entry->seq, (long long)entry->at, entry->kind,
             (int)entry->body.length, (const char *)entry->body.data);
    seen->count++;
    return NOF1_OK;
}

static void fill_store(struct nof1_store *store)
{
    uint64_t seq = 0;
    cr_assert_eq(nof1_store_append(store, 5, "x", text("{}"), NULL), NOF1_E_BUG);
    cr_assert_eq(nof1_store_begin(store), NOF1_OK);
    cr_assert_eq(nof1_store_begin(store), NOF1_E_BUG);
    cr_assert_eq(nof1_store_append(store, 1000, "first", text("{\"a\":1}"), &seq), NOF1_OK);
    cr_assert_eq(seq, 1u);
    cr_assert_eq(nof1_store_append(store, 1000, "second", text(""), &seq), NOF1_OK);
    cr_assert_eq(nof1_store_put(store, "plan/b", text("2")), NOF1_OK);
    cr_assert_eq(nof1_store_put(store, "plan/a", text("1")), NOF1_OK);
    cr_assert_eq(nof1_store_put(store, "plan0", text("no")), NOF1_OK);
    cr_assert_eq(nof1_store_put(store, "plan/b", text("3")), NOF1_OK);
    cr_assert_eq(nof1_store_commit(store), NOF1_OK);
}

static void check_store(struct nof1_store *store)
{
    struct seen seen = {0};
    struct nof1_store_reader reader = nof1_store_reader(store);
    cr_assert_eq(reader.each(reader.self, "plan/", see_key, &seen), NOF1_OK);
    cr_expect_str_eq(seen.text, "plan/a=1 plan/b=3 ");
    seen = (struct seen){0};
    cr_assert_eq(nof1_store_entries(store, 1, see_entry, &seen), NOF1_OK);
    cr_expect_str_eq(seen.text, "1@1000 first:{\"a\":1} 2@1000 second: ");
    int64_t last = 0;
    cr_assert_eq(nof1_store_last_time(&last, store), NOF1_OK);
    cr_expect_eq(last, 1000);
    struct nof1_arena *arena = nof1_arena_new();
    struct nof1_slice value;
    cr_expect_eq(nof1_store_get(&value, arena, store, "plan/b"), NOF1_OK);
    cr_expect(nof1_slice_equal(value, text("3")));
    cr_expect_eq(nof1_store_get(&value, arena, store, "plan/c"), NOF1_E_NOT_FOUND);
    nof1_arena_free(arena);
}

Test(sys, store_in_memory_and_on_disk_keep_the_same)
{
    char where[64], path[128];
    struct nof1_store *store = NULL;
    struct nof1_error error = {0};
    cr_assert_eq(nof1_store_open(&store, ":memory:", &error), NOF1_OK, "%s", error.message);
    cr_expect_neq(access(":memory:", F_OK), 0, "a store in memory leaves a file");
    fill_store(store);
    check_store(store);
    nof1_store_close(store);

    inside(path, folder(where), "ledger.sqlite");
    cr_assert_eq(nof1_store_open_read(&store, path, &error), NOF1_E_STORE);
    cr_assert_eq(nof1_store_open(&store, path, &error), NOF1_OK, "%s", error.message);
    fill_store(store);
    /* What was not committed is gone; an empty value deletes; time does not run backwards. */
    cr_assert_eq(nof1_store_begin(store), NOF1_OK);
    cr_assert_eq(nof1_store_put(store, "plan/a", text("")), NOF1_OK);
    cr_assert_eq(nof1_store_append(store, 999, "late", text("x"), NULL), NOF1_OK);
    int64_t last = 0;
    cr_assert_eq(nof1_store_last_time(&last, store), NOF1_OK);
    cr_expect_eq(last, 1000, "dated %lld", (long long)last);
    nof1_store_close(store);
    cr_assert_eq(nof1_store_open(&store, path, &error), NOF1_OK, "%s", error.message);
    check_store(store);
    struct nof1_store *reader = NULL;
    cr_assert_eq(nof1_store_open_read(&reader, path, &error), NOF1_OK, "%s", error.message);
    check_store(reader);
    if (nof1_store_begin(reader) == NOF1_OK) {
        cr_expect_eq(nof1_store_put(reader, "plan/a", text("x")), NOF1_E_STORE);
    }
    nof1_store_close(reader);
    nof1_store_close(store);
    remove_folder(where);
}

/* Is it in the file's pages or in those that the WAL still has? */
static bool on_disk(const char *path, const char *what)
{
    char command[400];
    snprintf(command, sizeof command, "cat '%s'* | grep -qa '%s'", path, what);
    return system(command) == 0;
}

/* A patient who has withdrawn leaves no trace in free pages, or in the WAL while a vault runs. */
Test(sys, what_is_deleted_is_gone_from_the_disk)
{
    struct nof1_store *store = NULL, *vault = NULL;
    char where[64], path[128];
    struct nof1_error error = {0};
    inside(path, folder(where), "site.sqlite");
    cr_assert_eq(nof1_store_open(&vault, path, &error), NOF1_OK, "%s", error.message);
    cr_assert_eq(nof1_store_open(&store, path, &error), NOF1_OK, "%s", error.message);
    cr_assert_eq(nof1_store_begin(store), NOF1_OK);
    cr_assert_eq(nof1_store_put(store, "epoch/1/trial/0", text("numbers of a patient")), NOF1_OK);
    cr_assert_eq(nof1_store_put(store, "epoch/head", text("{}")), NOF1_OK);
    cr_assert_eq(nof1_store_commit(store), NOF1_OK);
    cr_expect(on_disk(path, "numbers of a patient"), "the control");
    cr_assert_eq(nof1_store_begin(store), NOF1_OK);
    cr_assert_eq(nof1_store_put(store, "epoch/1/trial/0", nof1_slice_of(NULL, 0)), NOF1_OK);
    cr_assert_eq(nof1_store_commit(store), NOF1_OK);
    nof1_store_close(store);
    cr_expect_not(on_disk(path, "numbers of a patient"), "deleted, and still there");
    nof1_store_close(vault);
    remove_folder(where);
}

Test(sys, store_refuses_what_is_not_its_own_and_any_change_of_the_ledger)
{
    char where[64], path[128];
    struct nof1_store *store = NULL;
    struct nof1_error error = {0};
    inside(path, folder(where), "ledger.sqlite");
    cr_assert_eq(nof1_store_open(&store, path, &error), NOF1_OK);
    fill_store(store);
    nof1_store_close(store);

    sqlite3 *database = NULL;
    cr_assert_eq(sqlite3_open(path, &database), SQLITE_OK);
    cr_expect_neq(sqlite3_exec(database, "UPDATE entry SET kind='y'", NULL, NULL, NULL), SQLITE_OK);
    cr_expect_neq(sqlite3_exec(database, "DELETE FROM entry", NULL, NULL, NULL), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(database, "PRAGMA user_version=2", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(database);
    cr_expect_eq(nof1_store_open(&store, path, &error), NOF1_E_STORE);
    cr_expect_not_null(strstr(error.message, "version 2"));

    inside(path, where, "other.sqlite");
    cr_assert_eq(sqlite3_open(path, &database), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(database, "CREATE TABLE t(a)", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(database);
    cr_expect_eq(nof1_store_open(&store, path, &error), NOF1_E_STORE);
    inside(path, where, "text");
    cr_assert_eq(nof1_file_write(path,
                                 text("this is no database, whatever its length may be, at all"),
                                 0600, &error),
                 NOF1_OK);
    cr_expect_eq(nof1_store_open(&store, path, &error), NOF1_E_STORE);
    cr_expect_null(store);
    remove_folder(where);
}

/* At every SEND and FINISH the entries before it must already be visible to another connection. */
struct witness {
    struct nof1_store *other;
    size_t sends, finishes;
    size_t entries_at_send[4];
    bool fail;
};

static size_t entries_of(struct nof1_store *store)
{
    struct seen seen = {0};
    cr_assert_eq(nof1_store_entries(store, 1, see_entry, &seen), NOF1_OK);
    return seen.count;
}

static nof1_rc_value witness_send(void *self, const char *peer, struct nof1_slice frame)
{
    struct witness *witness = self;
    cr_expect_str_eq(peer, "site-a");
    cr_expect(nof1_slice_equal(frame, text("frame")));
    witness->entries_at_send[witness->sends++] = entries_of(witness->other);
    return witness->fail ? NOF1_E_IO : NOF1_OK;
}

static void witness_finish(void *self, struct nof1_slice query)
{
    struct witness *witness = self;
    cr_expect_eq(query.length, 4u);
    cr_expect_eq(entries_of(witness->other), 3u);
    witness->finishes++;
}

static void add(struct nof1_actions *actions, enum nof1_action_kind kind, const char *key,
                const char *bytes)
{
    struct nof1_action action = {.kind = kind, .peer = "site-a", .key = key, .bytes = text(bytes)};
    cr_assert_eq(nof1_actions_add(actions, action), NOF1_OK);
}

Test(sys, driver_makes_writes_durable_before_what_depends_on_them)
{
    char where[64], path[128];
    struct nof1_store *store = NULL;
    struct nof1_error error = {0};
    struct witness witness = {0};
    inside(path, folder(where), "ledger.sqlite");
    cr_assert_eq(nof1_store_open(&store, path, &error), NOF1_OK);
    cr_assert_eq(nof1_store_open_read(&witness.other, path, &error), NOF1_OK);
    struct nof1_driver driver = {
        .store = store, .send = witness_send, .finish = witness_finish, .self = &witness};

    struct nof1_actions actions;
    cr_assert_eq(nof1_actions_init(&actions), NOF1_OK);
    add(&actions, NOF1_ACTION_APPEND, "one", "1");
    add(&actions, NOF1_ACTION_PUT, "key", "value");
    add(&actions, NOF1_ACTION_SEND, NULL, "frame");
    add(&actions, NOF1_ACTION_APPEND, "two", "2");
    add(&actions, NOF1_ACTION_APPEND, "three", "3");
    add(&actions, NOF1_ACTION_FINISH, NULL, "hash");
    cr_assert_eq(nof1_driver_perform(&driver, &actions, 7000), NOF1_OK);
    cr_expect_eq(witness.entries_at_send[0], 1u);
    cr_expect_eq(witness.finishes, 1u);
    nof1_actions_free(&actions);

    /* A failing link ends the list: what follows is not done. */
    cr_assert_eq(nof1_actions_init(&actions), NOF1_OK);
    witness.fail = true;
    add(&actions, NOF1_ACTION_SEND, NULL, "frame");
    add(&actions, NOF1_ACTION_APPEND, "four", "4");
    cr_expect_eq(nof1_driver_perform(&driver, &actions, 7001), NOF1_E_IO);
    cr_expect_eq(entries_of(witness.other), 3u);
    nof1_actions_free(&actions);
    nof1_driver_fini(&driver);
    nof1_store_close(witness.other);
    nof1_store_close(store);
    remove_folder(where);
}

Test(sys, store_tells_what_others_have_written)
{
    struct nof1_store *own = NULL, *other = NULL;
    struct nof1_error error;
    char where[] = "/tmp/nof1-sys-XXXXXX", path[64];
    bool changed = true;
    cr_assert_not_null(mkdtemp(where));
    snprintf(path, sizeof path, "%s/ledger.sqlite", where);
    cr_assert_eq(nof1_store_open(&own, path, &error), NOF1_OK);
    cr_assert_eq(nof1_store_open(&other, path, &error), NOF1_OK);
    cr_assert_eq(nof1_store_changed(&changed, own), NOF1_OK);
    cr_expect(!changed, "the first call");
    struct nof1_store *const writer[] = {own, other};
    for (size_t w = 0; w < 2; w++) {
        cr_assert_eq(nof1_store_begin(writer[w]), NOF1_OK);
        struct nof1_slice value = nof1_slice_text(w == 0 ? "own" : "other");
        cr_assert_eq(nof1_store_put(writer[w], "k", value), NOF1_OK);
        cr_assert_eq(nof1_store_changed(&changed, own), NOF1_OK);
        cr_expect(!changed, "not committed yet");
        cr_assert_eq(nof1_store_commit(writer[w]), NOF1_OK);
        cr_assert_eq(nof1_store_changed(&changed, own), NOF1_OK);
        cr_expect_eq(changed, writer[w] == other, "writer %zu: %d", w, changed);
        cr_assert_eq(nof1_store_changed(&changed, own), NOF1_OK);
        cr_expect(!changed, "told twice");
    }
    nof1_store_close(other);
    nof1_store_close(own);
    remove_folder(where);
}

Test(sys, driver_keeps_timers)
{
    struct nof1_driver driver = {0};
    struct nof1_actions actions;
    cr_assert_eq(nof1_actions_init(&actions), NOF1_OK);
    for (int64_t i = 0; i < 40; i++) {
        struct nof1_action action = {.kind = NOF1_ACTION_TIMER, .at = 1000 + (i * 7) % 40};
        cr_assert_eq(nof1_actions_add(&actions, action), NOF1_OK);
        cr_assert_eq(nof1_actions_add(&actions, action), NOF1_OK);
    }
    struct nof1_store *store = NULL;
    struct nof1_error error;
    cr_assert_eq(nof1_store_open(&store, ":memory:", &error), NOF1_OK);
    driver.store = store;
    cr_expect_eq(nof1_driver_wait(&driver, 0, 500), 500);
    cr_assert_eq(nof1_driver_perform(&driver, &actions, 1), NOF1_OK);
    nof1_actions_free(&actions);
    cr_expect_eq(driver.timers, 40u);
    int64_t at = 0;
    cr_expect(nof1_driver_next(&driver, &at));
    cr_expect_eq(at, 1000);
    cr_expect_eq(nof1_driver_wait(&driver, 900, 500), 100);
    cr_expect_eq(nof1_driver_wait(&driver, 100, 500), 500);
    cr_expect_eq(nof1_driver_wait(&driver, 2000, 500), 0);
    cr_expect(!nof1_driver_due(&driver, 999));
    cr_expect(nof1_driver_due(&driver, 1009));
    cr_expect_eq(driver.timers, 30u);
    cr_expect(nof1_driver_due(&driver, 5000));
    cr_expect(!nof1_driver_next(&driver, &at));
    nof1_driver_fini(&driver);
    nof1_store_close(store);
}

static void pair(struct nof1_socket *out[2], enum nof1_framing framing)
{
    int fds[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    cr_assert_eq(nof1_socket_adopt(&out[0], fds[0], framing), NOF1_OK);
    cr_assert_eq(nof1_socket_adopt(&out[1], fds[1], framing), NOF1_OK);
}

Test(sys, sockets_keep_messages_apart_whatever_the_chunks)
{
    struct nof1_socket *end[2];
    struct nof1_slice message;
    bool got = true;
    pair(end, NOF1_FRAMED);
    size_t large = (size_t)3 << 20;
    uint8_t *bytes = malloc(large);
    cr_assert_not_null(bytes);
    for (size_t i = 0; i < large; i++) {
        bytes[i] = (uint8_t)(i * 31 >> 3);
    }
    cr_assert_eq(nof1_socket_receive(end[1], &message, &got), NOF1_OK);
    cr_expect(!got);
    cr_assert_eq(nof1_socket_send(end[0], text("")), NOF1_OK);
    cr_assert_eq(nof1_socket_send(end[0], text("short")), NOF1_OK);
    cr_assert_eq(nof1_socket_send(end[0], nof1_slice_of(bytes, large)), NOF1_OK);
    cr_assert_eq(nof1_socket_send(end[0], text("last")), NOF1_OK);
    cr_expect(nof1_socket_events(end[0]) & POLLOUT, "3 MiB do not fit a socket's buffer");
    const struct nof1_slice expected[] = {text(""), text("short"), nof1_slice_of(bytes, large),
                                          text("last")};
    size_t count = 0;
    for (size_t turn = 0; count < 4 && turn < 10000; turn++) {
        cr_assert_eq(nof1_socket_flush(end[0]), NOF1_OK);
        cr_assert_eq(nof1_socket_receive(end[1], &message, &got), NOF1_OK);
        if (got) {
            cr_expect(nof1_slice_equal(message, expected[count]), "message %zu", count);
            count++;
        }
    }
    cr_expect_eq(count, 4u);
    cr_expect_eq(nof1_socket_events(end[0]), POLLIN);
    nof1_socket_close(end[0]);
    cr_expect_eq(nof1_socket_receive(end[1], &message, &got), NOF1_E_UNREACHABLE);
    cr_expect(nof1_socket_send(end[1], text("x")) == NOF1_E_IO);
    nof1_socket_close(end[1]);
    free(bytes);

    /* A length above the limit is refused before a byte of it is stored. */
    int fds[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    cr_assert_eq(nof1_socket_adopt(&end[0], fds[0], NOF1_FRAMED), NOF1_OK);
    cr_assert_eq(write(fds[1], "\x04\x00\x00\x01", 4), 4);
    cr_expect_eq(nof1_socket_receive(end[0], &message, &got), NOF1_E_DECODE);
    nof1_socket_close(end[0]);
    close(fds[1]);
}

Test(sys, sockets_carry_lines)
{
    int fds[2];
    struct nof1_socket *end = NULL;
    struct nof1_slice message;
    bool got = false;
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    cr_assert_eq(nof1_socket_adopt(&end, fds[0], NOF1_LINES), NOF1_OK);
    const char sent[] = "{\"a\":1}\n\n{\"b\"";
    for (size_t i = 0; i + 1 < sizeof sent; i++) {
        cr_assert_eq(write(fds[1], &sent[i], 1), 1);
        cr_assert_eq(nof1_socket_receive(end, &message, &got), NOF1_OK);
        cr_expect_eq(got, sent[i] == '\n');
        if (i == 7) {
            cr_expect(nof1_slice_equal(message, text("{\"a\":1}")));
        }
        if (i == 8) {
            cr_expect_eq(message.length, 0u);
        }
    }
    cr_expect_eq(nof1_socket_send(end, text("two\nlines")), NOF1_E_BUG);
    cr_expect_eq(nof1_socket_send(end, text("answer")), NOF1_OK);
    char answer[16] = {0};
    cr_assert_eq(read(fds[1], answer, sizeof answer), 7);
    cr_expect_str_eq(answer, "answer\n");
    nof1_socket_close(end);
    close(fds[1]);
}

Test(sys, listener_replaces_stale_files_only_and_refuses_strangers)
{
    char where[64], path[128];
    int fd = -1, second = -1;
    struct nof1_error error = {0};
    struct stat info;
    inside(path, folder(where), "vault.sock");
    cr_assert_eq(nof1_listener_open(&fd, path, false, &error), NOF1_OK, "%s", error.message);
    cr_assert_eq(stat(path, &info), 0);
    cr_expect_eq(info.st_mode & 0777, 0600u);
    cr_expect_eq(nof1_listener_open(&second, path, false, &error), NOF1_E_CONFIG);
    close(fd); /* as if killed: the file stays */
    cr_assert_eq(nof1_listener_open(&fd, path, false, &error), NOF1_OK, "%s", error.message);

    struct nof1_socket *client = NULL, *server = NULL;
    cr_assert_eq(nof1_socket_accept(&server, fd, NOF1_FRAMED, (uid_t)-1, &error), NOF1_OK);
    cr_expect_null(server);
    cr_assert_eq(nof1_socket_connect(&client, path, NOF1_FRAMED, (uid_t)-1, &error), NOF1_OK);
    cr_assert_eq(nof1_socket_accept(&server, fd, NOF1_FRAMED, (uid_t)-1, &error), NOF1_OK);
    cr_assert_not_null(server);
    nof1_socket_close(client);
    nof1_socket_close(server);

    if (geteuid() == 0) {
        cr_assert_eq(chmod(where, 0755), 0);
        cr_assert_eq(chmod(path, 0666), 0);
        pid_t child = fork();
        if (child == 0) {
            struct nof1_socket *stranger = NULL;
            if (setuid(65534) != 0 ||
                nof1_socket_connect(&stranger, path, NOF1_FRAMED, 0, &error) != NOF1_OK) {
                _exit(1);
            }
            pause();
            _exit(0);
        }
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        cr_assert_eq(poll(&wait, 1, 5000), 1);
        cr_expect_eq(nof1_socket_accept(&server, fd, NOF1_FRAMED, (uid_t)-1, &error),
                     NOF1_E_UNAUTHORISED);
        cr_expect_null(server);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    nof1_listener_close(fd, path);
    cr_expect_neq(stat(path, &info), 0);
    cr_assert_eq(nof1_file_write(path, text("x"), 0600, &error), NOF1_OK);
    cr_expect_eq(nof1_listener_open(&fd, path, false, &error), NOF1_E_CONFIG);
    remove_folder(where);
}

Test(sys, files_are_whole_private_and_locked)
{
    char where[64], path[128];
    struct nof1_error error = {0};
    struct nof1_buffer read = {0};
    struct stat info;
    inside(path, folder(where), "key.pem");
    cr_expect_eq(nof1_file_read(&read, path, 10, &error), NOF1_E_INPUT);
    cr_expect_eq(nof1_file_private(path, &error), NOF1_E_INPUT);
    cr_assert_eq(nof1_file_write(path, text("0123456789"), 0644, &error), NOF1_OK);
    cr_expect_eq(nof1_file_private(path, &error), NOF1_E_CONFIG);
    cr_expect_not_null(strstr(error.message, "chmod 600"));
    cr_assert_eq(nof1_file_write(path, text("9876543210"), 0600, &error), NOF1_OK);
    cr_assert_eq(stat(path, &info), 0);
    cr_expect_eq(info.st_mode & 0777, 0600u);
    cr_expect_eq(nof1_file_private(path, &error), NOF1_OK);
    cr_assert_eq(nof1_file_read(&read, path, 10, &error), NOF1_OK);
    cr_expect(nof1_slice_equal(nof1_buffer_slice(&read), text("9876543210")));
    cr_expect_eq(nof1_file_read(&read, path, 9, &error), NOF1_E_INPUT);
    cr_expect_eq(nof1_file_read(&read, where, 9, &error), NOF1_E_INPUT);
    nof1_buffer_free(&read);
    int first = -1, second = -1;
    cr_assert_eq(nof1_file_lock(&first, where, "lock", &error), NOF1_OK);
    cr_expect_eq(nof1_file_lock(&second, where, "lock", &error), NOF1_E_CONFIG);
    close(first);
    cr_expect_eq(nof1_file_lock(&second, where, "lock", &error), NOF1_OK);
    close(second);
    remove_folder(where);
}

/* After a correction of the date by minutes the clock goes on, slowly, and waiting for it ends. */
Test(sys, clock_behind_its_own_answers_goes_on_at_half_speed)
{
    struct nof1_clock clock = {0};
    const struct timespec pause = {.tv_nsec = 40000000};
    int64_t ahead = nof1_clock_now(&clock) + 600000;
    clock.last = ahead;
    cr_expect_eq(nof1_clock_now(&clock), ahead);
    (void)nanosleep(&pause, NULL);
    int64_t after = nof1_clock_now(&clock);
    cr_expect(after >= ahead + 19 && after < ahead + 500000, "%lld", (long long)(after - ahead));
    struct timespec wait = nof1_clock_until(&clock, after + 7, 60000);
    cr_expect(wait.tv_sec == 0 && wait.tv_nsec == 7000000);
}

Test(sys, clock_waits_until_a_whole_millisecond)
{
    struct nof1_clock clock = {0};
    struct timespec now, wait;
    int64_t at = nof1_clock_now(&clock) + 5;
    wait = nof1_clock_until(&clock, at, 60000);
    (void)clock_gettime(CLOCK_REALTIME, &now);
    int64_t end = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec + wait.tv_nsec;
    cr_expect(wait.tv_sec == 0 && wait.tv_nsec <= 5000000);
    cr_expect(end >= at * 1000000, "it would wake before");
    wait = nof1_clock_until(&clock, at + 100000, 1500);
    cr_expect(wait.tv_sec == 1 && wait.tv_nsec == 500000000);
    wait = nof1_clock_until(&clock, at - 1000, 1500);
    cr_expect(wait.tv_sec == 0 && wait.tv_nsec == 0);
}

Test(sys, clock_never_runs_backwards_and_entropy_differs)
{
    struct nof1_clock clock = {.last = INT64_C(9000000000000)};
    cr_expect_eq(nof1_clock_now(&clock), INT64_C(9000000000000));
    clock.last = 0;
    int64_t now = nof1_clock_now(&clock);
    cr_expect_gt(now, INT64_C(1700000000000));
    cr_expect_geq(nof1_clock_now(&clock), now);
    int64_t start = nof1_clock_monotonic();
    usleep(3000);
    cr_expect_geq(nof1_clock_monotonic() - start, 2);
    uint8_t a[64] = {0}, b[64] = {0};
    struct nof1_entropy entropy = nof1_random_entropy();
    cr_assert_eq(entropy.fill(entropy.self, a, sizeof a), NOF1_OK);
    cr_assert_eq(entropy.fill(entropy.self, b, sizeof b), NOF1_OK);
    cr_expect_neq(memcmp(a, b, sizeof a), 0);
}

Test(sys, signals_arrive_at_a_descriptor)
{
    int fd = -1;
    cr_assert_eq(nof1_signals_open(&fd), NOF1_OK);
    cr_expect_eq(nof1_signals_next(fd), 0);
    raise(SIGHUP);
    raise(SIGTERM);
    int first = nof1_signals_next(fd), second = nof1_signals_next(fd);
    cr_expect_eq(first + second, SIGHUP + SIGTERM);
    cr_expect_eq(nof1_signals_next(fd), 0);
    close(fd);
    uid_t user = 0;
    struct nof1_error error = {0};
    cr_expect_eq(nof1_user_find(&user, "12345", &error), NOF1_OK);
    cr_expect_eq(user, 12345u);
    cr_expect_eq(nof1_user_find(&user, "root", &error), NOF1_OK);
    cr_expect_eq(user, 0u);
    cr_expect_eq(nof1_user_find(&user, "no-such-user-here", &error), NOF1_E_CONFIG);
}
