-- Users who log in with Google: known by the account's `sub`, which never changes, not by its e-mail. A user without a
-- password logs in that way alone.
ALTER TABLE users ALTER COLUMN password_hash DROP NOT NULL;
ALTER TABLE users ADD COLUMN google_sub text CHECK (length(google_sub) BETWEEN 1 AND 255);
ALTER TABLE users ADD CONSTRAINT users_google_sub UNIQUE (google_sub);
