-- Bank statement rows. A row's fingerprint is what makes it that row for ever: account, date, direction,
-- amount, description, the bank's reference, and which of several equal rows of its day it is.

-- name: import_account
-- in: avanta.ledger.ImportItems
-- out: avanta.ledger.AccountGood
SELECT :account::text IS NULL OR EXISTS (
    SELECT FROM account a WHERE a.user_id = :user_id AND a.name = :account::text AND a.is_active) AS good;

-- name: import_match
-- in: avanta.ledger.ImportItems
-- out: avanta.ledger.ImportMatch
-- For each item in order: is it in the books already, imported before or entered by hand?
WITH place AS MATERIALIZED (
    SELECT (SELECT min(a.id) FROM account a
            WHERE a.user_id = :user_id AND a.name = :account::text AND a.is_active) AS account_id
), item AS MATERIALIZED (
    SELECT i.*, row_number() OVER (
        PARTITION BY i.date, i.type, i.amount, i.description, i.reference ORDER BY i.n) AS occurrence
    FROM json_to_recordset(:items::json) AS i (
        n bigint, date date, description text, amount bigint, type text, reference text)
)
SELECT :account::text IS NULL OR p.account_id IS NOT NULL AS account_good,
    EXISTS (
        SELECT FROM transaction t
        WHERE t.user_id = :user_id AND NOT t.import_undone
            AND t.fingerprint = import_fingerprint(
                p.account_id, i.date, i.type, i.amount, i.description, i.reference, i.occurrence))
    OR i.occurrence <= (
        SELECT count(*) FROM transaction t
        WHERE t.user_id = :user_id AND t.date = i.date AND t.deleted_at IS NULL AND t.fingerprint IS NULL
            AND t.type = i.type AND t.amount = i.amount AND lower(t.description) = lower(i.description)
            AND t.account_id IS NOT DISTINCT FROM p.account_id) AS duplicate
FROM item i CROSS JOIN place p
ORDER BY i.n;

-- name: import_apply
-- in: avanta.ledger.ImportItems
-- out: avanta.ledger.Transaction
-- Books what is new, in order, and writes the history row; gives the new rows. Needs an account that
-- import_account found good. When duplicates are wanted, a row that is there already is booked again
-- without a fingerprint.
WITH place AS MATERIALIZED (
    SELECT (SELECT min(a.id) FROM account a
            WHERE a.user_id = :user_id AND a.name = :account::text AND a.is_active) AS account_id
), item AS MATERIALIZED (
    SELECT i.*, p.account_id, import_fingerprint(p.account_id, i.date, i.type, i.amount, i.description,
            i.reference, row_number() OVER (
                PARTITION BY i.date, i.type, i.amount, i.description, i.reference ORDER BY i.n)) AS fingerprint
    FROM json_to_recordset(:items::json) AS i (
        n bigint, date date, description text, amount bigint, type text, reference text, flagged boolean)
    CROSS JOIN place p
), fresh AS MATERIALIZED (
    SELECT i.*, EXISTS (
        SELECT FROM transaction t
        WHERE t.user_id = :user_id AND t.fingerprint = i.fingerprint AND NOT t.import_undone) AS known
    FROM item i
    WHERE NOT (:skip_duplicates::boolean AND i.flagged)
), booked AS (
    INSERT INTO transaction AS t (
        user_id, entry_id, date, amount, exchange_rate, account_id, isr_retention, iva_retention, created_at,
        updated_at, is_deductible, is_iva_deductible, is_isr_deductible, type, category, transaction_type,
        expense_type, client_type, currency, description, import_id, reference, fingerprint)
    SELECT :user_id, nextval('journal_entry_id_seq'), f.date, f.amount, 1000000, f.account_id, 0, 0,
        at_ms(:now_ms), at_ms(:now_ms), false, false, false, f.type, 'personal', 'personal', 'national',
        'nacional', 'MXN', f.description, :import_id::text, f.reference,
        CASE WHEN NOT f.known THEN f.fingerprint END
    FROM fresh f
    WHERE NOT (:skip_duplicates::boolean AND f.known)
    ORDER BY f.n
    ON CONFLICT (user_id, fingerprint) WHERE fingerprint IS NOT NULL AND NOT import_undone DO NOTHING
    RETURNING t
), entry AS (
    INSERT INTO journal_entry (user_id, id, transaction_id, kind, booked_on, created_at)
    OVERRIDING SYSTEM VALUE
    SELECT :user_id, (t).entry_id, (t).id, 'transaction', (t).date, (t).created_at
    FROM booked
), lines AS (
    INSERT INTO posting (user_id, entry_id, line_no, booked_on, book, account_id, category_id, amount)
    SELECT :user_id, (t).entry_id, l.line_no, (t).date, l.book, l.account_id, l.category_id, l.amount
    FROM booked CROSS JOIN LATERAL transaction_lines(t) l
), history AS (
    INSERT INTO import_history (
        user_id, id, import_date, source, file_name, period_start, period_end, records_imported,
        records_duplicated, records_failed, status, account_id, created_at)
    SELECT :user_id, :import_id::text, at_ms(:now_ms), :source::text, :file_name::text,
        coalesce(:period_start::date, min(i.date)), coalesce(:period_end::date, max(i.date)),
        (SELECT count(*) FROM booked), count(*) - (SELECT count(*) FROM booked), 0, 'completed',
        min(i.account_id), at_ms(:now_ms)
    FROM item i
)
SELECT f.*,
    (SELECT a.name FROM account a WHERE a.user_id = :user_id AND a.id = f.account_id) AS account
