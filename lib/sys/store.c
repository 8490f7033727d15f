/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The store over SQLite (https://www.sqlite.org/wal.html). WAL with synchronous=FULL: a commit that
 * has returned survives a power cut. Triggers forbid changing or deleting a ledger entry, so that
 * not even a slip in this program rewrites history.
 */
#include "store.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <base/log.h>

#define APPLICATION_ID 0x4e314631 /* "N1F1" */
#define USER_VERSION 1
#define TEXT_OF(number) #number
#define TEXT(number) TEXT_OF(number)

enum statement {
    BEGIN, COMMIT, ROLLBACK, APPEND, PUT, DELETE, GET, EACH, ENTRIES, LAST, VERSION, STATEMENTS
};

static const char *const sql[STATEMENTS] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
    [APPEND] = ("INSERT INTO entry(at, kind, body) VALUES("
                "max(?1, coalesce((SELECT at FROM entry ORDER BY seq DESC LIMIT 1), ?1)), ?2, ?3)"),
    [PUT] = ("INSERT INTO state(key, value) VALUES(?1, ?2) "
             "ON CONFLICT(key) DO UPDATE SET value = excluded.value"),
    [DELETE] = "DELETE FROM state WHERE key = ?1",
    [GET] = "SELECT value FROM state WHERE key = ?1",
    [EACH] = "SELECT key, value FROM state WHERE key >= ?1 ORDER BY key",
    [ENTRIES] = "SELECT seq, at, kind, body FROM entry WHERE seq >= ?1 ORDER BY seq",
    [LAST] = "SELECT at FROM entry ORDER BY seq DESC LIMIT 1",
    [VERSION] = "PRAGMA data_version",
};

static const char schema[] =
    "CREATE TABLE entry(seq INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL,"
    " kind TEXT NOT NULL, body BLOB NOT NULL) STRICT;"
    "CREATE TABLE state(key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TRIGGER entry_no_update BEFORE UPDATE ON entry"
    " BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;"
    "CREATE TRIGGER entry_no_delete BEFORE DELETE ON entry"
    " BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;"
    "CREATE TRIGGER entry_in_order BEFORE INSERT ON entry"
    " WHEN NEW.at < (SELECT at FROM entry ORDER BY seq DESC LIMIT 1)"
    " BEGIN SELECT RAISE(ABORT, 'time runs backwards'); END;"
    "PRAGMA application_id = " TEXT(APPLICATION_ID) ";"
    "PRAGMA user_version = " TEXT(USER_VERSION) ";";

struct nof1_store {
    sqlite3 *database;
    sqlite3_stmt *statement[STATEMENTS];
    bool writing;
    bool erased; /* in the transaction */
    sqlite3_int64 version; /* changes when another connection has committed */
};

void nof1_store_close(struct nof1_store *store)
{
    if (store == NULL) {
        return;
    }
    nof1_store_rollback(store);
    for (size_t i = 0; i < STATEMENTS; i++) {
        sqlite3_finalize(store->statement[i]);
    }
    sqlite3_close(store->database);
    free(store);
}

void nof1_store_closep(struct nof1_store **store)
{
    nof1_store_close(*store);
}

/* The code says only that the store refused; the operator must hear why (a full disk, a damaged
 * file). SQLite's texts hold no values. */
static nof1_rc_value failed(const struct nof1_store *store)
{
    nof1_log(NOF1_LOG_ERROR, "store.failed",
             NOF1_LOG_FIELDS(nof1_log_text("code", nof1_rc_code(NOF1_E_STORE)),
                             nof1_log_text("file", sqlite3_db_filename(store->database, "main")),
                             nof1_log_text("message", sqlite3_errmsg(store->database))));
    return NOF1_E_STORE;
}

static nof1_rc run(struct nof1_store *store, const char *text)
{
    ENSURE(sqlite3_exec(store->database, text, NULL, NULL, NULL) == SQLITE_OK, NOF1_E_STORE);
    return NOF1_OK;
}

static nof1_rc pragma_value(int *out, struct nof1_store *store, const char *text)
{
    sqlite3_stmt *statement = NULL;
    ENSURE(sqlite3_prepare_v2(store->database, text, -1, &statement, NULL) == SQLITE_OK,
           NOF1_E_STORE);
    bool row = sqlite3_step(statement) == SQLITE_ROW;
    *out = row ? sqlite3_column_int(statement, 0) : 0;
    sqlite3_finalize(statement);
    ENSURE(row, NOF1_E_STORE);
    return NOF1_OK;
}

