/*
 * Growing the tree. Every CHECKPOINT_EVERY_MS one replica adds the leaves that were stored since
 * the newest checkpoint, keeps the complete nodes of every eighth level, signs the new size and
 * root, and tells of it. What a witness or an auditor verifies later begins with these texts.
 */
#include "audit_log_ops.gen.h"
#include "audit_log_sql.gen.h"
#include "avanta/audit_log_internal.pb-c.h"
#include "services/audit-log/audit.h"
#include "services/audit-log/nodes.h"

#include "libcommon/base/clock.h"
#include "libcommon/codec/transcode.h"
#include "libcommon/io/merkle.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LEAVES_MAX      16384 /* in one checkpoint; the next follows at once */
#define NOTE_ROOM_BYTES 1024

struct growing {
    struct merkle_frontier frontier;
    Avanta__AuditLog__TreeRange range;
    Avanta__AuditLog__TreeAdd add;
    uint8_t edge[MERKLE_LEVELS_MAX * MERKLE_HASH_BYTES]; /* the frontier as it is stored */
    struct merkle_hash root;
    uint64_t made_ms; /* the checkpoint before */
};

static struct growing *growing_of(struct req *r)
{
    return req_state(r, sizeof(struct growing));
}

static enum step grow_lock(struct req *r)
{
    return req_query(r, Q_TREE_LOCK);
}

static enum step grow_last(struct req *r)
{
    Avanta__AuditLog__TreeOurs row = AVANTA__AUDIT_LOG__TREE_OURS__INIT;

    assert(req_rows(r) == 1);
    if (!req_row(r, 0, &row.base)) {
        return STEP_FAIL;
    }
    return row.ours ? req_query(r, Q_TREE_LAST) : STEP_DONE;
}

/* The frontier as it is stored: the hashes that count, largest subtree first. */
static size_t frontier_write(const struct merkle_frontier *frontier, uint8_t *out)
{
    size_t len = 0;

    assert(frontier != NULL);
    for (uint32_t level = MERKLE_LEVELS_MAX; level-- > 0;) {
        if ((frontier->size >> level & 1U) != 0) {
            memcpy(out + len, frontier->nodes[level].bytes, MERKLE_HASH_BYTES);
            len += MERKLE_HASH_BYTES;
        }
    }
    return len;
}

static bool frontier_read(struct str stored, uint64_t size, struct merkle_frontier *out)
{
    size_t at = 0;

    assert(out != NULL);
    merkle_frontier_init(out);
    out->size = size;
    for (uint32_t level = MERKLE_LEVELS_MAX; level-- > 0;) {
        if ((size >> level & 1U) == 0) {
            continue;
        }
        if (at + MERKLE_HASH_BYTES > stored.len) {
            return false;
        }
        memcpy(out->nodes[level].bytes, stored.ptr + at, MERKLE_HASH_BYTES);
        at += MERKLE_HASH_BYTES;
    }
    return at == stored.len;
}

static enum step grow_leaves(struct req *r)
{
    struct growing *growing = growing_of(r);
    Avanta__AuditLog__TreeCheckpoint last = AVANTA__AUDIT_LOG__TREE_CHECKPOINT__INIT;

    assert(req_rows(r) <= 1);
    merkle_frontier_init(&growing->frontier);
    if (req_rows(r) == 1) {
        if (!req_row(r, 0, &last.base)) {
            return STEP_FAIL;
        }
        struct str stored = {(const char *)last.frontier.data, last.frontier.len};

        if (last.size < 0 || !frontier_read(stored, (uint64_t)last.size, &growing->frontier)) {
            return req_fail(r, ERR_INTERNAL, "the newest checkpoint's frontier is damaged");
        }
        growing->made_ms = (uint64_t)last.made_ms;
    }
    avanta__audit_log__tree_range__init(&growing->range);
    growing->range.has_first = true;
    growing->range.first = (int64_t)growing->frontier.size;
    growing->range.has_count = true;
    growing->range.count = LEAVES_MAX;
    return req_query_from(r, Q_TREE_LEAVES, &growing->range.base);
}

/* Room for the stored nodes that `leaves` more can complete. */
static bool nodes_room(struct req *r, size_t leaves, Avanta__AuditLog__TreeAdd *add)
{
    size_t most = leaves / TREE_RUN_MAX * 2 + MERKLE_LEVELS_MAX;

    assert(add != NULL);
    add->levels = arena_calloc(req_arena(r), most, sizeof *add->levels);
    add->indices = arena_calloc(req_arena(r), most, sizeof *add->indices);
    add->hashes = arena_calloc(req_arena(r), most, sizeof *add->hashes);
    return add->levels != NULL && add->indices != NULL && add->hashes != NULL;
}

