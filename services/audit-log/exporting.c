#include "services/audit-log/exporting.h"

#include "audit_log_sql.gen.h"
#include "avanta/audit_log_internal.pb-c.h"
#include "services/audit-log/clean.h"
#include "services/audit-log/export_line.h"
#include "services/audit-log/leaf.h"
#include "services/audit-log/nodes.h"

#include "libcommon/base/clock.h"
#include "libcommon/base/limits.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define PAGE_RECORDS    256 /* so that they fit into memory however long they are */
#define ARENA_BYTES_MAX (32UL * 1024 * 1024)
#define POOL_CHUNKS     (2 * ARENA_BYTES_MAX / ARENA_CHUNK_BYTES)
#define TELL_EVERY_MS   5000
#define ESCAPE_BYTES    6UL /* of one byte of text */

_Static_assert(ESCAPE_BYTES *(2 * AUDIT_DETAILS_BYTES_MAX + AUDIT_AGENT_BYTES_MAX +
                              16UL * AUDIT_WORD_BYTES_MAX) < EXPORT_LINE_BYTES_MAX,
               "every record fits into a line");

struct exporting {
    struct pg_blocking *db;
    const struct export_wanted *wanted;
    struct export_file *file;
    struct arena_pool *pool;
    struct arena *arena; /* of a page */
    struct merkle_frontier frontier;
    uint64_t records;
    uint64_t told_ms;
    struct err *err;
};

struct arena_pool *export_pool_open(void)
{
    return arena_pool_open(ARENA_CHUNK_BYTES, POOL_CHUNKS);
}

struct arena *export_arena_open(struct arena_pool *pool)
{
    assert(pool != NULL);
    return arena_open(pool, ARENA_BYTES_MAX);
}

static enum code no_memory(struct err *err)
{
    return err_set(err, ERR_TOO_LARGE, "the export needs too much memory");
}

/* --- the checkpoint --------------------------------------------------------------------------- */

static enum code checkpoint_take(const Avanta__AuditLog__ProofCheckpoint *row,
                                 struct export_checkpoint *out,
                                 struct err *err)
{
    struct buf note = buf_over(out->note, sizeof out->note);

    assert(row->size >= 0);
    if (row->root.len != sizeof out->root.bytes) {
        return err_set(err, ERR_CONFLICT, "the checkpoint has no root");
    }
    out->size = (uint64_t)row->size;
    out->witnesses = (uint64_t)row->witnesses;
    memcpy(out->root.bytes, row->root.data, sizeof out->root.bytes);
    buf_text(&note, row->note);
    buf_text(&note, row->cosignatures);
    (void)str_copy(str_from(row->made_at), out->made_at, sizeof out->made_at);
    return buf_terminate(&note) ? OK
                                : err_set(err, ERR_TOO_LARGE, "the checkpoint's note is too long");
}

enum code export_checkpoint_find(struct pg_blocking *db,
                                 uint64_t covers,
                                 struct export_checkpoint *out,
                                 struct err *err)
{
    Avanta__AuditLog__TreeRange in = AVANTA__AUDIT_LOG__TREE_RANGE__INIT;
    struct arena_pool *pool = export_pool_open();
    struct arena *arena = pool == NULL ? NULL : export_arena_open(pool);
    struct pg_rows rows = {.count = 0};
    enum code code = arena == NULL ? no_memory(err) : OK;

    assert(out != NULL);
    assert(covers <= MERKLE_SIZE_MAX);
    in.has_first = true;
    in.first = (int64_t)covers;
    if (code == OK) {
        code = pg_blocking_query(db, Q_EXPORT_CHECKPOINT, &in.base, arena, &rows, err);
    }
    if (code == OK && rows.count == 0) {
        code = err_set(err, ERR_NOT_FOUND, "no checkpoint has been made yet");
    }
    if (code == OK) {
        code = checkpoint_take((Avanta__AuditLog__ProofCheckpoint *)(void *)rows.all[0], out, err);
    }
    arena_dispose(&arena);
    arena_pool_close(&pool);
    return code;
}

/* --- lines ------------------------------------------------------------------------------------ */

static enum code line_put(struct exporting *e, const struct export_line *line)
{
    struct arena_mark mark = arena_mark(e->arena);
    struct str text = STR_EMPTY;

    assert(e->arena != NULL);
    assert(line->has != 0);
    enum code code = export_line_write(line, e->arena, &text, e->err);

