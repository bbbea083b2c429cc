-- The books. A transaction row is what people see; the journal under it is what balances are made of.
-- Money is bigint centavos. `user_id` leads every key. Accounts and categories are never deleted, only
-- deactivated, so that references need no foreign key: one would lock the account's row in every booking.

-- --- time ----------------------------------------------------------------------------------------

-- Wall time of a request in UTC, whole seconds.
CREATE FUNCTION at_ms(ms bigint) RETURNS timestamp(0) LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN timestamp '1970-01-01 00:00:00' + interval '1 second' * (ms / 1000);

-- The calendar day in Mexico City: UTC-6 all year since October 2022.
CREATE FUNCTION mexico_day(ms bigint) RETURNS date LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN date '1970-01-01' + ((ms / 1000 - 21600) / 86400)::integer;

-- --- values --------------------------------------------------------------------------------------

-- Domains, not CHECKs of the columns: a CHECK is parsed anew in every statement that writes the table,
-- which was a quarter of what booking a transaction cost.
CREATE DOMAIN centavos AS bigint CHECK (VALUE BETWEEN -99999999999 AND 99999999999);
CREATE DOMAIN centavos_positive AS bigint CHECK (VALUE BETWEEN 1 AND 99999999999);
CREATE DOMAIN centavos_withheld AS bigint CHECK (VALUE BETWEEN 0 AND 99999999999);
CREATE DOMAIN rate_millionths AS bigint CHECK (VALUE BETWEEN 1 AND 1000000000000);
CREATE DOMAIN usage_class AS text CHECK (VALUE IN ('personal', 'business'));
CREATE DOMAIN account_kind AS text CHECK (VALUE IN ('checking', 'savings', 'credit', 'cash'));
CREATE DOMAIN direction AS text CHECK (VALUE IN ('ingreso', 'gasto'));
CREATE DOMAIN transaction_class AS text CHECK (VALUE IN ('personal', 'avanta'));
CREATE DOMAIN transaction_kind AS text CHECK (VALUE IN ('business', 'personal', 'transfer'));
CREATE DOMAIN expense_kind AS text
    CHECK (VALUE IN ('national', 'international_with_invoice', 'international_no_invoice'));
CREATE DOMAIN client_kind AS text CHECK (VALUE IN ('nacional', 'extranjero'));
CREATE DOMAIN currency_code AS text CHECK (VALUE ~ '^[A-Z]{3}$');
CREATE DOMAIN payment_kind AS text CHECK (VALUE IN ('PUE', 'PPD'));
CREATE DOMAIN iva_kind AS text CHECK (VALUE IN ('16', '8', '0', 'exento'));
CREATE DOMAIN entry_kind AS text CHECK (VALUE IN ('transaction', 'reversal', 'opening', 'adjustment'));
CREATE DOMAIN book_name AS text
    CHECK (VALUE IN ('account', 'income', 'expense', 'opening', 'adjustment', 'transfer', 'unassigned'));
CREATE DOMAIN name_100 AS varchar(100) CHECK (VALUE <> '');
CREATE DOMAIN name_500 AS varchar(500) CHECK (VALUE <> '');

-- --- what people see -----------------------------------------------------------------------------

CREATE TABLE account (
    user_id uuid NOT NULL,
    id bigint GENERATED ALWAYS AS IDENTITY,
    name name_100 NOT NULL,
    type account_kind NOT NULL,
    account_type usage_class NOT NULL,
    opening_date date,
    is_active boolean NOT NULL DEFAULT true,
    metadata json,
    description varchar(500),
    sat_code varchar(20),
    created_at timestamp(0) NOT NULL,
    updated_at timestamp(0) NOT NULL,
    PRIMARY KEY (user_id, id)
);
-- Transactions may name their account.
CREATE INDEX account_by_name ON account (user_id, name);

-- A balance stated for the start of a day. The entry it posts makes the books show it. The opening
-- balance given with a new account is one too (is_opening), applied before others of its day.
CREATE TABLE account_initial_balance (
    user_id uuid NOT NULL,
    id bigint GENERATED ALWAYS AS IDENTITY,
    account_id bigint NOT NULL,
    balance_date date NOT NULL,
    initial_balance centavos NOT NULL,
    notes varchar(1000),
    is_opening boolean NOT NULL DEFAULT false,
    entry_id bigint, -- the entry in force, if any
    posted bigint NOT NULL DEFAULT 0, -- what that entry adds to the account
    created_at timestamp(0) NOT NULL,
    updated_at timestamp(0) NOT NULL,
    PRIMARY KEY (user_id, id),
    CHECK ((entry_id IS NULL) = (posted = 0))
);
CREATE UNIQUE INDEX account_initial_balance_date ON account_initial_balance
    (user_id, account_id, balance_date) WHERE NOT is_opening;
