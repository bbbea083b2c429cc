-- Lists and totals. An optional filter is a condition on its parameter; PostgreSQL plans these statements
-- for the values at hand and drops the conditions that are null. Variants exist where the text differs:
-- the order, one account or all.

-- name: transaction_list
-- in: avanta.ledger.ListTransactionsRequest
-- out: avanta.ledger.Transaction
-- each: ORDER = date_desc: t.date DESC, t.id DESC | date_asc: t.date ASC, t.id DESC | amount_desc: t.amount DESC, t.id DESC | amount_asc: t.amount ASC, t.id DESC | description_desc: t.description COLLATE "es-x-icu" DESC, t.id DESC | description_asc: t.description COLLATE "es-x-icu" ASC, t.id DESC | created_at_desc: t.id DESC | created_at_asc: t.id ASC
-- One row more than the page holds tells that there are more. Only the page's rows are fetched whole, each
-- by its key: LIMIT 1 keeps the planner from joining the page with all of the user's rows when it thinks them few.
SELECT f.*,
    (SELECT a.name FROM account a WHERE a.user_id = :user_id AND a.id = f.account_id) AS account
FROM (
    SELECT t.id
    FROM transaction t
    WHERE t.user_id = :user_id AND plan_each_time(:user_id)
        AND (:include_deleted::boolean OR t.deleted_at IS NULL)
        AND (:category::text IS NULL OR t.category = :category::text)
        AND (:type::text IS NULL OR t.type = :type::text)
        AND (:search::text IS NULL
            OR t.description ILIKE '%' || regexp_replace(:search::text, '([\\%_])', '\\\1', 'g') || '%')
        AND (:date_from::date IS NULL OR t.date >= :date_from::date)
        AND (:date_to::date IS NULL OR t.date <= :date_to::date)
        AND (:amount_min::bigint IS NULL OR t.amount >= :amount_min::bigint)
        AND (:amount_max::bigint IS NULL OR t.amount <= :amount_max::bigint)
        AND (:is_deductible::boolean IS NULL OR t.is_deductible = :is_deductible::boolean)
        AND (:transaction_type::text IS NULL OR t.transaction_type = :transaction_type::text)
        AND (:category_id::bigint IS NULL OR t.category_id = :category_id::bigint)
        AND (:linked_invoice_id::bigint IS NULL OR t.linked_invoice_id = :linked_invoice_id::bigint)
        AND (:import_id::text IS NULL OR t.import_id = :import_id::text)
    ORDER BY {ORDER}
    LIMIT coalesce(:limit::bigint, 50) + 1
    OFFSET CASE WHEN :page::bigint IS NULL THEN coalesce(:offset::bigint, 0)
        ELSE (:page::bigint - 1) * coalesce(:limit::bigint, 50) END
) page
CROSS JOIN LATERAL (
    SELECT t AS whole, t.id, t.date, t.amount, t.description
    FROM transaction t WHERE t.user_id = :user_id AND t.id = page.id LIMIT 1
) t
CROSS JOIN LATERAL transaction_face(t.whole) f
ORDER BY {ORDER};

-- name: transaction_list_account
-- in: avanta.ledger.ListTransactionsRequest
-- out: avanta.ledger.Transaction
-- each: ORDER = date_desc: t.date DESC, t.id DESC | date_asc: t.date ASC, t.id DESC | amount_desc: t.amount DESC, t.id DESC | amount_asc: t.amount ASC, t.id DESC | description_desc: t.description COLLATE "es-x-icu" DESC, t.id DESC | description_asc: t.description COLLATE "es-x-icu" ASC, t.id DESC | created_at_desc: t.id DESC | created_at_asc: t.id ASC
-- Of the account with that id, or of all accounts with that name: each gives its first rows in order.
SELECT f.*,
    (SELECT a.name FROM account a WHERE a.user_id = :user_id AND a.id = f.account_id) AS account
FROM (
    SELECT t.id
    FROM account a CROSS JOIN LATERAL (
        SELECT t.id, t.date, t.amount, t.description
        FROM transaction t
        WHERE t.user_id = :user_id AND t.account_id = a.id AND plan_each_time(:user_id)
            AND (:include_deleted::boolean OR t.deleted_at IS NULL)
            AND (:category::text IS NULL OR t.category = :category::text)
            AND (:type::text IS NULL OR t.type = :type::text)
            AND (:search::text IS NULL
                OR t.description ILIKE '%' || regexp_replace(:search::text, '([\\%_])', '\\\1', 'g') || '%')
            AND (:date_from::date IS NULL OR t.date >= :date_from::date)
            AND (:date_to::date IS NULL OR t.date <= :date_to::date)
            AND (:amount_min::bigint IS NULL OR t.amount >= :amount_min::bigint)
            AND (:amount_max::bigint IS NULL OR t.amount <= :amount_max::bigint)
            AND (:is_deductible::boolean IS NULL OR t.is_deductible = :is_deductible::boolean)
            AND (:transaction_type::text IS NULL OR t.transaction_type = :transaction_type::text)
            AND (:category_id::bigint IS NULL OR t.category_id = :category_id::bigint)
            AND (:linked_invoice_id::bigint IS NULL OR t.linked_invoice_id = :linked_invoice_id::bigint)
            AND (:import_id::text IS NULL OR t.import_id = :import_id::text)
        ORDER BY {ORDER}
        LIMIT coalesce(:limit::bigint, 50) + 1 + CASE WHEN :page::bigint IS NULL THEN coalesce(:offset::bigint, 0)
            ELSE (:page::bigint - 1) * coalesce(:limit::bigint, 50) END
    ) t
    WHERE a.user_id = :user_id
        AND (a.id = :account_id::bigint OR (:account_id::bigint IS NULL AND a.name = :account::text))
    ORDER BY {ORDER}
    LIMIT coalesce(:limit::bigint, 50) + 1
    OFFSET CASE WHEN :page::bigint IS NULL THEN coalesce(:offset::bigint, 0)
        ELSE (:page::bigint - 1) * coalesce(:limit::bigint, 50) END
) page
CROSS JOIN LATERAL (
    SELECT t AS whole, t.id, t.date, t.amount, t.description
    FROM transaction t WHERE t.user_id = :user_id AND t.id = page.id LIMIT 1
) t
CROSS JOIN LATERAL transaction_face(t.whole) f
ORDER BY {ORDER};

