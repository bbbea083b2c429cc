-- Attempts to log in and to register, counted by what they are made with: the e-mail as it was typed ('email'),
-- whether or not somebody has it; the address of the client ('address'); its address when it registers
-- ('registration'); who is logged in and asked for the password again ('user'). The key is a SHA-256. An attempt is
-- pending from before the password is looked at until it has succeeded or failed; one that never ends is forgotten
-- at pending_until.
CREATE TABLE attempt (
    kind text NOT NULL CHECK (kind IN ('address', 'email', 'registration', 'user')),
    key bytea NOT NULL CHECK (octet_length(key) = 32),
    failures bigint NOT NULL DEFAULT 0 CHECK (failures >= 0),
    failed_at timestamptz NOT NULL DEFAULT '-infinity',
    locked_until timestamptz NOT NULL DEFAULT '-infinity',
    pending bigint NOT NULL DEFAULT 0 CHECK (pending >= 0),
    pending_until timestamptz NOT NULL DEFAULT '-infinity',
    PRIMARY KEY (kind, key)
) WITH (fillfactor = 50);

-- How many seconds to wait before an attempt with all of these keys may be made; 0: none. An attempt may be made
-- when nothing is locked and, with those that are pending, it cannot become one failure more than leads to a lock.
-- After a lock one attempt at a time may be made.
CREATE FUNCTION attempt_wait(kinds text[], keys bytea[], failures_max bigint[], forget_s bigint) RETURNS bigint
LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(max(CASE
               WHEN state.locked_until > state.at THEN ceil(extract(epoch FROM state.locked_until - state.at))::bigint
               WHEN state.pending + state.failures >= greatest(state.failures_max, state.failures + 1) THEN 1
               ELSE 0
           END), 0)
    FROM (
        SELECT asked.failures_max, attempt.locked_until, clock.at,
               CASE WHEN attempt.pending_until > clock.at THEN attempt.pending ELSE 0 END AS pending,
               CASE WHEN attempt.failed_at > clock.at - make_interval(secs => forget_s) THEN attempt.failures
                    ELSE 0 END AS failures
        FROM unnest(kinds, keys, failures_max) AS asked (kind, key, failures_max)
        JOIN attempt USING (kind, key)
        CROSS JOIN (SELECT clock_timestamp() AS at) AS clock
    ) AS state
$$;

-- Takes the room for one attempt with all of these keys, or tells how long to wait. What is locked is only read. The
-- rows are locked in order and looked at again, so that at no time more attempts are under way than may fail. Kinds
-- come in alphabetical order. The loss of a pending attempt, when the server crashes, does no harm: no disk is
-- waited for.
CREATE FUNCTION attempt_begin(kinds text[], keys bytea[], failures_max bigint[], forget_s bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    wait_s bigint := attempt_wait(kinds, keys, failures_max, forget_s);
BEGIN
    IF wait_s > 0 THEN
        RETURN wait_s;
    END IF;
    PERFORM set_config('synchronous_commit', 'off', true);
    FOR i IN 1 .. cardinality(kinds) LOOP
        INSERT INTO attempt (kind, key) VALUES (kinds[i], keys[i]) ON CONFLICT DO NOTHING;
        PERFORM FROM attempt WHERE kind = kinds[i] AND key = keys[i] FOR UPDATE;
    END LOOP;
    wait_s := attempt_wait(kinds, keys, failures_max, forget_s);
    IF wait_s = 0 THEN
        UPDATE attempt
        SET pending = CASE WHEN attempt.pending_until > now() THEN attempt.pending + 1 ELSE 1 END,
            pending_until = now() + interval '15 seconds' -- longer than any request lasts
        FROM unnest(kinds, keys) AS asked (kind, key)
        WHERE attempt.kind = asked.kind AND attempt.key = asked.key;
    END IF;
    RETURN wait_s;
END
$$;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'identity') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON attempt TO identity;
    END IF;
END
$$;
