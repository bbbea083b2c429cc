-- Row-level security (libcommon/service/migrations/0003_row_security.sql). A reader sees no hash and no sealed secret.
SELECT user_rows('users', '{password_hash, google_sub}', 'id');
SELECT user_rows('session');
SELECT user_rows('refresh_token', '{token_hash}');
SELECT user_rows('user_settings');
SELECT user_rows('api_key', '{key_hash, sealed}');
SELECT user_rows('access_grant');
SELECT user_rows('mfa', '{sealed}');
SELECT user_rows('recovery_code', '{code_hash}');
