-- Raised by whatever ends a user's sessions, before it ends them. A log-in whose password was looked at before opens no
-- session after: it may have waited meanwhile, and the password, the role or the second factor is another one by now.
ALTER TABLE users ADD COLUMN entries_ended bigint NOT NULL DEFAULT 0;