    if (code == OK) {
        code = export_file_line(e->file, text, e->err);
    }
    arena_rewind(e->arena, mark);
    return code;
}

/* The complete nodes that stand for the leaves from `from` to `to` - 1, into the line. */
static enum code
cover_put(struct exporting *e, uint64_t from, uint64_t to, struct export_line *line)
{
    struct merkle_node nodes[MERKLE_COVER_MAX];
    size_t count = merkle_cover(from, to, nodes);
    struct arena *arena = export_arena_open(e->pool);
    Avanta__AuditLog__ProofTiles *tiles = arena == NULL ? NULL : nodes_wanted(nodes, count, arena);
    struct pg_rows rows = {.count = 0};
    enum code code = tiles == NULL ? no_memory(e->err) : OK;

    assert(from <= to);
    assert(e->frontier.size == from);
    if (code == OK) {
        code = pg_blocking_query(e->db, Q_PROOF_NODES, &tiles->base, arena, &rows, e->err);
    }
    if (code == OK &&
        !nodes_fill(nodes, count, (Avanta__AuditLog__ProofNode **)(void *)rows.all, rows.count)) {
        code = err_set(e->err, ERR_CONFLICT, "nodes of the log's tree are missing");
    }
    for (size_t i = 0; i < count && code == OK; i++) {
        bool fits = merkle_frontier_append_node(&e->frontier, &nodes[i]);

        assert(fits);
        line->hashes[i] = nodes[i].hash;
    }
    line->hash_count = count;
    arena_dispose(&arena);
    return code;
}

static enum code header_put(struct exporting *e)
{
    const struct export_wanted *wanted = e->wanted;
    struct export_line line = {
        .has = wanted->month == NULL ? EXPORT_RANGE_HEADER : EXPORT_SEAL_HEADER,
        .format = STR(EXPORT_FORMAT),
        .kind = wanted->month == NULL ? STR("range") : STR("seal"),
        .month = str_sub(str_from(wanted->month), 0, sizeof "YYYY-MM" - 1),
        .first = wanted->first,
        .checkpoint = str_from(wanted->checkpoint->note),
    };
    enum code code = OK;

    merkle_frontier_init(&e->frontier);
    if (wanted->previous_sha256 != NULL) {
        assert(wanted->month != NULL);
        line.has |= EXPORT_HAS(PREVIOUS_SHA256);
        memcpy(line.previous_sha256, wanted->previous_sha256, sizeof line.previous_sha256);
    }
    code = cover_put(e, 0, wanted->first, &line);
    return code == OK ? line_put(e, &line) : code;
}

static enum code gap_put(struct exporting *e, uint64_t next)
{
    struct export_line line = {.has = EXPORT_GAP, .next = next};
    enum code code = cover_put(e, e->frontier.size, next, &line);

    assert(e->wanted->month != NULL);
    assert(next <= e->wanted->next);
    return code == OK ? line_put(e, &line) : code;
}

static enum code record_put(struct exporting *e, const Avanta__AuditLog__AuditEntry *entry)
{
    struct export_line line = {.has = EXPORT_RANGE_RECORD | EXPORT_HAS(LEAF_HASH),
                               .leaf_index = (uint64_t)entry->leaf_index};
    struct arena_mark mark = arena_mark(e->arena);
    struct merkle_node complete[MERKLE_LEVELS_MAX];
    Avanta__AuditLog__AuditRow row;
    enum code code = OK;

    if (line.leaf_index != e->frontier.size &&
        (e->wanted->month == NULL || line.leaf_index < e->frontier.size)) {
        return err_set(e->err,
                       ERR_CONFLICT,
                       "record %llu is missing, or there twice",
                       (unsigned long long)e->frontier.size);
    }
    if (line.leaf_index != e->frontier.size) {
        code = gap_put(e, line.leaf_index);
    }
    assert(entry->message_id != NULL);
    leaf_row(entry, &row);
    line.record = leaf_text(&row, e->arena);
    if (code == OK && line.record.len == 0) {
        code = no_memory(e->err);
    }
    if (code == OK) {
        merkle_leaf_hash(line.record, &line.leaf_hash);
        (void)merkle_frontier_append(&e->frontier, &line.leaf_hash, complete);
        code = line_put(e, &line);
        e->records++;
    }
    arena_rewind(e->arena, mark);
    return code;
}

static enum code end_put(struct exporting *e)
{
    const struct export_checkpoint *checkpoint = e->wanted->checkpoint;
    struct export_line line = {.has = EXPORT_RANGE_END, .count = e->records};
    struct merkle_hash root;
    enum code code = OK;