CREATE UNIQUE INDEX account_initial_balance_opening ON account_initial_balance
    (user_id, account_id) WHERE is_opening;

CREATE TABLE category (
    user_id uuid NOT NULL,
    id bigint GENERATED ALWAYS AS IDENTITY,
    name name_100 NOT NULL,
    description varchar(500),
    color text NOT NULL CHECK (color ~ '^#[0-9A-Fa-f]{6}$'),
    category_type usage_class NOT NULL,
    is_deductible boolean NOT NULL,
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamp(0) NOT NULL,
    updated_at timestamp(0) NOT NULL,
    PRIMARY KEY (user_id, id)
);
CREATE UNIQUE INDEX category_name ON category (user_id, name) WHERE is_active;

CREATE TABLE import_history (
    user_id uuid NOT NULL,
    id text NOT NULL CHECK (length(id) BETWEEN 1 AND 64),
    import_date timestamp(0) NOT NULL,
    source text NOT NULL
        CHECK (source IN ('csv_bank_statement', 'manual_entry', 'api_import', 'batch_upload')),
    file_name varchar(255),
    period_start date,
    period_end date,
    records_imported integer NOT NULL CHECK (records_imported >= 0),
    records_duplicated integer NOT NULL CHECK (records_duplicated >= 0),
    records_failed integer NOT NULL CHECK (records_failed >= 0),
    status text NOT NULL CHECK (status IN ('completed', 'partial', 'failed')),
    account_id bigint,
    metadata json,
    created_at timestamp(0) NOT NULL,
    PRIMARY KEY (user_id, id)
);
CREATE INDEX import_history_by_date ON import_history (user_id, import_date DESC, id DESC);

-- The row always says what its entry in force posts: whoever changes amount, type, transaction_type,
-- account, category, date, currency or rate posts a reversal of entry_id and a new entry.
CREATE TABLE transaction (
    user_id uuid NOT NULL,
    id bigint GENERATED ALWAYS AS IDENTITY,
    entry_id bigint, -- the entry in force; none while deleted
    date date NOT NULL,
    amount centavos_positive NOT NULL,
    exchange_rate rate_millionths NOT NULL,
    amount_mxn centavos_positive NOT NULL
        GENERATED ALWAYS AS (round(amount::numeric * exchange_rate / 1000000)) STORED,
    account_id bigint,
    category_id bigint,
    linked_invoice_id bigint,
    isr_retention centavos_withheld NOT NULL,
    iva_retention centavos_withheld NOT NULL,
    created_at timestamp(0) NOT NULL,
    updated_at timestamp(0) NOT NULL,
    deleted_at timestamp(0),
    issue_date date,
    payment_date date,
    is_deductible boolean NOT NULL,
    is_iva_deductible boolean NOT NULL,
    is_isr_deductible boolean NOT NULL,
    is_reconciled boolean NOT NULL DEFAULT false,
    import_undone boolean NOT NULL DEFAULT false,
    type direction NOT NULL,
    category transaction_class NOT NULL,
    transaction_type transaction_kind NOT NULL,
    expense_type expense_kind NOT NULL,
    client_type client_kind NOT NULL,
    currency currency_code NOT NULL,
    payment_method payment_kind,
    iva_rate iva_kind,
    description name_500 NOT NULL,
    economic_activity varchar(1000),
    economic_activity_code varchar(20),
    notes varchar(1000),
    receipt_url varchar(2048),
    client_rfc varchar(13),
    client_name varchar(300),
    cfdi_uuid varchar(36),
    savings_goal_id text,
    receipt_id text,
    import_id text,
    reference varchar(100),
    fingerprint bytea,
    PRIMARY KEY (user_id, id),
    CONSTRAINT transaction_mxn_rate CHECK (currency <> 'MXN' OR exchange_rate = 1000000),
    CONSTRAINT transaction_posted CHECK ((entry_id IS NULL) = (deleted_at IS NOT NULL)
        AND (NOT import_undone OR deleted_at IS NOT NULL))
) WITH (fillfactor = 90);
-- With deleted_at inside, one index walks the live rows and all rows alike without touching the table;
-- type and amount make default totals index-only too.
CREATE INDEX transaction_by_date ON transaction (user_id, date DESC, id DESC)
    INCLUDE (type, amount_mxn, deleted_at);
