-- An account's balance is the sum of its postings.

-- name: account_list
-- in: avanta.ledger.ListAccountsRequest
-- out: avanta.ledger.Account
SELECT a.id, a.user_id, a.name, a.type,
    (SELECT coalesce(sum(p.amount), 0)::bigint FROM posting p
     WHERE p.user_id = :user_id AND p.account_id = a.id) AS balance,
    a.opening_date, a.is_active, a.created_at, a.updated_at, a.account_type, a.metadata,
    NOT a.is_active AS is_deleted, a.description, a.sat_code
FROM account a
WHERE a.user_id = :user_id AND a.is_active
    AND (:account_type::text IS NULL OR a.account_type = :account_type::text)
ORDER BY a.type, a.name COLLATE "es-x-icu", a.id
LIMIT coalesce(:limit::bigint, 1000)
OFFSET CASE WHEN :page::bigint IS NULL THEN coalesce(:offset::bigint, 0)
    ELSE (:page::bigint - 1) * coalesce(:limit::bigint, 1000) END;

-- name: account_create
-- in: avanta.ledger.CreateAccountRequest
-- out: avanta.ledger.Account
WITH made AS (
    INSERT INTO account AS a (user_id, name, type, account_type, opening_date, metadata, description,
        sat_code, created_at, updated_at)
    VALUES (:user_id, :name::text, :type::text, coalesce(:account_type::text, 'personal'),
        coalesce(:opening_date::date, mexico_day(:now_ms)), :metadata::json, :description::text,
        :sat_code::text, at_ms(:now_ms), at_ms(:now_ms))
    RETURNING a.*
), stated AS (
    INSERT INTO account_initial_balance (user_id, account_id, balance_date, initial_balance, is_opening,
        entry_id, posted, created_at, updated_at)
    SELECT :user_id, id, opening_date, :balance::bigint, true, nextval('journal_entry_id_seq'),
        :balance::bigint, created_at, created_at
    FROM made WHERE :balance::bigint <> 0
    RETURNING *
), entry AS (
    INSERT INTO journal_entry (user_id, id, kind, booked_on, created_at)
    OVERRIDING SYSTEM VALUE
    SELECT :user_id, entry_id, 'opening', balance_date, created_at FROM stated
), lines AS (
    INSERT INTO posting (user_id, entry_id, line_no, booked_on, book, account_id, amount)
    SELECT :user_id, s.entry_id, l.line_no, s.balance_date, l.book, l.account_id, l.amount
    FROM stated s CROSS JOIN LATERAL account_lines(s.account_id, 'opening', s.posted) l
)
SELECT a.id, a.user_id, a.name, a.type, coalesce(:balance::bigint, 0) AS balance, a.opening_date,
    a.is_active, a.created_at, a.updated_at, a.account_type, a.metadata, NOT a.is_active AS is_deleted,
    a.description, a.sat_code
FROM made a;

-- name: account_lock
-- in: avanta.ledger.AccountIdRequest
-- out: avanta.ledger.AccountState
-- Keeps changes of one account's own figures apart. The next statement sees what the one before left;
-- this one's snapshot may be older. Booking a transaction never takes this lock.
SELECT a.id, a.is_active
FROM account a
WHERE a.user_id = :user_id AND a.id = :id
FOR NO KEY UPDATE;

-- name: account_opening
-- in: avanta.ledger.UpdateAccountRequest
-- out: avanta.ledger.BalanceShift
-- The opening balance that came with the account, if it was not zero and is to move to another day.
SELECT b.account_id, b.id AS balance_id,
    (SELECT coalesce(sum(p.amount), 0)::bigint FROM posting p
     WHERE p.user_id = :user_id AND p.account_id = b.account_id) AS shown
FROM account_initial_balance b
WHERE b.user_id = :user_id AND b.account_id = :id AND b.is_opening AND b.balance_date <> :opening_date::date;

-- name: account_opening_redate
-- in: avanta.ledger.UpdateAccountRequest
-- out: none
UPDATE account_initial_balance b
SET balance_date = :opening_date::date, updated_at = at_ms(:now_ms)
WHERE b.user_id = :user_id AND b.account_id = :id AND b.is_opening;

