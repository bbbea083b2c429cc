-- name: transaction_create
-- in: avanta.ledger.CreateTransactionRequest
-- out: avanta.ledger.Transaction
-- The new row. When the account or the category does not exist, nothing is written and the row has no
-- id, only those of the references that do exist. Of accounts with one name the oldest is meant.
WITH found AS MATERIALIZED (
    SELECT CASE WHEN :account_id::bigint IS NOT NULL THEN
               (SELECT a.id FROM account a
                WHERE a.user_id = :user_id AND a.id = :account_id::bigint AND a.is_active)
           WHEN :account::text IS NOT NULL THEN
               (SELECT min(a.id) FROM account a
                WHERE a.user_id = :user_id AND a.name = :account::text AND a.is_active) END AS account_id,
        (SELECT c.id FROM category c
         WHERE c.user_id = :user_id AND c.id = :category_id::bigint AND c.is_active) AS category_id
), booked AS (
    INSERT INTO transaction AS t (
        user_id, entry_id, date, amount, exchange_rate, account_id, category_id, isr_retention,
        iva_retention, created_at, updated_at, issue_date, payment_date, is_deductible,
        is_iva_deductible, is_isr_deductible, type, category, transaction_type, expense_type,
        client_type, currency, payment_method, iva_rate, description, economic_activity,
        economic_activity_code, notes, receipt_url, client_rfc, client_name, cfdi_uuid)
    SELECT :user_id, nextval('journal_entry_id_seq'), :date::date, :amount::bigint,
        coalesce(:exchange_rate::bigint, 1000000), f.account_id, f.category_id,
        coalesce(:isr_retention::bigint, 0), coalesce(:iva_retention::bigint, 0), at_ms(:now_ms),
        at_ms(:now_ms), :issue_date::date, :payment_date::date,
        coalesce(:is_deductible::boolean, false), coalesce(:is_iva_deductible::boolean, false),
        coalesce(:is_isr_deductible::boolean, false), :type::text, :category::text,
        coalesce(:transaction_type::text, 'personal'), coalesce(:expense_type::text, 'national'),
        coalesce(:client_type::text, 'nacional'), coalesce(:currency::text, 'MXN'),
        :payment_method::text, :iva_rate::text, :description::text, :economic_activity::text,
        :economic_activity_code::text, :notes::text, :receipt_url::text, :client_rfc::text,
        :client_name::text, :cfdi_uuid::text
    FROM found f
    WHERE (f.account_id IS NOT NULL OR (:account_id::bigint IS NULL AND :account::text IS NULL))
        AND (f.category_id IS NOT NULL OR :category_id::bigint IS NULL)
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
SELECT coalesce(f.account_id, r.account_id) AS account_id,
    coalesce(f.category_id, r.category_id) AS category_id, f.id, f.user_id, f.date, f.description,
    f.amount, f.type, f.category, f.account, f.is_deductible, f.economic_activity, f.receipt_url,
    f.created_at, f.transaction_type, f.linked_invoice_id, f.notes, f.is_deleted,
    f.is_iva_deductible, f.is_isr_deductible, f.expense_type, f.client_type, f.client_rfc,
    f.currency, f.exchange_rate, f.payment_method, f.iva_rate, f.isr_retention, f.iva_retention,
    f.cfdi_uuid, f.issue_date, f.payment_date, f.economic_activity_code, f.updated_at, f.has_cfdi,
    f.client_name, f.is_reconciled
FROM found r LEFT JOIN (booked CROSS JOIN LATERAL transaction_face(t) f) ON true;

