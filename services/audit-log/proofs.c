/* The newest checkpoint, and proofs against it: that a record is in the tree, that one tree is the
 * beginning of another. */
#include "audit_log_ops.gen.h"
#include "audit_log_sql.gen.h"
#include "avanta/audit_log_internal.pb-c.h"
#include "services/audit-log/audit.h"
#include "services/audit-log/leaf.h"
#include "services/audit-log/nodes.h"

#include "libcommon/codec/transcode.h"
#include "libcommon/io/merkle.h"

#include <assert.h>
#include <string.h>

typedef Avanta__AuditLog__ProofCheckpoint checkpoint_row;

static enum step no_memory(struct req *r)
{
    return req_fail(r, ERR_TOO_LARGE, "the proof needs too much memory");
}

static enum step damaged(struct req *r)
{
    return req_fail(r, ERR_INTERNAL, "a node of the audit log's tree is missing");
}

static char *hash_text(struct req *r, const uint8_t *bytes, size_t len)
{
    size_t cap = (len + 2) / 3 * 4 + 1;
    char *out = arena_alloc(req_arena(r), cap);

    if (out != NULL) {
        (void)base64_encode(bytes, len, out, cap);
    }
    return out;
}

static enum step checkpoint_select(struct req *r)
{
    return req_query(r, Q_PROOF_CHECKPOINT);
}

/* NULL: there is none yet, or the arena is full; the error is set. */
static checkpoint_row *checkpoint_take(struct req *r)
{
    checkpoint_row *row = NULL;

    if (req_rows(r) == 0) {
        (void)req_fail(r, ERR_NOT_FOUND, "no checkpoint has been made yet");
        return NULL;
    }
    row = (checkpoint_row *)(void *)req_row_new(r, 0);
    if (row != NULL) {
        assert(row->size > 0);
        assert(row->root.len == MERKLE_HASH_BYTES);
    }
    return row;
}

/* The note with what witnesses said to it. */
static char *cosigned(struct req *r, const checkpoint_row *row)
{
    assert(row != NULL);
    return arena_printf(req_arena(r), "%s%s", row->note, row->cosignatures);
}

/* --- the checkpoint -------------------------------------------------------------------------- */

static enum step get_reply(struct req *r)
{
    const struct audit *self = req_service(r);
    Avanta__AuditLog__CheckpointReply *out = req_out(r);
    checkpoint_row *row = checkpoint_take(r);
    char *key = arena_alloc(req_arena(r), NOTE_KEY_TEXT_BYTES_MAX);
    struct buf key_text = {0};

    if (row == NULL) {
        return STEP_FAIL;
    }
    if (key == NULL) {
        return no_memory(r);
    }
    key_text = buf_over(key, NOTE_KEY_TEXT_BYTES_MAX);
    note_verifier_write(&self->signer.verifier, &key_text);
    out->verifier_key = key;
    out->checkpoint = cosigned(r, row);
    out->root_hash = hash_text(r, row->root.data, row->root.len);
    out->origin = transcode_constant(self->config.origin);
    out->made_at = row->made_at;
    out->has_size = true;
    out->size = row->size;
    out->has_witnesses = true;
    out->witnesses = (uint32_t)row->witnesses;
    return !buf_terminate(&key_text) || out->checkpoint == NULL || out->root_hash == NULL
               ? no_memory(r)
               : STEP_DONE;
}

const struct op op_audit_log_get_checkpoint = {
    TX_READ, {checkpoint_select, get_reply}
};

static enum step witness_get_reply(struct req *r)
{
    Avanta__AuditLog__WitnessCheckpointReply *out = req_out(r);
    checkpoint_row *row = checkpoint_take(r);

    if (row == NULL) {
        return STEP_FAIL;
    }
    out->checkpoint = cosigned(r, row);
    return out->checkpoint == NULL ? no_memory(r) : STEP_DONE;
}

const struct op op_audit_log_witness_checkpoint = {
    TX_READ, {checkpoint_select, witness_get_reply}
};

/* --- nodes ----------------------------------------------------------------------------------- */

static enum step nodes_select(struct req *r, const struct merkle_node *nodes, size_t count)
{
    Avanta__AuditLog__ProofTiles *tiles = nodes_wanted(nodes, count, req_arena(r));

    return tiles == NULL ? no_memory(r) : req_query_from(r, Q_PROOF_NODES, &tiles->base);
}

static bool nodes_take(struct req *r, Avanta__AuditLog__ProofNode ***out, size_t *out_count)
{
    ProtobufCMessage **rows = NULL;

    assert(out != NULL);
    if (!req_rows_all(r, out_count, &rows)) {
        return false;
    }
    *out = (Avanta__AuditLog__ProofNode **)(void *)rows;
    return true;
}

