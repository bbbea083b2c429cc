/*
 * The auditor: finds out when somebody changed the database behind the service. The chain it
 * follows is record -> leaf -> node -> ... -> root, and the root is in a checkpoint whose signature
 * a database cannot make. Again and again it checks the newest checkpoint, its root against the
 * nodes, and the next run of records; when the database says that rows were updated or deleted,
 * which never happens by design, it tells so at once and checks all without pause. A finding is
 * told once an hour as an event and alert.critical.audit-log.
 */
#include "audit_log_ops.gen.h"
#include "audit_log_sql.gen.h"
#include "avanta/audit_log_internal.pb-c.h"
#include "services/audit-log/audit.h"
#include "services/audit-log/leaf.h"
#include "services/audit-log/nodes.h"

#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "libcommon/codec/transcode.h"

#include <assert.h>
#include <string.h>

#define RUN_LEAVES        ((uint64_t)8 * TREE_RUN_MAX) /* a power of two, so that nodes fit */
#define TELL_AGAIN_MS     (UINT64_C(3600) * 1000)
#define DETAIL_BYTES      160
#define STORED_LEVELS_MAX (MERKLE_LEVELS_MAX / TREE_LEVEL_STEP)

/* One pass. */
struct pass {
    Avanta__AuditLog__TreeCheckpoint last;
    Avanta__AuditLog__TreeRange range;
    uint64_t size; /* of the checkpoint */
    struct merkle_hash root;
    struct merkle_node cover[MERKLE_COVER_MAX];
    size_t cover_count;
    struct merkle_hash *leaves; /* stored ones of the run */
    uint64_t leaf_count;
    Avanta__AuditLog__AuditEntry **records;
    size_t record_count;
    Avanta__AuditLog__ProofTiles tiles;
    int64_t tile_levels[2 * STORED_LEVELS_MAX];
    int64_t tile_firsts[2 * STORED_LEVELS_MAX];
    int64_t tile_counts[2 * STORED_LEVELS_MAX];
};

static struct pass *pass_of(struct req *r)
{
    return req_state(r, sizeof(struct pass));
}

static struct auditor *auditor_of(struct req *r)
{
    struct audit *self = req_service(r);

    return &self->auditor;
}

/* --- findings -------------------------------------------------------------------------------- */

/* The place of that finding, else the one of the oldest. */
static struct finding *finding_place(struct auditor *auditor, const char *what, int64_t leaf)
{
    struct finding *oldest = &auditor->findings[0];

    for (size_t i = 0; i < FINDINGS_MAX; i++) {
        struct finding *known = &auditor->findings[i];

        if (known->told_ms != 0 && known->leaf_index == leaf && strcmp(known->what, what) == 0) {
            return known;
        }
        oldest = known->told_ms < oldest->told_ms ? known : oldest;
    }
    *oldest = (struct finding){.what = what, .leaf_index = leaf};
    return oldest;
}

/* False: it was told within the hour. */
static bool
finding_is_news(struct auditor *auditor, const char *what, int64_t leaf, uint64_t now_ms)
{
    struct finding *known = finding_place(auditor, what, leaf);

    known->pass = auditor->pass;
    if (known->told_ms != 0 && now_ms < known->told_ms + TELL_AGAIN_MS) {
        return false;
    }
    known->told_ms = now_ms;
    return true;
}

/* What this pass looked at and found good again is news when it is found once more. */
static void findings_forget(struct auditor *auditor, const struct pass *pass)
{
    for (size_t i = 0; i < FINDINGS_MAX; i++) {
        struct finding *known = &auditor->findings[i];
        bool looked_at = known->leaf_index < 0 ||
                         (known->leaf_index >= pass->range.first &&
                          known->leaf_index < pass->range.first + (int64_t)pass->leaf_count);

        if (looked_at && known->pass != auditor->pass) {
            *known = (struct finding){.told_ms = 0};
        }
    }
}