-- name: account_update
-- in: avanta.ledger.UpdateAccountRequest
-- out: avanta.ledger.Account
-- The row before and the row after. Another balance posts the difference, dated today. Needs account_lock before it.
WITH old AS MATERIALIZED (
    SELECT a FROM account a WHERE a.user_id = :user_id AND a.id = :id
), shown AS MATERIALIZED (
    SELECT coalesce(sum(p.amount), 0)::bigint AS balance
    FROM posting p WHERE p.user_id = :user_id AND p.account_id = :id
), adjusted AS MATERIALIZED (
    SELECT :balance::bigint - s.balance AS amount, nextval('journal_entry_id_seq') AS entry_id
    FROM shown s
    WHERE :balance::bigint <> s.balance AND EXISTS (
        SELECT FROM account a WHERE a.user_id = :user_id AND a.id = :id)
), changed AS (
    UPDATE account a SET
        name = coalesce(:name::text, a.name),
        type = coalesce(:type::text, a.type),
        account_type = coalesce(:account_type::text, a.account_type),
        opening_date = CASE WHEN 'opening_date' = ANY (:cleared::text[]) THEN NULL
            ELSE coalesce(:opening_date::date, a.opening_date) END,
        metadata = CASE WHEN 'metadata' = ANY (:cleared::text[]) THEN NULL
            ELSE coalesce(:metadata::json, a.metadata) END,
        description = CASE WHEN 'description' = ANY (:cleared::text[]) THEN NULL
            ELSE coalesce(:description::text, a.description) END,
        sat_code = CASE WHEN 'sat_code' = ANY (:cleared::text[]) THEN NULL
            ELSE coalesce(:sat_code::text, a.sat_code) END,
        updated_at = at_ms(:now_ms)
    WHERE a.user_id = :user_id AND a.id = :id
    RETURNING a
), entry AS (
    INSERT INTO journal_entry (user_id, id, kind, booked_on, created_at)
    OVERRIDING SYSTEM VALUE
    SELECT :user_id, j.entry_id, 'adjustment', mexico_day(:now_ms), at_ms(:now_ms) FROM adjusted j
), lines AS (
    INSERT INTO posting (user_id, entry_id, line_no, booked_on, book, account_id, amount)
    SELECT :user_id, j.entry_id, l.line_no, mexico_day(:now_ms), l.book, l.account_id, l.amount
    FROM adjusted j CROSS JOIN LATERAL account_lines(:id, 'adjustment', j.amount) l
)
SELECT (r.a).id, (r.a).user_id, (r.a).name, (r.a).type, r.balance, (r.a).opening_date, (r.a).is_active,
    (r.a).created_at, (r.a).updated_at, (r.a).account_type, (r.a).metadata, NOT (r.a).is_active AS is_deleted,
    (r.a).description, (r.a).sat_code
FROM (
    SELECT 1 AS n, a, s.balance FROM old CROSS JOIN shown s
    UNION ALL
    SELECT 2, a, coalesce(:balance::bigint, s.balance) FROM changed CROSS JOIN shown s
) r
ORDER BY r.n;

-- name: account_deactivate
-- in: avanta.ledger.AccountIdRequest
-- out: avanta.ledger.Account
-- The row before and the row after; none: it was not active.
WITH old AS MATERIALIZED (
    SELECT a FROM account a WHERE a.user_id = :user_id AND a.id = :id AND a.is_active FOR UPDATE
), gone AS (
    UPDATE account u SET is_active = false, updated_at = at_ms(:now_ms)
    FROM old o
    WHERE u.user_id = :user_id AND u.id = (o.a).id
    RETURNING u AS a
)
SELECT (r.a).id, (r.a).user_id, (r.a).name, (r.a).type,
    (SELECT coalesce(sum(p.amount), 0)::bigint FROM posting p
     WHERE p.user_id = :user_id AND p.account_id = (r.a).id) AS balance,
    (r.a).opening_date, (r.a).is_active, (r.a).created_at, (r.a).updated_at, (r.a).account_type, (r.a).metadata,
    NOT (r.a).is_active AS is_deleted, (r.a).description, (r.a).sat_code
FROM (SELECT 1 AS n, a FROM old UNION ALL SELECT 2, a FROM gone) r
ORDER BY r.n;

-- name: account_state
-- in: avanta.ledger.AccountIdRequest
-- out: avanta.ledger.AccountState
SELECT a.id, a.is_active
FROM account a
WHERE a.user_id = :user_id AND a.id = :id;
