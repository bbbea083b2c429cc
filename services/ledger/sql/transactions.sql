-- What the statements of this file answer. Where one changes a row it gives the row before and, in a
-- second row, the row after; a second row without id means that nothing was written because a
-- reference does not exist or the values do not fit together: it holds the references that do exist.

-- name: transaction_get
-- in: avanta.ledger.GetTransactionRequest
-- out: avanta.ledger.Transaction
SELECT f.*,
    (SELECT a.name FROM account a WHERE a.user_id = :user_id AND a.id = f.account_id) AS account
FROM transaction t CROSS JOIN LATERAL transaction_face(t) f
WHERE t.user_id = :user_id AND t.id = :id;

-- name: transaction_create
-- in: avanta.ledger.CreateTransactionRequest
-- out: avanta.ledger.Transaction
-- set: place
-- For each request one row: the new one, or one without id as above. Of accounts with one name the
-- oldest is meant. The account's name is looked up where the face gives its id.
WITH asked AS MATERIALIZED (
    SELECT v.*, CASE WHEN v.fits THEN nextval('journal_entry_id_seq') END AS entry_id
    FROM (
        SELECT q.*, CASE WHEN c.id IS NOT NULL THEN q.category_id END AS found_category_id,
            (q.found_account_id IS NOT NULL OR (q.account_id IS NULL AND q.account IS NULL))
                AND (c.id IS NOT NULL OR q.category_id IS NULL) AS fits
        FROM (
            SELECT u.*, CASE WHEN u.account_id IS NOT NULL THEN
                    (SELECT a.id FROM account a
                     WHERE a.user_id = u.user_id AND a.id = u.account_id AND a.is_active)
                WHEN u.account IS NOT NULL THEN
                    (SELECT min(a.id) FROM account a
                     WHERE a.user_id = u.user_id AND a.name = u.account AND a.is_active)
                END AS found_account_id
            FROM unnest(
                (SELECT :user_id::uuid[]), (SELECT :now_ms::bigint[]), (SELECT :account_id::bigint[]),
                (SELECT :account::text[]), (SELECT :category_id::bigint[]), (SELECT :date::date[]),
                (SELECT :amount::bigint[]), (SELECT :exchange_rate::bigint[]),
                (SELECT :isr_retention::bigint[]), (SELECT :iva_retention::bigint[]),
                (SELECT :issue_date::date[]), (SELECT :payment_date::date[]),
                (SELECT :is_deductible::boolean[]), (SELECT :is_iva_deductible::boolean[]),
                (SELECT :is_isr_deductible::boolean[]), (SELECT :type::text[]),
                (SELECT :category::text[]), (SELECT :transaction_type::text[]),
                (SELECT :expense_type::text[]), (SELECT :client_type::text[]),
                (SELECT :currency::text[]), (SELECT :payment_method::text[]),
                (SELECT :iva_rate::text[]), (SELECT :description::text[]),
                (SELECT :economic_activity::text[]), (SELECT :economic_activity_code::text[]),
                (SELECT :notes::text[]), (SELECT :receipt_url::text[]), (SELECT :client_rfc::text[]),
                (SELECT :client_name::text[]), (SELECT :cfdi_uuid::text[])
            ) WITH ORDINALITY AS u (
                user_id, now_ms, account_id, account, category_id, date, amount, exchange_rate,
                isr_retention, iva_retention, issue_date, payment_date, is_deductible,
                is_iva_deductible, is_isr_deductible, type, category, transaction_type, expense_type,
                client_type, currency, payment_method, iva_rate, description, economic_activity,
                economic_activity_code, notes, receipt_url, client_rfc, client_name, cfdi_uuid, place)
        ) q LEFT JOIN category c ON c.user_id = q.user_id AND c.id = q.category_id AND c.is_active
    ) v
), booked AS (
    INSERT INTO transaction AS t (
        user_id, entry_id, date, amount, exchange_rate, account_id, category_id, isr_retention,
        iva_retention, created_at, updated_at, issue_date, payment_date, is_deductible,
        is_iva_deductible, is_isr_deductible, type, category, transaction_type, expense_type,
        client_type, currency, payment_method, iva_rate, description, economic_activity,
        economic_activity_code, notes, receipt_url, client_rfc, client_name, cfdi_uuid)
    SELECT a.user_id, a.entry_id, a.date, a.amount, coalesce(a.exchange_rate, 1000000),
        a.found_account_id, a.found_category_id, coalesce(a.isr_retention, 0),
        coalesce(a.iva_retention, 0), at_ms(a.now_ms), at_ms(a.now_ms), a.issue_date, a.payment_date,
        coalesce(a.is_deductible, false), coalesce(a.is_iva_deductible, false),
        coalesce(a.is_isr_deductible, false), a.type, a.category,
        coalesce(a.transaction_type, 'personal'), coalesce(a.expense_type, 'national'),
        coalesce(a.client_type, 'nacional'), coalesce(a.currency, 'MXN'), a.payment_method,
        a.iva_rate, a.description, a.economic_activity, a.economic_activity_code, a.notes,
        a.receipt_url, a.client_rfc, a.client_name, a.cfdi_uuid
    FROM asked a WHERE a.fits ORDER BY a.place
    RETURNING t
), entry AS (
    INSERT INTO journal_entry (user_id, id, transaction_id, kind, booked_on, created_at)
    OVERRIDING SYSTEM VALUE
    SELECT (t).user_id, (t).entry_id, (t).id, 'transaction', (t).date, (t).created_at
    FROM booked
), lines AS (
    INSERT INTO posting (user_id, entry_id, line_no, booked_on, book, account_id, category_id, amount)
    SELECT (t).user_id, (t).entry_id, l.line_no, (t).date, l.book, l.account_id, l.category_id, l.amount
    FROM booked CROSS JOIN LATERAL transaction_lines(t) l
)
SELECT r.place, f.*,
    (SELECT n.name FROM account n WHERE n.user_id = r.user_id AND n.id = f.account_id) AS account