CREATE INDEX transaction_by_account ON transaction (user_id, account_id, date DESC, id DESC)
    INCLUDE (deleted_at) WHERE account_id IS NOT NULL;
CREATE INDEX transaction_by_import ON transaction (user_id, import_id, id) WHERE import_id IS NOT NULL;
-- An imported row is booked at most once. A row someone deleted keeps its claim, so that the next
-- statement does not bring it back; undoing the whole import gives the claims up, and restoring such
-- a row takes its claim again or is refused.
CREATE UNIQUE INDEX transaction_fingerprint ON transaction (user_id, fingerprint)
    WHERE fingerprint IS NOT NULL AND NOT import_undone;

-- --- the journal ---------------------------------------------------------------------------------

-- Corrections are dated like what they correct, so that the balance of a past day is right too;
-- created_at tells when they were made.
CREATE TABLE journal_entry (
    user_id uuid NOT NULL,
    id bigint GENERATED ALWAYS AS IDENTITY,
    transaction_id bigint, -- outlives the transaction
    reverses_id bigint,
    booked_on date NOT NULL,
    created_at timestamp(0) NOT NULL,
    kind entry_kind NOT NULL,
    PRIMARY KEY (user_id, id),
    CHECK ((kind = 'reversal') = (reverses_id IS NOT NULL)
        AND (kind = 'reversal' OR (kind = 'transaction') = (transaction_id IS NOT NULL)))
) WITH (autovacuum_vacuum_insert_scale_factor = 0.05);
-- Nothing is reversed twice.
CREATE UNIQUE INDEX journal_entry_reverses ON journal_entry (user_id, reverses_id)
    WHERE reverses_id IS NOT NULL;

-- Debit is positive. Lines count from 1 within an entry, all of them in the statement that makes it.
CREATE TABLE posting (
    user_id uuid NOT NULL,
    entry_id bigint NOT NULL,
    account_id bigint,
    category_id bigint,
    amount bigint NOT NULL,
    booked_on date NOT NULL, -- the entry's, for balances of past days
    line_no smallint NOT NULL,
    book book_name NOT NULL,
    PRIMARY KEY (user_id, entry_id, line_no),
    CHECK (amount <> 0 AND (book = 'account') = (account_id IS NOT NULL)
        AND (category_id IS NULL OR book IN ('income', 'expense', 'transfer')))
) WITH (autovacuum_vacuum_insert_scale_factor = 0.05);
CREATE INDEX posting_by_account ON posting (user_id, account_id, booked_on) INCLUDE (amount)
    WHERE account_id IS NOT NULL;

-- Every entry a statement adds lines to is complete and balanced within that statement. Lines that
-- start at 1 without gaps and the primary key leave no room for lines added later.
CREATE FUNCTION posting_balanced() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM added
        GROUP BY user_id, entry_id
        HAVING sum(amount) <> 0 OR count(*) < 2 OR min(line_no) <> 1 OR max(line_no) <> count(*)
            OR min(booked_on) <> max(booked_on)
            OR (SELECT e.booked_on FROM journal_entry e WHERE e.user_id = added.user_id AND e.id = added.entry_id)
                IS DISTINCT FROM min(booked_on)
    ) THEN
        RAISE EXCEPTION 'a journal entry is incomplete or does not balance'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'posting_balanced', TABLE = 'posting';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER posting_balanced AFTER INSERT ON posting
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION posting_balanced();

-- No entry without lines: they come in the same statement.
CREATE FUNCTION journal_entry_posted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM added
        WHERE NOT EXISTS (
            SELECT FROM posting p WHERE p.user_id = added.user_id AND p.entry_id = added.id
        )
    ) THEN
        RAISE EXCEPTION 'a journal entry has no lines'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'journal_entry_posted', TABLE = 'journal_entry';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER journal_entry_posted AFTER INSERT ON journal_entry
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION journal_entry_posted();

CREATE FUNCTION journal_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the journal is never changed: post a reversal'
        USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER journal_entry_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON journal_entry
    FOR EACH STATEMENT EXECUTE FUNCTION journal_append_only();
CREATE TRIGGER posting_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON posting
    FOR EACH STATEMENT EXECUTE FUNCTION journal_append_only();

-- --- what statements share; all of it is expanded into them by the planner -----------------------

