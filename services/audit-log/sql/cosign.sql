-- What witnesses say to checkpoints.

-- name: cosign_note
-- in: avanta.audit_log.CosignedSize
-- out: avanta.audit_log.CosignedNote
SELECT note
FROM audit_checkpoint
WHERE size = :size::bigint;

-- name: cosign_add
-- in: avanta.audit_log.CosignatureNew
-- out: none
-- The first of a witness stays: it says all that a later one does.
INSERT INTO audit_cosignature (size, witness, line)
VALUES (:size::bigint, :witness, :line)
ON CONFLICT (size, witness) DO NOTHING;
