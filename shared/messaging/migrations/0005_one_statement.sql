-- What a batch begins and ends with, as functions: a service's own first read and last write share a round trip with them.
-- Each statement in them has a plan that is kept, and what there is nothing to do for is not even begun.

-- Takes the idempotency keys that nobody used before, and gives those; a key that is being used elsewhere is waited for.
CREATE FUNCTION claim_keys(principals text[], routes text[], keys text[], request_hashes bytea[])
RETURNS TABLE (principal text, route text, key text)
LANGUAGE plpgsql
ROWS 10
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    INSERT INTO idempotency (principal, route, key, request_hash, status, body)
    SELECT k.principal, k.route, k.key, k.request_hash, 0, ''
    FROM unnest(claim_keys.principals, claim_keys.routes, claim_keys.keys, claim_keys.request_hashes)
        AS k (principal, route, key, request_hash)
    ORDER BY k.principal, k.route, k.key
    ON CONFLICT DO NOTHING
    RETURNING principal, route, key;
END
$$;

-- What a batch says, in the order it was said; who did it; and the answers under their keys.
CREATE FUNCTION flush(
    event_ids uuid[],
    payloads bytea[],
    ats timestamptz[],
    actors text[],
    actions text[],
    objects text[],
    befores text[],
    afters text[],
    places text[],
    request_ids text[],
    principals text[],
    routes text[],
    keys text[],
    statuses smallint[],
    bodies bytea[]
) RETURNS void
LANGUAGE plpgsql
AS $$
#variable_conflict use_column
BEGIN
    IF cardinality(event_ids) > 0 THEN
        INSERT INTO outbox (event_id, payload)
        SELECT e.event_id, e.payload
        FROM unnest(flush.event_ids, flush.payloads) WITH ORDINALITY AS e (event_id, payload, k)
        ORDER BY e.k;
    END IF;

    IF cardinality(ats) > 0 THEN
        INSERT INTO audit (at, actor, action, object, before, after, place, request_id)
        SELECT a.at, a.actor, a.action, a.object, a.before::jsonb, a.after::jsonb, a.place, a.request_id
        FROM unnest(
            flush.ats, flush.actors, flush.actions, flush.objects, flush.befores, flush.afters, flush.places,
            flush.request_ids
        ) AS a (at, actor, action, object, before, after, place, request_id);
    END IF;

    IF cardinality(keys) > 0 THEN
        UPDATE idempotency AS i
        SET status = k.status, body = k.body
        FROM unnest(flush.principals, flush.routes, flush.keys, flush.statuses, flush.bodies)
            AS k (principal, route, key, status, body)
        WHERE i.principal = k.principal AND i.route = k.route AND i.key = k.key;
    END IF;
END
$$;

REVOKE ALL ON FUNCTION claim_keys FROM public;
GRANT EXECUTE ON FUNCTION claim_keys TO {{service_role}};
REVOKE ALL ON FUNCTION flush FROM public;
GRANT EXECUTE ON FUNCTION flush TO {{service_role}};
