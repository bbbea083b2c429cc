-- name: profile_select
-- in: none
-- out: avanta.identity.Profile
SELECT id, email, name, role, created_at, last_login_at, preferences, avatar_url
FROM users
WHERE id = :user_id::uuid AND is_active;

-- name: profile_update
-- in: avanta.identity.UpdateProfileRequest
-- out: avanta.identity.Profile
-- The row before and the row after.
WITH old AS MATERIALIZED (
    SELECT 1 AS n, id, email, name, role, created_at, last_login_at, preferences, avatar_url
    FROM users
    WHERE id = :user_id::uuid AND is_active
    FOR UPDATE
), changed AS (
    UPDATE users u SET
        name = coalesce(:name::text, o.name),
        preferences = coalesce(:preferences::jsonb, o.preferences),
        avatar_url = CASE WHEN 'avatar_url' = ANY (:cleared::text[]) THEN NULL
            ELSE coalesce(:avatar_url::text, o.avatar_url) END,
        updated_at = now() AT TIME ZONE 'UTC'
    FROM old o
    WHERE u.id = o.id
    RETURNING 2, u.id, u.email, u.name, u.role, u.created_at, u.last_login_at, u.preferences, u.avatar_url
)
SELECT id, email, name, role, created_at, last_login_at, preferences, avatar_url
FROM (SELECT * FROM old UNION ALL SELECT * FROM changed) r
ORDER BY n;

-- name: password_select
-- in: none
-- out: avanta.identity.UserPassword
SELECT id, email, name, password_hash, google_sub
FROM users
WHERE id = :user_id::uuid AND is_active;

-- name: password_update
-- in: avanta.identity.PasswordNew
-- out: avanta.identity.RowId
-- No row: since the current one was looked at, it was changed.
UPDATE users
SET password_hash = :password_hash, entries_ended = entries_ended + 1, updated_at = now() AT TIME ZONE 'UTC'
WHERE id = :user_id::uuid AND is_active AND password_hash = :old_hash
RETURNING id;

-- name: settings_select
-- in: none
-- out: avanta.identity.Settings
-- The defaults stand here and nowhere else.
SELECT coalesce(s.theme, 'system') AS theme, coalesce(s.language, 'es') AS language,
       coalesce(s.currency, 'MXN') AS currency, coalesce(s.date_format, 'DD/MM/YYYY') AS date_format,
       coalesce(s.time_format, '24h') AS time_format, coalesce(s.notifications_enabled, true) AS notifications_enabled,
       coalesce(s.email_notifications, true) AS email_notifications, coalesce(s.fiscal_regime, '') AS fiscal_regime,
       coalesce(s.tax_residence, 'MX') AS tax_residence, coalesce(s.decimal_separator, '.') AS decimal_separator,
       coalesce(s.thousands_separator, ',') AS thousands_separator,
       coalesce(s.dashboard_layout, 'default') AS dashboard_layout
FROM users
LEFT JOIN user_settings s ON s.user_id = :user_id::uuid
WHERE users.id = :user_id::uuid AND users.is_active;

-- name: settings_lock
-- in: none
-- out: avanta.identity.RowId
-- There may be no settings yet, so the user is locked for them: what follows sees who changed them before.
SELECT id
FROM users
WHERE id = :user_id::uuid AND is_active
FOR NO KEY UPDATE;

-- name: settings_update
-- in: avanta.identity.Settings
-- out: none
INSERT INTO user_settings AS s (user_id, theme, language, currency, date_format, time_format, notifications_enabled,
    email_notifications, fiscal_regime, tax_residence, decimal_separator, thousands_separator, dashboard_layout)
VALUES (:user_id::uuid, :theme, :language, :currency, :date_format, :time_format, :notifications_enabled,
    :email_notifications, :fiscal_regime, :tax_residence, :decimal_separator, :thousands_separator, :dashboard_layout)
ON CONFLICT (user_id) DO UPDATE SET
    theme = coalesce(excluded.theme, s.theme),
    language = coalesce(excluded.language, s.language),
    currency = coalesce(excluded.currency, s.currency),
    date_format = coalesce(excluded.date_format, s.date_format),
    time_format = coalesce(excluded.time_format, s.time_format),
    notifications_enabled = coalesce(excluded.notifications_enabled, s.notifications_enabled),
    email_notifications = coalesce(excluded.email_notifications, s.email_notifications),
    fiscal_regime = coalesce(excluded.fiscal_regime, s.fiscal_regime),
    tax_residence = coalesce(excluded.tax_residence, s.tax_residence),
    decimal_separator = coalesce(excluded.decimal_separator, s.decimal_separator),
    thousands_separator = coalesce(excluded.thousands_separator, s.thousands_separator),
    dashboard_layout = coalesce(excluded.dashboard_layout, s.dashboard_layout);

-- name: settings_reset
-- in: none
-- out: none
DELETE FROM user_settings
WHERE user_id = :user_id::uuid;
