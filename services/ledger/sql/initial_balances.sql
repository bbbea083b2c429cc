-- Balances stated for the start of a day. Each posts what is missing between the books and the stated
-- value, and the next later one of the account is corrected by the same amount, so that it still shows
-- its own: a stated balance moves the books only up to the next one. All changes hold account_lock.

-- name: initial_balance_list
-- in: avanta.ledger.AccountIdRequest
-- out: avanta.ledger.InitialBalance
SELECT b.id, b.account_id, b.balance_date, b.initial_balance, b.notes, b.created_at, b.updated_at
FROM account_initial_balance b
WHERE b.user_id = :user_id AND b.account_id = :id AND NOT b.is_opening
ORDER BY b.balance_date DESC
LIMIT 1000;

-- name: initial_balance_insert
-- in: avanta.ledger.CreateInitialBalanceRequest
-- out: avanta.ledger.InitialBalance
-- No row: the day has one.
INSERT INTO account_initial_balance AS b (user_id, account_id, balance_date, initial_balance, notes, created_at,
    updated_at)
VALUES (:user_id, :id, :balance_date::date, :initial_balance, :notes, at_ms(:now_ms), at_ms(:now_ms))
ON CONFLICT (user_id, account_id, balance_date) WHERE NOT is_opening DO NOTHING
RETURNING b.id, b.account_id, b.balance_date, b.initial_balance, b.notes, b.created_at, b.updated_at;

-- name: initial_balance_get
-- in: avanta.ledger.UpdateInitialBalanceRequest
-- out: avanta.ledger.InitialBalance
SELECT b.id, b.account_id, b.balance_date, b.initial_balance, b.notes, b.created_at, b.updated_at
FROM account_initial_balance b
WHERE b.user_id = :user_id AND b.account_id = :id AND b.id = :balance_id AND NOT b.is_opening;

-- name: initial_balance_update
-- in: avanta.ledger.UpdateInitialBalanceRequest
-- out: avanta.ledger.InitialBalance
UPDATE account_initial_balance b SET
    balance_date = coalesce(:balance_date::date, b.balance_date),
    initial_balance = coalesce(:initial_balance::bigint, b.initial_balance),
    notes = CASE WHEN 'notes' = ANY (:cleared::text[]) THEN NULL ELSE coalesce(:notes::text, b.notes) END,
    updated_at = at_ms(:now_ms)
WHERE b.user_id = :user_id AND b.account_id = :id AND b.id = :balance_id AND NOT b.is_opening
RETURNING b.id, b.account_id, b.balance_date, b.initial_balance, b.notes, b.created_at, b.updated_at;

-- name: initial_balance_remove
-- in: avanta.ledger.InitialBalanceIdRequest
-- out: avanta.ledger.InitialBalance
DELETE FROM account_initial_balance b
WHERE b.user_id = :user_id AND b.account_id = :id AND b.id = :balance_id AND NOT b.is_opening
RETURNING b.id, b.account_id, b.balance_date, b.initial_balance, b.notes, b.created_at, b.updated_at;

-- name: initial_balance_settle
-- in: avanta.ledger.BalanceShift
-- out: none
-- Makes the books show the stated balance, or takes its entry back (withdraw).
WITH own AS (
    SELECT b.id, b.balance_date, b.is_opening, b.entry_id, b.posted,
        CASE WHEN :withdraw::boolean THEN 0 ELSE b.initial_balance
            - coalesce((
                SELECT sum(p.amount) FROM posting p
                WHERE p.user_id = :user_id AND p.account_id = b.account_id
                    AND p.booked_on < b.balance_date), 0)::bigint
            - coalesce((
                SELECT o.posted FROM account_initial_balance o
                WHERE o.user_id = :user_id AND o.account_id = b.account_id AND o.is_opening
                    AND o.balance_date = b.balance_date AND NOT b.is_opening), 0) END AS wanted
    FROM account_initial_balance b
    WHERE b.user_id = :user_id AND b.account_id = :account_id AND b.id = :balance_id
), following AS (
    SELECT n.id, n.balance_date, n.entry_id, n.posted, n.posted - (own.wanted - own.posted) AS wanted
    FROM own CROSS JOIN LATERAL (
        SELECT n.id, n.balance_date, n.entry_id, n.posted
        FROM account_initial_balance n
        WHERE n.user_id = :user_id AND n.account_id = :account_id
            AND (n.balance_date, NOT n.is_opening) > (own.balance_date, NOT own.is_opening)
        ORDER BY n.balance_date, NOT n.is_opening
        LIMIT 1
    ) n
), shift AS MATERIALIZED (
    SELECT s.id, s.balance_date, s.entry_id, s.posted, s.wanted,
        CASE WHEN s.entry_id IS NOT NULL THEN nextval('journal_entry_id_seq') END AS reversal_id,
        CASE WHEN s.wanted <> 0 THEN nextval('journal_entry_id_seq') END AS opening_id
    FROM (
        SELECT id, balance_date, entry_id, posted, wanted FROM own
        UNION ALL
        SELECT id, balance_date, entry_id, posted, wanted FROM following
    ) s
    WHERE s.wanted <> s.posted
), moved AS (
    UPDATE account_initial_balance b SET entry_id = s.opening_id, posted = s.wanted
    FROM shift s
    WHERE b.user_id = :user_id AND b.id = s.id
), entries AS (
    INSERT INTO journal_entry (user_id, id, kind, booked_on, reverses_id, created_at)
    OVERRIDING SYSTEM VALUE
    SELECT :user_id, s.reversal_id, 'reversal', s.balance_date, s.entry_id, at_ms(:now_ms)
    FROM shift s WHERE s.reversal_id IS NOT NULL
    UNION ALL
    SELECT :user_id, s.opening_id, 'opening', s.balance_date, NULL, at_ms(:now_ms)
    FROM shift s WHERE s.opening_id IS NOT NULL
)
INSERT INTO posting (user_id, entry_id, line_no, booked_on, book, account_id, amount)
SELECT :user_id, s.reversal_id, l.line_no, s.balance_date, l.book, l.account_id, -l.amount
FROM shift s CROSS JOIN LATERAL account_lines(:account_id, 'opening', s.posted) l
WHERE s.reversal_id IS NOT NULL
UNION ALL
SELECT :user_id, s.opening_id, l.line_no, s.balance_date, l.book, l.account_id, l.amount
FROM shift s CROSS JOIN LATERAL account_lines(:account_id, 'opening', s.wanted) l
WHERE s.opening_id IS NOT NULL;
