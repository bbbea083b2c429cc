-- The tree: what was added since the newest checkpoint, and the next checkpoint.

-- name: tree_lock
-- in: none
-- out: avanta.audit_log.TreeOurs
-- One replica at a time makes a checkpoint; the others need not wait.
SELECT pg_try_advisory_xact_lock(hashtextextended('audit_checkpoint', 0)) AS ours;

-- name: tree_last
-- in: none
-- out: avanta.audit_log.TreeCheckpoint
SELECT size, root, frontier, note, (extract(epoch FROM made_at) * 1000)::bigint AS made_ms
FROM audit_checkpoint
ORDER BY size DESC
LIMIT 1;

-- name: tree_leaves
-- in: avanta.audit_log.TreeRange
-- out: avanta.audit_log.TreeHash
SELECT leaf_index AS node_index, hash
FROM audit_leaf
WHERE leaf_index >= :first::bigint
ORDER BY leaf_index
LIMIT :count::bigint;

-- name: tree_add
-- in: avanta.audit_log.TreeAdd
-- out: none
WITH nodes AS (
    INSERT INTO audit_node (level, node_index, hash)
    SELECT level, node_index, hash
    FROM unnest(:levels::smallint[], :indices::bigint[], :hashes::bytea[]) AS added (level, node_index, hash)
)
INSERT INTO audit_checkpoint (size, root, frontier, note, made_at)
VALUES (:size::bigint, :root::bytea, :frontier::bytea, :note, to_timestamp(:made_ms::double precision / 1000));

-- name: tree_partitions
-- in: none
-- out: none
SELECT audit_partitions_make(now());