/* `what` is a literal; `leaf` -1: of no single one. */
static void finding_tell(struct req *r, const char *what, int64_t leaf, const char *detail)
{
    Avanta__AuditLog__TamperingDetected event = AVANTA__AUDIT_LOG__TAMPERING_DETECTED__INIT;

    log_event(LOG_ERROR,
              "tampering_detected",
              LOG_S("what", what),
              LOG_I("leaf", leaf),
              LOG_S("detail", detail));
    event.what = transcode_constant(what);
    event.has_leaf_index = leaf >= 0;
    event.leaf_index = leaf;
    event.detail = transcode_constant(detail);
    req_audit_severity(r, "critical");
    req_emit_for(r, "", &event.base, NULL);
}

static void finding(struct req *r, const char *what, int64_t leaf, const char *detail)
{
    if (finding_is_news(auditor_of(r), what, leaf, req_now_ms(r))) {
        finding_tell(r, what, leaf, detail);
    }
}

/* --- rows that were changed ------------------------------------------------------------------ */

static enum step pass_lock(struct req *r)
{
    const struct audit *self = req_service(r);
    struct auditor *auditor = auditor_of(r);
    uint64_t now = clock_mono_ms();

    if (auditor->hurry == 0 && now < auditor->due_ms) {
        return STEP_DONE;
    }
    auditor->pass++;
    auditor->due_ms = now + RUN_LEAVES * 1000 / self->config.verify_rate;
    return req_query(r, Q_AUDITOR_LOCK);
}

static enum step pass_changes(struct req *r)
{
    Avanta__AuditLog__TreeOurs row = AVANTA__AUDIT_LOG__TREE_OURS__INIT;

    if (!req_row(r, 0, &row.base)) {
        return STEP_FAIL;
    }
    return row.ours ? req_query(r, Q_AUDITOR_CHANGES) : STEP_DONE; /* another replica is at it */
}

static enum step pass_last(struct req *r)
{
    struct auditor *auditor = auditor_of(r);
    Avanta__AuditLog__AuditorChanges row = AVANTA__AUDIT_LOG__AUDITOR_CHANGES__INIT;

    if (!req_row(r, 0, &row.base)) {
        return STEP_FAIL;
    }
    if ((uint64_t)row.changes > auditor->changes) {
        finding_tell(r, "table", -1, "rows of the audit log were updated or deleted");
        auditor->hurry = UINT64_MAX;
    }
    auditor->changes = (uint64_t)row.changes;
    return req_query(r, Q_TREE_LAST);
}

/* --- the checkpoint -------------------------------------------------------------------------- */

/* The signed text, as far as it is ours. */
static bool checkpoint_read(struct req *r, struct checkpoint *out)
{
    const struct audit *self = req_service(r);
    struct note *note = arena_alloc(req_arena(r), sizeof *note);
    struct err err = {.code = OK};
    uint64_t time_s = 0;

    return note != NULL && note_parse(str_from(pass_of(r)->last.note), note, &err) == OK &&
           note_verify(note, &self->signer.verifier, &time_s, &err) == OK &&
           checkpoint_parse(note->text, out, &err) == OK;
}

static void checkpoint_check(struct req *r, struct pass *pass)
{
    struct auditor *auditor = auditor_of(r);
    struct checkpoint signed_one = {.size = 0};

    if (!checkpoint_read(r, &signed_one)) {
        finding(r, "checkpoint", -1, "the newest checkpoint's signature does not hold");
        return;
    }
    if (signed_one.size != (uint64_t)pass->last.size) {
        finding(r, "checkpoint", -1, "the newest checkpoint's size is not the one signed");
    }
    pass->size = signed_one.size;
    memcpy(pass->root.bytes, signed_one.root, sizeof pass->root.bytes);
    if (pass->size < auditor->size ||
        (pass->size == auditor->size && !merkle_hash_eq(&pass->root, &auditor->root))) {
        finding(r, "checkpoint", -1, "the newest checkpoint is older than one that was seen");
        return;
    }
    auditor->size = pass->size;
    auditor->root = pass->root;
}