FROM booked b CROSS JOIN LATERAL transaction_face(b.t) f
ORDER BY f.id;

-- name: import_get
-- in: avanta.ledger.ImportKey
-- out: avanta.ledger.Import
SELECT h.id, h.user_id, h.import_date, h.source, h.file_name, h.period_start, h.period_end, h.records_imported,
    h.records_duplicated, h.records_failed, h.status, h.metadata::text AS metadata, h.created_at,
    (SELECT a.name FROM account a WHERE a.user_id = :user_id AND a.id = h.account_id) AS account
FROM import_history h
WHERE h.user_id = :user_id AND h.id = :import_id;

-- name: import_rows
-- in: avanta.ledger.ImportKey
-- out: avanta.ledger.Transaction
SELECT f.*,
    (SELECT a.name FROM account a WHERE a.user_id = :user_id AND a.id = f.account_id) AS account
FROM transaction t CROSS JOIN LATERAL transaction_face(t) f
WHERE t.user_id = :user_id AND t.import_id = :import_id::text
ORDER BY t.id
LIMIT 4000;

-- name: import_list
-- in: avanta.ledger.ListImportsRequest
-- out: avanta.ledger.Import
SELECT h.id, h.user_id, h.import_date, h.source, h.file_name, h.period_start, h.period_end, h.records_imported,
    h.records_duplicated, h.records_failed, h.status, h.metadata::text AS metadata, h.created_at,
    (SELECT a.name FROM account a WHERE a.user_id = :user_id AND a.id = h.account_id) AS account
FROM import_history h
WHERE h.user_id = :user_id
ORDER BY h.import_date DESC, h.id DESC
LIMIT coalesce(:per_page::bigint, 20)
OFFSET coalesce(:offset::bigint, (coalesce(:page::bigint, 1) - 1) * coalesce(:per_page::bigint, 20));

-- name: import_total
-- in: none
-- out: avanta.ledger.ImportTotal
SELECT count(*) AS total
FROM import_history h
WHERE h.user_id = :user_id;

-- name: import_undo
-- in: avanta.ledger.ImportKey
-- out: avanta.ledger.Transaction
-- Deletes the import's rows softly, gives up their claims, forgets the import; gives the rows that were live.
WITH old AS MATERIALIZED (
    SELECT t FROM transaction t
    WHERE t.user_id = :user_id AND t.import_id = :import_id::text
    ORDER BY t.id
    FOR UPDATE
), gone AS (
    UPDATE transaction u SET import_undone = true, entry_id = NULL, updated_at = at_ms(:now_ms),
        deleted_at = coalesce((o.t).deleted_at, at_ms(:now_ms))
    FROM old o
    WHERE u.user_id = :user_id AND u.id = (o.t).id
    RETURNING u AS t
), reversal AS (
    INSERT INTO journal_entry (user_id, transaction_id, kind, booked_on, reverses_id, created_at)
    SELECT :user_id, (o.t).id, 'reversal', (o.t).date, (o.t).entry_id, at_ms(:now_ms)
    FROM old o WHERE (o.t).deleted_at IS NULL
    RETURNING id, transaction_id
), lines AS (
    INSERT INTO posting (user_id, entry_id, line_no, booked_on, book, account_id, category_id, amount)
    SELECT :user_id, r.id, l.line_no, (o.t).date, l.book, l.account_id, l.category_id, -l.amount
    FROM reversal r JOIN old o ON (o.t).id = r.transaction_id CROSS JOIN LATERAL transaction_lines(o.t) l
), forgotten AS (
    DELETE FROM import_history h WHERE h.user_id = :user_id AND h.id = :import_id::text
)
SELECT f.*,
    (SELECT a.name FROM account a WHERE a.user_id = :user_id AND a.id = f.account_id) AS account
FROM gone g JOIN old o ON (o.t).id = (g.t).id AND (o.t).deleted_at IS NULL
CROSS JOIN LATERAL transaction_face(g.t) f
ORDER BY f.id;