static bool hashes_put(struct req *r, const struct merkle_proof *proof, char ***out, size_t *count)
{
    assert(proof != NULL);
    assert(count != NULL);
    *out = arena_calloc(req_arena(r), proof->count + 1, sizeof **out);
    for (size_t i = 0; *out != NULL && i < proof->count; i++) {
        (*out)[i] = hash_text(r, proof->hashes[i].bytes, sizeof proof->hashes[i].bytes);
        if ((*out)[i] == NULL) {
            return false;
        }
    }
    *count = proof->count;
    return *out != NULL;
}

/* --- inclusion ------------------------------------------------------------------------------- */

struct including {
    Avanta__AuditLog__AuditRow row;
    uint64_t index;
    struct str text; /* canonical */
    struct merkle_plan plan;
};

static struct including *including_of(struct req *r)
{
    return req_state(r, sizeof(struct including));
}

static enum step inclusion_record(struct req *r)
{
    const Avanta__AuditLog__InclusionProofRequest *in = req_in(r);

    return audit_get_select(r, in->id);
}

static enum step inclusion_checkpoint(struct req *r)
{
    struct including *including = including_of(r);
    const Avanta__AuditLog__AuditEntry *entry = NULL;

    if (req_rows(r) == 0) {
        return req_fail(r, ERR_NOT_FOUND, "there is no such record");
    }
    entry = (const Avanta__AuditLog__AuditEntry *)(const void *)req_row_new(r, 0);
    if (entry == NULL) {
        return STEP_FAIL;
    }
    leaf_row(entry, &including->row);
    including->index = (uint64_t)entry->leaf_index;
    including->text = leaf_text(&including->row, req_arena(r));
    return including->text.len == 0 ? no_memory(r) : checkpoint_select(r);
}

static enum step inclusion_nodes(struct req *r)
{
    Avanta__AuditLog__InclusionProofReply *out = req_out(r);
    struct including *including = including_of(r);
    checkpoint_row *row = checkpoint_take(r);

    if (row == NULL || (uint64_t)row->size <= including->index) {
        req_retry_after(r, 1);
        return req_fail(r, ERR_UNAVAILABLE, "the record's checkpoint is made within a second");
    }
    out->has_tree_size = true;
    out->tree_size = row->size;
    out->root_hash = hash_text(r, row->root.data, row->root.len);
    out->checkpoint = cosigned(r, row);
    if (out->root_hash == NULL || out->checkpoint == NULL) {
        return no_memory(r);
    }
    merkle_inclusion_plan(including->index, (uint64_t)row->size, &including->plan);
    return nodes_select(r, including->plan.nodes, including->plan.node_count);
}

static enum step inclusion_reply(struct req *r)
{
    Avanta__AuditLog__InclusionProofReply *out = req_out(r);
    struct including *including = including_of(r);
    Avanta__AuditLog__ProofNode **rows = NULL;
    struct merkle_proof proof;
    struct merkle_hash leaf;
    size_t count = 0;

    if (!nodes_take(r, &rows, &count)) {
        return STEP_FAIL;
    }
    if (!nodes_fill(including->plan.nodes, including->plan.node_count, rows, count)) {
        return damaged(r);
    }
    merkle_proof_make(&including->plan, &proof);
    merkle_leaf_hash(including->text, &leaf);
    out->has_leaf_index = true;
    out->leaf_index = (int64_t)including->index;
    out->leaf_hash = hash_text(r, leaf.bytes, sizeof leaf.bytes);
    out->record = arena_strdup(req_arena(r), including->text);
    return out->leaf_hash == NULL || out->record == NULL ||
                   !hashes_put(r, &proof, &out->hashes, &out->n_hashes)
               ? no_memory(r)
               : STEP_DONE;
}

const struct op op_audit_log_get_inclusion_proof = {
    TX_READ, {inclusion_record, inclusion_checkpoint, inclusion_nodes, inclusion_reply}
};

/* --- consistency ----------------------------------------------------------------------------- */

struct comparing {
    uint64_t from;
    uint64_t to;
    struct merkle_plan plan;
    struct merkle_node nodes[3 * MERKLE_COVER_MAX]; /* of the plan, of both roots */
    size_t from_at;
    size_t to_at;
    size_t count;
};

static struct comparing *comparing_of(struct req *r)
{
    return req_state(r, sizeof(struct comparing));
}

static enum step sizes_check(struct req *r, struct comparing *comparing, int64_t newest)
{
    const Avanta__AuditLog__ConsistencyProofRequest *in = req_in(r);
    int64_t to = in->has_to ? in->to : newest;

    assert(comparing != NULL);
    if (to > newest) {
        return req_violation(r,
                             ERR_INVALID,
                             "to",
                             "max",
                             "must be at most %lld, the newest checkpoint's size",
                             (long long)newest);
    }
    if (in->from > to) {
        return req_violation(r, ERR_INVALID, "from", "max", "must not be greater than to");
    }
    comparing->from = (uint64_t)in->from;
    comparing->to = (uint64_t)to;
    return STEP_NEXT;
}

static enum step consistency_nodes(struct req *r)
{
    struct comparing *comparing = comparing_of(r);
    checkpoint_row *row = checkpoint_take(r);