/* A new file is empty: no schema change was ever made to it. Anything else must be ours. */
static nof1_rc check_identity(struct nof1_store *store, bool *fresh, const char *path,
                              struct nof1_error *error)
{
    int schemas = 0;
    int application = 0;
    int version = 0;
    if (pragma_value(&schemas, store, "SELECT count(*) FROM sqlite_schema") != NOF1_OK ||
        pragma_value(&application, store, "PRAGMA application_id") != NOF1_OK ||
        pragma_value(&version, store, "PRAGMA user_version") != NOF1_OK) {
        return nof1_fail(error, NOF1_E_STORE, "%s: %s", path, sqlite3_errmsg(store->database));
    }
    *fresh = schemas == 0 && application == 0;
    if (!*fresh && application != APPLICATION_ID) {
        return nof1_fail(error, NOF1_E_STORE, "%s: not a ledger of this program", path);
    }
    if (!*fresh && version != USER_VERSION) {
        return nof1_fail(error, NOF1_E_STORE, "%s: version %d, this program reads %d", path,
                         version, USER_VERSION);
    }
    return NOF1_OK;
}

/* Nothing is ever written to a damaged file: what is left of the ledger can then still be saved.
 * Reads every page once, not the indices against the tables (about a second a gigabyte). */
static nof1_rc check_pages(struct nof1_store *store, const char *path, struct nof1_error *error)
{
    char text[200] = "";
    sqlite3_stmt *statement = NULL;
    bool good = sqlite3_prepare_v2(store->database, "PRAGMA quick_check(1)", -1, &statement,
                                   NULL) == SQLITE_OK &&
                sqlite3_step(statement) == SQLITE_ROW;
    const unsigned char *row = good ? sqlite3_column_text(statement, 0) : NULL;
    const char *why = row == NULL ? sqlite3_errmsg(store->database) : (const char *)row;
    good = row != NULL && strcmp(why, "ok") == 0;
    for (size_t i = 0; i + 1 < sizeof text && why[i] != '\0'; i++) {
        text[i] = why[i];
        text[i] = text[i] == '\n' ? ' ' : text[i];
    }
    sqlite3_finalize(statement);
    return good ? NOF1_OK
                : nof1_fail(error, NOF1_E_STORE, "%s: damaged; restore it from a backup (%s)", path,
                            text);
}

static nof1_rc prepare_all(struct nof1_store *store)
{
    for (size_t i = 0; i < STATEMENTS; i++) {
        ENSURE(sqlite3_prepare_v3(store->database, sql[i], -1, SQLITE_PREPARE_PERSISTENT,
                                  &store->statement[i], NULL) == SQLITE_OK,
               NOF1_E_STORE);
    }
    return NOF1_OK;
}

static nof1_rc set_up(struct nof1_store *store, const char *path, bool read_only,
                      struct nof1_error *error)
{
    bool fresh = false;
    sqlite3_busy_timeout(store->database, 2000);
    TRY(check_identity(store, &fresh, path, error));
    if (fresh && read_only) {
        return nof1_fail(error, NOF1_E_STORE, "%s: empty", path);
    }
    nof1_rc_value rc = NOF1_OK;
    if (!read_only && !fresh) {
        TRY(check_pages(store, path, error));
    }
    if (!read_only) {
        rc = run(store, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                        "PRAGMA trusted_schema = OFF; PRAGMA cache_size = -1024;"
                        "PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON;");
    }
    if (rc == NOF1_OK && fresh) {
        rc = run(store, "BEGIN IMMEDIATE");
        rc = rc == NOF1_OK ? run(store, schema) : rc;
        rc = rc == NOF1_OK ? run(store, "COMMIT") : rc;
    }
    rc = rc == NOF1_OK ? prepare_all(store) : rc;
    if (rc != NOF1_OK) {
        return nof1_fail(error, rc, "%s: %s", path, sqlite3_errmsg(store->database));
    }
    return NOF1_OK;
}

/* SQLite would make the file readable for everybody whom the umask lets; its WAL and index take
 * over the mode of the file. One that cannot be made is SQLite's to complain about. */