static enum step pass_nodes(struct req *r)
{
    struct pass *pass = pass_of(r);
    Avanta__AuditLog__ProofTiles *tiles = NULL;

    avanta__audit_log__tree_checkpoint__init(&pass->last);
    if (req_rows(r) == 0) {
        if (auditor_of(r)->size > 0) {
            finding(r, "checkpoint", -1, "all checkpoints are gone");
        }
        return STEP_DONE;
    }
    if (!req_row(r, 0, &pass->last.base)) {
        return STEP_FAIL;
    }
    checkpoint_check(r, pass);
    if (pass->size == 0) {
        return STEP_DONE;
    }
    pass->cover_count = merkle_cover(0, pass->size, pass->cover);
    tiles = nodes_wanted(pass->cover, pass->cover_count, req_arena(r));
    return tiles == NULL ? req_fail(r, ERR_TOO_LARGE, "the auditor needs too much memory")
                         : req_query_from(r, Q_PROOF_NODES, &tiles->base);
}

static enum step pass_leaves(struct req *r)
{
    struct pass *pass = pass_of(r);
    struct auditor *auditor = auditor_of(r);
    ProtobufCMessage **rows = NULL;
    size_t count = 0;
    struct merkle_frontier frontier;
    struct merkle_hash root;

    if (!req_rows_all(r, &count, &rows)) {
        return STEP_FAIL;
    }
    if (!nodes_fill(
            pass->cover, pass->cover_count, (Avanta__AuditLog__ProofNode **)(void *)rows, count)) {
        finding(r, "node", -1, "nodes of the tree are missing");
    } else {
        merkle_frontier_restore(&frontier, pass->size, pass->cover, pass->cover_count);
        merkle_frontier_root(&frontier, &root);
        if (!merkle_hash_eq(&root, &pass->root)) {
            finding(r, "node", -1, "the tree's root is not the one that was signed");
        }
    }
    if (auditor->next >= pass->size) {
        auditor->next = 0;
    }
    avanta__audit_log__tree_range__init(&pass->range);
    pass->range.has_first = pass->range.has_count = true;
    pass->range.first = (int64_t)auditor->next;
    pass->leaf_count =
        pass->size - auditor->next < RUN_LEAVES ? pass->size - auditor->next : RUN_LEAVES;
    pass->range.count = (int64_t)pass->leaf_count;
    return req_query_from(r, Q_TREE_LEAVES, &pass->range.base);
}

/* --- leaves, and the nodes above them -------------------------------------------------------- */

static enum step pass_records(struct req *r)
{
    struct pass *pass = pass_of(r);
    size_t rows = req_rows(r);

    pass->leaves = arena_calloc(req_arena(r), pass->leaf_count, sizeof *pass->leaves);
    if (pass->leaves == NULL) {
        return req_fail(r, ERR_TOO_LARGE, "the auditor needs too much memory");
    }
    for (uint64_t i = 0; i < pass->leaf_count; i++) {
        Avanta__AuditLog__TreeHash row = AVANTA__AUDIT_LOG__TREE_HASH__INIT;

        if (i >= rows) {
            finding(r, "leaf", pass->range.first + (int64_t)i, "a leaf of the tree is missing");
            break;
        }
        if (!req_row(r, i, &row.base)) {
            return STEP_FAIL;
        }
        if (row.node_index != pass->range.first + (int64_t)i ||
            row.hash.len != sizeof pass->leaves[i].bytes) {
            finding(r, "leaf", pass->range.first + (int64_t)i, "a leaf of the tree is missing");
            break;
        }
        memcpy(pass->leaves[i].bytes, row.hash.data, sizeof pass->leaves[i].bytes);
    }
    return req_query_from(r, Q_AUDITOR_RECORDS, &pass->range.base);
}