FROM (
    SELECT a.place, a.user_id, b.t FROM asked a JOIN booked b ON (b.t).entry_id = a.entry_id
    UNION ALL
    SELECT a.place, a.user_id, jsonb_populate_record(NULL::transaction,
        jsonb_build_object('account_id', a.found_account_id, 'category_id', a.found_category_id))
    FROM asked a WHERE NOT a.fits
) r CROSS JOIN LATERAL transaction_face(r.t) f
ORDER BY r.place;

-- name: transaction_update
-- in: avanta.ledger.UpdateTransactionRequest
-- out: avanta.ledger.Transaction
-- Whoever waits for the row here sees what the one before left: the locked version is what is read.
-- Every value is set from that version, since constraints are first checked on top of the version the
-- statement's snapshot has.
-- Clients send whole rows back, with account and account_id both, so only what differs from the row
-- counts: another account_id, else another name, else a null, else the account stays.
WITH old AS MATERIALIZED (
    SELECT t FROM transaction t WHERE t.user_id = :user_id AND t.id = :id FOR UPDATE
), wanted AS MATERIALIZED (
    SELECT o.t, m.account_by, v.account_id, v.category_id, v.currency, v.exchange_rate
    FROM old o CROSS JOIN LATERAL (
        SELECT CASE
            WHEN :account_id::bigint <> coalesce((o.t).account_id, 0) THEN 'id'
            WHEN :account::text IS NOT NULL AND :account::text IS DISTINCT FROM (
                SELECT a.name FROM account a WHERE a.user_id = :user_id AND a.id = (o.t).account_id) THEN 'name'
            WHEN :cleared::text[] && '{account,account_id}' THEN 'none'
            ELSE 'same' END AS account_by
    ) m CROSS JOIN LATERAL (
        SELECT CASE m.account_by
            WHEN 'id' THEN (
                SELECT a.id FROM account a
                WHERE a.user_id = :user_id AND a.id = :account_id::bigint AND a.is_active)
            WHEN 'name' THEN (
                SELECT min(a.id) FROM account a
                WHERE a.user_id = :user_id AND a.name = :account::text AND a.is_active)
            WHEN 'same' THEN (o.t).account_id END AS account_id,
            CASE WHEN :category_id::bigint <> coalesce((o.t).category_id, 0) THEN (
                SELECT c.id FROM category c
                WHERE c.user_id = :user_id AND c.id = :category_id::bigint AND c.is_active)
            WHEN 'category_id' = ANY (:cleared::text[]) THEN NULL
            ELSE (o.t).category_id END AS category_id,
            coalesce(:currency::text, (o.t).currency) AS currency,
            CASE WHEN :exchange_rate::bigint IS NOT NULL THEN :exchange_rate::bigint
            WHEN coalesce(:currency::text, (o.t).currency) = 'MXN' THEN 1000000
            WHEN coalesce(:currency::text, (o.t).currency) = (o.t).currency THEN (o.t).exchange_rate
            END AS exchange_rate
    ) v
), fit AS MATERIALIZED (
    SELECT w.*, repost, CASE WHEN repost THEN nextval('journal_entry_id_seq') END AS reversal_id,
        CASE WHEN repost THEN nextval('journal_entry_id_seq') ELSE (w.t).entry_id END AS entry_id
    FROM wanted w CROSS JOIN LATERAL (
        SELECT (w.t).deleted_at IS NULL
            AND (coalesce(:date::date, (w.t).date), coalesce(:amount::bigint, (w.t).amount),
                 coalesce(:type::text, (w.t).type), coalesce(:transaction_type::text, (w.t).transaction_type),
                 w.account_id, w.category_id, w.currency, w.exchange_rate)
            IS DISTINCT FROM ((w.t).date, (w.t).amount, (w.t).type, (w.t).transaction_type,
                 (w.t).account_id, (w.t).category_id, (w.t).currency, (w.t).exchange_rate) AS repost
    ) p
    WHERE (w.account_by IN ('none', 'same') OR w.account_id IS NOT NULL)
        AND (:category_id::bigint IS NULL OR w.category_id IS NOT NULL)
        AND (:linked_invoice_id::bigint IS NULL OR :linked_invoice_id::bigint = (w.t).linked_invoice_id)
        AND w.exchange_rate IS NOT NULL
        AND (w.currency <> 'MXN' OR w.exchange_rate = 1000000)
        AND round(coalesce(:amount::bigint, (w.t).amount)::numeric * w.exchange_rate / 1000000)
            BETWEEN 1 AND 99999999999
), changed AS (
    UPDATE transaction u SET
        deleted_at = (f.t).deleted_at,
        import_undone = (f.t).import_undone,
        entry_id = f.entry_id,
        account_id = f.account_id,
        category_id = f.category_id,
        currency = f.currency,
        exchange_rate = f.exchange_rate,
        updated_at = at_ms(:now_ms),
        date = coalesce(:date::date, (f.t).date),
        amount = coalesce(:amount::bigint, (f.t).amount),
        type = coalesce(:type::text, (f.t).type),
        category = coalesce(:category::text, (f.t).category),
        transaction_type = coalesce(:transaction_type::text, (f.t).transaction_type),
        description = coalesce(:description::text, (f.t).description),
        expense_type = coalesce(:expense_type::text, (f.t).expense_type),
        client_type = coalesce(:client_type::text, (f.t).client_type),
        isr_retention = coalesce(:isr_retention::bigint, (f.t).isr_retention),
        iva_retention = coalesce(:iva_retention::bigint, (f.t).iva_retention),
        is_deductible = coalesce(:is_deductible::boolean, (f.t).is_deductible),
        is_iva_deductible = coalesce(:is_iva_deductible::boolean, (f.t).is_iva_deductible),
        is_isr_deductible = coalesce(:is_isr_deductible::boolean, (f.t).is_isr_deductible),
        linked_invoice_id = CASE WHEN 'linked_invoice_id' = ANY (:cleared::text[]) THEN NULL
            ELSE (f.t).linked_invoice_id END,
        economic_activity = CASE WHEN 'economic_activity' = ANY (:cleared::text[]) THEN NULL
            ELSE coalesce(:economic_activity::text, (f.t).economic_activity) END,
        economic_activity_code = CASE WHEN 'economic_activity_code' = ANY (:cleared::text[]) THEN NULL
            ELSE coalesce(:economic_activity_code::text, (f.t).economic_activity_code) END,
        notes = CASE WHEN 'notes' = ANY (:cleared::text[]) THEN NULL ELSE coalesce(:notes::text, (f.t).notes) END,
        receipt_url = CASE WHEN 'receipt_url' = ANY (:cleared::text[]) THEN NULL
            ELSE coalesce(:receipt_url::text, (f.t).receipt_url) END,
        client_rfc = CASE WHEN 'client_rfc' = ANY (:cleared::text[]) THEN NULL
            ELSE coalesce(:client_rfc::text, (f.t).client_rfc) END,
        client_name = CASE WHEN 'client_name' = ANY (:cleared::text[]) THEN NULL
            ELSE coalesce(:client_name::text, (f.t).client_name) END,
        payment_method = CASE WHEN 'payment_method' = ANY (:cleared::text[]) THEN NULL
            ELSE coalesce(:payment_method::text, (f.t).payment_method) END,
        iva_rate = CASE WHEN 'iva_rate' = ANY (:cleared::text[]) THEN NULL
            ELSE coalesce(:iva_rate::text, (f.t).iva_rate) END,
        cfdi_uuid = CASE WHEN 'cfdi_uuid' = ANY (:cleared::text[]) THEN NULL
            ELSE coalesce(:cfdi_uuid::text, (f.t).cfdi_uuid) END,
        issue_date = CASE WHEN 'issue_date' = ANY (:cleared::text[]) THEN NULL
            ELSE coalesce(:issue_date::date, (f.t).issue_date) END,
        payment_date = CASE WHEN 'payment_date' = ANY (:cleared::text[]) THEN NULL
            ELSE coalesce(:payment_date::date, (f.t).payment_date) END
    FROM fit f
    WHERE u.user_id = :user_id AND u.id = (f.t).id
    RETURNING u AS t
), entries AS (
    INSERT INTO journal_entry (user_id, id, transaction_id, kind, booked_on, reverses_id, created_at)
    OVERRIDING SYSTEM VALUE
    SELECT :user_id, f.reversal_id, (f.t).id, 'reversal', (f.t).date, (f.t).entry_id, at_ms(:now_ms)
    FROM fit f WHERE f.repost
    UNION ALL
    SELECT :user_id, f.entry_id, (c.t).id, 'transaction', (c.t).date, NULL, at_ms(:now_ms)
    FROM fit f CROSS JOIN changed c WHERE f.repost
), lines AS (
    INSERT INTO posting (user_id, entry_id, line_no, booked_on, book, account_id, category_id, amount)
    SELECT :user_id, f.reversal_id, l.line_no, (f.t).date, l.book, l.account_id, l.category_id, -l.amount
    FROM fit f CROSS JOIN LATERAL transaction_lines(f.t) l WHERE f.repost
    UNION ALL
    SELECT :user_id, f.entry_id, l.line_no, (c.t).date, l.book, l.account_id, l.category_id, l.amount
    FROM fit f CROSS JOIN changed c CROSS JOIN LATERAL transaction_lines(c.t) l WHERE f.repost
)
SELECT f.*,
    (SELECT a.name FROM account a WHERE a.user_id = :user_id AND a.id = f.account_id) AS account
