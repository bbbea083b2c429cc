-- What is counted by address wears off: one failure is forgotten for each decay_s seconds without another. And accounts
-- made from one address are counted ('registered'), in hours that begin with the first: failed_at is its time.
ALTER TABLE attempt DROP CONSTRAINT attempt_kind_check;
ALTER TABLE attempt ADD CONSTRAINT attempt_kind_check
    CHECK (kind IN ('address', 'email', 'registered', 'registration', 'user'));

-- How many still count. decay_s 0: all of them, until all are forgotten.
CREATE FUNCTION attempt_failures(failures bigint, failed_at timestamptz, at timestamptz, forget_s bigint, decay_s bigint)
RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
               WHEN failed_at <= at - make_interval(secs => forget_s) THEN 0
               WHEN decay_s > 0
               THEN greatest(failures - floor(extract(epoch FROM at - failed_at) / decay_s)::bigint, 0)
               ELSE failures
           END
$$;

-- As before, each kind with its own times. The functions without them stay for replicas of the version before.
CREATE FUNCTION attempt_wait(kinds text[], keys bytea[], failures_max bigint[], forget_s bigint[], decay_s bigint[])
RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(max(CASE
               WHEN state.locked_until > state.at THEN ceil(extract(epoch FROM state.locked_until - state.at))::bigint
               WHEN state.pending + state.failures >= greatest(state.failures_max, state.failures + 1) THEN 1
               ELSE 0
           END), 0)
    FROM (
        SELECT asked.failures_max, attempt.locked_until, clock.at,
               CASE WHEN attempt.pending_until > clock.at THEN attempt.pending ELSE 0 END AS pending,
               attempt_failures(attempt.failures, attempt.failed_at, clock.at, asked.forget_s, asked.decay_s) AS failures
        FROM unnest(kinds, keys, failures_max, forget_s, decay_s) AS asked (kind, key, failures_max, forget_s, decay_s)
        JOIN attempt USING (kind, key)
        CROSS JOIN (SELECT clock_timestamp() AS at) AS clock
    ) AS state
$$;

CREATE FUNCTION attempt_begin(kinds text[], keys bytea[], failures_max bigint[], forget_s bigint[], decay_s bigint[])
RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    wait_s bigint := attempt_wait(kinds, keys, failures_max, forget_s, decay_s);
BEGIN
    IF wait_s > 0 THEN
        RETURN wait_s;
    END IF;
    PERFORM set_config('synchronous_commit', 'off', true);
    FOR i IN 1 .. cardinality(kinds) LOOP
        INSERT INTO attempt (kind, key) VALUES (kinds[i], keys[i]) ON CONFLICT DO NOTHING;
        PERFORM FROM attempt WHERE kind = kinds[i] AND key = keys[i] FOR UPDATE;
    END LOOP;
    wait_s := attempt_wait(kinds, keys, failures_max, forget_s, decay_s);
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