static enum step pass_sealed(struct req *r)
{
    struct pass *pass = pass_of(r);
    ProtobufCMessage **rows = NULL;

    if (!req_rows_all(r, &pass->record_count, &rows)) {
        return STEP_FAIL;
    }
    pass->records = (Avanta__AuditLog__AuditEntry **)(void *)rows;
    return req_query_from(r, Q_AUDITOR_SEALED, &pass->range.base);
}

/* Is the record of that leaf in a sealed export? The rows of the last statement say. */
static bool is_sealed(struct req *r, int64_t leaf)
{
    for (size_t i = 0; i < req_rows(r); i++) {
        Avanta__AuditLog__AuditorSealed row = AVANTA__AUDIT_LOG__AUDITOR_SEALED__INIT;

        if (req_row(r, i, &row.base) && leaf >= row.first && leaf < row.first + row.count) {
            return true;
        }
    }
    return false;
}

static void record_check(struct req *r,
                         const Avanta__AuditLog__AuditEntry *record,
                         const struct merkle_hash *leaf)
{
    Avanta__AuditLog__AuditRow row;
    struct merkle_hash hash;

    leaf_row(record, &row);
    if (!leaf_hash(&row, req_arena(r), &hash)) {
        return; /* the error shows with the next record that needs memory */
    }
    if (!merkle_hash_eq(&hash, leaf)) {
        finding(r, "record", record->leaf_index, "a record is not what its leaf says");
    }
}

static void records_check(struct req *r, const struct pass *pass)
{
    size_t at = 0;

    for (uint64_t i = 0; i < pass->leaf_count; i++) {
        int64_t leaf = pass->range.first + (int64_t)i;
        size_t found = at;

        while (at < pass->record_count && pass->records[at]->leaf_index == leaf) {
            record_check(r, pass->records[at], &pass->leaves[i]);
            at++;
        }
        if (at == found && !is_sealed(r, leaf)) {
            finding(r, "record", leaf, "a record is missing");
        } else if (at > found + 1) {
            finding(r, "record", leaf, "two records claim one leaf");
        }
    }
}

/* Where the run begins a complete node of a stored level, that node and those below it. */
static void tiles_plan(struct pass *pass, uint64_t first)
{
    Avanta__AuditLog__ProofTiles *tiles = &pass->tiles;
    size_t count = 0;

    avanta__audit_log__proof_tiles__init(tiles);
    tiles->levels = pass->tile_levels;
    tiles->firsts = pass->tile_firsts;
    tiles->counts = pass->tile_counts;
    pass->tile_levels[count] = TREE_LEVEL_STEP;
    pass->tile_firsts[count] = (int64_t)(first >> TREE_LEVEL_STEP);
    pass->tile_counts[count++] = (int64_t)(pass->leaf_count >> TREE_LEVEL_STEP);
    for (uint32_t level = 2 * TREE_LEVEL_STEP; level < MERKLE_LEVELS_MAX;
         level += TREE_LEVEL_STEP) {
        uint64_t span = UINT64_C(1) << level;

        if (first % span != 0 || pass->size - first < span) {
            break;
        }
        pass->tile_counts[count - 1] = TREE_RUN_MAX; /* all below it, not this run's own alone */
        pass->tile_levels[count] = level;
        pass->tile_firsts[count] = (int64_t)(first >> level);
        pass->tile_counts[count++] = 1;
    }
    tiles->n_levels = tiles->n_firsts = tiles->n_counts = count;
}

static enum step pass_tiles(struct req *r)
{
    struct pass *pass = pass_of(r);

    records_check(r, pass);
    tiles_plan(pass, (uint64_t)pass->range.first);
    return req_query_from(r, Q_PROOF_NODES, &pass->tiles.base);
}