FROM (
    SELECT 1 AS n, t FROM old
    UNION ALL
    SELECT 2, t FROM changed
    UNION ALL
    SELECT 2, jsonb_populate_record(NULL::transaction,
        jsonb_build_object('account_id', w.account_id, 'category_id', w.category_id))
    FROM wanted w WHERE NOT EXISTS (SELECT FROM fit)
) r CROSS JOIN LATERAL transaction_face(r.t) f
ORDER BY r.n;

-- name: transaction_delete
-- in: avanta.ledger.DeleteTransactionRequest
-- out: avanta.ledger.Transaction
-- One row only: it was deleted already.
WITH old AS MATERIALIZED (
    SELECT t FROM transaction t WHERE t.user_id = :user_id AND t.id = :id FOR UPDATE
), gone AS (
    UPDATE transaction u SET deleted_at = at_ms(:now_ms), updated_at = at_ms(:now_ms), entry_id = NULL
    FROM old o
    WHERE u.user_id = :user_id AND u.id = (o.t).id AND (o.t).deleted_at IS NULL
    RETURNING u AS t
), reversal AS (
    INSERT INTO journal_entry (user_id, transaction_id, kind, booked_on, reverses_id, created_at)
    SELECT :user_id, (o.t).id, 'reversal', (o.t).date, (o.t).entry_id, at_ms(:now_ms)
    FROM old o WHERE (o.t).deleted_at IS NULL
    RETURNING id
), lines AS (
    INSERT INTO posting (user_id, entry_id, line_no, booked_on, book, account_id, category_id, amount)
    SELECT :user_id, r.id, l.line_no, (o.t).date, l.book, l.account_id, l.category_id, -l.amount
    FROM reversal r CROSS JOIN old o CROSS JOIN LATERAL transaction_lines(o.t) l
)
SELECT f.*,
    (SELECT a.name FROM account a WHERE a.user_id = :user_id AND a.id = f.account_id) AS account