-- The lines of a transaction's entry.
CREATE FUNCTION transaction_lines(t transaction)
RETURNS TABLE (line_no smallint, book text, account_id bigint, category_id bigint, amount bigint)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT n::smallint,
        CASE WHEN n = 1 THEN CASE WHEN (t).account_id IS NULL THEN 'unassigned' ELSE 'account' END
             WHEN (t).transaction_type = 'transfer' THEN 'transfer'
             WHEN (t).type = 'ingreso' THEN 'income'
             ELSE 'expense' END,
        CASE WHEN n = 1 THEN (t).account_id END,
        CASE WHEN n = 2 THEN (t).category_id END,
        CASE WHEN (n = 1) = ((t).type = 'ingreso') THEN (t).amount_mxn ELSE -(t).amount_mxn END
    FROM (VALUES (1), (2)) AS line (n);
END;

-- The lines of an entry that moves one account against a book.
CREATE FUNCTION account_lines(account_id bigint, against text, amount bigint)
RETURNS TABLE (line_no smallint, book text, account_id bigint, amount bigint)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT n::smallint,
        CASE WHEN n = 1 THEN 'account' ELSE account_lines.against END,
        CASE WHEN n = 1 THEN account_lines.account_id END,
        CASE WHEN n = 1 THEN account_lines.amount ELSE -account_lines.amount END
    FROM (VALUES (1), (2)) AS line (n);
END;

-- A transaction as message Transaction shows it, but for its account's name.
CREATE FUNCTION transaction_face(t transaction)
RETURNS TABLE (
    id bigint, user_id uuid, date date, description text, amount bigint, type text, category text,
    is_deductible boolean, economic_activity text, receipt_url text, created_at timestamp(0), transaction_type text,
    category_id bigint, linked_invoice_id bigint, notes text, is_deleted boolean, is_iva_deductible boolean,
    is_isr_deductible boolean, expense_type text, savings_goal_id text, import_id text, receipt_id text,
    client_type text, client_rfc text, currency text, exchange_rate bigint, payment_method text, iva_rate text,
    isr_retention bigint, iva_retention bigint, cfdi_uuid text, issue_date date, payment_date date,
    economic_activity_code text, deleted_at timestamp(0), updated_at timestamp(0), has_cfdi boolean,
    account_id bigint, client_name text, is_reconciled boolean, reference text)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT (t).id, (t).user_id, (t).date, (t).description, (t).amount, (t).type, (t).category,
        (t).is_deductible, (t).economic_activity, (t).receipt_url, (t).created_at, (t).transaction_type,
        (t).category_id, (t).linked_invoice_id, (t).notes, (t).deleted_at IS NOT NULL, (t).is_iva_deductible,
        (t).is_isr_deductible, (t).expense_type, (t).savings_goal_id, (t).import_id, (t).receipt_id,
        (t).client_type, (t).client_rfc, (t).currency, (t).exchange_rate, (t).payment_method, (t).iva_rate,
        (t).isr_retention, (t).iva_retention, (t).cfdi_uuid, (t).issue_date, (t).payment_date,
        (t).economic_activity_code, (t).deleted_at, (t).updated_at, (t).cfdi_uuid IS NOT NULL,
        (t).account_id, (t).client_name, (t).is_reconciled, (t).reference;
END;

-- What makes a row of a bank statement that row for ever. The separator is no character of any part.
CREATE FUNCTION import_fingerprint(
    account_id bigint, date date, type text, amount bigint, description text, reference text, occurrence bigint)
RETURNS bytea LANGUAGE sql STABLE PARALLEL SAFE
    RETURN sha256(convert_to(concat_ws(E'\x1f', coalesce(account_id::text, '-'), date::text, type, amount::text,
        description, coalesce(reference, ''), occurrence::text), 'UTF8'));

-- Keeps PostgreSQL from planning a statement once for all values: such a plan seems dearer than any
-- other, since only known values make this call a constant. For statements with optional filters.
CREATE FUNCTION plan_each_time(user_id uuid) RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    COST 1000000000 AS $$ BEGIN RETURN true; END $$;

-- --- who may what --------------------------------------------------------------------------------

-- The service runs as a role that cannot rewrite the journal; deployment creates it.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'ledger') THEN
        GRANT SELECT, INSERT, UPDATE ON account, category TO ledger;
        GRANT SELECT, INSERT, UPDATE, DELETE ON account_initial_balance, import_history, transaction TO ledger;
        GRANT SELECT, INSERT ON journal_entry, posting TO ledger;
        GRANT USAGE ON SEQUENCE journal_entry_id_seq TO ledger;
    END IF;
END
$$;
