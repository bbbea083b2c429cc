-- name: category_list
-- in: avanta.ledger.ListCategoriesRequest
-- out: avanta.ledger.Category
SELECT c.id, c.user_id, c.name, c.description, c.color, c.is_active, c.is_deductible, c.created_at, c.updated_at,
    c.category_type
FROM category c
WHERE c.user_id = :user_id AND c.is_active
    AND (:category_type::text IS NULL OR c.category_type = :category_type::text)
ORDER BY c.name COLLATE "es-x-icu", c.id
LIMIT coalesce(:limit::bigint, 1000)
OFFSET CASE WHEN :page::bigint IS NULL THEN coalesce(:offset::bigint, 0)
    ELSE (:page::bigint - 1) * coalesce(:limit::bigint, 1000) END;

-- name: category_create
-- in: avanta.ledger.CreateCategoryRequest
-- out: avanta.ledger.Category
-- No row: an active one has the name.
INSERT INTO category AS c (user_id, name, description, color, category_type, is_deductible, created_at, updated_at)
VALUES (:user_id, :name::text, :description::text, coalesce(:color::text, '#3B82F6'),
    coalesce(:category_type::text, 'business'), coalesce(:is_deductible::boolean, false), at_ms(:now_ms),
    at_ms(:now_ms))
ON CONFLICT (user_id, name) WHERE is_active DO NOTHING
RETURNING c.id, c.user_id, c.name, c.description, c.color, c.is_active, c.is_deductible, c.created_at, c.updated_at,
    c.category_type;

-- name: category_update
-- in: avanta.ledger.UpdateCategoryRequest
-- out: avanta.ledger.Category
-- The row before and the row after. A name that is taken breaks category_name.
WITH old AS MATERIALIZED (
    SELECT c FROM category c WHERE c.user_id = :user_id AND c.id = :id AND c.is_active FOR UPDATE
), changed AS (
    UPDATE category u SET
        name = coalesce(:name::text, (o.c).name),
        description = CASE WHEN 'description' = ANY (:cleared::text[]) THEN NULL
            ELSE coalesce(:description::text, (o.c).description) END,
        color = coalesce(:color::text, (o.c).color),
        category_type = coalesce(:category_type::text, (o.c).category_type),
        is_deductible = coalesce(:is_deductible::boolean, (o.c).is_deductible),
        updated_at = at_ms(:now_ms)
    FROM old o
    WHERE u.user_id = :user_id AND u.id = (o.c).id
    RETURNING u AS c
)
SELECT (r.c).id, (r.c).user_id, (r.c).name, (r.c).description, (r.c).color, (r.c).is_active, (r.c).is_deductible,
    (r.c).created_at, (r.c).updated_at, (r.c).category_type
FROM (SELECT 1 AS n, c FROM old UNION ALL SELECT 2, c FROM changed) r
ORDER BY r.n;

-- name: category_deactivate
-- in: avanta.ledger.CategoryIdRequest
-- out: avanta.ledger.Category
-- The row before and the row after; none: it was not active.
WITH old AS MATERIALIZED (
    SELECT c FROM category c WHERE c.user_id = :user_id AND c.id = :id AND c.is_active FOR UPDATE
), gone AS (
    UPDATE category u SET is_active = false, updated_at = at_ms(:now_ms)
    FROM old o
    WHERE u.user_id = :user_id AND u.id = (o.c).id
    RETURNING u AS c
)
SELECT (r.c).id, (r.c).user_id, (r.c).name, (r.c).description, (r.c).color, (r.c).is_active, (r.c).is_deductible,
    (r.c).created_at, (r.c).updated_at, (r.c).category_type
FROM (SELECT 1 AS n, c FROM old UNION ALL SELECT 2, c FROM gone) r
ORDER BY r.n;

-- name: category_get
-- in: avanta.ledger.CategoryIdRequest
-- out: avanta.ledger.Category
SELECT c.id, c.user_id, c.name, c.description, c.color, c.is_active, c.is_deductible, c.created_at, c.updated_at,
    c.category_type
FROM category c
WHERE c.user_id = :user_id AND c.id = :id;