    assert(e->records <= e->frontier.size);
    if (e->frontier.size != e->wanted->next) {
        return err_set(
            e->err, ERR_CONFLICT, "record %llu is missing", (unsigned long long)e->frontier.size);
    }
    code = cover_put(e, e->wanted->next, checkpoint->size, &line);
    if (code != OK) {
        return code;
    }
    merkle_frontier_root(&e->frontier, &root);
    if (!merkle_hash_eq(&root, &checkpoint->root)) {
        return err_set(e->err,
                       ERR_CONFLICT,
                       "the records are not those that were signed: see the auditor's findings");
    }
    return line_put(e, &line);
}

/* --- pages ------------------------------------------------------------------------------------ */

static void tell(struct exporting *e)
{
    const uint64_t now = clock_mono_ms();

    assert(e != NULL);
    if (now >= e->told_ms + TELL_EVERY_MS) {
        (void)fprintf(stderr,
                      "%llu of %llu records\n",
                      (unsigned long long)e->records,
                      (unsigned long long)e->wanted->records);
        e->told_ms = now;
    }
}

static enum code page_query(struct exporting *e, uint64_t first, struct pg_rows *out)
{
    const uint64_t left = e->wanted->next - first;
    const int64_t count = left < PAGE_RECORDS ? (int64_t)left : PAGE_RECORDS;
    Avanta__AuditLog__TreeRange range = AVANTA__AUDIT_LOG__TREE_RANGE__INIT;
    Avanta__AuditLog__SealWindow window = AVANTA__AUDIT_LOG__SEAL_WINDOW__INIT;
    char month[EXPORT_MONTH_BYTES];

    assert(first < e->wanted->next);
    if (e->wanted->month == NULL) {
        range.has_first = range.has_count = true;
        range.first = (int64_t)first;
        range.count = count;
        return pg_blocking_query(e->db, Q_AUDITOR_RECORDS, &range.base, e->arena, out, e->err);
    }
    (void)str_copy(str_from(e->wanted->month), month, sizeof month);
    window.month = month;
    window.has_first = window.has_count = true;
    window.first = (int64_t)first;
    window.count = count;
    return pg_blocking_query(e->db, Q_SEAL_RECORDS, &window.base, e->arena, out, e->err);
}

static enum code page_put(struct exporting *e)
{
    const uint64_t before = e->frontier.size;
    struct pg_rows rows = {.count = 0};
    enum code code = OK;

    assert(e->arena == NULL);
    assert(before < e->wanted->next);
    e->arena = export_arena_open(e->pool);
    if (e->arena == NULL) {
        return no_memory(e->err);
    }
    code = page_query(e, before, &rows);
    for (size_t i = 0; i < rows.count && code == OK; i++) {
        code = record_put(e, (Avanta__AuditLog__AuditEntry *)(void *)rows.all[i]);
    }
    arena_dispose(&e->arena);
    if (code == OK && e->frontier.size == before) {
        code = err_set(e->err, ERR_CONFLICT, "record %llu is missing", (unsigned long long)before);
    }
    tell(e);
    return code;
}

/* What needs no page. */
static enum code frame_put(struct exporting *e, enum code (*put)(struct exporting *e))
{
    enum code code = OK;

    assert(e->arena == NULL);
    assert(put != NULL);
    e->arena = export_arena_open(e->pool);
    code = e->arena == NULL ? no_memory(e->err) : put(e);
    arena_dispose(&e->arena);
    return code;
}

enum code export_make(struct pg_blocking *db,
                      const struct export_wanted *wanted,
                      struct export_file *file,
                      uint64_t *out_records,
                      struct err *err)
{
    struct exporting e = {.db = db,
                          .wanted = wanted,
                          .file = file,
                          .pool = export_pool_open(),
                          .told_ms = clock_mono_ms(),
                          .err = err};
    enum code code = OK;

    assert(wanted->first <= wanted->next);
    assert(wanted->next <= wanted->checkpoint->size);
    if (e.pool == NULL) {
        return no_memory(err);
    }
    code = frame_put(&e, header_put);
    while (code == OK && e.frontier.size < wanted->next) {
        code = page_put(&e);
    }
    if (code == OK) {
        code = frame_put(&e, end_put);
    }
    *out_records = e.records;
    arena_pool_close(&e.pool);
    return code;
}