-- name: transaction_totals
-- in: avanta.ledger.ListTransactionsRequest
-- out: avanta.ledger.TransactionStatistics
SELECT count(*) AS total_transactions,
    coalesce(sum(t.amount_mxn) FILTER (WHERE t.type = 'ingreso'), 0)::bigint AS total_income,
    coalesce(sum(t.amount_mxn) FILTER (WHERE t.type = 'gasto'), 0)::bigint AS total_expenses,
    coalesce(sum(CASE WHEN t.type = 'ingreso' THEN t.amount_mxn ELSE -t.amount_mxn END), 0)::bigint AS net
FROM transaction t
WHERE t.user_id = :user_id AND plan_each_time(:user_id)
    AND ((:account_id::bigint IS NULL AND :account::text IS NULL) OR t.account_id IN (
        SELECT a.id FROM account a
        WHERE a.user_id = :user_id
            AND (a.id = :account_id::bigint OR (:account_id::bigint IS NULL AND a.name = :account::text))))
    AND (:include_deleted::boolean OR t.deleted_at IS NULL)
    AND (:category::text IS NULL OR t.category = :category::text)
    AND (:type::text IS NULL OR t.type = :type::text)
    AND (:search::text IS NULL
        OR t.description ILIKE '%' || regexp_replace(:search::text, '([\\%_])', '\\\1', 'g') || '%')
    AND (:date_from::date IS NULL OR t.date >= :date_from::date)
    AND (:date_to::date IS NULL OR t.date <= :date_to::date)
    AND (:amount_min::bigint IS NULL OR t.amount >= :amount_min::bigint)
    AND (:amount_max::bigint IS NULL OR t.amount <= :amount_max::bigint)
    AND (:is_deductible::boolean IS NULL OR t.is_deductible = :is_deductible::boolean)
    AND (:transaction_type::text IS NULL OR t.transaction_type = :transaction_type::text)
    AND (:category_id::bigint IS NULL OR t.category_id = :category_id::bigint)
    AND (:linked_invoice_id::bigint IS NULL OR t.linked_invoice_id = :linked_invoice_id::bigint)
    AND (:import_id::text IS NULL OR t.import_id = :import_id::text);

-- name: transaction_running_balances
-- in: avanta.ledger.RunningBalancesRequest
-- out: avanta.ledger.RunningBalance
-- What the account held after each of these rows: all of the days before, and of the day itself opening
-- balances and the transactions up to the row. Adjustments count from the end of their day.
WITH own AS MATERIALIZED (
    SELECT a.id FROM account a
    WHERE a.user_id = :user_id
        AND (a.id = :account_id::bigint OR (:account_id::bigint IS NULL AND a.name = :account::text))
), shown AS MATERIALIZED (
    SELECT t.id, t.date FROM transaction t WHERE t.user_id = :user_id AND t.id = ANY (:ids::bigint[])
), moved AS MATERIALIZED (
    SELECT p.booked_on, sum(sum(p.amount)) OVER (ORDER BY p.booked_on) AS held
    FROM posting p
    WHERE p.user_id = :user_id AND p.account_id IN (SELECT own.id FROM own)
        AND p.booked_on < (SELECT max(s.date) FROM shown s)
    GROUP BY p.booked_on
)
SELECT s.id, (
    coalesce((SELECT m.held FROM moved m WHERE m.booked_on < s.date ORDER BY m.booked_on DESC LIMIT 1), 0)
    + coalesce((
        SELECT sum(p.amount)
        FROM posting p JOIN journal_entry e ON e.user_id = :user_id AND e.id = p.entry_id
        WHERE p.user_id = :user_id AND p.account_id IN (SELECT own.id FROM own) AND p.booked_on = s.date
            AND CASE WHEN e.transaction_id IS NULL THEN e.kind <> 'adjustment' ELSE e.transaction_id <= s.id END), 0)
)::bigint AS running_balance
FROM shown s;
