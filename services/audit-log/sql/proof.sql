-- What proofs are made of.

-- name: proof_checkpoint
-- in: none
-- out: avanta.audit_log.ProofCheckpoint
SELECT size, root, note, to_char(made_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS made_at,
       coalesce((SELECT string_agg(line, '' ORDER BY witness) FROM audit_cosignature AS c WHERE c.size = audit_checkpoint.size), '')
           AS cosignatures,
       (SELECT count(*) FROM audit_cosignature AS c WHERE c.size = audit_checkpoint.size) AS witnesses
FROM audit_checkpoint
ORDER BY size DESC
LIMIT 1;

-- name: proof_nodes
-- in: avanta.audit_log.ProofTiles
-- out: avanta.audit_log.ProofNode
-- Runs of nodes of one level each, at most 256 in one.
SELECT tile.level::bigint AS level, leaf.leaf_index AS node_index, leaf.hash
FROM unnest(:levels::smallint[], :firsts::bigint[], :counts::bigint[]) AS tile (level, first, count)
JOIN audit_leaf AS leaf ON leaf.leaf_index >= tile.first AND leaf.leaf_index < tile.first + tile.count
WHERE tile.level = 0
UNION ALL
SELECT tile.level::bigint, node.node_index, node.hash
FROM unnest(:levels::smallint[], :firsts::bigint[], :counts::bigint[]) AS tile (level, first, count)
JOIN audit_node AS node
  ON node.level = tile.level AND node.node_index >= tile.first AND node.node_index < tile.first + tile.count
WHERE tile.level > 0
ORDER BY level, node_index;
