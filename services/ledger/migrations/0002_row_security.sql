-- Row-level security (libcommon/service/migrations/0003_row_security.sql).
SELECT user_rows('account');
SELECT user_rows('account_initial_balance');
SELECT user_rows('category');
SELECT user_rows('import_history');
SELECT user_rows('transaction');
SELECT user_rows('journal_entry');
SELECT user_rows('posting');