FROM (SELECT 1 AS n, t FROM old UNION ALL SELECT 2, t FROM gone) r CROSS JOIN LATERAL transaction_face(r.t) f
ORDER BY r.n;

-- name: transaction_remove
-- in: avanta.ledger.DeleteTransactionRequest
-- out: avanta.ledger.Transaction
-- For good; one row, as it was. The journal keeps its entries and their reversals.
WITH old AS MATERIALIZED (
    SELECT t FROM transaction t WHERE t.user_id = :user_id AND t.id = :id FOR UPDATE
), gone AS (
    DELETE FROM transaction u USING old o WHERE u.user_id = :user_id AND u.id = (o.t).id
), reversal AS (
    INSERT INTO journal_entry (user_id, transaction_id, kind, booked_on, reverses_id, created_at)
    SELECT :user_id, (o.t).id, 'reversal', (o.t).date, (o.t).entry_id, at_ms(:now_ms)
    FROM old o WHERE (o.t).deleted_at IS NULL
    RETURNING id
), lines AS (
    INSERT INTO posting (user_id, entry_id, line_no, booked_on, book, account_id, category_id, amount)
    SELECT :user_id, r.id, l.line_no, (o.t).date, l.book, l.account_id, l.category_id, -l.amount
    FROM reversal r CROSS JOIN old o CROSS JOIN LATERAL transaction_lines(o.t) l
)
SELECT f.*,
    (SELECT a.name FROM account a WHERE a.user_id = :user_id AND a.id = f.account_id) AS account