    if (row == NULL || sizes_check(r, comparing, row->size) != STEP_NEXT) {
        return STEP_FAIL;
    }
    comparing->plan.node_count = 0;
    comparing->plan.part_count = 0;
    if (comparing->from > 0) {
        merkle_consistency_plan(comparing->from, comparing->to, &comparing->plan);
    }
    memcpy(comparing->nodes,
           comparing->plan.nodes,
           comparing->plan.node_count * sizeof comparing->nodes[0]);
    comparing->from_at = comparing->plan.node_count;
    comparing->to_at = comparing->from_at +
                       merkle_cover(0, comparing->from, comparing->nodes + comparing->from_at);
    comparing->count =
        comparing->to_at + merkle_cover(0, comparing->to, comparing->nodes + comparing->to_at);
    assert(comparing->count <= ARRAY_LEN(comparing->nodes));
    return nodes_select(r, comparing->nodes, comparing->count);
}

static char *root_text(struct req *r, uint64_t size, const struct merkle_node *nodes, size_t count)
{
    struct merkle_frontier frontier;
    struct merkle_hash root;

    merkle_frontier_restore(&frontier, size, nodes, count);
    merkle_frontier_root(&frontier, &root);
    return hash_text(r, root.bytes, sizeof root.bytes);
}

static enum step consistency_reply(struct req *r)
{
    Avanta__AuditLog__ConsistencyProofReply *out = req_out(r);
    struct comparing *comparing = comparing_of(r);
    Avanta__AuditLog__ProofNode **rows = NULL;
    struct merkle_proof proof = {.count = 0};
    size_t count = 0;

    if (!nodes_take(r, &rows, &count)) {
        return STEP_FAIL;
    }
    if (!nodes_fill(comparing->nodes, comparing->count, rows, count)) {
        return damaged(r);
    }
    memcpy(comparing->plan.nodes,
           comparing->nodes,
           comparing->plan.node_count * sizeof comparing->nodes[0]);
    if (comparing->from > 0) {
        merkle_proof_make(&comparing->plan, &proof);
    }
    out->has_from = true;
    out->from = (int64_t)comparing->from;
    out->has_to = true;
    out->to = (int64_t)comparing->to;
    out->from_root_hash = root_text(r,
                                    comparing->from,
                                    comparing->nodes + comparing->from_at,
                                    comparing->to_at - comparing->from_at);
    out->to_root_hash = root_text(
        r, comparing->to, comparing->nodes + comparing->to_at, comparing->count - comparing->to_at);
    return out->from_root_hash == NULL || out->to_root_hash == NULL ||
                   !hashes_put(r, &proof, &out->hashes, &out->n_hashes)
               ? no_memory(r)
               : STEP_DONE;
}

const struct op op_audit_log_get_consistency_proof = {
    TX_READ, {checkpoint_select, consistency_nodes, consistency_reply}
};

/* --- the same for a witness, which knows the roots -------------------------------------------- */

static struct merkle_plan *witness_plan_of(struct req *r)
{
    return req_state(r, sizeof(struct merkle_plan));
}

static enum step witness_nodes(struct req *r)
{
    const Avanta__AuditLog__WitnessConsistencyRequest *in = req_in(r);
    struct merkle_plan *plan = witness_plan_of(r);
    checkpoint_row *row = checkpoint_take(r);

    if (row == NULL) {
        return STEP_FAIL;
    }
    assert(in->from > 0);
    if (in->from > in->to || in->to > row->size) {
        return req_violation(r, ERR_INVALID, "to", "range", "must be between from and the newest");
    }
    merkle_consistency_plan((uint64_t)in->from, (uint64_t)in->to, plan);
    return nodes_select(r, plan->nodes, plan->node_count);
}

static enum step witness_reply(struct req *r)
{
    Avanta__AuditLog__WitnessConsistencyReply *out = req_out(r);
    struct merkle_plan *plan = witness_plan_of(r);
    struct merkle_proof *proof = arena_alloc(req_arena(r), sizeof *proof);
    Avanta__AuditLog__ProofNode **rows = NULL;
    size_t count = 0;

    if (!nodes_take(r, &rows, &count)) {
        return STEP_FAIL;
    }
    if (!nodes_fill(plan->nodes, plan->node_count, rows, count)) {
        return damaged(r);
    }
    out->hashes = arena_calloc(req_arena(r), MERKLE_PROOF_MAX, sizeof *out->hashes);
    if (proof == NULL || out->hashes == NULL) {
        return no_memory(r);
    }
    merkle_proof_make(plan, proof);
    for (size_t i = 0; i < proof->count; i++) {
        out->hashes[out->n_hashes++] =
            (ProtobufCBinaryData){sizeof proof->hashes[i].bytes, proof->hashes[i].bytes};
    }
    return STEP_DONE;
}

const struct op op_audit_log_witness_consistency = {
    TX_READ, {checkpoint_select, witness_nodes, witness_reply}
};
