-- Row-level security (libcommon/service/migrations/0003_row_security.sql).
SELECT user_rows('audit_record');