static bool node_keep(struct req *r, const struct merkle_node *node, Avanta__AuditLog__TreeAdd *add)
{
    struct merkle_hash *hash = NULL;

    assert(node != NULL);
    assert(add != NULL);
    if (node->level % TREE_LEVEL_STEP != 0) {
        return true;
    }
    hash = arena_alloc(req_arena(r), sizeof *hash);
    if (hash == NULL) {
        return false;
    }
    *hash = node->hash;
    add->levels[add->n_levels++] = node->level;
    add->indices[add->n_indices++] = (int64_t)node->index;
    add->hashes[add->n_hashes++] = (ProtobufCBinaryData){sizeof hash->bytes, hash->bytes};
    return true;
}

/* The leaf that comes next. */
static enum step leaf_read(struct req *r, size_t row, uint64_t index, struct merkle_hash *out)
{
    struct arena_mark mark = arena_mark(req_arena(r));
    Avanta__AuditLog__TreeHash found = AVANTA__AUDIT_LOG__TREE_HASH__INIT;

    assert(out != NULL);
    if (!req_row(r, row, &found.base)) {
        return STEP_FAIL;
    }
    if (found.node_index != (int64_t)index || found.hash.len != sizeof out->bytes) {
        return req_fail(r, ERR_INTERNAL, "leaf %llu is missing", (unsigned long long)index);
    }
    memcpy(out->bytes, found.hash.data, sizeof out->bytes);
    arena_rewind(req_arena(r), mark);
    return STEP_NEXT;
}

static bool nodes_keep(struct req *r,
                       const struct merkle_node *complete,
                       size_t count,
                       Avanta__AuditLog__TreeAdd *add)
{
    assert(complete != NULL);
    for (size_t i = 0; i < count; i++) {
        if (!node_keep(r, &complete[i], add)) {
            return false;
        }
    }
    return true;
}

static enum step leaves_append(struct req *r, struct growing *growing)
{
    size_t rows = req_rows(r);
    struct merkle_node complete[MERKLE_LEVELS_MAX];
    struct merkle_hash leaf;
    size_t count = 0;

    assert(growing != NULL);
    if (!nodes_room(r, rows, &growing->add)) {
        return req_fail(r, ERR_TOO_LARGE, "the checkpoint needs too much memory");
    }
    for (size_t i = 0; i < rows; i++) {
        if (leaf_read(r, i, growing->frontier.size, &leaf) != STEP_NEXT) {
            return STEP_FAIL;
        }
        count = merkle_frontier_append(&growing->frontier, &leaf, complete);
        if (!nodes_keep(r, complete, count, &growing->add)) {
            return req_fail(r, ERR_TOO_LARGE, "the checkpoint needs too much memory");
        }
    }
    return STEP_NEXT;
}

static enum code
note_write(struct req *r, const struct growing *growing, char **out, struct err *err)
{
    const struct audit *self = req_service(r);
    struct checkpoint checkpoint = {
        .origin = str_from(self->config.origin),
        .size = growing->frontier.size,
        .extensions = STR_EMPTY,
    };
    char *memory = arena_alloc(req_arena(r), NOTE_ROOM_BYTES);
    struct buf text = {0};
    enum code code = OK;

    if (memory == NULL) {
        return err_set(err, ERR_TOO_LARGE, "the checkpoint needs too much memory");
    }
    text = buf_over(memory, NOTE_ROOM_BYTES);
    _Static_assert(sizeof checkpoint.root == sizeof growing->root.bytes, "both are SHA-256");
    memcpy(checkpoint.root, growing->root.bytes, sizeof checkpoint.root);
    code = checkpoint_write(&checkpoint, &text, err);
    if (code == OK) {
        struct str body = buf_view(&text);

        buf_char(&text, '\n');
        code = note_sign(&self->signer, body, req_now_ms(r) / 1000, &text, err);
    }
    if (code == OK && !buf_terminate(&text)) {
        code = err_set(err, ERR_TOO_LARGE, "the checkpoint is too long");
    }
    *out = memory;
    return code;
}

static void grow_tell(struct req *r, const struct growing *growing)
{
    Avanta__AuditLog__CheckpointMade event = AVANTA__AUDIT_LOG__CHECKPOINT_MADE__INIT;

    assert(growing != NULL);
    event.has_size = true;
    event.size = growing->add.size;
    event.checkpoint = growing->add.note;
    req_emit_for(r, "", &event.base, NULL);
}