static void tree_of(const struct merkle_hash *from, size_t count, struct merkle_hash *out)
{
    struct merkle_hash hashes[TREE_RUN_MAX];

    assert(count == TREE_RUN_MAX);
    memcpy(hashes, from, sizeof hashes);
    for (size_t left = count; left > 1; left /= 2) {
        for (size_t i = 0; i < left / 2; i++) {
            merkle_node_hash(&hashes[2 * i], &hashes[2 * i + 1], &hashes[i]);
        }
    }
    *out = hashes[0];
}

/* The stored node, computed of the stored ones a level step below. */
static void
node_check(struct req *r, Avanta__AuditLog__ProofNode *const *rows, size_t count, uint32_t level)
{
    const struct pass *pass = pass_of(r);
    uint64_t index = (uint64_t)pass->range.first >> level;
    struct merkle_node parts[TREE_RUN_MAX];
    struct merkle_hash hashes[TREE_RUN_MAX];
    struct merkle_node stored = {.level = level, .index = index};

    for (size_t i = 0; i < TREE_RUN_MAX; i++) {
        parts[i] = (struct merkle_node){.level = level - TREE_LEVEL_STEP,
                                        .index = (index << TREE_LEVEL_STEP) + i};
    }
    if (!nodes_fill(parts, TREE_RUN_MAX, rows, count) || !nodes_fill(&stored, 1, rows, count)) {
        finding(r, "node", pass->range.first, "nodes of the tree are missing");
        return;
    }
    for (size_t i = 0; i < TREE_RUN_MAX; i++) {
        hashes[i] = parts[i].hash;
    }
    tree_of(hashes, TREE_RUN_MAX, &hashes[0]);
    if (!merkle_hash_eq(&hashes[0], &stored.hash)) {
        finding(r, "node", pass->range.first, "a node of the tree is not that of those below it");
    }
}

static void leaves_check(struct req *r, Avanta__AuditLog__ProofNode *const *rows, size_t count)
{
    const struct pass *pass = pass_of(r);

    for (uint64_t at = 0; at + TREE_RUN_MAX <= pass->leaf_count; at += TREE_RUN_MAX) {
        int64_t leaf = pass->range.first + (int64_t)at;
        struct merkle_node stored = {.level = TREE_LEVEL_STEP,
                                     .index = (uint64_t)leaf >> TREE_LEVEL_STEP};
        struct merkle_hash made;

        tree_of(pass->leaves + at, TREE_RUN_MAX, &made);
        if (!nodes_fill(&stored, 1, rows, count) || !merkle_hash_eq(&made, &stored.hash)) {
            finding(r, "leaf", leaf, "the leaves from here on are not what their node says");
        }
    }
}

static void run_end(struct auditor *auditor, const struct pass *pass)
{
    assert(auditor->next % TREE_RUN_MAX == 0); /* so that nodes of the run are whole */
    auditor->next += pass->leaf_count;
    if (auditor->next == pass->size) {
        auditor->next = 0;
    }
    if (auditor->hurry == UINT64_MAX) {
        auditor->hurry = pass->size;
    }
    auditor->hurry -= auditor->hurry < pass->leaf_count ? auditor->hurry : pass->leaf_count;
}

static enum step pass_end(struct req *r)
{
    struct pass *pass = pass_of(r);
    ProtobufCMessage **rows = NULL;
    size_t count = 0;

    if (!req_rows_all(r, &count, &rows)) {
        return STEP_FAIL;
    }
    Avanta__AuditLog__ProofNode **nodes = (Avanta__AuditLog__ProofNode **)(void *)rows;

    leaves_check(r, nodes, count);
    for (size_t i = 1; i < pass->tiles.n_levels; i++) {
        node_check(r, nodes, count, (uint32_t)pass->tile_levels[i]);
    }
    findings_forget(auditor_of(r), pass);
    run_end(auditor_of(r), pass);
    return STEP_DONE;
}

const struct op op_audit_log_auditor = {
    TX_WRITE_ALONE,
    {pass_lock,
      pass_changes, pass_last,
      pass_nodes, pass_leaves,
      pass_records, pass_sealed,
      pass_tiles, pass_end}
};