FROM old o CROSS JOIN LATERAL transaction_face(o.t) f;

-- name: transaction_restore
-- in: avanta.ledger.RestoreTransactionRequest
-- out: avanta.ledger.Transaction
-- One row only: it is not deleted, or its import was undone and the same bank row booked again since.
WITH old AS MATERIALIZED (
    SELECT t FROM transaction t WHERE t.user_id = :user_id AND t.id = :id FOR UPDATE
), back AS (
    UPDATE transaction u SET deleted_at = NULL, import_undone = false, updated_at = at_ms(:now_ms),
        entry_id = nextval('journal_entry_id_seq')
    FROM old o
    WHERE u.user_id = :user_id AND u.id = (o.t).id AND (o.t).deleted_at IS NOT NULL
        AND NOT ((o.t).import_undone AND EXISTS (
            SELECT FROM transaction other
            WHERE other.user_id = :user_id AND other.fingerprint = (o.t).fingerprint AND NOT other.import_undone))
    RETURNING u AS t
), entry AS (
    INSERT INTO journal_entry (user_id, id, transaction_id, kind, booked_on, created_at)
    OVERRIDING SYSTEM VALUE
    SELECT :user_id, (b.t).entry_id, (b.t).id, 'transaction', (b.t).date, at_ms(:now_ms)
    FROM back b
), lines AS (
    INSERT INTO posting (user_id, entry_id, line_no, booked_on, book, account_id, category_id, amount)
    SELECT :user_id, (b.t).entry_id, l.line_no, (b.t).date, l.book, l.account_id, l.category_id, l.amount
    FROM back b CROSS JOIN LATERAL transaction_lines(b.t) l
)
SELECT f.*,
    (SELECT a.name FROM account a WHERE a.user_id = :user_id AND a.id = f.account_id) AS account
FROM (SELECT 1 AS n, t FROM old UNION ALL SELECT 2, t FROM back) r CROSS JOIN LATERAL transaction_face(r.t) f
ORDER BY r.n;
