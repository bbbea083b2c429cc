-- Many transactions changed in one go: lock, apply, read.

-- name: transaction_bulk_lock
-- in: avanta.ledger.BulkItems
-- out: avanta.ledger.Transaction
-- The rows as they are, locked in one order by everyone.
SELECT f.*,
    (SELECT a.name FROM account a WHERE a.user_id = :user_id AND a.id = f.account_id) AS account
FROM transaction t CROSS JOIN LATERAL transaction_face(t) f
WHERE t.user_id = :user_id AND t.id = ANY (:ids::bigint[])
ORDER BY t.id
FOR UPDATE OF t;

-- name: transaction_bulk_apply
-- in: avanta.ledger.BulkItems
-- out: avanta.ledger.BulkVerdict
-- Needs transaction_bulk_lock before it. What a field means is as in transaction_update; `items` is an
-- array of objects with the fields given, every id at most once.
WITH item AS MATERIALIZED (
    SELECT * FROM json_to_recordset(:items::json) AS i (
        n bigint, id bigint, date date, description text, amount bigint, type text, category text,
        account text, transaction_type text, is_deductible boolean, notes text, category_id bigint,
        linked_invoice_id bigint, economic_activity text, receipt_url text, cleared text[])
), wanted AS MATERIALIZED (
    SELECT i.n, i.id, t, m.account_by,
        CASE m.account_by
            WHEN 'name' THEN (
                SELECT min(a.id) FROM account a
                WHERE a.user_id = :user_id AND a.name = i.account AND a.is_active)
            WHEN 'same' THEN t.account_id END AS account_id,
        i.category_id AS category_given,
        CASE WHEN i.category_id <> coalesce(t.category_id, 0) THEN (
                SELECT c.id FROM category c
                WHERE c.user_id = :user_id AND c.id = i.category_id AND c.is_active)
            WHEN 'category_id' = ANY (i.cleared) THEN NULL
            ELSE t.category_id END AS category_id,
        i.linked_invoice_id IS NOT NULL AND i.linked_invoice_id IS DISTINCT FROM t.linked_invoice_id AS invoice_bad,
        CASE WHEN 'linked_invoice_id' = ANY (i.cleared) THEN NULL ELSE t.linked_invoice_id END AS linked_invoice_id,
        coalesce(i.date, t.date) AS date,
        coalesce(i.description, t.description) AS description,
        coalesce(i.amount, t.amount) AS amount,
        coalesce(i.type, t.type) AS type,
        coalesce(i.category, t.category) AS category,
        coalesce(i.transaction_type, t.transaction_type) AS transaction_type,
        coalesce(i.is_deductible, t.is_deductible) AS is_deductible,
        CASE WHEN 'notes' = ANY (i.cleared) THEN NULL ELSE coalesce(i.notes, t.notes) END AS notes,
        CASE WHEN 'economic_activity' = ANY (i.cleared) THEN NULL
            ELSE coalesce(i.economic_activity, t.economic_activity) END AS economic_activity,
        CASE WHEN 'receipt_url' = ANY (i.cleared) THEN NULL
            ELSE coalesce(i.receipt_url, t.receipt_url) END AS receipt_url
    FROM item i
    JOIN transaction t ON t.user_id = :user_id AND t.id = i.id
    CROSS JOIN LATERAL (
        SELECT CASE
            WHEN i.account IS DISTINCT FROM (
                SELECT a.name FROM account a WHERE a.user_id = :user_id AND a.id = t.account_id)
                AND i.account IS NOT NULL THEN 'name'
            WHEN 'account' = ANY (i.cleared) THEN 'none'
            ELSE 'same' END AS account_by
    ) m
), judged AS MATERIALIZED (
    SELECT w.*, CASE
        WHEN w.account_by = 'name' AND w.account_id IS NULL THEN 'account'
        WHEN w.category_given IS NOT NULL AND w.category_id IS NULL THEN 'category'
        WHEN w.invoice_bad THEN 'invoice'
        WHEN round(w.amount::numeric * (w.t).exchange_rate / 1000000) NOT BETWEEN 1 AND 99999999999 THEN 'amount'
        WHEN (w.account_id, w.category_id, w.date, w.amount, w.type, w.transaction_type)
            IS DISTINCT FROM ((w.t).account_id, (w.t).category_id, (w.t).date, (w.t).amount, (w.t).type,
                (w.t).transaction_type) THEN 'posted'
        WHEN (w.linked_invoice_id, w.description, w.category, w.is_deductible, w.notes, w.economic_activity,
                w.receipt_url)
            IS DISTINCT FROM ((w.t).linked_invoice_id, (w.t).description, (w.t).category, (w.t).is_deductible,
                (w.t).notes, (w.t).economic_activity, (w.t).receipt_url) THEN 'changed'
        ELSE 'same' END AS verdict
    FROM wanted w
), numbered AS MATERIALIZED (
    SELECT j.*, repost,
        CASE WHEN repost THEN nextval('journal_entry_id_seq') END AS reversal_id,
        CASE WHEN repost THEN nextval('journal_entry_id_seq') ELSE (j.t).entry_id END AS entry_id
    FROM judged j CROSS JOIN LATERAL (
        SELECT j.verdict = 'posted' AND (j.t).deleted_at IS NULL AS repost
    ) p
    WHERE j.verdict IN ('posted', 'changed')
), changed AS (
    UPDATE transaction u SET
        entry_id = w.entry_id, account_id = w.account_id, category_id = w.category_id,
        linked_invoice_id = w.linked_invoice_id, date = w.date, description = w.description, amount = w.amount,
        type = w.type, category = w.category, transaction_type = w.transaction_type,
        is_deductible = w.is_deductible, notes = w.notes, economic_activity = w.economic_activity,
        receipt_url = w.receipt_url, updated_at = at_ms(:now_ms)
    FROM numbered w
    WHERE u.user_id = :user_id AND u.id = w.id
    RETURNING u AS t
), entries AS (
    INSERT INTO journal_entry (user_id, id, transaction_id, kind, booked_on, reverses_id, created_at)
    OVERRIDING SYSTEM VALUE
    SELECT :user_id, w.reversal_id, w.id, 'reversal', (w.t).date, (w.t).entry_id, at_ms(:now_ms)
    FROM numbered w WHERE w.repost
    UNION ALL
    SELECT :user_id, w.entry_id, w.id, 'transaction', w.date, NULL, at_ms(:now_ms)
    FROM numbered w WHERE w.repost
), lines AS (
    INSERT INTO posting (user_id, entry_id, line_no, booked_on, book, account_id, category_id, amount)
    SELECT :user_id, w.reversal_id, l.line_no, (w.t).date, l.book, l.account_id, l.category_id, -l.amount
    FROM numbered w CROSS JOIN LATERAL transaction_lines(w.t) l WHERE w.repost
    UNION ALL
    SELECT :user_id, (c.t).entry_id, l.line_no, (c.t).date, l.book, l.account_id, l.category_id, l.amount
    FROM changed c JOIN numbered w ON w.id = (c.t).id AND w.repost CROSS JOIN LATERAL transaction_lines(c.t) l
)
SELECT i.n, i.id, coalesce(j.verdict, 'missing') AS verdict
FROM item i LEFT JOIN judged j ON j.n = i.n
ORDER BY i.n;

-- name: transaction_bulk_read
-- in: avanta.ledger.BulkItems
-- out: avanta.ledger.Transaction
SELECT f.*,
    (SELECT a.name FROM account a WHERE a.user_id = :user_id AND a.id = f.account_id) AS account
FROM transaction t CROSS JOIN LATERAL transaction_face(t) f
WHERE t.user_id = :user_id AND t.id = ANY (:ids::bigint[])
ORDER BY t.id;