static void make_private(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0) {
        (void)close(fd);
    }
}

static nof1_rc open_store(struct nof1_store **out, const char *path, bool read_only,
                          struct nof1_error *error)
{
    *out = NULL;
    struct nof1_store *store = calloc(1, sizeof *store);
    ENSURE(store != NULL, NOF1_E_NO_MEMORY);
    int flags = (read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE) |
                SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW;
    if (!read_only && strcmp(path, ":memory:") != 0) {
        make_private(path);
    }
    if (sqlite3_open_v2(path, &store->database, flags, NULL) != SQLITE_OK) {
        nof1_rc_value rc = nof1_fail(error, NOF1_E_STORE, "%s: %s", path,
                                     sqlite3_errmsg(store->database));
        nof1_store_close(store);
        return rc;
    }
    nof1_rc_value rc = set_up(store, path, read_only, error);
    if (rc != NOF1_OK) {
        nof1_store_close(store);
        return rc;
    }
    *out = store;
    return NOF1_OK;
}

nof1_rc nof1_store_open(struct nof1_store **out, const char *path, struct nof1_error *error)
{
    return open_store(out, path, false, error);
}

nof1_rc nof1_store_open_read(struct nof1_store **out, const char *path, struct nof1_error *error)
{
    return open_store(out, path, true, error);
}

/* Run a statement that returns no row, and make it ready for the next time. */
static nof1_rc finish(const struct nof1_store *store, sqlite3_stmt *statement)
{
    int result = sqlite3_step(statement);
    nof1_rc_value rc = result == SQLITE_DONE ? NOF1_OK : failed(store);
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return rc;
}

nof1_rc nof1_store_begin(struct nof1_store *store)
{
    ENSURE(!store->writing, NOF1_E_BUG);
    TRY(finish(store, store->statement[BEGIN]));
    store->writing = true;
    store->erased = false;
    return NOF1_OK;
}

nof1_rc nof1_store_commit(struct nof1_store *store)
{
    ENSURE(store->writing, NOF1_E_BUG);
    TRY(finish(store, store->statement[COMMIT]));
    store->writing = false;
    if (store->erased) {
        /* earlier images of the pages stay in the WAL until it is cut; while another connection
         * reads it is not, but at the next time */
        nof1_rc_value rc = run(store, "PRAGMA wal_checkpoint(TRUNCATE)");
        (void)rc;
    }
    return NOF1_OK;
}

void nof1_store_rollback(struct nof1_store *store)
{
    if (store->writing) {
        /* SQLite rolls back by itself after some failures; closing the file does so as well */
        if (sqlite3_get_autocommit(store->database) == 0) {
            nof1_rc_value rc = finish(store, store->statement[ROLLBACK]);
            (void)rc;
        }
        store->writing = false;
    }
}

/* SQLite binds a NULL pointer as NULL; an empty value is a zero-length blob. */
static void bind_bytes(sqlite3_stmt *statement, int index, struct nof1_slice bytes)
{
    if (bytes.length == 0) {
        sqlite3_bind_zeroblob(statement, index, 0);
    } else {
        sqlite3_bind_blob64(statement, index, bytes.data, bytes.length, SQLITE_STATIC);
    }
}

nof1_rc nof1_store_append(struct nof1_store *store, int64_t at, const char *kind,
                          struct nof1_slice body, uint64_t *seq)
{
    ENSURE(store->writing, NOF1_E_BUG);
    sqlite3_stmt *statement = store->statement[APPEND];
    sqlite3_bind_int64(statement, 1, at);
    sqlite3_bind_text(statement, 2, kind, -1, SQLITE_STATIC);
    bind_bytes(statement, 3, body);
    TRY(finish(store, statement));
    if (seq != NULL) {
        *seq = (uint64_t)sqlite3_last_insert_rowid(store->database);
    }
    return NOF1_OK;
}

nof1_rc nof1_store_put(struct nof1_store *store, const char *key, struct nof1_slice value)
{
    ENSURE(store->writing, NOF1_E_BUG);
    sqlite3_stmt *statement = store->statement[value.length == 0 ? DELETE : PUT];
    sqlite3_bind_text(statement, 1, key, -1, SQLITE_STATIC);
    if (value.length > 0) {
        bind_bytes(statement, 2, value);
    } else {
        store->erased = true;
    }
    return finish(store, statement);
}