static enum step grow_add(struct req *r)
{
    const struct audit *self = req_service(r);
    struct growing *growing = growing_of(r);
    struct err err = {.code = OK};
    Avanta__AuditLog__TreeAdd *add = &growing->add;

    if (req_rows(r) == 0 || (req_rows(r) < LEAVES_MAX && growing->made_ms != 0 &&
                             req_now_ms(r) < growing->made_ms + self->config.checkpoint_ms &&
                             req_now_ms(r) >= growing->made_ms)) {
        return STEP_DONE;
    }
    avanta__audit_log__tree_add__init(add);
    if (leaves_append(r, growing) != STEP_NEXT) {
        return STEP_FAIL;
    }
    merkle_frontier_root(&growing->frontier, &growing->root);
    if (note_write(r, growing, &add->note, &err) != OK) {
        return req_fail(r, ERR_INTERNAL, "%s", err.text);
    }
    add->has_size = true;
    add->size = (int64_t)growing->frontier.size;
    add->has_root = true;
    add->root = (ProtobufCBinaryData){sizeof growing->root.bytes, growing->root.bytes};
    add->has_frontier = true;
    add->frontier =
        (ProtobufCBinaryData){frontier_write(&growing->frontier, growing->edge), growing->edge};
    add->has_made_ms = true;
    add->made_ms = (int64_t)req_now_ms(r);
    grow_tell(r, growing);
    return req_query_from(r, Q_TREE_ADD, &add->base);
}

static enum step done(struct req *r)
{
    (void)r;
    return STEP_DONE;
}

const struct op op_audit_log_checkpoint = {
    TX_WRITE_ALONE, {grow_lock, grow_last, grow_leaves, grow_add, done}
};

/* --- partitions ------------------------------------------------------------------------------ */

static enum step partitions_make(struct req *r)
{
    return req_query(r, Q_TREE_PARTITIONS);
}

const struct op op_audit_log_partitions = {
    TX_WRITE_ALONE, {partitions_make, done}
};

/* --- files ----------------------------------------------------------------------------------- */

struct filing {
    const char *directory;
    char *note;
    char day[16];
    int64_t size;
    bool written;
};

static enum step file_select(struct req *r)
{
    const struct audit *self = req_service(r);

    return self->config.checkpoint_dir[0] == '\0' ? STEP_DONE : req_query(r, Q_TREE_LAST);
}

/* Whole or not at all: readers never see half a note. */
static bool file_put(const struct filing *filing, const char *name)
{
    char path[512];
    char fresh[520];
    int fd = -1;
    size_t len = strlen(filing->note);
    bool good = false;

    (void)snprintf(path, sizeof path, "%s/%s", filing->directory, name);
    (void)snprintf(fresh, sizeof fresh, "%s.new", path);
    fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) {
        return false;
    }
    good = write(fd, filing->note, len) == (ssize_t)len && fsync(fd) == 0;
    good = close(fd) == 0 && good;
    return good && rename(fresh, path) == 0;
}

static void file_work(void *arg)
{
    struct filing *filing = arg;

    filing->written = file_put(filing, "latest") && file_put(filing, filing->day);
}

static enum step file_write(struct req *r)
{
    const struct audit *self = req_service(r);
    struct filing *filing = req_state(r, sizeof *filing);
    Avanta__AuditLog__TreeCheckpoint last = AVANTA__AUDIT_LOG__TREE_CHECKPOINT__INIT;
    struct date day = date_in_mexico_city(req_now_ms(r));

    if (req_rows(r) == 0) {
        return STEP_DONE;
    }
    if (!req_row(r, 0, &last.base)) {
        return STEP_FAIL;
    }
    if ((uint64_t)last.size == self->filed) {
        return STEP_DONE;
    }
    filing->directory = self->config.checkpoint_dir;
    filing->note = last.note;
    filing->size = last.size;
    (void)snprintf(filing->day, sizeof filing->day, "%04d-%02d-%02d", day.year, day.month, day.day);
    return req_work(r, file_work, filing);
}

static enum step file_written(struct req *r)
{
    struct audit *self = req_service(r);
    const struct filing *filing = req_state(r, sizeof *filing);

    if (!filing->written) {
        return req_fail(r,
                        ERR_INTERNAL,
                        "the checkpoint cannot be written in %s; see AVANTA_CHECKPOINT_DIR",
                        filing->directory);
    }
    self->filed = (uint64_t)filing->size;
    return STEP_DONE;
}

const struct op op_audit_log_checkpoint_files = {
    TX_READ, {file_select, file_write, file_written}
};