static struct nof1_slice column_bytes(sqlite3_stmt *statement, int column)
{
    const void *data = sqlite3_column_blob(statement, column);
    return nof1_slice_of(data, (size_t)sqlite3_column_bytes(statement, column));
}

nof1_rc nof1_store_get(struct nof1_slice *out, struct nof1_arena *arena, struct nof1_store *store,
                       const char *key)
{
    sqlite3_stmt *statement = store->statement[GET];
    sqlite3_bind_text(statement, 1, key, -1, SQLITE_STATIC);
    int result = sqlite3_step(statement);
    nof1_rc_value rc = result == SQLITE_ROW    ? NOF1_OK
                       : result == SQLITE_DONE ? NOF1_E_NOT_FOUND
                                               : failed(store);
    if (rc == NOF1_OK) {
        *out = nof1_arena_copy(arena, column_bytes(statement, 0));
        rc = out->data == NULL ? NOF1_E_NO_MEMORY : NOF1_OK;
    }
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return rc;
}

/* Keys come in byte order, so those with the prefix follow each other. A reader of its own per
 * call: a visit may look something else up. */
static nof1_rc_value each(void *self, const char *prefix,
                          nof1_rc_value (*visit)(void *context, const char *key,
                                                 struct nof1_slice value),
                          void *context)
{
    struct nof1_store *store = self;
    sqlite3_stmt *statement = NULL;
    ENSURE(sqlite3_prepare_v2(store->database, sql[EACH], -1, &statement, NULL) == SQLITE_OK,
           NOF1_E_STORE);
    sqlite3_bind_text(statement, 1, prefix, -1, SQLITE_STATIC);
    size_t length = strlen(prefix);
    nof1_rc_value rc = NOF1_OK;
    int result = SQLITE_DONE;
    while (rc == NOF1_OK && (result = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *key = (const char *)sqlite3_column_text(statement, 0);
        if (key == NULL || strncmp(key, prefix, length) != 0) {
            result = key == NULL ? SQLITE_NOMEM : SQLITE_DONE;
            break;
        }
        rc = visit(context, key, column_bytes(statement, 1));
    }
    if (rc == NOF1_OK && result != SQLITE_DONE) {
        rc = failed(store);
    }
    sqlite3_finalize(statement);
    return rc;
}

struct nof1_store_reader nof1_store_reader(struct nof1_store *store)
{
    return (struct nof1_store_reader){.each = each, .self = store};
}

nof1_rc nof1_store_entries(struct nof1_store *store, uint64_t first,
                           nof1_rc_value (*visit)(void *context, const struct nof1_entry *entry),
                           void *context)
{
    sqlite3_stmt *statement = store->statement[ENTRIES];
    sqlite3_bind_int64(statement, 1, (sqlite3_int64)first);
    nof1_rc_value rc = NOF1_OK;
    int result = SQLITE_DONE;
    while (rc == NOF1_OK && (result = sqlite3_step(statement)) == SQLITE_ROW) {
        struct nof1_entry entry = {
            .seq = (uint64_t)sqlite3_column_int64(statement, 0),
            .at = sqlite3_column_int64(statement, 1),
            .kind = (const char *)sqlite3_column_text(statement, 2),
            .body = column_bytes(statement, 3),
        };
        rc = visit(context, &entry);
    }
    if (rc == NOF1_OK && result != SQLITE_DONE) {
        rc = failed(store);
    }
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return rc;
}

nof1_rc nof1_store_changed(bool *out, struct nof1_store *store)
{
    sqlite3_stmt *statement = store->statement[VERSION];
    sqlite3_int64 before = store->version;
    bool row = sqlite3_step(statement) == SQLITE_ROW;
    store->version = row ? sqlite3_column_int64(statement, 0) : before;
    nof1_rc_value rc = row ? NOF1_OK : failed(store);
    sqlite3_reset(statement);
    *out = before != 0 && store->version != before;
    return rc;
}

nof1_rc nof1_store_last_time(int64_t *out, struct nof1_store *store)
{
    sqlite3_stmt *statement = store->statement[LAST];
    int result = sqlite3_step(statement);
    *out = result == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : 0;
    nof1_rc_value rc = result == SQLITE_ROW || result == SQLITE_DONE ? NOF1_OK : failed(store);
    sqlite3_reset(statement);
    return rc;
}
